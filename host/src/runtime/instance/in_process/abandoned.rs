//! Calls whose caller goes away before there is an answer.

use crate::model::{CallError, ErrorKind};
use crate::runtime::instance::Accounts;

/// Counts a call as cancelled when it is dropped, unless its caller was answered. That the plugin is told is the ticket's work.
pub(super) struct Abandoned<'a>(Option<&'a Accounts>);

impl<'a> Abandoned<'a> {
    pub(super) fn unless_answered(accounts: &'a Accounts) -> Self {
        Abandoned(Some(accounts))
    }

    pub(super) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(accounts) = self.0 {
            let cancelled = CallError::new(ErrorKind::Cancelled, "the caller has gone away");
            accounts.ended(Some(&cancelled));
        }
    }
}
