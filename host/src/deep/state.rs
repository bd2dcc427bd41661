//! What is known of deep checks, behind one lock: for whom they are wanted, what was used, and which is in flight. It asks nobody and
//! waits for nothing.

use super::Refused;
use super::store::Values;
use crate::probing::{Candidate, Subject};
use extman_health::deep::{DAY_MS, MonotonicAge, UsageLog};
use extman_health::policy::DeepPolicy;
use extman_model::{DeepView, Lifecycle, clock};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The keys of all that is kept.
pub(super) const PREFIX: &str = "deep/";
const AGE: &str = "deep/age";
const USAGE: &str = "deep/of/";
/// The usage log of an instance that was not asked for so long, and is not here, is forgotten.
const FORGET_MS: u64 = 30 * DAY_MS;
/// An instance runs for so long before the host asks it on its own.
const SETTLED_MS: u64 = 60_000;

#[derive(Default)]
pub(super) struct DeepCheckState {
    pub targets: BTreeMap<Arc<str>, DeepTarget>,
    /// Absent until the usage logs were read.
    age: Option<MonotonicAge>,
    pub in_flight: Option<InFlight>,
    /// Why the store could not be used when that was tried last.
    pub trouble: Option<String>,
    /// When it turned out that nobody knows what was used before.
    lost_at_ms: Option<u64>,
}

/// An instance for which deep checks are wanted, or were.
#[derive(Default)]
pub(super) struct DeepTarget {
    /// How they are wanted; `None` where they are not now.
    pub policy: Option<DeepPolicy>,
    /// Absent until the usage logs were read.
    pub log: Option<UsageLog>,
    /// Which generation runs, and since when, by the machine's clock.
    running: Option<(u64, u64)>,
    /// Failures in a row of this generation. After the first the next check comes soon, to confirm it.
    pub failed: u8,
    /// The plugin has said that it answers none.
    pub is_unsupported: bool,
    /// It could not be asked when it was due, and is looked at again then.
    pub hold_until_ms: u64,
}

/// The one check that is being made.
pub(super) struct InFlight {
    pub name: Arc<str>,
    generation: u64,
    /// Dropping it ends the check, which is in flight until whoever makes it has seen that.
    end: Option<oneshot::Sender<()>>,
}

impl DeepCheckState {
    /// These instances are new or otherwise than before, and those are gone. `true` if deep checks are wanted of any.
    pub(super) fn change<'a>(
        &mut self,
        booted_ms: u64,
        changed: &[Subject],
        removed: impl IntoIterator<Item = &'a Arc<str>>,
    ) -> bool {
        for name in removed {
            if let Some(target) = self.targets.get_mut(name) {
                (target.policy, target.running) = (None, None);
            }
        }
        for subject in changed {
            if subject.policy.deep.is_some() || self.targets.contains_key(&subject.name) {
                let target = self.targets.entry(subject.name.clone()).or_default();
                target.change(booted_ms, subject);
            }
        }
        if let Some(flight) = &mut self.in_flight {
            let target = self.targets.get(&flight.name);
            if target.and_then(DeepTarget::generation) != Some(flight.generation) {
                flight.end = None;
            }
        }
        self.begin_logs(booted_ms);
        self.is_any_wanted()
    }

    /// Whether deep checks are wanted of any instance that answers them.
    pub(super) fn is_any_wanted(&self) -> bool {
        let mut policies = self.targets.values().filter_map(|target| target.policy);
        policies.any(|policy| policy.answered)
    }

    /// Whether what was kept is taken in.
    pub(super) fn is_loaded(&self) -> bool {
        self.age.is_some()
    }

    /// Takes in what was kept. `is_lost`: the store was broken or gone, and begun anew. Gives what is to be kept from now on.
    pub(super) fn load(
        &mut self,
        kept: Vec<(String, String)>,
        boot: &str,
        booted_ms: u64,
        is_lost: bool,
    ) -> Values {
        let age = kept.iter().find(|(key, _)| key == AGE);
        let age = age.and_then(|(_, text)| serde_json::from_str(text).ok());
        let age = MonotonicAge::resume(age.as_ref(), boot, booted_ms);
        let now_ms = age.at(booted_ms);
        let mut values = Values::new();
        for (key, text) in kept {
            let Some(name) = key.strip_prefix(USAGE) else {
                continue;
            };
            let log = UsageLog::read(&text, now_ms).unwrap_or_else(|| {
                let plugin = name;
                tracing::warn!(
                    plugin,
                    "what was spent on deep checks can't be read: none is made for a day"
                );
                UsageLog::lost(now_ms)
            });
            if now_ms.saturating_sub(log.newest_ms()) > FORGET_MS && !self.targets.contains_key(name) {
                values.push((key, None));
            } else {
                self.targets.entry(name.into()).or_default().log = Some(log);
            }
        }
        if is_lost {
            tracing::warn!(
                "the history was lost, and with it what was spent on deep checks: none is made for a day"
            );
            self.lost_at_ms = Some(now_ms);
        }
        self.age = Some(age);
        self.begin_logs(booted_ms);
        values.extend(self.values(booted_ms, |_| true));
        values
    }

    /// Milliseconds that have certainly passed; absent until the usage logs were read.
    pub(super) fn now_ms(&self, booted_ms: u64) -> Option<u64> {
        Some(self.age.as_ref()?.at(booted_ms))
    }

    /// Who is due first, and when. Nobody while one is in flight.
    pub(super) fn next_due(&self) -> Option<(u64, Arc<str>)> {
        let due = |(name, target): (&Arc<str>, &DeepTarget)| Some((target.due_ms()?, name.clone()));
        let idle = self.in_flight.is_none();
        self.targets.iter().filter_map(due).filter(|_| idle).min()
    }

    /// How deep checks of an instance are wanted, if it answers them.
    pub(super) fn policy(&self, name: &Arc<str>) -> Result<DeepPolicy, Refused> {
        let target = self.targets.get(name);
        let wanted = target.and_then(|target| Some((target, target.policy?)));
        let (target, policy) = wanted.ok_or_else(|| Refused::NotWanted(name.clone()))?;
        match target.obstacle() {
            Some(why) => Err(Refused::Obstacle(name.clone(), why.to_owned())),
            None => Ok(policy),
        }
    }

    /// One is begun: it counts from here on. On its own the host asks only who has settled and serves. Gives what must be kept before
    /// the instance is asked, and what ends when the instance stops.
    pub(super) fn begin(
        &mut self,
        name: &Arc<str>,
        candidate: &Candidate,
        by_operator: bool,
        booted_ms: u64,
    ) -> Result<(Values, oneshot::Receiver<()>), Refused> {
        let policy = self.policy(name)?;
        let now_ms = self.now_ms(booted_ms).unwrap_or(0);
        let not_running = || Refused::NotRunning(name.clone());
        let target = self.targets.get_mut(name).ok_or_else(not_running)?;
        let running = target
            .running
            .filter(|(generation, _)| *generation == candidate.generation);
        let (generation, since_ms) = running.ok_or_else(not_running)?;
        let has_settled = booted_ms.saturating_sub(since_ms) >= SETTLED_MS;
        if !(by_operator || has_settled && candidate.is_worth_it) {
            let why = "it has not run for long, does not serve, or is being worked on";
            return Err(Refused::Obstacle(name.clone(), why.to_owned()));
        }
        if let Some(other) = &self.in_flight {
            return Err(Refused::InFlight(other.name.clone()));
        }
        let log = target.log.get_or_insert_with(|| UsageLog::lost(now_ms));
        log.allows(&policy, now_ms)
            .map_err(|over| Refused::OverQuota(name.clone(), over))?;
        log.begin(now_ms);
        let (end, ended) = oneshot::channel();
        self.in_flight = Some(InFlight {
            name: name.clone(),
            generation,
            end: Some(end),
        });
        Ok((self.values(booted_ms, |other| other == name), ended))
    }

    /// What is to be kept now: the age, and the usage logs of these instances.
    pub(super) fn values(&self, booted_ms: u64, of: impl Fn(&Arc<str>) -> bool) -> Values {
        let age = self.age.as_ref().map(|age| age.checkpoint(booted_ms));
        let age = age.and_then(|age| serde_json::to_string(&age).ok());
        let logs = self.targets.iter().filter(|(name, _)| of(name));
        let logs = logs.filter_map(|(name, target)| Some((name, target.log.as_ref()?)));
        let logs = logs.map(|(name, log)| (format!("{USAGE}{name}"), Some(log.written())));
        age.map(|text| (AGE.to_owned(), Some(text)))
            .into_iter()
            .chain(logs)
            .collect()
    }

    /// An instance's deep checks, as shown. `obstacle`: why nothing can be kept now.
    pub(super) fn view(&self, name: &str, booted_ms: u64, obstacle: Option<String>) -> Option<DeepView> {
        let target = self.targets.get(name)?;
        let (policy, now_ms) = (target.policy?, self.now_ms(booted_ms));
        let unread = || {
            let why = self
                .trouble
                .as_deref()
                .unwrap_or("what was spent is not read yet");
            now_ms.is_none().then(|| why.to_owned())
        };
        let obstacle = target.obstacle().map(str::to_owned).or(obstacle).or_else(unread);
        let runs = target.running.is_some() && obstacle.is_none();
        let due_ms = target.due_ms().filter(|_| runs);
        let used = target.log.as_ref().zip(now_ms);
        Some(DeepView {
            every_ms: clock::millis(policy.every),
            timeout_ms: clock::millis(policy.timeout),
            per_day: policy.per_day,
            left: used.map_or(0, |(log, now_ms)| log.left(policy.per_day, now_ms)),
            next_ms: due_ms
                .zip(now_ms)
                .map(|(due_ms, now_ms)| due_ms.saturating_sub(now_ms)),
            under_way: self
                .in_flight
                .as_ref()
                .is_some_and(|flight| &*flight.name == name),
            failed: target.failed,
            obstacle,
            last: target.log.as_ref().and_then(|log| log.last.clone()),
        })
    }

    /// Whoever can be asked has a usage log, once it is known what was kept.
    fn begin_logs(&mut self, booted_ms: u64) {
        let Some(now_ms) = self.now_ms(booted_ms) else {
            return;
        };
        let new = self
            .lost_at_ms
            .map_or_else(|| UsageLog::since(now_ms), UsageLog::lost);
        for target in self.targets.values_mut().filter(|target| target.policy.is_some()) {
            target.log.get_or_insert_with(|| new.clone());
        }
    }
}

impl DeepTarget {
    /// A new generation is not judged by what the one before it was.
    fn change(&mut self, booted_ms: u64, subject: &Subject) {
        let is_new = self.policy.is_none();
        self.policy = subject.policy.deep;
        if let Some(why) = self.obstacle().filter(|_| is_new) {
            tracing::warn!(
                plugin = &*subject.name,
                "deep checks are configured, and none is made: {why}"
            );
        }
        let runs = subject.lifecycle == Lifecycle::Running;
        let target = subject.target.as_ref().filter(|_| runs);
        let generation = target.map(|(_, generation)| *generation);
        if generation != self.generation() {
            self.running = generation.map(|generation| (generation, booted_ms));
            (self.failed, self.is_unsupported, self.hold_until_ms) = (0, false, 0);
        }
    }

    /// When it is due; `None` if it is not to be asked at all.
    fn due_ms(&self) -> Option<u64> {
        let due_ms = self.log.as_ref()?.due_ms(&self.policy?, self.failed == 1);
        self.obstacle().is_none().then(|| due_ms.max(self.hold_until_ms))
    }

    fn generation(&self) -> Option<u64> {
        self.running.map(|(generation, _)| generation)
    }

    /// Why none is made of this one.
    fn obstacle(&self) -> Option<&'static str> {
        match self.policy {
            Some(policy) if !policy.answered => Some(
                "the plugin answers none: its manifest has no `[probe] deep = true`; remove deep_every_ms from the instance's probe \
                 settings, or use a plugin that does",
            ),
            Some(_) if self.is_unsupported => Some(
                "the plugin says that it answers none, though its manifest says that it does; remove deep_every_ms, or tell the \
                 plugin's author",
            ),
            _ => None,
        }
    }
}
