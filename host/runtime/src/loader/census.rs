//! Before a library is closed: is anything of it still alive?
//!
//! A library may be unmapped only if no thread runs in it and nobody will call into it later. The census looks at every thread
//! of the process, at the signal handlers, and at the functions that the C library keeps for later.

use super::code_owner::{self, CodeOwner};
use super::foreign_threads::{self, name_of};
use super::image::Image;
use super::loaded;
use super::threads::{self, KnownThread};
use crate::process_guard::{called_later, disposition, is_timer_thread};
use extman_model::{Culprit, ResidentReason};
use std::collections::HashMap;
use std::time::Duration;

/// When a library was opened, in the two orders in which threads can be compared with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    pub sequence: u64,
    pub boot_ticks: u64,
}

impl Opened {
    pub(super) fn now() -> Self {
        Opened {
            sequence: threads::thread_sequence(),
            boot_ticks: foreign_threads::boot_ticks(),
        }
    }
}

/// Waits at most `patience` for what is just ending, then names what is still alive.
pub(super) fn living(
    image: &Image,
    owner: CodeOwner,
    opened: Opened,
    patience: Duration,
) -> Option<(ResidentReason, Culprit)> {
    let give_up = extman_model::clock::monotonic().after(patience);
    while let Some(found) = thread_of(image, owner, opened) {
        if extman_model::clock::monotonic() >= give_up {
            return Some(found);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    signal_handler_in(image).or_else(|| called_later_in(image))
}

fn thread_of(image: &Image, owner: CodeOwner, opened: Opened) -> Option<(ResidentReason, Culprit)> {
    let Some(known) = threads::known_threads() else {
        return Some((
            ResidentReason::UnknownThread,
            Culprit::new("more threads live than the host can follow"),
        ));
    };
    let Ok(tasks) = foreign_threads::tasks() else {
        return Some((
            ResidentReason::UnknownThread,
            Culprit::new("/proc/self/task can't be read"),
        ));
    };
    // One that is older began in what lay here before.
    let is_its = |thread: &KnownThread| {
        thread.owner == owner || thread.sequence >= opened.sequence && image.contains(thread.start)
    };
    if let Some(starting) = known.iter().find(|thread| thread.tid == 0 && is_its(thread)) {
        return Some((
            ResidentReason::LiveThread,
            Culprit::new(format!("starting at {:#x}", starting.start)),
        ));
    }
    let by_tid: HashMap<i32, KnownThread> = known.into_iter().map(|thread| (thread.tid, thread)).collect();
    for tid in tasks {
        let innocent = match by_tid.get(&tid) {
            Some(thread) if is_its(thread) => {
                return Some((ResidentReason::LiveThread, Culprit::new(name_of(tid))));
            }
            Some(thread) => {
                thread.sequence < opened.sequence
                    || code_owner::is_in_executable(thread.start)
                    || loaded::is_in_any(thread.start)
                    || loaded::is_certainly_of(thread.owner, thread.start)
            }
            // Made behind the host's back (C11 threads, a raw clone): only its age can clear it.
            None => {
                is_timer_thread(tid)
                    || foreign_threads::start_ticks(tid).map_or_else(
                        || foreign_threads::is_gone(tid),
                        |start| start < opened.boot_ticks,
                    )
            }
        };
        if !innocent {
            return Some((ResidentReason::UnknownThread, Culprit::new(name_of(tid))));
        }
    }
    None
}

fn signal_handler_in(image: &Image) -> Option<(ResidentReason, Culprit)> {
    let is_in = |signal: &i32| disposition(*signal).is_some_and(|action| image.contains(action.sa_sigaction));
    let signal = (1..=64).find(is_in)?;
    Some((
        ResidentReason::SignalHandler,
        Culprit::new(format!("signal {signal}")),
    ))
}

fn called_later_in(image: &Image) -> Option<(ResidentReason, Culprit)> {
    let culprit = called_later(|address| image.contains(address))?;
    Some((ResidentReason::CalledLater, Culprit::new(culprit)))
}
