//! Whether the store can be written to, as the last time showed that the host had to. Nothing is written to find out.

use super::StoreError;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What came of writing to the store last. Clones tell of the same store.
#[derive(Debug, Clone, Default)]
pub struct StoreOutcome(Arc<Mutex<Option<String>>>);

impl StoreOutcome {
    /// Why it could not be written to the last time; `None` if it could.
    pub fn failure(&self) -> Option<String> {
        self.last().clone()
    }

    pub(super) fn worked(&self) {
        self.last().take();
    }

    /// What is wrong with the file that was to be taken says nothing of the store.
    pub(super) fn failed(&self, error: &StoreError, dir: &Path) {
        let is_stores = match error {
            StoreError::Full { .. } | StoreError::Unwritable { .. } | StoreError::Exposed { .. } => true,
            StoreError::Io { path, .. } | StoreError::Unfit { path, .. } => path.starts_with(dir),
            StoreError::Changed { .. } => false,
        };
        if is_stores {
            *self.last() = Some(error.to_string());
        }
    }

    fn last(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
