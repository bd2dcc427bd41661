//! Unloading a module, as often as it takes.

use super::closing::{CloseOutcome, Closer};
use super::{Held, Module, ModuleBudgets};
use crate::lanes::Pool;
use crate::loader::NotClosed;
use crate::sync::lock;
use extman_model::clock;
use extman_model::{ResidentReason, Verdict};
use extman_plugin_api::manifest::schema::Unload;
use std::sync::Arc;
use std::time::Duration;

impl Module {
    /// Unloads the module and says what came of it. No instance may be left. What a call, an instance or a thread held
    /// can be unloaded again once that is gone, and a close that did not return is looked at again; the verdict of what was closed stays as
    /// it is.
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
        let _one_at_a_time = lock(&self.unloading);
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
        let closer = Closer {
            name: &self.name,
            stack_bytes: self.pool.stack_bytes(),
            budgets,
        };
        let ended = match self.take() {
            Ok(Held::Mapped(mapped)) if self.manifest.plugin.unload == Unload::Never => {
                // It stays for the life of the process, and so must the name of its sealed memory stay taken.
                std::mem::forget(mapped);
                CloseOutcome::Closed(Verdict::resident(
                    ResidentReason::AskedToStay,
                    "unload = \"never\"",
                ))
            }
            Ok(Held::Mapped(mapped)) => closer.close(mapped),
            Ok(Held::Closing(closing)) => closer.again(closing),
            Ok(_) => return Verdict::Unmapped,
            Err(verdict) => return verdict,
        };
        let (held, verdict) = match ended {
            CloseOutcome::Closed(verdict) => (Held::Closed(verdict.clone()), verdict),
            CloseOutcome::NotClosed(NotClosed { verdict, mapped }) => (Held::Mapped(mapped), verdict),
            CloseOutcome::Hangs(closing, verdict) => (Held::Closing(closing), verdict),
        };
        *self.held() = held;
        verdict
    }

    /// What is mapped, with nobody else holding it, or what has begun to be closed; anything else if no lane has come to map anything.
    fn take(&self) -> Result<Held, Verdict> {
        let mut held = self.held();
        match std::mem::replace(&mut *held, Held::Closed(Verdict::Unmapped)) {
            Held::Loaded(library) => match Arc::try_unwrap(library) {
                Ok(library) => Ok(Held::Mapped(Box::new(library.into_mapped()))),
                Err(library) => {
                    *held = Held::Loaded(library);
                    let text = "an instance still holds it";
                    Err(Verdict::resident(ResidentReason::InstanceAlive, text))
                }
            },
            other => Ok(other),
        }
    }

    /// All lanes that are the module's alone.
    pub(super) fn pools(&self) -> Vec<Pool> {
        let own = lock(&self.own);
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
        Ok(())
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
