//! An instance: one configured use of a module. The safe face of a plugin, whatever stands behind it.
//!
//! What stands behind it is its backing: today a module in this process; a worker process has the same face.

mod accounts;
mod folders;
mod in_process;
mod tally;
mod used;

pub use accounts::{Accounts, CallCounts, FailedCalls};
pub use folders::InstanceFolders;
pub use in_process::{Answer, Call, InProcess};
pub use tally::Tally;
pub use used::InstanceUsed;

use super::lanes::{Attached, LaneContext, Pool};
use super::loader::{Frames, Listener, Snapshot, Step};
use super::module::Module;
use extman_model::clock::Monotonic;
use extman_model::{CallError, CheckKind, CheckOutcome, Reply};
use std::sync::Arc;
use std::time::Duration;

/// How an instance is run.
#[derive(Debug, Clone)]
pub struct InstanceSettings {
    /// Calls at a time, within what the manifest's thread model allows.
    pub concurrency_max: usize,
    /// Time for a call whose caller names none.
    pub call_timeout: Duration,
    /// How long after its deadline a call is given up as wedged.
    pub wedge_after: Duration,
    /// Time for `create` and `start`.
    pub start_budget: Duration,
    /// Time for finishing calls, `drain`, `stop` and `destroy`.
    pub stop_budget: Duration,
    /// Output of one call.
    pub output_bytes_max: usize,
    /// Folders of its own; made before the instance is, if they are not there.
    pub folders: Option<Box<InstanceFolders>>,
}

impl Default for InstanceSettings {
    fn default() -> Self {
        InstanceSettings {
            concurrency_max: 8,
            call_timeout: Duration::from_secs(30),
            wedge_after: Duration::from_secs(30),
            start_budget: Duration::from_secs(60),
            stop_budget: Duration::from_secs(10),
            output_bytes_max: 64 << 20,
            folders: None,
        }
    }
}

/// What asking came to, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// What came of it.
    pub answer: Answer,
    /// When the plugin's code came back, or when it was clear that it is not to be entered.
    pub ended: Monotonic,
}

/// One configured use of a module.
pub struct Instance {
    name: Arc<str>,
    accounts: Arc<Accounts>,
    backing: Backing,
}

/// What stands behind an instance.
enum Backing {
    /// A module in this process.
    InProcess(InProcess),
}

impl Instance {
    /// Has a module make an instance in this process.
    ///
    /// # Errors
    /// What the plugin says, or that it took too long.
    pub async fn create(
        module: Arc<Module>,
        name: &str,
        config: &str,
        listener: Arc<dyn Listener>,
        settings: InstanceSettings,
    ) -> Result<Instance, CallError> {
        let name: Arc<str> = name.into();
        let concurrency = in_process::concurrency(&module, &settings);
        let accounts = Arc::new(Accounts::new(concurrency.clone()));
        let made = InProcess::create(
            module,
            name.clone(),
            config,
            listener,
            settings,
            (concurrency, accounts.clone()),
        )
        .await?;
        Ok(Instance {
            name,
            accounts,
            backing: Backing::InProcess(made),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the host counts of its calls.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// Runs a step of the lifecycle.
    ///
    /// # Errors
    /// What the plugin says, or that it took too long.
    pub async fn step(&self, step: Step) -> Result<(), CallError> {
        match &self.backing {
            Backing::InProcess(inner) => inner.step(step).await,
        }
    }

    /// Hands over a new configuration, a JSON object: the plugin takes it whole, or goes on with the old one.
    ///
    /// # Errors
    /// What the plugin says, or that it took too long; unsupported if the plugin takes none.
    pub async fn configure(&self, config: &str) -> Result<(), CallError> {
        match &self.backing {
            Backing::InProcess(inner) => inner.configure(config).await,
        }
    }

    /// The state that a successor should start from.
    ///
    /// # Errors
    /// What the plugin says, or that it took too long; unsupported if the plugin keeps none.
    pub async fn snapshot(&self) -> Result<Snapshot, CallError> {
        match &self.backing {
            Backing::InProcess(inner) => inner.snapshot().await,
        }
    }

    /// Hands over the state that a predecessor left, which was of this version of the plugin. Before it is started.
    ///
    /// # Errors
    /// What the plugin says, or that it took too long; unsupported if the plugin keeps none.
    pub async fn restore(&self, from: Snapshot, plugin_version: &str) -> Result<(), CallError> {
        match &self.backing {
            Backing::InProcess(inner) => inner.restore(from, plugin_version).await,
        }
    }

    /// Serves one call, whole or into `stream`.
    ///
    /// # Errors
    /// What the plugin says, that it took too long, or that there is no room.
    pub async fn invoke(&self, call: Call, stream: Option<Arc<Frames>>) -> Result<Reply, CallError> {
        let served = self.invoke_if_open(call, stream).await;
        served.unwrap_or_else(|_| Err(in_process::being_stopped()))
    }

    /// As [`invoke`](Self::invoke), for callers who know somebody else to ask.
    ///
    /// # Errors
    /// The call itself, untouched, if the instance takes no more calls.
    pub async fn invoke_if_open(
        &self,
        call: Call,
        stream: Option<Arc<Frames>>,
    ) -> Result<Result<Reply, CallError>, Call> {
        match &self.backing {
            Backing::InProcess(inner) => inner.invoke(call, stream).await,
        }
    }

    /// Serves one call inline, on a thread that the embedder has attached.
    ///
    /// # Errors
    /// As [`invoke`](Self::invoke); and that the instance does not run in this process or needs a thread of its own.
    pub fn invoke_attached(
        &self,
        attached: &Attached,
        capability: &str,
        body: &[u8],
    ) -> Result<Reply, CallError> {
        match &self.backing {
            Backing::InProcess(inner) => inner.invoke_attached(attached, capability, body),
        }
    }

    /// Asks it how it is; the time that its code ran, if it came back. It waits for a lane no longer than for the answer.
    pub async fn check(&self, kind: CheckKind, timeout: Duration) -> (CheckOutcome, Option<Duration>) {
        match &self.backing {
            Backing::InProcess(inner) => inner.check(kind, timeout).await,
        }
    }

    /// Asks it how it is, inline on one of its own lanes; `began` is now. `None` if that lane was lost in it.
    #[inline]
    pub fn check_on(
        &self,
        lane: &LaneContext<'_>,
        kind: CheckKind,
        timeout: Duration,
        began: Monotonic,
    ) -> Option<Asked> {
        match &self.backing {
            Backing::InProcess(inner) => inner.check_on(lane, kind, timeout, began),
        }
    }

    /// The lanes that it is asked on: those of its library, or its own one if everything must run on one thread.
    pub fn lanes(&self) -> &Pool {
        match &self.backing {
            Backing::InProcess(inner) => inner.lanes(),
        }
    }

    /// How long after its deadline a lane is given up in it.
    pub fn wedge_after(&self) -> Duration {
        match &self.backing {
            Backing::InProcess(inner) => inner.wedge_after(),
        }
    }

    /// Whether calls may keep checks out at all: those of one that is entered once at a time.
    pub fn may_be_full(&self) -> bool {
        match &self.backing {
            Backing::InProcess(inner) => inner.may_be_full(),
        }
    }

    /// Whether a call keeps checks out now.
    pub fn is_full(&self) -> bool {
        match &self.backing {
            Backing::InProcess(inner) => inner.is_full(),
        }
    }

    /// Whether the plugin has a check of its own. Without one, all that a check can show is that the plugin is there.
    #[inline]
    pub fn has_check(&self) -> bool {
        match &self.backing {
            Backing::InProcess(inner) => inner.has_check(),
        }
    }

    /// Fetches from memory what [`check_on`](Self::check_on) needs: with many instances waiting for it is most of what asking costs,
    /// and what several wait for comes at once.
    #[inline]
    pub fn warm(&self) {
        std::hint::black_box(self.accounts.counts());
        match &self.backing {
            Backing::InProcess(inner) => inner.warm(),
        }
    }

    /// Takes no more calls.
    pub fn close(&self) {
        match &self.backing {
            Backing::InProcess(inner) => inner.close(),
        }
    }

    /// Lets no more calls and checks in, also none that were taken before: what comes next is `stop` or `destroy`.
    pub fn seal(&self) {
        match &self.backing {
            Backing::InProcess(inner) => inner.seal(),
        }
    }

    /// Calls and checks whose code is running, whether or not somebody still waits for them.
    pub fn inside(&self) -> usize {
        match &self.backing {
            Backing::InProcess(inner) => inner.inside(),
        }
    }

    /// Frees it, and tells what the plugin says went wrong with that. Nothing may be called on it afterwards.
    ///
    /// # Errors
    /// It is still there: a call is inside, or it took too long.
    pub async fn destroy(&self) -> Result<Option<CallError>, CallError> {
        match &self.backing {
            Backing::InProcess(inner) => inner.destroy().await,
        }
    }
}
