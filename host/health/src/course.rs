//! The course of one instance: when it is asked next, what a result means, and what it is held to be. Pure; the engine and the
//! simulator drive it.
//!
//! ```text
//!          begin                    ended
//!   due ──────────▶ under way ──────────────▶ due again, as its health says
//!    ▲               │  no answer in time: one failed check; none in the greatest time either: one more each
//!    └───────────────┘  time that it would be due
//! ```
//!
//! A check that is slow once counts once, however long the recheck comes round meanwhile. What the host stood still is added to
//! everybody's time, once for each check: a plugin that hangs hangs on after it.

mod answer;
mod deep;
mod doubt;
mod heap;
mod patience;
mod quiet;
mod warm;

pub use answer::{Answer, Begin, Calls, Ended};
pub use quiet::Quiet;

use super::Moment;
use super::evaluate::{Evaluation, Evidence};
use super::policy::Policy;
use super::schedule::{RoundTrip, Situation, gathered, interval, jittered, phase, seed};
use crate::nanos;
use extman_model::record::ResultWord;
use extman_model::{Health, Judgement, Lifecycle};
use patience::Patience;
use std::time::Duration;

/// An answer that takes longer makes its instance a suspect: next time it is asked on a lane apart.
const SLOW: Duration = Duration::from_millis(10);
/// A first check comes within this time, spread by phase.
const FIRST_WITHIN: Duration = Duration::from_millis(500);

/// One instance's course.
#[derive(Debug, Clone)]
pub struct Course {
    evaluation: Evaluation,
    trip: RoundTrip,
    seed: u64,
    cycle: u32,
    down_for: u8,
    suspect: bool,
    /// The check that is under way has less than the greatest time; so many failed checks in a row had, and came to nothing.
    hasty: bool,
    hasty_run: u8,
    patience: Patience,
    due: Moment,
    interval: Duration,
    calls: Calls,
    called_at: Option<Moment>,
    began: Moment,
    window_ends: Moment,
}

impl Course {
    /// Of an instance of this name, of which nothing is known.
    pub fn new(name: &str, now: Moment) -> Self {
        Course {
            evaluation: Evaluation::new(now),
            trip: RoundTrip::default(),
            seed: seed(name),
            cycle: 0,
            down_for: 0,
            suspect: false,
            hasty: false,
            hasty_run: 0,
            patience: Patience::default(),
            due: now,
            interval: Duration::ZERO,
            calls: Calls::default(),
            called_at: None,
            began: now,
            window_ends: now,
        }
    }

    /// What it is held to be, and all that led there.
    pub fn evaluation(&self) -> &Evaluation {
        &self.evaluation
    }

    /// How long its answers take.
    pub fn round_trip(&self) -> &RoundTrip {
        &self.trip
    }

    /// When it is due; only a running one is asked.
    pub fn due(&self) -> Option<Moment> {
        (self.evaluation.life() == Lifecycle::Running).then_some(self.due)
    }

    /// Time between its checks, as it stands.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// When it was asked, while it has not answered.
    pub fn asked_at(&self) -> Option<Moment> {
        self.patience.asked_at()
    }

    /// When an answer that is under way comes too late.
    pub fn too_late_at(&self) -> Option<Moment> {
        self.patience.too_late_at()
    }

    /// Where it is in its life. `calls` are those of its generation so far.
    pub fn live(
        &mut self,
        now: Moment,
        state: Lifecycle,
        generation: u64,
        calls: Calls,
        policy: &Policy,
    ) -> Option<Judgement> {
        let was = (self.evaluation.life(), self.evaluation.generation());
        let changed = self
            .evaluation
            .take(now, Evidence::Life { state, generation }, policy);
        if state == Lifecycle::Running && was != (state, generation) {
            self.trip = RoundTrip::default();
            (self.patience, self.suspect, self.down_for) = (Patience::default(), false, 0);
            (self.hasty, self.hasty_run) = (false, 0);
            (self.calls, self.called_at, self.began) = (calls, None, now);
            self.window_ends = now.after(policy.calls.window);
            self.interval = policy.interval;
            let first = now.after(phase(self.seed, policy.interval.min(FIRST_WITHIN)));
            self.due = gathered(first, policy.interval).max(now);
        }
        changed
    }

    /// It is due. `calls` are those so far; `has_check` tells whether it has anything to say of itself, `host_late` that the host
    /// stood still since it was asked last.
    pub fn begin(
        &mut self,
        now: Moment,
        calls: Calls,
        has_check: bool,
        host_late: bool,
        policy: &Policy,
    ) -> (Begin, Option<Judgement>) {
        let came_back = calls.returned > self.calls.returned;
        let mut changed = self.count(now, calls, policy);
        changed = changed.or(self.evaluation.take(now, self.waited(policy), policy));
        if self.patience.is_waiting() {
            let counts_at = self.counts_at(now, host_late, policy);
            if now >= counts_at {
                self.patience.give_up();
                self.hasty = false;
                changed = changed.or(self.result(now, ResultWord::TimedOut, policy));
            }
            self.next(now, policy);
            if now < counts_at {
                self.due = self.due.min(counts_at);
            }
            return (Begin::StillAsked, changed);
        }
        if came_back && !has_check {
            self.patience.heard();
            changed = changed.or(self.result(now, ResultWord::Said(None), policy));
            self.next(now, policy);
            return (Begin::Seen, changed);
        }
        // Nobody is down for being slow who was not given the greatest time.
        let decides = self.evaluation.failed_checks().saturating_add(1) >= policy.fall
            || self.evaluation.fails_checks();
        let timeout = if decides {
            greatest(policy)
        } else {
            self.trip.timeout(policy.timeout)
        };
        self.hasty = timeout < greatest(policy);
        self.patience.ask(now, timeout);
        let apart = self.suspect;
        (Begin::Ask { timeout, apart }, changed)
    }

    /// It has answered, or could not be asked. `calls` are those so far.
    pub fn ended(&mut self, now: Moment, answer: Answer, calls: Calls, policy: &Policy) -> Ended {
        let Answer {
            generation,
            result,
            took,
            host_late,
        } = answer;
        if generation != self.evaluation.generation() || self.evaluation.life() != Lifecycle::Running {
            return Ended::NOTHING;
        }
        // Whether it was counted when its time was over.
        let Some((too_late, said_before)) = self.patience.end() else {
            return Ended::NOTHING;
        };
        let late = now >= too_late && !matches!(result, ResultWord::Busy);
        // Before its own time is over: the check before has not come back yet, and nothing new is known of it for now.
        let refused = result == ResultWord::TimedOut && !late && !host_late;
        if refused {
            self.hasty = false;
            self.patience.was_refused();
        }
        let counts_at = self.patience.hopeless_at(greatest(policy));
        let still_in = refused && now < counts_at;
        let counted = match result {
            _ if late && host_late => ResultWord::HostLate,
            _ if late => ResultWord::TimedOut,
            ResultWord::TimedOut if host_late => ResultWord::HostLate,
            result => result,
        };
        if result != ResultWord::TimedOut {
            self.patience.heard();
        }
        let in_time = matches!(counted, ResultWord::Said(_));
        if let Some(took) = took {
            if matches!(result, ResultWord::Said(_)) && !host_late {
                self.trip.observe(took.min(greatest(policy)));
            }
            self.suspect = !in_time || took > SLOW;
        } else if counted == ResultWord::TimedOut {
            self.suspect = true;
            if !said_before && !refused {
                self.trip.timed_out();
            }
        }
        let mut changed = self.count(now, calls, policy);
        let known = still_in || said_before && counted == ResultWord::TimedOut;
        let counted = (!known).then_some(counted);
        if let Some(counted) = counted {
            changed = changed.or(self.result(now, counted, policy));
        }
        if !said_before || counted.is_some() {
            self.next(now, policy);
        }
        if still_in {
            self.due = self.due.min(counts_at);
        }
        if said_before && result != ResultWord::TimedOut {
            // It came back after all.
            self.due = self.due.min(now.after(policy.recheck));
        }
        Ended { counted, changed }
    }

    /// Whether an answer that is under way is late by now; then it counts as failed. `host_late` as for [`ended`](Self::ended).
    pub fn look(&mut self, now: Moment, host_late: bool, policy: &Policy) -> Ended {
        let late = self.too_late_at().is_some_and(|too_late| now >= too_late);
        if !late || now < self.counts_at(now, host_late, policy) {
            return Ended::NOTHING;
        }
        self.patience.give_up();
        self.suspect = true;
        self.trip.timed_out();
        let changed = self.result(now, ResultWord::TimedOut, policy);
        self.next(now, policy);
        Ended {
            counted: Some(ResultWord::TimedOut),
            changed,
        }
    }

    /// It tells of itself without being asked. A change is looked at soon.
    pub fn told(
        &mut self,
        now: Moment,
        generation: u64,
        health: Health,
        policy: &Policy,
    ) -> Option<Judgement> {
        let changed = self
            .evaluation
            .take(now, Evidence::Told { generation, health }, policy);
        if self.evaluation.judged().flags.soft {
            self.due = self.due.min(now.after(policy.recheck));
        }
        changed
    }

    /// The host stood still for so long.
    pub fn stood_still(&mut self, now: Moment, stall: Duration, policy: &Policy) -> Option<Judgement> {
        self.patience
            .excuse(now, stall, self.trip.timeout(policy.timeout));
        if stall < self.interval {
            return None;
        }
        self.evaluation.take(now, Evidence::Starved, policy)
    }

    /// It was due, and no lane of the host's began to ask it: nothing is known of it for that.
    pub fn not_begun(&mut self, now: Moment, policy: &Policy) {
        self.next(now, policy);
    }

    /// Whether it was slow or failed last time, and so is asked on a lane apart.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// It is to be asked now, whatever its schedule says.
    pub fn hasten(&mut self, now: Moment) {
        self.due = now;
    }

    /// An operator begins or ends work on it.
    pub fn maintain(&mut self, now: Moment, on: bool, policy: &Policy) -> Option<Judgement> {
        self.evaluation.take(now, Evidence::Maintenance(on), policy)
    }

    /// What its health is if nothing more comes until `now`: the engine itself may have stopped.
    pub fn as_seen_at(&self, now: Moment, policy: &Policy) -> Judgement {
        let mut copy = self.evaluation.clone();
        copy.take(now, self.waited(policy), policy);
        copy.judged()
    }

    /// A recheck comes sooner than the answer that it asks for may.
    fn waited(&self, policy: &Policy) -> Evidence {
        let interval = self.interval.max(policy.interval);
        Evidence::Waited { interval }
    }

    /// When silence counts as a failed check. `host_late` is news once for each check: then it has its time anew.
    fn counts_at(&mut self, now: Moment, host_late: bool, policy: &Policy) -> Moment {
        if host_late && !self.patience.is_excused() {
            let timeout = self.trip.timeout(policy.timeout);
            self.patience.excuse(now, Duration::ZERO, timeout);
        }
        self.patience.counts_at(greatest(policy)).unwrap_or(now)
    }

    fn result(&mut self, now: Moment, result: ResultWord, policy: &Policy) -> Option<Judgement> {
        if self.is_doubted(result, policy) {
            return None;
        }
        let generation = self.evaluation.generation();
        let changed = self
            .evaluation
            .take(now, Evidence::Checked { generation, result }, policy);
        let down = self.evaluation.judged().health == Health::Down && self.evaluation.fails_checks();
        let stays = down && changed.is_none_or(|before| before.health == Health::Down);
        self.down_for = if stays { self.down_for.saturating_add(1) } else { 0 };
        changed
    }

    fn count(&mut self, now: Moment, calls: Calls, policy: &Policy) -> Option<Judgement> {
        let ended = calls.ended.saturating_sub(self.calls.ended);
        let failed = calls.blamed.saturating_sub(self.calls.blamed).min(ended);
        let window_ends = now >= self.window_ends;
        if calls.ended > self.calls.ended || calls.returned > self.calls.returned {
            self.called_at = Some(now);
        }
        self.calls = calls;
        if ended == 0 && !window_ends {
            return None;
        }
        if window_ends {
            // Aligned to its beginning; what was missed while nobody looked is over.
            let window = nanos(policy.calls.window).max(1_000_000);
            let over = now.nanos_since(self.window_ends) / window;
            let ahead = window.saturating_mul(over.saturating_add(1));
            self.window_ends = self.window_ends.after(Duration::from_nanos(ahead));
        }
        let number = |calls| u32::try_from(calls).unwrap_or(u32::MAX);
        let evidence = Evidence::Called {
            generation: self.evaluation.generation(),
            succeeded: number(ended - failed),
            failed: number(failed),
            window_ends,
        };
        self.evaluation.take(now, evidence, policy)
    }

    /// Sets when it is due next. On its own grid where that does not change, so that many instances stay spread.
    fn next(&mut self, now: Moment, policy: &Policy) {
        let judged = self.evaluation.judged();
        let situation = Situation {
            health: judged.health,
            fails_checks: self.evaluation.fails_checks(),
            soft: judged.flags.soft,
            flapping: judged.flags.flapping,
            down_for: self.down_for,
            quiet_for: now.since(self.called_at.unwrap_or(self.began)),
        };
        let usual = interval(policy, situation);
        self.cycle = self.cycle.wrapping_add(1);
        let from = if usual == self.interval { self.due } else { now };
        self.interval = usual;
        self.due = next_due(policy, usual, (self.seed, self.cycle), from, now);
    }
}

/// When one is due next that was due at `from`, and is asked each `usual`.
#[inline]
fn next_due(
    policy: &Policy,
    usual: Duration,
    (seed, cycle): (u64, u32),
    from: Moment,
    now: Moment,
) -> Moment {
    let step = jittered(policy, usual, seed, cycle);
    let mut due = from.after(step);
    if due <= now {
        // Some were missed: the next one that is not.
        let step = nanos(step).max(1);
        let steps = (now.nanos_since(from) / step).saturating_add(1);
        due = from.after(Duration::from_nanos(step.saturating_mul(steps)));
    }
    let gathered = gathered(due, usual);
    if gathered > now { gathered } else { due }
}

/// No answer may take longer.
fn greatest(policy: &Policy) -> Duration {
    policy.timeout.1.max(policy.timeout.0)
}

#[cfg(test)]
mod tests;
