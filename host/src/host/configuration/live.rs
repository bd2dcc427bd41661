//! The host's own fields: which of them are in force at once when they change, and which hold from its next start on.

use super::fields::flat;
use crate::config::{Config, ConfigText};
use crate::host::Host;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Takes over what can change while the host runs. The fields that did.
pub(super) fn take(in_force: &mut Config, new: &Config) -> Vec<String> {
    let before = fields(in_force);
    in_force.supervision = new.supervision;
    in_force.rollout = new.rollout.clone();
    in_force.probe = new.probe;
    in_force.routing = new.routing.clone();
    in_force.health = new.health.clone();
    in_force.log = new.log.clone();
    in_force.crash.policy = new.crash.policy;
    in_force.shutdown = new.shutdown.clone();
    in_force.intake.discovery = new.intake.discovery.clone();
    in_force.intake.watch = new.intake.watch.clone();
    differences(&before, &fields(in_force))
}

/// What is otherwise in the new configuration and is not in force. What is in the file for others than the host, such as `[http]`, is read
/// when the program starts: it is compared with what the file said then.
pub(super) fn needs_restart(in_force: &Config, new: &Config) -> Vec<String> {
    let mut all = differences(&fields(in_force), &fields(new));
    if let (Some(before), Some(now)) = (&in_force.text, &new.text) {
        let section = |text: &ConfigText| {
            let http = text
                .section("http")
                .and_then(|http| serde_json::to_value(http).ok());
            let section: serde_json::Map<String, Value> =
                http.map(|http| ("http".to_owned(), http)).into_iter().collect();
            flat(&section)
        };
        all.extend(differences(&section(before), &section(now)));
    }
    all.sort();
    all
}

/// All fields but those of instances, by path.
fn fields(config: &Config) -> BTreeMap<String, Value> {
    let mut all = match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => return BTreeMap::new(),
    };
    all.remove("instance");
    flat(&all)
}

fn differences(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name));
    differ.cloned().collect()
}

impl Host {
    /// Has the parts of the host go by these fields.
    pub(super) fn apply_live(&self, config: &Config, changed: &[String]) {
        let has = |section: &str| changed.iter().any(|field| field.starts_with(section));
        let inner = &self.inner;
        if has("probe.") {
            inner.publisher.set_probe(config.probe);
        }
        if has("routing.") {
            inner.registry.set_routing(config.routing.clone());
            inner.answers.retain_configured(&inner.registry.routing());
        }
        if has("health.") {
            inner.components.set_limits(config);
        }
        if has("intake.") {
            inner.intake.send_replace(config.intake.clone());
            inner.look.notify_one();
        }
        if has("crash.") {
            inner.crashes.set_policy(config.crash.policy);
        }
        if has("log.") {
            inner.configuration.log_level.send_replace(config.log.level);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::LogLevel;
    use extman_runtime::crash::CrashPolicy;

    #[test]
    fn policies_directories_and_the_log_level_change_at_once_and_the_rest_is_told() {
        let mut in_force = Config::default();
        let mut new = Config::default();
        new.log.level = LogLevel::Debug;
        new.supervision.max_restarts = 3;
        new.crash.policy = CrashPolicy::Ignore;
        new.crash.within_s = 1;
        new.crash.enabled = false;
        new.shutdown.budget_ms = 100;
        new.intake.discovery.dirs = vec!["elsewhere".into()];
        new.lanes.queue_max = 7;
        new.history.enabled = !new.history.enabled;
        let changed = take(&mut in_force, &new);
        assert_eq!(
            changed,
            [
                "crash.policy",
                "intake.discovery.dirs",
                "log.level",
                "shutdown.budget_ms",
                "supervision.max_restarts"
            ]
        );
        let waits = needs_restart(&in_force, &new);
        assert_eq!(
            waits,
            [
                "crash.enabled",
                "crash.within_s",
                "history.enabled",
                "lanes.queue_max"
            ]
        );
        assert_eq!(needs_restart(&in_force, &in_force), [""; 0]);
    }
}
