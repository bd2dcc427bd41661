//! The candidates that one call was given to, until one of them answered.

use extman_model::control::Invoked;
use extman_model::{CallError, ErrorKind, Reply};
use extman_runtime::instance::LimitedCall;
use extman_runtime::registry::{Admitted, Candidate, Entry, Tried};
use std::sync::Arc;

/// Who was tried, and what the last one said.
#[derive(Default)]
pub(super) struct Attempts {
    tried: Vec<Tried>,
    /// Those of them that were called and failed.
    failed: Vec<Arc<str>>,
    /// The first one that had no room.
    busy: Option<Arc<str>>,
    last: Option<CallError>,
    /// Whether that one had no room.
    is_for_room: bool,
    first_choice: Option<Arc<Entry>>,
    /// That the limits let the call through of the one whose new version has failed it.
    limited: Option<LimitedCall>,
}

impl Attempts {
    /// Those that are not asked again.
    pub(super) fn tried(&self) -> &[Tried] {
        &self.tried
    }

    pub(super) fn has_tried(&self, candidate: &Candidate) -> bool {
        self.tried.iter().any(|tried| tried.is(candidate))
    }

    /// This one was not called.
    pub(super) fn turned_away(&mut self, by: &Candidate, error: CallError) {
        self.tried.push(Tried::of(by));
        (self.last, self.is_for_room) = (Some(error), false);
    }

    /// This one had no room: it was not called, or did not begin.
    pub(super) fn had_no_room(&mut self, candidate: &Candidate, error: CallError) {
        self.tried.push(Tried::busy(candidate));
        self.busy.get_or_insert_with(|| candidate.entry.name.clone());
        // Of several that will have room, the caller is told of the first.
        let is_later = |last: &CallError| {
            last.retry_after_ms.is_some()
                && last.kind == error.kind
                && error
                    .retry_after_ms
                    .is_none_or(|ms| Some(ms) > last.retry_after_ms)
        };
        if !self.last.as_ref().is_some_and(is_later) {
            (self.last, self.is_for_room) = (Some(error), true);
        }
    }

    /// Whether the limits let the call through, which is about to be made; else the one that has them had no room.
    pub(super) fn are_let_through(&mut self, chosen: &mut Admitted) -> bool {
        let held = chosen.hold_limits(self.limited.take());
        held.map_err(|error| self.had_no_room(chosen.limited(), error))
            .is_ok()
    }

    /// This one's call goes to another: a new version's counts once, also where the old one serves it in the end.
    pub(super) fn goes_on(&mut self, mut from: Admitted) {
        self.limited = from.hand_on();
    }

    /// This one was called, and failed.
    pub(super) fn failed(&mut self, by: &Candidate, error: CallError) {
        self.failed.push(by.entry.name.clone());
        self.turned_away(by, error);
    }

    /// This one has answered.
    pub(super) fn answered(&mut self, by: &Admitted, reply: Reply) -> Invoked {
        let is_first_choice = by.degraded.is_none() && !by.is_canary();
        self.first_choice = is_first_choice.then(|| by.candidate.entry.clone());
        let failed = self.failed.first();
        let failed = failed.map(|failed| format!("{failed} failed this call").into());
        let because = failed.or_else(|| Some(format!("{} is busy", self.busy.as_ref()?).into()));
        Invoked {
            served_by: by.candidate.entry.name.clone(),
            degraded: by
                .degraded
                .as_ref()
                .map(|degraded| because.unwrap_or_else(|| degraded.clone())),
            attempts: 1 + self.failed.len() as u32,
            age: None,
            reply,
        }
    }

    /// Who has answered, if it is the first choice: neither what stands in for it nor its new version that is still tried.
    pub(super) fn first_choice(&self) -> Option<&Arc<Entry>> {
        self.first_choice.as_ref()
    }

    /// Whether it is for want of room that nobody has answered.
    pub(super) fn is_for_room(&self) -> bool {
        self.is_for_room
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
    pub(super) fn error(&self) -> CallError {
        self.last_error(|| CallError::new(ErrorKind::Internal, "nobody was called"))
    }
}
