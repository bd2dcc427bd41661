//! Keys of thread-specific values: which there are, and which a library has left behind.

use super::interpose::pthread_key_delete;
use libc::pthread_key_t;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

/// A key as it was when its library was about to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeftKey {
    number: pthread_key_t,
    made: u64,
}

struct Key {
    /// Which key it is of all that there ever were; 0 if there is none. A number is used again, and so is a destructor's address.
    made: AtomicU64,
    destructor: AtomicUsize,
}

const KEYS_MAX: usize = 1024;

static KEYS: [Key; KEYS_MAX] = [const {
    Key {
        made: AtomicU64::new(0),
        destructor: AtomicUsize::new(0),
    }
}; KEYS_MAX];
static MADE: AtomicU64 = AtomicU64::new(1);

/// glibc has just made it.
pub(super) fn made(number: pthread_key_t, destructor: usize) {
    if let Some(key) = KEYS.get(number as usize) {
        key.destructor.store(destructor, SeqCst);
        key.made.store(MADE.fetch_add(1, SeqCst), SeqCst);
    }
}

/// It is about to be deleted: afterwards the number may be another's.
pub(super) fn forget(number: pthread_key_t) {
    if let Some(key) = KEYS.get(number as usize) {
        key.made.store(0, SeqCst);
    }
}

/// Keys whose destructor lies in one of the ranges.
pub(super) fn with_destructor_in(contains: impl Fn(usize) -> bool) -> Vec<LeftKey> {
    let inside = |(number, key): (usize, &Key)| {
        let made = key.made.load(SeqCst);
        let destructor = key.destructor.load(SeqCst);
        (made != 0 && destructor != 0 && contains(destructor)).then_some(LeftKey {
            number: number as pthread_key_t,
            made,
        })
    };
    KEYS.iter().enumerate().filter_map(inside).collect()
}

/// Deletes a key that its maker left behind, unless that is gone: its number may be somebody else's since, who may lie where its
/// maker lay.
///
/// # Safety
/// The library with the key's destructor is unmapped, and no thread that ran its code is left.
pub(super) unsafe fn delete(left: LeftKey) {
    let Some(key) = KEYS.get(left.number as usize) else {
        return;
    };
    if key.made.compare_exchange(left.made, 0, SeqCst, SeqCst).is_ok() {
        // SAFETY: still the key that was left behind; nobody uses it any more (the caller's contract).
        unsafe { pthread_key_delete(left.number) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::interpose::pthread_key_create;
    use super::*;

    unsafe extern "C" fn destructor(_: *mut libc::c_void) {}

    fn make() -> pthread_key_t {
        let mut number = 0;
        // SAFETY: writes to a local; the destructor does nothing.
        assert_eq!(unsafe { pthread_key_create(&mut number, Some(destructor)) }, 0);
        number
    }

    #[test]
    fn a_key_that_was_made_anew_at_the_same_place_is_not_the_one_that_was_left() {
        let number = make();
        let ours = |address| address == destructor as *const () as usize;
        let left = with_destructor_in(ours);
        assert_eq!(left.len(), 1);
        // Its library deletes it as it goes, and the next one, which has come to lie there, is given its number.
        forget(number);
        assert!(with_destructor_in(ours).is_empty());
        made(number, destructor as *const () as usize);
        // SAFETY: nobody uses it.
        unsafe { delete(left[0]) };
        let still = with_destructor_in(ours);
        assert_eq!(still.len(), 1, "it was taken for the one that was left");
        // SAFETY: nobody uses it.
        assert_eq!(unsafe { pthread_key_delete(number) }, 0);
    }
}
