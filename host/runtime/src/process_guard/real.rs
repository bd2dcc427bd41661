//! Functions that the host's executable defines in front of the C library's own, which they call.

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

    /// That of the name in this text, which ends with NUL.
    pub(crate) const fn of(name: &'static str) -> Self {
        match CStr::from_bytes_with_nul(name.as_bytes()) {
            Ok(name) => Real::new(name),
            Err(_) => panic!("a name that ends with NUL"),
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

/// Defines functions in front of the C library's: `fn NAMES(…) -> …, or WHAT_IF_THERE_IS_NONE, by C_LIBRARYS { … }`; functions of one signature
/// that do the same stand together. With them come `NAMES`, what libraries have to bind to, and `prepare`, which looks the C library's up while
/// the dynamic loader is free.
macro_rules! interpose {
    ($(
        $(#[$doc:meta])*
        $vis:vis fn $($name:ident),+($($argument:ident: $type:ty),*) -> $result:ty, or $failed:expr, by $real:ident { $($body:tt)* }
    )*) => {
        #[allow(non_upper_case_globals, reason = "each has the name of its function")]
        mod real {
            use super::*;
            $($crate::process_guard::interpose! { @each real [$($name)+] (($($argument: $type),*) $result) })*
        }

        $($crate::process_guard::interpose! {
            @each function [$($name)+]
            ([$(#[$doc])* $vis] ($($argument: $type),*) $result, $failed, $real, { $($body)* })
        })*

        pub(super) const NAMES: &[(&str, *const libc::c_void)] =
            &[$($((stringify!($name), $name as *const libc::c_void)),+),*];

        pub(super) fn prepare() {
            $($(let _ = real::$name.get();)+)*
        }
    };
    (@each $what:ident [$($name:ident)+] $of:tt) => {
        $($crate::process_guard::interpose! { @$what $name $of })+
    };
    (@real $name:ident (($($argument:ident: $type:ty),*) $result:ty)) => {
        pub(super) static $name: Real<unsafe extern "C" fn($($type),*) -> $result> =
            Real::of(concat!(stringify!($name), "\0"));
    };
    (@function $name:ident (
        [$(#[$doc:meta])* $vis:vis] ($($argument:ident: $type:ty),*) $result:ty, $failed:expr, $real:ident, { $($body:tt)* }
    )) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// As the C library's function of this name.
        #[unsafe(no_mangle)]
        $vis unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            let Some($real) = real::$name.get() else { return $failed };
            // SAFETY: the caller keeps the contract of the C library's function, whose arguments these are.
            unsafe { $($body)* }
        }
    };
}

pub(crate) use interpose;
