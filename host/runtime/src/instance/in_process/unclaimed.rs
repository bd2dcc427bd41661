//! What `create` has made and nobody has taken yet.

use crate::loader::{Bound, OutputLimits, Slot};
use std::sync::Arc;

/// An instance that nobody has taken yet. One that was made too late is freed where it was made: on its lane.
pub(super) struct Unclaimed(Option<Bound>);

impl Unclaimed {
    pub(super) fn new(bound: Bound) -> Self {
        Unclaimed(Some(bound))
    }

    pub(super) fn claim(mut self) -> Arc<Bound> {
        // Held from `new` until here.
        Arc::new(self.0.take().expect("claimed once"))
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(bound) = self.0.take() {
            let slot = Slot::acquire();
            let call = slot
                .as_ref()
                .map(|slot| slot.open(None, None, OutputLimits::default()));
            let _ = bound.destroy(call.unwrap_or(0));
        }
    }
}
