//! From a path to an open file of ours: who may write it, whose it is, whether it is whole. What is broken is set aside under a name
//! with the time; what is another's, or of a newer host's, is left as it is.

use super::error::{self, HistoryError};
use super::schema::{self, Owner};
use super::store::{self, Run, Store};
use extman_model::clock;
use rusqlite::{Connection, ErrorCode};
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the file is looked through before it is written to.
const CHECK_MAX: Duration = Duration::from_secs(2);
/// Broken files that are kept.
const SET_ASIDE_MAX: usize = 3;

/// Held for as long as a host writes to the history.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Makes the directory, and takes the lock.
pub(super) fn lock(path: &Path) -> Result<Lock, HistoryError> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).map_err(|error| HistoryError::Directory {
            path: dir.to_owned(),
            error,
        })?;
    }
    let lock = beside(path, ".lock");
    let refused = |error| HistoryError::Lock {
        path: lock.clone(),
        error,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock)
        .map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(HistoryError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(refused(error)),
    }
}

/// A file, and what was found in its place.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) identity: Identity,
    /// The broken file's new name.
    pub(super) set_aside: Option<PathBuf>,
}

/// Opens the file, or begins it. `resumed`: see [`Store::new`].
pub(super) fn open(path: &Path, now_ms: u64, resumed: Option<Run>) -> Result<Opened, HistoryError> {
    let opened = |store, set_aside| {
        Ok(Opened {
            store,
            identity: identity(path)?,
            set_aside,
        })
    };
    match open_whole(path, now_ms, resumed) {
        Err(error) if error.is_corrupt() => {
            let aside = set_aside(path, now_ms)?;
            tracing::error!(%error, aside = %aside.display(), "the history is broken: it was set aside, and a new one is begun");
            opened(open_whole(path, now_ms, resumed)?, Some(aside))
        }
        result => opened(result?, None),
    }
}

fn open_whole(path: &Path, now_ms: u64, resumed: Option<Run>) -> Result<Store, HistoryError> {
    refuse_newer(path, header_version(path)?)?;
    let opening = error::database(path, "opened");
    let mut connection = store::connect(path).map_err(&opening)?;
    match schema::owner(&connection).map_err(&opening)? {
        Owner::Other => {
            return Err(HistoryError::Foreign {
                path: path.to_owned(),
            });
        }
        Owner::Us(version) => refuse_newer(path, version)?,
        Owner::Nobody => {}
    }
    if resumed.is_none() {
        check(&mut connection).map_err(error::database(path, "checked"))?;
    }
    store::tune(&connection).map_err(&opening)?;
    schema::migrate(&mut connection).map_err(error::database(path, "brought to this host's version"))?;
    Store::new(connection, now_ms, resumed).map_err(&opening)
}

/// The version in the file's first bytes, so that a file of a newer host's is not even opened for writing; 0 if they are not ours.
fn header_version(path: &Path) -> Result<i64, HistoryError> {
    let mut header = [0; 72];
    match File::open(path).and_then(|mut file| file.read_exact(&mut header)) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => return Ok(0),
        Err(error) => return Err(error::file(path, "read")(error)),
    }
    let number = |at: usize| {
        i64::from(u32::from_be_bytes([
            header[at],
            header[at + 1],
            header[at + 2],
            header[at + 3],
        ]))
    };
    Ok(if number(68) == schema::APPLICATION_ID {
        number(60)
    } else {
        0
    })
}

fn refuse_newer(path: &Path, found: i64) -> Result<(), HistoryError> {
    if found <= schema::VERSION {
        return Ok(());
    }
    Err(HistoryError::Newer {
        path: path.to_owned(),
        found,
        known: schema::VERSION,
    })
}

/// Looks through the file's pages, as far as time allows.
pub(super) fn check(connection: &mut Connection) -> rusqlite::Result<()> {
    let end = clock::monotonic().after(CHECK_MAX);
    connection.progress_handler(10_000, Some(move || clock::monotonic() > end))?;
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error {
                code: ErrorCode::DatabaseCorrupt,
                extended_code: rusqlite::ffi::SQLITE_CORRUPT,
            },
            Some(found),
        )),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            tracing::debug!("the history is too large to be looked through at the start");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Gives the file and its log other names; the new name of the file.
pub(super) fn set_aside(path: &Path, now_ms: u64) -> Result<PathBuf, HistoryError> {
    let free = |at: &u64| !beside(path, &format!(".corrupt-{at}")).exists();
    let at = (now_ms..).find(free).unwrap_or(now_ms);
    let aside = beside(path, &format!(".corrupt-{at}"));
    for part in PARTS {
        match fs::rename(beside(path, part), beside(&aside, part)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error::file(path, "set aside")(error));
            }
            _ => {}
        }
    }
    forget_oldest(path);
    Ok(aside)
}

/// A database, its log and the log's index.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// A disk that breaks each file must not fill up with broken files.
fn forget_oldest(path: &Path) {
    let prefix = format!(
        "{}.corrupt-",
        path.file_name().unwrap_or_default().to_string_lossy()
    );
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut times: Vec<u64> = entries
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()?
                .strip_prefix(&prefix)?
                .parse()
                .ok()
        })
        .collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    for at in times.into_iter().skip(SET_ASIDE_MAX) {
        let old = beside(path, &format!(".corrupt-{at}"));
        tracing::warn!(file = %old.display(), "a broken history that was set aside is removed: newer ones are kept");
        for part in PARTS {
            let _ = fs::remove_file(beside(&old, part));
        }
    }
}

/// A path with something after its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Which file stands at a path: another one has another device or number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    number: u64,
}

pub(super) fn identity(path: &Path) -> Result<Identity, HistoryError> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).map_err(error::file(path, "looked at"))?;
    Ok(Identity {
        device: metadata.dev(),
        number: metadata.ino(),
    })
}

/// Size of the file and its log, in bytes.
pub(super) fn size(path: &Path) -> u64 {
    let size = |part| fs::metadata(beside(path, part)).map_or(0, |metadata| metadata.len());
    size("") + size("-wal")
}
