//! One instance as the engine keeps it: its monitor, what its checks told last, and what is written down of it.

use super::meter::Records;
use super::minute::Minute;
use super::outbox::{FlappingChange, HealthChange, Outbox};
use super::reported::Reported;
use super::target::Target;
use extman_health::Moment;
use extman_health::monitor::{Calls, Monitor};
use extman_health::policy::Policy;
use extman_model::clock;
use extman_model::record::{CheckCounts, MinuteRow, Record, Rollup, SpanState, StateTransition};
use extman_model::{CheckOutcome, CheckView, ErrorKind, Judgement, Lifecycle};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Texts that are kept of an instance, in bytes.
const TEXT_MAX: usize = 1024;
/// After so many equal states, an instance that flapped is steady. Longer turns than this do not flap.
const STEADY_STATES: u32 = 6;

/// One instance.
pub(super) struct MonitoredInstance {
    pub name: Arc<str>,
    pub target: Option<Arc<dyn Target>>,
    pub policy: Arc<Policy>,
    pub monitor: Monitor,
    pub minute: Minute,
    /// Its checks since it is known.
    pub counts: CheckCounts,
    pub last: Option<Box<CheckView>>,
    pub waiters: Vec<oneshot::Sender<CheckView>>,
    /// A call of it has failed, and the next one that fails is heard of only after a check that is gone through as a whole.
    pub is_failing: bool,
    /// The state that was written down last, so that each is written once.
    pub recorded: Option<SpanState>,
    /// Parts and a connection, of which only some tell.
    pub reported: Option<Box<Reported>>,
    /// Only those have it that were asked deep.
    pub deep: Option<Box<DeepSaid>>,
    flapping: Option<Box<FlappingEpisode>>,
    counted_calls: Option<Box<CountedCalls>>,
}

/// What the last deep check of this generation said that is evidence.
pub(super) struct DeepSaid {
    pub text: Option<String>,
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
    pub(super) fn new(name: Arc<str>, policy: Arc<Policy>, now: Moment, unix_ms: u64) -> Self {
        MonitoredInstance {
            monitor: Monitor::new(&name, now),
            name,
            target: None,
            policy,
            minute: Minute::new(now, unix_ms),
            counts: CheckCounts::default(),
            last: None,
            waiters: Vec::new(),
            is_failing: false,
            recorded: None,
            reported: None,
            deep: None,
            flapping: None,
            counted_calls: None,
        }
    }

    /// Gives the monitor something to judge by. The time up to `now` belongs to the state from before, and a change is published.
    pub(super) fn judge<R>(
        &mut self,
        (now, unix_ms): (Moment, u64),
        out: &mut Outbox,
        evidence: impl FnOnce(&mut Monitor, &Policy) -> R,
    ) -> R {
        let was = self.monitor.judged();
        self.pass(now, unix_ms, &mut out.records);
        let given = evidence(&mut self.monitor, &self.policy);
        self.publish_change(was, (now, unix_ms), out);
        given
    }

    /// Publishes and writes down what has changed from `was`.
    pub(super) fn publish_change(&mut self, was: Judgement, (now, unix_ms): (Moment, u64), out: &mut Outbox) {
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
        if let Some(transition) = self.transition(unix_ms) {
            out.records.push(Record::Transition(transition));
        }
    }

    /// Begins and ends the episode of an instance that flaps. Gives where it is in it, if that is to be published.
    fn follow_flapping(&mut self, was: Judgement, now: Moment) -> Option<FlappingChange> {
        let (is, flap) = (self.monitor.judged(), self.monitor.flap());
        let runs = self.monitor.lifecycle() == Lifecycle::Running;
        let Some(episode) = &mut self.flapping else {
            let begins = runs && is.flags.flapping;
            self.flapping = begins.then(|| {
                Box::new(FlappingEpisode {
                    since: now,
                    changes: 0,
                })
            });
            let permille = (flap.ratio() * 1000.0).round() as u16;
            return begins.then_some(FlappingChange::Begins { permille });
        };
        episode.changes += u32::from(was.health != is.health);
        if runs && (is.flags.flapping || !flap.is_steady(STEADY_STATES)) {
            return (was != is).then_some(FlappingChange::GoesOn);
        }
        let ends = FlappingChange::Ends {
            changes: episode.changes,
            lasted: now.since(episode.since),
        };
        self.flapping = None;
        Some(ends)
    }

    /// Whether each of its results is looked at, since somebody waits for it, a call has failed or it may cease to flap.
    pub(super) fn is_watched(&self) -> bool {
        let is_awaited = !self.waiters.is_empty() || self.is_failing;
        is_awaited || self.recorded.is_none() || self.flapping.is_some()
    }

    pub(super) fn calls(&self) -> Calls {
        self.target
            .as_ref()
            .map_or_else(Calls::default, |target| target.calls())
    }

    /// Another generation, or none: what was counted of the one before stays with it.
    pub(super) fn retarget(&mut self, target: Option<Arc<dyn Target>>, records: &mut Records) {
        self.deep = None;
        self.counted_calls = None;
        // Whoever waits for an answer of the one before waits in vain.
        self.waiters.clear();
        if let Some(before) = self.target.take() {
            records.push_change(self.name.clone(), before);
        }
        // The last check of one that has stopped tells why.
        if target.is_some() {
            self.last = None;
            self.reported = None;
        }
        self.target = target;
    }

    /// The time up to `now` belongs to the state that is. Minutes that are over are written down.
    pub(super) fn pass(&mut self, now: Moment, unix_ms: u64, records: &mut Records) {
        let (health, is_excluded) = (self.monitor.judged().health, self.monitor.is_excluded());
        let ended = self.minute.pass(now, unix_ms, health, is_excluded);
        let last = ended.len().saturating_sub(1);
        for (at, mut rollup) in ended.into_iter().enumerate() {
            let instance = self.name.clone();
            if at == last {
                self.add_calls(&mut rollup);
                records.push_unmeasured(MinuteRow { instance, rollup }, self.target.clone());
            } else {
                records.push(Record::Minute(Box::new(MinuteRow { instance, rollup })));
            }
        }
    }

    /// Calls since the last time.
    fn add_calls(&mut self, rollup: &mut Rollup) {
        let Some(target) = &self.target else { return };
        let calls = target.calls();
        if calls.returned == 0 && calls.ended == 0 {
            return;
        }
        let counted = self.counted_calls.get_or_insert_default();
        rollup.calls = calls.ended.saturating_sub(counted.ended);
        counted.ended = calls.ended;
        rollup.latency = target.take_latency();
        if calls.blamed > 0 || calls.ended > 0 {
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
    }

    /// Nobody looks any more.
    pub(super) fn forget(&mut self, out: &mut Outbox) {
        let (now, unix_ms) = (clock::monotonic(), clock::unix_ms(clock::wall()));
        self.pass(now, unix_ms, &mut out.records);
        let mut rest = self.minute.rest();
        self.add_calls(&mut rest);
        let instance = self.name.clone();
        let row = MinuteRow {
            instance: instance.clone(),
            rollup: rest,
        };
        out.records.push_unmeasured(row, self.target.clone());
        out.records.push(Record::Transition(StateTransition {
            instance,
            at_unix_ms: unix_ms,
            state: None,
            text: None,
        }));
    }

    /// The state that it is in now, if that is not written down yet.
    fn transition(&mut self, unix_ms: u64) -> Option<StateTransition> {
        let judged = self.monitor.judged();
        let state = SpanState {
            lifecycle: self.monitor.lifecycle(),
            health: judged.health,
            cause: judged.cause,
            left_out: self.monitor.is_excluded(),
        };
        if self.recorded == Some(state) {
            return None;
        }
        self.recorded = Some(state);
        Some(StateTransition {
            instance: self.name.clone(),
            at_unix_ms: unix_ms,
            state: Some(state),
            text: self.words(),
        })
    }

    /// The plugin's own words, or its error's.
    fn words(&self) -> Option<String> {
        if self.monitor.judged().cause.is_deep() {
            return self.deep_words();
        }
        let text = match &self.last.as_ref()?.outcome {
            CheckOutcome::Answered { report } => report.as_ref()?.text.as_deref()?,
            CheckOutcome::Failed { text, .. } => text,
            CheckOutcome::Busy | CheckOutcome::NotBegun | CheckOutcome::TimedOut => return None,
        };
        Some(text[..text.floor_char_boundary(TEXT_MAX)].to_owned())
    }

    /// What its last deep check said.
    pub(super) fn deep_words(&self) -> Option<String> {
        let text = self.deep.as_ref()?.text.as_deref()?;
        Some(text[..text.floor_char_boundary(TEXT_MAX)].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probing::meter::Meter;
    use crate::probing::{Apart, EventSink, HealthChange, ReportChange};
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
        meter: Meter,
        records: Records,
    }

    impl Measured {
        fn new() -> Self {
            Measured {
                instance: MonitoredInstance::new("one".into(), Arc::default(), at(0), 0),
                meter: Meter::default(),
                records: Records::default(),
            }
        }

        fn retarget(&mut self, target: Option<Arc<dyn Target>>) {
            self.instance.retarget(target, &mut self.records);
        }

        fn pass(&mut self, upto: u64) {
            self.instance.pass(at(upto), upto * 60_000, &mut self.records);
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
        let mut out = Outbox::default();
        one.instance.forget(&mut out);
        assert_eq!(unmeasured(), 1);
    }
}
