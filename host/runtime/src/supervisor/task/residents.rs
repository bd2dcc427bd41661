//! Libraries that are unloaded, and those that stay in memory for now.

use super::super::ending::{self, Complaint, Ended, Remains, Unload};
use super::super::leftovers::Owner;
use super::super::requests::Request;
use super::Supervisor;
use crate::instance::Tally;
use extman_intake::VerifiedPlugin;
use extman_model::{ResidentReason, Verdict, What};
use std::time::Duration;

/// How often libraries are tried that are in memory after their unload. What comes back late is tried at once.
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
            self.leftovers
                .put(Owner { name, generation }, id, version, unload);
            self.residents_changed();
        }
        if self.closing.is_some() {
            self.verdicts.push((name.to_owned(), verdict.clone()));
        }
        if let Some(record) = self.records.get_mut(name) {
            record.unload = Some((generation, verdict));
            record.generation_min = record.generation_min.max(generation + 1);
        }
    }

    /// Tries what is left of a generation, as something of it has come back.
    pub(super) fn try_again(&mut self, generation: u64) {
        for (owner, remains) in self.leftovers.of(generation) {
            self.spawn_try(owner, *remains);
        }
    }

    /// Tries what has not been tried for a while.
    pub(super) fn look_again(&mut self) {
        self.looking = false;
        for (owner, remains) in self.leftovers.due() {
            self.spawn_try(owner, *remains);
        }
        self.look_later();
    }

    /// One of them was tried.
    pub(super) fn tried(&mut self, name: String, generation: u64, ended: Ended) {
        self.tell_complaints(&name, generation, &ended.complaints);
        let verdict = ended.unload.as_ref().map(|unload| unload.verdict.clone());
        let owner = Owner { name, generation };
        let Some((before, again)) = self.leftovers.back(&owner, ended.unload) else {
            return;
        };
        let name = &*owner.name;
        if let Some(verdict) = &verdict
            && reason(verdict) != reason(&before)
        {
            self.tell_unload(name, generation, verdict);
        }
        if let Some(verdict) = &verdict
            && let Some(told) = self.verdicts.iter_mut().find(|(of, _)| of == name)
        {
            told.1 = verdict.clone();
        }
        if let Some(record) = self.records.get_mut(name)
            && record.unload.as_ref().is_some_and(|(of, _)| *of == generation)
        {
            record.unload = verdict.map(|verdict| (generation, verdict));
            if record.running.is_none() && !record.busy {
                for complaint in &ended.complaints {
                    record.add_to_cause(&complaint.to_string());
                }
            }
        }
        self.residents_changed();
        if let Some(remains) = again {
            self.spawn_try(owner, *remains);
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
        self.told.extend(told);
    }

    /// The calls of an instance, whether it is there or gone.
    pub(super) fn tally_of(&mut self, name: &str) -> Option<&mut Tally> {
        match self.records.get_mut(name) {
            Some(record) => Some(&mut record.tally),
            None => self.tallies.get_mut(name),
        }
    }

    fn tell_unload(&mut self, name: &str, generation: u64, verdict: &Verdict) {
        self.told.push(What::Unloaded {
            name: name.to_owned(),
            generation,
            verdict: verdict.clone(),
        });
    }

    fn residents_changed(&mut self) {
        self.registry.publish_residents(self.leftovers.views());
        self.look_later();
    }

    fn look_later(&mut self) {
        if self.looking || !self.leftovers.any_to_try() {
            return;
        }
        self.looking = true;
        let requests = self.requests.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LOOK_AGAIN).await;
            requests.make(Request::LookAgain);
        });
    }

    fn spawn_try(&self, owner: Owner, remains: Remains) {
        let (means, requests) = (self.means.clone(), self.requests.clone());
        tokio::spawn(async move {
            let ended = ending::end(&means, remains).await;
            requests.make(Request::Tried(owner.name, owner.generation, ended));
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
