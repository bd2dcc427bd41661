//! Calls whose caller goes away before there is an answer.

use crate::instance::accounts::Counted;
use extman_model::{CallError, ErrorKind};

/// Counts a call as cancelled when it is dropped, unless its caller was answered. That the plugin is told is the ticket's work.
pub(super) struct Abandoned<'a>(Option<Counted<'a>>);

impl<'a> Abandoned<'a> {
    pub(super) fn unless_answered(counted: Counted<'a>) -> Self {
        Abandoned(Some(counted))
    }

    pub(super) fn answered(mut self, failure: Option<&CallError>) {
        if let Some(counted) = self.0.take() {
            counted.end(failure);
        }
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(counted) = self.0.take() {
            let cancelled = CallError::new(ErrorKind::Cancelled, "the caller has gone away");
            counted.end(Some(&cancelled));
        }
    }
}
