//! `pthread_create`, `pthread_key_create` and `pthread_key_delete`, seen by the host before glibc sees them.
//!
//! Why: the dynamic loader does not know which threads and keys a library has made. A thread that still runs in a library
//! when it is unmapped crashes the process; so does a key whose destructor lies in it; and Rust's std makes one key a load that it
//! never deletes, so that after about a thousand loads there are none left.
//!
//! The three functions are defined in the host's executable and exported from it, so that libraries bind to them. That takes a
//! linker argument in the embedder's build script; [`interposition`] checks that it was given. Nothing here allocates from
//! Rust, uses thread-locals or takes a lock: it runs inside thread creation and early start-up.

use super::keys;
use super::threads::{self, StartRoutine};
use libc::{c_int, c_void, pthread_attr_t, pthread_key_t, pthread_t};
use std::ffi::CStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::*};

/// Whether the three functions are in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interposition {
    /// Libraries bind to the host's functions.
    Active,
    /// Libraries bind to another function of this name: nothing is known of their threads and keys.
    Missing(&'static str),
}

/// Checks which functions a library binds to. Looked up once: the executable comes first for every library, and a later look-up
/// would wait for the dynamic loader, which a constructor that hangs holds.
pub fn interposition() -> Interposition {
    static SEEN: OnceLock<Interposition> = OnceLock::new();
    *SEEN.get_or_init(look_up)
}

fn look_up() -> Interposition {
    let ours: [(&'static CStr, &'static str, *const c_void); 3] = [
        (
            c"pthread_create",
            "pthread_create",
            pthread_create as *const c_void,
        ),
        (
            c"pthread_key_create",
            "pthread_key_create",
            pthread_key_create as *const c_void,
        ),
        (
            c"pthread_key_delete",
            "pthread_key_delete",
            pthread_key_delete as *const c_void,
        ),
    ];
    for (symbol, name, function) in ours {
        // SAFETY: a look-up by a NUL-terminated name in the global scope, where a library's symbols are looked up first.
        let bound = unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) };
        if !std::ptr::eq(bound, function) {
            return Interposition::Missing(name);
        }
    }
    Interposition::Active
}

type CreateFn =
    unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, StartRoutine, *mut c_void) -> c_int;
type KeyCreateFn =
    unsafe extern "C" fn(*mut pthread_key_t, Option<unsafe extern "C" fn(*mut c_void)>) -> c_int;
type KeyDeleteFn = unsafe extern "C" fn(pthread_key_t) -> c_int;

/// glibc's function of this name.
fn real(symbol: &'static CStr, cache: &AtomicUsize) -> Option<usize> {
    let known = cache.load(Acquire);
    if known != 0 {
        return Some(known);
    }
    // SAFETY: a look-up by a NUL-terminated name in the objects after the executable.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, symbol.as_ptr()) }.addr();
    cache.store(found, Release);
    (found != 0).then_some(found)
}

/// Notes the thread and has glibc make it.
///
/// # Safety
/// As `pthread_create(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: StartRoutine,
    argument: *mut c_void,
) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    let Some(real) = real(c"pthread_create", &REAL) else {
        return libc::ENOSYS;
    };
    // SAFETY: glibc's function of this name has this signature.
    let real: CreateFn = unsafe { std::mem::transmute(real) };
    let Some(package) = threads::note(start, argument) else {
        return libc::EAGAIN;
    };
    // SAFETY: the caller's contract; the package is the new thread's from here on.
    let made = unsafe { real(thread, attributes, threads::run_thread, package.cast()) };
    if made != 0 {
        // SAFETY: no thread was made, so the package is still ours.
        unsafe { threads::forget(package) };
    }
    made
}

/// Has glibc make the key and notes its destructor.
///
/// # Safety
/// As `pthread_key_create(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_key_create(
    key: *mut pthread_key_t,
    destructor: Option<unsafe extern "C" fn(*mut c_void)>,
) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    let Some(real) = real(c"pthread_key_create", &REAL) else {
        return libc::ENOSYS;
    };
    // SAFETY: glibc's function of this name has this signature.
    let real: KeyCreateFn = unsafe { std::mem::transmute(real) };
    // SAFETY: the caller's contract.
    let made = unsafe { real(key, destructor) };
    if made == 0 {
        // SAFETY: glibc has just written it.
        keys::made(unsafe { *key }, destructor.map_or(0, |d| d as usize));
    }
    made
}

/// Forgets the key and has glibc delete it.
///
/// # Safety
/// As `pthread_key_delete(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_key_delete(key: pthread_key_t) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    let Some(real) = real(c"pthread_key_delete", &REAL) else {
        return libc::ENOSYS;
    };
    // SAFETY: glibc's function of this name has this signature.
    let real: KeyDeleteFn = unsafe { std::mem::transmute(real) };
    // Before, not after: once deleted, the number may be another's.
    keys::forget(key);
    // SAFETY: the caller's contract.
    unsafe { real(key) }
}
