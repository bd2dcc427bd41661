//! What can go wrong with the store.

use crate::files::Unfit;
use std::io;
use std::path::{Path, PathBuf};

/// Why a file was not taken into the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file is another one than was found, or changed while it was copied.
    #[error("{} changed while it was taken in; wait until it is written to its end and scan again", path.display())]
    Changed {
        /// Where it was found.
        path: PathBuf,
    },
    /// What is at the path can't be read as a file.
    #[error("{} {reason}", path.display())]
    Unfit {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: Unfit,
    },
    /// There is no room for the copy.
    #[error("there is no room for {needed_bytes} bytes at {}: {source}; free some space, or name another place by intake.store.dir", path.display())]
    Full {
        /// The file that could not be written; it was removed.
        path: PathBuf,
        /// Bytes that the copy needs.
        needed_bytes: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The host may not write where it keeps its copies.
    #[error(
        "the host keeps its copies of plugins where it can't write, at {}: {source}; name another directory by \
         intake.store.dir, or let the host's user write there", path.display()
    )]
    Unwritable {
        /// The path in question.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may write to the store's directory.
    #[error("others may write to the store {} (mode {mode:04o}), so its copies prove nothing; run: chmod go-w {0}", path.display())]
    Exposed {
        /// The store's directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Anything else that the system refused.
    #[error("{}: {source}; {}", path.display(), advice(source))]
    Io {
        /// The path in question.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// A short name that does not change between versions.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Changed { .. } => "changed",
            Self::Unfit { reason, .. } => reason.code(),
            Self::Full { .. } => "disk-full",
            Self::Unwritable { .. } => "store-unwritable",
            Self::Exposed { .. } => "store-exposed",
            Self::Io { .. } => "io",
        }
    }

    pub(super) fn unfit(path: &Path, reason: Unfit) -> Self {
        Self::Unfit {
            path: path.to_owned(),
            reason,
        }
    }

    pub(super) fn at(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// About a path of the store itself.
    pub(super) fn keeping(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::Unwritable {
                path: path.to_owned(),
                source,
            },
            _ => Self::writing(path, 0, source),
        }
    }

    pub(super) fn writing(path: &Path, needed_bytes: u64, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full {
                    path: path.to_owned(),
                    needed_bytes,
                    source,
                }
            }
            _ => Self::at(path, source),
        }
    }
}

fn advice(error: &io::Error) -> &'static str {
    // The system's own words: what makes files says them behind the path.
    if error.to_string().contains("Too many open files") {
        "the host has no descriptor left: raise the hard limit (ulimit -Hn, LimitNOFILE=) and start it again"
    } else {
        "check that the path is there and that the host's user may use it"
    }
}
