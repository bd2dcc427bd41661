//! Where it is kept what was spent: values in the history's key-value table.

use extman_history::History;
use extman_model::clock;
use extman_model::history::HistoryState;
use extman_model::record::{KeyValueRow, Record};
use std::sync::Arc;
use std::time::Duration;

/// Keeps words over restarts of the host. What it can't keep must not be spent.
pub trait Ledger: Send + Sync + 'static {
    /// Whether anything can be kept now.
    ///
    /// # Errors
    /// Why not.
    fn ready(&self) -> Result<(), String>;

    /// The words whose names begin so. Waits for the disk.
    ///
    /// # Errors
    /// They can't be read.
    fn read(&self, prefix: &str) -> Result<Vec<(String, String)>, String>;

    /// Keeps words, each under its name; `None` to forget it. Waits until they are on the disk.
    ///
    /// # Errors
    /// They are not there in time.
    fn keep(&self, words: Vec<(String, Option<String>)>) -> Result<(), String>;

    /// As [`keep`](Self::keep), for what may be lost: waits for nothing.
    fn note(&self, words: Vec<(String, Option<String>)>);

    /// How often it turned out to be broken or gone, so that it was begun anew.
    fn times_lost(&self) -> u64;
}

/// Longer than this, a disk is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

impl Ledger for History {
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
        let word = |row: KeyValueRow| Some((row.key.to_string(), row.value?));
        Ok(rows.into_iter().filter_map(word).collect())
    }

    fn keep(&self, words: Vec<(String, Option<String>)>) -> Result<(), String> {
        self.ready()?;
        if !rows(words).all(|row| self.record(Record::KeyValue(row))) {
            return Err("the history has no room for more before it is written".to_owned());
        }
        match self.flush(PATIENCE) {
            true => Ok(()),
            false => Err(self
                .ready()
                .err()
                .unwrap_or_else(|| format!("the history was not written within {PATIENCE:?}"))),
        }
    }

    fn note(&self, words: Vec<(String, Option<String>)>) {
        rows(words).for_each(|row| {
            self.record(Record::KeyValue(row));
        });
    }

    fn times_lost(&self) -> u64 {
        History::times_lost(self)
    }
}

fn rows(words: Vec<(String, Option<String>)>) -> impl Iterator<Item = KeyValueRow> {
    let at_unix_ms = clock::unix_ms(clock::wall());
    words.into_iter().map(move |(key, value)| KeyValueRow {
        key: Arc::from(key),
        at_unix_ms,
        value,
    })
}
