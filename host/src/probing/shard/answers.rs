//! What answers, and their absence, do to an instance.

use super::super::deep::text;
use super::super::out::{Announced, Out};
use super::super::place::Place;
use super::{Done, Shard};
use extman_health::course::Answer;
use extman_health::{Moment, nanos};
use extman_model::record::{CheckRow, Record, ResultWord};
use extman_model::{CheckKind, CheckOutcome, CheckView, ErrorKind, Judgement};
use extman_runtime::instance::Asked;
use extman_runtime::lanes::stood_still;

impl Shard {
    /// One that was asked has answered, or could not be asked. What was known before is left in `done`, to be freed without the lock.
    pub(in crate::probing) fn ended(
        &mut self,
        done: &mut Done,
        unix_ms: u64,
        host_late: bool,
        out: &mut Out,
    ) {
        let (number, generation, began) = (done.place, done.generation, done.began);
        let asked = &mut done.asked;
        let Some(place) = self.place_mut(number) else {
            return;
        };
        if place.course.evaluation().generation() != generation || place.course.asked_at() != Some(began) {
            return;
        }
        let now = asked.ended;
        let was = place.course.evaluation().judged();
        let left_out = place.course.evaluation().is_left_out();
        let answer = Answer {
            generation,
            result: word(&asked.outcome),
            took: asked.took,
            host_late,
        };
        let calls = place.calls();
        let ended = place.course.ended(now, answer, calls, &place.policy);
        let mut changed = ended.changed;
        if let CheckOutcome::Answered { report: Some(report) } = &asked.outcome {
            changed = changed.or(place.course.reported(now, generation, report, &place.policy));
        }
        place.pass(now, unix_ms, was, left_out, &mut out.records);
        if let CheckOutcome::Failed {
            kind: ErrorKind::Panicked,
            text,
        } = &asked.outcome
        {
            out.panicked.push((place.name.clone(), generation, text.clone()));
        }
        if let Some(counted) = ended.counted {
            note(place, counted, asked, unix_ms, out);
        }
        keep(place, asked, unix_ms);
        conclude(place, changed.is_some().then_some(was), unix_ms, out);
        if let Some(at) = self.under_way.iter().position(|other| *other == number) {
            self.under_way.swap_remove(at);
        }
        self.schedule(number);
    }

    /// Those that have not answered in time.
    pub(super) fn look(&mut self, now: Moment, unix_ms: u64, out: &mut Out) {
        let late = |number: &u32| {
            let place = self.place(*number)?;
            place.course.too_late_at().filter(|at| now >= *at)?;
            Some(*number)
        };
        let late: Vec<u32> = self.under_way.iter().filter_map(late).collect();
        for number in late {
            let Some(place) = self.place_mut(number) else {
                continue;
            };
            let host_late = place
                .course
                .asked_at()
                .is_some_and(|asked| stood_still_since(asked, now));
            let was = place.course.evaluation().judged();
            let left_out = place.course.evaluation().is_left_out();
            let ended = place.course.look(now, host_late, &place.policy);
            if ended.counted.is_none() {
                continue;
            }
            place.pass(now, unix_ms, was, left_out, &mut out.records);
            let mut asked = Asked {
                outcome: CheckOutcome::TimedOut,
                took: None,
                ended: now,
            };
            note(place, ResultWord::TimedOut, &asked, unix_ms, out);
            keep(place, &mut asked, unix_ms);
            conclude(place, ended.changed.is_some().then_some(was), unix_ms, out);
            self.schedule(number);
        }
    }
}

/// After a result: tells of a change from what it was, and whoever waits gets the answer.
fn conclude(place: &mut Place, changed_from: Option<Judgement>, unix_ms: u64, out: &mut Out) {
    if let Some(was) = changed_from {
        announce(place, was, unix_ms, out);
    }
    if let Some(last) = &place.last {
        for waiter in place.waiters.drain(..) {
            out.answers.push((waiter, CheckView::clone(last)));
        }
    }
}

pub(super) fn stood_still_since(asked: Moment, now: Moment) -> bool {
    !stood_still(asked, now).is_zero()
}

/// Tells of a change, and writes the new state down.
pub(in crate::probing) fn announce(place: &mut Place, was: Judgement, unix_ms: u64, out: &mut Out) {
    let is = place.course.evaluation().judged();
    if was != is {
        out.announced.push(Announced {
            name: place.name.clone(),
            from: was,
            to: is,
            text: place.words(),
        });
    }
    if let Some(turn) = place.turn(unix_ms) {
        out.records.push(Record::Transition(turn));
    }
}

fn note(place: &mut Place, counted: ResultWord, asked: &Asked, unix_ms: u64, out: &mut Out) {
    let report = match &asked.outcome {
        CheckOutcome::Answered { report } => report.as_ref(),
        _ => None,
    };
    if !matches!(counted, ResultWord::Busy | ResultWord::HostLate) {
        place.minute.checks += 1;
        place.minute.checks_failed += u32::from(!matches!(counted, ResultWord::Said(_)));
    }
    let heap_bytes = report.and_then(|report| report.heap_bytes);
    if let Some(bytes) = heap_bytes {
        place.minute.heap(bytes);
    }
    if out.keeps_results && !counted.is_good() {
        out.records.push(Record::Check(Box::new(CheckRow {
            instance: place.name.clone(),
            at_unix_ms: unix_ms,
            last_unix_ms: unix_ms,
            times: 1,
            kind: CheckKind::Readiness,
            result: counted,
            counted: !matches!(counted, ResultWord::Busy | ResultWord::HostLate),
            took_ns: asked.took.map(nanos),
            text: text(&asked.outcome),
        })));
    }
}

/// Keeps what came of it; what came of the check before stays in `asked`.
fn keep(place: &mut Place, asked: &mut Asked, unix_ms: u64) {
    if let Some(took) = asked.took {
        place.trips.push(took);
    }
    let last = place.last.get_or_insert_with(|| {
        Box::new(CheckView {
            kind: CheckKind::Readiness,
            at_unix_ms: unix_ms,
            outcome: CheckOutcome::Busy,
            took_ns: None,
        })
    });
    last.kind = CheckKind::Readiness;
    last.at_unix_ms = unix_ms;
    last.took_ns = asked.took.map(nanos);
    std::mem::swap(&mut last.outcome, &mut asked.outcome);
}

pub(in crate::probing) fn word(outcome: &CheckOutcome) -> ResultWord {
    match outcome {
        CheckOutcome::Answered { report } => {
            ResultWord::Said(report.as_ref().and_then(|report| report.health))
        }
        CheckOutcome::Busy => ResultWord::Busy,
        CheckOutcome::TimedOut => ResultWord::TimedOut,
        CheckOutcome::Failed { kind, .. } => ResultWord::Failed(*kind),
    }
}
