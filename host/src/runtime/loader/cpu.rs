//! Processor time of threads: of those that run, asked of the kernel from outside; of a library's own threads that have ended, as
//! they noted it themselves.
//!
//! Asking costs half a microsecond a thread, so nobody asks for each call or each check. What threads note at their end runs inside
//! thread creation's frame: nothing there allocates from Rust, uses thread-locals or takes a lock.

use super::interpose;
use super::library::Library;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};

/// A library's own threads: those whose start routine lies in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnThreads {
    /// Those that have not ended.
    pub running: Vec<OwnThread>,
    /// Processor time of those that have ended, in nanoseconds.
    pub ended_ns: u64,
}

/// A thread that has not ended, for all that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnThread {
    /// Tells threads apart, also where a kernel id was used again.
    pub sequence: u64,
    /// It is being made, or the kernel knows it.
    pub alive: bool,
    /// Its processor time, in nanoseconds; absent if it can't be asked for: it is being made, or it ended without a word.
    pub cpu_ns: Option<u64>,
}

impl Library {
    /// Its own threads. `None` if the host does not see them all.
    pub fn own_threads(&self) -> Option<OwnThreads> {
        if interpose::interposition() != interpose::Interposition::Active {
            return None;
        }
        // In this order: a thread that ends meanwhile is missed rather than counted twice.
        let ended_ns = ended(|start| self.contains(start))?;
        let known = interpose::known_threads()?;
        // Of those with one kernel id, the youngest has it.
        let mut youngest = HashMap::with_capacity(known.len());
        for thread in &known {
            let latest = youngest.entry(thread.tid).or_insert(thread.sequence);
            *latest = thread.sequence.max(*latest);
        }
        let running = known.iter().filter(|thread| self.contains(thread.start));
        let running = running.filter(|thread| thread.runs).map(|thread| {
            let being_made = thread.tid == 0;
            let cpu_ns = (!being_made && youngest.get(&thread.tid) == Some(&thread.sequence))
                .then(|| cpu_of(thread.tid))
                .flatten();
            OwnThread {
                sequence: thread.sequence,
                alive: being_made || cpu_ns.is_some(),
                cpu_ns,
            }
        });
        Some(OwnThreads {
            running: running.collect(),
            ended_ns,
        })
    }
}

/// Processor time of a thread of this process, in nanoseconds; `None` if there is none of this kernel id.
pub fn cpu_of(tid: i32) -> Option<u64> {
    // As pthread_getcpuclockid(3) makes it, which wants the thread's handle: CPUCLOCK_SCHED of one thread.
    read_clock((!tid << 3) | 6)
}

/// Processor time of the calling thread, in nanoseconds.
pub fn cpu_of_this_thread() -> u64 {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0)
}

fn read_clock(clock: libc::clockid_t) -> Option<u64> {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes to a local; a clock that is not there is an error.
    let read = unsafe { libc::clock_gettime(clock, &mut now) };
    (read == 0).then(|| now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

/// Start routines whose threads have ended.
const ROUTINES_MAX: usize = 1024;

struct Routine {
    /// Its address; 0 if the place is free.
    start: AtomicUsize,
    cpu_ns: AtomicU64,
}

static ENDED: [Routine; ROUTINES_MAX] = [const {
    Routine {
        start: AtomicUsize::new(0),
        cpu_ns: AtomicU64::new(0),
    }
}; ROUTINES_MAX];
/// A thread has ended for which there was no place.
static FULL: AtomicBool = AtomicBool::new(false);

/// The calling thread ends; this was its start routine.
pub(super) fn note_end(start: usize) {
    let used = cpu_of_this_thread();
    for routine in &ENDED {
        let there = routine.start.load(Acquire);
        let ours = there == start
            || there == 0
                && match routine.start.compare_exchange(0, start, AcqRel, Acquire) {
                    Ok(_) => true,
                    Err(other) => other == start,
                };
        if ours {
            routine.cpu_ns.fetch_add(used, AcqRel);
            return;
        }
    }
    FULL.store(true, Release);
}

/// Processor time of the threads that have ended and began there. `None` if that of some was not noted.
fn ended(contains: impl Fn(usize) -> bool) -> Option<u64> {
    if FULL.load(Acquire) {
        return None;
    }
    let there = ENDED.iter().filter(|routine| {
        let start = routine.start.load(Acquire);
        start != 0 && contains(start)
    });
    Some(there.map(|routine| routine.cpu_ns.load(Acquire)).sum())
}

/// The library is gone, and no thread of it is left: another one may come to lie there.
pub(super) fn forget(contains: impl Fn(usize) -> bool) {
    for routine in &ENDED {
        let start = routine.start.load(Acquire);
        if start != 0 && contains(start) {
            routine.cpu_ns.store(0, Release);
            routine.start.store(0, Release);
            FULL.store(false, Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(ns: u64) {
        let before = cpu_of_this_thread();
        while cpu_of_this_thread() < before + ns {
            std::hint::black_box(0);
        }
    }

    #[test]
    fn a_threads_clock_is_read_from_outside_until_it_has_ended() {
        let (tell, told) = std::sync::mpsc::channel();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            spin(2_000_000);
            tell.send(rustix::thread::gettid().as_raw_nonzero().get())
                .unwrap();
            let _ = wait.recv();
        });
        let tid = told.recv().unwrap();
        assert!(cpu_of(tid).unwrap() >= 2_000_000);
        drop(go_on);
        super::super::join_within(thread, std::time::Duration::from_secs(60)).unwrap();
        assert_eq!(cpu_of(tid), None);
        assert_eq!(cpu_of(1).is_some(), std::process::id() == 1);
    }

    #[test]
    fn what_ended_threads_used_is_kept_by_where_they_began_until_it_is_forgotten() {
        // Addresses that no thread begins at.
        let (one, other) = (8, 16);
        for start in [one, one, other] {
            std::thread::spawn(move || {
                spin(1_000_000);
                note_end(start);
            })
            .join()
            .unwrap();
        }
        assert!(ended(|start| start == one).unwrap() >= 2_000_000);
        assert!(ended(|start| start == other).unwrap() >= 1_000_000);
        forget(|start| start == one);
        assert_eq!(ended(|start| start == one), Some(0));
        assert!(ended(|start| start == other).unwrap() >= 1_000_000);
        forget(|start| start == other);
    }
}
