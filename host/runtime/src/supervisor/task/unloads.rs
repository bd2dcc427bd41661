//! Libraries that are unloaded, and those that stay in memory for now.

use super::super::requests::Request;
use super::super::residents::Owner;
use super::super::stop::{self, Complaint, PendingUnload, Stopped, Unload};
use super::Supervisor;
use crate::instance::CallTotals;
use extman_intake::VerifiedPlugin;
use extman_model::{ResidentReason, Verdict, What};
use std::time::Duration;

/// How often resident libraries are tried again. What comes back late is tried at once.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl Supervisor {
    /// A library has been unloaded, or could not be.
    pub(super) fn unloaded(&mut self, name: &str, plugin: &VerifiedPlugin, unload: Unload) {
        let (generation, verdict) = (unload.generation, unload.verdict.clone());
        self.tell_unload(name, generation, &verdict);
        if !verdict.is_unmapped() {
            let manifest = &plugin.manifest().plugin;
            let (id, version) = (manifest.id.clone(), manifest.version.clone());
            let name = name.to_owned();
            self.residents
                .put(Owner { name, generation }, id, version, unload);
            self.residents_changed();
        }
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.verdicts.push((name.to_owned(), verdict.clone()));
        }
        if let Some(record) = self.instances.get_mut(name) {
            record.unload = Some((generation, verdict));
        }
    }

    /// Tries what is left of a generation, as something of it has come back.
    pub(super) fn try_again(&mut self, generation: u64) {
        for (owner, pending) in self.residents.of(generation) {
            self.spawn_try(owner, *pending);
        }
    }

    /// Tries what has not been tried for a while.
    pub(super) fn look_again(&mut self) {
        self.looking = false;
        for (owner, pending) in self.residents.due() {
            self.spawn_try(owner, *pending);
        }
        self.look_later();
    }

    /// One of them was tried.
    pub(super) fn tried(&mut self, name: &str, stopped: Stopped) {
        let Stopped {
            generation,
            complaints,
            unload,
            ..
        } = stopped;
        self.tell_complaints(name, generation, &complaints);
        let verdict = unload.as_ref().map(|unload| unload.verdict.clone());
        let owner = Owner {
            name: name.to_owned(),
            generation,
        };
        let Some((before, again)) = self.residents.back(&owner, unload) else {
            return;
        };
        if let Some(verdict) = &verdict
            && reason(verdict) != reason(&before)
        {
            self.tell_unload(name, generation, verdict);
        }
        if let (Some(verdict), Some(shutdown)) = (&verdict, &mut self.shutdown)
            && let Some(told) = shutdown.verdicts.iter_mut().find(|(of, _)| of == name)
        {
            told.1 = verdict.clone();
        }
        if let Some(record) = self.instances.get_mut(name)
            && record.unload.as_ref().is_some_and(|(of, _)| *of == generation)
        {
            record.unload = verdict.map(|verdict| (generation, verdict));
            for complaint in &complaints {
                record.actor.note(&complaint.to_string());
            }
            self.batch.changed.insert(record.name.clone());
        }
        self.residents_changed();
        if let Some(pending) = again {
            self.spawn_try(owner, *pending);
        }
    }

    /// What went wrong while an instance was stopped.
    pub(super) fn tell_complaints(&mut self, name: &str, generation: u64, complaints: &[Complaint]) {
        let told = complaints.iter().map(|complaint| What::StepFailed {
            name: name.to_owned(),
            generation,
            step: complaint.step.to_owned(),
            text: complaint.text.clone(),
        });
        self.batch.events.extend(told);
    }

    /// The calls of an instance, whether it is there or gone.
    pub(super) fn tally_of(&mut self, name: &str) -> Option<&mut CallTotals> {
        match self.instances.get_mut(name) {
            Some(record) => Some(&mut record.tally),
            None => self.tallies.get_mut(name),
        }
    }

    fn tell_unload(&mut self, name: &str, generation: u64, verdict: &Verdict) {
        self.batch.events.push(What::Unloaded {
            name: name.to_owned(),
            generation,
            verdict: verdict.clone(),
        });
    }

    fn residents_changed(&mut self) {
        self.registry.publish_residents(self.residents.views());
        self.look_later();
    }

    fn look_later(&mut self) {
        if self.looking || !self.residents.any_to_try() {
            return;
        }
        self.looking = true;
        let requests = self.requests.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LOOK_AGAIN).await;
            requests.make(Request::LookAgain);
        });
    }

    fn spawn_try(&self, owner: Owner, pending: PendingUnload) {
        let (services, requests) = (self.services.clone(), self.requests.clone());
        tokio::spawn(async move {
            let stopped = stop::free(&services, pending).await;
            requests.make(Request::Tried(owner.name, Box::new(stopped)));
        });
    }
}

/// Why a library stays; the culprit's text changes with time.
fn reason(verdict: &Verdict) -> Option<ResidentReason> {
    match verdict {
        Verdict::Unmapped => None,
        Verdict::Resident { reason, .. } => Some(*reason),
    }
}
