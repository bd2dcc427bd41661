//! One lane: a thread of one library's, its context, and what it is in.

use super::concurrency::Permit;
use super::cpu::LaneCpu;
use super::joining::Joining;
use super::occupancy::Occupancy;
use super::pool::Shared;
use crate::loader::{CallContext, KeepsAttached};
use crate::sync::lock;
use extman_model::clock::{self, Monotonic};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, OnceLock, Weak};
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
    /// Which capability is called, if that entry is a call.
    pub capability: Option<Arc<str>>,
    /// When the caller is answered without it.
    pub deadline: Monotonic,
    /// How long after that the lane is lost.
    pub wedge_after: Duration,
}

impl Work {
    /// The entry, for people: with what is called by it.
    pub fn entry(&self) -> String {
        match &self.capability {
            Some(capability) => format!("{} ({capability})", self.phase),
            None => self.phase.to_string(),
        }
    }

    /// The same once more, with so much time from now on.
    pub fn anew(&self, budget: Duration) -> Work {
        Work {
            deadline: clock::monotonic().after(budget),
            ..self.clone()
        }
    }
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
    /// `snapshot`.
    Snapshot,
    /// `restore`.
    Restore,
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
            Phase::Snapshot => "snapshot",
            Phase::Restore => "restore",
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

/// The checks that a lane goes through one after the other, as whoever looks from outside asks for them.
pub trait CheckBatch: Send + Sync {
    /// What the lane is in now, of these.
    fn work(&self) -> Work;
}

/// What a lane is in, or was in last.
enum Occupied {
    Job(Work),
    Checks(Arc<dyn CheckBatch>),
}

/// A lane as the pool and the watchdog see it.
pub(super) struct Lane {
    pub number: u64,
    home: Weak<Shared>,
    pub occupancy: Occupancy,
    occupied: Mutex<Option<Occupied>>,
    /// Whether the library's code ever ran here: on a thread where it did not, none of it can be left.
    has_run: AtomicBool,
    retiring: AtomicBool,
    available: AtomicBool,
    sleeper: OnceLock<Thread>,
    pub thread: Joining,
    pub cpu: LaneCpu,
}

impl Lane {
    /// Starts a lane of a pool. It takes its jobs there until there is none for it.
    pub(super) fn start(home: &Arc<Shared>, number: u64) -> std::io::Result<Arc<Lane>> {
        let lane = Arc::new(Lane {
            number,
            home: Arc::downgrade(home),
            occupancy: Occupancy::new(),
            occupied: Mutex::default(),
            has_run: AtomicBool::new(false),
            retiring: AtomicBool::new(false),
            available: AtomicBool::new(true),
            sleeper: OnceLock::new(),
            thread: Joining::default(),
            cpu: LaneCpu::default(),
        });
        let context = CallContext::acquire().ok_or_else(|| {
            std::io::Error::other("no more lanes: as many calls as the host can follow are under way or lost")
        })?;
        let thread = std::thread::Builder::new()
            .name(format!("{}/{number}", home.name))
            .stack_size(home.limits.stack_bytes)
            .spawn({
                let (lane, home) = (lane.clone(), home.clone());
                move || {
                    let _ = lane.sleeper.set(std::thread::current());
                    lane.cpu.begin();
                    let keeps = KeepsAttached::begin();
                    let context = LaneContext {
                        lane: &lane,
                        context: &context,
                        observer: home.observer.as_ref(),
                    };
                    while let Some((job, permit)) = home.take(&lane) {
                        (job.run)(&context, permit);
                    }
                    drop(keeps);
                    lane.cpu.end(&home.ended_ns);
                }
            });
        lane.thread.begin(thread?);
        super::watchdog::watch(&lane);
        Ok(lane)
    }

    /// Plugin code begins to run.
    #[inline]
    fn enter(&self, began: Monotonic, lost_at: Monotonic) {
        self.has_run.store(true, Relaxed);
        self.occupancy.enter(began.as_nanos(), lost_at.as_nanos());
    }

    /// Plugin code has come back. `false` if the lane was lost meanwhile.
    #[inline]
    fn leave(&self, observer: &dyn LaneObserver) -> bool {
        match self.occupancy.leave() {
            Ok(()) => true,
            Err(began) => self.leave_lost(Monotonic::from_nanos(began), observer),
        }
    }

    #[cold]
    fn leave_lost(&self, began: Monotonic, observer: &dyn LaneObserver) -> bool {
        let work = self.occupied_by();
        self.occupancy.leave_lost();
        LOST_LANES.fetch_sub(1, Relaxed);
        if let Some(work) = work {
            observer.returned_late(&work, clock::monotonic().since(began));
        }
        false
    }

    /// What it is in, for people.
    pub(super) fn describe(&self, pool: &str) -> String {
        let number = self.number;
        match self.current() {
            Some((work, began)) => format!(
                "lane {number} of {pool} has been in {} of {} for {:.1} s",
                work.entry(),
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

    fn occupied_by(&self) -> Option<Work> {
        let batch = match &*lock(&self.occupied) {
            None => return None,
            Some(Occupied::Job(work)) => return Some(work.clone()),
            Some(Occupied::Checks(batch)) => batch.clone(),
        };
        // Not under the lock: it asks whoever made the batch.
        Some(batch.work())
    }

    /// What the lane is in and since when.
    pub(super) fn current(&self) -> Option<(Work, Monotonic)> {
        let began = self.began()?;
        let work = self.occupied_by();
        // Else it has moved on, and the work may be another one.
        (self.began() == Some(began)).then_some((work?, began))
    }

    /// Since when it is in what it is in.
    pub(super) fn began(&self) -> Option<Monotonic> {
        self.occupancy.began().map(Monotonic::from_nanos)
    }

    /// Since when it is in code for which its lane was to be lost before `now`, and when it was; `None` also once it is lost.
    pub(super) fn overdue(&self, now: Monotonic) -> Option<(Monotonic, Monotonic)> {
        let (began, lost_at) = self.occupancy.overdue(now.as_nanos())?;
        Some((Monotonic::from_nanos(began), Monotonic::from_nanos(lost_at)))
    }

    /// Declares the lane lost and has its pool replace it, if it is still in what it was in since `began`.
    pub(super) fn lose(&self, began: Monotonic) {
        self.occupancy.lose(began.as_nanos(), || {
            LOST_LANES.fetch_add(1, Relaxed);
            if let Some(home) = self.home.upgrade() {
                home.replace_lost(self);
            }
        });
    }

    pub(super) fn is_lost(&self) -> bool {
        self.occupancy.is_lost()
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

    /// Whether the library's code ever ran on its thread.
    pub(super) fn has_run(&self) -> bool {
        self.has_run.load(Acquire)
    }
}

/// A lane as its checks see it. That there is one proves that this is a lane's thread.
pub struct LaneContext<'a> {
    lane: &'a Lane,
    context: &'a CallContext,
    observer: &'a dyn LaneObserver,
}

impl LaneContext<'_> {
    /// Runs one entry of a plugin's and then hands what came of it to `answer`. With `clock`, its time runs from when its code begins.
    pub(super) fn run_job<T>(
        &self,
        mut work: Work,
        clock: Option<Duration>,
        permit: Option<Permit>,
        run: impl FnOnce() -> T,
        answer: impl FnOnce(T),
    ) {
        let began = clock::monotonic();
        if let Some(timeout) = clock {
            work.deadline = began.after(timeout);
        }
        let lost_at = work.deadline.after(work.wedge_after);
        *lock(&self.lane.occupied) = Some(Occupied::Job(work));
        self.lane.enter(began, lost_at);
        let value = run();
        // What the caller does next finds the permit given back and the lane free.
        drop(permit);
        self.lane.set_available(true);
        answer(value);
        self.lane.leave(self.observer);
    }

    /// Goes through many checks, each of which says when it begins.
    pub(super) fn run_checks(&self, run: impl FnOnce(&Self)) {
        run(self);
        // Nobody is to be told of instances that may be gone.
        *lock(&self.lane.occupied) = None;
        self.lane.set_available(true);
    }

    /// Whether the lane is to end: come back as soon as possible.
    pub fn is_to_end(&self) -> bool {
        self.lane.is_retiring() || self.lane.is_lost()
    }

    /// Says whose checks run here from now on, for whoever looks from outside.
    pub fn go_through(&self, batch: Arc<dyn CheckBatch>) {
        *lock(&self.lane.occupied) = Some(Occupied::Checks(batch));
    }

    /// Runs plugin code, which began at `began`; the lane is lost if it has not come back at `lost_at`. `None` if it was lost in it:
    /// then what came of it is nobody's any more, and the lane is to end.
    #[inline]
    pub fn run<T>(
        &self,
        began: Monotonic,
        lost_at: Monotonic,
        run: impl FnOnce(&CallContext) -> T,
    ) -> Option<T> {
        self.lane.enter(began, lost_at);
        let value = run(self.context);
        self.lane.leave(self.observer).then_some(value)
    }
}
