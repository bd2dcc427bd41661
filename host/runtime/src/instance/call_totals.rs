//! Calls of one instance over all its generations: what is shown never goes back when one generation follows another.

use super::CallMetrics;
use extman_model::{CallStats, ErrorKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Calls of one instance over all its generations.
#[derive(Debug, Clone, Default)]
pub struct CallTotals {
    past: Sums,
    generations: Vec<Generation>,
}

#[derive(Debug, Clone)]
struct Generation {
    metrics: Arc<CallMetrics>,
    /// It takes no more calls; those under way are still counted.
    closed: bool,
}

impl CallTotals {
    /// A new generation serves.
    pub fn begin(&mut self, metrics: Arc<CallMetrics>) {
        self.generations.push(Generation {
            metrics,
            closed: false,
        });
    }

    /// A generation takes no more calls.
    pub fn close(&mut self, metrics: &Arc<CallMetrics>) {
        for generation in &mut self.generations {
            generation.closed |= Arc::ptr_eq(&generation.metrics, metrics);
        }
        let past = &mut self.past;
        self.generations.retain(|generation| {
            let over = generation.closed && generation.metrics.in_flight() == 0;
            if over {
                generation.metrics.add_to(past);
            }
            !over
        });
    }

    /// All of it.
    pub fn stats(&self) -> CallStats {
        let mut sums = self.past.clone();
        for generation in &self.generations {
            generation.metrics.add_to(&mut sums);
        }
        sums.stats()
    }
}

/// Counts, added up.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    pub ended: u64,
    pub returned: u64,
    pub ran_ns: u64,
    pub in_flight: u64,
    pub errors: BTreeMap<ErrorKind, u64>,
    pub last_failure: Option<ErrorKind>,
}

impl Sums {
    pub(super) fn stats(self) -> CallStats {
        CallStats {
            total: self.ended,
            errors: self.errors,
            last_failure: self.last_failure,
            in_flight: self.in_flight,
            mean_ns: self.ran_ns.checked_div(self.returned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::CallError;
    use std::time::Duration;

    fn served(ok: u64, failed: u64) -> Arc<CallMetrics> {
        let metrics = Arc::new(CallMetrics::new(crate::lanes::ConcurrencyLimit::new(1)));
        for _ in 0..ok {
            metrics.returned(Duration::from_nanos(10));
            metrics.begin().end(None, false);
        }
        for _ in 0..failed {
            metrics.returned(Duration::from_nanos(40));
            metrics
                .begin()
                .end(Some(&CallError::new(ErrorKind::Internal, "")), false);
        }
        metrics
    }

    #[test]
    fn generations_add_up_before_and_after_their_end() {
        let (old, new) = (served(2, 1), served(1, 0));
        let mut tally = CallTotals::default();
        tally.begin(old.clone());
        tally.begin(new);
        let before = tally.stats();
        assert_eq!((before.total, before.mean_ns), (4, Some(17)));
        assert_eq!(before.errors, BTreeMap::from([(ErrorKind::Internal, 1)]));
        tally.close(&old);
        assert_eq!(tally.stats(), before);
        assert_eq!(tally.generations.len(), 1);
    }

    #[test]
    fn what_is_under_way_at_the_end_is_counted_when_it_ends() {
        let old = served(1, 0);
        let mut tally = CallTotals::default();
        tally.begin(old.clone());
        let counted = old.begin();
        tally.close(&old);
        assert_eq!((tally.stats().total, tally.stats().in_flight), (1, 1));
        counted.end(None, false);
        assert_eq!((tally.stats().total, tally.stats().in_flight), (2, 0));
        tally.close(&old);
        assert_eq!(tally.stats().total, 2);
        assert!(tally.generations.is_empty());
    }
}
