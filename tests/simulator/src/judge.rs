//! Compares what is said of a plugin with what is true. Pure.

use super::Time;
use super::bounds::Bounds;
use super::fault::{Fault, Kind};
use super::nature::Nature;
use super::report::{Report, Violation, Wrong};
use super::world::World;
use extman_model::{Cause, Health, HealthFlags, Judgement};

/// What is known of the fault that is at work, or was last.
#[derive(Debug, Clone, Copy)]
struct Open {
    fault: Fault,
    /// From its beginning until it has to be seen.
    bound: Time,
    /// From its end until it has to be over.
    recovery: Time,
    seen_at: Option<Time>,
    well_at: Option<Time>,
    flapped: bool,
    /// Something else made it worse for so long before it was seen: what shows only where all else is well could not.
    masked: Time,
}

/// Since when it fails, as its caller knows it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Failing {
    /// When the calls began to fail that failed last, without a success since and without long between two of them.
    pub calls_since: Option<Time>,
    /// When the first of the deep checks was begun that failed last, in a row.
    pub deep_since: Option<Time>,
}

/// Watches one plugin's judgements.
#[derive(Debug)]
pub struct Judge<'a> {
    plugin: u32,
    faults: &'a [Fault],
    nature: &'a Nature,
    world: &'a World,
    bounds: &'a Bounds,
    next: usize,
    open: Option<Open>,
    judged: Judgement,
    /// Its word from before the host lost sight of it.
    before_loss: Health,
    since: Time,
    /// Until then deep checks may speak against it for the last fault of theirs, and its heap for the last of its own.
    deep_until: Time,
    heap_until: Time,
    /// Of the fault of deep checks before the last.
    deep_before: Option<Cause>,
    deep_last: Option<Cause>,
}

impl<'a> Judge<'a> {
    /// Of a plugin of which nothing is known yet.
    pub fn new(
        plugin: u32,
        faults: &'a [Fault],
        nature: &'a Nature,
        world: &'a World,
        bounds: &'a Bounds,
    ) -> Self {
        Judge {
            plugin,
            faults,
            nature,
            world,
            bounds,
            next: 0,
            open: None,
            judged: Judgement {
                health: Health::Unknown,
                cause: Cause::NotChecked,
                flags: HealthFlags::default(),
            },
            before_loss: Health::Unknown,
            since: 0,
            deep_until: 0,
            heap_until: 0,
            deep_before: None,
            deep_last: None,
        }
    }

    /// Whose judgements these are.
    pub fn plugin(&self) -> u32 {
        self.plugin
    }

    /// How it is judged now.
    pub fn judged(&self) -> Judgement {
        self.judged
    }

    /// It is judged otherwise from now on.
    pub fn changed(&mut self, now: Time, to: Judgement, failing: Failing, report: &mut Report) {
        self.come_to(now, report);
        self.pass(now, report);
        self.settle(now);
        let from = std::mem::replace(&mut self.judged, to);
        if let Some(open) = &mut self.open {
            open.flapped |= to.flags.flapping && open.fault.is_on(now);
        }
        if (from.health, from.cause) == (to.health, to.cause) {
            return;
        }
        let is_lost = |judged: Judgement| judged.cause == Cause::HostStarved;
        if is_lost(to) && !is_lost(from) {
            self.before_loss = from.health;
        }
        // Lost sight of while it was down and found so again, it has not been well meanwhile.
        let before = if is_lost(from) {
            self.before_loss
        } else {
            from.health
        };
        match to.health {
            Health::Down => self.down(now, before, failing, report),
            Health::Degraded => self.degraded(now, failing, report),
            Health::Up => self.up(now, report),
            Health::Unknown => {}
        }
    }

    /// Nothing more comes.
    pub fn finish(&mut self, now: Time, report: &mut Report) {
        self.come_to(now, report);
        self.pass(now, report);
        self.close(now, report);
    }

    /// What it should be held to be now; `None` while that may not be known yet.
    pub fn truth(&mut self, now: Time, report: &mut Report) -> Option<Health> {
        self.come_to(now, report);
        let Some(open) = &self.open else {
            return Some(Health::Up);
        };
        let Fault { kind, from, to, .. } = open.fault;
        if now >= to.saturating_add(open.recovery) {
            return Some(Health::Up);
        }
        let bound = open.bound + open.masked;
        (now >= from + bound && now < to && open.fault.shows_until() >= from + bound)
            .then(|| kind.expected())
            .flatten()
    }

    /// Opens the faults that have begun by now.
    fn come_to(&mut self, now: Time, report: &mut Report) {
        while let Some(fault) = self.faults.get(self.next).filter(|fault| fault.from <= now) {
            self.pass(fault.from.max(self.since), report);
            self.close(fault.from, report);
            self.next += 1;
            let bound = self.bounds.detection(fault.kind, self.nature);
            let bound = bound + self.bounds.pauses(fault.kind, self.world, fault.from, bound);
            let bound = bound
                + self
                    .bounds
                    .struck(fault.kind, self.nature, self.world, fault.from, bound);
            let recovery = self.bounds.recovery(fault, self.nature);
            let recovery = recovery + self.bounds.pauses(fault.kind, self.world, fault.to, recovery);
            let recovery = recovery
                + self
                    .bounds
                    .struck(fault.kind, self.nature, self.world, fault.to, recovery);
            match fault.kind {
                Kind::DeepFails => {
                    self.deep_until = fault.to + recovery;
                    self.deep_before = std::mem::replace(&mut self.deep_last, fault.deep_cause());
                }
                Kind::HeapNear => self.heap_until = fault.to + recovery,
                _ => {}
            }
            let is_of_before = fault.is_uncalled(self.nature) && self.judged.cause.is_by_calls();
            let seen = fault.kind.expected() == Some(self.judged.health)
                && fault.kind.accepts(self.judged)
                && !is_of_before;
            self.open = Some(Open {
                fault: *fault,
                bound,
                recovery,
                seen_at: seen.then_some(fault.from),
                well_at: None,
                flapped: false,
                masked: 0,
            });
        }
    }

    fn close(&mut self, now: Time, report: &mut Report) {
        self.settle(now);
        let Some(open) = self.open.take() else { return };
        let Fault { kind, from, to, .. } = open.fault;
        let tally = report.kind(kind);
        tally.faults += 1;
        tally.flapped += u64::from(open.flapped);
        tally.bound_ms_max = tally
            .bound_ms_max
            .max(ms(self.bounds.detection(kind, self.nature)));
        let lasted = open.fault.shows_until().min(now) - from;
        if kind.expected().is_some() {
            let bound = open.bound + open.masked;
            let must = lasted > bound;
            tally.must += u64::from(must);
            match open.seen_at {
                Some(at) => {
                    tally.detections_ms.push(ms(at - from));
                    if at - from > bound {
                        tally.late += 1;
                        self.violation(at, Wrong::Late, Some(open.fault), report);
                    }
                }
                None if must => {
                    tally.missed += 1;
                    self.violation(from + bound, Wrong::Missed, Some(open.fault), report);
                }
                None => {}
            }
        }
        if open.seen_at.is_none() {
            return;
        }
        let tally = report.kind(kind);
        match open.well_at {
            Some(at) => {
                tally.recoveries_ms.push(ms(at - to));
                if at - to > open.recovery {
                    tally.slow += 1;
                    self.violation(at, Wrong::SlowRecovery, Some(open.fault), report);
                }
            }
            None if now > to + open.recovery => {
                tally.slow += 1;
                self.violation(now, Wrong::SlowRecovery, Some(open.fault), report);
            }
            None => {}
        }
    }

    /// If nothing was held against it for the fault any more when that ended, it was well again then: as after a restart of the host, or
    /// where something else hides it.
    fn settle(&mut self, now: Time) {
        let Some(open) = &mut self.open else { return };
        let is_hidden = matches!(open.fault.kind, Kind::DeepFails | Kind::HeapNear)
            && self.judged.health == Health::Degraded
            && !open.fault.kind.accepts(self.judged);
        if open.seen_at.is_some() && now >= open.fault.to && (self.judged.health == Health::Up || is_hidden) {
            open.well_at.get_or_insert(open.fault.to);
        }
    }

    fn down(&mut self, now: Time, before: Health, failing: Failing, report: &mut Report) {
        let judged = self.judged;
        let afterwards = |open: &Open| {
            // It was down for it already, and only the reason is another or the host had lost sight of it.
            let was = open.seen_at.is_some() && open.well_at.is_none();
            let late = if was {
                open.recovery
            } else {
                self.bounds.afterwards(&open.fault)
            };
            late + self
                .bounds
                .pauses(open.fault.kind, self.world, open.fault.to, late)
        };
        // Of those that failed in a row, without a success since and without long between, the first did so in the fault.
        let of_run = |open: &Open| {
            judged.cause.is_by_calls() && failing.calls_since.is_some_and(|since| since < open.fault.to)
        };
        let open = self.open.filter(|open| {
            let is_near = now <= open.fault.to.saturating_add(afterwards(open));
            open.fault.kind.may_be_down() && (is_near || of_run(open))
        });
        let Some(open) = open else {
            if before != Health::Down {
                report.false_downs += 1;
                let fault = self.open.filter(|open| open.fault.is_on(now));
                self.violation(now, Wrong::FalseDown, fault.map(|open| open.fault), report);
            }
            return;
        };
        // After its end noise may be the last that was seen.
        if now < open.fault.to && !open.fault.kind.accepts(judged) {
            report.kind(open.fault.kind).wrong_causes += 1;
            self.violation(now, Wrong::Cause, Some(open.fault), report);
        }
        if open.fault.is_uncalled(self.nature) && judged.cause.is_by_calls() {
            // What made it down for this is over: only its calls from before are left, until the next one succeeds.
            self.up(now, report);
        } else {
            self.saw(now, Health::Down);
        }
    }

    fn degraded(&mut self, now: Time, failing: Failing, report: &mut Report) {
        // Of one that does not come back no synthetic request does either; of two that fail in a row, the other may have failed for no
        // reason, before it or after it.
        let hangs = self.open.is_some_and(|open| {
            let Fault { kind, from, to, .. } = open.fault;
            let upon_it = |at: Time| from <= at && at <= to.saturating_add(open.recovery);
            matches!(kind, Kind::HangStays | Kind::HangReturns)
                && (upon_it(now) || failing.deep_since.is_some_and(upon_it))
        });
        let alarm = match self.judged.cause {
            Cause::HeapNearLimit => now > self.heap_until,
            cause => cause.is_deep() && now > self.deep_until && !hangs,
        };
        if alarm {
            report.false_alarms += 1;
            self.violation(now, Wrong::FalseAlarm, self.open.map(|open| open.fault), report);
        }
        let open = self
            .open
            .filter(|open| now <= open.fault.to.saturating_add(open.recovery));
        let Some(open) = open else {
            report.false_degraded += 1;
            return;
        };
        let accepted = open.fault.kind.accepts(self.judged);
        // What the last deep check found stands until the next one, whatever it was that befell it then.
        let is_other = self.deep_before != Some(self.judged.cause)
            && open
                .fault
                .deep_cause()
                .is_some_and(|cause| cause != self.judged.cause);
        if accepted && is_other && now < open.fault.to {
            report.kind(open.fault.kind).wrong_causes += 1;
            self.violation(now, Wrong::Cause, Some(open.fault), report);
        }
        if accepted {
            self.saw(now, Health::Degraded);
        } else {
            report.false_degraded += 1;
        }
        if open.fault.kind.expected() == Some(Health::Down) || !accepted {
            // After its end: what is left has another reason.
            self.up(now, report);
        }
    }

    fn up(&mut self, now: Time, report: &mut Report) {
        let Some(open) = &mut self.open else { return };
        if open.seen_at.is_none() {
            return;
        }
        if now >= open.fault.to {
            open.well_at.get_or_insert(now);
        } else {
            report.kind(open.fault.kind).lost_sight += 1;
        }
    }

    fn saw(&mut self, now: Time, what: Health) {
        if let Some(open) = &mut self.open
            && open.fault.kind.expected() == Some(what)
        {
            open.seen_at.get_or_insert(now);
        }
    }

    /// The time until now belongs to what it was judged to be.
    fn pass(&mut self, now: Time, report: &mut Report) {
        let since = std::mem::replace(&mut self.since, now);
        let time = now - since;
        if let Some(open) = self.open.as_mut().filter(|open| open.seen_at.is_none())
            && matches!(open.fault.kind, Kind::DeepFails | Kind::HeapNear)
            && self.judged.health != Health::Up
        {
            open.masked += now - since.clamp(open.fault.from, now);
        }
        report.pass(self.judged, time);
    }

    fn violation(&self, at: Time, wrong: Wrong, fault: Option<Fault>, report: &mut Report) {
        report.violation(Violation {
            plugin: self.plugin,
            at_ms: ms(at),
            wall_ms: self.world.wall_ms(at),
            wrong,
            fault: fault.map(|fault| fault.kind),
            fault_from_ms: fault.map(|fault| ms(fault.from)),
            fault_to_ms: fault.map(|fault| ms(fault.to)),
            judged: self.judged.health,
            cause: Some(self.judged.cause),
        });
    }
}

fn ms(time: Time) -> u64 {
    time / 1_000_000
}

#[cfg(test)]
mod tests;
