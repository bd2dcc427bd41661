//! What goes wrong, and what should be said of it. Pure.

use super::heap::Heap;
use super::nature::Nature;
use super::random::Chance;
use super::world::World;
use super::{HOUR, MINUTE, SECOND, Time};
use extman_model::record::ResultWord;
use extman_model::{Cause, ErrorKind, Health, Judgement, Lifecycle};
use serde::{Deserialize, Serialize};

/// Sorts of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It does not answer, and comes back before it is given up.
    HangReturns,
    /// It does not answer, is given up as wedged, and is started anew at the end.
    HangStays,
    /// Its calls hold all its room and never come back; its checks are told that it is busy.
    HangInCalls,
    /// It fails, and is started anew at the end.
    Crash,
    /// It says that it is down.
    SaysDown,
    /// It says that it is degraded.
    SaysDegraded,
    /// Its checks fail, and its calls too.
    CheckError,
    /// It answers later than any answer may come.
    SlowOver,
    /// It answers a good deal slower from one moment to the other, within what is allowed.
    SlowWithin,
    /// It answers ever slower, within what is allowed.
    SlowDrift,
    /// 1 % of its calls fail: no fault at all.
    CallsFail1,
    /// 20 % of its calls fail while its checks say that it is well.
    CallsFail20,
    /// 80 % of its calls fail while its checks say that it is well.
    CallsFail80,
    /// Its checks fail while its calls succeed.
    ChecksFailCallsSucceed,
    /// It is well and not, in turns.
    Flapping,
    /// Calls of 30 s take all its room: no fault, it works.
    Busy,
    /// Its synthetic request fails while its checks and calls are well.
    DeepFails,
    /// Its heap has climbed near its limit.
    HeapNear,
}

/// All of them.
pub const KINDS: [Kind; 18] = [
    Kind::HangReturns,
    Kind::HangStays,
    Kind::HangInCalls,
    Kind::Crash,
    Kind::SaysDown,
    Kind::SaysDegraded,
    Kind::CheckError,
    Kind::SlowOver,
    Kind::SlowWithin,
    Kind::SlowDrift,
    Kind::CallsFail1,
    Kind::CallsFail20,
    Kind::CallsFail80,
    Kind::ChecksFailCallsSucceed,
    Kind::Flapping,
    Kind::Busy,
    Kind::DeepFails,
    Kind::HeapNear,
];

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// From then on.
    pub from: Time,
    /// Until then.
    pub to: Time,
    /// Half of a turn of one that flaps; how long answers of a slow one take; how long before its end a heap is released in part.
    pub length: Time,
    /// Its callers go on calling, and their calls fail; else they go elsewhere.
    pub called: bool,
    /// How its checks fail.
    pub error: ErrorKind,
}

impl Kind {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::HangReturns => "hang_returns",
            Kind::HangStays => "hang_stays",
            Kind::HangInCalls => "hang_in_calls",
            Kind::Crash => "crash",
            Kind::SaysDown => "says_down",
            Kind::SaysDegraded => "says_degraded",
            Kind::CheckError => "check_error",
            Kind::SlowOver => "slow_over",
            Kind::SlowWithin => "slow_within",
            Kind::SlowDrift => "slow_drift",
            Kind::CallsFail1 => "calls_fail_1",
            Kind::CallsFail20 => "calls_fail_20",
            Kind::CallsFail80 => "calls_fail_80",
            Kind::ChecksFailCallsSucceed => "checks_fail_calls_succeed",
            Kind::Flapping => "flapping",
            Kind::Busy => "busy",
            Kind::DeepFails => "deep_fails",
            Kind::HeapNear => "heap_near",
        }
    }

    /// What is to be seen of it if it lasts; `None` if nothing has to.
    pub fn expected(self) -> Option<Health> {
        match self {
            Kind::SaysDegraded
            | Kind::CallsFail20
            | Kind::ChecksFailCallsSucceed
            | Kind::DeepFails
            | Kind::HeapNear => Some(Health::Degraded),
            Kind::SlowWithin | Kind::SlowDrift | Kind::CallsFail1 | Kind::Flapping | Kind::Busy => None,
            _ => Some(Health::Down),
        }
    }

    /// Whether it may be held to be down for this.
    pub fn may_be_down(self) -> bool {
        self.expected() == Some(Health::Down) || self == Kind::Flapping
    }

    /// Whether being held to be this, for this reason, is right for this fault.
    pub fn accepts(self, judged: Judgement) -> bool {
        use Cause as C;
        let calls = judged.cause.is_by_calls();
        // Until it is known that no call succeeds any more.
        let transient = judged.health == Health::Degraded && judged.cause == C::ChecksFailCallsSucceed;
        match self {
            Kind::HangReturns | Kind::HangStays => {
                matches!(judged.cause, C::CheckTimesOut | C::Lifecycle(Lifecycle::Wedged))
                    || calls
                    || transient
            }
            Kind::HangInCalls => judged.cause == C::Lifecycle(Lifecycle::Wedged) || calls,
            Kind::Crash => matches!(judged.cause, C::Lifecycle(Lifecycle::Failed | Lifecycle::Backoff)),
            Kind::SaysDown => judged.cause == C::SaysDown || calls || transient,
            Kind::CheckError => matches!(judged.cause, C::CheckFails(_)) || calls || transient,
            Kind::SlowOver => judged.cause == C::CheckTimesOut || calls || transient,
            Kind::SaysDegraded => judged.cause == C::SaysDegraded,
            Kind::ChecksFailCallsSucceed => judged.cause == C::ChecksFailCallsSucceed,
            Kind::CallsFail20 | Kind::CallsFail80 => calls,
            // A slow one may be late in one of its good turns too.
            Kind::Flapping => {
                matches!(judged.cause, C::CheckFails(_) | C::CheckTimesOut) || calls || transient
            }
            Kind::HeapNear => judged.cause == C::HeapNearLimit,
            Kind::DeepFails => judged.cause.is_deep(),
            Kind::SlowWithin | Kind::SlowDrift | Kind::CallsFail1 | Kind::Busy => true,
        }
    }

    /// Whether it can befall a plugin of this nature.
    fn fits(self, nature: &Nature) -> bool {
        match self {
            Kind::SaysDown | Kind::SaysDegraded | Kind::CheckError | Kind::Flapping => nature.has_check,
            Kind::SlowOver | Kind::SlowWithin | Kind::SlowDrift | Kind::Busy => nature.has_check,
            Kind::ChecksFailCallsSucceed => nature.has_check && nature.is_called_often(),
            Kind::CallsFail1 | Kind::CallsFail20 | Kind::CallsFail80 => nature.is_called_often(),
            Kind::HangInCalls => nature.has_check && nature.is_called_often(),
            Kind::DeepFails => nature.deep.is_some(),
            Kind::HeapNear => nature.has_check && nature.heap.as_ref().is_some_and(Heap::has_room),
            Kind::HangReturns | Kind::HangStays | Kind::Crash => true,
        }
    }

    /// Its shortest and longest, in seconds.
    fn lasts(self) -> (f64, f64) {
        match self {
            // It is given up 30 s after its time is over.
            Kind::HangReturns => (2.0, 30.0),
            Kind::Crash => (1.0, 600.0),
            Kind::SlowDrift => (1800.0, 14_400.0),
            // Some of them longer than the rarest deep checks are apart.
            Kind::DeepFails => (60.0, 86_400.0),
            Kind::CallsFail1 | Kind::CallsFail20 | Kind::CallsFail80 | Kind::Flapping | Kind::Busy => {
                (120.0, 7200.0)
            }
            _ => (5.0, 7200.0),
        }
    }
}

impl Fault {
    /// One of a kind that lasts from then to then.
    pub fn new(kind: Kind, from: Time, to: Time, chance: &mut Chance) -> Self {
        const ERRORS: [ErrorKind; 4] = [
            ErrorKind::Internal,
            ErrorKind::Unavailable,
            ErrorKind::Configuration,
            ErrorKind::Exhausted,
        ];
        let seconds = match kind {
            Kind::SlowOver => chance.between(5.5, 25.0),
            Kind::SlowWithin | Kind::SlowDrift => chance.log_between(0.3, 3.0),
            Kind::Flapping => chance.log_between(3.0, 60.0),
            Kind::HeapNear => (to - from) as f64 / SECOND as f64 * chance.between(0.0, 0.25),
            _ => 0.0,
        };
        Fault {
            kind,
            from,
            to,
            length: (seconds * SECOND as f64) as Time,
            called: chance.happens(0.5),
            error: ERRORS[(chance.bits() % 4) as usize],
        }
    }

    /// Whether nobody calls it meanwhile, and its checks alone can tell: what its calls say is from before.
    pub fn is_uncalled(&self, nature: &Nature) -> bool {
        let shows_in_checks = matches!(
            self.kind,
            Kind::HangReturns
                | Kind::HangStays
                | Kind::HangInCalls
                | Kind::SaysDown
                | Kind::CheckError
                | Kind::SlowOver
        );
        // No fault lasts as long as a day's time of calls.
        let is_off_hours = nature.rate(self.from) == 0.0 && nature.rate(self.to) == 0.0;
        shows_in_checks && (!self.called || is_off_hours)
    }

    /// Whether it is at work.
    pub fn is_on(&self, at: Time) -> bool {
        self.from <= at && at < self.to
    }

    /// Until then it is there to be seen by whoever has not seen it yet.
    pub fn shows_until(&self) -> Time {
        match self.kind {
            Kind::HeapNear => self.to - self.length,
            _ => self.to,
        }
    }

    /// What a synthetic request comes to while it fails; `None` if it does not come back.
    pub fn deep_result(&self) -> Option<ResultWord> {
        match self.error {
            ErrorKind::Unavailable => None,
            ErrorKind::Configuration => Some(ResultWord::Said(Some(Health::Degraded))),
            ErrorKind::Exhausted => Some(ResultWord::Said(Some(Health::Down))),
            kind => Some(ResultWord::Failed(kind)),
        }
    }

    /// Why it is degraded while its synthetic request fails.
    pub fn deep_cause(&self) -> Option<Cause> {
        (self.kind == Kind::DeepFails).then(|| match self.deep_result() {
            Some(ResultWord::Said(Some(Health::Down))) => Cause::DeepSaysDown,
            Some(ResultWord::Said(_)) => Cause::DeepSaysDegraded,
            Some(ResultWord::Failed(kind)) => Cause::DeepFails(kind),
            _ => Cause::DeepTimesOut,
        })
    }

    /// Whether one that flaps is in its bad turn.
    pub fn is_bad_turn(&self, at: Time) -> bool {
        (at.saturating_sub(self.from) / self.length.max(1)).is_multiple_of(2)
    }
}

/// Time that a plugin is well between two faults, at least; so that getting well is seen.
const WELL_MIN: Time = 30 * MINUTE;

/// What befalls one plugin, in order, with time between: one fault in half a day.
pub fn schedule(nature: &Nature, world: &World, until: Time, chance: &mut Chance) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut free = HOUR;
    loop {
        let mut from = free + (chance.exponential(10.0 * 3600.0) * SECOND as f64) as Time;
        // Some of them while the host stands still, or around that.
        if chance.happens(0.15)
            && let Some(pause) = world.any_pause(chance)
            && pause.from > free + MINUTE
            && pause.from < free + 24 * HOUR
        {
            from = pause.from - 30 * SECOND + (chance.unit() * 45.0 * SECOND as f64) as Time;
        }
        let kind = loop {
            let kind = KINDS[(chance.bits() % KINDS.len() as u64) as usize];
            if kind.fits(nature) {
                break kind;
            }
        };
        let (least, most) = kind.lasts();
        let to = from + (chance.log_between(least, most) * SECOND as f64) as Time;
        if to + WELL_MIN > until {
            return faults;
        }
        faults.push(Fault::new(kind, from, to, chance));
        free = to + WELL_MIN;
    }
}
