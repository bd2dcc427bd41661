//! Whose code a thread runs: what a new thread is told apart by, whoever's function it begins in.
//!
//! A thread that libstdc++ or OpenMP makes for a plugin begins in their code, so its start routine tells nothing. What tells is the
//! thread that makes it: that is inside a plugin, or was made for one itself. Here stand plain stores to a thread-local without a
//! destructor and nothing else: this is read inside thread creation, and written in each call.

use super::image;
use crate::crash::{self, Place};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

/// Whose code it is. A library's is never given to another one, wherever that comes to lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CodeOwner(u64);

thread_local! {
    /// Whose code runs here, [`IN_ENTRY`] and [`IN_CHECK`].
    static HERE: Cell<u64> = const { Cell::new(CodeOwner::UNKNOWN.0) };
}

/// The host's code called the library's, and waits below it for its return.
const IN_ENTRY: u64 = 1 << 63;
/// And that entry is `check`.
const IN_CHECK: u64 = 1 << 62;
const FLAGS: u64 = IN_ENTRY | IN_CHECK;

impl CodeOwner {
    /// Nobody can tell: the thread was made past the host, or ran plugins' code and may do so again as it ends.
    pub const UNKNOWN: CodeOwner = CodeOwner(0);
    /// The host, with all that is linked into it or loaded by it.
    pub const HOST: CodeOwner = CodeOwner(1);

    /// A library's that is about to be loaded.
    pub fn of_a_new_library() -> CodeOwner {
        static NEXT: AtomicU64 = AtomicU64::new(2);
        CodeOwner(NEXT.fetch_add(1, Relaxed))
    }

    /// Whose code runs on this thread.
    pub fn here() -> CodeOwner {
        CodeOwner(HERE.get() & !FLAGS)
    }

    pub const fn is_a_librarys(self) -> bool {
        self.0 > Self::HOST.0
    }

    pub const fn number(self) -> u64 {
        self.0
    }

    pub const fn from_number(number: u64) -> CodeOwner {
        CodeOwner(number)
    }
}

/// Whose a thread is that the calling one makes, if it begins outside of the executable.
pub(super) fn maker() -> CodeOwner {
    let here = CodeOwner::here();
    // SAFETY: take no pointers.
    let is_main = || unsafe { libc::gettid() == libc::getpid() };
    // It ends with the process, and was made by nobody.
    if here == CodeOwner::UNKNOWN && is_main() {
        return CodeOwner::HOST;
    }
    here
}

/// How far from the executable's first address another one in it lies; `None` outside, where plugins lie. Looked up once, by the first
/// thread that makes another: later the dynamic loader may be held by a constructor that hangs.
pub(crate) fn offset_in_executable(address: usize) -> Option<usize> {
    static START: AtomicUsize = AtomicUsize::new(0);
    static END: AtomicUsize = AtomicUsize::new(0);
    if END.load(Acquire) == 0 {
        let extent = image::extent_of_executable();
        START.store(extent.start, Release);
        END.store(extent.end, Release);
    }
    let start = START.load(Acquire);
    (start..END.load(Acquire))
        .contains(&address)
        .then(|| address - start)
}

/// Whether an address lies in the executable, where nothing of a plugin does.
pub(crate) fn is_in_executable(address: usize) -> bool {
    offset_in_executable(address).is_some()
}

/// The thread begins: it was made for this one.
pub(super) fn begin(owner: CodeOwner) {
    HERE.set(owner.0);
}

/// Whether the code that runs on this thread was called by the host: then the thread is not the library's to end.
pub(crate) fn is_in_entry() -> bool {
    HERE.get() & IN_ENTRY != 0
}

/// The entry that the host's code has called on this thread is `check`, until it returns.
#[inline]
pub(super) fn entry_is_check() {
    HERE.set(HERE.get() | IN_CHECK);
}

/// Whether the code that runs on this thread was called to check how its instance is.
pub(super) fn is_in_check() -> bool {
    HERE.get() & IN_CHECK != 0
}

/// While it lives, a library's code runs on this thread.
pub(super) struct Inside {
    before: u64,
    _noted: crash::Entry,
    _of_this_thread: PhantomData<*const ()>,
}

/// The code of `owner` begins to run here, in what the crash journal is to tell.
#[inline]
pub(super) fn inside(owner: CodeOwner, place: Place) -> Inside {
    Inside {
        before: HERE.replace(owner.0 | IN_ENTRY),
        _noted: crash::enter(place),
        _of_this_thread: PhantomData,
    }
}

/// Runs this as code of `owner`.
pub(super) fn in_entry<T>(owner: CodeOwner, place: Place, run: impl FnOnce() -> T) -> T {
    let _inside = inside(owner, place);
    run()
}

/// Runs this as if it were code of `owner`.
#[cfg(test)]
pub(crate) fn on_behalf_of<T>(owner: CodeOwner, run: impl FnOnce() -> T) -> T {
    in_entry(owner, Place::default(), run)
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        // A thread of the host's may run the library's code once more as it ends: destructors of thread-locals.
        let back = if CodeOwner(self.before & !FLAGS).is_a_librarys() {
            self.before
        } else {
            CodeOwner::UNKNOWN.0
        };
        HERE.set(back);
    }
}

/// Runs the host's own code in the midst of a library's.
pub(crate) fn outside<T>(run: impl FnOnce() -> T) -> T {
    struct Back(u64);
    impl Drop for Back {
        fn drop(&mut self) {
            HERE.set(self.0);
        }
    }
    let _noted = crash::leave();
    let _back = Back(HERE.replace(CodeOwner::HOST.0));
    run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_whose_call_it_is_and_a_threads_own_afterwards() {
        let (one, other) = (CodeOwner::of_a_new_library(), CodeOwner::of_a_new_library());
        assert_ne!(one, other);
        std::thread::spawn(move || {
            begin(one);
            assert!(!is_in_entry(), "a thread of its own");
            let nested = inside(other, Place::default());
            assert_eq!(CodeOwner::here(), other);
            assert!(is_in_entry() && !is_in_check());
            entry_is_check();
            assert_eq!(outside(CodeOwner::here), CodeOwner::HOST);
            assert!(!outside(is_in_check) && is_in_check());
            assert_eq!(CodeOwner::here(), other);
            drop(nested);
            assert!(!is_in_check());
            assert_eq!(CodeOwner::here(), one);
            assert!(!is_in_entry());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn what_a_thread_of_the_hosts_does_after_a_call_may_be_the_plugins() {
        std::thread::spawn(|| {
            begin(CodeOwner::HOST);
            drop(inside(CodeOwner::of_a_new_library(), Place::default()));
            assert_eq!(CodeOwner::here(), CodeOwner::UNKNOWN);
        })
        .join()
        .unwrap();
    }
}
