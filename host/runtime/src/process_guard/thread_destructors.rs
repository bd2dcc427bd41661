//! `__cxa_thread_atexit_impl` for the executable's own objects: destructors of thread-locals without the dynamic loader's lock.
//!
//! glibc's function waits for that lock, which a library's constructor holds as long as it runs: every thread of the host that used a
//! thread-local with a destructor for the first time would stand still, those of the HTTP API included. Libraries are handed on to
//! glibc, which has to keep them mapped.

use super::real::{Real, interpose};
use crate::loader::{is_in_executable, pthread_key_create, pthread_key_delete};
use libc::{c_int, c_void, pthread_key_t};
use std::sync::atomic::{AtomicU64, Ordering::*};

type Destructor = unsafe extern "C" fn(*mut c_void);

/// One destructor that waits for its thread's end. In memory of `malloc`: the Rust allocator may use thread-locals itself.
struct Pending {
    destructor: Destructor,
    object: *mut c_void,
    next: *mut Pending,
}

interpose! {
    /// Has `destructor` run on `object` when the calling thread ends.
    fn __cxa_thread_atexit_impl(destructor: Destructor, object: *mut c_void, library: *mut c_void) -> c_int, or -1, by real {
        if is_in_executable(library.addr()) {
            return register(destructor, object);
        }
        real(destructor, object, library)
    }
}

/// Has `destructor` run on `object` when the calling thread ends, however it does, before those that are registered already; 0 if it will.
/// Takes no lock and no memory of Rust's.
pub(crate) fn register(destructor: Destructor, object: *mut c_void) -> c_int {
    let Some(key) = key() else { return -1 };
    // SAFETY: a plain allocation; null is handled.
    let pending = unsafe { libc::malloc(size_of::<Pending>()) }.cast::<Pending>();
    if pending.is_null() {
        return -1;
    }
    // SAFETY: the key is the host's own; its value is null or the calling thread's last entry.
    let next = unsafe { libc::pthread_getspecific(key) }.cast();
    // SAFETY: fresh memory of this size; malloc aligns for any fundamental type.
    unsafe {
        pending.write(Pending {
            destructor,
            object,
            next,
        })
    };
    // SAFETY: a value that the key's destructor takes.
    if unsafe { libc::pthread_setspecific(key, pending.cast()) } != 0 {
        // SAFETY: from malloc, and nobody else's.
        unsafe { libc::free(pending.cast()) };
        return -1;
    }
    0
}

/// A key of the host's own, made at its first use.
fn key() -> Option<pthread_key_t> {
    /// The key's number and 1 more; 0 before there is one.
    static KEY: AtomicU64 = AtomicU64::new(0);
    let known = KEY.load(Acquire);
    if known != 0 {
        return Some((known - 1) as pthread_key_t);
    }
    let mut key: pthread_key_t = 0;
    // SAFETY: writes to a local; the destructor is the host's own.
    if unsafe { pthread_key_create(&mut key, Some(run)) } != 0 {
        return None;
    }
    match KEY.compare_exchange(0, u64::from(key) + 1, AcqRel, Acquire) {
        Ok(_) => Some(key),
        Err(there) => {
            // SAFETY: nobody has heard of it.
            unsafe { pthread_key_delete(key) };
            Some((there - 1) as pthread_key_t)
        }
    }
}

/// The calling thread ends: the last registered destructor runs first. One that registers another has that run too.
unsafe extern "C" fn run(last: *mut c_void) {
    let Some(key) = key() else { return };
    let mut pending = last.cast::<Pending>();
    while !pending.is_null() {
        // SAFETY: written by `register` on this thread, which alone holds the list.
        let Pending {
            destructor,
            object,
            next,
        } = unsafe { pending.read() };
        // SAFETY: from malloc, and read.
        unsafe { libc::free(pending.cast()) };
        // SAFETY: the rest of the list, to which the destructor may add.
        unsafe { libc::pthread_setspecific(key, next.cast()) };
        // SAFETY: the contract of who registered it.
        unsafe { destructor(object) };
        // SAFETY: the key is the host's own; its value is null or the calling thread's last entry.
        pending = unsafe { libc::pthread_getspecific(key) }.cast();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::sync::{Arc, Mutex};

    struct Noted(Arc<Mutex<Vec<u32>>>, u32);

    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(self.1);
        }
    }

    #[test]
    fn destructor_that_registers_another_has_both_run_before_the_thread_is_joined() {
        thread_local! {
            static FIRST: RefCell<Option<Nesting>> = const { RefCell::new(None) };
            static SECOND: RefCell<Option<Noted>> = const { RefCell::new(None) };
        }
        struct Nesting(Arc<Mutex<Vec<u32>>>);
        impl Drop for Nesting {
            fn drop(&mut self) {
                self.0.lock().unwrap().push(1);
                SECOND.set(Some(Noted(self.0.clone(), 2)));
            }
        }
        let noted = Arc::new(Mutex::new(Vec::new()));
        let given = noted.clone();
        std::thread::spawn(move || FIRST.set(Some(Nesting(given))))
            .join()
            .unwrap();
        assert_eq!(*noted.lock().unwrap(), [1, 2]);
    }

    #[test]
    fn destructors_run_in_the_reverse_order_of_their_registration() {
        unsafe extern "C" fn note(object: *mut c_void) {
            // SAFETY: a box that the test below gave away.
            drop(unsafe { Box::from_raw(object.cast::<Noted>()) });
        }
        let noted = Arc::new(Mutex::new(Vec::new()));
        let given = noted.clone();
        std::thread::spawn(move || {
            for number in 0..3 {
                let object = Box::into_raw(Box::new(Noted(given.clone(), number)));
                let here = NAMES[0].1.cast_mut();
                // SAFETY: the object is the destructor's from here on; the address lies in this executable.
                assert_eq!(unsafe { __cxa_thread_atexit_impl(note, object.cast(), here) }, 0);
            }
        })
        .join()
        .unwrap();
        assert_eq!(*noted.lock().unwrap(), [2, 1, 0]);
    }
}
