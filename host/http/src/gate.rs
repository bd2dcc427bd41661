//! What each request passes before its route: access, then room.

use super::access::{self, Act, Peer};
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
    let ping = Act::of(&head.method, &head.uri) == Act::Ping;
    let mut request = Request::from_parts(head, body);
    if ping {
        return next.run(request).await;
    }
    let Ok(permit) = edge.room.clone().try_acquire_owned() else {
        let text = format!(
            "{} requests are under way, the most that this host takes; come again, or raise http.requests_max",
            edge.config.requests_max
        );
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
