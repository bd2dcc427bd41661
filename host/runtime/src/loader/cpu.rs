//! Processor time of a library's threads, by one rule: a thread belongs to the library whose code made it, as the interposed
//! `pthread_create` saw it. Of threads that run, the kernel is asked; one that ends notes its own.
//!
//! Asking costs half a microsecond a thread, so nobody asks for each call or each check.

use super::code_owner::CodeOwner;
use super::library::Library;
use super::{interpose, threads};
use std::sync::atomic::{AtomicU64, Ordering::*};

/// What a library's own threads have used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnThreads {
    /// Threads that live, or are being made.
    pub alive: usize,
    /// Processor time of all that there were, in nanoseconds.
    pub cpu_ns: u64,
}

/// Why it is not known what a library's own threads have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unattributed {
    /// It is not loaded.
    NotLoaded,
    /// The host does not see which threads there are made.
    NotInterposed,
    /// There are more threads, or more libraries, than the host can follow.
    TooMany,
}

impl Library {
    /// What its own threads have used.
    ///
    /// # Errors
    /// It can't be told which they are.
    pub fn own_threads(&self) -> Result<OwnThreads, Unattributed> {
        if interpose::interposition() != interpose::Interposition::Active {
            return Err(Unattributed::NotInterposed);
        }
        // In this order: a thread that ends meanwhile is missed rather than counted twice.
        let mut used = OwnThreads {
            alive: 0,
            cpu_ns: ended(self.owner()).ok_or(Unattributed::TooMany)?,
        };
        let known = threads::known_threads().ok_or(Unattributed::TooMany)?;
        for thread in known {
            if thread.owner != self.owner() || !thread.runs {
                continue;
            }
            let being_made = thread.tid == 0;
            let cpu_ns = if being_made { None } else { cpu_of(thread.tid) };
            used.alive += usize::from(being_made || cpu_ns.is_some());
            used.cpu_ns += cpu_ns.unwrap_or(0);
        }
        Ok(used)
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

/// What the threads of one library have used that have ended.
struct Account {
    /// Whose they are; 0 if the place is free.
    owner: AtomicU64,
    cpu_ns: AtomicU64,
}

const ACCOUNTS_MAX: usize = 4096;

static ACCOUNTS: [Account; ACCOUNTS_MAX] = [const {
    Account {
        owner: AtomicU64::new(0),
        cpu_ns: AtomicU64::new(0),
    }
}; ACCOUNTS_MAX];

/// A library's place follows from its number. A later one finds it taken only if the earlier still is in memory.
fn place_of(owner: CodeOwner) -> &'static Account {
    &ACCOUNTS[owner.number() as usize % ACCOUNTS_MAX]
}

/// A library has been loaded.
pub(super) fn open_account(owner: CodeOwner) {
    let place = place_of(owner);
    let _ = place.owner.compare_exchange(0, owner.number(), AcqRel, Acquire);
}

/// The library is gone, and no thread of it is left.
pub(super) fn close_account(owner: CodeOwner) {
    let place = place_of(owner);
    if place.owner.load(Acquire) == owner.number() {
        place.cpu_ns.store(0, Release);
        place.owner.store(0, Release);
    }
}

/// The calling thread was made for `owner` and ends. Takes no lock and no memory.
pub(super) fn keep_of_this_thread(owner: CodeOwner) {
    let place = place_of(owner);
    if owner.is_a_librarys() && place.owner.load(Acquire) == owner.number() {
        place.cpu_ns.fetch_add(cpu_of_this_thread(), AcqRel);
    }
}

fn ended(owner: CodeOwner) -> Option<u64> {
    let place = place_of(owner);
    (place.owner.load(Acquire) == owner.number()).then(|| place.cpu_ns.load(Acquire))
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
        // The kernel tells that a thread has ended a moment before it is taken off the list.
        let give_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while cpu_of(tid).is_some() {
            assert!(std::time::Instant::now() < give_up, "its clock is still there");
            std::thread::yield_now();
        }
        assert_eq!(cpu_of(1).is_some(), std::process::id() == 1);
    }

    #[test]
    fn time_of_ended_threads_is_kept_by_library_until_that_is_gone() {
        let (one, next) = (CodeOwner::of_a_new_library(), CodeOwner::of_a_new_library());
        let later = CodeOwner::from_number(one.number() + ACCOUNTS_MAX as u64);
        [one, next, later].into_iter().for_each(open_account);
        for owner in [one, one, next, later] {
            std::thread::spawn(move || {
                spin(1_000_000);
                keep_of_this_thread(owner);
            })
            .join()
            .unwrap();
        }
        assert!(ended(one) >= Some(2_000_000));
        assert_eq!(ended(later), None, "its place is taken");
        close_account(later);
        close_account(one);
        assert_eq!(ended(one), None);
        assert!(ended(next) >= Some(1_000_000));
        close_account(next);
    }
}
