//! Descriptors of the host that libraries can't close.
//!
//! What is open when the first library is loaded is the host's: its sockets, its database, what its async runtime waits on. A
//! library that closes one of them, or puts another file there, is answered EBADF, and the attempt is reported. One that goes on from
//! number to number closes a whole range: the rest of it is refused as well, whoever opened that meanwhile.
//!
//! A library that asks the kernel past the C library is not held up. What that costs is looked for at each comparison, and a program
//! whose async runtime lost its descriptors ends: its numbers are soon another's, and what is written to them goes astray.

use super::acts::note;
use super::fork::is_forked_child;
use super::real::{Real, interpose};
use crate::loader::CodeOwner;
use extman_model::ProcessPart;
use libc::{c_int, c_uint};
use std::cell::Cell;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::*};

/// Descriptors from this number on are not protected.
const DESCRIPTORS_MAX: usize = 1024;
/// Which file each descriptor of the host is, by [`file_at`]; 0 for what is not the host's.
static OF_HOST: [AtomicU64; DESCRIPTORS_MAX] = [const { AtomicU64::new(0) }; DESCRIPTORS_MAX];
/// The host's process: a child of `vfork(2)` shares its memory, and may close what it has inherited.
static PROCESS: AtomicI32 = AtomicI32::new(0);

thread_local! {
    /// Where the library that runs on this thread has come in a range that began with a descriptor of the host: the last number, and how
    /// many there were.
    static RANGE: Cell<(RawFd, u32)> = const { Cell::new((0, 0)) };
}

/// So many numbers side by side, from one of the host's on, are no chance: whoever closes them closes all that there are.
const RANGE_MIN: u32 = 4;

/// What is open now, and beyond the standard streams, is the host's from here on. Called before the first library is loaded.
pub(super) fn protect_open_ones() {
    // SAFETY: takes no pointers.
    PROCESS.store(unsafe { libc::getpid() }, Release);
    for descriptor in open_ones() {
        protect(descriptor);
    }
}

/// The descriptor is the host's from here on, until the host closes it.
pub(crate) fn protect(descriptor: RawFd) {
    if let (Some(of_host), Some(file)) = (of_host(descriptor), file_at(descriptor)) {
        of_host.store(file, Release);
    }
}

/// Those on which the async runtime of the host waits, with what they are.
pub(super) fn vital_ones() -> Vec<(RawFd, String)> {
    let named = |descriptor: RawFd| {
        let link = std::fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?;
        let link = link.to_string_lossy();
        ["anon_inode:[eventpoll]", "anon_inode:[eventfd]"]
            .contains(&&*link)
            .then(|| (descriptor, link.into_owned()))
    };
    open_ones().into_iter().filter_map(named).collect()
}

/// Whether a descriptor of the host is no longer the file that it was, though the host has not closed it.
pub(super) fn is_lost(descriptor: RawFd) -> bool {
    let file = of_host(descriptor).map_or(0, |of_host| of_host.load(Acquire));
    file != 0 && file_at(descriptor) != Some(file)
}

fn of_host(descriptor: RawFd) -> Option<&'static AtomicU64> {
    OF_HOST.get(usize::try_from(descriptor).ok()?)
}

fn open_ones() -> Vec<RawFd> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // A folder that is open is soon closed by the C library itself, which nobody sees: as the one that is read here.
    let lasts = |descriptor: &RawFd| {
        let path = format!("/proc/self/fd/{descriptor}");
        *descriptor > libc::STDERR_FILENO && std::fs::metadata(path).is_ok_and(|file| !file.is_dir())
    };
    numbers.filter(lasts).collect()
}

/// Tells one file from another, and is never 0; `None` for a descriptor that is closed.
fn file_at(descriptor: RawFd) -> Option<u64> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: writes the local struct; a number that is no descriptor is an error.
    let known = unsafe { libc::fstat(descriptor, stat.as_mut_ptr()) } == 0;
    // SAFETY: written by the successful call; zeroed before.
    let stat = unsafe { stat.assume_init() };
    known.then(|| file_id(stat.st_dev, stat.st_ino))
}

fn file_id(device: u64, inode: u64) -> u64 {
    (device.rotate_left(40) ^ inode).max(1)
}

/// Whether this act on a descriptor is refused; it is noted then. One that the host closes is no longer its own. Called in signal
/// handlers and forked children too: no lock, no memory.
fn is_refused(descriptor: c_int) -> bool {
    let Some(of_host) = of_host(descriptor) else {
        return false;
    };
    if !CodeOwner::here().is_a_librarys() {
        if of_host.load(Relaxed) != 0 {
            of_host.store(0, Release);
        }
        return false;
    }
    let (last, before) = RANGE.get();
    let file = of_host.load(Acquire);
    let goes_on = before > 0 && last.abs_diff(descriptor) == 1;
    if !goes_on && file == 0 || is_child() {
        return false;
    }
    let is_hosts = file != 0 && file_at(descriptor) == Some(file);
    let length = match goes_on {
        true => before + 1,
        false => u32::from(is_hosts),
    };
    RANGE.set((descriptor, length));
    let refused = is_hosts || length >= RANGE_MIN;
    if refused {
        note(ProcessPart::Descriptors);
    }
    refused
}

fn is_child() -> bool {
    // SAFETY: takes no pointers.
    is_forked_child() || unsafe { libc::getpid() } != PROCESS.load(Acquire)
}

fn refused() -> c_int {
    // SAFETY: the calling thread's own.
    unsafe { *libc::__errno_location() = libc::EBADF };
    -1
}

/// Notes what becomes of a standard stream.
fn note_stream(descriptor: c_int) {
    if (0..=libc::STDERR_FILENO).contains(&descriptor) {
        note(ProcessPart::StandardStreams);
    }
}

interpose! {
    /// Refused to a library for a descriptor of the host.
    fn close(descriptor: c_int) -> c_int, or -1, by real {
        if is_refused(descriptor) {
            return refused();
        }
        note_stream(descriptor);
        real(descriptor)
    }

    /// Refused to a library in the place of a descriptor of the host.
    fn dup2(from: c_int, to: c_int) -> c_int, or -1, by real {
        if from != to && is_refused(to) {
            return refused();
        }
        note_stream(to);
        real(from, to)
    }

    /// Refused to a library in the place of a descriptor of the host.
    fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int, or -1, by real {
        if from != to && is_refused(to) {
            return refused();
        }
        note_stream(to);
        real(from, to, flags)
    }

    /// Refused to a library where a descriptor of the host is among them. With a flag it closes nothing here: not before another
    /// program is executed, or in a table of its own.
    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int, or -1, by real {
        if flags == 0 && range_is_refused(first, last) {
            return refused();
        }
        real(first, last, flags)
    }

    /// Refused to a library where a descriptor of the host is among them.
    fn closefrom(first: c_int) -> (), or Default::default(), by real {
        if !range_is_refused(c_uint::try_from(first).unwrap_or(0), c_uint::MAX) {
            real(first);
        }
    }
}

/// Whether one of these is refused: then none of them is closed.
fn range_is_refused(first: c_uint, last: c_uint) -> bool {
    if !CodeOwner::here().is_a_librarys() {
        return false;
    }
    let last = (last as usize).min(DESCRIPTORS_MAX - 1);
    let refused = (first as usize..=last).any(|descriptor| is_refused(descriptor as c_int));
    RANGE.set((0, 0));
    refused
}

#[cfg(test)]
mod tests {
    use super::super::acts::{alone, take};
    use super::*;
    use crate::loader::on_behalf_of;
    use rustix::io::fcntl_dupfd_cloexec;
    use std::os::fd::{AsRawFd, IntoRawFd};

    fn is_open(descriptor: RawFd) -> bool {
        file_at(descriptor).is_some()
    }

    /// As a library closes it.
    fn close_as(library: CodeOwner, descriptor: RawFd) -> c_int {
        // SAFETY: of this test's own descriptors, which nobody uses any more.
        on_behalf_of(library, || unsafe { close(descriptor) })
    }

    #[test]
    fn descriptor_of_the_host_is_closed_by_the_host_alone_and_its_own_ones_by_a_library() {
        let _alone = alone();
        let library = CodeOwner::of_a_new_library();
        protect_open_ones();
        let (first, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        // Side by side, and higher than any that another test of this process is given meanwhile.
        let host = fcntl_dupfd_cloexec(&first, 800).unwrap();
        let own = fcntl_dupfd_cloexec(&other, 801).unwrap().into_raw_fd();
        assert_eq!(own, host.as_raw_fd() + 1);
        protect(host.as_raw_fd());
        let _ = take(ProcessPart::Descriptors);
        assert_eq!(close_as(library, host.as_raw_fd()), -1);
        assert!(is_open(host.as_raw_fd()) && !is_lost(host.as_raw_fd()));
        assert_eq!(take(ProcessPart::Descriptors), Some(library));
        assert_eq!(
            close_as(library, own),
            0,
            "its own one, though it has the next number"
        );
        let number = host.as_raw_fd();
        drop(host);
        assert!(!is_lost(number), "the host closed it");
    }

    #[test]
    fn library_that_goes_on_from_number_to_number_closes_none_that_came_later() {
        let _alone = alone();
        let library = CodeOwner::of_a_new_library();
        protect_open_ones();
        let file = tempfile::tempfile().unwrap();
        let opened = [700, 701, 702, 703, 704, 705].map(|at| fcntl_dupfd_cloexec(&file, at).unwrap());
        protect(opened[0].as_raw_fd());
        let closed = opened.map(|one| close_as(library, one.into_raw_fd()));
        assert_eq!(closed, [-1, 0, 0, -1, -1, -1]);
    }

    #[test]
    fn files_that_were_made_one_after_the_other_are_told_apart() {
        assert_ne!(file_id(1, 6), file_id(1, 7));
    }

    #[test]
    fn number_that_the_host_gave_up_unseen_is_a_librarys_to_close() {
        let _alone = alone();
        let library = CodeOwner::of_a_new_library();
        protect_open_ones();
        let (first, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        // Higher than any that another test of this process is given meanwhile.
        let number = fcntl_dupfd_cloexec(&first, 900).unwrap().into_raw_fd();
        protect(number);
        // SAFETY: this test's own descriptor, closed past the C library.
        unsafe { libc::syscall(libc::SYS_close, number) };
        assert!(is_lost(number));
        // SAFETY: the number is free.
        let given = unsafe { libc::syscall(libc::SYS_dup3, other.as_raw_fd(), number, 0) };
        assert_eq!(given, i64::from(number));
        assert_eq!(close_as(library, number), 0);
    }
}
