//! Resident libraries: those that are still in memory after their unload, why, and when that is tried again. Pure: it counts rounds of retries and
//! reads no clock.

use super::stop::{PendingUnload, Unload};
use extman_model::{ResidentView, Verdict};
use semver::Version;
use std::collections::BTreeSet;

/// Most libraries that are remembered. Each takes memory, so that a host hardly gets so far.
const KEPT_MAX: usize = 1024;
/// Most rounds between two tries of one library.
const INTERVAL_MAX: u32 = 12;

/// All resident libraries, the oldest first.
#[derive(Default)]
pub(super) struct ResidentLibraries(Vec<ResidentLibrary>);

/// Whose a library was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    /// The instance that used it last.
    pub name: String,
    pub generation: u64,
}

struct ResidentLibrary {
    owner: Owner,
    id: String,
    version: Version,
    verdict: Verdict,
    /// What is tried again; `None` while that goes on, or if it can't help.
    pending: Option<Box<PendingUnload>>,
    is_retried: bool,
    /// A call that held it has returned while it was tried: it is tried once more.
    retry_at_once: bool,
    /// Rounds until the next try.
    rounds_left: u32,
    /// Rounds from the next try to the one after it, should it fail.
    interval: u32,
}

impl ResidentLibraries {
    /// Adds a library whose unload has failed.
    pub(super) fn add(&mut self, owner: Owner, id: String, version: Version, unload: Unload) {
        if self.0.len() >= KEPT_MAX {
            let forgotten = self.0.remove(0);
            tracing::warn!(
                plugin = forgotten.owner.name,
                generation = forgotten.owner.generation,
                "more than {KEPT_MAX} libraries stay in memory; this one is no longer listed, nor unloaded again"
            );
        }
        self.0.push(ResidentLibrary {
            owner,
            id,
            version,
            verdict: unload.verdict,
            pending: unload.left,
            is_retried: false,
            retry_at_once: false,
            rounds_left: 0,
            interval: 1,
        });
    }

    /// Begins a round: takes out what is to be tried in it.
    pub(super) fn take_due(&mut self) -> Vec<(Owner, Box<PendingUnload>)> {
        let due = |resident: &mut ResidentLibrary| {
            if resident.pending.is_none() || resident.rounds_left > 0 {
                resident.rounds_left = resident.rounds_left.saturating_sub(1);
                return None;
            }
            resident.take()
        };
        self.0.iter_mut().filter_map(due).collect()
    }

    /// A call that held a generation has returned: takes out what is to be tried for that.
    pub(super) fn take_of(&mut self, generation: u64) -> Vec<(Owner, Box<PendingUnload>)> {
        let mine = self
            .0
            .iter_mut()
            .filter(|resident| resident.owner.generation == generation);
        let taken = |resident: &mut ResidentLibrary| {
            resident.retry_at_once = resident.is_retried;
            resident.take()
        };
        mine.filter_map(taken).collect()
    }

    /// A try has ended with this; `None` if other instances use the library. Returns the verdict before, and what is to be tried at once.
    pub(super) fn retried(
        &mut self,
        owner: &Owner,
        unload: Option<Unload>,
    ) -> Option<(Verdict, Option<Box<PendingUnload>>)> {
        let at = self.0.iter().position(|resident| resident.owner == *owner)?;
        let Some(unload) = unload.filter(|unload| !unload.verdict.is_unmapped()) else {
            return Some((self.0.remove(at).verdict, None));
        };
        let resident = &mut self.0[at];
        resident.is_retried = false;
        resident.rounds_left = resident.interval;
        resident.interval = (resident.interval * 2).min(INTERVAL_MAX);
        resident.pending = unload.left;
        let before = std::mem::replace(&mut resident.verdict, unload.verdict);
        let retry = std::mem::take(&mut resident.retry_at_once)
            .then(|| resident.take())
            .flatten();
        Some((before, retry.map(|(_, pending)| pending)))
    }

    /// Whether any of them is tried again, now or later.
    pub(super) fn any_to_retry(&self) -> bool {
        self.0
            .iter()
            .any(|resident| resident.pending.is_some() || resident.is_retried)
    }

    /// As they are shown: each library once.
    pub(super) fn views(&self) -> Vec<ResidentView> {
        let mut seen = BTreeSet::new();
        let once = self
            .0
            .iter()
            .filter(|resident| seen.insert(resident.owner.generation));
        let view = |resident: &ResidentLibrary| ResidentView {
            id: resident.id.clone(),
            version: resident.version.clone(),
            generation: resident.owner.generation,
            verdict: resident.verdict.clone(),
        };
        once.map(view).collect()
    }
}

impl ResidentLibrary {
    fn take(&mut self) -> Option<(Owner, Box<PendingUnload>)> {
        let pending = self.pending.take()?;
        self.is_retried = true;
        Some((self.owner.clone(), pending))
    }
}
