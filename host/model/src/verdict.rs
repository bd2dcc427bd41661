//! What became of a library when it was unloaded.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The truth about an unload: the library is gone from memory, or it is not and this is why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing of it is mapped any more.
    Unmapped,
    /// It stays in memory.
    Resident {
        /// Why.
        reason: ResidentReason,
        /// What exactly holds it.
        culprit: Culprit,
    },
}

impl Verdict {
    /// Whether nothing of it is mapped any more.
    pub fn is_unmapped(&self) -> bool {
        matches!(self, Verdict::Unmapped)
    }

    /// Still mapped, with the reason.
    pub fn resident(reason: ResidentReason, culprit: impl Into<String>) -> Self {
        Verdict::Resident {
            reason,
            culprit: Culprit::new(culprit),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Unmapped => f.write_str("unmapped"),
            Verdict::Resident { reason, culprit } => write!(f, "resident: {reason} ({culprit})"),
        }
    }
}

/// Why a library stays in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResidentReason {
    /// A thread that the library started is alive.
    LiveThread,
    /// A thread is alive whose origin is not known.
    UnknownThread,
    /// A signal handler points into it.
    SignalHandler,
    /// The C library keeps a function of it, which it will call later: a timer's, or one for the process's end.
    CalledLater,
    /// A call into it has not returned.
    WedgedCall,
    /// A thread of the embedder that called it is alive.
    AttachedThread,
    /// A lane that ran its code did not end.
    LaneNotEnded,
    /// An instance of it could not be destroyed.
    InstanceAlive,
    /// It was closed, and the dynamic loader kept it: a unique symbol, a no-delete flag, or a thread-local destructor.
    KeptByLoader,
    /// It was closed, and another library that stays is bound to symbols that it exports.
    BoundByOthers,
    /// The host can't see the library's threads and keys, so it does not close.
    NotInterposed,
    /// Closing it did not return.
    CloseHangs,
    /// Its manifest says that it is never unloaded.
    AskedToStay,
}

impl fmt::Display for ResidentReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResidentReason::LiveThread => "a thread of its own is alive",
            ResidentReason::UnknownThread => "a thread of unknown origin is alive",
            ResidentReason::SignalHandler => "a signal handler points into it",
            ResidentReason::CalledLater => "the C library will call into it",
            ResidentReason::WedgedCall => "a call into it has not returned",
            ResidentReason::AttachedThread => "an attached thread that called it is alive",
            ResidentReason::LaneNotEnded => "a lane that ran it did not end",
            ResidentReason::InstanceAlive => "an instance of it could not be destroyed",
            ResidentReason::KeptByLoader => "the dynamic loader kept it",
            ResidentReason::BoundByOthers => "another library is bound to it",
            ResidentReason::NotInterposed => "the host can't see its threads, so it is not closed",
            ResidentReason::CloseHangs => "closing it does not return",
            ResidentReason::AskedToStay => "its manifest asks for it",
        })
    }
}

/// What exactly holds a library, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Culprit(String);

impl Culprit {
    /// Named by this text.
    pub fn new(text: impl Into<String>) -> Self {
        Culprit(text.into())
    }
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
