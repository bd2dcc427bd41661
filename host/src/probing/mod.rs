//! The engine: who is asked, by whom, and who hears of it.
//!
//! ```text
//!   lane that comes round ──▶ lock: the last answer in, the next one due out ──▶ unlock, ask inline ──┐
//!        ▲   sleeps while nobody is due                                                               │
//!        └────────────────────────────────────────────────────────────────────────────────────────────┘
//!   suspects, and those that need a thread of their own: a task each, on lanes apart
//! ```
//!
//! A lane that stays in a call costs its instance and nobody else: another lane goes on with what is due.

mod deep;
mod meter;
mod minute;
mod out;
mod place;
mod round;
mod shard;
mod target;
mod trips;
mod view;

pub use deep::{Asked, Candidate, DeepEnded};
pub use out::{Announced, Audience};
pub use shard::EngineStats;
pub use target::{Apart, Target};
pub use view::Seen;

use extman_health::Moment;
use extman_health::policy::Policy;
use extman_model::clock;
use extman_model::sketch::Sketch;
use extman_model::{CheckView, Health, Lifecycle};
use extman_runtime::lanes::RoundLanes;
use meter::Meter;
use out::Out;
use place::Place;
use round::Ring;
use shard::{Shard, announce};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Instances that are changed under one lock.
const CHANGED_AT_A_TIME: usize = 256;

/// Asks instances how they are. Cheap to clone; it goes on until every clone is gone or it is [`shut down`](Engine::shutdown).
#[derive(Clone)]
pub struct Engine {
    ring: Arc<Ring>,
    lanes: RoundLanes,
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
    /// An engine on these lanes, without instances. Slow checks become tasks of the async runtime that this is called in.
    ///
    /// # Errors
    /// No thread could be started.
    ///
    /// # Panics
    /// Outside an async runtime.
    pub fn start(lanes: RoundLanes, audience: Arc<dyn Audience>) -> std::io::Result<Self> {
        let ring = Arc::new_cyclic(|own| Ring {
            own: own.clone(),
            shard: Mutex::new(Shard::new(clock::monotonic())),
            audience,
            meter: Meter::default(),
            tasks: Handle::current(),
        });
        lanes.begin(&ring)?;
        Ok(Engine { ring, lanes })
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
            if let Some(mut place) = self.shard().remove(name) {
                place.forget(&mut out);
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

    /// An instance has changed, or is new.
    pub fn put(&self, subject: Subject) {
        let mut out = self.out();
        update(&mut self.shard(), subject, &mut out);
        self.tell(out);
    }

    /// It tells of its health without being asked.
    pub fn told(&self, name: &str, generation: u64, health: Health) {
        let (now, unix_ms, mut out) = (clock::monotonic(), wall_ms(), self.out());
        {
            let mut shard = self.shard();
            let Some(number) = shard.find(name) else { return };
            let Some(place) = shard.place_mut(number) else {
                return;
            };
            let was = place.course.evaluation().judged();
            let left_out = place.course.evaluation().is_left_out();
            if place
                .course
                .told(now, generation, health, &place.policy)
                .is_some()
            {
                place.pass(now, unix_ms, was, left_out, &mut out.records);
                announce(place, was, unix_ms, &mut out);
            }
            if place.course.asked_at().is_none() {
                shard.schedule(number);
            }
        }
        self.tell(out);
    }

    /// Has an instance asked now. Two who want that get the answer of one check. `None` if there is none of this name or it does not
    /// run.
    pub async fn check_now(&self, name: &str) -> Option<CheckView> {
        let answer = {
            let mut shard = self.shard();
            let number = shard.find(name)?;
            let place = shard.place_mut(number)?;
            place.course.due()?;
            let (waiter, answer) = oneshot::channel();
            place.waiters.push(waiter);
            if place.course.asked_at().is_none() {
                place.course.hasten(clock::monotonic());
                shard.schedule(number);
            }
            answer
        };
        self.lanes.wake();
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

    /// Instances that it knows.
    pub fn len(&self) -> usize {
        self.shard().len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends it: nobody is asked any more, and every instance's record is closed.
    ///
    /// # Errors
    /// What the lane that did not end in time is in.
    pub fn shutdown(&self, patience: Duration) -> Result<(), String> {
        self.set([]);
        self.ring.meter.settle(self.ring.audience.as_ref());
        let ended = self.lanes.shutdown(patience);
        // What lanes had in hand.
        self.ring.meter.settle(self.ring.audience.as_ref());
        ended
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
        self.lanes.wake();
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
    let Some(place) = shard.place_mut(number) else {
        return;
    };
    let before = (
        place.course.evaluation().life(),
        place.course.evaluation().generation(),
    );
    let was = place.course.evaluation().judged();
    let left_out = place.course.evaluation().is_left_out();
    place.policy = subject.policy;
    let generation = subject
        .target
        .as_ref()
        .map_or(before.1, |(_, generation)| *generation);
    let same =
        before == (subject.lifecycle, generation) && place.target.is_some() == subject.target.is_some();
    if same && was.flags.maintenance == subject.maintenance && place.told.is_some() {
        return;
    }
    place.pass(now, unix_ms, was, left_out, &mut out.records);
    if !same {
        place.retarget(subject.target.map(|(target, _)| target), &mut out.records);
        let calls = place.calls();
        place
            .course
            .live(now, subject.lifecycle, generation, calls, &place.policy);
    }
    place.course.maintain(now, subject.maintenance, &place.policy);
    announce(place, was, unix_ms, out);
    if place.course.asked_at().is_none() {
        shard.under_way.retain(|other| *other != number);
        shard.schedule(number);
    }
}

#[cfg(test)]
mod tests;
