//! `pthread_create`, `pthread_key_create` and `pthread_key_delete`, seen by the host before glibc sees them.
//!
//! Why: the dynamic loader does not know which threads and keys a library has made. A thread that still runs in a library
//! when it is unmapped crashes the process; so does a key whose destructor lies in it; and Rust's std makes one key a load that it
//! never deletes, so that after about a thousand loads there are none left.
//!
//! The three functions are defined in the host's executable and exported from it, so that libraries bind to them. That takes a
//! linker argument in the embedder's build script; [`interposition`] checks that it was given. Nothing here allocates from
//! Rust, uses thread-locals or takes a lock: it runs inside thread creation and early start-up.

use super::cpu;
use libc::{c_int, c_void, pthread_attr_t, pthread_key_t, pthread_t};
use std::ffi::CStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};

/// Whether the three functions are in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interposition {
    /// Libraries bind to the host's functions.
    Active,
    /// Libraries bind to another function of this name: nothing is known of their threads and keys.
    Missing(&'static str),
}

/// Checks which functions a library binds to. Looked up once: the executable comes first for every library, and a later look-up
/// would wait for the dynamic loader, which a constructor that hangs holds.
pub fn interposition() -> Interposition {
    static SEEN: OnceLock<Interposition> = OnceLock::new();
    *SEEN.get_or_init(look_up)
}

fn look_up() -> Interposition {
    let ours: [(&'static CStr, &'static str, *const c_void); 3] = [
        (
            c"pthread_create",
            "pthread_create",
            pthread_create as *const c_void,
        ),
        (
            c"pthread_key_create",
            "pthread_key_create",
            pthread_key_create as *const c_void,
        ),
        (
            c"pthread_key_delete",
            "pthread_key_delete",
            pthread_key_delete as *const c_void,
        ),
    ];
    for (symbol, name, function) in ours {
        // SAFETY: a look-up by a NUL-terminated name in the global scope, where a library's symbols are looked up first.
        let bound = unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) };
        if !std::ptr::eq(bound, function) {
            return Interposition::Missing(name);
        }
    }
    Interposition::Active
}

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
    /// When it was made, in [`thread_sequence`]'s order.
    pub sequence: u64,
    /// It has not come back from its start routine.
    pub runs: bool,
}

/// Every thread that is being made, runs or is about to end. `None` if there were once too many to follow.
pub(super) fn known_threads() -> Option<Vec<KnownThread>> {
    if OVERFLOWED.load(SeqCst) {
        return None;
    }
    let used = &THREADS[..USED.load(SeqCst)];
    let known = used.iter().filter_map(|slot| {
        let state = slot.state.load(SeqCst);
        (state != FREE).then(|| KnownThread {
            tid: slot.tid.load(SeqCst),
            start: slot.start.load(SeqCst),
            sequence: slot.sequence.load(SeqCst),
            runs: state != ENDING,
        })
    });
    Some(known.collect())
}

/// Keys whose destructor lies in one of the ranges.
pub(super) fn keys_with_destructor_in(contains: impl Fn(usize) -> bool) -> Vec<LeftKey> {
    let inside = |(number, destructor): (usize, &AtomicUsize)| {
        let destructor = destructor.load(SeqCst);
        let key = LeftKey {
            number: number as pthread_key_t,
            destructor,
        };
        (destructor != 0 && contains(destructor)).then_some(key)
    };
    KEYS.iter().enumerate().filter_map(inside).collect()
}

/// A key as it was when its library was about to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeftKey {
    number: pthread_key_t,
    destructor: usize,
}

/// Deletes a key that its maker left behind, unless its number has been given to somebody else since.
///
/// # Safety
/// The library with the key's destructor is unmapped, and no thread that ran its code is left.
pub(super) unsafe fn delete_key(key: LeftKey) {
    let Some(slot) = KEYS.get(key.number as usize) else {
        return;
    };
    if slot.compare_exchange(key.destructor, 0, SeqCst, SeqCst).is_ok() {
        // SAFETY: still the key that was left behind; nobody uses it any more (the caller's contract).
        unsafe { pthread_key_delete(key.number) };
    }
}

const FREE: u32 = 0;
const STARTING: u32 = 1;
const RUNNING: u32 = 2;
const ENDING: u32 = 3;

struct ThreadSlot {
    state: AtomicU32,
    tid: AtomicI32,
    start: AtomicUsize,
    sequence: AtomicU64,
}

const THREADS_MAX: usize = 4096;
/// Slots that are taken in turn, so that one is not used again while its thread is about to end; the others only if none is free.
const THREADS_USUAL: usize = 256;
const KEYS_MAX: usize = 1024;

static THREADS: [ThreadSlot; THREADS_MAX] = [const {
    ThreadSlot {
        state: AtomicU32::new(FREE),
        tid: AtomicI32::new(0),
        start: AtomicUsize::new(0),
        sequence: AtomicU64::new(0),
    }
}; THREADS_MAX];
static NEXT: AtomicUsize = AtomicUsize::new(0);
/// Slots before this one may have been used.
static USED: AtomicUsize = AtomicUsize::new(0);
static SEQUENCE: AtomicU64 = AtomicU64::new(1);
static OVERFLOWED: AtomicBool = AtomicBool::new(false);
static KEYS: [AtomicUsize; KEYS_MAX] = [const { AtomicUsize::new(0) }; KEYS_MAX];

fn claim(start: usize) -> Option<&'static ThreadSlot> {
    let first = NEXT.fetch_add(1, Relaxed);
    let usual = (0..THREADS_USUAL).map(|offset| first.wrapping_add(offset) % THREADS_USUAL);
    for at in usual.chain(THREADS_USUAL..THREADS_MAX) {
        let slot = &THREADS[at];
        if [STARTING, RUNNING].contains(&slot.state.load(SeqCst)) {
            continue;
        }
        // Before the slot is taken: whoever sees the thread there sees this.
        USED.fetch_max(at + 1, SeqCst);
        for from in [FREE, ENDING] {
            if slot
                .state
                .compare_exchange(from, STARTING, SeqCst, SeqCst)
                .is_ok()
            {
                slot.tid.store(0, SeqCst);
                slot.start.store(start, SeqCst);
                slot.sequence.store(SEQUENCE.fetch_add(1, SeqCst), SeqCst);
                return Some(slot);
            }
        }
    }
    reclaim_dead()?;
    claim(start)
}

/// Frees the slots of threads that ended by `pthread_exit` and so never said that they would.
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

type StartRoutine = extern "C-unwind" fn(*mut c_void) -> *mut c_void;
type CreateFn =
    unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, StartRoutine, *mut c_void) -> c_int;
type KeyCreateFn =
    unsafe extern "C" fn(*mut pthread_key_t, Option<unsafe extern "C" fn(*mut c_void)>) -> c_int;
type KeyDeleteFn = unsafe extern "C" fn(pthread_key_t) -> c_int;

/// What a new thread is given instead of its own argument. Lives in memory of `malloc`, since the Rust allocator may be anything.
struct Package {
    start: StartRoutine,
    argument: *mut c_void,
    slot: Option<&'static ThreadSlot>,
}

/// glibc's function of this name.
fn real(symbol: &'static CStr, cache: &AtomicUsize) -> Option<usize> {
    let known = cache.load(Acquire);
    if known != 0 {
        return Some(known);
    }
    // SAFETY: a look-up by a NUL-terminated name in the objects after the executable.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, symbol.as_ptr()) }.addr();
    cache.store(found, Release);
    (found != 0).then_some(found)
}

/// Notes the thread and has glibc make it.
///
/// # Safety
/// As `pthread_create(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: StartRoutine,
    argument: *mut c_void,
) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    let Some(real) = real(c"pthread_create", &REAL) else {
        return libc::ENOSYS;
    };
    // SAFETY: glibc's function of this name has this signature.
    let real: CreateFn = unsafe { std::mem::transmute(real) };
    // SAFETY: a plain allocation; null is handled.
    let package = unsafe { libc::malloc(size_of::<Package>()) }.cast::<Package>();
    if package.is_null() {
        return libc::EAGAIN;
    }
    let slot = claim(start as usize);
    if slot.is_none() {
        OVERFLOWED.store(true, SeqCst);
    }
    // SAFETY: fresh memory of this size; malloc aligns for any fundamental type.
    unsafe {
        package.write(Package {
            start,
            argument,
            slot,
        })
    };
    // SAFETY: the caller's contract; the package is the new thread's from here on.
    let made = unsafe { real(thread, attributes, run_thread, package.cast()) };
    if made != 0 {
        if let Some(slot) = slot {
            slot.state.store(FREE, SeqCst);
        }
        // SAFETY: no thread was made, so the package is still ours.
        unsafe { libc::free(package.cast()) };
    }
    made
}

/// First frame of every thread. "C-unwind" and without anything to drop: `pthread_exit` unwinds through it.
extern "C-unwind" fn run_thread(package: *mut c_void) -> *mut c_void {
    // SAFETY: made by `pthread_create` above for this thread alone.
    let Package {
        start,
        argument,
        slot,
    } = unsafe { package.cast::<Package>().read() };
    // SAFETY: from malloc, and read.
    unsafe { libc::free(package) };
    if let Some(slot) = slot {
        // SAFETY: takes no pointers.
        slot.tid.store(unsafe { libc::gettid() }, SeqCst);
        slot.state.store(RUNNING, SeqCst);
    }
    let result = start(argument);
    if let Some(slot) = slot {
        slot.state.store(ENDING, SeqCst);
    }
    cpu::note_end(start as usize);
    result
}

/// Has glibc make the key and notes its destructor.
///
/// # Safety
/// As `pthread_key_create(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_key_create(
    key: *mut pthread_key_t,
    destructor: Option<unsafe extern "C" fn(*mut c_void)>,
) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    let Some(real) = real(c"pthread_key_create", &REAL) else {
        return libc::ENOSYS;
    };
    // SAFETY: glibc's function of this name has this signature.
    let real: KeyCreateFn = unsafe { std::mem::transmute(real) };
    // SAFETY: the caller's contract.
    let made = unsafe { real(key, destructor) };
    if made == 0 {
        // SAFETY: glibc has just written it.
        let number = unsafe { *key } as usize;
        if let Some(slot) = KEYS.get(number) {
            slot.store(destructor.map_or(0, |d| d as usize), SeqCst);
        }
    }
    made
}

/// Forgets the key and has glibc delete it.
///
/// # Safety
/// As `pthread_key_delete(3)`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_key_delete(key: pthread_key_t) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    let Some(real) = real(c"pthread_key_delete", &REAL) else {
        return libc::ENOSYS;
    };
    // SAFETY: glibc's function of this name has this signature.
    let real: KeyDeleteFn = unsafe { std::mem::transmute(real) };
    // Before, not after: once deleted, the number may be another's.
    if let Some(slot) = KEYS.get(key as usize) {
        slot.store(0, SeqCst);
    }
    // SAFETY: the caller's contract.
    unsafe { real(key) }
}
