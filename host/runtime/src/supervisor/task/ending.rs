//! The end of the host: instances end, whoever requires others before those, within the time that there is.

use super::super::departures::{Departure, Departures};
use super::super::requests::Request;
use super::super::stage::{Gone, Input};
use super::Supervisor;
use extman_model::Verdict;
use extman_model::clock::{self, Monotonic};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The host ends.
pub(super) struct Shutdown {
    reply: oneshot::Sender<Vec<(String, Verdict)>>,
    pub(super) verdicts: Vec<(String, Verdict)>,
    departures: Departures,
    /// When the time for it is over.
    ends: Monotonic,
    /// Instances that are not forgotten yet.
    left: usize,
    /// The time for it is over.
    over: bool,
}

impl Shutdown {
    /// An instance has ended; `new`: that is not known yet.
    pub(super) fn forgotten(&mut self, name: &str, new: bool) {
        self.left -= usize::from(new);
        self.departures.ended(name);
    }

    pub(super) fn has_ended(self) {
        let _ = self.reply.send(self.verdicts);
    }
}

impl Supervisor {
    pub(super) fn begin_shutdown(
        &mut self,
        reply: oneshot::Sender<Vec<(String, Verdict)>>,
        budget: Duration,
    ) {
        let instances = self.instances.values().map(|record| {
            let id = record.actor.build().plugin.manifest().plugin.id.as_str();
            (
                record.name.clone(),
                Arc::from(id),
                self.dependencies.required_by_its_manifest(id),
            )
        });
        self.shutdown = Some(Shutdown {
            reply,
            verdicts: Vec::new(),
            departures: Departures::new(instances),
            ends: clock::monotonic().after(budget),
            left: self.instances.len(),
            over: false,
        });
        self.services.vetting.end();
        let requests = self.requests.clone();
        tokio::spawn(async move {
            tokio::time::sleep(budget).await;
            requests.make(Request::ShutdownOver);
        });
    }

    pub(super) fn shutdown_over(&mut self) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.over = true;
        }
    }

    /// Tells those to end that nobody requires any more.
    pub(super) fn follow_departures(&mut self) {
        while let Some(shutdown) = &mut self.shutdown
            && let Some(Departure { name, holds_others }) = shutdown.departures.next()
        {
            if holds_others {
                // Half of what is left, so that something is left for whoever is held, however many hang.
                let patience = shutdown.ends.since(clock::monotonic()) / 2;
                let (requests, name) = (self.requests.clone(), name.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(patience).await;
                    requests.make(Request::Overdue(name));
                });
            }
            self.feed(&name, Input::Gone(Gone::Host));
        }
    }

    /// An instance has had its time.
    pub(super) fn overdue(&mut self, name: &str) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.departures.ended(name);
        }
    }

    pub(super) fn has_shut_down(&self) -> bool {
        let ended = |shutdown: &Shutdown| shutdown.over || shutdown.left == 0;
        self.shutdown.as_ref().is_some_and(ended)
    }
}
