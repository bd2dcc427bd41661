//! An instance: one configured use of a module. The safe face of a plugin.

mod call_breaker;
mod call_limiter;
mod call_metrics;
mod call_totals;
mod folders;
mod in_process;

pub use call_breaker::{BreakerChange, CallBreaker};
pub use call_limiter::LimitedCall;
pub use call_metrics::{CallCounts, CallMetrics, FailedCalls};
pub use call_totals::CallTotals;
pub use folders::InstanceFolders;
pub use in_process::{Answer, Call, CallFailure, Instance, InstanceUsed, ModulesUsed};

use crate::supervisor::Secrets;
use extman_model::clock::{Monotonic, nanos};
use std::sync::Arc;
use std::time::Duration;

/// How an instance is run.
#[derive(Clone)]
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
    /// The secrets that it is handed: redacted in what it says, in errors and of its health.
    pub secrets: Arc<Secrets>,
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
            secrets: Arc::default(),
        }
    }
}

/// What an instance keeps of its settings. In nanoseconds: a `Duration` is twice as large, and each of thousands has four.
struct KeptSettings {
    call_timeout_ns: u64,
    wedge_after_ns: u64,
    start_budget_ns: u64,
    stop_budget_ns: u64,
    output_bytes_max: usize,
    secrets: Arc<Secrets>,
}

impl From<InstanceSettings> for KeptSettings {
    fn from(settings: InstanceSettings) -> Self {
        KeptSettings {
            call_timeout_ns: nanos(settings.call_timeout),
            wedge_after_ns: nanos(settings.wedge_after),
            start_budget_ns: nanos(settings.start_budget),
            stop_budget_ns: nanos(settings.stop_budget),
            output_bytes_max: settings.output_bytes_max,
            secrets: settings.secrets,
        }
    }
}

impl KeptSettings {
    #[inline]
    fn call_timeout(&self) -> Duration {
        Duration::from_nanos(self.call_timeout_ns)
    }

    #[inline]
    fn wedge_after(&self) -> Duration {
        Duration::from_nanos(self.wedge_after_ns)
    }

    fn start_budget(&self) -> Duration {
        Duration::from_nanos(self.start_budget_ns)
    }

    fn stop_budget(&self) -> Duration {
        Duration::from_nanos(self.stop_budget_ns)
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
