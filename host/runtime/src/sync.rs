//! What the words that threads share are made of. Where all orders of their steps are tried (`tests/loom`), a model's stand in their
//! place.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};
use std::time::Duration;

/// Waits a little for another thread that holds something for moments; `looks` counts how often that was.
pub(crate) fn pause(looks: &mut u32) {
    match *looks {
        0..32 => std::hint::spin_loop(),
        32..64 => std::thread::yield_now(),
        _ => std::thread::sleep(Duration::from_micros(50)),
    }
    *looks = looks.saturating_add(1);
}

/// Waits while the condition holds, so long at most.
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    guard: MutexGuard<'a, T>,
    patience: Duration,
    condition: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    let waited = condvar.wait_timeout_while(guard, patience, condition);
    waited.unwrap_or_else(std::sync::PoisonError::into_inner).0
}
