//! `extman.toml`: one section a module, each owned by its module; read once, checked once.

use extman_health::components::Limits;
use extman_history::HistoryConfig;
use extman_intake::{IntakeConfig, LockUse};
use extman_model::ProbeSettings;
use extman_runtime::crash::CrashConfig;
use extman_runtime::lanes::PoolLimits;
use extman_runtime::registry::AllDown;
use extman_runtime::supervisor::{InstanceConfig, SupervisionConfig};
use extman_runtime::vetting::VettingConfig;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::{DeTable, ValueDeserializer};

/// The whole configuration. Every field has a default: an empty file is a good one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where plugins are found, kept and trusted.
    pub intake: IntakeConfig,
    /// How a library's first load is tried in a child.
    pub vetting: VettingConfig,
    /// The threads that plugin code runs on.
    pub lanes: LanesConfig,
    /// What becomes of instances that fail.
    pub supervision: SupervisionConfig,
    /// How instances are asked how they are.
    pub probe: ProbeSettings,
    /// Which of those that have a capability serves a call.
    pub routing: RoutingConfig,
    /// What instances together are.
    pub health: HealthConfig,
    /// Where it is written down how they were.
    pub history: HistoryConfig,
    /// Where instances keep what is theirs.
    pub state: StateConfig,
    /// What follows for a plugin in whose code a host crashed.
    pub crash: CrashConfig,
    /// Time for stopping.
    pub shutdown: ShutdownConfig,
    /// Uses of plugins. A plugin without one has one instance, named after its id.
    #[serde(rename = "instance")]
    pub instances: Vec<InstanceConfig>,
    /// What `extman.lock` says. No field of `extman.toml`: whoever starts the host reads that file.
    #[serde(skip)]
    pub lock: Option<LockUse>,
}

/// `[state]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateConfig {
    /// The directory in which each instance has two folders of its own, `data/NAME` for what stays and `cache/NAME` for what may be
    /// emptied while it does not run; they are made before the instance is. Beside them the host keeps in `disabled.json` which instances
    /// are disabled. Default: `extman` in the user's state directory
    /// (`$XDG_STATE_HOME`, else `~/.local/state`), or `plugin-state` here if there is none.
    pub dir: Option<PathBuf>,
}

impl Default for StateConfig {
    fn default() -> Self {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let user = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        StateConfig {
            dir: Some(user.map_or_else(|| PathBuf::from("plugin-state"), |state| state.join("extman"))),
        }
    }
}

/// `[lanes]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LanesConfig {
    /// Call lanes of one module. Default: 8.
    pub per_module_max: usize,
    /// Calls of one module that may wait. Default: 256.
    pub queue_max: usize,
    /// Lost lanes until a module takes no more calls. Default: 8.
    pub lost_max: usize,
}

impl Default for LanesConfig {
    fn default() -> Self {
        let limits = PoolLimits::default();
        LanesConfig {
            per_module_max: limits.lanes_max,
            queue_max: limits.queue_max,
            lost_max: limits.lost_max,
        }
    }
}

impl LanesConfig {
    pub(crate) fn limits(&self) -> PoolLimits {
        PoolLimits {
            lanes_max: self.per_module_max,
            queue_max: self.queue_max,
            lost_max: self.lost_max,
            ..PoolLimits::default()
        }
    }
}

/// `[routing]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoutingConfig {
    /// What becomes of a call where all who could serve it are down: `least_bad` (the first that runs is called all the same), or
    /// `fail` (it fails at once; but one that is down by its calls alone is tried every few seconds). Default: `least_bad`, since a verdict
    /// may be wrong.
    pub all_down: AllDown,
}

/// `[health]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthConfig {
    /// For each redundant set of instances, by its name, how many must serve. Default: 1.
    pub redundant: BTreeMap<String, usize>,
    /// Milliseconds between two looks at the host's own parts. Default: 10000.
    pub components_every_ms: u64,
    /// Free MiB where the store and the history lie, below which the disk is degraded. Default: 512.
    pub disk_degraded_mib: u64,
    /// Free MiB there, below which it is down. Default: 64.
    pub disk_down_mib: u64,
    /// Percent of the memory that the host may use, from which on it is degraded. Default: 85.
    pub memory_degraded_percent: u8,
    /// Percent of it, from which on it is down. Default: 95.
    pub memory_down_percent: u8,
}

impl Default for HealthConfig {
    fn default() -> Self {
        HealthConfig {
            redundant: BTreeMap::new(),
            components_every_ms: 10_000,
            disk_degraded_mib: 512,
            disk_down_mib: 64,
            memory_degraded_percent: 85,
            memory_down_percent: 95,
        }
    }
}

impl HealthConfig {
    pub(crate) fn limits(&self) -> Limits {
        let permille = |percent: u8| u64::from(percent) * 10;
        Limits {
            disk_free: (
                self.disk_degraded_mib.saturating_mul(1 << 20),
                self.disk_down_mib.saturating_mul(1 << 20),
            ),
            memory_permille: (
                permille(self.memory_degraded_percent),
                permille(self.memory_down_percent),
            ),
            ..Limits::default()
        }
    }
}

/// `[shutdown]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// Milliseconds in which everything drains and unloads. Default: 30000.
    pub budget_ms: u64,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        ShutdownConfig { budget_ms: 30_000 }
    }
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{path}: the configuration can't be read: {error}", path = .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// It is not TOML, or not of this shape.
    #[error("{path}:{line}:{column}: {text}", path = .path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        text: String,
    },
    /// A value is out of its range, or two values don't fit together.
    #[error("{0}")]
    Invalid(String),
}

/// For a file that has no section but the host's.
#[derive(Default, Deserialize)]
struct Nothing {}

/// The host's configuration, and one section that is not the host's.
fn parse<S>(text: &str, section: &str) -> Result<(Config, S), toml::de::Error>
where
    S: serde::de::DeserializeOwned + Default,
{
    let mut table = DeTable::parse(text)?;
    let beside = table
        .get_mut()
        .remove(section)
        .map(|value| S::deserialize(ValueDeserializer::from(value)));
    let config = Config::deserialize(toml::de::Deserializer::from(table))?;
    Ok((config, beside.transpose()?.unwrap_or_default()))
}

impl ConfigError {
    /// What is wrong, with its line and column in the file.
    fn at(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let before = &text[..text.floor_char_boundary(start)];
        ConfigError::Parse {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            text: error.message().to_owned(),
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It can't be read, is not TOML of this shape, or has a value out of range.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::read_beside::<Nothing>(path, "").map(|(config, _)| config)
    }

    /// As [`read`](Self::read), for a program whose file has a section of its own beside those of the host: that one is read as an `S`,
    /// and is the default where it is absent.
    ///
    /// # Errors
    /// As there.
    pub fn read_beside<S>(path: &Path, section: &str) -> Result<(Self, S), ConfigError>
    where
        S: serde::de::DeserializeOwned + Default,
    {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
            path: path.to_owned(),
            error,
        })?;
        let (config, beside) = parse(&text, section).map_err(|error| ConfigError::at(path, &text, &error))?;
        config
            .validate()
            .map_err(|error| ConfigError::Invalid(format!("{}: {error}", path.display())))?;
        Ok((config, beside))
    }

    /// Checks the values.
    ///
    /// # Errors
    /// A value is out of its range, or two values don't fit together.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let invalid = |text: String| Err(ConfigError::Invalid(text));
        self.intake
            .validate()
            .map_err(|error| ConfigError::Invalid(error.to_string()))?;
        if self
            .state
            .dir
            .as_ref()
            .is_some_and(|dir| dir.as_os_str().is_empty())
        {
            return invalid("state.dir is an empty path; name a directory".to_owned());
        }
        let ranges = [
            ("lanes.per_module_max", self.lanes.per_module_max as u64, 1, 1024),
            ("lanes.queue_max", self.lanes.queue_max as u64, 1, 1_000_000),
            ("lanes.lost_max", self.lanes.lost_max as u64, 1, 1024),
            ("shutdown.budget_ms", self.shutdown.budget_ms, 100, 3_600_000),
            ("vetting.timeout_ms", self.vetting.timeout_ms, 100, 3_600_000),
            ("crash.within_s", self.crash.within_s, 1, 86_400),
            (
                "health.components_every_ms",
                self.health.components_every_ms,
                100,
                600_000,
            ),
            (
                "health.memory_down_percent",
                self.health.memory_down_percent.into(),
                1,
                100,
            ),
        ];
        for (name, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                return invalid(format!(
                    "{name} is {value}, outside {min} to {max}; set it within that range"
                ));
            }
        }
        let health = &self.health;
        if health.disk_down_mib > health.disk_degraded_mib
            || health.memory_down_percent < health.memory_degraded_percent
        {
            return invalid(
                "[health]: what is down would be better than what is degraded; disk_down_mib is at most disk_degraded_mib, \
                 and memory_down_percent at least memory_degraded_percent"
                    .to_owned(),
            );
        }
        if let Some(set) = self.health.redundant.iter().find(|(_, needed)| **needed == 0) {
            return invalid(format!(
                "health.redundant.{} is 0, so its set would be up with nobody in it; set it to 1 or more",
                set.0
            ));
        }
        check_supervision(&self.supervision)?;
        in_bounds("probe", &self.probe)?;
        fit_together("probe", &self.probe)?;
        self.history
            .validate()
            .map_err(|error| ConfigError::Invalid(error.to_string()))?;
        self.check_instances()
    }

    fn check_instances(&self) -> Result<(), ConfigError> {
        let invalid = |text: String| Err(ConfigError::Invalid(text));
        let mut names = BTreeSet::new();
        for instance in &self.instances {
            let name = instance.instance_name();
            if name.is_empty() || name.len() > 64 || name.contains(['/', '?', '#', '%', ' ']) {
                return invalid(format!(
                    "the [[instance]] name {name:?} must be 1 to 64 characters without spaces and / ? # %"
                ));
            }
            if !names.insert(name) {
                return invalid(format!(
                    "two [[instance]] sections are named {name:?}; give one of them another name"
                ));
            }
            let section = format!("[[instance]] {name:?}");
            in_bounds(&format!("{section}: probe"), &instance.probe)?;
            fit_together(&format!("{section}: probe"), &instance.probe.over(self.probe))?;
            if instance.concurrency_max == Some(0) {
                return invalid(format!(
                    "{section}: concurrency_max is 0, so it could never be called; set it to 1 or more, or remove it"
                ));
            }
            check_restarts(&section, instance)?;
            for (field, value) in [
                ("call_timeout_ms", instance.call_timeout_ms),
                ("wedge_after_ms", instance.wedge_after_ms),
                ("start_budget_ms", instance.start_budget_ms),
                ("stop_budget_ms", instance.stop_budget_ms),
            ] {
                if value.is_some_and(|ms| !(1..=DAY_MS).contains(&ms)) {
                    let ms = value.unwrap_or_default();
                    return invalid(format!(
                        "{section}: {field} is {ms}, outside 1 to {DAY_MS}; set it within that range, or remove it for the default"
                    ));
                }
            }
        }
        for (set, needed) in &self.health.redundant {
            let members = self
                .instances
                .iter()
                .filter(|instance| instance.redundant.as_ref() == Some(set));
            let members = members.count();
            if members < *needed {
                return invalid(format!(
                    "health.redundant.{set} is {needed}, and {members} [[instance]] sections have redundant = {set:?}, so it could \
                     never be met; give it to more of them, or lower the number"
                ));
            }
        }
        Ok(())
    }

    /// Makes every path independent of the working directory, as it is now.
    pub(crate) fn make_paths_absolute(&mut self) {
        let vetting = self.vetting.worker.iter_mut();
        let dirs = self.intake.discovery.dirs.iter_mut();
        let files = [&mut self.intake.store.dir, &mut self.history.file];
        let files = files.into_iter().chain(self.state.dir.iter_mut());
        for path in dirs.chain(files).chain(vetting) {
            // Without a working directory there is nothing that it could be relative to.
            if let Ok(absolute) = std::path::absolute(&path) {
                *path = absolute;
            }
        }
    }

    pub(crate) fn shutdown_budget(&self) -> Duration {
        Duration::from_millis(self.shutdown.budget_ms)
    }
}

const DAY_MS: u64 = 86_400_000;

fn check_supervision(supervision: &SupervisionConfig) -> Result<(), ConfigError> {
    within("supervision", supervision.bounds())?;
    let (first, most) = (supervision.first_wait_ms, supervision.wait_max_ms);
    match first > most {
        false => Ok(()),
        true => Err(ConfigError::Invalid(format!(
            "supervision: first_wait_ms is {first} and wait_max_ms is {most}; the first is at most the second: change one of them"
        ))),
    }
}

/// What an instance has of its own of `[supervision]`, within the bounds that hold there.
fn check_restarts(section: &str, instance: &InstanceConfig) -> Result<(), ConfigError> {
    let own = [
        instance.max_restarts.map(|_| "max_restarts"),
        instance.within_ms.map(|_| "within_ms"),
    ];
    let config = instance.supervision(SupervisionConfig::default());
    let outside = config
        .bounds()
        .find(|(name, value, min, max)| own.contains(&Some(*name)) && !(min..=max).contains(&value));
    match outside {
        None => Ok(()),
        Some((name, value, min, max)) => Err(ConfigError::Invalid(format!(
            "{section}: {name} is {value}, outside {min} to {max}; set it within that range, or set restart = \"never\""
        ))),
    }
}

/// Two values of which one bounds the other, where both are given.
fn fit_together(section: &str, probe: &ProbeSettings) -> Result<(), ConfigError> {
    let percent = |value: Option<u8>| value.map(u64::from);
    let pairs = [
        (
            "timeout_min_ms",
            probe.timeout_min_ms,
            "timeout_ms",
            probe.timeout_ms,
        ),
        (
            "backoff_min_ms",
            probe.backoff_min_ms,
            "backoff_max_ms",
            probe.backoff_max_ms,
        ),
        (
            "interval_ms",
            probe.interval_ms,
            "idle_interval_ms",
            probe.idle_interval_ms,
        ),
        (
            "degraded_percent",
            percent(probe.degraded_percent),
            "down_percent",
            percent(probe.down_percent),
        ),
        (
            "deep_timeout_ms",
            probe.deep_timeout_ms,
            "deep_every_ms",
            probe.deep_every_ms,
        ),
    ];
    for (lower, low, upper, high) in pairs {
        if let (Some(low), Some(high)) = (low, high)
            && low > high
        {
            return Err(ConfigError::Invalid(format!(
                "{section}: {lower} is {low} and {upper} is {high}; the first is at most the second: change one of them"
            )));
        }
    }
    Ok(())
}

fn in_bounds(section: &str, probe: &ProbeSettings) -> Result<(), ConfigError> {
    within(section, probe.bounds())
}

/// Values with their names and bounds.
fn within(
    section: &str,
    mut values: impl Iterator<Item = (&'static str, u64, u64, u64)>,
) -> Result<(), ConfigError> {
    let outside = values.find(|(_, value, min, max)| !(min..=max).contains(&value));
    match outside {
        None => Ok(()),
        Some((name, value, min, max)) => Err(ConfigError::Invalid(format!(
            "{section}.{name} is {value}, outside {min} to {max}; set it within that range"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("extman.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(read("").unwrap(), Config::default());
    }

    #[test]
    fn errors_name_the_place() {
        let error = read("[probe]\ninterval_ms = \"fast\"\n").unwrap_err().to_string();
        assert!(error.contains("extman.toml:2:15"), "{error}");
        let error = read("[probe]\nintervall_ms = 5\n").unwrap_err().to_string();
        assert!(
            error.contains(":2:1") && error.contains("intervall_ms"),
            "{error}"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, expected) in [
            ("[probe]\ninterval_ms = 0\n", "probe.interval_ms is 0"),
            (
                "[[instance]]\nplugin = \"a\"\n[[instance]]\nplugin = \"a\"\n",
                "two [[instance]]",
            ),
            ("[[instance]]\nplugin = \"a\"\nname = \"x/y\"\n", "\"x/y\""),
            ("[health]\ndisk_down_mib = 600\n", "disk_down_mib"),
            ("[crash]\nwithin_s = 0\n", "crash.within_s is 0"),
            ("[crash]\npolicy = \"forgive\"\n", "forgive"),
            ("[health]\nmemory_degraded_percent = 96\n", "memory_down_percent"),
            (
                "[health]\ncomponents_every_ms = 1\n",
                "health.components_every_ms is 1",
            ),
            (
                "[[instance]]\nplugin = \"a\"\ncall_timeout_ms = 0\n",
                "[[instance]] \"a\": call_timeout_ms is 0",
            ),
            (
                "[[instance]]\nplugin = \"a\"\nwedge_after_ms = 0\n",
                "wedge_after_ms is 0",
            ),
            (
                "[[instance]]\nplugin = \"a\"\nstart_budget_ms = 0\n",
                "start_budget_ms is 0",
            ),
            (
                "[[instance]]\nplugin = \"a\"\nstop_budget_ms = 0\n",
                "stop_budget_ms is 0",
            ),
            (
                "[probe]\ntimeout_min_ms = 900\ntimeout_ms = 800\n",
                "timeout_min_ms is 900 and timeout_ms is 800",
            ),
            (
                "[probe]\nbackoff_min_ms = 900\nbackoff_max_ms = 800\n",
                "backoff_max_ms is 800",
            ),
            (
                "[probe]\ndegraded_percent = 60\ndown_percent = 50\n",
                "down_percent is 50",
            ),
            (
                "[probe]\ninterval_ms = 900\nidle_interval_ms = 800\n",
                "idle_interval_ms is 800",
            ),
            (
                "[probe]\ntimeout_ms = 800\n[[instance]]\nplugin = \"a\"\nprobe.timeout_min_ms = 900\n",
                "[[instance]] \"a\": probe: timeout_min_ms is 900 and timeout_ms is 800",
            ),
            (
                "[supervision]\nfirst_wait_ms = 2000\n",
                "supervision.first_wait_ms is 2000, outside 10 to 1000",
            ),
            (
                "[supervision]\nfirst_wait_ms = 900\nwait_max_ms = 800\n",
                "first_wait_ms is 900 and wait_max_ms is 800",
            ),
            (
                "[[instance]]\nplugin = \"a\"\nmax_restarts = 0\n",
                "[[instance]] \"a\": max_restarts is 0",
            ),
            (
                "[[instance]]\nplugin = \"a\"\nwithin_ms = 1\n",
                "[[instance]] \"a\": within_ms is 1, outside 100",
            ),
            (
                "[health.redundant]\nembedders = 0\n",
                "health.redundant.embedders is 0",
            ),
            (
                "[health.redundant]\nembedders = 2\n[[instance]]\nplugin = \"a\"\nredundant = \"embedders\"\n",
                "health.redundant.embedders is 2, and 1",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
