//! All instances, who of them is due, and which lanes go through them. Whoever holds the lock decides; plugin code never runs under it.
//!
//! ```text
//!           time                 a lane of its library            it has answered
//!   wheel ───────▶ library.due ───────────────────────▶ a visit ──────────────────▶ wheel
//!                       ▲                                  │ it stays in one: the rest is for another lane
//!                       └──────────────────────────────────┘
//! ```

use super::answers::{announce, answered, begin, due, late, rest, thaw};
use super::hot::{Hand, Hot, LastFigures, LibraryNumber};
use super::library::{Libraries, Library};
use super::out::{Out, Plan};
use super::place::Place;
use super::ring::Ring;
use super::target::Target;
use super::visit::{Asking, Done, GROUP, Inside, STAYS, Visit};
use extman_health::Moment;
use extman_health::course::Begin;
use extman_health::schedule::{GATHERED, Wheel};
use extman_model::CheckOutcome;
use extman_model::clock::nanos;
use extman_model::sketch::Recorder;
use extman_runtime::instance::{Answer, Asked};
use extman_runtime::lanes::{Phase, Pool, Work};
use extman_runtime::loader::prefer_huge_pages;
use std::collections::{HashMap, VecDeque};
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
/// Lanes of one library that go through its instances at a time, but for those that are lost.
const VISITS_MAX: usize = 16;

/// All instances.
pub(super) struct Shard {
    zero: Moment,
    ring: Weak<Ring>,
    wheel: Wheel,
    /// What checks touch, all the rest, and what those who keep the time need, at the same numbers.
    hot: Vec<Hot>,
    places: Vec<Option<Place>>,
    spots: Vec<Spot>,
    free: Vec<u32>,
    by_name: HashMap<Arc<str>, u32>,
    libraries: Libraries,
    by_pool: HashMap<u64, LibraryNumber>,
    visits: HashMap<u64, Visiting>,
    visits_made: u64,
    due: Vec<u32>,
    seen: Moment,
    pub stats: EngineStats,
    /// How much later than due instances were asked.
    pub lag: Recorder,
}

/// What those who keep the time need of an instance. All of them are at hand together.
#[derive(Debug, Clone, Copy, Default)]
struct Spot {
    library: Option<LibraryNumber>,
    hand: Hand,
    is_suspect: bool,
    /// Calls may keep its checks out.
    may_be_full: bool,
}

impl Spot {
    /// It is as `hot` says; one that waits goes on waiting.
    fn follow(&mut self, hot: &Hot) {
        self.is_suspect = hot.is_suspect;
        if self.hand != Hand::Waits || hot.hand != Hand::Free {
            self.hand = hot.hand;
        }
    }
}

/// A lane under way.
struct Visiting {
    visit: Arc<Visit>,
    group: Vec<Given>,
    taken_over: bool,
}

/// One that a lane was given.
struct Given {
    place: u32,
    asking: u32,
    generation: u64,
    timeout: Duration,
    /// Only if its place is another one's by now.
    name: Option<Arc<str>>,
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
    /// Checks that were due and that no lane began: the host's affair.
    pub not_begun: u64,
    /// Times that the host itself stood still.
    pub stalls: u64,
}

impl Shard {
    pub(super) fn new(now: Moment, ring: Weak<Ring>) -> Self {
        // So that moments at which many are due are on a tick.
        let zero = now.as_nanos() / GATHERED * GATHERED;
        Shard {
            zero: Moment::from_nanos(zero),
            ring,
            wheel: Wheel::default(),
            hot: Vec::new(),
            places: Vec::new(),
            spots: Vec::new(),
            free: Vec::new(),
            by_name: HashMap::new(),
            libraries: Libraries::default(),
            by_pool: HashMap::new(),
            visits: HashMap::new(),
            visits_made: 0,
            due: Vec::new(),
            seen: now,
            stats: EngineStats::default(),
            lag: Recorder::default(),
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn place(&self, number: u32) -> Option<(&Place, &Hot)> {
        let place = self.places.get(number as usize)?.as_ref()?;
        Some((place, &self.hot[number as usize]))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Place, &Hot)> {
        let both = self.places.iter().zip(&self.hot);
        both.filter_map(|(place, hot)| Some((place.as_ref()?, hot)))
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.by_name.keys().cloned().collect()
    }

    pub(super) fn add(&mut self, place: Place) -> u32 {
        let name = place.name.clone();
        let number = self.free.pop().unwrap_or_else(|| self.grow(&place));
        let hot = &mut self.hot[number as usize];
        let asking = hot.asking;
        // What a lane still has of the one before is nobody's.
        *hot = Hot {
            asking,
            ..Hot::new(place.policy.clone())
        };
        hot.drop_asking();
        self.spots[number as usize] = Spot::default();
        self.places[number as usize] = Some(place);
        self.by_name.insert(name, number);
        number
    }

    fn grow(&mut self, place: &Place) -> u32 {
        if self.places.len() == self.places.capacity() {
            // By an eighth instead of twice: what is not used is memory of every instance all the same.
            let more = self.places.len() / 8 + 64;
            self.places.reserve_exact(more);
            self.hot.reserve_exact(more);
            self.spots.reserve_exact(more);
        }
        self.places.push(None);
        self.hot.push(Hot::new(place.policy.clone()));
        self.spots.push(Spot::default());
        if self.hot.len().is_power_of_two() {
            prefer_huge_pages(&self.hot);
        }
        (self.places.len() - 1) as u32
    }

    /// Forgets one. To be dropped without the lock.
    pub(super) fn remove(&mut self, name: &str) -> Option<(Place, Option<Arc<dyn Target>>)> {
        let number = self.by_name.remove(name)?;
        self.thaw(number);
        self.wheel.remove(number);
        self.belong_to(number, None);
        let visiting = self.visits.values_mut().flat_map(|visiting| &mut visiting.group);
        for given in visiting.filter(|given| given.place == number) {
            given.name = Some(name.into());
        }
        self.free.push(number);
        let hot = &mut self.hot[number as usize];
        hot.drop_asking();
        self.spots[number as usize] = Spot::default();
        let target = hot.target.take();
        Some((self.places[number as usize].take()?, target))
    }

    /// Goes through one as a whole: what it was while it was quiet is taken in before, and whether it is quiet is looked at afterwards.
    pub(super) fn with<R>(
        &mut self,
        number: u32,
        now: Moment,
        unix_ms: u64,
        change: impl FnOnce(&mut Place, &mut Hot) -> R,
    ) -> Option<R> {
        self.thaw(number);
        let place = self.places.get_mut(number as usize)?.as_mut()?;
        let hot = &mut self.hot[number as usize];
        let changed = change(place, hot);
        rest(place, hot, now, unix_ms);
        self.spots[number as usize].follow(hot);
        Some(changed)
    }

    /// Takes in what it was while it was quiet.
    fn thaw(&mut self, number: u32) {
        let Some(place) = self.places.get_mut(number as usize).and_then(Option::as_mut) else {
            return;
        };
        let hot = &mut self.hot[number as usize];
        thaw(place, hot);
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
        let hot = &mut self.hot[number as usize];
        hot.drop_asking();
        (hot.trips, hot.is_suspect) = (super::trips::Trips::default(), false);
        self.spots[number as usize] = Spot {
            library: hot.library,
            may_be_full: target.as_ref().is_some_and(|target| target.may_be_full()),
            ..Spot::default()
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
            let library = *self.by_pool.entry(pool.number()).or_insert_with(|| {
                libraries.add(Library {
                    pool,
                    generation,
                    places: 0,
                    due: VecDeque::new(),
                    apart: VecDeque::new(),
                    visits: 0,
                })
            });
            if let Some(known) = self.libraries.get_mut(library) {
                known.places += 1;
            }
            self.hot[number as usize].library = Some(library);
        }
        if let Some(before) = before {
            if let Some(library) = self.libraries.get_mut(before) {
                library.places -= 1;
            }
            self.forget_if_unused(before);
        }
    }

    fn forget_if_unused(&mut self, number: LibraryNumber) {
        if let Some(unused) = self.libraries.remove_if_unused(number) {
            self.by_pool.remove(&unused.pool.number());
        }
    }

    /// Has it come up when it is due, as its course says now, unless it waits for a lane or is asked.
    pub(super) fn schedule(&mut self, number: u32) {
        let at = number as usize;
        let Some(place) = self.places.get(at).and_then(Option::as_ref) else {
            return;
        };
        match place.course.due() {
            Some(_) if matches!(self.spots[at].hand, Hand::Waits | Hand::Asked) => {}
            Some(due) => self.wheel.put(number, self.tick(due)),
            None => {
                self.wheel.remove(number);
            }
        }
    }

    fn tick(&self, at: Moment) -> u64 {
        at.nanos_since(self.zero).div_ceil(TICK_NS)
    }

    /// When somebody looked last.
    pub(super) fn seen(&self) -> Moment {
        self.seen
    }

    /// Gives those that are due to the lanes of their libraries, and looks at the lanes under way. Gives until when there is nothing to
    /// do.
    pub(super) fn pass(&mut self, now: Moment, unix_ms: u64, stall: Duration, out: &mut Out) -> Moment {
        self.seen = self.seen.max(now);
        if !stall.is_zero() {
            self.stood_still(now, unix_ms, stall, out);
        }
        self.look(now, unix_ms, out);
        let tick = now.nanos_since(self.zero) / TICK_NS;
        loop {
            let mut due = std::mem::take(&mut self.due);
            self.wheel.take_due(tick, BATCH, &mut due);
            let is_all = due.is_empty();
            for number in due.drain(..) {
                self.is_due(number, now, unix_ms, out);
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
        let libraries = self.libraries.0.iter().flatten();
        let first =
            libraries.flat_map(|library| library.due.front().into_iter().chain(library.apart.front()));
        let waits = first.filter_map(|number| {
            let (place, hot) = self.place(*number)?;
            let due = due(place, hot).filter(|_| self.spots[*number as usize].hand == Hand::Waits)?;
            Some(now.since(due))
        });
        waits.max()
    }

    fn until(&self, now: Moment) -> Moment {
        let due = self.wheel.next_due().map(|tick| {
            let nanos = tick.saturating_mul(TICK_NS);
            self.zero.after(Duration::from_nanos(nanos))
        });
        let late = self.visits.values().filter_map(|visiting| {
            let inside = visiting.visit.inside()?;
            let given = visiting.group.get(inside.at)?;
            let too_late = inside.began.after(given.timeout);
            (now.since(inside.began) > STAYS && too_late > now).then_some(too_late)
        });
        let looks = (!self.visits.is_empty()).then(|| now.after(LOOKS));
        let first = late.chain(due).chain(looks).min();
        let at_most = now.after(SLEEP_MAX);
        first
            .unwrap_or(at_most)
            .min(at_most)
            .max(now.after(Duration::from_millis(1)))
    }

    fn is_due(&mut self, number: u32, now: Moment, unix_ms: u64, out: &mut Out) {
        // Not what checks touch: that is another core's for now, and not at hand.
        let spot = self.spots[number as usize];
        match spot.hand {
            Hand::Waits | Hand::Asked => return,
            // It has not come back: that needs no lane.
            Hand::Begun => {
                self.begin_whole(number, now, unix_ms, out);
                return;
            }
            Hand::Free => {}
        }
        if spot.may_be_full {
            let target = self.hot[number as usize].target.as_ref();
            if target.is_some_and(|target| target.is_full()) {
                self.is_full(number, now, unix_ms, out);
                return;
            }
        }
        let Some(library) = spot.library.and_then(|at| self.libraries.get_mut(at)) else {
            return;
        };
        self.spots[number as usize].hand = Hand::Waits;
        let queue = if spot.is_suspect {
            &mut library.apart
        } else {
            &mut library.due
        };
        queue.push_back(number);
    }

    /// Its calls leave no room for a check.
    fn is_full(&mut self, number: u32, now: Moment, unix_ms: u64, out: &mut Out) {
        let Some((asking, target)) = self.begin_whole(number, now, unix_ms, out) else {
            return;
        };
        let mut done = Done {
            place: number,
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

    /// Lanes for those that wait.
    fn plan_all(&mut self, now: Moment, out: &mut Out) {
        for number in self.libraries.numbers() {
            let Some(library) = self.libraries.get(number) else {
                continue;
            };
            if library.due.is_empty() && library.apart.is_empty() {
                continue;
            }
            let (has_due, apart) = (!library.due.is_empty(), library.apart.len());
            let of_it = self
                .visits
                .values()
                .filter(|visiting| visiting.visit.library == number);
            let (mut all, mut due_visits, mut apart_visits) = (0, 0, 0);
            for visiting in of_it.filter(|visiting| !self.is_lost(visiting, now)) {
                all += 1;
                match (visiting.visit.is_apart, visiting.visit.inside()) {
                    // One that stays goes through no others for now.
                    (_, Some(inside)) if now.since(inside.began) > STAYS => {}
                    (true, _) => apart_visits += 1,
                    (false, _) => due_visits += 1,
                }
            }
            let mut room = VISITS_MAX.saturating_sub(all);
            if has_due && due_visits == 0 && room > 0 {
                self.plan(number, false, out);
                room -= 1;
            }
            for _ in 0..apart.saturating_sub(apart_visits).min(room) {
                self.plan(number, true, out);
            }
        }
    }

    /// Whether the watchdog has given up its lane, or does so now.
    fn is_lost(&self, visiting: &Visiting, now: Moment) -> bool {
        let inside = visiting.visit.inside();
        let lost = inside.and_then(|inside| {
            let given = visiting.group.get(inside.at)?;
            let hot = &self.hot[given.place as usize];
            let wedge_after = hot
                .target
                .as_ref()
                .map_or(Duration::ZERO, |target| target.wedge_after());
            Some(now > inside.began.after(given.timeout).after(wedge_after))
        });
        lost.unwrap_or(false)
    }

    fn plan(&mut self, library: LibraryNumber, is_apart: bool, out: &mut Out) {
        let Some(known) = self.libraries.get_mut(library) else {
            return;
        };
        known.visits += 1;
        self.visits_made += 1;
        let visit = Visit::new(
            self.visits_made,
            library,
            is_apart,
            known.pool.name(),
            self.ring.clone(),
        );
        out.plans.push(Plan {
            pool: known.pool.clone(),
            visit: visit.clone(),
        });
        let visiting = Visiting {
            visit,
            group: Vec::with_capacity(GROUP),
            taken_over: false,
        };
        self.visits.insert(self.visits_made, visiting);
    }

    /// A lane's visit is over.
    pub(super) fn leave(&mut self, visit: &Visit) {
        if self.visits.remove(&visit.number).is_none() {
            return;
        }
        if let Some(library) = self.libraries.get_mut(visit.library) {
            library.visits -= 1;
        }
        self.forget_if_unused(visit.library);
    }

    /// No lane took this visit: those that wait for one are asked another time.
    pub(super) fn never_began(&mut self, visit: &Visit, now: Moment, unix_ms: u64) {
        let Some(library) = self.libraries.get_mut(visit.library) else {
            return;
        };
        let mut waiting = std::mem::take(&mut library.due);
        waiting.append(&mut library.apart);
        for number in waiting {
            let spot = &mut self.spots[number as usize];
            if spot.hand != Hand::Waits || spot.library != Some(visit.library) {
                continue;
            }
            spot.hand = Hand::Free;
            self.stats.not_begun += 1;
            self.with(number, now, unix_ms, |place, _| {
                let policy = place.policy.clone();
                place.course.not_begun(now, &policy);
            });
            self.schedule(number);
        }
        self.leave(visit);
    }

    /// What a lane is in, for people and for the supervisor.
    pub(super) fn given(&self, visit: &Visit, inside: Inside) -> Option<Work> {
        let given = self.visits.get(&visit.number)?.group.get(inside.at)?;
        let (place, hot) = self.place(given.place)?;
        let subject = given.name.clone().unwrap_or_else(|| place.name.clone());
        let wedge_after = hot
            .target
            .as_ref()
            .map_or(Duration::ZERO, |target| target.wedge_after());
        Some(Work {
            subject,
            generation: given.generation,
            phase: Phase::Check,
            deadline: inside.began.after(given.timeout),
            wedge_after,
        })
    }

    /// Gives a lane those that it is to ask next: many that are quiet, or one that has to be gone through as a whole.
    pub(super) fn fill(
        &mut self,
        visit: &Visit,
        now: Moment,
        unix_ms: u64,
        group: &mut Vec<Asking>,
        out: &mut Out,
    ) {
        let Some(library) = self.libraries.get(visit.library) else {
            return;
        };
        let generation = library.generation;
        self.warm(visit);
        while group.len() < GROUP {
            let Some(library) = self.libraries.get_mut(visit.library) else {
                break;
            };
            let queue = if visit.is_apart {
                &mut library.apart
            } else {
                &mut library.due
            };
            let Some(number) = queue.pop_front() else { break };
            let (hot, spot) = (&mut self.hot[number as usize], &mut self.spots[number as usize]);
            if spot.hand != Hand::Waits || spot.library != Some(visit.library) {
                continue;
            }
            spot.hand = Hand::Free;
            let Some(target) = &hot.target else { continue };
            if let Some(timeout) = hot.quiet.begin(now, target.calls(), &hot.policy)
                && !hot.is_awaited
            {
                let target = target.clone();
                self.stats.checks += 1;
                self.lag.record(now.since(hot.quiet.due()));
                let asking = hot.ask(Hand::Asked);
                spot.hand = Hand::Asked;
                group.push(Asking {
                    place: number,
                    asking,
                    target,
                    timeout,
                });
                continue;
            }
            if !group.is_empty() {
                spot.hand = Hand::Waits;
                queue.push_front(number);
                break;
            }
            if let Some(((asking, timeout), target)) = self.begin_whole(number, now, unix_ms, out) {
                group.push(Asking {
                    place: number,
                    asking,
                    target,
                    timeout,
                });
                break;
            }
        }
        if let Some(visiting) = self.visits.get_mut(&visit.number) {
            visiting.taken_over = false;
            visiting.group.clear();
            visiting.group.extend(group.iter().map(|asking| Given {
                place: asking.place,
                asking: asking.asking,
                generation,
                timeout: asking.timeout,
                name: None,
            }));
        }
    }

    /// Fetches the memory of those who come next. One after the other each would be waited for.
    fn warm(&self, visit: &Visit) {
        let Some(library) = self.libraries.get(visit.library).filter(|_| !visit.is_apart) else {
            return;
        };
        let next = || {
            library
                .due
                .iter()
                .take(GROUP)
                .map(|number| &self.hot[*number as usize])
        };
        next().for_each(Hot::warm);
        next()
            .filter_map(|hot| hot.target.as_ref())
            .for_each(|target| target.warm());
    }

    /// It is due, and its course says what that means. Gives its asking and its time, if it is to be asked.
    fn begin_whole(
        &mut self,
        number: u32,
        now: Moment,
        unix_ms: u64,
        out: &mut Out,
    ) -> Option<((u32, Duration), Arc<dyn Target>)> {
        let target = self.hot[number as usize].target.clone()?;
        if let Some(due) = self.place(number).and_then(|(place, hot)| due(place, hot)) {
            self.lag.record(now.since(due));
        }
        let begin = self.with(number, now, unix_ms, |place, hot| {
            let begin = begin(place, &target, now, unix_ms, out);
            if let Begin::Ask { .. } = begin {
                hot.ask(Hand::Begun);
            }
            begin
        })?;
        match begin {
            Begin::Ask { timeout, .. } => {
                self.stats.checks += 1;
                Some(((self.hot[number as usize].asking, timeout), target))
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

    /// One that was asked has answered, or could not be asked. What was known before is left in `done`, to be freed without the lock.
    pub(super) fn ended(&mut self, done: &mut Done, unix_ms: u64, host_late: bool, out: &mut Out) {
        let number = done.place;
        let hot = &mut self.hot[number as usize];
        if hot.asking != done.asking || !matches!(hot.hand, Hand::Asked | Hand::Begun) {
            return;
        }
        if hot.hand == Hand::Asked && !host_late && self.ended_quietly(done, unix_ms) {
            return;
        }
        self.ended_as_a_whole(done, unix_ms, host_late, out);
        self.schedule(number);
    }

    /// The quiet path: `false`, and nothing is taken in, if there is more to it. Nothing is written down of it: that it was asked stands in
    /// the minute's sums, and its last answers are kept here.
    #[inline]
    fn ended_quietly(&mut self, done: &Done, unix_ms: u64) -> bool {
        let hot = &mut self.hot[done.place as usize];
        let Answer::Figures(figures) = &done.asked.answer else {
            return false;
        };
        let (began, now) = (done.began, done.asked.ended);
        let calls = done.target.calls();
        if hot.is_awaited
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
        hot.trips.push(took);
        hot.last = Some(LastFigures {
            figures: *figures,
            at_unix_ms: unix_ms,
            took_ns: nanos(took),
        });
        hot.hand = Hand::Free;
        self.spots[done.place as usize].hand = Hand::Free;
        let due = hot.quiet.due();
        let tick = self.tick(due);
        self.wheel.put(done.place, tick);
        true
    }

    fn ended_as_a_whole(&mut self, done: &mut Done, unix_ms: u64, host_late: bool, out: &mut Out) {
        let (number, began, now) = (done.place, done.began, done.asked.ended);
        let target = done.target.clone();
        let is_begun = self.hot[number as usize].hand == Hand::Begun;
        self.with(number, now, unix_ms, |place, hot| {
            hot.hand = Hand::Free;
            // What looked quiet and was not: its course learns now that it was asked.
            if !is_begun && !matches!(begin(place, &target, began, unix_ms, out), Begin::Ask { .. }) {
                return;
            }
            answered(place, hot, done, unix_ms, host_late, out);
        });
    }

    /// Those that have not answered in time, and lanes that stay.
    fn look(&mut self, now: Moment, unix_ms: u64, out: &mut Out) {
        let staying: Vec<(u64, Inside)> = self
            .visits
            .values()
            .filter_map(|visiting| Some((visiting.visit.number, visiting.visit.inside()?)))
            .filter(|(_, inside)| now.since(inside.began) > STAYS)
            .collect();
        for (visit, inside) in staying {
            self.take_over(visit, inside);
            let Some(given) = self
                .visits
                .get(&visit)
                .and_then(|visiting| visiting.group.get(inside.at))
            else {
                continue;
            };
            let (number, asking) = (given.place, given.asking);
            if self.hot[number as usize].asking == asking && now >= inside.began.after(given.timeout) {
                self.is_late(number, inside.began, now, unix_ms, out);
            }
        }
    }

    /// The lane stays in one: the others that it has are for another lane.
    fn take_over(&mut self, visit: u64, inside: Inside) {
        let Some(visiting) = self.visits.get_mut(&visit) else {
            return;
        };
        if visiting.taken_over || visiting.group.len() < 2 || !visiting.visit.take_over(inside) {
            return;
        }
        visiting.taken_over = true;
        let library = visiting.visit.library;
        for (at, given) in visiting.group.iter().enumerate().rev() {
            let hot = &mut self.hot[given.place as usize];
            if at == inside.at || hot.asking != given.asking || hot.hand != Hand::Asked {
                continue;
            }
            hot.drop_asking();
            self.spots[given.place as usize].hand = Hand::Free;
            if hot.library == Some(library)
                && let Some(known) = self.libraries.get_mut(library)
            {
                self.spots[given.place as usize].hand = Hand::Waits;
                known.due.push_front(given.place);
            }
        }
    }

    fn is_late(&mut self, number: u32, began: Moment, now: Moment, unix_ms: u64, out: &mut Out) {
        let Some(target) = self.hot[number as usize].target.clone() else {
            return;
        };
        let mut counted = false;
        self.with(number, now, unix_ms, |place, hot| {
            if hot.hand == Hand::Asked {
                hot.hand = Hand::Begun;
                if !matches!(begin(place, &target, began, unix_ms, out), Begin::Ask { .. }) {
                    hot.drop_asking();
                    return;
                }
            }
            counted = late(place, hot, now, unix_ms, out);
        });
        if counted {
            self.schedule(number);
        }
    }

    fn stood_still(&mut self, now: Moment, unix_ms: u64, stall: Duration, out: &mut Out) {
        self.stats.stalls += 1;
        out.stalled = Some(stall);
        for number in 0..self.places.len() as u32 {
            self.with(number, now, unix_ms, |place, _| {
                place.minute.skip(stall, now);
                let was = place.course.evaluation().judged();
                let policy = place.policy.clone();
                if place.course.stood_still(now, stall, &policy).is_some() {
                    announce(place, was, unix_ms, out);
                }
            });
        }
    }
}
