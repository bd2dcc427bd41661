//! Reads a request's body within its limits.

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use extman_model::control::Failure;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::time::Duration;

/// The whole body, if it is small enough and comes in time.
pub(super) async fn read(
    body: Body,
    bytes_max: usize,
    timeout: Duration,
) -> Result<Bytes, (StatusCode, Failure)> {
    let too_large = || {
        let text =
            format!("the body is larger than {bytes_max} bytes; send less, or raise http.body_bytes_max");
        (StatusCode::PAYLOAD_TOO_LARGE, Failure::new("too_large", text))
    };
    // What it says of its length is believed only where that refuses it.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let whole = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(timeout, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err((
            StatusCode::BAD_REQUEST,
            Failure::new(
                "invalid_input",
                format!("the body could not be read: {error}; send it again"),
            ),
        )),
        Err(_) => Err((
            StatusCode::REQUEST_TIMEOUT,
            Failure::new(
                "too_slow",
                format!(
                    "the body did not come within {} ms; send it faster, or raise http.body_timeout_ms",
                    timeout.as_millis()
                ),
            ),
        )),
    }
}
