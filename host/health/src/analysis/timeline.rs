//! Spans as they were: in order, clipped to the range that is asked about, never overlapping; and the outages in them.

use extman_model::Health;
use extman_model::findings::Outage;
use extman_model::record::{Range, SpanRow, SpanState};

/// Most spans that one analysis looks at: of more, the latest.
pub const SPANS_MAX: usize = 100_000;

/// A part of a span within a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// From when on, in milliseconds since the Unix epoch.
    pub from_unix_ms: u64,
    /// Until when, in milliseconds since the Unix epoch; always after its start.
    pub to_unix_ms: u64,
    /// The state.
    pub state: SpanState,
}

impl Piece {
    /// How long it is, in milliseconds.
    pub fn length_ms(&self) -> u64 {
        self.to_unix_ms - self.from_unix_ms
    }

    /// Its health; `None` for time that is left out of every sum.
    pub fn counted(&self) -> Option<Health> {
        (!self.state.left_out).then_some(self.state.health)
    }
}

/// The spans within a range, in order and without overlaps. A span ends where a later one begins; of two that begin together the
/// one that stands later in the list counts. Spans that end before they begin, as after a step of the clock, are dropped.
pub fn timeline(spans: &[SpanRow], range: Range) -> Vec<Piece> {
    let mut ordered: Vec<&SpanRow> = spans
        .iter()
        .filter(|span| span.from_unix_ms < end(span))
        .collect();
    ordered.sort_by_key(|span| span.from_unix_ms);
    let ordered = &ordered[ordered.len().saturating_sub(SPANS_MAX)..];
    let mut pieces = Vec::new();
    for (at, span) in ordered.iter().enumerate() {
        let next = ordered.get(at + 1).map_or(u64::MAX, |next| next.from_unix_ms);
        let from_unix_ms = span.from_unix_ms.max(range.from_unix_ms);
        let to_unix_ms = end(span).min(next).min(range.to_unix_ms);
        if from_unix_ms < to_unix_ms {
            pieces.push(Piece {
                from_unix_ms,
                to_unix_ms,
                state: span.state,
            });
        }
    }
    pieces
}

/// One that goes on has no end.
fn end(span: &SpanRow) -> u64 {
    span.to_unix_ms.unwrap_or(u64::MAX)
}

/// The outages in what [`timeline`] gave, in order.
pub fn outages(pieces: &[Piece]) -> Vec<Outage> {
    let mut found: Vec<Outage> = Vec::new();
    for piece in pieces {
        let running = found.last_mut().filter(|outage| outage.running);
        match (piece.counted(), running) {
            (Some(Health::Down), Some(outage)) => outage.to_unix_ms = piece.to_unix_ms,
            (Some(Health::Down), None) => found.push(Outage {
                from_unix_ms: piece.from_unix_ms,
                to_unix_ms: piece.to_unix_ms,
                cause: piece.state.cause,
                running: true,
            }),
            (Some(Health::Up | Health::Degraded) | None, Some(outage)) => outage.running = false,
            _ => {}
        }
    }
    found
}

/// When it ceased to be up, in milliseconds since the Unix epoch: the starts of down or degraded after it was seen up, or left out,
/// or for the first time. A change between degraded and down, and unknown time before it is so again, are none.
pub fn onsets(pieces: &[Piece]) -> Vec<u64> {
    let mut found = Vec::new();
    let mut bad = false;
    for piece in pieces {
        match piece.counted() {
            Some(Health::Down | Health::Degraded) => {
                if !bad {
                    found.push(piece.from_unix_ms);
                }
                bad = true;
            }
            Some(Health::Up) | None => bad = false,
            Some(Health::Unknown) => {}
        }
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use extman_model::Cause;
    use extman_model::Lifecycle;
    use proptest::prelude::*;

    /// A span of running, that goes on if it has no end but the end of time; a health of `None` is left out.
    pub fn span(from_unix_ms: u64, to_unix_ms: u64, health: Option<Health>) -> SpanRow {
        SpanRow {
            from_unix_ms,
            to_unix_ms: (to_unix_ms < u64::MAX).then_some(to_unix_ms),
            cut: false,
            state: SpanState {
                lifecycle: Lifecycle::Running,
                health: health.unwrap_or(Health::Down),
                cause: Cause::CheckTimesOut,
                left_out: health.is_none(),
            },
            text: None,
        }
    }

    /// Any spans, in any order, some of them backwards.
    pub fn any_spans() -> impl Strategy<Value = Vec<SpanRow>> {
        let moment = || prop_oneof![0..200_u64, Just(u64::MAX)];
        let health = prop_oneof![
            Just(Some(Health::Up)),
            Just(Some(Health::Degraded)),
            Just(Some(Health::Unknown)),
            Just(Some(Health::Down)),
            Just(None),
        ];
        let any = (moment(), moment(), health).prop_map(|(from, to, health)| span(from, to, health));
        prop::collection::vec(any, 0..20)
    }

    fn ends(pieces: &[Piece]) -> Vec<(u64, u64)> {
        pieces.iter().map(|p| (p.from_unix_ms, p.to_unix_ms)).collect()
    }

    #[test]
    fn a_later_turn_ends_the_one_before() {
        let spans = [
            span(50, 60, Some(Health::Up)),
            span(0, 100, Some(Health::Down)),
            span(50, u64::MAX, Some(Health::Degraded)),
            span(30, 20, Some(Health::Up)),
        ];
        let range = Range {
            from_unix_ms: 10,
            to_unix_ms: 90,
        };
        let pieces = timeline(&spans, range);
        assert_eq!(ends(&pieces), [(10, 50), (50, 90)]);
        assert_eq!(pieces[1].state.health, Health::Degraded);
    }

    #[test]
    fn only_a_recovery_ends_an_outage() {
        use Health::{Degraded, Down, Unknown, Up};
        let healths = [
            Some(Down),
            Some(Unknown),
            Some(Down),
            Some(Unknown),
            Some(Degraded),
            Some(Down),
            None,
            Some(Down),
        ];
        let spans: Vec<_> = healths
            .iter()
            .zip((0..).step_by(10))
            .map(|(health, at)| span(at, at + 10, *health))
            .collect();
        let whole = Range {
            from_unix_ms: 0,
            to_unix_ms: 80,
        };
        let pieces = timeline(&spans, whole);
        let found: Vec<_> = outages(&pieces)
            .iter()
            .map(|o| (o.from_unix_ms, o.to_unix_ms, o.running))
            .collect();
        assert_eq!(found, [(0, 30, false), (50, 60, false), (70, 80, true)]);
        // From degraded to down is no new onset.
        assert_eq!(onsets(&pieces), [0, 70]);
        assert_eq!(
            onsets(&timeline(&[span(5, 9, Some(Up))], whole)),
            Vec::<u64>::new()
        );
    }

    proptest! {
        #[test]
        fn pieces_never_overlap_and_stay_within(spans in any_spans(), from in 0..200_u64, to in 0..250_u64) {
            let pieces = timeline(&spans, Range { from_unix_ms: from, to_unix_ms: to });
            prop_assert!(pieces.iter().all(|p| p.from_unix_ms < p.to_unix_ms));
            prop_assert!(pieces.iter().all(|p| p.from_unix_ms >= from && p.to_unix_ms <= to));
            prop_assert!(pieces.windows(2).all(|p| p[0].to_unix_ms <= p[1].from_unix_ms));
            let found = outages(&pieces);
            prop_assert!(found.iter().rev().skip(1).all(|outage| !outage.running));
            prop_assert!(found.windows(2).all(|o| o[0].to_unix_ms <= o[1].from_unix_ms));
        }
    }
}
