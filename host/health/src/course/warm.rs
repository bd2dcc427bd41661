//! A course that is at hand before it is needed. Pure; it decides nothing.

use super::Course;
use std::hint::black_box;

impl Course {
    /// Reads something of each cache line, so that all of it is at hand soon.
    #[inline]
    pub fn warm(&self) {
        black_box((
            self.due,
            self.began,
            self.window_ends,
            self.called_at,
            self.calls.returned,
            (self.cycle, self.suspect, self.down_for),
            self.trip.smoothed().is_some(),
            self.patience.asked_at(),
            self.evaluation.generation(),
            self.evaluation.since(),
            self.evaluation.judged(),
        ));
    }
}
