//! How much of a range an instance was able to serve, and how its outages were: from spans of states alone, never from counts of
//! checks.
//!
//! Terms after IEC 60050-192:2015: up time and down time (192-02), mean time to restoration (192-07-23), mean operating time
//! between failures (192-05-13). Degraded counts as operating: it serves, worse than usual.

use super::timeline::{Piece, outages, timeline};
use extman_model::Health;
use extman_model::findings::{Outage, Uptime};
use extman_model::record::{Range, SpanRow};

/// Times, shares and outages of one instance in a range. Of more than [`SPANS_MAX`](super::timeline::SPANS_MAX) spans the latest
/// are looked at, and the coverage tells.
pub fn uptime(spans: &[SpanRow], range: Range) -> Uptime {
    let pieces = timeline(spans, range);
    let found = outages(&pieces);
    let total = |wanted: Option<Health>| -> u64 {
        let those = pieces.iter().filter(|piece| piece.counted() == wanted);
        those.map(Piece::length_ms).sum()
    };
    let [up_ms, degraded_ms, down_ms, unknown_ms] =
        [Health::Up, Health::Degraded, Health::Down, Health::Unknown].map(|health| total(Some(health)));
    let left_out_ms = total(None);
    // Pieces don't overlap, so that no sum is greater than the range.
    let asked_ms = range.length_ms() - left_out_ms;
    let known_ms = up_ms + degraded_ms + down_ms;
    let ended: Vec<u64> = found
        .iter()
        .filter(|outage| !outage.running)
        .map(Outage::length_ms)
        .collect();
    Uptime {
        range,
        up_ms,
        degraded_ms,
        down_ms,
        unknown_ms,
        left_out_ms,
        coverage: share(known_ms + unknown_ms, asked_ms),
        known: share(known_ms, asked_ms),
        uptime: share(up_ms + degraded_ms, known_ms),
        outages: found.len() as u64,
        mttr_ms: mean(&ended),
        mtbf_ms: mean(&operating_between(&pieces, &found)),
        longest: found
            .iter()
            .rev()
            .max_by_key(|outage| outage.length_ms())
            .copied(),
        since_last_ms: found.last().map(|last| match last.running {
            true => 0,
            false => range.to_unix_ms.saturating_sub(last.to_unix_ms),
        }),
    }
}

/// Time up or degraded between the start of each outage and the next one's.
fn operating_between(pieces: &[Piece], outages: &[Outage]) -> Vec<u64> {
    let mut operating = vec![0; outages.len().saturating_sub(1)];
    let mut started = 0;
    for piece in pieces {
        // Every outage begins where a piece does.
        started += usize::from(
            outages
                .get(started)
                .is_some_and(|outage| outage.from_unix_ms == piece.from_unix_ms),
        );
        let operates = matches!(piece.counted(), Some(Health::Up | Health::Degraded));
        if let Some(sum) = started
            .checked_sub(1)
            .and_then(|at| operating.get_mut(at))
            .filter(|_| operates)
        {
            *sum += piece.length_ms();
        }
    }
    operating
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Rounded down. The lengths are parts of one range, so that their sum fits.
fn mean(lengths: &[u64]) -> Option<u64> {
    lengths.iter().sum::<u64>().checked_div(lengths.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::timeline::tests::{any_spans, span};
    use super::*;
    use Health::{Degraded, Down, Unknown, Up};
    use proptest::prelude::*;

    const RANGE: Range = Range {
        from_unix_ms: 1_000,
        to_unix_ms: 2_000,
    };

    /// By hand. Up 1000–1300, down –1400, up –1600, unknown –1650, down –1670, unknown –1680, down –1700, degraded –1800,
    /// left out –1900, nothing after.
    /// Outages: 100 (1300–1400) and 50 (1650–1700), so the mean is 75; operating between their starts: 200.
    #[test]
    fn a_day_by_hand() {
        let spans = [
            span(0, 1300, Some(Up)),
            span(1300, 1400, Some(Down)),
            span(1400, 1600, Some(Up)),
            span(1600, 1650, Some(Unknown)),
            span(1650, 1670, Some(Down)),
            span(1670, 1680, Some(Unknown)),
            span(1680, 1700, Some(Down)),
            span(1700, 1800, Some(Degraded)),
            span(1800, 1900, None),
        ];
        let found = uptime(&spans, RANGE);
        assert_eq!((found.up_ms, found.degraded_ms, found.down_ms), (500, 100, 140));
        assert_eq!((found.unknown_ms, found.left_out_ms), (60, 100));
        assert_eq!(found.coverage, Some(800.0 / 900.0));
        assert_eq!(found.known, Some(740.0 / 900.0));
        assert_eq!(found.uptime, Some(600.0 / 740.0));
        assert_eq!(
            (found.outages, found.mttr_ms, found.mtbf_ms),
            (2, Some(75), Some(200))
        );
        let longest = found.longest.unwrap();
        assert_eq!(
            (longest.from_unix_ms, longest.to_unix_ms, longest.running),
            (1300, 1400, false)
        );
        assert_eq!(found.since_last_ms, Some(300));
    }

    /// The textbook relation A = MTBF / (MTBF + MTTR) holds for whole cycles: 9 up, 1 down, ten times and one start more.
    #[test]
    fn availability_is_what_mtbf_and_mttr_make_of_it() {
        let cycle = |at: u64| [span(at, at + 10, Some(Down)), span(at + 10, at + 100, Some(Up))];
        let spans: Vec<_> = (1_000..2_000).step_by(100).flat_map(cycle).collect();
        let found = uptime(&spans, RANGE);
        assert_eq!((found.mttr_ms, found.mtbf_ms), (Some(10), Some(90)));
        assert_eq!(found.uptime, Some(90.0 / 100.0));
    }

    #[test]
    fn what_cannot_be_said_is_absent() {
        let nothing = uptime(&[], RANGE);
        assert_eq!((nothing.coverage, nothing.uptime), (Some(0.0), None));
        assert_eq!(
            (nothing.mttr_ms, nothing.mtbf_ms, nothing.longest),
            (None, None, None)
        );
        assert_eq!(nothing.since_last_ms, None);
        assert_eq!(uptime(&[span(0, u64::MAX, None)], RANGE).coverage, None);
        let backwards = Range {
            from_unix_ms: 9,
            to_unix_ms: 3,
        };
        assert_eq!(uptime(&[span(0, 10, Some(Up))], backwards).coverage, None);
        let still = uptime(&[span(0, u64::MAX, Some(Down))], RANGE);
        assert!(still.longest.unwrap().running);
        assert_eq!((still.mttr_ms, still.since_last_ms), (None, Some(0)));
    }

    #[test]
    fn an_open_span_over_all_time_fits() {
        let all = Range {
            from_unix_ms: 0,
            to_unix_ms: u64::MAX,
        };
        let found = uptime(&[span(0, u64::MAX, Some(Up))], all);
        assert_eq!((found.up_ms, found.uptime), (u64::MAX, Some(1.0)));
        assert!(serde_json::to_string(&found).unwrap().contains("\"uptime\":1.0"));
    }

    proptest! {
        #[test]
        fn sums_are_within_the_range(spans in any_spans(), from in 0..200_u64, length in 0..250_u64) {
            let range = Range { from_unix_ms: from, to_unix_ms: from + length };
            let found = uptime(&spans, range);
            let sum = found.up_ms + found.degraded_ms + found.down_ms + found.unknown_ms + found.left_out_ms;
            prop_assert!(sum <= length);
            for share in [found.coverage, found.known, found.uptime].into_iter().flatten() {
                prop_assert!((0.0..=1.0).contains(&share));
            }
            prop_assert_eq!(found.outages > 0, found.down_ms > 0);
            prop_assert_eq!(found.mtbf_ms.is_some(), found.outages > 1);
        }
    }
}
