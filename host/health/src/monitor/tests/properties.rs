//! What must hold whatever comes.

use super::table::{Evidence, Judged};
use super::*;
use extman_model::ErrorKind;
use extman_model::record::Outcome;
use proptest::prelude::*;

fn any_evidence() -> impl Strategy<Value = Evidence> {
    let health = prop_oneof![
        Just(Health::Up),
        Just(Health::Degraded),
        Just(Health::Down),
        Just(Health::Unknown)
    ];
    let result = prop_oneof![
        health.clone().prop_map(|health| ResultWord::Said(Some(health))),
        Just(ResultWord::Said(None)),
        Just(ResultWord::TimedOut),
        Just(ResultWord::Busy),
        Just(ResultWord::HostLate),
        prop_oneof![
            Just(ErrorKind::Internal),
            Just(ErrorKind::Cancelled),
            Just(ErrorKind::RateLimited)
        ]
        .prop_map(ResultWord::Failed),
    ];
    let generation = 1..4_u64;
    let state = prop_oneof![
        6 => Just(Lifecycle::Running),
        1 => Just(Lifecycle::Wedged),
        1 => Just(Lifecycle::Stopped),
        1 => Just(Lifecycle::Failed),
        1 => Just(Lifecycle::Starting)
    ];
    prop_oneof![
        10 => (generation.clone(), result.clone()).prop_map(|(of, result)| Evidence::Checked(of, result)),
        3 => (generation.clone(), result).prop_map(|(of, result)| Evidence::Deep(of, result)),
        4 => (generation.clone(), 0..20_u64, 0..20_u64).prop_map(|(of, good, bad)| Evidence::Called(of, good, bad)),
        1 => (generation.clone(), health).prop_map(|(of, health)| Evidence::Pushed(of, health)),
        1 => (state, generation.clone()).prop_map(|(state, of)| Evidence::Life(state, of)),
        2 => (generation, 0..1200_u64).prop_map(|(of, bytes)| Evidence::Heap(of, bytes)),
        1 => Just(Evidence::Starved),
        2 => Just(Evidence::Waited),
        1 => any::<bool>().prop_map(Evidence::Maintenance),
    ]
}

fn generation_of(evidence: Evidence) -> Option<u64> {
    match evidence {
        Evidence::Checked(of, _)
        | Evidence::Pushed(of, _)
        | Evidence::Called(of, _, _)
        | Evidence::Heap(of, _)
        | Evidence::Deep(of, _) => Some(of),
        _ => None,
    }
}

/// What somebody counts who knows nothing of levels.
#[derive(Default)]
struct Witness {
    failed_checks: u32,
    good_checks: u32,
    failed_calls: u64,
    pushed: Option<Health>,
}

impl Witness {
    fn sees(&mut self, evidence: Evidence) {
        match evidence {
            Evidence::Checked(_, result) => {
                let result = match result {
                    ResultWord::Said(None) | ResultWord::Failed(ErrorKind::Unsupported) => {
                        ResultWord::Said(self.pushed)
                    }
                    // Its newest word counts.
                    ResultWord::Said(Some(_)) => {
                        self.pushed = None;
                        result
                    }
                    result => result,
                };
                self.sees_outcome(result.outcome());
            }
            Evidence::Pushed(_, health) => {
                self.sees_outcome(ResultWord::Said(Some(health)).outcome());
                self.pushed = Some(health);
            }
            Evidence::Called(_, _, failed) => self.failed_calls += failed,
            _ => {}
        }
    }

    fn sees_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Skipped => {}
            Outcome::Bad => (self.failed_checks, self.good_checks) = (self.failed_checks + 1, 0),
            Outcome::Good => (self.failed_checks, self.good_checks) = (0, self.good_checks + 1),
            Outcome::Fair | Outcome::Unsure => (self.failed_checks, self.good_checks) = (0, 0),
        }
    }
}

/// The levels of checks and of calls.
fn levels(judged: &Judged) -> (Health, Health) {
    match &judged.monitor.state {
        State::Running(running) => (
            running.checks.results.level(),
            running
                .calls
                .as_ref()
                .map_or(Health::Unknown, |calls| calls.level()),
        ),
        State::NotRunning(_) => (Health::Unknown, Health::Unknown),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_must_hold_holds(steps in proptest::collection::vec((any_evidence(), 0..20_u64), 1..120)) {
        let mut judged = Judged::running();
        let mut witness = Witness::default();
        for (evidence, seconds) in steps {
            judged.now = judged.now.after(Duration::from_secs(seconds));
            let before = judged.clone();
            judged.take(evidence);
            let (was, is) = (before.monitor.judged(), judged.monitor.judged());
            let runs = before.monitor.lifecycle() == Lifecycle::Running;
            if generation_of(evidence).is_some_and(|of| of != before.monitor.generation() || !runs) {
                prop_assert_eq!(was, is, "evidence of another generation changed something");
                continue;
            }
            match evidence {
                Evidence::Life(Lifecycle::Running, of) if !runs || of != before.monitor.generation() => {
                    witness = Witness::default();
                }
                Evidence::Life(..) => {}
                evidence => witness.sees(evidence),
            }
            let ((checks_before, calls_before), (checks, calls)) = (levels(&before), levels(&judged));
            let falls = is.health == Health::Down && was.health != Health::Down;
            if falls && judged.monitor.lifecycle() == Lifecycle::Running {
                prop_assert!(checks == Health::Down || calls == Health::Down, "down without a reason: {:?}", evidence);
            }
            if matches!(evidence, Evidence::Deep(..)) {
                prop_assert!(!falls, "deep checks alone make nobody down");
            }
            if matches!(evidence, Evidence::Deep(..) | Evidence::Starved | Evidence::Waited | Evidence::Heap(..))
                || matches!(evidence, Evidence::Checked(_, ResultWord::HostLate | ResultWord::Busy)) {
                prop_assert_eq!((checks, calls), (checks_before, calls_before), "no result counted as one");
            }
            if !matches!(evidence, Evidence::Life(..)) {
                if checks == Health::Down && checks_before != Health::Down {
                    prop_assert!(witness.failed_checks >= 3);
                }
                if checks == Health::Up && checks_before == Health::Down {
                    prop_assert!(witness.good_checks >= 2);
                }
                if calls == Health::Down && calls_before != Health::Down {
                    prop_assert!(witness.failed_calls >= 5);
                }
                let is_forgotten = checks_before == Health::Down && checks != Health::Down;
                if calls != calls_before && !is_forgotten {
                    prop_assert!(matches!(evidence, Evidence::Called(..)), "calls changed without a call");
                }
            }
            if matches!(evidence, Evidence::Checked(_, ResultWord::TimedOut)) && was.health == Health::Unknown {
                prop_assert!(matches!(is.health, Health::Unknown | Health::Down | Health::Degraded), "a time-out made it up");
            }
        }
    }
}
