//! Steps with content: a new configuration, and the state that one instance leaves for the next.

use super::Instance;
use crate::lanes::Phase;
use crate::loader::{CallContext, Snapshot};
use extman_model::CallError;

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

    /// The state that a successor should start from.
    ///
    /// # Errors
    /// What the plugin says, or that it took too long; unsupported if the plugin keeps none.
    pub async fn snapshot(&self) -> Result<Snapshot, CallError> {
        let plugin = self.plugin.clone();
        let run = move |context: CallContext| {
            let format = plugin.snapshot(context.token())?;
            let state = context.close().body;
            Ok(Snapshot { format, state })
        };
        self.in_step(Phase::State, self.settings.stop_budget(), run).await
    }

    /// Hands over the state that a predecessor left, which was of this version of the plugin. Before it is started.
    ///
    /// # Errors
    /// What the plugin says, or that it took too long; unsupported if the plugin keeps none.
    pub async fn restore(&self, from: Snapshot, plugin_version: &str) -> Result<(), CallError> {
        let (plugin, version) = (self.plugin.clone(), plugin_version.to_owned());
        let run = move |context: CallContext| plugin.restore(&from, &version, context.token());
        self.in_step(Phase::State, self.settings.start_budget(), run)
            .await
    }
}
