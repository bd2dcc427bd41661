//! Journals that earlier processes left behind: each is read once, by one host, and removed.

use super::Error;
use super::handler::SIGNALS;
use super::journal::{EXTENSION, is_own, phase_of};
use super::layout::{Contents, FILE_BYTES, IN_HOST, IN_LIBRARY, Note, OWN_THREAD, read};
use crate::process_guard::signal_name;
use extman_model::{Crash, CrashCulprit, Digest};
use rustix::fs::FlockOperation;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Journals that are taken in a start, each held open until what it says is kept; more are left to the next one.
pub(super) const FILES_MAX: usize = 100;
/// A file that was never finished is nobody's after this.
const UNFINISHED_MAX: Duration = Duration::from_secs(60 * 60);
/// A fault this near to the stack's end is taken for one that used it up.
const OVERFLOW_BYTES: u64 = 64 * 1024;

/// What was left behind in a directory.
pub(super) struct Found {
    /// In the order of time.
    pub crashes: Vec<Crash>,
    /// Processes that ended with their journal open, and without a fatal signal.
    pub silent: usize,
    /// The files, which are this process's as long as it has them: to be removed once what they say is kept.
    files: Vec<(PathBuf, File)>,
}

impl Found {
    /// What they said is kept elsewhere.
    pub fn remove(self) {
        for (path, _lock) in self.files {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Looks at all journals of processes that live no more.
pub(super) fn look(dir: &Path) -> Result<Found, Error> {
    let mut found = Found {
        crashes: Vec::new(),
        silent: 0,
        files: Vec::new(),
    };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(Error::files("the crash journals can't be read", dir))?,
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("unfinished") => remove_if_old(&path),
            Some(EXTENSION) if found.files.len() < FILES_MAX => found.take(path),
            _ => {}
        }
    }
    found.crashes.sort_by_key(|crash| crash.at_unix_ms);
    Ok(found)
}

impl Found {
    fn take(&mut self, path: PathBuf) {
        // What is no file, or can't be opened, is left where it is.
        // So is the own one: locks are a process's, and opening it and closing it again would take the lock off it.
        let is_left = |metadata: &Metadata| metadata.is_file() && !is_own(metadata);
        if !std::fs::symlink_metadata(&path).is_ok_and(|metadata| is_left(&metadata)) {
            return;
        }
        let Ok(mut file) = File::options().read(true).write(true).open(&path) else {
            return;
        };
        if rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return;
        }
        // Another host may have removed it between.
        if !path.exists() {
            return;
        }
        let mut bytes = Vec::new();
        // No more than one byte too many: whatever it is, it is not held in memory.
        if (&mut file)
            .take(FILE_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .is_err()
        {
            return;
        }
        match read(&bytes) {
            Contents::Nothing => {}
            Contents::NoSignal => self.silent += 1,
            Contents::Signal(note) => self.crashes.extend(crash(&note)),
        }
        self.files.push((path, file));
    }
}

fn remove_if_old(path: &Path) {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let age = modified
        .ok()
        .and_then(|modified| extman_model::clock::wall().duration_since(modified).ok());
    if age.is_some_and(|age| age > UNFINISHED_MAX) {
        let _ = std::fs::remove_file(path);
    }
}

/// What a note means; nothing for a signal that is not noted.
fn crash(note: &Note) -> Option<Crash> {
    let signal = SIGNALS.into_iter().find(|number| *number as u64 == note.signal)?;
    let code = match note.code_kind {
        IN_HOST => Some(format!("the host+{:#x}", note.code_offset)),
        IN_LIBRARY => Some(format!("{}+{:#x}", text(&note.code), note.code_offset)),
        _ => None,
    };
    let address = (note.is_fault == 1).then_some(note.address);
    let is_near = |address: u64| note.stack > 0 && address.abs_diff(note.stack) < OVERFLOW_BYTES;
    Some(Crash {
        at_unix_ms: note.at_unix_ms,
        pid: u32::try_from(note.pid).ok()?,
        signal: signal_name(signal),
        thread: format!("{} {:?}", note.tid, text(&note.thread)),
        address,
        stack_overflow: signal == libc::SIGSEGV && address.is_some_and(is_near),
        code,
        culprit: culprit(note),
    })
}

fn culprit(note: &Note) -> Option<CrashCulprit> {
    let phase = match note.phase {
        OWN_THREAD => "a thread of its own".to_owned(),
        number => phase_of(number)?,
    };
    let given = |bytes: &[u8]| Some(text(bytes)).filter(|text| !text.is_empty());
    Some(CrashCulprit {
        id: given(&note.id)?,
        version: text(&note.version),
        digest: Digest::new(note.digest),
        instance: given(&note.instance),
        capability: given(&note.capability),
        phase,
    })
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
