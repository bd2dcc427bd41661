//! Steps with content: a new configuration, and the state that one instance leaves for the next.

use super::Instance;
use crate::lanes::Phase;
use crate::loader::{CallContext, OutputLimits, Snapshot};
use crate::pending_call::PendingCall;
use extman_model::{CallError, ErrorKind};
use std::sync::Arc;

impl Instance {
    /// Hands over a new configuration, a JSON object: the plugin takes it whole, or goes on with the old one.
    ///
    /// # Errors
    /// What the plugin says, or that it took too long; unsupported if the plugin takes none.
    pub async fn configure(&self, config: &str) -> Result<(), CallError> {
        let (plugin, config) = (self.plugin.clone(), config.to_owned());
        let run = move |context: CallContext| plugin.configure(&config, context.token());
        self.in_step(Phase::Configure, self.settings.start_budget(), run)
            .await
    }

    /// The state that a successor should start from: whole, and of so many bytes at most.
    ///
    /// # Errors
    /// What the plugin says, that it is larger, or that it took too long; unsupported if the plugin keeps none.
    pub async fn snapshot(&self, bytes_max: usize) -> Result<Snapshot, CallError> {
        let plugin = self.plugin.clone();
        let run = move |context: CallContext| {
            let format = plugin.snapshot(context.token());
            let written = context.close();
            // Whatever the plugin makes of that: half a state is none.
            if written.is_cut {
                let text = format!("it is larger than {bytes_max} bytes");
                return Err(CallError::new(ErrorKind::Exhausted, text));
            }
            let state = written.body;
            format.map(|format| Snapshot { format, state })
        };
        let work = self.work(Phase::Snapshot, self.settings.stop_budget());
        let limits = OutputLimits {
            bytes_max,
            frames_max: usize::MAX,
        };
        let call = PendingCall::open(work.deadline, None, limits);
        self.in_step_of(call, work, run).await
    }

    /// Hands over the state that a predecessor left, which was of this version of the plugin. Before it is started.
    ///
    /// # Errors
    /// What the plugin says, or that it took too long; unsupported if the plugin keeps none.
    pub async fn restore(&self, from: Arc<Snapshot>, plugin_version: &str) -> Result<(), CallError> {
        let (plugin, version) = (self.plugin.clone(), plugin_version.to_owned());
        let run = move |context: CallContext| plugin.restore(&from, &version, context.token());
        self.in_step(Phase::Restore, self.settings.start_budget(), run)
            .await
    }
}
