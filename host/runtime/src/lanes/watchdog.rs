//! One thread that watches all lanes.

use super::lane::Lane;
use extman_model::clock::{self, Monotonic};
use extman_model::vital::Vital;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::Duration;

/// How often it looks. Where little else happens, its being woken is most of what the host uses of the processor.
const TICK: Duration = Duration::from_millis(100);
/// Later than this, the host itself was not running, and that time is added to everybody's patience.
const STARVED: Duration = Duration::from_millis(500);
/// Stalls that are remembered.
const STALLS_MAX: usize = 64;

static WATCHED: Mutex<Vec<Weak<Lane>>> = Mutex::new(Vec::new());
static STARTED: Once = Once::new();
/// When it looked last, or began, in nanoseconds; 0 before that.
static LOOKED: AtomicU64 = AtomicU64::new(0);
/// When the host itself stood still, and for how long.
static STALLS: Mutex<VecDeque<(Monotonic, Duration)>> = Mutex::new(VecDeque::new());

/// Starts it, if it does not run yet. Before there are lanes: a constructor that hangs holds the dynamic loader's lock, which a
/// thread may need to begin.
pub fn start() {
    STARTED.call_once(|| {
        let (begun, begins) = std::sync::mpsc::channel();
        let watchdog = std::thread::Builder::new()
            .name("extman-watchdog".to_owned())
            .spawn(move || {
                let _vital = Vital::part("the watchdog over lanes");
                LOOKED.store(clock::monotonic().as_nanos(), Ordering::Release);
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
pub(super) fn watch(lane: &Arc<Lane>) {
    start();
    watched().push(Arc::downgrade(lane));
}

/// How long the host itself stood still between `began` and `now`: stopped, starved, or swapped out. What hangs meanwhile is not to
/// blame. Stalls of under half a second are nobody's business.
pub fn stood_still(began: Monotonic, now: Monotonic) -> Duration {
    let stalls = STALLS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = forgiven(&stalls, began);
    // It may be that the watchdog itself has not run yet since.
    let looked = Monotonic::from_nanos(LOOKED.load(Ordering::Acquire));
    let late = now.since(looked.max(began)).saturating_sub(TICK);
    let unknown = if looked.as_nanos() > 0 && now.since(looked) > STARVED + TICK && late > STARVED {
        late
    } else {
        Duration::ZERO
    };
    known + unknown
}

/// When it looked last, or began; `None` if it could not be started.
pub fn looked_at() -> Option<Monotonic> {
    let looked = Monotonic::from_nanos(LOOKED.load(Ordering::Acquire));
    (looked.as_nanos() > 0).then_some(looked)
}

fn run() {
    let mut last = clock::monotonic();
    loop {
        std::thread::sleep(TICK);
        let now = clock::monotonic();
        let late = now.since(last).saturating_sub(TICK);
        if late > STARVED {
            let mut stalls = STALLS.lock().unwrap_or_else(PoisonError::into_inner);
            stalls.push_back((now, late));
            if stalls.len() > STALLS_MAX {
                stalls.pop_front();
            }
        }
        LOOKED.store(now.as_nanos(), Ordering::Release);
        last = now;
        look(now);
    }
}

/// While the host stood still, plugins did too: that time is nobody's.
fn forgiven(stalls: &VecDeque<(Monotonic, Duration)>, began: Monotonic) -> Duration {
    let later = stalls.iter().filter(|(at, _)| *at > began);
    later.map(|(at, late)| (*late).min(at.since(began))).sum()
}

fn look(now: Monotonic) {
    let mut overdue = Vec::new();
    let stalls = STALLS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    watched().retain(|lane| {
        let Some(lane) = lane.upgrade() else {
            return false;
        };
        if let Some((began, lost_at)) = lane.overdue(now)
            && now > lost_at.after(forgiven(&stalls, began))
        {
            overdue.push((lane, began));
        }
        true
    });
    for (lane, began) in overdue {
        lane.lose(began);
    }
}

fn watched() -> MutexGuard<'static, Vec<Weak<Lane>>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}
