//! Acts on the process by which a library changes it, each noted with whose code did it.
//!
//! A comparison finds *that* something was changed; these notes say by whom, also for what happens in calls and on threads. A library
//! that asks the kernel past the C library leaves no note: then those are named whose code ran.

use super::real::{Real, interpose};
use crate::loader::CodeOwner;
use extman_model::ProcessPart;
use libc::{c_char, c_int, mode_t, rlimit};
use std::sync::atomic::{AtomicU64, Ordering::*};

/// The parts of the process whose changes are noted, each with its note: whose code changed it since it was asked last, 0 for nobody's
/// or [`SEVERAL`].
static NOTES: [(ProcessPart, AtomicU64); 9] = [
    (ProcessPart::Signals, AtomicU64::new(0)),
    (ProcessPart::WorkingDirectory, AtomicU64::new(0)),
    (ProcessPart::Umask, AtomicU64::new(0)),
    (ProcessPart::Locale, AtomicU64::new(0)),
    (ProcessPart::Limits, AtomicU64::new(0)),
    (ProcessPart::Environment, AtomicU64::new(0)),
    (ProcessPart::StandardStreams, AtomicU64::new(0)),
    (ProcessPart::Descriptors, AtomicU64::new(0)),
    (ProcessPart::Threads, AtomicU64::new(0)),
];
const SEVERAL: u64 = u64::MAX;

fn note_of(part: ProcessPart) -> Option<&'static AtomicU64> {
    NOTES.iter().find_map(|(of, note)| (*of == part).then_some(note))
}

/// Notes that the code which runs on this thread changes a part of the process. Takes no lock and no memory.
pub(super) fn note(part: ProcessPart) {
    let here = CodeOwner::here();
    let Some(note) = note_of(part).filter(|_| here.is_a_librarys()) else {
        return;
    };
    let noted = note.compare_exchange(0, here.number(), AcqRel, Acquire);
    if noted.is_err_and(|before| before != here.number()) {
        note.store(SEVERAL, Release);
    }
}

/// Whose code changed a part since this was asked last: [`CodeOwner::UNKNOWN`] if it was that of several libraries.
pub(super) fn take(part: ProcessPart) -> Option<CodeOwner> {
    match note_of(part)?.swap(0, AcqRel) {
        0 => None,
        SEVERAL => Some(CodeOwner::UNKNOWN),
        one => Some(CodeOwner::from_number(one)),
    }
}

/// As [`take`], of all parts.
pub(super) fn take_all() -> Vec<(ProcessPart, CodeOwner)> {
    let parts = NOTES.iter().map(|(part, _)| *part);
    parts.filter_map(|part| Some((part, take(part)?))).collect()
}

interpose! {
    /// Noted.
    fn chdir(path: *const c_char) -> c_int, or -1, by real {
        note(ProcessPart::WorkingDirectory);
        real(path)
    }

    /// Noted.
    fn fchdir(directory: c_int) -> c_int, or -1, by real {
        note(ProcessPart::WorkingDirectory);
        real(directory)
    }

    /// Noted.
    fn umask(mask: mode_t) -> mode_t, or 0, by real {
        note(ProcessPart::Umask);
        real(mask)
    }

    /// Noted, unless it only asks.
    fn setlocale(category: c_int, locale: *const c_char) -> *mut c_char, or std::ptr::null_mut(), by real {
        if !locale.is_null() {
            note(ProcessPart::Locale);
        }
        real(category, locale)
    }

    /// Noted. Both limits are of one layout where `long` has 64 bits.
    fn setrlimit, setrlimit64(resource: c_int, limit: *const rlimit) -> c_int, or -1, by real {
        note(ProcessPart::Limits);
        real(resource, limit)
    }

}

/// For tests that note acts, or have them taken: the notes are of the whole process.
#[cfg(test)]
pub(crate) fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    crate::sync::lock(&ALONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::on_behalf_of;

    #[test]
    fn note_names_the_one_library_that_acted_and_nobody_if_several_did() {
        let _alone = alone();
        let (one, other) = (CodeOwner::of_a_new_library(), CodeOwner::of_a_new_library());
        let part = ProcessPart::Locale;
        let _ = take(part);
        note(part);
        assert_eq!(take(part), None, "the host itself");
        on_behalf_of(one, || note(part));
        on_behalf_of(one, || note(part));
        assert_eq!(take(part), Some(one));
        assert_eq!(take(part), None, "it is told once");
        on_behalf_of(one, || note(part));
        on_behalf_of(other, || note(part));
        assert_eq!(take(part), Some(CodeOwner::UNKNOWN));
        on_behalf_of(other, || note(part));
        assert_eq!(take(part), Some(other));
    }
}
