//! The trial of the judge, small: the great one runs by `cargo xtask judge-trial`.

use super::*;

const HOUR_S: u32 = 3_600;

fn ends(regression: Regression, per_second: f64, updates: u32, window_s: u32) -> Ends {
    let mut ends = Ends::default();
    for number in 0..updates {
        ends.add(regression, update(7, number, regression, per_second, window_s));
    }
    ends
}

#[test]
fn the_same_build_is_promoted_under_noise() {
    let ends = ends(Regression::None, 10.0, 30, HOUR_S);
    assert_eq!((ends.taken_back, ends.promoted), (0, 30), "{ends:?}");
}

#[test]
fn each_regression_is_taken_back_for_its_reason() {
    for regression in Regression::ALL {
        if regression == Regression::None {
            continue;
        }
        let ends = ends(regression, 10.0, 10, HOUR_S);
        let found = (ends.taken_back, ends.for_its_reason);
        assert_eq!(found, (10, 10), "{regression:?}: {ends:?}");
    }
}

/// Ten calls in a hundred seconds, of which the new version gets one in twenty.
#[test]
fn update_that_nobody_calls_is_held_however_bad_it_is() {
    for regression in [Regression::None, Regression::Errors, Regression::Latency] {
        let ends = ends(regression, 0.1, 10, HOUR_S);
        assert_eq!((ends.held, ends.promoted), (10, 0), "{regression:?}: {ends:?}");
    }
    let silence = ends(Regression::None, 0.0, 3, 24 * HOUR_S);
    assert_eq!(silence.held, 3);
}

/// One call a second: the heap needs the better part of an hour to be above that of the version before.
#[test]
fn leak_that_shows_late_is_held_until_it_is_taken_back() {
    let early = ends(Regression::Leak, 1.0, 20, HOUR_S);
    assert_eq!(early.promoted, 0, "{early:?}");
    let late = ends(Regression::Leak, 1.0, 20, 2 * HOUR_S);
    assert_eq!((late.taken_back, late.for_its_reason), (20, 20), "{late:?}");
    let same = ends(Regression::None, 1.0, 20, 2 * HOUR_S);
    assert_eq!((same.taken_back, same.promoted), (0, 20), "{same:?}");
}

#[test]
fn the_same_seed_gives_the_same_end() {
    let end = |seed| update(seed, 3, Regression::Leak, 10.0, HOUR_S);
    assert_eq!(end(1), end(1));
    let ends: Vec<End> = (0..8).map(end).collect();
    assert!(ends.iter().any(|end| *end != ends[0]), "{ends:?}");
}
