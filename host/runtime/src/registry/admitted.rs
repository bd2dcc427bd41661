//! A candidate that a call may go to, and what its breaker wants back for that.

use super::{Candidate, Registry};
use crate::instance::LimitedCall;
use extman_health::breaker::{BreakerPermit, BreakerPolicy};
use extman_model::CallError;
use extman_model::clock::{self, Monotonic};
use std::sync::Arc;

/// A candidate for one call. A lease of its breaker's that it holds is given back when it is dropped, unless what came of the call
/// [is told](super::Registry::call_ended).
pub struct Admitted {
    /// Who is called.
    pub candidate: Candidate,
    /// Why it is not the first choice, if it is another one.
    pub degraded: Option<Arc<str>>,
    permit: Option<BreakerPermit>,
    /// That the limits let it through.
    limited: Option<LimitedCall>,
    is_on_trial: bool,
    /// Who was admitted, if this is its new version.
    old: Option<Candidate>,
}

impl Admitted {
    /// Who was called with this permit of a closed breaker.
    #[cold]
    pub fn before_call(
        candidate: Candidate,
        permit: Option<BreakerPermit>,
        degraded: Option<Arc<str>>,
    ) -> Self {
        Admitted {
            candidate,
            degraded,
            permit,
            limited: None,
            is_on_trial: false,
            old: None,
        }
    }

    /// Whatever its breaker says; while that is closed, its calls count for it.
    pub(super) fn anyway(candidate: Candidate) -> Self {
        Admitted {
            permit: candidate.instance.breaker().closed_permit(),
            degraded: None,
            limited: None,
            is_on_trial: false,
            old: None,
            candidate,
        }
    }

    /// To see whether its calls succeed again.
    ///
    /// # Errors
    /// Its breaker has no permit now; when at the latest it may have one.
    #[cold]
    pub(super) fn on_trial(candidate: &Candidate, registry: &Registry) -> Result<Self, Monotonic> {
        let Candidate { entry, instance, .. } = candidate;
        let policy = &registry.routing().breaker;
        // A call that may take longer has not failed when the lease's usual time is over.
        let policy = BreakerPolicy {
            lease: policy.lease.max(instance.call_timeout()),
            ..policy.clone()
        };
        let (permit, has_opened) = instance.breaker().admit(clock::monotonic(), &policy);
        if has_opened {
            registry.breaker_changed(&entry.name, instance);
        }
        Ok(Admitted {
            candidate: candidate.clone(),
            degraded: None,
            permit: Some(permit?),
            limited: None,
            is_on_trial: true,
            old: None,
        })
    }

    /// Whose limits hold for the call: a new version's calls are the old one's.
    pub fn limited(&self) -> &Candidate {
        self.old.as_ref().unwrap_or(&self.candidate)
    }

    /// The same, if those limits let one more call through, of which this one is then one until it is dropped. `before`: that they let it
    /// through already.
    ///
    /// # Errors
    /// They do not.
    pub fn hold_limits(&mut self, before: Option<LimitedCall>) -> Result<(), CallError> {
        let Candidate { entry, instance, .. } = self.limited();
        let limits = &entry.config.limits;
        if limits.are_none() {
            return Ok(());
        }
        let before = before.filter(|before| before.is_of(instance));
        let begin = || LimitedCall::begin(instance, limits, clock::monotonic());
        self.limited = Some(before.map_or_else(begin, Ok)?);
        Ok(())
    }

    /// That the limits let a new version's call through, for the old one.
    pub fn hand_on(&mut self) -> Option<LimitedCall> {
        self.limited.take_if(|_| self.old.is_some())
    }

    /// The new version of whom was admitted, in that one's place, whose breaker learns nothing of it.
    pub fn gives_way_to(mut self, new: Candidate) -> Self {
        self.old = Some(std::mem::replace(&mut self.candidate, new));
        self.permit = None;
        self
    }

    /// Whether it is a new version, whose old one could serve the call as well.
    pub fn is_canary(&self) -> bool {
        self.old.is_some()
    }

    /// Whether the call shows, or has shown, if calls of it succeed again.
    pub fn is_on_trial(&self) -> bool {
        self.is_on_trial
    }

    /// Whether a call that it does not take goes to whoever is next: one on trial, or a new version, whose callers are the old one's.
    pub fn may_be_passed_over(&self) -> bool {
        self.is_on_trial || self.is_canary()
    }

    pub(super) fn take_permit(&mut self) -> Option<BreakerPermit> {
        self.permit.take()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(lease) = self.permit.take().filter(BreakerPermit::is_lease) {
            let breaker = self.candidate.instance.breaker();
            breaker.give_back(lease, clock::monotonic());
        }
    }
}
