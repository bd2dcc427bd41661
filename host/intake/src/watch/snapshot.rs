//! One watched directory: which one it is, whether the system watches it, and what it looked like if not.

use crate::files::FileIdentity;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

/// Most entries of a polled directory that are compared.
const ENTRIES_MAX: usize = 100_000;

pub(super) struct Watched {
    dir: PathBuf,
    /// Device and inode of the directory that is there, if one is.
    which: Option<(u64, u64)>,
    /// The system reports its changes; else it is looked at every `poll_ms`.
    is_native: bool,
    seen: u64,
}

impl Watched {
    pub fn new(dir: PathBuf) -> Self {
        Watched {
            dir,
            which: None,
            is_native: false,
            seen: 0,
        }
    }

    #[cfg(test)]
    pub fn is_native(&self) -> bool {
        self.is_native
    }

    /// Says whether the directory changed. `watch` asks the system to watch it from now on; `lost` says that it may have
    /// stopped to.
    pub fn scan(&mut self, lost: bool, watch: impl FnOnce(&Path) -> Result<(), String>) -> bool {
        let which = std::fs::metadata(&self.dir)
            .ok()
            .filter(|metadata| metadata.is_dir())
            .map(|metadata| FileIdentity::of(&metadata))
            .map(|identity| (identity.device, identity.inode));
        let another = lost || which != self.which;
        if another {
            self.which = which;
            let watched = which.map(|_| watch(&self.dir));
            self.is_native = watched == Some(Ok(()));
            if let Some(Err(reason)) = watched {
                tracing::warn!(dir = %self.dir.display(), %reason, "a plugin directory is polled");
            }
        }
        if self.is_native {
            return another;
        }
        let seen = fingerprint(&self.dir);
        another | (std::mem::replace(&mut self.seen, seen) != seen)
    }
}

/// The same for the same files in the same states, in any order.
fn fingerprint(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .take(ENTRIES_MAX)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let metadata = std::fs::metadata(entry.path())
                .or_else(|_| entry.metadata())
                .ok()?;
            let mut hasher = DefaultHasher::new();
            (entry.file_name(), FileIdentity::of(&metadata)).hash(&mut hasher);
            Some(hasher.finish())
        })
        .fold(1, u64::wrapping_add)
}
