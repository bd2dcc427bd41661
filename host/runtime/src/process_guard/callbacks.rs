//! Functions of libraries that the C library keeps and calls later, in a thread of its own or at the process's end.
//!
//! `timer_create`, `mq_notify`, `aio_*`, `lio_listio` and `getaddrinfo_a` take a function that is run in a new thread; `on_exit`, and
//! `__cxa_atexit` for another object than the function's own, keep one for the end. The dynamic loader knows of none of them: a library
//! that is unmapped before such a call crashes the process. So each is noted here, and the census asks before a library is closed.
//!
//! A timer is forgotten when it is deleted, and a message queue's notice when it is withdrawn. Of the others nobody tells when the call is over:
//! what they point into stays in memory.

use super::real::Real;
use crate::loader::{is_in_executable, start_of_object_at};
use libc::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::*};

/// What keeps a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Keeper {
    Timer = 1,
    MessageQueue,
    AsyncIo,
    Resolver,
    Exit,
}

impl Keeper {
    /// For people.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Keeper::Timer => "a timer (timer_create)",
            Keeper::MessageQueue => "a message queue's notice (mq_notify)",
            Keeper::AsyncIo => "asynchronous input and output (aio_*)",
            Keeper::Resolver => "a name's resolution (getaddrinfo_a)",
            Keeper::Exit => "the process's end (on_exit, or __cxa_atexit for another object)",
        }
    }

    fn from_number(number: usize) -> Option<Self> {
        use Keeper::*;
        [Timer, MessageQueue, AsyncIo, Resolver, Exit]
            .into_iter()
            .find(|keeper| *keeper as usize == number)
    }
}

struct Kept {
    /// Address of the function; 0 if the place is free, [`BEING_WRITTEN`] while it is taken.
    function: AtomicUsize,
    keeper: AtomicUsize,
    /// By what it is forgotten again.
    id: AtomicUsize,
}

const BEING_WRITTEN: usize = usize::MAX;
const KEPT_MAX: usize = 1024;

static KEPT: [Kept; KEPT_MAX] = [const {
    Kept {
        function: AtomicUsize::new(0),
        keeper: AtomicUsize::new(0),
        id: AtomicUsize::new(0),
    }
}; KEPT_MAX];
static OVERFLOWED: AtomicBool = AtomicBool::new(false);

/// Takes no lock and no memory: it may run in early start-up.
fn keep(keeper: Keeper, function: usize, id: usize) {
    if function == 0 || is_in_executable(function) {
        return;
    }
    // A function that is kept already takes no second place: what is followed is bounded by functions and not by calls.
    let is_this = |place: &&Kept| {
        place.function.load(Acquire) == function
            && place.keeper.load(Acquire) == keeper as usize
            && place.id.load(Acquire) == id
    };
    if KEPT.iter().any(|place| is_this(&place)) {
        return;
    }
    for place in &KEPT {
        let taken = place.function.compare_exchange(0, BEING_WRITTEN, AcqRel, Acquire);
        if taken.is_ok() {
            place.keeper.store(keeper as usize, Release);
            place.id.store(id, Release);
            place.function.store(function, Release);
            return;
        }
    }
    OVERFLOWED.store(true, Release);
}

fn forget(keeper: Keeper, id: usize) {
    for place in &KEPT {
        if place.keeper.load(Acquire) == keeper as usize && place.id.load(Acquire) == id {
            let function = place.function.load(Acquire);
            if function != 0 && function != BEING_WRITTEN {
                place.function.store(0, Release);
            }
        }
    }
}

/// What will call into a library later.
pub(crate) enum CalledLater {
    By(Keeper),
    /// There were more such functions than the host can follow.
    Unknown,
}

/// Who keeps a function that lies in one of the ranges.
pub(crate) fn called_later(contains: impl Fn(usize) -> bool) -> Option<CalledLater> {
    let found = KEPT.iter().find_map(|place| {
        let function = place.function.load(Acquire);
        let inside = function != 0 && function != BEING_WRITTEN && contains(function);
        inside
            .then(|| Keeper::from_number(place.keeper.load(Acquire)))
            .flatten()
    });
    match found {
        Some(keeper) => Some(CalledLater::By(keeper)),
        None => OVERFLOWED.load(Acquire).then_some(CalledLater::Unknown),
    }
}

/// `struct sigevent` as far as it is read here (sigevent(3type)).
#[repr(C)]
struct SigEvent {
    value: *mut c_void,
    signal: c_int,
    notify: c_int,
    function: usize,
}

/// Notes the function of an event that is to be told in a new thread.
///
/// # Safety
/// Null, or a valid `struct sigevent`.
unsafe fn keep_of(event: *const SigEvent, keeper: Keeper, id: usize) -> bool {
    // SAFETY: the caller's contract.
    let Some(event) = (unsafe { event.as_ref() }) else {
        return false;
    };
    let in_a_thread = event.notify == libc::SIGEV_THREAD;
    if in_a_thread {
        keep(keeper, event.function, id);
    }
    in_a_thread
}

/// # Safety
/// As `timer_create(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn timer_create(
    clock: libc::clockid_t,
    event: *mut SigEvent,
    timer: *mut libc::timer_t,
) -> c_int {
    type Make = unsafe extern "C" fn(libc::clockid_t, *mut SigEvent, *mut libc::timer_t) -> c_int;
    static REAL: Real<Make> = Real::new(c"timer_create");
    let Some(real) = REAL.get() else { return -1 };
    // SAFETY: the caller's contract.
    let made = unsafe { real(clock, event, timer) };
    // SAFETY: the caller's contract; glibc has written the timer.
    if made == 0 && unsafe { keep_of(event, Keeper::Timer, (*timer).addr()) } {
        timer_thread::find();
    }
    made
}

/// # Safety
/// As `timer_delete(2)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn timer_delete(timer: libc::timer_t) -> c_int {
    type Delete = unsafe extern "C" fn(libc::timer_t) -> c_int;
    static REAL: Real<Delete> = Real::new(c"timer_delete");
    let Some(real) = REAL.get() else { return -1 };
    // Before, not after: once deleted, the number may be another's.
    forget(Keeper::Timer, timer.addr());
    // SAFETY: the caller's contract.
    unsafe { real(timer) }
}

/// # Safety
/// As `mq_notify(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn mq_notify(queue: libc::mqd_t, event: *const SigEvent) -> c_int {
    type Notify = unsafe extern "C" fn(libc::mqd_t, *const SigEvent) -> c_int;
    static REAL: Real<Notify> = Real::new(c"mq_notify");
    let Some(real) = REAL.get() else { return -1 };
    // SAFETY: the caller's contract.
    let done = unsafe { real(queue, event) };
    if done == 0 {
        forget(Keeper::MessageQueue, queue as usize);
        // SAFETY: the caller's contract.
        unsafe { keep_of(event, Keeper::MessageQueue, queue as usize) };
    }
    done
}

type Control = *mut libc::aiocb;
type Submit = unsafe extern "C" fn(Control) -> c_int;

/// # Safety
/// As `aio_read(3)`.
unsafe fn submit(real: &Real<Submit>, control: Control) -> c_int {
    let Some(real) = real.get() else { return -1 };
    // SAFETY: the caller's contract. Before, not after: it may be over by then, and the struct be gone.
    unsafe {
        keep_of((&raw const (*control).aio_sigevent).cast(), Keeper::AsyncIo, 0);
        real(control)
    }
}

/// Both names are one function where `off_t` has 64 bits.
macro_rules! submit {
    ($($name:ident $text:literal),*) => {$(
        /// # Safety
        /// As `aio_read(3)`.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(control: Control) -> c_int {
            static REAL: Real<Submit> = Real::new($text);
            // SAFETY: the caller's contract.
            unsafe { submit(&REAL, control) }
        }
    )*};
}

submit!(aio_read c"aio_read", aio_read64 c"aio_read64", aio_write c"aio_write", aio_write64 c"aio_write64");

type Sync = unsafe extern "C" fn(c_int, Control) -> c_int;
type List = unsafe extern "C" fn(c_int, *const Control, c_int, *mut SigEvent) -> c_int;

macro_rules! sync {
    ($($name:ident $text:literal),*) => {$(
        /// # Safety
        /// As `aio_fsync(3)`.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(operation: c_int, control: Control) -> c_int {
            static REAL: Real<Sync> = Real::new($text);
            let Some(real) = REAL.get() else { return -1 };
            // SAFETY: the caller's contract.
            unsafe {
                keep_of((&raw const (*control).aio_sigevent).cast(), Keeper::AsyncIo, 0);
                real(operation, control)
            }
        }
    )*};
}

sync!(aio_fsync c"aio_fsync", aio_fsync64 c"aio_fsync64");

macro_rules! list {
    ($($name:ident $text:literal),*) => {$(
        /// # Safety
        /// As `lio_listio(3)`.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            mode: c_int,
            list: *const Control,
            count: c_int,
            event: *mut SigEvent,
        ) -> c_int {
            static REAL: Real<List> = Real::new($text);
            let Some(real) = REAL.get() else { return -1 };
            // SAFETY: the caller's contract: `count` pointers, each null or to a control block.
            unsafe {
                for at in 0..usize::try_from(count).unwrap_or(0) {
                    if let Some(control) = (*list.add(at)).as_ref() {
                        keep_of((&raw const control.aio_sigevent).cast(), Keeper::AsyncIo, 0);
                    }
                }
                keep_of(event, Keeper::AsyncIo, 0);
                real(mode, list, count, event)
            }
        }
    )*};
}

list!(lio_listio c"lio_listio", lio_listio64 c"lio_listio64");

/// # Safety
/// As `getaddrinfo_a(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo_a(
    mode: c_int,
    list: *mut *mut c_void,
    count: c_int,
    event: *mut SigEvent,
) -> c_int {
    type Resolve = unsafe extern "C" fn(c_int, *mut *mut c_void, c_int, *mut SigEvent) -> c_int;
    static REAL: Real<Resolve> = Real::new(c"getaddrinfo_a");
    let Some(real) = REAL.get() else {
        return libc::EAI_SYSTEM;
    };
    // SAFETY: the caller's contract.
    unsafe {
        keep_of(event, Keeper::Resolver, 0);
        real(mode, list, count, event)
    }
}

/// # Safety
/// As `on_exit(3)`.
#[unsafe(no_mangle)]
unsafe extern "C" fn on_exit(function: usize, argument: *mut c_void) -> c_int {
    type OnExit = unsafe extern "C" fn(usize, *mut c_void) -> c_int;
    static REAL: Real<OnExit> = Real::new(c"on_exit");
    let Some(real) = REAL.get() else { return -1 };
    // SAFETY: the caller's contract.
    let done = unsafe { real(function, argument) };
    if done == 0 {
        keep(Keeper::Exit, function, 0);
    }
    done
}

/// What `atexit` and the destructors of C++ statics become. Those of a library's own handle run when it is closed.
///
/// # Safety
/// As the C++ ABI's `__cxa_atexit`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __cxa_atexit(function: usize, argument: *mut c_void, object: *mut c_void) -> c_int {
    type AtExit = unsafe extern "C" fn(usize, *mut c_void, *mut c_void) -> c_int;
    static REAL: Real<AtExit> = Real::new(c"__cxa_atexit");
    let Some(real) = REAL.get() else { return -1 };
    // SAFETY: the caller's contract.
    let done = unsafe { real(function, argument, object) };
    let is_own =
        || start_of_object_at(function).is_some_and(|own| start_of_object_at(object.addr()) == Some(own));
    if done == 0 && !is_in_executable(function) && !is_own() {
        keep(Keeper::Exit, function, 0);
    }
    done
}

/// Every name that libraries have to bind to, with the address that they bind to then.
pub(super) fn names() -> [(&'static str, *const c_void); 14] {
    [
        ("timer_create", timer_create as *const c_void),
        ("timer_delete", timer_delete as *const c_void),
        ("mq_notify", mq_notify as *const c_void),
        ("aio_read", aio_read as *const c_void),
        ("aio_read64", aio_read64 as *const c_void),
        ("aio_write", aio_write as *const c_void),
        ("aio_write64", aio_write64 as *const c_void),
        ("aio_fsync", aio_fsync as *const c_void),
        ("aio_fsync64", aio_fsync64 as *const c_void),
        ("lio_listio", lio_listio as *const c_void),
        ("lio_listio64", lio_listio64 as *const c_void),
        ("getaddrinfo_a", getaddrinfo_a as *const c_void),
        ("on_exit", on_exit as *const c_void),
        ("__cxa_atexit", __cxa_atexit as *const c_void),
    ]
}

pub(crate) use timer_thread::is_timer_thread;

/// The thread in which glibc waits for the timers of all: it is made for the first one and stays for good. It is nobody's, and runs no
/// library's code itself.
mod timer_thread {
    use super::*;

    static THREAD: AtomicI32 = AtomicI32::new(0);

    /// Whether it is this one.
    pub(crate) fn is_timer_thread(tid: i32) -> bool {
        THREAD.load(Acquire) == tid
    }

    /// A timer was just made that this thread waits for: the kernel lists whom it signals (proc_pid_timers(5)).
    pub(super) fn find() {
        if THREAD.load(Acquire) != 0 {
            return;
        }
        let timers = std::fs::read_to_string("/proc/self/timers").unwrap_or_default();
        if let Some(tid) = named_in(&timers) {
            THREAD.store(tid, Release);
        }
    }

    /// glibc's signal for timers is 32, which no program can use for one of its own.
    fn named_in(timers: &str) -> Option<i32> {
        let mut is_glibcs = false;
        timers.lines().find_map(|line| {
            if let Some(signal) = line.strip_prefix("signal: ") {
                is_glibcs = signal.starts_with("32/");
            }
            let thread = line.strip_prefix("notify: signal/tid.")?;
            is_glibcs.then(|| thread.trim().parse().ok()).flatten()
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn thread_of_glibcs_timers_is_told_from_a_programs_own() {
            let own = "ID: 0\nsignal: 10/0000\nnotify: signal/tid.7\nClockID: 1\n";
            let glibcs = "ID: 1\nsignal: 32/00007f\nnotify: signal/tid.9\nClockID: 1\n";
            assert_eq!(named_in(own), None);
            assert_eq!(named_in(&format!("{own}{glibcs}")), Some(9));
            assert_eq!(named_in(""), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_that_is_kept_again_and_again_takes_one_place_until_it_is_forgotten() {
        // Beyond what any program maps, so that it is no other test's.
        let (function, other) = (usize::MAX - 64, usize::MAX - 128);
        for _ in 0..2 * KEPT_MAX {
            keep(Keeper::AsyncIo, function, 0);
        }
        assert!(!OVERFLOWED.load(Acquire));
        let places = || {
            KEPT.iter()
                .filter(|place| place.function.load(Acquire) == function)
                .count()
        };
        assert_eq!(places(), 1);
        let keeper = |address| match called_later(|kept| kept == address) {
            Some(CalledLater::By(keeper)) => Some(keeper),
            _ => None,
        };
        assert_eq!(keeper(function), Some(Keeper::AsyncIo));
        keep(Keeper::Timer, function, 7);
        keep(Keeper::Timer, other, 8);
        assert_eq!((places(), keeper(other)), (2, Some(Keeper::Timer)));
        forget(Keeper::Timer, 7);
        forget(Keeper::Timer, 8);
        assert_eq!((places(), keeper(other)), (1, None));
        forget(Keeper::AsyncIo, 0);
        assert_eq!(keeper(function), None);
    }
}
