//! Notices that something changed in the plugin directories, and says only that: what changed is for a scan to find out.
//!
//! Directories that the system can't watch, and those that are not there yet, are looked at every `poll_ms`. Changes behind
//! a symbolic link that leads out of the directory are not seen: scan now and then as well.

mod snapshot;

use super::config::WatchConfig;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use snapshot::Watched;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Calls back after changes, until it is dropped.
#[derive(Debug)]
pub struct Watch {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Signal {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    changed: bool,
    /// A watched directory itself went away: another may have its name, and even its inode, already.
    lost: bool,
    stop: bool,
}

impl Watch {
    /// Starts to watch `dirs`. `on_change` runs on a thread of its own, at most once every `debounce_ms`, and always after
    /// the last change. It misses nothing that happens after this returned.
    ///
    /// # Errors
    /// The system can't start a thread. A system without file notification is no error: then directories are polled, and the log says so.
    pub fn start(
        dirs: &[PathBuf],
        config: &WatchConfig,
        on_change: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let watcher = if config.poll_only {
            Err("polling was asked for in intake.watch.poll_only".to_owned())
        } else {
            native(dirs, &signal).map_err(|e| format!("the system can't report changes: {e}"))
        };
        let mut directories = Directories::new(dirs, watcher);
        let config = config.clone();
        let shared = Arc::clone(&signal);
        let thread = std::thread::Builder::new()
            .name("extman-watch".to_owned())
            .spawn(move || run(&shared, &mut directories, &config, on_change))?;
        Ok(Watch {
            signal,
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.signal.lock().stop = true;
        self.signal.wake.notify_all();
        // A callback may drop its own watch: a thread can't wait for itself.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Signal {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `hold` says so, for `limit` at most.
    fn wait(&self, limit: Duration, hold: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self
            .wake
            .wait_timeout_while(self.lock(), limit, |state| hold(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

fn run(signal: &Signal, directories: &mut Directories, config: &WatchConfig, on_change: impl Fn()) {
    let [debounce, poll] = [config.debounce_ms, config.poll_ms].map(Duration::from_millis);
    loop {
        let mut state = signal.wait(poll, |state| !state.changed && !state.stop);
        if state.stop {
            return;
        }
        let lost = std::mem::take(&mut state.lost);
        drop(state);
        let polled = directories.scan(lost);
        if !signal.lock().changed && !polled {
            continue;
        }
        let mut state = signal.wait(debounce, |state| !state.stop);
        if state.stop {
            return;
        }
        state.changed = false;
        drop(state);
        on_change();
    }
}

fn native(dirs: &[PathBuf], signal: &Arc<Signal>) -> notify::Result<RecommendedWatcher> {
    let (dirs, signal) = (dirs.to_vec(), Arc::clone(signal));
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error may be a queue that ran over: something was missed, so scan.
        let lost = match &event {
            Ok(event) if is_only_reading(&event.kind) => return,
            Ok(event) => event.paths.iter().any(|path| dirs.contains(path)),
            Err(_) => true,
        };
        let mut state = signal.lock();
        state.changed = true;
        state.lost |= lost;
        drop(state);
        signal.wake.notify_all();
    })
}

/// The host reads plugins itself, and must not wake itself by it.
fn is_only_reading(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}

/// The watcher of the system, or why there is none.
type SystemWatcher = Result<RecommendedWatcher, String>;

/// Has the system watch a directory.
fn hand_over(watcher: &mut SystemWatcher, dir: &Path) -> Result<(), String> {
    let system = watcher.as_mut().map_err(|reason| reason.clone())?;
    let started = catch_unwind(AssertUnwindSafe(|| {
        let _ = system.unwatch(dir);
        system.watch(dir, RecursiveMode::NonRecursive)
    }));
    if let Ok(started) = started {
        return started.map_err(|e| format!("the system can't watch it: {e}"));
    }
    // notify panics where its thread could not be made, and once more when it is dropped.
    let reason = "no thread can be made to hear of changes".to_owned();
    std::mem::forget(std::mem::replace(watcher, Err(reason.clone())));
    Err(reason)
}

struct Directories {
    watcher: SystemWatcher,
    all: Vec<Watched>,
}

impl Directories {
    fn new(dirs: &[PathBuf], watcher: SystemWatcher) -> Self {
        let mut directories = Directories {
            watcher,
            all: dirs.iter().map(|dir| Watched::new(dir.clone())).collect(),
        };
        directories.scan(false);
        directories
    }

    /// Scans what the system does not watch, hands it over to the system where that is possible now, and says whether
    /// anything changed.
    fn scan(&mut self, lost: bool) -> bool {
        let mut changed = false;
        for watched in &mut self.all {
            changed |= watched.scan(lost, |dir| hand_over(&mut self.watcher, dir));
        }
        changed
    }
}

#[cfg(test)]
mod tests;
