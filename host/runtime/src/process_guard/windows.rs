//! When the process is compared, and whose code ran meanwhile.
//!
//! A window is open while a step of a plugin runs. What is found different when it closes was done by the plugin of one of the windows
//! that are open then; what is found between windows, by one of the instances that live.

use super::fork::{end_if_forked, take_came_back};
use super::signals;
use super::snapshot::{Difference, Snapshot};
use super::streams;
use super::thread_state::ThreadState;
use crate::loader::Origin;
use extman_model::clock::{self, Monotonic};
use extman_model::{ProcessChange, ProcessPart};
use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Changes that are kept for who asks later.
const CHANGES_MAX: usize = 64;
/// Names that a change is told of at most.
const NAMES_MAX: usize = 8;
/// A comparison that is no older than this stands for one before a window, when many instances start at a time.
const FRESH: Duration = Duration::from_millis(5);

/// Hears of each change, on the thread that found it.
pub type OnChange = Arc<Listening>;
type Listening = dyn Fn(&ProcessChange) + Send + Sync;

static GUARD: Mutex<Guard> = Mutex::new(Guard {
    baseline: None,
    compared: Monotonic::from_nanos(0),
    open: Vec::new(),
    next: 0,
    living: BTreeMap::new(),
    changes: VecDeque::new(),
    listeners: Vec::new(),
});

struct Guard {
    /// The process as it should be; nothing before the first plugin.
    baseline: Option<Snapshot>,
    compared: Monotonic,
    open: Vec<OpenWindow>,
    next: u64,
    /// Instances that were created and not destroyed, by name, with whose code they run.
    living: BTreeMap<String, Origin>,
    changes: VecDeque<ProcessChange>,
    listeners: Vec<Weak<Listening>>,
}

struct OpenWindow {
    id: u64,
    by: String,
    step: &'static str,
    origin: Origin,
}

/// A step of a plugin runs on this thread until it is dropped.
pub(crate) struct Window {
    id: u64,
    thread: ThreadState,
    _of_this_thread: PhantomData<*const ()>,
}

/// Opens a window around a step of the instance `by`. It must be dropped on the same thread, when the step has returned.
pub(crate) fn window(by: &str, step: &'static str, origin: Origin) -> Window {
    let _ = streams::kept();
    let mut found = Vec::new();
    let mut guard = lock();
    match &guard.baseline {
        None => guard.baseline = Some(Snapshot::take()),
        Some(_) if guard.living.is_empty() || clock::monotonic().since(guard.compared) < FRESH => {}
        Some(_) => found = guard.compare(),
    }
    let id = guard.next;
    guard.next += 1;
    guard.open.push(OpenWindow {
        id,
        by: by.to_owned(),
        step,
        origin,
    });
    if step == "create" {
        guard.living.insert(by.to_owned(), origin);
    }
    report(guard, &found);
    Window {
        id,
        thread: ThreadState::of_this_thread(),
        _of_this_thread: PhantomData,
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        end_if_forked();
        let thread = self.thread.put_back();
        let mut guard = lock();
        let mut found = guard.compare();
        let at = guard.open.iter().position(|open| open.id == self.id);
        let Some(open) = at.map(|at| guard.open.remove(at)) else {
            return;
        };
        let changed = [
            (
                thread.mask,
                ProcessPart::SignalMask,
                "changed the signal mask of the host's thread",
            ),
            (
                thread.float,
                ProcessPart::FloatMode,
                "changed the float mode of the host's thread",
            ),
        ];
        for (_, part, text) in changed.into_iter().filter(|(changed, ..)| *changed) {
            found.push(ProcessChange {
                part,
                by: vec![open.by.clone()],
                step: open.step.to_owned(),
                text: text.to_owned(),
                put_back: true,
            });
        }
        report(guard, &found);
    }
}

/// The instance was destroyed, or never came to be: nothing that is found later is its doing.
/// `origin` is its library's: another generation of the same instance may serve.
pub(crate) fn no_longer_lives(name: &str, origin: Origin) {
    let mut guard = lock();
    if guard.living.get(name) == Some(&origin) {
        guard.living.remove(name);
    }
}

/// Compares the process now, outside of any window: for what calls and threads of plugins have changed.
pub fn compare_now() {
    let mut guard = lock();
    if guard.baseline.is_none() {
        return;
    }
    let found = guard.compare();
    report(guard, &found);
}

/// Hears of every change from here on, as long as `listener` lives.
pub fn on_change(listener: &OnChange) {
    let mut guard = lock();
    guard.listeners.retain(|known| known.strong_count() > 0);
    guard.listeners.push(Arc::downgrade(listener));
}

/// The last changes that were found, for a process that has no listener. They are told once.
pub fn take_changes() -> Vec<ProcessChange> {
    lock().changes.drain(..).collect()
}

impl Guard {
    /// Puts back what can be, and says what was found.
    fn compare(&mut self) -> Vec<ProcessChange> {
        let differences = self
            .baseline
            .as_mut()
            .map(Snapshot::reconcile)
            .unwrap_or_default();
        self.compared = clock::monotonic();
        let found = differences
            .into_iter()
            .map(|difference| self.blame(difference, None));
        let mut found: Vec<_> = found.collect();
        if let Some(origin) = take_came_back() {
            let difference = Difference {
                part: ProcessPart::Children,
                text: "forked a child that came back into the host's code, and was ended there".to_owned(),
                put_back: true,
            };
            let mut change = self.blame(difference, Some(origin));
            // It comes back when it likes.
            change.step = "its code".to_owned();
            found.push(change);
        }
        for refused in signals::take_refused() {
            let difference = Difference {
                part: ProcessPart::Signals,
                text: signals::set_text(refused.handler, refused.signal),
                put_back: true,
            };
            found.push(self.blame(difference, Some(refused.origin)));
        }
        found
    }

    fn blame(&self, difference: Difference, origin: Option<Origin>) -> ProcessChange {
        // While a library is being loaded, it is not known yet under which number.
        let of_code = |of: &Origin| {
            origin.is_none_or(|origin| !origin.is_a_librarys() || *of == origin || *of == Origin::UNKNOWN)
        };
        let open: Vec<_> = self.open.iter().filter(|open| of_code(&open.origin)).collect();
        let (mut by, step) = match open.first() {
            Some(first) => (
                open.iter().map(|open| open.by.clone()).collect::<Vec<_>>(),
                first.step,
            ),
            None => {
                let living = self.living.iter().filter(|(_, of)| of_code(of));
                (
                    living.map(|(name, _)| name.clone()).collect(),
                    "its calls or threads",
                )
            }
        };
        by.dedup();
        by.truncate(NAMES_MAX);
        ProcessChange {
            part: difference.part,
            by,
            step: step.to_owned(),
            text: difference.text,
            put_back: difference.put_back,
        }
    }
}

/// Keeps what was found, frees the lock, and tells who listens.
fn report(mut guard: MutexGuard<'_, Guard>, found: &[ProcessChange]) {
    guard.changes.extend(found.iter().cloned());
    let surplus = guard.changes.len().saturating_sub(CHANGES_MAX);
    guard.changes.drain(..surplus);
    let listeners: Vec<OnChange> = guard.listeners.iter().filter_map(Weak::upgrade).collect();
    drop(guard);
    for change in found {
        listeners.iter().for_each(|listener| listener(change));
    }
}

fn lock() -> MutexGuard<'static, Guard> {
    GUARD.lock().unwrap_or_else(PoisonError::into_inner)
}
