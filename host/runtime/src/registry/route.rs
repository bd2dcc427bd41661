//! Who serves a call of a capability. It is chosen whenever the candidates, a life, a health or a breaker change, so that a call only reads the
//! choice.
//!
//! ```text
//!   up, degraded ─▶ nothing known ─▶ in maintenance ─▶ down or failing, by `AllDown`      the first kind of which any runs;
//!                                                                                         in each kind by priority, then by name
//! ```
//!
//! Equals share the calls by their load (`load.rs`): those of the first kind that have the priority and the version class of the first of them,
//! the degraded ones only where none is up.
//!
//! What decides whether a candidate is called:
//!
//! * **its health**, where its checks, its own word or its life say that it is down;
//! * **its breaker**, in all that its calls say. A health that is down by nothing but calls trips the breaker and decides nothing beside it: so
//!   there is one way back from failed calls, by the breaker's time and its leased calls. Those come before the choice, since they go to
//!   candidates that would be called before it.

use super::admitted::Admitted;
use super::config::{AllDown, RoutingConfig};
use super::load::lighter_of_two;
use super::random::random;
use super::{Entry, Registry, Routing};
use crate::instance::Instance;
use crate::sync::lock;
use crate::token_bucket::TokenBucket;
use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use extman_model::Health;
use extman_model::clock::{self, Monotonic};
use semver::Version;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An instance's place in the registry. What is published of it is swapped here; nobody else is touched by that.
pub(super) struct Slot {
    pub entry: ArcSwap<Entry>,
    fitness: Mutex<Fitness>,
}

/// What decides, beside its entry, whether an instance is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fitness {
    pub health: Health,
    /// Nothing but its calls says that it is down: its breaker decides.
    pub by_calls: bool,
    /// An operator works on it: it is called only where nobody else serves.
    pub maintenance: bool,
}

/// Candidates of one capability, and which of them serves.
pub struct Route {
    capability: String,
    /// By priority, then by name.
    candidates: Vec<Arc<Slot>>,
    all_down: AllDown,
    /// From how long on a call is slow.
    slow: Duration,
    ranked: Mutex<Ranked>,
    choice: ArcSwapOption<Choice>,
    retries: Arc<RetryBudget>,
}

/// Candidates that may be called, the best first: a change of one among thousands looks at none of the others but its equals.
struct Ranked {
    callable: BTreeMap<(Kind, Order), Placed>,
    /// Those whose breakers are not closed, and of which nothing else says that they are down; by the kind that they are of once it is closed.
    trials: BTreeMap<(Kind, Order), Placed>,
    /// Who would serve if all were well.
    first: Option<Placed>,
}

/// A candidate as it was when it was ranked.
#[derive(Clone)]
struct Placed {
    slot: Arc<Slot>,
    entry: Arc<Entry>,
}

/// A running instance that has a capability.
#[derive(Clone)]
pub struct Candidate {
    /// As it is published.
    pub entry: Arc<Entry>,
    /// What runs.
    pub instance: Arc<Instance>,
    /// The generation of its library.
    pub generation: u64,
}

/// Who serves a capability.
pub struct Choice {
    /// Who, the first of its equals; `None` where all are down and a call fails, but for those that are on trial.
    pub serving: Option<Candidate>,
    /// What it is held to be.
    pub health: Health,
    /// Why the first choice does not serve, if another one does.
    pub degraded: Option<Arc<str>>,
    /// From how long on a call is slow.
    pub slow: Duration,
    /// Whether nothing but load decides who gets a call: nobody is tried before, and nobody has limits or a new version beside it.
    pub is_settled: bool,
    /// All that are as good as the one that serves, with it, so that each call goes to the one that has less to do; empty if it has no equal.
    equals: Vec<Candidate>,
    /// Those whose breakers are not closed and that would be called before: the best first.
    on_trial: Vec<Candidate>,
}

/// A candidate that was called, or that turned the call away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    name: Arc<str>,
    /// Another generation of it is another candidate.
    generation: u64,
    is_busy: bool,
}

impl Tried {
    /// This one.
    pub fn of(candidate: &Candidate) -> Self {
        Tried {
            name: candidate.entry.name.clone(),
            generation: candidate.generation,
            is_busy: false,
        }
    }

    /// This one, which is well and has no room: no call goes to one that is down for that.
    pub fn busy(candidate: &Candidate) -> Self {
        Tried {
            is_busy: true,
            ..Tried::of(candidate)
        }
    }

    /// Whether it was this candidate.
    pub fn is(&self, candidate: &Candidate) -> bool {
        self.generation == candidate.generation && self.name == candidate.entry.name
    }
}

/// How many retries of a capability's calls there may be. It looks at how many calls there were when one is to be retried, so that other calls
/// don't pay for it.
struct RetryBudget(Mutex<Retries>);

struct Retries {
    bucket: TokenBucket,
    /// Calls of all candidates that were counted when one was retried last.
    calls: u64,
}

/// Retries a second that there may be however few calls there are.
const RETRIES_PER_S: u64 = 1;
/// Retries that may be saved up.
const RETRIES_KEPT: u64 = 100;
/// Retries that there may be at the beginning.
const RETRIES_FIRST: u64 = 10;

/// So many are tried.
const ON_TRIAL_MAX: usize = 8;

/// Equals that share the calls, at most; the first by name do.
const EQUALS_MAX: usize = 256;

/// By priority, then by name.
type Order = (Reverse<i32>, Arc<str>);

/// How good a candidate is, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Serves,
    Unknown,
    InMaintenance,
    Down,
}

const KINDS: [Kind; 4] = [Kind::Serves, Kind::Unknown, Kind::InMaintenance, Kind::Down];

impl Slot {
    /// Of an instance of which nothing is known yet.
    pub(super) fn new(entry: Arc<Entry>) -> Self {
        let fitness = Fitness {
            health: Health::Unknown,
            by_calls: false,
            maintenance: entry.config.maintenance,
        };
        Slot::with(entry, fitness)
    }

    /// A slot for what takes the place of this one's entry.
    pub(super) fn followed_by(&self, entry: Arc<Entry>) -> Self {
        Slot::with(entry, self.fitness())
    }

    fn with(entry: Arc<Entry>, fitness: Fitness) -> Self {
        Slot {
            entry: ArcSwap::new(entry),
            fitness: Mutex::new(fitness),
        }
    }

    pub(super) fn fitness(&self) -> Fitness {
        *lock(&self.fitness)
    }

    /// What it was before and what it is, if that is news.
    pub(super) fn change(&self, change: impl FnOnce(&mut Fitness)) -> Option<(Fitness, Fitness)> {
        let mut fitness = lock(&self.fitness);
        let before = *fitness;
        change(&mut fitness);
        (*fitness != before).then_some((before, *fitness))
    }

    /// How good it is; `None` if it can't be chosen.
    fn kind(&self, entry: &Entry, all_down: AllDown) -> Option<Kind> {
        let (instance, _) = entry.serving.as_ref()?;
        let fitness = self.fitness();
        if fitness.is_down() || !instance.breaker().is_closed() {
            return (all_down == AllDown::LeastBad).then_some(Kind::Down);
        }
        Some(fitness.kind())
    }

    /// Whether it runs, and nothing but its breaker keeps calls from it.
    fn may_be_tried(&self, entry: &Entry) -> bool {
        let fitness = self.fitness();
        let serving = entry.serving.as_ref();
        serving.is_some_and(|(instance, _)| !instance.breaker().is_closed())
            && !fitness.maintenance
            && !fitness.is_down()
    }
}

impl Fitness {
    /// How good it is where neither its breaker nor anything but its calls says that it is down.
    fn kind(self) -> Kind {
        match self.health {
            _ if self.maintenance => Kind::InMaintenance,
            Health::Unknown => Kind::Unknown,
            Health::Up | Health::Degraded | Health::Down => Kind::Serves,
        }
    }

    /// Whether it is down by something else than its calls.
    fn is_down(&self) -> bool {
        self.health == Health::Down && !self.by_calls
    }
}

impl Placed {
    fn candidate(&self) -> Option<Candidate> {
        let (instance, generation) = self.entry.serving.clone()?;
        Some(Candidate {
            entry: self.entry.clone(),
            instance,
            generation,
        })
    }

    /// Why it does not serve, though it would if it were well.
    fn why_not(&self) -> Arc<str> {
        let (name, fitness) = (&self.entry.name, self.slot.fitness());
        let Some((instance, _)) = &self.entry.serving else {
            return format!("{name} is {}", self.entry.lifecycle.as_str()).into();
        };
        let why = if fitness.is_down() {
            "is down"
        } else if !instance.breaker().is_closed() {
            "failed its latest calls"
        } else if fitness.maintenance {
            "is in maintenance"
        } else {
            "is not known yet to be well"
        };
        format!("{name} {why}").into()
    }
}

fn order(entry: &Entry) -> Order {
    (Reverse(entry.config.priority), entry.name.clone())
}

impl Choice {
    /// Whether it says the same, so that it stays.
    fn is_like(&self, other: &Choice) -> bool {
        let entry = |of: &Candidate| Arc::as_ptr(&of.entry);
        let are_like =
            |these: &[Candidate], those: &[Candidate]| these.iter().map(entry).eq(those.iter().map(entry));
        self.serving.as_ref().map(entry) == other.serving.as_ref().map(entry)
            && self.health == other.health
            && self.degraded == other.degraded
            && are_like(&self.equals, &other.equals)
            && are_like(&self.on_trial, &other.on_trial)
    }

    /// The one that serves, or the one of its equals that has less to do.
    #[inline]
    pub fn by_load(&self) -> Option<&Candidate> {
        match self.equals.is_empty() {
            true => self.serving.as_ref(),
            false => lighter_of_two(&self.equals, random(), Candidate::load),
        }
    }
}

impl Candidate {
    /// Calls under way.
    fn load(&self) -> u64 {
        self.instance.call_metrics().in_flight()
    }
}

impl RetryBudget {
    fn new() -> Self {
        let bucket = TokenBucket::new(RETRIES_FIRST, clock::monotonic());
        RetryBudget(Mutex::new(Retries { bucket, calls: 0 }))
    }

    fn take(&self, calls: u64, percent: u8, now: Monotonic) -> bool {
        let mut retries = lock(&self.0);
        // It is less than before where an instance has begun to count anew.
        let more = calls.saturating_sub(retries.calls);
        retries.calls = calls;
        retries.bucket.add_percent(more, percent.into(), RETRIES_KEPT);
        percent > 0 && retries.bucket.take(RETRIES_PER_S, RETRIES_KEPT, now)
    }
}

impl Route {
    /// Of this capability, among these, of which one is chosen.
    pub(super) fn new(capability: &str, mut candidates: Vec<Arc<Slot>>, config: &RoutingConfig) -> Self {
        candidates.sort_by_cached_key(|slot| order(&slot.entry.load()));
        let first = candidates.first().map(|slot| Placed {
            slot: slot.clone(),
            entry: slot.entry.load_full(),
        });
        let mut ranked = Ranked {
            callable: BTreeMap::new(),
            trials: BTreeMap::new(),
            first,
        };
        for slot in &candidates {
            ranked.place(slot, &slot.entry.load(), config.all_down);
        }
        let slow = config.slow();
        Route {
            choice: ArcSwapOption::new(ranked.choose(capability, slow).map(Arc::new)),
            capability: capability.to_owned(),
            candidates,
            all_down: config.all_down,
            slow,
            ranked: Mutex::new(ranked),
            retries: Arc::new(RetryBudget::new()),
        }
    }

    /// Its retries are those of the one before it.
    pub(super) fn in_place_of(mut self, before: Option<&Route>) -> Self {
        if let Some(before) = before {
            self.retries = before.retries.clone();
        }
        self
    }

    pub(super) fn candidates(&self) -> &[Arc<Slot>] {
        &self.candidates
    }

    /// Who serves now; `None` if nobody does, nor may be tried.
    #[inline]
    pub fn choice(&self) -> Guard<Option<Arc<Choice>>> {
        self.choice.load()
    }

    /// Who gets a call: of those that fit and were not tried yet the best, by its load among its equals, or one before it whose breaker has a
    /// permit.
    ///
    /// # Errors
    /// Nobody is left; when at the latest one of those may be called again whose breakers are not closed, if there are any.
    pub fn admit(
        &self,
        registry: &Registry,
        tried: &[Tried],
        fits: impl Fn(&Entry) -> bool,
    ) -> Result<Admitted, Option<Monotonic>> {
        let choice = self.choice();
        let choice = choice.as_ref().ok_or(None)?;
        let may =
            |candidate: &Candidate| fits(&candidate.entry) && !tried.iter().any(|tried| tried.is(candidate));
        let mut on_trial = choice.on_trial.iter().filter(|candidate| may(candidate));
        let mut retry_at = None;
        let leased = on_trial.find_map(|candidate| {
            let refused = |at: &Monotonic| retry_at = retry_at.into_iter().chain([*at]).min();
            let leased = Admitted::on_trial(candidate, registry);
            leased.inspect_err(refused).ok()
        });
        let serving = || {
            let drawn = choice.by_load().filter(|drawn| may(drawn));
            drawn.cloned().or_else(|| {
                let left: Vec<_> = choice.equals.iter().filter(|equal| may(equal)).collect();
                lighter_of_two(&left, random(), |equal| equal.load()).map(|equal| (*equal).clone())
            })
        };
        let is_overflow = tried.iter().any(|tried| tried.is_busy);
        let next = || {
            let ranked = lock(&self.ranked);
            let callable = ranked.callable.iter();
            let callable = callable.filter(|((kind, _), _)| !is_overflow || *kind != Kind::Down);
            callable.filter_map(|(_, placed)| placed.candidate()).find(may)
        };
        let mut admitted = match leased {
            Some(leased) => leased,
            None => Admitted::anyway(serving().or_else(next).ok_or(retry_at)?),
        };
        admitted.degraded = self.degraded(choice, &admitted.candidate, fits);
        Ok(admitted)
    }

    /// Why not the first choice, if this is another one: the first of those that fit.
    fn degraded(
        &self,
        choice: &Choice,
        candidate: &Candidate,
        fits: impl Fn(&Entry) -> bool,
    ) -> Option<Arc<str>> {
        let serves = choice.serving.as_ref();
        if choice.degraded.is_none()
            && serves.is_some_and(|serves| Arc::ptr_eq(&serves.entry, &candidate.entry))
        {
            return None;
        }
        let mut fitting = self.candidates.iter().map(|slot| slot.entry.load_full());
        let first = fitting.find(|entry| fits(entry))?;
        let is_equal = choice.degraded.is_none() && self.are_equal(&first, &candidate.entry);
        if first.name == candidate.entry.name || is_equal {
            return None;
        }
        let chosen = choice.degraded.clone();
        Some(chosen.unwrap_or_else(|| format!("{} was not to be called", first.name).into()))
    }

    /// Whether callers of one may as well call the other, where both are well.
    fn are_equal(&self, one: &Entry, other: &Entry) -> bool {
        one.config.priority == other.config.priority && are_of_one_class(one, other, &self.capability)
    }

    /// Whether it is the first choice, or an equal of that one, were all well.
    pub fn is_first_choice(&self, entry: &Entry) -> bool {
        let first = self.first();
        first.is_some_and(|first| first.name == entry.name || self.are_equal(&first, entry))
    }

    /// Whether a call may be retried within the budget; if so, it is counted as one.
    #[cold]
    pub fn take_retry(&self, routing: &Routing) -> bool {
        let calls = |slot: &Arc<Slot>| {
            let entry = slot.entry.load();
            let serving = entry.serving.as_ref();
            serving.map_or(0, |(instance, _)| instance.call_metrics().counts().ended)
        };
        let calls = self.candidates.iter().map(calls).sum();
        self.retries
            .take(calls, routing.config.retry_percent, clock::monotonic())
    }

    /// Whether a call that one has failed could go to another.
    pub fn has_others(&self) -> bool {
        self.candidates.len() > 1
    }

    /// Who would serve if all were well.
    pub fn first(&self) -> Option<Arc<Entry>> {
        self.candidates.first().map(|slot| slot.entry.load_full())
    }

    /// Whether who serves now stands in for this candidate: it comes after it.
    pub fn has_stand_in_for(&self, candidate: &Entry) -> bool {
        let choice = self.choice();
        let serving = choice.as_ref().and_then(|choice| choice.serving.as_ref());
        serving.is_some_and(|serving| order(&serving.entry) > order(candidate))
    }

    /// How many run, though none is to be called.
    pub fn running(&self) -> usize {
        let runs = |slot: &&Arc<Slot>| slot.entry.load().serving.is_some();
        self.candidates.iter().filter(runs).count()
    }

    /// A candidate is otherwise than before, or is about to be published as this entry. One caller at a time.
    pub(super) fn reconsider(&self, slot: &Arc<Slot>, entry: &Arc<Entry>) {
        let mut ranked = lock(&self.ranked);
        ranked.place(slot, entry, self.all_down);
        let choice = ranked.choose(&self.capability, self.slow);
        let chosen = self.choice.load();
        let stays = match (&*chosen, &choice) {
            (Some(before), Some(now)) => before.is_like(now),
            (before, now) => before.is_none() && now.is_none(),
        };
        if !stays {
            self.choice.store(choice.map(Arc::new));
        }
    }
}

impl Ranked {
    /// Puts it where it belongs now.
    fn place(&mut self, slot: &Arc<Slot>, entry: &Arc<Entry>, all_down: AllDown) {
        let (order, now) = (order(entry), slot.kind(entry, all_down));
        let placed = Placed {
            slot: slot.clone(),
            entry: entry.clone(),
        };
        for kind in KINDS {
            self.callable.remove(&(kind, order.clone()));
            self.trials.remove(&(kind, order.clone()));
        }
        if let Some(kind) = now {
            self.callable.insert((kind, order.clone()), placed.clone());
        }
        if let Some(first) = self.first.as_mut().filter(|first| Arc::ptr_eq(&first.slot, slot)) {
            first.entry = entry.clone();
        }
        if slot.may_be_tried(entry) {
            self.trials.insert((slot.fitness().kind(), order), placed);
        }
    }

    fn choose(&self, capability: &str, slow: Duration) -> Option<Choice> {
        let equals = self.equals(capability);
        let serving = equals.first().copied();
        let best = self.callable.first_key_value().map(|(called, _)| rank(called));
        // Only those that would be called before whoever serves, or beside it, are tried: callers don't pay for a standby. Where that one is bad
        // as well, all are.
        let is_tried = |tried: &(Kind, Order)| best.is_none_or(|best| rank(tried) <= best);
        let trials = self.trials.iter().filter(|(tried, _)| is_tried(tried));
        let trials = trials.filter_map(|(_, placed)| placed.candidate());
        let on_trial: Vec<_> = trials.take(ON_TRIAL_MAX).collect();
        let first = self.first.as_ref();
        let is_first = |placed: &Placed| first.is_some_and(|first| Arc::ptr_eq(&first.slot, &placed.slot));
        // The first choice may be one of several, and a degraded one is none as long as its equals are up.
        let first_choice = self.callable.values().next();
        let degraded = match serving {
            Some(serving) if is_first(serving) || first_choice.is_some_and(is_first) => None,
            _ => first.map(Placed::why_not),
        };
        let shared = || equals.iter().filter_map(|equal| equal.candidate()).collect();
        let is_plain =
            |placed: &Placed| placed.entry.config.limits.are_none() && placed.entry.beside.is_none();
        (serving.is_some() || !on_trial.is_empty()).then(|| Choice {
            health: serving.map_or(Health::Down, |placed| placed.slot.fitness().health),
            serving: serving.and_then(Placed::candidate),
            degraded,
            slow,
            is_settled: on_trial.is_empty() && equals.iter().copied().all(is_plain),
            equals: if equals.len() > 1 { shared() } else { Vec::new() },
            on_trial,
        })
    }

    /// The best one, and those that are as good. Of those that are down it is one alone.
    fn equals(&self, capability: &str) -> Vec<&Placed> {
        let Some((called, best)) = self.callable.first_key_value() else {
            return Vec::new();
        };
        if called.0 == Kind::Down {
            return vec![best];
        }
        let ranked = self.callable.range(called..);
        let ranked = ranked.take_while(|(other, _)| rank(other) == rank(called));
        let alike = ranked.take(EQUALS_MAX).map(|(_, placed)| placed);
        let alike: Vec<_> = alike
            .filter(|placed| are_of_one_class(&best.entry, &placed.entry, capability))
            .collect();
        let up = |placed: &&Placed| placed.slot.fitness().health == Health::Up;
        let are_up: Vec<_> = alike.iter().copied().filter(up).collect();
        if are_up.is_empty() { alike } else { are_up }
    }
}

fn rank((kind, (priority, _)): &(Kind, Order)) -> (Kind, Reverse<i32>) {
    (*kind, *priority)
}

/// Whether callers of one may as well call the other: what both declare of a capability is compatible.
fn are_of_one_class(one: &Entry, other: &Entry, capability: &str) -> bool {
    let [one, other] = [one, other].map(|entry| {
        let mut declared = entry.plugin.manifest().capabilities.iter();
        let declared = declared.find(|declared| declared.name == capability);
        declared.map(|declared| version_class(&declared.version))
    });
    one == other
}

/// Versions of one class are compatible, as Cargo has it: the first number that is not 0 is the same. A pre-release is compatible with itself alone.
fn version_class(version: &Version) -> (u64, u64, u64, &str) {
    let pre = version.pre.as_str();
    match (version.major, version.minor, version.patch) {
        (major, minor, patch) if !pre.is_empty() => (major, minor, patch, pre),
        (0, 0, patch) => (0, 0, patch, pre),
        (0, minor, _) => (0, minor, 0, pre),
        (major, _, _) => (major, 0, 0, pre),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_one_class_are_compatible() {
        let are = |one: &str, other: &str| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            version_class(&one) == version_class(&other)
        };
        for (one, other) in [("1.0.0", "1.9.3"), ("0.2.0", "0.2.9"), ("2.0.0-a", "2.0.0-a")] {
            assert!(are(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("1.0.0", "2.0.0"),
            ("0.2.0", "0.3.0"),
            ("0.0.1", "0.0.2"),
            ("2.0.0", "2.0.0-a"),
            ("2.0.0-a", "2.1.0-a"),
        ] {
            assert!(!are(one, other), "{one} {other}");
        }
    }

    #[test]
    fn retries_are_a_share_of_the_calls_and_one_a_second() {
        let (budget, begin) = (RetryBudget::new(), clock::monotonic());
        let taken = |calls, at| (0..1000).filter(|_| budget.take(calls, 10, at)).count();
        assert_eq!(taken(0, begin), RETRIES_FIRST as usize);
        assert_eq!(taken(200, begin), 20, "a tenth of two hundred calls");
        assert_eq!(taken(100, begin), 0, "an instance counts anew");
        assert_eq!(taken(100, begin.after(Duration::from_secs(3))), 3);
        assert_eq!(
            taken(1_000_000, begin),
            RETRIES_KEPT as usize,
            "no more is saved up"
        );
        assert!(!budget.take(2_000_000, 0, begin), "none are wanted");
    }
}
