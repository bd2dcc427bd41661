//! The event log: writes the host's events to its log, one line for a plugin that starts and is well.

use extman_model::{Cause, Connection, Event, Health, Lifecycle, What};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

/// Writes events to the log, until all that came before `written` are there.
pub(super) async fn write(
    mut events: tokio::sync::broadcast::Receiver<Event>,
    written: Arc<tokio::sync::Notify>,
) {
    let mut starts = Starts::default();
    loop {
        let next = tokio::select! {
            biased;
            event = events.recv() => event,
            () = written.notified() => return,
        };
        match next {
            Ok(event) if starts.is_covered(&event.what) => {
                tracing::debug!(plugin = event.what.instance(), "{}", event.what);
            }
            Ok(event) => log(&event.what),
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "events came faster than they could be logged")
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Instances that run and whose first health event has not come yet.
#[derive(Default)]
struct Starts(HashSet<String>);

impl Starts {
    /// Whether another line covers the event: the line of a plugin that runs covers that it was found, started and is up; the line of a
    /// lifecycle state covers that the plugin is down by it.
    fn is_covered(&mut self, what: &What) -> bool {
        match what {
            What::Found { .. } => true,
            What::Moved { name, to, .. } => {
                self.0.remove(name);
                if *to == Lifecycle::Running {
                    self.0.insert(name.clone());
                }
                matches!(
                    to,
                    Lifecycle::Discovered | Lifecycle::Verified | Lifecycle::Starting
                )
            }
            What::Health {
                name,
                from,
                to,
                cause,
                flapping,
                ..
            } => {
                let is_first = self.0.remove(name);
                let is_well = (*from, *to, *flapping) == (Health::Unknown, Health::Up, false);
                is_first && is_well || matches!(cause, Cause::Lifecycle(_))
            }
            _ => false,
        }
    }
}

fn log(what: &What) {
    let plugin = what.instance();
    match what {
        // By its state alone: `→` stands for changes of health.
        What::Moved { from, to, cause, .. } => match level(what) {
            Level::Error => tracing::error!(
                plugin,
                from = from.as_str(),
                "{}: {}",
                to.as_str(),
                cause.as_deref().unwrap_or("no cause was given")
            ),
            _ => tracing::info!(plugin, from = from.as_str(), cause, "{}", to.as_str()),
        },
        // Logged where they come from.
        What::Stalled { .. } | What::Logged { .. } | What::HostCrashed(_) => {}
        _ => match level(what) {
            Level::Error => tracing::error!(plugin, "{what}"),
            Level::Warn => tracing::warn!(plugin, "{what}"),
            Level::Info => tracing::info!(plugin, "{what}"),
        },
    }
}

enum Level {
    Info,
    Warn,
    Error,
}

/// What has failed is an error; what goes on, and is worse than before, a warning.
fn level(what: &What) -> Level {
    let is_well = match what {
        What::LaneLost { .. }
        | What::HostTrouble { begins: true, .. }
        | What::Moved {
            to: Lifecycle::Failed | Lifecycle::Backoff | Lifecycle::Quarantined | Lifecycle::Wedged,
            ..
        } => return Level::Error,
        What::Refused(_)
        | What::Missing(_)
        | What::ConfigRefused { .. }
        | What::ConfigNotTaken { .. }
        | What::ConfigGap { .. }
        | What::TakenBack { .. }
        | What::StateLost { .. }
        | What::VersionNotTaken { .. }
        | What::StepFailed { .. }
        | What::LateReturn { .. }
        | What::BreakerOpened { .. }
        | What::ProcessChanged(_) => false,
        What::ConfigRead {
            needs_restart,
            faults,
            ..
        } => needs_restart.is_empty() && faults.is_empty(),
        What::Unloaded { verdict, .. } => verdict.is_unmapped(),
        What::Health { to, flapping, .. } => matches!(to, Health::Up | Health::Unknown) && !flapping,
        What::Flapping { begins, to, .. } => !begins && *to == Health::Up,
        What::PartChanged { to, .. } => *to == Health::Up,
        What::ConnectionChanged { to, .. } => *to != Connection::Broken,
        _ => true,
    };
    match is_well {
        true => Level::Info,
        false => Level::Warn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn is_logged(starts: &mut Starts, what: serde_json::Value) -> bool {
        !starts.is_covered(&serde_json::from_value(what).unwrap())
    }

    fn moved(from: &str, to: &str) -> serde_json::Value {
        json!({"event": "moved", "name": "lang", "from": from, "to": to})
    }

    fn health(from: &str, to: &str, cause: serde_json::Value) -> serde_json::Value {
        json!({"event": "health", "name": "lang", "from": from, "to": to, "cause": cause, "flapping": false})
    }

    #[test]
    fn a_plugin_that_starts_and_is_well_is_one_line() {
        let mut starts = Starts::default();
        let answers = || json!({"code": "answers"});
        let lines = [
            moved("verified", "starting"),
            moved("starting", "running"),
            health("unknown", "up", answers()),
        ];
        let lines = lines.map(|what| is_logged(&mut starts, what));
        assert_eq!(lines, [false, true, false]);
        assert!(is_logged(
            &mut starts,
            health("up", "unknown", json!({"code": "stale"}))
        ));
        assert!(
            is_logged(&mut starts, health("unknown", "up", answers())),
            "it was well before"
        );
    }

    #[test]
    fn failure_at_a_start_is_logged_once() {
        let mut starts = Starts::default();
        let lifecycle = json!({"code": "lifecycle", "of": "failed"});
        assert!(!is_logged(&mut starts, health("unknown", "down", lifecycle)));
        assert!(is_logged(&mut starts, moved("starting", "failed")));
        assert!(is_logged(&mut starts, moved("starting", "running")));
        assert!(is_logged(
            &mut starts,
            health("unknown", "down", json!({"code": "says_down"}))
        ));
        assert!(is_logged(
            &mut starts,
            health("unknown", "up", json!({"code": "answers"}))
        ));
    }
}
