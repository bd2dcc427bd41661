//! What being due, an answer and its absence do to one instance, gone through as a whole.

use super::batch::Done;
use super::hot::{Hot, LastFigures, NO_HEAP};
use super::instance::MonitoredInstance;
use super::minute::Minute;
use super::outbox::Outbox;
use super::reported::Reported;
use super::target::Target;
use extman_health::Moment;
use extman_health::monitor::{Answer as Ended, Calls, Poll};
use extman_model::clock::nanos;
use extman_model::record::{CheckRow, Outcome, Record, ResultWord};
use extman_model::{CheckKind, CheckOutcome, CheckView, ErrorKind, Report};
use extman_runtime::instance::Answer;
use extman_runtime::lanes::stood_still;
use std::sync::Arc;
use std::time::Duration;

/// When it is due, quiet answers included.
pub(super) fn due(instance: &MonitoredInstance, hot: &Hot) -> Option<Moment> {
    let due = instance.monitor.due()?;
    Some(if hot.quiet.answers() > 0 {
        hot.quiet.due()
    } else {
        due
    })
}

/// Takes in what the instance was while it was quiet.
pub(super) fn take_quiet(instance: &mut MonitoredInstance, hot: &mut Hot) {
    let answers = hot.quiet.answers();
    instance.minute.checks += answers;
    instance.counts.checks += u64::from(answers);
    let (least, most) = std::mem::replace(&mut hot.heap, NO_HEAP);
    if least <= most {
        instance.minute.heap(least);
        instance.minute.heap(most);
    }
    instance.monitor.take_quiet(&mut hot.quiet, &hot.policy);
    hot.quiet.end();
}

/// Looks whether the instance is quiet from here on.
pub(super) fn settle(instance: &MonitoredInstance, hot: &mut Hot, now: Moment, unix_ms: u64) {
    if !Arc::ptr_eq(&hot.policy, &instance.policy) {
        hot.policy = instance.policy.clone();
    }
    let ends = Minute::ends(now, unix_ms);
    hot.quiet = instance.monitor.quiet(ends, &hot.policy);
    hot.is_suspect = instance.monitor.is_suspect();
    hot.is_awaited = !instance.waiters.is_empty();
    if instance.is_watched() {
        hot.quiet.end();
    }
}

/// Its check is due: what its monitor makes of that.
pub(super) fn poll(
    instance: &mut MonitoredInstance,
    hot: &mut Hot,
    target: &Arc<dyn Target>,
    (now, unix_ms): (Moment, u64),
    out: &mut Outbox,
) -> Poll {
    // In this order: a call that fails after the counts were read is heard of.
    instance.is_failing = false;
    target.rearm_failures();
    let calls: Calls = target.calls();
    let has_check = target.has_check() || !instance.waiters.is_empty();
    let host_late = host_stalled_since(instance.monitor.asked_at(), now);
    let (was, policy) = (instance.monitor.judged(), instance.policy.clone());
    instance.pass(now, unix_ms, &mut out.records);
    let poll = instance.monitor.poll(now, calls, has_check, host_late, &policy);
    match poll {
        Poll::Heard => skipped(instance, out),
        Poll::Overdue => silent(instance, hot, unix_ms, out),
        Poll::Ask { .. } | Poll::Pending => {}
    }
    instance.publish_change(was, (now, unix_ms), out);
    poll
}

/// It has answered, and its monitor knows that it was asked.
pub(super) fn answered(
    instance: &mut MonitoredInstance,
    hot: &mut Hot,
    done: &mut Done,
    unix_ms: u64,
    host_late: bool,
    out: &mut Outbox,
) {
    let now = done.asked.ended;
    let was = instance.monitor.judged();
    let took = done.asked.answer.came_back().then(|| now.since(done.began));
    let generation = instance.monitor.generation();
    let answer = Ended {
        generation,
        result: word_of(&done.asked.answer),
        took,
        host_late,
    };
    let report = report_of(&done.asked.answer);
    instance.pass(now, unix_ms, &mut out.records);
    let (calls, policy) = (done.target.calls(), instance.policy.clone());
    let ended = instance.monitor.answered(now, answer, calls, &policy);
    if let Some(report) = &report {
        instance.monitor.reported(now, generation, report, &policy);
        take_report(instance, report, (now, unix_ms), out);
    }
    if let Answer::Other(outcome) = &done.asked.answer
        && let CheckOutcome::Failed {
            kind: ErrorKind::Panicked,
            text,
        } = &**outcome
    {
        out.panicked
            .push((instance.name.clone(), generation, text.clone()));
    }
    if let Some(counted) = ended {
        let heap_bytes = report.and_then(|report| report.heap_bytes);
        let words = match &done.asked.answer {
            Answer::Other(outcome) => outcome.text().map(str::to_owned),
            Answer::Figures(_) => None,
        };
        count(instance, (counted, took, words), heap_bytes, unix_ms, out);
    }
    keep(instance, hot, done, took, unix_ms);
    instance.publish_change(was, (now, unix_ms), out);
    answer_waiters(instance, hot, out);
}

/// Its check is overdue. Whether that is news.
pub(super) fn overdue(
    instance: &mut MonitoredInstance,
    hot: &mut Hot,
    (now, unix_ms): (Moment, u64),
    out: &mut Outbox,
) -> bool {
    let host_late = host_stalled_since(instance.monitor.asked_at(), now);
    let (was, policy) = (instance.monitor.judged(), instance.policy.clone());
    instance.pass(now, unix_ms, &mut out.records);
    if !instance.monitor.check_deadline(now, host_late, &policy) {
        return false;
    }
    silent(instance, hot, unix_ms, out);
    instance.publish_change(was, (now, unix_ms), out);
    true
}

/// Silence has counted as a failed check.
fn silent(instance: &mut MonitoredInstance, hot: &mut Hot, unix_ms: u64, out: &mut Outbox) {
    count(instance, (ResultWord::TimedOut, None, None), None, unix_ms, out);
    hot.last = None;
    instance.last = Some(Box::new(CheckView {
        kind: CheckKind::Readiness,
        at_unix_ms: unix_ms,
        outcome: CheckOutcome::TimedOut,
        took_ns: None,
    }));
    answer_waiters(instance, hot, out);
}

/// No lane has begun its check. Whoever waits for the answer is told, once that has lasted so long.
pub(super) fn not_begun(
    instance: &mut MonitoredInstance,
    (now, unix_ms): (Moment, u64),
    patience: Duration,
    out: &mut Outbox,
) {
    let due = instance.monitor.due().unwrap_or(now);
    instance.judge((now, unix_ms), out, |monitor, policy| {
        monitor.not_begun(now, policy)
    });
    if now.since(due) >= patience {
        let view = CheckView {
            kind: CheckKind::Readiness,
            at_unix_ms: unix_ms,
            outcome: CheckOutcome::NotBegun,
            took_ns: None,
        };
        let waiters = instance.waiters.drain(..);
        out.answers.extend(waiters.map(|waiter| (waiter, view.clone())));
    }
}

/// A check that was due had no result.
pub(super) fn skipped(instance: &mut MonitoredInstance, out: &mut Outbox) {
    instance.counts.skipped += 1;
    out.counts.skipped += 1;
}

/// Parts and the connection, where a report tells of them.
fn take_report(instance: &mut MonitoredInstance, report: &Report, at: (Moment, u64), out: &mut Outbox) {
    if instance.reported.is_none() && !Reported::is_told_by(report) {
        return;
    }
    let changes = instance.reported.get_or_insert_default().take(report, at);
    let name = &instance.name;
    out.reports
        .extend(changes.into_iter().map(|change| (name.clone(), change)));
}

/// Whoever waits for a result gets the last one.
fn answer_waiters(instance: &mut MonitoredInstance, hot: &Hot, out: &mut Outbox) {
    if instance.waiters.is_empty() {
        return;
    }
    if let Some(last) = last(instance, hot) {
        for waiter in instance.waiters.drain(..) {
            out.answers.push((waiter, last.clone()));
        }
    }
}

/// What its last check came to.
pub(super) fn last(instance: &MonitoredInstance, hot: &Hot) -> Option<CheckView> {
    let figures = hot.last.as_ref().map(LastFigures::view);
    figures.or_else(|| instance.last.as_deref().cloned())
}

fn host_stalled_since(asked: Option<Moment>, now: Moment) -> bool {
    asked.is_some_and(|asked| !stood_still(asked, now).is_zero())
}

fn count(
    instance: &mut MonitoredInstance,
    (result, took, words): (ResultWord, Option<Duration>, Option<String>),
    heap_bytes: Option<u64>,
    unix_ms: u64,
    out: &mut Outbox,
) {
    let outcome = result.outcome();
    instance.counts.count(result);
    out.counts.count(result);
    instance.minute.checks += u32::from(outcome != Outcome::Skipped);
    instance.minute.checks_failed += u32::from(outcome == Outcome::Bad);
    if let Some(bytes) = heap_bytes {
        instance.minute.heap(bytes);
    }
    if out.keeps_results && !result.is_good() {
        out.records.push(Record::Check(Box::new(CheckRow {
            instance: instance.name.clone(),
            at_unix_ms: unix_ms,
            last_unix_ms: unix_ms,
            times: 1,
            kind: CheckKind::Readiness,
            result,
            counted: outcome != Outcome::Skipped,
            took_ns: took.map(nanos),
            text: words,
        })));
    }
}

/// Keeps what came of it; what came of the check before is left in `done`.
fn keep(
    instance: &mut MonitoredInstance,
    hot: &mut Hot,
    done: &mut Done,
    took: Option<Duration>,
    unix_ms: u64,
) {
    if let Some(took) = took {
        hot.recent.push(took);
    }
    match &mut done.asked.answer {
        Answer::Figures(figures) => {
            hot.last = Some(LastFigures {
                figures: *figures,
                at_unix_ms: unix_ms,
                took_ns: took.map_or(0, nanos),
            });
            instance.last = None;
        }
        Answer::Other(outcome) => {
            hot.last = None;
            let before = std::mem::replace(&mut **outcome, CheckOutcome::Busy);
            instance.last = Some(Box::new(CheckView {
                kind: CheckKind::Readiness,
                at_unix_ms: unix_ms,
                outcome: before,
                took_ns: took.map(nanos),
            }));
        }
    }
}

fn report_of(answer: &Answer) -> Option<Report> {
    match answer {
        Answer::Figures(figures) => figures.map(|figures| figures.report()),
        Answer::Other(outcome) => match &**outcome {
            CheckOutcome::Answered { report } => report.clone(),
            _ => None,
        },
    }
}

fn word_of(answer: &Answer) -> ResultWord {
    match answer {
        Answer::Figures(figures) => ResultWord::Said(figures.as_ref().and_then(|figures| figures.health)),
        Answer::Other(outcome) => word(outcome),
    }
}

/// The result of a check in a word.
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
