//! What being due, an answer and its absence do to one instance, gone through as a whole.

use super::At;
use super::batch::Done;
use super::hot::{Hot, LastFigures, NO_HEAP};
use super::instance::MonitoredInstance;
use super::minute::Minute;
use super::outbox::Outbox;
use super::reported::Reported;
use super::target::Target;
use extman_health::Moment;
use extman_health::monitor::{Answer as Ended, Poll};
use extman_model::clock::nanos;
use extman_model::record::{CheckRow, Outcome, ResultWord};
use extman_model::{CheckKind, CheckOutcome, CheckView, Report};
use extman_runtime::instance::Answer;
use extman_runtime::lanes::stood_still;
use std::sync::Arc;
use std::time::Duration;

/// When it is due, quiet answers included.
pub(super) fn due(instance: &MonitoredInstance, hot: &Hot) -> Option<Moment> {
    let due = instance.monitor.due()?;
    let is_quiet = hot.quiet.answers() > 0;
    Some(if is_quiet { hot.quiet.due() } else { due })
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
pub(super) fn settle(instance: &MonitoredInstance, hot: &mut Hot, (now, unix_ms): At) {
    let ends = Minute::ends(now, unix_ms);
    hot.quiet = instance.monitor.quiet(ends, &hot.policy);
    hot.is_suspect = instance.monitor.is_suspect();
    hot.is_awaited = instance.is_awaited();
    if instance.is_watched() {
        hot.quiet.end();
    }
}

/// Its check is due: what its monitor makes of that.
pub(super) fn poll(
    instance: &mut MonitoredInstance,
    hot: &mut Hot,
    target: &Arc<dyn Target>,
    at @ (now, unix_ms): At,
    out: &mut Outbox,
) -> Poll {
    instance.is_failing = false;
    // In this order: a call that fails after the counts were read is heard of.
    target.rearm_failures();
    let calls = target.calls();
    let has_check = target.has_check() || instance.is_awaited();
    let host_late = host_stalled_since(instance.monitor.asked_at(), now);
    let poll = instance.judge(hot, at, out, |instance, policy, out| {
        let poll = instance.monitor.poll(now, calls, has_check, host_late, policy);
        match poll {
            Poll::Heard => instance.counts.skipped += 1,
            Poll::Overdue => silent(instance, unix_ms, out),
            Poll::Ask { .. } | Poll::Pending => {}
        }
        poll
    });
    if poll == Poll::Overdue {
        hot.last = None;
    }
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
    let took = done.asked.answer.came_back().then(|| now.since(done.began));
    let (result, report) = said(&done.asked.answer);
    let (calls, generation) = (done.target.calls(), instance.monitor.generation());
    let answer = Ended {
        generation,
        result,
        took,
        host_late,
    };
    let (figures, mut outcome) = match &mut done.asked.answer {
        Answer::Figures(figures) => (Some(*figures), None),
        Answer::Other(outcome) => (None, Some(std::mem::replace(&mut **outcome, CheckOutcome::Busy))),
    };
    instance.judge(hot, (now, unix_ms), out, |instance, policy, out| {
        let counted = instance.monitor.answered(now, answer, calls, policy);
        if let Some(report) = &report {
            instance.monitor.reported(now, generation, report, policy);
            take_report(instance, report, (now, unix_ms), out);
        }
        if let Some(outcome) = &outcome {
            out.note_panic(&instance.name, generation, outcome);
        }
        if let Some(counted) = counted {
            let heap_bytes = report.and_then(|report| report.heap_bytes);
            let words = outcome
                .as_ref()
                .and_then(|outcome| outcome.text().map(str::to_owned));
            count(instance, (counted, took, words), heap_bytes, unix_ms, out);
        }
        instance.last = outcome
            .take()
            .map(|outcome| Box::new(view(unix_ms, outcome, took)));
    });
    if let Some(took) = took {
        hot.recent.push(took);
    }
    hot.last = figures.map(|figures| LastFigures {
        figures,
        at_unix_ms: unix_ms,
        took_ns: took.map_or(0, nanos),
    });
    if instance.is_awaited()
        && let Some(last) = last(instance, hot)
    {
        answer_waiters(instance, &last, out);
    }
}

/// Its check is overdue. Whether that is news.
pub(super) fn overdue(
    instance: &mut MonitoredInstance,
    hot: &mut Hot,
    at @ (now, unix_ms): At,
    out: &mut Outbox,
) -> bool {
    let host_late = host_stalled_since(instance.monitor.asked_at(), now);
    let counts = instance.judge(hot, at, out, |instance, policy, out| {
        let counts = instance.monitor.check_deadline(now, host_late, policy);
        if counts {
            silent(instance, unix_ms, out);
        }
        counts
    });
    if counts {
        hot.last = None;
    }
    counts
}

/// Silence has counted as a failed check.
fn silent(instance: &mut MonitoredInstance, unix_ms: u64, out: &mut Outbox) {
    count(instance, (ResultWord::TimedOut, None, None), None, unix_ms, out);
    let view = view(unix_ms, CheckOutcome::TimedOut, None);
    answer_waiters(instance, &view, out);
    instance.last = Some(Box::new(view));
}

/// No lane has begun its check. Whoever waits for the answer is told, once that has lasted so long.
pub(super) fn not_begun(
    instance: &mut MonitoredInstance,
    hot: &Hot,
    at @ (now, unix_ms): At,
    patience: Duration,
    out: &mut Outbox,
) {
    let due = instance.monitor.due().unwrap_or(now);
    instance.judge(hot, at, out, |instance, policy, _| {
        instance.monitor.not_begun(now, policy);
    });
    if now.since(due) >= patience {
        answer_waiters(instance, &view(unix_ms, CheckOutcome::NotBegun, None), out);
    }
}

/// Parts and the connection, where a report tells of them.
fn take_report(instance: &mut MonitoredInstance, report: &Report, at: At, out: &mut Outbox) {
    if instance.reported().is_none() && !Reported::is_told_by(report) {
        return;
    }
    let changes = instance.reported_mut().take(report, at);
    let name = &instance.name;
    out.reports
        .extend(changes.into_iter().map(|change| (name.clone(), change)));
}

/// Whoever waits for a result gets this one.
fn answer_waiters(instance: &mut MonitoredInstance, view: &CheckView, out: &mut Outbox) {
    let waiters = instance.take_waiters().into_iter();
    out.answers.extend(waiters.map(|waiter| (waiter, view.clone())));
}

fn view(at_unix_ms: u64, outcome: CheckOutcome, took: Option<Duration>) -> CheckView {
    CheckView {
        kind: CheckKind::Readiness,
        at_unix_ms,
        outcome,
        took_ns: took.map(nanos),
    }
}

/// What its last check came to.
pub(super) fn last(instance: &MonitoredInstance, hot: &Hot) -> Option<CheckView> {
    let figures = hot.last.as_ref().map(|last| {
        let report = last.figures.map(|figures| figures.report());
        let took = Duration::from_nanos(last.took_ns);
        view(last.at_unix_ms, CheckOutcome::Answered { report }, Some(took))
    });
    figures.or_else(|| instance.last.as_deref().cloned())
}

fn host_stalled_since(asked: Option<Moment>, now: Moment) -> bool {
    asked.is_some_and(|asked| !stood_still(asked, now).is_zero())
}

fn count(
    instance: &mut MonitoredInstance,
    (result, took, text): (ResultWord, Option<Duration>, Option<String>),
    heap_bytes: Option<u64>,
    at_unix_ms: u64,
    out: &mut Outbox,
) {
    let outcome = result.outcome();
    instance.counts.count(result);
    instance.minute.checks += u32::from(outcome != Outcome::Skipped);
    instance.minute.checks_failed += u32::from(outcome == Outcome::Bad);
    if let Some(bytes) = heap_bytes {
        instance.minute.heap(bytes);
    }
    if !result.is_good() {
        out.record_result(CheckRow {
            instance: instance.name.clone(),
            at_unix_ms,
            last_unix_ms: at_unix_ms,
            times: 1,
            kind: CheckKind::Readiness,
            result,
            counted: outcome != Outcome::Skipped,
            took_ns: took.map(nanos),
            text,
        });
    }
}

/// Its result in a word, and its report.
fn said(answer: &Answer) -> (ResultWord, Option<Report>) {
    match answer {
        Answer::Figures(figures) => {
            let health = figures.as_ref().and_then(|figures| figures.health);
            (ResultWord::Said(health), figures.map(|figures| figures.report()))
        }
        Answer::Other(outcome) => match &**outcome {
            CheckOutcome::Answered { report } => (word(outcome), report.clone()),
            _ => (word(outcome), None),
        },
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
