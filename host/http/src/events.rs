//! `GET /api/v1/events`: what happened lately, as an envelope or, for who follows, as server-sent events.
//!
//! ```text
//! id: 1700000000000007
//! event: health              (the event's own word; `missed` where events are not kept any more)
//! data: {"number":…,"at_unix_ms":…,"event":"health",…}
//! ```

use super::admission::SlotPermit;
use super::answer;
use super::routes::{AppState, run};
use axum::extract::{Query, Request, State};
use axum::http::Uri;
use axum::response::{Response, sse};
use extman_model::clock;
use extman_model::control::events::{EventsAnswer, EventsAsked, NumberedEvent};
use extman_model::control::{Answer, Command, Control, Failure, since_ms};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;

pub(super) async fn events(State(app): State<AppState>, request: Request) -> Response {
    let mut asked = match asked(request.uri()) {
        Ok(asked) => asked,
        Err(failure) => return answer::failed("events", failure),
    };
    if !answer::wants_events(request.headers()) {
        return run(&app, Command::Events(asked)).await;
    }
    // A browser that lost its connection sends the id of its last event by itself.
    let last = request.headers().get("last-event-id");
    if let Some(last) = last.and_then(|id| id.to_str().ok()?.parse().ok()) {
        asked.after = Some(last);
    }
    let slot = request.extensions().get::<SlotPermit>().cloned();
    follow(app.control, asked, slot)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    after: Option<u64>,
    since: Option<String>,
    #[serde(default)]
    wait_ms: u64,
}

fn asked(uri: &Uri) -> Result<EventsAsked, Failure> {
    let refuse = |text: String| Failure::new("invalid_input", text);
    let Query(options) = Query::<Options>::try_from_uri(uri).map_err(|error| {
        refuse(format!(
            "the query can't be read: {error}; it takes after=NUMBER, since=1h and wait_ms=NUMBER"
        ))
    })?;
    let max = EventsAsked::WAIT_MS_MAX;
    if options.wait_ms > max {
        return Err(refuse(format!(
            "wait_ms is {}, more than {max}; wait for less, and ask again",
            options.wait_ms
        )));
    }
    let since = options.since.as_deref().map(since_ms).transpose();
    let since = since.map_err(|why| refuse(format!("since: {why}")))?;
    Ok(EventsAsked {
        after: options.after,
        since_unix_ms: since.map(|ms| clock::unix_ms(clock::wall()).saturating_sub(ms)),
        wait_ms: options.wait_ms,
    })
}

/// What was asked for, and all that happens after it, until the reader goes away or the host ends.
fn follow(control: Arc<dyn Control>, asked: EventsAsked, slot: Option<SlotPermit>) -> Response {
    let batches = stream::unfold((control, asked, slot), async |(control, asked, slot)| {
        let Ok(Answer::Events(answer)) = control.run(Command::Events(asked)).await else {
            return None;
        };
        let next = EventsAsked {
            after: Some(answer.last),
            since_unix_ms: None,
            wait_ms: EventsAsked::WAIT_MS_MAX,
        };
        Some((stream::iter(as_sse(*answer)), (control, next, slot)))
    });
    answer::sse(batches.flatten())
}

fn as_sse(answer: EventsAnswer) -> Vec<Result<sse::Event, Infallible>> {
    let missed = (answer.missed > 0).then(|| {
        let data = serde_json::json!({ "missed": answer.missed }).to_string();
        sse::Event::default().event("missed").data(data)
    });
    missed
        .into_iter()
        .chain(answer.events.iter().map(one))
        .map(Ok)
        .collect()
}

fn one(event: &NumberedEvent) -> sse::Event {
    let data = serde_json::to_value(event).unwrap_or_default();
    let word = data["event"].as_str().unwrap_or("event").to_owned();
    sse::Event::default()
        .id(event.number.to_string())
        .event(word)
        .data(data.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_read_or_refused() {
        let of = |query: &str| asked(&format!("/api/v1/events{query}").parse().unwrap());
        assert_eq!(of("").unwrap(), EventsAsked::default());
        let asked = of("?after=7&wait_ms=100&since=1h").unwrap();
        assert_eq!((asked.after, asked.wait_ms), (Some(7), 100));
        assert!(asked.since_unix_ms.is_some());
        for query in ["?after=x", "?wait_ms=30001", "?since=soon", "?until=1h"] {
            assert_eq!(of(query).unwrap_err().kind, "invalid_input", "{query}");
        }
    }
}
