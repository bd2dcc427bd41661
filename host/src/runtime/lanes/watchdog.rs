//! One thread that watches all lanes.

use super::lane::Lane;
use crate::clock::{self, Monotonic};
use std::collections::VecDeque;
use std::sync::{Mutex, Once, PoisonError, Weak};
use std::time::Duration;

/// How often it looks.
const TICK: Duration = Duration::from_millis(50);
/// Later than this, the host itself was not running, and that time is added to everybody's patience.
const STARVED: Duration = Duration::from_millis(500);
/// Stalls that are remembered.
const STALLS_MAX: usize = 64;

type OnLost = Box<dyn Fn(&Lane) + Send>;

static WATCHED: Mutex<Vec<(Weak<Lane>, Option<OnLost>)>> = Mutex::new(Vec::new());
static STARTED: Once = Once::new();

/// Starts it, if it does not run yet. Before there are lanes: a constructor that hangs holds the dynamic loader's lock, which a
/// thread may need to begin.
pub(super) fn start() {
    STARTED.call_once(|| {
        let (begun, begins) = std::sync::mpsc::channel();
        let watchdog = std::thread::Builder::new()
            .name("extman-watchdog".to_owned())
            .spawn(move || {
                drop(begun);
                run();
            });
        match watchdog {
            // Nothing is sent: it ends when the other end is dropped.
            Ok(_) => begins.recv().unwrap_or_default(),
            Err(error) => tracing::error!(%error, "no watchdog: lanes that hang will not be noticed"),
        }
    });
}

/// Watches a lane for as long as it lives.
pub(super) fn watch(lane: &std::sync::Arc<Lane>) {
    watched().push((std::sync::Arc::downgrade(lane), None));
}

/// Says what to do when a lane is lost: called once, on the watchdog's thread.
pub(super) fn on_lost(lane: &std::sync::Arc<Lane>, then: OnLost) {
    let mut all = watched();
    if let Some(entry) = all
        .iter_mut()
        .find(|(weak, _)| std::ptr::eq(weak.as_ptr(), &raw const **lane))
    {
        entry.1 = Some(then);
    }
}

fn run() {
    let mut last = clock::monotonic();
    // When the host itself stood still, and for how long.
    let mut stalls: VecDeque<(Monotonic, Duration)> = VecDeque::new();
    loop {
        std::thread::sleep(TICK);
        let now = clock::monotonic();
        let late = now.since(last).saturating_sub(TICK);
        if late > STARVED {
            stalls.push_back((now, late));
            if stalls.len() > STALLS_MAX {
                stalls.pop_front();
            }
        }
        last = now;
        look(now, &stalls);
    }
}

fn look(now: Monotonic, stalls: &VecDeque<(Monotonic, Duration)>) {
    let mut lost = Vec::new();
    watched().retain_mut(|(weak, then)| {
        let Some(lane) = weak.upgrade() else {
            return false;
        };
        let overdue = lane.current().filter(|(work, began)| {
            // While the host stood still, the plugin did too: that time is nobody's.
            let forgiven: Duration = stalls
                .iter()
                .filter(|(at, _)| at > began)
                .map(|(_, late)| *late)
                .sum();
            now > work.deadline.after(work.wedge_after).after(forgiven)
        });
        if let Some((_, began)) = overdue
            && lane.lose(began)
        {
            lost.push((lane, then.take()));
            return false;
        }
        true
    });
    for (lane, then) in lost {
        if let Some(then) = then {
            then(&lane);
        }
    }
}

fn watched() -> std::sync::MutexGuard<'static, Vec<(Weak<Lane>, Option<OnLost>)>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}
