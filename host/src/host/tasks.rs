//! What goes on beside the supervisor: looking at directories, and asking instances how they are.

use crate::clock;
use crate::config::ProbeConfig;
use crate::intake::{IntakeConfig, Watch};
use crate::model::{CheckKind, CheckOutcome, CheckView, ErrorKind, What};
use crate::runtime::arrivals::Arrivals;
use crate::runtime::registry::{Entry, Registry};
use crate::runtime::supervisor::{Events, Request, Requests};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// A look without a reported change: behind links and on network file systems, changes are not reported.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);

/// Looks at the plugin directories whenever something has changed there.
pub(super) async fn look(
    mut arrivals: Arrivals,
    config: IntakeConfig,
    requests: Requests,
    look: Arc<Notify>,
    ending: Arc<AtomicBool>,
) {
    let changed = look.clone();
    let watch = Watch::start(&config.discovery.dirs, &config.watch, move || {
        changed.notify_one()
    });
    if let Err(error) = &watch {
        tracing::warn!(%error, "directories can't be watched; they are looked at every {LOOK_ANYWAY:?}");
    }
    loop {
        if ending.load(Ordering::Acquire) {
            return;
        }
        // It copies and hashes files, so not on one of the async runtime's own threads.
        let looked = tokio::task::spawn_blocking(move || {
            let arrived = arrivals.look(clock::wall());
            (arrivals, arrived)
        });
        let Ok((back, arrived)) = looked.await else { return };
        arrivals = back;
        let pause = if arrived.pending {
            config.discovery.settle()
        } else {
            LOOK_ANYWAY
        };
        if !requests.make(Request::Arrived(Box::new(arrived))) {
            return;
        }
        let _ = tokio::time::timeout(pause, look.notified()).await;
    }
}

/// Asks every running instance how it is, at an interval.
pub(super) async fn probe(
    registry: Arc<Registry>,
    config: ProbeConfig,
    events: Events,
    requests: Requests,
    ending: Arc<AtomicBool>,
) {
    let timeout = Duration::from_millis(config.timeout_ms);
    let interval = Duration::from_millis(config.interval_ms);
    let mut asked: std::collections::HashMap<String, (u64, clock::Monotonic)> = Default::default();
    // New instances are asked soon, all others at their interval.
    let tick = interval.min(Duration::from_millis(250));
    while !ending.load(Ordering::Acquire) {
        let snapshot = registry.snapshot();
        let now = clock::monotonic();
        for entry in snapshot.all() {
            let Some((_, generation)) = &entry.serving else {
                continue;
            };
            let last = asked.get(&entry.name).filter(|(of, _)| of == generation);
            if last.is_none_or(|(_, at)| now.since(*at) >= interval) {
                asked.insert(entry.name.clone(), (*generation, now));
                tokio::spawn(ask(entry.clone(), timeout, events.clone(), requests.clone()));
            }
        }
        asked.retain(|name, _| snapshot.get(name).is_some());
        tokio::time::sleep(tick).await;
    }
}

async fn ask(entry: Arc<Entry>, timeout: Duration, events: Events, requests: Requests) {
    let Some((instance, generation)) = &entry.serving else {
        return;
    };
    let kind = CheckKind::Readiness;
    let (outcome, took) = instance.check(kind, timeout).await;
    // Whoever panicked in a check refuses every call from then on.
    if let CheckOutcome::Failed {
        kind: ErrorKind::Panicked,
        text,
    } = &outcome
    {
        requests.make(Request::Panicked {
            name: entry.name.clone(),
            generation: *generation,
            text: text.clone(),
        });
    }
    let view = CheckView {
        kind,
        at_unix_ms: clock::unix_ms(clock::wall()),
        outcome,
        took_ns: took.map(|took| took.as_nanos() as u64),
    };
    let (word, text) = said(&view);
    let before = entry
        .check
        .swap(Some(Arc::new(view)))
        .map(|before| said(&before).0);
    if before.as_ref() != Some(&word) {
        events.tell(What::Health {
            name: entry.name.clone(),
            word,
            text,
        });
    }
}

/// A check in a word, and why.
fn said(view: &CheckView) -> (String, Option<String>) {
    match &view.outcome {
        CheckOutcome::Answered { report } => {
            let word = view.health().map_or("answers", |health| health.as_str());
            (
                word.to_owned(),
                report.as_ref().and_then(|report| report.text.clone()),
            )
        }
        CheckOutcome::Busy => ("busy".to_owned(), None),
        CheckOutcome::TimedOut => ("no answer".to_owned(), None),
        CheckOutcome::Failed { kind, text } => ("failed".to_owned(), Some(kind.before(text))),
    }
}
