//! How soon a fault has to be seen, and its end: from the policy alone. Pure.
//!
//! ```text
//!   begins          next check     too late      again        again: down
//!   ──┼─────────────────┼─────────────┼────────────┼────────────┼──▶
//!     │ interval + jitter │  timeout  │  recheck   │  recheck   │
//! ```

use super::fault::{Fault, Kind};
use super::nature::{Nature, has_room};
use super::world::World;
use super::{DAY, MINUTE, SECOND, SHARD, Time};
use extman_health::deep::APART_MS;
use extman_health::policy::Policy;
use std::time::Duration;

/// The engine's step, and its own delay.
const STEP: Time = SECOND / 50;
/// Until a lost lane or a failed instance is told of.
const TOLD: Time = SECOND / 5;
/// A lane that does not come back is given up so long after its time is over.
pub(super) const WEDGE_AFTER: Time = 30 * SECOND;
/// How far time had come is written down so often: more of it is not lost over a restart of the machine.
const UNMARKED: Time = 5 * MINUTE;
/// Who can't be asked deep is looked at again after this.
pub(super) const HELD: Time = 15 * SECOND;
/// It runs for so long before it is asked deep.
pub(super) const SETTLED: Time = 60 * SECOND;
/// Within this time a caller wants an answer.
pub(super) const CALL_DEADLINE: Time = 30 * SECOND;

/// Times that follow from a policy.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    interval: Time,
    idle: Time,
    timeout: Time,
    recheck: Time,
    backoff: Time,
    window: Time,
    fall: Time,
    rise: Time,
}

impl Bounds {
    /// Of this policy.
    pub fn new(policy: &Policy) -> Self {
        let with_jitter = |time: Duration| {
            let nanos = time.as_nanos() as Time;
            nanos + nanos * Time::from(policy.jitter_permille) / 1000 + STEP
        };
        Bounds {
            interval: with_jitter(policy.interval),
            idle: with_jitter(policy.idle_interval.max(policy.interval)),
            timeout: policy.timeout.1.as_nanos() as Time + STEP,
            recheck: with_jitter(policy.recheck),
            backoff: with_jitter(policy.down_backoff.1),
            window: policy.calls.window.as_nanos() as Time,
            fall: Time::from(policy.fall.max(1)),
            rise: Time::from(policy.rise.max(1)),
        }
    }

    /// From a fault's beginning until it has to be seen, if the host runs all the time.
    pub fn detection(&self, kind: Kind, nature: &Nature) -> Time {
        let asked = if nature.may_be_idle() {
            self.idle
        } else {
            self.interval
        };
        // Calls that succeeded a moment ago speak for it for one more interval.
        let calls = if nature.calls_per_second > 0.0 {
            self.interval
        } else {
            0
        };
        match kind {
            Kind::Crash => TOLD,
            Kind::HangInCalls => CALL_DEADLINE + WEDGE_AFTER + TOLD,
            Kind::HangReturns | Kind::HangStays => asked + self.timeout + self.fall * self.recheck + calls,
            Kind::SlowOver | Kind::SaysDown | Kind::CheckError => {
                asked + self.fall * (self.timeout + self.recheck) + calls
            }
            Kind::SaysDegraded | Kind::ChecksFailCallsSucceed => {
                asked + self.fall * (self.timeout + self.recheck)
            }
            Kind::CallsFail20 | Kind::CallsFail80 => {
                (self.fall + 1) * self.window + self.interval + self.timeout
            }
            // No figure comes with a check that fails for no reason; what its figures say hastens none.
            Kind::HeapNear => self.fall * (asked + self.timeout) + self.timeout + self.recheck,
            // The one that fails first comes when it is due, the one that confirms it as soon as may be.
            Kind::DeepFails => {
                deep_due(nature) + deep_made(nature) + deep_confirmed(nature) + deep_made(nature)
            }
            Kind::SlowWithin | Kind::SlowDrift | Kind::CallsFail1 | Kind::Flapping | Kind::Busy => 0,
        }
    }

    /// From a fault's end until it has to be held to be well again.
    pub fn recovery(&self, fault: &Fault, nature: &Nature) -> Time {
        // One back-off more, since the first good check may be the one in a thousand that fails for no reason.
        let by_checks = 2 * self.backoff + (self.rise + 1) * (self.timeout + self.recheck);
        // Before each good window there may be one with too few calls, but where it is called often.
        let windows = self.rise * if nature.is_called_often() { 1 } else { self.rise };
        let windows = windows * self.window + self.interval + self.timeout;
        match fault.kind {
            // One that comes back by itself, before it is given up, is down by its calls until they succeed.
            Kind::HangStays | Kind::HangInCalls if fault.called => self.window + windows,
            Kind::Crash | Kind::HangStays | Kind::HangInCalls => SECOND + self.timeout + self.recheck,
            // Until its checks answer it is looked at as seldom as it is asked; then the windows are looked at in time.
            Kind::HangReturns | Kind::SaysDown | Kind::CheckError | Kind::SlowOver | Kind::Flapping
                if fault.called =>
            {
                by_checks.max(self.window.max(self.backoff + self.timeout) + windows)
            }
            Kind::CallsFail1 | Kind::CallsFail20 | Kind::CallsFail80 => self.window + windows,
            Kind::HeapNear => (self.rise + 1) * (self.interval + self.timeout),
            // Here too, the first may be one that fails for no reason.
            Kind::DeepFails => 2 * (deep_due(nature) + deep_made(nature)),
            _ => by_checks,
        }
    }

    /// From a fault's end until it may no longer be found to be down for it: what was asked in it may still be out.
    pub fn afterwards(&self, fault: &Fault) -> Time {
        // The last calls that failed count with the window that they are in, when somebody looks: as often as ever where checks succeed.
        let by_calls_alone = matches!(fault.kind, Kind::CallsFail20 | Kind::CallsFail80);
        let looked_at = if by_calls_alone {
            self.interval
        } else {
            self.backoff
        };
        let calls = self.window + looked_at + self.timeout;
        let by_calls = fault.called || by_calls_alone;
        let checks = self.timeout + self.recheck;
        let answer = if fault.kind == Kind::SlowOver {
            fault.length + self.interval
        } else {
            0
        };
        answer + if by_calls { calls } else { checks }
    }

    /// What it adds that a deep check falls upon a pause of the host: it counts for nothing, and the next comes when it is due.
    pub fn struck(&self, kind: Kind, nature: &Nature, world: &World, from: Time, length: Time) -> Time {
        let is_struck = kind == Kind::DeepFails && world.stood_still(from, from + length) > Duration::ZERO;
        if is_struck {
            deep_due(nature) + deep_made(nature)
        } else {
            0
        }
    }

    /// What pauses of the host add: their length, and that what was under way gets its time anew.
    pub fn pauses(&self, kind: Kind, world: &World, from: Time, length: Time) -> Time {
        let unmarked = if kind == Kind::DeepFails { UNMARKED } else { 0 };
        let (mut added, mut seen) = (0, (u32::MAX, 0));
        loop {
            let (paused, count) = world.paused(from, from + length + added);
            if (count, added) == seen {
                return added;
            }
            seen = (count, added);
            // After a restart of the host all begins anew, and for deep checks some minutes of the machine's do not count.
            let anew = Time::from(world.restarted(from, from + length + added)) * (length + unmarked);
            added = paused + Time::from(count) * (self.timeout + self.recheck) + anew;
        }
    }
}

/// Until a deep check is due at the latest: on a scarce budget, a day after the one that was the first of a day's.
fn deep_due(nature: &Nature) -> Time {
    nature.deep.map_or(0, |policy| {
        let every = policy.every.as_nanos() as Time;
        if has_room(&policy) { every } else { every.max(DAY) }
    })
}

/// From a first failure until another one may be made.
fn deep_confirmed(nature: &Nature) -> Time {
    nature.deep.map_or(0, |policy| {
        if has_room(&policy) {
            APART_MS * 1_000_000
        } else {
            DAY
        }
    })
}

/// From when it is due until it has ended: one at a time is made, and a third of all may be before it.
fn deep_made(nature: &Nature) -> Time {
    nature.deep.map_or(0, |policy| {
        let one = policy.timeout.as_nanos() as Time + STEP;
        SETTLED + HELD + (Time::from(SHARD) / 3 + 1) * one
    })
}
