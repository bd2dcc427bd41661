//! A new version beside the one that serves: it gets a share of the calls, or of what is mirrored of them.

use super::{Candidate, Entry, Mirror};
use extman_health::rollout::Share;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a new version gets that is beside the one that serves.
pub enum Beside {
    /// A share of the calls.
    Canary(Canary),
    /// Calls that are made a second time.
    Mirror(Mirror),
}

/// The new version of an instance, beside the one that serves, with its share of the calls.
pub struct Canary {
    candidate: Candidate,
    share: Share,
    /// Calls of the instance so far, that either of the two was to serve.
    calls: AtomicU64,
}

impl Canary {
    /// This candidate with this share. The count goes on from that of the step before.
    pub(crate) fn new(candidate: Candidate, share: Share, before: Option<&Canary>) -> Self {
        let calls = before.map_or(0, |before| before.calls.load(Relaxed));
        Canary {
            candidate,
            share,
            calls: AtomicU64::new(calls),
        }
    }

    /// The generation of the new version.
    pub(crate) fn generation(&self) -> u64 {
        self.candidate.generation
    }

    pub(crate) fn share(&self) -> Share {
        self.share
    }
}

impl Candidate {
    /// Who serves the call under way in its place, if that is one of a new version's share, and that version `fits` the call. One that was
    /// tried by the call before is not asked again, nor is the call counted twice for it.
    pub fn canary(
        &self,
        is_untried: impl FnOnce(&Candidate) -> bool,
        fits: impl FnOnce(&Entry) -> bool,
    ) -> Option<&Candidate> {
        let Beside::Canary(canary) = self.entry.beside.as_deref()? else {
            return None;
        };
        if !is_untried(&canary.candidate) {
            return None;
        }
        let call = canary.calls.fetch_add(1, Relaxed);
        (canary.share.takes(call) && fits(&canary.candidate.entry)).then_some(&canary.candidate)
    }

    /// What is mirrored of its calls.
    pub fn mirror(&self) -> Option<&Mirror> {
        match self.entry.beside.as_deref()? {
            Beside::Mirror(mirror) => Some(mirror),
            Beside::Canary(_) => None,
        }
    }
}
