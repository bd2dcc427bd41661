//! Why there is no history, or not the part that was asked for.

use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};

/// Why there is no history, or not the part that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Its directory can't be made.
    #[error(
        "{path}: the history's directory can't be made: {error}; set history.file to a place that is yours",
        path = .path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file beside it that says who writes can't be made or locked.
    #[error(
        "{path}: the lock of the history can't be taken: {error}; set history.file to a directory that you may write to",
        path = .path.display()
    )]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Another host writes to it.
    #[error(
        "{path}: another host writes this history; this one waits until that one ends. If both are to run, give each a file of its own \
         with history.file",
        path = .path.display()
    )]
    InUse {
        /// The history.
        path: PathBuf,
    },
    /// A newer host has written it.
    #[error(
        "{path}: the history is of version {found}, and this host knows up to {known}; it was left as it is. Use the newer host, or \
         set history.file to another file",
        path = .path.display()
    )]
    Newer {
        /// The history.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It is a database of another program's.
    #[error(
        "{path}: this is a database of another program, and was left as it is; set history.file to another file",
        path = .path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be looked at, or moved.
    #[error(
        "{path}: the history's file can't be {doing}: {error}; check the file and the rights to its directory",
        path = .path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
    /// The database refused.
    #[error(
        "{path}: the history can't be {doing}: {error}; {advice}",
        path = .path.display(),
        advice = advice(.error)
    )]
    Database {
        /// The history.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What SQLite says.
        error: rusqlite::Error,
    },
    /// There is none, or none yet.
    #[error("there is no history: {0}")]
    Missing(String),
    /// A question that makes no sense.
    #[error("{0}")]
    Question(String),
}

impl HistoryError {
    /// Whether the file itself is broken, so that it is set aside.
    pub(super) fn is_corrupt(&self) -> bool {
        matches!(self, HistoryError::Database { error, .. }
            if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)))
    }

    /// Whether the disk takes no more, or the file has reached its limit; a quota shows as a failed write.
    pub(super) fn is_for_lack_of_room(&self) -> bool {
        matches!(self, HistoryError::Database { error, .. }
            if matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure)))
    }
}

/// Names the file and what was tried.
pub(super) fn database<'a>(
    path: &'a Path,
    doing: &'static str,
) -> impl Fn(rusqlite::Error) -> HistoryError + 'a {
    move |error| HistoryError::Database {
        path: path.to_owned(),
        doing,
        error,
    }
}

pub(super) fn file<'a>(path: &'a Path, doing: &'static str) -> impl Fn(std::io::Error) -> HistoryError + 'a {
    move |error| HistoryError::File {
        path: path.to_owned(),
        doing,
        error,
    }
}

fn advice(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "make room on its disk, or lower history.size_max_mib",
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "check the rights to the file and its directory"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another program holds it; end that one",
        Some(ErrorCode::SystemIoFailure) => "check its disk: it may be full, or failing",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the host sets it aside and begins a new one"
        }
        _ => "look into the host's log for what came before",
    }
}
