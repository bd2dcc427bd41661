//! A set of lanes with one bounded queue: all the threads on which one library's code runs, or an instance's own one.
//!
//! A lane takes steps of the lifecycle first, then checks, then calls. As many lanes as the limit says may be in calls or ready for
//! them; one that is in a step or in checks does not count, so that neither keeps a call from a lane, nor a call them. One that comes
//! out of a step or of checks and finds enough lanes ends. One that finds nothing to do sleeps for a while, and ends then unless it is
//! the last; where very many lanes of the process sleep, it ends at once: a lane is made again faster than ten thousand are kept.

use super::concurrency::{ConcurrencyLimit, Permit};
use super::job::{Job, Priority};
use super::lane::{Lane, LaneContext, LaneObserver, Work};
use super::watchdog;
use crate::sync::lock;
use extman_model::clock::{self, Monotonic};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Lanes of this process that may sleep until there is something to do; those that would be more end.
const SLEEPING_MAX: usize = 1024;
/// More calls than come to one queue between a look at it and a call.
const CALLS_AT_ONCE: usize = 64;
/// Lanes beyond those for calls that one library may have for checks.
const FOR_CHECKS_MAX: usize = 16;

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
    /// Stack of each lane.
    pub stack_bytes: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        PoolLimits {
            lanes_max: 8,
            queue_max: 256,
            lost_max: 8,
            idle_max: Duration::from_secs(60),
            idle_kept: 1,
            stack_bytes: 8 << 20,
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

pub(super) struct Shared {
    number: u64,
    pub(super) name: String,
    pub(super) limits: PoolLimits,
    /// There is one lane for good: one that is lost is not replaced, and goes on when it comes back.
    one_thread: bool,
    pub(super) observer: Arc<dyn LaneObserver>,
    state: Mutex<State>,
    /// Processor time of lanes that have ended, in nanoseconds.
    pub(super) ended_ns: AtomicU64,
}

impl Pool {
    /// A pool without lanes yet: they are made as jobs come.
    pub fn new(name: impl Into<String>, limits: PoolLimits, observer: Arc<dyn LaneObserver>) -> Self {
        Pool::with(name.into(), limits, false, observer)
    }

    /// A pool beside this one that runs all on one thread, from the first job to the last. While that thread is lost, no jobs are taken.
    pub fn on_one_thread(&self, name: impl Into<String>) -> Self {
        let limits = PoolLimits {
            lanes_max: 1,
            stack_bytes: self.stack_bytes(),
            ..PoolLimits::default()
        };
        Pool::with(name.into(), limits, true, self.shared.observer.clone())
    }

    /// Stack of each lane.
    pub fn stack_bytes(&self) -> usize {
        self.shared.limits.stack_bytes
    }

    fn with(name: String, limits: PoolLimits, one_thread: bool, observer: Arc<dyn LaneObserver>) -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        watchdog::start();
        let shared = Shared {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            name,
            limits,
            one_thread,
            observer,
            state: Mutex::default(),
            ended_ns: AtomicU64::new(0),
        };
        Pool {
            shared: Arc::new(shared),
        }
    }

    /// Has a lane run `run` and then hand what came of it to `answer`.
    ///
    /// # Errors
    /// The job was not taken and will not run.
    pub fn submit<T>(
        &self,
        work: Work,
        priority: Priority,
        run: impl FnOnce() -> T + Send + 'static,
        answer: impl FnOnce(T) + Send + 'static,
    ) -> Result<(), Refused> {
        let (queue, clock, concurrency) = match priority {
            Priority::Step => (Queue::Steps, None, None),
            Priority::Check(timeout) => (Queue::Checks, Some(timeout), None),
            Priority::Call(concurrency) => (Queue::Calls, None, concurrency),
        };
        let run =
            Box::new(move |lane: &LaneContext<'_>, permit| lane.run_job(work, clock, permit, run, answer));
        self.enqueue(Job { run, concurrency }, queue)
    }

    /// Has a lane go through many checks.
    ///
    /// # Errors
    /// The job was not taken and will not run.
    pub fn submit_checks(&self, run: impl FnOnce(&LaneContext<'_>) + Send + 'static) -> Result<(), Refused> {
        let run = Box::new(move |lane: &LaneContext<'_>, _| lane.run_checks(run));
        let concurrency = None;
        self.enqueue(Job { run, concurrency }, Queue::Checks)
    }

    /// Tells pools apart.
    pub fn number(&self) -> u64 {
        self.shared.number
    }

    /// What it is called, for people.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Whether a lane is free or could be made.
    pub fn has_room(&self) -> bool {
        let state = self.shared.lock();
        state.is_empty(Queue::Calls)
            && state.is_empty(Queue::Checks)
            && state.has_room(self.shared.limits.lanes_max)
    }

    /// Jobs that wait.
    pub fn queued(&self) -> usize {
        self.shared.lock().waiting()
    }

    /// Why a call would not be taken now for want of room.
    pub fn full_for_calls(&self) -> Option<Refused> {
        let waiting = self.calls_waiting();
        (waiting >= self.shared.limits.queue_max).then_some(Refused::QueueFull(waiting))
    }

    /// Whether a call may find no room by the time that it comes: never while nothing waits.
    pub fn is_crowded(&self) -> bool {
        let max = self.shared.limits.queue_max;
        self.calls_waiting() + CALLS_AT_ONCE.min(max / 2) >= max
    }

    fn calls_waiting(&self) -> usize {
        self.shared.lock().queues[Queue::Calls as usize].len()
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
        ended + lanes.iter().map(|lane| lane.cpu.read()).sum::<u64>()
    }

    /// Lanes that are lost and have not come back.
    pub fn lost(&self) -> usize {
        let mut state = self.shared.lock();
        state.forget_the_gone();
        state.lost()
    }

    /// What a lost lane that has not come back is in.
    pub fn wedged(&self) -> Option<String> {
        self.describe_first(|lane| lane.is_lost() && lane.is_busy())
    }

    /// What a lane is in, lost or not.
    pub fn busy(&self) -> Option<String> {
        self.describe_first(Lane::is_busy)
    }

    fn describe_first(&self, is_such: impl Fn(&Lane) -> bool) -> Option<String> {
        let first = self.shared.lock().all().find(|lane| is_such(lane)).cloned();
        // Without the lock: it asks whoever gave the lane its checks.
        Some(first?.describe(&self.shared.name))
    }

    /// How many lanes are inside this subject's code though its caller was answered without it, and since when the first of them is.
    pub fn unreturned(&self, subject: &str) -> Option<(usize, Monotonic)> {
        let busy: Vec<_> = {
            let state = self.shared.lock();
            state.all().filter(|lane| lane.is_busy()).cloned().collect()
        };
        let now = clock::monotonic();
        let is_late = |(work, _): &(Work, Monotonic)| *work.subject == *subject && work.deadline < now;
        let late = busy.iter().filter_map(|lane| lane.current()).filter(is_late);
        late.map(|(_, began)| (1, began))
            .reduce(|(calls, since), (one, began)| (calls + one, since.min(began)))
    }

    /// Whether it was shut down and every lane is gone, its thread too: what they used is all in [`cpu_ns`](Self::cpu_ns) then.
    pub fn has_ended(&self) -> bool {
        let mut state = self.shared.lock();
        state.forget_the_gone();
        state.closing && state.all().next().is_none()
    }

    /// Tells the lanes that a limit has room again.
    pub fn nudge(&self) {
        let woken = {
            let mut state = self.shared.lock();
            if state.is_empty(Queue::Calls) {
                return;
            }
            std::mem::take(&mut state.idle)
        };
        woken.iter().for_each(|lane| lane.wake());
    }

    /// Takes no more jobs, drops those that wait, and waits for every lane to end on which the library's code ran: where it never did,
    /// nothing of it is left.
    ///
    /// # Errors
    /// What the lane that did not end in time is in.
    pub fn shutdown(&self, patience: Duration) -> Result<(), String> {
        let (waiting, lanes) = {
            let mut guard = self.shared.lock();
            let state = &mut *guard;
            state.closing = true;
            state.idle.clear();
            // They stay known until they were waited for.
            let lanes: Vec<_> = state.all().cloned().collect();
            lanes.iter().for_each(|lane| lane.retire());
            (std::mem::take(&mut state.queues), lanes)
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
            let gone = lane.thread.join_within(left);
            self.shared.lock().end_wait_for(&lane, gone);
            if !gone && lane.has_run() {
                unended = Some(lane.describe(&self.shared.name));
            }
        }
        unended.map_or(Ok(()), Err)
    }

    fn enqueue(&self, job: Job, queue: Queue) -> Result<(), Refused> {
        let mut state = self.shared.lock();
        self.admit(&mut state, queue)?;
        state.queues[queue as usize].push_back(job);
        if let Err(error) = self.shared.start_lane_if_short(&mut state)
            && state.lanes.is_empty()
        {
            let unrun = state.queues[queue as usize].pop_back();
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

    fn admit(&self, state: &mut State, queue: Queue) -> Result<(), Refused> {
        if state.closing {
            return Err(Refused::Closing);
        }
        // One that is on its way back is not in a call any more.
        if self.shared.one_thread && state.leaving.iter().any(|lane| lane.is_busy()) {
            return Err(Refused::ThreadLost);
        }
        if state.lost() >= self.shared.limits.lost_max {
            state.forget_the_gone();
            let lost = state.lost();
            if lost >= self.shared.limits.lost_max {
                return Err(Refused::TooManyLost(lost));
            }
        }
        let waiting = state.queues[queue as usize].len();
        if queue != Queue::Steps && waiting >= self.shared.limits.queue_max {
            return Err(Refused::QueueFull(waiting));
        }
        Ok(())
    }
}

/// One of the process's lanes that sleep.
struct Sleeping(usize);

static SLEEPING: AtomicUsize = AtomicUsize::new(0);

impl Sleeping {
    fn begin() -> Self {
        Sleeping(SLEEPING.fetch_add(1, Ordering::Relaxed))
    }

    fn is_one_too_many(&self) -> bool {
        self.0 >= SLEEPING_MAX
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        SLEEPING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn start_lane_if_short(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        if !state.is_short(self.limits.lanes_max) || (self.one_thread && state.made > 0) {
            return Ok(());
        }
        state.forget_the_gone();
        let lane = Lane::start(self, state.made + 1)?;
        state.made += 1;
        state.lanes.push(lane);
        Ok(())
    }

    /// The lane is lost, and in that call until this has returned.
    pub(super) fn replace_lost(self: Arc<Self>, lost: &Lane) {
        let mut state = self.lock();
        state.lose(lost);
        if !state.closing
            && let Err(error) = self.start_lane_if_short(&mut state)
        {
            tracing::error!(pool = self.name, %error, "a lost lane could not be replaced");
        }
        drop(state);
        if let Some((work, began)) = lost.current() {
            self.observer.lost(&work, clock::monotonic().since(began));
        }
    }

    /// The next job that may run, once there is one; `None` when the lane should end.
    pub(super) fn take(&self, lane: &Arc<Lane>) -> Option<(Job, Option<Permit>)> {
        let PoolLimits {
            lanes_max,
            idle_max,
            idle_kept,
            ..
        } = self.limits;
        let mut state = self.lock();
        state.count_for_calls(lane);
        let mut slept_out = false;
        loop {
            if lane.is_retiring() {
                return None;
            }
            if lane.is_lost() {
                if !self.one_thread {
                    return None;
                }
                state.go_on(lane);
            }
            if let Some(job) = state.next_for(lane, lanes_max) {
                lane.set_available(false);
                return Some(job);
            }
            let sleeping = Sleeping::begin();
            let unneeded = state.is_surplus(lanes_max)
                || (slept_out && state.lanes.len() > idle_kept)
                || sleeping.is_one_too_many();
            if unneeded && !self.one_thread {
                state.retire(lane);
                // Whoever submitted may have counted on this one.
                if let Some(other) = state.lane_to_wake() {
                    other.wake();
                }
                return None;
            }
            state.idle.push(lane.clone());
            drop(state);
            let fell_asleep = clock::monotonic();
            std::thread::park_timeout(idle_max);
            drop(sleeping);
            state = self.lock();
            let unwoken = state.remove_idle(lane);
            slept_out = unwoken && clock::monotonic().since(fell_asleep) >= idle_max;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Where a job waits; lanes look there in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    Steps,
    Checks,
    Calls,
}

/// What a pool knows of its lanes and of what waits. Nothing here waits or starts a thread; the pool's lock is held.
#[derive(Default)]
struct State {
    /// What waits, by [`Queue`].
    queues: [VecDeque<Job>; 3],
    lanes: Vec<Arc<Lane>>,
    /// Lanes that sleep, the one that worked last at the end: it is woken first, since its memory is still warm.
    idle: Vec<Arc<Lane>>,
    /// Numbers of the lanes that are in a step or in checks.
    not_for_calls: Vec<u64>,
    made: u64,
    /// Lanes that were lost, and those that end by themselves: none of them takes a job, and their threads may not be gone yet.
    leaving: Vec<Arc<Lane>>,
    closing: bool,
}

impl State {
    fn is_empty(&self, queue: Queue) -> bool {
        self.queues[queue as usize].is_empty()
    }

    /// Jobs that wait.
    fn waiting(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    /// Whether another lane is to be started for what waits.
    fn is_short(&self, lanes_max: usize) -> bool {
        let all = self.lanes.len();
        let for_calls = self.for_calls() < lanes_max && all <= lanes_max * 2 + FOR_CHECKS_MAX;
        let one_more = !self.is_empty(Queue::Steps) && all <= lanes_max + FOR_CHECKS_MAX;
        let for_checks = !self.is_empty(Queue::Checks) && all < lanes_max + FOR_CHECKS_MAX;
        self.waiting() > self.available() && (for_calls || one_more || for_checks)
    }

    /// Whether a lane is free or may be started for a call.
    fn has_room(&self, lanes_max: usize) -> bool {
        self.available() > 0 || self.for_calls() < lanes_max
    }

    /// Whether a lane that is free now is one too many.
    fn is_surplus(&self, lanes_max: usize) -> bool {
        self.for_calls() > lanes_max
    }

    /// Lanes that are neither in a step nor in checks.
    fn for_calls(&self) -> usize {
        self.lanes.len().saturating_sub(self.not_for_calls.len())
    }

    /// Lanes that will look for a job without running plugin code before: they sleep, wake up, or are about to look.
    fn available(&self) -> usize {
        self.lanes.iter().filter(|lane| lane.is_available()).count()
    }

    /// A sleeping lane, if there are more jobs than lanes that will look anyway.
    fn lane_to_wake(&mut self) -> Option<Arc<Lane>> {
        let awake = self.available().saturating_sub(self.idle.len());
        if self.waiting() > awake {
            self.idle.pop()
        } else {
            None
        }
    }

    /// What this lane is to do next.
    fn next_for(&mut self, lane: &Lane, lanes_max: usize) -> Option<(Job, Option<Permit>)> {
        let is_surplus = self.is_surplus(lanes_max);
        let [steps, checks, calls] = &mut self.queues;
        if let Some(job) = steps.pop_front().or_else(|| checks.pop_front()) {
            self.not_for_calls.push(lane.number);
            return Some((job, None));
        }
        match is_surplus {
            true => None,
            false => first_that_may_run(calls),
        }
    }

    fn count_for_calls(&mut self, lane: &Lane) {
        self.not_for_calls.retain(|number| *number != lane.number);
    }

    /// It is awake. `true` if nobody had meant to wake it.
    fn remove_idle(&mut self, lane: &Lane) -> bool {
        let before = self.idle.len();
        self.idle.retain(|idle| idle.number != lane.number);
        self.idle.len() < before
    }

    /// The lane ends by itself.
    fn retire(&mut self, lane: &Arc<Lane>) {
        self.lanes.retain(|other| other.number != lane.number);
        self.forget_the_gone();
        self.leaving.push(lane.clone());
    }

    /// Forgets lanes that are leaving and whose threads are gone.
    fn forget_the_gone(&mut self) {
        self.leaving
            .retain(|lane| !lane.thread.join_within(Duration::ZERO));
    }

    /// Lanes that are lost, or were until they came back, and whose threads may not be gone.
    fn lost(&self) -> usize {
        self.leaving.iter().filter(|lane| lane.is_lost()).count()
    }

    /// The wait for a lane that was told to end is over.
    fn end_wait_for(&mut self, lane: &Arc<Lane>, gone: bool) {
        let is_other = |other: &Arc<Lane>| other.number != lane.number;
        self.lanes.retain(is_other);
        self.leaving.retain(is_other);
        // Somebody else may have waited for it for longer.
        if !gone && !lane.thread.join_within(Duration::ZERO) {
            self.leaving.push(lane.clone());
        }
    }

    /// All lanes whose threads may not be gone.
    fn all(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.lanes.iter().chain(&self.leaving)
    }

    /// The lane is lost.
    fn lose(&mut self, lost: &Lane) {
        self.count_for_calls(lost);
        self.remove_idle(lost);
        if let Some(at) = self.lanes.iter().position(|lane| lane.number == lost.number) {
            let lane = self.lanes.remove(at);
            self.leaving.push(lane);
        }
    }

    /// A lost lane goes on.
    fn go_on(&mut self, lane: &Arc<Lane>) {
        lane.occupancy.go_on();
        self.leaving.retain(|lost| lost.number != lane.number);
        if !self.lanes.iter().any(|other| other.number == lane.number) {
            self.lanes.push(lane.clone());
        }
    }
}

fn first_that_may_run(queue: &mut VecDeque<Job>) -> Option<(Job, Option<Permit>)> {
    for at in 0..queue.len() {
        let permit = match &queue[at].concurrency {
            None => None,
            Some(concurrency) => match ConcurrencyLimit::try_enter_or_wait_outside(concurrency) {
                Some(permit) => Some(permit),
                None => continue,
            },
        };
        return Some((queue.remove(at)?, permit));
    }
    None
}

#[cfg(test)]
mod tests;
