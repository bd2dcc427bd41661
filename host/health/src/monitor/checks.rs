//! What being due, an answer and its absence do to an instance.

use super::check::CheckState;
use super::interval::{next_due, usual};
use super::{Calls, Doubt, Monitor, Running, State};
use crate::Moment;
use crate::policy::Policy;
use extman_model::record::{Outcome, ResultWord};
use extman_model::{Cause, ErrorKind, Health};
use std::time::Duration;

/// An answer that takes longer makes its instance a suspect: next time it is checked on a lane by itself.
pub(super) const SLOW: Duration = Duration::from_millis(10);

/// What is to be done with an instance whose check is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poll {
    /// It is to be asked.
    Ask {
        /// How long an answer may take.
        timeout: Duration,
    },
    /// It need not be asked: a call has come back since, and its plugin has no check of its own.
    Heard,
    /// It is asked and has not answered yet, or does not run.
    Pending,
    /// It is asked and has not answered: that counts as a failed check.
    Overdue,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The generation that was asked.
    pub generation: u64,
    /// What it said, or why it did not.
    pub result: ResultWord,
    /// How long the plugin's code ran, if it came back.
    pub took: Option<Duration>,
    /// The host stood still meanwhile.
    pub host_late: bool,
}

impl Monitor {
    /// The check is due. `calls` are those so far; `has_check` tells whether the plugin has anything to say of itself, `host_late` that the host
    /// stood still since it was asked last.
    pub fn poll(
        &mut self,
        now: Moment,
        calls: Calls,
        has_check: bool,
        host_late: bool,
        policy: &Policy,
    ) -> Poll {
        let State::Running(running) = &mut self.state else {
            return Poll::Pending;
        };
        let came_back = calls.returned > running.calls_seen.returned;
        running.doubt = running.doubt_at(now, !running.check.is_idle(), policy);
        self.judge(now, policy, false);
        self.observe_calls(now, calls, policy);
        if let Some(counts_at) = self.silence_counts_at(now, host_late, policy) {
            let counts = now >= counts_at;
            if counts {
                self.count_silence(now, policy);
            }
            self.schedule(now, policy);
            if let State::Running(running) = &mut self.state
                && !counts
            {
                running.due = running.due.min(counts_at);
            }
            return if counts { Poll::Overdue } else { Poll::Pending };
        }
        if came_back && !has_check {
            self.result(now, ResultWord::Said(None), false, policy);
            self.schedule(now, policy);
            return Poll::Heard;
        }
        self.begin_check(now, policy)
    }

    fn begin_check(&mut self, now: Moment, policy: &Policy) -> Poll {
        let State::Running(running) = &mut self.state else {
            return Poll::Pending;
        };
        let results = &running.checks.results;
        // No instance is down for being slow that was not given the greatest time.
        let decides = results.bad_run().saturating_add(1) >= policy.fall || results.level() == Health::Down;
        let timeout = if decides {
            greatest(policy)
        } else {
            running.timeout.timeout(policy.timeout)
        };
        running.waits_for_lane = false;
        running.check = CheckState::begin(now, timeout, greatest(policy));
        Poll::Ask { timeout }
    }

    /// The instance has answered, or could not be asked. `calls` are those so far. Gives the result that counts; `None` if none does, or it has
    /// counted before.
    pub fn answered(
        &mut self,
        now: Moment,
        answer: Answer,
        calls: Calls,
        policy: &Policy,
    ) -> Option<ResultWord> {
        let running = self.running(answer.generation)?;
        let asked = running.check.asked()?;
        let counted_before = matches!(std::mem::take(&mut running.check), CheckState::Overdue(_));
        let is_overdue = now >= asked.deadline && answer.result != ResultWord::Busy;
        let result = match answer.result {
            _ if is_overdue && answer.host_late => ResultWord::HostLate,
            _ if is_overdue => ResultWord::TimedOut,
            ResultWord::TimedOut if answer.host_late => ResultWord::HostLate,
            result => result,
        };
        running.learn(answer, result, counted_before, policy);
        self.observe_calls(now, calls, policy);
        let is_news = !counted_before || result != ResultWord::TimedOut;
        if is_news {
            self.result(now, result, asked.fast && !counted_before, policy);
            self.schedule(now, policy);
        }
        if counted_before
            && answer.result != ResultWord::TimedOut
            && let Some(running) = self.running(answer.generation)
        {
            // It came back after all.
            running.due = running.due.min(now.after(policy.recheck));
        }
        is_news.then_some(result)
    }

    /// Whether the check that is under way is overdue by now: then it counts as failed. `host_late` as for [`poll`](Self::poll).
    pub fn check_deadline(&mut self, now: Moment, host_late: bool, policy: &Policy) -> bool {
        let is_overdue = self.deadline().is_some_and(|deadline| now >= deadline);
        let counts_at = |monitor: &mut Self| monitor.silence_counts_at(now, host_late, policy);
        let counts = is_overdue && counts_at(self).is_some_and(|counts_at| now >= counts_at);
        if counts {
            self.count_silence(now, policy);
            self.schedule(now, policy);
        }
        counts
    }

    /// When silence counts as a failed check; `None` if no check is under way.
    fn silence_counts_at(&mut self, now: Moment, host_late: bool, policy: &Policy) -> Option<Moment> {
        let running = self.running(self.generation)?;
        if host_late {
            let timeout = running.timeout.timeout(policy.timeout);
            running.check.excuse_once(now, timeout);
        }
        running.check.counts_at()
    }

    fn count_silence(&mut self, now: Moment, policy: &Policy) {
        if let State::Running(running) = &mut self.state {
            if matches!(running.check, CheckState::Pending(_)) {
                running.is_suspect = true;
                running.timeout.timed_out();
            }
            let fast = running.check.count_silence();
            self.result(now, ResultWord::TimedOut, fast, policy);
        }
    }

    fn result(&mut self, now: Moment, result: ResultWord, fast: bool, policy: &Policy) {
        let State::Running(running) = &mut self.state else {
            return;
        };
        if running.needs_confirmation(result, fast, policy) {
            return;
        }
        let is_evidence = running.observe_result(now, result, policy);
        let was_down = self.judged.health == Health::Down;
        self.judge(now, policy, is_evidence);
        let stays_down = was_down && self.judged.health == Health::Down;
        if let State::Running(running) = &mut self.state {
            let by_checks = running.checks.results.level() == Health::Down;
            let longer = running.down_for.saturating_add(1);
            running.down_for = if stays_down && by_checks { longer } else { 0 };
        }
    }

    pub(super) fn observe_calls(&mut self, now: Moment, calls: Calls, policy: &Policy) {
        let State::Running(running) = &mut self.state else {
            return;
        };
        let before = std::mem::replace(&mut running.calls_seen, calls);
        if calls.ended > before.ended || calls.returned > before.returned {
            running.called_at = Some(now);
        }
        // A failure may be counted a moment before its call is: then what succeeded seems less, until that is counted too.
        let all = calls.succeeded().max(running.succeeded_seen);
        let succeeded = all - std::mem::replace(&mut running.succeeded_seen, all);
        let failed = calls.blamed.saturating_sub(before.blamed);
        if succeeded == 0 && failed == 0 {
            return;
        }
        if succeeded > 0 {
            running.checks.bad_since_success = 0;
        }
        if succeeded > 0 || calls.failed_run < running.forgotten_run {
            // A success has come between.
            running.forgotten_run = 0;
        }
        let failed_run = calls.failed_run - running.forgotten_run;
        let evidence = running.calls.get_or_insert_default();
        evidence.observe(now, succeeded, failed, failed_run, policy);
        self.judge(now, policy, false);
    }

    /// Sets when the next check is due. On its own grid where the interval does not change, so that many instances stay spread.
    pub fn schedule(&mut self, now: Moment, policy: &Policy) {
        let (judged, seed) = (self.judged, self.seed);
        let State::Running(running) = &mut self.state else {
            return;
        };
        let down_for = (running.checks.results.level() == Health::Down).then_some(running.down_for);
        let quiet_for = now.since(running.called_at.unwrap_or(running.began));
        let interval = usual(policy, judged, down_for, quiet_for);
        running.cycle = running.cycle.wrapping_add(1);
        let from = if interval == running.interval {
            running.due
        } else {
            now
        };
        running.interval = interval;
        running.due = next_due(policy, interval, (seed, running.cycle), from, now);
    }
}

impl Running {
    /// What an answer, and how long it took, teaches for the next check.
    fn learn(&mut self, answer: Answer, result: ResultWord, counted_before: bool, policy: &Policy) {
        if let Some(took) = answer.took {
            if matches!(answer.result, ResultWord::Said(_)) && !answer.host_late {
                self.timeout.observe(took.min(greatest(policy)));
            }
            self.is_suspect = !matches!(result, ResultWord::Said(_)) || took > SLOW;
        } else if result == ResultWord::TimedOut {
            self.is_suspect = true;
            if !counted_before {
                self.timeout.timed_out();
            }
        }
    }

    /// Whether the check that would decide that the instance is down is confirmed first: it failed, and all failed checks before it did no more
    /// than take longer than usual. Then it stands for one of those.
    fn needs_confirmation(&mut self, result: ResultWord, fast: bool, policy: &Policy) -> bool {
        let (failed, level) = (self.checks.results.bad_run(), self.checks.results.level());
        let fast_timeouts = &mut self.checks.fast_timeouts;
        if failed == 0 {
            *fast_timeouts = 0;
        }
        if result == ResultWord::TimedOut {
            *fast_timeouts = fast_timeouts.saturating_add(u8::from(fast));
            return false;
        }
        let decides = failed.saturating_add(1) == policy.fall && level != Health::Down;
        let confirm = result.outcome() == Outcome::Bad && decides && failed > 0 && *fast_timeouts >= failed;
        if confirm {
            *fast_timeouts -= 1;
        }
        confirm
    }

    /// Takes the result of a check. `false` if it is no evidence.
    pub(super) fn observe_result(&mut self, now: Moment, result: ResultWord, policy: &Policy) -> bool {
        let result = match result {
            // Its check says nothing, or it has none.
            ResultWord::Said(None) | ResultWord::Failed(ErrorKind::Unsupported) => {
                ResultWord::Said(self.checks.pushed)
            }
            ResultWord::Said(Some(_)) => {
                self.checks.pushed = None;
                result
            }
            result => result,
        };
        let outcome = result.outcome();
        if outcome == Outcome::Skipped {
            // It works: nothing else is known of it, and nothing is held against it.
            if result == ResultWord::Busy {
                self.is_busy = true;
                (self.fresh_at, self.doubt) = (now, Doubt::None);
            }
            return false;
        }
        let checks = &mut self.checks;
        match outcome {
            Outcome::Fair => checks.fair_cause = cause(result),
            Outcome::Bad => {
                (checks.bad_cause, checks.bad_at) = (cause(result), now);
                checks.bad_since_success = checks.bad_since_success.saturating_add(1);
            }
            _ => {}
        }
        let level = checks.results.level();
        checks
            .results
            .observe(outcome, super::hysteresis::Thresholds::of_checks(policy));
        if level == Health::Down && checks.results.level() != Health::Down {
            // Checks have seen the fault begin and end: calls from before say nothing any more.
            self.calls = None;
            self.forgotten_run = self.calls_seen.failed_run;
        }
        let checks = &self.checks;
        self.is_busy = false;
        self.fresh_at = now;
        self.doubt = match (outcome, self.doubt) {
            (Outcome::Unsure, _) => Doubt::SaysUnknown,
            _ if result != ResultWord::TimedOut || checks.results.level() == Health::Down => Doubt::None,
            (_, Doubt::Starved | Doubt::NotAsked) => Doubt::Stale,
            (_, doubt) => doubt,
        };
        true
    }

    /// What is doubted at `now` if nothing more comes until then.
    pub(super) fn doubt_at(&self, now: Moment, is_asked: bool, policy: &Policy) -> Doubt {
        // A recheck comes sooner than the answer that it asks for may.
        let interval = self.interval.max(policy.interval);
        let patience = interval.saturating_mul(u32::from(policy.stale_intervals.max(1)));
        match self.doubt {
            Doubt::Starved | Doubt::NotAsked | Doubt::Stale => self.doubt,
            doubt if now.since(self.fresh_at) <= patience => doubt,
            _ if self.waits_for_lane || !is_asked && now.since(self.due) >= interval => Doubt::NotAsked,
            _ => Doubt::Stale,
        }
    }
}

fn cause(result: ResultWord) -> Cause {
    match result {
        ResultWord::Said(Some(Health::Degraded)) => Cause::SaysDegraded,
        ResultWord::Said(Some(Health::Down)) => Cause::SaysDown,
        ResultWord::Said(Some(Health::Unknown)) => Cause::SaysUnknown,
        ResultWord::Failed(kind) => Cause::CheckFails(kind),
        ResultWord::TimedOut => Cause::CheckTimesOut,
        ResultWord::Said(None | Some(Health::Up)) | ResultWord::Busy | ResultWord::HostLate => Cause::Answers,
    }
}

/// No answer may take longer.
pub(super) fn greatest(policy: &Policy) -> Duration {
    policy.timeout.1.max(policy.timeout.0)
}
