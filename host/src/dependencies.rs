//! Which version of each plugin a host would use, without one: the directories are looked at as a host does, and nothing is run.

use crate::config::{Config, ConfigError};
use extman_intake::{Arrivals, StoreError};
use extman_model::{DependenciesView, RefusedView, clock};
use extman_runtime::supervisor::{Configured, resolved};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What came of looking.
pub struct Looked {
    /// What came of resolving the plugins that are there.
    pub dependencies: DependenciesView,
    /// Files and directories that are refused.
    pub refused: Vec<RefusedView>,
    /// Where plugins were looked for.
    pub directories: Vec<PathBuf>,
}

/// Why nothing could be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// A value of the configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks at the configured directories, and resolves what is there. Copies of the plugins are kept in the store, as a host does.
///
/// # Errors
/// The configuration can't be used, or the store.
pub fn look(mut config: Config) -> Result<Looked, LookError> {
    config.validate()?;
    config.make_paths_absolute();
    // Whoever looks once takes what is there as it is.
    config.intake.discovery.settle_ms = 0;
    let directories = config.intake.discovery.dirs.clone();
    let arrived = Arrivals::new(config.intake)?.look(clock::wall());
    let configured = Configured::new(config.instances);
    let lock = config.lock.as_ref();
    Ok(Looked {
        dependencies: resolved(&configured, arrived.plugins.values(), &BTreeMap::new(), lock),
        refused: arrived.refused,
        directories,
    })
}
