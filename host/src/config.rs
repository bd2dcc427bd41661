//! `extman.toml`: one section a module, each owned by its module; read once, checked once.

mod file;

pub use file::ConfigText;

use extman_health::components::Limits;
use extman_health::rollout::RolloutPolicy;
use extman_history::HistoryConfig;
use extman_intake::{IntakeConfig, LockUse};
use extman_model::{FieldFault, LogLevel, PlacedFault, ProbeSettings, UnfitFields};
use extman_runtime::crash::CrashConfig;
use extman_runtime::lanes::PoolLimits;
pub use extman_runtime::registry::{AllDown, BreakerConfig, CacheConfig, RoutingConfig};
use extman_runtime::supervisor::{InstanceConfig, Policies, SupervisionConfig};
use extman_runtime::vetting::VettingConfig;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
    /// By which steps a new version takes the place of the one before it.
    pub rollout: RolloutPolicy,
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
    /// What is written to the log.
    pub log: LogConfig,
    /// Time for stopping.
    pub shutdown: ShutdownConfig,
    /// Uses of plugins. A plugin without one has one instance, named after its id.
    #[serde(rename = "instance")]
    pub instances: Vec<InstanceConfig>,
    /// What `extman.lock` says. No field of `extman.toml`: whoever starts the host reads that file.
    #[serde(skip)]
    pub lock: Option<LockUse>,
    /// Where it was read. Nothing where it was made otherwise.
    #[serde(skip)]
    pub text: Option<ConfigText>,
}

/// How a host reads its configuration again while it runs.
#[derive(Clone)]
pub struct ConfigSource(Arc<Read>);

type Read = dyn Fn(&ConfigText) -> Result<Config, ConfigError> + Send + Sync;

impl ConfigSource {
    /// By this function, which is given what stands in the file that the configuration was read from ([`Config::text`]).
    pub fn new(read: impl Fn(&ConfigText) -> Result<Config, ConfigError> + Send + Sync + 'static) -> Self {
        ConfigSource(Arc::new(read))
    }

    pub(crate) fn read(&self, text: &ConfigText) -> Result<Config, ConfigError> {
        (self.0)(text)
    }
}

impl std::fmt::Debug for ConfigSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConfigSource")
    }
}

/// `[state]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateConfig {
    /// The directory in which each instance has two folders of its own, `data/NAME` for what stays and `cache/NAME` for what may be
    /// emptied while it does not run; they are made before the instance is. Beside them the host keeps in `disabled.json` which instances
    /// are disabled, in `config.json` what was set by `extman config set`, in `barred.json` which builds were taken back, and in `chosen.json`
    /// which were chosen. Default: `extman` in the user's state directory (`$XDG_STATE_HOME`, else `~/.local/state`), or `plugin-state` here if
    /// there is none.
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

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// What is written: `error`, `warn`, `info`, `debug` or `trace`, each with all before it. Where the variable `RUST_LOG` is set, that holds.
    /// Default: `info`.
    pub level: LogLevel,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            level: LogLevel::Info,
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
    /// Fields of a file can't be used, or it is not TOML.
    #[error("{}", in_one_line(.0))]
    Unfit(Vec<PlacedFault>),
    /// Fields of a configuration that was made without a file can't be used.
    #[error(transparent)]
    Fields(#[from] UnfitFields),
}

fn in_one_line(faults: &[PlacedFault]) -> String {
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// For a file that has no section but the host's.
#[derive(Default, Deserialize)]
struct Nothing {}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// It can't be read, is not TOML of this shape, or has a value out of range.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::read_beside::<Nothing>(path, "", |_| Vec::new()).map(|(config, _)| config)
    }

    /// As [`read`](Self::read), for a program whose file has a section of its own beside those of the host: that one is read as an `S`,
    /// is the default where it is absent, and `beside` says what is wrong with its values.
    ///
    /// # Errors
    /// As there.
    pub fn read_beside<S>(
        path: &Path,
        section: &str,
        beside: impl Fn(&S) -> Vec<FieldFault>,
    ) -> Result<(Self, S), ConfigError>
    where
        S: serde::de::DeserializeOwned + Default,
    {
        Self::parse_beside(&ConfigText::read(path)?, section, beside)
    }

    /// As [`read_beside`](Self::read_beside), of what stood in the file when it was read.
    ///
    /// # Errors
    /// As there, but for that it can't be read.
    pub fn parse_beside<S>(
        text: &ConfigText,
        section: &str,
        beside: impl Fn(&S) -> Vec<FieldFault>,
    ) -> Result<(Self, S), ConfigError>
    where
        S: serde::de::DeserializeOwned + Default,
    {
        text.parse(section, beside)
    }

    /// Checks the values.
    ///
    /// # Errors
    /// A value is out of its range, or two values don't fit together.
    pub fn validate(&self) -> Result<(), ConfigError> {
        Ok(UnfitFields::check(self.faults())?)
    }

    /// All values that are out of their ranges, and pairs that don't fit together.
    pub(crate) fn faults(&self) -> Vec<FieldFault> {
        let mut faults = self.intake.faults();
        let is_empty = |dir: &PathBuf| dir.as_os_str().is_empty();
        if self.state.dir.as_ref().is_some_and(is_empty) {
            faults.push(FieldFault::new("state.dir", "is an empty path; name a directory"));
        }
        let (lanes, health) = (&self.lanes, &self.health);
        faults.extend(FieldFault::out_of_range([
            ("lanes.per_module_max", lanes.per_module_max as u64, 1, 1024),
            ("lanes.queue_max", lanes.queue_max as u64, 1, 1_000_000),
            ("lanes.lost_max", lanes.lost_max as u64, 1, 1024),
            ("shutdown.budget_ms", self.shutdown.budget_ms, 100, 3_600_000),
            ("vetting.timeout_ms", self.vetting.timeout_ms, 100, 3_600_000),
            ("crash.within_s", self.crash.within_s, 1, 86_400),
            (
                "health.components_every_ms",
                health.components_every_ms,
                100,
                600_000,
            ),
            (
                "health.memory_down_percent",
                health.memory_down_percent.into(),
                1,
                100,
            ),
        ]));
        faults.extend(self.routing.faults());
        faults.extend(health.faults());
        faults.extend(supervision_faults(self.supervision));
        faults.extend(rollout_faults(&self.rollout));
        faults.extend(probe_faults(&self.probe, &self.probe));
        faults.extend(self.history.faults());
        faults.extend(self.instance_faults());
        faults.extend(self.redundant_faults());
        faults
    }

    fn instance_faults(&self) -> Vec<FieldFault> {
        let (mut names, mut faults) = (BTreeSet::new(), Vec::new());
        for (number, instance) in self.instances.iter().enumerate() {
            let name = instance.instance_name();
            let fault = |field: &str, text: String| FieldFault {
                field: format!("instance[{number}].{field}"),
                text,
            };
            if name.is_empty() || name.len() > 64 || name.contains(['/', '?', '#', '%', ' ']) {
                faults.push(fault(
                    "name",
                    format!(
                        "the [[instance]] name {name:?} must be 1 to 64 characters without spaces and / ? # %"
                    ),
                ));
            }
            if !names.insert(name) {
                faults.push(fault(
                    "name",
                    format!("two [[instance]] sections are named {name:?}; give one of them another name"),
                ));
            }
            let (section, said) = (format!("instance[{number}]"), format!("[[instance]] {name:?}"));
            let own = self.faults_of(instance).into_iter();
            faults.extend(own.map(|fault| fault.within(&section, Some(&said))));
        }
        faults
    }

    /// What is wrong with an instance's own values.
    pub(crate) fn faults_of(&self, instance: &InstanceConfig) -> Vec<FieldFault> {
        let probe = probe_faults(&instance.probe, &instance.probe.over(self.probe));
        instance_faults(instance).chain(probe).collect()
    }

    /// Sets that could never be met.
    fn redundant_faults(&self) -> impl Iterator<Item = FieldFault> {
        self.health.redundant.iter().filter_map(|(set, needed)| {
            let is_member = |instance: &&InstanceConfig| instance.redundant.as_ref() == Some(set);
            let members = self.instances.iter().filter(is_member).count();
            (members < *needed).then(|| {
                let goes_on = format!(
                    "is {needed}, and {members} [[instance]] sections have redundant = {set:?}, so it could never be met; give it to \
                     more of them, or lower the number"
                );
                FieldFault::new(format!("health.redundant.{set}"), goes_on)
            })
        })
    }

    /// What holds for all instances.
    pub(crate) fn policies(&self) -> Policies {
        Policies {
            supervision: self.supervision,
            rollout: Arc::new(self.rollout.clone()),
            probe: self.probe,
        }
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
        self.text.iter_mut().for_each(ConfigText::make_path_absolute);
    }

    pub(crate) fn shutdown_budget(&self) -> Duration {
        Duration::from_millis(self.shutdown.budget_ms)
    }
}

impl HealthConfig {
    fn faults(&self) -> Vec<FieldFault> {
        let mut faults = Vec::new();
        for (lower, low, upper, high) in [
            (
                "disk_down_mib",
                self.disk_down_mib,
                "disk_degraded_mib",
                self.disk_degraded_mib,
            ),
            (
                "memory_degraded_percent",
                self.memory_degraded_percent.into(),
                "memory_down_percent",
                self.memory_down_percent.into(),
            ),
        ] {
            if low > high {
                let goes_on = format!(
                    "is {low} and {upper} is {high}, so what is down would be better than what is degraded; the first is at most the \
                     second: change one of them"
                );
                faults.push(FieldFault::new(format!("health.{lower}"), goes_on));
            }
        }
        let empty = self.redundant.iter().filter(|(_, needed)| **needed == 0);
        faults.extend(empty.map(|(set, _)| {
            let goes_on = "is 0, so its set would be up with nobody in it; set it to 1 or more";
            FieldFault::new(format!("health.redundant.{set}"), goes_on)
        }));
        faults
    }
}

const DAY_MS: u64 = 86_400_000;

/// What is wrong with `[supervision]`.
fn supervision_faults(config: SupervisionConfig) -> impl Iterator<Item = FieldFault> {
    let (first, most) = (config.first_wait_ms, config.wait_max_ms);
    let crossed = (first > most).then(|| {
        let goes_on = format!(
            "is {first} and wait_max_ms is {most}; the first is at most the second: change one of them"
        );
        FieldFault::new("first_wait_ms", goes_on)
    });
    let faults = FieldFault::out_of_range(config.bounds()).chain(crossed);
    faults.map(|fault| fault.within("supervision", None))
}

/// What is wrong with `[rollout]`.
fn rollout_faults(policy: &RolloutPolicy) -> impl Iterator<Item = FieldFault> {
    let steps = FieldFault::out_of_range(policy.bounds()).map(|fault| fault.within("rollout", None));
    let judge = policy.judge.bounds().filter_map(|(name, value, min, max)| {
        let goes_on = || format!("is {value}, outside {min} to {max}; set it within that range");
        let outside = !(min..=max).contains(&value);
        outside.then(|| FieldFault::new(name, goes_on()).within("rollout.judge", None))
    });
    steps.chain(judge)
}

/// What is wrong with what an instance has of its own of `[supervision]`, within the bounds that hold there.
fn restart_faults(instance: &InstanceConfig) -> impl Iterator<Item = FieldFault> {
    let own = [
        instance.max_restarts.map(|_| "max_restarts"),
        instance.within_ms.map(|_| "within_ms"),
    ];
    let bounds = instance.supervision(SupervisionConfig::default()).bounds();
    bounds.filter_map(move |(name, value, min, max)| {
        let outside = own.contains(&Some(name)) && !(min..=max).contains(&value);
        let goes_on = || {
            format!(
                "is {value}, outside {min} to {max}; set it within that range, or set restart = \"never\""
            )
        };
        outside.then(|| FieldFault::new(name, goes_on()))
    })
}

/// What is wrong with an instance's own values.
fn instance_faults(instance: &InstanceConfig) -> impl Iterator<Item = FieldFault> {
    let never = instance.concurrency_max == Some(0);
    let never = never.then(|| {
        let goes_on = "is 0, so it could never be called; set it to 1 or more, or remove it";
        FieldFault::new("concurrency_max", goes_on)
    });
    let no_state = (instance.state_bytes_max == Some(0)).then(|| {
        let goes_on = "is 0, so what keeps a state could never be updated; set it to 1 or more, or remove it";
        FieldFault::new("state_bytes_max", goes_on)
    });
    let times = [
        ("call_timeout_ms", instance.call_timeout_ms),
        ("wedge_after_ms", instance.wedge_after_ms),
        ("start_budget_ms", instance.start_budget_ms),
        ("stop_budget_ms", instance.stop_budget_ms),
    ];
    let times = times.into_iter().filter_map(|(field, ms)| {
        let ms = ms.filter(|ms| !(1..=DAY_MS).contains(ms))?;
        let goes_on =
            format!("is {ms}, outside 1 to {DAY_MS}; set it within that range, or remove it for the default");
        Some(FieldFault::new(field, goes_on))
    });
    let limits = &instance.limits;
    let without_rate = (limits.burst.is_some() && limits.calls_per_s.is_none()).then(|| {
        let goes_on = "is set without calls_per_s, so it would limit nothing; set that too, or remove it";
        FieldFault::new("burst", goes_on)
    });
    let limits = FieldFault::out_of_range(limits.bounds()).chain(without_rate);
    let limits = limits.map(|fault| fault.within("limits", None));
    never
        .into_iter()
        .chain(no_state)
        .chain(restart_faults(instance))
        .chain(times)
        .chain(limits)
}

/// What is wrong with values of a `probe`; and with pairs of those that hold, of which one bounds the other.
fn probe_faults(own: &ProbeSettings, holds: &ProbeSettings) -> Vec<FieldFault> {
    let percent = |value: Option<u8>| value.map(u64::from);
    let pairs = [
        (
            "timeout_min_ms",
            holds.timeout_min_ms,
            "timeout_ms",
            holds.timeout_ms,
        ),
        (
            "backoff_min_ms",
            holds.backoff_min_ms,
            "backoff_max_ms",
            holds.backoff_max_ms,
        ),
        (
            "interval_ms",
            holds.interval_ms,
            "idle_interval_ms",
            holds.idle_interval_ms,
        ),
        (
            "degraded_percent",
            percent(holds.degraded_percent),
            "down_percent",
            percent(holds.down_percent),
        ),
        (
            "deep_timeout_ms",
            holds.deep_timeout_ms,
            "deep_every_ms",
            holds.deep_every_ms,
        ),
    ];
    let pairs = pairs.into_iter().filter_map(|(lower, low, upper, high)| {
        let (low, high) = (low?, high?);
        let goes_on =
            format!("is {low} and {upper} is {high}; the first is at most the second: change one of them");
        (low > high).then(|| FieldFault::new(lower, goes_on))
    });
    let faults = FieldFault::out_of_range(own.bounds()).chain(pairs);
    faults.map(|fault| fault.within("probe", None)).collect()
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
        let config = read("").unwrap();
        assert_eq!(Config { text: None, ..config }, Config::default());
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

    /// Each fault's line, and its field.
    fn faults(text: &str) -> Vec<(usize, String)> {
        let Err(ConfigError::Unfit(faults)) = read(text) else {
            panic!("it is read: {text}");
        };
        let faults = faults.into_iter();
        faults
            .map(|one| (one.line.unwrap_or_default(), one.fault.field))
            .collect()
    }

    #[test]
    fn all_faults_of_a_file_are_told_at_once_each_with_its_line_and_its_field() {
        let text = "\
[probe]
interval_ms = \"fast\"
intervall_ms = 5
fall = 0
[lanes]
queue_max = 0
[health.redundant]
\"a.b\" = 0
[[instance]]
plugin = \"a\"
call_timeout_ms = 0
probe.timeout_ms = 5
probe.timeout_min_ms = 7
[[instance]]
name = \"without a plugin\"
[[instance]]
plugin = \"b\"
stop_budget_ms = true
";
        let at = |line, field: &str| (line, field.to_owned());
        assert_eq!(
            faults(text),
            [
                at(2, "probe.interval_ms"),
                at(3, "probe.intervall_ms"),
                at(4, "probe.fall"),
                at(6, "lanes.queue_max"),
                at(8, "health.redundant.a.b"),
                at(11, "instance[0].call_timeout_ms"),
                at(13, "instance[0].probe.timeout_min_ms"),
                at(14, "instance[1]"),
                at(18, "instance[2].stop_budget_ms"),
            ]
        );
    }

    #[test]
    fn fields_of_instances_after_one_that_can_not_be_read_keep_their_numbers() {
        let text = "[[instance]]\nname = \"x\"\n[[instance]]\nplugin = \"b\"\nstop_budget_ms = 0\n";
        let at = |line, field: &str| (line, field.to_owned());
        assert_eq!(
            faults(text),
            [at(1, "instance[0]"), at(5, "instance[1].stop_budget_ms")]
        );
    }

    #[test]
    fn all_that_is_no_toml_is_told() {
        let lines = faults("[probe\nfall = 1\n[lanes]\nqueue_max = = 3\n");
        let lines: BTreeSet<usize> = lines.into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 4].into());
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
                "[[instance]]\nplugin = \"a\"\nstate_bytes_max = 0\n",
                "state_bytes_max is 0",
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
                "[[instance]] \"a\": probe.timeout_min_ms is 900 and timeout_ms is 800",
            ),
            (
                "[routing.cache.max_age_ms]\n\"a.b\" = 0\n",
                "routing.cache.max_age_ms.a.b is 0",
            ),
            (
                "[[instance]]\nplugin = \"a\"\nlimits.calls_per_s = 0\n",
                "[[instance]] \"a\": limits.calls_per_s is 0",
            ),
            (
                "[[instance]]\nplugin = \"a\"\nlimits.burst = 5\n",
                "[[instance]] \"a\": limits.burst is set without calls_per_s",
            ),
            ("[routing.cache]\nbytes_max = 1\n", "routing.cache.bytes_max is 1"),
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
