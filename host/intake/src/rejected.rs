//! A refusal that gives back what was refused.

use std::fmt;
use std::path::{Path, PathBuf};

/// What was refused and why. Its text starts with the path of the file.
#[derive(Debug)]
pub struct Rejected<H, E> {
    /// What the step was given, unchanged.
    pub had: H,
    /// Why it was refused.
    pub error: E,
}

/// Something that came from a file.
pub trait Located {
    /// The path under which the file was found.
    fn place(&self) -> &Path;
}

impl Located for PathBuf {
    fn place(&self) -> &Path {
        self
    }
}

impl<H: Located, E: fmt::Display> fmt::Display for Rejected<H, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.had.place().display(), self.error)
    }
}

impl<H: Located + fmt::Debug, E: std::error::Error> std::error::Error for Rejected<H, E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The text above already holds the error's own; only what lies below it is new.
        self.error.source()
    }
}
