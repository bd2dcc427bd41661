//! The circuit breaker of one candidate for calls. Pure: it is told the time and what came of calls.
//!
//! ```text
//!            of the latest calls, calls_min at least, half failed or four fifths were slow; or the verdict is down by its calls
//!   Closed ────────────────────────────────────────────────────────────────────────────────▶ Open, for 5 s · 2ⁿ, at most 60 s, less a jitter
//!     ▲                                                                                     │   ▲
//!     │ as many permits as there are                              its time, or a good check │   │ one failed or slow,
//!     │ came back well                                                                      ▼   │ or one did not come back
//!     └──────────────────────────────────────────────────────────────────────────────── HalfOpen
//! ```
//!
//! * **A permit is a lease.** While it is half-open a call needs one; one that does not come back within its lease counts as failed. So no lost permit
//!   keeps it half-open, and time alone leads out of every state.
//! * **A good check never closes it**: only calls do.
//! * A call that began before the state it ends in says nothing of that one: its [`BreakerPermit`] is of another epoch.
//! * Callers' mistakes, cancellations, and what a busy candidate turns away say nothing of it: their permit is [given back](Breaker::give_back).
//! * **Good calls cost nothing while it is closed**: it is not told of them. It hears of failed and slow ones, each with how many calls there
//!   were by then, and the good ones are what lies between.

use crate::{Moment, nanos};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;
use std::time::Duration;

/// When calls are kept from a candidate, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BreakerPolicy {
    /// The latest calls that are looked at, at most.
    pub window_calls: usize,
    /// How long ago those of them that failed or were slow may have ended.
    pub window: Duration,
    /// Fewer than so many open nothing.
    pub calls_min: usize,
    /// Failures in thousandths that open it.
    pub failed_permille: usize,
    /// Slow calls in thousandths that open it.
    pub slow_permille: usize,
    /// For how long it is open the first time; doubled each time that it opens again without having been closed.
    pub open_first: Duration,
    /// For how long at most.
    pub open_max: Duration,
    /// Calls that are let through at one time while it is half-open; so many have to end well until it is closed.
    pub permits: usize,
    /// How long such a call may take.
    pub lease: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        BreakerPolicy {
            window_calls: 20,
            window: Duration::from_secs(60),
            calls_min: 5,
            failed_permille: 500,
            slow_permille: 800,
            open_first: Duration::from_secs(5),
            open_max: Duration::from_secs(60),
            permits: 3,
            lease: Duration::from_secs(30),
        }
    }
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallEnd {
    /// It was answered in time.
    Well,
    /// It was answered, and took longer than a caller should wait.
    Slow,
    /// It failed, and that is the plugin's doing.
    Failed,
}

/// That a call was let through. Give it back with what came of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BreakerPermit {
    epoch: NonZeroU64,
    /// Which lease, where it is one.
    lease: Option<u64>,
}

impl BreakerPermit {
    /// Of a breaker that is closed, by [`Breaker::closed_epoch`].
    pub fn closed(epoch: NonZeroU64) -> Self {
        BreakerPermit { epoch, lease: None }
    }

    /// Whether it is one of few that were lent, and has to be given back.
    pub fn is_lease(&self) -> bool {
        self.lease.is_some()
    }
}

/// Whether a call may go to the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Admission {
    /// It may.
    Admitted(BreakerPermit),
    /// Not now; again at this moment, or as soon as one of the calls under way has ended.
    Refused {
        /// When at the latest the answer may be another one.
        retry_at: Moment,
    },
}

/// The breaker of one candidate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Breaker {
    state: State,
    /// Counts changes of the state.
    epoch: NonZeroU64,
    /// How many times it has opened since it was closed.
    opened: u32,
    /// Makes the jitter of each candidate another.
    seed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    Closed {
        /// Calls that had ended when it was closed.
        since: u64,
        /// The latest that failed or were slow, the oldest first.
        bad: VecDeque<BadCall>,
    },
    Open {
        until: Moment,
    },
    HalfOpen {
        /// By number and when they end.
        leases: Vec<(u64, Moment)>,
        lent: u64,
        well: usize,
    },
}

/// A call that failed or was slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct BadCall {
    ended: Moment,
    is_failed: bool,
    /// How many calls had ended with it.
    number: u64,
}

impl Breaker {
    /// Closed. Candidates that open together try again at different moments, by their seeds.
    pub fn new(seed: u64) -> Self {
        Breaker {
            state: State::Closed {
                since: 0,
                bad: VecDeque::new(),
            },
            epoch: NonZeroU64::MIN,
            opened: 0,
            seed,
        }
    }

    /// Whether a call may go there now.
    pub fn admit(&mut self, now: Moment, policy: &BreakerPolicy) -> Admission {
        self.pass(now, policy);
        let epoch = self.epoch;
        match &mut self.state {
            State::Closed { .. } => Admission::Admitted(BreakerPermit { epoch, lease: None }),
            State::Open { until } => Admission::Refused { retry_at: *until },
            State::HalfOpen { leases, lent, .. } => {
                if leases.len() >= policy.permits.max(1) {
                    let retry_at = leases.iter().map(|(_, end)| *end).min().unwrap_or(now);
                    return Admission::Refused { retry_at };
                }
                *lent += 1;
                leases.push((*lent, now.after(policy.lease)));
                Admission::Admitted(BreakerPermit {
                    epoch,
                    lease: Some(*lent),
                })
            }
        }
    }

    /// A call that was admitted has ended. `calls` of the candidate have ended by now that say something of it, this one among them.
    pub fn ended(
        &mut self,
        permit: BreakerPermit,
        end: CallEnd,
        calls: u64,
        now: Moment,
        policy: &BreakerPolicy,
    ) {
        self.pass(now, policy);
        if permit.epoch != self.epoch {
            return;
        }
        match &mut self.state {
            State::Closed { since, bad } => {
                if end == CallEnd::Well {
                    return;
                }
                // Two that end at the same time may both have counted both.
                let number = bad.back().map_or(calls, |last| calls.max(last.number + 1));
                bad.push_back(BadCall {
                    ended: now,
                    is_failed: end == CallEnd::Failed,
                    number,
                });
                let window = policy.window_calls.max(1) as u64;
                let is_looked_at =
                    |call: &BadCall| number - call.number < window && now.since(call.ended) < policy.window;
                bad.retain(is_looked_at);
                let looked_at = number.saturating_sub(*since).clamp(bad.len() as u64, window);
                if is_bad(bad, looked_at, policy) {
                    self.open(now, policy);
                }
            }
            State::HalfOpen { leases, well, .. } => {
                leases.retain(|(number, _)| Some(*number) != permit.lease);
                match end {
                    CallEnd::Well => {
                        *well += 1;
                        if *well >= policy.permits.max(1) {
                            self.become_state(State::Closed {
                                since: calls,
                                bad: VecDeque::new(),
                            });
                            self.opened = 0;
                        }
                    }
                    CallEnd::Slow | CallEnd::Failed => self.open(now, policy),
                }
            }
            State::Open { .. } => {}
        }
    }

    /// A call that was admitted says nothing of the candidate. One that comes back after its lease has failed all the same.
    pub fn give_back(&mut self, permit: BreakerPermit, now: Moment) {
        if let State::HalfOpen { leases, .. } = &mut self.state
            && permit.epoch == self.epoch
        {
            leases.retain(|(number, end)| Some(*number) != permit.lease || now >= *end);
        }
    }

    /// Its calls have failed by a longer account than this one's: it is opened if it is closed.
    pub fn trip(&mut self, now: Moment, policy: &BreakerPolicy) {
        if self.is_closed() {
            self.open(now, policy);
        }
    }

    /// The candidate is well by its checks: calls are tried at once.
    pub fn check_was_good(&mut self) {
        if matches!(self.state, State::Open { .. }) {
            self.half_open();
        }
    }

    /// Whether a call would be let through without a lease: it is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// What a permit of it is made of as long as it is closed: `None` if it is not.
    pub fn closed_epoch(&self) -> Option<NonZeroU64> {
        self.is_closed().then_some(self.epoch)
    }

    /// Until when no call is let through; `None` if some are.
    pub fn open_until(&self) -> Option<Moment> {
        match &self.state {
            State::Open { until } => Some(*until),
            State::Closed { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// What time alone brings.
    fn pass(&mut self, now: Moment, policy: &BreakerPolicy) {
        match &self.state {
            State::Open { until } if now >= *until => self.half_open(),
            State::HalfOpen { leases, .. } if leases.iter().any(|(_, end)| now >= *end) => {
                self.open(now, policy);
            }
            _ => {}
        }
    }

    fn open(&mut self, now: Moment, policy: &BreakerPolicy) {
        let doubled = policy.open_first.saturating_mul(1 << self.opened.min(16));
        let whole = doubled.min(policy.open_max);
        // Less by up to a quarter.
        let mut hasher = DefaultHasher::new();
        (self.seed, self.opened).hash(&mut hasher);
        let jitter = nanos(whole) / 4 * (hasher.finish() % 1_000) / 1_000;
        let until = now.after(whole - Duration::from_nanos(jitter));
        self.opened = self.opened.saturating_add(1).min(17);
        self.become_state(State::Open { until });
    }

    fn half_open(&mut self) {
        self.become_state(State::HalfOpen {
            leases: Vec::new(),
            lent: 0,
            well: 0,
        });
    }

    fn become_state(&mut self, state: State) {
        self.state = state;
        self.epoch = self.epoch.saturating_add(1);
    }
}

/// Of so many calls these were bad.
fn is_bad(bad: &VecDeque<BadCall>, calls: u64, policy: &BreakerPolicy) -> bool {
    let of = |failed| bad.iter().filter(|call| call.is_failed == failed).count();
    let reaches = |count: usize, permille: usize| {
        count > 0 && count as u64 * 1_000 >= calls.saturating_mul(permille as u64)
    };
    calls >= policy.calls_min as u64
        && (reaches(of(true), policy.failed_permille) || reaches(of(false), policy.slow_permille))
}

#[cfg(test)]
mod tests;
