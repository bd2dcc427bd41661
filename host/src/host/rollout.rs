//! Updates, as an operator steers them.

use super::Host;
use super::commands::not_joined;
use extman_intake::{Arrivals, VerifiedPlugin};
use extman_model::control::ControlError;
use extman_model::{PluginView, RolloutCommand, RolloutStatus, UpdateTo};
use extman_runtime::supervisor::{Request, UpdateRequest};
use std::path::PathBuf;

impl Host {
    /// Updates that are under way, by the instance's name.
    pub(super) fn rollouts(&self) -> Vec<RolloutStatus> {
        let snapshot = self.snapshot();
        let under_way = snapshot.all().filter(|entry| entry.rollout.is_some());
        under_way
            .map(|entry| RolloutStatus::from(&entry.view()))
            .collect()
    }

    /// Pauses, resumes, promotes or aborts the update of an instance that is under way.
    ///
    /// # Errors
    /// There is none of this name, there is no update under way, or it is not where it could be done.
    pub async fn rollout(&self, name: &str, command: RolloutCommand) -> Result<PluginView, ControlError> {
        self.change(name, |name, reply| Request::Rollout(name, command, reply))
            .await
    }

    /// Updates an instance to another version, also to one that was taken back, and waits until that has started beside the one that serves. It
    /// is judged from then on, and takes its place step by step; `rollout` of the plugin's view says where it is. Of a file the bytes are taken:
    /// what becomes of it then is of no account.
    ///
    /// # Errors
    /// There is none of this name, there is no such version, the file is no plugin that can be taken or one of another id, or it did not start.
    pub async fn update(&self, name: &str, to: UpdateTo) -> Result<PluginView, ControlError> {
        self.entry(name)?;
        let to = match to {
            UpdateTo::Newest => UpdateRequest::Newest,
            UpdateTo::Version(version) => UpdateRequest::Version(version),
            UpdateTo::File(file) => UpdateRequest::Build(Box::new(self.taken_in(file).await?)),
        };
        self.change(name, |name, reply| Request::Update(name, to, reply))
            .await
    }

    async fn taken_in(&self, file: PathBuf) -> Result<VerifiedPlugin, ControlError> {
        let config = self.inner.intake.borrow().clone();
        let name = file.display().to_string();
        let taken = tokio::task::spawn_blocking(move || {
            let arrivals = Arrivals::new(config).map_err(|error| error.to_string())?;
            arrivals.named(&file)
        });
        let taken = taken.await.map_err(|error| not_joined(&name, &error))?;
        taken.map_err(ControlError::Failed)
    }

    /// Takes the update of an instance back that is under way; or else has it go back to the version before, at once. The version that served is
    /// not tried again by itself.
    ///
    /// # Errors
    /// There is none of this name, or no version before that is known.
    pub async fn rollback(&self, name: &str) -> Result<PluginView, ControlError> {
        self.change(name, Request::RollBack).await
    }
}
