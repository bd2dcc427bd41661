//! How everything is, as it is told in one answer.

use super::Host;
use super::health::Known;
use crate::probing::Seen;
use extman_model::control::ControlError;
use extman_model::control::report::{HealthAnswer, HostHealth, PluginHealth};
use extman_model::record::CheckCounts;
use extman_model::{Cause, Criticality, HealthFlags, HealthView, Judgement};
use extman_runtime::registry::Entry;

impl Host {
    /// How everything is, with each instance, the host's own parts and its asking. Asks nobody.
    pub fn health_told(&self) -> HealthAnswer {
        let known = Known::of(self);
        let stats = self.engine().stats();
        let lag = self.inner.components.lag(self.engine());
        HealthAnswer {
            overall: self.health(),
            plugins: known
                .entries
                .iter()
                .map(|entry| self.one(&known, entry))
                .collect(),
            history: self.inner.history.status(),
            components: self.components(),
            host: HostHealth {
                checks: stats.checks,
                stalls: stats.stalls,
                lag_p99_ns: lag.map(|lag| u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX)),
            },
        }
    }

    /// How one instance is. Asks nobody.
    ///
    /// # Errors
    /// There is none of this name, or one is configured and its plugin is not there.
    pub fn plugin_health(&self, name: &str) -> Result<PluginHealth, ControlError> {
        let entry = self.entry(name)?;
        let known = Known::of(self);
        Ok(PluginHealth {
            check: known.seen.get(&entry.name).and_then(|seen| seen.check.clone()),
            policy: Some(Box::new(self.policy_told(&entry))),
            ..self.one(&known, &entry)
        })
    }

    fn one(&self, known: &Known, entry: &Entry) -> PluginHealth {
        let seen = known.seen.get(&entry.name);
        PluginHealth {
            name: entry.name.to_string(),
            id: entry.plugin.manifest().plugin.id.clone(),
            kind: entry.plugin.manifest().plugin.kind,
            required: entry.config.criticality == Criticality::Required,
            covered: known.covered(entry).is_some() || self.redundancy_holds(known, entry),
            lifecycle: entry.lifecycle,
            health: seen.map_or_else(|| self.not_checked(entry), |seen| self.health_view(entry, seen)),
            recent: seen.map(|seen| seen.recent.clone()).unwrap_or_default(),
            checks_ns: seen.map(trips).unwrap_or_default(),
            check: None,
            policy: None,
            probe: None,
        }
    }

    /// Whether enough of its redundant set serve.
    fn redundancy_holds(&self, known: &Known, entry: &Entry) -> bool {
        let Some(set) = entry.config.redundant.as_deref() else {
            return false;
        };
        let needed = self.inner.config.health.redundant.get(set).copied().unwrap_or(1);
        known.serving_of_set(set) >= needed
    }
}

fn trips(seen: &Seen) -> Vec<u64> {
    seen.latencies_ns.clone()
}

impl Host {
    /// It is known, and nobody has told the engine of it yet.
    fn not_checked(&self, entry: &Entry) -> HealthView {
        let cause = Cause::NotChecked;
        HealthView {
            judged: Judgement {
                health: extman_model::Health::Unknown,
                cause,
                flags: HealthFlags::default(),
            },
            reason: cause.to_string(),
            since_unix_ms: entry.view().since_unix_ms,
            left_out: false,
            in_maintenance: self.inner.maintenances.of(entry).map(Box::new),
            failed_checks: 0,
            checks: CheckCounts::default(),
            parts: Vec::new(),
            connection: None,
            flapping_permille: 0,
            next_check_ms: None,
            figures: Vec::new(),
            not_measured: Vec::new(),
            deep: None,
        }
    }
}
