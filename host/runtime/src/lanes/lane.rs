//! One lane: a thread, its slot, and what it is in.

use super::cpu::LaneCpu;
use super::job::{Ending, Job};
use super::joining::Joining;
use crate::loader::Slot;
use extman_model::clock::{self, Monotonic};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

/// What a lane is in, for whoever looks from outside.
#[derive(Debug, Clone)]
pub struct Work {
    /// The instance, or the library while there is none.
    pub subject: Arc<str>,
    /// The generation of the library whose code runs.
    pub generation: u64,
    /// Which entry.
    pub phase: Phase,
    /// When the caller is answered without it.
    pub deadline: Monotonic,
    /// How long after that the lane is lost.
    pub wedge_after: Duration,
}

/// Which of a plugin's entries runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Mapping the library: its constructors.
    Open,
    /// `create`.
    Create,
    /// `start`.
    Start,
    /// `invoke`.
    Invoke,
    /// `check`.
    Check,
    /// `configure`.
    Configure,
    /// `drain`.
    Drain,
    /// `stop`.
    Stop,
    /// `snapshot` or `restore`.
    State,
    /// `destroy`.
    Destroy,
    /// Unmapping the library: its finalisers.
    Close,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Phase::Open => "open (constructors)",
            Phase::Create => "create",
            Phase::Start => "start",
            Phase::Invoke => "invoke",
            Phase::Check => "check",
            Phase::Configure => "configure",
            Phase::Drain => "drain",
            Phase::Stop => "stop",
            Phase::State => "snapshot or restore",
            Phase::Destroy => "destroy",
            Phase::Close => "close (finalisers)",
        })
    }
}

/// Hears when a lane is lost and when a lost one comes back.
pub trait LaneObserver: Send + Sync {
    /// The lane has not come back for so long that it is given up; `ran` is how long it has been in.
    fn lost(&self, work: &Work, ran: Duration);
    /// A lost lane has come back after all; its result is discarded.
    fn returned_late(&self, work: &Work, ran: Duration);
}

static LOST_LANES: AtomicUsize = AtomicUsize::new(0);

/// Lanes of this process that are lost and have not come back.
pub fn lost_lanes() -> usize {
    LOST_LANES.load(Relaxed)
}

/// A lane as the pool and the watchdog see it.
pub(super) struct Lane {
    pub number: u64,
    /// When plugin code began to run, in nanoseconds, or 0 while none does; and `LOST`. One word, so that coming back and being
    /// given up are one or the other.
    state: AtomicU64,
    /// What it is in, or was in last.
    work: Mutex<Option<Work>>,
    retiring: AtomicBool,
    available: AtomicBool,
    sleeper: OnceLock<Thread>,
    ran: Mutex<HashSet<u64>>,
    /// Some of `ran`, each at its own place: for the lane itself, which asks each time.
    ran_of_late: [AtomicU64; 64],
    thread: Joining,
    cpu: LaneCpu,
}

const LOST: u64 = 1 << 63;

impl Lane {
    /// Starts a lane that takes its jobs from `take` until that gives none. What it has used of the processor goes to `used` at its end.
    pub(super) fn start(
        name: &str,
        number: u64,
        take: impl Fn(&Arc<Lane>) -> Option<Job> + Send + 'static,
        observer: Arc<dyn LaneObserver>,
        used: Arc<AtomicU64>,
    ) -> std::io::Result<Arc<Lane>> {
        Lane::start_with(name, number, move |lane, slot| {
            lane.cpu.begin();
            while let Some(job) = take(lane) {
                lane.run(job, slot, observer.as_ref());
            }
            lane.cpu.end(&used);
        })
    }

    /// Starts a lane that does this and then ends.
    pub(super) fn start_with(
        name: &str,
        number: u64,
        body: impl FnOnce(&Arc<Lane>, &Slot) + Send + 'static,
    ) -> std::io::Result<Arc<Lane>> {
        let lane = Arc::new(Lane {
            number,
            state: AtomicU64::new(0),
            work: Mutex::default(),
            retiring: AtomicBool::new(false),
            available: AtomicBool::new(true),
            sleeper: OnceLock::new(),
            ran: Mutex::default(),
            ran_of_late: [const { AtomicU64::new(u64::MAX) }; 64],
            thread: Joining::default(),
            cpu: LaneCpu::default(),
        });
        let slot = Slot::acquire().ok_or_else(|| {
            std::io::Error::other("no more lanes: 4096 calls are already under way or lost")
        })?;
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn({
            let lane = lane.clone();
            move || {
                let _ = lane.sleeper.set(std::thread::current());
                body(&lane, &slot);
            }
        });
        lane.thread.begin(thread?);
        super::watchdog::watch(&lane);
        Ok(lane)
    }

    fn run(&self, job: Job, slot: &Slot, observer: &dyn LaneObserver) {
        self.enter(job.work, clock::monotonic());
        let ending = Ending {
            lane: self,
            pass: job.pass,
        };
        (job.run)(slot, ending);
        self.leave(observer);
    }

    /// Plugin code begins to run.
    pub(super) fn enter(&self, work: Work, began: Monotonic) {
        let generation = work.generation;
        // Only this thread changes it.
        let known = &self.ran_of_late[generation as usize % self.ran_of_late.len()];
        if known.load(Relaxed) != generation {
            lock(&self.ran).insert(generation);
            known.store(generation, Relaxed);
        }
        *lock(&self.work) = Some(work);
        self.state.store(began.as_nanos(), Release);
    }

    /// Plugin code has come back. `false` if the lane was lost meanwhile.
    pub(super) fn leave(&self, observer: &dyn LaneObserver) -> bool {
        let began = self.state.load(Relaxed) & !LOST;
        if self.state.compare_exchange(began, 0, AcqRel, Acquire).is_ok() {
            return true;
        }
        self.state.store(LOST, Release);
        LOST_LANES.fetch_sub(1, Relaxed);
        if let Some(work) = &*lock(&self.work) {
            let ran = clock::monotonic().since(Monotonic::from_nanos(began));
            observer.returned_late(work, ran);
        }
        false
    }

    /// What it is in, for people.
    pub(super) fn describe(&self, pool: &str) -> String {
        let number = self.number;
        match self.current() {
            Some((work, began)) => format!(
                "lane {number} of {pool} has been in {} of {} for {:.1} s",
                work.phase,
                work.subject,
                clock::monotonic().since(began).as_secs_f64()
            ),
            None => format!("lane {number} of {pool} does not end"),
        }
    }

    /// Whether the lane will look for a job without running plugin code before.
    pub(super) fn is_available(&self) -> bool {
        self.available.load(Acquire)
    }

    pub(super) fn set_available(&self, available: bool) {
        self.available.store(available, Release);
    }

    /// Has the lane look again, even if it is only about to fall asleep.
    pub(super) fn wake(&self) {
        // A thread that has not set this yet has not looked yet.
        if let Some(sleeper) = self.sleeper.get() {
            sleeper.unpark();
        }
    }

    /// What the lane is in and since when.
    pub(super) fn current(&self) -> Option<(Work, Monotonic)> {
        let began = self.began()?;
        let work = lock(&self.work).clone();
        // Else it has moved on, and the work may be another one.
        (self.began() == Some(began)).then_some((work?, began))
    }

    /// Since when it is in what it is in.
    pub(super) fn began(&self) -> Option<Monotonic> {
        let began = self.state.load(Acquire) & !LOST;
        (began > 0).then_some(Monotonic::from_nanos(began))
    }

    /// Declares the lane lost, if it is still in what it was in since `began`. `false` if it has moved on.
    pub(super) fn lose(&self, began: Monotonic) -> bool {
        let began = began.as_nanos();
        // Before, so that it is never taken off first.
        LOST_LANES.fetch_add(1, Relaxed);
        let lost = self
            .state
            .compare_exchange(began, began | LOST, AcqRel, Acquire)
            .is_ok();
        if !lost {
            LOST_LANES.fetch_sub(1, Relaxed);
        }
        lost
    }

    /// It has come back, and goes on.
    pub(super) fn find_again(&self) {
        self.state.fetch_and(!LOST, AcqRel);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.state.load(Acquire) & LOST != 0
    }

    pub(super) fn is_busy(&self) -> bool {
        self.began().is_some()
    }

    /// Has the lane end after what it is in.
    pub(super) fn retire(&self) {
        self.retiring.store(true, Release);
    }

    pub(super) fn is_retiring(&self) -> bool {
        self.retiring.load(Acquire)
    }

    /// What its thread has used of the processor so far, in nanoseconds; nothing once it has handed that on.
    pub(super) fn cpu_ns(&self) -> u64 {
        self.cpu.read()
    }

    /// Whether the lane ran code of this generation.
    pub(super) fn ran(&self, generation: u64) -> bool {
        lock(&self.ran).contains(&generation)
    }

    /// Waits until the thread is gone, its thread-local destructors included. `false` if it is not within `patience`.
    pub(super) fn join_within(&self, patience: Duration) -> bool {
        self.thread.join_within(patience)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
