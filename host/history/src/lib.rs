//! Where it is written down how instances were, and read again: one SQLite file, one thread that writes in batches, readers beside it.
//!
//! * [`History`]: takes records and never waits for the disk; tells of itself. What befalls the disk or the file befalls the history
//!   alone: it degrades, keeps what it holds, tries again, and counts what is lost;
//! * [`Reader`]: spans, sums, results and releases of one instance, all bounded. It waits for the disk: call it where that may be;
//! * `HistoryFile`, with the feature `file`: the file without the thread, for measurements.
//!
//! What is not here: what the figures mean (the analysis), and when a state changes (the engine).
#![forbid(unsafe_code)]

mod bytes;
mod config;
mod error;
#[cfg(any(test, feature = "file"))]
mod file;
mod open;
mod queue;
mod reader;
mod results;
mod schema;
mod steps;
mod store;
mod sums;
#[cfg(test)]
mod tests;
mod time;
mod words;
mod writer;

pub use config::{HistoryConfig, HistoryConfigError, Retention};
pub use error::HistoryError;
#[cfg(any(test, feature = "file"))]
pub use file::HistoryFile;
pub use reader::{Bounded, Reader, Sums};

use extman_model::history::{HistoryState, HistoryStatus};
pub use extman_model::record::Range;
use extman_model::record::Record;
use extman_model::vital::Vital;
use queue::Queue;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use steps::ClockWatch;
use writer::{Told, Writer};

/// Takes records from any thread and has them written down.
#[derive(Debug)]
pub struct History {
    queue: Arc<Queue>,
    told: Arc<Mutex<Told>>,
    file: Option<PathBuf>,
    clock: Arc<ClockWatch>,
    /// A reader has met what is broken.
    suspect: Arc<AtomicBool>,
}

impl History {
    /// Opens the file and starts the thread. A full disk or a broken file is no error here: see [`status`](Self::status).
    ///
    /// # Errors
    /// The configuration is wrong, the directory can't be made or written to, another host writes the file, or it is a newer host's
    /// or another program's. The host can go on with [`off`](Self::off).
    pub fn start(config: &HistoryConfig) -> Result<History, HistoryError> {
        config
            .validate()
            .map_err(|error| HistoryError::Question(error.to_string()))?;
        if !config.enabled {
            return Ok(History::off("history.enabled is false"));
        }
        let history = History::new(HistoryState::Working, config.queue_max, Some(config.file.clone()));
        let writer = Writer::open(config, &history)?;
        thread::Builder::new()
            .name("extman-history".to_owned())
            .spawn(move || {
                let _vital = Vital::part("the history's writer");
                writer.run();
            })
            .map_err(error::file(&config.file, "given a thread"))?;
        Ok(history)
    }

    /// None: every record is lost, and [`status`](Self::status) says why.
    pub fn off(why: impl Into<String>) -> History {
        let history = History::new(HistoryState::Off { why: why.into() }, 0, None);
        history.queue.end(&[]);
        history
    }

    /// Has a record written down. Never waits; `false` if there was no room and the record is lost, which is counted. A turn that is
    /// lost leaves the old state standing: send the next one all the same.
    pub fn record(&self, record: Record) -> bool {
        // Before it, since it is told by the clock as it is now. Results are many, and no span hangs on them.
        if self.file.is_some() && !matches!(record, Record::Result(_)) {
            look_at_the_clock(&self.clock, &self.queue);
        }
        self.queue.try_send(record)
    }

    /// Waits until everything before this is written; `false` if it could not be, or not in time.
    pub fn flush(&self, budget: Duration) -> bool {
        self.queue.flush(budget)
    }

    /// Writes what waits and ends the thread; `false` if it takes longer. Spans that go on stay so: if nobody has ended them
    /// by a turn, the next start ends them where this host was last known to live.
    pub fn close(&self, budget: Duration) -> bool {
        self.queue.close();
        self.queue.wait_ended(budget)
    }

    /// Whether anything is written down at all.
    pub fn is_on(&self) -> bool {
        !matches!(self.told().state, HistoryState::Off { .. })
    }

    /// What is written down.
    ///
    /// # Errors
    /// There is no history.
    pub fn reader(&self) -> Result<Reader, HistoryError> {
        match (&self.file, &self.told().state) {
            (Some(file), _) => Ok(Reader::new(file.clone(), self.suspect.clone())),
            (None, HistoryState::Off { why }) => Err(HistoryError::Off(why.clone())),
            (None, _) => Err(HistoryError::Off("it has no file".to_owned())),
        }
    }

    /// Whether it works, without a look at the disk.
    pub fn state(&self) -> HistoryState {
        self.told().state.clone()
    }

    /// How often the file turned out to be broken, gone or another, so that a new one was begun, since the host began.
    pub fn times_lost(&self) -> u64 {
        let told = self.told();
        told.replaced + told.set_aside.len() as u64
    }

    /// How the history itself is.
    pub fn status(&self) -> HistoryStatus {
        let size_bytes = self.file.as_deref().map_or(0, open::size);
        let (queue_len, dropped) = (self.queue.len(), self.queue.dropped());
        let told = self.told();
        HistoryStatus {
            state: told.state.clone(),
            file: self.file.clone(),
            size_bytes,
            written: told.written,
            dropped,
            oldest_unix_ms: told.oldest_unix_ms,
            last_write_unix_ms: told.last_write_unix_ms,
            queue_len,
            set_aside: told.set_aside.clone(),
            replaced: told.replaced,
            trimmed: told.trimmed.clone(),
        }
    }

    fn new(state: HistoryState, queue_max: usize, file: Option<PathBuf>) -> History {
        let told = Told {
            state,
            written: 0,
            oldest_unix_ms: None,
            last_write_unix_ms: None,
            set_aside: Vec::new(),
            replaced: 0,
            trimmed: Vec::new(),
        };
        History {
            queue: Arc::new(Queue::new(queue_max)),
            told: Arc::new(Mutex::new(told)),
            file,
            clock: Arc::new(ClockWatch::new()),
            suspect: Arc::default(),
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look_at_the_clock(clock: &ClockWatch, queue: &Queue) {
    clock.look(|step| {
        let taken = queue.try_send(Record::ClockStep(step));
        if taken {
            tracing::warn!(
                by_ms = step.by_ms,
                "the wall clock was set, or the machine slept: the history's spans are moved, or cut there"
            );
        }
        taken
    });
}

impl Drop for History {
    /// The thread writes what waits and ends; nobody waits for it here.
    fn drop(&mut self) {
        self.queue.close();
    }
}
