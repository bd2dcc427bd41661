//! Commands, carried out by the host: the adapter from [`Control`] to its methods.

use super::Host;
use super::calls::Held;
use super::crashes::newest_first;
use extman_model::control::report::{HealthSummary, Readiness};
use extman_model::control::{
    Answer, Command, Control, ControlError, Invocation, Invoked, InvokedStream, Pending,
};
use extman_model::{CallError, PluginView, StatusView};
use extman_runtime::instance::ModulesUsed;
use extman_runtime::loader::{Interposition, interposition};
use extman_runtime::registry::Entry;
use extman_runtime::supervisor::{Outcome, Request};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinError;

/// By which the supervisor answers a request.
pub(super) type Replied = oneshot::Receiver<Outcome>;

impl Host {
    /// How the host is.
    pub fn status(&self) -> StatusView {
        let registry = &self.inner.registry;
        let mut instances = BTreeMap::new();
        let snapshot = self.snapshot();
        for entry in snapshot.all() {
            *instances.entry(entry.lifecycle).or_default() += 1;
        }
        StatusView {
            version: semver::Version::parse(env!("CARGO_PKG_VERSION"))
                .unwrap_or(semver::Version::new(0, 0, 0)),
            abi: format!("{}.{}", extman_abi::ABI_MAJOR, extman_abi::ABI_MINOR),
            pid: std::process::id(),
            started_unix_ms: self.inner.started_unix_ms,
            ready: self.has_looked(),
            instances,
            refused: registry.refused().to_vec(),
            resident: registry.residents().to_vec(),
            unloads: interposition() == Interposition::Active,
            directories: self.inner.current().config.intake.discovery.dirs.clone(),
            config: self.config_status(&snapshot),
            missing: registry.missing().to_vec(),
            process_changes: self.inner.process.all(),
            vetting_memory: self.inner.vetting_memory,
            warnings: self.inner.warnings.clone(),
            maintenance: self.maintenance_rows(),
            rollouts: self.rollouts(),
            crashes: newest_first(self.inner.crashes.found()),
            crashes_not_noted: self.inner.crashes_not_noted.clone(),
        }
    }

    /// One instance.
    ///
    /// # Errors
    /// There is none of this name, or one is configured and its plugin is not there.
    pub fn plugin(&self, name: &str) -> Result<PluginView, ControlError> {
        Ok(self.view(&*self.entry(name)?, &mut ModulesUsed::default()))
    }

    pub(super) fn entry(&self, name: &str) -> Result<Arc<Entry>, ControlError> {
        let snapshot = self.snapshot();
        snapshot.get(name).ok_or_else(|| match self.absence(name) {
            Some(text) => ControlError::Conflict(text),
            None => ControlError::NotFound {
                name: name.to_owned(),
                similar: snapshot.similar(name),
            },
        })
    }

    /// Why there is no instance of this name although one is configured.
    pub(super) fn absence(&self, name: &str) -> Option<String> {
        let missing = self.inner.registry.missing_of(name)?;
        Some(format!("{name}: {}", missing.reason))
    }

    /// All instances, by name.
    pub fn plugins(&self) -> Vec<PluginView> {
        let mut modules = ModulesUsed::default();
        let snapshot = self.snapshot();
        snapshot
            .all()
            .map(|entry| self.view(&entry, &mut modules))
            .collect()
    }

    /// Loads and starts an instance that is stopped, failed or quarantined, and waits for that.
    ///
    /// # Errors
    /// There is none of this name, its state does not allow it, or it failed.
    pub async fn load(&self, name: &str) -> Result<PluginView, ControlError> {
        self.change(name, Request::Load).await
    }

    /// Drains, stops and unloads an instance, and waits for that. It stays known.
    ///
    /// # Errors
    /// There is none of this name, others that are to run require it, or its state does not allow it.
    pub async fn unload(&self, name: &str) -> Result<PluginView, ControlError> {
        let remedy = format!("`extman unload {name} --cascade` unloads them too, before it");
        self.refuse_what_others_need(name, &remedy)?;
        self.change(name, Request::Unload).await
    }

    /// Drains, stops and unloads an instance, and before it, one after the other, those that require it.
    ///
    /// # Errors
    /// There is none of this name, or its state or that of another does not allow it; those before that one are unloaded.
    pub async fn unload_with_dependents(&self, name: &str) -> Result<PluginView, ControlError> {
        let unload = |name: String| async move { self.change(&name, Request::Unload).await };
        self.with_dependents(name, "unloaded", unload).await
    }

    /// Does this with those that require an instance, one after the other, and then with it. `done`: what they are then.
    pub(super) async fn with_dependents<F>(
        &self,
        name: &str,
        done: &str,
        act: impl Fn(String) -> F,
    ) -> Result<PluginView, ControlError>
    where
        F: Future<Output = Result<PluginView, ControlError>>,
    {
        self.entry(name)?;
        let mut before: Vec<String> = Vec::new();
        for one in self.dependents(name).into_iter().chain([name.to_owned()]) {
            act(one.clone())
                .await
                .map_err(|error| with_done(error, done, &before))?;
            before.push(one);
        }
        self.plugin(name)
    }

    /// Unloads and loads, and waits for that.
    ///
    /// # Errors
    /// There is none of this name, its state does not allow it, or it failed.
    pub async fn restart(&self, name: &str) -> Result<PluginView, ControlError> {
        self.change(name, Request::Restart).await
    }

    pub(super) async fn change(
        &self,
        name: &str,
        request: impl FnOnce(String, oneshot::Sender<Outcome>) -> Request,
    ) -> Result<PluginView, ControlError> {
        self.entry(name)?;
        let replied = self.request(name, request)?;
        self.answered(name, replied).await
    }

    /// Makes a request of the supervisor, which answers by what is returned.
    pub(super) fn request(
        &self,
        name: &str,
        request: impl FnOnce(String, oneshot::Sender<Outcome>) -> Request,
    ) -> Result<Replied, ControlError> {
        let (reply, replied) = oneshot::channel();
        match self.inner.requests.make(request(name.to_owned(), reply)) {
            true => Ok(replied),
            false => Err(ControlError::ShuttingDown),
        }
    }

    /// Waits for the supervisor's answer, and shows the plugin as it is then.
    pub(super) async fn answered(&self, name: &str, replied: Replied) -> Result<PluginView, ControlError> {
        match replied.await {
            Ok(Ok(())) => self.plugin(name),
            Ok(Err(text)) => Err(ControlError::Failed(format!("{name}: {text}"))),
            Err(_) => Err(ControlError::ShuttingDown),
        }
    }
}

/// The error after these instances have been dealt with: `done` says what they are.
fn with_done(error: ControlError, done: &str, before: &[String]) -> ControlError {
    if before.is_empty() {
        return error;
    }
    let with = |text: String| format!("{text}; {done} before it: {}", before.join(", "));
    match error {
        ControlError::Failed(text) => ControlError::Failed(with(text)),
        ControlError::Invalid(text) => ControlError::Invalid(with(text)),
        ControlError::Unavailable(text) => ControlError::Unavailable(with(text)),
        ControlError::NotYet { text, retry_after_ms } => ControlError::NotYet {
            text: with(text),
            retry_after_ms,
        },
        ControlError::Conflict(text) => ControlError::Conflict(with(text)),
        // It was there when they were dealt with.
        gone @ ControlError::NotFound { .. } => ControlError::Conflict(with(gone.to_string())),
        ControlError::ShuttingDown => ControlError::ShuttingDown,
    }
}

/// Why there is no result of work on this, which a task of its own was to do.
pub(super) fn not_joined(what: &str, error: &JoinError) -> ControlError {
    match error.is_panic() {
        true => ControlError::Failed(format!(
            "{what}: a fault in the host has ended this; its log has the panic"
        )),
        false => ControlError::ShuttingDown,
    }
}

impl Control for Host {
    fn run(&self, command: Command) -> Pending<'_, Result<Answer, ControlError>> {
        Box::pin(async move {
            let plugin = |view| Answer::Plugin(Box::new(view));
            Ok(match command {
                Command::Status => Answer::Status(Box::new(self.status())),
                Command::Plugins => Answer::Plugins(self.plugins()),
                Command::Plugin { name } => plugin(self.plugin(&name)?),
                Command::Capabilities => Answer::Capabilities(self.snapshot().capabilities()),
                Command::Dependencies => {
                    Answer::Dependencies(Box::new((*self.inner.registry.dependencies()).clone()))
                }
                Command::Health => Answer::Health(Box::new(self.health_report())),
                Command::PluginHealth { name } => Answer::PluginHealth(Box::new(self.plugin_health(&name)?)),
                Command::History { name, since_ms } => {
                    Answer::History(Box::new(self.history(&name, since_ms).await?))
                }
                Command::Uptime { name, since_ms } => {
                    Answer::Uptime(self.uptime(name.as_deref(), since_ms).await?)
                }
                Command::Analyse { name, since_ms, full } => {
                    Answer::Analysis(Box::new(self.analyse(&name, since_ms, full).await?))
                }
                Command::Events(asked) => Answer::Events(Box::new(self.recent_events(asked).await?)),
                Command::CheckNow { name, deep } => {
                    let probe = match deep {
                        true => self.probe_deep(&name).await?,
                        false => self.probe(&name).await?,
                    };
                    let mut health = self.plugin_health(&name)?;
                    health.probe = Some(probe);
                    Answer::PluginHealth(Box::new(health))
                }
                Command::Load { name } => plugin(self.load(&name).await?),
                Command::Unload { name, cascade: false } => plugin(self.unload(&name).await?),
                Command::Unload { name, cascade: true } => plugin(self.unload_with_dependents(&name).await?),
                Command::Restart { name } => plugin(self.restart(&name).await?),
                Command::Enable { name } => plugin(self.enable(&name).await?),
                Command::Disable { name, cascade: false } => plugin(self.disable(&name).await?),
                Command::Disable { name, cascade: true } => {
                    plugin(self.disable_with_dependents(&name).await?)
                }
                Command::Update { name, to } => plugin(self.update(&name, to).await?),
                Command::RollBack { name } => plugin(self.rollback(&name).await?),
                Command::Rollout { name } => Answer::Rollout(Box::new((&self.plugin(&name)?).into())),
                Command::ChangeRollout { name, change } => plugin(self.rollout(&name, change).await?),
                Command::Config { name } => Answer::Config(Box::new(self.config_of(&name)?)),
                Command::ConfigDiff { name } => Answer::ConfigDiff(self.config_diff(&name)?),
                Command::ConfigHistory { name } => Answer::ConfigHistory(self.config_history(&name)?),
                Command::ChangeConfig { name, asked } => {
                    Answer::Config(Box::new(self.change_config(&name, asked).await?))
                }
                Command::RollBackConfig { name, to, who } => {
                    Answer::Config(Box::new(self.roll_back_config(&name, to, who).await?))
                }
                Command::Maintenance { name } => Answer::Maintenance(self.maintenance(name.as_deref())?),
                Command::StartMaintenance { name, asked } => {
                    Answer::Maintenance(self.start_maintenance(&name, asked).await?)
                }
                Command::EndMaintenance { name } => Answer::Maintenance(self.end_maintenance(&name).await?),
            })
        })
    }

    fn readiness(&self) -> Readiness {
        Host::readiness(self)
    }

    fn health_summary(&self) -> HealthSummary {
        Host::health_summary(self)
    }

    fn invoke(&self, invocation: Invocation) -> Pending<'_, Result<Invoked, CallError>> {
        Box::pin(self.invoke_once(invocation, Held::BySchema))
    }

    fn invoke_stream(&self, invocation: Invocation) -> Pending<'_, Result<InvokedStream, CallError>> {
        Box::pin(self.stream_held(invocation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_fails_of_several_says_what_was_done_before_it() {
        let before = ["b".to_owned(), "c".to_owned()];
        let conflict = || ControlError::Conflict("it is required".to_owned());
        for error in [
            conflict(),
            ControlError::Failed("it hangs".to_owned()),
            ControlError::Unavailable("the disk is full".to_owned()),
            ControlError::NotFound {
                name: "a".to_owned(),
                similar: Vec::new(),
            },
        ] {
            let text = error.to_string();
            let told = with_done(error, "disabled", &before).to_string();
            assert_eq!(told, format!("{text}; disabled before it: b, c"));
        }
        assert!(matches!(
            with_done(conflict(), "disabled", &before),
            ControlError::Conflict(_)
        ));
        assert_eq!(
            with_done(conflict(), "disabled", &[]).to_string(),
            "it is required"
        );
    }

    #[tokio::test]
    async fn panic_in_a_task_is_told_as_one_and_not_as_the_hosts_end() {
        let panicked = tokio::spawn(async { panic!("a fault") }).await.unwrap_err();
        let told = not_joined("/a/lib.so", &panicked);
        assert!(matches!(told, ControlError::Failed(_)), "{told}");
        assert!(
            told.to_string().starts_with("/a/lib.so: a fault in the host"),
            "{told}"
        );
        let task = tokio::spawn(std::future::pending::<()>());
        task.abort();
        let told = not_joined("/a/lib.so", &task.await.unwrap_err());
        assert!(matches!(told, ControlError::ShuttingDown), "{told}");
    }
}
