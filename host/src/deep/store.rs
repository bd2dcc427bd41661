//! Where usage logs are kept: values in the history's key-value table.

use extman_history::History;
use extman_model::clock;
use extman_model::history::HistoryState;
use extman_model::record::{KeyValueRow, Record};
use std::sync::Arc;
use std::time::Duration;

/// Keys with their values; `None` to forget one.
pub type Values = Vec<(String, Option<String>)>;

/// Keeps values over restarts of the host.
pub trait UsageStore: Send + Sync + 'static {
    /// Whether anything can be kept now.
    ///
    /// # Errors
    /// Why not.
    fn ready(&self) -> Result<(), String>;

    /// The values whose keys begin so. Waits for the disk.
    ///
    /// # Errors
    /// They can't be read.
    fn read(&self, prefix: &str) -> Result<Vec<(String, String)>, String>;

    /// Keeps values. Waits until they are on the disk.
    ///
    /// # Errors
    /// They are not there in time.
    fn keep(&self, values: Values) -> Result<(), String>;

    /// As [`keep`](Self::keep), for what may be lost: waits for nothing.
    fn note(&self, values: Values);

    /// How often it turned out to be broken or gone, so that it was begun anew.
    fn times_lost(&self) -> u64;
}

/// Longer than this, a disk is not waited for.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

impl UsageStore for History {
    fn ready(&self) -> Result<(), String> {
        match self.state() {
            HistoryState::Working => Ok(()),
            HistoryState::Degraded { why, .. } => Err(format!("the history can't be written: {why}")),
            HistoryState::Off { why } => Err(format!("there is no history: {why}")),
        }
    }

    fn read(&self, prefix: &str) -> Result<Vec<(String, String)>, String> {
        let rows = self.reader().and_then(|reader| reader.key_values(prefix));
        let rows = rows.map_err(|error| format!("the history can't be read: {error}"))?;
        let value = |row: KeyValueRow| Some((row.key.to_string(), row.value?));
        Ok(rows.into_iter().filter_map(value).collect())
    }

    fn keep(&self, values: Values) -> Result<(), String> {
        self.ready()?;
        if !rows(values).all(|row| self.record(Record::KeyValue(row))) {
            return Err("the history has no room for more before it is written".to_owned());
        }
        match self.flush(WRITE_TIMEOUT) {
            true => Ok(()),
            false => Err(self
                .ready()
                .err()
                .unwrap_or_else(|| format!("the history was not written within {WRITE_TIMEOUT:?}"))),
        }
    }

    fn note(&self, values: Values) {
        rows(values).for_each(|row| {
            self.record(Record::KeyValue(row));
        });
    }

    fn times_lost(&self) -> u64 {
        History::times_lost(self)
    }
}

fn rows(values: Values) -> impl Iterator<Item = KeyValueRow> {
    let at_unix_ms = clock::unix_ms(clock::wall());
    values.into_iter().map(move |(key, value)| KeyValueRow {
        key: Arc::from(key),
        at_unix_ms,
        value,
    })
}
