//! Sees that the wall clock was set, or that the machine slept: it has gone another way than the monotonic clock. What that does to
//! spans is in `store/run.rs`.

use extman_model::clock::{self, Monotonic};
use extman_model::record::ClockStep;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Less than this is the clock being steered, or two clocks not read at one moment.
const STEP_MIN_MS: u64 = 2_000;
/// If it took longer to read both clocks, the readings are not of one moment.
const UNSURE: Duration = Duration::from_millis(100);

/// Both clocks as they were last read.
#[derive(Debug)]
pub(super) struct ClockWatch(Mutex<(u64, Monotonic)>);

impl ClockWatch {
    pub(super) fn new() -> Self {
        ClockWatch(Mutex::new((clock::unix_ms(clock::wall()), clock::monotonic())))
    }

    /// What the wall clock has leapt since it was last looked at goes to `send`, before anybody else looks; if that does not take it,
    /// the next look finds it again.
    pub(super) fn look(&self, send: impl FnOnce(ClockStep) -> bool) {
        let mut before = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mono = clock::monotonic();
        let now = (clock::unix_ms(clock::wall()), mono);
        if clock::monotonic().since(mono) > UNSURE {
            return;
        }
        if step(*before, now).is_none_or(send) {
            *before = now;
        }
    }
}

fn step(before: (u64, Monotonic), now: (u64, Monotonic)) -> Option<ClockStep> {
    let passed = i64::try_from(now.1.since(before.1).as_millis()).ok()?;
    let by_ms = now.0.checked_signed_diff(before.0)?.checked_sub(passed)?;
    (by_ms.unsigned_abs() >= STEP_MIN_MS).then_some(ClockStep {
        by_ms,
        to_unix_ms: now.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_clocks_do_not_share_is_a_step() {
        let at = |wall: u64, mono_ms: u64| (wall, Monotonic::from_nanos(mono_ms * 1_000_000));
        let by = |before, now| step(before, now).map(|step| (step.by_ms, step.to_unix_ms));
        assert_eq!(by(at(10_000, 0), at(70_000, 60_000)), None);
        assert_eq!(by(at(10_000, 0), at(71_500, 60_000)), None);
        assert_eq!(
            by(at(5_000_000, 0), at(1_460_000, 60_000)),
            Some((-3_600_000, 1_460_000))
        );
        // As after a sleep of the machine, which the monotonic clock does not count.
        assert_eq!(
            by(at(10_000, 0), at(3_611_000, 1_000)),
            Some((3_600_000, 3_611_000))
        );
        ClockWatch::new().look(|step| panic!("{step:?}"));
        let watch = ClockWatch(Mutex::new(at(0, 1)));
        let mut seen = 0;
        watch.look(|_| false);
        watch.look(|_| {
            seen += 1;
            true
        });
        watch.look(|_| panic!("it was taken"));
        assert_eq!(seen, 1);
    }
}
