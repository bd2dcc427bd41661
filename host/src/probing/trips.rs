//! How long an instance's last checks took. Pure, and of a fixed size: there is one for each instance.

use extman_health::nanos;
use std::time::Duration;

/// Checks that are kept.
const KEPT: usize = 16;

/// The last few durations.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trips {
    /// For a picture: seven digits are enough.
    nanos: [f32; KEPT],
    pushed: u32,
}

impl Trips {
    pub(super) fn push(&mut self, took: Duration) {
        self.nanos[self.pushed as usize % KEPT] = nanos(took) as f32;
        // Beyond twice its size only the place within the ring matters.
        self.pushed = match self.pushed + 1 {
            next if next as usize >= 2 * KEPT => KEPT as u32,
            next => next,
        };
    }

    /// As they lie in memory: the first and the last.
    pub(super) fn ends(&self) -> (f32, f32) {
        (self.nanos[0], self.nanos[KEPT - 1])
    }

    pub(super) fn newest_last(&self) -> Vec<u64> {
        let pushed = self.pushed as usize;
        let kept = pushed.min(KEPT);
        (pushed - kept..pushed)
            .map(|n| self.nanos[n % KEPT] as u64)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sixteen_are_kept_in_order() {
        for count in [0_u64, 1, 15, 16, 17, 31, 32, 33, 100] {
            let mut trips = Trips::default();
            (0..count).for_each(|n| trips.push(Duration::from_nanos(n)));
            let expected: Vec<u64> = (count.saturating_sub(16)..count).collect();
            assert_eq!(trips.newest_last(), expected, "{count}");
        }
    }
}
