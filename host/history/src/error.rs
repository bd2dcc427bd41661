//! Why there is no history, or not the part that was asked for.

use rusqlite::ErrorCode;
use std::fmt::Display;
use std::io;
use std::path::Path;

/// Why there is no history, or not the part that was asked for: which file, what was tried, what came of it, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct HistoryError {
    text: String,
    /// If it was the database that refused.
    code: Option<ErrorCode>,
}

impl HistoryError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        HistoryError {
            text: text.into(),
            code: None,
        }
    }

    /// Of a file that is not this host's to write.
    pub(super) fn of(path: &Path, why: impl Display) -> Self {
        HistoryError::new(format!("{}: {why}", path.display()))
    }

    /// Whether the file itself is broken, so that it is set aside.
    pub(super) fn is_corrupt(&self) -> bool {
        matches!(
            self.code,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    }

    /// Whether the disk takes no more, or the file has reached its limit; a quota shows as a failed write.
    pub(super) fn is_for_lack_of_room(&self) -> bool {
        matches!(self.code, Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
    }
}

/// Names the file and what was tried.
pub(super) fn database(path: &Path, doing: &'static str) -> impl Fn(rusqlite::Error) -> HistoryError + use<> {
    let path = path.to_owned();
    move |error| {
        let code = error.sqlite_error_code();
        let why = format!("the history can't be {doing}: {error}; {}", advice(code));
        HistoryError {
            code,
            ..HistoryError::of(&path, why)
        }
    }
}

/// Names the file or directory and what is wrong with it.
pub(super) fn file(path: &Path, problem: &'static str) -> impl Fn(io::Error) -> HistoryError + use<> {
    let path = path.to_owned();
    let advice = "check the rights to its directory, or set history.file to a place that is yours";
    move |error| HistoryError::of(&path, format!("{problem}: {error}; {advice}"))
}

fn advice(code: Option<ErrorCode>) -> &'static str {
    match code {
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
