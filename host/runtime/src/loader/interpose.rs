//! `pthread_create`, `pthread_key_create` and `pthread_key_delete`, seen by the host before glibc sees them; and whether libraries
//! really bind to these and to the functions of [`process_guard`].
//!
//! Why: the dynamic loader does not know which threads and keys a library has made. A thread that still runs in a library
//! when it is unmapped crashes the process; so does a key whose destructor lies in it; and Rust's std makes one key a load that it
//! never deletes, so that after about a thousand loads there are none left.
//!
//! They are defined in the host's executable and exported from it, so that libraries bind to them. That takes a
//! linker argument in the embedder's build script; [`interposition`] checks that it was given. Nothing here allocates from
//! Rust, uses thread-locals or takes a lock: it runs inside thread creation and early start-up.

use super::keys;
use super::threads::{self, StartRoutine};
use crate::process_guard::{self, Real, interpose};
use libc::{c_int, c_void, pthread_attr_t, pthread_key_t, pthread_t};
use std::ffi::CString;
use std::sync::OnceLock;

/// Whether the host's functions are in place.
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
    prepare();
    process_guard::prepare();
    for (name, function) in NAMES.iter().copied().chain(process_guard::interposed()) {
        let Ok(symbol) = CString::new(name) else { continue };
        // SAFETY: a look-up by a NUL-terminated name in the global scope, where a library's symbols are looked up first.
        let bound = unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) };
        if !std::ptr::eq(bound, function) {
            return Interposition::Missing(name);
        }
    }
    Interposition::Active
}

type Destructor = Option<unsafe extern "C" fn(*mut c_void)>;

interpose! {
    /// Notes the thread and has glibc make it.
    fn pthread_create(thread: *mut pthread_t, attributes: *const pthread_attr_t, start: StartRoutine, argument: *mut c_void) -> c_int, or libc::ENOSYS, by real {
        let Some(package) = threads::note(start, argument) else {
            return libc::EAGAIN;
        };
        // The package is the new thread's from here on.
        let made = real(thread, attributes, threads::run_thread, package.cast());
        if made != 0 {
            // No thread was made, so it is still ours.
            threads::forget(package);
        }
        made
    }

    /// Has glibc make the key and notes its destructor.
    pub(crate) fn pthread_key_create(key: *mut pthread_key_t, destructor: Destructor) -> c_int, or libc::ENOSYS, by real {
        let made = real(key, destructor);
        if made == 0 {
            keys::made(*key, destructor.map_or(0, |d| d as usize));
        }
        made
    }

    /// Forgets the key and has glibc delete it. Before, not after: once deleted, the number may be another's.
    pub(crate) fn pthread_key_delete(key: pthread_key_t) -> c_int, or libc::ENOSYS, by real {
        keys::forget(key);
        real(key)
    }
}
