//! `plugin.toml`, field by field.
//!
//! Fields that this version does not know are kept and shown, never dropped: see [`Manifest::unknown`].

pub use super::relations::{Conflict, RELATIONS_MAX, Requirement, Target};
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A whole `plugin.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Who the plugin is. Required.
    pub plugin: Plugin,
    /// What it can do: one `[[capability]]` each. At least one.
    #[serde(rename = "capability", default)]
    pub capabilities: Vec<Capability>,
    /// What it needs around it.
    #[serde(default)]
    pub requirements: Requirements,
    /// Which other plugins it needs: one `[[requires]]` each.
    #[serde(default)]
    pub requires: Vec<Requirement>,
    /// Which other plugins can't be in the same host: one `[[conflicts]]` each.
    #[serde(default)]
    pub conflicts: Vec<Conflict>,
    /// What it may be configured with.
    #[serde(default)]
    pub config: Config,
    /// What it says that it will touch. Shown to operators; enforced where the host isolates.
    #[serde(default)]
    pub permissions: Permissions,
    /// How it may be called.
    #[serde(default)]
    pub threads: Threads,
    /// How it wants to be probed. Hints: the host's configuration wins.
    #[serde(default)]
    pub probe: ProbeHints,
    /// Fields that this version of the schema does not know, by dotted path.
    #[serde(skip_deserializing, default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

/// `[plugin]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    /// 1 to 64 lowercase letters, digits and `-`, starting with a letter. The same in every version.
    pub id: String,
    /// Semantic version; equals the package's.
    pub version: Version,
    /// `"ai"` or `"general"`: the two are kept apart in every view.
    pub kind: Kind,
    /// What sort of work it does, such as `language-detection`, `embedding`, `classification`, `generation`,
    /// `monitoring`. Required for AI plugins.
    pub task: Option<String>,
    /// Name for people. Default: the id.
    pub name: Option<String>,
    /// One sentence.
    pub description: Option<String>,
    /// Who made it.
    #[serde(default)]
    pub authors: Vec<String>,
    /// SPDX expression.
    pub license: Option<String>,
    /// How a new version takes over from the old one.
    #[serde(default)]
    pub update: Update,
    /// Whether the library may be unmapped.
    #[serde(default)]
    pub unload: Unload,
    /// Who else may bind to the library's symbols.
    #[serde(default)]
    pub symbols: Symbols,
    /// Libraries that it needs and that are there, though the system's loader does not know them by itself: file names such as
    /// `libpython3.11.so.1.0`.
    #[serde(default)]
    pub libraries: Vec<String>,
    /// Most instances of it in one host.
    pub instances_max: Option<u32>,
}

/// `update`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Update {
    /// The new version is started before the old one is stopped: no call finds nobody.
    #[default]
    StartFirst,
    /// The old version is stopped before the new one is started: for what may exist once only, such as a device or a lock.
    StopFirst,
}

/// `unload`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unload {
    /// Once its last instance is gone and nothing of it is left.
    #[default]
    WhenUnused,
    /// Never: it stays mapped until the host ends, and that is no fault. For interpreters and runtimes that can't be unmapped.
    Never,
}

/// `symbols`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Symbols {
    /// Nobody.
    #[default]
    Local,
    /// Whatever is loaded after it. For interpreters, whose extension modules look for the interpreter's symbols.
    Global,
}

/// `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Does work with a model or for one.
    Ai,
    /// Anything else.
    General,
}

/// `[[capability]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capability {
    /// Dotted lowercase name that callers use, such as `text.embed`. Several plugins may have the same one.
    pub name: String,
    /// Version of the capability's contract. Default `1.0.0`.
    #[serde(default = "version_one")]
    pub version: Version,
    /// One sentence.
    pub description: Option<String>,
    /// JSON Schema of the input, for JSON inputs.
    pub input: Option<serde_json::Value>,
    /// JSON Schema of the output, for JSON outputs.
    pub output: Option<serde_json::Value>,
    /// Whether its calls hold no thread: the plugin's `extman.async/1` serves them.
    #[serde(rename = "async", default)]
    pub is_async: bool,
    /// Whether it can answer in frames.
    #[serde(default)]
    pub streaming: bool,
    /// Whether a call that is made twice does and answers what one does: then a host may retry a call that failed, by another plugin that has
    /// the capability.
    #[serde(default)]
    pub idempotent: bool,
    /// Models behind it, by name.
    #[serde(default)]
    pub models: Vec<String>,
    /// Limits that callers should know and the host enforces.
    #[serde(default)]
    pub limits: Limits,
}

/// `limits = { … }` of a capability.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Largest input, in bytes.
    pub input_bytes_max: Option<u64>,
    /// Largest output, in bytes.
    pub output_bytes_max: Option<u64>,
    /// Most calls of one instance at a time.
    pub concurrency_max: Option<u32>,
}

/// `[requirements]`: what it needs of the host. Which plugins it needs is told by `[[requires]]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Requirements {
    /// Versions of the host that the plugin was made for.
    pub host: Option<VersionReq>,
    /// Memory that it needs, in bytes.
    pub memory_bytes: Option<u64>,
    /// Accelerator that it needs, such as `cuda`.
    pub accelerator: Option<String>,
}

/// `[config]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// JSON Schema of the configuration, defaults included: an instance whose configuration does not fit is not made. A `$ref`
    /// may lead to another part of the same schema.
    pub schema: Option<serde_json::Value>,
    /// What stands for values that are not given.
    pub defaults: serde_json::Map<String, serde_json::Value>,
    /// Keys without which an instance can't be made.
    pub required: Vec<String>,
}

/// `[permissions]`. In each text, `${field}` stands for what the instance's configuration has in that field: with `[config]`
/// for a folder `model_dir`, `read = ["${model_dir}"]` says that the plugin reads that folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// Hosts that it connects to, as `name:port`; `*` for any.
    pub network: Vec<String>,
    /// Paths that it reads.
    pub read: Vec<String>,
    /// Paths that it writes.
    pub write: Vec<String>,
    /// Environment variables that it reads.
    pub environment: Vec<String>,
    /// Programs that it starts.
    pub execute: Vec<String>,
}

/// `[threads]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Threads {
    /// Which calls may overlap, and on which thread they come.
    pub model: ThreadModel,
    /// Threads of its own that it keeps, if it knows.
    pub own_max: Option<u32>,
    /// Stack of each thread that the host calls it on, in bytes: 64 KiB to 1 GiB.
    pub stack_bytes: u64,
}

impl Default for Threads {
    fn default() -> Self {
        Threads {
            model: ThreadModel::default(),
            own_max: None,
            stack_bytes: STACK_BYTES_DEFAULT,
        }
    }
}

/// `threads.stack_bytes` where it is not given: 8 MiB, as a process's first thread has it.
pub const STACK_BYTES_DEFAULT: u64 = 8 << 20;
/// The least and the most that `threads.stack_bytes` may be.
pub const STACK_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 30;

/// `threads.model`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThreadModel {
    /// Any number of calls and checks at once, from any thread.
    #[default]
    Many,
    /// One call or check at a time, from any thread.
    Serial,
    /// One call or check at a time, and all on one thread (a CUDA context, an interpreter).
    Affine,
}

/// `[probe]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeHints {
    /// Milliseconds between checks.
    pub interval_ms: Option<u64>,
    /// Milliseconds within which a check answers.
    pub timeout_ms: Option<u64>,
    /// Milliseconds that `start` may take.
    pub startup_ms: Option<u64>,
    /// Milliseconds after a passed deadline until a call counts as wedged.
    pub wedge_after_ms: Option<u64>,
    /// Whether it answers deep checks, by a real request through its capability. Without this the host makes none, however it is
    /// configured; with it, only where an operator wants them.
    pub deep: bool,
}

fn version_one() -> Version {
    Version::new(1, 0, 0)
}

/// Why a text is not a manifest. The text names line and column where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError(pub(super) String);

impl std::fmt::Display for ManifestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ManifestError {}

/// Most characters of a line that an error quotes.
const QUOTED_CHARS_MAX: usize = 80;

impl ManifestError {
    /// In one line, whatever it is shown in: where, which line that is, and what is wrong with it.
    fn at(text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let start = text.floor_char_boundary(start);
        let line_start = text[..start].rfind('\n').map_or(0, |end| end + 1);
        let (number, column) = (
            text[..start].matches('\n').count() + 1,
            text[line_start..start].chars().count() + 1,
        );
        let line = text[line_start..].lines().next().unwrap_or_default().trim();
        let quoted: String = line.chars().take(QUOTED_CHARS_MAX).collect();
        let message = error.message().trim_end().replace('\n', "; ");
        ManifestError(format!("line {number}, column {column}, `{quoted}`: {message}"))
    }
}

impl std::str::FromStr for Manifest {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Self, ManifestError> {
        let syntax = |error| ManifestError::at(text, &error);
        let table: toml::Table = toml::from_str(text).map_err(syntax)?;
        let mut ignored = Vec::new();
        let de = toml::Deserializer::parse(text).map_err(syntax)?;
        let mut manifest: Manifest =
            serde_ignored::deserialize(de, |path| ignored.push(path.to_string())).map_err(syntax)?;
        manifest.unknown = ignored
            .into_iter()
            .filter_map(|path| Some((path.clone(), lookup(&table, &path)?)))
            .collect();
        manifest.validate()?;
        Ok(manifest)
    }
}

/// The value at a dotted path; numbers index arrays.
fn lookup(table: &toml::Table, path: &str) -> Option<serde_json::Value> {
    // serde_ignored marks the inside of an Option with `?`.
    let mut parts = path.split('.').filter(|part| *part != "?");
    let mut at = table.get(parts.next()?)?;
    for part in parts {
        at = match at {
            toml::Value::Table(inner) => inner.get(part)?,
            toml::Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    serde_json::to_value(at).ok()
}

impl Manifest {
    fn validate(&self) -> Result<(), ManifestError> {
        let refuse = |text: String| Err(ManifestError(text));
        let id = &self.plugin.id;
        if !super::at_compile_time::is_id(id) {
            return refuse(format!(
                "[plugin] id {id:?} must be 1 to 64 lowercase letters, digits and '-', starting with a letter"
            ));
        }
        if self.plugin.kind == Kind::Ai && self.plugin.task.is_none() {
            return refuse(
                "[plugin] kind is \"ai\" but there is no task; add one such as task = \"embedding\""
                    .to_owned(),
            );
        }
        if self.capabilities.is_empty() {
            return refuse("there is no [[capability]]; a plugin must offer at least one".to_owned());
        }
        self.validate_plugin()?;
        super::placeholders::check(&self.permissions, &self.config)?;
        super::relations::check(self)?;
        for (i, capability) in self.capabilities.iter().enumerate() {
            if !is_capability_name(&capability.name) {
                return refuse(format!(
                    "[[capability]] name {:?} must be lowercase words joined by dots, such as \"text.embed\"",
                    capability.name
                ));
            }
            if self.capabilities[..i].iter().any(|c| c.name == capability.name) {
                return refuse(format!("[[capability]] {:?} is declared twice", capability.name));
            }
        }
        Ok(())
    }

    fn validate_plugin(&self) -> Result<(), ManifestError> {
        let stack = self.threads.stack_bytes;
        if !STACK_BYTES.contains(&stack) {
            return Err(ManifestError(format!(
                "[threads] stack_bytes is {stack}; it must be from {} (64 KiB) to {} (1 GiB)",
                STACK_BYTES.start(),
                STACK_BYTES.end()
            )));
        }
        if self.plugin.instances_max == Some(0) {
            return Err(ManifestError(
                "[plugin] instances_max is 0, so nothing could ever be made of it; leave it away for any number"
                    .to_owned(),
            ));
        }
        let path = |name: &&String| name.is_empty() || name.contains('/');
        if let Some(name) = self.plugin.libraries.iter().find(path) {
            return Err(ManifestError(format!(
                "[plugin] libraries has {name:?}; name files as the library's own list of needs does, such as \
                 \"libpython3.11.so.1.0\", without a folder"
            )));
        }
        Ok(())
    }
}

impl Manifest {
    /// What it declares beyond who it is and what it offers, as label and text for people: only what is not the usual.
    pub fn declared(&self) -> Vec<(&'static str, String)> {
        let rows = self
            .plugin
            .declared()
            .into_iter()
            .chain(self.needs())
            .chain(self.threads.declared());
        let deep = self.probe.deep.then(|| "answered".to_owned());
        rows.chain([("deep checks", deep)])
            .filter_map(|(label, text)| Some((label, text?)))
            .collect()
    }

    /// What it needs around it and what it touches.
    fn needs(&self) -> [Declared; 10] {
        let (requirements, permissions) = (&self.requirements, &self.permissions);
        // A requirement's version may have commas.
        let listed = |texts: Vec<String>| (!texts.is_empty()).then(|| texts.join("; "));
        let requires = self.requires.iter().map(ToString::to_string).collect();
        let conflicts = self.conflicts.iter().map(ToString::to_string).collect();
        let memory = requirements.memory_bytes;
        [
            (
                "made for hosts",
                requirements.host.as_ref().map(ToString::to_string),
            ),
            ("requires", listed(requires)),
            ("conflicts with", listed(conflicts)),
            ("requires memory", memory.map(|n| format!("{n} bytes"))),
            ("requires accelerator", requirements.accelerator.clone()),
            ("connects to", list(&permissions.network)),
            ("reads", list(&permissions.read)),
            ("writes", list(&permissions.write)),
            ("reads variables", list(&permissions.environment)),
            ("starts programs", list(&permissions.execute)),
        ]
    }
}

/// A label and, where there is something to say, its text.
type Declared = (&'static str, Option<String>);

fn list(texts: &[String]) -> Option<String> {
    (!texts.is_empty()).then(|| texts.join(", "))
}

impl Plugin {
    fn declared(&self) -> [Declared; 8] {
        [
            ("name", self.name.clone()),
            ("authors", list(&self.authors)),
            ("license", self.license.clone()),
            (
                "update",
                (self.update == Update::StopFirst).then(|| "stop-first".to_owned()),
            ),
            (
                "unload",
                (self.unload == Unload::Never).then(|| "never".to_owned()),
            ),
            (
                "symbols",
                (self.symbols == Symbols::Global).then(|| "global".to_owned()),
            ),
            ("libraries", list(&self.libraries)),
            ("instances at most", self.instances_max.map(|n| n.to_string())),
        ]
    }
}

impl Threads {
    fn declared(&self) -> [Declared; 3] {
        [
            (
                "threads",
                (self.model != ThreadModel::Many).then(|| format!("{:?}", self.model).to_lowercase()),
            ),
            ("threads of its own", self.own_max.map(|n| format!("{n} at most"))),
            (
                "stack",
                (self.stack_bytes != STACK_BYTES_DEFAULT).then(|| format!("{} bytes", self.stack_bytes)),
            ),
        ]
    }
}

/// Whether a text may be a capability's name: words of lowercase letters, digits and `-`, joined by dots.
pub fn is_capability_name(name: &str) -> bool {
    name.len() <= 128
        && name.split('.').all(|word| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str =
        "[plugin]\nid = \"x\"\nversion = \"1.0.0\"\nkind = \"general\"\n[[capability]]\nname = \"a.b\"\n";

    #[test]
    fn a_minimal_manifest_is_read() {
        let manifest: Manifest = MINIMAL.parse().unwrap();
        assert_eq!(manifest.capabilities[0].version, Version::new(1, 0, 0));
        assert_eq!(manifest.threads.model, ThreadModel::Many);
        assert!(manifest.unknown.is_empty());
    }

    #[test]
    fn a_text_that_is_no_manifest_is_refused_in_one_line_with_its_place() {
        let refused = |text: &str| text.parse::<Manifest>().unwrap_err().to_string();
        assert_eq!(
            refused(&MINIMAL.replace("1.0.0", "1.0")),
            "line 3, column 11, `version = \"1.0\"`: unexpected end of input while parsing minor version number"
        );
        assert_eq!(
            refused(&MINIMAL.replace("kind", "kinds")),
            "line 1, column 1, `[plugin]`: missing field `kind`"
        );
        let long = refused(&format!("[plugin]\nid = {}", "ä".repeat(500)));
        assert!(
            long.starts_with("line 2, column 6, `id = ää") && !long.contains('\n'),
            "{long}"
        );
        assert!(long.chars().count() < 300, "{long}");
    }

    #[test]
    fn what_is_not_said_of_the_library_is_the_usual() {
        let manifest: Manifest = MINIMAL.parse().unwrap();
        let plugin = &manifest.plugin;
        assert_eq!(
            (plugin.update, plugin.unload),
            (Update::StartFirst, Unload::WhenUnused)
        );
        assert_eq!((plugin.symbols, plugin.instances_max), (Symbols::Local, None));
        assert_eq!(manifest.threads.stack_bytes, STACK_BYTES_DEFAULT);
        let said = MINIMAL.replace(
            "\"general\"",
            "\"general\"\nupdate = \"stop-first\"\nunload = \"never\"\nsymbols = \"global\"\nlibraries = [\"libx.so.1\"]",
        );
        let plugin = said.parse::<Manifest>().unwrap().plugin;
        assert_eq!((plugin.update, plugin.unload), (Update::StopFirst, Unload::Never));
        assert_eq!(
            (plugin.symbols, &*plugin.libraries),
            (Symbols::Global, &["libx.so.1".to_owned()][..])
        );
    }

    #[test]
    fn what_is_declared_is_told_and_the_usual_is_not() {
        assert_eq!(MINIMAL.parse::<Manifest>().unwrap().declared(), []);
        let text = MINIMAL.replace(
            "\"general\"",
            "\"general\"\nunload = \"never\"\ninstances_max = 2",
        ) + "[requirements]\naccelerator = \"cuda\"\n[threads]\nmodel = \"affine\"\nstack_bytes = 65536\n";
        let declared = text.parse::<Manifest>().unwrap().declared();
        let row = |label, text: &str| (label, text.to_owned());
        assert_eq!(
            declared,
            [
                row("unload", "never"),
                row("instances at most", "2"),
                row("requires accelerator", "cuda"),
                row("threads", "affine"),
                row("stack", "65536 bytes"),
            ]
        );
    }

    #[test]
    fn unknown_fields_are_kept() {
        let text = format!("{MINIMAL}colour = \"red\"\n[later]\nx = [1, 2]\n");
        let manifest: Manifest = text.parse().unwrap();
        assert_eq!(manifest.unknown["capability.0.colour"], serde_json::json!("red"));
        assert_eq!(manifest.unknown["later"], serde_json::json!({"x": [1, 2]}));
    }

    #[test]
    fn errors_name_line_and_column() {
        let error = MINIMAL
            .replace("\"general\"", "\"generic\"")
            .parse::<Manifest>()
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 4"), "{error}");
        assert!(error.contains("general"), "{error}");
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (from, to, expected) in [
            ("\"x\"", "\"X\"", "id \"X\""),
            ("\"general\"", "\"ai\"", "no task"),
            ("\"a.b\"", "\"a..b\"", "\"a..b\""),
            ("[[capability]]\nname = \"a.b\"", "", "at least one"),
            (
                "\"general\"",
                "\"general\"\ninstances_max = 0",
                "instances_max is 0",
            ),
            (
                "\"general\"",
                "\"general\"\nlibraries = [\"/lib/libx.so\"]",
                "\"/lib/libx.so\"",
            ),
            ("\"general\"", "\"general\"\nupdate = \"first\"", "start-first"),
            (
                "\"a.b\"",
                "\"a.b\"\n[threads]\nstack_bytes = 4096",
                "stack_bytes is 4096",
            ),
        ] {
            let error = MINIMAL
                .replace(from, to)
                .parse::<Manifest>()
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
