//! What the words that threads share are made of: the standard library's, or a model's that tries all orders of their steps.

#[cfg(loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};
use std::time::Duration;

/// Waits a little for another thread that holds something for moments; `looks` counts how often that was.
#[cfg(not(loom))]
pub(crate) fn pause(looks: &mut u32) {
    match *looks {
        0..32 => std::hint::spin_loop(),
        32..64 => std::thread::yield_now(),
        _ => std::thread::sleep(Duration::from_micros(50)),
    }
    *looks = looks.saturating_add(1);
}

#[cfg(loom)]
pub(crate) fn pause(_: &mut u32) {
    loom::thread::yield_now();
}

/// Waits while the condition holds, so long at most. The model has no time, and waits for ever.
#[cfg(not(loom))]
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    patience: Duration,
    condition: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    let waited = condvar.wait_timeout_while(guard, patience, condition);
    waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
}

#[cfg(loom)]
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    _: Duration,
    mut condition: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    while condition(&mut guard) {
        guard = condvar
            .wait(guard)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
    }
    guard
}
