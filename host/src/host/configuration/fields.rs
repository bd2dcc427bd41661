//! An instance's configuration as fields with paths, such as `config.size` or `probe.interval_ms`. Pure.

use extman_model::{ConfigFieldChange, FieldFault};
use extman_runtime::supervisor::InstanceConfig;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What is given in an `[[instance]]`, without what has its default.
pub(super) type Section = Map<String, Value>;

/// What was set above a section, by path; nothing where a field is to be as if it were not given.
pub(super) type Overrides = BTreeMap<String, Option<Value>>;

/// The path of a field in a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldPath(Vec<String>);

/// Fields that say which instance it is, and of which plugin: those are the file's.
const FIXED: [&str; 3] = ["name", "plugin", "version"];

impl FieldPath {
    /// From keys with dots between them; a key with a dot of its own stands in double quotes.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        let mut rest = text;
        loop {
            let (key, after) = match rest.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or("a quote is not closed")?,
                None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
            };
            if key.is_empty() {
                return Err("a key is empty".to_owned());
            }
            keys.push(key.to_owned());
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() => return Ok(FieldPath(keys)),
                None => return Err("after a quoted key comes a dot".to_owned()),
            }
        }
    }

    /// Whether it can be set by a command; else, why not.
    pub(super) fn is_settable(&self) -> Result<(), String> {
        let first = self.0.first().map_or("", |key| key);
        match FIXED.contains(&first) {
            true => Err(format!(
                "{first} says which instance this is; change that in the [[instance]]"
            )),
            false => Ok(()),
        }
    }

    /// Puts a value there, or takes it away.
    fn put(&self, section: &mut Section, value: Option<Value>) -> Result<(), String> {
        let Some((last, above)) = self.0.split_last() else {
            return Ok(());
        };
        let mut table = section;
        for (depth, key) in above.iter().enumerate() {
            if value.is_none() && !table.contains_key(key) {
                return Ok(());
            }
            let inner = table.entry(key).or_insert_with(|| Value::Object(Map::new()));
            table = inner.as_object_mut().ok_or_else(|| {
                let above = FieldPath(self.0[..=depth].to_vec());
                format!("{above} is no table, so nothing can be set below it")
            })?;
        }
        match value {
            Some(value) => table.insert(last.clone(), value),
            None => table.remove(last),
        };
        Ok(())
    }

    /// Whether it is that field, or lies below it.
    pub(super) fn is_within(&self, other: &FieldPath) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, key) in self.0.iter().enumerate() {
            let dot = if number > 0 { "." } else { "" };
            match key.contains('.') {
                true => write!(f, "{dot}\"{key}\"")?,
                false => write!(f, "{dot}{key}")?,
            }
        }
        Ok(())
    }
}

/// What is given in a configuration.
pub(super) fn section(config: &InstanceConfig) -> Section {
    let fields = |config: &InstanceConfig| match serde_json::to_value(config) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let defaults = fields(&InstanceConfig::default_for(&config.plugin));
    let is_given = |key: &String, value: &Value| key == "plugin" || defaults.get(key) != Some(value);
    let mut given = fields(config);
    given.retain(|key, value| is_given(key, value));
    if let Some(Value::Object(probe)) = given.get_mut("probe") {
        probe.retain(|_, value| !value.is_null());
    }
    given
}

/// A section with what was set above it.
pub(super) fn overlaid(below: &Section, overrides: &Overrides) -> Result<InstanceConfig, Vec<FieldFault>> {
    let mut whole = below.clone();
    let mut faults = Vec::new();
    for (path, value) in overrides {
        let put = |section: &mut Section| FieldPath::parse(path)?.put(section, value.clone());
        // Each by itself, since the whole would not say which one it is that does not fit.
        let mut alone = below.clone();
        let fits = put(&mut alone).and_then(|()| instance(alone).map(drop));
        match fits.and_then(|()| put(&mut whole)) {
            Ok(()) => {}
            Err(why) => faults.push(FieldFault {
                field: path.clone(),
                text: format!("{path}: {why}"),
            }),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    instance(whole).map_err(|why| {
        vec![FieldFault {
            field: String::new(),
            text: why,
        }]
    })
}

fn instance(section: Section) -> Result<InstanceConfig, String> {
    serde_json::from_value(Value::Object(section)).map_err(|error| error.to_string())
}

/// What has to be set above a section for it to come to another one.
pub(super) fn overrides_between(below: &Section, wanted: &Section) -> Overrides {
    let changes = changes(below, wanted).into_iter();
    changes.map(|change| (change.field, change.after)).collect()
}

/// Each value of a section with its path. A secret's reference is a value.
pub(super) fn flat(section: &Section) -> BTreeMap<String, Value> {
    fn add(value: &Value, path: &[String], all: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) if !fields.is_empty() && !is_reference(fields) => {
                for (key, value) in fields {
                    let mut path = path.to_vec();
                    path.push(key.clone());
                    add(value, &path, all);
                }
            }
            value => {
                all.insert(FieldPath(path.to_vec()).to_string(), value.clone());
            }
        }
    }
    let mut all = BTreeMap::new();
    for (key, value) in section {
        add(value, std::slice::from_ref(key), &mut all);
    }
    all
}

fn is_reference(fields: &Section) -> bool {
    let is_place = |key: &str| fields.get(key).is_some_and(Value::is_string);
    fields.len() == 1 && (is_place("env") || is_place("file"))
}

/// What is another value in the one than in the other.
pub(super) fn changes(before: &Section, after: &Section) -> Vec<ConfigFieldChange> {
    let (before, after) = (flat(before), flat(after));
    let fields: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = fields
        .into_iter()
        .filter(|field| before.get(*field) != after.get(*field));
    let change = |field: &String| ConfigFieldChange {
        field: field.clone(),
        before: before.get(field).cloned(),
        after: after.get(field).cloned(),
    };
    changed.map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value: Value) -> Section {
        value.as_object().cloned().unwrap()
    }

    fn set(pairs: &[(&str, Value)]) -> Overrides {
        let pairs = pairs.iter();
        pairs
            .map(|(path, value)| ((*path).to_owned(), (!value.is_null()).then(|| value.clone())))
            .collect()
    }

    #[test]
    fn paths_are_read_and_written_with_quotes_where_a_key_has_a_dot() {
        for text in ["priority", "config.a.b", "config.\"a.b\".c"] {
            assert_eq!(FieldPath::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "a.", ".a", "config.\"a", "config.\"a\"b"] {
            assert!(FieldPath::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_set_goes_before_the_file_and_what_is_taken_away_is_as_if_it_were_not_there() {
        let file = of(json!({"plugin": "a", "priority": 3, "config": {"size": 1, "deep": {"x": 1, "y": 2}}}));
        let overrides = set(&[
            ("config.size", json!(7)),
            ("config.deep.x", Value::Null),
            ("probe.fall", json!(2)),
            ("priority", Value::Null),
        ]);
        let config = overlaid(&file, &overrides).unwrap();
        let expected = json!({"plugin": "a", "config": {"size": 7, "deep": {"y": 2}}, "probe": {"fall": 2}});
        assert_eq!(Value::Object(section(&config)), expected);
        let back = overrides_between(&file, &section(&config));
        assert_eq!(overlaid(&file, &back).unwrap(), config, "{back:?}");
    }

    #[test]
    fn all_that_does_not_fit_is_told_each_with_its_field() {
        let file = of(json!({"plugin": "a", "config": {"size": 1}}));
        let overrides = set(&[
            ("config.size.x", json!(7)),
            ("priority", json!("high")),
            ("priorty", json!(1)),
            ("autostart", json!(false)),
        ]);
        let faults = overlaid(&file, &overrides).unwrap_err();
        let fields: Vec<&str> = faults.iter().map(|fault| &*fault.field).collect();
        assert_eq!(fields, ["config.size.x", "priority", "priorty"], "{faults:?}");
    }

    #[test]
    fn secrets_are_values_in_a_list_of_changes() {
        let before = of(json!({"config": {"key": {"env": "A"}, "n": 1}}));
        let after = of(json!({"config": {"key": {"file": "/b"}, "n": 1}}));
        let changes = changes(&before, &after);
        assert_eq!(changes.len(), 1);
        assert_eq!(
            (&*changes[0].field, changes[0].after.clone()),
            ("config.key", Some(json!({"file": "/b"})))
        );
    }
}
