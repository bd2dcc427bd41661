//! A set of lanes with one bounded queue: a module's call lanes, or the shared probe lanes.

use super::gate::Gate;
use super::job::Job;
use super::lane::{Lane, LaneObserver, Work};
use super::watchdog;
use crate::clock;
use crate::runtime::loader::Slot;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    lanes: Vec<Arc<Lane>>,
    /// Lanes that sleep, the one that worked last at the end: it is woken first, since its memory is still warm.
    idle: Vec<Arc<Lane>>,
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
        };
        Pool {
            shared: Arc::new(shared),
        }
    }

    /// Has a lane run `run` and then hand what came of it to `answer`, in the order of submission, while `gate` has room.
    ///
    /// # Errors
    /// The job was not taken and will not run.
    pub fn submit<T>(
        &self,
        work: Work,
        gate: Option<Arc<Gate>>,
        run: impl FnOnce(&Slot) -> T + Send + 'static,
        answer: impl FnOnce(T) + Send + 'static,
    ) -> Result<(), Refused> {
        self.enqueue(Job::new(work, gate, run, answer), false)
    }

    /// Has a lane run `run` before the jobs that wait, on a lane more than the limit if all are busy: for steps of the
    /// lifecycle, which must not wait behind calls.
    ///
    /// # Errors
    /// The job was not taken and will not run.
    pub fn submit_urgent<T>(
        &self,
        work: Work,
        run: impl FnOnce(&Slot) -> T + Send + 'static,
        answer: impl FnOnce(T) + Send + 'static,
    ) -> Result<(), Refused> {
        self.enqueue(Job::new(work, None, run, answer), true)
    }

    /// Whether a lane is free or could be made.
    pub fn has_room(&self) -> bool {
        let state = self.shared.lock();
        state.queue.is_empty() && (state.available() > 0 || state.lanes.len() < self.shared.limits.lanes_max)
    }

    /// Jobs that wait.
    pub fn queued(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// Lanes that are lost and have not come back.
    pub fn lost(&self) -> usize {
        let mut state = self.shared.lock();
        state.lost.retain(|lane| !lane.join_within(Duration::ZERO));
        state.lost.len()
    }

    /// What a lost lane that has not come back is in.
    pub fn wedged(&self) -> Option<String> {
        let state = self.shared.lock();
        let lane = state.lost.iter().find(|lane| lane.is_busy())?;
        Some(lane.describe(&self.shared.name))
    }

    /// Tells the lanes that a gate has room again.
    pub fn nudge(&self) {
        let woken = {
            let mut state = self.shared.lock();
            if state.queue.is_empty() {
                return;
            }
            std::mem::take(&mut state.idle)
        };
        woken.iter().for_each(|lane| lane.wake());
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
            old.iter().for_each(|lane| lane.retire());
            state.idle.retain(|lane| !lane.ran(generation));
            // The ones that wait may have counted on a lane that now ends.
            if let Err(error) = self.start_lane_if_short(&mut state, 0) {
                tracing::error!(pool = self.shared.name, %error, "a lane could not be replaced");
            }
            // One that was woken for what waits may be among those that end.
            if let Some(lane) = state.lane_to_wake() {
                lane.wake();
            }
            old
        };
        self.end(old, patience)?;
        let lost: Vec<_> = {
            let mut state = self.shared.lock();
            let (lost, others) = state.lost.drain(..).partition(|lane| lane.ran(generation));
            state.lost = others;
            lost
        };
        self.end(lost, Duration::ZERO)
    }

    /// Takes no more jobs, drops those that wait, and waits for every lane to end.
    ///
    /// # Errors
    /// What the lane that did not end in time is in.
    pub fn shutdown(&self, patience: Duration) -> Result<(), String> {
        let (waiting, lanes) = {
            let mut state = self.shared.lock();
            state.closing = true;
            state.idle.clear();
            let mut lanes = std::mem::take(&mut state.lanes);
            lanes.append(&mut state.lost);
            lanes.iter().for_each(|lane| lane.retire());
            (std::mem::take(&mut state.queue), lanes)
        };
        // Outside the lock: dropping a job answers its caller.
        drop(waiting);
        self.end(lanes, patience)
    }

    /// Waits for lanes that were told to retire while the lock was held: so none of them falls asleep again.
    fn end(&self, lanes: Vec<Arc<Lane>>, patience: Duration) -> Result<(), String> {
        lanes.iter().for_each(|lane| lane.wake());
        let give_up = clock::monotonic().after(patience);
        let mut unended = None;
        for lane in lanes {
            let left = give_up.since(clock::monotonic());
            if !lane.join_within(left) {
                unended = Some(lane.describe(&self.shared.name));
                self.shared.lock().lost.push(lane);
            }
        }
        unended.map_or(Ok(()), Err)
    }

    fn enqueue(&self, job: Job, urgent: bool) -> Result<(), Refused> {
        let mut state = self.shared.lock();
        if state.closing {
            return Err(Refused::Closing);
        }
        if state.lost.len() >= self.shared.limits.lost_max {
            state.lost.retain(|lane| !lane.join_within(Duration::ZERO));
            if state.lost.len() >= self.shared.limits.lost_max {
                return Err(Refused::TooManyLost(state.lost.len()));
            }
        }
        if !urgent && state.queue.len() >= self.shared.limits.queue_max {
            return Err(Refused::QueueFull(state.queue.len()));
        }
        if urgent {
            state.queue.push_front(job);
        } else {
            state.queue.push_back(job);
        }
        if let Err(error) = self.start_lane_if_short(&mut state, usize::from(urgent))
            && state.lanes.is_empty()
        {
            let unrun = if urgent {
                state.queue.pop_front()
            } else {
                state.queue.pop_back()
            };
            drop(state);
            drop(unrun);
            return Err(Refused::NoThread(error.to_string()));
        }
        let woken = state.lane_to_wake();
        drop(state);
        if let Some(lane) = woken {
            lane.wake();
        }
        Ok(())
    }

    fn start_lane_if_short(&self, state: &mut State, above_limit: usize) -> std::io::Result<()> {
        let lanes_max = self.shared.limits.lanes_max + above_limit;
        if state.queue.len() > state.available() && state.lanes.len() < lanes_max {
            self.start_lane(state)?;
        }
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
            state.idle.retain(|idle| idle.number != lane.number);
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

impl State {
    /// Lanes that will look for a job without running plugin code before: they sleep, wake up, or are about to look.
    fn available(&self) -> usize {
        self.lanes.iter().filter(|lane| lane.is_available()).count()
    }

    /// A sleeping lane, if there are more jobs than lanes that will look anyway.
    fn lane_to_wake(&mut self) -> Option<Arc<Lane>> {
        let awake = self.available().saturating_sub(self.idle.len());
        if self.queue.len() > awake {
            self.idle.pop()
        } else {
            None
        }
    }
}

impl Shared {
    /// The next job that may run, once there is one; `None` when the lane should end.
    fn take(&self, lane: &Arc<Lane>) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if lane.is_retiring() || lane.is_lost() {
                return None;
            }
            if let Some(job) = first_that_may_run(&mut state.queue) {
                lane.set_available(false);
                return Some(job);
            }
            state.idle.push(lane.clone());
            drop(state);
            std::thread::park();
            state = self.lock();
            // Still there if nobody meant to wake it.
            state.idle.retain(|idle| idle.number != lane.number);
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
            Some(gate) => match gate.try_enter_or_wait_outside() {
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

#[cfg(test)]
mod tests;
