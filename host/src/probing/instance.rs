//! One instance as the engine keeps it: its monitor, what its checks told last, and what is written down of it.

use super::At;
use super::hot::Hot;
use super::meter::Records;
use super::minute::Minute;
use super::outbox::{FlappingChange, HealthChange, Outbox};
use super::reported::Reported;
use super::target::Target;
use extman_health::Moment;
use extman_health::monitor::Monitor;
use extman_health::policy::Policy;
use extman_model::record::{CheckCounts, MinuteRow, Record, Rollup, SpanState, StateTransition};
use extman_model::{Cause, CheckOutcome, CheckView, ErrorKind, Judgement, Lifecycle};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Texts that are kept of an instance, in bytes.
const TEXT_MAX: usize = 1024;
/// After so many equal states, an instance that flapped is steady. Longer turns than this do not flap.
const STEADY_STATES: u32 = 6;

/// One instance, but for what nearly every check touches: see [`Hot`].
pub(super) struct MonitoredInstance {
    pub name: Arc<str>,
    pub monitor: Monitor,
    pub minute: Minute,
    /// Its checks since it is known, but for those that were quiet since it was gone through as a whole.
    pub counts: CheckCounts,
    pub last: Option<Box<CheckView>>,
    /// A call of it has failed, and the next one that fails is heard of only after a check that is gone through as a whole.
    pub is_failing: bool,
    /// The state that was written down last, so that each is written once.
    pub recorded: Option<SpanState>,
    /// What most of thousands never have.
    rare: Option<Box<Rare>>,
}

#[derive(Default)]
struct Rare {
    waiters: Vec<oneshot::Sender<CheckView>>,
    /// Parts and a connection, of which only some tell.
    reported: Option<Reported>,
    /// What the last deep check of this generation said that was evidence.
    deep_words: Option<Box<str>>,
    /// Whose being down is at the root of what it lacks.
    suppressed_by: Option<Arc<str>>,
    flapping: Option<FlappingEpisode>,
    counted_calls: CountedCalls,
}

/// While an instance flaps, its changes are counted and not published one by one.
struct FlappingEpisode {
    since: Moment,
    changes: u32,
}

/// Calls that are in the minutes up to now. Only those have it that were called.
#[derive(Default)]
struct CountedCalls {
    ended: u64,
    errors: Vec<(ErrorKind, u64)>,
}

impl MonitoredInstance {
    pub(super) fn new(name: Arc<str>, (now, unix_ms): At) -> Self {
        MonitoredInstance {
            monitor: Monitor::new(&name, now),
            name,
            minute: Minute::new(now, unix_ms),
            counts: CheckCounts::default(),
            last: None,
            is_failing: false,
            recorded: None,
            rare: None,
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Whether somebody waits for its next result.
    pub(super) fn is_awaited(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.waiters.is_empty())
    }

    /// Somebody waits for its next result.
    pub(super) fn await_result(&mut self, waiter: oneshot::Sender<CheckView>) {
        let waiters = &mut self.rare().waiters;
        waiters.retain(|before| !before.is_closed());
        waiters.push(waiter);
    }

    /// Those who wait for a result, who get this one.
    pub(super) fn take_waiters(&mut self) -> Vec<oneshot::Sender<CheckView>> {
        let rare = self.rare.as_mut();
        rare.map(|rare| std::mem::take(&mut rare.waiters))
            .unwrap_or_default()
    }

    /// Parts and the connection, if it has told of any.
    pub(super) fn reported(&self) -> Option<&Reported> {
        self.rare.as_ref()?.reported.as_ref()
    }

    pub(super) fn reported_mut(&mut self) -> &mut Reported {
        self.rare().reported.get_or_insert_default()
    }

    /// What the last deep check of this generation said that was evidence.
    pub(super) fn deep_words(&self) -> Option<&str> {
        self.rare.as_ref()?.deep_words.as_deref()
    }

    pub(super) fn set_deep_words(&mut self, words: Option<Box<str>>) {
        if words.is_some() || self.rare.is_some() {
            self.rare().deep_words = words;
        }
    }

    /// Whose being down is at the root of what it lacks.
    pub(super) fn suppressed_by(&self) -> Option<&Arc<str>> {
        self.rare.as_ref()?.suppressed_by.as_ref()
    }

    pub(super) fn set_suppressed_by(&mut self, root: Option<Arc<str>>) {
        if root.is_some() || self.rare.is_some() {
            self.rare().suppressed_by = root;
        }
    }

    /// Gives the monitor something to judge by. The time up to now belongs to the state from before, and a change is published.
    pub(super) fn judge<R>(
        &mut self,
        hot: &Hot,
        at: At,
        out: &mut Outbox,
        evidence: impl FnOnce(&mut Self, &Policy, &mut Outbox) -> R,
    ) -> R {
        let was = self.monitor.judged();
        self.pass(hot.target.as_ref(), at, &mut out.records);
        let given = evidence(self, &hot.policy, out);
        self.publish_change(was, at, out);
        given
    }

    /// Publishes and writes down what has changed from `was`.
    fn publish_change(&mut self, was: Judgement, (now, unix_ms): At, out: &mut Outbox) {
        let is = self.monitor.judged();
        let flapping = self.follow_flapping(was, now);
        if was != is || flapping.is_some() {
            out.changes.push(HealthChange {
                name: self.name.clone(),
                from: was,
                to: is,
                text: self.words(),
                flapping,
            });
        }
        let state = SpanState {
            lifecycle: self.monitor.lifecycle(),
            health: is.health,
            cause: is.cause,
            left_out: self.monitor.is_excluded(),
        };
        if self.recorded.replace(state) != Some(state) {
            let text = self.words();
            self.record_state(unix_ms, Some(state), text, &mut out.records);
        }
    }

    fn record_state(
        &self,
        at_unix_ms: u64,
        state: Option<SpanState>,
        text: Option<String>,
        to: &mut Records,
    ) {
        to.ready.push(Record::Transition(StateTransition {
            instance: self.name.clone(),
            at_unix_ms,
            state,
            text,
        }));
    }

    /// Begins and ends the episode of an instance that flaps. Gives where it is in it, if that is to be published.
    fn follow_flapping(&mut self, was: Judgement, now: Moment) -> Option<FlappingChange> {
        let (is, flap) = (self.monitor.judged(), self.monitor.flap());
        let runs = self.monitor.lifecycle() == Lifecycle::Running;
        let episode = self.rare.as_mut().and_then(|rare| rare.flapping.as_mut());
        let Some(episode) = episode else {
            if !(runs && is.flags.flapping) {
                return None;
            }
            self.rare().flapping = Some(FlappingEpisode {
                since: now,
                changes: 0,
            });
            let permille = flap.permille();
            return Some(FlappingChange::Begins { permille });
        };
        episode.changes += u32::from(was.health != is.health);
        if runs && (is.flags.flapping || !flap.is_steady(STEADY_STATES)) {
            return (was != is).then_some(FlappingChange::GoesOn);
        }
        let ends = FlappingChange::Ends {
            changes: episode.changes,
            lasted: now.since(episode.since),
        };
        self.rare().flapping = None;
        Some(ends)
    }

    /// Since when it flaps, if it does.
    pub(super) fn flapping_since(&self) -> Option<Moment> {
        let episode = self.rare.as_ref()?.flapping.as_ref()?;
        self.monitor.judged().flags.flapping.then_some(episode.since)
    }

    /// Whether each of its results is looked at, since somebody waits for it, a call has failed or it may cease to flap.
    pub(super) fn is_watched(&self) -> bool {
        let flaps = self.rare.as_ref().is_some_and(|rare| rare.flapping.is_some());
        self.is_awaited() || self.is_failing || self.recorded.is_none() || flaps
    }

    /// Another generation, or none: what was counted of the one `before` stays with it.
    pub(super) fn retarget(&mut self, before: Option<Arc<dyn Target>>, runs: bool, records: &mut Records) {
        if let Some(rare) = &mut self.rare {
            (rare.deep_words, rare.counted_calls) = (None, CountedCalls::default());
            // Whoever waits for an answer of the one before waits in vain.
            rare.waiters.clear();
            if runs {
                rare.reported = None;
            }
        }
        if let Some(before) = before {
            records.push_change(self.name.clone(), before);
        }
        // The last check of one that has stopped tells why.
        if runs {
            self.last = None;
        }
    }

    /// The time up to now belongs to the state that is. Minutes that are over are written down.
    pub(super) fn pass(
        &mut self,
        target: Option<&Arc<dyn Target>>,
        (now, unix_ms): At,
        records: &mut Records,
    ) {
        let (health, is_excluded) = (self.monitor.judged().health, self.monitor.is_excluded());
        let ended = self.minute.pass(now, unix_ms, health, is_excluded);
        let last = ended.len().saturating_sub(1);
        for (at, rollup) in ended.into_iter().enumerate() {
            if at == last {
                self.push_measured(target, rollup, records);
            } else {
                let instance = self.name.clone();
                records
                    .ready
                    .push(Record::Minute(Box::new(MinuteRow { instance, rollup })));
            }
        }
    }

    /// What `target` used and was called up to now is in the minute of this rollup.
    fn push_measured(&mut self, target: Option<&Arc<dyn Target>>, mut rollup: Rollup, records: &mut Records) {
        if let Some(target) = target {
            self.add_calls(&**target, &mut rollup);
        }
        let instance = self.name.clone();
        records.push_unmeasured(MinuteRow { instance, rollup }, target.cloned());
    }

    /// Calls since the last time.
    fn add_calls(&mut self, target: &dyn Target, rollup: &mut Rollup) {
        let calls = target.calls();
        if calls.returned == 0 && calls.ended == 0 {
            return;
        }
        let counted = &mut self.rare().counted_calls;
        rollup.calls = calls.ended.saturating_sub(counted.ended);
        counted.ended = calls.ended;
        rollup.latency = target.take_latency();
        let errors = target.errors();
        for (kind, count) in &errors {
            let before = counted.errors.iter().find(|(known, _)| known == kind);
            let more = count.saturating_sub(before.map_or(0, |(_, count)| *count));
            if more > 0 {
                rollup.errors.insert(*kind, more);
            }
        }
        counted.errors = errors;
    }

    /// Nobody looks any more.
    pub(super) fn forget(&mut self, target: Option<&Arc<dyn Target>>, at: At, records: &mut Records) {
        self.pass(target, at, records);
        let rest = self.minute.rest();
        self.push_measured(target, rest, records);
        self.record_state(at.1, None, None, records);
    }

    /// The plugin's own words, or its error's; of what lacks something, whose being down is at the root of that.
    fn words(&self) -> Option<String> {
        let text = match self.monitor.judged().cause {
            Cause::DependencyDown => return self.suppressed_by().map(|root| suppressed_by(root)),
            cause if cause.is_deep() => self.deep_words()?,
            _ => match &self.last.as_ref()?.outcome {
                CheckOutcome::Answered { report } => report.as_ref()?.text.as_deref()?,
                CheckOutcome::Failed { text, .. } => text,
                CheckOutcome::Busy | CheckOutcome::NotBegun | CheckOutcome::TimedOut => return None,
            },
        };
        Some(cut(text).to_owned())
    }
}

/// Says whose being down is at the root of what an instance lacks.
pub(crate) fn suppressed_by(root: &str) -> String {
    format!("suppressed by {root}")
}

/// As much of a text as is kept.
pub(super) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probing::meter::Meter;
    use crate::probing::{Apart, EventSink, HealthChange, ReportChange};
    use extman_health::monitor::Calls;
    use extman_model::CheckKind;
    use extman_model::latency::LatencyHistogram;
    use extman_runtime::instance::Asked;
    use extman_runtime::lanes::{LaneContext, Pool};
    use std::sync::Mutex;
    use std::time::Duration;

    /// Uses the processor as told, and is never asked how it is.
    struct Uses(Mutex<Vec<Option<u64>>>);

    impl Target for Uses {
        fn lanes(&self) -> &Pool {
            unreachable!("it is never asked")
        }
        fn wedge_after(&self) -> Duration {
            Duration::ZERO
        }
        fn has_check(&self) -> bool {
            false
        }
        fn check_on(&self, _: &LaneContext<'_>, _: Duration, _: Moment) -> Option<Asked> {
            None
        }
        fn check_apart(self: Arc<Self>, _: CheckKind, _: Duration) -> Apart {
            Box::pin(async { (CheckOutcome::Busy, None) })
        }
        fn calls(&self) -> Calls {
            Calls::default()
        }
        fn errors(&self) -> Vec<(ErrorKind, u64)> {
            Vec::new()
        }
        fn take_latency(&self) -> LatencyHistogram {
            LatencyHistogram::default()
        }
        fn take_cpu(&self) -> Option<u64> {
            self.0.lock().unwrap().remove(0)
        }
    }

    fn uses(cpu: &[Option<u64>]) -> Option<Arc<dyn Target>> {
        Some(Arc::new(Uses(Mutex::new(cpu.to_vec()))))
    }

    fn at(minute: u64) -> Moment {
        Moment::from_nanos((1 + minute) * 60_000_000_000)
    }

    struct Written(Mutex<Vec<Record>>);

    impl EventSink for Written {
        fn changed(&self, _: HealthChange) {}
        fn reported(&self, _: &str, _: ReportChange) {}
        fn panicked(&self, _: &str, _: u64, _: String) {}
        fn stalled(&self, _: Duration) {}
        fn record(&self, records: &mut Vec<Record>) {
            self.0.lock().unwrap().append(records);
        }
        fn keeps_results(&self) -> bool {
            false
        }
    }

    /// A instance whose minutes are measured as the engine has it done.
    struct Measured {
        instance: MonitoredInstance,
        target: Option<Arc<dyn Target>>,
        meter: Meter,
        records: Records,
    }

    impl Measured {
        fn new() -> Self {
            Measured {
                instance: MonitoredInstance::new("one".into(), (at(0), 0)),
                target: None,
                meter: Meter::default(),
                records: Records::default(),
            }
        }

        fn retarget(&mut self, target: Option<Arc<dyn Target>>) {
            let before = std::mem::replace(&mut self.target, target);
            self.instance
                .retarget(before, self.target.is_some(), &mut self.records);
        }

        fn pass(&mut self, upto: u64) {
            let now = (at(upto), upto * 60_000);
            self.instance.pass(self.target.as_ref(), now, &mut self.records);
        }

        /// What the minutes up to there have.
        fn minutes(&mut self, upto: u64) -> Vec<Option<u64>> {
            self.pass(upto);
            let written = Written(Mutex::new(std::mem::take(&mut self.records.ready)));
            self.meter.settle_all(&mut self.records, &written);
            let records = written.0.into_inner().unwrap();
            let cpu = records.iter().map(|record| match record {
                Record::Minute(row) => row.rollup.cpu_ns,
                other => panic!("{other:?}"),
            });
            cpu.collect()
        }
    }

    #[test]
    fn a_minute_has_the_processor_time_of_both_generations_in_it_or_none() {
        let mut one = Measured::new();
        assert_eq!(one.minutes(1), [None]);
        one.retarget(uses(&[Some(5), Some(6)]));
        assert_eq!(one.minutes(2), [Some(5)]);
        one.retarget(uses(&[Some(30), None, Some(7)]));
        assert_eq!(one.minutes(3), [Some(36)]);
        assert_eq!(one.minutes(4), [None], "others have a share in it");
        one.retarget(None);
        assert_eq!(one.minutes(6), [None, Some(7)], "what it used before it stopped");
        assert_eq!(one.minutes(7), [None]);
    }

    #[test]
    fn a_minute_in_which_one_generation_could_not_be_measured_has_none_though_the_next_could() {
        let mut one = Measured::new();
        one.retarget(uses(&[Some(1), None]));
        assert_eq!(one.minutes(1), [Some(1)]);
        one.retarget(uses(&[Some(30), Some(4)]));
        assert_eq!(one.minutes(2), [None], "30 is not all");
        assert_eq!(one.minutes(3), [Some(4)]);
    }

    #[test]
    fn nothing_is_measured_until_the_engines_lock_is_let_go() {
        let target = Arc::new(Uses(Mutex::new(vec![Some(5), Some(6), Some(7)])));
        let mut one = Measured::new();
        let unmeasured = || target.0.lock().unwrap().len();
        one.retarget(Some(target.clone()));
        one.pass(1);
        assert_eq!(unmeasured(), 3);
        assert!(one.meter.take(&mut one.records), "a lane has it done");
        assert_eq!(unmeasured(), 3);
        // Somebody can't wait for that: he measures himself, what came before first.
        assert_eq!(one.minutes(2), [Some(5), Some(6)]);
        assert_eq!(unmeasured(), 1);
        one.retarget(None);
        one.instance
            .forget(Some(&(target.clone() as _)), (at(2), 120_000), &mut one.records);
        assert_eq!(unmeasured(), 1);
    }
}
