//! The thread that writes, and what it does when the disk or the file fails: it degrades alone, keeps what it holds, and tries again.

use super::History;
use super::config::HistoryConfig;
use super::error::HistoryError;
use super::open::{self, Identity, Lock};
use super::queue::Queue;
use super::steps::ClockWatch;
use super::store::{Clock, Limits, Store};
use extman_model::clock::{self, Monotonic};
use extman_model::history::{HistoryState, Kept, Trimmed};
use extman_model::record::{LedgerRow, Record, Turn};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Without records, that the host lives is written down so often.
const HEARTBEAT: Duration = Duration::from_secs(10);
const FOLD: Duration = Duration::from_secs(10);
const EXPIRE: Duration = Duration::from_secs(60);
const CHECK: Duration = Duration::from_secs(60);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Steps of trimming between two batches.
const TRIMS_AT_ONCE: usize = 8;
/// Records in one transaction.
const CHUNK_MAX: usize = 8192;

/// What the writer tells of itself.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) state: HistoryState,
    pub(super) written: u64,
    pub(super) oldest_unix_ms: Option<u64>,
    pub(super) last_write_unix_ms: Option<u64>,
    pub(super) set_aside: Vec<PathBuf>,
    pub(super) replaced: u64,
    pub(super) trimmed: Vec<Trimmed>,
}

/// The thread's own.
pub(super) struct Writer {
    path: PathBuf,
    limits: Limits,
    batch: Duration,
    queue: Arc<Queue>,
    told: Arc<Mutex<Told>>,
    clock: Arc<ClockWatch>,
    suspect: Arc<AtomicBool>,
    file: Option<Store>,
    /// Of the file that was last open.
    identity: Option<Identity>,
    /// Taken from the queue, not written yet.
    pending: Vec<Record>,
    /// Records that are tried in one transaction: fewer where there is little room.
    chunk: usize,
    /// Spans that went on when the file was last closed, and what was known of the clock.
    carried: Vec<Turn>,
    clock_known: Option<Clock>,
    /// All that this host wrote into the ledger: a new file begins with it.
    ledger: BTreeMap<Arc<str>, LedgerRow>,
    /// The host itself has set the file aside that was last open.
    was_set_aside: bool,
    /// When it began, by both clocks: retention must not believe a wall clock that leaps ahead.
    began: (u64, Monotonic),
    due: Due,
    /// The last field: the file is closed before the lock is free.
    _lock: Lock,
}

/// When what is next to be done.
#[derive(Default)]
struct Due {
    heartbeat: Option<Monotonic>,
    fold: Option<Monotonic>,
    expire: Option<Monotonic>,
    /// No sooner than this is the file looked through again.
    check: Option<Monotonic>,
}

impl Writer {
    /// Opens the file. What may pass, such as a full disk, is tried again later.
    pub(super) fn open(config: &HistoryConfig, of: &History) -> Result<Self, HistoryError> {
        let now_ms = clock::unix_ms(clock::wall());
        let mut writer = Writer {
            path: config.file.clone(),
            limits: Limits::of(config),
            batch: config.batch(),
            queue: of.queue.clone(),
            told: of.told.clone(),
            clock: of.clock.clone(),
            suspect: of.suspect.clone(),
            _lock: open::lock(&config.file)?,
            file: None,
            identity: None,
            pending: Vec::new(),
            chunk: CHUNK_MAX,
            carried: Vec::new(),
            clock_known: None,
            ledger: BTreeMap::new(),
            was_set_aside: false,
            began: (now_ms, clock::monotonic()),
            due: Due::default(),
        };
        match writer.reopen(now_ms) {
            Err(error) if !error.may_pass() => Err(error),
            Err(error) => {
                writer.tell_degraded(&error, now_ms);
                Ok(writer)
            }
            Ok(()) => Ok(writer),
        }
    }

    /// Until the history is closed.
    pub(super) fn run(mut self) {
        let mut retry = RETRY_FIRST;
        let mut hold = self.file.is_none();
        let mut wait = if hold { retry } else { self.batch };
        loop {
            let work = self.queue.take(wait, hold);
            super::look_at_the_clock(&self.clock, &self.queue);
            self.pending.extend(work.records);
            let now_ms = clock::unix_ms(clock::wall());
            let result = self.attempt(now_ms, work.urgent);
            let caught_up = result.is_ok() && hold;
            match result {
                Ok(()) => {
                    self.tell_working();
                    (hold, retry) = (false, RETRY_FIRST);
                    wait = if caught_up { Duration::ZERO } else { self.batch };
                }
                Err(error) => {
                    self.tell_degraded(&error, now_ms);
                    (hold, wait) = (true, retry);
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
            if caught_up {
                continue;
            }
            self.queue.done(work.flush, !hold);
            if work.closing {
                break;
            }
        }
        let (queue, pending) = (self.queue.clone(), std::mem::take(&mut self.pending));
        // The file is closed and the lock free before anybody is told.
        drop(self);
        queue.end(&pending);
    }

    /// One turn: writes what is pending, and does a bounded part of the housekeeping.
    fn attempt(&mut self, now_ms: u64, urgent: bool) -> Result<(), HistoryError> {
        match self.write_and_keep_house(now_ms, urgent) {
            Err(error) if error.is_corrupt() => {
                self.close();
                let aside = open::set_aside(&self.path, now_ms)?;
                tracing::error!(%error, aside = %aside.display(), "the history is broken: it was set aside, and a new one is begun");
                self.told().set_aside.push(aside);
                self.was_set_aside = true;
                self.write_and_keep_house(now_ms, urgent)
            }
            Err(error) => {
                if error.is_for_lack_of_room() {
                    // The connection is still good, and while it is open, readers read. Perhaps a part of it fits.
                    self.chunk = (self.chunk / 2).max(1);
                } else {
                    self.close();
                }
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    fn write_and_keep_house(&mut self, now_ms: u64, urgent: bool) -> Result<(), HistoryError> {
        if self.is_gone() {
            self.close();
        }
        if self.file.is_none() {
            self.reopen(now_ms)?;
        }
        let Some(store) = self.file.as_mut() else {
            return Ok(());
        };
        let writing = super::error::database(&self.path, "written");
        let mono = clock::monotonic();
        if is_due(self.due.check, mono) && self.suspect.swap(false, Ordering::Relaxed) {
            self.due.check = Some(mono.after(CHECK));
            open::check(&mut store.connection).map_err(super::error::database(&self.path, "read"))?;
        }
        trim(store, self.limits.size_max, &self.told).map_err(&writing)?;
        if urgent || !self.pending.is_empty() || is_due(self.due.heartbeat, mono) {
            loop {
                let part = self.chunk.min(self.pending.len());
                store.write(&self.pending[..part], now_ms).map_err(&writing)?;
                for written in self.pending.drain(..part) {
                    if let Record::Ledger(row) = written {
                        self.ledger.insert(row.key.clone(), row);
                    }
                }
                self.chunk = (self.chunk * 2).min(CHUNK_MAX);
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                told.written += part as u64;
                told.last_write_unix_ms = Some(now_ms);
                drop(told);
                if self.pending.is_empty() {
                    break;
                }
                trim(store, self.limits.size_max, &self.told).map_err(&writing)?;
            }
            self.due.heartbeat = Some(mono.after(HEARTBEAT));
        }
        if is_due(self.due.fold, mono) && !store.fold(now_ms).map_err(&writing)? {
            self.due.fold = Some(mono.after(FOLD));
        }
        if is_due(self.due.expire, mono) {
            let (wall, begin) = self.began;
            let steady_ms = wall.saturating_add(mono.since(begin).as_millis() as u64);
            let more = store
                .expire(&self.limits.retention, now_ms.min(steady_ms))
                .map_err(&writing)?;
            if !store.shrink().map_err(&writing)? && !more {
                self.due.expire = Some(mono.after(EXPIRE));
            }
            let oldest = store.oldest_ms().map_err(&writing)?;
            self.told
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .oldest_unix_ms = oldest;
        }
        Ok(())
    }

    /// Whether the file or its log was removed or replaced.
    fn is_gone(&self) -> bool {
        self.file.is_some()
            && (open::identity(&self.path).ok() != self.identity
                || !open::beside(&self.path, "-wal").exists())
    }

    fn close(&mut self) {
        if let Some(store) = self.file.take() {
            self.carried = store.turns();
            self.clock_known = Some(store.clock());
        }
    }

    fn reopen(&mut self, now_ms: u64) -> Result<(), HistoryError> {
        let before = self.identity;
        let is_same = before.is_some() && open::identity(&self.path).ok() == before;
        let mut opened = open::open(&self.path, now_ms, is_same)?;
        let reopening = super::error::database(&self.path, "opened");
        opened.store.wall(self.limits.size_max).map_err(reopening)?;
        self.told().set_aside.extend(opened.set_aside);
        // A new file may get the number of the one that was deleted.
        if before.is_some() && (!is_same || before != Some(opened.identity)) {
            if !std::mem::take(&mut self.was_set_aside) {
                tracing::error!(file = %self.path.display(), "the history's file was removed or replaced while the host ran: a new one is begun");
                self.told().replaced += 1;
            }
            self.clock_known = None;
            let carried = std::mem::take(&mut self.carried).into_iter().map(Record::Turn);
            // What was spent of a budget stays spent.
            let ledger = self.ledger.values().cloned().map(Record::Ledger);
            self.pending.splice(0..0, carried.chain(ledger));
        } else if let Some(clock) = self.clock_known.take() {
            opened.store.resume_clock(clock);
        }
        self.identity = Some(opened.identity);
        self.file = Some(opened.store);
        self.due = Due::default();
        Ok(())
    }

    fn tell_working(&self) {
        let mut told = self.told();
        if told.state != HistoryState::Working {
            tracing::info!(file = %self.path.display(), "the history is written again");
            told.state = HistoryState::Working;
        }
    }

    fn tell_degraded(&self, error: &HistoryError, now_ms: u64) {
        let mut told = self.told();
        let text = error.to_string();
        match &mut told.state {
            HistoryState::Degraded { why, .. } => *why = text,
            state => {
                tracing::error!(%error, "the history can't be written for now; the host goes on without it");
                *state = HistoryState::Degraded {
                    why: text,
                    since_unix_ms: now_ms,
                };
            }
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_due(at: Option<Monotonic>, now: Monotonic) -> bool {
    at.is_none_or(|at| at <= now)
}

/// If the file holds more than it may, a bounded part of the oldest goes.
fn trim(store: &mut Store, size_max: u64, told: &Mutex<Told>) -> rusqlite::Result<()> {
    for _ in 0..TRIMS_AT_ONCE {
        match store.trim(size_max)? {
            Some(trimmed) => tell_trimmed(told, trimmed),
            None => break,
        }
    }
    Ok(())
}

fn tell_trimmed(told: &Mutex<Told>, new: Trimmed) {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(trimmed) = told.trimmed.iter_mut().find(|trimmed| trimmed.what == new.what) {
        trimmed.rows += new.rows;
        return;
    }
    let what: Kept = new.what;
    tracing::warn!(
        ?what,
        "the history has reached history.size_max_mib: the oldest goes before its time"
    );
    told.trimmed.push(new);
}
