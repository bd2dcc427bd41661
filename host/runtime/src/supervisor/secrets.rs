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
const REDACTED_BYTES_MIN: usize = 4;

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
    /// The longest first.
    secrets: Vec<String>,
}

/// Fingerprints of the secrets that a configuration refers to, by field, as they were when they were last read: enough to see that one has changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SecretFingerprints(BTreeMap<String, Fingerprint>);

#[derive(Debug, Clone, PartialEq)]
enum Fingerprint {
    /// A hash under a key that this process alone has.
    Hash(u64),
    /// Why the secret can't be read.
    Unreadable(String),
}

/// The secrets that an instance has been handed, which are redacted in what it says. The longest first.
#[derive(Default)]
pub struct Secrets(ArcSwap<Vec<String>>);

impl SecretReference {
    /// The reference that a value is: a table with nothing in it but `env`, or `file`, with a text.
    fn of(value: &Value) -> Option<Self> {
        let table = value.as_object().filter(|table| table.len() == 1)?;
        let (key, target) = table.iter().next()?;
        let target = target.as_str()?.to_owned();
        match key.as_str() {
            "env" => Some(SecretReference::Env(target)),
            "file" => Some(SecretReference::File(target.into())),
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
    /// Reads the secrets that a configuration refers to; gives it with them in their places, as a value and for the plugin. Where `schema` has a
    /// table, a table is the plugin's own and no reference. Blocking: it reads files.
    ///
    /// # Errors
    /// Some of them can't be read: a fault for each of those.
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
        longest_first(&mut secrets);
        let json = whole.to_string();
        Ok((whole, ResolvedConfig { json, secrets }))
    }

    /// The JSON, with its secrets: for the plugin.
    pub(crate) fn expose(&self) -> &str {
        &self.json
    }

    /// Redacts what a plugin that was tried with it has said.
    pub(crate) fn redact_vetting(&self, report: VettingReport) -> VettingReport {
        if self.secrets.is_empty() {
            return report;
        }
        let mut json = match serde_json::to_value(&report) {
            Ok(json) => json,
            Err(_) => return report,
        };
        redact_texts(&self.secrets, &mut json);
        serde_json::from_value(json).unwrap_or(report)
    }

    /// A text without the secrets.
    pub(super) fn redact(&self, text: String) -> String {
        redact(&self.secrets, &text).into_owned()
    }
}

impl InstanceConfig {
    /// The configuration that the plugin gets: what is given, else the manifest's defaults, with the secrets read; and checked against the
    /// manifest's schema. Blocking: it reads files.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn resolve(&self, manifest: &Manifest) -> Result<ResolvedConfig, ConfigMisfit> {
        let missing_keys = self.missing_keys(manifest);
        let missing = missing_keys.iter().map(|key| FieldFault {
            field: format!("config.{key}"),
            text: format!("config.{key}: it is required, and not given"),
        });
        let misfit = |faults: Vec<FieldFault>| ConfigMisfit { faults, left_out: 0 };
        let merged = self.with_defaults(manifest);
        let (whole, resolved) = match ResolvedConfig::read(merged, manifest.config.schema.as_ref()) {
            Ok(read) if missing_keys.is_empty() => read,
            Ok(_) => return Err(misfit(missing.collect())),
            Err(faults) => return Err(misfit(missing.chain(faults).collect())),
        };
        if let Value::Object(whole) = &whole {
            check_config(manifest, whole)?;
        }
        Ok(resolved)
    }

    /// As [`resolve`](Self::resolve), but unchecked: for a plugin that is only tried out, for which nothing need be given.
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
    /// The instance has been handed these as well.
    pub(super) fn add(&self, config: &ResolvedConfig) {
        if config.secrets.is_empty() {
            return;
        }
        self.0.rcu(|known| {
            let new = config.secrets.iter().filter(|secret| !known.contains(secret));
            let mut all: Vec<_> = known.iter().chain(new).cloned().collect();
            longest_first(&mut all);
            all
        });
    }

    /// What the instance says of its health, without them.
    pub(crate) fn redact_report(&self, mut report: Report) -> Report {
        let secrets = self.0.load();
        if secrets.is_empty() {
            return report;
        }
        let texts = report
            .text
            .iter_mut()
            .chain(report.parts.iter_mut().map(|part| &mut part.message));
        for text in texts {
            if let Cow::Owned(redacted) = redact(&secrets, text) {
                *text = redacted;
            }
        }
        report
    }

    /// A text without them.
    pub(crate) fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        redact(&self.0.load(), text)
    }
}

/// So that one that contains another is redacted whole.
fn longest_first(secrets: &mut [String]) {
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
}

fn redact_texts(secrets: &[String], value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(redacted) = redact(secrets, text) {
                *text = redacted;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| redact_texts(secrets, value)),
        Value::Object(fields) => fields.values_mut().for_each(|value| redact_texts(secrets, value)),
        _ => {}
    }
}

/// A text with something else in place of each secret, also where that stands as JSON writes it.
fn redact<'t>(secrets: &[String], text: &'t str) -> Cow<'t, str> {
    const REDACTED: &str = "[secret]";
    let mut text = Cow::Borrowed(text);
    for secret in secrets.iter().filter(|secret| secret.len() >= REDACTED_BYTES_MIN) {
        let quoted = Value::from(secret.as_str()).to_string();
        for form in [secret.as_str(), &quoted[1..quoted.len() - 1]] {
            if text.contains(form) {
                text = Cow::Owned(text.replace(form, REDACTED));
            }
        }
    }
    text
}

impl SecretFingerprints {
    /// Fingerprints of a configuration's secrets as they are now. Blocking: it reads files.
    pub fn of(config: &Map<String, Value>) -> Self {
        let mut fingerprints = BTreeMap::new();
        let mut copy = Value::Object(config.clone());
        visit(&mut copy, None, "config", &mut |field, reference| {
            fingerprints.insert(field.to_owned(), Fingerprint::of(&reference));
            None
        });
        SecretFingerprints(fingerprints)
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

impl Fingerprint {
    fn of(reference: &SecretReference) -> Self {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        match reference.read() {
            Ok(secret) => Fingerprint::Hash(KEY.hash_one(secret)),
            Err(why) => Fingerprint::Unreadable(why),
        }
    }
}

/// Hands each secret reference in a value to `found`, with its path; what that returns takes the reference's place.
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
        if let Some(secret) = found(path, reference) {
            *value = secret;
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
            let redacted = resolved.redact(said.to_owned());
            assert!(
                redacted.contains("[secret]") && !redacted.contains("sesame"),
                "{redacted}"
            );
        }
    }

    #[test]
    fn secret_that_contains_another_is_redacted_whole_in_whatever_order_they_are_configured() {
        let folder = tempfile::tempdir().unwrap();
        let [short, long] = ["short", "long"].map(|name| folder.path().join(name));
        std::fs::write(&short, "sesame").unwrap();
        std::fs::write(&long, "sesame-of-many-doors").unwrap();
        for config in [
            json!({"a": {"file": short}, "b": {"file": long}}),
            json!({"a": {"file": long}, "b": {"file": short}}),
        ] {
            let (_, resolved) = ResolvedConfig::read(object(config), None).ok().unwrap();
            let secrets = Secrets::default();
            secrets.add(&resolved);
            let said = "sesame-of-many-doors and sesame";
            assert_eq!(resolved.redact(said.to_owned()), "[secret] and [secret]");
            assert_eq!(secrets.redact(said), "[secret] and [secret]");
        }
        let secrets = Secrets::default();
        for file in [short, long] {
            let (_, resolved) = ResolvedConfig::read(object(json!({"a": {"file": file}})), None)
                .ok()
                .unwrap();
            secrets.add(&resolved);
        }
        assert_eq!(secrets.redact("sesame-of-many-doors"), "[secret]");
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
        let mut fingerprints = Vec::new();
        for secret in ["one-secret", "two-secrets", "one-secret"] {
            std::fs::write(&file, secret).unwrap();
            fingerprints.push(SecretFingerprints::of(&config));
        }
        std::fs::remove_file(&file).unwrap();
        fingerprints.push(SecretFingerprints::of(&config));
        assert!(
            fingerprints[0] == fingerprints[2]
                && fingerprints[0] != fingerprints[1]
                && fingerprints[0] != fingerprints[3]
        );
        assert!(!format!("{fingerprints:?}").contains("-secret"));
        assert_eq!(SecretFingerprints::files(&config), [file]);
    }
}
