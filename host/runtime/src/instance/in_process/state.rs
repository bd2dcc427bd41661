//! Steps with content: a new configuration, and the state that one instance leaves for the next.

use super::{InProcess, in_step, settle, urgency};
use crate::lanes::Phase;
use crate::loader::{OutputLimits, Slot, Snapshot};
use crate::ticket::{Ticket, on_lane};
use extman_model::CallError;

impl InProcess {
    pub(in crate::instance) async fn configure(&self, config: &str) -> Result<(), CallError> {
        let (bound, config) = (self.bound.clone(), config.to_owned());
        let work = self.work(Phase::Configure, self.settings.start_budget);
        let deadline = work.deadline;
        let run = move |slot: &Slot, ticket: &Ticket| {
            in_step(slot, ticket, deadline, |call| bound.configure(&config, call))
        };
        let returned = on_lane(&self.pool, work, urgency(self.threads), run).await;
        settle(returned, Phase::Configure)?
    }

    pub(in crate::instance) async fn snapshot(&self) -> Result<Snapshot, CallError> {
        let bound = self.bound.clone();
        let work = self.work(Phase::State, self.settings.stop_budget);
        let deadline = work.deadline;
        let run = move |slot: &Slot, ticket: &Ticket| {
            let call = slot.open(Some(deadline), None, OutputLimits::default());
            ticket.opened(call);
            let taken = bound.snapshot(call);
            let state = slot.close().body;
            taken.map(|format| Snapshot { format, state })
        };
        let returned = on_lane(&self.pool, work, urgency(self.threads), run).await;
        settle(returned, Phase::State)?
    }

    pub(in crate::instance) async fn restore(
        &self,
        from: Snapshot,
        plugin_version: &str,
    ) -> Result<(), CallError> {
        let (bound, version) = (self.bound.clone(), plugin_version.to_owned());
        let work = self.work(Phase::State, self.settings.start_budget);
        let deadline = work.deadline;
        let run = move |slot: &Slot, ticket: &Ticket| {
            in_step(slot, ticket, deadline, |call| {
                bound.restore(&from, &version, call)
            })
        };
        let returned = on_lane(&self.pool, work, urgency(self.threads), run).await;
        settle(returned, Phase::State)?
    }
}
