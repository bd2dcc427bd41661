//! The long step from a running instance to a library that is gone, and what is left to be tried again when something holds it. The
//! way there is in `start`.

use super::stage::Condition;
use super::start::{Running, Services};
use crate::instance::{CallMetrics, Instance};
use crate::loader::Step;
use crate::module::{Module, ModuleBudgets};
use extman_model::clock;
use extman_model::{CallError, ErrorKind, ResidentReason, Verdict};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// For what is just ending, where something has held the library before.
const SETTLE_AGAIN: Duration = Duration::from_millis(50);

/// What came of stopping a generation of an instance.
pub struct Stopped {
    /// Which load it was of.
    pub generation: u64,
    /// What went wrong on the way.
    pub complaints: Vec<Complaint>,
    /// What became of the library; nothing if other instances use it.
    pub unload: Option<Unload>,
    /// Its calls, if it has served.
    pub metrics: Option<Arc<CallMetrics>>,
}

/// What became of a library.
pub struct Unload {
    /// Which load it was.
    pub generation: u64,
    /// What became of it.
    pub verdict: Verdict,
    /// What is to be tried again when its reason may be gone.
    pub left: Option<Box<PendingUnload>>,
}

/// A step of stopping that failed.
#[derive(Debug, Clone)]
pub struct Complaint {
    /// Which.
    pub step: &'static str,
    /// What it said.
    pub text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.step, self.text)
    }
}

/// What is still there of an instance that ends: itself, until it is destroyed, and its module, until that is unloaded.
pub struct PendingUnload {
    undestroyed: Option<Undestroyed>,
    module: Arc<Module>,
    /// Whether it is counted among the users of the module.
    joined: bool,
    again: bool,
}

/// An instance that is to be destroyed.
struct Undestroyed {
    instance: Arc<Instance>,
    patience: Duration,
    stop_due: bool,
    /// It serves no more, and what it says against its steps is known already.
    failed: bool,
}

impl PendingUnload {
    /// Of an instance that could not be made.
    pub(super) fn of_module(module: Arc<Module>) -> Self {
        PendingUnload {
            undestroyed: None,
            module,
            joined: true,
            again: false,
        }
    }

    /// Of a module that could not be loaded.
    pub(super) fn never_loaded(module: Arc<Module>) -> Self {
        PendingUnload {
            joined: false,
            ..PendingUnload::of_module(module)
        }
    }

    /// Of an instance that never started: there is nothing to drain or stop.
    pub(super) fn never_started(running: Running) -> Self {
        PendingUnload::undestroyed(running, false, Condition::Well)
    }

    fn undestroyed(running: Running, stop_due: bool, condition: Condition) -> Self {
        PendingUnload {
            undestroyed: Some(Undestroyed {
                instance: running.instance,
                patience: running.stop_budget,
                stop_due,
                failed: condition != Condition::Well,
            }),
            ..PendingUnload::of_module(running.module)
        }
    }

    /// As what became of it, to be tried again if that may help.
    pub(super) fn kept(mut self, verdict: Verdict) -> Unload {
        self.again = true;
        let hopeless = matches!(
            verdict,
            Verdict::Resident {
                reason: ResidentReason::NotInterposed,
                ..
            }
        );
        let may_go = self.undestroyed.is_some() || self.module.is_held();
        Unload {
            generation: self.module.generation(),
            left: (!verdict.is_unmapped() && may_go && !hopeless).then(|| Box::new(self)),
            verdict,
        }
    }
}

/// Drains, stops and frees an instance; the last one of its module has the library unloaded.
pub(super) async fn stop(services: &Services, running: Running, condition: Condition) -> Stopped {
    running.instance.close();
    let metrics = running.instance.call_metrics().clone();
    let is_called = condition != Condition::Panicked;
    let drained = match is_called {
        true => running.instance.step(Step::Drain).await,
        false => Ok(()),
    };
    let mut pending = PendingUnload::undestroyed(running, is_called, condition);
    let mut complaints = Vec::new();
    if let Some(undestroyed) = &mut pending.undestroyed {
        undestroyed.note("drain", drained, &mut complaints);
    }
    let mut stopped = free(services, pending).await;
    complaints.append(&mut stopped.complaints);
    Stopped {
        complaints,
        metrics: Some(metrics),
        ..stopped
    }
}

/// Frees what is left of an instance, and of its module if nobody else uses it.
pub(super) async fn free(services: &Services, mut pending: PendingUnload) -> Stopped {
    let mut stopped = Stopped {
        generation: pending.module.generation(),
        complaints: Vec::new(),
        unload: None,
        metrics: None,
    };
    if let Some(undestroyed) = &mut pending.undestroyed {
        if let Err(verdict) = undestroyed.free(pending.again, &mut stopped.complaints).await {
            // It goes on being used, so nobody leaves it; but new instances get a generation of their own.
            services.modules.no_longer_share(&pending.module);
            stopped.unload = Some(pending.kept(verdict));
            return stopped;
        }
        pending.undestroyed = None;
    }
    if std::mem::take(&mut pending.joined) && !services.modules.leave(&pending.module) {
        return stopped;
    }
    let mut budgets = services.budgets;
    if pending.again {
        budgets = ModuleBudgets {
            settle: SETTLE_AGAIN.min(budgets.settle),
            ..budgets
        };
    }
    let verdict = pending.module.clone().unload(budgets).await;
    stopped.unload = Some(pending.kept(verdict));
    stopped
}

impl Undestroyed {
    /// Stops it if that is due, and destroys it, once nothing is inside.
    async fn free(&mut self, again: bool, complaints: &mut Vec<Complaint>) -> Result<(), Verdict> {
        let patience = if again { SETTLE_AGAIN } else { self.patience };
        // Neither `stop` nor `destroy` may overlap a call, and a call whose caller was answered by deadline may still be inside.
        self.quiet(patience).await?;
        if std::mem::take(&mut self.stop_due) {
            let stopped = self.instance.step(Step::Stop).await;
            self.note("stop", stopped, complaints);
            self.quiet(self.patience).await?;
        }
        let destroyed = self.instance.destroy().await;
        if let Ok(Some(complaint)) = &destroyed {
            complaints.push(Complaint {
                step: "destroy",
                text: complaint.to_string(),
            });
        }
        destroyed.map(drop).map_err(|error| {
            let reason = match error.kind {
                ErrorKind::DeadlineExceeded | ErrorKind::NotServing => ResidentReason::WedgedCall,
                _ => ResidentReason::InstanceAlive,
            };
            let verdict = Verdict::resident(reason, error.text.clone());
            self.note("destroy", Err(error), complaints);
            verdict
        })
    }

    fn note(&mut self, step: &'static str, came_to: Result<(), CallError>, complaints: &mut Vec<Complaint>) {
        let Err(error) = came_to else { return };
        tracing::warn!(plugin = self.instance.name(), step, error = %error, "stopping goes on");
        if !self.failed {
            complaints.push(Complaint {
                step,
                text: error.to_string(),
            });
        }
        if error.kind == ErrorKind::Panicked {
            self.failed = true;
            // Nothing of it is called any more but `destroy`.
            self.stop_due = false;
        }
    }

    /// Lets no more calls and checks in, and waits until none is under way or inside.
    async fn quiet(&self, patience: Duration) -> Result<(), Verdict> {
        let instance = &self.instance;
        let give_up = clock::monotonic().after(patience);
        // Those that were let in and have not come to a lane yet.
        while instance.call_metrics().in_flight() > 0 && clock::monotonic() < give_up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        instance.seal();
        let mut pause = Duration::from_micros(200);
        while instance.call_metrics().in_flight() > 0 || instance.inside() > 0 {
            if clock::monotonic() >= give_up {
                let (inside, name) = (instance.inside(), instance.name());
                let text = match inside {
                    1 => format!("one is inside {name}"),
                    _ => format!("{inside} are inside {name}"),
                };
                return Err(Verdict::resident(ResidentReason::WedgedCall, text));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(())
    }
}
