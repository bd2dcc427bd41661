//! What belongs to the process and not to a plugin: noticed when a plugin changes it, put back where that is safe, and reported as that
//! plugin's fault.
//!
//! ```text
//! window opens (create, start, unload) → plugin code → window closes: compare with the baseline → put back → report
//!                                                      once a minute: the same, for what calls and threads changed
//! ```
//!
//! A comparison is a quick look or a whole one. Whole ones follow a library's load and what an interposed function saw a library do to the parts
//! marked with a star, and are made once a minute; the other steps are followed by quick ones. So where a library changes one of these parts past
//! the C library, after it was loaded, that is found within a minute and not with the step.
//!
//! | what | how a change is found | what is done |
//! |---|---|---|
//! | dispositions of the signals that the program keeps | interposed `sigaction` and `signal`; comparison | refused, or put back |
//! | other dispositions* | interposed `sigaction` and `signal`; comparison | reported |
//! | umask*, limits* | interposed functions; comparison | put back |
//! | environment, locale | comparison | reported |
//! | working directory | comparison | put back |
//! | signal mask and float mode of the calling thread | comparison | put back |
//! | standard streams | comparison | a closed one is reopened |
//! | descriptors of the host | interposed `close` and the like; comparison | refused |
//! | `pthread_exit` on a thread of the host | interposed | the thread stands still, as a call that never returns |
//! | `fork` | `pthread_atfork` | a child that comes back into the host's code ends |
//!
//! Nothing here decides about loading, routing or health.

#![allow(unsafe_code)]

mod activity;
mod acts;
mod callbacks;
mod descriptors;
mod environment;
mod fork;
mod limits;
mod log;
mod real;
mod signals;
mod snapshot;
mod streams;
mod thread_destructors;
mod thread_end;
mod thread_state;
mod windows;

pub use limits::raise_descriptor_limit;
pub(crate) use limits::remedy;
pub use log::{LogLost, StderrLog, log_lost};
pub use signals::keep_signals;
pub use streams::{private_stderr, take_stdout};
pub use windows::{OnChange, compare_now, on_change, take_changes};

pub(crate) use activity::{Active, Activity, Entering};
#[cfg(test)]
pub(crate) use acts::alone;
pub(crate) use callbacks::{called_later, is_timer_thread};
pub(crate) use descriptors::protect;
pub(crate) use fork::end_if_forked;
pub(crate) use real::{Real, interpose};
pub(crate) use signals::{get as disposition, name as signal_name, put as set_disposition};
pub(crate) use thread_destructors::register as at_thread_end;
pub(crate) use thread_end::on_thread_end;
pub(crate) use windows::{LOAD, instance_created, instance_destroyed, window};

/// What has to be looked up before plugin code runs: later a constructor that hangs may hold the dynamic loader's lock.
pub(crate) fn prepare() {
    fork::watch();
    callbacks::prepare();
    signals::prepare();
    environment::prepare();
    descriptors::prepare();
    acts::prepare();
    thread_destructors::prepare();
}

/// Names of the C library that the executable defines, with the addresses that libraries bind to if it exports them.
pub(crate) fn interposed() -> impl Iterator<Item = (&'static str, *const libc::c_void)> {
    [
        callbacks::NAMES,
        signals::NAMES,
        environment::NAMES,
        descriptors::NAMES,
        acts::NAMES,
        thread_destructors::NAMES,
    ]
    .into_iter()
    .flatten()
    .copied()
    .chain([thread_end::name()])
}
