//! The scheduler: all instances, which of them are due, and which lanes check them. Whoever holds its lock decides; plugin code never runs
//! under it.
//!
//! ```text
//!           time                 a lane of its library            it has answered
//!   wheel ───────▶ library.due ───────────────────────▶ a batch ──────────────────▶ wheel
//!                       ▲                                  │ it stays in one: the rest is for another lane
//!                       └──────────────────────────────────┘
//! ```

mod batches;

use super::At;
use super::batch::{Done, STAYS};
use super::hot::{Hot, LastFigures, LibraryNumber, Progress};
use super::instance::MonitoredInstance;
use super::latencies::RecentLatencies;
use super::library::{Libraries, Library};
use super::outbox::Outbox;
use super::probe_loop::ProbeLoop;
use super::results;
use super::target::Target;
use super::view;
use batches::RunningBatch;
use extman_health::Moment;
use extman_health::monitor::{COALESCED, Poll};
use extman_health::policy::Policy;
use extman_health::wheel::{Tick, Wheel};
use extman_model::clock::nanos;
use extman_model::latency::Recorder;
use extman_model::record::CheckCounts;
use extman_model::{CheckOutcome, Figures};
use extman_runtime::instance::{Answer, Asked, FailedCalls};
use extman_runtime::lanes::Pool;
use extman_runtime::loader::prefer_huge_pages;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The wheel's step.
pub(super) const TICK: Duration = Duration::from_nanos(TICK_NS);
const TICK_NS: u64 = 10_000_000;
/// Taken from the wheel at a time.
const BATCH: usize = 4096;
/// Nobody who keeps the time sleeps for longer.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// While lanes are under way, whether one of them stays is looked at this often, if nobody is due sooner.
const LOOKS: Duration = Duration::from_millis(100);

/// All instances.
pub(super) struct Scheduler {
    zero: Moment,
    probes: Weak<ProbeLoop>,
    wheel: Wheel,
    /// What checks touch, all the rest, and what those who keep the time need, at the same numbers.
    hot: Vec<Hot>,
    instances: Vec<Option<MonitoredInstance>>,
    due_states: Vec<DueState>,
    free: Vec<u32>,
    by_name: HashMap<Arc<str>, u32>,
    libraries: Libraries,
    by_pool: HashMap<u64, LibraryNumber>,
    /// Libraries of which somebody waits for a lane, and some of which nobody does any more.
    wanting: Vec<LibraryNumber>,
    batches: HashMap<u64, RunningBatch>,
    batches_made: u64,
    due: Vec<u32>,
    /// Libraries and batches that were looked at, to plan lanes.
    #[cfg(test)]
    pub looked: u64,
    /// Turns to publish that were given.
    turns: u64,
    seen: Moment,
    /// When those were looked at that wait for a lane.
    waiting_seen: Moment,
    /// Without the checks of those that are here.
    stats: EngineStats,
    /// How much later than due instances were asked.
    pub lag: Recorder,
}

/// What those who keep the time need of an instance. All of them are at hand together.
#[derive(Debug, Clone, Copy, Default)]
struct DueState {
    library: Option<LibraryNumber>,
    progress: Progress,
    is_suspect: bool,
    /// Calls may keep its checks out.
    may_be_full: bool,
}

/// Of each instance, with its tick in the wheel and its entry in a bucket.
pub(super) const DUE_BYTES: usize = size_of::<DueState>() + size_of::<Tick>() + size_of::<u32>();

impl DueState {
    /// It is as `hot` says; one that waits goes on waiting.
    fn follow(&mut self, hot: &Hot) {
        self.is_suspect = hot.is_suspect;
        if self.progress != Progress::Queued || hot.progress != Progress::Idle {
            self.progress = hot.progress;
        }
    }
}

/// What the engine counts of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Checks, also of those that are gone.
    pub counts: CheckCounts,
    /// Times that the host itself stood still.
    pub stalls: u64,
}

impl Scheduler {
    pub(super) fn new(now: Moment, probes: Weak<ProbeLoop>) -> Self {
        // So that moments at which many are due are on a tick.
        let zero = now.as_nanos() / COALESCED * COALESCED;
        Scheduler {
            zero: Moment::from_nanos(zero),
            probes,
            wheel: Wheel::default(),
            hot: Vec::new(),
            instances: Vec::new(),
            due_states: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            libraries: Libraries::default(),
            by_pool: HashMap::new(),
            wanting: Vec::new(),
            batches: HashMap::new(),
            batches_made: 0,
            due: Vec::new(),
            #[cfg(test)]
            looked: 0,
            turns: 0,
            seen: now,
            waiting_seen: now,
            stats: EngineStats::default(),
            lag: Recorder::default(),
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn instance(&self, number: u32) -> Option<(&MonitoredInstance, &Hot)> {
        let instance = self.instances.get(number as usize)?.as_ref()?;
        Some((instance, &self.hot[number as usize]))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&MonitoredInstance, &Hot, Progress)> {
        let both = self.instances.iter().zip(&self.hot).enumerate();
        both.filter_map(|(at, (instance, hot))| Some((instance.as_ref()?, hot, self.progress(at as u32))))
    }

    /// The numbers of all instances.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        let numbers = self.instances.iter().zip(0..);
        numbers.filter_map(|(instance, number)| instance.is_some().then_some(number))
    }

    /// What was counted by now.
    pub(super) fn stats(&self) -> EngineStats {
        let mut stats = self.stats;
        let all = self.all().map(|(instance, hot, _)| view::counts(instance, hot));
        all.for_each(|counts| add(&mut stats.counts, counts));
        stats
    }

    /// How far its check is.
    pub(super) fn progress(&self, number: u32) -> Progress {
        self.due_states[number as usize].progress
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.by_name.keys().cloned().collect()
    }

    pub(super) fn add(&mut self, instance: MonitoredInstance, policy: Arc<Policy>) -> u32 {
        let name = instance.name.clone();
        let number = self.free.pop().unwrap_or_else(|| self.grow(&policy));
        let hot = &mut self.hot[number as usize];
        let asking = hot.asking;
        // What a lane still has of the one before is nobody's.
        *hot = Hot {
            asking,
            ..Hot::new(policy)
        };
        hot.drop_asking();
        self.due_states[number as usize] = DueState::default();
        self.instances[number as usize] = Some(instance);
        self.by_name.insert(name, number);
        number
    }

    fn grow(&mut self, policy: &Arc<Policy>) -> u32 {
        if self.instances.len() == self.instances.capacity() {
            // By an eighth instead of twice: what is not used is memory of every instance all the same.
            let more = self.instances.len() / 8 + 64;
            self.instances.reserve_exact(more);
            self.hot.reserve_exact(more);
            self.due_states.reserve_exact(more);
        }
        self.instances.push(None);
        self.hot.push(Hot::new(policy.clone()));
        self.due_states.push(DueState::default());
        if self.hot.len().is_power_of_two() {
            prefer_huge_pages(&self.hot);
        }
        (self.instances.len() - 1) as u32
    }

    /// Forgets one. To be dropped without the lock.
    pub(super) fn remove(&mut self, name: &str) -> Option<(MonitoredInstance, Option<Arc<dyn Target>>)> {
        let number = self.by_name.remove(name)?;
        self.take_quiet(number);
        self.wheel.remove(number);
        self.belong_to(number, None);
        self.free.push(number);
        let hot = &mut self.hot[number as usize];
        hot.drop_asking();
        self.due_states[number as usize] = DueState::default();
        let target = hot.target.take();
        let instance = self.instances[number as usize].take()?;
        add(&mut self.stats.counts, instance.counts);
        Some((instance, target))
    }

    /// Goes through one as a whole: what it was while it was quiet is taken in before, and whether it is quiet is looked at afterwards.
    pub(super) fn with<R>(
        &mut self,
        number: u32,
        at: At,
        change: impl FnOnce(&mut MonitoredInstance, &mut Hot) -> R,
    ) -> Option<R> {
        self.take_quiet(number);
        let instance = self.instances.get_mut(number as usize)?.as_mut()?;
        let hot = &mut self.hot[number as usize];
        let changed = change(instance, hot);
        results::settle(instance, hot, at);
        self.due_states[number as usize].follow(hot);
        Some(changed)
    }

    /// Takes in what it was while it was quiet.
    fn take_quiet(&mut self, number: u32) {
        let Some(instance) = self.instances.get_mut(number as usize).and_then(Option::as_mut) else {
            return;
        };
        let hot = &mut self.hot[number as usize];
        results::take_quiet(instance, hot);
    }

    /// It runs on these lanes, or on none.
    pub(super) fn retarget(
        &mut self,
        number: u32,
        target: Option<Arc<dyn Target>>,
        generation: u64,
    ) -> Option<Arc<dyn Target>> {
        let pool = target.as_ref().map(|target| (target.lanes().clone(), generation));
        self.belong_to(number, pool);
        if let Some(target) = &target {
            let sink: Weak<dyn FailedCalls> = self.probes.clone();
            target.watch_failures(sink, number);
        }
        let hot = &mut self.hot[number as usize];
        hot.drop_asking();
        (hot.recent, hot.is_suspect) = (RecentLatencies::default(), false);
        self.due_states[number as usize] = DueState {
            library: hot.library,
            may_be_full: target.as_ref().is_some_and(|target| target.may_be_full()),
            ..DueState::default()
        };
        if target.is_some() {
            hot.last = None;
        }
        std::mem::replace(&mut hot.target, target)
    }

    fn belong_to(&mut self, number: u32, lanes: Option<(Pool, u64)>) {
        let before = self.hot[number as usize].library.take();
        if let Some((pool, generation)) = lanes {
            let libraries = &mut self.libraries;
            let of_pool = self.by_pool.entry(pool.number());
            let library = *of_pool.or_insert_with(|| libraries.add(Library::new(pool, generation)));
            if let Some(known) = self.libraries.get_mut(library) {
                known.instances += 1;
            }
            self.hot[number as usize].library = Some(library);
        }
        let Some(before) = before else { return };
        if let Some(library) = self.libraries.get_mut(before) {
            library.instances -= 1;
            // A lane that is in it is told by its name, whoever has its place by then.
            let name = self.instances[number as usize]
                .as_ref()
                .map(|instance| &instance.name);
            for batch in &library.batches {
                let group = self.batches.get_mut(batch).map(|running| &mut running.group);
                let of_it = group.into_iter().flatten().filter(|given| given.index == number);
                of_it.for_each(|given| given.name = name.cloned());
            }
        }
        self.forget_if_unused(before);
    }

    fn forget_if_unused(&mut self, number: LibraryNumber) {
        if let Some(unused) = self.libraries.remove_if_unused(number) {
            self.by_pool.remove(&unused.pool.number());
        }
    }

    /// Has it come up when it is due, as its monitor says now, unless it waits for a lane or is asked.
    pub(super) fn schedule(&mut self, number: u32) {
        let at = number as usize;
        let Some(instance) = self.instances.get(at).and_then(Option::as_ref) else {
            return;
        };
        match instance.monitor.due() {
            Some(_) if matches!(self.due_states[at].progress, Progress::Queued | Progress::Asked) => {}
            Some(due) => self.wheel.put(number, self.tick(due)),
            None => {
                self.wheel.remove(number);
            }
        }
    }

    fn tick(&self, at: Moment) -> u64 {
        at.nanos_since(self.zero).div_ceil(TICK_NS)
    }

    /// The number of the next turn to publish.
    pub(super) fn next_turn(&mut self) -> u64 {
        let number = self.turns;
        self.turns += 1;
        number
    }

    /// When somebody looked last.
    pub(super) fn seen(&self) -> Moment {
        self.seen
    }

    /// Gives those that are due to the lanes of their libraries, and looks at the lanes under way. Gives until when there is nothing to
    /// do.
    pub(super) fn pass(&mut self, at @ (now, _): At, stall: Duration, out: &mut Outbox) -> Moment {
        self.seen = self.seen.max(now);
        if !stall.is_zero() {
            self.stood_still(at, stall, out);
        }
        self.look(at, out);
        self.look_at_waiting(at, out);
        let tick = now.nanos_since(self.zero) / TICK_NS;
        loop {
            let mut due = std::mem::take(&mut self.due);
            self.wheel.take_due(tick, BATCH, &mut due);
            let is_all = due.is_empty();
            for number in due.drain(..) {
                self.is_due(number, at, out);
            }
            self.due = due;
            if is_all {
                break;
            }
        }
        self.plan_all(now, out);
        self.until(now)
    }

    /// For how long the one that has waited longest for a lane has been due.
    pub(super) fn longest_wait(&self, now: Moment) -> Option<Duration> {
        let libraries = self
            .wanting
            .iter()
            .filter_map(|number| self.libraries.get(*number));
        let first =
            libraries.flat_map(|library| library.due.front().into_iter().chain(library.apart.front()));
        let waits = first.filter_map(|number| {
            let (instance, hot) = self.instance(*number)?;
            let due = results::due(instance, hot).filter(|_| self.progress(*number) == Progress::Queued)?;
            Some(now.since(due))
        });
        waits.max()
    }

    fn until(&self, now: Moment) -> Moment {
        let due = self.wheel.next_due().map(|tick| {
            let nanos = tick.saturating_mul(TICK_NS);
            self.zero.after(Duration::from_nanos(nanos))
        });
        let late = self.batches.values().filter_map(|running| {
            let inside = running.batch.inside()?;
            let given = running.group.get(inside.at)?;
            let too_late = inside.began.after(given.timeout);
            (now.since(inside.began) > STAYS && too_late > now).then_some(too_late)
        });
        let looks = (!self.batches.is_empty()).then(|| now.after(LOOKS));
        let first = late.chain(due).chain(looks).min();
        let at_most = now.after(SLEEP_MAX);
        first
            .unwrap_or(at_most)
            .min(at_most)
            .max(now.after(Duration::from_millis(1)))
    }

    fn is_due(&mut self, number: u32, at: At, out: &mut Outbox) {
        // Not what checks touch: that is another core's for now, and not at hand.
        let due_state = self.due_states[number as usize];
        match due_state.progress {
            Progress::Queued | Progress::Asked => return,
            // It has not come back: that needs no lane.
            Progress::Begun => {
                self.begin_whole(number, at, out);
                return;
            }
            Progress::Idle => {}
        }
        if due_state.may_be_full {
            let target = self.hot[number as usize].target.as_ref();
            if target.is_some_and(|target| target.is_full()) {
                self.is_full(number, at, out);
                return;
            }
        }
        let Some(of) = due_state.library else { return };
        let Some(library) = self.libraries.get_mut(of) else {
            return;
        };
        self.due_states[number as usize].progress = Progress::Queued;
        library.queue(due_state.is_suspect).push_back(number);
        if !std::mem::replace(&mut library.wants_lanes, true) {
            self.wanting.push(of);
        }
    }

    /// Its calls leave no room for a check.
    fn is_full(&mut self, number: u32, at @ (now, unix_ms): At, out: &mut Outbox) {
        let Some((asking, target)) = self.begin_whole(number, at, out) else {
            return;
        };
        let mut done = Done {
            index: number,
            asking: asking.0,
            began: now,
            timeout: asking.1,
            asked: Asked {
                answer: Answer::Other(Box::new(CheckOutcome::Busy)),
                ended: now,
            },
            target,
        };
        self.ended(&mut done, unix_ms, false, out);
    }

    /// It is due, and its monitor says what that means. Gives its asking and its time, if it is to be asked.
    fn begin_whole(
        &mut self,
        number: u32,
        at @ (now, _): At,
        out: &mut Outbox,
    ) -> Option<((u32, Duration), Arc<dyn Target>)> {
        let target = self.hot[number as usize].target.clone()?;
        if let Some(due) = self
            .instance(number)
            .and_then(|(instance, hot)| results::due(instance, hot))
        {
            self.lag.record(now.since(due));
        }
        let poll = self.with(number, at, |instance, hot| {
            let poll = results::poll(instance, hot, &target, at, out);
            if let Poll::Ask { .. } = poll {
                hot.ask(Progress::Begun);
            }
            poll
        })?;
        match poll {
            Poll::Ask { timeout } => Some(((self.hot[number as usize].asking, timeout), target)),
            Poll::Heard | Poll::Pending | Poll::Overdue => {
                self.schedule(number);
                None
            }
        }
    }

    /// One that was asked has answered, or could not be asked. What was known before is left in `done`, to be freed without the lock.
    pub(super) fn ended(&mut self, done: &mut Done, unix_ms: u64, host_late: bool, out: &mut Outbox) {
        let number = done.index;
        let hot = &mut self.hot[number as usize];
        if hot.asking != done.asking || !matches!(hot.progress, Progress::Asked | Progress::Begun) {
            return;
        }
        if hot.progress == Progress::Asked && !host_late && self.ended_quietly(done, unix_ms) {
            return;
        }
        self.ended_as_a_whole(done, unix_ms, host_late, out);
        self.schedule(number);
    }

    /// The quiet path: `false`, and nothing is taken in, if there is more to it. Nothing is written down of it: that it was asked stands in
    /// the minute's sums, and its last answers are kept here.
    #[inline]
    fn ended_quietly(&mut self, done: &Done, unix_ms: u64) -> bool {
        let hot = &mut self.hot[done.index as usize];
        let Answer::Figures(figures) = &done.asked.answer else {
            return false;
        };
        let (began, now) = (done.began, done.asked.ended);
        let calls = done.target.calls();
        let connection = |figures: &Option<Figures>| figures.and_then(|figures| figures.connection);
        let same_connection =
            (hot.last.as_ref()).is_some_and(|last| connection(&last.figures) == connection(figures));
        if hot.is_awaited
            || !same_connection
            || !hot
                .quiet
                .answered((began, now), done.timeout, figures.as_ref(), calls, &hot.policy)
        {
            return false;
        }
        let took = now.since(began);
        let heap_bytes = figures.as_ref().and_then(|figures| figures.heap_bytes());
        if let Some(bytes) = heap_bytes {
            hot.heap = (hot.heap.0.min(bytes), hot.heap.1.max(bytes));
        }
        hot.recent.push(took);
        hot.last = Some(LastFigures {
            figures: *figures,
            at_unix_ms: unix_ms,
            took_ns: nanos(took),
        });
        hot.progress = Progress::Idle;
        self.due_states[done.index as usize].progress = Progress::Idle;
        let due = hot.quiet.due();
        let tick = self.tick(due);
        self.wheel.put(done.index, tick);
        true
    }

    fn ended_as_a_whole(&mut self, done: &mut Done, unix_ms: u64, host_late: bool, out: &mut Outbox) {
        let (number, began, ended) = (done.index, done.began, done.asked.ended);
        let target = done.target.clone();
        let is_begun = self.hot[number as usize].progress == Progress::Begun;
        self.with(number, (ended, unix_ms), |instance, hot| {
            hot.progress = Progress::Idle;
            // What looked quiet and was not: its monitor learns now that it was asked.
            let mut begins = || results::poll(instance, hot, &target, (began, unix_ms), out);
            if !is_begun && !matches!(begins(), Poll::Ask { .. }) {
                return;
            }
            results::answered(instance, hot, done, unix_ms, host_late, out);
        });
    }

    /// A call of each of these has failed: what is counted by now is evidence, and the next check is hastened.
    pub(super) fn calls_failed(&mut self, numbers: &[u32], at @ (now, _): At, out: &mut Outbox) {
        for number in numbers {
            self.with(*number, at, |instance, hot| {
                instance.is_failing = true;
                let calls = hot.calls();
                instance.judge(hot, at, out, |instance, policy, _| {
                    let generation = instance.monitor.generation();
                    instance.monitor.called(now, generation, calls, policy);
                });
            });
            self.schedule(*number);
        }
    }

    fn is_late(&mut self, number: u32, began: Moment, at: At, out: &mut Outbox) {
        let Some(target) = self.hot[number as usize].target.clone() else {
            return;
        };
        let mut is_due_again = false;
        self.with(number, at, |instance, hot| {
            if hot.progress == Progress::Asked {
                hot.progress = Progress::Begun;
                let begins = results::poll(instance, hot, &target, (began, at.1), out);
                if !matches!(begins, Poll::Ask { .. }) {
                    // The lane's answer will be nobody's, so nothing else would have it asked again.
                    hot.drop_asking();
                    is_due_again = true;
                    return;
                }
            }
            is_due_again = results::overdue(instance, hot, at, out);
        });
        if is_due_again {
            self.schedule(number);
        }
    }

    fn stood_still(&mut self, at @ (now, _): At, stall: Duration, out: &mut Outbox) {
        self.stats.stalls += 1;
        out.stalled = Some(stall);
        for number in 0..self.instances.len() as u32 {
            self.with(number, at, |instance, hot| {
                instance.minute.skip(stall, now);
                instance.judge(hot, at, out, |instance, policy, _| {
                    instance.monitor.host_stalled(now, stall, policy);
                });
            });
        }
    }
}

fn add(sum: &mut CheckCounts, more: CheckCounts) {
    sum.checks += more.checks;
    sum.failed += more.failed;
    sum.timed_out += more.timed_out;
    sum.skipped += more.skipped;
}
