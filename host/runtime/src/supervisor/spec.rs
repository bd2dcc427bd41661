//! Which instances there should be: what is configured, and what is there. Pure.

use super::restart::{Restart, SupervisionConfig};
use super::secrets::SecretFingerprints;
use crate::instance::InstanceSettings;
use extman_intake::{Candidate, LockUse, Request, VerifiedPlugin, Wish, resolve};
use extman_model::{CallLimits, Criticality, DependenciesView, MissingView, ProbeSettings, UpdatePolicy};
use extman_plugin_api::manifest::schema::Manifest;
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const STATE_BYTES_MAX: u64 = 64 << 20;

/// `[[instance]]`: one use of a plugin. A plugin without one has one instance, named after its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceConfig {
    /// The instance's name: its address everywhere. Default: the plugin's id.
    pub name: Option<String>,
    /// The plugin's id.
    pub plugin: String,
    /// Versions that may be used; the highest one is, unless what plugins require or `extman.lock` says another. Default: any, a pre-release only if there is no release.
    pub version: Option<VersionReq>,
    /// The plugin's own configuration. With the manifest's defaults it has to fit the manifest's schema. `{ env = "NAME" }` and
    /// `{ file = "/run/secrets/name" }` stand for a secret that lies there, wherever the schema has no table.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// Fingerprints of the secrets that `config` refers to, as they were last read. No field of `extman.toml`.
    #[serde(skip)]
    pub secrets: SecretFingerprints,
    /// Whether it is started by itself. Default: true.
    #[serde(default = "yes")]
    pub autostart: bool,
    /// Whether another version that comes into a directory takes its place: `auto`, by itself; `manual`, when an operator asks for an update;
    /// `pinned`, only when the operator names the version or a file. Where it is not `auto`, that holds over restarts of the host. Default: auto.
    #[serde(default)]
    pub update: UpdatePolicy,
    /// Whether it is started again by itself when it failed: `on-failure` or `never`. Default: what `[supervision]` says.
    pub restart: Option<Restart>,
    /// Restarts by itself within `within_ms`, at most; after that it is quarantined. Default: what `[supervision]` says.
    pub max_restarts: Option<u32>,
    /// The window in which they are counted, in milliseconds. Default: what `[supervision]` says.
    pub within_ms: Option<u64>,
    /// Among those with one capability, a higher one is asked first. Default: 0.
    #[serde(default)]
    pub priority: i32,
    /// How it is asked how it is, and judged: what is not given here comes from the manifest, and then from `[probe]`.
    #[serde(default)]
    pub probe: ProbeSettings,
    /// What it means for the whole when it is down. Default: `optional`.
    #[serde(default)]
    pub criticality: Criticality,
    /// The redundant set that it is one of; `[health.redundant]` says how many of it must serve.
    pub redundant: Option<String>,
    /// Whether an operator works on it: it is checked and shown, counts in no sum, and is called only where nobody else serves. Default:
    /// false.
    #[serde(default)]
    pub maintenance: bool,
    /// How many calls it gets: `calls_per_s` on average, `burst` at once after a pause (as many as `calls_per_s` if that is not given), and
    /// `in_flight_max` whose callers wait for them, while `concurrency_max` bounds how many its code is in. Those beyond go to another instance,
    /// else they are refused. Default: any number.
    #[serde(default)]
    pub limits: CallLimits,
    /// Calls at a time. Default: 8, or what the manifest says.
    pub concurrency_max: Option<usize>,
    /// Milliseconds for a call whose caller names none. Default: 30000.
    pub call_timeout_ms: Option<u64>,
    /// Milliseconds after its deadline until a call counts as wedged. Default: 30000, or what the manifest says.
    pub wedge_after_ms: Option<u64>,
    /// Milliseconds for `create` and `start`, and for taking the state of what served before. Default: 60000, or what the manifest says.
    pub start_budget_ms: Option<u64>,
    /// Milliseconds for finishing calls, `drain`, `stop` and `destroy`, and for handing out its state. Default: 10000.
    pub stop_budget_ms: Option<u64>,
    /// Bytes of the state that it hands over to what takes its place, at most. Default: 67108864.
    pub state_bytes_max: Option<u64>,
}

fn yes() -> bool {
    true
}

impl InstanceConfig {
    /// The instance that a plugin has when none is configured.
    pub fn default_for(id: &str) -> Self {
        InstanceConfig {
            name: None,
            plugin: id.to_owned(),
            version: None,
            config: Map::new(),
            secrets: SecretFingerprints::default(),
            autostart: true,
            update: UpdatePolicy::default(),
            restart: None,
            max_restarts: None,
            within_ms: None,
            priority: 0,
            probe: ProbeSettings::default(),
            criticality: Criticality::default(),
            redundant: None,
            maintenance: false,
            limits: CallLimits::default(),
            concurrency_max: None,
            call_timeout_ms: None,
            wedge_after_ms: None,
            start_budget_ms: None,
            stop_budget_ms: None,
            state_bytes_max: None,
        }
    }

    /// Whether both make the same instance, secrets included.
    pub fn is_made_as(&self, other: &Self) -> bool {
        self.config == other.config && self.secrets == other.secrets && self.is_run_as(other)
    }

    /// Whether both make the instance with the same [`InstanceSettings`](crate::instance::InstanceSettings). `limits` and `state_bytes_max` are not
    /// among these: they are read when they are needed. The configuration that the plugin gets may differ.
    pub(super) fn is_run_as(&self, other: &Self) -> bool {
        let settings = |config: &Self| {
            (
                config.concurrency_max,
                config.call_timeout_ms,
                config.wedge_after_ms,
                config.start_budget_ms,
                config.stop_budget_ms,
            )
        };
        settings(self) == settings(other)
    }

    /// Bytes of the state that it hands over, at most.
    pub(super) fn state_bytes_max(&self) -> usize {
        self.state_bytes_max.unwrap_or(STATE_BYTES_MAX) as usize
    }

    /// Its name.
    pub fn instance_name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.plugin)
    }

    /// What becomes of it when it fails. What is not given here is as `defaults` say.
    pub fn supervision(&self, defaults: SupervisionConfig) -> SupervisionConfig {
        SupervisionConfig {
            restart: self.restart.unwrap_or(defaults.restart),
            max_restarts: self.max_restarts.unwrap_or(defaults.max_restarts),
            within_ms: self.within_ms.unwrap_or(defaults.within_ms),
            ..defaults
        }
    }

    /// How it is run: as configured, else as the manifest says, else by default.
    pub fn settings(&self, manifest: &Manifest) -> InstanceSettings {
        let defaults = InstanceSettings::default();
        let hints = &manifest.probe;
        let ms = |given: Option<u64>, default: Duration| given.map_or(default, Duration::from_millis);
        let declared = manifest
            .capabilities
            .iter()
            .filter_map(|c| c.limits.concurrency_max)
            .min();
        let output = manifest
            .capabilities
            .iter()
            .filter_map(|c| c.limits.output_bytes_max)
            .max();
        InstanceSettings {
            concurrency_max: self
                .concurrency_max
                .or(declared.map(|n| n as usize))
                .unwrap_or(defaults.concurrency_max),
            call_timeout: ms(self.call_timeout_ms, defaults.call_timeout),
            wedge_after: ms(self.wedge_after_ms.or(hints.wedge_after_ms), defaults.wedge_after),
            start_budget: ms(self.start_budget_ms.or(hints.startup_ms), defaults.start_budget),
            stop_budget: ms(self.stop_budget_ms, defaults.stop_budget),
            output_bytes_max: output.map_or(defaults.output_bytes_max, |n| n as usize),
            folders: None,
            secrets: defaults.secrets,
        }
    }

    /// What is given, and the manifest's defaults for what is not.
    pub(super) fn with_defaults(&self, manifest: &Manifest) -> Map<String, Value> {
        let mut merged = manifest.config.defaults.clone();
        merged.extend(self.config.clone());
        merged
    }

    /// Keys that the manifest requires and nobody gives.
    pub(super) fn missing_keys(&self, manifest: &Manifest) -> Vec<String> {
        let given =
            |key: &String| self.config.contains_key(key) || manifest.config.defaults.contains_key(key);
        manifest
            .config
            .required
            .iter()
            .filter(|key| !given(key))
            .cloned()
            .collect()
    }
}

/// The configured instances, and which of them are of which plugin.
#[derive(Default)]
pub struct Configured {
    /// In the order of the configuration.
    all: Vec<Arc<InstanceConfig>>,
    /// Positions in `all` of each plugin's instances, in that order.
    by_plugin: HashMap<String, Vec<usize>>,
    by_name: HashMap<String, usize>,
    /// For each instance in `all`, how many of the same plugin precede it.
    preceding: Vec<usize>,
    /// For plugins without a configured instance, what is set for their one instance, by plugin id.
    defaults: HashMap<String, Arc<InstanceConfig>>,
}

impl Configured {
    /// These, in this order.
    pub fn new(all: impl IntoIterator<Item = InstanceConfig>) -> Self {
        let mut configured = Configured::default();
        for (at, config) in all.into_iter().map(Arc::new).enumerate() {
            let of_plugin = configured.by_plugin.entry(config.plugin.clone()).or_default();
            configured.preceding.push(of_plugin.len());
            of_plugin.push(at);
            configured.by_name.insert(config.instance_name().to_owned(), at);
            configured.all.push(config);
        }
        configured
    }

    /// With these for the one instance of a plugin that has no configured one.
    pub fn with_defaults(mut self, defaults: impl IntoIterator<Item = InstanceConfig>) -> Self {
        let by_id = |config: InstanceConfig| (config.plugin.clone(), Arc::new(config));
        self.defaults = defaults.into_iter().map(by_id).collect();
        self
    }

    /// For the one instance of a plugin that has no configured one.
    fn default_of(&self, id: &str) -> Arc<InstanceConfig> {
        let set = self.defaults.get(id).cloned();
        set.unwrap_or_else(|| Arc::new(InstanceConfig::default_for(id)))
    }

    fn of_plugin(&self, id: &str) -> impl Iterator<Item = &Arc<InstanceConfig>> + Clone {
        let positions = self.by_plugin.get(id).into_iter().flatten();
        positions.map(|at| &self.all[*at])
    }

    /// Whether an instance of this name is configured.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    fn named(&self, name: &str) -> Option<&Arc<InstanceConfig>> {
        self.by_name.get(name).map(|at| &self.all[*at])
    }

    /// The plugin's `instances_max`, if the instances that precede this one in the configuration use it up.
    fn exceeded_limit(&self, config: &InstanceConfig, plugin: &VerifiedPlugin) -> Option<u32> {
        let most = plugin.manifest().plugin.instances_max?;
        let preceding = self
            .by_name
            .get(config.instance_name())
            .map_or(0, |at| self.preceding[*at]);
        (preceding >= most as usize).then_some(most)
    }
}

/// Resolves which version of each plugin is used, for these instances. `running`: of each plugin the highest version that runs and whose file is
/// there.
pub fn resolved<'a>(
    configured: &Configured,
    plugins: impl IntoIterator<Item = &'a VerifiedPlugin>,
    running: &BTreeMap<String, Version>,
    lock: Option<&LockUse>,
) -> DependenciesView {
    let by_id = by_id(plugins);
    let candidates = by_id.values().flatten().map(|plugin| Candidate {
        manifest: plugin.manifest(),
        digest: plugin.digest(),
        origin: plugin.origin(),
    });
    resolve(&Request {
        candidates: candidates.collect(),
        wishes: wishes(configured, &by_id),
        running: running
            .iter()
            .map(|(id, version)| (id.as_str(), version))
            .collect(),
        lock: lock.map(|used| &used.lock),
        only_locked: lock.is_some_and(|used| used.only),
    })
}

/// What the instances ask the resolution for. Where instances of one plugin name versions that no build fits together, each gets its own, and none
/// of them decides which one the other plugins see.
fn wishes<'c>(configured: &'c Configured, by_id: &ById<'_>) -> Vec<Wish<'c>> {
    let mut wishes = Vec::new();
    for (id, plugins) in by_id {
        let there = |wanted: &VersionReq| plugins.iter().any(|plugin| wanted.matches(version(plugin)));
        let of_this_id = configured.of_plugin(id);
        // What is not there is told as missing.
        let versions = of_this_id.clone().filter_map(|config| config.version.as_ref());
        let versions: Vec<_> = versions.filter(|wanted| there(wanted)).collect();
        let agree = plugins
            .iter()
            .any(|plugin| versions.iter().all(|wanted| wanted.matches(version(plugin))));
        wishes.extend(of_this_id.map(|config| Wish {
            instance: config.instance_name(),
            plugin: &config.plugin,
            version: config.version.as_ref().filter(|wanted| agree && there(wanted)),
        }));
    }
    wishes
}

/// The instances that there should be: for each its configuration, and the version that is used.
pub(super) fn wanted<'a>(
    configured: &Configured,
    plugins: impl IntoIterator<Item = &'a VerifiedPlugin>,
    resolved: &DependenciesView,
) -> BTreeMap<String, (Arc<InstanceConfig>, VerifiedPlugin)> {
    let by_id = by_id(plugins);
    // Nor one whose name is taken: a file must not come into another plugin's configuration by its id.
    let is_taken = |id: &str| configured.by_plugin.contains_key(id) || configured.by_name.contains_key(id);
    let defaults = by_id
        .keys()
        .filter(|id| !is_taken(id))
        .map(|id| configured.default_of(id));
    let all = configured.all.iter().cloned().chain(defaults);
    all.filter_map(|config| {
        let build = build_for(&config, &by_id, resolved)?.clone();
        if configured.exceeded_limit(&config, &build).is_some() {
            return None;
        }
        Some((config.instance_name().to_owned(), (config, build)))
    })
    .collect()
}

/// Configured instances for which no plugin is there, with the reason. `directories` is where plugins are looked for.
pub(super) fn missing<'a>(
    configured: &Configured,
    plugins: impl IntoIterator<Item = &'a VerifiedPlugin>,
    resolved: &DependenciesView,
    directories: &[PathBuf],
) -> Vec<MissingView> {
    let by_id = by_id(plugins);
    let reason = |config: &InstanceConfig| {
        let left_out = resolved
            .left_out
            .iter()
            .find(|left_out| left_out.id == config.plugin);
        match left_out {
            Some(left_out) if highest(config, &by_id).is_some() => {
                format!(
                    "configured, but its plugin is left out: {}",
                    left_out.in_one_line()
                )
            }
            _ => why_missing(configured, config, &by_id, directories),
        }
    };
    let view = |config: &Arc<InstanceConfig>| MissingView {
        name: config.instance_name().to_owned(),
        plugin: config.plugin.clone(),
        reason: reason(config),
        since_unix_ms: 0,
    };
    let is_missing = |config: &&Arc<InstanceConfig>| match build_for(config, &by_id, resolved) {
        None => true,
        Some(plugin) => configured.exceeded_limit(config, plugin).is_some(),
    };
    configured.all.iter().filter(is_missing).map(view).collect()
}

/// The build that an instance is made from: the resolved one, or, where the instance does not allow that version, the highest that it allows.
fn build_for<'a>(
    config: &InstanceConfig,
    by_id: &ById<'a>,
    resolved: &DependenciesView,
) -> Option<&'a VerifiedPlugin> {
    let plugins = &resolved.plugins;
    let at = plugins
        .binary_search_by(|plugin| plugin.id.as_str().cmp(&config.plugin))
        .ok()?;
    let resolved = &plugins[at];
    let wanted = config.version.as_ref();
    if wanted.is_some_and(|wanted| !wanted.matches(&resolved.version)) {
        return highest(config, by_id);
    }
    let mut known = by_id.get(config.plugin.as_str())?.iter();
    known
        .find(|plugin| plugin.digest() == resolved.digest && *version(plugin) == resolved.version)
        .copied()
}

/// Plugins, by their id.
type ById<'a> = BTreeMap<&'a str, Vec<&'a VerifiedPlugin>>;

fn by_id<'a>(plugins: impl IntoIterator<Item = &'a VerifiedPlugin>) -> ById<'a> {
    let mut by_id = ById::new();
    for plugin in plugins {
        by_id
            .entry(&plugin.manifest().plugin.id)
            .or_default()
            .push(plugin);
    }
    by_id
}

fn why_missing(
    configured: &Configured,
    config: &InstanceConfig,
    by_id: &ById<'_>,
    directories: &[PathBuf],
) -> String {
    let id = &config.plugin;
    let most = highest(config, by_id).and_then(|plugin| configured.exceeded_limit(config, plugin));
    if let Some(most) = most {
        return format!(
            "configured, but the plugin {id:?} allows {most} of its instances in a host (instances_max in its manifest), and as \
             many stand before this one; remove some [[instance]]"
        );
    }
    let of_this_id = by_id.get(id.as_str()).into_iter().flatten();
    let versions: Vec<_> = of_this_id
        .map(|plugin| plugin.manifest().plugin.version.to_string())
        .collect();
    let places: Vec<_> = directories.iter().map(|dir| dir.display().to_string()).collect();
    let places = places.join(", ");
    match &config.version {
        Some(wanted) if !versions.is_empty() => format!(
            "configured, but no plugin {id:?} of version {wanted} was found in {places}, only {}; put such a version \
             there, or change the version of the [[instance]]",
            versions.join(", ")
        ),
        _ => format!(
            "configured, but no plugin with the id {id:?} was found in {places}; put it there, or mend the plugin of the \
             [[instance]] (`extman status` has the files that were refused)"
        ),
    }
}

/// Plugins without an instance, as their name is taken by a configured instance of another plugin; with that plugin's id.
pub(super) fn displaced<'a>(
    configured: &'a Configured,
    plugins: impl IntoIterator<Item = &'a VerifiedPlugin>,
) -> Vec<(&'a VerifiedPlugin, &'a str)> {
    let by_whom = |plugin: &'a VerifiedPlugin| {
        let id = plugin.manifest().plugin.id.as_str();
        if configured.by_plugin.contains_key(id) {
            return None;
        }
        let taken = configured.named(id)?;
        Some((plugin, taken.plugin.as_str()))
    };
    plugins.into_iter().filter_map(by_whom).collect()
}

fn version(plugin: &VerifiedPlugin) -> &Version {
    &plugin.manifest().plugin.version
}

/// The highest version that an instance allows.
fn highest<'a>(config: &InstanceConfig, by_id: &ById<'a>) -> Option<&'a VerifiedPlugin> {
    let wanted = config.version.as_ref();
    let allowed = |plugin: &&&VerifiedPlugin| wanted.is_none_or(|wanted| wanted.matches(version(plugin)));
    // Without a requirement, a pre-release is used only if there is no release (as PEP 440 has it for installers); a requirement takes
    // those that it names.
    let is_release = |plugin: &VerifiedPlugin| wanted.is_some() || version(plugin).pre.is_empty();
    let known = by_id.get(config.plugin.as_str())?;
    let highest = known.iter().filter(allowed).max_by(|a, b| {
        let by_release = is_release(a).cmp(&is_release(b));
        by_release.then_with(|| version(a).cmp_precedence(version(b)))
    });
    highest.copied()
}
