//! What all evidence together says of one instance. Pure: evidence and a moment in, a judgement out.
//!
//! Six things are kept, and the worst that is *known* decides:
//!
//! ```text
//!   life      what the supervisor says: a wedged, failed or quarantined instance is down, whatever else
//!   checks    up, degraded, down by runs of results (see `track`)
//!   calls     up, degraded, down by windows of real calls
//!   heap      near its own limit: degraded, and never down for that alone
//!   doubt     stale, starved host, or the plugin's own "I don't know": unknown
//!   deep      synthetic requests that fail: an instance that is up besides is degraded (see `deep`)
//! ```
//!
//! Neither a call nor a check alone is believed against the other: checks that fail while calls succeed make an instance degraded,
//! calls that fail while checks succeed make it degraded and then down.

mod deep;
mod evidence;
mod heap;
mod quiet;
mod told;
mod track;

pub use deep::counts as deep_counts;
pub use evidence::Evidence;
pub use heap::HeapTrack;
pub use track::{Thresholds, Track, Word};

use super::Moment;
use super::analysis::flapping::Flap;
use super::policy::Policy;
use deep::Deep;
use extman_model::record::ResultWord;
use extman_model::{Cause, ErrorKind, Health, HealthFlags, Judgement, Lifecycle};

/// Why nothing is known although something was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    SaysUnknown,
    Stale,
    Starved,
}

/// What is known of one instance. Small, since there may be a hundred thousand.
#[derive(Debug, Clone)]
pub struct Evaluation {
    generation: u64,
    fresh_at: Moment,
    succeeded_at: Option<Moment>,
    since: Moment,
    flap: Flap,
    window: (u32, u32),
    checks: Track,
    calls: Track,
    heap: HeapTrack,
    quiet_windows: u8,
    life: Lifecycle,
    doubt: Doubt,
    /// Of the last check that was bad, and of the last that was fair.
    bad_cause: Cause,
    fair_cause: Cause,
    /// Bad checks since a call was known to have succeeded, and when the last bad one was.
    bad_since_success: u8,
    bad_at: Moment,
    busy: bool,
    maintenance: bool,
    deep: Deep,
    judged: Judgement,
}

impl Evaluation {
    /// Of an instance that nothing is known of.
    pub fn new(now: Moment) -> Self {
        let mut new = Evaluation {
            generation: 0,
            fresh_at: now,
            succeeded_at: None,
            since: now,
            flap: Flap::default(),
            window: (0, 0),
            checks: Track::default(),
            calls: Track::default(),
            heap: HeapTrack::default(),
            quiet_windows: 0,
            life: Lifecycle::Verified,
            doubt: Doubt::None,
            bad_cause: Cause::NotChecked,
            fair_cause: Cause::NotChecked,
            bad_since_success: 0,
            bad_at: now,
            busy: false,
            maintenance: false,
            deep: Deep::default(),
            judged: Judgement {
                health: Health::Unknown,
                cause: Cause::NotChecked,
                flags: HealthFlags::default(),
            },
        };
        new.judged = new.judgement(new.decide(&Policy::default()));
        new
    }

    /// Takes evidence in. Gives how it was judged before, if that is different now.
    pub fn take(&mut self, now: Moment, evidence: Evidence, policy: &Policy) -> Option<Judgement> {
        let mut is_result = false;
        match evidence {
            Evidence::Life { state, generation } => self.live(now, state, generation),
            Evidence::Maintenance(on) => self.maintenance = on,
            Evidence::Starved if self.life == Lifecycle::Running => self.doubt = Doubt::Starved,
            Evidence::Waited { interval } if self.life == Lifecycle::Running => {
                let patience = interval.saturating_mul(u32::from(policy.stale_intervals.max(1)));
                if now.since(self.fresh_at) <= patience || self.doubt == Doubt::Starved {
                    return None;
                }
                self.doubt = Doubt::Stale;
            }
            Evidence::Starved | Evidence::Waited { .. } => {}
            Evidence::Checked { generation, result } if self.counts(generation) => {
                is_result = self.checked(now, result, policy);
            }
            Evidence::Told { generation, health } if self.counts(generation) => {
                is_result = self.checked(now, ResultWord::Said(Some(health)), policy);
            }
            Evidence::Called {
                generation,
                succeeded,
                failed,
                window_ends,
            } if self.counts(generation) => {
                self.called(now, succeeded, failed);
                if window_ends {
                    self.end_window(policy);
                }
            }
            Evidence::Deep { generation, result } if self.counts(generation) => self.deep.observe(result),
            Evidence::Heap {
                generation,
                bytes,
                limit,
            } if self.counts(generation) => self.heap.observe(bytes, limit, policy),
            Evidence::Checked { .. }
            | Evidence::Told { .. }
            | Evidence::Called { .. }
            | Evidence::Deep { .. }
            | Evidence::Heap { .. } => return None,
        }
        let decided = self.decide(policy);
        if is_result && decided.0 != Health::Unknown {
            self.flap.push(decided.0);
        }
        let to = self.judgement(decided);
        if to == self.judged {
            return None;
        }
        let from = std::mem::replace(&mut self.judged, to);
        if from.health != to.health {
            self.since = now;
        }
        Some(from)
    }

    fn counts(&self, generation: u64) -> bool {
        self.life == Lifecycle::Running && generation == self.generation
    }

    fn live(&mut self, now: Moment, state: Lifecycle, generation: u64) {
        let begins =
            state == Lifecycle::Running && (self.life != Lifecycle::Running || generation != self.generation);
        if begins {
            self.checks.forget();
            self.calls.forget();
            self.heap = HeapTrack::default();
            self.window = (0, 0);
            self.quiet_windows = 0;
            self.succeeded_at = None;
            self.doubt = Doubt::None;
            (self.bad_cause, self.fair_cause) = (Cause::NotChecked, Cause::NotChecked);
            self.bad_since_success = 0;
            self.busy = false;
            self.fresh_at = now;
            self.deep = Deep::default();
        }
        self.life = state;
        self.generation = generation;
    }

    /// Whether that is a result that says how it is.
    fn checked(&mut self, now: Moment, result: ResultWord, policy: &Policy) -> bool {
        let (word, cause) = match result {
            ResultWord::HostLate => return false,
            // It works: nothing else is known of it, and nothing is held against it.
            ResultWord::Busy => {
                self.busy = true;
                self.fresh(now);
                return false;
            }
            ResultWord::Failed(ErrorKind::Cancelled | ErrorKind::NotServing) => return false,
            ResultWord::Said(None | Some(Health::Up)) | ResultWord::Failed(ErrorKind::Unsupported) => {
                (Word::Good, Cause::Answers)
            }
            ResultWord::Said(Some(Health::Degraded)) => (Word::Fair, Cause::SaysDegraded),
            ResultWord::Said(Some(Health::Down)) => (Word::Bad, Cause::SaysDown),
            ResultWord::Said(Some(Health::Unknown)) => (Word::Unsure, Cause::SaysUnknown),
            ResultWord::Failed(kind @ ErrorKind::RateLimited) => (Word::Fair, Cause::CheckFails(kind)),
            ResultWord::Failed(kind) => (Word::Bad, Cause::CheckFails(kind)),
            ResultWord::TimedOut => (Word::Bad, Cause::CheckTimesOut),
        };
        self.busy = false;
        self.fresh(now);
        match word {
            Word::Good => {}
            Word::Fair => self.fair_cause = cause,
            Word::Bad => {
                (self.bad_cause, self.bad_at) = (cause, now);
                self.bad_since_success = self.bad_since_success.saturating_add(1);
            }
            Word::Unsure => self.doubt = Doubt::SaysUnknown,
        }
        let thresholds = Thresholds {
            fall: policy.fall,
            fall_fair: policy.fall,
            rise: policy.rise,
        };
        self.checks.observe(word, thresholds);
        true
    }

    fn fresh(&mut self, now: Moment) {
        self.fresh_at = now;
        self.doubt = Doubt::None;
    }

    fn called(&mut self, now: Moment, succeeded: u32, failed: u32) {
        self.window.0 = self.window.0.saturating_add(succeeded);
        self.window.1 = self.window.1.saturating_add(failed);
        if succeeded > 0 {
            self.succeeded_at = Some(now);
            self.bad_since_success = 0;
        }
    }

    fn end_window(&mut self, policy: &Policy) {
        let (succeeded, failed) = std::mem::take(&mut self.window);
        let calls = u64::from(succeeded) + u64::from(failed);
        if calls < u64::from(policy.calls.calls_min.max(1)) {
            self.quiet_windows = self.quiet_windows.saturating_add(1);
            if self.quiet_windows >= policy.rise.max(1) {
                self.calls.forget();
            }
            return;
        }
        self.quiet_windows = 0;
        let permille = u64::from(failed) * 1000 / calls;
        // One failure is no rate: of five calls it would be a fifth.
        let word = if permille >= u64::from(policy.calls.down_permille) {
            Word::Bad
        } else if failed >= 2 && permille >= u64::from(policy.calls.degraded_permille) {
            Word::Fair
        } else {
            Word::Good
        };
        let thresholds = Thresholds {
            fall: policy.fall,
            fall_fair: 1,
            rise: policy.rise,
        };
        self.calls.observe(word, thresholds);
    }

    /// Whether calls had succeeded within a window when the last check failed, and do not fail otherwise. Those from before the
    /// plugin fell silent speak for it no longer than an interval: by then one more would have. Time alone changes nothing.
    fn calls_succeed(&self, policy: &Policy) -> bool {
        let (succeeded, failed) = (u64::from(self.window.0), u64::from(self.window.1));
        let calls = succeeded + failed;
        let mostly = calls < u64::from(policy.calls.calls_min)
            || failed * 1000 < calls * u64::from(policy.calls.down_permille);
        let speak = self.succeeded_at.is_some_and(|at| {
            let before = self.bad_at.since(at);
            let heard = self.bad_since_success < policy.fall || before <= policy.interval;
            heard && before <= policy.calls.window
        });
        speak && mostly && self.calls.level() != Health::Down
    }

    fn judgement(&self, (health, cause): (Health, Cause)) -> Judgement {
        let running = self.life == Lifecycle::Running;
        Judgement {
            health,
            cause,
            flags: HealthFlags {
                stale: running && self.doubt == Doubt::Stale,
                flapping: self.flap.is_flapping(),
                busy: running && self.busy,
                maintenance: self.maintenance,
                soft: running && self.doubt == Doubt::None && self.checks.is_soft(),
            },
        }
    }

    fn decide(&self, policy: &Policy) -> (Health, Cause) {
        self.deep.upon(self.decide_but_for_deep(policy))
    }

    fn decide_but_for_deep(&self, policy: &Policy) -> (Health, Cause) {
        use Lifecycle as L;
        match self.life {
            L::Running => {}
            L::Wedged | L::Failed | L::Quarantined | L::Backoff => {
                return (Health::Down, Cause::Lifecycle(self.life));
            }
            L::Starting | L::Draining | L::Stopped | L::Discovered | L::Verified => {
                return (Health::Unknown, Cause::Lifecycle(self.life));
            }
        }
        match self.doubt {
            Doubt::Stale => return (Health::Unknown, Cause::Stale),
            Doubt::Starved => return (Health::Unknown, Cause::HostStarved),
            Doubt::None | Doubt::SaysUnknown => {}
        }
        match (self.checks.level(), self.calls.level()) {
            (Health::Down, _) if self.calls_succeed(policy) => {
                (Health::Degraded, Cause::ChecksFailCallsSucceed)
            }
            (Health::Down, _) => (Health::Down, self.bad_cause),
            (Health::Up, Health::Down) => (Health::Down, Cause::ChecksSucceedCallsFail),
            (_, Health::Down) => (Health::Down, Cause::CallsFail),
            _ if self.doubt == Doubt::SaysUnknown => (Health::Unknown, Cause::SaysUnknown),
            (Health::Degraded, _) => (Health::Degraded, self.fair_cause),
            (Health::Up, Health::Degraded) => (Health::Degraded, Cause::ChecksSucceedCallsFail),
            (Health::Unknown, Health::Degraded) => (Health::Degraded, Cause::CallsFail),
            (Health::Up, _) | (Health::Unknown, Health::Up) if self.heap.is_near() => {
                (Health::Degraded, Cause::HeapNearLimit)
            }
            (Health::Unknown, Health::Up) => (Health::Up, Cause::CallsSucceed),
            (Health::Unknown, Health::Unknown) => (Health::Unknown, Cause::NotChecked),
            (Health::Up, _) => (Health::Up, Cause::Answers),
        }
    }
}

#[cfg(test)]
mod tests;
