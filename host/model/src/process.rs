//! What a plugin changed of the process that it runs in.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A part of the process that is nobody's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessPart {
    /// What happens on a signal.
    Signals,
    /// Which signals the calling thread blocks.
    SignalMask,
    /// How the calling thread calculates with floating-point numbers.
    FloatMode,
    /// The working directory.
    WorkingDirectory,
    /// Which permissions new files lack.
    Umask,
    /// The locale.
    Locale,
    /// Limits of resources.
    Limits,
    /// Environment variables.
    Environment,
    /// Descriptors 0, 1 and 2.
    StandardStreams,
    /// Descriptors of the host.
    Descriptors,
    /// Threads of the host.
    Threads,
    /// Child processes.
    Children,
}

/// Something that plugin code changed of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessChange {
    /// Of what.
    pub part: ProcessPart,
    /// The instances whose code ran meanwhile: one of them did it.
    pub by: Vec<String>,
    /// In which step, or in its calls.
    pub step: String,
    /// What was changed, for people.
    pub text: String,
    /// It is as it was before.
    pub put_back: bool,
}

impl fmt::Display for ProcessChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.text, self.step)?;
        f.write_str(if self.put_back {
            "; the host has put it back"
        } else {
            "; it stays so"
        })?;
        if self.by.len() > 1 {
            write!(f, "; one of {} did it", self.by.join(", "))?;
        }
        Ok(())
    }
}
