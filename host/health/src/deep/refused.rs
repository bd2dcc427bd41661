//! Why a deep check was not made, for whoever asked for it.

use super::book::Refusal;
use std::time::Duration;

/// Why a deep check was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody has configured any.
    #[error(
        "{0}: no deep checks are configured; each is a request that costs what a real one costs, so set deep_every_ms first: \
         under [probe] for all, or under probe in an [[instance]] of this name"
    )]
    NotWanted(String),
    /// Something speaks against any of this instance.
    #[error("{name}: no deep check is made: {why}")]
    Obstacle {
        /// The instance.
        name: String,
        /// What.
        why: String,
    },
    /// It does not run.
    #[error("{0} does not run, and only a running plugin can be asked")]
    NotRunning(String),
    /// Another one is under way.
    #[error("a deep check of {0} is under way, and the host makes one at a time; wait for its end")]
    UnderWay(String),
    /// The last one was not long ago.
    #[error("{name}: the last deep check was less than 5 minutes ago; the next is possible in {}", words(*.wait_ms))]
    TooSoon {
        /// The instance.
        name: String,
        /// Milliseconds until it is possible.
        wait_ms: u64,
    },
    /// The budget is spent.
    #[error(
        "{name}: all {per_day} deep checks of 24 hours are spent; the next is possible in {}, or raise deep_per_day",
        words(*.wait_ms)
    )]
    Spent {
        /// The instance.
        name: String,
        /// How many a day.
        per_day: u32,
        /// Milliseconds until it is possible.
        wait_ms: u64,
    },
    /// What is spent can't be kept.
    #[error("{name}: no deep check is made, since what it costs could not be kept in the history: {why}")]
    NotKept {
        /// The instance.
        name: String,
        /// Why not.
        why: String,
    },
    /// The instance stopped meanwhile, or the host ends.
    #[error("{0} stopped before its deep check had ended")]
    Stopped(String),
}

impl Refused {
    /// A refusal of an instance's budget, in words.
    pub fn of(refusal: Refusal, name: &str, now_ms: u64) -> Refused {
        let name = name.to_owned();
        let wait = |at_ms: u64| at_ms.saturating_sub(now_ms);
        match refusal {
            Refusal::NotWanted => Refused::NotWanted(name),
            Refusal::UnderWay(other) => Refused::UnderWay(other.to_string()),
            Refusal::TooSoon { at_ms } => Refused::TooSoon {
                name,
                wait_ms: wait(at_ms),
            },
            Refusal::Spent { at_ms, per_day } => Refused::Spent {
                name,
                per_day,
                wait_ms: wait(at_ms),
            },
        }
    }

    /// How long to wait until it is possible, if time alone makes it so.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Refused::TooSoon { wait_ms, .. } | Refused::Spent { wait_ms, .. } => Some(*wait_ms),
            _ => None,
        }
    }
}

/// Rounded up, so that it is possible by then.
fn words(ms: u64) -> String {
    let seconds = Duration::from_millis(ms).as_millis().div_ceil(1000);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_when_it_is_possible() {
        let of = |refusal| Refused::of(refusal, "a", 1_000);
        let soon = of(Refusal::TooSoon { at_ms: 253_001 });
        assert!(soon.to_string().ends_with("in 4 min 13 s"), "{soon}");
        assert_eq!(soon.retry_after_ms(), Some(252_001));
        let spent = of(Refusal::Spent {
            at_ms: 1_000 + 7_260_000,
            per_day: 3,
        });
        assert!(spent.to_string().contains("all 3 deep checks"), "{spent}");
        assert!(spent.to_string().contains("in 2 h 1 min"), "{spent}");
        assert_eq!(of(Refusal::NotWanted).retry_after_ms(), None);
        assert_eq!(words(999), "1 s");
    }
}
