//! Calls, whole and in frames.

use crate::fake::Server;
use crate::wire::{PATIENCE, Wire, ask, request};
use std::time::Duration;

const INVOKE: &str = "POST /api/v1/capabilities/text.echo/invoke";

#[test]
fn the_body_is_the_input_and_the_answer_the_output() {
    let server = Server::start();
    let line = format!("{INVOKE}?instance=lang&timeout_ms=1500");
    let body = [0, 159, 146, 150];
    let heard = ask(
        server.address,
        &line,
        &["content-type: image/x-odd; q=\"1\""],
        &body,
    );
    assert_eq!((heard.status, &heard.body[..]), (200, &body[..]));
    for (name, value) in [
        ("content-type", Some("image/x-odd; q=\"1\"")),
        ("extman-served-by", Some("lang")),
        ("extman-degraded", Some("false")),
        ("extman-degraded-reason", None),
        ("extman-attempts", Some("1")),
        ("extman-ran-ns", Some("1234")),
        ("extman-tokens-in", Some("3")),
        ("extman-tokens-out", None),
        ("content-security-policy", Some("default-src 'none'; sandbox")),
    ] {
        assert_eq!(heard.header(name), value, "{name}");
    }
    let invoked = server.fake.invoked.lock().unwrap();
    assert_eq!(invoked[0].instance.as_deref(), Some("lang"));
    assert_eq!(invoked[0].timeout, Some(Duration::from_millis(1500)));
}

#[test]
fn answer_of_another_instance_than_the_first_choice_says_so_and_why() {
    let server = Server::start();
    let line = "POST /api/v1/capabilities/text.fallback/invoke";
    let heard = ask(server.address, line, &[], b"x");
    for (name, value) in [
        ("extman-served-by", "lang"),
        ("extman-degraded", "true"),
        ("extman-degraded-reason", "first is down"),
        ("extman-attempts", "2"),
    ] {
        assert_eq!(heard.header(name), Some(value), "{name}");
    }
}

#[test]
fn answer_that_was_kept_says_how_old_it_is() {
    let server = Server::start();
    let line = "POST /api/v1/capabilities/text.kept/invoke";
    let heard = ask(server.address, line, &[], b"x");
    for (name, value) in [
        ("extman-served-by", "cached"),
        ("extman-degraded", "true"),
        ("extman-attempts", "0"),
        ("age", "61"),
        ("extman-age-ms", "61500"),
    ] {
        assert_eq!(heard.header(name), Some(value), "{name}");
    }
    let heard = ask(server.address, INVOKE, &[], b"x");
    assert_eq!((heard.header("age"), heard.header("extman-age-ms")), (None, None));
}

#[test]
fn what_is_not_given_is_left_to_the_host() {
    let server = Server::start();
    assert_eq!(ask(server.address, INVOKE, &[], b"x").status, 200);
    let invoked = server.fake.invoked.lock().unwrap();
    assert_eq!((&invoked[0].instance, invoked[0].timeout), (&None, None));
    assert_eq!(invoked[0].content_type, "application/octet-stream");
}

#[test]
fn a_query_that_makes_no_sense_is_refused() {
    let server = Server::start();
    for query in [
        "timeout_ms=0",
        "timeout_ms=-1",
        "timeout_ms=5s",
        "timout_ms=5",
        "timeout_ms=99999999999",
    ] {
        let heard = ask(server.address, &format!("{INVOKE}?{query}"), &[], b"x");
        assert_eq!(
            (heard.status, heard.failure()),
            (400, "invalid_input".to_owned()),
            "{query}"
        );
        assert!(heard.text().contains("timeout_ms"), "{}", heard.text());
    }
    assert!(server.fake.invoked.lock().unwrap().is_empty());
}

#[test]
fn a_call_that_fails_says_how_and_when_to_come_again() {
    let server = Server::start();
    let invoke = |capability: &str| {
        let line = format!("POST /api/v1/capabilities/{capability}/invoke");
        ask(server.address, &line, &[], b"x")
    };
    let heard = invoke("busy.now");
    assert_eq!((heard.status, heard.failure()), (429, "rate_limited".to_owned()));
    assert_eq!(heard.header("retry-after"), Some("3"));
    assert_eq!(heard.json()["error"]["retryable"], true);
    let heard = invoke("panic.now");
    assert_eq!((heard.status, heard.failure()), (502, "panicked".to_owned()));
    let heard = invoke("no.such");
    assert_eq!((heard.status, heard.failure()), (404, "not_found".to_owned()));
}

/// A stream's events, and the head before them.
fn events(server: &Server, capability: &str) -> Vec<(String, serde_json::Value)> {
    let line = format!("POST /api/v1/capabilities/{capability}/invoke");
    let mut wire = Wire::to(server.address);
    wire.send(&request(&line, &["accept: text/event-stream"], b"x"));
    let head = wire.head();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("extman-served-by"), Some("lang"));
    let (mut events, mut name) = (Vec::new(), String::new());
    loop {
        let line = wire.line();
        if let Some(event) = line.strip_prefix("event: ") {
            name = event.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            events.push((name.clone(), serde_json::from_str(data).unwrap()));
        } else if line == "0" {
            // The last chunk.
            return events;
        }
    }
}

#[test]
fn a_stream_has_an_event_for_each_frame_and_one_for_its_end() {
    let server = Server::start();
    let events = events(&server, "stream.words");
    let expected = [
        (
            "frame",
            serde_json::json!({"content_type": "text/plain", "text": "one\n"}),
        ),
        ("frame", serde_json::json!({"text": "zwö\r\nlf"})),
        ("frame", serde_json::json!({"base64": "/wA="})),
        (
            "done",
            serde_json::json!({"content_type": "text/plain", "served_by": "lang", "degraded": false, "attempts": 1, "ran_ns": 1234, "tokens_in": 3,
                "metadata": {"model": "fake-1"}}),
        ),
    ];
    let expected = expected.map(|(name, data)| (name.to_owned(), data));
    assert_eq!(events, expected);
}

#[test]
fn a_stream_that_fails_ends_with_its_error() {
    let server = Server::start();
    let events = events(&server, "stream.broken");
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[1].0, "error");
    assert_eq!(events[1].1["kind"], "internal");
    assert_eq!(events[1].1["text"], "the model went away");
}

#[test]
fn a_reader_that_leaves_ends_the_call() {
    let server = Server::start();
    let mut wire = Wire::to(server.address);
    let line = "POST /api/v1/capabilities/stream.endless/invoke";
    wire.send(&request(line, &["accept: text/event-stream"], b"x"));
    assert_eq!(wire.head().status, 200);
    drop(wire);
    let abandoned = server.fake.abandoned.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, abandoned.notified()).await });
    ended.expect("the writer is told that nobody reads");
}
