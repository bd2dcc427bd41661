//! Admission of a request before its route: access, then a free slot. A method that the route does not take is refused before that.

use super::access::{self, Peer};
use super::answer;
use super::routes::Gate;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use extman_model::control::Failure;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// One request's slot, held until its answer has ended.
#[derive(Clone)]
pub(super) struct SlotPermit {
    _permit: Arc<OwnedSemaphorePermit>,
}

pub(super) async fn admit_request(
    State(Gate { app, word }): State<Gate>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let peer = head.extensions.get::<Peer>().copied();
    if let Err((status, failure)) = access::admit(app.token.as_ref(), peer, &head) {
        tracing::debug!(method = %head.method, path = head.uri.path(), %status, "refused a request");
        return answer::refused(word, status, failure);
    }
    let mut request = Request::from_parts(head, body);
    // Calls that fill their limit leave the slots of those who ask whether the host is alive.
    let (slots, limit) = if is_probe(request.uri().path()) {
        (&app.probe_slots, format!("{PROBES_MAX} probes are under way"))
    } else {
        let max = app.config.requests_max;
        (
            &app.slots,
            format!("{max} requests are under way (http.requests_max)"),
        )
    };
    let Ok(permit) = slots.clone().try_acquire_owned() else {
        let text = format!("{limit}, the most that this host takes; come again");
        let failure = Failure {
            retryable: Some(true),
            ..Failure::new("busy", text)
        };
        return answer::refused(word, StatusCode::SERVICE_UNAVAILABLE, failure);
    };
    let slot = SlotPermit {
        _permit: Arc::new(permit),
    };
    request.extensions_mut().insert(slot.clone());
    let response = next.run(request).await;
    drop(slot);
    response
}

/// Most probes at a time. They are answered from memory.
pub(super) const PROBES_MAX: usize = 64;

/// Whether a route is a probe of the host itself, as an orchestrator sends it.
fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/health") || path.starts_with("/health/")
}
