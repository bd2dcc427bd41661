//! How much time has certainly passed, over restarts of the host and of the machine. Pure.
//!
//! A budget by the wall clock is anew whenever somebody sets that clock, so the wall clock has no say here. While the machine is up, its
//! own clock tells, also over restarts of the host. Over a restart of the machine nothing can be told, so nothing is counted: time
//! goes on where it was last written down.

use serde::{Deserialize, Serialize};

/// Where the count stood, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which run of the machine; empty if that can't be told.
    pub boot: String,
    /// Milliseconds since the machine was started.
    pub booted_ms: u64,
    /// Milliseconds that had certainly passed.
    pub lived_ms: u64,
}

/// Counts on from a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lived {
    from: Mark,
}

impl Lived {
    /// Goes on from what was written down last, if anything was. `boot` is empty if it can't be told which run of the machine this is.
    pub fn resume(last: Option<&Mark>, boot: &str, booted_ms: u64) -> Lived {
        let lived_ms = last.map_or(0, |last| {
            let same = !boot.is_empty() && last.boot == boot;
            let passed = if same {
                booted_ms.saturating_sub(last.booted_ms)
            } else {
                0
            };
            last.lived_ms.saturating_add(passed)
        });
        Lived {
            from: Mark {
                boot: boot.to_owned(),
                booted_ms,
                lived_ms,
            },
        }
    }

    /// Milliseconds that have certainly passed, since the first mark of all.
    pub fn at(&self, booted_ms: u64) -> u64 {
        let passed = booted_ms.saturating_sub(self.from.booted_ms);
        self.from.lived_ms.saturating_add(passed)
    }

    /// The same to be written down.
    pub fn mark(&self, booted_ms: u64) -> Mark {
        Mark {
            boot: self.from.boot.clone(),
            booted_ms,
            lived_ms: self.at(booted_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(boot: &str, booted_ms: u64) -> u64 {
        let last = Mark {
            boot: "a".to_owned(),
            booted_ms: 1_000,
            lived_ms: 50,
        };
        Lived::resume(Some(&last), boot, booted_ms).at(booted_ms + 7)
    }

    #[test]
    fn time_counts_while_the_same_machine_is_up_and_else_stands_still() {
        assert_eq!(after("a", 1_600), 50 + 600 + 7);
        assert_eq!(after("b", 1_600), 50 + 7, "the machine was started anew");
        assert_eq!(after("a", 900), 50 + 7, "its clock can't be what it was");
        assert_eq!(after("", 1_600), 50 + 7);
        assert_eq!(Lived::resume(None, "a", 1_600).at(1_700), 100);
    }

    #[test]
    fn a_run_that_has_no_name_is_never_the_same() {
        let mark = Lived::resume(None, "", 10).mark(30);
        assert_eq!(
            (mark.lived_ms, Lived::resume(Some(&mark), "", 90).at(90)),
            (20, 20)
        );
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_and_gives_nothing() {
        let lived = Lived::resume(None, "a", 1_000);
        assert_eq!((lived.at(5_000), lived.at(0)), (4_000, 0));
        assert_eq!(lived.at(u64::MAX), u64::MAX - 1_000);
    }
}
