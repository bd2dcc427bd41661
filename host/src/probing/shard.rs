//! All instances, and who of them is due. Whoever holds the lock decides; plugin code never runs under it.

mod answers;

pub(super) use answers::{announce, word};

use super::out::Out;
use super::place::Place;
use super::target::Target;
use extman_health::Moment;
use extman_health::course::Begin;
use extman_health::schedule::{GATHERED, Wheel};
use extman_model::sketch::Recorder;
use extman_runtime::instance::Asked;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The wheel's step.
pub(super) const TICK: Duration = Duration::from_nanos(TICK_NS);
const TICK_NS: u64 = 10_000_000;
/// Taken from the wheel at a time.
const BATCH: usize = 1024;
/// Whose memory is fetched at a time.
const WARMED: usize = 16;
/// A lane looks again after this at the latest.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// All instances.
pub(super) struct Shard {
    zero: Moment,
    wheel: Wheel,
    /// Due, the first one last; the memory of those from `warm_from` on is at hand.
    ready: Vec<u32>,
    warm_from: usize,
    places: Vec<Option<Place>>,
    free: Vec<u32>,
    by_name: HashMap<Arc<str>, u32>,
    /// Asked, and not answered yet.
    pub under_way: Vec<u32>,
    /// The lane that sleeps until somebody is due.
    sleeper: Option<u64>,
    seen: Moment,
    pub stats: EngineStats,
    /// How much later than due instances were asked.
    pub lag: Recorder,
}

/// What the engine counts of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Checks that were begun.
    pub checks: u64,
    /// Checks that were not needed, since a call had come back.
    pub seen: u64,
    /// Checks that were due while the one before had not come back.
    pub still_asked: u64,
    /// Times that the host itself stood still.
    pub stalls: u64,
}

/// What a lane is to do next.
pub(super) enum Next {
    /// Ask, here.
    Ask(Asking),
    /// Sleep until then, or until woken.
    Sleep(Moment),
    /// There is another lane for what is left.
    End,
}

/// One that is to be asked.
pub(super) struct Asking {
    pub place: u32,
    pub generation: u64,
    pub target: Arc<dyn Target>,
    pub timeout: Duration,
    pub began: Moment,
}

/// One that was asked.
pub(super) struct Done {
    pub place: u32,
    pub generation: u64,
    pub began: Moment,
    pub asked: Asked,
}

impl Shard {
    pub(super) fn new(now: Moment) -> Self {
        // So that moments at which many are due are on a tick.
        let zero = now.as_nanos() / GATHERED * GATHERED;
        Shard {
            zero: Moment::from_nanos(zero),
            wheel: Wheel::default(),
            ready: Vec::new(),
            warm_from: 0,
            places: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            under_way: Vec::new(),
            sleeper: None,
            seen: now,
            stats: EngineStats::default(),
            lag: Recorder::default(),
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn place(&self, number: u32) -> Option<&Place> {
        self.places.get(number as usize)?.as_ref()
    }

    pub(super) fn place_mut(&mut self, number: u32) -> Option<&mut Place> {
        self.places.get_mut(number as usize)?.as_mut()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().flatten()
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.by_name.keys().cloned().collect()
    }

    pub(super) fn add(&mut self, place: Place) -> u32 {
        let name = place.name.clone();
        let number = self.free.pop().unwrap_or_else(|| {
            if self.places.len() == self.places.capacity() {
                // By an eighth instead of twice: what is not used is memory of every instance all the same.
                self.places.reserve_exact(self.places.len() / 8 + 64);
            }
            self.places.push(None);
            (self.places.len() - 1) as u32
        });
        self.places[number as usize] = Some(place);
        self.by_name.insert(name, number);
        number
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Place> {
        let number = self.by_name.remove(name)?;
        self.wheel.remove(number);
        self.ready.retain(|ready| *ready != number);
        self.under_way.retain(|other| *other != number);
        self.free.push(number);
        self.places[number as usize].take()
    }

    /// Has it come up when it is due, as its course says now.
    pub(super) fn schedule(&mut self, number: u32) {
        match self.place(number).and_then(|place| place.course.due()) {
            Some(due) => self.wheel.put(number, self.tick(due)),
            None => {
                self.wheel.remove(number);
            }
        }
    }

    fn tick(&self, at: Moment) -> u64 {
        at.nanos_since(self.zero).div_ceil(TICK_NS)
    }

    /// What the lane `station` is to do at `now`. `stall` is how long the host stood still since the last look.
    pub(super) fn next(
        &mut self,
        now: Moment,
        unix_ms: u64,
        station: u64,
        stall: Duration,
        out: &mut Out,
    ) -> Next {
        if self.sleeper == Some(station) {
            self.sleeper = None;
        }
        self.seen = self.seen.max(now);
        if !stall.is_zero() {
            self.stood_still(now, unix_ms, stall, out);
        }
        self.look(now, unix_ms, out);
        loop {
            if self.ready.len() <= self.warm_from {
                self.warm();
            }
            let Some(number) = self.ready.pop() else {
                let due = now.nanos_since(self.zero) / TICK_NS;
                self.wheel.take_due(due, BATCH, &mut self.ready);
                if self.ready.is_empty() {
                    break;
                }
                self.ready.reverse();
                self.warm_from = self.ready.len();
                continue;
            };
            if let Some(asking) = self.begin(number, now, unix_ms, out) {
                return Next::Ask(asking);
            }
        }
        if self.sleeper.is_some() {
            return Next::End;
        }
        self.sleeper = Some(station);
        Next::Sleep(self.until(now))
    }

    /// The lane `station` ends.
    pub(super) fn leave(&mut self, station: u64) {
        if self.sleeper == Some(station) {
            self.sleeper = None;
        }
    }

    /// When the last look was.
    pub(super) fn seen(&self) -> Moment {
        self.seen
    }

    fn until(&self, now: Moment) -> Moment {
        let at_most = now.after(SLEEP_MAX);
        let due = self.wheel.next_due().map(|tick| {
            self.zero
                .after(Duration::from_nanos(tick.saturating_mul(TICK_NS)))
        });
        let late = self
            .under_way
            .iter()
            .filter_map(|number| self.place(*number)?.course.too_late_at());
        late.chain(due)
            .min()
            .unwrap_or(at_most)
            .min(at_most)
            .max(now.after(Duration::from_millis(1)))
    }

    /// Fetches the memory of those who come next. One after the other each would be waited for.
    fn warm(&mut self) {
        self.warm_from = self.ready.len().saturating_sub(WARMED);
        let next = || {
            let numbers = self.ready[self.warm_from..].iter().rev();
            numbers.filter_map(|number| self.place(*number))
        };
        next().for_each(Place::warm);
        next().for_each(Place::warm_behind);
        for target in next().filter_map(|place| place.target.as_ref()) {
            target.warm();
        }
    }

    fn begin(&mut self, number: u32, now: Moment, unix_ms: u64, out: &mut Out) -> Option<Asking> {
        let place = self.places.get_mut(number as usize)?.as_mut()?;
        let target = place.target.clone()?;
        let was = place.course.evaluation().judged();
        let left_out = place.course.evaluation().is_left_out();
        let calls = target.calls();
        let has_check = target.has_check() || !place.waiters.is_empty();
        if let Some(due) = place.course.due() {
            self.lag.record(now.since(due));
        }
        let host_late = place
            .course
            .asked_at()
            .is_some_and(|asked| answers::stood_still_since(asked, now));
        let (begin, changed) = place
            .course
            .begin(now, calls, has_check, host_late, &place.policy);
        place.pass(now, unix_ms, was, left_out, &mut out.records);
        if changed.is_some() {
            announce(place, was, unix_ms, out);
        }
        match begin {
            Begin::Ask { timeout, apart } => {
                self.stats.checks += 1;
                let generation = place.course.evaluation().generation();
                self.under_way.push(number);
                let asking = Asking {
                    place: number,
                    generation,
                    target,
                    timeout,
                    began: now,
                };
                if apart || !asking.target.is_asked_anywhere() {
                    out.apart.push(asking);
                    return None;
                }
                Some(asking)
            }
            Begin::Seen => {
                self.stats.seen += 1;
                self.schedule(number);
                None
            }
            Begin::StillAsked => {
                self.stats.still_asked += 1;
                self.schedule(number);
                None
            }
        }
    }

    fn stood_still(&mut self, now: Moment, unix_ms: u64, stall: Duration, out: &mut Out) {
        self.stats.stalls += 1;
        out.stalled = Some(stall);
        for place in self.places.iter_mut().flatten() {
            place.minute.skip(stall, now);
            let was = place.course.evaluation().judged();
            if place.course.stood_still(now, stall, &place.policy).is_some() {
                announce(place, was, unix_ms, out);
            }
        }
    }
}
