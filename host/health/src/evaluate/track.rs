//! One line of evidence with its thresholds: how it stands, and what the last results say. Pure.
//!
//! ```text
//!               fall bad ones in a row
//!   up ─────────────────────────────────────▶ down
//!    │  ▲                                    ▲  │
//!    │  └───────────── rise good ones ───────┼──┘
//!    │ fall_fair that are not good           │ rise that are not bad
//!    └──────────────▶ degraded ──────────────┘ ◀┘
//! ```

use extman_model::Health;

/// What one result says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// All is well.
    Good,
    /// It serves, worse than usual.
    Fair,
    /// It does not serve.
    Bad,
    /// It answers, and says nothing of the kind.
    Unsure,
}

/// How many results in a row change a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Bad ones that make it down.
    pub fall: u8,
    /// Ones that are not good, until it is degraded.
    pub fall_fair: u8,
    /// Good ones that make it up; ones that are not bad that make it degraded instead of down.
    pub rise: u8,
}

/// A line of evidence. Unknown until its first result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    level: Health,
    bad: u8,
    not_good: u8,
    good: u8,
    not_bad: u8,
}

impl Default for Track {
    fn default() -> Self {
        Track {
            level: Health::Unknown,
            bad: 0,
            not_good: 0,
            good: 0,
            not_bad: 0,
        }
    }
}

impl Track {
    /// How it stands.
    pub fn level(&self) -> Health {
        self.level
    }

    /// Whether the last results say otherwise than how it stands, too few of them yet.
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

    /// One more result.
    pub fn observe(&mut self, word: Word, thresholds: Thresholds) {
        let more = |run: u8, goes_on: bool| if goes_on { run.saturating_add(1) } else { 0 };
        self.bad = more(self.bad, word == Word::Bad);
        self.not_good = more(self.not_good, matches!(word, Word::Bad | Word::Fair));
        self.good = more(self.good, word == Word::Good);
        self.not_bad = more(self.not_bad, matches!(word, Word::Good | Word::Fair));
        let rise = if self.level == Health::Unknown {
            1
        } else {
            thresholds.rise.max(1)
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

    /// So many good results, where one changes no level.
    pub(super) fn take_good(&mut self, count: u32) {
        let more = |run: u8| u8::try_from(u32::from(run).saturating_add(count)).unwrap_or(u8::MAX);
        (self.bad, self.not_good) = (0, 0);
        (self.good, self.not_bad) = (more(self.good), more(self.not_bad));
    }

    /// What was seen is too old to count.
    pub fn forget(&mut self) {
        *self = Track::default();
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

    fn after(words: &str) -> Health {
        let mut track = Track::default();
        for word in words.chars() {
            let word = match word {
                'g' => Word::Good,
                'f' => Word::Fair,
                'b' => Word::Bad,
                _ => Word::Unsure,
            };
            track.observe(word, CHECKS);
        }
        track.level()
    }

    #[test]
    fn levels_follow_runs() {
        for (words, level) in [
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
            ("gbbbu", Health::Down),
            ("u", Health::Unknown),
            ("bbug", Health::Up),
            ("bf", Health::Degraded),
        ] {
            assert_eq!(after(words), level, "{words}");
        }
    }

    #[test]
    fn zero_thresholds_are_one() {
        let none = Thresholds {
            fall: 0,
            fall_fair: 0,
            rise: 0,
        };
        let mut track = Track::default();
        track.observe(Word::Bad, none);
        assert_eq!(track.level(), Health::Down);
        track.observe(Word::Good, none);
        assert_eq!(track.level(), Health::Up);
    }

    #[test]
    fn runs_do_not_overflow() {
        let mut track = Track::default();
        for _ in 0..1000 {
            track.observe(Word::Bad, CHECKS);
        }
        assert_eq!((track.level(), track.bad_run()), (Health::Down, 255));
    }
}
