//! Libraries that are unloaded, and resident ones: those that stay in memory for now and are tried again.

use super::super::requests::Request;
use super::super::residents::Owner;
use super::super::stop::{self, Complaint, PendingUnload, Stopped, Unload};
use super::Supervisor;
use crate::instance::CallTotals;
use extman_intake::VerifiedPlugin;
use extman_model::{ResidentReason, Verdict, What};
use std::time::Duration;

/// How often resident libraries are tried again. One whose lost call returns is tried at once.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

impl Supervisor {
    /// A library has been unloaded, or could not be.
    pub(super) fn unloaded(&mut self, name: &str, plugin: &VerifiedPlugin, unload: Unload) {
        let (generation, verdict) = (unload.generation, unload.verdict.clone());
        self.report_unload(name, generation, &verdict);
        if !verdict.is_unmapped() {
            let manifest = &plugin.manifest().plugin;
            let (id, version) = (manifest.id.clone(), manifest.version.clone());
            let name = name.to_owned();
            self.residents
                .add(Owner { name, generation }, id, version, unload);
            self.residents_changed();
        }
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.unloaded(name, generation, &verdict);
        }
        if let Some(record) = self.instances.get_mut(name) {
            record.unload = Some((generation, verdict));
        }
    }

    /// A call that held a generation's library has returned: its unload is tried again at once.
    pub(super) fn retry_generation(&mut self, generation: u64) {
        for (owner, pending) in self.residents.take_of(generation) {
            self.spawn_retry(owner, *pending);
        }
    }

    /// Tries again those resident libraries whose turn it is.
    pub(super) fn retry_unloads(&mut self) {
        self.retry_is_scheduled = false;
        for (owner, pending) in self.residents.take_due() {
            self.spawn_retry(owner, *pending);
        }
        self.schedule_retry();
    }

    /// An unload was tried again.
    pub(super) fn unload_retried(&mut self, name: &str, stopped: Stopped) {
        let Stopped {
            generation,
            complaints,
            unload,
            ..
        } = stopped;
        self.report_complaints(name, generation, &complaints);
        let verdict = unload.as_ref().map(|unload| unload.verdict.clone());
        let owner = Owner {
            name: name.to_owned(),
            generation,
        };
        let Some((before, retry)) = self.residents.retried(&owner, unload) else {
            return;
        };
        if let Some(verdict) = &verdict
            && reason(verdict) != reason(&before)
        {
            self.report_unload(name, generation, verdict);
        }
        if let (Some(verdict), Some(shutdown)) = (&verdict, &mut self.shutdown) {
            shutdown.retried(name, generation, verdict);
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
        if let Some(pending) = retry {
            self.spawn_retry(owner, *pending);
        }
    }

    /// Publishes what went wrong while an instance was stopped.
    pub(super) fn report_complaints(&mut self, name: &str, generation: u64, complaints: &[Complaint]) {
        let failed = complaints.iter().map(|complaint| What::StepFailed {
            name: name.to_owned(),
            generation,
            step: complaint.step.to_owned(),
            text: complaint.text.clone(),
        });
        self.batch.events.extend(failed);
    }

    /// The totals of an instance's calls, whether it is there or gone.
    pub(super) fn totals_of(&mut self, name: &str) -> Option<&mut CallTotals> {
        match self.instances.get_mut(name) {
            Some(record) => Some(&mut record.totals),
            None => self.gone_totals.get_mut(name),
        }
    }

    fn report_unload(&mut self, name: &str, generation: u64, verdict: &Verdict) {
        self.batch.events.push(What::Unloaded {
            name: name.to_owned(),
            generation,
            verdict: verdict.clone(),
        });
    }

    fn residents_changed(&mut self) {
        self.registry.publish_residents(self.residents.views());
        self.schedule_retry();
    }

    fn schedule_retry(&mut self) {
        if self.retry_is_scheduled || !self.residents.any_to_retry() {
            return;
        }
        self.retry_is_scheduled = true;
        self.requests.make_later(RETRY_INTERVAL, Request::RetryUnloads);
    }

    fn spawn_retry(&self, owner: Owner, pending: PendingUnload) {
        let (services, requests) = (self.services.clone(), self.requests.clone());
        tokio::spawn(async move {
            let stopped = stop::free(&services, pending).await;
            requests.make(Request::UnloadRetried(owner.name, Box::new(stopped)));
        });
    }
}

/// Why a library stays. Not the text, which changes from try to try.
fn reason(verdict: &Verdict) -> Option<ResidentReason> {
    match verdict {
        Verdict::Unmapped => None,
        Verdict::Resident { reason, .. } => Some(*reason),
    }
}
