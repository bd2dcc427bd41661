//! A plugin as the host meets it: it answers or not, is called, fails and starts anew. It knows the truth. Pure.

use super::bounds::{CALL_DEADLINE, WEDGE_AFTER};
use super::fault::{Fault, Kind};
use super::nature::Nature;
use super::random::Chance;
use super::world::World;
use super::{MINUTE, SECOND, Time};
use extman_health::monitor::Calls;
use extman_model::record::ResultWord;
use extman_model::{ErrorKind, Health, Lifecycle};

/// Calls that fail in a row are evidence of one fault as long as they are no further apart.
const OF_ONE_TIME: Time = 10 * MINUTE;
/// Calls are counted anew after this; nobody can tell what happens within.
const COUNTED_ANEW: Time = SECOND / 10;
/// The stream of the chance that has nothing to do with checks and calls.
const ASIDE: u64 = 1 << 40;
/// How likely a synthetic request fails for no reason, once.
const DEEP_ODD: f64 = 0.01;
/// From a failure to its being told, and on to the next state.
const LIFE_STEP: Time = SECOND / 20;

/// What a check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// What it says.
    pub result: ResultWord,
    /// After how long, if the host runs; `None` if it never answers.
    pub after: Option<Time>,
}

/// The next step of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LifeStep {
    /// When.
    pub at: Time,
    /// What it is from then on.
    pub state: Lifecycle,
}

/// One plugin.
#[derive(Debug)]
pub struct Plugin {
    /// Its ways.
    pub nature: Nature,
    /// What befalls it, in order.
    pub faults: Vec<Fault>,
    chance: Chance,
    /// Deep checks and heaps have a chance of their own.
    aside: Chance,
    /// The last synthetic request failed for no reason.
    deep_failed: bool,
    calls: Calls,
    /// When the calls began to fail that failed last, without a success since and without long between two of them; and when the last one did.
    failing: Option<(Time, Time)>,
    counted: Time,
    /// What it does next by itself.
    pub life: Option<LifeStep>,
    told: usize,
}

impl Plugin {
    /// One with this nature, whom this befalls.
    pub fn new(nature: Nature, faults: Vec<Fault>, chance: Chance) -> Self {
        let mut aside = chance.clone();
        let mut plugin = Plugin {
            nature,
            faults,
            chance,
            aside: Chance::new(aside.bits(), ASIDE),
            deep_failed: false,
            calls: Calls::default(),
            failing: None,
            counted: 0,
            life: None,
            told: 0,
        };
        plugin.life = plugin.next_failure(0);
        plugin
    }

    /// The fault that is at work.
    pub fn fault(&self, at: Time) -> Option<Fault> {
        self.ahead(at).first().copied().filter(|fault| fault.is_on(at))
    }

    /// Faults that are not over.
    fn ahead(&self, at: Time) -> &[Fault] {
        &self.faults[self.faults.partition_point(|fault| fault.to <= at)..]
    }

    /// Asks how it is.
    pub fn ask(&mut self, now: Time) -> Reply {
        let length = self.nature.round_trip(&mut self.chance);
        let said = |plugin: &Plugin, health| ResultWord::Said(plugin.nature.has_check.then_some(health));
        let after = |result, length| Reply {
            result,
            after: Some(length),
        };
        let Some(fault) = self.fault(now) else {
            if self.nature.has_check && self.nature.fails_for_no_reason(now, &mut self.chance) {
                return after(ResultWord::Failed(ErrorKind::Unavailable), length);
            }
            return after(said(self, Health::Up), length);
        };
        match fault.kind {
            Kind::HangReturns => after(said(self, Health::Up), (fault.to - now).max(length)),
            Kind::HangStays | Kind::Crash => Reply {
                result: ResultWord::TimedOut,
                after: None,
            },
            Kind::HangInCalls | Kind::Busy => after(ResultWord::Busy, 0),
            Kind::SaysDown => after(said(self, Health::Down), length),
            Kind::SaysDegraded => after(said(self, Health::Degraded), length),
            Kind::Flapping if !fault.is_bad_turn(now) => after(said(self, Health::Up), length),
            Kind::CheckError | Kind::ChecksFailCallsSucceed | Kind::Flapping => {
                after(ResultWord::Failed(fault.error), length)
            }
            Kind::SlowOver | Kind::SlowWithin => {
                after(said(self, Health::Up), fault.length + length.min(SECOND))
            }
            Kind::SlowDrift => {
                let share = (now - fault.from) as f64 / (fault.to - fault.from) as f64;
                after(
                    said(self, Health::Up),
                    (fault.length as f64 * share) as Time + length.min(SECOND),
                )
            }
            Kind::CallsFail1 | Kind::CallsFail20 | Kind::CallsFail80 | Kind::DeepFails | Kind::HeapNear => {
                after(said(self, Health::Up), length)
            }
        }
    }

    /// Has it make a synthetic request. It fails where that is what befalls it, and where nothing comes back; now and then once for
    /// no reason.
    pub fn ask_deep(&mut self, now: Time) -> Reply {
        let well = self.nature.round_trip(&mut self.aside);
        let good = ResultWord::Said(None);
        let was_odd = std::mem::take(&mut self.deep_failed);
        let (result, after) = match self.fault(now) {
            Some(fault) => match fault.kind {
                Kind::HangReturns => (good, Some((fault.to - now).max(well))),
                Kind::HangStays | Kind::Crash => (ResultWord::TimedOut, None),
                Kind::HangInCalls | Kind::Busy => (ResultWord::Busy, Some(0)),
                Kind::SlowOver | Kind::SlowWithin => (good, Some(fault.length + well.min(SECOND))),
                Kind::DeepFails => match fault.deep_result() {
                    Some(result) => (result, Some(well)),
                    None => (ResultWord::TimedOut, None),
                },
                _ => (good, Some(well)),
            },
            None if !was_odd && self.aside.happens(DEEP_ODD) => {
                self.deep_failed = true;
                (ResultWord::Failed(ErrorKind::Unavailable), Some(well))
            }
            None => (good, Some(well)),
        };
        Reply { result, after }
    }

    /// Another generation of it runs.
    pub fn begins(&mut self) {
        if let Some(heap) = &mut self.nature.heap {
            heap.begins();
        }
    }

    /// Its heap in use and the most that it means to use, in bytes, if it tells of that.
    pub fn heap(&mut self, now: Time) -> Option<(u64, u64)> {
        if !self.nature.has_check {
            return None;
        }
        let next = self.ahead(now).first().copied();
        let heap = self.nature.heap.as_mut()?;
        Some(heap.figure(now, next.as_ref(), &mut self.aside))
    }

    /// What it tells of itself at the beginning and the end of a fault, if it does.
    pub fn tells(&mut self, now: Time) -> Option<Health> {
        let fault = *self.faults.get(self.told / 2)?;
        let (at, health) = match (fault.kind, self.told % 2) {
            (Kind::SaysDown, 0) => (fault.from, Health::Down),
            (Kind::SaysDegraded, 0) => (fault.from, Health::Degraded),
            (_, 0) => (fault.from, Health::Unknown),
            _ => (fault.to, Health::Up),
        };
        if now < at {
            return None;
        }
        self.told += 1;
        let says = self.nature.tells && matches!(fault.kind, Kind::SaysDown | Kind::SaysDegraded);
        says.then_some(health)
    }

    /// When it tells next.
    pub fn tells_at(&self) -> Option<Time> {
        let fault = self.faults.get(self.told / 2)?;
        Some(if self.told.is_multiple_of(2) {
            fault.from
        } else {
            fault.to
        })
    }

    /// Calls so far.
    pub fn calls(&mut self, now: Time, world: &World) -> Calls {
        if now < self.counted + COUNTED_ANEW {
            return self.calls;
        }
        let (from, to) = (self.counted, now);
        self.counted = now;
        if self.nature.calls_per_second == 0.0 {
            return self.calls;
        }
        // From one change of the fault to the next.
        let mut at = from;
        while at < to {
            let fault = self.fault(at);
            let next = self.ahead(at).first();
            let change = next.map_or(to, |next| if fault.is_some() { next.to } else { next.from });
            let mut until = change.min(to);
            if let Some(Fault {
                kind: Kind::Flapping,
                from,
                length,
                ..
            }) = fault
            {
                until = until.min(from + ((at - from) / length + 1) * length);
            }
            let (paused, _) = world.paused(at, until);
            let running = (until - at).saturating_sub(paused) as f64 / SECOND as f64;
            self.count(fault, at, until, running);
            at = until.max(at + 1);
        }
        self.calls
    }

    fn count(&mut self, fault: Option<Fault>, at: Time, until: Time, running: f64) {
        let mut rate = self.nature.rate(at);
        let (mut fails, mut returns) = (self.nature.call_failure, true);
        if let Some(fault) = fault {
            match fault.kind {
                Kind::HangReturns | Kind::HangStays | Kind::HangInCalls => {
                    returns = false;
                    fails = 1.0;
                    let answered =
                        until.saturating_sub(fault.from + CALL_DEADLINE) as f64 / (until - at).max(1) as f64;
                    rate *= if fault.called {
                        answered.clamp(0.0, 1.0)
                    } else {
                        0.0
                    };
                }
                Kind::Crash => rate = 0.0,
                Kind::SaysDown | Kind::CheckError | Kind::SlowOver => {
                    fails = 1.0;
                    rate *= f64::from(u8::from(fault.called));
                }
                Kind::Flapping if fault.is_bad_turn(at) => {
                    fails = 1.0;
                    rate *= f64::from(u8::from(fault.called));
                }
                Kind::CallsFail1 => fails = 0.01,
                Kind::CallsFail20 => fails = 0.2,
                Kind::CallsFail80 => fails = 0.8,
                Kind::Busy => rate = 4.0 / 30.0,
                _ => {}
            }
        }
        let ended = self.chance.poisson(rate * running);
        let failed = self.chance.binomial(ended, fails);
        self.calls.ended += ended;
        self.calls.blamed += failed;
        if failed < ended {
            self.calls.failed_run = 0;
            self.failing = None;
        }
        // As many of those that failed came last as chance has it.
        let mut last = 0;
        while last < failed && (failed == ended || self.aside.happens(fails)) {
            last += 1;
        }
        self.calls.failed_run = self.calls.failed_run.saturating_add(last as u32);
        if last > 0 {
            let goes_on = self
                .failing
                .filter(|(_, last)| at.saturating_sub(*last) <= OF_ONE_TIME);
            self.failing = Some((goes_on.map_or(at, |(since, _)| since), until));
        }
        self.calls.returned += if returns { ended } else { 0 };
    }

    /// When the calls began to fail that failed last, without a success since and without long between two of them.
    pub fn failing_since(&self) -> Option<Time> {
        self.failing.map(|(since, _)| since)
    }

    /// Takes the step of its life that has come.
    pub fn live(&mut self, now: Time) -> Option<Lifecycle> {
        let step = self.life.filter(|step| step.at <= now)?;
        let of = |fault: &&Fault| fault.from <= step.at && step.at <= fault.to + SECOND;
        let end = self.faults.iter().rev().find(of).map_or(now, |fault| fault.to);
        let next = match step.state {
            Lifecycle::Failed => (Lifecycle::Backoff, step.at + LIFE_STEP),
            Lifecycle::Backoff | Lifecycle::Wedged => (Lifecycle::Starting, end.max(step.at + LIFE_STEP)),
            Lifecycle::Starting => (Lifecycle::Running, step.at + LIFE_STEP),
            _ => {
                self.life = self.next_failure(now);
                return Some(step.state);
            }
        };
        self.life = Some(LifeStep {
            at: next.1,
            state: next.0,
        });
        Some(step.state)
    }

    /// It was asked and will not answer by `at`: then its lane is given up, unless it is started anew before.
    pub fn given_up_at(&mut self, now: Time, at: Time) {
        let end = self.fault(now).map_or(Time::MAX, |fault| fault.to);
        let step = if end < at {
            LifeStep {
                at: end,
                state: Lifecycle::Starting,
            }
        } else {
            LifeStep {
                at,
                state: Lifecycle::Wedged,
            }
        };
        if self.life.is_none_or(|planned| planned.at > step.at) {
            self.life = Some(step);
        }
    }

    /// What will end its life by itself next.
    fn next_failure(&self, now: Time) -> Option<LifeStep> {
        let of = |fault: &Fault| match fault.kind {
            Kind::Crash => Some(LifeStep {
                at: fault.from + LIFE_STEP,
                state: Lifecycle::Failed,
            }),
            Kind::HangInCalls => Some(LifeStep {
                at: fault.from + CALL_DEADLINE + WEDGE_AFTER,
                state: Lifecycle::Wedged,
            })
            .filter(|step| step.at < fault.to),
            _ => None,
        };
        let ahead = self.faults.iter().filter(|fault| fault.to > now);
        ahead.filter_map(of).find(|step| step.at >= now)
    }
}
