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
use extman_model::clock::{self, Monotonic};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What becomes of a call where all who could serve it are down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllDown {
    /// It fails at once and reaches no plugin.
    Fail,
    /// The first that runs is called all the same: a verdict may be wrong, and whoever is down by its calls alone is seen to be well by
    /// nothing else.
    #[default]
    LeastBad,
}

/// An instance's place in the registry. What is published of it is swapped here; nobody else is touched by that.
pub(super) struct Slot {
    pub entry: ArcSwap<Entry>,
    /// What the instance is held to be, in the last two bits; whether only its calls say so, in the one before; and since when, in
    /// nanoseconds before them: whoever tells of it later and means an earlier moment changes nothing.
    health: AtomicU64,
    /// An operator works on it: it is called only where nobody else serves.
    maintenance: AtomicBool,
}

const WORDS: [Health; 4] = [Health::Unknown, Health::Up, Health::Degraded, Health::Down];

/// Candidates of one capability, and which of them serves.
pub struct Route {
    /// By priority, then by name.
    candidates: Vec<Arc<Slot>>,
    all_down: AllDown,
    choice: ArcSwapOption<Choice>,
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
    /// Who.
    pub serving: Candidate,
    /// What it is held to be.
    pub health: Health,
    rank: Rank,
    trial: Option<Trial>,
}

/// One that would be called first, and is down by its calls alone. Without calls it would stay down, so some go to it.
struct Trial {
    of: Candidate,
    calls: AtomicU64,
    /// The moment from which on the next call may go to it, in nanoseconds.
    due: AtomicU64,
}

/// Of so many calls one may be a trial.
const TRIAL_ONE_IN: u64 = 20;
/// No two trials are closer than this.
const TRIAL_EVERY: Duration = Duration::from_secs(5);

/// The least is chosen.
type Rank = (Kind, Order);
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

impl Slot {
    /// Of an instance of which nothing is known yet.
    pub(super) fn new(entry: Arc<Entry>) -> Self {
        Slot {
            maintenance: AtomicBool::new(entry.config.maintenance),
            entry: ArcSwap::new(entry),
            health: AtomicU64::new(0),
        }
    }

    /// A slot for what takes the place of this one's entry.
    pub(super) fn followed_by(&self, entry: Arc<Entry>) -> Self {
        Slot {
            entry: ArcSwap::new(entry),
            health: AtomicU64::new(self.health.load(Relaxed)),
            maintenance: AtomicBool::new(self.maintenance.load(Relaxed)),
        }
    }

    fn health(&self) -> Health {
        WORDS[(self.health.load(Relaxed) & 3) as usize]
    }

    /// Whether that is news. `by_calls`: nothing but its calls say that it is down.
    pub(super) fn learn(&self, health: Health, by_calls: bool, since: Monotonic) -> bool {
        let word = WORDS.iter().position(|word| *word == health).unwrap_or_default() as u64;
        let known = since.as_nanos() << 3 | u64::from(by_calls) << 2 | word;
        self.health.fetch_max(known, Relaxed) < known
    }

    /// Whether that is news.
    pub(super) fn maintain(&self, maintenance: bool) -> bool {
        self.maintenance.swap(maintenance, Relaxed) != maintenance
    }

    /// What serves if it is chosen; `None` if it can't be.
    fn as_choice(&self, all_down: AllDown) -> Option<Choice> {
        let entry = self.entry.load_full();
        let (instance, generation) = entry.serving.clone()?;
        let health = self.health();
        let kind = match health {
            Health::Down if all_down == AllDown::Fail => return None,
            Health::Down => Kind::Down,
            _ if self.maintenance.load(Relaxed) => Kind::InMaintenance,
            Health::Unknown => Kind::Unknown,
            Health::Up | Health::Degraded => Kind::Serves,
        };
        Some(Choice {
            health,
            rank: (kind, order(&entry)),
            serving: Candidate {
                entry,
                instance,
                generation,
            },
            trial: None,
        })
    }

    /// What may be tried, if nothing but calls says that it is down.
    fn as_trial(&self) -> Option<Trial> {
        let by_calls = self.health.load(Relaxed) & 4 != 0 && !self.maintenance.load(Relaxed);
        let entry = self.entry.load_full();
        let (instance, generation) = entry.serving.clone().filter(|_| by_calls)?;
        Some(Trial {
            of: Candidate {
                entry,
                instance,
                generation,
            },
            calls: AtomicU64::new(0),
            due: AtomicU64::new(clock::monotonic().after(TRIAL_EVERY).as_nanos()),
        })
    }
}

fn order(entry: &Entry) -> Order {
    (Reverse(entry.config.priority), entry.name.clone())
}

impl Choice {
    /// Who is called in its place this once, to see whether it is well again.
    pub fn trial(&self) -> Option<Candidate> {
        let trial = self.trial.as_ref()?;
        let calls = trial.calls.fetch_add(1, Relaxed) + 1;
        let due = trial.due.load(Relaxed);
        let now = clock::monotonic();
        let next = now.after(TRIAL_EVERY).as_nanos();
        let is_due = calls.is_multiple_of(TRIAL_ONE_IN) && now.as_nanos() >= due;
        let is_this_one = is_due && trial.due.compare_exchange(due, next, Relaxed, Relaxed).is_ok();
        is_this_one.then(|| trial.of.clone())
    }
}

impl Route {
    /// Among these, of which one is chosen.
    pub(super) fn new(mut candidates: Vec<Arc<Slot>>, all_down: AllDown) -> Self {
        candidates.sort_by_cached_key(|slot| order(&slot.entry.load()));
        let route = Route {
            candidates,
            all_down,
            choice: ArcSwapOption::empty(),
        };
        route.choose();
        route
    }

    pub(super) fn candidates(&self) -> &[Arc<Slot>] {
        &self.candidates
    }

    /// Who serves now; `None` if nobody does.
    #[inline]
    pub fn choice(&self) -> Guard<Option<Arc<Choice>>> {
        self.choice.load()
    }

    /// Who would serve if all were well.
    pub fn first(&self) -> Option<Arc<Entry>> {
        self.candidates.first().map(|slot| slot.entry.load_full())
    }

    /// How many run, though none is to be called.
    pub fn running(&self) -> usize {
        let runs = |slot: &&Arc<Slot>| slot.entry.load().serving.is_some();
        self.candidates.iter().filter(runs).count()
    }

    /// A candidate is otherwise than before. One caller at a time.
    pub(super) fn reconsider(&self, slot: &Slot) {
        let chosen = self.choice.load();
        let Some(chosen) = &*chosen else {
            return self.choose();
        };
        // One that comes after the chosen one changes nothing, unless it is better.
        let is_at_front = order(&slot.entry.load()) <= chosen.rank.1;
        let is_better = || {
            let changed = slot.as_choice(self.all_down);
            changed.is_some_and(|changed| changed.rank < chosen.rank)
        };
        if is_at_front || is_better() {
            self.choose();
        }
    }

    /// Looks at all of them, up to one that nobody is better than.
    fn choose(&self) {
        let (mut best, mut trial): (Option<Choice>, Option<Trial>) = (None, None);
        for slot in &self.candidates {
            let candidate = slot.as_choice(self.all_down);
            trial = trial.or_else(|| slot.as_trial());
            if let Some(candidate) = candidate
                && best.as_ref().is_none_or(|best| candidate.rank < best.rank)
            {
                let serves = candidate.rank.0 == Kind::Serves;
                best = Some(candidate);
                if serves {
                    break;
                }
            }
        }
        // One that is down itself is called anyway.
        let best = best.map(|best| match best.rank.0 {
            Kind::Serves => Choice { trial, ..best },
            _ => best,
        });
        self.choice.store(best.map(Arc::new));
    }
}
