//! Hysteresis: how many results in a row change a level. Pure.
//!
//! ```text
//!               fall bad ones in a row
//!   up ─────────────────────────────────────▶ down
//!    │  ▲                                    ▲  │
//!    │  └───────────── rise good ones ───────┼──┘
//!    │ fall_fair that are not good           │ rise that are not bad
//!    └──────────────▶ degraded ──────────────┘ ◀┘
//! ```

use crate::policy::Policy;
use extman_model::Health;
use extman_model::record::Outcome;

/// How many results in a row change a level. Zero counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Bad results that lead to down.
    pub fall: u8,
    /// Results that are not good that lead to degraded.
    pub fall_fair: u8,
    /// Good results that lead to up; results that are not bad that lead from down to degraded.
    pub rise: u8,
}

impl Thresholds {
    /// Those of checks.
    pub fn of_checks(policy: &Policy) -> Self {
        Thresholds {
            fall: policy.fall,
            fall_fair: policy.fall,
            rise: policy.rise,
        }
    }
}

/// A level that changes by runs of results. It is unknown until the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hysteresis {
    level: Health,
    bad: u8,
    not_good: u8,
    good: u8,
    not_bad: u8,
}

impl Default for Hysteresis {
    fn default() -> Self {
        Hysteresis::at(Health::Unknown)
    }
}

impl Hysteresis {
    /// At a level that was found otherwise, without a result so far.
    pub fn at(level: Health) -> Self {
        Hysteresis {
            level,
            bad: 0,
            not_good: 0,
            good: 0,
            not_bad: 0,
        }
    }

    /// The level.
    pub fn level(&self) -> Health {
        self.level
    }

    /// Whether the last results contradict the level and are too few to change it.
    pub fn is_soft(&self) -> bool {
        match self.level {
            Health::Up => self.not_good > 0,
            Health::Degraded => self.bad > 0 || self.good > 0,
            Health::Unknown => self.bad > 0,
            Health::Down => self.not_bad > 0,
        }
    }

    /// Bad results in a row, up to now.
    pub fn bad_run(&self) -> u8 {
        self.bad
    }

    /// Takes one more result. What is no evidence changes nothing.
    pub fn observe(&mut self, outcome: Outcome, thresholds: Thresholds) {
        if outcome == Outcome::Skipped {
            return;
        }
        let extend = |run: u8, goes_on: bool| if goes_on { run.saturating_add(1) } else { 0 };
        self.bad = extend(self.bad, outcome == Outcome::Bad);
        self.not_good = extend(self.not_good, matches!(outcome, Outcome::Bad | Outcome::Fair));
        self.good = extend(self.good, outcome == Outcome::Good);
        self.not_bad = extend(self.not_bad, matches!(outcome, Outcome::Good | Outcome::Fair));
        let rise = match self.level {
            Health::Unknown => 1,
            _ => thresholds.rise.max(1),
        };
        if self.bad >= thresholds.fall.max(1) {
            self.level = Health::Down;
        } else if self.good >= rise {
            self.level = Health::Up;
        } else if self.not_bad >= rise && matches!(self.level, Health::Down | Health::Unknown)
            || self.not_good >= thresholds.fall_fair.max(1)
                && matches!(self.level, Health::Up | Health::Unknown)
        {
            self.level = Health::Degraded;
        }
    }

    /// Takes so many good results where one changes no level.
    pub(super) fn observe_good(&mut self, count: u32) {
        let extend = |run: u8| u8::try_from(u32::from(run).saturating_add(count)).unwrap_or(u8::MAX);
        (self.bad, self.not_good) = (0, 0);
        (self.good, self.not_bad) = (extend(self.good), extend(self.not_bad));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKS: Thresholds = Thresholds {
        fall: 3,
        fall_fair: 3,
        rise: 2,
    };

    fn after(outcomes: &str) -> Health {
        let mut hysteresis = Hysteresis::default();
        for outcome in outcomes.chars() {
            let outcome = match outcome {
                'g' => Outcome::Good,
                'f' => Outcome::Fair,
                'b' => Outcome::Bad,
                's' => Outcome::Skipped,
                _ => Outcome::Unsure,
            };
            hysteresis.observe(outcome, CHECKS);
        }
        hysteresis.level()
    }

    #[test]
    fn runs_of_outcomes_lead_to_levels() {
        for (outcomes, level) in [
            ("", Health::Unknown),
            ("g", Health::Up),
            ("f", Health::Degraded),
            ("b", Health::Unknown),
            ("bb", Health::Unknown),
            ("bbb", Health::Down),
            ("gbb", Health::Up),
            ("gbbgbb", Health::Up),
            ("gbbb", Health::Down),
            ("gbbbg", Health::Down),
            ("gbbbgg", Health::Up),
            ("gbbbf", Health::Down),
            ("gbbbff", Health::Degraded),
            ("gbbbfg", Health::Degraded),
            ("gff", Health::Up),
            ("gfff", Health::Degraded),
            ("gbfb", Health::Degraded),
            ("gbfbbb", Health::Down),
            ("gfffg", Health::Degraded),
            ("gfffgg", Health::Up),
            ("gfffbbu", Health::Degraded),
            ("gbbub", Health::Up),
            ("gbbsb", Health::Down),
            ("gbbbu", Health::Down),
            ("u", Health::Unknown),
            ("bbug", Health::Up),
            ("bf", Health::Degraded),
        ] {
            assert_eq!(after(outcomes), level, "{outcomes}");
        }
    }

    #[test]
    fn thresholds_of_zero_count_as_one() {
        let none = Thresholds {
            fall: 0,
            fall_fair: 0,
            rise: 0,
        };
        let mut hysteresis = Hysteresis::default();
        hysteresis.observe(Outcome::Bad, none);
        assert_eq!(hysteresis.level(), Health::Down);
        hysteresis.observe(Outcome::Good, none);
        assert_eq!(hysteresis.level(), Health::Up);
    }

    #[test]
    fn runs_longer_than_a_byte_stay_at_its_greatest() {
        let mut hysteresis = Hysteresis::default();
        (0..1000).for_each(|_| hysteresis.observe(Outcome::Bad, CHECKS));
        assert_eq!((hysteresis.level(), hysteresis.bad_run()), (Health::Down, 255));
    }
}
