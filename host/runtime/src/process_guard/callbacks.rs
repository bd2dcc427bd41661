//! Functions of libraries that the C library keeps and calls later, in a thread of its own or at the process's end.
//!
//! `timer_create`, `mq_notify`, `aio_*`, `lio_listio` and `getaddrinfo_a` take a function that is run in a new thread; `on_exit`, and
//! `__cxa_atexit` for another object than the function's own, keep one for the end. The dynamic loader knows of none of them: a library
//! that is unmapped before such a call crashes the process. So each is noted here, and the census asks before a library is closed.
//!
//! A timer is forgotten when it is deleted, and a message queue's notice when it is withdrawn. Of the others nobody tells when the call is over:
//! what they point into stays in memory.

use super::real::{Real, interpose};
use crate::loader::{is_in_executable, start_of_object_at};
use libc::{aiocb, c_int, c_void, clockid_t, mqd_t, timer_t};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::*};

/// What keeps a function.
#[derive(Debug, Clone, Copy)]
#[repr(usize)]
enum Keeper {
    Timer,
    MessageQueue,
    AsyncIo,
    Resolver,
    Exit,
}

/// The same for people, in that order.
const KEEPERS: [&str; 5] = [
    "a timer (timer_create)",
    "a message queue's notice (mq_notify)",
    "asynchronous input and output (aio_*)",
    "a name's resolution (getaddrinfo_a)",
    "the process's end (on_exit, or __cxa_atexit for another object)",
];

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

/// What will call a function that lies in one of the ranges, for people.
pub(crate) fn called_later(contains: impl Fn(usize) -> bool) -> Option<&'static str> {
    let found = KEPT.iter().find(|place| {
        let function = place.function.load(Acquire);
        function != 0 && function != BEING_WRITTEN && contains(function)
    });
    match found {
        Some(place) => KEEPERS.get(place.keeper.load(Acquire)).copied(),
        None if OVERFLOWED.load(Acquire) => {
            Some("more functions are kept for later than the host can follow")
        }
        None => None,
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

/// Notes the function of an operation that is about to begin: once it has, it may be over, and its struct be gone.
///
/// # Safety
/// A valid control block.
unsafe fn keep_of_operation(control: *const aiocb) {
    // SAFETY: the caller's contract; the system's struct begins as ours.
    unsafe { keep_of((&raw const (*control).aio_sigevent).cast(), Keeper::AsyncIo, 0) };
}

/// As [`keep_of_operation`], of each in a list, and of the event that tells of the end of all.
///
/// # Safety
/// `count` pointers, each null or to a control block; null, or an event.
unsafe fn keep_of_list(list: *const *mut aiocb, count: c_int, event: *const SigEvent) {
    for at in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the caller's contract.
        let control = unsafe { *list.add(at) };
        if !control.is_null() {
            // SAFETY: the caller's contract.
            unsafe { keep_of_operation(control) };
        }
    }
    // SAFETY: the caller's contract.
    unsafe { keep_of(event, Keeper::AsyncIo, 0) };
}

interpose! {
    /// Keeps the function until the timer is deleted.
    fn timer_create(clock: clockid_t, event: *mut SigEvent, timer: *mut timer_t) -> c_int, or -1, by real {
        let made = real(clock, event, timer);
        if made == 0 && keep_of(event, Keeper::Timer, (*timer).addr()) {
            timer_thread::find();
        }
        made
    }

    /// Forgets the timer's function. Before, not after: once deleted, the number may be another's.
    fn timer_delete(timer: timer_t) -> c_int, or -1, by real {
        forget(Keeper::Timer, timer.addr());
        real(timer)
    }

    /// Keeps the function until the notice is withdrawn or replaced.
    fn mq_notify(queue: mqd_t, event: *const SigEvent) -> c_int, or -1, by real {
        let done = real(queue, event);
        if done == 0 {
            forget(Keeper::MessageQueue, queue as usize);
            keep_of(event, Keeper::MessageQueue, queue as usize);
        }
        done
    }

    /// Keep the function.
    fn aio_read, aio_read64, aio_write, aio_write64(control: *mut aiocb) -> c_int, or -1, by real {
        keep_of_operation(control);
        real(control)
    }

    /// Keep the function.
    fn aio_fsync, aio_fsync64(operation: c_int, control: *mut aiocb) -> c_int, or -1, by real {
        keep_of_operation(control);
        real(operation, control)
    }

    /// Keep the functions.
    fn lio_listio, lio_listio64(mode: c_int, list: *const *mut aiocb, count: c_int, event: *mut SigEvent) -> c_int, or -1, by real {
        keep_of_list(list, count, event);
        real(mode, list, count, event)
    }

    /// Keeps the function.
    fn getaddrinfo_a(mode: c_int, list: *mut *mut c_void, count: c_int, event: *mut SigEvent) -> c_int, or libc::EAI_SYSTEM, by real {
        keep_of(event, Keeper::Resolver, 0);
        real(mode, list, count, event)
    }

    /// Keeps the function.
    fn on_exit(function: usize, argument: *mut c_void) -> c_int, or -1, by real {
        let done = real(function, argument);
        if done == 0 {
            keep(Keeper::Exit, function, 0);
        }
        done
    }

    /// What `atexit` and the destructors of C++ statics become: kept, unless it is of the library's own object, with which it is run
    /// when that is closed.
    fn __cxa_atexit(function: usize, argument: *mut c_void, object: *mut c_void) -> c_int, or -1, by real {
        let done = real(function, argument, object);
        let is_own =
            || start_of_object_at(function).is_some_and(|own| start_of_object_at(object.addr()) == Some(own));
        if done == 0 && !is_in_executable(function) && !is_own() {
            keep(Keeper::Exit, function, 0);
        }
        done
    }
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
        let keeper = |address| called_later(|kept| kept == address);
        let [timer, _, async_io, ..] = KEEPERS;
        assert_eq!(keeper(function), Some(async_io));
        keep(Keeper::Timer, function, 7);
        keep(Keeper::Timer, other, 8);
        assert_eq!((places(), keeper(other)), (2, Some(timer)));
        forget(Keeper::Timer, 7);
        forget(Keeper::Timer, 8);
        assert_eq!((places(), keeper(other)), (1, None));
        forget(Keeper::AsyncIo, 0);
        assert_eq!(keeper(function), None);
    }
}
