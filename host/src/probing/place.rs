//! One instance as the engine keeps it.

use super::meter::Records;
use super::minute::Minute;
use super::out::Out;
use super::target::Target;
use extman_health::Moment;
use extman_health::course::{Calls, Course};
use extman_health::policy::Policy;
use extman_model::clock;
use extman_model::record::{MinuteRow, Record, Rollup, SpanState, StateTransition};
use extman_model::{CheckOutcome, CheckView, ErrorKind, Judgement};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Texts that are kept of an instance, in bytes.
const TEXT_MAX: usize = 1024;

/// One instance.
pub(super) struct Place {
    pub name: Arc<str>,
    pub target: Option<Arc<dyn Target>>,
    pub policy: Arc<Policy>,
    pub course: Course,
    pub minute: Minute,
    pub last: Option<Box<CheckView>>,
    pub waiters: Vec<oneshot::Sender<CheckView>>,
    /// What was told last, so that a state is told once.
    pub told: Option<SpanState>,
    /// Only those have it that were asked deep.
    pub deep: Option<Box<DeepSaid>>,
    rest: Option<Box<Rest>>,
}

/// What the last deep check of this generation said that is evidence.
pub(super) struct DeepSaid {
    pub text: Option<String>,
}

/// What only those have that were called.
#[derive(Default)]
struct Rest {
    ended: u64,
    errors: Vec<(ErrorKind, u64)>,
}

impl Place {
    pub(super) fn new(name: Arc<str>, policy: Arc<Policy>, now: Moment, unix_ms: u64) -> Self {
        Place {
            course: Course::new(&name, now),
            name,
            target: None,
            policy,
            minute: Minute::new(now, unix_ms),
            last: None,
            waiters: Vec::new(),
            told: None,
            deep: None,
            rest: None,
        }
    }

    pub(super) fn calls(&self) -> Calls {
        self.target
            .as_ref()
            .map_or_else(Calls::default, |target| target.calls())
    }

    /// Another generation, or none: what was counted of the one before stays with it.
    pub(super) fn retarget(&mut self, target: Option<Arc<dyn Target>>, records: &mut Records) {
        self.deep = None;
        self.rest = None;
        if let Some(before) = self.target.take() {
            records.push_change(self.name.clone(), before);
        }
        // The last check of one that has stopped tells why.
        if target.is_some() {
            self.last = None;
        }
        self.target = target;
    }

    /// The time up to `now` belongs to the state that was. Gives the minutes that are over.
    pub(super) fn pass(
        &mut self,
        now: Moment,
        unix_ms: u64,
        was: Judgement,
        left_out: bool,
        out: &mut Records,
    ) {
        let ended = self.minute.pass(now, unix_ms, was.health, left_out);
        let last = ended.len().saturating_sub(1);
        for (at, mut sums) in ended.into_iter().enumerate() {
            let instance = self.name.clone();
            if at == last {
                self.add_calls(&mut sums);
                out.push_unmeasured(MinuteRow { instance, sums }, self.target.clone());
            } else {
                out.push(Record::Minute(Box::new(MinuteRow { instance, sums })));
            }
        }
    }

    /// Calls since the last time.
    fn add_calls(&mut self, sums: &mut Rollup) {
        let Some(target) = &self.target else { return };
        let calls = target.calls();
        if calls.returned == 0 && calls.ended == 0 {
            return;
        }
        let rest = self.rest.get_or_insert_default();
        sums.calls = calls.ended.saturating_sub(rest.ended);
        rest.ended = calls.ended;
        sums.latency = target.take_latency();
        if calls.blamed > 0 || calls.ended > 0 {
            let errors = target.errors();
            for (kind, count) in &errors {
                let before = rest.errors.iter().find(|(known, _)| known == kind);
                let more = count.saturating_sub(before.map_or(0, |(_, count)| *count));
                if more > 0 {
                    sums.errors.insert(*kind, more);
                }
            }
            rest.errors = errors;
        }
    }

    /// Nobody looks any more.
    pub(super) fn forget(&mut self, out: &mut Out) {
        let (now, unix_ms) = (clock::monotonic(), clock::unix_ms(clock::wall()));
        let (was, left_out) = (
            self.course.evaluation().judged(),
            self.course.evaluation().is_left_out(),
        );
        self.pass(now, unix_ms, was, left_out, &mut out.records);
        let mut rest = self.minute.rest();
        self.add_calls(&mut rest);
        let instance = self.name.clone();
        let row = MinuteRow {
            instance: instance.clone(),
            sums: rest,
        };
        out.records.push_unmeasured(row, self.target.clone());
        out.records.push(Record::Transition(StateTransition {
            instance,
            at_unix_ms: unix_ms,
            state: None,
            text: None,
        }));
    }

    /// The state that it is in now, if that was not told yet.
    pub(super) fn turn(&mut self, unix_ms: u64) -> Option<StateTransition> {
        let judged = self.course.evaluation().judged();
        let state = SpanState {
            lifecycle: self.course.evaluation().life(),
            health: judged.health,
            cause: judged.cause,
            left_out: self.course.evaluation().is_left_out(),
        };
        if self.told == Some(state) {
            return None;
        }
        self.told = Some(state);
        Some(StateTransition {
            instance: self.name.clone(),
            at_unix_ms: unix_ms,
            state: Some(state),
            text: self.words(),
        })
    }

    /// The plugin's own words, or its error's.
    pub(super) fn words(&self) -> Option<String> {
        if self.course.evaluation().judged().cause.is_deep() {
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
    use crate::probing::{Announced, Apart, Audience};
    use extman_model::sketch::Sketch;
    use extman_model::{CheckKind, Lifecycle};
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
        fn take_latency(&self) -> Sketch {
            Sketch::default()
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

    impl Audience for Written {
        fn announced(&self, _: Announced) {}
        fn panicked(&self, _: &str, _: u64, _: String) {}
        fn stalled(&self, _: Duration) {}
        fn record(&self, records: &mut Vec<Record>) {
            self.0.lock().unwrap().append(records);
        }
        fn keeps_results(&self) -> bool {
            false
        }
    }

    /// A place whose minutes are measured as the engine has it done.
    struct Measured {
        place: Place,
        meter: Meter,
        records: Records,
    }

    impl Measured {
        fn new() -> Self {
            Measured {
                place: Place::new("one".into(), Arc::default(), at(0), 0),
                meter: Meter::default(),
                records: Records::default(),
            }
        }

        fn retarget(&mut self, target: Option<Arc<dyn Target>>) {
            self.place.retarget(target, &mut self.records);
        }

        fn pass(&mut self, upto: u64) {
            let was = Judgement {
                health: extman_model::Health::Up,
                cause: extman_model::Cause::Lifecycle(Lifecycle::Running),
                flags: Default::default(),
            };
            self.place
                .pass(at(upto), upto * 60_000, was, false, &mut self.records);
        }

        /// What the minutes up to there have.
        fn minutes(&mut self, upto: u64) -> Vec<Option<u64>> {
            self.pass(upto);
            let written = Written(Mutex::new(std::mem::take(&mut self.records.ready)));
            self.meter.settle_all(&mut self.records, &written);
            let records = written.0.into_inner().unwrap();
            let cpu = records.iter().map(|record| match record {
                Record::Minute(row) => row.sums.cpu_ns,
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
        let mut out = Out::default();
        one.place.forget(&mut out);
        assert_eq!(unmeasured(), 1);
    }
}
