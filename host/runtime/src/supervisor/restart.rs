//! Restarts of an instance that failed: how long each one waits, how many there may be, and what a good run changes. Pure: it is told the time.
//!
//! A good run resets the wait but not the budget, which only its window gives back: else an instance that serves for a while and fails again each
//! time would be restarted for ever.
//!
//! ```text
//!   failure ─▶ first_wait, doubled each time, at most wait_max, less a jitter ─▶ start
//!      │                                                                          │
//!      │ max_restarts within the window: no more by itself                        │ a good run: the next wait is the first one again
//!      ▼                                                                          ▼
//!   quarantined                                                                 runs
//! ```

use extman_model::clock::Monotonic;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Whether an instance that failed is started again by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// It is, within its budget.
    #[default]
    OnFailure,
    /// It stays failed until somebody starts it, or other bytes come.
    Never,
}

/// `[supervision]`: what becomes of instances that fail. A failure is a panic, a start that failed, a call that was given up and came back
/// late, and being down for `down_ms` by checks or calls. What the host or a person stops has not failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SupervisionConfig {
    /// Whether an instance that failed is started again by itself: `on-failure` or `never`. Default: `on-failure`.
    pub restart: Restart,
    /// Restarts by itself within `within_ms`, at most; after that the instance is quarantined. Default: 10.
    pub max_restarts: u32,
    /// The window in which they are counted, in milliseconds. Default: 1800000, in which ten restarts of one that is down each time for
    /// `down_ms` have room.
    pub within_ms: u64,
    /// Milliseconds until the first restart; doubled each time, and less by up to a quarter, so that not all come at once. Default: 1000.
    pub first_wait_ms: u64,
    /// Milliseconds until a restart, at most. Default: 60000.
    pub wait_max_ms: u64,
    /// Milliseconds for which an instance has to run well, and ten times as long as it last waited, until it waits as shortly as at first.
    /// Default: 10000.
    pub good_run_ms: u64,
    /// Milliseconds for which an instance is down by its checks or calls until that is a failure. One that says of itself that it is down, or
    /// lacks what it needs, is not helped by a restart, and has not failed. Default: 60000.
    pub down_ms: u64,
}

impl Default for SupervisionConfig {
    fn default() -> Self {
        SupervisionConfig {
            restart: Restart::OnFailure,
            max_restarts: 10,
            within_ms: 1_800_000,
            first_wait_ms: 1_000,
            wait_max_ms: 60_000,
            good_run_ms: 10_000,
            down_ms: 60_000,
        }
    }
}

impl SupervisionConfig {
    /// Each value with its name and its bounds.
    pub fn bounds(self) -> impl Iterator<Item = (&'static str, u64, u64, u64)> {
        const DAY_MS: u64 = 86_400_000;
        [
            ("max_restarts", self.max_restarts.into(), 1, BUDGET_MAX.into()),
            ("within_ms", self.within_ms, 100, DAY_MS),
            ("first_wait_ms", self.first_wait_ms, 10, 1_000),
            ("wait_max_ms", self.wait_max_ms, 10, 60_000),
            ("good_run_ms", self.good_run_ms, 10, DAY_MS),
            ("down_ms", self.down_ms, 10, DAY_MS),
        ]
        .into_iter()
    }
}

/// The most that `max_restarts` may be: so many moments are remembered of each instance.
const BUDGET_MAX: u32 = 1_000;
/// How many times as long as the wait before it a run must last to be a good one.
const GOOD_RUN_WAITS: u32 = 10;

/// What follows a failure without anybody's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// Another start, at this moment; `number`: counted within the window, from 1.
    Restart { due: Monotonic, number: u32 },
    /// Nothing: the budget is spent.
    BudgetSpent,
    /// Nothing: that is the policy.
    Stays,
}

/// The restarts of one instance.
#[derive(Debug, Clone)]
pub(super) struct Restarts {
    config: SupervisionConfig,
    /// Gives each instance a jitter of its own.
    seed: u64,
    /// When those within the window were decided on.
    decided: VecDeque<Monotonic>,
    /// Failures since the last good run.
    in_a_row: u32,
    last_wait: Duration,
    /// Since when it runs well.
    well_since: Option<Monotonic>,
}

impl Restarts {
    pub(super) fn new(config: SupervisionConfig, name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Restarts {
            config,
            seed: hasher.finish(),
            decided: VecDeque::new(),
            in_a_row: 0,
            last_wait: Duration::ZERO,
            well_since: None,
        }
    }

    pub(super) fn config(&self) -> &SupervisionConfig {
        &self.config
    }

    /// The configuration is this from here on. A restart that is due already comes all the same.
    pub(super) fn configure(&mut self, config: SupervisionConfig) {
        self.config = config;
    }

    /// How long an instance is down until that is a failure; `None` if it never is, as no restart would follow.
    pub(super) fn down_for(&self) -> Option<Duration> {
        let is_restarted = self.config.restart == Restart::OnFailure;
        is_restarted.then(|| Duration::from_millis(self.config.down_ms))
    }

    /// The instance serves, and nothing is wrong with it.
    pub(super) fn good_run_begins(&mut self, now: Monotonic) {
        self.well_since.get_or_insert(now);
    }

    /// Something is wrong with the instance, or it no longer serves.
    pub(super) fn good_run_ends(&mut self, now: Monotonic) {
        let good_run = Duration::from_millis(self.config.good_run_ms).max(self.last_wait * GOOD_RUN_WAITS);
        if let Some(since) = self.well_since.take()
            && now.since(since) >= good_run
        {
            self.in_a_row = 0;
            self.last_wait = Duration::ZERO;
        }
    }

    /// A person has started the instance, or it is made from other bytes: earlier failures count no longer.
    pub(super) fn forget(&mut self) {
        self.decided.clear();
        self.in_a_row = 0;
        self.last_wait = Duration::ZERO;
    }

    /// The host was at fault, and not the instance: its failures spend no budget, but its waits go on growing.
    pub(super) fn excuse(&mut self) {
        self.decided.clear();
    }

    /// The instance has failed: decides what follows.
    pub(super) fn decide(&mut self, now: Monotonic) -> AfterFailure {
        self.good_run_ends(now);
        if self.config.restart == Restart::Never {
            return AfterFailure::Stays;
        }
        let window = Duration::from_millis(self.config.within_ms);
        self.decided.retain(|decided| now.since(*decided) < window);
        if self.decided.len() >= self.config.max_restarts as usize {
            return AfterFailure::BudgetSpent;
        }
        self.last_wait = self.next_wait();
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.decided.push_back(now);
        AfterFailure::Restart {
            due: now.after(self.last_wait),
            number: self.decided.len() as u32,
        }
    }

    fn next_wait(&self) -> Duration {
        let doubled = self.config.first_wait_ms << self.in_a_row.min(32);
        let whole = doubled.min(self.config.wait_max_ms);
        let mut hasher = DefaultHasher::new();
        (self.seed, self.in_a_row).hash(&mut hasher);
        Duration::from_millis(whole - hasher.finish() % (whole / 4 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(1).after(Duration::from_millis(ms))
    }

    fn wait(restarts: &mut Restarts, now: Monotonic) -> Option<Duration> {
        match restarts.decide(now) {
            AfterFailure::Restart { due, .. } => Some(due.since(now)),
            _ => None,
        }
    }

    #[test]
    fn first_wait_is_at_most_a_second_and_doubles_up_to_the_cap() {
        let mut restarts = Restarts::new(SupervisionConfig::default(), "a");
        let waits: Vec<u64> = std::iter::from_fn(|| wait(&mut restarts, at(0)))
            .map(|wait| wait.as_millis() as u64)
            .collect();
        assert_eq!(waits.len(), 10);
        for (number, wait) in waits.into_iter().enumerate() {
            let whole = (1_000 << number).min(60_000);
            assert!(
                (whole * 3 / 4..=whole).contains(&wait),
                "wait {number} is {wait} ms"
            );
        }
    }

    #[test]
    fn two_instances_that_fail_together_wait_differently() {
        let waits = |name| {
            let mut restarts = Restarts::new(SupervisionConfig::default(), name);
            let waits = std::iter::from_fn(move || wait(&mut restarts, at(0)));
            waits.collect::<Vec<_>>()
        };
        assert_ne!(waits("a"), waits("b"));
    }

    #[test]
    fn spent_budget_is_told_and_comes_back_with_time() {
        let config = SupervisionConfig {
            max_restarts: 2,
            within_ms: 600_000,
            ..SupervisionConfig::default()
        };
        let mut restarts = Restarts::new(config, "a");
        assert!(matches!(
            restarts.decide(at(0)),
            AfterFailure::Restart { number: 1, .. }
        ));
        assert!(matches!(
            restarts.decide(at(5_000)),
            AfterFailure::Restart { number: 2, .. }
        ));
        assert_eq!(restarts.decide(at(599_999)), AfterFailure::BudgetSpent);
        assert!(matches!(
            restarts.decide(at(600_000)),
            AfterFailure::Restart { number: 2, .. }
        ));
    }

    #[test]
    fn good_run_shortens_the_wait_and_not_the_budget_and_a_short_one_neither() {
        let mut restarts = Restarts::new(SupervisionConfig::default(), "a");
        for _ in 0..3 {
            restarts.decide(at(0));
        }
        let waited = restarts.last_wait;
        assert!(waited > Duration::from_secs(2));
        restarts.good_run_begins(at(100_000));
        let short = at(100_000).after(waited * GOOD_RUN_WAITS - Duration::from_millis(1));
        assert!(wait(&mut restarts, short) > Some(waited), "it is no good run");
        let waited = restarts.last_wait;
        restarts.good_run_begins(at(200_000));
        let good = at(200_000).after(waited * GOOD_RUN_WAITS);
        assert!(matches!(
            restarts.decide(good),
            AfterFailure::Restart { number: 5, .. }
        ));
        assert!(restarts.last_wait <= Duration::from_secs(1));
    }

    /// How many restarts come before the budget is spent, where each run lasts so long.
    fn restarts_before_quarantine(run: Duration) -> Option<usize> {
        let mut restarts = Restarts::new(SupervisionConfig::default(), "a");
        let mut now = at(0);
        for number in 0..100 {
            restarts.good_run_begins(now);
            now = now.after(run);
            match restarts.decide(now) {
                AfterFailure::Restart { due, .. } => now = due,
                _ => return Some(number),
            }
        }
        None
    }

    #[test]
    fn at_the_defaults_one_that_fails_after_each_start_is_quarantined() {
        // Of one that panics at once, one that serves for a while each time, and one that is found down and stays so for `down_ms`.
        for seconds in [0, 15, 90] {
            let run = Duration::from_secs(seconds);
            assert_eq!(restarts_before_quarantine(run), Some(10), "{seconds} s");
        }
        assert_eq!(restarts_before_quarantine(Duration::from_secs(3600)), None);
    }

    #[test]
    fn trouble_of_the_host_spends_nothing_and_goes_on_waiting_longer() {
        let mut restarts = Restarts::new(
            SupervisionConfig {
                max_restarts: 1,
                ..SupervisionConfig::default()
            },
            "a",
        );
        let first = wait(&mut restarts, at(0));
        restarts.excuse();
        assert!(wait(&mut restarts, at(1)) > first);
        assert_eq!(wait(&mut restarts, at(2)), None);
    }

    #[test]
    fn policy_never_restarts_nothing() {
        let config = SupervisionConfig {
            restart: Restart::Never,
            ..SupervisionConfig::default()
        };
        assert_eq!(Restarts::new(config, "a").decide(at(0)), AfterFailure::Stays);
    }
}
