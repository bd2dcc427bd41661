//! What is known of deep checks, behind one lock: for whom they are wanted, what was used, and which is in flight. It asks nobody and
//! waits for nothing.

use super::Refused;
use super::store::Values;
use crate::probing::{Candidate, Subject};
use extman_health::deep::{Checkpoint, DAY_MS, MonotonicAge, UsageLog};
use extman_health::policy::DeepPolicy;
use extman_model::{DeepResult, DeepView, Lifecycle};
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
    /// Instances for which deep checks are configured.
    pub targets: BTreeMap<Arc<str>, DeepTarget>,
    /// What is known to have been used, also by instances that are not here now. Empty until it was read.
    usage: BTreeMap<Arc<str>, UsageLog>,
    /// Absent until the usage logs were read.
    age: Option<MonotonicAge>,
    pub in_flight: Option<InFlight>,
    /// How often the store had been lost when everything was written to it last.
    pub losses: u64,
    /// The age that was written down last; 0 asks for it to be written soon.
    pub checkpoint_ms: u64,
    /// Why the store could not be used when that was tried last.
    pub trouble: Option<String>,
    /// When it turned out that everything used before is not known.
    lost_at_ms: Option<u64>,
}

/// An instance for which deep checks are configured.
pub(super) struct DeepTarget {
    pub policy: DeepPolicy,
    /// Which generation runs, and since when, by the machine's clock.
    running: Option<(u64, u64)>,
    /// Failures in a row of this generation.
    pub failed: u8,
    /// The plugin has said that it answers none.
    pub is_unsupported: bool,
    /// The last one was a first failure: the next one comes soon.
    confirm: bool,
    /// It could not be asked when it was due, and is looked at again then.
    hold_until_ms: u64,
}

/// The one check that is being made.
pub(super) struct InFlight {
    pub name: Arc<str>,
    pub generation: u64,
    /// Dropping it ends the check; it is in flight until whoever makes it has seen that.
    end: Option<oneshot::Sender<()>>,
}

impl DeepCheckState {
    /// These instances are new or otherwise than before, and those are gone. `true` if there is anything to look at.
    pub(super) fn change<'a>(
        &mut self,
        booted_ms: u64,
        changed: &[Subject],
        removed: impl IntoIterator<Item = &'a Arc<str>>,
    ) -> bool {
        let mut is_changed = false;
        for name in removed {
            is_changed |= self.targets.remove(name).is_some();
        }
        for subject in changed {
            match subject.policy.deep {
                Some(policy) => {
                    let target = self.targets.entry(subject.name.clone());
                    target
                        .or_insert_with(|| DeepTarget::new(&subject.name, policy))
                        .change(booted_ms, subject, policy);
                    is_changed = true;
                }
                None => is_changed |= self.targets.remove(&subject.name).is_some(),
            }
        }
        if let Some(flight) = &mut self.in_flight {
            let target = self.targets.get(&flight.name);
            if target.and_then(DeepTarget::generation) != Some(flight.generation) {
                flight.end = None;
            }
        }
        self.begin_logs(booted_ms);
        is_changed
    }

    /// Takes in what was kept. `losses`: how often the store was lost since the host began. Gives what is to be kept from now on.
    pub(super) fn load(
        &mut self,
        kept: Vec<(String, String)>,
        boot: &str,
        booted_ms: u64,
        losses: u64,
    ) -> Values {
        let age = kept.iter().find(|(key, _)| key == AGE);
        let age: Option<Checkpoint> = age.and_then(|(_, text)| serde_json::from_str(text).ok());
        let age = MonotonicAge::resume(age.as_ref(), boot, booted_ms);
        let now_ms = age.at(booted_ms);
        let mut forgotten = Values::new();
        for (key, text) in kept {
            let Some(name) = key.strip_prefix(USAGE) else {
                continue;
            };
            let name: Arc<str> = name.into();
            let log = UsageLog::read(&text, now_ms).unwrap_or_else(|| {
                tracing::warn!(
                    plugin = &*name,
                    "what was spent on deep checks can't be read: none is made for a day"
                );
                UsageLog::lost(now_ms)
            });
            if now_ms.saturating_sub(log.newest_ms()) > FORGET_MS && !self.targets.contains_key(&name) {
                forgotten.push((key, None));
            } else {
                self.usage.insert(name, log);
            }
        }
        if losses > 0 {
            tracing::warn!(
                "the history was lost, and with it what was spent on deep checks: none is made for a day"
            );
            self.lost_at_ms = Some(now_ms);
        }
        (self.age, self.losses) = (Some(age), losses);
        self.begin_logs(booted_ms);
        forgotten.extend(self.all_values(booted_ms));
        forgotten
    }

    /// Whether what was kept is taken in.
    pub(super) fn is_loaded(&self) -> bool {
        self.age.is_some()
    }

    /// Milliseconds that have certainly passed; absent until the usage logs were read.
    pub(super) fn now_ms(&self, booted_ms: u64) -> Option<u64> {
        Some(self.age.as_ref()?.at(booted_ms))
    }

    /// Who is due first, and when. Nobody while one is in flight.
    pub(super) fn next_due(&self) -> Option<(u64, Arc<str>)> {
        if self.in_flight.is_some() {
            return None;
        }
        let due = |(name, target): (&Arc<str>, &DeepTarget)| Some((self.due_ms(name, target)?, name.clone()));
        self.targets.iter().filter_map(due).min()
    }

    /// An instance for which they are wanted, and that answers them.
    pub(super) fn target(&self, name: &Arc<str>) -> Result<&DeepTarget, Refused> {
        let target = self.targets.get(name);
        let target = target.ok_or_else(|| Refused::NotWanted(name.clone()))?;
        match target.obstacle() {
            Some(why) => Err(Refused::Obstacle(name.clone(), why.to_owned())),
            None => Ok(target),
        }
    }

    /// One is begun: it counts from here on. On its own the host asks only who has settled and serves. `losses`: of the store.
    /// Gives what must be kept before it is asked, and what ends when the instance stops.
    pub(super) fn begin(
        &mut self,
        name: &Arc<str>,
        candidate: Option<&Candidate>,
        by_operator: bool,
        (booted_ms, losses): (u64, u64),
    ) -> Result<(Values, oneshot::Receiver<()>), Refused> {
        let target = self.target(name)?;
        let fits = |candidate: &&Candidate| target.generation() == Some(candidate.generation);
        let candidate = candidate.filter(fits);
        let candidate = candidate.ok_or_else(|| Refused::NotRunning(name.clone()))?;
        let has_settled = target
            .running
            .is_some_and(|(_, since_ms)| booted_ms.saturating_sub(since_ms) >= SETTLED_MS);
        if !(by_operator || has_settled && candidate.is_worth_it) {
            let why = "it has not run for long, does not serve, or is being worked on";
            return Err(Refused::Obstacle(name.clone(), why.to_owned()));
        }
        if let Some(other) = &self.in_flight {
            return Err(Refused::InFlight(other.name.clone()));
        }
        let now_ms = self.now_ms(booted_ms).unwrap_or(0);
        let policy = target.policy;
        let log = self.usage.entry(name.clone()).or_default();
        log.allows(&policy, now_ms)
            .map_err(|over| Refused::OverQuota(name.clone(), over))?;
        log.begin(now_ms);
        let (end, ended) = oneshot::channel();
        self.in_flight = Some(InFlight {
            name: name.clone(),
            generation: candidate.generation,
            end: Some(end),
        });
        if let Some(target) = self.targets.get_mut(name) {
            target.confirm = false;
        }
        if losses != self.losses {
            self.losses = losses;
            return Ok((self.all_values(booted_ms), ended));
        }
        let values = self
            .age_value(booted_ms)
            .into_iter()
            .chain(self.usage_value(name));
        Ok((values.collect(), ended))
    }

    /// The check of an instance has ended with a result: its usage log, to be kept.
    pub(super) fn end(&mut self, name: &Arc<str>, result: DeepResult, failed: u8) -> Values {
        let is_unsupported = super::run::is_unsupported(&result.check.outcome);
        if let Some(target) = self.targets.get_mut(name) {
            (target.failed, target.confirm) = (failed, failed == 1);
            target.is_unsupported = is_unsupported;
        }
        if let Some(log) = self.usage.get_mut(name) {
            log.last = Some(result);
        }
        self.usage_value(name).into_iter().collect()
    }

    /// It is due and can't be asked: look again then.
    pub(super) fn hold(&mut self, name: &str, until_ms: u64) {
        if let Some(target) = self.targets.get_mut(name) {
            target.hold_until_ms = until_ms;
        }
    }

    /// Everything, for a store that has nothing.
    pub(super) fn all_values(&mut self, booted_ms: u64) -> Values {
        let age = self.age_value(booted_ms);
        let logs = self.usage.keys().filter_map(|name| self.usage_value(name));
        age.into_iter().chain(logs).collect()
    }

    /// An instance's deep checks, as shown. `obstacle`: why nothing can be kept now.
    pub(super) fn view(
        &self,
        name: &str,
        target: &DeepTarget,
        booted_ms: u64,
        obstacle: Option<String>,
    ) -> DeepView {
        let now_ms = self.now_ms(booted_ms);
        let unread = || {
            let why = self
                .trouble
                .as_deref()
                .unwrap_or("what was spent is not read yet");
            now_ms.is_none().then(|| why.to_owned())
        };
        let obstacle = target.obstacle().map(str::to_owned).or(obstacle).or_else(unread);
        let runs = target.running.is_some() && obstacle.is_none();
        let due_ms = self.due_ms(name, target).filter(|_| runs);
        let log = self.usage.get(name);
        let left = |(log, now_ms): (&UsageLog, u64)| log.left(target.policy.per_day, now_ms);
        DeepView {
            every_ms: millis(target.policy.every),
            timeout_ms: millis(target.policy.timeout),
            per_day: target.policy.per_day,
            left: log.zip(now_ms).map_or(0, left),
            next_ms: due_ms
                .zip(now_ms)
                .map(|(due_ms, now_ms)| due_ms.saturating_sub(now_ms)),
            under_way: self
                .in_flight
                .as_ref()
                .is_some_and(|flight| &*flight.name == name),
            failed: target.failed,
            obstacle,
            last: log.and_then(|log| log.last.clone()),
        }
    }

    /// When an instance is due; `None` if it is not to be asked at all.
    fn due_ms(&self, name: &str, target: &DeepTarget) -> Option<u64> {
        let log = self.usage.get(name)?;
        let due_ms = log.due_ms(&target.policy, target.confirm);
        target
            .obstacle()
            .is_none()
            .then(|| due_ms.max(target.hold_until_ms))
    }

    /// Whoever can be asked has a usage log, once it is known what was kept.
    fn begin_logs(&mut self, booted_ms: u64) {
        let Some(now_ms) = self.now_ms(booted_ms) else {
            return;
        };
        for (name, target) in &self.targets {
            if target.policy.answered && !self.usage.contains_key(name) {
                let log = match self.lost_at_ms {
                    Some(lost_at_ms) => UsageLog::lost(lost_at_ms),
                    None => UsageLog::since(now_ms),
                };
                self.usage.insert(name.clone(), log);
                self.checkpoint_ms = 0;
            }
        }
    }

    fn age_value(&mut self, booted_ms: u64) -> Option<(String, Option<String>)> {
        let checkpoint = self.age.as_ref()?.checkpoint(booted_ms);
        self.checkpoint_ms = checkpoint.age_ms;
        let text = serde_json::to_string(&checkpoint).unwrap_or_default();
        Some((AGE.to_owned(), Some(text)))
    }

    fn usage_value(&self, name: &Arc<str>) -> Option<(String, Option<String>)> {
        let text = self.usage.get(name)?.written();
        Some((format!("{USAGE}{name}"), Some(text)))
    }
}

impl DeepTarget {
    fn new(name: &str, policy: DeepPolicy) -> Self {
        let new = DeepTarget {
            policy,
            running: None,
            failed: 0,
            is_unsupported: false,
            confirm: false,
            hold_until_ms: 0,
        };
        if let Some(why) = new.obstacle() {
            tracing::warn!(
                plugin = name,
                "deep checks are configured, and none is made: {why}"
            );
        }
        new
    }

    /// A new generation is not judged by what the one before it was.
    fn change(&mut self, booted_ms: u64, subject: &Subject, policy: DeepPolicy) {
        self.policy = policy;
        let runs = subject.lifecycle == Lifecycle::Running;
        let target = subject.target.as_ref().filter(|_| runs);
        let generation = target.map(|(_, generation)| *generation);
        if generation != self.generation() {
            self.running = generation.map(|generation| (generation, booted_ms));
            (self.failed, self.is_unsupported) = (0, false);
            (self.confirm, self.hold_until_ms) = (false, 0);
        }
    }

    fn generation(&self) -> Option<u64> {
        self.running.map(|(generation, _)| generation)
    }

    /// Why none is made of this one.
    fn obstacle(&self) -> Option<&'static str> {
        if !self.policy.answered {
            return Some(
                "the plugin answers none: its manifest has no `[probe] deep = true`; remove deep_every_ms from the instance's probe \
                 settings, or use a plugin that does",
            );
        }
        self.is_unsupported.then_some(
            "the plugin says that it answers none, though its manifest says that it does; remove deep_every_ms, or tell the plugin's \
             author",
        )
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
