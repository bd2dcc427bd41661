//! What being due, an answer and its absence do to one instance, gone through as a whole.

use super::hot::{Hot, LastFigures, NO_HEAP};
use super::minute::Minute;
use super::out::{Announced, Out};
use super::place::Place;
use super::target::Target;
use super::visit::Done;
use extman_health::Moment;
use extman_health::course::{Answer as Counted, Begin, Calls};
use extman_model::clock::nanos;
use extman_model::record::{CheckRow, Record, ResultWord};
use extman_model::{CheckKind, CheckOutcome, CheckView, ErrorKind, Judgement};
use extman_runtime::instance::Answer;
use extman_runtime::lanes::stood_still;
use std::sync::Arc;
use std::time::Duration;

/// When it is due, quiet answers included.
pub(super) fn due(place: &Place, hot: &Hot) -> Option<Moment> {
    let due = place.course.due()?;
    Some(if hot.quiet.answers() > 0 {
        hot.quiet.due()
    } else {
        due
    })
}

pub(super) fn thaw(place: &mut Place, hot: &mut Hot) {
    place.minute.checks += hot.quiet.answers();
    let (least, most) = std::mem::replace(&mut hot.heap, NO_HEAP);
    if least <= most {
        place.minute.heap(least);
        place.minute.heap(most);
    }
    place.course.take_quiet(&mut hot.quiet, &hot.policy);
    hot.quiet.end();
}

pub(super) fn rest(place: &mut Place, hot: &mut Hot, now: Moment, unix_ms: u64) {
    if !Arc::ptr_eq(&hot.policy, &place.policy) {
        hot.policy = place.policy.clone();
    }
    let ends = Minute::ends(now, unix_ms);
    hot.quiet = place.course.quiet(ends, &hot.policy);
    hot.is_suspect = place.course.is_suspect();
    hot.is_awaited = !place.waiters.is_empty();
    if hot.is_awaited || place.told.is_none() {
        hot.quiet.end();
    }
}

/// It is due: what its course makes of that.
pub(super) fn begin(
    place: &mut Place,
    target: &Arc<dyn Target>,
    now: Moment,
    unix_ms: u64,
    out: &mut Out,
) -> Begin {
    let was = place.course.evaluation().judged();
    let left_out = place.course.evaluation().is_left_out();
    let calls: Calls = target.calls();
    let has_check = target.has_check() || !place.waiters.is_empty();
    let host_late = place
        .course
        .asked_at()
        .is_some_and(|asked| stood_still_since(asked, now));
    let policy = place.policy.clone();
    let (begin, changed) = place.course.begin(now, calls, has_check, host_late, &policy);
    place.pass(now, unix_ms, was, left_out, &mut out.records);
    if changed.is_some() {
        announce(place, was, unix_ms, out);
    }
    begin
}

/// It has answered, and its course knows that it was asked.
pub(super) fn answered(
    place: &mut Place,
    hot: &mut Hot,
    done: &mut Done,
    unix_ms: u64,
    host_late: bool,
    out: &mut Out,
) {
    let now = done.asked.ended;
    let was = place.course.evaluation().judged();
    let left_out = place.course.evaluation().is_left_out();
    let came_back = done.asked.answer.came_back();
    let took = came_back.then(|| now.since(done.began));
    let generation = place.course.evaluation().generation();
    let answer = Counted {
        generation,
        result: word_of(&done.asked.answer),
        took,
        host_late,
    };
    let (calls, policy) = (done.target.calls(), place.policy.clone());
    let ended = place.course.ended(now, answer, calls, &policy);
    let mut changed = ended.changed;
    let report = match &done.asked.answer {
        Answer::Figures(figures) => figures.map(|figures| figures.report()),
        Answer::Other(outcome) => match &**outcome {
            CheckOutcome::Answered { report } => report.clone(),
            _ => None,
        },
    };
    if let Some(report) = &report {
        changed = changed.or(place.course.reported(now, generation, report, &policy));
    }
    place.pass(now, unix_ms, was, left_out, &mut out.records);
    if let Answer::Other(outcome) = &done.asked.answer
        && let CheckOutcome::Failed {
            kind: ErrorKind::Panicked,
            text,
        } = &**outcome
    {
        out.panicked.push((place.name.clone(), generation, text.clone()));
    }
    if let Some(counted) = ended.counted {
        let heap_bytes = report.and_then(|report| report.heap_bytes);
        let words = match &done.asked.answer {
            Answer::Other(outcome) => outcome.text().map(str::to_owned),
            Answer::Figures(_) => None,
        };
        note(place, (counted, took, words), heap_bytes, unix_ms, out);
    }
    keep(place, hot, done, took, unix_ms);
    conclude(place, hot, changed.is_some().then_some(was), unix_ms, out);
}

/// It has not answered in time. Whether that is news.
pub(super) fn late(place: &mut Place, hot: &mut Hot, now: Moment, unix_ms: u64, out: &mut Out) -> bool {
    let host_late = place
        .course
        .asked_at()
        .is_some_and(|asked| stood_still_since(asked, now));
    let was = place.course.evaluation().judged();
    let left_out = place.course.evaluation().is_left_out();
    let policy = place.policy.clone();
    let ended = place.course.look(now, host_late, &policy);
    if ended.counted.is_none() {
        return false;
    }
    place.pass(now, unix_ms, was, left_out, &mut out.records);
    note(place, (ResultWord::TimedOut, None, None), None, unix_ms, out);
    hot.last = None;
    place.last = Some(Box::new(CheckView {
        kind: CheckKind::Readiness,
        at_unix_ms: unix_ms,
        outcome: CheckOutcome::TimedOut,
        took_ns: None,
    }));
    conclude(place, hot, ended.changed.is_some().then_some(was), unix_ms, out);
    true
}

/// After a result: tells of a change from what it was, and whoever waits gets the answer.
fn conclude(place: &mut Place, hot: &Hot, changed_from: Option<Judgement>, unix_ms: u64, out: &mut Out) {
    if let Some(was) = changed_from {
        announce(place, was, unix_ms, out);
    }
    if place.waiters.is_empty() {
        return;
    }
    if let Some(last) = last(place, hot) {
        for waiter in place.waiters.drain(..) {
            out.answers.push((waiter, last.clone()));
        }
    }
}

/// What its last check came to.
pub(super) fn last(place: &Place, hot: &Hot) -> Option<CheckView> {
    let figures = hot.last.as_ref().map(LastFigures::view);
    figures.or_else(|| place.last.as_deref().cloned())
}

fn stood_still_since(asked: Moment, now: Moment) -> bool {
    !stood_still(asked, now).is_zero()
}

/// Tells of a change, and writes the new state down.
pub(super) fn announce(place: &mut Place, was: Judgement, unix_ms: u64, out: &mut Out) {
    let is = place.course.evaluation().judged();
    if was != is {
        out.announced.push(Announced {
            name: place.name.clone(),
            from: was,
            to: is,
            since: place.course.evaluation().since(),
            text: place.words(),
        });
    }
    if let Some(turn) = place.turn(unix_ms) {
        out.records.push(Record::Transition(turn));
    }
}

fn note(
    place: &mut Place,
    (counted, took, words): (ResultWord, Option<Duration>, Option<String>),
    heap_bytes: Option<u64>,
    unix_ms: u64,
    out: &mut Out,
) {
    if !matches!(counted, ResultWord::Busy | ResultWord::HostLate) {
        place.minute.checks += 1;
        place.minute.checks_failed += u32::from(!matches!(counted, ResultWord::Said(_)));
    }
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
            took_ns: took.map(nanos),
            text: words,
        })));
    }
}

/// Keeps what came of it; what came of the check before is left in `done`.
fn keep(place: &mut Place, hot: &mut Hot, done: &mut Done, took: Option<Duration>, unix_ms: u64) {
    if let Some(took) = took {
        hot.trips.push(took);
    }
    match &mut done.asked.answer {
        Answer::Figures(figures) => {
            hot.last = Some(LastFigures {
                figures: *figures,
                at_unix_ms: unix_ms,
                took_ns: took.map_or(0, nanos),
            });
            place.last = None;
        }
        Answer::Other(outcome) => {
            hot.last = None;
            let before = std::mem::replace(&mut **outcome, CheckOutcome::Busy);
            place.last = Some(Box::new(CheckView {
                kind: CheckKind::Readiness,
                at_unix_ms: unix_ms,
                outcome: before,
                took_ns: took.map(nanos),
            }));
        }
    }
}

fn word_of(answer: &Answer) -> ResultWord {
    match answer {
        Answer::Figures(figures) => ResultWord::Said(figures.as_ref().and_then(|figures| figures.health)),
        Answer::Other(outcome) => word(outcome),
    }
}

pub(super) fn word(outcome: &CheckOutcome) -> ResultWord {
    match outcome {
        CheckOutcome::Answered { report } => {
            ResultWord::Said(report.as_ref().and_then(|report| report.health))
        }
        CheckOutcome::Busy => ResultWord::Busy,
        CheckOutcome::NotBegun => ResultWord::HostLate,
        CheckOutcome::TimedOut => ResultWord::TimedOut,
        CheckOutcome::Failed { kind, .. } => ResultWord::Failed(*kind),
    }
}
