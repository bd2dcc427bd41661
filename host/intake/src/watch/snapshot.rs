//! One watched directory: which one it is, who watches it, and what it looked like when nobody else does.

use super::WatchMode;
use crate::files::Identity;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

/// Most entries of a polled directory that are compared.
const ENTRIES_MAX: usize = 100_000;

pub(super) struct Watched {
    dir: PathBuf,
    /// Device and inode of the directory that is there, if one is.
    which: Option<(u64, u64)>,
    mode: WatchMode,
    seen: u64,
}

impl Watched {
    pub fn new(dir: PathBuf) -> Self {
        Watched {
            dir,
            which: None,
            mode: missing(),
            seen: 0,
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn mode(&self) -> WatchMode {
        self.mode.clone()
    }

    /// Says whether the directory changed. `watch` asks the system to watch it from now on; `lost` says that it may have
    /// stopped to.
    pub fn scan(&mut self, lost: bool, watch: impl FnOnce(&Path) -> Result<(), String>) -> bool {
        let which = std::fs::metadata(&self.dir)
            .ok()
            .filter(|metadata| metadata.is_dir())
            .map(|metadata| Identity::of(&metadata))
            .map(|identity| (identity.device, identity.inode));
        let another = lost || which != self.which;
        if another {
            self.which = which;
            self.mode = match which {
                None => missing(),
                Some(_) => watch(&self.dir).map_or_else(WatchMode::Polling, |()| WatchMode::Native),
            };
            tracing::debug!(dir = %self.dir.display(), mode = ?self.mode, "watching");
        }
        if self.mode == WatchMode::Native {
            return another;
        }
        let seen = fingerprint(&self.dir);
        another | (std::mem::replace(&mut self.seen, seen) != seen)
    }
}

fn missing() -> WatchMode {
    WatchMode::Polling("it is not there".to_owned())
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
            (entry.file_name(), Identity::of(&metadata)).hash(&mut hasher);
            Some(hasher.finish())
        })
        .fold(1, u64::wrapping_add)
}
