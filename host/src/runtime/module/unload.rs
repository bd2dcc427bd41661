//! Unloading a module, as often as it takes.

use super::{Held, Module, ModuleBudgets};
use crate::clock;
use crate::model::{ResidentReason, Verdict};
use crate::runtime::lanes::{LaneObserver, Phase, Pool, PoolLimits, Work};
use crate::runtime::loader::{Mapped, NotClosed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

impl Module {
    /// Unloads the module and says what came of it. No instance may be left. What a call, an instance or a thread held
    /// can be unloaded again once that is gone; the verdict of what was closed stays as it is.
    pub async fn unload(self: Arc<Self>, budgets: ModuleBudgets) -> Verdict {
        // A constructor that hangs holds the dynamic loader's lock, and a new thread may come to wait for that.
        if let Some(culprit) = self.wedged() {
            return Verdict::resident(ResidentReason::WedgedCall, culprit);
        }
        // Waits for threads, so not on one of the async runtime's own.
        let unloading = tokio::task::spawn_blocking(move || self.unload_blocking(budgets));
        unloading
            .await
            .unwrap_or_else(|error| Verdict::resident(ResidentReason::CloseHangs, error.to_string()))
    }

    /// Whether a later [`unload`](Self::unload) may come to another verdict.
    pub fn is_held(&self) -> bool {
        !matches!(&*self.held(), Held::Closed(_))
    }

    fn unload_blocking(&self, budgets: ModuleBudgets) -> Verdict {
        let _one_at_a_time = self.unloading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Held::Closed(verdict) = &*self.held() {
            return verdict.clone();
        }
        // While any of these holds it, its lanes go on: what is left is to be destroyed on them, and the unload tried again.
        if let Some(culprit) = self.wedged() {
            return Verdict::resident(ResidentReason::WedgedCall, culprit);
        }
        if let Some(thread) = self.attached.living() {
            return Verdict::resident(ResidentReason::AttachedThread, thread);
        }
        if !self.is_alone(budgets.settle) {
            return match self.pools().iter().find_map(Pool::busy) {
                Some(culprit) => Verdict::resident(ResidentReason::WedgedCall, culprit),
                None => Verdict::resident(
                    ResidentReason::InstanceAlive,
                    "an instance still holds it; destroy it, then unload again",
                ),
            };
        }
        if let Err(lane) = self.end_lanes(budgets.settle) {
            return match self.wedged() {
                Some(culprit) => Verdict::resident(ResidentReason::WedgedCall, culprit),
                None => Verdict::resident(ResidentReason::LaneNotEnded, lane),
            };
        }
        let mapped = match self.take() {
            Ok(Some(mapped)) => mapped,
            Ok(None) => return Verdict::Unmapped,
            Err(verdict) => return verdict,
        };
        match close(mapped, &self.name, budgets) {
            Ok(verdict) => {
                *self.held() = Held::Closed(verdict.clone());
                verdict
            }
            Err(NotClosed { verdict, mapped }) => {
                *self.held() = Held::Mapped(mapped);
                verdict
            }
        }
    }

    /// What is mapped, with nobody else holding it; nothing if no lane has come to map anything.
    fn take(&self) -> Result<Option<Box<Mapped>>, Verdict> {
        let mut held = self.held();
        match std::mem::replace(&mut *held, Held::Closed(Verdict::Unmapped)) {
            Held::Opening | Held::Closed(_) => Ok(None),
            Held::Mapped(mapped) => Ok(Some(mapped)),
            Held::Loaded(library) => match Arc::try_unwrap(library) {
                Ok(library) => Ok(Some(Box::new(library.into_mapped()))),
                Err(library) => {
                    *held = Held::Loaded(library);
                    let text = "an instance still holds it";
                    Err(Verdict::resident(ResidentReason::InstanceAlive, text))
                }
            },
        }
    }

    /// All lanes that are the module's alone.
    pub(super) fn pools(&self) -> Vec<Pool> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&self.pool).chain(own.iter()).cloned().collect()
    }

    /// What a lost lane that has not come back is in.
    fn wedged(&self) -> Option<String> {
        self.pools().iter().find_map(Pool::wedged)
    }

    fn end_lanes(&self, patience: Duration) -> Result<(), String> {
        for pool in self.pools() {
            pool.shutdown(patience)?;
        }
        self.shared.rounds.rotate(self.generation, patience)?;
        self.shared.suspects.rotate(self.generation, patience)?;
        self.shared.deep.rotate(self.generation, patience)
    }

    /// Whether nobody else holds the library, once what is just ending has let go of it.
    fn is_alone(&self, patience: Duration) -> bool {
        let give_up = clock::monotonic().after(patience);
        let shared = || matches!(&*self.held(), Held::Loaded(library) if Arc::strong_count(library) > 1);
        while shared() {
            if clock::monotonic() >= give_up {
                return false;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        true
    }
}

/// Closes on a thread that ends right after it, and looks from another one: the closing thread's own thread-locals may be the last
/// thing that holds the library.
fn close(mapped: Box<Mapped>, name: &str, budgets: ModuleBudgets) -> Result<Verdict, NotClosed> {
    let settle = budgets.settle;
    // What is just ending has its own time, before the finalisers have theirs.
    let patience = settle.saturating_add(budgets.close);
    let closed = match run_and_join(&format!("x-close-{name}"), patience, move || mapped.close(settle)) {
        None => {
            return Ok(Verdict::resident(
                ResidentReason::CloseHangs,
                "a finaliser or a thread-local destructor",
            ));
        }
        Some(closed) => closed?,
    };
    let verdict = run_and_join(&format!("x-look-{name}"), budgets.close, move || closed.verdict());
    Ok(verdict.unwrap_or_else(|| Verdict::resident(ResidentReason::CloseHangs, "a deferred finaliser")))
}

/// Runs on a new thread and waits until that thread is gone, thread-local destructors included. `None` if it is not in time.
fn run_and_join<T: Send + 'static>(
    name: &str,
    patience: Duration,
    run: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let limits = PoolLimits {
        lanes_max: 1,
        queue_max: 1,
        lost_max: 1,
        ..PoolLimits::default()
    };
    let pool = Pool::new(name, limits, Arc::new(Unobserved));
    let reply = Arc::new(Reply::default());
    let work = Work {
        subject: name.into(),
        generation: 0,
        phase: Phase::Close,
        deadline: clock::monotonic().after(patience),
        wedge_after: Duration::ZERO,
    };
    let replying = reply.clone();
    let answer = move |value| replying.give(value);
    pool.submit_urgent(work, move |_| run(), answer).ok()?;
    let value = reply.take_within(patience)?;
    pool.shutdown(patience).ok()?;
    Some(value)
}

/// One value from one thread to another. Not a channel: the first wait for one makes a thread-local with a destructor, for which glibc
/// takes the dynamic loader's lock, and a finaliser that hangs holds that.
struct Reply<T> {
    value: Mutex<Option<T>>,
    given: Condvar,
}

impl<T> Default for Reply<T> {
    fn default() -> Self {
        Reply {
            value: Mutex::new(None),
            given: Condvar::new(),
        }
    }
}

impl<T> Reply<T> {
    fn give(&self, value: T) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        self.given.notify_one();
    }

    fn take_within(&self, patience: Duration) -> Option<T> {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .given
            .wait_timeout_while(value, patience, |value| value.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

struct Unobserved;

impl LaneObserver for Unobserved {
    fn lost(&self, _: &Work, _: Duration) {}
    fn returned_late(&self, _: &Work, _: Duration) {}
}
