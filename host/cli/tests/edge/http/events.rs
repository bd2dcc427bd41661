//! What happened lately.

use crate::fake::Server;
use crate::wire::{Wire, ask, request};
use extman_model::control::Command;
use extman_model::control::events::EventsAsked;

#[test]
fn events_are_numbered_and_given_from_a_number_on() {
    let server = Server::start();
    let heard = ask(server.address, "GET /api/v1/events?after=7&wait_ms=5", &[], b"");
    let envelope = heard.json();
    assert_eq!((heard.status, &envelope["command"]), (200, &"events".into()));
    assert_eq!(envelope["data"]["last"], 9);
    let events = envelope["data"]["events"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(
        (&events[0]["number"], &events[0]["event"]),
        (&8.into(), &"moved".into())
    );
    assert_eq!(events[0]["name"], "lang");
    let asked = EventsAsked {
        after: Some(7),
        wait_ms: 5,
        ..EventsAsked::default()
    };
    assert_eq!(
        server.fake.asked.lock().unwrap().pop(),
        Some(Command::Events(asked))
    );
    let refused = ask(server.address, "GET /api/v1/events?wait_ms=999999", &[], b"");
    assert_eq!(
        (refused.status, refused.failure()),
        (400, "invalid_input".to_owned())
    );
}

#[test]
fn who_follows_gets_each_event_with_its_number_and_goes_on_where_it_was() {
    let server = Server::start();
    for (headers, first) in [
        (&["accept: text/event-stream"][..], 7),
        (&["accept: text/event-stream", "last-event-id: 7"], 8),
    ] {
        let mut wire = Wire::to(server.address);
        wire.send(&request("GET /api/v1/events", headers, b""));
        let head = wire.head();
        assert_eq!(
            (head.status, head.header("content-type")),
            (200, Some("text/event-stream"))
        );
        for id in first..=9 {
            let mut seen = (None, None);
            while seen.0.is_none() || seen.1.is_none() {
                let line = wire.line();
                if let Some(told) = line.strip_prefix("id: ") {
                    seen.0 = Some(told.to_owned());
                }
                if let Some(told) = line.strip_prefix("data: ") {
                    let data: serde_json::Value = serde_json::from_str(told).unwrap();
                    seen.1 = Some(data["number"].to_string());
                }
            }
            assert_eq!(seen, (Some(id.to_string()), Some(id.to_string())));
        }
    }
}
