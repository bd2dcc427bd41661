//! Who serves a call of a capability. It is chosen whenever the candidates, a life or a health change, so that a call only reads the choice.
//!
//! ```text
//!   up, degraded ─▶ nothing known ─▶ in maintenance ─▶ down, by `AllDown`      the first kind of which any runs;
//!                                                                              in each kind by priority, then by name
//! ```

use super::Entry;
use crate::instance::Instance;
use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use extman_model::Health;
use extman_model::clock;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// What the instance is held to be, in the last two bits; whether only its calls say so, in the one before.
    health: AtomicU8,
    /// An operator works on it: it is called only where nobody else serves.
    maintenance: AtomicBool,
}

const WORDS: [Health; 4] = [Health::Unknown, Health::Up, Health::Degraded, Health::Down];

/// Candidates of one capability, and which of them serves.
pub struct Route {
    /// By priority, then by name.
    candidates: Vec<Arc<Slot>>,
    all_down: AllDown,
    ranked: Mutex<Ranked>,
    choice: ArcSwapOption<Choice>,
}

/// Candidates that may be called, by what they are held to be: a change of one among thousands looks at none of the others.
#[derive(Default)]
struct Ranked {
    by_kind: [BTreeMap<Order, Placed>; KINDS.len()],
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

/// One that would be called first, or that alone runs, and is down by its calls alone. Without calls it would stay down, so some go to it.
struct Trial {
    of: Candidate,
    calls: AtomicU64,
    /// The moment from which on the next call may go to it, in nanoseconds.
    due: AtomicU64,
}

/// Of so many calls one may be a trial, where somebody else serves: else it would fail anyway.
const TRIAL_ONE_IN: u64 = 20;
/// No two trials are closer than this.
const TRIAL_EVERY: Duration = Duration::from_secs(5);

/// By priority, then by name.
type Order = (Reverse<i32>, Arc<str>);

/// The best first.
const KINDS: [Kind; 4] = [Kind::Serves, Kind::Unknown, Kind::InMaintenance, Kind::Down];

/// How good a candidate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Serves,
    Unknown,
    InMaintenance,
    Down,
}

impl Slot {
    /// Of an instance of which nothing is known yet.
    pub(super) fn new(entry: Arc<Entry>) -> Self {
        Slot {
            maintenance: AtomicBool::new(entry.config.maintenance),
            entry: ArcSwap::new(entry),
            health: AtomicU8::new(0),
        }
    }

    /// A slot for what takes the place of this one's entry.
    pub(super) fn followed_by(&self, entry: Arc<Entry>) -> Self {
        Slot {
            entry: ArcSwap::new(entry),
            health: AtomicU8::new(self.health.load(Relaxed)),
            maintenance: AtomicBool::new(self.maintenance.load(Relaxed)),
        }
    }

    fn health(&self) -> Health {
        WORDS[(self.health.load(Relaxed) & 3) as usize]
    }

    /// Whether that is news. `by_calls`: nothing but its calls say that it is down.
    pub(super) fn learn(&self, health: Health, by_calls: bool) -> bool {
        let word = WORDS.iter().position(|word| *word == health).unwrap_or_default() as u8;
        let known = u8::from(by_calls) << 2 | word;
        self.health.swap(known, Relaxed) != known
    }

    /// Whether that is news.
    pub(super) fn maintain(&self, maintenance: bool) -> bool {
        self.maintenance.swap(maintenance, Relaxed) != maintenance
    }

    /// How good it is; `None` if it can't be chosen.
    fn kind(&self, entry: &Entry, all_down: AllDown) -> Option<Kind> {
        entry.serving.as_ref()?;
        match self.health() {
            Health::Down if all_down == AllDown::Fail => None,
            Health::Down => Some(Kind::Down),
            _ if self.maintenance.load(Relaxed) => Some(Kind::InMaintenance),
            Health::Unknown => Some(Kind::Unknown),
            Health::Up | Health::Degraded => Some(Kind::Serves),
        }
    }

    /// Whether it runs, and nothing but its calls says that it is down.
    fn may_be_tried(&self, entry: &Entry) -> bool {
        let by_calls = self.health.load(Relaxed) & 4 != 0 && !self.maintenance.load(Relaxed);
        by_calls && entry.serving.is_some()
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
    fn new(of: Candidate) -> Self {
        Trial {
            of,
            calls: AtomicU64::new(0),
            due: AtomicU64::new(clock::monotonic().after(TRIAL_EVERY).as_nanos()),
        }
    }
}

impl Choice {
    /// Whether it says the same, so that it stays, with the count of its trials.
    fn is_like(&self, other: &Choice) -> bool {
        let tried = |choice: &Choice| choice.trial.as_ref().map(|trial| Arc::as_ptr(&trial.of.entry));
        let serving = |choice: &Choice| choice.serving.as_ref().map(|serving| Arc::as_ptr(&serving.entry));
        serving(self) == serving(other) && self.health == other.health && tried(self) == tried(other)
    }

    /// Who is called in its place this once, to see whether it is well again.
    #[inline]
    pub fn trial(&self) -> Option<Candidate> {
        self.trial
            .as_ref()
            .and_then(|trial| trial.next(self.serving.is_none()))
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
    /// Whether the call under way is one. `is_alone`: nobody else would serve it.
    #[cold]
    fn next(&self, is_alone: bool) -> Option<Candidate> {
        let calls = self.calls.fetch_add(1, Relaxed) + 1;
        let due = self.due.load(Relaxed);
        let now = clock::monotonic();
        let next = now.after(TRIAL_EVERY).as_nanos();
        let is_due = (is_alone || calls.is_multiple_of(TRIAL_ONE_IN)) && now.as_nanos() >= due;
        let is_this_one = is_due && self.due.compare_exchange(due, next, Relaxed, Relaxed).is_ok();
        is_this_one.then(|| self.of.clone())
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
        let ranked = self.ranked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut best_first = ranked.by_kind.iter().flat_map(BTreeMap::values);
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
        let mut ranked = self.ranked.lock().unwrap_or_else(PoisonError::into_inner);
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
        for (kind, of_kind) in KINDS.iter().zip(&mut self.by_kind) {
            if now == Some(*kind) {
                of_kind.insert(order.clone(), placed.clone());
            } else {
                of_kind.remove(&order);
            }
        }
        if slot.may_be_tried(entry) {
            self.trials.insert(order, placed);
        } else {
            self.trials.remove(&order);
        }
    }

    fn choose(&self) -> Option<Choice> {
        let firsts = KINDS.iter().zip(&self.by_kind);
        let first = firsts
            .filter_map(|(kind, of_kind)| Some((kind, of_kind.first_key_value()?)))
            .next();
        // Only one that would be called first is tried, and only where the other is not down itself.
        let is_tried =
            |tried: &Order| first.is_none_or(|(kind, (order, _))| *kind != Kind::Down && tried < order);
        let tried = self.trials.first_key_value().filter(|(tried, _)| is_tried(tried));
        let trial = tried.and_then(|(_, placed)| placed.candidate()).map(Trial::new);
        let serving = first.map(|(_, (_, placed))| placed);
        (serving.is_some() || trial.is_some()).then(|| Choice {
            health: serving.map_or(Health::Down, |placed| placed.slot.health()),
            serving: serving.and_then(Placed::candidate),
            trial,
        })
    }
}
