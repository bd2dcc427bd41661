//! A set of lanes with one bounded queue: a module's call lanes, or the shared probe lanes.

use super::gate::{Gate, Pass};
use super::lane::{Lane, LaneObserver, Work};
use super::watchdog;
use crate::clock;
use crate::runtime::loader::Slot;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How large a pool may grow.
#[derive(Debug, Clone, Copy)]
pub struct PoolLimits {
    /// Lanes at a time; lost ones don't count.
    pub lanes_max: usize,
    /// Jobs that may wait.
    pub queue_max: usize,
    /// Lost lanes until the pool takes no more jobs.
    pub lost_max: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        PoolLimits {
            lanes_max: 8,
            queue_max: 256,
            lost_max: 8,
        }
    }
}

/// Why a job was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many jobs wait as may.
    #[error("{0} calls are already waiting")]
    QueueFull(usize),
    /// Too many lanes were lost.
    #[error("{0} lanes are lost in calls that never returned")]
    TooManyLost(usize),
    /// The pool is shutting down.
    #[error("the module is being unloaded")]
    Closing,
    /// No thread could be started.
    #[error("no thread could be started: {0}")]
    NoThread(String),
}

/// Something to run on a lane.
pub(super) struct Job {
    pub work: Work,
    pub run: Box<dyn FnOnce(&'static Slot) + Send>,
    pub pass: Option<Pass>,
    gate: Option<Arc<Gate>>,
}

/// A set of lanes with one queue.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    limits: PoolLimits,
    observer: Arc<dyn LaneObserver>,
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    lanes: Vec<Arc<Lane>>,
    idle: usize,
    made: u64,
    lost: Vec<Arc<Lane>>,
    closing: bool,
}

impl Pool {
    /// A pool without lanes yet: they are made as jobs come.
    pub fn new(name: impl Into<String>, limits: PoolLimits, observer: Arc<dyn LaneObserver>) -> Self {
        let shared = Shared {
            name: name.into(),
            limits,
            observer,
            state: Mutex::default(),
            more: Condvar::new(),
        };
        Pool {
            shared: Arc::new(shared),
        }
    }

    /// Has a lane run `run`, behind the jobs that already wait. It is run only while `gate` has room.
    ///
    /// # Errors
    /// The job was not taken and will not run.
    pub fn submit(
        &self,
        work: Work,
        gate: Option<Arc<Gate>>,
        run: impl FnOnce(&'static Slot) + Send + 'static,
    ) -> Result<(), Refused> {
        self.enqueue(
            Job {
                work,
                run: Box::new(run),
                pass: None,
                gate,
            },
            false,
        )
    }

    /// Has a lane run `run` before the jobs that wait, on a lane more than the limit if all are busy: for steps of the
    /// lifecycle, which must not wait behind calls.
    ///
    /// # Errors
    /// The job was not taken and will not run.
    pub fn submit_urgent(
        &self,
        work: Work,
        run: impl FnOnce(&'static Slot) + Send + 'static,
    ) -> Result<(), Refused> {
        self.enqueue(
            Job {
                work,
                run: Box::new(run),
                pass: None,
                gate: None,
            },
            true,
        )
    }

    /// Whether a lane is free or could be made.
    pub fn has_room(&self) -> bool {
        let state = self.shared.lock();
        state.queue.is_empty() && (state.idle > 0 || state.lanes.len() < self.shared.limits.lanes_max)
    }

    /// Jobs that wait.
    pub fn queued(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// Lanes that are lost and have not come back.
    pub fn lost(&self) -> usize {
        let mut state = self.shared.lock();
        state.lost.retain(|lane| lane.is_busy());
        state.lost.len()
    }

    /// What a lost lane that has not come back is in.
    pub fn wedged(&self) -> Option<String> {
        let state = self.shared.lock();
        let lane = state.lost.iter().find(|lane| lane.is_busy())?;
        Some(self.describe(lane))
    }

    /// Tells the lanes that a gate has room again.
    pub fn nudge(&self) {
        if !self.shared.lock().queue.is_empty() {
            self.shared.more.notify_all();
        }
    }

    /// Replaces each lane that ran code of `generation`, and waits for the old ones to end.
    ///
    /// # Errors
    /// What the lane that did not end in time is in.
    pub fn rotate(&self, generation: u64, patience: Duration) -> Result<(), String> {
        let old = {
            let mut state = self.shared.lock();
            let (old, kept): (Vec<_>, Vec<_>) = state.lanes.drain(..).partition(|lane| lane.ran(generation));
            state.lanes = kept;
            old
        };
        self.end(old, patience)?;
        let lost = self
            .shared
            .lock()
            .lost
            .iter()
            .find(|lane| lane.ran(generation))
            .cloned();
        lost.map_or(Ok(()), |lane| self.end(vec![lane], Duration::ZERO))
    }

    /// Takes no more jobs, drops those that wait, and waits for every lane to end.
    ///
    /// # Errors
    /// What the lane that did not end in time is in.
    pub fn shutdown(&self, patience: Duration) -> Result<(), String> {
        let (waiting, lanes) = {
            let mut state = self.shared.lock();
            state.closing = true;
            let mut lanes = std::mem::take(&mut state.lanes);
            lanes.append(&mut state.lost);
            (std::mem::take(&mut state.queue), lanes)
        };
        // Outside the lock: dropping a job answers its caller.
        drop(waiting);
        self.end(lanes, patience)
    }

    fn end(&self, lanes: Vec<Arc<Lane>>, patience: Duration) -> Result<(), String> {
        for lane in &lanes {
            lane.retire();
        }
        // Taken and released, so that no lane is between its look and its sleep.
        drop(self.shared.lock());
        self.shared.more.notify_all();
        let give_up = clock::monotonic().after(patience);
        let mut unended = None;
        for lane in lanes {
            let left = give_up.since(clock::monotonic());
            if !lane.join_within(left) {
                unended = Some(self.describe(&lane));
                self.shared.lock().lost.push(lane);
            }
        }
        unended.map_or(Ok(()), Err)
    }

    fn describe(&self, lane: &Lane) -> String {
        let (number, pool) = (lane.number, &self.shared.name);
        match lane.current() {
            Some((work, began)) => format!(
                "lane {number} of {pool} has been in {} of {} for {:.1} s",
                work.phase,
                work.subject,
                clock::monotonic().since(began).as_secs_f64()
            ),
            None => format!("lane {number} of {pool} does not end"),
        }
    }

    fn enqueue(&self, job: Job, urgent: bool) -> Result<(), Refused> {
        let mut state = self.shared.lock();
        if state.closing {
            return Err(Refused::Closing);
        }
        if state.lost.len() >= self.shared.limits.lost_max {
            state.lost.retain(|lane| lane.is_busy());
            if state.lost.len() >= self.shared.limits.lost_max {
                return Err(Refused::TooManyLost(state.lost.len()));
            }
        }
        if !urgent && state.queue.len() >= self.shared.limits.queue_max {
            return Err(Refused::QueueFull(state.queue.len()));
        }
        let lanes_max = self.shared.limits.lanes_max + usize::from(urgent);
        if state.queue.len() >= state.idle && state.lanes.len() < lanes_max {
            match self.start_lane(&mut state) {
                Err(error) if state.lanes.is_empty() => return Err(Refused::NoThread(error.to_string())),
                _ => {}
            }
        }
        if urgent {
            state.queue.push_front(job);
        } else {
            state.queue.push_back(job);
        }
        drop(state);
        self.shared.more.notify_one();
        Ok(())
    }

    fn start_lane(&self, state: &mut State) -> std::io::Result<()> {
        state.made += 1;
        let name = format!("{}/{}", self.shared.name, state.made);
        let shared = self.shared.clone();
        let lane = Lane::start(
            &name,
            state.made,
            move |lane| shared.take(lane),
            self.shared.observer.clone(),
        )?;
        let shared = Arc::downgrade(&self.shared);
        let replace = move |lost: &Lane| {
            if let Some(shared) = shared.upgrade() {
                (Pool { shared }).replace_lost(lost);
            }
        };
        watchdog::on_lost(&lane, Box::new(replace));
        state.lanes.push(lane);
        Ok(())
    }

    fn replace_lost(&self, lost: &Lane) {
        let mut state = self.shared.lock();
        if let Some(at) = state.lanes.iter().position(|lane| lane.number == lost.number) {
            let lane = state.lanes.remove(at);
            state.lost.push(lane);
        }
        if !state.queue.is_empty()
            && !state.closing
            && let Err(error) = self.start_lane(&mut state)
        {
            tracing::error!(pool = self.shared.name, %error, "a lost lane could not be replaced");
        }
        drop(state);
        if let Some((work, began)) = lost.current() {
            self.shared.observer.lost(&work, clock::monotonic().since(began));
        }
    }
}

impl Shared {
    /// The next job that may run, once there is one; `None` when the lane should end.
    fn take(&self, lane: &Lane) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if lane.is_retiring() || lane.is_lost() {
                return None;
            }
            if let Some(job) = first_that_may_run(&mut state.queue) {
                return Some(job);
            }
            state.idle += 1;
            state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn first_that_may_run(queue: &mut VecDeque<Job>) -> Option<Job> {
    for at in 0..queue.len() {
        let pass = match &queue[at].gate {
            None => None,
            Some(gate) => match gate.try_enter() {
                Some(pass) => Some(pass),
                None => continue,
            },
        };
        let mut job = queue.remove(at)?;
        job.pass = pass;
        return Some(job);
    }
    None
}
