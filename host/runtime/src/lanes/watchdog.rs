//! One thread that watches all lanes.

use super::lane::Lane;
use crate::sync::{lock, start_vital};
use extman_model::clock::{self, Monotonic};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, Weak};
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

/// Starts it, if it does not run yet: before there are lanes.
pub fn start() {
    STARTED.call_once(|| {
        let begin = || LOOKED.store(clock::monotonic().as_nanos(), Ordering::Release);
        if let Err(error) = start_vital("extman-watchdog", "the watchdog over lanes", begin, run) {
            tracing::error!(%error, "no watchdog: lanes that hang will not be noticed");
        }
    });
}

/// Watches a lane for as long as it lives.
pub(super) fn watch(lane: &Arc<Lane>) {
    start();
    lock(&WATCHED).push(Arc::downgrade(lane));
}

/// How long the host itself stood still between `began` and `now`: stopped, starved, or swapped out. What hangs meanwhile is not to
/// blame. Stalls of under half a second are nobody's business.
pub fn stood_still(began: Monotonic, now: Monotonic) -> Duration {
    let stalls = lock(&STALLS);
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
            let mut stalls = lock(&STALLS);
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
    let stalls = lock(&STALLS).clone();
    lock(&WATCHED).retain(|lane| {
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
