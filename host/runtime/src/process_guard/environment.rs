//! The environment, which any library may change while any thread reads it. Rust's standard library, SQLite and others read it without a lock that
//! `setenv` of the C library takes. glibc before 2.41 frees the list that they read, and the process ends.
//!
//! The host's `setenv`, `putenv`, `unsetenv` and `clearenv` stand in the place of glibc's. A list of theirs is never freed, and neither is a text: glibc,
//! too, keeps each value that `setenv` was given. No entry is moved, so that whoever reads meanwhile finds all that is not changed. `putenv` sets a copy,
//! since the caller's text goes with its library. A library that writes to `environ` by itself is not seen.

use super::acts::note;
use super::fork;
use super::real::{Real, interpose};
use crate::sync::{Mutex, lock, pause};
use extman_model::{ProcessPart, clock};
use libc::{c_char, c_int};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::*};
use std::time::Duration;

static HELD: AtomicBool = AtomicBool::new(false);

/// How long who reads the environment whole waits for who changes it, and can do without.
const READ_WAIT: Duration = Duration::from_millis(5);
/// How long who changes it waits, and fails then.
const CHANGE_WAIT: Duration = Duration::from_secs(1);

/// Held while the environment is read whole or changed.
struct Lock;

impl Lock {
    /// Not waited for in a forked child: the thread that holds it may not be there.
    fn within(limit: Duration) -> Option<Lock> {
        let (give_up, mut looks) = (clock::monotonic().after(limit), 0);
        while HELD.compare_exchange(false, true, Acquire, Relaxed).is_err() {
            if fork::is_forked_child() || clock::monotonic() >= give_up {
                return None;
            }
            pause(&mut looks);
        }
        Some(Lock)
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

/// The text of a place whose variable is gone. All who read pass over it; glibc's `getenv` looks at two bytes.
static GONE: [u8; 2] = [0; 2];

fn gone() -> *mut c_char {
    GONE.as_ptr().cast_mut().cast()
}

/// The places of the environment's list.
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
    // SAFETY: a text that ends with NUL and that nobody frees: the kernel's, `GONE` or one of `Kept`.
    let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) });
    text.map_or(&[], CStr::to_bytes_with_nul)
}

fn is_of(place: &AtomicPtr<c_char>, name: &[u8]) -> bool {
    let rest = assignment(place).strip_prefix(name);
    rest.is_some_and(|rest| rest.first() == Some(&b'='))
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
    /// The last list.
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

    /// Adds a text to the environment: at a place whose variable is gone, or at the end, in a longer list if this one has no room.
    fn add(&mut self, text: *mut c_char) {
        if let Some(place) = places().find(|place| place.load(Relaxed) == gone()) {
            return place.store(text, Release);
        }
        // SAFETY: the C library's variable.
        let list = unsafe { environ.load(Relaxed) };
        let count = places().count();
        let is_last = std::ptr::eq(list, self.list.as_ptr());
        // One place more stays null.
        if (is_last || list.is_null()) && count + 1 < self.list.len() {
            // Whoever ended it early, or cleared it, wants nothing of what stood there.
            self.list[count..]
                .iter()
                .for_each(|place| place.store(std::ptr::null_mut(), Release));
        } else {
            let copied = places().map(|place| AtomicPtr::new(place.load(Relaxed)));
            let room = (count + 2).next_power_of_two();
            let nulls = std::iter::repeat_with(AtomicPtr::default);
            self.list = copied.chain(nulls).take(room).collect::<Vec<_>>().leak();
        }
        self.list[count].store(text, Release);
        // SAFETY: the C library's variable, which others set with the lock alone.
        unsafe { environ.store(self.list.as_ptr().cast_mut(), Release) };
    }
}

/// Sets a variable. The lock is held.
fn set(_: &Lock, name: &[u8], value: &[u8], overwrite: bool) {
    let place = places().find(|place| is_of(place, name));
    if place.is_some() && !overwrite {
        return;
    }
    let mut kept = lock(&KEPT);
    let text = kept.text([name, b"=", value, b"\0"].concat());
    match place {
        Some(place) => place.store(text, Release),
        None => kept.add(text),
    }
}

/// Takes a variable out, wherever it stands. The lock is held.
fn unset(_: &Lock, name: &[u8]) {
    let of_name = places().filter(|place| is_of(place, name));
    of_name.for_each(|place| place.store(gone(), Release));
}

/// The environment as one block of bytes, cheap to copy and to compare: each assignment with the NUL that ends it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Block(Vec<u8>);

impl Block {
    /// `None` if somebody is changing it for that long.
    pub(super) fn read() -> Option<Block> {
        let _lock = Lock::within(READ_WAIT)?;
        let mut bytes = Vec::with_capacity(4096);
        places()
            .filter(|place| place.load(Relaxed) != gone())
            .for_each(|place| bytes.extend_from_slice(assignment(place)));
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

/// The code that runs on this thread changes the environment. Nothing if it can't now: others hold the lock.
fn change() -> Option<Lock> {
    note(ProcessPart::Environment);
    Lock::within(CHANGE_WAIT)
}

/// What a function returns that the lock was kept from: what the C library's does in a forked child, whose memory is its own.
fn without_lock(real: impl FnOnce() -> c_int) -> c_int {
    if fork::is_forked_child() {
        return real();
    }
    // SAFETY: this thread's own.
    unsafe { *libc::__errno_location() = libc::ENOMEM };
    -1
}

interpose! {
    /// Moves no entry, and frees no list.
    fn setenv(name: *const c_char, value: *const c_char, overwrite: c_int) -> c_int, or -1, by real {
        let named = if name.is_null() { b"" } else { CStr::from_ptr(name).to_bytes() };
        if named.is_empty() || named.contains(&b'=') || value.is_null() {
            // It changes nothing and says so.
            return real(name, value, overwrite);
        }
        let Some(lock) = change() else { return without_lock(|| real(name, value, overwrite)) };
        set(&lock, named, CStr::from_ptr(value).to_bytes(), overwrite != 0);
        0
    }

    /// Sets a copy.
    fn putenv(assignment: *mut c_char) -> c_int, or -1, by real {
        if assignment.is_null() {
            return real(assignment);
        }
        let Some(lock) = change() else { return without_lock(|| real(assignment)) };
        let text = CStr::from_ptr(assignment).to_bytes();
        match text.iter().position(|byte| *byte == b'=') {
            Some(equals) => set(&lock, &text[..equals], &text[equals + 1..], true),
            None => unset(&lock, text),
        }
        0
    }

    /// Moves no entry.
    fn unsetenv(name: *const c_char) -> c_int, or -1, by real {
        let named = if name.is_null() { b"" } else { CStr::from_ptr(name).to_bytes() };
        if named.is_empty() || named.contains(&b'=') {
            return real(name);
        }
        let Some(lock) = change() else { return without_lock(|| real(name)) };
        unset(&lock, named);
        0
    }

    /// Under the lock. glibc frees a list of its own alone, of which there is none.
    fn clearenv() -> c_int, or -1, by real {
        let Some(_lock) = change() else { return without_lock(|| real()) };
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
                    // Each new name needs room in the list.
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
        // Behind those that come and go.
        let constant = c"EXTMAN_CONSTANT";
        // SAFETY: texts that end with NUL.
        unsafe { setenv(constant.as_ptr(), c"value".as_ptr(), 1) };
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
                assert_eq!(std::env::var("EXTMAN_CONSTANT").as_deref(), Ok("value"));
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

    #[test]
    fn child_that_was_forked_while_the_lock_was_held_sets_its_own() {
        fork::watch();
        let held = Lock::within(CHANGE_WAIT).expect("others hold it for moments");
        // SAFETY: the child does what may be done in one, and ends at once.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: texts that end with NUL.
            unsafe {
                let set = setenv(c"EXTMAN_CHILD".as_ptr(), c"1".as_ptr(), 1);
                libc::_exit(set + i32::from(libc::getenv(c"EXTMAN_CHILD".as_ptr()).is_null()));
            }
        }
        drop(held);
        let mut status = -1;
        // SAFETY: writes to this variable.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_eq!(std::env::var_os("EXTMAN_CHILD"), None);
    }

    fn named(writer: usize, number: usize) -> String {
        format!("EXTMAN_TEST_{writer}_{number}\0")
    }

    #[test]
    fn lock_that_nobody_gives_back_is_not_waited_for_without_end() {
        let held = Lock::within(CHANGE_WAIT).expect("others hold it for moments");
        assert!(Block::read().is_none());
        drop(held);
        assert_eq!(without_lock(|| panic!("glibc's own would free a list")), -1);
        let error = std::io::Error::last_os_error();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    }
}
