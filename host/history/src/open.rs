//! From a path to an open file of ours: who may write it, whose it is, whether it is whole. What is another's, or of a newer host's, is
//! left as it is; what is broken gets a name with the time.

use super::error::{self, HistoryError};
use super::schema;
use super::store::Store;
use extman_model::clock;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the file is looked through before it is written to.
const CHECK_MAX: Duration = Duration::from_secs(2);
/// Broken files that are kept.
const SET_ASIDE_MAX: usize = 3;
/// How long a connection waits for another one's lock.
const BUSY_MAX: Duration = Duration::from_secs(2);

/// Makes the directory, and takes the lock that a host holds for as long as it writes to the history.
pub(super) fn lock(path: &Path) -> Result<File, HistoryError> {
    let dir = directory(path);
    fs::create_dir_all(dir).map_err(error::file(dir, "the history's directory can't be made"))?;
    let lock = beside(path, ".lock");
    let refused = error::file(&lock, "the lock of the history can't be taken");
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(&lock);
    let file = file.map_err(&refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(left_as_it_is(
            path,
            "another host writes this history; this one waits until that one ends. If both are to run, give each a file of its own with \
             history.file",
        )),
        Err(TryLockError::Error(error)) => Err(refused(error)),
    }
}

/// Opens the file, or begins it. `resumed`: see [`Store::new`].
pub(super) fn open(path: &Path, now_ms: u64, resumed: Option<i64>) -> Result<Store, HistoryError> {
    let opening = error::database(path, "opened");
    let mut connection = connect(path, OpenFlags::default()).map_err(&opening)?;
    match schema::version(&connection).map_err(&opening)? {
        Some(0..=schema::VERSION) => {}
        Some(found) => {
            let known = schema::VERSION;
            let why = format!(
                "the history is of version {found}, and this host knows up to {known}; it was left as it is. Use the newer host, or set \
                 history.file to another file"
            );
            return Err(left_as_it_is(path, why));
        }
        None => {
            return Err(left_as_it_is(
                path,
                "this is a database of another program, and was left as it is; set history.file to another file",
            ));
        }
    }
    if resumed.is_none() {
        check(&mut connection).map_err(error::database(path, "checked"))?;
    }
    schema::prepare(&mut connection).map_err(error::database(path, "brought to this host's version"))?;
    Store::new(connection, now_ms, resumed).map_err(opening)
}

pub(super) fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_MAX)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF")?;
    Ok(connection)
}

fn left_as_it_is(path: &Path, why: impl Into<String>) -> HistoryError {
    HistoryError::Refused {
        path: path.to_owned(),
        why: why.into(),
    }
}

/// Looks through the file's pages, as far as time allows.
pub(super) fn check(connection: &mut Connection) -> rusqlite::Result<()> {
    let end = clock::monotonic().after(CHECK_MAX);
    connection.progress_handler(10_000, Some(move || clock::monotonic() > end))?;
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => {
            let corrupt = ffi::Error::new(ffi::SQLITE_CORRUPT);
            Err(rusqlite::Error::SqliteFailure(corrupt, Some(found)))
        }
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives the file and its log other names; the new name of the file.
pub(super) fn set_aside(path: &Path, now_ms: u64) -> Result<PathBuf, HistoryError> {
    let named = |at: u64| beside(path, &format!(".corrupt-{at}"));
    let free = |at: &u64| !named(*at).exists();
    let aside = named((now_ms..).find(free).unwrap_or(now_ms));
    for part in PARTS {
        match fs::rename(beside(path, part), beside(&aside, part)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error::file(path, "the history's file can't be set aside")(error));
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
    let prefix = beside(path, ".corrupt-");
    let time = |entry: fs::DirEntry| {
        let (name, prefix) = (entry.file_name(), prefix.file_name()?.to_str()?);
        name.to_str()?.strip_prefix(prefix)?.parse().ok()
    };
    let Ok(entries) = fs::read_dir(directory(path)) else {
        return;
    };
    let mut times: Vec<u64> = entries.flatten().filter_map(time).collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    for at in times.into_iter().skip(SET_ASIDE_MAX) {
        let old = beside(path, &format!(".corrupt-{at}"));
        tracing::warn!(file = %old.display(), "a broken history that was set aside is removed: newer ones are kept");
        for part in PARTS {
            let _ = fs::remove_file(beside(&old, part));
        }
    }
}

fn directory(path: &Path) -> &Path {
    let named = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    named.unwrap_or(Path::new("."))
}

/// A path with something after its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Which file stands at a path, by device and number; `None` if there is none.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Size of the file and its log, in bytes.
pub(super) fn size(path: &Path) -> u64 {
    let size = |part| fs::metadata(beside(path, part)).map_or(0, |metadata| metadata.len());
    size("") + size("-wal")
}
