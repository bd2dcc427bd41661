//! The thread that writes, and what it does when the disk or the file fails: it degrades alone, keeps what it holds, and tries again.

use super::clock_watch::ClockWatch;
use super::config::HistoryConfig;
use super::error::{self, HistoryError};
use super::open::{self, Identity, Lock};
use super::queue::Queue;
use super::store::{Limits, Run, Store};
use super::{History, lock};
use extman_model::clock::{self, Monotonic};
use extman_model::history::{HistoryState, HistoryStatus, Kept, Trimmed};
use extman_model::record::{KeyValueRow, Record, StateTransition};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Without records, that the host lives is written down so often.
const HEARTBEAT: Duration = Duration::from_secs(10);
const FOLD: Duration = Duration::from_secs(10);
const EXPIRE: Duration = Duration::from_secs(60);
const CHECK: Duration = Duration::from_secs(60);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Steps of trimming between two batches.
const TRIMS_AT_ONCE: usize = 8;
/// Records in one transaction.
const CHUNK_MAX: usize = 8192;

/// The thread's own.
pub(super) struct Writer {
    path: PathBuf,
    config: HistoryConfig,
    limits: Limits,
    queue: Arc<Queue>,
    status: Arc<Mutex<HistoryStatus>>,
    clock: Arc<ClockWatch>,
    opened: Arc<AtomicBool>,
    suspect: Arc<AtomicBool>,
    file: Option<Store>,
    /// Of the file that was last open.
    identity: Option<Identity>,
    /// Taken from the queue, not written yet.
    pending: Vec<Record>,
    /// Records that are tried in one transaction: fewer where there is little room.
    chunk: usize,
    /// Spans that went on when the file was last closed, and the run.
    carried: Vec<StateTransition>,
    run: Option<Run>,
    /// All key-value rows that this host wrote: a new file begins with them.
    key_values: BTreeMap<Arc<str>, KeyValueRow>,
    /// The host itself has set the file aside that was last open.
    was_set_aside: bool,
    /// When it began, by both clocks: retention must not believe a wall clock that leaps ahead.
    began: (u64, Monotonic),
    due: Due,
    /// Most instances with an open span at one time.
    instances: usize,
    /// The last field: the file is closed before the lock is free.
    lock: Option<Lock>,
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
    pub(super) fn new(config: &HistoryConfig, of: &History) -> Self {
        Writer {
            path: config.file.clone(),
            config: config.clone(),
            limits: Limits::of(config),
            queue: of.queue.clone(),
            status: of.status.clone(),
            clock: of.clock.clone(),
            opened: of.opened.clone(),
            suspect: of.suspect.clone(),
            file: None,
            identity: None,
            pending: Vec::new(),
            chunk: CHUNK_MAX,
            carried: Vec::new(),
            run: None,
            key_values: BTreeMap::new(),
            was_set_aside: false,
            began: (clock::unix_ms(clock::wall()), clock::monotonic()),
            due: Due::default(),
            instances: 0,
            lock: None,
        }
    }

    /// Until the history is closed.
    pub(super) fn run(mut self) {
        let mut retry = RETRY_FIRST;
        // What was taken and can't be written would find no room: until the file is open, all stays in the queue.
        let (mut hold, mut wait) = (true, Duration::ZERO);
        loop {
            let work = self.queue.take(wait, hold);
            super::look_at_the_clock(&self.clock, &self.queue);
            self.pending.extend(work.records);
            let now_ms = clock::unix_ms(clock::wall());
            let result = self.attempt(now_ms, work.urgent);
            let caught_up = result.is_ok() && hold;
            match result {
                Ok(()) => {
                    self.report_working();
                    (hold, retry) = (false, RETRY_FIRST);
                    wait = if caught_up {
                        Duration::ZERO
                    } else {
                        self.config.batch()
                    };
                }
                Err(error) => {
                    self.report_degraded(&error, now_ms);
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
        // The file is closed and the lock free before the queue reports its end.
        drop(self);
        queue.end(&pending);
    }

    /// Writes what is pending, and does a bounded part of the housekeeping.
    fn attempt(&mut self, now_ms: u64, urgent: bool) -> Result<(), HistoryError> {
        match self.write_and_keep_house(now_ms, urgent) {
            Err(error) if error.is_corrupt() => {
                self.close();
                let aside = open::set_aside(&self.path, now_ms)?;
                tracing::error!(%error, aside = %aside.display(), "the history is broken: it was set aside, and a new one is begun");
                lock(&self.status).set_aside.push(aside);
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
        let mono = clock::monotonic();
        if let Some(store) = self.file.as_mut()
            && is_due(self.due.check, mono)
            && self.suspect.swap(false, Ordering::Relaxed)
        {
            self.due.check = Some(mono.after(CHECK));
            open::check(&mut store.connection).map_err(error::database(&self.path, "read"))?;
        }
        let path = self.path.clone();
        let writing = error::database(&path, "written");
        if urgent || !self.pending.is_empty() || is_due(self.due.heartbeat, mono) {
            self.write(now_ms).map_err(&writing)?;
            self.due.heartbeat = Some(mono.after(HEARTBEAT));
        }
        self.keep_house(now_ms, mono).map_err(writing)
    }

    fn write(&mut self, now_ms: u64) -> rusqlite::Result<()> {
        let Some(store) = self.file.as_mut() else {
            return Ok(());
        };
        loop {
            trim(store, self.limits.size_max, &self.status)?;
            let part = self.chunk.min(self.pending.len());
            store.write(&self.pending[..part], now_ms)?;
            for written in self.pending.drain(..part) {
                if let Record::KeyValue(row) = written {
                    self.key_values.insert(row.key.clone(), row);
                }
            }
            self.chunk = (self.chunk * 2).min(CHUNK_MAX);
            let mut status = lock(&self.status);
            status.written += part as u64;
            status.last_write_unix_ms = Some(now_ms);
            if store.instances() > self.instances {
                self.instances = store.instances();
                let shortage = self.config.shortage(self.instances);
                if let (Some(text), None) = (&shortage, &status.shortage) {
                    tracing::warn!("the history may have too little room: {text}");
                }
                status.shortage = shortage;
            }
            if self.pending.is_empty() {
                return Ok(());
            }
        }
    }

    fn keep_house(&mut self, now_ms: u64, mono: Monotonic) -> rusqlite::Result<()> {
        let Some(store) = self.file.as_mut() else {
            return Ok(());
        };
        if is_due(self.due.fold, mono) && !store.fold(now_ms)? {
            self.due.fold = Some(mono.after(FOLD));
        }
        if is_due(self.due.expire, mono) {
            let (wall, begin) = self.began;
            let steady_ms = wall.saturating_add(mono.since(begin).as_millis() as u64);
            let more = store.expire(&self.limits.retention, now_ms.min(steady_ms))?;
            if !store.shrink()? && !more {
                self.due.expire = Some(mono.after(EXPIRE));
            }
            lock(&self.status).oldest_unix_ms = store.oldest_ms()?;
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
            self.carried = store.open_spans();
            self.run = Some(store.run());
        }
    }

    fn reopen(&mut self, now_ms: u64) -> Result<(), HistoryError> {
        if self.lock.is_none() {
            self.lock = Some(open::lock(&self.path)?);
        }
        let before = self.identity;
        let is_same = before.is_some() && open::identity(&self.path).ok() == before;
        let opened = open::open(&self.path, now_ms, self.run.filter(|_| is_same))?;
        let reopening = error::database(&self.path, "opened");
        opened.store.wall(self.limits.size_max).map_err(reopening)?;
        lock(&self.status).set_aside.extend(opened.set_aside);
        // A new file may get the number of the one that was deleted.
        if before.is_some() && (!is_same || before != Some(opened.identity)) {
            if !std::mem::take(&mut self.was_set_aside) {
                tracing::error!(file = %self.path.display(), "the history's file was removed or replaced while the host ran: a new one is begun");
                lock(&self.status).replaced += 1;
            }
            let carried = std::mem::take(&mut self.carried)
                .into_iter()
                .map(Record::Transition);
            // What was spent of a budget stays spent.
            let key_values = self.key_values.values().cloned().map(Record::KeyValue);
            self.pending.splice(0..0, carried.chain(key_values));
        }
        self.identity = Some(opened.identity);
        self.file = Some(opened.store);
        self.due = Due::default();
        self.opened.store(true, Ordering::Release);
        Ok(())
    }

    fn report_working(&self) {
        let mut status = lock(&self.status);
        if status.state != HistoryState::Working {
            tracing::info!(file = %self.path.display(), "the history is written");
            status.state = HistoryState::Working;
        }
    }

    fn report_degraded(&self, error: &HistoryError, now_ms: u64) {
        let mut status = lock(&self.status);
        let text = error.to_string();
        let is_known = matches!(&status.state, HistoryState::Degraded { why, .. } if *why == text);
        if !is_known {
            tracing::error!(%error, "the history can't be written for now; the host goes on without it");
        }
        let since_unix_ms = match status.state {
            HistoryState::Degraded { since_unix_ms, .. } => since_unix_ms,
            _ => now_ms,
        };
        status.state = HistoryState::Degraded {
            why: text,
            since_unix_ms,
        };
    }
}

fn is_due(at: Option<Monotonic>, now: Monotonic) -> bool {
    at.is_none_or(|at| at <= now)
}

/// If the file holds more than it may, a bounded part of the oldest goes.
fn trim(store: &mut Store, size_max: u64, status: &Mutex<HistoryStatus>) -> rusqlite::Result<()> {
    for _ in 0..TRIMS_AT_ONCE {
        match store.trim(size_max)? {
            Some(trimmed) => report_trimmed(status, trimmed),
            None => break,
        }
    }
    Ok(())
}

fn report_trimmed(status: &Mutex<HistoryStatus>, new: Trimmed) {
    let mut status = lock(status);
    if let Some(trimmed) = status.trimmed.iter_mut().find(|trimmed| trimmed.what == new.what) {
        trimmed.rows += new.rows;
        return;
    }
    let what: Kept = new.what;
    tracing::warn!(
        ?what,
        "the history has reached history.size_max_mib: the oldest goes before its time"
    );
    status.trimmed.push(new);
}
