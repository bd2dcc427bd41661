//! The environment, read while no library changes it: glibc moves it under whoever reads it.
//!
//! The host's `setenv`, `putenv`, `unsetenv` and `clearenv` stand in the place of glibc's for this. A library that writes to `environ` by
//! itself is not seen.

use super::Real;
use super::acts::note;
use extman_model::ProcessPart;
use libc::{c_char, c_int, c_void};
use std::collections::BTreeMap;
use std::ffi::OsString;
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

/// All variables; `None` if somebody is changing them for that long.
pub(super) fn all() -> Option<BTreeMap<OsString, OsString>> {
    let _lock = Lock::within_bounds()?;
    Some(std::env::vars_os().collect())
}

/// The code that runs on this thread changes the environment.
fn change() -> Option<Lock> {
    note(ProcessPart::Environment);
    Lock::within_bounds()
}

/// Names of the C library that the executable defines here, with the addresses that libraries bind to.
pub(super) fn names() -> [(&'static str, *const c_void); 4] {
    [
        ("setenv", setenv as *const c_void),
        ("putenv", putenv as *const c_void),
        ("unsetenv", unsetenv as *const c_void),
        ("clearenv", clearenv as *const c_void),
    ]
}

/// # Safety
/// As `setenv(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn setenv(name: *const c_char, value: *const c_char, overwrite: c_int) -> c_int {
    type Set = unsafe extern "C" fn(*const c_char, *const c_char, c_int) -> c_int;
    static REAL: Real<Set> = Real::new(c"setenv");
    let Some(real) = REAL.get() else { return -1 };
    let _lock = change();
    // SAFETY: the caller's contract.
    unsafe { real(name, value, overwrite) }
}

/// # Safety
/// As `putenv(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn putenv(assignment: *mut c_char) -> c_int {
    type Put = unsafe extern "C" fn(*mut c_char) -> c_int;
    static REAL: Real<Put> = Real::new(c"putenv");
    let Some(real) = REAL.get() else { return -1 };
    let _lock = change();
    // SAFETY: the caller's contract.
    unsafe { real(assignment) }
}

/// # Safety
/// As `unsetenv(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn unsetenv(name: *const c_char) -> c_int {
    type Unset = unsafe extern "C" fn(*const c_char) -> c_int;
    static REAL: Real<Unset> = Real::new(c"unsetenv");
    let Some(real) = REAL.get() else { return -1 };
    let _lock = change();
    // SAFETY: the caller's contract.
    unsafe { real(name) }
}

/// # Safety
/// As `clearenv(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn clearenv() -> c_int {
    type Clear = unsafe extern "C" fn() -> c_int;
    static REAL: Real<Clear> = Real::new(c"clearenv");
    let Some(real) = REAL.get() else { return -1 };
    let _lock = change();
    // SAFETY: the caller's contract.
    unsafe { real() }
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
                let Some(all) = all() else { continue };
                let of_test = all
                    .iter()
                    .filter(|(name, _)| name.to_string_lossy().starts_with("EXTMAN_TEST_"));
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
        assert!(all().is_none());
        drop(held);
    }
}
