//! What plugins changed of the process that all share: kept for views, and told as events.

use extman_model::{ProcessChange, What};
use extman_runtime::process_guard::{self, OnChange};
use extman_runtime::supervisor::Events;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Changes that are shown; the oldest goes.
const SHOWN_MAX: usize = 64;

type Kept = Arc<Mutex<VecDeque<ProcessChange>>>;

/// The changes that this host has heard of.
pub(super) struct ProcessChanges {
    kept: Kept,
    /// Heard as long as this lives.
    _listener: OnChange,
}

impl ProcessChanges {
    pub(super) fn listen(events: Events) -> Self {
        let kept = Kept::default();
        let keeping = kept.clone();
        let listener: OnChange = Arc::new(move |change: &ProcessChange| {
            let mut kept = keeping.lock().unwrap_or_else(PoisonError::into_inner);
            // Done again and again, it is shown once.
            kept.retain(|known| known != change);
            kept.push_back(change.clone());
            if kept.len() > SHOWN_MAX {
                kept.pop_front();
            }
            drop(kept);
            events.publish(What::ProcessChanged(change.clone()));
        });
        process_guard::on_change(&listener);
        ProcessChanges {
            kept,
            _listener: listener,
        }
    }

    pub(super) fn all(&self) -> Vec<ProcessChange> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().cloned().collect()
    }

    /// Those that this instance may have done.
    pub(super) fn of(&self, name: &str) -> Vec<ProcessChange> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let its = kept.iter().filter(|change| change.by.iter().any(|by| by == name));
        its.cloned().collect()
    }
}
