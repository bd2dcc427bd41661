//! What happens, as lines of the log.

use extman_model::{Event, Health, Lifecycle, What};
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;

/// Writes events to the log, until all that came before `written` are there.
pub(super) async fn report(
    mut events: tokio::sync::broadcast::Receiver<Event>,
    written: Arc<tokio::sync::Notify>,
) {
    loop {
        let next = tokio::select! {
            biased;
            event = events.recv() => event,
            () = written.notified() => return,
        };
        match next {
            Ok(event) => log(&event.what),
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "events came faster than they could be logged")
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn log(what: &What) {
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
        What::Appeared { path } => {
            tracing::info!(path = %path.display(), "the plugin directory is there now")
        }
        What::Missing(missing) => {
            tracing::warn!(plugin = missing.name, "{}", missing.reason);
        }
        What::Refused(refused) => {
            tracing::warn!(path = %refused.path.display(), code = refused.code, "refused: {}", refused.reason);
        }
        What::Vanished { path } => tracing::info!(path = %path.display(), "gone"),
        What::Moved {
            name,
            from,
            to,
            cause,
        } => match to {
            Lifecycle::Failed | Lifecycle::Quarantined | Lifecycle::Wedged => {
                let cause = cause.as_deref().unwrap_or("no cause was told");
                tracing::error!(plugin = name, from = from.as_str(), "{}: {cause}", to.as_str());
            }
            _ => tracing::info!(plugin = name, from = from.as_str(), cause, "{}", to.as_str()),
        },
        What::MovedMany {
            from,
            to,
            count,
            names,
        } => {
            let names = names.join(", ");
            tracing::info!(count, from = from.as_str(), "{}: among them {names}", to.as_str());
        }
        What::HealthMany {
            from,
            to,
            count,
            names,
        } => {
            let (from, to, names) = (from.as_str(), to.as_str(), names.join(", "));
            tracing::info!(count, "{from} → {to}: among them {names}");
        }
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
        } if verdict.is_unmapped() => {
            tracing::info!(plugin = name, generation, "unloaded: {verdict}");
        }
        What::Unloaded {
            name,
            generation,
            verdict,
        } => {
            tracing::warn!(plugin = name, generation, "unloaded: {verdict}");
        }
        What::LaneLost { name, phase, ran_ms } => {
            tracing::error!(
                plugin = name,
                phase,
                ran_ms,
                "a call does not return; its lane is given up"
            );
        }
        What::LateReturn { name, phase, ran_ms } => {
            tracing::warn!(
                plugin = name,
                phase,
                ran_ms,
                "a call that was given up has returned"
            );
        }
        What::Health {
            name,
            from,
            to,
            cause,
            flapping,
            text,
        } => {
            let text = text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
            let flapping = if *flapping { " (flapping)" } else { "" };
            let well = matches!(to, Health::Up | Health::Unknown) && flapping.is_empty();
            let (from, to) = (from.as_str(), to.as_str());
            if well {
                tracing::info!(plugin = name, "{from} → {to}: {cause}{text}");
            } else {
                tracing::warn!(plugin = name, "{from} → {to}{flapping}: {cause}{text}");
            }
        }
        What::Told { name, health, text } => {
            let text = text.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
            tracing::info!(plugin = name, "says of itself: {}{text}", health.as_str());
        }
        // Logged where it is found.
        What::Stalled { .. } => {}
        // Logged where they come from.
        What::Logged { .. } => {}
    }
}
