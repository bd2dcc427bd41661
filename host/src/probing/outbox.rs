//! What the engine publishes: gathered under its lock, and published outside of it.

use super::batch::Batch;
use super::meter::Records;
use super::reported::ReportChange;
use super::target::Target;
use super::turns::Turn;
use extman_model::record::{CheckRow, Record};
use extman_model::{CheckOutcome, CheckView, ErrorKind, Judgement};
use extman_runtime::lanes::Pool;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// An instance is held to be something else.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthChange {
    /// The instance.
    pub name: Arc<str>,
    /// What it was held to be.
    pub from: Judgement,
    /// What it is held to be.
    pub to: Judgement,
    /// The plugin's own words, or its error's.
    pub text: Option<String>,
    /// Where it changes too often to be believed.
    pub flapping: Option<FlappingChange>,
}

/// An instance changes too often to be believed: people are told when that begins and when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlappingChange {
    /// It begins.
    Begins {
        /// Weighted share of changes among its last states, in thousandths.
        permille: u16,
    },
    /// It changes on.
    GoesOn,
    /// It has been steady for a while.
    Ends {
        /// Changes while it flapped.
        changes: u32,
        /// For how long it flapped.
        lasted: Duration,
    },
}

/// Where the engine publishes. Called on lanes and by what keeps the time, so it must not wait.
pub trait EventSink: Send + Sync + 'static {
    /// An instance is held to be something else.
    fn changed(&self, change: HealthChange);

    /// A named part or the connection of an instance is otherwise than before.
    fn reported(&self, name: &str, change: ReportChange) {
        let _ = (name, change);
    }

    /// An instance panicked while it was asked: it refuses every call from now on.
    fn panicked(&self, name: &str, generation: u64, text: String);

    /// The host itself did not run for so long.
    fn stalled(&self, stall: Duration);

    /// To be written down.
    fn record(&self, records: &mut Vec<Record>);

    /// Whether single results are written down.
    fn keeps_results(&self) -> bool;
}

/// A lane of a library is to go through its due instances.
pub(super) struct Plan {
    pub pool: Pool,
    pub batch: Arc<Batch>,
}

/// What is to be published.
#[derive(Default)]
pub(super) struct Outbox {
    pub changes: Vec<HealthChange>,
    pub reports: Vec<(Arc<str>, ReportChange)>,
    pub panicked: Vec<(Arc<str>, u64, String)>,
    pub records: Records,
    pub answers: Vec<(oneshot::Sender<CheckView>, CheckView)>,
    pub plans: Vec<Plan>,
    pub stalled: Option<Duration>,
    /// To be let go of without the engine's lock: each may be the last that holds its instance.
    gone: Vec<Arc<dyn Target>>,
    keeps_results: bool,
}

impl Outbox {
    pub(super) fn for_sink(sink: &dyn EventSink) -> Self {
        Outbox {
            keeps_results: sink.keeps_results(),
            ..Outbox::default()
        }
    }

    /// A result is written down, if results are.
    pub(super) fn record_result(&mut self, row: CheckRow) {
        if self.keeps_results {
            self.records.ready.push(Record::Check(Box::new(row)));
        }
    }

    /// Whoever panicked while it was asked is told of.
    pub(super) fn note_panic(&mut self, name: &Arc<str>, generation: u64, outcome: &CheckOutcome) {
        if let CheckOutcome::Failed { kind, text } = outcome
            && *kind == ErrorKind::Panicked
        {
            self.panicked.push((name.clone(), generation, text.clone()));
        }
    }

    /// Drops it when this is published.
    pub(super) fn let_go_of(&mut self, target: Option<Arc<dyn Target>>) {
        self.gone.extend(target);
    }

    /// Whether there is anything of which the order counts.
    pub(super) fn has_news(&self) -> bool {
        let Outbox {
            changes,
            reports,
            panicked,
            records,
            stalled,
            ..
        } = self;
        let is_empty = changes.is_empty() && reports.is_empty() && panicked.is_empty();
        stalled.is_some() || !is_empty || !records.ready.is_empty()
    }

    /// Publishes it all but for `plans` and for what is to be measured. `turn`: nobody else publishes what was decided later.
    pub(super) fn publish(&mut self, sink: &dyn EventSink, turn: Option<Turn<'_>>) {
        if let Some(stall) = self.stalled.take() {
            sink.stalled(stall);
        }
        self.changes.drain(..).for_each(|change| sink.changed(change));
        for (name, change) in self.reports.drain(..) {
            sink.reported(&name, change);
        }
        for (name, generation, text) in self.panicked.drain(..) {
            sink.panicked(&name, generation, text);
        }
        if !self.records.ready.is_empty() {
            sink.record(&mut self.records.ready);
            self.records.ready.clear();
        }
        drop(turn);
        self.gone.clear();
        for (waiter, view) in self.answers.drain(..) {
            let _ = waiter.send(view);
        }
    }
}
