//! The quota of deep checks: synthetic requests through a capability, of which each costs what a real request costs. Pure.
//!
//! * [`UsageLog`]: when an instance's deep checks were begun; from it and the policy follow when the next is due and whether one is allowed;
//! * [`MonotonicAge`]: the clock of those logs, which goes on over restarts and which no set clock moves.
//!
//! Of any two deep checks of an instance that have `per_day` − 1 others between them, a whole day lies between: so no 24 hours hold more,
//! wherever they begin.

#[cfg(test)]
mod tests;

use crate::policy::DeepPolicy;
use extman_model::DeepResult;
use serde::{Deserialize, Serialize};

/// A day.
pub const DAY_MS: u64 = 86_400_000;
/// No deep check of an instance follows another sooner.
pub const APART_MS: u64 = DeepPolicy::EVERY_MIN.as_millis() as u64;
/// Most bytes of a usage log that is written down.
const WRITTEN_BYTES_MAX: usize = 8 * 1024;
/// Most deep checks that a day has room for.
pub const PER_DAY_MAX: usize = (DAY_MS / APART_MS) as usize;

/// Milliseconds that have certainly passed since the first host began to count, as of a moment. Within one boot the machine's own clock
/// tells, also over restarts of the host. What passed over a reboot only the wall clock could tell, and anybody can set that: it is not
/// counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonotonicAge {
    /// Which boot of the machine; empty if that can't be told.
    boot: String,
    /// Milliseconds from that boot to the moment.
    booted_ms: u64,
    age_ms: u64,
}

impl MonotonicAge {
    /// Goes on from what was written down last, if anything was.
    pub fn resume(last: Option<&MonotonicAge>, boot: &str, booted_ms: u64) -> Self {
        let is_same_boot = |last: &&MonotonicAge| !boot.is_empty() && last.boot == boot;
        let passed_to = last.filter(is_same_boot).map(|last| last.at(booted_ms));
        let age_ms = passed_to.or(last.map(|last| last.age_ms)).unwrap_or(0);
        MonotonicAge {
            boot: boot.to_owned(),
            booted_ms,
            age_ms,
        }
    }

    /// The age at this time since boot.
    pub fn at(&self, booted_ms: u64) -> u64 {
        let passed_ms = booted_ms.saturating_sub(self.booted_ms);
        self.age_ms.saturating_add(passed_ms)
    }

    /// The age as of this time since boot, to be written down.
    pub fn checkpoint(&self, booted_ms: u64) -> Self {
        MonotonicAge {
            boot: self.boot.clone(),
            booted_ms,
            age_ms: self.at(booted_ms),
        }
    }
}

/// What is kept of an instance's deep checks over restarts. Times are those of [`MonotonicAge`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageLog {
    /// Since when deep checks are wanted.
    pub since_ms: u64,
    /// When each was begun, the newest last: all of the last day, and one at least.
    #[serde(default)]
    pub begun_ms: Vec<u64>,
    /// What the last one came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<DeepResult>,
}

/// Why the quota allows no deep check now. Its text leaves the time to wait to whoever shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverQuota {
    /// The last one was not long ago.
    #[error("the last deep check was less than 5 minutes ago")]
    TooSoon {
        /// Milliseconds until one is allowed.
        wait_ms: u64,
    },
    /// All of a day were made.
    #[error("all {per_day} deep checks of 24 hours are spent; wait, or raise deep_per_day")]
    Spent {
        /// How many a day.
        per_day: u32,
        /// Milliseconds until one is allowed.
        wait_ms: u64,
    },
}

impl UsageLog {
    /// Of an instance that is new.
    pub fn since(now_ms: u64) -> Self {
        UsageLog {
            since_ms: now_ms,
            ..UsageLog::default()
        }
    }

    /// Of an instance whose log was lost: as if a whole day's had been begun just now.
    pub fn lost(now_ms: u64) -> Self {
        UsageLog {
            begun_ms: vec![now_ms; PER_DAY_MAX],
            ..UsageLog::since(now_ms)
        }
    }

    /// What was written down, if that can be read. A time that is still to come, since the age was lost, is taken for now: so it is never
    /// more generous than what was written.
    pub fn read(text: &str, now_ms: u64) -> Option<Self> {
        let mut log: UsageLog = serde_json::from_str(text).ok()?;
        if log.begun_ms.len() > PER_DAY_MAX || !log.begun_ms.is_sorted() {
            return None;
        }
        for at_ms in log.begun_ms.iter_mut().chain([&mut log.since_ms]) {
            *at_ms = (*at_ms).min(now_ms);
        }
        Some(log)
    }

    /// To be written down: with what the last one came to, where that finds room.
    pub fn written(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        if text.len() <= WRITTEN_BYTES_MAX {
            return text;
        }
        let without = UsageLog {
            last: None,
            ..self.clone()
        };
        serde_json::to_string(&without).unwrap_or_default()
    }

    /// When the next is due. `confirm`: the last one failed for the first time, and the next comes as soon as may be.
    pub fn due_ms(&self, policy: &DeepPolicy, confirm: bool) -> u64 {
        let every_ms = u64::try_from(policy.every.as_millis()).unwrap_or(u64::MAX);
        let gap_ms = if confirm { APART_MS } else { every_ms.max(APART_MS) };
        let last_ms = self.begun_ms.last().copied().unwrap_or(0).max(self.since_ms);
        let due_ms = last_ms.saturating_add(gap_ms);
        due_ms
            .max(self.apart_from_ms())
            .max(self.room_from_ms(policy.per_day))
    }

    /// Whether one may be begun now, due or not.
    ///
    /// # Errors
    /// Why not.
    pub fn allows(&self, policy: &DeepPolicy, now_ms: u64) -> Result<(), OverQuota> {
        let (apart_ms, room_ms) = (self.apart_from_ms(), self.room_from_ms(policy.per_day));
        match now_ms {
            now_ms if now_ms >= apart_ms.max(room_ms) => Ok(()),
            _ if room_ms >= apart_ms => Err(OverQuota::Spent {
                per_day: policy.per_day,
                wait_ms: room_ms - now_ms,
            }),
            _ => Err(OverQuota::TooSoon {
                wait_ms: apart_ms - now_ms,
            }),
        }
    }

    /// One is begun: it counts, whatever comes of it.
    pub fn begin(&mut self, now_ms: u64) {
        self.begun_ms
            .retain(|at_ms| at_ms.saturating_add(DAY_MS) > now_ms);
        self.begun_ms.push(now_ms);
    }

    /// How many a day still has room for.
    pub fn left(&self, per_day: u32, now_ms: u64) -> u32 {
        let of_day = |at_ms: &&u64| at_ms.saturating_add(DAY_MS) > now_ms;
        let begun = self.begun_ms.iter().filter(of_day).count();
        per_day.saturating_sub(u32::try_from(begun).unwrap_or(u32::MAX))
    }

    /// When it was used last.
    pub fn newest_ms(&self) -> u64 {
        self.begun_ms.last().copied().unwrap_or(self.since_ms)
    }

    /// From when on the last one is long enough ago.
    fn apart_from_ms(&self) -> u64 {
        self.begun_ms
            .last()
            .map_or(0, |last| last.saturating_add(APART_MS))
    }

    /// From when on a day has room for one more.
    fn room_from_ms(&self, per_day: u32) -> u64 {
        let Some(per_day) = usize::try_from(per_day).ok().filter(|n| *n > 0) else {
            return u64::MAX;
        };
        let first = self.begun_ms.len().checked_sub(per_day);
        first.map_or(0, |at| self.begun_ms[at].saturating_add(DAY_MS))
    }
}
