//! The end of the host: instances end within a time limit, and each before those that it requires.

use super::super::departures::{Departure, Departures};
use super::super::requests::Request;
use super::super::stage::{Gone, Input};
use super::Supervisor;
use extman_model::Verdict;
use extman_model::clock::{self, Monotonic};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The host is ending.
pub(super) struct Shutdown {
    reply: oneshot::Sender<Vec<(String, Verdict)>>,
    /// What became of each library: by instance and generation.
    verdicts: Vec<(String, u64, Verdict)>,
    departures: Departures,
    /// When its time limit passes.
    ends: Monotonic,
    /// Instances that have not ended.
    left: usize,
    /// Its time limit has passed.
    over: bool,
}

impl Shutdown {
    /// What became of a library.
    pub(super) fn unloaded(&mut self, name: &str, generation: u64, verdict: &Verdict) {
        self.verdicts.push((name.to_owned(), generation, verdict.clone()));
    }

    /// What became of it when it was tried again.
    pub(super) fn retried(&mut self, name: &str, generation: u64, verdict: &Verdict) {
        let mut verdicts = self.verdicts.iter_mut();
        if let Some(known) = verdicts.find(|(of, load, _)| of == name && *load == generation) {
            known.2 = verdict.clone();
        }
    }

    /// An instance has ended. `is_first`: this was not said of it before.
    pub(super) fn forgotten(&mut self, name: &str, is_first: bool) {
        self.left -= usize::from(is_first);
        self.departures.ended(name);
    }

    pub(super) fn has_ended(self) {
        let verdicts = self
            .verdicts
            .into_iter()
            .map(|(name, _, verdict)| (name, verdict));
        let _ = self.reply.send(verdicts.collect());
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
                self.dependencies.required_plugins(id),
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
        self.requests.make_later(budget, Request::ShutdownOver);
    }

    pub(super) fn shutdown_over(&mut self) {
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.over = true;
        }
    }

    /// Ends those instances that nobody requires any more.
    pub(super) fn follow_departures(&mut self) {
        while let Some(shutdown) = &mut self.shutdown
            && let Some(Departure { name, holds_others }) = shutdown.departures.next()
        {
            if holds_others {
                // Half of the time that is left, so that some is left for those that wait for it, however many hang.
                let time = shutdown.ends.since(clock::monotonic()) / 2;
                self.requests.make_later(time, Request::Overdue(name.clone()));
            }
            self.feed(&name, Input::Gone(Gone::Host));
        }
    }

    /// An instance takes too long to end.
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

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::ResidentReason;

    #[tokio::test]
    async fn two_generations_of_one_instance_are_told_each_as_it_ended() {
        let (reply, told) = oneshot::channel();
        let mut shutdown = Shutdown {
            reply,
            verdicts: Vec::new(),
            departures: Departures::default(),
            ends: Monotonic::from_nanos(1),
            left: 0,
            over: false,
        };
        let stays = Verdict::resident(ResidentReason::WedgedCall, "one is inside".to_owned());
        shutdown.unloaded("a", 1, &stays);
        shutdown.unloaded("a", 2, &stays);
        shutdown.retried("a", 2, &Verdict::Unmapped);
        shutdown.retried("a", 1, &Verdict::Unmapped);
        shutdown.has_ended();
        let told = told.await.unwrap();
        let expected = ("a".to_owned(), Verdict::Unmapped);
        assert_eq!(told, [expected.clone(), expected]);
    }
}
