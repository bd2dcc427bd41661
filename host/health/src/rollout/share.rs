//! Which calls the new version gets.

/// A share of the calls, as whole percent. Which ones it is is fixed by their numbers.
///
/// The calls are divided into runs of 100/p (or, from more than half on, 100/(100 − p) with the sides exchanged), and one of each run is taken. So of the
/// first n calls it is n·p/100, to within one, for every n. Which one of a run it is is drawn by a hash of the run's number: calls that repeat in
/// a pattern do not always fall to the same side, and the judge may reckon with a draw (stratified sampling; in trials on people, permuted blocks).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    percent: u8,
    /// One call of each run is taken, or else left out; of a hundred, so many.
    drawn: u8,
    /// 2²⁰ over that, rounded up.
    inverse: u32,
}

const INVERSE_BITS: u32 = 20;

impl Share {
    /// No call.
    pub const NONE: Share = Share::percent(0);
    /// Every call.
    pub const ALL: Share = Share::percent(100);

    /// So many percent, at most 100.
    pub const fn percent(percent: u8) -> Self {
        let percent = if percent > 100 { 100 } else { percent };
        let drawn = if percent > 50 { 100 - percent } else { percent };
        let divisor = if drawn == 0 { 1 } else { drawn };
        Share {
            percent,
            drawn,
            inverse: (1_u32 << INVERSE_BITS).div_ceil(divisor as u32),
        }
    }

    /// As percent.
    pub const fn as_percent(self) -> u8 {
        self.percent
    }

    /// Whether the new version gets this call, by its number among those of the instance. The count may begin anywhere.
    #[inline]
    pub fn takes(self, call: u64) -> bool {
        let most = self.percent > 50;
        self.drawn != 0 && self.draws(call) != most || self.drawn == 0 && most
    }

    /// Whether the call is the one that is drawn of its run. Runs begin anew with each hundred.
    #[inline]
    fn draws(self, call: u64) -> bool {
        let (hundred, within) = (call / 100, (call % 100) as u32);
        let run = within * u32::from(self.drawn) / 100;
        let begin = self.first_of(run);
        let length = self.first_of(run + 1) - begin;
        let draw = (mixed(hundred.wrapping_mul(64).wrapping_add(u64::from(run))) * u64::from(length)) >> 32;
        u64::from(within - begin) == draw
    }

    /// The number within its hundred of a run's first call: 100 · run / drawn, rounded up, with one multiplication. Both factors are so small that the
    /// inverse's own rounding does not show.
    #[inline]
    fn first_of(self, run: u32) -> u32 {
        ((run * 100 + u32::from(self.drawn) - 1) * self.inverse) >> INVERSE_BITS
    }
}

/// 32 bits of which each depends on all bits of the number: two rounds of multiplying and folding, as in the output functions of SplitMix64 (Steele, Lea and
/// Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
#[inline]
fn mixed(number: u64) -> u64 {
    let z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z >> 32
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
    fn runs_begin_where_division_says() {
        for percent in 1..=50 {
            let share = Share::percent(percent);
            for run in 0..=u32::from(percent) {
                assert_eq!(share.first_of(run), (run * 100).div_ceil(percent.into()));
            }
        }
    }

    #[test]
    fn every_call_of_a_run_can_be_the_one() {
        let drawn = |at| {
            (0..1_000_u64)
                .filter(|run| Share::percent(5).takes(run * 20 + at))
                .count()
        };
        // 50 each on average, with a deviation of 7.
        assert!(
            (0..20).all(|at| (15..85).contains(&drawn(at))),
            "no place is a favourite"
        );
    }
}
