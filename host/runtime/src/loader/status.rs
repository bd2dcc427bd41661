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

fn kind(status: Status) -> ErrorKind {
    match status {
        abi::STATUS_INVALID_INPUT => ErrorKind::InvalidInput,
        abi::STATUS_NOT_FOUND => ErrorKind::NotFound,
        abi::STATUS_ALREADY_EXISTS => ErrorKind::AlreadyExists,
        abi::STATUS_FAILED_PRECONDITION => ErrorKind::FailedPrecondition,
        abi::STATUS_PERMISSION_DENIED => ErrorKind::PermissionDenied,
        abi::STATUS_UNAUTHENTICATED => ErrorKind::Unauthenticated,
        abi::STATUS_CANCELLED => ErrorKind::Cancelled,
        abi::STATUS_UNAVAILABLE => ErrorKind::Unavailable,
        abi::STATUS_RATE_LIMITED => ErrorKind::RateLimited,
        abi::STATUS_DEADLINE_EXCEEDED => ErrorKind::DeadlineExceeded,
        abi::STATUS_RESOURCE_EXHAUSTED => ErrorKind::Exhausted,
        abi::STATUS_ABORTED => ErrorKind::Aborted,
        abi::STATUS_INTERNAL => ErrorKind::Internal,
        abi::STATUS_CONFIGURATION => ErrorKind::Configuration,
        abi::STATUS_UNIMPLEMENTED => ErrorKind::Unsupported,
        abi::STATUS_DATA_LOSS => ErrorKind::DataLoss,
        abi::STATUS_PANICKED => ErrorKind::Panicked,
        newer => kind_of_class(newer),
    }
}

/// A status that is newer than this host counts as its class. One of the host's own class is not the plugin's to return.
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
