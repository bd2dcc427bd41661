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
    match what {
        What::Found { .. }
        | What::Refused(_)
        | What::Vanished { .. }
        | What::Appeared { .. }
        | What::Missing(_) => log_file(what),
        What::Moved { .. }
        | What::MovedMany { .. }
        | What::Replaced { .. }
        | What::StepFailed { .. }
        | What::Unloaded { .. } => log_lifecycle(what),
        What::Health { .. } | What::HealthMany { .. } | What::HealthPushed { .. } => log_health(what),
        What::Flapping { .. } | What::PartChanged { .. } | What::ConnectionChanged { .. } => log_report(what),
        What::Maintenance { name, .. } => tracing::info!(plugin = name, "{what}"),
        What::HostTrouble { begins: true, .. } => tracing::error!("{what}"),
        What::HostTrouble { .. } => tracing::info!("{what}"),
        What::LaneLost { name, phase, ran_ms } => tracing::error!(
            plugin = name,
            phase,
            ran_ms,
            "a call does not return; its lane is given up"
        ),
        What::LateReturn { name, phase, ran_ms } => tracing::warn!(
            plugin = name,
            phase,
            ran_ms,
            "a call that was given up has returned"
        ),
        What::ProcessChanged(change) => {
            tracing::warn!(plugin = change.by.join(", "), "it {change}");
        }
        // Logged where they come from.
        What::Stalled { .. } | What::Logged { .. } => {}
    }
}

/// Files and directories that come, go, or are refused.
fn log_file(what: &What) {
    match what {
        What::Found {
            id,
            version,
            path,
            digest,
        } => {
            tracing::info!(plugin = id, %version, path = %path.display(), digest = digest.short(), "found");
        }
        What::Refused(refused) if refused.code.starts_with("directory-") => {
            tracing::warn!(path = %refused.path.display(), "the plugin directory {}", refused.reason);
        }
        What::Refused(refused) => {
            tracing::warn!(path = %refused.path.display(), code = refused.code, "refused: {}", refused.reason);
        }
        What::Appeared { path } => {
            tracing::info!(path = %path.display(), "the plugin directory is there now");
        }
        What::Missing(missing) => tracing::warn!(plugin = missing.name, "{}", missing.reason),
        What::Vanished { path } => tracing::info!(path = %path.display(), "gone"),
        _ => {}
    }
}

/// Instances that start, stop, fail, or serve with another library than before.
fn log_lifecycle(what: &What) {
    match what {
        What::Moved {
            name,
            from,
            to,
            cause,
        } => match to {
            Lifecycle::Failed | Lifecycle::Backoff | Lifecycle::Quarantined | Lifecycle::Wedged => {
                let cause = cause.as_deref().unwrap_or("no cause was given");
                tracing::error!(plugin = name, from = from.as_str(), "{}: {cause}", to.as_str());
            }
            _ => tracing::info!(plugin = name, from = from.as_str(), cause, "{}", to.as_str()),
        },
        What::MovedMany {
            from,
            to,
            count,
            names,
        } => log_many(from.as_str(), to.as_str(), *count, names),
        What::Replaced { name, from, to } => tracing::info!(plugin = name, %from, %to, "replaced"),
        What::StepFailed {
            name,
            generation,
            step,
            text,
        } => tracing::warn!(plugin = name, generation, step, "stopping goes on: {text}"),
        What::Unloaded {
            name,
            generation,
            verdict,
        } => match verdict.is_unmapped() {
            true => tracing::info!(plugin = name, generation, "unloaded: {verdict}"),
            false => tracing::warn!(plugin = name, generation, "unloaded: {verdict}"),
        },
        _ => {}
    }
}

/// Instances that flap, and named parts and connections that are otherwise than before.
fn log_report(what: &What) {
    let is_well = match what {
        What::Flapping { begins, to, .. } => !begins && *to == Health::Up,
        What::PartChanged { to, .. } => *to == Health::Up,
        What::ConnectionChanged { to, .. } => *to != Connection::Broken,
        _ => return,
    };
    let plugin = what.instance();
    match is_well {
        true => tracing::info!(plugin, "{what}"),
        false => tracing::warn!(plugin, "{what}"),
    }
}

/// Verdicts that change, and what plugins say of themselves.
fn log_health(what: &What) {
    match what {
        What::Health {
            name, to, flapping, ..
        } => match matches!(to, Health::Up | Health::Unknown) && !flapping {
            true => tracing::info!(plugin = name, "{what}"),
            false => tracing::warn!(plugin = name, "{what}"),
        },
        What::HealthMany {
            from,
            to,
            count,
            names,
        } => log_many(from.as_str(), to.as_str(), *count, names),
        What::HealthPushed { name, .. } => tracing::info!(plugin = name, "{what}"),
        _ => {}
    }
}

/// Changes of many instances in one line.
fn log_many(from: &str, to: &str, count: usize, names: &[String]) {
    tracing::info!(count, "{from} → {to}: among them {}", names.join(", "));
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
