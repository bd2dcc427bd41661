//! What a plugin says of itself in figures alone: the report of nearly every check, small enough to be kept of each instance and to be
//! read only when somebody looks.

use super::report::{Connection, Health, Report};

/// Figures of a report, in the order in which [`Figures`] keeps them.
const KEPT: usize = 8;
const CONNECTION_RTT_NS: usize = 0;
const HEAP_BYTES: usize = 5;
const HEAP_LIMIT_BYTES: usize = 7;

/// A report without text and without parts. What was not measured is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    values: [u64; KEPT],
    /// A bit for each value that was measured.
    measured: u16,
    /// How the plugin feels.
    pub health: Option<Health>,
    /// State of its connection.
    pub connection: Option<Connection>,
}

impl Figures {
    /// `values` are, in the order of a [`Report`]'s fields: the connection's round trip and age, depth and capacity of the queue,
    /// work under way, heap in use, at its peak and at most. A bit of `measured` for each says whether it is one.
    #[inline]
    pub fn new(
        health: Option<Health>,
        connection: Option<Connection>,
        values: [u64; KEPT],
        measured: u16,
    ) -> Self {
        Figures {
            values,
            measured,
            health,
            connection,
        }
    }

    /// Those of a report that has no text and no parts; `None` of another.
    pub fn of(report: &Report) -> Option<Self> {
        if report.text.is_some() || !report.parts.is_empty() {
            return None;
        }
        let given = [
            report.connection_rtt_ns,
            report.connection_age_ms,
            report.queue_depth,
            report.queue_capacity,
            report.in_flight,
            report.heap_bytes,
            report.heap_peak_bytes,
            report.heap_limit_bytes,
        ];
        let bits = given.iter().enumerate();
        let measured = bits.fold(0, |bits, (at, value)| bits | u16::from(value.is_some()) << at);
        let values = given.map(Option::unwrap_or_default);
        Some(Figures::new(report.health, report.connection, values, measured))
    }

    /// As a report.
    pub fn report(&self) -> Report {
        let [rtt, age, depth, capacity, in_flight, heap, peak, limit] =
            std::array::from_fn(|at| self.value(at));
        Report {
            health: self.health,
            text: None,
            connection: self.connection,
            connection_rtt_ns: rtt,
            connection_age_ms: age,
            queue_depth: depth,
            queue_capacity: capacity,
            in_flight,
            heap_bytes: heap,
            heap_peak_bytes: peak,
            heap_limit_bytes: limit,
            parts: Vec::new(),
        }
    }

    /// Last round trip over the connection, in nanoseconds.
    #[inline]
    pub fn connection_rtt_ns(&self) -> Option<u64> {
        self.value(CONNECTION_RTT_NS)
    }

    /// Heap in use, in bytes.
    #[inline]
    pub fn heap_bytes(&self) -> Option<u64> {
        self.value(HEAP_BYTES)
    }

    /// The most heap that may be in use, in bytes.
    #[inline]
    pub fn heap_limit_bytes(&self) -> Option<u64> {
        self.value(HEAP_LIMIT_BYTES)
    }

    #[inline]
    fn value(&self, at: usize) -> Option<u64> {
        (self.measured >> at & 1 == 1).then_some(self.values[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_figures_is_kept_whole_and_one_with_words_is_not() {
        let report = Report {
            health: Some(Health::Up),
            connection: Some(Connection::Connected),
            connection_rtt_ns: Some(1),
            queue_capacity: Some(4),
            in_flight: Some(0),
            heap_bytes: Some(6),
            heap_limit_bytes: Some(8),
            ..Report::default()
        };
        let figures = Figures::of(&report).unwrap();
        assert_eq!(figures.report(), report);
        assert_eq!(
            (figures.heap_bytes(), figures.heap_limit_bytes()),
            (Some(6), Some(8))
        );
        assert_eq!(figures.connection_rtt_ns(), Some(1));
        assert_eq!(Figures::default().report(), Report::default());
        let text = Some(String::new());
        assert_eq!(Figures::of(&Report { text, ..report }), None);
        assert!(size_of::<Figures>() <= 72);
    }
}
