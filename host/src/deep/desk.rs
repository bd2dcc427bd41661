//! Everything that is known of deep checks, behind one lock. It asks nobody and waits for nothing.

use crate::probing::Subject;
use extman_health::deep::account;
use extman_health::deep::book::{Account, Book, DAY_MS, Refusal};
use extman_health::deep::lived::{Lived, Mark};
use extman_health::policy::DeepPolicy;
use extman_model::{DeepResult, DeepView, Lifecycle};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Names of the ledger's words.
pub(super) const PREFIX: &str = "deep/";
const MARK: &str = "deep/lived";
const ACCOUNT: &str = "deep/of/";
/// Of who was not seen for so long, the account is forgotten.
const FORGET_MS: u64 = 30 * DAY_MS;

/// Words for the ledger.
pub(super) type Words = Vec<(String, Option<String>)>;

/// What is known.
#[derive(Default)]
pub(super) struct Desk {
    pub book: Book,
    /// Absent until the ledger was read.
    pub lived: Option<Lived>,
    pub seats: BTreeMap<Arc<str>, Seat>,
    pub flight: Option<Flight>,
    /// The last results, also of those that are not here now.
    results: BTreeMap<Arc<str>, DeepResult>,
    /// How often the ledger had been lost when everything was written to it last.
    pub lost: u64,
    pub marked_ms: u64,
    /// Why none can be made, as the ledger said last.
    pub trouble: Option<String>,
    /// When it turned out that nobody knows what was spent before.
    unknown_at_ms: Option<u64>,
}

/// An instance for which deep checks are configured.
pub(super) struct Seat {
    pub policy: DeepPolicy,
    /// Which generation runs, and since when, by the machine's clock.
    pub running: Option<(u64, u64)>,
    pub failed: u8,
    /// It said that it answers none.
    pub is_unanswered: bool,
}

/// The one that is under way.
pub(super) struct Flight {
    pub name: Arc<str>,
    pub generation: u64,
    /// Dropping it ends the check.
    pub _end: oneshot::Sender<()>,
}

impl Desk {
    /// These instances are new or otherwise than before, and those are gone. `true` if there is anything to look at.
    pub(super) fn change<'a>(
        &mut self,
        booted_ms: u64,
        changed: &[Subject],
        removed: impl IntoIterator<Item = &'a Arc<str>>,
    ) -> bool {
        let before = self.seats.len();
        for name in removed {
            self.seats.remove(name);
        }
        let mut any = self.seats.len() != before;
        for subject in changed {
            match subject.policy.deep {
                Some(policy) => {
                    self.seat(booted_ms, subject, policy);
                    any = true;
                }
                None => any |= self.seats.remove(&subject.name).is_some(),
            }
        }
        if !any {
            return false;
        }
        let runs = |flight: &Flight| {
            let seat = self.seats.get(&flight.name);
            seat.and_then(|seat| seat.running)
                .is_some_and(|(generation, _)| generation == flight.generation)
        };
        if !self.flight.as_ref().is_none_or(runs) {
            self.flight = None;
        }
        self.enrol(booted_ms);
        true
    }

    /// Deep checks are configured for this instance.
    fn seat(&mut self, booted_ms: u64, subject: &Subject, policy: DeepPolicy) {
        let seat = self.seats.entry(subject.name.clone()).or_insert_with(|| {
            let new = Seat {
                policy,
                running: None,
                failed: 0,
                is_unanswered: false,
            };
            if let Some(why) = new.obstacle() {
                tracing::warn!(
                    plugin = &*subject.name,
                    "deep checks are configured, and none is made: {why}"
                );
            }
            new
        });
        seat.policy = policy;
        let target = subject
            .target
            .as_ref()
            .filter(|_| subject.lifecycle == Lifecycle::Running);
        let generation = target.map(|(_, generation)| *generation);
        if generation != seat.running.map(|(generation, _)| generation) {
            seat.running = generation.map(|generation| (generation, booted_ms));
            (seat.failed, seat.is_unanswered) = (0, false);
            self.book.hold(&subject.name, 0);
        }
    }

    /// What the ledger said. `lost`: how often it was lost since the host began.
    pub(super) fn open(
        &mut self,
        words: Vec<(String, String)>,
        boot: &str,
        booted_ms: u64,
        lost: u64,
    ) -> Words {
        let mark = words.iter().find(|(key, _)| key == MARK);
        let mark: Option<Mark> = mark.and_then(|(_, word)| serde_json::from_str(word).ok());
        let lived = Lived::resume(mark.as_ref(), boot, booted_ms);
        let now_ms = lived.at(booted_ms);
        let mut forgotten = Words::new();
        for (key, word) in words {
            let Some(name) = key.strip_prefix(ACCOUNT) else {
                continue;
            };
            let name: Arc<str> = name.into();
            let Some((account, last)) = account::read(&word) else {
                tracing::warn!(
                    plugin = &*name,
                    "what was spent on deep checks can't be read: none is made for a day"
                );
                self.book.restore(&name, Account::unknown(now_ms));
                continue;
            };
            let newest_ms = account.spent_ms.last().copied().unwrap_or(account.from_ms);
            if now_ms.saturating_sub(newest_ms) > FORGET_MS && !self.seats.contains_key(&name) {
                forgotten.push((key, None));
                continue;
            }
            self.book.restore(&name, account);
            if let Some(last) = last {
                self.results.insert(name, last);
            }
        }
        self.lived = Some(lived);
        if lost > 0 {
            tracing::warn!(
                "the history was lost, and with it what was spent on deep checks: none is made for a day"
            );
            self.unknown_at_ms = Some(now_ms);
        }
        self.enrol(booted_ms);
        forgotten.extend(self.all_words(booted_ms));
        forgotten
    }

    /// Milliseconds that have certainly passed; absent until the ledger was read.
    pub(super) fn now_ms(&self, booted_ms: u64) -> Option<u64> {
        Some(self.lived.as_ref()?.at(booted_ms))
    }

    /// One is made from here on. Gives what must be kept first.
    pub(super) fn begin(&mut self, flight: Flight, booted_ms: u64, lost: u64) -> Result<Words, Refusal> {
        let name = flight.name.clone();
        let now_ms = self.now_ms(booted_ms).ok_or(Refusal::NotWanted)?;
        self.book.begin(&name, now_ms)?;
        self.flight = Some(flight);
        if lost != self.lost {
            self.lost = lost;
            return Ok(self.all_words(booted_ms));
        }
        Ok(self
            .mark(booted_ms)
            .into_iter()
            .chain(self.account(&name))
            .collect())
    }

    /// It is over. `soon`: it is to be confirmed. Gives what is worth keeping.
    pub(super) fn end(&mut self, name: &Arc<str>, result: Option<DeepResult>, soon: bool) -> Words {
        self.flight = None;
        self.book.end(name, soon);
        if let Some(result) = result {
            self.results.insert(name.clone(), result);
        }
        self.account(name).into_iter().collect()
    }

    /// Everything, for a ledger that knows nothing.
    pub(super) fn all_words(&mut self, booted_ms: u64) -> Words {
        let names: Vec<_> = self.book.names().cloned().collect();
        let accounts: Vec<_> = names.iter().filter_map(|name| self.account(name)).collect();
        self.mark(booted_ms).into_iter().chain(accounts).collect()
    }

    /// How far time has come.
    pub(super) fn mark(&mut self, booted_ms: u64) -> Option<(String, Option<String>)> {
        let mark = self.lived.as_ref()?.mark(booted_ms);
        self.marked_ms = mark.lived_ms;
        Some((
            MARK.to_owned(),
            Some(serde_json::to_string(&mark).unwrap_or_default()),
        ))
    }

    /// An instance's deep checks, as shown. `obstacle`: why none can be made at all.
    pub(super) fn view(&self, name: &str, booted_ms: u64, obstacle: Option<String>) -> Option<DeepView> {
        let seat = self.seats.get(name)?;
        let now_ms = self.now_ms(booted_ms);
        let unread = || {
            let is_unread = self
                .lived
                .is_none()
                .then(|| "what was spent is not read yet".to_owned());
            self.trouble
                .clone()
                .filter(|_| self.lived.is_none())
                .or(is_unread)
        };
        let obstacle = seat.obstacle().or(obstacle).or_else(unread);
        let due_ms = self
            .book
            .due_ms(name)
            .filter(|_| obstacle.is_none() && seat.running.is_some());
        Some(DeepView {
            every_ms: millis(seat.policy.every),
            timeout_ms: millis(seat.policy.timeout),
            per_day: seat.policy.per_day,
            left: now_ms.map_or(0, |now_ms| self.book.left(name, now_ms)),
            next_ms: due_ms
                .zip(now_ms)
                .map(|(due_ms, now_ms)| due_ms.saturating_sub(now_ms)),
            under_way: self.flight.as_ref().is_some_and(|flight| &*flight.name == name),
            failed: seat.failed,
            obstacle,
            last: self.results.get(name).cloned(),
        })
    }

    /// Whoever is here and can be asked has an account, once it is known what stands in the ledger.
    fn enrol(&mut self, booted_ms: u64) {
        let Some(now_ms) = self.now_ms(booted_ms) else {
            return;
        };
        for (name, seat) in &self.seats {
            if !seat.policy.answered {
                self.book.unwant(name);
            } else if self.book.want(name, seat.policy, now_ms) {
                if let Some(at_ms) = self.unknown_at_ms {
                    self.book.restore(name, Account::unknown(at_ms));
                }
                // The ledger is to know since when.
                self.marked_ms = 0;
            }
        }
        let gone: Vec<_> = self
            .book
            .names()
            .filter(|name| !self.seats.contains_key(*name))
            .cloned()
            .collect();
        gone.iter().for_each(|name| self.book.unwant(name));
    }

    fn account(&self, name: &Arc<str>) -> Option<(String, Option<String>)> {
        let word = account::write(self.book.account(name)?, self.results.get(name));
        Some((format!("{ACCOUNT}{name}"), Some(word)))
    }
}

impl Seat {
    /// Why none is made of this one.
    pub(super) fn obstacle(&self) -> Option<String> {
        if !self.policy.answered {
            return Some(
                "the plugin answers none: its manifest has no `[probe] deep = true`; remove deep_every_ms from the instance's probe \
                 settings, or use a plugin that does"
                    .to_owned(),
            );
        }
        let says_no = "the plugin says that it answers none, though its manifest says that it does; remove deep_every_ms, or tell the \
                       plugin's author";
        self.is_unanswered.then(|| says_no.to_owned())
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
