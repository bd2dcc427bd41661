//! The quiet path: an instance that is up, answers in time and says nothing new. Nearly every check is that, and a few comparisons
//! tell; whatever else comes goes through the whole [`Monitor`], the only place that decides. Pure.
//!
//! What quiet answers change is kept here, and given back before anything else is asked of the monitor or done to it.

use super::checks::{SLOW, greatest};
use super::heap::HeapEvidence;
use super::interval::{INTERVAL_MIN, next_due};
use super::{Calls, CheckState, CheckTimeout, Monitor, State};
use crate::Moment;
use crate::policy::Policy;
use extman_model::{Figures, Health};
use std::time::Duration;

/// What of a monitor changes while it is quiet. Small, and all that most checks touch of it.
#[derive(Debug, Clone, Copy)]
pub struct Quiet {
    /// From here on the whole monitor is gone through; at once if it is not quiet.
    until: Moment,
    due: Moment,
    answered_at: Moment,
    calls_ended: u64,
    calls_returned: u64,
    seed: u64,
    timeout: CheckTimeout,
    cycle: u32,
    /// Quiet answers that the monitor does not know of yet.
    answers: u32,
    tells_heap: bool,
}

impl Monitor {
    /// What of it changes while it is quiet. At `until`, somebody else wants to be told at the latest.
    pub fn quiet(&self, until: Moment, policy: &Policy) -> Quiet {
        let State::Running(running) = &self.state else {
            return Quiet::not();
        };
        let is_quiet = running.is_quiet(self.judged)
            && self.flap.is_up_now()
            && running.check.is_idle()
            && !running.is_suspect
            && running.down_for == 0
            && policy.fall > 1
            && running.interval == policy.interval.max(INTERVAL_MIN);
        let idle_at = running
            .called_at
            .unwrap_or(running.began)
            .after(policy.idle_after);
        Quiet {
            until: if is_quiet {
                until.min(idle_at)
            } else {
                Moment::from_nanos(0)
            },
            due: running.due,
            answered_at: running.fresh_at,
            calls_ended: running.calls_seen.ended,
            calls_returned: running.calls_seen.returned,
            seed: self.seed,
            timeout: running.timeout,
            cycle: running.cycle,
            answers: 0,
            tells_heap: running.heap.is_known(),
        }
    }

    /// Takes over what quiet answers have changed.
    pub fn take_quiet(&mut self, quiet: &mut Quiet, policy: &Policy) {
        let answers = std::mem::take(&mut quiet.answers);
        let State::Running(running) = &mut self.state else {
            return;
        };
        if answers == 0 {
            return;
        }
        running.fresh_at = quiet.answered_at;
        running.checks.results.observe_good(answers);
        running.checks.fast_timeouts = 0;
        if running.heap.is_known() {
            running.heap.observe_good(answers);
        }
        running.check = CheckState::Idle;
        (running.timeout, running.cycle, running.due) = (quiet.timeout, quiet.cycle, quiet.due);
        self.flap.push_up(answers);
        debug_assert_eq!(self.judgement(self.decide(policy)), self.judged);
    }
}

impl Quiet {
    /// Of an instance that is to be gone through as a whole.
    pub fn not() -> Self {
        let none = Moment::from_nanos(0);
        Quiet {
            until: none,
            due: none,
            answered_at: none,
            calls_ended: 0,
            calls_returned: 0,
            seed: 0,
            timeout: CheckTimeout::default(),
            cycle: 0,
            answers: 0,
            tells_heap: false,
        }
    }

    /// Whoever comes next has to go through the whole monitor.
    pub fn end(&mut self) {
        self.until = Moment::from_nanos(0);
    }

    /// Quiet answers that the monitor does not know of yet.
    pub fn answers(&self) -> u32 {
        self.answers
    }

    /// When it is due, by its quiet answers.
    #[inline]
    pub fn due(&self) -> Moment {
        self.due
    }

    /// How long an answer may take, if it is quiet up to now.
    #[inline]
    pub fn begin(&self, now: Moment, calls: Calls, policy: &Policy) -> Option<Duration> {
        let is_quiet = self.is_quiet(now, calls) && self.is_fresh(now, policy);
        is_quiet.then(|| self.timeout.timeout(policy.timeout))
    }

    /// It has answered in figures, or says nothing of itself. `false`, and nothing is taken in, if that is not all: then the whole monitor
    /// is to be gone through.
    #[inline]
    pub fn answered(
        &mut self,
        (began, now): (Moment, Moment),
        timeout: Duration,
        figures: Option<&Figures>,
        calls: Calls,
        policy: &Policy,
    ) -> bool {
        let took = now.since(began);
        let well = matches!(
            figures.and_then(|figures| figures.health),
            None | Some(Health::Up)
        );
        let limit = figures.and_then(|figures| figures.heap_bytes().zip(figures.heap_limit_bytes()));
        let heap_well = match limit {
            None => !self.tells_heap,
            Some((bytes, limit)) => self.tells_heap && HeapEvidence::is_well(bytes, limit),
        };
        if !(well && heap_well && took <= SLOW && took < timeout && self.is_quiet(now, calls)) {
            return false;
        }
        self.timeout.observe(took.min(greatest(policy)));
        self.answered_at = now;
        self.answers += 1;
        self.cycle = self.cycle.wrapping_add(1);
        let usual = policy.interval.max(INTERVAL_MIN);
        self.due = next_due(policy, usual, (self.seed, self.cycle), self.due, now);
        true
    }

    /// It has answered quietly, and so lately that its monitor's verdict holds as it is.
    #[inline]
    pub fn upholds(&self, now: Moment, policy: &Policy) -> bool {
        self.answers > 0 && self.is_fresh(now, policy)
    }

    #[inline]
    fn is_fresh(&self, now: Moment, policy: &Policy) -> bool {
        let stale = policy.interval.max(INTERVAL_MIN) * u32::from(policy.stale_intervals.max(1));
        now.since(self.answered_at) <= stale
    }

    #[inline]
    fn is_quiet(&self, now: Moment, calls: Calls) -> bool {
        now < self.until
            && self.calls_ended == calls.ended
            && self.calls_returned == calls.returned
            && self.answers < u32::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Answer, Poll};
    use super::*;
    use extman_model::record::ResultWord;
    use extman_model::{ErrorKind, Lifecycle, Report};
    use proptest::prelude::*;

    /// What one check comes to, and what happens between two of them.
    #[derive(Debug, Clone)]
    struct Step {
        says: u8,
        took_us: u64,
        late_ms: u64,
        calls: u64,
        blamed: bool,
        heap: Option<(u64, u64)>,
        pushed: Option<Health>,
        stall_ms: u64,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let says = prop_oneof![30 => Just(0_u8), 1 => 1..6_u8];
        let took_us = prop_oneof![20 => 0..300_u64, 1 => 0..400_000_u64];
        let late_ms = prop_oneof![20 => 0..60_u64, 1 => 0..90_000_u64];
        let calls = prop_oneof![10 => Just(0_u64), 1 => 1..20_u64];
        let heap = prop_oneof![4 => Just(None), 1 => (0..1100_u64, Just(1000_u64)).prop_map(Some)];
        let pushed =
            prop_oneof![40 => Just(None), 1 => Just(Some(Health::Down)), 1 => Just(Some(Health::Up))];
        let stall_ms = prop_oneof![40 => Just(0_u64), 1 => 600..30_000_u64];
        (
            says,
            took_us,
            late_ms,
            calls,
            any::<bool>(),
            heap,
            pushed,
            stall_ms,
        )
            .prop_map(
                |(says, took_us, late_ms, calls, blamed, heap, pushed, stall_ms)| Step {
                    says,
                    took_us,
                    late_ms,
                    calls,
                    blamed,
                    heap,
                    pushed,
                    stall_ms,
                },
            )
    }

    /// One instance, gone through as a whole each time, or quietly where it can be.
    struct Instance {
        monitor: Monitor,
        quiet: Quiet,
        may_be_quiet: bool,
        was_quiet: u32,
    }

    const GENERATION: u64 = 3;

    impl Instance {
        fn new(may_be_quiet: bool, policy: &Policy) -> Self {
            let start = Moment::from_nanos(1_000_000_000);
            let mut monitor = Monitor::new("one", start);
            monitor.enter(start, Lifecycle::Running, GENERATION, Calls::default(), policy);
            let mut instance = Instance {
                quiet: Quiet::not(),
                monitor,
                may_be_quiet,
                was_quiet: 0,
            };
            instance.rest(policy);
            instance
        }

        fn rest(&mut self, policy: &Policy) {
            if self.may_be_quiet {
                self.quiet = self.monitor.quiet(Moment::from_nanos(u64::MAX), policy);
            }
        }

        fn due(&mut self, policy: &Policy) -> Moment {
            self.monitor.take_quiet(&mut self.quiet, policy);
            self.monitor.due().unwrap()
        }

        fn check(&mut self, now: Moment, step: &Step, calls: Calls, policy: &Policy) {
            let figures = Figures::of(&Report {
                health: Some(Health::Up),
                heap_bytes: step.heap.map(|heap| heap.0),
                heap_limit_bytes: step.heap.map(|heap| heap.1),
                ..Report::default()
            });
            let ended = now.after(Duration::from_micros(step.took_us));
            if step.says == 0
                && let Some(timeout) = self.quiet.begin(now, calls, policy)
                && self
                    .quiet
                    .answered((now, ended), timeout, figures.as_ref(), calls, policy)
            {
                self.was_quiet += 1;
                return;
            }
            self.monitor.take_quiet(&mut self.quiet, policy);
            if let Poll::Ask { .. } = self.monitor.poll(now, calls, true, false, policy) {
                let result = match step.says {
                    0 => ResultWord::Said(Some(Health::Up)),
                    1 => ResultWord::Said(Some(Health::Degraded)),
                    2 => ResultWord::Said(Some(Health::Down)),
                    3 => ResultWord::Failed(ErrorKind::Unavailable),
                    4 => ResultWord::Said(Some(Health::Unknown)),
                    _ => ResultWord::Busy,
                };
                let answer = Answer {
                    generation: GENERATION,
                    result,
                    took: (result != ResultWord::Busy).then(|| ended.since(now)),
                    host_late: false,
                };
                self.monitor.answered(ended, answer, calls, policy);
                if let Some(figures) = figures.filter(|_| step.says == 0) {
                    self.monitor
                        .reported(ended, GENERATION, &figures.report(), policy);
                }
            }
            self.rest(policy);
        }

        fn between(&mut self, now: Moment, step: &Step, policy: &Policy) {
            if step.pushed.is_none() && step.stall_ms == 0 {
                return;
            }
            self.monitor.take_quiet(&mut self.quiet, policy);
            if let Some(health) = step.pushed {
                self.monitor.pushed(now, GENERATION, health, policy);
            }
            if step.stall_ms > 0 {
                self.monitor
                    .host_stalled(now, Duration::from_millis(step.stall_ms), policy);
            }
            self.rest(policy);
        }
    }

    fn compare(steps: &[Step], policy: &Policy) -> u32 {
        let (mut whole, mut quiet) = (Instance::new(false, policy), Instance::new(true, policy));
        let mut calls = Calls::default();
        let mut now = Moment::from_nanos(1_000_000_000);
        for (at, step) in steps.iter().enumerate() {
            now = now
                .max(whole.due(policy))
                .after(Duration::from_millis(step.late_ms));
            calls.ended += step.calls;
            calls.returned += step.calls;
            calls.blamed += if step.blamed { step.calls } else { 0 };
            calls.failed_run = match (step.calls, step.blamed) {
                (0, _) => calls.failed_run,
                (more, true) => calls.failed_run + more as u32,
                (_, false) => 0,
            };
            whole.check(now, step, calls, policy);
            quiet.check(now, step, calls, policy);
            now = now.after(Duration::from_micros(step.took_us));
            whole.between(now, step, policy);
            quiet.between(now, step, policy);
            let mut seen = quiet.monitor.clone();
            seen.take_quiet(&mut quiet.quiet.clone(), policy);
            assert_eq!(
                format!("{:?}", whole.monitor),
                format!("{seen:?}"),
                "after step {at}: {step:?}"
            );
        }
        quiet.was_quiet
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn quiet_answers_come_to_the_same_as_the_whole_monitor(
            steps in prop::collection::vec(any_step(), 1..120),
            fall in 1..5_u8,
            interval_ms in prop_oneof![Just(1_000_u64), Just(10_000), Just(20)],
            timeout_ms in prop_oneof![Just(5_u64), Just(250)],
        ) {
            let policy = Policy {
                fall,
                interval: Duration::from_millis(interval_ms),
                timeout: (Duration::from_millis(timeout_ms), Duration::from_secs(5)),
                ..Policy::default()
            };
            compare(&steps, &policy);
        }
    }

    #[test]
    fn nearly_every_good_check_is_quiet() {
        let good = Step {
            says: 0,
            took_us: 1,
            late_ms: 1,
            calls: 0,
            blamed: false,
            heap: Some((100, 1000)),
            pushed: None,
            stall_ms: 0,
        };
        let second = Policy {
            interval: Duration::from_secs(1),
            ..Policy::default()
        };
        assert!(compare(&vec![good; 600], &second) > 550);
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Quiet>() <= 80, "{}", size_of::<Quiet>());
    }
}
