//! What may follow what. Pure: a state and an event give a state, or a refusal by name.
//!
//! ```text
//!                     start            started
//!   verified ────────────▶ starting ───────────▶ running ──stop──▶ draining ──ended──▶ stopped
//!      ▲  ▲                  │   │ refused          │ panicked         │                 │
//!      │  └── start ─ failed ◀┘   └▶ quarantined     └──▶ failed        │ lane lost       │ start
//!      │                 ▲             │ start, by an operator          ▼                 ▼
//!      └─────────────────┴── late ── wedged ◀── lane lost ── any that is loaded        starting
//! ```

use extman_model::Lifecycle;

/// What can happen to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It is to be started, by the host itself.
    Start,
    /// It is to be started, by an operator.
    StartByOperator,
    /// It has been started.
    Started,
    /// It could not be started; trying again may help.
    StartFailed,
    /// It was refused by vetting; trying again will not help.
    StartRefused,
    /// It is to be stopped.
    Stop,
    /// It has been stopped and freed.
    Ended,
    /// It has been freed after it failed.
    EndedFailed,
    /// It panicked and serves no more.
    Panicked,
    /// A call into it was given up.
    LaneLost,
    /// The last call that was given up has come back.
    LateReturn,
    /// Other bytes are there now for it.
    NewBytes,
    /// Another generation serves instead of one that failed or hangs.
    Replaced,
}

/// Why an event has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is so already.
    #[error("it is {0} already")]
    Already(&'static str),
    /// Something is under way that has to end first.
    #[error("it is {0}; wait for that to end")]
    UnderWay(&'static str),
    /// Only an operator may do that.
    #[error("it is quarantined; an operator may load it all the same")]
    Quarantined,
    /// A call does not return.
    #[error("a call into it does not return; `extman restart` gives that call up and loads the library anew")]
    Wedged,
    /// The event does not belong to the state.
    #[error("that can't happen to an instance that is {0}")]
    OutOfPlace(&'static str),
}

/// The state that follows.
///
/// # Errors
/// The event has no effect in this state.
pub fn next(state: Lifecycle, event: Event) -> Result<Lifecycle, Refusal> {
    use Event as E;
    use Lifecycle as L;
    Ok(match (state, event) {
        (
            L::Discovered | L::Verified | L::Stopped | L::Failed | L::Backoff,
            E::Start | E::StartByOperator,
        ) => L::Starting,
        (L::Quarantined, E::StartByOperator) => L::Starting,
        (L::Quarantined, E::Start) => return Err(Refusal::Quarantined),
        (L::Starting | L::Running, E::Start | E::StartByOperator) => {
            return Err(Refusal::Already(state.as_str()));
        }
        (L::Draining, E::Start | E::StartByOperator) => return Err(Refusal::UnderWay("draining")),
        (L::Wedged, E::Start | E::StartByOperator) => return Err(Refusal::Wedged),

        (L::Starting, E::Started) => L::Running,
        (L::Starting, E::StartFailed) => L::Failed,
        (L::Starting, E::StartRefused) => L::Quarantined,

        (L::Running | L::Wedged | L::Failed, E::Stop) => L::Draining,
        (L::Starting, E::Stop) => return Err(Refusal::UnderWay("starting")),
        (L::Draining, E::Stop) => return Err(Refusal::Already("draining")),
        (L::Discovered | L::Verified | L::Stopped | L::Backoff | L::Quarantined, E::Stop) => {
            return Err(Refusal::Already("stopped"));
        }
        // A call can be given up while the instance is being started or stopped; that ends all the same.
        (L::Draining | L::Wedged, E::Ended) => L::Stopped,
        (L::Draining | L::Wedged, E::EndedFailed) => L::Failed,
        (L::Wedged, E::StartFailed) => L::Failed,
        (L::Wedged, E::StartRefused) => L::Quarantined,
        (L::Wedged | L::Failed, E::Replaced) => L::Running,

        (L::Running, E::Panicked) => L::Failed,
        (L::Starting | L::Running | L::Draining, E::LaneLost) => L::Wedged,
        (L::Wedged | L::Failed, E::LaneLost) => return Err(Refusal::Already(state.as_str())),
        (L::Wedged, E::LateReturn) => L::Failed,

        (L::Stopped | L::Failed | L::Backoff | L::Quarantined | L::Discovered | L::Verified, E::NewBytes) => {
            L::Verified
        }
        _ => return Err(Refusal::OutOfPlace(state.as_str())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [Lifecycle; 10] = [
        Lifecycle::Discovered,
        Lifecycle::Verified,
        Lifecycle::Starting,
        Lifecycle::Running,
        Lifecycle::Draining,
        Lifecycle::Stopped,
        Lifecycle::Failed,
        Lifecycle::Backoff,
        Lifecycle::Quarantined,
        Lifecycle::Wedged,
    ];
    const EVENTS: [Event; 13] = [
        Event::Start,
        Event::StartByOperator,
        Event::Started,
        Event::StartFailed,
        Event::StartRefused,
        Event::Stop,
        Event::Ended,
        Event::EndedFailed,
        Event::Panicked,
        Event::LaneLost,
        Event::LateReturn,
        Event::NewBytes,
        Event::Replaced,
    ];

    #[test]
    fn only_a_start_leads_to_running() {
        for state in STATES {
            for event in EVENTS {
                if next(state, event) == Ok(Lifecycle::Running) {
                    assert!(matches!(
                        (state, event),
                        (Lifecycle::Starting, Event::Started)
                            | (Lifecycle::Wedged | Lifecycle::Failed, Event::Replaced)
                    ));
                }
            }
        }
    }

    #[test]
    fn a_quarantined_one_is_started_by_operators_alone() {
        for event in EVENTS {
            let starts = next(Lifecycle::Quarantined, event) == Ok(Lifecycle::Starting);
            assert_eq!(starts, event == Event::StartByOperator, "{event:?}");
        }
    }

    #[test]
    fn a_wedged_one_never_starts() {
        for event in EVENTS {
            assert_ne!(
                next(Lifecycle::Wedged, event),
                Ok(Lifecycle::Starting),
                "{event:?}"
            );
        }
    }

    #[test]
    fn a_wedged_one_comes_to_an_end() {
        for event in [
            Event::Ended,
            Event::EndedFailed,
            Event::StartFailed,
            Event::StartRefused,
        ] {
            let after = next(Lifecycle::Wedged, event).unwrap();
            assert_eq!(
                next(after, Event::StartByOperator),
                Ok(Lifecycle::Starting),
                "{event:?}"
            );
        }
    }

    #[test]
    fn a_loaded_one_whose_lane_is_lost_is_wedged() {
        for state in [Lifecycle::Starting, Lifecycle::Running, Lifecycle::Draining] {
            assert_eq!(next(state, Event::LaneLost), Ok(Lifecycle::Wedged));
        }
    }

    #[test]
    fn every_pair_is_decided_without_a_loop_to_itself() {
        for state in STATES {
            for event in EVENTS {
                if let Ok(to) = next(state, event) {
                    assert!(to != state || event == Event::NewBytes, "{state:?} {event:?}");
                }
            }
        }
    }
}
