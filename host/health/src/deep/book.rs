//! When a deep check is due, and whether one may be made: the budget. Pure; all times are those of [`Lived`](super::lived::Lived).
//!
//! ```text
//!   wanted ──every──▶ due ──begin: spent, whatever comes of it──▶ under way, one at a time ──end──▶ wanted
//!                                                                     a first failure is confirmed soon
//! ```
//!
//! Of any two deep checks of an instance that have `per_day` − 1 others between them, a whole day lies between: so no stretch of a day
//! holds more, wherever it begins.

use crate::policy::DeepPolicy;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A day.
pub const DAY_MS: u64 = 86_400_000;
/// No deep check of an instance follows another sooner.
pub const APART_MS: u64 = DeepPolicy::EVERY_MIN.as_millis() as u64;
/// Most that find room in a day.
pub const PER_DAY_MAX: usize = (DAY_MS / APART_MS) as usize;

/// What was spent for one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Since when they are wanted.
    pub from_ms: u64,
    /// When each was begun, the newest last; those of a day at least.
    pub spent_ms: Vec<u64>,
}

/// Why none may be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody has asked for deep checks of this instance.
    NotWanted,
    /// Another one is under way.
    UnderWay(Arc<str>),
    /// The last one was not long ago.
    TooSoon {
        /// When it is possible.
        at_ms: u64,
    },
    /// All of the day are made.
    Spent {
        /// When the next is possible.
        at_ms: u64,
        /// How many a day.
        per_day: u32,
    },
}

/// All accounts.
#[derive(Debug, Default)]
pub struct Book {
    lines: BTreeMap<Arc<str>, Line>,
    under_way: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Line {
    /// What was spent stays known although nobody wants any now.
    wanted: Option<DeepPolicy>,
    account: Account,
    held_until_ms: u64,
    /// The last one failed, for the first time: the next one comes soon.
    soon: bool,
}

impl Account {
    /// Of which nobody knows what was spent: as if it were all, just now.
    pub fn unknown(now_ms: u64) -> Self {
        Account {
            from_ms: now_ms,
            spent_ms: vec![now_ms; PER_DAY_MAX],
        }
    }
}

impl Book {
    /// What is known of an instance from before.
    pub fn restore(&mut self, name: &Arc<str>, account: Account) {
        self.lines.entry(name.clone()).or_default().account = account;
    }

    /// Deep checks of an instance are wanted. `true` if nothing was known of it.
    pub fn want(&mut self, name: &Arc<str>, policy: DeepPolicy, now_ms: u64) -> bool {
        let is_new = !self.lines.contains_key(name);
        let line = self.lines.entry(name.clone()).or_default();
        line.wanted = Some(policy);
        if is_new {
            line.account.from_ms = now_ms;
        }
        is_new
    }

    /// They are wanted no more.
    pub fn unwant(&mut self, name: &str) {
        if let Some(line) = self.lines.get_mut(name) {
            (line.wanted, line.held_until_ms, line.soon) = (None, 0, false);
        }
    }

    /// Who is due first, and when. Nobody while one is under way.
    pub fn next(&self) -> Option<(u64, Arc<str>)> {
        if self.under_way.is_some() {
            return None;
        }
        let due = |(name, line): (&Arc<str>, &Line)| Some((line.due_ms()?, name.clone()));
        self.lines.iter().filter_map(due).min()
    }

    /// When an instance is due.
    pub fn due_ms(&self, name: &str) -> Option<u64> {
        self.lines.get(name)?.due_ms()
    }

    /// Whether one may be made now, due or not.
    ///
    /// # Errors
    /// Why not.
    pub fn may(&self, name: &str, now_ms: u64) -> Result<(), Refusal> {
        let line = self.lines.get(name).ok_or(Refusal::NotWanted)?;
        let policy = line.wanted.ok_or(Refusal::NotWanted)?;
        if let Some(other) = &self.under_way {
            return Err(Refusal::UnderWay(other.clone()));
        }
        let (apart_ms, budget_ms) = (line.apart_ms(), line.budget_ms(policy.per_day));
        if budget_ms > now_ms && budget_ms >= apart_ms {
            let (at_ms, per_day) = (budget_ms, policy.per_day);
            return Err(Refusal::Spent { at_ms, per_day });
        }
        if apart_ms > now_ms {
            return Err(Refusal::TooSoon { at_ms: apart_ms });
        }
        Ok(())
    }

    /// One is made: spent from here on, whatever comes of it.
    ///
    /// # Errors
    /// As [`may`](Self::may).
    pub fn begin(&mut self, name: &Arc<str>, now_ms: u64) -> Result<(), Refusal> {
        self.may(name, now_ms)?;
        let Some(line) = self.lines.get_mut(name) else {
            return Err(Refusal::NotWanted);
        };
        let spent = &mut line.account.spent_ms;
        spent.retain(|at_ms| at_ms.saturating_add(DAY_MS) > now_ms);
        spent.push(now_ms);
        line.soon = false;
        self.under_way = Some(name.clone());
        Ok(())
    }

    /// It is over. `soon`: the next one is to come as soon as may be.
    pub fn end(&mut self, name: &str, soon: bool) {
        if self.under_way.as_deref() == Some(name) {
            self.under_way = None;
        }
        if let Some(line) = self.lines.get_mut(name) {
            line.soon = soon;
        }
    }

    /// It can't be asked before then.
    pub fn hold(&mut self, name: &str, until_ms: u64) {
        if let Some(line) = self.lines.get_mut(name) {
            line.held_until_ms = until_ms;
        }
    }

    /// Which is under way.
    pub fn under_way(&self) -> Option<&str> {
        self.under_way.as_deref()
    }

    /// How many are left of those of a day.
    pub fn left(&self, name: &str, now_ms: u64) -> u32 {
        let Some(line) = self.lines.get(name) else {
            return 0;
        };
        let of_day = |at_ms: &&u64| at_ms.saturating_add(DAY_MS) > now_ms;
        let spent = line.account.spent_ms.iter().filter(of_day).count();
        let per_day = line.wanted.map_or(0, |policy| policy.per_day);
        per_day.saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX))
    }

    /// What was spent for an instance.
    pub fn account(&self, name: &str) -> Option<&Account> {
        Some(&self.lines.get(name)?.account)
    }

    /// Everybody of whom anything is known.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.lines.keys()
    }
}

impl Line {
    fn due_ms(&self) -> Option<u64> {
        let policy = self.wanted?;
        let every_ms = u64::try_from(policy.every.as_millis()).unwrap_or(u64::MAX);
        let gap_ms = if self.soon {
            APART_MS
        } else {
            every_ms.max(APART_MS)
        };
        let last_ms = self.account.spent_ms.last().copied().unwrap_or(0);
        let usual_ms = last_ms.max(self.account.from_ms).saturating_add(gap_ms);
        let may_ms = self.apart_ms().max(self.budget_ms(policy.per_day));
        Some(usual_ms.max(may_ms).max(self.held_until_ms))
    }

    /// When the last one is long enough ago.
    fn apart_ms(&self) -> u64 {
        let last = self.account.spent_ms.last();
        last.map_or(0, |last| last.saturating_add(APART_MS))
    }

    /// When the budget has room.
    fn budget_ms(&self, per_day: u32) -> u64 {
        let per_day = usize::try_from(per_day).unwrap_or(usize::MAX);
        if per_day == 0 {
            return u64::MAX;
        }
        let spent = &self.account.spent_ms;
        let first = spent.len().checked_sub(per_day).map(|at| spent[at]);
        first.map_or(0, |first| first.saturating_add(DAY_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HOUR_MS: u64 = 3_600_000;

    fn policy(every_ms: u64, per_day: u32) -> DeepPolicy {
        DeepPolicy {
            every: Duration::from_millis(every_ms),
            per_day,
            ..DeepPolicy::default()
        }
    }

    fn book(every_ms: u64, per_day: u32) -> (Book, Arc<str>) {
        let (mut book, name) = (Book::default(), Arc::from("a"));
        assert!(book.want(&name, policy(every_ms, per_day), 1_000));
        (book, name)
    }

    #[test]
    fn the_first_one_comes_an_interval_after_it_was_wanted() {
        let (mut book, name) = book(HOUR_MS, 24);
        assert_eq!(book.next(), Some((1_000 + HOUR_MS, name.clone())));
        assert!(!book.want(&name, policy(2 * HOUR_MS, 24), 9_000), "known since");
        assert_eq!(book.due_ms("a"), Some(1_000 + 2 * HOUR_MS));
        book.unwant("a");
        assert_eq!(
            (book.next(), book.may("a", u64::MAX)),
            (None, Err(Refusal::NotWanted))
        );
    }

    #[test]
    fn one_is_under_way_at_a_time_and_what_is_begun_is_spent() {
        let (mut book, a) = book(HOUR_MS, 2);
        let b: Arc<str> = "b".into();
        book.want(&b, policy(HOUR_MS, 2), 1_000);
        book.begin(&a, 5_000).unwrap();
        assert_eq!(
            (book.under_way(), book.next(), book.left("a", 5_000)),
            (Some("a"), None, 1)
        );
        assert_eq!(book.begin(&b, 5_000), Err(Refusal::UnderWay(a.clone())));
        book.end("b", false);
        assert_eq!(book.under_way(), Some("a"), "it was not b's");
        book.end("a", false);
        assert_eq!(
            book.begin(&a, 5_000 + APART_MS - 1),
            Err(Refusal::TooSoon {
                at_ms: 5_000 + APART_MS
            })
        );
        book.begin(&a, 5_000 + APART_MS).unwrap();
        book.end("a", false);
        let spent = Refusal::Spent {
            at_ms: 5_000 + DAY_MS,
            per_day: 2,
        };
        assert_eq!(book.begin(&a, 5_000 + DAY_MS - 1), Err(spent));
        assert_eq!(
            (book.left("a", 5_000 + DAY_MS - 1), book.left("a", 5_000 + DAY_MS)),
            (0, 1)
        );
        assert_eq!(book.due_ms("a"), Some(5_000 + DAY_MS));
        book.begin(&a, 5_000 + DAY_MS).unwrap();
    }

    #[test]
    fn a_first_failure_is_confirmed_soon_and_a_hold_is_waited_for() {
        let (mut book, name) = book(HOUR_MS, 24);
        book.begin(&name, 10_000).unwrap();
        book.end("a", true);
        assert_eq!(book.due_ms("a"), Some(10_000 + APART_MS));
        book.hold("a", 9 * HOUR_MS);
        assert_eq!(book.due_ms("a"), Some(9 * HOUR_MS));
        book.hold("a", 0);
        book.begin(&name, 10_000 + APART_MS).unwrap();
        book.end("a", false);
        assert_eq!(book.due_ms("a"), Some(10_000 + APART_MS + HOUR_MS));
    }

    #[test]
    fn what_nobody_knows_is_all_spent() {
        let (mut book, name) = book(APART_MS, 288);
        book.restore(&name, Account::unknown(7_000));
        assert_eq!(book.left("a", 7_000), 0);
        assert_eq!(book.due_ms("a"), Some(7_000 + DAY_MS));
    }
}
