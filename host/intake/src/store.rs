//! The host's own copies of plugins, each named by the SHA-256 of its bytes. Nothing is read from where an author writes
//! once it was taken in.
//!
//! Several processes may share a store. A [`StoredPlugin`] holds a shared lock on its copy for as long as it lives, so
//! [`Store::prune`] of any process leaves it alone.

mod copy;
mod error;
mod locks;
mod outcome;

use super::discovery::{self, FoundFile};
use super::files::{self, FileIdentity};
use copy::copy_and_hash;
pub(super) use copy::hash;
pub use copy::hash_chunks;
pub use error::StoreError;
use extman_model::Digest;
use extman_model::clock::{self, unix_ms};
use locks::StoreLock;
pub use outcome::StoreOutcome;
use serde::Serialize;
use std::fs::{DirBuilder, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;

/// A directory of copies.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    outcome: StoreOutcome,
}

/// A plugin's bytes, copied and hashed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StoredPlugin(Arc<Stored>);

#[derive(Debug)]
struct Stored {
    digest: Digest,
    origin: FoundFile,
    origin_mode: u32,
    path: PathBuf,
    /// The copy as it was when its bytes were known to be those of the digest.
    hashed: FileIdentity,
    /// Keeps the shared lock that holds off `prune`.
    _in_use: File,
}

impl StoredPlugin {
    /// SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.0.origin.identity().size_bytes
    }

    /// Where the plugin was found.
    pub fn origin(&self) -> &Path {
        self.0.origin.path()
    }

    /// What was found, before it was copied.
    pub fn found(&self) -> &FoundFile {
        &self.0.origin
    }

    /// The host's copy.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Permission bits of the file where it was found, when it was taken.
    pub(super) fn origin_mode(&self) -> u32 {
        self.0.origin_mode
    }

    /// Opens the copy for reading.
    pub(super) fn open(&self) -> io::Result<OpenedCopy> {
        let hashed = self.0.hashed;
        files::open_regular(&self.0.path, self.size())
            .map(|(file, _)| OpenedCopy { file, hashed })
            .map_err(|unfit| io::Error::other(format!("the stored copy {} {unfit}", self.0.path.display())))
    }
}

/// The host's copy of a plugin, open for reading.
#[derive(Debug)]
pub struct OpenedCopy {
    file: File,
    hashed: FileIdentity,
}

impl OpenedCopy {
    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The open file alone.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Whether nobody has changed it since its bytes were hashed: what is read between two times that this holds is what was hashed.
    /// The directory is the host's alone, and every write moves a time that only the system sets.
    pub fn is_unchanged(&self) -> bool {
        let now = self.file.metadata();
        now.is_ok_and(|now| FileIdentity::of(&now) == self.hashed)
    }
}

/// One of the host's copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredCopy {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// How many there are.
    pub bytes: u64,
    /// When a host last took it, in milliseconds since the Unix epoch.
    pub used_unix_ms: u64,
    /// Whether this or another process uses it now.
    pub in_use: bool,
}

/// Which copies are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PruneLimits {
    /// For how long one may be unused.
    pub unused_for: Duration,
    /// How many bytes may be unused in all.
    pub unused_bytes_max: u64,
}

/// What [`Store::prune`] did.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Copies that were removed.
    pub removed: Vec<Digest>,
    /// How many are left, in use or not.
    pub left: usize,
    /// Bytes that became free.
    pub freed_bytes: u64,
}

impl Store {
    /// Opens the store in `dir`, makes it if it is not there (mode 0700), and removes what a killed process left half done.
    ///
    /// # Errors
    /// The directory can't be made, or others may write to it.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let dir = dir.into();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|e| StoreError::keeping(&dir, e))?;
        let metadata = std::fs::metadata(&dir).map_err(|e| StoreError::at(&dir, e))?;
        let mode = files::mode(&metadata);
        if mode & files::SHARED_WRITE != 0 {
            return Err(StoreError::Exposed { path: dir, mode });
        }
        let outcome = StoreOutcome::default();
        let store = Store { dir, outcome };
        // Somebody who copies at this moment holds the lock: then sweeping is left to a later start.
        if let Some(_alone) = StoreLock::try_alone(&store.dir)? {
            copy::sweep(&store.dir)?;
        }
        Ok(store)
    }

    /// Copies a found file and hashes it on the way. If the store has these bytes already its copy is checked, and used.
    ///
    /// # Errors
    /// The file can't be read, is another one than was found, or changed while it was copied; the store can't be written.
    /// Nothing half done stays behind.
    pub fn take(&self, found: &FoundFile) -> Result<StoredPlugin, StoreError> {
        let taken = self.take_through(found, |file| file);
        taken.inspect_err(|error| self.outcome.failed(error, &self.dir))
    }

    /// Its copy of these bytes, as a file that was found.
    pub(super) fn find(&self, digest: Digest) -> Option<FoundFile> {
        discovery::examine(&self.path_of(digest), u64::MAX).ok()
    }

    /// Whether it could be written to the last time. That it could be opened counts as the first time: its lock is a file in it.
    pub fn outcome(&self) -> StoreOutcome {
        self.outcome.clone()
    }

    /// `take`, with something between the copy and its file.
    fn take_through<W: Write>(
        &self,
        found: &FoundFile,
        wrap: impl FnOnce(File) -> W,
    ) -> Result<StoredPlugin, StoreError> {
        let _taking = StoreLock::shared(&self.dir)?;
        let changed = || StoreError::Changed {
            path: found.path().to_owned(),
        };
        let size = found.identity().size_bytes;
        let opened = files::open_regular(found.resolved(), u64::MAX);
        let (mut source, before) = opened.map_err(|reason| StoreError::unfit(found.path(), reason))?;
        if FileIdentity::of(&before) != found.identity() {
            return Err(changed());
        }
        let copy = |source: &mut File| {
            let incoming = copy::incoming(&self.dir)?;
            let writer = incoming.as_file().try_clone();
            let mut sink = wrap(writer.map_err(|e| StoreError::at(incoming.path(), e))?);
            let (digest, copied) = copy_and_hash(source, &mut sink, size, found.path(), incoming.path())?;
            Ok((Some(incoming), digest, copied))
        };
        let (incoming, digest, copied) = match copy(&mut source) {
            // What is there already needs no room: a host that comes back on a full disk goes on with what it has.
            Err(full @ StoreError::Full { .. }) => {
                self.outcome.failed(&full, &self.dir);
                source.rewind().map_err(|e| StoreError::at(found.path(), e))?;
                let digest = hash(&mut source).map_err(|e| StoreError::at(found.path(), e))?;
                if !self.has(&self.path_of(digest), digest)? {
                    return Err(full);
                }
                (None, digest, size)
            }
            copied => copied?,
        };
        let after = source.metadata().map_err(|e| StoreError::at(found.path(), e))?;
        let at_path = std::fs::symlink_metadata(found.resolved()).map_err(|_| changed())?;
        if copied != size
            || [&after, &at_path]
                .iter()
                .any(|m| FileIdentity::of(m) != found.identity())
        {
            return Err(changed());
        }
        let wrote = incoming.is_some();
        let (path, in_use, hashed) = self.install(incoming, digest)?;
        if wrote {
            self.outcome.worked();
        }
        Ok(StoredPlugin(Arc::new(Stored {
            digest,
            origin: found.clone(),
            origin_mode: files::mode(&after),
            path,
            hashed,
            _in_use: in_use,
        })))
    }

    /// Its copies, by digest.
    ///
    /// # Errors
    /// The store can't be listed.
    pub fn list(&self) -> Result<Vec<StoredCopy>, StoreError> {
        let _alone = StoreLock::alone(&self.dir)?;
        let copies = self.copies()?;
        copies
            .into_iter()
            .map(|(digest, path)| look_at(digest, &path))
            .collect()
    }

    /// Removes copies that are over the limits and in use by no process, those first that have been unused for longest.
    ///
    /// # Errors
    /// The store can't be listed, or a copy can't be removed.
    pub fn prune(&self, limits: PruneLimits, now: SystemTime) -> Result<Pruned, StoreError> {
        let _alone = StoreLock::alone(&self.dir)?;
        let mut pruned = Pruned::default();
        let mut unused = Vec::new();
        for (digest, path) in self.copies()? {
            let copy = look_at(digest, &path)?;
            pruned.left += 1;
            if !copy.in_use {
                unused.push((copy, path));
            }
        }
        unused.sort_by_key(|(copy, _)| copy.used_unix_ms);
        let mut unused_bytes: u64 = unused.iter().map(|(copy, _)| copy.bytes).sum();
        for (copy, path) in unused {
            // One that was used in the future by a clock that was set back is not old.
            let age_ms = unix_ms(now).saturating_sub(copy.used_unix_ms);
            let old = u128::from(age_ms) >= limits.unused_for.as_millis();
            if old || unused_bytes > limits.unused_bytes_max {
                std::fs::remove_file(&path).map_err(|e| StoreError::at(&path, e))?;
                unused_bytes -= copy.bytes;
                pruned.left -= 1;
                pruned.freed_bytes += copy.bytes;
                pruned.removed.push(copy.digest);
            }
        }
        Ok(pruned)
    }

    fn path_of(&self, digest: Digest) -> PathBuf {
        self.dir
            .join(format!("{digest}.{}", std::env::consts::DLL_EXTENSION))
    }

    /// Puts a whole copy under its digest, or finds that a good one is there.
    fn install(
        &self,
        incoming: Option<NamedTempFile>,
        digest: Digest,
    ) -> Result<(PathBuf, File, FileIdentity), StoreError> {
        let _installing = StoreLock::installing(&self.dir)?;
        let path = self.path_of(digest);
        if let Some(incoming) = incoming
            && !self.has(&path, digest)?
        {
            copy::publish(incoming, &path)?;
            let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
            synced.map_err(|e| StoreError::at(&self.dir, e))?;
        }
        let opened = files::open_regular(&path, u64::MAX);
        let (file, _) = opened.map_err(|reason| StoreError::unfit(&path, reason))?;
        file.lock_shared().map_err(|e| StoreError::at(&path, e))?;
        // When it was last used. A store on a disk that can't be written any more is one that can't be pruned either.
        let _ = file.set_modified(clock::wall());
        let hashed = file.metadata().map_err(|e| StoreError::at(&path, e))?;
        let hashed = FileIdentity::of(&hashed);
        Ok((path, file, hashed))
    }

    /// Whether `path` holds the bytes of `digest`. Anything else there was tampered with, and is said to be.
    fn has(&self, path: &Path, digest: Digest) -> Result<bool, StoreError> {
        match files::open_regular(path, u64::MAX) {
            Ok((mut file, metadata)) => {
                let unchanged = hash(&mut file).map_err(|e| StoreError::at(path, e))? == digest
                    && files::mode(&metadata) & files::SHARED_WRITE == 0;
                if !unchanged {
                    tracing::warn!(path = %path.display(), "a stored plugin was changed from outside; it is replaced");
                }
                Ok(unchanged)
            }
            Err(files::Unfit::Gone) => Ok(false),
            Err(reason) => {
                tracing::warn!(path = %path.display(), %reason, "a stored plugin was changed from outside; it is replaced");
                Ok(false)
            }
        }
    }

    fn copies(&self) -> Result<Vec<(Digest, PathBuf)>, StoreError> {
        let mut copies = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(|e| StoreError::at(&self.dir, e))? {
            let path = entry.map_err(|e| StoreError::at(&self.dir, e))?.path();
            let named_by_digest = path
                .extension()
                .is_some_and(|e| e == std::env::consts::DLL_EXTENSION);
            let digest = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            if let (true, Some(digest)) = (named_by_digest, digest) {
                copies.push((digest, path));
            }
        }
        copies.sort();
        Ok(copies)
    }
}

fn look_at(digest: Digest, path: &Path) -> Result<StoredCopy, StoreError> {
    let opened = files::open_regular(path, u64::MAX);
    let (file, metadata) = opened.map_err(|reason| StoreError::unfit(path, reason))?;
    Ok(StoredCopy {
        digest,
        bytes: metadata.len(),
        used_unix_ms: metadata.modified().map_or(0, unix_ms),
        in_use: !locks::try_exclusive(&file, path)?,
    })
}

#[cfg(test)]
mod tests;
