//! `POST /api/v1/capabilities/{name}/invoke`: the body is the input as it is, the answer is the output as it is.

use super::gate::Room;
use super::routes::{Edge, named};
use super::{answer, body, stream};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use extman_model::control::{Failure, Invocation, Invoked};
use serde::Deserialize;
use std::time::Duration;

/// The instance that served.
pub(super) const SERVED_BY: HeaderName = HeaderName::from_static("extman-served-by");
const RAN_NS: HeaderName = HeaderName::from_static("extman-ran-ns");
const TOKENS_IN: HeaderName = HeaderName::from_static("extman-tokens-in");
const TOKENS_OUT: HeaderName = HeaderName::from_static("extman-tokens-out");

pub(super) async fn invoke(
    State(edge): State<Edge>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let (capability, options) = match named(name).and_then(|name| Ok((name, options(&head)?))) {
        Ok(asked) => asked,
        Err(failure) => return answer::failed("invoke", failure),
    };
    let body = match body::read(body, edge.config.body_bytes_max, edge.config.body_timeout()).await {
        Ok(body) => body,
        Err((status, failure)) => return answer::refused("invoke", status, failure),
    };
    let invocation = Invocation {
        capability,
        instance: options.instance,
        content_type: text(&head.headers, &CONTENT_TYPE).unwrap_or(UNTYPED).to_owned(),
        body: body.into(),
        timeout: options.timeout_ms.map(Duration::from_millis),
    };
    if wants_events(&head.headers) {
        let room = head.extensions.get::<Room>().cloned();
        return match edge.control.invoke_stream(invocation).await {
            Ok(stream) => stream::events(stream, room),
            Err(error) => answer::failed("invoke", error.into()),
        };
    }
    match edge.control.invoke(invocation).await {
        Ok(invoked) => output(invoked),
        Err(error) => answer::failed("invoke", error.into()),
    }
}

const UNTYPED: &str = "application/octet-stream";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    instance: Option<String>,
    timeout_ms: Option<u64>,
}

/// From the query.
fn options(head: &Parts) -> Result<Options, Failure> {
    let refuse = |text: String| Failure::new("invalid_input", text);
    let Query(options) = Query::<Options>::try_from_uri(&head.uri).map_err(|error| {
        refuse(format!(
            "the query can't be read: {error}; it takes instance=NAME and timeout_ms=NUMBER"
        ))
    })?;
    match options.timeout_ms {
        Some(ms) if !(1..=TIMEOUT_MS_MAX).contains(&ms) => Err(refuse(format!(
            "timeout_ms is {ms}, outside 1 to {TIMEOUT_MS_MAX}; set it within that range"
        ))),
        _ => Ok(options),
    }
}

/// A day.
const TIMEOUT_MS_MAX: u64 = 86_400_000;

fn wants_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("text/event-stream"))
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn output(invoked: Invoked) -> Response {
    let Invoked { served_by, reply } = invoked;
    let mut response = Response::new(reply.body.into());
    let headers = response.headers_mut();
    let content_type = HeaderValue::try_from(&*reply.content_type);
    headers.insert(
        CONTENT_TYPE,
        content_type.unwrap_or(HeaderValue::from_static(UNTYPED)),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A plugin's output is nobody's page: a browser that opens it must not run what is in it.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    if let Ok(served_by) = HeaderValue::try_from(served_by) {
        headers.insert(SERVED_BY, served_by);
    }
    let ran_ns = u64::try_from(reply.ran.as_nanos()).unwrap_or(u64::MAX);
    headers.insert(RAN_NS, ran_ns.into());
    for (name, tokens) in [
        (TOKENS_IN, reply.usage.tokens_in),
        (TOKENS_OUT, reply.usage.tokens_out),
    ] {
        if let Some(tokens) = tokens {
            headers.insert(name, tokens.into());
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
