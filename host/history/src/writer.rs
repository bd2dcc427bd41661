//! The thread that writes, and what it does when the disk or the file fails: it degrades alone, keeps what it holds, and tries again.

use super::Shared;
use super::config::HistoryConfig;
use super::error::{self, HistoryError};
use super::open;
use super::store::Store;
use extman_model::clock::{self, Monotonic};
use extman_model::history::HistoryState;
use extman_model::record::{KeyValueRow, Record, StateTransition};
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often minutes are folded, and that the host lives is written down without records.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often what is old is removed, and how often at most the file is looked through because a reader met what is broken.
const SWEEP: Duration = Duration::from_secs(60);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Steps of trimming between two batches.
const TRIMS_AT_ONCE: usize = 8;
/// Records in one transaction.
const CHUNK_MAX: usize = 8192;

/// The thread's own.
pub(super) struct Writer {
    shared: Arc<Shared>,
    config: HistoryConfig,
    store: Option<Store>,
    /// Of the file that was last open: its device and number.
    identity: Option<(u64, u64)>,
    /// The run, when the file was last closed.
    run: Option<i64>,
    /// Taken from the queue, not written yet.
    pending: Vec<Record>,
    /// Records that are tried in one transaction: fewer where there is little room.
    chunk: usize,
    carried: Carried,
    /// The host itself has set the file aside that was last open.
    was_set_aside: bool,
    /// When it began, by both clocks: retention must not believe a wall clock that leaps ahead.
    began: (u64, Monotonic),
    due: Due,
    /// Most instances with an open span at one time.
    instances: usize,
    /// The last field: the file is closed before the lock is free.
    lock: Option<File>,
}

/// What a new file begins with if the old one is lost: spans that go on, and what is spent of a budget.
#[derive(Default)]
struct Carried {
    spans: BTreeMap<Arc<str>, StateTransition>,
    key_values: BTreeMap<Arc<str>, KeyValueRow>,
}

/// No sooner than this is what comes next to be done.
#[derive(Clone, Copy)]
struct Due {
    heartbeat: Monotonic,
    fold: Monotonic,
    sweep: Monotonic,
    check: Monotonic,
}

impl Due {
    fn all(now: Monotonic) -> Self {
        Due {
            heartbeat: now,
            fold: now,
            sweep: now,
            check: now,
        }
    }
}

impl Writer {
    pub(super) fn new(config: &HistoryConfig, shared: Arc<Shared>) -> Self {
        let now = clock::monotonic();
        Writer {
            shared,
            config: config.clone(),
            store: None,
            identity: None,
            run: None,
            pending: Vec::new(),
            chunk: CHUNK_MAX,
            carried: Carried::default(),
            was_set_aside: false,
            began: (clock::unix_ms(clock::wall()), now),
            due: Due::all(now),
            instances: 0,
            lock: None,
        }
    }

    /// Until the history is closed.
    pub(super) fn run(mut self) {
        let (mut retry, mut wait) = (RETRY_FIRST, Duration::ZERO);
        // What was taken and can't be written would find no room: until the file is open, all stays in the queue.
        let (mut hold, mut flushes) = (true, Vec::new());
        loop {
            let work = self.shared.queue.take(wait, hold);
            self.shared.watch_clock();
            self.pending.extend(work.records);
            flushes.extend(work.flushes);
            let now_ms = clock::unix_ms(clock::wall());
            let is_urgent = !flushes.is_empty() || work.closing;
            match self.attempt(now_ms, is_urgent) {
                Ok(()) => {
                    self.report_working();
                    retry = RETRY_FIRST;
                    if hold {
                        // Now what was held is taken.
                        (hold, wait) = (false, Duration::ZERO);
                        continue;
                    }
                    wait = Duration::from_millis(self.config.batch_ms);
                }
                Err(error) => {
                    self.report_degraded(&error, now_ms);
                    (hold, wait) = (true, retry);
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
            for flush in flushes.drain(..) {
                let _ = flush.try_send(!hold);
            }
            if work.closing {
                break;
            }
        }
        let (shared, pending) = (self.shared.clone(), std::mem::take(&mut self.pending));
        // The file is closed and the lock free before the queue reports its end.
        drop(self);
        shared.queue.end(&pending);
    }

    /// Writes what is pending, and does a bounded part of the housekeeping. A broken file is set aside, and a new one begun.
    fn attempt(&mut self, now_ms: u64, is_urgent: bool) -> Result<(), HistoryError> {
        match self.write_and_keep_house(now_ms, is_urgent) {
            Err(error) if error.is_corrupt() => {
                self.close();
                let aside = open::set_aside(&self.config.file, now_ms)?;
                tracing::error!(%error, aside = %aside.display(), "the history is broken: it was set aside, and a new one is begun");
                self.shared.status().set_aside.push(aside);
                self.was_set_aside = self.identity.is_some();
                self.write_and_keep_house(now_ms, is_urgent)
            }
            Err(error) if error.is_for_lack_of_room() => {
                // The connection is still good, and while it is open, readers read. Perhaps a part of it fits.
                self.chunk = (self.chunk / 2).max(1);
                Err(error)
            }
            Err(error) => {
                self.close();
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    fn write_and_keep_house(&mut self, now_ms: u64, is_urgent: bool) -> Result<(), HistoryError> {
        if self.is_gone() {
            self.close();
        }
        let mut store = match self.store.take() {
            Some(store) => store,
            None => self.open(now_ms)?,
        };
        let result = self.use_file(&mut store, now_ms, is_urgent);
        self.store = Some(store);
        result
    }

    fn use_file(&mut self, store: &mut Store, now_ms: u64, is_urgent: bool) -> Result<(), HistoryError> {
        let now = clock::monotonic();
        if self.due.check <= now && self.shared.is_suspect.swap(false, Ordering::Relaxed) {
            self.due.check = now.after(SWEEP);
            open::check(&mut store.connection).map_err(error::database(&self.config.file, "read"))?;
        }
        let writing = error::database(&self.config.file, "written");
        if is_urgent || !self.pending.is_empty() || self.due.heartbeat <= now {
            self.write(store, now_ms).map_err(&writing)?;
            self.due.heartbeat = now.after(HEARTBEAT);
        }
        self.keep_house(store, now_ms, now).map_err(writing)
    }

    fn write(&mut self, store: &mut Store, now_ms: u64) -> rusqlite::Result<()> {
        loop {
            self.trim(store)?;
            let part = self.chunk.min(self.pending.len());
            store.write(&self.pending[..part], now_ms)?;
            for written in self.pending.drain(..part) {
                self.carried.take(written);
            }
            self.chunk = (self.chunk * 2).min(CHUNK_MAX);
            let mut status = self.shared.status();
            status.written += part as u64;
            status.last_write_unix_ms = Some(now_ms);
            if self.carried.spans.len() > self.instances {
                self.instances = self.carried.spans.len();
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

    /// If the file holds more than it may, a bounded part of the oldest goes.
    fn trim(&self, store: &mut Store) -> rusqlite::Result<()> {
        for _ in 0..TRIMS_AT_ONCE {
            let Some(new) = store.trim(self.config.size_max())? else {
                break;
            };
            let mut status = self.shared.status();
            match status.trimmed.iter_mut().find(|trimmed| trimmed.what == new.what) {
                Some(trimmed) => trimmed.rows += new.rows,
                None => {
                    tracing::warn!(
                        what = ?new.what,
                        "the history has reached history.size_max_mib: the oldest goes before its time"
                    );
                    status.trimmed.push(new);
                }
            }
        }
        Ok(())
    }

    fn keep_house(&mut self, store: &mut Store, now_ms: u64, now: Monotonic) -> rusqlite::Result<()> {
        if self.due.fold <= now && !store.fold(now_ms)? {
            self.due.fold = now.after(HEARTBEAT);
        }
        if self.due.sweep <= now {
            let (wall, begin) = self.began;
            let steady_ms = wall.saturating_add(now.since(begin).as_millis() as u64);
            let more = store.expire(&self.config.retention, now_ms.min(steady_ms))?;
            if !store.shrink()? && !more {
                self.due.sweep = now.after(SWEEP);
            }
            self.shared.status().oldest_unix_ms = store.oldest_ms()?;
        }
        Ok(())
    }

    /// Whether the file or its log was removed or replaced.
    fn is_gone(&self) -> bool {
        let file = &self.config.file;
        self.store.is_some()
            && (open::identity(file) != self.identity || !open::beside(file, "-wal").exists())
    }

    fn close(&mut self) {
        if let Some(store) = self.store.take() {
            self.run = Some(store.run());
        }
    }

    fn open(&mut self, now_ms: u64) -> Result<Store, HistoryError> {
        let file = &self.config.file;
        if self.lock.is_none() {
            self.lock = Some(open::lock(file)?);
        }
        let before = self.identity;
        let is_same = before.is_some() && open::identity(file) == before;
        let store = open::open(file, now_ms, self.run.filter(|_| is_same))?;
        store
            .limit_pages(self.config.size_max())
            .map_err(error::database(file, "opened"))?;
        self.identity = open::identity(file);
        // A new file may get the number of the one that was deleted.
        if before.is_some() && !is_same {
            if !std::mem::take(&mut self.was_set_aside) {
                tracing::error!(file = %file.display(), "the history's file was removed or replaced while the host ran: a new one is begun");
                self.shared.status().replaced += 1;
            }
            self.pending.splice(0..0, self.carried.records());
        }
        self.due = Due::all(clock::monotonic());
        self.shared.was_open.store(true, Ordering::Release);
        Ok(store)
    }

    fn report_working(&self) {
        let mut status = self.shared.status();
        if status.state != HistoryState::Working {
            tracing::info!(file = %self.config.file.display(), "the history is written");
            status.state = HistoryState::Working;
        }
    }

    fn report_degraded(&self, error: &HistoryError, now_ms: u64) {
        let mut status = self.shared.status();
        let text = error.to_string();
        let (is_known, since_unix_ms) = match &status.state {
            HistoryState::Degraded { why, since_unix_ms } => (*why == text, *since_unix_ms),
            _ => (false, now_ms),
        };
        if !is_known {
            tracing::error!(%error, "the history can't be written for now; the host goes on without it");
        }
        status.state = HistoryState::Degraded {
            why: text,
            since_unix_ms,
        };
    }
}

impl Carried {
    /// One more record is written.
    fn take(&mut self, written: Record) {
        match written {
            Record::KeyValue(row) => drop(self.key_values.insert(row.key.clone(), row)),
            Record::Transition(new) if new.state.is_none() => drop(self.spans.remove(&new.instance)),
            Record::Transition(new) => match self.spans.get_mut(&new.instance) {
                // The span goes on.
                Some(open) if open.state == new.state => open.text = new.text.or(open.text.take()),
                _ => drop(self.spans.insert(new.instance.clone(), new)),
            },
            // Spans begin anew where the clock is now.
            Record::ClockStep(step) => self
                .spans
                .values_mut()
                .for_each(|open| open.at_unix_ms = step.to_unix_ms),
            Record::Check(_) | Record::Minute(_) | Record::Release(_) => {}
        }
    }

    fn records(&self) -> impl Iterator<Item = Record> {
        let spans = self.spans.values().cloned().map(Record::Transition);
        spans.chain(self.key_values.values().cloned().map(Record::KeyValue))
    }
}
