//! The standard streams. Descriptor 1 belongs to the program: its answers go to a private duplicate, and what a plugin prints goes to
//! standard error.

use rustix::fs::fstat;
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

/// The lowest number of a private duplicate: above those that programs take for the standard streams.
const PRIVATE_FROM: i32 = 10;

/// Takes standard output away from everybody else in this process: what is printed there from now on goes to standard error. Children
/// do not inherit the duplicate.
///
/// # Errors
/// There is no descriptor left.
pub fn take_stdout() -> std::io::Result<File> {
    let private = fcntl_dupfd_cloexec(rustix::stdio::stdout(), PRIVATE_FROM)?;
    dup2_stdout(rustix::stdio::stderr())?;
    Ok(File::from(private))
}

/// A duplicate of standard error that stays when a plugin closes descriptor 2 or puts another file there.
///
/// # Errors
/// There is no descriptor left.
pub fn private_stderr() -> std::io::Result<File> {
    Ok(File::from(fcntl_dupfd_cloexec(
        rustix::stdio::stderr(),
        PRIVATE_FROM,
    )?))
}

/// Device and inode of one stream of three; nothing where it is closed.
pub(super) type StreamFile = Option<(u64, u64)>;

/// Which files descriptors 0, 1 and 2 are.
pub(super) fn files() -> [StreamFile; 3] {
    streams().map(|stream| fstat(stream).ok().map(|file| (file.st_dev, file.st_ino)))
}

/// Opens the stream of this number again where it is closed.
pub(super) fn reopen(number: usize) -> bool {
    // One that is another file now belongs to who opened it.
    if !matches!(fstat(streams()[number]), Err(Errno::BADF)) {
        return false;
    }
    let Some(kept) = kept().as_ref().map(|kept| kept[number].as_fd()) else {
        return false;
    };
    let reopened = match number {
        0 => dup2_stdin(kept),
        1 => dup2_stdout(kept),
        _ => dup2_stderr(kept),
    };
    reopened.is_ok()
}

/// Duplicates of the streams as they were when the first plugin was loaded.
pub(super) fn kept() -> &'static Option<[OwnedFd; 3]> {
    static KEPT: OnceLock<Option<[OwnedFd; 3]>> = OnceLock::new();
    KEPT.get_or_init(|| {
        let [stdin, stdout, stderr] = streams().map(|stream| fcntl_dupfd_cloexec(stream, PRIVATE_FROM).ok());
        Some([stdin?, stdout?, stderr?])
    })
}

fn streams() -> [BorrowedFd<'static>; 3] {
    [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ]
}
