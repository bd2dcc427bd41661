//! The candidates that one call was given to, until one of them answered.

use extman_model::control::Invoked;
use extman_model::{CallError, ErrorKind, Reply};
use extman_runtime::registry::{Admitted, Candidate, Tried};
use std::sync::Arc;

/// Who was tried, and what the last one said.
#[derive(Default)]
pub(super) struct Attempts {
    tried: Vec<Tried>,
    /// Those of them that were called and failed.
    failed: Vec<Arc<str>>,
    last: Option<CallError>,
}

impl Attempts {
    /// Those that are not asked again.
    pub(super) fn tried(&self) -> &[Tried] {
        &self.tried
    }

    pub(super) fn has_tried(&self, candidate: &Candidate) -> bool {
        self.tried.contains(&Tried::of(candidate))
    }

    /// This one was not called.
    pub(super) fn turned_away(&mut self, by: &Candidate, error: CallError) {
        self.tried.push(Tried::of(by));
        self.last = Some(error);
    }

    /// This one was called, and failed.
    pub(super) fn failed(&mut self, by: &Candidate, error: CallError) {
        self.failed.push(by.entry.name.clone());
        self.turned_away(by, error);
    }

    /// This one has answered.
    pub(super) fn answered(self, by: &Admitted, reply: Reply) -> Invoked {
        let because = |failed: &Arc<str>| format!("{failed} failed this call").into();
        Invoked {
            served_by: by.candidate.entry.name.clone(),
            degraded: by
                .degraded
                .as_ref()
                .map(|degraded| self.failed.first().map_or(degraded.clone(), because)),
            attempts: 1 + self.failed.len() as u32,
            reply,
        }
    }

    /// What the last one said, and that it was not the only one; else this.
    pub(super) fn last_error(&self, otherwise: impl FnOnce() -> CallError) -> CallError {
        let error = self.last.clone().unwrap_or_else(otherwise);
        match self.failed.len() {
            0 | 1 => error,
            count => CallError {
                text: format!("{}; {count} were called: {}", error.text, self.failed.join(", ")),
                ..error
            },
        }
    }

    /// The same, of a call that has failed.
    pub(super) fn error(self) -> CallError {
        self.last_error(|| CallError::new(ErrorKind::Internal, "nobody was called"))
    }
}
