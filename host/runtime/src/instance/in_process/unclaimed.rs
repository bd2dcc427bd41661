//! What `create` has made and nobody has taken yet.

use crate::lanes::{Pool, Work};
use crate::loader::{Bound, CallContext, OutputLimits};
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// An instance that nobody has taken yet. One that was made too late is freed on a lane of its library, whoever drops it.
pub(super) struct Unclaimed(Option<(Bound, Pool, Work)>);

impl Unclaimed {
    /// It is freed on a lane of `home`, as this work.
    pub(super) fn new(bound: Bound, home: Pool, freeing: Work) -> Self {
        Unclaimed(Some((bound, home, freeing)))
    }

    /// What was made, still unclaimed.
    pub(super) fn bound(&self) -> Option<&Bound> {
        self.0.as_ref().map(|(bound, ..)| bound)
    }

    pub(super) fn claim(mut self) -> Arc<Bound> {
        // Held from `new` until here.
        Arc::new(self.0.take().expect("claimed once").0)
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        let Some((bound, home, freeing)) = self.0.take() else {
            return;
        };
        let deadline = freeing.deadline;
        // Where no lane takes it, it is kept, and with it its library.
        let bound = ManuallyDrop::new(bound);
        let Some(context) = CallContext::acquire() else {
            tracing::warn!(
                "an instance that came too late is not freed, since too many calls are in flight: its library stays"
            );
            return;
        };
        let free = move || {
            let bound = ManuallyDrop::into_inner(bound);
            let call = context.open(Some(deadline), None, OutputLimits::default());
            if let Err(not_destroyed) = bound.destroy(call) {
                tracing::warn!(
                    ?not_destroyed,
                    "an instance that came too late is not freed as it should be"
                );
            }
        };
        if let Err(refused) = home.submit_urgent(freeing, free, drop) {
            tracing::warn!(%refused, "an instance that came too late is not freed: its library stays");
        }
    }
}
