//! Answers: the envelope, and which failure has which status.

use axum::http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use extman_model::ErrorKind;
use extman_model::control::{Envelope, Failure};
use futures_util::Stream;
use serde::Serialize;
use std::convert::Infallible;

/// The command was done.
pub(super) fn done<T: Serialize>(command: &str, data: T) -> Response {
    done_but(command, data, Vec::new())
}

/// The command was done, and there is something to know beside.
pub(super) fn done_but<T: Serialize>(command: &str, data: T, warnings: Vec<String>) -> Response {
    let envelope = Envelope {
        warnings,
        ..Envelope::done(command, data)
    };
    json(StatusCode::OK, &envelope)
}

/// The command was not done; the status follows from the failure's kind.
pub(super) fn failed(command: &str, failure: Failure) -> Response {
    refused(command, status_of(&failure), failure)
}

/// The request was not taken.
pub(super) fn refused(command: &str, status: StatusCode, failure: Failure) -> Response {
    let wait = retry_after_s(&failure);
    let mut response = json(status, &Envelope::<()>::failed(command, failure));
    if let Some(wait) = wait {
        response.headers_mut().insert(RETRY_AFTER, wait.into());
    }
    if status == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// There is such a route, for another method.
pub(super) fn other_method(allowed: &'static str) -> Response {
    let failure = Failure::new(
        "method_not_allowed",
        format!("this route takes {allowed}; see the routes in the host's documentation"),
    );
    let mut response = refused("request", StatusCode::METHOD_NOT_ALLOWED, failure);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn json(status: StatusCode, envelope: &impl Serialize) -> Response {
    let (status, body) = match serde_json::to_vec(envelope) {
        Ok(body) => (status, body),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            (StatusCode::INTERNAL_SERVER_ERROR, UNWRITABLE.as_bytes().to_vec())
        }
    };
    not_stored(status, HeaderValue::from_static("application/json"), body)
}

/// A body that no cache keeps and no browser takes for anything else.
pub(super) fn not_stored(status: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    no_store(response)
}

/// The same of an answer that has its body already.
pub(super) fn no_store(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A stream of server-sent events that stays open while there is nothing to say.
pub(super) fn sse<S>(events: S) -> Response
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    no_store(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// Whether the answer is to be a stream of server-sent events.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("text/event-stream"))
}

const UNWRITABLE: &str = concat!(
    r#"{"schema_version":1,"ok":false,"command":"request","error":{"kind":"internal","#,
    r#""text":"the answer could not be written as JSON; see the host's log"},"warnings":[]}"#
);

/// nginx's "client closed request": HTTP has no status for it.
const CANCELLED: u16 = 499;

fn status_of(failure: &Failure) -> StatusCode {
    if let Some(kind) = ErrorKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == failure.kind)
    {
        return status_of_kind(kind);
    }
    match failure.kind.as_str() {
        "conflict" => StatusCode::CONFLICT,
        "failed" => StatusCode::BAD_GATEWAY,
        "shutting_down" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn status_of_kind(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidInput => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::NotServing | ErrorKind::Unavailable | ErrorKind::Exhausted => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::Cancelled => StatusCode::from_u16(CANCELLED).unwrap_or(StatusCode::BAD_REQUEST),
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Configuration => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Internal | ErrorKind::Panicked | ErrorKind::DataLoss => StatusCode::BAD_GATEWAY,
        ErrorKind::AlreadyExists | ErrorKind::Aborted => StatusCode::CONFLICT,
        ErrorKind::FailedPrecondition => StatusCode::PRECONDITION_FAILED,
        // Not 401, which asks for a token of the host's.
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => StatusCode::FORBIDDEN,
    }
}

/// Whole seconds, rounded up: what was said, else a second where coming again is the thing to do.
fn retry_after_s(failure: &Failure) -> Option<u64> {
    if let Some(ms) = failure.retry_after_ms {
        return Some(ms.div_ceil(1000).max(1));
    }
    matches!(
        failure.kind.as_str(),
        "unavailable" | "rate_limited" | "busy" | "shutting_down"
    )
    .then_some(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::CallError;
    use extman_model::control::ControlError;

    #[test]
    fn each_kind_has_its_status() {
        let statuses = ErrorKind::ALL.map(|kind| {
            failed("invoke", CallError::new(kind, "x").into())
                .status()
                .as_u16()
        });
        assert_eq!(
            statuses,
            [
                400, 503, 429, 500, 502, 499, 504, 501, 503, 502, 404, 503, 409, 412, 403, 403, 409, 502
            ]
        );
        for (error, status) in [
            (ControlError::Conflict("x".into()), 409),
            (ControlError::Failed("x".into()), 502),
            (ControlError::ShuttingDown, 503),
        ] {
            assert_eq!(failed("load", error.into()).status().as_u16(), status);
        }
    }

    #[test]
    fn events_are_wanted_only_where_they_are_named() {
        let wants = |accept: &'static str| {
            wants_events(&HeaderMap::from_iter([(
                ACCEPT,
                HeaderValue::from_static(accept),
            )]))
        };
        assert!(wants("text/event-stream"));
        assert!(wants("application/json, Text/Event-Stream;q=0.9"));
        assert!(!wants("*/*") && !wants("text/event-streams") && !wants(""));
    }

    #[test]
    fn retry_after_is_in_whole_seconds() {
        let wait = |kind, ms| {
            let mut error = CallError::new(kind, "x");
            error.retry_after_ms = ms;
            let response = failed("invoke", error.into());
            response
                .headers()
                .get(RETRY_AFTER)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(wait(ErrorKind::RateLimited, Some(1500)).as_deref(), Some("2"));
        assert_eq!(wait(ErrorKind::Unavailable, None).as_deref(), Some("1"));
        assert_eq!(wait(ErrorKind::Internal, None), None);
    }
}
