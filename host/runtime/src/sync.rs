//! What the words that threads share are made of. Where all orders of their steps are tried (`tests/loom`), a model's stand in their
//! place.

use extman_model::vital::Vital;
use std::sync::PoisonError;
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};
use std::time::Duration;

/// Locks it, also where somebody panicked with it: what is kept under the host's locks is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a thread that must live, and waits until it has run `begin`. Before anything runs on a lane: a constructor that hangs holds the
/// dynamic loader's lock, which a thread needs to begin and for its first thread-locals.
pub(crate) fn start_vital(name: &str, part: &'static str, begin: fn(), run: fn()) -> std::io::Result<()> {
    let (begun, begins) = std::sync::mpsc::channel::<()>();
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _vital = Vital::part(part);
        begin();
        drop(begun);
        run();
    })?;
    // Nothing is sent: it ends when the other end is dropped.
    begins.recv().unwrap_or_default();
    Ok(())
}

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
    waited.unwrap_or_else(PoisonError::into_inner).0
}
