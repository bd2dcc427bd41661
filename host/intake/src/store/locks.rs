//! Locks between the users of one store, in this process and in others. The system drops them when a process dies.

use super::StoreError;
use std::fs::{File, TryLockError};
use std::path::Path;

/// A lock on a whole store, held until it is dropped.
pub(super) struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Beside others who take plugins in.
    pub fn shared(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(".lock");
        let file = open(&path)?;
        file.lock_shared().map_err(|e| StoreError::at(&path, e))?;
        Ok(StoreLock { _file: file })
    }

    /// While nobody takes a plugin in. Waits for those who do.
    pub fn alone(dir: &Path) -> Result<Self, StoreError> {
        exclusive(&dir.join(".lock"))
    }

    /// While nobody takes a plugin in; `None` if somebody does.
    pub fn try_alone(dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = dir.join(".lock");
        let file = open(&path)?;
        Ok(try_exclusive(&file, &path)?.then_some(StoreLock { _file: file }))
    }

    /// For the moment in which a copy gets its name: one at a time, so that a name keeps the file that its users locked.
    pub fn installing(dir: &Path) -> Result<Self, StoreError> {
        exclusive(&dir.join(".install.lock"))
    }
}

/// Whether the exclusive lock of an open file was free; it is held until `file` is closed.
pub(super) fn try_exclusive(file: &File, path: &Path) -> Result<bool, StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(StoreError::at(path, e)),
    }
}

fn exclusive(path: &Path) -> Result<StoreLock, StoreError> {
    let file = open(path)?;
    file.lock().map_err(|e| StoreError::at(path, e))?;
    Ok(StoreLock { _file: file })
}

fn open(path: &Path) -> Result<File, StoreError> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|e| StoreError::keeping(path, e))
}
