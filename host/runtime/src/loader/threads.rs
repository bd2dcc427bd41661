//! The threads of this process that came through `pthread_create`, from their making to their end.
//!
//! Nothing here allocates from Rust, uses thread-locals with destructors or takes a lock: it runs inside thread creation.

use super::code_owner::{self, CodeOwner};
use super::cpu;
use crate::crash::AlternateStack;
use crate::process_guard::at_thread_end;
use libc::c_void;
use std::collections::HashSet;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};

/// Orders thread creation against library loading.
pub(super) fn thread_sequence() -> u64 {
    SEQUENCE.load(SeqCst)
}

/// A thread that came through `pthread_create`.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownThread {
    /// Kernel id; 0 while it is being made.
    pub tid: i32,
    /// Address of its start routine.
    pub start: usize,
    /// Whose it is.
    pub owner: CodeOwner,
    /// When it was made, in [`thread_sequence`]'s order.
    pub sequence: u64,
    /// It has not ended, for all that is known.
    pub runs: bool,
}

/// Every thread that is being made, runs or is about to end; of several with one kernel id the youngest, which has it now. `None` while
/// there is one that found no place.
pub(super) fn known_threads() -> Option<Vec<KnownThread>> {
    if UNTRACKED.load(SeqCst) > 0 {
        return None;
    }
    let used = &THREADS[..USED.load(SeqCst)];
    let known = used.iter().filter_map(|slot| {
        let state = slot.state.load(SeqCst);
        (state != FREE && state != CLAIMED).then(|| KnownThread {
            tid: slot.tid.load(SeqCst),
            start: slot.start.load(SeqCst),
            owner: CodeOwner::from_number(slot.owner.load(SeqCst)),
            sequence: slot.sequence.load(SeqCst),
            runs: state != ENDING,
        })
    });
    let mut known: Vec<_> = known.collect();
    known.sort_unstable_by_key(|thread| (thread.tid, std::cmp::Reverse(thread.sequence)));
    known.dedup_by(|next, kept| kept.tid != 0 && next.tid == kept.tid);
    Some(known)
}

/// The libraries that have threads of their own; `None` while there are more threads than the host can follow.
pub(crate) fn libraries_with_threads() -> Option<HashSet<CodeOwner>> {
    let all = known_threads()?.into_iter();
    let of_libraries = all.filter(|thread| thread.runs && thread.owner.is_a_librarys());
    Some(of_libraries.map(|thread| thread.owner).collect())
}

const FREE: u32 = 0;
const STARTING: u32 = 1;
const RUNNING: u32 = 2;
const ENDING: u32 = 3;
/// Taken, and what stands there is still of the thread before.
const CLAIMED: u32 = 4;

struct ThreadSlot {
    state: AtomicU32,
    tid: AtomicI32,
    start: AtomicUsize,
    owner: AtomicU64,
    sequence: AtomicU64,
}

const THREADS_MAX: usize = 4096;
/// Slots that are taken in turn, so that one is not used again while its thread is about to end; the others only if none is free.
const THREADS_USUAL: usize = 256;

static THREADS: [ThreadSlot; THREADS_MAX] = [const {
    ThreadSlot {
        state: AtomicU32::new(FREE),
        tid: AtomicI32::new(0),
        start: AtomicUsize::new(0),
        owner: AtomicU64::new(0),
        sequence: AtomicU64::new(0),
    }
}; THREADS_MAX];
static NEXT: AtomicUsize = AtomicUsize::new(0);
/// Slots before this one may have been used.
static USED: AtomicUsize = AtomicUsize::new(0);
static SEQUENCE: AtomicU64 = AtomicU64::new(1);
/// Threads that live and found no place.
static UNTRACKED: AtomicUsize = AtomicUsize::new(0);

fn claim(start: usize, owner: CodeOwner, sequence: u64) -> Option<&'static ThreadSlot> {
    let first = NEXT.fetch_add(1, Relaxed);
    let usual = (0..THREADS_USUAL).map(|offset| first.wrapping_add(offset) % THREADS_USUAL);
    for at in usual.chain(THREADS_USUAL..THREADS_MAX) {
        let slot = &THREADS[at];
        if ![FREE, ENDING].contains(&slot.state.load(SeqCst)) {
            continue;
        }
        // Before the slot is taken: whoever sees the thread there sees this.
        USED.fetch_max(at + 1, SeqCst);
        for from in [FREE, ENDING] {
            if slot.state.compare_exchange(from, CLAIMED, SeqCst, SeqCst).is_ok() {
                slot.tid.store(0, SeqCst);
                slot.start.store(start, SeqCst);
                slot.owner.store(owner.number(), SeqCst);
                slot.sequence.store(sequence, SeqCst);
                slot.state.store(STARTING, SeqCst);
                return Some(slot);
            }
        }
    }
    reclaim_dead()?;
    claim(start, owner, sequence)
}

/// Frees the slots of threads that left without their end being run.
fn reclaim_dead() -> Option<()> {
    // SAFETY: takes no pointers.
    let pid = unsafe { libc::getpid() };
    let mut freed = None;
    for slot in &THREADS {
        let tid = slot.tid.load(SeqCst);
        if slot.state.load(SeqCst) != RUNNING || tid == 0 {
            continue;
        }
        // SAFETY: signal 0 only asks whether the thread is there.
        if unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, 0) } != 0 {
            slot.state.store(FREE, SeqCst);
            freed = Some(());
        }
    }
    freed
}

pub(super) type StartRoutine = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// What a new thread is given instead of its own argument. Lives in memory of `malloc`, since the Rust allocator may be anything.
pub(super) struct Package {
    start: StartRoutine,
    argument: *mut c_void,
    owner: CodeOwner,
    slot: Option<&'static ThreadSlot>,
    /// The stack for its signals; 0 if it has none from here.
    signals: AtomicUsize,
}

/// Notes a thread that the calling one is about to make. `None` without memory.
pub(super) fn note(start: StartRoutine, argument: *mut c_void) -> Option<*mut Package> {
    // SAFETY: a plain allocation; null is handled.
    let package = unsafe { libc::malloc(size_of::<Package>()) }.cast::<Package>();
    if package.is_null() {
        return None;
    }
    let address = start as usize;
    let owner = if code_owner::is_in_executable(address) {
        CodeOwner::HOST
    } else {
        code_owner::maker()
    };
    let slot = claim(address, owner, SEQUENCE.fetch_add(1, SeqCst));
    if slot.is_none() {
        UNTRACKED.fetch_add(1, SeqCst);
    }
    let noted = Package {
        start,
        argument,
        owner,
        slot,
        signals: AtomicUsize::new(0),
    };
    // SAFETY: fresh memory of this size; malloc aligns for any fundamental type.
    unsafe { package.write(noted) };
    Some(package)
}

/// The thread was not made after all.
///
/// # Safety
/// From [`note`], and given to nobody.
pub(super) unsafe fn forget(package: *mut Package) {
    // SAFETY: the caller's contract.
    leave(unsafe { (*package).slot }, FREE);
    // SAFETY: from malloc, and nobody else's.
    unsafe { libc::free(package.cast()) };
}

/// First frame of every thread. "C-unwind" and without anything to drop: `pthread_exit` unwinds through it.
pub(super) extern "C-unwind" fn run_thread(package: *mut c_void) -> *mut c_void {
    // SAFETY: made by `note` for this thread alone, which frees it at its end.
    let noted = unsafe { &*package.cast::<Package>() };
    code_owner::begin(noted.owner);
    if let Some(slot) = noted.slot {
        // SAFETY: takes no pointers.
        slot.tid.store(unsafe { libc::gettid() }, SeqCst);
        slot.state.store(RUNNING, SeqCst);
    }
    // The host's threads have one from the standard library, or get one when they enter a plugin.
    if noted.owner.is_a_librarys() {
        let stack = AlternateStack::begin_on_a_plugins_thread();
        noted.signals.store(stack.into_address(), Relaxed);
    }
    // The first that is registered on this thread, and so the last that runs of these.
    let at_end = at_thread_end(end, package) == 0;
    let (start, argument) = (noted.start, noted.argument);
    let result = start(argument);
    if !at_end {
        // SAFETY: nobody else ends it.
        unsafe { end(package) };
    }
    result
}

/// The calling thread ends; destructors of thread-locals have run, some of keys may still.
unsafe extern "C" fn end(package: *mut c_void) {
    // SAFETY: the package of this thread, which has no other use for it.
    let Package {
        slot, owner, signals, ..
    } = unsafe { package.cast::<Package>().read() };
    drop(AlternateStack::from_address(signals.into_inner()));
    // SAFETY: from malloc, and read.
    unsafe { libc::free(package) };
    // In this order: a thread that ends meanwhile is missed rather than counted twice.
    leave(slot, ENDING);
    cpu::keep_of_this_thread(owner);
}

/// The thread gives up its place, if it has one.
fn leave(slot: Option<&'static ThreadSlot>, state: u32) {
    match slot {
        Some(slot) => slot.state.store(state, SeqCst),
        None => drop(UNTRACKED.fetch_sub(1, SeqCst)),
    }
}
