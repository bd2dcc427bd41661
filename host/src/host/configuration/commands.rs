//! Commands of the operator: what is configured is shown, changed, and brought back.

use super::Current;
use super::fields::{FieldPath, Overrides, Section, changes, flat, overlaid, overrides_between, section};
use super::kept::{self, KeptChange};
use crate::host::Host;
use extman_model::control::ControlError;
use extman_model::text::one_line;
use extman_model::{
    ConfigAnswer, ConfigChange, ConfigChangeAsked, ConfigChangeBy, ConfigDifference, ConfigField,
    ConfigOrigin, FieldFault, What, clock,
};
use extman_runtime::supervisor::{InstanceConfig, Request};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Fields that may be set of one instance.
const SET_MAX: usize = 256;
/// Longest name of who asks, in characters.
const WHO_CHARS_MAX: usize = 64;

/// What an instance is to be configured with, and what has to be set for that.
struct Change {
    name: String,
    who: String,
    by: ConfigChangeBy,
    overrides: Overrides,
}

impl Host {
    /// What is configured for an instance, and where each value comes from.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn config_of(&self, name: &str) -> Result<ConfigAnswer, ControlError> {
        let current = self.inner.current();
        let config = self.configured_now(&current, name)?;
        let overrides = self.overrides_of(name);
        let is_set = |field: &str| is_set(&overrides, field);
        let mut fields = flat_of(&config)
            .into_iter()
            .map(|(field, value)| ConfigField {
                origin: match is_set(&field) {
                    true => ConfigOrigin::Set,
                    false => ConfigOrigin::File,
                },
                field,
                value,
            })
            .collect::<Vec<_>>();
        let entry = self.snapshot().get(name);
        if let Some(entry) = &entry {
            let given = config.config.keys().collect::<BTreeSet<_>>();
            let defaults = &entry.plugin.manifest().config.defaults;
            let defaults = defaults.iter().filter(|(key, _)| !given.contains(key));
            let below: Section = defaults
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let below: Section = [("config".to_owned(), Value::Object(below))]
                .into_iter()
                .collect();
            let origin = ConfigOrigin::Manifest;
            let below = flat(&below).into_iter().filter(|(field, _)| field != "config");
            fields.extend(below.map(|(field, value)| ConfigField { field, value, origin }));
        }
        fields.sort_by(|a, b| a.field.cmp(&b.field));
        let fault = entry.and_then(|entry| entry.config_fault.clone());
        Ok(ConfigAnswer {
            name: name.to_owned(),
            plugin: config.plugin.clone(),
            in_sync: fault.is_none(),
            fault,
            fields,
        })
    }

    /// Values that are not the same in the file, with what was set, and in force.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn config_diff(&self, name: &str) -> Result<Vec<ConfigDifference>, ControlError> {
        let current = self.inner.current();
        let configured = flat_of(&*self.configured_now(&current, name)?);
        let file = current.of_file(name).map(flat_of).unwrap_or_default();
        let entry = self.snapshot().get(name);
        let in_force = entry.map(|entry| flat_of(&entry.config)).unwrap_or_default();
        let fields: BTreeSet<&String> = file
            .keys()
            .chain(configured.keys())
            .chain(in_force.keys())
            .collect();
        let row = |field: &&String| ConfigDifference {
            field: (*field).clone(),
            file: file.get(*field).cloned(),
            configured: configured.get(*field).cloned(),
            in_force: in_force.get(*field).cloned(),
        };
        let differs = |row: &ConfigDifference| row.file != row.configured || row.configured != row.in_force;
        Ok(fields.iter().map(row).filter(differs).collect())
    }

    /// Changes of an instance's configuration, the newest first: who made them, when, and what came of them.
    ///
    /// # Errors
    /// There is none of this name, and never was.
    pub fn config_history(&self, name: &str) -> Result<Vec<ConfigChange>, ControlError> {
        let kept = self.inner.configuration.kept();
        let changes: Vec<ConfigChange> = kept.of(name).rev().map(KeptChange::view).collect();
        drop(kept);
        if changes.is_empty() {
            self.configured_now(&self.inner.current(), name)?;
        }
        Ok(changes)
    }

    /// Changes an instance's configuration, all of it or nothing: it is held against the plugin's schema, taken by the instance, and on the disk
    /// before this returns. Over what the file says, it holds until it is unset.
    ///
    /// # Errors
    /// There is none of this name; a value can't be used; the instance did not take it, and goes on as it was; or it can't be written down.
    pub async fn change_config(
        &self,
        name: &str,
        asked: ConfigChangeAsked,
    ) -> Result<ConfigAnswer, ControlError> {
        let (host, name) = (self.clone(), name.to_owned());
        self.to_its_end(async move {
            let _alone = host.inner.configuration.changing.lock().await;
            host.configured_now(&host.inner.current(), &name)?;
            let overrides = with_asked(host.overrides_of(&name), &asked)?;
            let change = Change {
                who: who(asked.who),
                by: ConfigChangeBy::Command,
                overrides,
                name,
            };
            host.carry_out(change).await
        })
        .await
    }

    /// Brings back what was configured for an instance before its last change, or after the change of this number.
    ///
    /// # Errors
    /// There is no such change; or as for [`change_config`](Self::change_config).
    pub async fn roll_back_config(
        &self,
        name: &str,
        to: Option<u64>,
        asked_by: Option<String>,
    ) -> Result<ConfigAnswer, ControlError> {
        let (host, name) = (self.clone(), name.to_owned());
        self.to_its_end(async move {
            let _alone = host.inner.configuration.changing.lock().await;
            let current = host.inner.current();
            let now = section(&*host.configured_now(&current, &name)?);
            let target = host.earlier(&name, to, &now)?;
            let file = current.of_file(&name).map(section);
            let below = file.unwrap_or_else(|| section(&InstanceConfig::default_for(&plugin_of(&now))));
            let change = Change {
                overrides: overrides_between(&below, &target),
                who: who(asked_by),
                by: ConfigChangeBy::Rollback,
                name,
            };
            host.carry_out(change).await
        })
        .await
    }

    /// The section that is to be brought back.
    fn earlier(&self, name: &str, to: Option<u64>, now: &Section) -> Result<Section, ControlError> {
        let kept = self.inner.configuration.kept();
        let mut taken = kept.of(name).filter(|change| change.not_taken.is_none()).rev();
        let found = match to {
            Some(number) => taken
                .find(|change| change.number == number)
                .map(|change| change.after.clone()),
            None => taken.next().map(|change| change.before.clone()),
        };
        let Some(section) = found else {
            let what = to.map_or("no change is known".to_owned(), |to| {
                format!("no change {to} that was taken is known")
            });
            return Err(ControlError::Conflict(format!(
                "of {name} {what}; `extman config history {name}` has those that are"
            )));
        };
        match changes(now, &section).is_empty() {
            true => Err(ControlError::Conflict(format!("{name} is configured so already"))),
            false => Ok(section),
        }
    }

    /// Has a change taken, or everything left as it was.
    async fn carry_out(&self, change: Change) -> Result<ConfigAnswer, ControlError> {
        let configuration = &self.inner.configuration;
        let Some(kept_in) = configuration.kept_in.clone() else {
            return Err(ControlError::Unavailable(
                "what is set is kept in the state directory, so that it outlives the host, and this host has none: set dir in [state] (an \
                 embedder: HostBuilder::state_dir), or change the [[instance]]"
                    .to_owned(),
            ));
        };
        let host = self.clone();
        let checked =
            tokio::task::spawn_blocking(move || host.checked(&change).map(|checked| (change, checked)));
        let (change, checked) = checked.await.map_err(|_| ControlError::ShuttingDown)??;
        let Checked {
            current,
            before,
            after,
        } = checked;
        let name = change.name.clone();
        let config = current.instance(&name).cloned();
        let Some(config) = config else {
            return Err(ControlError::Failed(format!("{name} is configured no longer")));
        };
        let mut kept_change = KeptChange {
            number: 0,
            at_unix_ms: clock::unix_ms(clock::wall()),
            name: name.clone(),
            who: change.who.clone(),
            by: change.by,
            not_taken: None,
            before,
            after,
        };
        let fields: Vec<String> = changes(&kept_change.before, &kept_change.after)
            .into_iter()
            .map(|change| change.field)
            .collect();
        if let Err(text) = self.tried(&name, config).await? {
            // Before anybody is told: what was tried is wanted no longer.
            self.publish_configured();
            kept_change.not_taken = Some(text.clone());
            self.note_not_taken(kept_in, kept_change).await;
            return Err(ControlError::Failed(format!(
                "{name}: {text}; nothing has changed"
            )));
        }
        let overrides = change.overrides;
        let of = name.clone();
        let keep = move || {
            kept::change(&kept_in, |kept| {
                kept.overrides.insert(of, overrides);
                kept.note(kept_change);
            })
        };
        match tokio::task::spawn_blocking(keep).await {
            Ok(Ok(kept)) => *configuration.kept() = kept,
            Ok(Err(why)) => {
                self.go_back(&name).await;
                return Err(ControlError::Unavailable(format!(
                    "{why}; what was configured before is in force again, since this would not have outlived the host"
                )));
            }
            Err(_) => return Err(ControlError::ShuttingDown),
        }
        self.put_in_force(&name, current);
        self.inner.events.publish(What::ConfigSet {
            name: name.clone(),
            who: change.who,
            fields,
        });
        self.config_of(&name)
    }

    /// Keeps among the changes one that came to nothing. It has no effect, so that it may be lost.
    async fn note_not_taken(&self, kept_in: PathBuf, change: KeptChange) {
        let noted = move || kept::change(&kept_in, |kept| kept.note(change));
        if let Ok(Ok(kept)) = tokio::task::spawn_blocking(noted).await {
            *self.inner.configuration.kept() = kept;
        }
    }

    /// What is configured from here on, in which this instance's part is without fault.
    fn put_in_force(&self, name: &str, current: Current) {
        let configuration = &self.inner.configuration;
        configuration.current.store(Arc::new(current));
        {
            let mut found = configuration.found();
            found.instances.remove(name);
            found.note_when();
        }
        self.publish_configured();
    }

    /// Has the instance take what was configured before.
    async fn go_back(&self, name: &str) {
        let config = self.inner.current().instance(name).cloned();
        let config = config.unwrap_or_else(|| InstanceConfig::default_for(name));
        let _ = self.tried(name, config).await;
        self.publish_configured();
    }

    /// What comes of it if an instance is to be configured so.
    async fn tried(&self, name: &str, config: InstanceConfig) -> Result<Result<(), String>, ControlError> {
        let config = Arc::new(config);
        let replied = self.request(name, |name, reply| Request::Change(name, config, reply))?;
        replied.await.map_err(|_| ControlError::ShuttingDown)
    }

    /// Whether a change can be used, as far as that can be told without the plugin's code. Blocking: it reads secrets.
    fn checked(&self, change: &Change) -> Result<Checked, ControlError> {
        let configuration = &self.inner.configuration;
        let now = configuration.current();
        let name = &change.name;
        let unfit = |faults: Vec<FieldFault>| {
            let texts: Vec<String> = faults.into_iter().map(|fault| fault.text).collect();
            ControlError::Invalid(format!("{}; nothing has changed", texts.join("; ")))
        };
        let before = section(&*self.configured_now(&now, name)?);
        let file = now.of_file(name).map(section);
        let below = file.unwrap_or_else(|| section(&InstanceConfig::default_for(&plugin_of(&before))));
        let with = overlaid(&below, &change.overrides).map_err(unfit)?;
        let mut faults = now.config.faults_of(&with);
        let mut kept = configuration.kept().clone();
        kept.overrides.insert(name.clone(), change.overrides.clone());
        let (current, _) = Current::new(now.config.clone(), now.file.clone(), &kept);
        if let Some(entry) = self.snapshot().get(name)
            && let Err(misfit) = with.resolve(entry.plugin.manifest())
        {
            faults.extend(misfit.faults);
        }
        if faults.is_empty() {
            let known = now.config.faults();
            let new = current.config.faults().into_iter();
            faults.extend(new.filter(|fault| !known.contains(fault)));
        }
        match faults.is_empty() {
            true => Ok(Checked {
                after: section(&with),
                current,
                before,
            }),
            false => Err(unfit(faults)),
        }
    }

    /// What is configured for an instance that is there or configured.
    fn configured_now(
        &self,
        current: &Arc<Current>,
        name: &str,
    ) -> Result<Arc<InstanceConfig>, ControlError> {
        if let Some(config) = current.instance(name) {
            return Ok(Arc::new(config.clone()));
        }
        Ok(self.entry(name)?.config.clone())
    }

    fn overrides_of(&self, name: &str) -> Overrides {
        let kept = self.inner.configuration.kept();
        kept.overrides.get(name).cloned().unwrap_or_default()
    }

    /// Whoever waits for it: what is in force and what is written down must not differ.
    async fn to_its_end(
        &self,
        change: impl Future<Output = Result<ConfigAnswer, ControlError>> + Send + 'static,
    ) -> Result<ConfigAnswer, ControlError> {
        tokio::spawn(change)
            .await
            .map_err(|_| ControlError::ShuttingDown)?
    }
}

/// A change that can be used.
struct Checked {
    /// What is configured with it.
    current: Current,
    before: Section,
    after: Section,
}

fn flat_of(config: &InstanceConfig) -> BTreeMap<String, Value> {
    let mut fields = flat(&section(config));
    fields.retain(|field, _| field != "plugin" && field != "name");
    fields
}

fn plugin_of(section: &Section) -> String {
    section
        .get("plugin")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// Whether a field was set, alone or with a table that it is in.
fn is_set(overrides: &Overrides, field: &str) -> bool {
    let Ok(field) = FieldPath::parse(field) else {
        return false;
    };
    let mut paths = overrides.keys().filter_map(|path| FieldPath::parse(path).ok());
    paths.any(|path| field.is_within(&path))
}

/// What is set when this is done as well; all that is wrong with it.
fn with_asked(mut overrides: Overrides, asked: &ConfigChangeAsked) -> Result<Overrides, ControlError> {
    let mut wrong = Vec::new();
    for text in &asked.unset {
        let before = overrides.len();
        match FieldPath::parse(text) {
            Ok(path) => {
                let stays =
                    |known: &String| FieldPath::parse(known).is_ok_and(|known| !known.is_within(&path));
                overrides.retain(|known, _| stays(known));
                if overrides.len() == before {
                    wrong.push(format!(
                        "{text}: nothing was set there; what the file says is changed in the file, or gone over by setting something else"
                    ));
                }
            }
            Err(why) => wrong.push(format!("{text:?} is no path of a field: {why}")),
        }
    }
    for (text, value) in &asked.set {
        let path = match FieldPath::parse(text) {
            Ok(path) => path,
            Err(why) => {
                wrong.push(format!("{text:?} is no path of a field: {why}"));
                continue;
            }
        };
        match path.is_settable() {
            Ok(()) if value.is_null() => wrong.push(format!("{text}: null is no value; unset it instead")),
            Ok(()) => {
                // What was set below it is in it, or is to be gone.
                let stays =
                    |known: &String| FieldPath::parse(known).is_ok_and(|known| !known.is_within(&path));
                overrides.retain(|known, _| stays(known));
                overrides.insert(path.to_string(), Some(value.clone()));
            }
            Err(why) => wrong.push(format!("{text}: {why}")),
        }
    }
    if asked.set.is_empty() && asked.unset.is_empty() {
        wrong.push("nothing is named that is to be set or unset".to_owned());
    }
    if overrides.len() > SET_MAX {
        wrong.push(format!(
            "more than {SET_MAX} fields would be set; put some of them into the file"
        ));
    }
    match wrong.is_empty() {
        true => Ok(overrides),
        false => Err(ControlError::Invalid(wrong.join("; "))),
    }
}

/// Who asks, on one line.
fn who(asked: Option<String>) -> String {
    let asked = asked.unwrap_or_default();
    let line: String = one_line(asked.trim()).chars().take(WHO_CHARS_MAX).collect();
    match line.is_empty() {
        true => "api".to_owned(),
        false => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(set: &[(&str, Value)], unset: &[&str]) -> ConfigChangeAsked {
        ConfigChangeAsked {
            set: set
                .iter()
                .map(|(path, value)| ((*path).to_owned(), value.clone()))
                .collect(),
            unset: unset.iter().map(|path| (*path).to_owned()).collect(),
            who: None,
        }
    }

    #[test]
    fn setting_a_table_replaces_what_was_set_in_it_and_unsetting_it_unsets_all_of_it() {
        let first = with_asked(
            Overrides::new(),
            &asked(&[("config.a.x", json!(1)), ("config.b", json!(2))], &[]),
        );
        let first = first.unwrap();
        let table = with_asked(first.clone(), &asked(&[("config.a", json!({"y": 1}))], &[])).unwrap();
        assert_eq!(table.keys().collect::<Vec<_>>(), ["config.a", "config.b"]);
        let none = with_asked(first, &asked(&[], &["config"])).unwrap();
        assert!(none.is_empty());
        assert!(is_set(&table, "config.a.y") && !is_set(&table, "config.c"));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let refused = with_asked(
            Overrides::new(),
            &asked(
                &[
                    ("name", json!("b")),
                    ("config.a", Value::Null),
                    ("config..b", json!(1)),
                ],
                &["priority"],
            ),
        );
        let text = refused.unwrap_err().to_string();
        for part in [
            "name says which",
            "null is no value",
            "no path",
            "nothing was set there",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        assert!(with_asked(Overrides::new(), &asked(&[], &[])).is_err());
    }

    #[test]
    fn who_asks_is_a_short_line() {
        assert_eq!(who(None), "api");
        assert_eq!(who(Some(" eve\nroot ".to_owned())), "eve\\nroot");
        assert_eq!(who(Some("x".repeat(99))).len(), WHO_CHARS_MAX);
    }
}
