//! What a call or a check came to.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// What sort of failure a call met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The caller's input is wrong.
    InvalidInput,
    /// Something that the plugin needs can't be reached now.
    Unavailable,
    /// The plugin or its provider refuses for a while.
    RateLimited,
    /// The configuration is wrong or incomplete.
    Configuration,
    /// The plugin failed in a way that it did not foresee.
    Internal,
    /// The call was cancelled.
    Cancelled,
    /// The deadline passed.
    DeadlineExceeded,
    /// The plugin does not do this.
    Unsupported,
    /// A limit was reached: queue, bytes, frames.
    Exhausted,
    /// The plugin panicked; its instance serves no more.
    Panicked,
    /// Nothing serves this capability or has this name.
    NotFound,
    /// The instance is not in a state that serves.
    NotServing,
    /// What the call would make exists already.
    AlreadyExists,
    /// What the call works on is not in a state that allows it.
    FailedPrecondition,
    /// The caller may not do this.
    PermissionDenied,
    /// The caller has not said who it is, or is not believed.
    Unauthenticated,
    /// Another operation got in between.
    Aborted,
    /// Data is lost or damaged.
    DataLoss,
}

impl ErrorKind {
    /// All of them, in the order of their declaration. Codes that are written down follow it: add at the end.
    pub const ALL: [ErrorKind; 18] = [
        ErrorKind::InvalidInput,
        ErrorKind::Unavailable,
        ErrorKind::RateLimited,
        ErrorKind::Configuration,
        ErrorKind::Internal,
        ErrorKind::Cancelled,
        ErrorKind::DeadlineExceeded,
        ErrorKind::Unsupported,
        ErrorKind::Exhausted,
        ErrorKind::Panicked,
        ErrorKind::NotFound,
        ErrorKind::NotServing,
        ErrorKind::AlreadyExists,
        ErrorKind::FailedPrecondition,
        ErrorKind::PermissionDenied,
        ErrorKind::Unauthenticated,
        ErrorKind::Aborted,
        ErrorKind::DataLoss,
    ];

    /// Whether the caller is to blame: such failures are not counted against the plugin.
    pub fn is_callers(self) -> bool {
        matches!(
            self,
            ErrorKind::InvalidInput
                | ErrorKind::Cancelled
                | ErrorKind::NotFound
                | ErrorKind::AlreadyExists
                | ErrorKind::FailedPrecondition
                | ErrorKind::PermissionDenied
                | ErrorKind::Unauthenticated
        )
    }

    /// A text with the kind's word before it, unless it begins with that anyway: `panicked: index out of bounds`.
    pub fn before(self, text: &str) -> String {
        match text.starts_with(self.as_str()) {
            true => text.to_owned(),
            false => format!("{self}: {text}"),
        }
    }

    /// The word used in JSON and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::InvalidInput => "invalid_input",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::RateLimited => "rate_limited",
            ErrorKind::Configuration => "configuration",
            ErrorKind::Internal => "internal",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::DeadlineExceeded => "deadline_exceeded",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Exhausted => "exhausted",
            ErrorKind::Panicked => "panicked",
            ErrorKind::NotFound => "not_found",
            ErrorKind::NotServing => "not_serving",
            ErrorKind::AlreadyExists => "already_exists",
            ErrorKind::FailedPrecondition => "failed_precondition",
            ErrorKind::PermissionDenied => "permission_denied",
            ErrorKind::Unauthenticated => "unauthenticated",
            ErrorKind::Aborted => "aborted",
            ErrorKind::DataLoss => "data_loss",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a call brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", kind.before(text))]
pub struct CallError {
    /// What sort of failure.
    pub kind: ErrorKind,
    /// What happened, for people.
    pub text: String,
    /// Whether the same call may succeed later; absent if nobody said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retryable: Option<bool>,
    /// Milliseconds to wait before trying again; absent if nobody said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
}

impl CallError {
    /// Of this kind, with this text.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        CallError {
            kind,
            text: text.into(),
            retryable: None,
            retry_after_ms: None,
        }
    }
}

/// What a caller says beside capability and input. Empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestExtras {
    /// The version of the capability's contract that the caller was made for.
    pub capability_version: String,
    /// Media types that it takes, as HTTP's `Accept`.
    pub accept: String,
    /// Keys and values: `traceparent`, `idempotency-key`, `tenant`, `priority`.
    pub metadata: Vec<(String, String)>,
    /// Further parts of the input.
    pub parts: Vec<InputPart>,
}

impl RequestExtras {
    /// Nothing.
    pub const NONE: RequestExtras = RequestExtras {
        capability_version: String::new(),
        accept: String::new(),
        metadata: Vec::new(),
        parts: Vec::new(),
    };
}

/// A further part of a call's input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct InputPart {
    /// Its name; may be empty.
    pub name: String,
    /// Its media type.
    pub content_type: String,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Media type of the output, as the plugin named it.
    pub content_type: Cow<'static, str>,
    /// The output; empty if it was streamed.
    pub body: Vec<u8>,
    /// What the plugin said of its use of a model.
    pub usage: Usage,
    /// What the plugin said beside it: `finish-reason`, `model`.
    pub metadata: Vec<(String, String)>,
    /// How long the plugin's code ran, measured by the host.
    pub ran: Duration,
}

/// Tokens, where the plugin counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens that a model read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokens_in: Option<u64>,
    /// Tokens that a model wrote.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokens_out: Option<u64>,
    /// Of those that were read, from a cache.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokens_cached: Option<u64>,
    /// Of those that were written, for reasoning.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokens_reasoning: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_its_kind_once() {
        let told = |kind, text| CallError::new(kind, text).to_string();
        assert_eq!(
            told(ErrorKind::Panicked, "panicked: as told"),
            "panicked: as told"
        );
        assert_eq!(
            told(ErrorKind::Panicked, "panicked with a value that is no text"),
            "panicked with a value that is no text"
        );
        assert_eq!(
            told(ErrorKind::Internal, "panicked: so it says"),
            "internal: panicked: so it says"
        );
    }
}
