//! Before a library is closed: is anything of it still alive?
//!
//! A library may be unmapped only if no thread runs in it and nobody will call into it later. The census looks at every thread
//! of the process, at the signal handlers, and at the pthread keys.

use super::image::{self, Image};
use super::interpose::{self, KnownThread};
use crate::model::{Culprit, ResidentReason};
use std::collections::HashMap;
use std::time::Duration;

/// When a library was opened, in the two orders in which threads can be compared with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    sequence: u64,
    boot_ticks: u64,
}

impl Opened {
    pub(super) fn now() -> Self {
        Opened {
            sequence: interpose::thread_sequence(),
            boot_ticks: boot_ticks(),
        }
    }
}

/// Waits at most `patience` for what is just ending, then names what is still alive.
pub(super) fn living(image: &Image, opened: Opened, patience: Duration) -> Option<(ResidentReason, Culprit)> {
    let give_up = crate::clock::monotonic().after(patience);
    while let Some(found) = thread_in(image, opened) {
        if crate::clock::monotonic() >= give_up {
            return Some(found);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    signal_handler_in(image)
}

fn thread_in(image: &Image, opened: Opened) -> Option<(ResidentReason, Culprit)> {
    let Some(known) = interpose::known_threads() else {
        return Some((
            ResidentReason::UnknownThread,
            Culprit::new("more threads than the host can follow"),
        ));
    };
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return Some((
            ResidentReason::UnknownThread,
            Culprit::new("/proc/self/task can't be read"),
        ));
    };
    if let Some(starting) = known.iter().find(|t| t.tid == 0 && image.contains(t.start)) {
        return Some((
            ResidentReason::LiveThread,
            Culprit::new(format!("starting at {:#x}", starting.start)),
        ));
    }
    let executable = image::executable();
    let mut by_tid: HashMap<i32, KnownThread> = HashMap::new();
    for thread in known {
        // A number may have been used again: the younger thread has it now.
        let entry = by_tid.entry(thread.tid).or_insert(thread);
        if entry.sequence < thread.sequence {
            *entry = thread;
        }
    }
    let main_tid = std::process::id() as i32;
    for task in tasks.flatten() {
        let Some(tid) = task
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        if tid == main_tid {
            continue;
        }
        let innocent = match by_tid.get(&tid) {
            Some(thread) if image.contains(thread.start) => {
                return Some((ResidentReason::LiveThread, culprit(tid)));
            }
            Some(thread) => {
                thread.sequence < opened.sequence
                    || executable.as_ref().is_some_and(|exe| exe.contains(thread.start))
                    || super::library::is_of_another_plugin(thread.start)
            }
            // Made behind the host's back (C11 threads, a raw clone): only its age can clear it.
            None => start_ticks(tid).is_none_or(|start| start < opened.boot_ticks),
        };
        if !innocent {
            return Some((ResidentReason::UnknownThread, culprit(tid)));
        }
    }
    None
}

fn culprit(tid: i32) -> Culprit {
    let name = std::fs::read_to_string(format!("/proc/self/task/{tid}/comm")).unwrap_or_default();
    Culprit::new(format!("thread {tid} {:?}", name.trim_end()))
}

fn signal_handler_in(image: &Image) -> Option<(ResidentReason, Culprit)> {
    for signal in 1..=64 {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: with a null new action this only reads the old one; signals that can't be asked about give an error.
        let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
        if asked != 0 {
            continue;
        }
        // SAFETY: written by the successful call; zeroed before.
        let action = unsafe { action.assume_init() };
        if image.contains(action.sa_sigaction) {
            return Some((
                ResidentReason::SignalHandler,
                Culprit::new(format!("signal {signal}")),
            ));
        }
    }
    None
}

/// Now, in clock ticks since boot, as /proc counts them.
fn boot_ticks() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) };
    // SAFETY: takes no pointers.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    now.tv_sec as u64 * per_second + now.tv_nsec as u64 * per_second / 1_000_000_000
}

/// When a thread was started, in clock ticks since boot; `None` if it is gone (field 22 of proc_pid_stat(5)).
fn start_ticks(tid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}
