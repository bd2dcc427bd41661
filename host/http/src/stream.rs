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
use super::answer;
use super::invoke::SERVED_BY;
use axum::http::HeaderValue;
use axum::response::Response;
use axum::response::sse::Event;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use extman_model::control::{Failure, FrameReader, InvokedStream, Pending, StreamDone, StreamFrame};
use extman_model::{CallError, Reply};
use futures_util::stream;
use serde::Serialize;
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
    let mut response = answer::sse(events);
    if let Ok(served_by) = HeaderValue::try_from(served_by) {
        response.headers_mut().insert(SERVED_BY, served_by);
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
        if let Some(bytes) = self.frames.next().await {
            let content_type = std::mem::take(&mut self.first)
                .then(|| self.frames.content_type())
                .flatten();
            return Some((event("frame", &frame(&bytes, content_type)), Some(self)));
        }
        let last = match (&mut self.done).await {
            Ok(reply) => event("done", &StreamDone::of(self.served_by, reply)),
            Err(error) => event("error", &Failure::from(error)),
        };
        Some((last, None))
    }
}

fn frame(bytes: &[u8], content_type: Option<String>) -> StreamFrame {
    let text = std::str::from_utf8(bytes).ok();
    StreamFrame {
        content_type,
        text: text.map(str::to_owned),
        base64: text.is_none().then(|| STANDARD.encode(bytes)),
    }
}

fn event(name: &str, data: &impl Serialize) -> Item {
    // JSON has no line ends outside its strings and escapes those within, so one line holds it.
    let data = serde_json::to_string(data).unwrap_or_default();
    Ok(Event::default().event(name).data(data))
}
