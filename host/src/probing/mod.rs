//! The probe engine: it has each instance checked when its check is due, and publishes what that says of its health.
//!
//! ```text
//!   probe_loop   a thread sleeps until a check is due        scheduler   who is due, and which lane goes through them
//!   batch        what a lane has in hand                     instance    one instance: its monitor, and what is kept of it
//!   results      what an answer, or its absence, changes     hot         the part of that which quiet checks change
//!   outbox       what is published, outside of the lock      reported    named parts and the connection
//! ```
//!
//! An instance is checked on a lane of its own library and on no other. A lane that stays in one instance costs that one alone: another lane of
//! the same library goes on with the rest. Most answers say nothing new, and go the quiet path: see [`extman_health::monitor::Quiet`].

mod batch;
mod deep;
mod hot;
mod instance;
mod latencies;
mod library;
mod meter;
mod minute;
mod outbox;
mod probe_loop;
mod reported;
mod results;
mod scheduler;
mod target;
mod turns;
mod view;

pub use deep::{Asked, Candidate, DeepEnded};
pub(crate) use instance::suppressed_by;
pub use outbox::{EventSink, FlappingChange, HealthChange};
pub use reported::ReportChange;
pub use scheduler::EngineStats;
pub use target::{Apart, Target};
pub use view::{Seen, Standing};

use extman_health::Moment;
use extman_health::policy::Policy;
use extman_model::clock;
use extman_model::latency::LatencyHistogram;
use extman_model::{CheckView, Health, Lifecycle};
use hot::Hot;
use instance::MonitoredInstance;
use outbox::Outbox;
use probe_loop::ProbeLoop;
use scheduler::Scheduler;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Instances that are changed under one lock.
const CHANGED_AT_A_TIME: usize = 256;

/// What the engine keeps of each instance, by what it is for, in bytes; without names and without what only some have.
pub fn memory_parts() -> [(&'static str, usize); 3] {
    [
        ("health: what each check touches", size_of::<Hot>()),
        (
            "health: evidence, verdict, the minute's sums",
            size_of::<Option<MonitoredInstance>>(),
        ),
        ("health: when it is due", scheduler::DUE_BYTES),
    ]
}

/// Checks instances. Cheap to clone; it goes on until every clone is gone or it is [`shut down`](Engine::shutdown).
#[derive(Clone)]
pub struct Engine {
    probes: Arc<ProbeLoop>,
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
    /// Whose being down is at the root of what it lacks of that which it requires.
    pub suppressed_by: Option<Arc<str>>,
}

impl Engine {
    /// An engine without instances. What takes time runs in the async runtime that this is called in.
    ///
    /// # Errors
    /// No thread could be started.
    ///
    /// # Panics
    /// Outside an async runtime.
    pub fn start(sink: Arc<dyn EventSink>) -> std::io::Result<Self> {
        let probes = ProbeLoop::start(sink, Handle::current())?;
        Ok(Engine { probes })
    }

    /// These instances are new or have changed, and those are gone. All others stay as they are.
    pub fn change<'a>(&self, changed: Vec<Subject>, removed: impl IntoIterator<Item = &'a Arc<str>>) {
        let mut changed = changed.into_iter().peekable();
        while changed.peek().is_some() {
            // Not all under one lock: a lane must not wait for thousands.
            self.decide(|scheduler, out| {
                for subject in changed.by_ref().take(CHANGED_AT_A_TIME) {
                    update(scheduler, subject, out);
                }
            });
        }
        for name in removed {
            self.decide(|scheduler, out| {
                if let Some((mut instance, target)) = scheduler.remove(name) {
                    instance.forget(target.as_ref(), now(), &mut out.records);
                    out.let_go_of(target);
                }
            });
        }
        self.probes.wake();
    }

    /// An instance is new or otherwise than before.
    pub fn put(&self, subject: Subject) {
        self.change(vec![subject], []);
    }

    /// An instance is gone.
    pub fn remove(&self, name: &str) {
        self.change(Vec::new(), [&name.into()]);
    }

    /// An instance says how it is without being asked.
    pub fn pushed(&self, name: &str, generation: u64, health: Health) {
        let at = now();
        self.decide(|scheduler, out| {
            let Some(number) = scheduler.find(name) else {
                return;
            };
            scheduler.with(number, at, |instance, hot| {
                instance.judge(hot, at, out, |instance, policy, _| {
                    instance.monitor.pushed(at.0, generation, health, policy);
                });
            });
            scheduler.schedule(number);
        });
        self.probes.wake();
    }

    /// Where the thread that has plugins checked is dead, somebody else has to say that nothing is known any more of those whose last result
    /// is too old.
    pub fn stand_in_for_dead_thread(&self) {
        if !self.probes.is_dead() {
            return;
        }
        let numbers: Vec<u32> = self.scheduler().numbers().collect();
        for some in numbers.chunks(CHANGED_AT_A_TIME) {
            let at = now();
            self.decide(|scheduler, out| {
                for number in some {
                    scheduler.with(*number, at, |instance, hot| {
                        results::not_begun(instance, hot, at, Duration::ZERO, out);
                    });
                }
            });
        }
    }

    /// Has an instance asked now. Two who want that get the answer of one check. `None` if there is none of this name or it does not
    /// run.
    pub async fn check_now(&self, name: &str) -> Option<CheckView> {
        let answer = {
            let mut scheduler = self.scheduler();
            let number = scheduler.find(name)?;
            let (waiter, answer) = oneshot::channel();
            let at = now();
            scheduler.with(number, at, |instance, _| {
                instance.monitor.due()?;
                instance.await_result(waiter);
                if instance.monitor.asked_at().is_none() {
                    instance.monitor.hasten(at.0);
                }
                Some(())
            })??;
            scheduler.schedule(number);
            answer
        };
        self.probes.wake();
        answer.await.ok()
    }

    /// What the engine counts of itself.
    pub fn stats(&self) -> EngineStats {
        self.scheduler().stats()
    }

    /// How much later than due instances were asked, since this was asked last.
    pub fn take_lag(&self) -> LatencyHistogram {
        self.scheduler().lag.drain()
    }

    /// How much later than due instances were asked, since [`take_lag`](Self::take_lag); it stays where it is.
    pub fn lag(&self) -> LatencyHistogram {
        self.scheduler().lag.peek()
    }

    /// For how long the check that waits longest for a lane has been due; `None` if none waits.
    pub fn longest_wait(&self) -> Option<std::time::Duration> {
        self.scheduler().longest_wait(clock::monotonic())
    }

    /// Ends it: nobody is asked any more, and every instance's record is closed. A lane that is in a check goes on as its library's.
    pub fn shutdown(&self) {
        let names = self.scheduler().names();
        self.change(Vec::new(), &names);
        self.probes.meter.settle(self.probes.sink.as_ref());
        self.probes.end();
        // What lanes had in hand.
        self.probes.meter.settle(self.probes.sink.as_ref());
    }

    /// Decides something under the lock, and publishes what that comes to.
    fn decide<R>(&self, decision: impl FnOnce(&mut Scheduler, &mut Outbox) -> R) -> R {
        let sink = self.probes.sink.as_ref();
        let mut out = Outbox::for_sink(sink);
        let mut scheduler = self.scheduler();
        let decided = decision(&mut scheduler, &mut out);
        let turn = self.probes.take_turn(scheduler, &out);
        out.publish(sink, turn);
        // Now: a library that is about to be unloaded can't be measured later.
        self.probes.meter.settle_all(&mut out.records, sink);
        decided
    }

    fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        lock(&self.probes.scheduler)
    }
}

fn lock(scheduler: &Mutex<Scheduler>) -> MutexGuard<'_, Scheduler> {
    scheduler.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A moment by both clocks: the host's own, and the wall's in milliseconds since the Unix epoch.
type At = (Moment, u64);

fn now() -> At {
    (clock::monotonic(), wall_ms())
}

fn wall_ms() -> u64 {
    clock::unix_ms(clock::wall())
}

fn update(scheduler: &mut Scheduler, subject: Subject, out: &mut Outbox) {
    let (at, lifecycle) = (now(), subject.lifecycle);
    let (maintenance, suppressed_by) = (subject.maintenance, subject.suppressed_by);
    let number = scheduler.find(&subject.name).unwrap_or_else(|| {
        let new = MonitoredInstance::new(subject.name, at);
        scheduler.add(new, subject.policy.clone())
    });
    let Some((known, hot)) = scheduler.instance(number) else {
        return;
    };
    let before = (known.monitor.lifecycle(), known.monitor.generation());
    let (target, generation) = match subject.target {
        Some((target, generation)) => (Some(target), generation),
        None => (None, before.1),
    };
    let same = before == (lifecycle, generation) && hot.target.is_some() == target.is_some();
    let is_known = known.recorded.is_some()
        && known.monitor.judged().flags.maintenance == maintenance
        && known.suppressed_by() == suppressed_by.as_ref();
    scheduler.with(number, at, |instance, hot| {
        hot.policy = subject.policy;
        // The time up to now is of the one before.
        instance.pass(hot.target.as_ref(), at, &mut out.records);
    });
    if same && is_known {
        return;
    }
    let runs = target.is_some();
    let gone = (!same).then(|| scheduler.retarget(number, target, generation));
    scheduler.with(number, at, |instance, hot| {
        if let Some(gone) = gone {
            instance.retarget(gone, runs, &mut out.records);
        }
        let calls = hot.calls();
        if instance.suppressed_by() != suppressed_by.as_ref() {
            // The same state for another reason is written down too.
            instance.set_suppressed_by(suppressed_by);
            instance.recorded = None;
        }
        instance.judge(hot, at, out, |instance, policy, _| {
            if !same {
                instance.monitor.enter(at.0, lifecycle, generation, calls, policy);
            }
            instance.monitor.maintain(at.0, maintenance, policy);
            let suppressed = instance.suppressed_by().is_some();
            instance.monitor.suppress(at.0, suppressed, policy);
        });
    });
    scheduler.schedule(number);
}

#[cfg(test)]
mod tests;
