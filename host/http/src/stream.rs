//! A streamed answer as server-sent events.
//!
//! ```text
//! event: frame   data: {"text":"…"} or {"base64":"…"}; the first one has "content_type" too, if the plugin named one
//! event: done    data: {"content_type":"…","served_by":"…","degraded":…,"attempts":1,"ran_ns":…,"tokens_in":…,"tokens_out":…,"metadata":{…}}
//! event: error   data: {"kind":"…","text":"…",…}
//! ```
//!
//! The last event is `done` or `error`; a stream that ends without one was cut off.

use super::admission::SlotPermit;
use super::answer;
use super::invoke::put_routed;
use axum::response::Response;
use axum::response::sse::Event;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use extman_model::control::{Failure, FrameReader, Invoked, InvokedStream, Pending, StreamDone, StreamFrame};
use extman_model::{CallError, Reply};
use futures_util::stream;
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;

pub(super) fn events(stream: InvokedStream, slot: Option<SlotPermit>) -> Response {
    let (served_by, degraded) = (stream.served_by.clone(), stream.degraded.clone());
    let state = State {
        served_by: stream.served_by,
        degraded: stream.degraded,
        frames: stream.frames,
        done: stream.done,
        first: true,
        _slot: slot,
    };
    let events = stream::unfold(Some(state), async |state| state?.next().await);
    let mut response = answer::sse(events);
    put_routed(response.headers_mut(), (&served_by, degraded.as_deref(), 1));
    response
}

struct State {
    served_by: Arc<str>,
    degraded: Option<Arc<str>>,
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
            Ok(reply) => {
                let invoked = Invoked {
                    served_by: self.served_by,
                    degraded: self.degraded,
                    attempts: 1,
                    age: None,
                    reply,
                };
                event("done", &StreamDone::from(invoked))
            }
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
