//! Which lanes go through the due instances of a library, what each of them has in hand, and what becomes of that when a lane stays in one.

use super::super::batch::{Asking, Batch, GROUP, Inside, STAYS};
use super::super::hot::{Hot, LibraryNumber, Progress};
use super::super::outbox::{Outbox, Plan};
use super::super::{At, results};
use super::Scheduler;
use extman_health::Moment;
use extman_runtime::lanes::{Phase, Work};
use std::sync::Arc;
use std::time::Duration;

/// Lanes of one library that go through its instances at a time, but for those that are lost.
const BATCHES_MAX: usize = 16;
/// A check that is due and has no lane for so long is looked at, and again each time.
const WAITS: Duration = Duration::from_secs(1);

/// A lane under way.
pub(super) struct RunningBatch {
    pub batch: Arc<Batch>,
    pub group: Vec<Given>,
    taken_over: bool,
}

/// One that a lane was given.
pub(super) struct Given {
    pub index: u32,
    asking: u32,
    generation: u64,
    pub timeout: Duration,
    /// Only if its instance is another one's by now.
    pub name: Option<Arc<str>>,
}

impl Scheduler {
    /// Lanes for those that wait. Only libraries of which somebody does are looked at, and only their own batches.
    pub(super) fn plan_all(&mut self, now: Moment, out: &mut Outbox) {
        let mut wanting = std::mem::take(&mut self.wanting);
        wanting.retain(|number| self.plan_for(*number, now, out));
        self.wanting = wanting;
    }

    /// Whether somebody of this library waits on: a lane that stays in one, or is lost, gives room for another.
    fn plan_for(&mut self, number: LibraryNumber, now: Moment, out: &mut Outbox) -> bool {
        let Some(library) = self.libraries.get_mut(number) else {
            return false;
        };
        let (has_due, apart) = (!library.due.is_empty(), library.apart.len());
        library.wants_lanes = has_due || apart > 0;
        if !library.wants_lanes {
            return false;
        }
        let (mut all, mut due_batches, mut apart_batches) = (0, 0, 0);
        let library = self.libraries.get(number);
        let of_it = library.into_iter().flat_map(|library| &library.batches);
        for running in of_it.filter_map(|batch| self.batches.get(batch)) {
            if self.is_lost(running, now) {
                continue;
            }
            all += 1;
            match (running.batch.is_apart, running.batch.inside()) {
                // One that stays goes through no others for now.
                (_, Some(inside)) if now.since(inside.began) > STAYS => {}
                (true, _) => apart_batches += 1,
                (false, _) => due_batches += 1,
            }
        }
        #[cfg(test)]
        {
            self.looked += 1 + self
                .libraries
                .get(number)
                .map_or(0, |library| library.batches.len() as u64);
        }
        let mut room = BATCHES_MAX.saturating_sub(all);
        if has_due && due_batches == 0 && room > 0 {
            self.plan(number, false, out);
            room -= 1;
        }
        for _ in 0..apart.saturating_sub(apart_batches).min(room) {
            self.plan(number, true, out);
        }
        true
    }

    /// Whether the watchdog has given up its lane, or does so now.
    fn is_lost(&self, running: &RunningBatch, now: Moment) -> bool {
        let inside = running.batch.inside();
        let lost = inside.and_then(|inside| {
            let given = running.group.get(inside.at)?;
            let hot = &self.hot[given.index as usize];
            let wedge_after = hot
                .target
                .as_ref()
                .map_or(Duration::ZERO, |target| target.wedge_after());
            Some(now > inside.began.after(given.timeout).after(wedge_after))
        });
        lost.unwrap_or(false)
    }

    fn plan(&mut self, library: LibraryNumber, is_apart: bool, out: &mut Outbox) {
        let Some(known) = self.libraries.get_mut(library) else {
            return;
        };
        self.batches_made += 1;
        known.batches.push(self.batches_made);
        let batch = Batch::new(
            self.batches_made,
            library,
            is_apart,
            known.pool.name(),
            self.probes.clone(),
        );
        out.plans.push(Plan {
            pool: known.pool.clone(),
            batch: batch.clone(),
        });
        let running = RunningBatch {
            batch,
            group: Vec::with_capacity(GROUP),
            taken_over: false,
        };
        self.batches.insert(self.batches_made, running);
    }

    /// A lane's batch is over.
    pub(in crate::probing) fn leave(&mut self, batch: &Batch) {
        if self.batches.remove(&batch.number).is_none() {
            return;
        }
        if let Some(library) = self.libraries.get_mut(batch.library) {
            library.batches.retain(|number| *number != batch.number);
        }
        self.forget_if_unused(batch.library);
    }

    /// No lane took this batch: those that wait for one are asked another time.
    pub(in crate::probing) fn never_began(&mut self, batch: &Batch, at @ (now, _): At, out: &mut Outbox) {
        for number in self.waiting(batch.library) {
            self.due_states[number as usize].progress = Progress::Idle;
            self.with(number, at, |instance, hot| {
                results::not_begun(instance, hot, at, Duration::ZERO, out);
                instance.counts.skipped += 1;
                instance.monitor.schedule(now, &hot.policy);
            });
            self.schedule(number);
        }
        if let Some(library) = self.libraries.get_mut(batch.library) {
            library.due.clear();
            library.apart.clear();
        }
        self.leave(batch);
    }

    /// Those that wait for a lane though they have been due for a while: in the end nothing is known of them.
    pub(super) fn look_at_waiting(&mut self, at @ (now, _): At, out: &mut Outbox) {
        if now.since(self.waiting_seen) < WAITS {
            return;
        }
        self.waiting_seen = now;
        for library in self.wanting.clone() {
            for number in self.waiting(library) {
                let known = self.instance(number);
                let due = known.and_then(|(instance, hot)| results::due(instance, hot));
                if due.is_some_and(|due| now.since(due) >= WAITS) {
                    self.with(number, at, |instance, hot| {
                        let patience = hot.policy.timeout.1;
                        results::not_begun(instance, hot, at, patience, out);
                    });
                }
            }
        }
    }

    /// Those of a library that wait for a lane.
    fn waiting(&self, library: LibraryNumber) -> Vec<u32> {
        let Some(known) = self.libraries.get(library) else {
            return Vec::new();
        };
        let waits = |number: &u32| {
            let due_state = &self.due_states[*number as usize];
            due_state.progress == Progress::Queued && due_state.library == Some(library)
        };
        known
            .due
            .iter()
            .chain(&known.apart)
            .copied()
            .filter(waits)
            .collect()
    }

    /// What a lane is in, for people and for the supervisor.
    pub(in crate::probing) fn given(&self, batch: &Batch, inside: Inside) -> Option<Work> {
        let given = self.batches.get(&batch.number)?.group.get(inside.at)?;
        let (instance, hot) = self.instance(given.index)?;
        let subject = given.name.clone().unwrap_or_else(|| instance.name.clone());
        let wedge_after = hot
            .target
            .as_ref()
            .map_or(Duration::ZERO, |target| target.wedge_after());
        Some(Work {
            subject,
            generation: given.generation,
            phase: Phase::Check,
            capability: None,
            deadline: inside.began.after(given.timeout),
            wedge_after,
        })
    }

    /// Gives a lane those that it is to ask next: many that are quiet, or one that has to be gone through as a whole.
    pub(in crate::probing) fn fill(
        &mut self,
        batch: &Batch,
        at @ (now, _): At,
        group: &mut Vec<Asking>,
        out: &mut Outbox,
    ) {
        let Some(library) = self.libraries.get(batch.library) else {
            return;
        };
        let generation = library.generation;
        self.warm(batch);
        while group.len() < GROUP {
            let Some(library) = self.libraries.get_mut(batch.library) else {
                break;
            };
            let Some(number) = library.queue(batch.is_apart).pop_front() else {
                break;
            };
            let due_state = &mut self.due_states[number as usize];
            if due_state.progress != Progress::Queued || due_state.library != Some(batch.library) {
                continue;
            }
            due_state.progress = Progress::Idle;
            if let Some(quiet) = self.begin_quietly(number, now) {
                group.push(quiet);
                continue;
            }
            if !group.is_empty() {
                self.due_states[number as usize].progress = Progress::Queued;
                if let Some(library) = self.libraries.get_mut(batch.library) {
                    library.queue(batch.is_apart).push_front(number);
                }
                break;
            }
            if let Some(((asking, timeout), target)) = self.begin_whole(number, at, out) {
                group.push(Asking {
                    index: number,
                    asking,
                    target,
                    timeout,
                });
                break;
            }
        }
        if let Some(running) = self.batches.get_mut(&batch.number) {
            running.taken_over = false;
            running.group.clear();
            running.group.extend(group.iter().map(|asking| Given {
                index: asking.index,
                asking: asking.asking,
                generation,
                timeout: asking.timeout,
                name: None,
            }));
        }
    }

    /// Begins the check of one that is quiet up to now.
    #[inline]
    fn begin_quietly(&mut self, number: u32, now: Moment) -> Option<Asking> {
        let hot = &mut self.hot[number as usize];
        let target = hot.target.as_ref().filter(|_| !hot.is_awaited)?;
        let timeout = hot.quiet.begin(now, target.calls(), &hot.policy)?;
        let target = target.clone();
        self.lag.record(now.since(hot.quiet.due()));
        let asking = hot.ask(Progress::Asked);
        self.due_states[number as usize].progress = Progress::Asked;
        Some(Asking {
            index: number,
            asking,
            target,
            timeout,
        })
    }

    /// Fetches the memory of those who come next. One after the other each would be waited for.
    fn warm(&self, batch: &Batch) {
        let Some(library) = self.libraries.get(batch.library).filter(|_| !batch.is_apart) else {
            return;
        };
        let next = || {
            library
                .due
                .iter()
                .take(GROUP)
                .map(|number| &self.hot[*number as usize])
        };
        next().for_each(Hot::warm);
        next()
            .filter_map(|hot| hot.target.as_ref())
            .for_each(|target| target.warm());
    }

    /// Those that have not answered in time, and lanes that stay.
    pub(super) fn look(&mut self, at @ (now, _): At, out: &mut Outbox) {
        let staying: Vec<(u64, Inside)> = self
            .batches
            .values()
            .filter_map(|running| Some((running.batch.number, running.batch.inside()?)))
            .filter(|(_, inside)| now.since(inside.began) > STAYS)
            .collect();
        for (batch, inside) in staying {
            self.take_over(batch, inside);
            let Some(given) = self
                .batches
                .get(&batch)
                .and_then(|running| running.group.get(inside.at))
            else {
                continue;
            };
            let (number, asking) = (given.index, given.asking);
            if self.hot[number as usize].asking == asking && now >= inside.began.after(given.timeout) {
                self.is_late(number, inside.began, at, out);
            }
        }
    }

    /// The lane stays in one: the others that it has are for another lane.
    fn take_over(&mut self, batch: u64, inside: Inside) {
        let Some(running) = self.batches.get_mut(&batch) else {
            return;
        };
        if running.taken_over || running.group.len() < 2 || !running.batch.take_over(inside) {
            return;
        }
        running.taken_over = true;
        let library = running.batch.library;
        for (at, given) in running.group.iter().enumerate().rev() {
            let hot = &mut self.hot[given.index as usize];
            if at == inside.at || hot.asking != given.asking || hot.progress != Progress::Asked {
                continue;
            }
            hot.drop_asking();
            self.due_states[given.index as usize].progress = Progress::Idle;
            if hot.library == Some(library)
                && let Some(known) = self.libraries.get_mut(library)
            {
                self.due_states[given.index as usize].progress = Progress::Queued;
                known.due.push_front(given.index);
                if !std::mem::replace(&mut known.wants_lanes, true) {
                    self.wanting.push(library);
                }
            }
        }
    }
}
