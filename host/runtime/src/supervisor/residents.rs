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
pub(super) struct Residents(Vec<Resident>);

/// Whose a library was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    /// The instance that it served last.
    pub name: String,
    pub generation: u64,
}

struct Resident {
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

impl Residents {
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
        self.0.push(Resident {
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
        let due = |left: &mut Resident| {
            if left.pending.is_none() || left.wait > 0 {
                left.wait = left.wait.saturating_sub(1);
                return None;
            }
            left.take()
        };
        self.0.iter_mut().filter_map(due).collect()
    }

    /// What to try as something of a generation has come back.
    pub(super) fn of(&mut self, generation: u64) -> Vec<(Owner, Box<PendingUnload>)> {
        let mine = self
            .0
            .iter_mut()
            .filter(|left| left.owner.generation == generation);
        let taken = |left: &mut Resident| {
            left.again = left.trying;
            left.take()
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
        let at = self.0.iter().position(|left| left.owner == *owner)?;
        let Some(unload) = unload.filter(|unload| !unload.verdict.is_unmapped()) else {
            return Some((self.0.remove(at).verdict, None));
        };
        let left = &mut self.0[at];
        left.trying = false;
        left.wait = left.pause;
        left.pause = (left.pause * 2).min(PAUSE_MAX);
        left.pending = unload.left;
        let before = std::mem::replace(&mut left.verdict, unload.verdict);
        let again = std::mem::take(&mut left.again).then(|| left.take()).flatten();
        Some((before, again.map(|(_, pending)| pending)))
    }

    /// Whether any of them is worth another look.
    pub(super) fn any_to_try(&self) -> bool {
        self.0.iter().any(|left| left.pending.is_some() || left.trying)
    }

    /// As they are shown: each library once.
    pub(super) fn views(&self) -> Vec<ResidentView> {
        let mut seen = BTreeSet::new();
        let once = self.0.iter().filter(|left| seen.insert(left.owner.generation));
        let view = |left: &Resident| ResidentView {
            id: left.id.clone(),
            version: left.version.clone(),
            generation: left.owner.generation,
            verdict: left.verdict.clone(),
        };
        once.map(view).collect()
    }
}

impl Resident {
    fn take(&mut self) -> Option<(Owner, Box<PendingUnload>)> {
        let pending = self.pending.take()?;
        self.trying = true;
        Some((self.owner.clone(), pending))
    }
}
