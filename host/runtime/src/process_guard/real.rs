//! The C library's function behind one that the host has put in its place.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering::*};

/// A function of the objects after the executable, looked up once. `F` is its type, an `extern "C"` function pointer.
///
/// Takes no memory and no thread-local: it is used in thread creation and early start-up.
pub(crate) struct Real<F> {
    name: &'static CStr,
    address: AtomicUsize,
    _of: PhantomData<F>,
}

impl<F: Copy> Real<F> {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        assert!(size_of::<F>() == size_of::<usize>(), "a function pointer");
        Real {
            name,
            address: AtomicUsize::new(0),
            _of: PhantomData,
        }
    }

    /// The function; nothing if the C library has none of this name.
    pub(crate) fn get(&self) -> Option<F> {
        let mut address = self.address.load(Acquire);
        if address == 0 {
            // SAFETY: a look-up by a NUL-terminated name in the objects after the executable.
            address = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) }.addr();
            self.address.store(address, Release);
        }
        // SAFETY: `F` is a function pointer of the C library's signature for this name (who made the static says so), and not null.
        (address != 0).then(|| unsafe { std::mem::transmute_copy::<usize, F>(&address) })
    }
}
