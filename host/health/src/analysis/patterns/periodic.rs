//! Failures at a regular interval.
//!
//! If they come every P, the moments of their starts, turned into angles of one turn per P, point in one direction: Rayleigh's test
//! of uniformity on a circle (1880), with the p of Zar, Biostatistical Analysis, 1999, equation 27.4: exp(√(1 + 4n + 4(n² − R²)) −
//! (1 + 2n)), where R is the length of the sum of unit vectors. It is tried with periods from a quarter of the time between the first
//! and the last start down to half of their mean distance, in steps of a quarter of a turn over that time; p is multiplied with the
//! number of them. Where a multiple of the frequency fits as well, the longest period is told.
//!
//! A start may be early, late, missing or additional, as long as three of five beats have one: a burst is no rhythm,
//! and a rhythm that skipped by half a beat once is not one of twice the speed.

use super::P_MAX;
use extman_model::findings::Periodic;
use std::f64::consts::TAU;

/// Most starts that are looked at: of more, the latest.
pub const STARTS_MAX: usize = 200;
/// Fewest beats with a start.
pub const BEATS_MIN: usize = 5;

/// Turns in the whole time: at least this many, and so many more with each step.
const TURNS_MIN: f64 = 4.0;
const TURNS_STEP: f64 = 0.25;
/// What fits as well as the best: its mean vector is shorter by no more than this.
const AS_GOOD: f64 = 0.02;

/// Looks for an interval in the starts of failures, in milliseconds since the Unix epoch, in any order. `None` if there is none, or
/// too few starts to tell: about seven.
pub fn periodic(starts_unix_ms: &[u64]) -> Option<Periodic> {
    let mut starts = starts_unix_ms.to_vec();
    starts.sort_unstable();
    starts.dedup();
    let starts = &starts[starts.len().saturating_sub(STARTS_MAX)..];
    let (first, last) = (*starts.first()?, *starts.last()?);
    // As fractions of the whole time, so that precision does not depend on the date.
    let whole = (last - first) as f64;
    let moments: Vec<f64> = starts.iter().map(|at| (at - first) as f64 / whole).collect();
    if moments.len() < BEATS_MIN {
        return None;
    }
    let tried = ((2.0 * moments.len() as f64 - TURNS_MIN) / TURNS_STEP) as usize + 1;
    let fits: Vec<Fit> = (0..tried)
        .map(|step| Fit::of(&moments, TURNS_MIN + step as f64 * TURNS_STEP))
        .filter(|fit| fit.is_rhythm())
        .collect();
    let best = fits.iter().map(|fit| fit.strength).fold(0.0, f64::max);
    let coarse = fits.iter().find(|fit| fit.strength >= best - AS_GOOD)?;
    let around = (-16..=16).map(|step| coarse.turns + f64::from(step) * TURNS_STEP / 16.0);
    let fit = around
        .map(|turns| Fit::of(&moments, turns))
        .filter(Fit::is_rhythm)
        .max_by(|a, b| a.strength.total_cmp(&b.strength))?;
    let p = (rayleigh_p(moments.len(), fit.strength) * tried as f64).min(1.0);
    let period = whole / fit.turns;
    (p < P_MAX).then(|| Periodic {
        period_ms: period as u64,
        strength: fit.strength,
        p,
        starts: moments.len(),
        beats: fit.beats,
        beats_met: fit.beats_met,
        next_unix_ms: first.saturating_add(((fit.last_beat + 1.0 + fit.phase) * period).max(0.0) as u64),
    })
}

/// How well moments within 0 to 1 fit so many turns.
struct Fit {
    turns: f64,
    strength: f64,
    /// Where in a turn the starts are, within −0.5 to 0.5.
    phase: f64,
    beats: u64,
    beats_met: usize,
    last_beat: f64,
}

impl Fit {
    fn of(moments: &[f64], turns: f64) -> Fit {
        let angles = moments.iter().map(|at| at * turns * TAU);
        let (cos, sin) = angles.fold((0.0, 0.0), |(cos, sin), angle| {
            (cos + angle.cos(), sin + angle.sin())
        });
        let phase = sin.atan2(cos) / TAU;
        let mut beats: Vec<f64> = moments.iter().map(|at| (at * turns - phase).round()).collect();
        let (first_beat, last_beat) = (beats[0], beats[beats.len() - 1]);
        beats.dedup();
        Fit {
            turns,
            strength: (cos.hypot(sin) / moments.len() as f64).min(1.0),
            phase,
            beats: (last_beat - first_beat) as u64 + 1,
            beats_met: beats.len(),
            last_beat,
        }
    }

    fn is_rhythm(&self) -> bool {
        self.beats_met >= BEATS_MIN && self.beats_met as u64 * 5 >= self.beats * 3
    }
}

/// The p of Rayleigh's test for so many angles with a mean vector of this length.
fn rayleigh_p(angles: usize, strength: f64) -> f64 {
    let n = angles as f64;
    let r = strength * n;
    ((1.0 + 4.0 * n + 4.0 * (n * n - r * r).max(0.0)).sqrt() - (1.0 + 2.0 * n)).exp()
}

#[cfg(test)]
mod tests {
    use super::super::super::charts::tests::normal_deviates;
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000;
    const START: u64 = 1_700_000_000_000;

    fn strength(angles: &[f64]) -> f64 {
        let turned: Vec<f64> = angles.iter().map(|angle| angle / TAU).collect();
        Fit::of(&turned, 1.0).strength
    }

    /// Mardia and Jupp, Directional Statistics, 1999, p. 93, homing pigeons: R̄ = 0.2228717. The documentation of pingouin's
    /// `circ_rayleigh`: z = nR̄² = 1.236 and p = 0.3048435876500138 for its five angles.
    #[test]
    fn published_angles() {
        let pigeons = [
            55.0, 60.0, 65.0, 95.0, 100.0, 110.0, 260.0, 275.0, 285.0, 295.0_f64,
        ]
        .map(f64::to_radians);
        assert!((strength(&pigeons) - 0.222_871_7).abs() < 1e-7);
        let five = strength(&[785.0, 1570.0, 3141.0, 839.0, 5934.0].map(|milli| milli / 1000.0));
        assert!((5.0 * five * five - 1.236).abs() < 5e-4);
        assert!((rayleigh_p(5, five) - 0.304_843_587_650_013_8).abs() < 1e-12);
    }

    fn nearly(told: u64, truth: u64, off: u64) {
        assert!(told.abs_diff(truth) <= off, "{told} is not {truth}");
    }

    #[test]
    fn a_token_that_runs_out_every_fifty_minutes() {
        const PERIOD: u64 = 50 * 60_000;
        // Up to a minute late, one missing, one in between.
        let late = normal_deviates(3).map(|z| (z.abs() * 20_000.0) as u64);
        let mut starts: Vec<_> = (0..24)
            .zip(late)
            .map(|(n, late)| START + n * PERIOD + late)
            .collect();
        starts.remove(10);
        starts.push(START + 7 * PERIOD + PERIOD / 3);
        let found = periodic(&starts).unwrap();
        nearly(found.period_ms, PERIOD, 30_000);
        nearly(found.next_unix_ms, START + 24 * PERIOD, 2 * 60_000);
        assert_eq!((found.starts, found.beats, found.beats_met), (24, 24, 23));
        assert!(found.strength > 0.9 && found.p < 1e-6, "{found:?}");
        assert!(serde_json::to_value(found).unwrap()["period_ms"].is_u64());
    }

    /// As after a restart of what fails: the rhythm is the same, half a beat later.
    #[test]
    fn a_beat_that_skipped_once_is_not_twice_as_fast() {
        const PERIOD: u64 = 4_480;
        let before = (0..9).map(|n| START + n * PERIOD);
        let after = (0..9).map(|n| START + 9 * PERIOD + PERIOD / 2 + n * PERIOD);
        if let Some(found) = periodic(&before.chain(after).collect::<Vec<_>>()) {
            assert!(found.period_ms > PERIOD / 4 * 3, "{found:?}");
        }
    }

    #[test]
    fn exactly_on_time_the_longest_period_is_told() {
        let starts: Vec<_> = (0..10).map(|n| START + n * 24 * HOUR).collect();
        let found = periodic(&starts).unwrap();
        nearly(found.period_ms, 24 * HOUR, 60_000);
        nearly(found.next_unix_ms, START + 240 * HOUR, 10 * 60_000);
    }

    #[test]
    fn what_is_no_rhythm_is_none() {
        assert_eq!(periodic(&[]), None);
        assert_eq!(periodic(&[5; 100]), None);
        assert_eq!(periodic(&[0, u64::MAX]), None);
        let burst: Vec<_> = (0..30)
            .map(|n| START + n * 7_919 % 60_000)
            .chain([START + 10 * HOUR])
            .collect();
        assert_eq!(periodic(&burst), None);
    }

    /// Poisson's process has no rhythm: of 200 such series, at most a few are taken for one.
    #[test]
    fn chance_is_hardly_ever_taken_for_a_rhythm() {
        let mut deviates = normal_deviates(11);
        let false_alarms = (0..200).filter(|_| {
            // The sum of two squares of normal deviates is exponential.
            let mut at = START;
            let starts = std::iter::repeat_with(|| {
                let (a, b) = (deviates.next().unwrap(), deviates.next().unwrap());
                at += ((a * a + b * b) * HOUR as f64) as u64;
                at
            });
            periodic(&starts.take(40).collect::<Vec<_>>()).is_some()
        });
        let false_alarms = false_alarms.count();
        assert!(false_alarms <= 4, "{false_alarms}");
    }

    proptest! {
        #[test]
        fn any_moments_give_numbers(starts: Vec<u64>) {
            if let Some(found) = periodic(&starts) {
                prop_assert!(found.p < P_MAX && (0.0..=1.0).contains(&found.strength));
            }
        }
    }
}
