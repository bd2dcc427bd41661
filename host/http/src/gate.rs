//! What each request passes before its route: access, then room. A request whose route takes another method passes none of it.

use super::access::{self, Peer};
use super::answer;
use super::routes::{Edge, word_of};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use extman_model::control::Failure;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// One request's room, held until its answer has ended.
#[derive(Clone)]
pub(super) struct Room {
    _permit: Arc<OwnedSemaphorePermit>,
}

pub(super) async fn pass(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let peer = head.extensions.get::<Peer>().copied();
    let word = word_of(head.uri.path());
    if let Err((status, failure)) = access::admit(edge.token.as_ref(), peer, &head) {
        tracing::debug!(method = %head.method, path = head.uri.path(), %status, "refused a request");
        return answer::refused(word, status, failure);
    }
    let mut request = Request::from_parts(head, body);
    // Calls that fill their limit leave the slots of those who ask whether the host is alive.
    let (slots, limit) = if is_probe(request.uri().path()) {
        (&edge.probe_room, format!("{PROBES_MAX} probes are under way"))
    } else {
        let max = edge.config.requests_max;
        (
            &edge.room,
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
    let room = Room {
        _permit: Arc::new(permit),
    };
    request.extensions_mut().insert(room.clone());
    let response = next.run(request).await;
    drop(room);
    response
}

/// Most probes at a time. They are answered from memory.
pub(super) const PROBES_MAX: usize = 64;

/// Whether a route tells how the host is, to whoever decides about it by that.
fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/health") || path.starts_with("/health/")
}
