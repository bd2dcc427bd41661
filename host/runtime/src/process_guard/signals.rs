//! Dispositions of signals that the program keeps, whatever a plugin sets.
//!
//! SIGTERM, SIGINT and SIGHUP end the host in good order, SIGCHLD tells it of its children, SIGPIPE and SIGXFSZ must not end it. For
//! these, `sigaction` and `signal` of a library have no effect: they answer as if they had, and the attempt is reported.

use super::acts;
use super::fork::is_forked_child;
use super::real::{Real, interpose};
use crate::loader::{CodeOwner, is_in_executable};
use extman_model::ProcessPart;
use libc::{c_int, sighandler_t};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};

/// The signals that the program keeps.
const KEPT: [c_int; 6] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGCHLD,
    libc::SIGPIPE,
    libc::SIGXFSZ,
];

/// Signals of timers, and those that programs send themselves. Their default ends the process, which a plugin that sets a timer and no handler
/// must not do; a handler of a plugin's own is its affair.
const OF_TIMERS: [c_int; 6] = [
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGIO,
];

static IS_KEPT: AtomicBool = AtomicBool::new(false);

/// Keeps the signals of the program from here on. To be called by a program and before it makes a thread; an embedder's signals are
/// its own.
///
/// What the parent process left is undone: blocked signals are unblocked, and SIGCHLD is no longer ignored, or nobody would hear how
/// children ended. A file that may not grow any more (`ulimit -f`) is an error of the write, and not the end of the process.
///
/// # Errors
/// The system refuses it.
pub fn keep_signals() -> io::Result<()> {
    prepare();
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: empties a local set, and sets it as this thread's mask.
    let masked = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut())
    };
    if masked != 0 {
        return Err(io::Error::from_raw_os_error(masked));
    }
    // Handled and not ignored: a program that a child executes has the default again.
    let handled: extern "C" fn(c_int) = pass_over;
    set(libc::SIGXFSZ, handled as *const () as sighandler_t)?;
    set(libc::SIGCHLD, libc::SIG_DFL)?;
    for signal in OF_TIMERS {
        set(signal, handled as *const () as sighandler_t)?;
    }
    IS_KEPT.store(true, Release);
    Ok(())
}

extern "C" fn pass_over(_: c_int) {}

fn set(signal: c_int, handler: sighandler_t) -> io::Result<()> {
    // SAFETY: all of it is written below or may be zero.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    put(signal, &action)
}

/// Sets a disposition for the host.
pub(crate) fn put(signal: c_int, action: &libc::sigaction) -> io::Result<()> {
    let Some(real) = real::sigaction.get() else {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    };
    // SAFETY: a handler of the host's, or one that was there before.
    match unsafe { real(signal, action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The disposition of a signal; nothing for one that can't be asked about.
pub(crate) fn get(signal: c_int) -> Option<libc::sigaction> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with a null new action this only writes the old one.
    let asked = unsafe { real::sigaction.get()?(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: written by the successful call; zeroed before.
    (asked == 0).then(|| unsafe { action.assume_init() })
}

/// Whether this process is a program of the host's own, which keeps its signals.
pub(super) fn are_kept() -> bool {
    IS_KEPT.load(Acquire)
}

/// Whether the program keeps this signal now.
pub(super) fn is_kept(signal: c_int) -> bool {
    are_kept() && KEPT.contains(&signal)
}

/// Whether a library's new disposition is left without effect. Called in signal handlers and forked children too: no lock, no memory.
fn is_refused(signal: c_int, handler: sighandler_t) -> bool {
    let refused = is_kept(signal) && !is_forked_child() && !is_in_executable(handler);
    if refused {
        note(signal, handler);
    }
    refused
}

interpose! {
    /// Without effect for a library and a signal that the program keeps.
    fn sigaction(signal: c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> c_int, or -1, by real {
        let refused = new.as_ref().is_some_and(|new| is_refused(signal, new.sa_sigaction));
        if !refused && !new.is_null() {
            acts::note(ProcessPart::Signals);
        }
        real(signal, if refused { std::ptr::null() } else { new }, old)
    }

    /// Without effect for a library and a signal that the program keeps.
    fn signal(signal: c_int, handler: sighandler_t) -> sighandler_t, or libc::SIG_ERR, by real {
        if is_refused(signal, handler) {
            return get(signal).map_or(libc::SIG_ERR, |action| action.sa_sigaction);
        }
        acts::note(ProcessPart::Signals);
        real(signal, handler)
    }
}

/// What setting this handler did to a signal.
pub(super) fn set_text(handler: sighandler_t, signal: c_int) -> String {
    let signal = name(signal);
    match handler {
        libc::SIG_DFL => format!("restored the default of {signal}"),
        libc::SIG_IGN => format!("had {signal} ignored"),
        _ => format!("set a handler of its own for {signal}"),
    }
}

/// A signal's name.
pub(crate) fn name(number: c_int) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let name = usize::try_from(number - 1).ok().and_then(|at| NAMES.get(at));
    name.map_or_else(|| format!("signal {number}"), |name| format!("SIG{name}"))
}

/// Stands for any handler: which one it was is of no use to anybody.
const A_HANDLER: sighandler_t = usize::MAX;

const NOTED_MAX: usize = 64;
/// Each is 0, or owner, signal and handler of an attempt: `owner << 16 | signal << 8 | handler + 1`.
static NOTED: [AtomicU64; NOTED_MAX] = [const { AtomicU64::new(0) }; NOTED_MAX];

fn note(signal: c_int, handler: sighandler_t) {
    let wanted = match handler {
        libc::SIG_DFL => 1,
        libc::SIG_IGN => 2,
        _ => 3,
    };
    let attempt = CodeOwner::here().number() << 16 | (signal as u64) << 8 | wanted;
    for place in &NOTED {
        match place.compare_exchange(0, attempt, AcqRel, Acquire) {
            Ok(_) => return,
            // The same was asked before and has not been reported yet.
            Err(there) if there == attempt => return,
            Err(_) => {}
        }
    }
}

/// The attempts since the last time, which had no effect: by whose code, and what was asked for.
pub(super) fn take_refused() -> Vec<(CodeOwner, String)> {
    let taken = NOTED.iter().map(|place| place.swap(0, AcqRel));
    let read = |attempt: u64| {
        let handler = match attempt & 0xff {
            1 => libc::SIG_DFL,
            2 => libc::SIG_IGN,
            _ => A_HANDLER,
        };
        let owner = CodeOwner::from_number(attempt >> 16);
        (owner, set_text(handler, (attempt >> 8 & 0xff) as c_int))
    };
    taken.filter(|attempt| *attempt != 0).map(read).collect()
}
