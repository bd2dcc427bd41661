//! Which instances require another one, so that nobody takes away what others need without knowing.

use super::Host;
use extman_model::control::ControlError;
use extman_model::{DependenciesView, DesiredState};
use std::collections::{BTreeMap, BTreeSet};

/// Instances that are named in a refusal.
const NAMED: usize = 5;

/// An instance that is to run.
#[derive(Debug, Clone)]
struct Wanted {
    name: String,
    /// Its plugin's id.
    id: String,
}

/// Of the instances that are to run, those that would lack something without this one: whoever requires another that is found stands before
/// it, so that this is the order to stop them in.
fn dependents(name: &str, wanted: &[Wanted], dependencies: &DependenciesView) -> Vec<String> {
    let mut left: Vec<&Wanted> = wanted.iter().collect();
    let lacking_before = lacking(&left, dependencies);
    let mut found: Vec<String> = Vec::new();
    left.retain(|one| one.name != name);
    loop {
        let now = lacking(&left, dependencies);
        let new: Vec<String> = now.difference(&lacking_before).map(ToString::to_string).collect();
        if new.is_empty() {
            found.reverse();
            return found;
        }
        left.retain(|one| !new.contains(&one.name));
        found.extend(new);
    }
}

/// Names of the instances for which something is not there that they require, and that some plugin fulfils.
fn lacking<'a>(there: &[&'a Wanted], dependencies: &DependenciesView) -> BTreeSet<&'a str> {
    let ids: BTreeSet<&str> = there.iter().map(|one| one.id.as_str()).collect();
    let lacks: BTreeMap<&str, bool> = dependencies
        .plugins
        .iter()
        .map(|plugin| {
            let needed = plugin.requires.iter().filter(|requirement| !requirement.optional);
            let mut fulfilled = needed.map(|requirement| &requirement.fulfilled_by);
            let lacks = fulfilled.any(|by| !by.iter().any(|id| ids.contains(id.as_str())));
            (plugin.id.as_str(), lacks)
        })
        .collect();
    let lacking = there
        .iter()
        .filter(|one| lacks.get(one.id.as_str()) == Some(&true));
    lacking.map(|one| one.name.as_str()).collect()
}

impl Host {
    /// Instances that are to run and require this one, in the order in which they are to be stopped.
    pub(super) fn dependents(&self, name: &str) -> Vec<String> {
        let snapshot = self.snapshot();
        let to_run = snapshot
            .all()
            .filter(|entry| entry.desired == DesiredState::Running);
        let wanted = to_run.map(|entry| Wanted {
            name: entry.name.to_string(),
            id: entry.plugin.manifest().plugin.id.clone(),
        });
        dependents(
            name,
            &wanted.collect::<Vec<_>>(),
            &self.inner.registry.dependencies(),
        )
    }

    /// Nobody takes away what others need without saying so; `remedy` says what can be done.
    pub(super) fn refuse_what_others_need(&self, name: &str, remedy: &str) -> Result<(), ControlError> {
        let dependents = self.dependents(name);
        if dependents.is_empty() {
            return Ok(());
        }
        let mut names = dependents
            .iter()
            .take(NAMED)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if dependents.len() > NAMED {
            names.push_str(&format!(" and {} more", dependents.len() - NAMED));
        }
        let verb = match dependents.len() {
            1 => "requires",
            _ => "require",
        };
        Err(ControlError::Conflict(format!(
            "{name} is needed: {names} {verb} it; {remedy}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Plugins, each with what it requires: of each requirement, any one of these.
    fn dependencies(of: &[(&str, &[&[&str]])]) -> DependenciesView {
        let plugin = |(id, requires): &(&str, &[&[&str]])| {
            let requires: Vec<_> = requires
                .iter()
                .map(|by| json!({"capability": "x", "version": "*", "fulfilled_by": by}))
                .collect();
            json!({"id": id, "version": "1.0.0", "digest": "ab".repeat(32), "origin": "/p", "requires": requires})
        };
        let plugins: Vec<_> = of.iter().map(plugin).collect();
        serde_json::from_value(json!({"plugins": plugins, "start_order": []})).unwrap()
    }

    fn wanted(of: &[(&str, &str)]) -> Vec<Wanted> {
        let wanted = |(name, id): &(&str, &str)| Wanted {
            name: (*name).to_owned(),
            id: (*id).to_owned(),
        };
        of.iter().map(wanted).collect()
    }

    #[test]
    fn whoever_requires_it_by_others_too_is_found_and_stands_before_them() {
        let view = dependencies(&[
            ("base", &[]),
            ("rank", &[&["base"]]),
            ("top", &[&["rank"]]),
            ("other", &[]),
        ]);
        let all = wanted(&[
            ("base", "base"),
            ("other", "other"),
            ("rank", "rank"),
            ("top", "top"),
        ]);
        assert_eq!(dependents("base", &all, &view), ["top", "rank"]);
        assert_eq!(dependents("rank", &all, &view), ["top"]);
        assert!(dependents("top", &all, &view).is_empty());
    }

    #[test]
    fn nobody_needs_what_another_instance_or_plugin_does_as_well() {
        let view = dependencies(&[("a", &[]), ("b", &[]), ("rank", &[&["a", "b"]])]);
        let both = wanted(&[("a", "a"), ("b", "b"), ("rank", "rank")]);
        assert!(dependents("a", &both, &view).is_empty());
        let twice = wanted(&[("a1", "a"), ("a2", "a"), ("rank", "rank")]);
        assert!(dependents("a1", &twice, &view).is_empty());
        let one = wanted(&[("a", "a"), ("rank", "rank")]);
        assert_eq!(dependents("a", &one, &view), ["rank"]);
    }

    #[test]
    fn what_lacked_something_before_is_no_reason() {
        let view = dependencies(&[("a", &[]), ("b", &[]), ("rank", &[&["a"], &["b"]])]);
        let without_b = wanted(&[("a", "a"), ("rank", "rank")]);
        assert!(dependents("a", &without_b, &view).is_empty());
    }
}
