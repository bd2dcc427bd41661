//! Recent events with numbers, so that a client that comes back misses none and receives none twice.

use crate::Event;
use serde::{Deserialize, Serialize};

/// Which events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsAsked {
    /// Only those with a greater number.
    pub after: Option<u64>,
    /// Only those since then, in milliseconds since the Unix epoch.
    pub since_unix_ms: Option<u64>,
    /// How long to wait for one where there is none, in milliseconds; at most [`EventsAsked::WAIT_MS_MAX`].
    pub wait_ms: u64,
}

impl EventsAsked {
    /// Nobody waits longer; who wants to, asks again.
    pub const WAIT_MS_MAX: u64 = 30_000;
}

/// Events, and where to go on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EventsAnswer {
    /// In the order in which they happened.
    pub events: Vec<NumberedEvent>,
    /// The number of the newest event there is: give it as `after` for what happens next.
    pub last: u64,
    /// So many after the one that was named are not kept any more.
    pub missed: u64,
}

/// An event with its number. Numbers rise by one, and those of a host that begins again are greater than before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumberedEvent {
    /// Its number; in a stream of server-sent events, its id.
    pub number: u64,
    /// When, and what.
    #[serde(flatten)]
    pub event: Event,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_with_an_id_of_its_own_keeps_both() {
        let told = json!({
            "number": 7, "at_unix_ms": 5, "event": "found", "id": "lang", "version": "1.0.0", "path": "/p/a.so",
            "digest": "ab".repeat(32),
        });
        let event: NumberedEvent = serde_json::from_value(told.clone()).unwrap();
        assert_eq!(event.number, 7);
        let written = serde_json::to_string(&event).unwrap();
        assert_eq!(
            serde_json::from_str::<NumberedEvent>(&written).unwrap(),
            event,
            "{written}"
        );
    }
}
