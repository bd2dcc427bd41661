//! What a plugin answers when it can't do what it was asked.

use crate::abi;
use std::fmt::{self, Display};
use std::time::Duration;

/// The result of every entry point.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is. The host acts on it: the kinds up to [`Cancelled`](Self::Cancelled) are the caller's and not counted
/// against the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ErrorKind {
    /// The caller's input is wrong; the same input will fail again.
    InvalidInput = abi::STATUS_INVALID_INPUT,
    /// What the call names does not exist.
    NotFound = abi::STATUS_NOT_FOUND,
    /// What the call would make exists already.
    AlreadyExists = abi::STATUS_ALREADY_EXISTS,
    /// What the call works on is not in a state that allows it.
    FailedPrecondition = abi::STATUS_FAILED_PRECONDITION,
    /// The caller may not do this.
    PermissionDenied = abi::STATUS_PERMISSION_DENIED,
    /// The caller has not said who it is, or is not believed.
    Unauthenticated = abi::STATUS_UNAUTHENTICATED,
    /// The call was cancelled.
    Cancelled = abi::STATUS_CANCELLED,
    /// Something that the plugin needs can't be reached now.
    Unavailable = abi::STATUS_UNAVAILABLE,
    /// The provider refuses for a while.
    RateLimited = abi::STATUS_RATE_LIMITED,
    /// The call's deadline passed.
    DeadlineExceeded = abi::STATUS_DEADLINE_EXCEEDED,
    /// A limit was reached.
    ResourceExhausted = abi::STATUS_RESOURCE_EXHAUSTED,
    /// Another operation got in between.
    Aborted = abi::STATUS_ABORTED,
    /// The plugin failed in a way that it did not foresee.
    Internal = abi::STATUS_INTERNAL,
    /// The configuration is wrong or incomplete, or credentials in it are refused.
    Configuration = abi::STATUS_CONFIGURATION,
    /// The plugin does not do this.
    Unimplemented = abi::STATUS_UNIMPLEMENTED,
    /// Data is lost or damaged.
    DataLoss = abi::STATUS_DATA_LOSS,
}

impl ErrorKind {
    const ALL: [ErrorKind; 16] = [
        ErrorKind::InvalidInput,
        ErrorKind::NotFound,
        ErrorKind::AlreadyExists,
        ErrorKind::FailedPrecondition,
        ErrorKind::PermissionDenied,
        ErrorKind::Unauthenticated,
        ErrorKind::Cancelled,
        ErrorKind::Unavailable,
        ErrorKind::RateLimited,
        ErrorKind::DeadlineExceeded,
        ErrorKind::ResourceExhausted,
        ErrorKind::Aborted,
        ErrorKind::Internal,
        ErrorKind::Configuration,
        ErrorKind::Unimplemented,
        ErrorKind::DataLoss,
    ];
}

/// A failure: its kind, a text for people, and when trying again makes sense.
///
/// Any `std::error::Error` turns into one of kind [`ErrorKind::Internal`] through `?`.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    text: String,
    pub(crate) retryable: Option<bool>,
    pub(crate) retry_after: Option<Duration>,
}

impl Error {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, text: impl Display) -> Self {
        Error {
            kind,
            text: text.to_string(),
            retryable: None,
            retry_after: None,
        }
    }

    /// An error of kind [`InvalidInput`](ErrorKind::InvalidInput).
    pub fn invalid_input(text: impl Display) -> Self {
        Self::new(ErrorKind::InvalidInput, text)
    }

    /// An error of kind [`Unavailable`](ErrorKind::Unavailable).
    pub fn unavailable(text: impl Display) -> Self {
        Self::new(ErrorKind::Unavailable, text)
    }

    /// An error of kind [`RateLimited`](ErrorKind::RateLimited): the same call may succeed after this long.
    pub fn rate_limited(text: impl Display, retry_after: Duration) -> Self {
        Self::new(ErrorKind::RateLimited, text).retry_after(retry_after)
    }

    /// An error of kind [`Configuration`](ErrorKind::Configuration).
    pub fn configuration(text: impl Display) -> Self {
        Self::new(ErrorKind::Configuration, text)
    }

    /// An error of kind [`Internal`](ErrorKind::Internal).
    pub fn internal(text: impl Display) -> Self {
        Self::new(ErrorKind::Internal, text)
    }

    /// An error of kind [`Cancelled`](ErrorKind::Cancelled).
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "cancelled")
    }

    /// An error of kind [`Unimplemented`](ErrorKind::Unimplemented).
    pub fn unimplemented(text: impl Display) -> Self {
        Self::new(ErrorKind::Unimplemented, text)
    }

    /// An error of kind [`ResourceExhausted`](ErrorKind::ResourceExhausted).
    pub fn exhausted(text: impl Display) -> Self {
        Self::new(ErrorKind::ResourceExhausted, text)
    }

    /// Says whether the same call may succeed later.
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = Some(retryable);
        self
    }

    /// Says that the same call may succeed after this long.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retryable = Some(true);
        self.retry_after = Some(after);
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The text for people.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn status(&self) -> abi::Status {
        self.kind as abi::Status
    }

    /// What another plugin failed with.
    pub(crate) fn from_answer(status: abi::Status, text: &str) -> Self {
        let known = ErrorKind::ALL
            .into_iter()
            .find(|kind| *kind as abi::Status == status);
        let kind = known.unwrap_or(match status {
            // One that is newer counts as its class.
            newer if newer < abi::STATUS_CLASS_ENVIRONMENT => ErrorKind::InvalidInput,
            newer if newer < abi::STATUS_CLASS_PLUGIN => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        });
        Self::new(kind, text)
    }

    /// What the plugin makes of a host function's refusal: a closed token is a cancelled call, and an argument that the host does
    /// not take is the plugin's fault, not its caller's.
    pub(crate) fn from_host_status(status: abi::Status, doing: &str) -> Self {
        match status {
            abi::STATUS_CANCELLED | abi::STATUS_CLOSED => Self::cancelled(),
            abi::STATUS_DEADLINE_EXCEEDED => Self::new(ErrorKind::DeadlineExceeded, "the deadline passed"),
            abi::STATUS_RESOURCE_EXHAUSTED => {
                Self::exhausted(format_args!("{doing}: the host's limit is reached"))
            }
            abi::STATUS_RATE_LIMITED => Self::new(
                ErrorKind::RateLimited,
                format_args!("{doing}: the host was asked too often"),
            ),
            abi::STATUS_UNIMPLEMENTED => {
                Self::unimplemented(format_args!("{doing}: the host does not do this"))
            }
            abi::STATUS_INVALID_INPUT => {
                Self::internal(format_args!("{doing}: the host refused the argument"))
            }
            other => Self::internal(format_args!("{doing}: the host answered with status {other}")),
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Error::internal(text)
    }
}
