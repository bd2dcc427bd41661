//! How long an instance's last checks took. Pure, and of a fixed size: there is one for each instance.

use extman_model::clock::nanos;
use std::time::Duration;

/// Checks that are kept.
const KEPT: usize = 16;

/// The last few durations, for a picture: to one part in 256, as the upper half of a 32-bit float, which holds any duration.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RecentLatencies {
    halves: [u16; KEPT],
    pushed: u8,
}

impl RecentLatencies {
    #[inline]
    pub(super) fn push(&mut self, took: Duration) {
        let bits = (nanos(took) as f32).to_bits();
        // Rounded, and not cut.
        self.halves[self.pushed as usize % KEPT] = (bits.saturating_add(1 << 15) >> 16) as u16;
        // Beyond twice its size only the place within the ring matters.
        self.pushed = match self.pushed + 1 {
            next if next as usize >= 2 * KEPT => KEPT as u8,
            next => next,
        };
    }

    pub(super) fn newest_last(&self) -> Vec<u64> {
        let pushed = self.pushed as usize;
        let kept = pushed.min(KEPT);
        let value = |half: u16| f32::from_bits(u32::from(half) << 16) as u64;
        (pushed - kept..pushed)
            .map(|n| value(self.halves[n % KEPT]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sixteen_are_kept_in_order() {
        for count in [0_u64, 1, 15, 16, 17, 31, 32, 33, 100] {
            let mut recent = RecentLatencies::default();
            (0..count).for_each(|n| recent.push(Duration::from_nanos(n)));
            let expected: Vec<u64> = (count.saturating_sub(16)..count).collect();
            assert_eq!(recent.newest_last(), expected, "{count}");
        }
    }

    #[test]
    fn each_is_kept_to_one_part_in_256() {
        for took in [999, 123_456, 5_000_000_123, u64::MAX / 3] {
            let mut recent = RecentLatencies::default();
            recent.push(Duration::from_nanos(took));
            let kept = recent.newest_last()[0];
            assert!(kept.abs_diff(took) <= took / 256, "{took} {kept}");
        }
    }
}
