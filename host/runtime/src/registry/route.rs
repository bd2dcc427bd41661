//! Who serves a call of a capability. It is chosen whenever the candidates, a life or a health change, so that a call only reads the choice.
//!
//! ```text
//!   up, degraded ─▶ nothing known ─▶ in maintenance ─▶ down, by `AllDown`      the first kind of which any runs;
//!                                                                              in each kind by priority, then by name
//! ```

use super::Entry;
use crate::instance::Instance;
use crate::sync::lock;
use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use extman_model::Health;
use extman_model::clock;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What becomes of a call where all who could serve it are down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllDown {
    /// It fails at once and reaches no plugin; but now and then one shows whether an instance is well again that nothing but its calls say to
    /// be down.
    Fail,
    /// The first that runs is called all the same: a verdict may be wrong, and whoever is down by its calls alone is seen to be well by
    /// nothing else.
    #[default]
    LeastBad,
}

/// An instance's place in the registry. What is published of it is swapped here; nobody else is touched by that.
pub(super) struct Slot {
    pub entry: ArcSwap<Entry>,
    fitness: Mutex<Fitness>,
}

/// What decides, beside its entry, whether an instance is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fitness {
    pub health: Health,
    /// Nothing but its calls says that it is down.
    pub by_calls: bool,
    /// An operator works on it: it is called only where nobody else serves.
    pub maintenance: bool,
}

/// Candidates of one capability, and which of them serves.
pub struct Route {
    /// By priority, then by name.
    candidates: Vec<Arc<Slot>>,
    all_down: AllDown,
    ranked: Mutex<Ranked>,
    choice: ArcSwapOption<Choice>,
}

/// Candidates that may be called, the best first: a change of one among thousands looks at none of the others.
#[derive(Default)]
struct Ranked {
    callable: BTreeMap<(Kind, Order), Placed>,
    /// Those that nothing but their calls say to be down.
    trials: BTreeMap<Order, Placed>,
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
    /// Who; `None` where all are down and a call fails, but for those that are trials.
    pub serving: Option<Candidate>,
    /// What it is held to be.
    pub health: Health,
    trial: Option<Trial>,
}

/// Some that are down by their calls alone. Without calls they would stay down, so some go to them, in turn.
struct Trial {
    of: Vec<Candidate>,
    turn: AtomicUsize,
    calls: AtomicU64,
    /// The moment from which on the next call may go to it, in nanoseconds.
    due: AtomicU64,
}

/// Of so many calls one may be a trial, where somebody else serves: else it would fail anyway.
const TRIAL_ONE_IN: u64 = 20;
/// No two trials are closer than this.
const TRIAL_EVERY: Duration = Duration::from_secs(5);

/// So many take turns.
const TRIED_MAX: usize = 8;

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

    fn fitness(&self) -> Fitness {
        *lock(&self.fitness)
    }

    /// Whether that is news.
    pub(super) fn change(&self, change: impl FnOnce(&mut Fitness)) -> bool {
        let mut fitness = lock(&self.fitness);
        let before = *fitness;
        change(&mut fitness);
        *fitness != before
    }

    /// How good it is; `None` if it can't be chosen.
    fn kind(&self, entry: &Entry, all_down: AllDown) -> Option<Kind> {
        entry.serving.as_ref()?;
        let fitness = self.fitness();
        match fitness.health {
            Health::Down if all_down == AllDown::Fail => None,
            Health::Down => Some(Kind::Down),
            _ if fitness.maintenance => Some(Kind::InMaintenance),
            Health::Unknown => Some(Kind::Unknown),
            Health::Up | Health::Degraded => Some(Kind::Serves),
        }
    }

    /// Whether it runs, and nothing but its calls says that it is down.
    fn may_be_tried(&self, entry: &Entry) -> bool {
        let fitness = self.fitness();
        fitness.by_calls && !fitness.maintenance && entry.serving.is_some()
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
}

fn order(entry: &Entry) -> Order {
    (Reverse(entry.config.priority), entry.name.clone())
}

impl Trial {
    fn new(of: Vec<Candidate>) -> Self {
        Trial {
            of,
            turn: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            due: AtomicU64::new(clock::monotonic().after(TRIAL_EVERY).as_nanos()),
        }
    }
}

impl Choice {
    /// Whether it says the same, so that it stays, with the count of its trials.
    fn is_like(&self, other: &Choice) -> bool {
        let entries = |trial: &Trial| {
            trial
                .of
                .iter()
                .map(|of| Arc::as_ptr(&of.entry))
                .collect::<Vec<_>>()
        };
        let tried = |choice: &Choice| choice.trial.as_ref().map(entries);
        let serving = |choice: &Choice| choice.serving.as_ref().map(|serving| Arc::as_ptr(&serving.entry));
        serving(self) == serving(other) && self.health == other.health && tried(self) == tried(other)
    }

    /// Who is called in its place this once, to see whether it is well again.
    #[inline]
    pub fn trial(&self) -> Option<Candidate> {
        self.trial
            .as_ref()
            .and_then(|trial| trial.next(self.health == Health::Down))
    }

    /// The call that was the trial never came to the plugin: another one may be it at once.
    #[cold]
    pub fn put_off_trial(&self) {
        if let Some(trial) = &self.trial {
            trial.due.store(clock::monotonic().as_nanos(), Relaxed);
        }
    }
}

impl Trial {
    /// Whether the call under way is one, and of whom. `all_down`: nobody else would serve it well.
    #[cold]
    fn next(&self, all_down: bool) -> Option<Candidate> {
        let calls = self.calls.fetch_add(1, Relaxed) + 1;
        let due = self.due.load(Relaxed);
        let now = clock::monotonic();
        let next = now.after(TRIAL_EVERY).as_nanos();
        let is_due = (all_down || calls.is_multiple_of(TRIAL_ONE_IN)) && now.as_nanos() >= due;
        let is_this_one = is_due && self.due.compare_exchange(due, next, Relaxed, Relaxed).is_ok();
        let turn = || self.turn.fetch_add(1, Relaxed) % self.of.len();
        is_this_one.then(|| self.of[turn()].clone())
    }
}

impl Route {
    /// Among these, of which one is chosen.
    pub(super) fn new(mut candidates: Vec<Arc<Slot>>, all_down: AllDown) -> Self {
        candidates.sort_by_cached_key(|slot| order(&slot.entry.load()));
        let mut ranked = Ranked::default();
        for slot in &candidates {
            ranked.place(slot, &slot.entry.load(), all_down);
        }
        Route {
            choice: ArcSwapOption::new(ranked.choose().map(Arc::new)),
            candidates,
            all_down,
            ranked: Mutex::new(ranked),
        }
    }

    pub(super) fn candidates(&self) -> &[Arc<Slot>] {
        &self.candidates
    }

    /// Who serves now; `None` if nobody does, nor may be tried.
    #[inline]
    pub fn choice(&self) -> Guard<Option<Arc<Choice>>> {
        self.choice.load()
    }

    /// Who serves now of those that fit; `None` if nobody of them does.
    pub fn choose_among(&self, fits: impl Fn(&Entry) -> bool) -> Option<Candidate> {
        let choice = self.choice();
        let serving = choice.as_ref().and_then(|choice| choice.serving.clone());
        if let Some(serving) = serving.filter(|serving| fits(&serving.entry)) {
            return Some(serving);
        }
        let ranked = lock(&self.ranked);
        let mut best_first = ranked.callable.values();
        best_first
            .find(|placed| fits(&placed.entry))
            .and_then(Placed::candidate)
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
        let choice = ranked.choose();
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
        }
        if let Some(kind) = now {
            self.callable.insert((kind, order.clone()), placed.clone());
        }
        if slot.may_be_tried(entry) {
            self.trials.insert(order, placed);
        } else {
            self.trials.remove(&order);
        }
    }

    fn choose(&self) -> Option<Choice> {
        let first = self.callable.first_key_value();
        // Where somebody serves well, only those that would be called before are tried: callers don't pay for a standby. Where whoever
        // is called is down as well, all others are.
        let is_tried = |tried: &Order| {
            first.is_none_or(|((kind, order), _)| match kind {
                Kind::Down => tried != order,
                _ => tried < order,
            })
        };
        let tried = self
            .trials
            .iter()
            .take(TRIED_MAX)
            .filter(|(tried, _)| is_tried(tried));
        let tried: Vec<_> = tried.filter_map(|(_, placed)| placed.candidate()).collect();
        let trial = (!tried.is_empty()).then(|| Trial::new(tried));
        let serving = first.map(|(_, placed)| placed);
        (serving.is_some() || trial.is_some()).then(|| Choice {
            health: serving.map_or(Health::Down, |placed| placed.slot.fitness().health),
            serving: serving.and_then(Placed::candidate),
            trial,
        })
    }
}
