//! The file without the thread: its owner writes when it likes. For tools and measurements.

use super::config::Retention;
use super::error::{self, HistoryError};
use super::open;
use super::reader::Reader;
use super::store::Store;
use extman_model::record::Record;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open history that its holder writes to.
#[derive(Debug)]
pub struct HistoryFile {
    store: Store,
    path: PathBuf,
    _lock: File,
}

impl HistoryFile {
    /// Opens it, or begins it. Spans that a crash left open end where a host was last known to live.
    ///
    /// # Errors
    /// It can't be locked, opened or begun, or is a newer host's or another program's.
    pub fn open(path: &Path, now_unix_ms: u64) -> Result<Self, HistoryError> {
        let lock = open::lock(path)?;
        Ok(HistoryFile {
            store: open::open(path, now_unix_ms, None)?,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Writes a batch, all of it or nothing.
    ///
    /// # Errors
    /// The disk or the file fails.
    pub fn write(&mut self, records: &[Record], now_unix_ms: u64) -> Result<(), HistoryError> {
        let written = self.store.write(records, now_unix_ms);
        written.map_err(error::database(&self.path, "written"))
    }

    /// Brings together what belongs together, a bounded part of it; whether there is more.
    ///
    /// # Errors
    /// The disk or the file fails.
    pub fn fold(&mut self, now_unix_ms: u64) -> Result<bool, HistoryError> {
        let more = self.store.fold(now_unix_ms);
        more.map_err(error::database(&self.path, "folded"))
    }

    /// Removes what is older than it is to be kept, a bounded part of it; whether there is more.
    ///
    /// # Errors
    /// The disk or the file fails.
    pub fn expire(&mut self, keep: &Retention, now_unix_ms: u64) -> Result<bool, HistoryError> {
        let expired = self.store.expire(keep, now_unix_ms);
        let more = expired.and_then(|more| Ok(self.store.shrink()? || more));
        more.map_err(error::database(&self.path, "shortened"))
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it.
    ///
    /// # Panics
    /// It can't be opened again.
    pub fn reader(&self) -> Reader {
        Reader::open(self.path.clone(), Arc::default()).expect("a file that is open opens")
    }

    /// Its size with its log, in bytes.
    pub fn size_bytes(&self) -> u64 {
        open::size(&self.path)
    }
}
