//! Keeps how instances were, in one SQLite file, and reads it again: one thread writes in batches, readers read beside it.
//!
//! * [`History`]: takes records and never waits for the disk; reports its own status. What befalls the disk or the file befalls the history
//!   alone: it degrades, keeps what it holds, tries again, and counts what is lost;
//! * [`Reader`]: uptimes, spans, rollups, checks and releases. It waits for the disk: call it where that may be;
//! * `HistoryFile`, with the feature `file`: the file without the thread, for measurements and tests.
//!
//! What is not here: what the figures mean (the analysis), and when a state changes (the engine).
#![forbid(unsafe_code)]

mod clock_watch;
mod config;
mod error;
#[cfg(any(test, feature = "file"))]
mod file;
mod migrate;
mod open;
mod overlap;
mod queue;
mod reader;
mod rollup;
mod schema;
mod sql;
mod store;
#[cfg(test)]
mod tests;
mod time;
mod uptime;
mod words;
mod writer;

pub use config::{HistoryConfig, Retention};
pub use error::HistoryError;
#[cfg(any(test, feature = "file"))]
pub use file::HistoryFile;
pub use reader::{Bounded, Reader, Rollups};

use clock_watch::ClockWatch;
use extman_model::UnfitFields;
use extman_model::clock;
use extman_model::history::{HistoryState, HistoryStatus};
pub use extman_model::record::Range;
use extman_model::record::Record;
use extman_model::vital::Vital;
use queue::Queue;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use writer::Writer;

/// Opening is waited for so long; then the host goes on, and the history is degraded until it is open.
const OPENING_MAX: Duration = Duration::from_secs(5);

/// Takes records from any thread and has them written down.
#[derive(Debug)]
pub struct History(Arc<Shared>);

/// What the history and the thread that writes it have in common.
#[derive(Debug)]
struct Shared {
    queue: Queue,
    status: Mutex<HistoryStatus>,
    clock: ClockWatch,
    /// The file was open once: what stands there is this host's to read.
    was_open: AtomicBool,
    /// A reader has met what is broken.
    is_suspect: Arc<AtomicBool>,
}

impl History {
    /// Starts the thread, which opens the file. What is wrong with the file or its disk is no error here, nor that another host
    /// writes it: that is tried again and again, see [`status`](Self::status).
    ///
    /// # Errors
    /// The configuration is wrong, or there is no thread. The host can go on with [`off`](Self::off).
    pub fn start(config: &HistoryConfig) -> Result<History, HistoryError> {
        UnfitFields::check(config.faults()).map_err(|error| HistoryError::new(error.to_string()))?;
        if !config.enabled {
            return Ok(History::off("history.enabled is false"));
        }
        let opening = HistoryState::Degraded {
            why: "it is being opened".to_owned(),
            since_unix_ms: clock::unix_ms(clock::wall()),
        };
        let history = History::new(opening, config.queue_max, Some(config.file.clone()));
        let writer = Writer::new(config, history.0.clone());
        let run = move || {
            let _vital = Vital::part("the history's writer");
            writer.run();
        };
        let thread = thread::Builder::new().name("extman-history".to_owned());
        thread
            .spawn(run)
            .map_err(error::file(&config.file, "the history's thread can't be started"))?;
        history.flush(OPENING_MAX);
        Ok(history)
    }

    /// None: every record is lost, and [`status`](Self::status) says why.
    pub fn off(why: impl Into<String>) -> History {
        let history = History::new(HistoryState::Off { why: why.into() }, 0, None);
        history.0.queue.end(&[]);
        history
    }

    /// Has a record written down. Never waits; `false` if there was no room and the record is lost, which is counted. A transition that is
    /// lost leaves the old state standing: send the next one all the same.
    pub fn record(&self, record: Record) -> bool {
        // A step of the clock is recorded before the record that the stepped clock has dated. No span depends on results.
        if !matches!(record, Record::Check(_)) {
            self.0.watch_clock();
        }
        self.0.queue.try_send(record)
    }

    /// Waits until everything before this is written; `false` if it could not be, or not in time.
    pub fn flush(&self, budget: Duration) -> bool {
        self.0.queue.flush(budget)
    }

    /// Writes what waits and ends the thread; `false` if it takes longer. Spans that go on stay so: if nobody has ended them
    /// by a transition, the next start ends them where this host was last known to live.
    pub fn close(&self, budget: Duration) -> bool {
        self.0.queue.close(budget)
    }

    /// Whether anything is written down at all.
    pub fn is_on(&self) -> bool {
        !matches!(self.0.status().state, HistoryState::Off { .. })
    }

    /// What is written down, at the file that stands there now. Waits for the disk.
    ///
    /// # Errors
    /// There is no history, or its file was not open yet or can't be opened.
    pub fn reader(&self) -> Result<Reader, HistoryError> {
        let (file, state) = {
            let status = self.0.status();
            (status.file.clone(), status.state.clone())
        };
        match (file, state) {
            (Some(file), _) if self.0.was_open.load(Ordering::Acquire) => {
                Reader::open(file, self.0.is_suspect.clone())
            }
            (_, HistoryState::Off { why } | HistoryState::Degraded { why, .. }) => {
                Err(HistoryError::new(format!("there is no history: {why}")))
            }
            (_, HistoryState::Working) => Err(HistoryError::new("there is no history: it has no file")),
        }
    }

    /// Whether it works, without a look at the disk.
    pub fn state(&self) -> HistoryState {
        self.0.status().state.clone()
    }

    /// How often the file turned out to be broken, gone or another, so that a new one was begun, since the host began.
    pub fn times_lost(&self) -> u64 {
        let status = self.0.status();
        status.replaced + status.set_aside.len() as u64
    }

    /// How the history itself is.
    pub fn status(&self) -> HistoryStatus {
        let mut status = self.0.status().clone();
        status.size_bytes = status.file.as_deref().map_or(0, open::size);
        (status.queue_len, status.dropped) = (self.0.queue.len(), self.0.queue.dropped());
        status
    }

    fn new(state: HistoryState, queue_max: usize, file: Option<PathBuf>) -> History {
        let status = HistoryStatus {
            state,
            file,
            ..HistoryStatus::default()
        };
        History(Arc::new(Shared {
            queue: Queue::new(queue_max),
            status: Mutex::new(status),
            clock: ClockWatch::new(),
            was_open: AtomicBool::default(),
            is_suspect: Arc::default(),
        }))
    }
}

impl Drop for History {
    /// The thread writes what waits and ends; nobody waits for it here.
    fn drop(&mut self) {
        self.0.queue.close(Duration::ZERO);
    }
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, HistoryStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// If the wall clock was set, a record says so.
    fn watch_clock(&self) {
        self.clock.look(|step| {
            let taken = self.queue.try_send(Record::ClockStep(step));
            if taken {
                tracing::warn!(
                    by_ms = step.by_ms,
                    "the wall clock was set, or the machine slept: the history's spans end there and begin anew"
                );
            }
            taken
        });
    }
}
