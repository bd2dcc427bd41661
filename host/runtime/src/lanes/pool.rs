//! A set of lanes with one bounded queue: a module's call lanes, or the shared probe lanes. Which lane takes what, and when one
//! ends by itself, is in `state` and `take`.

mod state;
mod take;

use super::gate::Gate;
use super::job::Job;
use super::lane::{Lane, LaneObserver, Work};
use super::watchdog;
use crate::loader::Slot;
use extman_model::clock;
use state::State;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How large a pool may grow.
#[derive(Debug, Clone, Copy)]
pub struct PoolLimits {
    /// Lanes for calls at a time; lost ones don't count, nor those that are in steps of the lifecycle.
    pub lanes_max: usize,
    /// Jobs that may wait.
    pub queue_max: usize,
    /// Lost lanes until the pool takes no more jobs.
    pub lost_max: usize,
    /// How long a lane sleeps until it ends, unless it is one of the last.
    pub idle_max: Duration,
    /// Lanes that stay, however long they sleep.
    pub idle_kept: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        PoolLimits {
            lanes_max: 8,
            queue_max: 256,
            lost_max: 8,
            idle_max: Duration::from_secs(60),
            idle_kept: 1,
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
    /// All has to run on one thread, and that is lost.
    #[error("its one thread is in a call that does not return; `extman restart` gives it up")]
    ThreadLost,
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
    /// There is one lane for good: one that is lost is not replaced, and goes on when it comes back.
    one_thread: bool,
    observer: Arc<dyn LaneObserver>,
    state: Mutex<State>,
    /// Processor time of lanes that have ended, in nanoseconds.
    ended_ns: Arc<AtomicU64>,
}

impl Pool {
    /// A pool without lanes yet: they are made as jobs come.
    pub fn new(name: impl Into<String>, limits: PoolLimits, observer: Arc<dyn LaneObserver>) -> Self {
        Pool::with(name.into(), limits, false, observer)
    }

    /// A pool that runs all on one thread, from the first job to the last. While that thread is lost, no jobs are taken.
    pub fn on_one_thread(name: impl Into<String>, observer: Arc<dyn LaneObserver>) -> Self {
        let limits = PoolLimits {
            lanes_max: 1,
            ..PoolLimits::default()
        };
        Pool::with(name.into(), limits, true, observer)
    }

    fn with(name: String, limits: PoolLimits, one_thread: bool, observer: Arc<dyn LaneObserver>) -> Self {
        watchdog::start();
        let shared = Shared {
            name,
            limits,
            one_thread,
            observer,
            state: Mutex::default(),
            ended_ns: Arc::default(),
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
        state.calls.is_empty() && state.has_room(self.shared.limits.lanes_max)
    }

    /// Jobs that wait.
    pub fn queued(&self) -> usize {
        let state = self.shared.lock();
        state.steps.len() + state.calls.len()
    }

    /// Lanes that are not lost.
    pub fn lanes(&self) -> usize {
        self.shared.lock().lanes.len()
    }

    /// What all its lanes have used of the processor, in nanoseconds: those that run, those that are lost, those that have ended. It
    /// may be short for a moment by one that just ends.
    pub fn cpu_ns(&self) -> u64 {
        // Before the lanes: one that ends meanwhile is not counted twice.
        let ended = self.shared.ended_ns.load(Ordering::Acquire);
        let lanes: Vec<Arc<Lane>> = {
            let state = self.shared.lock();
            state.all().cloned().collect()
        };
        ended + lanes.iter().map(|lane| lane.cpu_ns()).sum::<u64>()
    }

    /// Lanes that are lost and have not come back.
    pub fn lost(&self) -> usize {
        let mut state = self.shared.lock();
        state.lost.retain(|lane| !lane.join_within(Duration::ZERO));
        state.lost.iter().filter(|lane| lane.is_lost()).count()
    }

    /// What a lost lane that has not come back is in.
    pub fn wedged(&self) -> Option<String> {
        let state = self.shared.lock();
        let lane = state.lost.iter().find(|lane| lane.is_lost() && lane.is_busy())?;
        Some(lane.describe(&self.shared.name))
    }

    /// What a lane is in, lost or not.
    pub fn busy(&self) -> Option<String> {
        let state = self.shared.lock();
        let lane = state.all().find(|lane| lane.is_busy())?;
        Some(lane.describe(&self.shared.name))
    }

    /// Whether it was shut down and every lane is gone, its thread too: what they used is all in [`cpu_ns`](Self::cpu_ns) then.
    pub fn has_ended(&self) -> bool {
        let mut state = self.shared.lock();
        state.closing && state.are_all_gone()
    }

    /// Tells the lanes that a gate has room again.
    pub fn nudge(&self) {
        let woken = {
            let mut state = self.shared.lock();
            if state.calls.is_empty() {
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
            let mut old = state.take_those_that_ran(generation);
            old.append(&mut state.ended);
            // Somebody waits for these already; so does whoever comes now.
            old.extend(state.leaving.iter().filter(|lane| lane.ran(generation)).cloned());
            state.have_end(&old);
            // The ones that wait may have counted on a lane that now ends.
            if let Err(error) = self.start_lane_if_short(&mut state) {
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
            let state = self.shared.lock();
            let ran = state.lost.iter().filter(|lane| lane.ran(generation));
            ran.cloned().collect()
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
            lanes.append(&mut state.ended);
            lanes.extend(state.lost.iter().chain(&state.leaving).cloned());
            state.have_end(&lanes);
            let steps = std::mem::take(&mut state.steps);
            ((steps, std::mem::take(&mut state.calls)), lanes)
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
            let gone = lane.join_within(left);
            self.shared.lock().was_waited_for(&lane, gone);
            if !gone {
                unended = Some(lane.describe(&self.shared.name));
            }
        }
        unended.map_or(Ok(()), Err)
    }

    fn enqueue(&self, job: Job, urgent: bool) -> Result<(), Refused> {
        let mut state = self.shared.lock();
        if state.closing {
            return Err(Refused::Closing);
        }
        // One that is on its way back is not in a call any more.
        if self.shared.one_thread && state.lost.iter().any(|lane| lane.is_busy()) {
            return Err(Refused::ThreadLost);
        }
        if state.lost.len() >= self.shared.limits.lost_max {
            state.lost.retain(|lane| !lane.join_within(Duration::ZERO));
            if state.lost.len() >= self.shared.limits.lost_max {
                return Err(Refused::TooManyLost(state.lost.len()));
            }
        }
        if !urgent && state.calls.len() >= self.shared.limits.queue_max {
            return Err(Refused::QueueFull(state.calls.len()));
        }
        let queue = if urgent {
            &mut state.steps
        } else {
            &mut state.calls
        };
        queue.push_back(job);
        if let Err(error) = self.start_lane_if_short(&mut state)
            && state.lanes.is_empty()
        {
            let queue = if urgent {
                &mut state.steps
            } else {
                &mut state.calls
            };
            let unrun = queue.pop_back();
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

    fn start_lane_if_short(&self, state: &mut State) -> std::io::Result<()> {
        if state.is_short(self.shared.limits.lanes_max) && !(self.shared.one_thread && state.made > 0) {
            self.start_lane(state)?;
        }
        Ok(())
    }

    fn start_lane(&self, state: &mut State) -> std::io::Result<()> {
        state.forget_the_gone();
        let number = state.made + 1;
        let name = format!("{}/{number}", self.shared.name);
        let shared = self.shared.clone();
        let take = move |lane: &Arc<Lane>| shared.take(lane);
        let (observer, used) = (self.shared.observer.clone(), self.shared.ended_ns.clone());
        let lane = Lane::start(&name, number, take, observer, used)?;
        state.made = number;
        self.shared.hear_of_its_loss(&lane);
        state.lanes.push(lane);
        Ok(())
    }

    fn replace_lost(&self, lost: &Lane) {
        let mut state = self.shared.lock();
        // One that runs all may have come back already, and goes on.
        if !lost.is_lost() {
            return;
        }
        state.lose(lost);
        if !state.closing
            && let Err(error) = self.start_lane_if_short(&mut state)
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
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
