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
    /// Why the first choice did not serve, if it was asked.
    why_not_first: Option<Arc<str>>,
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
    pub(super) fn had_no_room(&mut self, chosen: &Admitted, error: CallError) {
        self.no_room_at(&chosen.candidate, chosen.degraded.is_none(), error);
    }

    fn no_room_at(&mut self, candidate: &Candidate, is_first_choice: bool, error: CallError) {
        self.tried.push(Tried::busy(candidate));
        self.note_first(is_first_choice, candidate, "is busy");
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
        let is_first_choice = chosen.degraded.is_none();
        held.map_err(|error| self.no_room_at(chosen.limited(), is_first_choice, error))
            .is_ok()
    }

    /// This one's call goes to another: a new version's counts once, also where the old one serves it in the end.
    pub(super) fn goes_on(&mut self, mut from: Admitted) {
        self.limited = from.hand_on();
    }

    /// This one was called, and failed.
    pub(super) fn failed(&mut self, by: &Admitted, error: CallError) {
        self.failed.push(by.candidate.entry.name.clone());
        self.note_first(by.degraded.is_none(), &by.candidate, "failed this call");
        self.turned_away(&by.candidate, error);
    }

    fn note_first(&mut self, is_first_choice: bool, candidate: &Candidate, why: &str) {
        if is_first_choice {
            self.why_not_first = Some(format!("{} {why}", candidate.entry.name).into());
        }
    }

    /// Why the first choice does not serve, if another one does.
    pub(super) fn degraded(&self, by: &Admitted) -> Option<Arc<str>> {
        let by_route = by.degraded.as_ref()?;
        Some(self.why_not_first.as_ref().unwrap_or(by_route).clone())
    }

    /// This one has answered.
    pub(super) fn answered(&mut self, by: &Admitted, reply: Reply) -> Invoked {
        let is_first_choice = by.degraded.is_none() && !by.is_canary();
        self.first_choice = is_first_choice.then(|| by.candidate.entry.clone());
        Invoked {
            served_by: by.candidate.entry.name.clone(),
            degraded: self.degraded(by),
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
