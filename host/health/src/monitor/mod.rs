//! The health of one instance: a state machine that takes evidence and time, and gives a verdict and the moment of the next check. Pure. The
//! engine drives it for real instances, and the simulator for simulated ones.
//!
//! ```text
//!                     enter(Running)                       enter(anything else)
//!   NotRunning ──────────────────────▶ Running ─────────────────────────────────▶ NotRunning
//!   the life alone decides             evidence of this generation decides
//!
//!   Running:   poll ──▶ Ask ──▶ answered, or overdue ──▶ due again, as the verdict says
//!                                                        well: interval · idle: idle interval · soft: recheck · down: back-off
//! ```
//!
//! The verdict is the worst that is *known*:
//!
//! ```text
//!   life     a wedged, failed or quarantined instance is down, whatever else
//!   checks   up, degraded, down by runs of results          (`hysteresis`)
//!   calls    up, degraded, down by failures of real calls   (`calls`)
//!   heap     near its own limit: degraded, never down       (`heap`)
//!   doubt    stale, starved host, or the plugin's own "I don't know": unknown
//!   deep     synthetic requests that fail: degraded         (`deep`)
//! ```
//!
//! Neither calls nor checks are believed alone against the other: checks that fail while calls succeed make an instance degraded; calls that fail
//! while checks succeed make it degraded and then down. A time-out ends no doubt: only an answer does, or that the instance is down.

mod calls;
mod check;
mod checks;
mod deep;
mod heap;
mod hysteresis;
mod interval;
mod quiet;
mod timeout;
mod verdict;

pub use calls::Calls;
pub use checks::{Answer, Poll};
pub use deep::deep_counts;
pub use interval::COALESCED;
pub use quiet::Quiet;
pub use timeout::CheckTimeout;

use crate::Moment;
use crate::analysis::flapping::Flap;
use crate::policy::Policy;
use calls::CallEvidence;
use check::CheckState;
use deep::DeepEvidence;
use extman_model::record::ResultWord;
use extman_model::{Cause, Health, HealthFlags, Judgement, Lifecycle, Report};
use heap::HeapEvidence;
use hysteresis::Hysteresis;
use std::time::Duration;

/// The health of one instance. Small, since there may be a hundred thousand.
#[derive(Debug, Clone)]
pub struct Monitor {
    seed: u64,
    generation: u64,
    since: Moment,
    /// When it was down first since it served last or was stopped.
    down_since: Option<Moment>,
    flap: Flap,
    maintenance: bool,
    suppressed: bool,
    judged: Judgement,
    state: State,
}

#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all instances run, and a pointer more would be memory to wait for"
)]
enum State {
    NotRunning(Lifecycle),
    Running(Running),
}

/// Evidence of one generation that runs, and when it is checked.
#[derive(Debug, Clone)]
struct Running {
    checks: CheckEvidence,
    /// Absent until the first call has ended.
    calls: Option<Box<CallEvidence>>,
    heap: HeapEvidence,
    deep: DeepEvidence,
    doubt: Doubt,
    is_busy: bool,
    /// When a result came last.
    fresh_at: Moment,

    check: CheckState,
    timeout: CheckTimeout,
    /// It was slow or failed last time, and is checked on a lane by itself.
    is_suspect: bool,
    /// No lane has begun the check that is due.
    waits_for_lane: bool,
    due: Moment,
    interval: Duration,
    cycle: u32,
    /// Checks since its checks made it down.
    down_for: u8,

    calls_seen: Calls,
    succeeded_seen: u64,
    /// Of the calls that failed last in a row, those that count no longer.
    forgotten_run: u32,
    called_at: Option<Moment>,
    began: Moment,
}

/// What the results of checks say.
#[derive(Debug, Clone)]
struct CheckEvidence {
    results: Hysteresis,
    /// Of the last bad result, and of the last fair one.
    bad_cause: Cause,
    fair_cause: Cause,
    bad_at: Moment,
    /// Bad results since a call was known to have succeeded.
    bad_since_success: u8,
    /// Time-outs in a row that came before the greatest time.
    fast_timeouts: u8,
    /// What the plugin said unasked, if it is not well. It holds until the plugin says otherwise: an answer without a word repeats it.
    pushed: Option<Health>,
}

/// Why nothing is known although something was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    SaysUnknown,
    /// Checks were made in time and brought no result.
    Stale,
    /// The host did not get round to a check for several intervals.
    NotAsked,
    /// The host itself stood still.
    Starved,
}

impl Monitor {
    /// Of an instance of this name, of which nothing is known.
    pub fn new(name: &str, now: Moment) -> Self {
        let mut new = Monitor {
            seed: interval::seed(name),
            generation: 0,
            since: now,
            down_since: None,
            flap: Flap::default(),
            maintenance: false,
            suppressed: false,
            judged: Judgement {
                health: Health::Unknown,
                cause: Cause::NotChecked,
                flags: HealthFlags::default(),
            },
            state: State::NotRunning(Lifecycle::Verified),
        };
        new.judged = new.judgement(verdict::of_life(Lifecycle::Verified));
        new
    }

    /// The instance is in this state of its life. `calls` are those of its generation so far.
    pub fn enter(
        &mut self,
        now: Moment,
        lifecycle: Lifecycle,
        generation: u64,
        calls: Calls,
        policy: &Policy,
    ) {
        let goes_on = matches!(self.state, State::Running(_)) && generation == self.generation;
        self.generation = generation;
        if lifecycle != Lifecycle::Running {
            self.state = State::NotRunning(lifecycle);
        } else if !goes_on {
            let level = self.level_for_next(policy);
            self.state = State::Running(Running::new(now, self.seed, level, calls, policy));
        }
        self.judge(now, policy, false);
    }

    /// The level at which another generation begins. One that takes over from one that answers its checks is up until its own checks say
    /// otherwise: its callers notice nothing of the change. Of any other nothing is known.
    fn level_for_next(&self, policy: &Policy) -> Health {
        match &self.state {
            State::Running(before) if before.decide(policy) == (Health::Up, Cause::Answers) => Health::Up,
            _ => Health::Unknown,
        }
    }

    /// Calls have ended since the last time that anybody looked. A failed one hastens the next check.
    pub fn called(&mut self, now: Moment, generation: u64, calls: Calls, policy: &Policy) {
        let Some(running) = self.running(generation) else {
            return;
        };
        if calls.blamed > running.calls_seen.blamed {
            running.due = running.due.min(now.after(policy.recheck));
        }
        self.observe_calls(now, calls, policy);
    }

    /// The plugin says how it is without being asked. A change is checked soon.
    pub fn pushed(&mut self, now: Moment, generation: u64, health: Health, policy: &Policy) {
        let Some(running) = self.running(generation) else {
            return;
        };
        running.observe_result(now, ResultWord::Said(Some(health)), policy);
        running.checks.pushed = Some(health).filter(|health| *health != Health::Up);
        self.judge(now, policy, true);
        if self.judged.flags.soft
            && let Some(running) = self.running(generation)
        {
            running.due = running.due.min(now.after(policy.recheck));
        }
    }

    /// The report of a check tells of the instance's heap, or not.
    pub fn reported(&mut self, now: Moment, generation: u64, report: &Report, policy: &Policy) {
        let Some(running) = self.running(generation) else {
            return;
        };
        match report.heap_bytes.zip(report.heap_limit_bytes) {
            Some((bytes, limit)) => running.heap.observe(bytes, limit, policy),
            None if running.heap.is_known() => running.heap = HeapEvidence::default(),
            None => return,
        }
        let before = self.judged;
        self.judge(now, policy, false);
        if self.judged != before
            && let Some(running) = self.running(generation)
            && running.check.is_idle()
        {
            // The next check was set by the verdict from before.
            running.due = running.due.min(now.after(policy.interval));
        }
    }

    /// A deep check of this generation has ended.
    pub fn deep_ended(&mut self, now: Moment, generation: u64, result: ResultWord, policy: &Policy) {
        if let Some(running) = self.running(generation) {
            running.deep.observe(result);
            self.judge(now, policy, false);
        }
    }

    /// The host stood still for so long. A check that is under way gets that time back.
    pub fn host_stalled(&mut self, now: Moment, stall: Duration, policy: &Policy) {
        let State::Running(running) = &mut self.state else {
            return;
        };
        let timeout = running.timeout.timeout(policy.timeout);
        running.check.excuse(now, stall, timeout);
        if stall >= running.interval {
            running.doubt = Doubt::Starved;
            self.judge(now, policy, false);
        }
    }

    /// An operator begins or ends work on the instance.
    pub fn maintain(&mut self, now: Moment, on: bool, policy: &Policy) {
        self.maintenance = on;
        self.judge(now, policy, false);
    }

    /// Something that the instance requires is down, or no longer. That makes it no better than degraded, and down where it is kept from
    /// starting.
    pub fn suppress(&mut self, now: Moment, on: bool, policy: &Policy) {
        self.suppressed = on;
        self.judge(now, policy, false);
    }

    /// No lane has begun the check that is due: that is no evidence against the plugin, and once its last result is too old nothing is known.
    pub fn not_begun(&mut self, now: Moment, policy: &Policy) {
        if let State::Running(running) = &mut self.state {
            running.waits_for_lane = running.check.is_idle();
            running.doubt = running.doubt_at(now, false, policy);
            self.judge(now, policy, false);
        }
    }

    /// The next check is to be made now.
    pub fn hasten(&mut self, now: Moment) {
        if let State::Running(running) = &mut self.state {
            running.due = now;
        }
    }

    fn running(&mut self, generation: u64) -> Option<&mut Running> {
        match &mut self.state {
            State::Running(running) if generation == self.generation => Some(running),
            _ => None,
        }
    }
}

impl Monitor {
    /// The verdict.
    pub fn judged(&self) -> Judgement {
        self.judged
    }

    /// Since when its word has been this one. What fails each time that it is started again has been down since it failed first.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// Where the instance is in its life.
    pub fn lifecycle(&self) -> Lifecycle {
        match self.state {
            State::NotRunning(lifecycle) => lifecycle,
            State::Running(_) => Lifecycle::Running,
        }
    }

    /// Which load of its library counts.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Its last hard states, and whether they change too often.
    pub fn flap(&self) -> Flap {
        self.flap
    }

    /// Whether it counts in no sum: it is in maintenance, or not meant to serve.
    pub fn is_excluded(&self) -> bool {
        use Lifecycle as L;
        self.maintenance
            || matches!(
                self.lifecycle(),
                L::Stopped | L::Draining | L::Discovered | L::Verified
            )
    }

    /// Failed checks in a row.
    pub fn failed_checks(&self) -> u8 {
        self.of_running(|running| running.checks.results.bad_run())
    }

    /// Failed deep checks in a row.
    pub fn failed_deep(&self) -> u8 {
        self.of_running(|running| running.deep.failed())
    }

    /// When the next check is due; `None` while it does not run.
    pub fn due(&self) -> Option<Moment> {
        self.of_running(|running| Some(running.due))
    }

    /// Time between its checks at present.
    pub fn interval(&self) -> Duration {
        self.of_running(|running| running.interval)
    }

    /// When the check was begun that is under way.
    pub fn asked_at(&self) -> Option<Moment> {
        self.of_running(|running| running.check.asked().map(|asked| asked.at))
    }

    /// When the check that is under way is overdue, unless that has counted.
    pub fn deadline(&self) -> Option<Moment> {
        self.of_running(|running| match running.check {
            CheckState::Pending(asked) => Some(asked.deadline),
            CheckState::Idle | CheckState::Overdue(_) => None,
        })
    }

    /// Whether it was slow or failed last time, and is checked on a lane by itself.
    pub fn is_suspect(&self) -> bool {
        self.of_running(|running| running.is_suspect)
    }

    /// How long its answers take, and may take.
    pub fn timeout(&self) -> CheckTimeout {
        self.of_running(|running| running.timeout)
    }

    /// The verdict if nothing more comes until `now`: the engine itself may have stopped. `is_asked`: a check is under way.
    pub fn judged_at(&self, now: Moment, is_asked: bool, policy: &Policy) -> Judgement {
        let State::Running(running) = &self.state else {
            return self.judged;
        };
        let doubt = running.doubt_at(now, is_asked || !running.check.is_idle(), policy);
        if doubt == running.doubt {
            return self.judged;
        }
        let mut later = self.clone();
        if let State::Running(running) = &mut later.state {
            running.doubt = doubt;
        }
        later.judgement(later.decide(policy))
    }

    fn of_running<T: Default>(&self, of: impl FnOnce(&Running) -> T) -> T {
        match &self.state {
            State::Running(running) => of(running),
            State::NotRunning(_) => T::default(),
        }
    }
}

impl Running {
    fn new(now: Moment, seed: u64, level: Health, calls: Calls, policy: &Policy) -> Self {
        Running {
            checks: CheckEvidence {
                results: Hysteresis::at(level),
                bad_cause: Cause::NotChecked,
                fair_cause: Cause::NotChecked,
                bad_at: now,
                bad_since_success: 0,
                fast_timeouts: 0,
                pushed: None,
            },
            calls: None,
            heap: HeapEvidence::default(),
            deep: DeepEvidence::default(),
            doubt: Doubt::None,
            is_busy: false,
            fresh_at: now,
            check: CheckState::Idle,
            timeout: CheckTimeout::default(),
            is_suspect: false,
            waits_for_lane: false,
            due: interval::first(now, seed, policy),
            interval: policy.interval,
            cycle: 0,
            down_for: 0,
            calls_seen: calls,
            succeeded_seen: calls.succeeded(),
            forgotten_run: calls.failed_run,
            called_at: None,
            began: now,
        }
    }
}

#[cfg(test)]
mod tests;
