//! Standard error as the log writes to it: it never fails, never panics and never waits for long.
//!
//! A full disk, a closed pipe or a reader that stands still loses lines, which are counted; the host goes on.

use super::streams::private_stderr;
use crate::sync::lock;
use extman_model::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::{Mutex, OnceLock};

/// A pipe that has room takes so much without waiting (pipe(7): `PIPE_BUF`).
const CHUNK: usize = 4096;
/// How long the first line waits for a reader that stands still. Those after it do not wait until it reads again.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000_000,
};

static LOST: AtomicU64 = AtomicU64::new(0);
static LOST_LAST_MS: AtomicU64 = AtomicU64::new(0);
static STUCK: AtomicBool = AtomicBool::new(false);
static WHY: Mutex<String> = Mutex::new(String::new());

/// Lines of the log that were lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLost {
    /// How many, since the start.
    pub lines: u64,
    /// When the last one was, in milliseconds since the Unix epoch.
    pub last_unix_ms: u64,
    /// Why that was.
    pub why: String,
}

/// What the log has lost; nothing if it lost nothing.
pub fn log_lost() -> Option<LogLost> {
    let lines = LOST.load(Acquire);
    (lines > 0).then(|| LogLost {
        lines,
        last_unix_ms: LOST_LAST_MS.load(Acquire),
        why: lock(&WHY).clone(),
    })
}

/// Writes to a private duplicate of standard error.
#[derive(Debug, Clone, Copy, Default)]
pub struct StderrLog;

fn stderr() -> &'static Mutex<Option<File>> {
    static STDERR: OnceLock<Mutex<Option<File>>> = OnceLock::new();
    STDERR.get_or_init(|| Mutex::new(private_stderr().ok()))
}

impl Write for StderrLog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut stderr = lock(stderr());
        let written = match stderr.as_mut() {
            Some(file) => line.chunks(CHUNK).try_for_each(|chunk| write_chunk(file, chunk)),
            None => Err(io::Error::other("there was no descriptor left for it")),
        };
        if let Err(error) = written {
            LOST.fetch_add(1, AcqRel);
            LOST_LAST_MS.store(clock::unix_ms(clock::wall()), Release);
            *lock(&WHY) = error.to_string();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_chunk(file: &mut File, chunk: &[u8]) -> io::Result<()> {
    let mut asked = [PollFd::new(file, PollFlags::OUT)];
    let patience = if STUCK.load(Acquire) {
        Timespec::default()
    } else {
        PATIENCE
    };
    let ready = loop {
        match poll(&mut asked, Some(&patience)) {
            Err(rustix::io::Errno::INTR) => {}
            polled => break polled?,
        }
    };
    STUCK.store(ready == 0, Release);
    if ready == 0 {
        return Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "nobody reads the pipe that it is written to",
        ));
    }
    file.write_all(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::ioctl_fionbio;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    extern "C" fn pass_over(_: libc::c_int) {}

    #[test]
    fn signal_while_a_line_waits_for_its_reader_loses_no_line() {
        // SAFETY: a handler that does nothing, of a signal that no other test uses.
        unsafe { libc::signal(libc::SIGWINCH, pass_over as *const () as libc::sighandler_t) };
        let (mut reader, writer) = std::io::pipe().unwrap();
        ioctl_fionbio(&writer, true).unwrap();
        while rustix::io::write(&writer, &[b'x'; CHUNK]).is_ok() {}
        ioctl_fionbio(&writer, false).unwrap();
        let mut file = File::from(OwnedFd::from(writer));
        let (told, waits) = std::sync::mpsc::channel();
        let written = std::thread::scope(|scope| {
            let writing = scope.spawn(move || {
                // SAFETY: takes nothing.
                told.send(unsafe { libc::pthread_self() }).unwrap();
                write_chunk(&mut file, b"the line")
            });
            let thread = waits.recv().unwrap();
            for _ in 0..20 {
                // SAFETY: the thread is joined after this.
                unsafe { libc::pthread_kill(thread, libc::SIGWINCH) };
                std::thread::yield_now();
            }
            let mut room = [0; 4 * CHUNK];
            reader.read_exact(&mut room).unwrap();
            writing.join().unwrap()
        });
        assert!(written.is_ok(), "{written:?}");
    }
}
