//! Turns to publish: what was decided first under the engine's lock is published first, though outside of it. An event that overtook the one before
//! it would stand in the history for good.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Turns {
    next: Mutex<u64>,
    passed: Condvar,
}

/// The right to publish, until it is dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits until all turns of lower numbers are over. Numbers are given under the engine's lock, from 0, and each is waited for.
    pub fn wait_for(&self, number: u64) -> Turn<'_> {
        let waiting = self.passed.wait_while(self.next(), |next| *next != number);
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
        Turn(self)
    }

    fn next(&self) -> MutexGuard<'_, u64> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Also where whoever had it panicked: others wait for theirs.
impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.next() += 1;
        self.0.passed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_order_though_one_of_them_panics() {
        let (turns, seen) = (Turns::default(), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for number in (0..16).rev() {
                let (turns, seen) = (&turns, &seen);
                scope.spawn(move || {
                    let turn = turns.wait_for(number);
                    seen.lock().unwrap().push(number);
                    let dies = move || {
                        let _turn = turn;
                        assert!(number != 7, "as the test wants it");
                    };
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(dies));
                });
            }
        });
        assert_eq!(*seen.lock().unwrap(), (0..16).collect::<Vec<_>>());
    }
}
