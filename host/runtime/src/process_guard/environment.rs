//! The environment, read while no library changes it: glibc moves it under whoever reads it.
//!
//! The host's `setenv`, `putenv`, `unsetenv` and `clearenv` stand in the place of glibc's for this. A library that writes to `environ` by
//! itself is not seen.

use super::acts::note;
use super::real::{Real, interpose};
use extman_model::ProcessPart;
use libc::{c_char, c_int};
use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering::*};

static HELD: AtomicBool = AtomicBool::new(false);

/// How often the lock is tried, with the processor yielded between: some milliseconds.
const TRIES: u32 = 2_000;

/// Held while the environment is read or changed. Not waited for without end: a child of a fork may have got it held by nobody.
struct Lock;

impl Lock {
    fn within_bounds() -> Option<Lock> {
        for _ in 0..TRIES {
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
    // POSIX; the libc crate does not have it.
    static environ: *const *const c_char;
}

/// The environment as one block of bytes, cheap to copy and to compare: each assignment with the NUL that ends it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Block(Vec<u8>);

impl Block {
    /// `None` if somebody is changing it for that long.
    pub(super) fn read() -> Option<Block> {
        let _lock = Lock::within_bounds()?;
        let mut bytes = Vec::with_capacity(4096);
        // SAFETY: the C library's list, null or ended by null, of texts that end with NUL; nobody moves it while the lock is held.
        unsafe {
            let mut next = (&raw const environ).read_volatile();
            while !next.is_null() && !(*next).is_null() {
                bytes.extend_from_slice(CStr::from_ptr(*next).to_bytes_with_nul());
                next = next.add(1);
            }
        }
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
    Lock::within_bounds()
}

interpose! {
    /// Under the lock.
    fn setenv(name: *const c_char, value: *const c_char, overwrite: c_int) -> c_int, or -1, by real {
        let _lock = change();
        real(name, value, overwrite)
    }

    /// Under the lock.
    fn putenv(assignment: *mut c_char) -> c_int, or -1, by real {
        let _lock = change();
        real(assignment)
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

    fn named(writer: usize, number: usize) -> String {
        format!("EXTMAN_TEST_{writer}_{number}\0")
    }

    #[test]
    fn lock_that_nobody_gives_back_is_not_waited_for_without_end() {
        let held = Lock::within_bounds().expect("others hold it for moments");
        assert!(Block::read().is_none());
        drop(held);
    }
}
