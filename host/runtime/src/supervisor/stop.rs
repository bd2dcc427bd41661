//! The long step from a running instance to an unloaded library: drain, stop, destroy, unload. Where something holds the instance or the library,
//! what is left is a [`PendingUnload`], which is tried again later. `start` is the way there.

use super::handover::LeftState;
use super::stage::Condition;
use super::start::{Running, Services};
use crate::instance::{CallMetrics, Instance};
use crate::loader::Step;
use crate::module::Module;
use extman_model::clock;
use extman_model::{CallError, ErrorKind, ResidentReason, Verdict};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a retry waits for what is just returning.
const RETRY_WAIT: Duration = Duration::from_millis(50);

/// What came of stopping a generation of an instance.
pub struct Stopped {
    /// The load of the library that it ran in.
    pub generation: u64,
    /// The steps that failed.
    pub complaints: Vec<Complaint>,
    /// What became of the library; `None` if other instances use it.
    pub unload: Option<Unload>,
    /// The metrics of its calls, if it has served.
    pub metrics: Option<Arc<CallMetrics>>,
    /// The state that it has left for the next one.
    pub(super) left: Option<LeftState>,
}

/// What became of a library.
pub struct Unload {
    /// Which load of it this was.
    pub generation: u64,
    /// Whether it is unmapped, or why it stays.
    pub verdict: Verdict,
    /// What is tried again later, if that may help.
    pub left: Option<Box<PendingUnload>>,
}

/// A step of stopping that failed.
#[derive(Debug, Clone)]
pub struct Complaint {
    /// The step.
    pub step: &'static str,
    /// Why, for people.
    pub text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.step, self.text)
    }
}

/// What is left of an instance that ends: the instance until it is destroyed, and its module until that is unloaded.
pub struct PendingUnload {
    undestroyed: Option<Undestroyed>,
    module: Arc<Module>,
    /// Whether it counts as a user of the module.
    joined: bool,
    is_retry: bool,
}

/// An instance that is to be destroyed.
struct Undestroyed {
    instance: Arc<Instance>,
    /// Time limit for those who are inside to return.
    budget: Duration,
    stop_due: bool,
    /// It has failed before: that its steps fail too is no news.
    failed: bool,
}

impl PendingUnload {
    /// Of a module whose instance could not be created.
    pub(super) fn not_created(module: Arc<Module>) -> Self {
        PendingUnload {
            undestroyed: None,
            module,
            joined: true,
            is_retry: false,
        }
    }

    /// Of a module that could not be loaded.
    pub(super) fn not_loaded(module: Arc<Module>) -> Self {
        PendingUnload {
            joined: false,
            ..PendingUnload::not_created(module)
        }
    }

    /// Of an instance that could not be started, and so is not stopped.
    pub(super) fn not_started(running: Running) -> Self {
        PendingUnload::of_instance(running, false, Condition::Well)
    }

    fn of_instance(running: Running, stop_due: bool, condition: Condition) -> Self {
        PendingUnload {
            undestroyed: Some(Undestroyed {
                instance: running.instance,
                budget: running.stop_budget,
                stop_due,
                failed: condition != Condition::Well,
            }),
            ..PendingUnload::not_created(running.module)
        }
    }

    /// The unload that has come to this, to be tried again if that may help.
    pub(super) fn with_verdict(mut self, verdict: Verdict) -> Unload {
        self.is_retry = true;
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

/// Drains, stops and destroys an instance; after the last one of its module, unloads the library.
pub(super) async fn stop(services: &Services, running: Running, condition: Condition) -> Stopped {
    running.instance.close();
    let metrics = running.instance.call_metrics().clone();
    let is_called = condition != Condition::Panicked;
    let drained = match is_called {
        true => running.instance.step(Step::Drain).await,
        false => Ok(()),
    };
    let mut pending = PendingUnload::of_instance(running, is_called, condition);
    let mut complaints = Vec::new();
    if let Some(undestroyed) = &mut pending.undestroyed {
        undestroyed.note_failure("drain", drained, &mut complaints);
    }
    let mut stopped = free(services, pending).await;
    complaints.append(&mut stopped.complaints);
    Stopped {
        complaints,
        metrics: Some(metrics),
        ..stopped
    }
}

/// Destroys what is left of an instance, and unloads its module if no other instance uses it.
pub(super) async fn free(services: &Services, mut pending: PendingUnload) -> Stopped {
    let mut stopped = Stopped {
        generation: pending.module.generation(),
        complaints: Vec::new(),
        unload: None,
        metrics: None,
        left: None,
    };
    if let Some(undestroyed) = &mut pending.undestroyed {
        if let Err(verdict) = undestroyed
            .destroy(pending.is_retry, &mut stopped.complaints)
            .await
        {
            // Its module stays in use by it; but new instances of the library load it anew.
            services.modules.no_longer_share(&pending.module);
            stopped.unload = Some(pending.with_verdict(verdict));
            return stopped;
        }
        pending.undestroyed = None;
    }
    if std::mem::take(&mut pending.joined) && !services.modules.leave(&pending.module) {
        return stopped;
    }
    let mut budgets = services.budgets;
    if pending.is_retry {
        budgets.settle = budgets.settle.min(RETRY_WAIT);
    }
    let verdict = pending.module.clone().unload(budgets).await;
    stopped.unload = Some(pending.with_verdict(verdict));
    stopped
}

impl Undestroyed {
    /// Stops the instance if that is due, and destroys it, once no call or check is inside.
    async fn destroy(&mut self, is_retry: bool, complaints: &mut Vec<Complaint>) -> Result<(), Verdict> {
        let limit = if is_retry { RETRY_WAIT } else { self.budget };
        // Neither `stop` nor `destroy` may overlap a call, and a call whose caller was answered by deadline may still be inside.
        self.seal(limit).await?;
        if std::mem::take(&mut self.stop_due) {
            let stopped = self.instance.step(Step::Stop).await;
            self.note_failure("stop", stopped, complaints);
            self.seal(self.budget).await?;
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
            self.note_failure("destroy", Err(error), complaints);
            verdict
        })
    }

    /// Notes that a step has failed, if it has.
    fn note_failure(
        &mut self,
        step: &'static str,
        ended: Result<(), CallError>,
        complaints: &mut Vec<Complaint>,
    ) {
        let Err(error) = ended else { return };
        tracing::warn!(plugin = self.instance.name(), step, error = %error, "stopping goes on");
        if !self.failed {
            complaints.push(Complaint {
                step,
                text: error.to_string(),
            });
        }
        if error.kind == ErrorKind::Panicked {
            self.failed = true;
            // After a panic nothing but `destroy` is called.
            self.stop_due = false;
        }
    }

    /// Lets no more calls and checks in, and waits until none is under way or inside.
    async fn seal(&self, limit: Duration) -> Result<(), Verdict> {
        let instance = &self.instance;
        let give_up = clock::monotonic().after(limit);
        // Calls that were let in may not have reached a lane yet, and would be refused there.
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
