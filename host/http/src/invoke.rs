//! `POST /api/v1/capabilities/{name}/invoke`: the body is the input as it is, the answer is the output as it is.

use super::admission::SlotPermit;
use super::routes::{AppState, named};
use super::{answer, body, stream};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{ACCEPT, AGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use extman_model::control::{Failure, Invocation, Invoked, METADATA_PREFIX};
use extman_model::{RequestExtras, clock};
use serde::Deserialize;
use std::time::Duration;

/// The instance that served.
pub(super) const SERVED_BY: HeaderName = HeaderName::from_static("extman-served-by");
/// `true` if another instance served than the first choice, else `false`.
pub(super) const DEGRADED: HeaderName = HeaderName::from_static("extman-degraded");
/// Why, if so.
pub(super) const DEGRADED_REASON: HeaderName = HeaderName::from_static("extman-degraded-reason");
/// How many instances were called until one of them answered.
pub(super) const ATTEMPTS: HeaderName = HeaderName::from_static("extman-attempts");
/// How many milliseconds ago an answer was given that had been kept; beside `Age`, which has seconds.
const AGE_MS: HeaderName = HeaderName::from_static("extman-age-ms");
const RAN_NS: HeaderName = HeaderName::from_static("extman-ran-ns");
const TOKENS_IN: HeaderName = HeaderName::from_static("extman-tokens-in");
const TOKENS_OUT: HeaderName = HeaderName::from_static("extman-tokens-out");
const TOKENS_CACHED: HeaderName = HeaderName::from_static("extman-tokens-cached");
const TOKENS_REASONING: HeaderName = HeaderName::from_static("extman-tokens-reasoning");
const CAPABILITY_VERSION: HeaderName = HeaderName::from_static("extman-capability-version");

pub(super) async fn invoke(
    State(app): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let (capability, options) = match named(name).and_then(|name| Ok((name, options(&head)?))) {
        Ok(asked) => asked,
        Err(failure) => return answer::failed("invoke", failure),
    };
    let body = match body::read(body, app.config.body_bytes_max, app.config.body_timeout()).await {
        Ok(body) => body,
        Err((status, failure)) => return answer::refused("invoke", status, failure),
    };
    let invocation = Invocation {
        capability,
        instance: options.instance,
        content_type: text(&head.headers, &CONTENT_TYPE).unwrap_or(UNTYPED).to_owned(),
        body: body.into(),
        timeout: options.timeout_ms.map(Duration::from_millis),
        extras: extras(&head.headers),
    };
    if answer::wants_events(&head.headers) {
        let slot = head.extensions.get::<SlotPermit>().cloned();
        return match app.control.invoke_stream(invocation).await {
            Ok(stream) => stream::events(stream, slot),
            Err(error) => answer::failed("invoke", error.into()),
        };
    }
    match app.control.invoke(invocation).await {
        Ok(invoked) => output(invoked),
        Err(error) => answer::failed("invoke", error.into()),
    }
}

const UNTYPED: &str = "application/octet-stream";

/// What a request says beside its body: its own headers for the usual things, and `extman-metadata-KEY` for any other.
fn extras(headers: &HeaderMap) -> RequestExtras {
    let usual = PASSED_ON
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), headers.get(*name)?)));
    let named = headers.iter().filter_map(|(name, value)| {
        let key = name.as_str().strip_prefix(METADATA_PREFIX)?;
        Some((key.to_owned(), value))
    });
    let metadata = usual
        .chain(named)
        .filter_map(|(key, value)| Some((key, value.to_str().ok()?.to_owned())));
    let is_for_plugin = |accept: &&str| !accept.contains("text/event-stream");
    RequestExtras {
        capability_version: text(headers, &CAPABILITY_VERSION).unwrap_or_default().to_owned(),
        accept: text(headers, &ACCEPT)
            .filter(is_for_plugin)
            .unwrap_or_default()
            .to_owned(),
        metadata: metadata.collect(),
        parts: Vec::new(),
    }
}

/// Headers that a plugin gets under their own names.
const PASSED_ON: [&str; 4] = ["traceparent", "tracestate", "baggage", "idempotency-key"];

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

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn output(invoked: Invoked) -> Response {
    let Invoked {
        served_by,
        degraded,
        attempts,
        age,
        reply,
    } = invoked;
    let content_type = HeaderValue::try_from(&*reply.content_type);
    let content_type = content_type.unwrap_or(HeaderValue::from_static(UNTYPED));
    let mut response = answer::not_stored(StatusCode::OK, content_type, reply.body);
    let headers = response.headers_mut();
    // A plugin's output is nobody's page: a browser that opens it must not run what is in it.
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    put_routed(headers, (&served_by, degraded.as_deref(), attempts));
    if let Some(age) = age {
        headers.insert(AGE, age.as_secs().into());
        headers.insert(AGE_MS, clock::millis(age).into());
    }
    let ran_ns = u64::try_from(reply.ran.as_nanos()).unwrap_or(u64::MAX);
    headers.insert(RAN_NS, ran_ns.into());
    for (name, tokens) in [
        (TOKENS_IN, reply.usage.tokens_in),
        (TOKENS_OUT, reply.usage.tokens_out),
        (TOKENS_CACHED, reply.usage.tokens_cached),
        (TOKENS_REASONING, reply.usage.tokens_reasoning),
    ] {
        if let Some(tokens) = tokens {
            headers.insert(name, tokens.into());
        }
    }
    for (key, value) in &reply.metadata {
        let name = HeaderName::try_from(format!("{METADATA_PREFIX}{key}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    response
}

/// Who served, why another one than the first choice, and how many were called.
pub(super) fn put_routed(
    headers: &mut HeaderMap,
    (served_by, degraded, attempts): (&str, Option<&str>, u32),
) {
    if let Ok(served_by) = HeaderValue::try_from(served_by) {
        headers.insert(SERVED_BY, served_by);
    }
    let is_degraded = if degraded.is_some() { "true" } else { "false" };
    headers.insert(DEGRADED, HeaderValue::from_static(is_degraded));
    if let Some(Ok(reason)) = degraded.map(HeaderValue::try_from) {
        headers.insert(DEGRADED_REASON, reason);
    }
    headers.insert(ATTEMPTS, attempts.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_says_beside_its_body_is_handed_on() {
        let headers = [
            ("traceparent", "00-a-b-01"),
            ("extman-metadata-tenant", "t1"),
            ("extman-capability-version", "2.0.0"),
            ("accept", "application/json"),
            ("authorization", "Bearer x"),
        ];
        let of = |headers: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            extras(&headers.iter().map(pair).collect())
        };
        let found = of(&headers);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            found.metadata,
            [pair("traceparent", "00-a-b-01"), pair("tenant", "t1")]
        );
        assert_eq!(
            (&*found.capability_version, &*found.accept),
            ("2.0.0", "application/json")
        );
        assert_eq!(of(&[("accept", "text/event-stream")]), RequestExtras::NONE);
    }
}
