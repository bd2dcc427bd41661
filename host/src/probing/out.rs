//! What the engine has to tell, gathered under the lock and told outside of it.

use super::meter::Records;
use super::target::Target;
use super::visit::Visit;
use extman_model::clock::Monotonic;
use extman_model::record::Record;
use extman_model::{CheckView, Judgement};
use extman_runtime::lanes::Pool;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// An instance is held to be something else.
#[derive(Debug, Clone, PartialEq)]
pub struct Announced {
    /// The instance.
    pub name: Arc<str>,
    /// What it was held to be.
    pub from: Judgement,
    /// What it is held to be.
    pub to: Judgement,
    /// Since when it has had that word.
    pub since: Monotonic,
    /// The plugin's own words, or its error's.
    pub text: Option<String>,
}

/// Hears what the engine has to tell. Called on lanes and by what keeps the time, so it must not wait.
pub trait Audience: Send + Sync + 'static {
    /// An instance is held to be something else.
    fn announced(&self, announced: Announced);

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
    pub visit: Arc<Visit>,
}

/// What was gathered.
#[derive(Default)]
pub(super) struct Out {
    pub announced: Vec<Announced>,
    pub panicked: Vec<(Arc<str>, u64, String)>,
    pub records: Records,
    pub answers: Vec<(oneshot::Sender<CheckView>, CheckView)>,
    pub plans: Vec<Plan>,
    pub stalled: Option<Duration>,
    /// To be let go of without the engine's lock: each may be the last that holds its instance.
    gone: Vec<Arc<dyn Target>>,
    pub keeps_results: bool,
}

impl Out {
    pub(super) fn for_audience(audience: &dyn Audience) -> Self {
        Out {
            keeps_results: audience.keeps_results(),
            ..Out::default()
        }
    }

    /// Whoever told of this lets go of it without the lock.
    pub(super) fn let_go_of(&mut self, target: Option<Arc<dyn Target>>) {
        self.gone.extend(target);
    }

    /// Tells it all but for `plans` and for what is to be measured.
    pub(super) fn tell(&mut self, audience: &dyn Audience) {
        if let Some(stall) = self.stalled.take() {
            audience.stalled(stall);
        }
        self.announced.drain(..).for_each(|told| audience.announced(told));
        for (name, generation, text) in self.panicked.drain(..) {
            audience.panicked(&name, generation, text);
        }
        if !self.records.ready.is_empty() {
            audience.record(&mut self.records.ready);
            self.records.ready.clear();
        }
        self.gone.clear();
        for (waiter, view) in self.answers.drain(..) {
            let _ = waiter.send(view);
        }
    }
}
