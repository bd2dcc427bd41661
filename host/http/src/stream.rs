//! A streamed answer as server-sent events.
//!
//! ```text
//! event: frame   data: {"text":"…"} or {"base64":"…"}; the first one has "content_type" too, if the plugin named one
//! event: done    data: {"content_type":"…","served_by":"…","ran_ns":…,"tokens_in":…,"tokens_out":…,"metadata":{…}}
//! event: error   data: {"kind":"…","text":"…",…}
//! ```
//!
//! The last event is `done` or `error`; a stream that ends without one was cut off.

use super::admission::SlotPermit;
use super::invoke::SERVED_BY;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use extman_model::control::{Failure, FrameReader, InvokedStream, Pending};
use extman_model::{CallError, Reply, Usage};
use futures_util::stream;
use serde::Serialize;
use std::collections::BTreeMap;
use std::convert::Infallible;

pub(super) fn events(stream: InvokedStream, slot: Option<SlotPermit>) -> Response {
    let served_by = stream.served_by.clone();
    let state = State {
        served_by: stream.served_by,
        frames: stream.frames,
        done: stream.done,
        first: true,
        _slot: slot,
    };
    let events = stream::unfold(Some(state), async |state| state?.next().await);
    let mut response = Sse::new(events).keep_alive(KeepAlive::default()).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(served_by) = HeaderValue::try_from(served_by) {
        headers.insert(SERVED_BY, served_by);
    }
    response
}

struct State {
    served_by: String,
    frames: FrameReader,
    done: Pending<'static, Result<Reply, CallError>>,
    first: bool,
    _slot: Option<SlotPermit>,
}

type Item = Result<Event, Infallible>;

impl State {
    /// The next event, and what comes after it; nothing comes after the last.
    async fn next(mut self) -> Option<(Item, Option<State>)> {
        if let Some(frame) = self.frames.next().await {
            let content_type = std::mem::take(&mut self.first)
                .then(|| self.frames.content_type())
                .flatten();
            return Some((event("frame", &Frame::of(&frame, content_type)), Some(self)));
        }
        let last = match (&mut self.done).await {
            Ok(reply) => event("done", &Done::of(&self.served_by, reply)),
            Err(error) => event("error", &Failure::from(error)),
        };
        Some((last, None))
    }
}

#[derive(Serialize)]
struct Frame<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl<'a> Frame<'a> {
    fn of(bytes: &'a [u8], content_type: Option<String>) -> Self {
        let text = std::str::from_utf8(bytes).ok();
        Frame {
            content_type,
            text,
            base64: text.is_none().then(|| STANDARD.encode(bytes)),
        }
    }
}

#[derive(Serialize)]
struct Done<'a> {
    content_type: String,
    served_by: &'a str,
    ran_ns: u64,
    #[serde(flatten)]
    usage: Usage,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

impl<'a> Done<'a> {
    fn of(served_by: &'a str, reply: Reply) -> Self {
        Done {
            content_type: reply.content_type.into_owned(),
            served_by,
            ran_ns: u64::try_from(reply.ran.as_nanos()).unwrap_or(u64::MAX),
            usage: reply.usage,
            metadata: reply.metadata.into_iter().collect(),
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> Item {
    // JSON has no line ends outside its strings and escapes those within, so one line holds it.
    let data = serde_json::to_string(data).unwrap_or_default();
    Ok(Event::default().event(name).data(data))
}
