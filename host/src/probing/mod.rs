//! The engine: who is asked, by whom, and who hears of it.
//!
//! ```text
//!   who is due ──▶ a lane of its own library goes through them, sixteen at a time ──▶ what each answers, and when it is due again
//! ```
//!
//! Nobody is asked on another library's lanes. A lane that stays in one costs its instance and nobody else: another lane of the same
//! library goes on with the rest. Most answers say nothing new, and go the quiet path: see [`extman_health::course::Quiet`].

mod answers;
mod deep;
mod hot;
mod library;
mod meter;
mod minute;
mod out;
mod place;
mod ring;
mod shard;
mod target;
mod trips;
mod view;
mod visit;

pub use deep::{Asked, Candidate, DeepEnded};
pub use out::{Announced, Audience};
pub use shard::EngineStats;
pub use target::{Apart, Target};
pub use view::Seen;

use answers::announce;
use extman_health::Moment;
use extman_health::policy::Policy;
use extman_model::clock;
use extman_model::sketch::Sketch;
use extman_model::{CheckView, Health, Lifecycle};
use out::Out;
use place::Place;
use ring::Ring;
use shard::Shard;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Instances that are changed under one lock.
const CHANGED_AT_A_TIME: usize = 256;

/// Asks instances how they are. Cheap to clone; it goes on until every clone is gone or it is [`shut down`](Engine::shutdown).
#[derive(Clone)]
pub struct Engine {
    ring: Arc<Ring>,
}

/// One instance as the engine is told of it.
#[derive(Clone)]
pub struct Subject {
    /// Its name.
    pub name: Arc<str>,
    /// How it is asked and judged.
    pub policy: Arc<Policy>,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// The running instance and the generation of its library.
    pub target: Option<(Arc<dyn Target>, u64)>,
    /// An operator works on it.
    pub maintenance: bool,
}

impl Engine {
    /// An engine without instances. What takes time runs in the async runtime that this is called in.
    ///
    /// # Errors
    /// No thread could be started.
    ///
    /// # Panics
    /// Outside an async runtime.
    pub fn start(audience: Arc<dyn Audience>) -> std::io::Result<Self> {
        let ring = Ring::start(audience, Handle::current())?;
        Ok(Engine { ring })
    }

    /// These instances are new or otherwise than before, and those are gone. Nobody else is touched.
    pub fn change<'a>(&self, changed: Vec<Subject>, removed: impl IntoIterator<Item = &'a Arc<str>>) {
        let mut out = self.out();
        let mut changed = changed.into_iter().peekable();
        while changed.peek().is_some() {
            // Not all under one lock: a lane must not wait for thousands.
            let mut shard = self.shard();
            for subject in changed.by_ref().take(CHANGED_AT_A_TIME) {
                update(&mut shard, subject, &mut out);
            }
        }
        for name in removed {
            let mut shard = self.shard();
            if let Some((mut place, target)) = shard.remove(name) {
                place.forget(&mut out);
                out.let_go_of(place.target.take());
                out.let_go_of(target);
            }
        }
        self.tell(out);
    }

    /// These are all instances now: those that are not among them are forgotten.
    pub fn set(&self, subjects: impl IntoIterator<Item = Subject>) {
        let subjects: Vec<Subject> = subjects.into_iter().collect();
        let mut gone: std::collections::HashSet<Arc<str>> = self.shard().names().into_iter().collect();
        for subject in &subjects {
            gone.remove(&subject.name);
        }
        self.change(subjects, &gone);
    }

    /// An instance is new or otherwise than before.
    pub fn put(&self, subject: Subject) {
        self.change(vec![subject], []);
    }

    /// An instance is gone.
    pub fn remove(&self, name: &str) {
        self.change(Vec::new(), [&name.into()]);
    }

    /// It tells of its health without being asked.
    pub fn told(&self, name: &str, generation: u64, health: Health) {
        let (now, unix_ms, mut out) = (clock::monotonic(), wall_ms(), self.out());
        {
            let mut shard = self.shard();
            let Some(number) = shard.find(name) else { return };
            shard.with(number, now, unix_ms, |place, _| {
                let was = place.course.evaluation().judged();
                let left_out = place.course.evaluation().is_left_out();
                let policy = place.policy.clone();
                if place.course.told(now, generation, health, &policy).is_some() {
                    place.pass(now, unix_ms, was, left_out, &mut out.records);
                    announce(place, was, unix_ms, &mut out);
                }
            });
            shard.schedule(number);
        }
        self.tell(out);
    }

    /// Has an instance asked now. Two who want that get the answer of one check. `None` if there is none of this name or it does not
    /// run.
    pub async fn check_now(&self, name: &str) -> Option<CheckView> {
        let answer = {
            let mut shard = self.shard();
            let number = shard.find(name)?;
            let (waiter, answer) = oneshot::channel();
            let now = clock::monotonic();
            shard.with(number, now, wall_ms(), |place, _| {
                place.course.due()?;
                place.waiters.push(waiter);
                if place.course.asked_at().is_none() {
                    place.course.hasten(now);
                }
                Some(())
            })??;
            shard.schedule(number);
            answer
        };
        self.ring.wake();
        answer.await.ok()
    }

    /// What the engine counts of itself.
    pub fn stats(&self) -> EngineStats {
        self.shard().stats
    }

    /// How much later than due instances were asked, since this was asked last.
    pub fn take_lag(&self) -> Sketch {
        self.shard().lag.drain()
    }

    /// How much later than due instances were asked, since [`take_lag`](Self::take_lag); it stays where it is.
    pub fn lag(&self) -> Sketch {
        self.shard().lag.peek()
    }

    /// For how long the check that waits longest for a lane has been due; `None` if none waits.
    pub fn longest_wait(&self) -> Option<std::time::Duration> {
        self.shard().longest_wait(clock::monotonic())
    }

    /// Instances that it knows.
    pub fn len(&self) -> usize {
        self.shard().len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends it: nobody is asked any more, and every instance's record is closed. A lane that is in a check goes on as its library's.
    pub fn shutdown(&self) {
        self.set([]);
        self.ring.meter.settle(self.ring.audience.as_ref());
        self.ring.end();
        // What lanes had in hand.
        self.ring.meter.settle(self.ring.audience.as_ref());
    }

    fn out(&self) -> Out {
        Out::for_audience(self.ring.audience.as_ref())
    }

    fn tell(&self, mut out: Out) {
        // Now: a library that is about to be unloaded can't be measured later.
        self.ring
            .meter
            .settle_all(&mut out.records, self.ring.audience.as_ref());
        out.tell(self.ring.audience.as_ref());
        self.ring.wake();
    }

    fn shard(&self) -> MutexGuard<'_, Shard> {
        lock(&self.ring.shard)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wall_ms() -> u64 {
    clock::unix_ms(clock::wall())
}

fn update(shard: &mut Shard, subject: Subject, out: &mut Out) {
    let (now, unix_ms): (Moment, u64) = (clock::monotonic(), wall_ms());
    let number = shard.find(&subject.name).unwrap_or_else(|| {
        let new = Place::new(subject.name.clone(), subject.policy.clone(), now, unix_ms);
        shard.add(new)
    });
    let Subject {
        policy,
        lifecycle,
        target,
        maintenance,
        ..
    } = subject;
    let (target, generation) = target.map_or((None, None), |(target, generation)| {
        (Some(target), Some(generation))
    });
    let Some((known, hot)) = shard.place(number) else {
        return;
    };
    let evaluation = known.course.evaluation();
    let before = (evaluation.life(), evaluation.generation());
    let generation = generation.unwrap_or(before.1);
    let same = before == (lifecycle, generation) && hot.target.is_some() == target.is_some();
    let is_known = known.told.is_some() && evaluation.judged().flags.maintenance == maintenance;
    if !same {
        let gone = shard.retarget(number, target.clone(), generation);
        out.let_go_of(gone);
    }
    shard.with(number, now, unix_ms, |place, _| {
        place.policy = policy;
        if same && is_known {
            return;
        }
        let was = place.course.evaluation().judged();
        let left_out = place.course.evaluation().is_left_out();
        place.pass(now, unix_ms, was, left_out, &mut out.records);
        let policy = place.policy.clone();
        if !same {
            place.retarget(target, &mut out.records);
            let calls = place.calls();
            place.course.live(now, lifecycle, generation, calls, &policy);
        }
        place.course.maintain(now, maintenance, &policy);
        announce(place, was, unix_ms, out);
    });
    if !same || !is_known {
        shard.schedule(number);
    }
}

#[cfg(test)]
mod tests;
