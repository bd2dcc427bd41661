//! Calls whose caller goes away before there is an answer.

use crate::instance::accounts::Counted;
use extman_model::{CallError, ErrorKind};

/// Counts a call as cancelled when it is dropped, unless its caller was answered. That the plugin is told is the work of `PendingCall`.
pub(super) struct Abandoned<'a>(Option<Counted<'a>>);

impl<'a> Abandoned<'a> {
    pub(super) fn unless_answered(counted: Counted<'a>) -> Self {
        Abandoned(Some(counted))
    }

    /// `is_excused`: a failure says nothing of the plugin.
    pub(super) fn answered(mut self, failure: Option<&CallError>, is_excused: bool) {
        if let Some(counted) = self.0.take() {
            counted.end_as(failure, is_excused);
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
