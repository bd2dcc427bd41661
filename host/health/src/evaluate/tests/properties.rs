//! What must hold whatever comes.

use super::*;
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
        10 => (generation.clone(), result.clone())
            .prop_map(|(generation, result)| Evidence::Checked { generation, result }),
        3 => (generation.clone(), result).prop_map(|(generation, result)| Evidence::Deep { generation, result }),
        4 => (generation.clone(), 0..20_u32, 0..20_u32, any::<bool>()).prop_map(
            |(generation, succeeded, failed, window_ends)| Evidence::Called {
                generation,
                succeeded,
                failed,
                window_ends
            }
        ),
        1 => (generation.clone(), health).prop_map(|(generation, health)| Evidence::Told { generation, health }),
        1 => (state, generation.clone()).prop_map(|(state, generation)| life(state, generation)),
        2 => (generation.clone(), 0..1200_u64).prop_map(|(generation, bytes)| Evidence::Heap { generation, bytes, limit: 1000 }),
        1 => Just(Evidence::Starved),
        1 => Just(waited()),
        1 => any::<bool>().prop_map(Evidence::Maintenance),
    ]
}

/// Counts by itself what the rules speak of.
#[derive(Default)]
struct Witness {
    failed_checks: u32,
    good_checks: u32,
    failing_windows: u32,
    window: (u32, u32),
}

impl Witness {
    fn sees(&mut self, evidence: Evidence) {
        match evidence {
            Evidence::Checked { result, .. } => match result {
                ResultWord::Busy | ResultWord::HostLate | ResultWord::Failed(ErrorKind::Cancelled) => {}
                ResultWord::TimedOut
                | ResultWord::Failed(ErrorKind::Internal)
                | ResultWord::Said(Some(Health::Down)) => {
                    self.failed_checks += 1;
                    self.good_checks = 0;
                }
                ResultWord::Said(None | Some(Health::Up)) => {
                    self.failed_checks = 0;
                    self.good_checks += 1;
                }
                _ => {
                    self.failed_checks = 0;
                    self.good_checks = 0;
                }
            },
            Evidence::Told { health, .. } => self.sees(said(health)),
            Evidence::Called {
                succeeded,
                failed,
                window_ends,
                ..
            } => {
                self.window.0 += succeeded;
                self.window.1 += failed;
                if window_ends {
                    let (succeeded, failed) = std::mem::take(&mut self.window);
                    if succeeded + failed >= 5 {
                        let bad = failed * 2 >= succeeded + failed;
                        self.failing_windows = if bad { self.failing_windows + 1 } else { 0 };
                    }
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_must_hold_holds(steps in proptest::collection::vec((any_evidence(), 0..20_u64), 1..120)) {
        let policy = Policy::default();
        let mut evaluation = running();
        let mut witness = Witness::default();
        let mut now = 0;
        for (evidence, seconds) in steps {
            now += seconds;
            let before = evaluation.clone();
            let told = evaluation.take(at(now), evidence, &policy);
            let (was, is) = (before.judged(), evaluation.judged());
            prop_assert_eq!(told.is_some(), was != is);
            prop_assert_eq!(told.unwrap_or(is), was);

            let generation_of = match evidence {
                Evidence::Checked { generation, .. } | Evidence::Told { generation, .. } | Evidence::Called { generation, .. } | Evidence::Heap { generation, .. } | Evidence::Deep { generation, .. } => Some(generation),
                _ => None,
            };
            let late = generation_of.is_some_and(|g| g != before.generation() || before.life() != Lifecycle::Running);
            if late {
                prop_assert_eq!(was, is, "a late result by another generation changed something");
                continue;
            }
            if let Evidence::Life { state, generation } = evidence {
                let begins = state == Lifecycle::Running
                    && (before.life() != Lifecycle::Running || generation != before.generation());
                if begins {
                    witness = Witness::default();
                }
            } else {
                witness.sees(evidence);
            }
            let falls = is.health == Health::Down && was.health != Health::Down;
            if falls && evaluation.life() == Lifecycle::Running {
                let by_checks = evaluation.checks.level() == Health::Down;
                let by_calls = evaluation.calls.level() == Health::Down;
                prop_assert!(by_checks || by_calls, "down without a reason: {:?}", evidence);
            }
            if matches!(evidence, Evidence::Deep { .. }) {
                prop_assert!(!falls, "deep checks alone make nobody down");
                prop_assert_eq!((evaluation.checks, evaluation.calls), (before.checks, before.calls));
            }
            if evaluation.checks.level() == Health::Down && before.checks.level() != Health::Down {
                prop_assert!(witness.failed_checks >= 3);
            }
            if evaluation.calls.level() == Health::Down && before.calls.level() != Health::Down {
                prop_assert!(witness.failing_windows >= 3);
            }
            if evaluation.checks.level() == Health::Up && before.checks.level() == Health::Down {
                prop_assert!(witness.good_checks >= 2);
            }
            if matches!(evidence, Evidence::Starved | Evidence::Waited { .. })
                || matches!(evidence, Evidence::Checked { result: ResultWord::HostLate | ResultWord::Busy, .. }) {
                prop_assert_eq!(evaluation.checks, before.checks, "what is unknown counted as a result");
                prop_assert!(!falls || before.checks.level() == Health::Down || before.calls.level() == Health::Down);
            }
        }
    }
}
