//! The file without the thread: its owner writes when it likes. For tools and measurements.

use super::config::Retention;
use super::error::{self, HistoryError};
use super::open::{self, Lock};
use super::reader::Reader;
use super::store::Store;
use extman_model::record::Record;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open history that its holder writes to.
#[derive(Debug)]
pub struct HistoryFile {
    store: Store,
    path: PathBuf,
    _lock: Lock,
}

impl HistoryFile {
    /// Opens it, or begins it. Spans that a crash left open end where a host was last known to live.
    ///
    /// # Errors
    /// It can't be locked, opened or begun, or is a newer host's or another program's.
    pub fn open(path: &Path, now_unix_ms: u64) -> Result<Self, HistoryError> {
        let lock = open::lock(path)?;
        Ok(HistoryFile {
            store: open::open(path, now_unix_ms, None)?.store,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Writes a batch, all of it or nothing.
    ///
    /// # Errors
    /// The disk or the file fails.
    pub fn write(&mut self, records: &[Record], now_unix_ms: u64) -> Result<(), HistoryError> {
        self.store
            .write(records, now_unix_ms)
            .map_err(error::database(&self.path, "written"))
    }

    /// Brings together what belongs together, a bounded part of it; whether there is more.
    ///
    /// # Errors
    /// The disk or the file fails.
    pub fn fold(&mut self, now_unix_ms: u64) -> Result<bool, HistoryError> {
        self.store
            .fold(now_unix_ms)
            .map_err(error::database(&self.path, "folded"))
    }

    /// Removes what is older than it is to be kept, a bounded part of it; whether there is more.
    ///
    /// # Errors
    /// The disk or the file fails.
    pub fn expire(&mut self, keep: &Retention, now_unix_ms: u64) -> Result<bool, HistoryError> {
        let expiring = error::database(&self.path, "shortened");
        let more = self.store.expire(keep, now_unix_ms).map_err(&expiring)?;
        Ok(self.store.shrink().map_err(&expiring)? || more)
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it.
    pub fn reader(&self) -> Reader {
        Reader::new(self.path.clone(), Arc::default())
    }

    /// Its size with its log, in bytes.
    pub fn size_bytes(&self) -> u64 {
        open::size(&self.path)
    }
}
