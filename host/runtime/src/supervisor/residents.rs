//! Resident libraries, which are in memory after their unload: why, and when they are tried again. Pure: it counts looks and reads no
//! clock.

use super::stop::{PendingUnload, Unload};
use extman_model::{ResidentView, Verdict};
use semver::Version;
use std::collections::BTreeSet;

/// Libraries that are remembered. Each of them takes memory, so a host comes to its end before this does.
const KEPT_MAX: usize = 1024;
/// Looks that are passed over at most before the next try.
const PAUSE_MAX: u32 = 12;

/// All of them.
#[derive(Default)]
pub(super) struct ResidentLibraries(Vec<ResidentLibrary>);

/// Whose a library was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    /// The instance that it served last.
    pub name: String,
    pub generation: u64,
}

struct ResidentLibrary {
    owner: Owner,
    id: String,
    version: Version,
    verdict: Verdict,
    /// What to try again; nothing while it is tried, or if that can't help.
    pending: Option<Box<PendingUnload>>,
    trying: bool,
    /// Something has changed while it was tried.
    again: bool,
    /// Looks until the next try, and how many it will be after that.
    wait: u32,
    pause: u32,
}

impl ResidentLibraries {
    /// One more.
    pub(super) fn put(&mut self, owner: Owner, id: String, version: Version, unload: Unload) {
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
            trying: false,
            again: false,
            wait: 0,
            pause: 1,
        });
    }

    /// What to try at this look.
    pub(super) fn due(&mut self) -> Vec<(Owner, Box<PendingUnload>)> {
        let due = |resident: &mut ResidentLibrary| {
            if resident.pending.is_none() || resident.wait > 0 {
                resident.wait = resident.wait.saturating_sub(1);
                return None;
            }
            resident.take()
        };
        self.0.iter_mut().filter_map(due).collect()
    }

    /// What to try as something of a generation has come back.
    pub(super) fn of(&mut self, generation: u64) -> Vec<(Owner, Box<PendingUnload>)> {
        let mine = self
            .0
            .iter_mut()
            .filter(|resident| resident.owner.generation == generation);
        let taken = |resident: &mut ResidentLibrary| {
            resident.again = resident.trying;
            resident.take()
        };
        mine.filter_map(taken).collect()
    }

    /// What was tried has come back: what its library is now, `None` if others use it. Gives the verdict before; and what to try
    /// again at once.
    pub(super) fn back(
        &mut self,
        owner: &Owner,
        unload: Option<Unload>,
    ) -> Option<(Verdict, Option<Box<PendingUnload>>)> {
        let at = self.0.iter().position(|resident| resident.owner == *owner)?;
        let Some(unload) = unload.filter(|unload| !unload.verdict.is_unmapped()) else {
            return Some((self.0.remove(at).verdict, None));
        };
        let resident = &mut self.0[at];
        resident.trying = false;
        resident.wait = resident.pause;
        resident.pause = (resident.pause * 2).min(PAUSE_MAX);
        resident.pending = unload.left;
        let before = std::mem::replace(&mut resident.verdict, unload.verdict);
        let again = std::mem::take(&mut resident.again)
            .then(|| resident.take())
            .flatten();
        Some((before, again.map(|(_, pending)| pending)))
    }

    /// Whether any of them is worth another look.
    pub(super) fn any_to_try(&self) -> bool {
        self.0
            .iter()
            .any(|resident| resident.pending.is_some() || resident.trying)
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
        self.trying = true;
        Some((self.owner.clone(), pending))
    }
}
