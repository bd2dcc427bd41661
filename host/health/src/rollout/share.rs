//! Which calls the new version gets.

/// A share of the calls, as whole percent. Which ones it is is fixed by their numbers.
///
/// The calls are divided into runs of 100/p (or, from more than half on, 100/(100 − p) with the sides exchanged), and one of each run is taken. So of the
/// first n calls it is n·p/100, to within one, for every n. Which one of a run it is is drawn by a hash of the run's number: calls that repeat in
/// a pattern do not always fall to the same side, and the judge may reckon with a draw (stratified sampling; in trials on people, permuted blocks).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    percent: u8,
}

impl Share {
    /// No call.
    pub const NONE: Share = Share { percent: 0 };
    /// Every call.
    pub const ALL: Share = Share { percent: 100 };

    /// So many percent, at most 100.
    pub const fn percent(percent: u8) -> Self {
        Share {
            percent: if percent > 100 { 100 } else { percent },
        }
    }

    /// As percent.
    pub const fn as_percent(self) -> u8 {
        self.percent
    }

    /// Whether the new version gets this call, by its number among those of the instance. The count may begin anywhere.
    #[inline]
    pub fn takes(self, call: u64) -> bool {
        match self.percent {
            0 => false,
            1..=50 => is_drawn(call, u32::from(self.percent)),
            51..=99 => !is_drawn(call, 100 - u32::from(self.percent)),
            _ => true,
        }
    }
}

/// Whether the call is the one that is taken of its run; `percent` within 1 to 50. Runs begin anew with each hundred.
#[inline]
fn is_drawn(call: u64, percent: u32) -> bool {
    let (hundred, within) = (call / 100, (call % 100) as u32);
    let run = within * percent / 100;
    let begin = (run * 100).div_ceil(percent);
    let length = ((run + 1) * 100).div_ceil(percent) - begin;
    let number = hundred.wrapping_mul(64).wrapping_add(u64::from(run));
    let draw = (mixed(number) >> 32) * u64::from(length) >> 32;
    u64::from(within - begin) == draw
}

/// SplitMix64's output function (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[inline]
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(share: Share, calls: std::ops::Range<u64>) -> u64 {
        calls.filter(|call| share.takes(*call)).count() as u64
    }

    #[test]
    fn first_calls_are_shared_to_within_one_and_any_hundred_exactly() {
        for percent in 0..=100 {
            let (share, mut so_far) = (Share::percent(percent), 0.0);
            for call in 0..2_000 {
                so_far += f64::from(u8::from(share.takes(call)));
                let due = (call + 1) as f64 * f64::from(percent) / 100.0;
                assert!((so_far - due).abs() <= 1.0, "{percent} %: {so_far} of {call}");
            }
            for hundred in [0, 100, 700, u64::MAX / 100 * 100 - 100] {
                assert_eq!(taken(share, hundred..hundred + 100), u64::from(percent));
            }
        }
        assert_eq!(Share::percent(200), Share::ALL);
    }

    /// A client whose every twentieth call is a dear one: all of those, or none, would fall to the new version if always the same of a run were taken.
    #[test]
    fn calls_that_repeat_in_the_length_of_a_run_fall_to_both_sides_as_any_do() {
        for (percent, every) in [(5, 20), (25, 4), (10, 10), (95, 20), (50, 2)] {
            let share = Share::percent(percent);
            for offset in 0..every {
                let calls = (offset..20_000 * every).step_by(every as usize);
                let part = calls.filter(|call| share.takes(*call)).count() as f64 / 20_000.0;
                let truth = f64::from(percent) / 100.0;
                // Five standard deviations.
                let error = 5.0 * (truth * (1.0 - truth) / 20_000.0).sqrt();
                assert!((part - truth).abs() < error, "{percent} %, {offset}: {part}");
            }
        }
    }

    #[test]
    fn every_call_of_a_run_can_be_the_one() {
        let drawn = |at| (0..1_000_u64).any(|run| Share::percent(5).takes(run * 20 + at));
        assert!((0..20).all(drawn));
        let next = |at| (0..100_u64).filter(|run| is_drawn(run * 20 + at, 5)).count();
        assert!((0..20).all(|at| next(at) < 20), "no place is a favourite");
    }
}
