//! What a status that a plugin returns means to the host.

use super::text::ErrorText;
use extman_abi::{self as abi, Status};
use extman_model::{CallError, ErrorKind};

/// What an entry came to; `text` is what the plugin wrote beside its status.
pub(super) fn result(status: Status, text: &ErrorText, entry: &str) -> Result<(), CallError> {
    if status == abi::STATUS_OK {
        return Ok(());
    }
    Err(failure(status, text.read(), entry))
}

/// The failure behind a status other than OK.
#[cold]
pub(super) fn failure(status: Status, text: String, entry: &str) -> CallError {
    let text = if text.is_empty() {
        format!("{entry} failed with status {status}, without a text")
    } else {
        text
    };
    CallError::new(kind(status), text)
}

/// Kinds of failure and the statuses that say so; each status is one, and means one.
const KINDS: [(ErrorKind, Status); 17] = [
    (ErrorKind::InvalidInput, abi::STATUS_INVALID_INPUT),
    (ErrorKind::NotFound, abi::STATUS_NOT_FOUND),
    (ErrorKind::AlreadyExists, abi::STATUS_ALREADY_EXISTS),
    (ErrorKind::FailedPrecondition, abi::STATUS_FAILED_PRECONDITION),
    (ErrorKind::PermissionDenied, abi::STATUS_PERMISSION_DENIED),
    (ErrorKind::Unauthenticated, abi::STATUS_UNAUTHENTICATED),
    (ErrorKind::Cancelled, abi::STATUS_CANCELLED),
    (ErrorKind::Unavailable, abi::STATUS_UNAVAILABLE),
    (ErrorKind::RateLimited, abi::STATUS_RATE_LIMITED),
    (ErrorKind::DeadlineExceeded, abi::STATUS_DEADLINE_EXCEEDED),
    (ErrorKind::Exhausted, abi::STATUS_RESOURCE_EXHAUSTED),
    (ErrorKind::Aborted, abi::STATUS_ABORTED),
    (ErrorKind::Internal, abi::STATUS_INTERNAL),
    (ErrorKind::Configuration, abi::STATUS_CONFIGURATION),
    (ErrorKind::Unsupported, abi::STATUS_UNIMPLEMENTED),
    (ErrorKind::DataLoss, abi::STATUS_DATA_LOSS),
    (ErrorKind::Panicked, abi::STATUS_PANICKED),
];

/// What a status means. One that is newer than this host counts as its class; one of the host's own class is not the plugin's to return.
fn kind(status: Status) -> ErrorKind {
    let known = KINDS.iter().find(|(_, known)| *known == status);
    known.map_or_else(|| kind_of_class(status), |(kind, _)| *kind)
}

/// What a plugin is told of a failure of another one.
pub(super) fn of(kind: ErrorKind) -> Status {
    let told = match kind {
        ErrorKind::NotServing => ErrorKind::Unavailable,
        // Its panic is not the caller's.
        ErrorKind::Panicked => ErrorKind::Internal,
        other => other,
    };
    let known = KINDS.iter().find(|(kind, _)| *kind == told);
    known.map_or(abi::STATUS_INTERNAL, |(_, status)| *status)
}

/// What a failure is once its status has gone through a plugin that passes it on.
pub(super) fn passed_on(kind: ErrorKind) -> ErrorKind {
    self::kind(of(kind))
}

fn kind_of_class(status: Status) -> ErrorKind {
    match status {
        abi::STATUS_CLASS_CALLER..abi::STATUS_CLASS_ENVIRONMENT => ErrorKind::InvalidInput,
        abi::STATUS_CLASS_ENVIRONMENT..abi::STATUS_CLASS_PLUGIN => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_of_another_plugin_keeps_its_kind_but_for_what_is_not_the_callers() {
        for kind in ErrorKind::ALL {
            let expected = match kind {
                ErrorKind::Panicked => ErrorKind::Internal,
                ErrorKind::NotServing => ErrorKind::Unavailable,
                other => other,
            };
            assert_eq!(passed_on(kind), expected);
        }
    }

    #[test]
    fn an_unknown_status_counts_as_its_class() {
        for (status, expected) in [
            (199, ErrorKind::InvalidInput),
            (299, ErrorKind::Unavailable),
            (399, ErrorKind::Internal),
            (abi::STATUS_CLOSED, ErrorKind::Internal),
            (7, ErrorKind::Internal),
            (u32::MAX, ErrorKind::Internal),
        ] {
            assert_eq!(kind(status), expected, "{status}");
        }
        let callers = abi::STATUS_CLASS_CALLER..=abi::STATUS_CANCELLED;
        assert!(callers.clone().all(|status| kind(status).is_callers()));
        let others = [
            abi::STATUS_UNAVAILABLE,
            abi::STATUS_ABORTED,
            abi::STATUS_DATA_LOSS,
            250,
            350,
            450,
        ];
        assert!(others.into_iter().all(|status| !kind(status).is_callers()));
    }
}
