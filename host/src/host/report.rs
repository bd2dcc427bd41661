//! The health report: how everything is, in one answer.

use super::Host;
use super::crashes::newest_first;
use super::health::{Known, counts_as_serving, is_covered, reason};
use crate::probing::Seen;
use extman_model::clock;
use extman_model::control::ControlError;
use extman_model::control::report::{
    CRASHES_TOLD_MS, HealthAnswer, HealthSummary, HostHealth, PluginHealth, PluginWord, TAKEN_BACK_TOLD_MS,
};
use extman_model::record::CheckCounts;
use extman_model::{
    BarredView, Cause, Crash, Criticality, Group, Health, HealthFlags, HealthView, Judgement, Lifecycle,
    Maintenance, MissingView,
};
use extman_plugin_api::manifest::schema::Kind;
use extman_runtime::instance::ModulesUsed;
use extman_runtime::registry::{Entry, Snapshot};
use extman_runtime::supervisor::InstanceConfig;
use std::collections::HashMap;

impl Host {
    /// How everything is, with each instance, the host's own parts and its asking. Asks nobody.
    pub fn health_report(&self) -> HealthAnswer {
        let known = Known::of(self);
        let seen = self.engine().views().into_iter();
        let seen: HashMap<_, _> = seen.map(|seen| (seen.name.clone(), seen)).collect();
        let stats = self.engine().stats();
        let lag = self.inner.components.lag(self.engine());
        let (missing, components) = (self.missing(), self.components());
        let overall = self.overall(&known, &missing, &components);
        let serving = known.serving_of_sets();
        let mut modules = ModulesUsed::default();
        let there = known.entries.iter().map(|entry| {
            let set_serves = || {
                let set = entry.config.redundant.as_deref();
                set.and_then(|set| serving.get(set).copied()).unwrap_or(0)
            };
            self.one(
                entry,
                &known.snapshot,
                seen.get(&entry.name),
                &mut modules,
                set_serves,
            )
        });
        let mut plugins: Vec<_> = there.chain(missing).collect();
        plugins.sort_by(|a, b| a.name.cmp(&b.name));
        HealthAnswer {
            overall,
            plugins,
            history: self.inner.history.status(),
            components,
            crashes: self.crashes_lately(),
            config: Some(self.config_status(&known.snapshot)).filter(|config| config.is_wrong()),
            host: HostHealth {
                checks: stats.counts.checks,
                checks_failed: stats.counts.failed,
                checks_timed_out: stats.counts.timed_out,
                checks_skipped: stats.counts.skipped,
                stalls: stats.stalls,
                lag_p99_ns: lag.map(|lag| u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX)),
            },
        }
    }

    /// How everything is, in words alone. Asks nobody.
    pub fn health_summary(&self) -> HealthSummary {
        let known = Known::of(self);
        let (missing, components) = (self.missing(), self.components());
        let overall = self.overall(&known, &missing, &components);
        let there = known.entries.iter().map(|entry| self.word(&known, entry));
        let missing = missing.into_iter().map(|plugin| PluginWord {
            name: plugin.name,
            group: Group::of(plugin.kind),
            health: plugin.health.judged.health,
            reason: Some(plugin.health.reason),
            left_out: plugin.health.left_out,
            in_maintenance: plugin.health.in_maintenance,
        });
        HealthSummary {
            overall,
            plugins: there.chain(missing).collect(),
            components,
            history: self.inner.history.status().state,
            crashes: self.crashes_lately(),
        }
    }

    /// How hosts were ended by signals lately, the newest first.
    fn crashes_lately(&self) -> Vec<Crash> {
        let since = clock::unix_ms(clock::wall()).saturating_sub(CRASHES_TOLD_MS);
        let mut crashes = self.inner.crashes.kept();
        crashes.retain(|crash| crash.at_unix_ms >= since);
        newest_first(&crashes)
    }

    fn word(&self, known: &Known, entry: &Entry) -> PluginWord {
        let health = known.health_of(&entry.name);
        let why = || match self.engine().view(&entry.name) {
            Some(seen) => reason(entry, &seen),
            None => Cause::NotChecked.to_string(),
        };
        PluginWord {
            name: entry.name.to_string(),
            group: Group::of(entry.plugin.manifest().plugin.kind),
            health,
            reason: (health != Health::Up).then(why),
            left_out: known.is_left_out(&entry.name),
            in_maintenance: self.inner.maintenances.of(entry).map(Box::new),
        }
    }

    /// How one instance is, or one that is configured and whose plugin is not there. Asks nobody.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn plugin_health(&self, name: &str) -> Result<PluginHealth, ControlError> {
        let snapshot = self.snapshot();
        let entry = match (snapshot.get(name), self.inner.registry.missing_of(name)) {
            (None, Some(missing)) => return Ok(self.missing_one(&missing)),
            _ => self.entry(name)?,
        };
        let seen = self.engine().view(name);
        let set_serves = || match entry.config.redundant.as_deref() {
            Some(set) => self.serving_of_set(&snapshot, set),
            None => 0,
        };
        Ok(PluginHealth {
            policy: Some(Box::new(self.policy_view(&entry))),
            ..self.one(
                &entry,
                &snapshot,
                seen.as_ref(),
                &mut ModulesUsed::default(),
                set_serves,
            )
        })
    }

    /// One of which so much is known. `set_serves`: how many serve of the redundant set that it is of.
    fn one(
        &self,
        entry: &Entry,
        snapshot: &Snapshot,
        seen: Option<&Seen>,
        modules: &mut ModulesUsed,
        set_serves: impl FnOnce() -> usize,
    ) -> PluginHealth {
        let is_enough = |set: &String| set_serves() >= self.needed_of_set(set);
        PluginHealth {
            name: entry.name.to_string(),
            id: entry.plugin.manifest().plugin.id.clone(),
            kind: entry.plugin.manifest().plugin.kind,
            required: entry.config.criticality == Criticality::Required,
            covered: is_covered(snapshot, entry) || entry.config.redundant.as_ref().is_some_and(is_enough),
            lifecycle: entry.lifecycle,
            health: match seen {
                Some(seen) => self.health_view(entry, seen, modules),
                None => self.not_checked(entry),
            },
            recent: seen.map(|seen| seen.recent.clone()).unwrap_or_default(),
            checks_ns: seen.map(|seen| seen.latencies_ns.clone()).unwrap_or_default(),
            policy: None,
            rollout: entry.rollout(),
            taken_back: taken_back_lately(entry),
            breaker: entry.breaker(),
            probe: None,
        }
    }

    /// How many of a redundant set must serve.
    pub(super) fn needed_of_set(&self, set: &str) -> usize {
        let current = self.inner.current();
        current.config.health.redundant.get(set).copied().unwrap_or(1)
    }

    /// How many of a redundant set serve and count: only its members are looked at.
    pub(super) fn serving_of_set(&self, snapshot: &Snapshot, set: &str) -> usize {
        let members = snapshot
            .all()
            .filter(|entry| entry.config.redundant.as_deref() == Some(set));
        members
            .filter(|entry| counts_as_serving(entry, self.engine().standing(&entry.name).as_ref()))
            .count()
    }

    /// How those are that are configured, and whose plugins are not there: whoever calls them is not answered.
    pub(super) fn missing(&self) -> Vec<PluginHealth> {
        let (missing, snapshot) = (self.inner.registry.missing(), self.snapshot());
        // One whose file has just gone may still serve.
        let gone = missing.iter().filter(|view| snapshot.get(&view.name).is_none());
        gone.map(|view| self.missing_one(view)).collect()
    }

    /// Its file may just be replaced by whoever put it into maintenance.
    fn maintenance_of_missing(&self, name: &str) -> Option<Maintenance> {
        match self.configured(name) {
            Some(config) if config.maintenance => Some(Maintenance::CONFIGURED),
            _ => self.inner.maintenances.of_operator(name),
        }
    }

    fn is_not_meant_to_run(&self, name: &str) -> bool {
        self.inner.disabled.holds(name) || self.configured(name).is_some_and(|config| !config.autostart)
    }

    /// Whether one whose plugin is not there keeps the host from being ready.
    pub(super) fn is_missed(&self, name: &str) -> bool {
        let config = self.configured(name);
        config.is_some_and(|config| config.criticality == Criticality::Required)
            && !self.is_not_meant_to_run(name)
            && self.maintenance_of_missing(name).is_none()
    }

    fn missing_one(&self, view: &MissingView) -> PluginHealth {
        let (config, maintenance) = (
            self.configured(&view.name),
            self.maintenance_of_missing(&view.name),
        );
        let judged = Judgement {
            health: Health::Down,
            cause: Cause::Missing,
            flags: HealthFlags {
                maintenance: maintenance.is_some(),
                ..HealthFlags::default()
            },
        };
        PluginHealth {
            name: view.name.clone(),
            id: view.plugin.clone(),
            kind: Kind::General,
            required: config.is_some_and(|config| config.criticality == Criticality::Required),
            covered: false,
            lifecycle: Lifecycle::Failed,
            health: HealthView {
                reason: format!("{}: {}", Cause::Missing, view.reason),
                left_out: maintenance.is_some() || self.is_not_meant_to_run(&view.name),
                in_maintenance: maintenance.map(Box::new),
                ..bare(judged, view.since_unix_ms)
            },
            recent: Vec::new(),
            checks_ns: Vec::new(),
            policy: None,
            rollout: None,
            taken_back: None,
            breaker: None,
            probe: None,
        }
    }

    /// What is configured for an instance.
    pub(super) fn configured(&self, name: &str) -> Option<InstanceConfig> {
        self.inner.current().instance(name).cloned()
    }
}

/// What was taken back of it last, if that is not long ago: it may be well again, and who put the version there is to hear of it.
fn taken_back_lately(entry: &Entry) -> Option<BarredView> {
    let since = clock::unix_ms(clock::wall()).saturating_sub(TAKEN_BACK_TOLD_MS);
    let last = entry.barred.iter().max_by_key(|barred| barred.since_unix_ms)?;
    (last.since_unix_ms >= since).then(|| last.clone())
}

/// Of one of which nothing is measured.
fn bare(judged: Judgement, since_unix_ms: u64) -> HealthView {
    HealthView {
        judged,
        reason: judged.cause.to_string(),
        since_unix_ms,
        left_out: false,
        in_maintenance: None,
        way_back: None,
        failed_checks: 0,
        checks: CheckCounts::default(),
        parts: Vec::new(),
        connection: None,
        flapping_permille: 0,
        flapping_since_unix_ms: None,
        next_check_ms: None,
        figures: Vec::new(),
        not_measured: Vec::new(),
        deep: None,
    }
}

impl Host {
    /// Of an instance that the engine does not know yet.
    fn not_checked(&self, entry: &Entry) -> HealthView {
        let judged = Judgement {
            health: Health::Unknown,
            cause: Cause::NotChecked,
            flags: HealthFlags::default(),
        };
        HealthView {
            in_maintenance: self.inner.maintenances.of(entry).map(Box::new),
            way_back: entry.way_back.clone().map(Box::new),
            ..bare(judged, entry.since_unix_ms)
        }
    }
}
