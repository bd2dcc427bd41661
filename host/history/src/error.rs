//! Why there is no history, or not the part that was asked for.

use rusqlite::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no history, or not the part that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file, its lock or their directory can't be used.
    #[error(
        "{path}: {problem}: {error}; check the rights to its directory, or set history.file to a place that is yours"
    )]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What can't be done.
        problem: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// The file is another's, and is left as it is.
    #[error("{path}: {why}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Whose it is, and what to do.
        why: String,
    },
    /// The database refused.
    #[error("{path}: the history can't be {doing}: {error}; {advice}", advice = advice(.error))]
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
    /// The configuration is wrong.
    #[error("{0}")]
    Config(String),
}

impl HistoryError {
    /// Whether the file itself is broken, so that it is set aside.
    pub(super) fn is_corrupt(&self) -> bool {
        matches!(
            self.code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }

    /// Whether the disk takes no more, or the file has reached its limit; a quota shows as a failed write.
    pub(super) fn is_for_lack_of_room(&self) -> bool {
        matches!(
            self.code(),
            Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure)
        )
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            HistoryError::Database { error, .. } => error.sqlite_error_code(),
            _ => None,
        }
    }
}

/// Names the file and what was tried.
pub(super) fn database(path: &Path, doing: &'static str) -> impl Fn(rusqlite::Error) -> HistoryError + use<> {
    let path = path.to_owned();
    move |error| HistoryError::Database {
        path: path.clone(),
        doing,
        error,
    }
}

pub(super) fn file(path: &Path, problem: &'static str) -> impl Fn(io::Error) -> HistoryError + use<> {
    let path = path.to_owned();
    move |error| HistoryError::File {
        path: path.clone(),
        problem,
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
