//! One instance as the engine keeps it.

use super::minute::Minute;
use super::out::Out;
use super::target::Target;
use super::trips::Trips;
use crate::clock;
use crate::health::Moment;
use crate::health::course::{Calls, Course};
use crate::health::policy::Policy;
use crate::health::record::{MinuteRow, Record, Rollup, SpanState, Turn};
use crate::model::{CheckOutcome, CheckView, ErrorKind, Judgement};
use std::hint::black_box;
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
    pub trips: Trips,
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

/// What only those have that were called, or that another generation was before.
#[derive(Default)]
struct Rest {
    ended: u64,
    errors: Vec<(ErrorKind, u64)>,
    /// Processor time of the generation before, in this minute.
    cpu_ns: Option<u64>,
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
            trips: Trips::default(),
            waiters: Vec::new(),
            told: None,
            deep: None,
            rest: None,
        }
    }

    /// Fetches its memory: it is to be asked soon. One read a cache line or so, so that those of many are waited for together.
    #[inline]
    pub(super) fn warm(&self) {
        self.course.warm();
        black_box((self.told.is_some(), self.minute.checks, self.minute.until()));
        black_box(self.trips.ends());
    }

    /// Fetches what its memory, which is at hand, points to.
    #[inline]
    pub(super) fn warm_behind(&self) {
        black_box(Arc::strong_count(&self.name));
        if let Some(target) = &self.target {
            black_box(Arc::strong_count(target));
        }
        if let Some(last) = &self.last {
            black_box((last.at_unix_ms, last.took_ns));
            if let CheckOutcome::Answered { report: Some(report) } = &last.outcome {
                black_box((report.text.is_some(), report.parts.len(), report.in_flight));
                black_box((report.connection_rtt_ns, report.connection_age_ms));
                black_box((report.queue_depth, report.queue_capacity));
                black_box((report.heap_bytes, report.heap_peak_bytes, report.heap_limit_bytes));
            }
        }
    }

    pub(super) fn calls(&self) -> Calls {
        self.target
            .as_ref()
            .map_or_else(Calls::default, |target| target.calls())
    }

    /// Another generation, or none: what was counted of the one before stays with it.
    pub(super) fn retarget(&mut self, target: Option<Arc<dyn Target>>) {
        self.deep = None;
        let used = self.take_cpu();
        self.rest = used.map(|_| {
            Box::new(Rest {
                cpu_ns: used,
                ..Rest::default()
            })
        });
        // The last check of one that has stopped tells why.
        if target.is_some() {
            self.last = None;
        }
        self.trips = Trips::default();
        self.target = target;
    }

    /// The time up to `now` belongs to the state that was. Gives the minutes that are over.
    pub(super) fn pass(
        &mut self,
        now: Moment,
        unix_ms: u64,
        was: Judgement,
        left_out: bool,
        out: &mut Vec<Record>,
    ) {
        let ended = self.minute.pass(now, unix_ms, was.health, left_out);
        let last = ended.len().saturating_sub(1);
        for (at, mut sums) in ended.into_iter().enumerate() {
            if at == last {
                self.add_calls(&mut sums);
                sums.cpu_ns = self.take_cpu();
            }
            let instance = self.name.clone();
            out.push(Record::Minute(Box::new(MinuteRow { instance, sums })));
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

    /// Processor time since the last time, that of a generation which has gone since included.
    fn take_cpu(&mut self) -> Option<u64> {
        let before = self.rest.as_mut().and_then(|rest| rest.cpu_ns.take());
        match &self.target {
            None => before,
            Some(target) => Some(target.take_cpu()?.saturating_add(before.unwrap_or(0))),
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
        rest.cpu_ns = self.take_cpu();
        let instance = self.name.clone();
        out.records.push(Record::Minute(Box::new(MinuteRow {
            instance: instance.clone(),
            sums: rest,
        })));
        out.records.push(Record::Turn(Turn {
            instance,
            at_unix_ms: unix_ms,
            state: None,
            text: None,
        }));
    }

    /// The state that it is in now, if that was not told yet.
    pub(super) fn turn(&mut self, unix_ms: u64) -> Option<Turn> {
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
        Some(Turn {
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
            CheckOutcome::Busy | CheckOutcome::TimedOut => return None,
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
    use crate::health::engine::Apart;
    use crate::model::{CheckKind, Lifecycle};
    use crate::runtime::instance::Asked;
    use crate::runtime::lanes::Station;
    use crate::sketch::Sketch;
    use std::sync::Mutex;
    use std::time::Duration;

    /// Uses the processor as told, and is never asked how it is.
    struct Uses(Mutex<Vec<Option<u64>>>);

    impl Target for Uses {
        fn is_asked_anywhere(&self) -> bool {
            false
        }
        fn has_check(&self) -> bool {
            false
        }
        fn check_on(&self, _: &Station<'_>, _: Duration, _: Moment) -> Option<Asked> {
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

    fn minutes(place: &mut Place, upto: u64) -> Vec<Option<u64>> {
        let was = Judgement {
            health: crate::model::Health::Up,
            cause: crate::model::Cause::Lifecycle(Lifecycle::Running),
            flags: Default::default(),
        };
        let mut out = Vec::new();
        place.pass(at(upto), upto * 60_000, was, false, &mut out);
        let cpu = out.iter().map(|record| match record {
            Record::Minute(row) => row.sums.cpu_ns,
            other => panic!("{other:?}"),
        });
        cpu.collect()
    }

    #[test]
    fn a_minute_has_the_processor_time_of_both_generations_in_it_or_none() {
        let mut place = Place::new("one".into(), Arc::default(), at(0), 0);
        assert_eq!(minutes(&mut place, 1), [None]);
        place.retarget(uses(&[Some(5), Some(6)]));
        assert_eq!(minutes(&mut place, 2), [Some(5)]);
        place.retarget(uses(&[Some(30), None, Some(7)]));
        assert_eq!(minutes(&mut place, 3), [Some(36)]);
        assert_eq!(minutes(&mut place, 4), [None], "others have a share in it");
        place.retarget(None);
        assert_eq!(
            minutes(&mut place, 6),
            [None, Some(7)],
            "what it used before it stopped"
        );
        assert_eq!(minutes(&mut place, 7), [None]);
    }
}
