//! What deep checks say of an instance: synthetic requests, rare, so that each weighs more than a cheap check. Pure.
//!
//! Two failures in a row make an instance degraded that is up besides, and one success ends that. They alone make nobody down: what
//! the cheap checks and the calls say goes on to count, and a synthetic request is not everybody's request.

use extman_model::record::ResultWord;
use extman_model::{Cause, ErrorKind, Health};

/// Failures in a row that count.
const FALL: u8 = 2;

/// The line of evidence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DeepEvidence {
    failed: u8,
    cause: Option<Cause>,
}

impl DeepEvidence {
    /// One more result.
    pub fn observe(&mut self, result: ResultWord) {
        match failure(result) {
            Some(None) => *self = DeepEvidence::default(),
            Some(cause) => (self.failed, self.cause) = (self.failed.saturating_add(1), cause),
            None => {}
        }
    }

    /// Failures in a row.
    pub fn failed(&self) -> u8 {
        self.failed
    }

    /// What is decided, where everything else decides `besides`.
    pub fn upon(&self, besides: (Health, Cause)) -> (Health, Cause) {
        match (besides.0, self.cause) {
            (Health::Up, Some(cause)) if self.failed >= FALL => (Health::Degraded, cause),
            _ => besides,
        }
    }
}

/// Why it has failed, if it has; `None` where nothing is held against the plugin: the caller's mistake, a busy plugin, a starved host, or that
/// nobody knows.
fn failure(result: ResultWord) -> Option<Option<Cause>> {
    use ResultWord as R;
    Some(match result {
        R::Said(None | Some(Health::Up)) => None,
        R::Said(Some(Health::Degraded)) => Some(Cause::DeepSaysDegraded),
        R::Said(Some(Health::Down)) => Some(Cause::DeepSaysDown),
        R::TimedOut => Some(Cause::DeepTimesOut),
        R::Said(Some(Health::Unknown)) | R::Busy | R::HostLate => return None,
        R::Failed(ErrorKind::Unsupported | ErrorKind::NotServing) => return None,
        R::Failed(kind) if kind.is_callers() => return None,
        R::Failed(kind) => Some(Cause::DeepFails(kind)),
    })
}

/// Whether a result is evidence at all.
pub fn deep_counts(result: ResultWord) -> bool {
    failure(result).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: (Health, Cause) = (Health::Up, Cause::Answers);

    fn after(results: &[ResultWord]) -> DeepEvidence {
        let mut deep = DeepEvidence::default();
        results.iter().for_each(|result| deep.observe(*result));
        deep
    }

    #[test]
    fn two_in_a_row_degrade_and_one_success_ends_it() {
        let (bad, good) = (ResultWord::TimedOut, ResultWord::Said(None));
        let degraded = (Health::Degraded, Cause::DeepTimesOut);
        for (results, expected) in [
            (&[bad][..], UP),
            (&[bad, bad], degraded),
            (&[bad, good, bad], UP),
            (&[bad, bad, good], UP),
            (&[bad; 300], degraded),
        ] {
            assert_eq!(after(results).upon(UP), expected, "{results:?}");
        }
    }

    #[test]
    fn the_last_failure_is_the_cause() {
        for (result, cause) in [
            (
                ResultWord::Failed(ErrorKind::RateLimited),
                Cause::DeepFails(ErrorKind::RateLimited),
            ),
            (ResultWord::Said(Some(Health::Down)), Cause::DeepSaysDown),
            (ResultWord::Said(Some(Health::Degraded)), Cause::DeepSaysDegraded),
        ] {
            let upon = after(&[ResultWord::TimedOut, result]).upon(UP);
            assert_eq!(upon, (Health::Degraded, cause));
        }
    }

    #[test]
    fn what_says_nothing_changes_nothing() {
        for result in [
            ResultWord::Busy,
            ResultWord::HostLate,
            ResultWord::Said(Some(Health::Unknown)),
            ResultWord::Failed(ErrorKind::InvalidInput),
            ResultWord::Failed(ErrorKind::Cancelled),
            ResultWord::Failed(ErrorKind::NotServing),
            ResultWord::Failed(ErrorKind::Unsupported),
        ] {
            assert!(!deep_counts(result));
            assert_eq!(after(&[result; 9]), DeepEvidence::default(), "{result:?}");
            assert_eq!(after(&[ResultWord::TimedOut, result]).failed(), 1);
        }
    }

    #[test]
    fn it_lifts_nobody_and_downs_nobody() {
        let deep = after(&[ResultWord::TimedOut; 2]);
        for besides in [
            (Health::Down, Cause::CallsFail),
            (Health::Unknown, Cause::Stale),
            (Health::Degraded, Cause::SaysDegraded),
        ] {
            assert_eq!(deep.upon(besides), besides);
        }
    }
}
