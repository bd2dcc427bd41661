//! The environment, which any library may change while any thread reads it: Rust's standard library, SQLite and others read it without a lock
//! that a library's `setenv` would take, and glibc before 2.41 frees the list under them, of which the process dies.
//!
//! The host's `setenv`, `putenv`, `unsetenv` and `clearenv` stand in the place of glibc's. What they set stays for ever, and so does each list of
//! it: who reads an older one reads texts. `putenv` sets a copy, since the caller's text goes with its library. A library that writes to
//! `environ` by itself is not seen.

use super::acts::note;
use super::real::{Real, interpose};
use crate::sync::{Mutex, lock};
use extman_model::ProcessPart;
use libc::{c_char, c_int};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::*};

static HELD: AtomicBool = AtomicBool::new(false);

/// How often the lock is tried, with the processor yielded between: some milliseconds to read, which can be left; the better part of a second to
/// change.
const TRIES_TO_READ: u32 = 2_000;
const TRIES_TO_CHANGE: u32 = 1_000_000;

/// Held while the environment is read whole or changed. Not waited for without end: a child of a fork may have got it held by nobody.
struct Lock;

impl Lock {
    fn within(tries: u32) -> Option<Lock> {
        for _ in 0..tries {
            if HELD.compare_exchange(false, true, Acquire, Relaxed).is_ok() {
                return Some(Lock);
            }
            // SAFETY: takes nothing.
            unsafe { libc::sched_yield() };
        }
        None
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        HELD.store(false, Release);
    }
}

unsafe extern "C" {
    // POSIX; the libc crate does not have it. Null, or a list of texts that is ended by null.
    static environ: AtomicPtr<AtomicPtr<c_char>>;
}

/// The places of the environment's assignments.
fn places() -> impl Iterator<Item = &'static AtomicPtr<c_char>> {
    // SAFETY: the C library's variable.
    let mut next = unsafe { environ.load(Acquire) };
    std::iter::from_fn(move || {
        // SAFETY: null, or a list that is ended by null and that nobody frees: the kernel's or one of `Kept`.
        let place = unsafe { next.as_ref() }.filter(|place| !place.load(Acquire).is_null())?;
        next = next.wrapping_add(1);
        Some(place)
    })
}

/// What stands at a place, with the NUL that ends it; nothing if it was taken away meanwhile.
fn assignment(place: &AtomicPtr<c_char>) -> &'static [u8] {
    let text = place.load(Acquire);
    // SAFETY: a text that ends with NUL and that nobody frees: the kernel's or one of `Kept`.
    let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) });
    text.map_or(&[], CStr::to_bytes_with_nul)
}

/// Locked with [`Lock`] held, and so at once.
static KEPT: Mutex<Kept> = Mutex::new(Kept {
    assignments: BTreeSet::new(),
    list: &[],
});

/// What was made for the environment, and is never freed.
struct Kept {
    /// Each with the NUL that ends it. One that is set again takes no more room.
    assignments: BTreeSet<&'static [u8]>,
    /// The last list. From the end of its assignments on all is null.
    list: &'static [AtomicPtr<c_char>],
}

impl Kept {
    /// `assignment` is what [`assignment`] gives.
    fn text(&mut self, assignment: Vec<u8>) -> *mut c_char {
        let kept = match self.assignments.get(&*assignment) {
            Some(kept) => kept,
            None => {
                let kept: &[u8] = assignment.leak();
                self.assignments.insert(kept);
                kept
            }
        };
        kept.as_ptr().cast_mut().cast()
    }

    /// Adds a text to the environment, in another list if this one has no room.
    fn add(&mut self, text: *mut c_char) {
        let there: Vec<_> = places().collect();
        // SAFETY: the C library's variable.
        let is_last = std::ptr::eq(unsafe { environ.load(Relaxed) }, self.list.as_ptr());
        // One place more stays null.
        if !is_last || there.len() + 1 >= self.list.len() {
            let copied = there.iter().map(|place| AtomicPtr::new(place.load(Relaxed)));
            let room = (there.len() + 2).next_power_of_two();
            let nulls = std::iter::repeat_with(AtomicPtr::default);
            self.list = copied.chain(nulls).take(room).collect::<Vec<_>>().leak();
            // SAFETY: the C library's variable, which others set with the lock alone.
            unsafe { environ.store(self.list.as_ptr().cast_mut(), Release) };
        }
        self.list[there.len()].store(text, Release);
    }
}

/// Sets a variable, whose name is not empty and has no `=`. The lock is held.
fn set(_: &Lock, name: &[u8], value: &[u8], overwrite: bool) {
    let start = [name, b"="].concat();
    let place = places().find(|place| assignment(place).starts_with(&start));
    if place.is_some() && !overwrite {
        return;
    }
    let mut kept = lock(&KEPT);
    let text = kept.text([&start, value, b"\0"].concat());
    match place {
        Some(place) => place.store(text, Release),
        None => kept.add(text),
    }
}

/// The environment as one block of bytes, cheap to copy and to compare: each assignment with the NUL that ends it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Block(Vec<u8>);

impl Block {
    /// `None` if somebody is changing it for that long.
    pub(super) fn read() -> Option<Block> {
        let _lock = Lock::within(TRIES_TO_READ)?;
        let mut bytes = Vec::with_capacity(4096);
        places().for_each(|place| bytes.extend_from_slice(assignment(place)));
        Some(Block(bytes))
    }

    /// Values by name.
    pub(super) fn variables(&self) -> BTreeMap<&OsStr, &OsStr> {
        fn variable(assignment: &[u8]) -> Option<(&OsStr, &OsStr)> {
            let equals = assignment.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&assignment[..equals], &assignment[equals + 1..]);
            Some((OsStr::from_bytes(name), OsStr::from_bytes(value)))
        }
        self.0.split(|byte| *byte == 0).filter_map(variable).collect()
    }
}

/// The code that runs on this thread changes the environment.
fn change() -> Option<Lock> {
    note(ProcessPart::Environment);
    Lock::within(TRIES_TO_CHANGE)
}

interpose! {
    /// Changes no list that is read.
    fn setenv(name: *const c_char, value: *const c_char, overwrite: c_int) -> c_int, or -1, by real {
        let lock = change();
        let named = if name.is_null() { b"" } else { CStr::from_ptr(name).to_bytes() };
        match lock {
            Some(lock) if !named.is_empty() && !named.contains(&b'=') && !value.is_null() => {
                set(&lock, named, CStr::from_ptr(value).to_bytes(), overwrite != 0);
                0
            }
            _ => real(name, value, overwrite),
        }
    }

    /// Sets a copy.
    fn putenv(assignment: *mut c_char) -> c_int, or -1, by real {
        let lock = change();
        let text = if assignment.is_null() { b"" } else { CStr::from_ptr(assignment).to_bytes() };
        let equals = text.iter().position(|byte| *byte == b'=').filter(|equals| *equals > 0);
        match (lock, equals) {
            (Some(lock), Some(equals)) => {
                set(&lock, &text[..equals], &text[equals + 1..], true);
                0
            }
            _ => real(assignment),
        }
    }

    /// Under the lock.
    fn unsetenv(name: *const c_char) -> c_int, or -1, by real {
        let _lock = change();
        real(name)
    }

    /// Under the lock.
    fn clearenv() -> c_int, or -1, by real {
        let _lock = change();
        real()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_is_read_whole_while_libraries_change_it_on_other_threads() {
        const WRITERS: usize = 4;
        let read = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let read = &read;
                scope.spawn(move || {
                    let mut number = 0;
                    // Each new name has glibc move the whole list.
                    while !read.load(Acquire) {
                        let name = named(writer, number % 512);
                        // SAFETY: texts that end with NUL.
                        unsafe {
                            setenv(name.as_ptr().cast(), c"value".as_ptr(), 1);
                            if number % 512 == 511 {
                                (0..512).for_each(|at| {
                                    unsetenv(named(writer, at).as_ptr().cast());
                                });
                            }
                        }
                        number += 1;
                    }
                });
            }
            for _ in 0..200 {
                // Held for too long by others it is not read, and nothing is made up.
                let Some(block) = Block::read() else { continue };
                let of_test = block.variables().into_iter();
                let of_test = of_test.filter(|(name, _)| name.to_string_lossy().starts_with("EXTMAN_TEST_"));
                of_test.for_each(|(_, value)| assert_eq!(value, "value"));
            }
            read.store(true, Release);
        });
    }

    #[test]
    fn environment_is_read_without_a_lock_while_libraries_change_it_on_other_threads() {
        let read = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in (0..64).cycle().take_while(|_| !read.load(Acquire)) {
                    let name = |at: usize| format!("EXTMAN_UNLOCKED_{at}\0");
                    // SAFETY: texts that end with NUL.
                    unsafe {
                        setenv(name(number).as_ptr().cast(), c"value".as_ptr(), 1);
                        if number % 8 == 7 {
                            (0..number).for_each(|at| {
                                unsetenv(name(at).as_ptr().cast());
                            });
                        }
                    }
                }
            });
            // As Rust's standard library does, whose lock no library takes.
            for _ in 0..5_000 {
                let of_test = std::env::vars_os()
                    .filter(|(name, _)| name.to_string_lossy().starts_with("EXTMAN_UNLOCKED_"));
                of_test.for_each(|(_, value)| assert_eq!(value, "value"));
            }
            read.store(true, Release);
        });
    }

    #[test]
    fn text_of_a_library_that_goes_is_copied() {
        let mut text = *b"EXTMAN_PUT=of a library\0";
        // SAFETY: a text that ends with NUL.
        assert_eq!(unsafe { putenv(text.as_mut_ptr().cast()) }, 0);
        text[11..].fill(b'?');
        assert_eq!(std::env::var("EXTMAN_PUT").as_deref(), Ok("of a library"));
        // SAFETY: as above.
        assert_eq!(unsafe { putenv(c"EXTMAN_PUT".as_ptr().cast_mut()) }, 0);
        assert_eq!(std::env::var_os("EXTMAN_PUT"), None);
    }

    fn named(writer: usize, number: usize) -> String {
        format!("EXTMAN_TEST_{writer}_{number}\0")
    }

    #[test]
    fn lock_that_nobody_gives_back_is_not_waited_for_without_end() {
        let held = Lock::within(TRIES_TO_CHANGE).expect("others hold it for moments");
        assert!(Block::read().is_none());
        drop(held);
    }
}
