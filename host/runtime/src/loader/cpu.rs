//! Processor time of threads: of those that run, asked of the kernel from outside; of a library's own threads that have ended, as
//! they noted it themselves.
//!
//! Asking costs half a microsecond a thread, so nobody asks for each call or each check. What threads note at their end runs inside
//! thread creation's frame: nothing there allocates from Rust, uses thread-locals with destructors or takes a lock.

use super::library::Library;
use super::origin::Origin;
use super::{interpose, loaded, strangers, threads};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

/// A library's own threads: those that it made, or that were made for it.
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

/// Why it is not known which threads are a library's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unattributed {
    /// It is not loaded.
    NotLoaded,
    /// The host does not see which threads there are made.
    NotInterposed,
    /// There were more threads than the host can follow.
    TooMany,
    /// Since it was loaded, a thread was made past the host's `pthread_create`, or by one that was; or by an embedder's own, which had
    /// called plugins, in other code than the executable's.
    PastTheHost,
    /// Its threads began in a library that others may use too: they may work for several.
    InSharedLibrary,
}

impl Library {
    /// Its own threads.
    ///
    /// # Errors
    /// It can't be told which they are.
    pub fn own_threads(&self) -> Result<OwnThreads, Unattributed> {
        if interpose::interposition() != interpose::Interposition::Active {
            return Err(Unattributed::NotInterposed);
        }
        let origin = self.origin();
        // In this order: a thread that ends meanwhile is missed rather than counted twice.
        let ended_ns = ended(origin);
        let known = threads::known_threads().ok_or(Unattributed::TooMany)?;
        let mut own = known.iter().filter(|thread| thread.origin == origin).peekable();
        // Of those with one kernel id, the youngest has it.
        let mut youngest = HashMap::new();
        if own.peek().is_some() {
            for thread in &known {
                let latest = youngest.entry(thread.tid).or_insert(thread.sequence);
                *latest = thread.sequence.max(*latest);
            }
        }
        let running = own.filter(|thread| thread.runs).map(|thread| {
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
        let running = running.collect();
        // Afterwards: what was made meanwhile may be among what was read.
        let opened = self.opened();
        if threads::were_any_untold_since(opened.sequence) || strangers::were_any_since(opened.boot_ticks) {
            return Err(Unattributed::PastTheHost);
        }
        if loaded::has_shared_threads(origin) {
            return Err(Unattributed::InSharedLibrary);
        }
        Ok(OwnThreads { running, ended_ns })
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

/// What threads used that have ended: one account for each library and start routine.
const ACCOUNTS_MAX: usize = 4096;

/// What the threads of one origin and one start routine have used that have ended.
pub(super) struct Account {
    /// Whose they are; 0 if the place is free, [`BEING_MADE`] if it is being taken.
    origin: AtomicU64,
    start: AtomicUsize,
    cpu_ns: AtomicU64,
}

const FREE: u64 = 0;
const BEING_MADE: u64 = u64::MAX;

static ACCOUNTS: [Account; ACCOUNTS_MAX] = [const {
    Account {
        origin: AtomicU64::new(FREE),
        start: AtomicUsize::new(0),
        cpu_ns: AtomicU64::new(0),
    }
}; ACCOUNTS_MAX];

/// Accounts before this one may have been taken.
static USED: AtomicUsize = AtomicUsize::new(0);

fn used() -> &'static [Account] {
    &ACCOUNTS[..USED.load(Acquire)]
}

impl Account {
    /// The calling thread ends, and has used this much.
    pub(super) fn add_this_thread(&self) {
        self.cpu_ns.fetch_add(cpu_of_this_thread(), AcqRel);
    }
}

/// The account of threads that begin at `start` and are of `origin`. `None` if there is no place for one more.
pub(super) fn account(origin: Origin, start: usize) -> Option<&'static Account> {
    let number = origin.number();
    for (at, account) in ACCOUNTS.iter().enumerate() {
        let there = account.origin.load(Acquire);
        if there == number && account.start.load(Acquire) == start {
            return Some(account);
        }
        // Two who come at once make one each: they are added up.
        if there == FREE
            && account
                .origin
                .compare_exchange(FREE, BEING_MADE, AcqRel, Acquire)
                .is_ok()
        {
            USED.fetch_max(at + 1, AcqRel);
            account.start.store(start, Release);
            account.cpu_ns.store(0, Release);
            account.origin.store(number, Release);
            return Some(account);
        }
    }
    None
}

/// Where threads have begun outside of the executable, and whose they were.
pub(super) fn beginnings() -> impl Iterator<Item = (Origin, usize)> {
    let there = used().iter().map(|account| {
        let origin = account.origin.load(Acquire);
        (origin, account.start.load(Acquire))
    });
    there
        .filter(|(origin, _)| ![FREE, BEING_MADE].contains(origin))
        .map(|(origin, start)| (Origin::from_number(origin), start))
}

/// Processor time of the threads of this origin that have ended.
fn ended(origin: Origin) -> u64 {
    let of_it = |account: &&Account| account.origin.load(Acquire) == origin.number();
    let there = used().iter().filter(of_it);
    there.map(|account| account.cpu_ns.load(Acquire)).sum()
}

/// The library is gone, and no thread of it is left. Where it lay another one may lie by now: that has an origin of its own.
pub(super) fn forget(origin: Origin) {
    for account in used() {
        if account.origin.load(Acquire) == origin.number() {
            account.origin.store(FREE, Release);
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
        // The kernel tells that a thread has ended a moment before it is taken off the list.
        let give_up = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while cpu_of(tid).is_some() {
            assert!(std::time::Instant::now() < give_up, "its clock is still there");
            std::thread::yield_now();
        }
        assert_eq!(cpu_of(1).is_some(), std::process::id() == 1);
    }

    #[test]
    fn what_ended_threads_used_is_kept_by_whose_they_were_wherever_others_come_to_lie() {
        let (one, next) = (Origin::of_a_new_library(), Origin::of_a_new_library());
        // The next library is loaded where the one before lay, before that is forgotten.
        let start = 8;
        for origin in [one, one, next] {
            std::thread::spawn(move || {
                spin(1_000_000);
                account(origin, start).unwrap().add_this_thread();
            })
            .join()
            .unwrap();
        }
        assert!(ended(one) >= 2_000_000);
        assert!(beginnings().any(|there| there == (one, start)));
        forget(one);
        assert_eq!(ended(one), 0);
        assert!(!beginnings().any(|there| there == (one, start)));
        assert!(ended(next) >= 1_000_000, "it was forgotten with the one before");
        forget(next);
    }
}
