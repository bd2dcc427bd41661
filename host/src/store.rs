//! The host's copies of plugins, listed and pruned, with what vetting saw of those that go.

use crate::config::Config;
use extman_intake::{PruneLimits, Pruned, Store, StoreError, StoredCopy};
use extman_model::clock;
use extman_runtime::vetting::Vetting;

/// The copies in the configured store.
///
/// # Errors
/// The store can't be used.
pub fn list(config: &Config) -> Result<Vec<StoredCopy>, StoreError> {
    Store::open(config.intake.store.dir.clone())?.list()
}

/// Removes copies that are over the limits and in use by no process.
///
/// # Errors
/// The store can't be used.
pub fn prune(config: &Config, limits: PruneLimits) -> Result<Pruned, StoreError> {
    let pruned = Store::open(config.intake.store.dir.clone())?.prune(limits, clock::wall())?;
    let vetting = Vetting::new(config.vetting.clone(), config.intake.store.dir.join("vetting"));
    for digest in &pruned.removed {
        vetting.release(*digest);
    }
    Ok(pruned)
}

/// As a host does it once it has started and holds what it uses.
pub(crate) fn prune_at_start(config: &Config) {
    match prune(config, config.intake.store.limits()) {
        Ok(pruned) if pruned.removed.is_empty() => {}
        Ok(pruned) => {
            let (removed, freed_bytes) = (pruned.removed.len(), pruned.freed_bytes);
            tracing::info!(
                removed,
                freed_bytes,
                "copies of plugins that were not used for long were removed"
            );
        }
        Err(error) => tracing::warn!(%error, "the store could not be pruned"),
    }
}
