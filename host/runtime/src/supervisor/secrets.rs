//! Secrets of an instance's configuration. What is configured is where one lies, `{ env = "X" }` or `{ file = "/run/secrets/x" }`; the secret
//! itself is read when the plugin is handed it.
//!
//! [`ResolvedConfig`] and [`Secrets`] hold what must not be shown: neither can be printed, compared or serialized.

use super::spec::InstanceConfig;
use crate::vetting::TrialConfig;
use arc_swap::ArcSwap;
use extman_intake::{ConfigMisfit, check_config};
use extman_model::{FieldFault, Report, VettingReport};
use extman_plugin_api::manifest::schema::Manifest;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The longest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;
/// A shorter one can't be told from other text, and is not looked for in what a plugin says.
const CLEANED_BYTES_MIN: usize = 4;

/// Where a secret lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretReference {
    /// In a variable of the host's environment.
    Env(String),
    /// In a file, as it is but for a line end at its end.
    File(PathBuf),
}

/// A configuration with its secrets in it, as JSON: for the plugin alone.
pub struct ResolvedConfig {
    json: String,
    secrets: Vec<String>,
}

/// What the references of a configuration led to when they were last looked at, without the secrets: enough to see that one has changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SecretMarks(BTreeMap<String, Mark>);

#[derive(Debug, Clone, PartialEq)]
enum Mark {
    /// A hash under a key that this process alone has.
    Known(u64),
    /// Why there is none.
    Unknown(String),
}

/// The secrets that an instance has been handed. What it says is cleaned of them.
#[derive(Default)]
pub struct Secrets(ArcSwap<Vec<String>>);

impl SecretReference {
    /// Whether a value is one: a table with nothing in it but `env`, or `file`, and a text.
    fn of(value: &Value) -> Option<Self> {
        let table = value.as_object().filter(|table| table.len() == 1)?;
        let (key, place) = table.iter().next()?;
        let place = place.as_str()?.to_owned();
        match key.as_str() {
            "env" => Some(SecretReference::Env(place)),
            "file" => Some(SecretReference::File(place.into())),
            _ => None,
        }
    }

    fn read(&self) -> Result<String, String> {
        match self {
            SecretReference::Env(name) => match std::env::var(name) {
                Ok(secret) => Ok(secret),
                Err(std::env::VarError::NotPresent) => Err(format!(
                    "the variable {name} is not set in the host's environment; set it and start the host again, or name another one"
                )),
                Err(std::env::VarError::NotUnicode(_)) => Err(format!("the variable {name} is no text")),
            },
            SecretReference::File(path) if !path.is_absolute() => Err(format!(
                "{} is a relative path; name the secret's file by its whole path",
                path.display()
            )),
            SecretReference::File(path) => read_file(path).map_err(|error| {
                format!(
                    "the secret can't be read from {}: {error}; put it there, or name another file",
                    path.display()
                )
            }),
        }
    }
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let mut secret = String::new();
    let file = std::fs::File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    file.take(SECRET_BYTES_MAX + 1).read_to_string(&mut secret)?;
    if secret.len() as u64 > SECRET_BYTES_MAX {
        let text = format!("it has more than {SECRET_BYTES_MAX} bytes");
        return Err(std::io::Error::other(text));
    }
    let without_end = secret.strip_suffix('\n').unwrap_or(&secret);
    let length = without_end.strip_suffix('\r').unwrap_or(without_end).len();
    secret.truncate(length);
    Ok(secret)
}

impl ResolvedConfig {
    /// Reads the secrets that a configuration refers to. `schema`: where it says of a place that a table belongs there, a table there is one,
    /// and no reference. Blocking: it reads files.
    ///
    /// # Errors
    /// Some of them can't be read; all of those are told.
    pub(super) fn read(
        config: Map<String, Value>,
        schema: Option<&Value>,
    ) -> Result<(Value, ResolvedConfig), Vec<FieldFault>> {
        let (mut secrets, mut faults) = (Vec::new(), Vec::new());
        let mut whole = Value::Object(config);
        visit(
            &mut whole,
            schema,
            "config",
            &mut |field, reference| match reference.read() {
                Ok(secret) => {
                    secrets.push(secret.clone());
                    Some(Value::String(secret))
                }
                Err(why) => {
                    let text = format!("{field}: {why}");
                    let field = field.to_owned();
                    faults.push(FieldFault { field, text });
                    None
                }
            },
        );
        if !faults.is_empty() {
            return Err(faults);
        }
        let json = whole.to_string();
        Ok((whole, ResolvedConfig { json, secrets }))
    }

    /// For the plugin.
    pub(crate) fn expose(&self) -> &str {
        &self.json
    }

    /// What was seen of a plugin that was tried with it, without the secrets.
    pub(crate) fn clean_vetting(&self, report: VettingReport) -> VettingReport {
        if self.secrets.is_empty() {
            return report;
        }
        let mut json = match serde_json::to_value(&report) {
            Ok(json) => json,
            Err(_) => return report,
        };
        clean_texts(&self.secrets, &mut json);
        serde_json::from_value(json).unwrap_or(report)
    }

    /// A text without the secrets.
    pub(super) fn clean(&self, text: String) -> String {
        clean(&self.secrets, &text).into_owned()
    }
}

impl InstanceConfig {
    /// The configuration that the plugin gets: with the manifest's defaults below what is given, with its secrets, and held against what the
    /// manifest says. Blocking: it reads files.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn resolve(&self, manifest: &Manifest) -> Result<ResolvedConfig, ConfigMisfit> {
        let lacking = self.lacking(manifest);
        let missing = lacking.iter().map(|key| FieldFault {
            field: format!("config.{key}"),
            text: format!("config.{key}: it is required, and not given"),
        });
        let misfit = |faults: Vec<FieldFault>| ConfigMisfit { faults, left_out: 0 };
        let merged = self.with_defaults(manifest);
        let (whole, resolved) = match ResolvedConfig::read(merged, manifest.config.schema.as_ref()) {
            Ok(read) if lacking.is_empty() => read,
            Ok(_) => return Err(misfit(missing.collect())),
            Err(faults) => return Err(misfit(missing.chain(faults).collect())),
        };
        if let Value::Object(whole) = &whole {
            check_config(manifest, whole)?;
        }
        Ok(resolved)
    }

    /// As [`resolve`](Self::resolve), and not held against anything: for one for which nothing is given, that is only tried out.
    ///
    /// # Errors
    /// A secret can't be read.
    pub fn resolve_defaults(&self, manifest: &Manifest) -> Result<ResolvedConfig, ConfigMisfit> {
        let read = ResolvedConfig::read(self.with_defaults(manifest), manifest.config.schema.as_ref());
        let (_, resolved) = read.map_err(|faults| ConfigMisfit { faults, left_out: 0 })?;
        Ok(resolved)
    }
}

impl<'a> From<&'a ResolvedConfig> for TrialConfig<'a> {
    fn from(config: &'a ResolvedConfig) -> Self {
        TrialConfig {
            secrets: Some(config),
            ..config.expose().into()
        }
    }
}

impl Secrets {
    /// Its instance has been handed these as well.
    pub(super) fn add(&self, config: &ResolvedConfig) {
        if config.secrets.is_empty() {
            return;
        }
        self.0.rcu(|known| {
            let new = config.secrets.iter().filter(|secret| !known.contains(secret));
            known.iter().chain(new).cloned().collect::<Vec<_>>()
        });
    }

    /// What it says of its health, without them.
    pub(crate) fn clean_report(&self, mut report: Report) -> Report {
        let secrets = self.0.load();
        if secrets.is_empty() {
            return report;
        }
        let texts = report
            .text
            .iter_mut()
            .chain(report.parts.iter_mut().map(|part| &mut part.message));
        for text in texts {
            if let Cow::Owned(cleaned) = clean(&secrets, text) {
                *text = cleaned;
            }
        }
        report
    }

    /// A text without them.
    pub(crate) fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        clean(&self.0.load(), text)
    }
}

fn clean_texts(secrets: &[String], value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(cleaned) = clean(secrets, text) {
                *text = cleaned;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| clean_texts(secrets, value)),
        Value::Object(fields) => fields.values_mut().for_each(|value| clean_texts(secrets, value)),
        _ => {}
    }
}

/// Takes secrets out of a text, also as they stand in JSON.
fn clean<'t>(secrets: &[String], text: &'t str) -> Cow<'t, str> {
    const INSTEAD: &str = "[secret]";
    let mut text = Cow::Borrowed(text);
    for secret in secrets.iter().filter(|secret| secret.len() >= CLEANED_BYTES_MIN) {
        let quoted = Value::from(secret.as_str()).to_string();
        for form in [secret.as_str(), &quoted[1..quoted.len() - 1]] {
            if text.contains(form) {
                text = Cow::Owned(text.replace(form, INSTEAD));
            }
        }
    }
    text
}

impl SecretMarks {
    /// Of the references of a configuration, as they lead now. Blocking: it reads files.
    pub fn of(config: &Map<String, Value>) -> Self {
        let mut marks = BTreeMap::new();
        let mut copy = Value::Object(config.clone());
        visit(&mut copy, None, "config", &mut |field, reference| {
            marks.insert(field.to_owned(), Mark::of(&reference));
            None
        });
        SecretMarks(marks)
    }

    /// The files of the secrets that a configuration refers to.
    pub fn files(config: &Map<String, Value>) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut copy = Value::Object(config.clone());
        visit(&mut copy, None, "config", &mut |_, reference| {
            if let SecretReference::File(path) = reference {
                files.push(path);
            }
            None
        });
        files
    }
}

impl Mark {
    fn of(reference: &SecretReference) -> Self {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        match reference.read() {
            Ok(secret) => Mark::Known(KEY.hash_one(secret)),
            Err(why) => Mark::Unknown(why),
        }
    }
}

/// Hands each reference below a value to `found`, with its path; what comes back takes its place.
fn visit(
    value: &mut Value,
    schema: Option<&Value>,
    path: &str,
    found: &mut impl FnMut(&str, SecretReference) -> Option<Value>,
) {
    let is_table = |schema: &Value| schema["type"] == "object";
    if !schema.is_some_and(is_table)
        && let Some(reference) = SecretReference::of(value)
    {
        if let Some(instead) = found(path, reference) {
            *value = instead;
        }
        return;
    }
    match value {
        Value::Object(fields) => {
            let of = |key: &str| schema?.get("properties")?.get(key);
            for (key, value) in fields {
                visit(value, of(key), &format!("{path}.{key}"), found);
            }
        }
        Value::Array(values) => {
            let items = schema.and_then(|schema| schema.get("items"));
            for (number, value) in values.iter_mut().enumerate() {
                visit(value, items, &format!("{path}[{number}]"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn references_are_read_wherever_they_stand_and_tables_of_the_plugin_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "open\"sesame\r\n").unwrap();
        let config = object(json!({"a": {"b": [{"file": file}]}, "source": {"file": "x"}, "c": {"env": 1}}));
        let schema = json!({"properties": {"source": {"type": "object"}}});
        let (whole, resolved) = ResolvedConfig::read(config, Some(&schema)).ok().unwrap();
        let expected = json!({"a": {"b": ["open\"sesame"]}, "source": {"file": "x"}, "c": {"env": 1}});
        assert_eq!((&whole, resolved.expose()), (&expected, &*expected.to_string()));
        for said in ["key open\"sesame is wrong", r#"{"key": "open\"sesame"}"#] {
            let cleaned = resolved.clean(said.to_owned());
            assert!(
                cleaned.contains("[secret]") && !cleaned.contains("sesame"),
                "{cleaned}"
            );
        }
    }

    #[test]
    fn all_that_can_not_be_read_is_told_with_its_field() {
        let config =
            json!({"a": {"env": "EXTMAN_TEST_IS_NOT_SET"}, "b": [{"file": "/nowhere/x"}, {"file": "x"}]});
        let faults = ResolvedConfig::read(object(config), None).err().unwrap();
        let fields: Vec<&str> = faults.iter().map(|fault| &*fault.field).collect();
        assert_eq!(fields, ["config.a", "config.b[0]", "config.b[1]"]);
        assert!(faults[1].text.contains("/nowhere/x"), "{faults:?}");
    }

    #[test]
    fn marks_differ_when_a_secret_is_another_or_gone_and_do_not_show_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let config = object(json!({"a": {"file": file}}));
        let mut marks = Vec::new();
        for secret in ["one-secret", "two-secrets", "one-secret"] {
            std::fs::write(&file, secret).unwrap();
            marks.push(SecretMarks::of(&config));
        }
        std::fs::remove_file(&file).unwrap();
        marks.push(SecretMarks::of(&config));
        assert!(marks[0] == marks[2] && marks[0] != marks[1] && marks[0] != marks[3]);
        assert!(!format!("{marks:?}").contains("-secret"));
        assert_eq!(SecretMarks::files(&config), [file]);
    }
}
