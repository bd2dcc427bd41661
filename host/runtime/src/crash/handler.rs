//! The handler of fatal signals: notes which signal, where, and in whose code; then has happen what would have happened without it.
//!
//! It runs on a thread whose program may be in any state, so it takes no lock, allocates nothing and calls nothing but `getpid`, `gettid`,
//! `clock_gettime`, `prctl`, `nanosleep`, `sigaction`, `sigpending` and `tgkill`. What it reads are atomics: the journal's mapping, and two
//! thread-locals of the executable, which lie in memory that every thread has.
//!
//! Whose code it was: of the place that the thread's slot names, the innermost one; without that, of the library that the thread was made
//! for; without that, of the library in which the instruction lies; otherwise nobody's.

use super::journal::{journal, slot_here};
use super::layout::{Code, Journal, LibraryRow, NONE, Note, OWN_THREAD, WHOLE, WRITING, Word};
use super::stack;
use crate::loader::{CodeOwner, offset_in_executable};
use crate::process_guard::{disposition, set_disposition};
use libc::{c_int, c_void, siginfo_t};
use rustix::thread::nanosleep;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering::*};

/// The signals that are handled.
pub(super) const SIGNALS: [c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
];

/// What was there before, in the order of [`SIGNALS`].
static BEFORE: [AtomicPtr<libc::sigaction>; SIGNALS.len()] =
    [const { AtomicPtr::new(ptr::null_mut()) }; SIGNALS.len()];

/// Installs it, once. What was there before is called by it.
pub(super) fn install() -> io::Result<()> {
    static ONCE: Once = Once::new();
    let mut installed = Ok(());
    ONCE.call_once(|| {
        // What the handler asks for later is looked up now, while the dynamic loader is free.
        let _ = offset_in_executable(0);
        stack::enable();
        installed = SIGNALS.iter().zip(&BEFORE).try_for_each(|(signal, kept)| {
            let before = disposition(*signal).ok_or_else(io::Error::last_os_error)?;
            // For the process's life: the handler may run at any time.
            kept.store(Box::into_raw(Box::new(before)), Release);
            // SAFETY: all of it is written below or may be zero.
            let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
            let handled: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = handle;
            action.sa_sigaction = handled as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            set_disposition(*signal, &action)
        });
    });
    installed
}

extern "C" fn handle(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's own, valid while the handler runs; the thread's own errno.
    let (info_seen, errno) = unsafe { (&*info, *libc::__errno_location()) };
    let noted = note(signal, info_seen, context);
    let before = SIGNALS.iter().zip(&BEFORE).find(|(of, _)| **of == signal);
    let before = before.map_or(ptr::null_mut(), |(_, kept)| kept.load(Acquire));
    // SAFETY: null, or kept for good by `install`.
    let before = unsafe { before.as_ref() }.map(|before| (before, before.sa_sigaction));
    let was_raised = info_seen.si_code <= 0;
    let survives = match before {
        Some((_, libc::SIG_IGN)) if was_raised => true,
        None | Some((_, libc::SIG_DFL | libc::SIG_IGN)) => {
            set_default(signal);
            false
        }
        Some((before, _)) if before.sa_flags & libc::SA_RESETHAND != 0 => {
            // As the kernel does: the next one has the default.
            set_default(signal);
            call(before, signal, info, context);
            was_raised && !is_pending(signal)
        }
        Some((before, _)) => {
            call(before, signal, info, context);
            // It has seen to it, unless it left that to the default, as that of Rust's standard library does.
            disposition(signal).is_none_or(|now| now.sa_sigaction != libc::SIG_DFL)
        }
    };
    if !survives && was_raised {
        // A fault happens again where the handler returns to. This one is blocked until then.
        // SAFETY: takes no pointers.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), signal) };
    }
    // `abort` ends the process whatever handlers do, and past them. Where a plugin raised SIGABRT otherwise, its thread moves on, which tells.
    let may_be_abort = signal == libc::SIGABRT && CodeOwner::here().is_a_librarys();
    if survives && noted && !may_be_abort {
        withdraw();
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Calls the handler that was there before.
fn call(before: &libc::sigaction, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    type Long = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);
    // SAFETY: the kernel would have called it with these arguments; its flags say which of the two signatures it has.
    unsafe {
        if before.sa_flags & libc::SA_SIGINFO != 0 {
            std::mem::transmute::<usize, Long>(before.sa_sigaction)(signal, info, context);
        } else {
            std::mem::transmute::<usize, extern "C" fn(c_int)>(before.sa_sigaction)(signal);
        }
    }
}

/// What the signal does from here on is end the process, with a core file that shows where.
fn set_default(signal: c_int) {
    // SAFETY: all zeros is the default, without flags.
    let default: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let _ = set_disposition(signal, &default);
}

/// Whether it comes again as soon as this handler has returned.
fn is_pending(signal: c_int) -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: writes to a local, and reads it.
    unsafe { libc::sigpending(pending.as_mut_ptr()) == 0 && libc::sigismember(pending.as_ptr(), signal) == 1 }
}

/// Notes the signal, if it is the first and no other process has sent it. `true` if this is what the note tells now.
fn note(signal: c_int, info: &siginfo_t, context: *mut c_void) -> bool {
    let Some(journal) = journal() else { return false };
    // SAFETY: take no pointers.
    let (pid, tid) = unsafe { (libc::getpid(), libc::gettid()) };
    // A forked child is not the host, and has the host's journal.
    if journal.page.pid.load(Relaxed) != pid as u64 {
        return false;
    }
    let is_fault = info.si_code > 0;
    // SAFETY: a signal that was sent has its sender there.
    if !is_fault && unsafe { info.si_pid() } != pid {
        return false;
    }
    if !claim_note(journal) {
        return false;
    }
    let (instruction, stack) = registers(context);
    let code = code(journal, instruction);
    let (slot, slot_word, slot_entries) = slot_here(journal).unwrap_or((0, 0, 0));
    // SAFETY: a fault has its address there.
    let address = is_fault.then(|| unsafe { info.si_addr() }.addr() as u64);
    let mut note = Note::empty();
    note.pid = pid as u64;
    note.signal = signal as u64;
    note.tid = tid as u64;
    note.at_unix_ms = now_unix_ms();
    note.is_fault = u64::from(is_fault);
    note.address = address.unwrap_or(0);
    note.stack = stack;
    (note.slot, note.slot_word, note.slot_entries) = (slot, slot_word, slot_entries);
    note.thread = thread_name();
    note.set_code(code, journal);
    note.set_culprit(culprit(journal, slot_word, code), journal);
    journal.page.write(&note);
    journal.page.state.store(WHOLE, Release);
    true
}

/// The right to note. Where another thread has it, its note is waited for: the process ends when this one goes on.
fn claim_note(journal: &Journal) -> bool {
    const WAITS_MAX: u32 = 2000;
    const MOMENT: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 1_000_000,
    };
    let state = &journal.page.state;
    for _ in 0..WAITS_MAX {
        match state.compare_exchange(NONE, WRITING, AcqRel, Acquire) {
            Ok(_) => return true,
            Err(WRITING) => drop(nanosleep(&MOMENT)),
            // One that the process survived: its thread has come out of what it was in.
            Err(_) if journal.has_moved_on() => {
                if state.compare_exchange(WHOLE, WRITING, AcqRel, Acquire).is_ok() {
                    return true;
                }
            }
            Err(_) => return false,
        }
    }
    false
}

/// The process goes on: there is nothing to tell.
fn withdraw() {
    if let Some(journal) = journal() {
        journal.page.state.store(NONE, Release);
    }
}

fn culprit(journal: &Journal, slot_word: u64, code: Code) -> Word {
    if slot_word != 0 {
        let place = Word::unpack(slot_word);
        let instance = match place.instance {
            0 => only_instance(journal, place.library),
            known => known,
        };
        return Word { instance, ..place };
    }
    let owner = CodeOwner::here();
    let of_thread = owner
        .is_a_librarys()
        .then(|| library_of(journal, owner.number()))
        .flatten();
    let of_code = match code {
        Code::Library(row, _) => Some(row),
        Code::Elsewhere | Code::Host(_) => None,
    };
    let Some(row) = of_thread.or(of_code) else {
        return Word::default();
    };
    Word {
        phase: OWN_THREAD,
        library: row as u64 + 1,
        capability: 0,
        instance: only_instance(journal, row as u64 + 1),
    }
}

fn library_of(journal: &Journal, owner: u64) -> Option<usize> {
    journal
        .libraries
        .iter()
        .position(|row| row.owner.load(Relaxed) == owner)
}

/// The instance of this library, if it has one alone; else 0.
fn only_instance(journal: &Journal, library: u64) -> u64 {
    // A free row.
    if library == 0 {
        return 0;
    }
    let rows = journal.instances.iter().enumerate();
    let mut its = rows.filter(|(_, row)| row.library.load(Relaxed) == library);
    match (its.next(), its.next()) {
        (Some((row, _)), None) => row as u64 + 1,
        _ => 0,
    }
}

fn code(journal: &Journal, at: u64) -> Code {
    let holds = |row: &LibraryRow| (row.start.load(Relaxed)..row.end.load(Relaxed)).contains(&at);
    if let Some(row) = journal.libraries.iter().position(holds) {
        return Code::Library(row, at - journal.libraries[row].start.load(Relaxed));
    }
    offset_in_executable(at as usize).map_or(Code::Elsewhere, |offset| Code::Host(offset as u64))
}

/// Addresses of the instruction and of the stack's end at which the signal came.
fn registers(context: *mut c_void) -> (u64, u64) {
    // SAFETY: the third argument of a handler with SA_SIGINFO.
    let saved = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    (
        saved[libc::REG_RIP as usize] as u64,
        saved[libc::REG_RSP as usize] as u64,
    )
}

fn now_unix_ms() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

fn thread_name() -> [u8; 16] {
    let mut name = [0; 16];
    // SAFETY: writes at most 16 bytes (PR_GET_NAME(2const)).
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name
}
