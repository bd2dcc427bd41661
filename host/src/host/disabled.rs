//! Which instances an operator has disabled: kept in a file of the host's state directory, so that it outlives the host.
//!
//! A command writes the file, and is answered when that is on the disk. Hosts with the same state directory share the file: each of them
//! changes it under a lock, and reads it when it starts.

use super::commands::Replied;
use super::commands::not_joined;
use super::{BuildError, Host};
use extman_model::PluginView;
use extman_model::control::ControlError;
use extman_runtime::durable;
use extman_runtime::supervisor::Request;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Its name in the state directory.
const FILE: &str = "disabled.json";
/// Instances that can be disabled at a time.
const DISABLED_MAX: usize = 4096;

/// Which instances are disabled, and the file that says so.
pub(super) struct Disabled {
    file: Option<PathBuf>,
    names: Mutex<BTreeSet<String>>,
    /// Held by a command until the supervisor has its request: requests come in the order in which they stand on the disk.
    commands: tokio::sync::Mutex<()>,
}

/// As it stands in the file.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    disabled: BTreeSet<String>,
}

impl Disabled {
    /// What an earlier host kept in this state directory.
    ///
    /// # Errors
    /// The file is there and can't be read: who is disabled must not be started for that.
    pub(super) fn read(state: Option<&Path>) -> Result<Self, BuildError> {
        let file = state.map(|state| state.join(FILE));
        let kept = match &file {
            Some(file) => read(file).map_err(|why| BuildError::Disabled {
                file: file.clone(),
                why,
            })?,
            None => Kept::default(),
        };
        Ok(Disabled {
            file,
            names: Mutex::new(kept.disabled),
            commands: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.lock().contains(name)
    }

    /// Writes down that an instance is disabled, or no longer. Returns when that is on the disk.
    async fn keep(&self, name: &str, disabled: bool) -> Result<(), ControlError> {
        let Some(file) = self.file.clone() else {
            return Err(ControlError::Unavailable(
                "what is disabled is kept in the state directory, so that it outlives the host, and this host has none: set dir in [state] \
                 (an embedder: HostBuilder::state_dir), or unload it, which holds until the host ends"
                    .to_owned(),
            ));
        };
        let owned = name.to_owned();
        let path = file.display().to_string();
        let kept = tokio::task::spawn_blocking(move || keep(&file, owned, disabled)).await;
        kept.map_err(|error| not_joined(&path, &error))?
            .map_err(ControlError::Unavailable)?;
        match disabled {
            true => self.lock().insert(name.to_owned()),
            false => self.lock().remove(name),
        };
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: &Path) -> Result<Kept, String> {
    let text = match durable::read(file) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(Kept::default()),
        Err(error) => return Err(error.to_string()),
    };
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Changes what stands in the file, which other hosts may have changed since.
fn keep(file: &Path, name: String, disabled: bool) -> Result<(), String> {
    let failed = |error: io::Error| {
        format!(
            "{}: what is disabled can't be written down: {error}; try again once it can, since it may not outlive the host",
            file.display()
        )
    };
    let _alone = durable::lock(file).map_err(|error| {
        format!(
            "{}: what is disabled can't be written down: {error}; nothing has changed",
            file.display()
        )
    })?;
    let mut kept = read(file).map_err(|why| {
        format!(
            "{}: {why}; mend the file, or remove it; nothing has changed",
            file.display()
        )
    })?;
    match disabled {
        true => kept.disabled.insert(name),
        false => kept.disabled.remove(&name),
    };
    if kept.disabled.len() > DISABLED_MAX {
        return Err(format!(
            "{} has {DISABLED_MAX} disabled instances, and no more are taken; enable some",
            file.display()
        ));
    }
    // Also where it says so already: whoever wrote that may have failed before it was on the disk.
    let text = serde_json::to_string_pretty(&kept).map_err(|error| error.to_string())?;
    durable::write(file, &text).map_err(failed)
}

impl Host {
    /// Ends that an instance is disabled, and starts it if it is one that is started by itself. It is on the disk before this returns.
    ///
    /// # Errors
    /// There is none of this name, it can't be written down, or it was enabled and did not start.
    pub async fn enable(&self, name: &str) -> Result<PluginView, ControlError> {
        self.set_disabled(name, false).await
    }

    /// Drains, stops and unloads an instance, and keeps it so over restarts of the host until it is enabled: neither the host's start nor
    /// other bytes start it, and it counts in no sum. It is on the disk before this returns.
    ///
    /// # Errors
    /// There is none of this name, others that are to run require it, or it can't be written down.
    pub async fn disable(&self, name: &str) -> Result<PluginView, ControlError> {
        self.set_disabled(name, true).await
    }

    /// As [`disable`](Self::disable), and before it, one after the other, those that require it.
    ///
    /// # Errors
    /// There is none of this name, or it can't be written down; those before that one are disabled.
    pub async fn disable_with_dependents(&self, name: &str) -> Result<PluginView, ControlError> {
        self.with_dependents(name, "disabled", |name| async move { self.disable(&name).await })
            .await
    }

    async fn set_disabled(&self, name: &str, disabled: bool) -> Result<PluginView, ControlError> {
        let (host, owned) = (self.clone(), name.to_owned());
        // To its end, whoever waits for it: what stands on the disk and what the supervisor knows must not differ.
        let requested = tokio::spawn(async move { host.keep_and_request(&owned, disabled).await });
        let replied = requested.await.map_err(|error| not_joined(name, &error))??;
        let done = self.answered(name, replied).await;
        match done {
            Err(ControlError::Failed(text)) if !disabled => {
                Err(ControlError::Failed(format!("enabled, but not started: {text}")))
            }
            Err(ControlError::NotFound { .. }) if !disabled => Err(ControlError::Failed(format!(
                "{name} is enabled; its plugin is not there, and is started when its file comes"
            ))),
            done => done,
        }
    }

    /// Writes it down and tells the supervisor, whose answer comes by what is returned.
    async fn keep_and_request(&self, name: &str, disabled: bool) -> Result<Replied, ControlError> {
        let _in_order = self.inner.disabled.commands.lock().await;
        // One that is disabled can be enabled though its file is gone.
        if disabled || !self.inner.disabled.holds(name) {
            self.entry(name).map_err(|error| self.with_names(error))?;
        }
        if disabled {
            let remedy = format!("`extman disable {name} --cascade` disables them too, before it");
            self.refuse_what_others_need(name, &remedy)?;
        }
        self.inner.disabled.keep(name, disabled).await?;
        match disabled {
            true => self.request(name, Request::Disable),
            false => self.request(name, Request::Enable),
        }
    }

    /// Where no name is like the one that was asked for, some of those that are there.
    fn with_names(&self, error: ControlError) -> ControlError {
        const NAMED: usize = 5;
        match error {
            ControlError::NotFound { name, similar } if similar.is_empty() => {
                let snapshot = self.snapshot();
                let named = snapshot.all().take(NAMED);
                let similar = named.map(|entry| entry.name.to_string()).collect();
                ControlError::NotFound { name, similar }
            }
            error => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_disabled_is_found_again_and_what_others_wrote_stays() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("new").join(FILE);
        keep(&file, "a".to_owned(), true).unwrap();
        keep(&file, "b".to_owned(), true).unwrap();
        keep(&file, "a".to_owned(), false).unwrap();
        let read = Disabled::read(Some(&state.path().join("new"))).unwrap();
        assert_eq!(read.names(), ["b"]);
        assert!(Disabled::read(None).unwrap().names().is_empty());
    }

    #[test]
    fn file_that_can_not_be_read_starts_nobody_and_is_left_as_it_is() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join(FILE);
        std::fs::write(&file, "{\"disabled\": [\"a\"").unwrap();
        let error = Disabled::read(Some(state.path())).err().unwrap().to_string();
        assert!(
            error.contains("disabled.json") && error.contains("mend the file"),
            "{error}"
        );
        let refused = keep(&file, "b".to_owned(), true).unwrap_err();
        assert!(refused.contains("nothing has changed"), "{refused}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"disabled\": [\"a\"");
    }

    #[tokio::test]
    async fn host_without_a_state_directory_says_what_to_do_and_changes_nothing() {
        let disabled = Disabled::read(None).unwrap();
        let error = disabled.keep("a", true).await.unwrap_err().to_string();
        assert!(error.contains("[state]") && error.contains("unload"), "{error}");
        assert!(!disabled.holds("a"));
    }
}
