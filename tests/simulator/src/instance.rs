//! One plugin and its monitor: the next thing that happens to them, again and again. Pure.

use super::bounds::{SETTLED, WEDGE_AFTER};
use super::drive::TICK;
use super::judge::{Failing, Judge};
use super::plugin::{Plugin, Reply};
use super::report::Report;
use super::world::World;
use super::{SECOND, Time};
use extman_health::Moment;
use extman_health::monitor::{Answer, Calls, Monitor, Poll};
use extman_health::policy::{DeepPolicy, Policy};
use extman_model::record::ResultWord;
use extman_model::{Judgement, Lifecycle};
use std::time::Duration;

/// Lines of one plugin's trace.
const TRACE_MAX: usize = 100_000;
/// Whoever looks at what can't be changed looks again after this.
const LOOK_AGAIN: Time = SECOND / 1000;

/// The monotonic clock is never at 0.
pub(super) fn moment(at: Time) -> Moment {
    Moment::from_nanos(at + SECOND)
}

fn time(moment: Moment) -> Time {
    moment.as_nanos() - SECOND
}

/// An answer that is on its way.
#[derive(Debug, Clone, Copy)]
struct Coming {
    at: Time,
    began: Time,
    result: ResultWord,
    comes_back: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Life,
    Answer,
    Late,
    Tell,
    Due,
}

/// One plugin and its monitor.
pub(super) struct SimulatedInstance<'a> {
    pub monitor: Monitor,
    pub judge: Judge<'a>,
    name: String,
    plugin: Plugin,
    world: &'a World,
    policy: &'a Policy,
    now: Time,
    generation: u64,
    coming: Option<Coming>,
    look_at: Time,
    pause: usize,
    state: Lifecycle,
    running_since: Time,
    /// When the first of the deep checks was begun that failed last, in a row.
    deep_failing_since: Option<Time>,
    traced: bool,
}

impl<'a> SimulatedInstance<'a> {
    pub fn new(
        number: u32,
        plugin: Plugin,
        judge: Judge<'a>,
        world: &'a World,
        policy: &'a Policy,
        traced: bool,
    ) -> Self {
        let name = format!("plugin-{number}");
        SimulatedInstance {
            monitor: Monitor::new(&name, moment(0)),
            judge,
            name,
            plugin,
            world,
            policy,
            now: 0,
            generation: 0,
            coming: None,
            look_at: 0,
            pause: 0,
            state: Lifecycle::Verified,
            running_since: 0,
            deep_failing_since: None,
            traced,
        }
    }

    /// How its operator wants deep checks of it, if at all.
    pub fn deep_policy(&self) -> Option<DeepPolicy> {
        self.plugin.nature.deep
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// It starts. Gives when something happens next.
    pub fn begin(&mut self, report: &mut Report) -> Time {
        self.live(Lifecycle::Running);
        self.told(report);
        self.next().0
    }

    /// All that happens up to `limit`. Gives when something happens next.
    pub fn run_until(&mut self, limit: Time, report: &mut Report) -> Time {
        loop {
            let (at, event) = self.next();
            let pause = self.world.pauses.get(self.pause).copied();
            if let Some(pause) = pause.filter(|pause| pause.from <= at) {
                if pause.to > limit {
                    return pause.to;
                }
                self.pause += 1;
                self.now = pause.to;
                self.woke(
                    Duration::from_nanos(pause.to - pause.from),
                    pause.is_noticed(),
                    report,
                );
                continue;
            }
            if at > limit {
                return at;
            }
            self.now = at;
            match event {
                Event::Life => {
                    if let Some(state) = self.plugin.live(at) {
                        self.trace(report, || format!("life: {}", state.as_str()));
                        self.live(state);
                    }
                }
                Event::Answer => self.answer(report),
                Event::Late => {
                    let host_late = self.is_host_late();
                    self.look_at = at + LOOK_AGAIN;
                    let counts = self.monitor.check_deadline(moment(at), host_late, self.policy);
                    self.trace(report, || format!("too late: counts {counts}"));
                }
                Event::Tell => {
                    if let Some(health) = self.plugin.tells(at) {
                        self.monitor
                            .pushed(moment(at), self.generation, health, self.policy);
                        self.trace(report, || format!("tells: {health:?}"));
                    }
                }
                Event::Due => self.due(report),
            }
            self.told(report);
        }
    }

    /// Nothing more happens.
    pub fn finish(&mut self, now: Time, report: &mut Report) {
        self.judge.finish(now.max(self.now), report);
    }

    /// What it is shown as.
    pub fn seen(&self, now: Time) -> Judgement {
        self.monitor
            .judged_at(moment(now), self.coming.is_some(), self.policy)
    }

    /// Whether its calls failed last and none has succeeded since: it does not get well by being called less, and who is not called is not seen to be
    /// well.
    pub fn waits_for_a_call(&self) -> bool {
        self.monitor.judged().cause.is_by_calls() && self.plugin.failing_since().is_some()
    }

    /// What happens next, and when. Never before what happened last.
    fn next(&self) -> (Time, Event) {
        let mut first = (Time::MAX, Event::Due);
        let mut candidate = |at: Time, event: Event| {
            if at < first.0 {
                first = (at, event);
            }
        };
        if let Some(step) = self.plugin.life {
            candidate(step.at, Event::Life);
        }
        if let Some(coming) = self.coming {
            candidate(coming.at, Event::Answer);
        }
        if let Some(at) = self.plugin.tells_at() {
            candidate(at, Event::Tell);
        }
        let too_late = self.monitor.deadline();
        if let Some(late) = too_late {
            candidate(time(late).max(self.look_at), Event::Late);
        }
        // As in the engine: who is asked comes up again once it has answered or is late.
        if too_late.is_none()
            && let Some(due) = self.monitor.due()
        {
            candidate(time(due).div_ceil(TICK) * TICK, Event::Due);
        }
        (first.0.max(self.now), first.1)
    }

    fn due(&mut self, report: &mut Report) {
        let now = self.now;
        let calls = self.plugin.calls(now, self.world);
        let has_check = self.plugin.nature.has_check;
        let host_late = self.is_host_late();
        let poll = self
            .monitor
            .poll(moment(now), calls, has_check, host_late, self.policy);
        let Poll::Ask { timeout } = poll else {
            report.not_asked += 1;
            return;
        };
        report.checks += 1;
        let too_late = now + timeout.as_nanos() as Time;
        let reply = self.plugin.ask(now);
        let back = match reply.after {
            Some(after) if now + after < self.calm_until() => now + after,
            Some(after) => self.world.end_of(now, after),
            None => Time::MAX,
        };
        if back > too_late {
            let wedged = self.world.end_of(now, too_late - now + WEDGE_AFTER);
            if back > wedged {
                self.plugin.given_up_at(now, wedged);
            }
        }
        self.coming = (back < Time::MAX).then_some(Coming {
            at: back,
            began: now,
            result: reply.result,
            comes_back: reply.result != ResultWord::Busy,
        });
        if !matches!(reply.result, ResultWord::Said(_)) || back > too_late {
            self.trace(report, || {
                let after = reply.after.map(Duration::from_nanos);
                format!("asked, timeout {timeout:?}: {:?} after {after:?}", reply.result)
            });
        }
    }

    fn answer(&mut self, report: &mut Report) {
        let Some(coming) = self.coming.take() else { return };
        let now = self.now;
        let host_late = self.world.stood_still(coming.began, now) > Duration::ZERO;
        let took = coming
            .comes_back
            .then(|| Duration::from_nanos(now - coming.began));
        let answer = Answer {
            generation: self.generation,
            result: coming.result,
            took,
            host_late,
        };
        let calls: Calls = self.plugin.calls(now, self.world);
        let ended = self.monitor.answered(moment(now), answer, calls, self.policy);
        if let ResultWord::Said(_) = coming.result
            && let Some((bytes, limit)) = self.plugin.heap(now)
        {
            let told = extman_model::Report {
                heap_bytes: Some(bytes),
                heap_limit_bytes: Some(limit),
                ..extman_model::Report::default()
            };
            self.monitor
                .reported(moment(now), self.generation, &told, self.policy);
        }
        if !matches!(ended, Some(ResultWord::Said(_))) {
            self.trace(report, || format!("answered: counts as {ended:?}"));
        }
    }

    /// The host begins anew: nothing is known but where its life is.
    pub fn restart(&mut self, now: Time, report: &mut Report) {
        self.now = self.now.max(now);
        self.monitor = Monitor::new(&self.name, moment(self.now));
        self.trace(report, || "the host is started anew".to_owned());
        self.live(self.state);
        self.told(report);
    }

    /// Which generation may be asked deep now, if any.
    pub fn deep_candidate(&self, now: Time, by_operator: bool) -> Option<u64> {
        let serves = self.monitor.judged().health.serves();
        let is_fit = by_operator || serves && now >= self.running_since + SETTLED;
        (self.state == Lifecycle::Running && is_fit).then_some(self.generation)
    }

    /// It is asked deep.
    pub fn ask_deep(&mut self, now: Time) -> Reply {
        self.plugin.ask_deep(now)
    }

    /// A deep check of this generation, begun then, has come to this. Gives how many have failed in a row.
    pub fn deep_ended(
        &mut self,
        (began, now): (Time, Time),
        generation: u64,
        result: ResultWord,
        report: &mut Report,
    ) -> u8 {
        self.now = self.now.max(now);
        if (self.state, self.generation) != (Lifecycle::Running, generation) {
            return 0;
        }
        self.monitor
            .deep_ended(moment(self.now), generation, result, self.policy);
        let fails = self.monitor.failed_deep() > 0;
        self.deep_failing_since = fails.then_some(self.deep_failing_since.unwrap_or(began));
        self.trace(report, || format!("deep check: {result:?}"));
        self.told(report);
        self.monitor.failed_deep()
    }

    fn woke(&mut self, stall: Duration, noticed: bool, report: &mut Report) {
        self.trace(report, || format!("the host stood still for {stall:?}"));
        if noticed {
            self.monitor.host_stalled(moment(self.now), stall, self.policy);
            self.told(report);
        }
    }

    fn live(&mut self, state: Lifecycle) {
        if state == Lifecycle::Running {
            self.generation += 1;
            (self.running_since, self.deep_failing_since) = (self.now, None);
            self.plugin.begins();
        }
        self.state = state;
        self.coming = None;
        let calls = self.plugin.calls(self.now, self.world);
        self.monitor
            .enter(moment(self.now), state, self.generation, calls, self.policy);
    }

    /// Has the judge hear of a change.
    #[inline]
    fn told(&mut self, report: &mut Report) {
        let (is, was) = (self.monitor.judged(), self.judge.judged());
        if (is.health, is.cause, is.flags.flapping) == (was.health, was.cause, was.flags.flapping) {
            return;
        }
        report.changes += 1;
        let failing = Failing {
            calls_since: self.plugin.failing_since(),
            deep_since: self.deep_failing_since,
        };
        self.judge.changed(self.now, is, failing, report);
        self.trace(report, || format!("judged {:?}: {}", is.health, is.cause));
    }

    fn is_host_late(&self) -> bool {
        let asked = self.monitor.asked_at().map(time);
        asked.is_some_and(|asked| self.world.stood_still(asked, self.now) > Duration::ZERO)
    }

    /// Until then the host runs.
    fn calm_until(&self) -> Time {
        self.world
            .pauses
            .get(self.pause)
            .map_or(Time::MAX, |pause| pause.from)
    }

    fn trace(&mut self, report: &mut Report, line: impl FnOnce() -> String) {
        if self.traced && report.trace.len() < TRACE_MAX {
            let fault = self
                .plugin
                .fault(self.now)
                .map_or("", |fault| fault.kind.as_str());
            let (ms, wall) = (self.now / 1_000_000, self.world.wall_ms(self.now));
            let line = line();
            report.trace.push(format!(
                "{:>11}.{:03} s  wall {wall:>12}  {fault:<24}  {line}",
                ms / 1000,
                ms % 1000
            ));
        }
    }
}
