//! The configuration of intake: where plugins are looked for, kept, and which of them are trusted.

use super::store::PruneLimits;
use extman_model::{Digest, FieldFault};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// `[intake]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntakeConfig {
    /// Where plugins are looked for.
    pub discovery: DiscoveryConfig,
    /// Where copies of them are kept.
    pub store: StoreConfig,
    /// Which of them are trusted.
    pub trust: TrustConfig,
    /// How changes are noticed.
    pub watch: WatchConfig,
}

/// `[intake.discovery]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiscoveryConfig {
    /// Directories with plugins, not searched recursively. An earlier one goes before a later one. Default: `plugins`.
    pub dirs: Vec<PathBuf>,
    /// Milliseconds without a change after which a file counts as written to its end. Default: 300.
    pub settle_ms: u64,
    /// Most libraries in one directory; the first ones by name are used. Default: 1024.
    pub files_per_dir_max: usize,
    /// Largest library, in bytes. Default: 1 GiB.
    pub file_bytes_max: u64,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        DiscoveryConfig {
            dirs: vec![PathBuf::from("plugins")],
            settle_ms: 300,
            files_per_dir_max: 1024,
            file_bytes_max: 1 << 30,
        }
    }
}

impl DiscoveryConfig {
    /// [`settle_ms`](Self::settle_ms).
    pub fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }
}

/// `[intake.store]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Directory of the host's own copies; made if it is not there. Default: `extman/plugin-store` in the user's cache
    /// directory (`$XDG_CACHE_HOME`, else `~/.cache`), or `plugin-store` here if there is none.
    pub dir: PathBuf,
    /// Days after which a copy that no host has used is removed; 0 keeps none that is not in use. Default: 30.
    pub unused_days_max: u64,
    /// Bytes of copies that are not in use; beyond that the longest unused are removed. Default: 4 GiB.
    pub unused_bytes_max: u64,
}

impl StoreConfig {
    /// Which copies are too many.
    pub fn limits(&self) -> PruneLimits {
        PruneLimits {
            unused_for: Duration::from_secs(self.unused_days_max.saturating_mul(24 * 60 * 60)),
            unused_bytes_max: self.unused_bytes_max,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            dir: default_store(),
            unused_days_max: 30,
            unused_bytes_max: 4 << 30,
        }
    }
}

fn default_store() -> PathBuf {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    cache.map_or_else(
        || PathBuf::from("plugin-store"),
        |cache| cache.join("extman").join("plugin-store"),
    )
}

/// `[intake.trust]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrustConfig {
    /// Whether a plugin that every user of the machine can change is taken all the same. Default: false.
    pub allow_world_writable: bool,
    /// Whether a plugin is taken whose loading makes the stacks of the whole host executable. Default: false.
    pub allow_executable_stack: bool,
    /// SHA-256 digests of the only plugins that are taken. Default: none given, any digest is taken.
    pub allow_digests: Option<Vec<Digest>>,
}

/// `[intake.watch]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// Milliseconds in which changes are gathered into one signal. Default: 200.
    pub debounce_ms: u64,
    /// Milliseconds between two looks at a directory that the system can't watch, or that is not there yet. Default: 2000.
    pub poll_ms: u64,
    /// Whether every directory is polled: for network file systems, which don't report changes. Default: false.
    pub poll_only: bool,
}

impl Default for WatchConfig {
    fn default() -> Self {
        WatchConfig {
            debounce_ms: 200,
            poll_ms: 2000,
            poll_only: false,
        }
    }
}

impl IntakeConfig {
    /// What the types can't refuse.
    pub fn faults(&self) -> Vec<FieldFault> {
        let DiscoveryConfig {
            dirs,
            settle_ms,
            files_per_dir_max,
            file_bytes_max,
        } = &self.discovery;
        let files_per_dir_max = *files_per_dir_max as u64;
        let ranges = [
            ("discovery.settle_ms", *settle_ms, 0, 60_000),
            ("discovery.files_per_dir_max", files_per_dir_max, 1, 100_000),
            ("discovery.file_bytes_max", *file_bytes_max, 1, 1 << 40),
            ("store.unused_days_max", self.store.unused_days_max, 0, 36_500),
            ("watch.debounce_ms", self.watch.debounce_ms, 1, 60_000),
            ("watch.poll_ms", self.watch.poll_ms, 10, 3_600_000),
        ];
        let mut faults: Vec<FieldFault> = FieldFault::out_of_range(ranges).collect();
        for (field, is_empty) in [
            (
                "discovery.dirs",
                dirs.iter().any(|dir| dir.as_os_str().is_empty()),
            ),
            ("store.dir", self.store.dir.as_os_str().is_empty()),
        ] {
            if is_empty {
                faults.push(FieldFault::new(field, "holds an empty path; name a directory"));
            }
        }
        if self.trust.allow_digests.as_ref().is_some_and(Vec::is_empty) {
            faults.push(FieldFault::new(
                "trust.allow_digests",
                "is an empty list, so no plugin could be taken; add digests or remove the field",
            ));
        }
        faults
            .into_iter()
            .map(|fault| fault.within("intake", None))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_given_is_the_default_and_valid() {
        let config: IntakeConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, IntakeConfig::default());
        assert_eq!(config.discovery.settle(), Duration::from_millis(300));
        assert_eq!(config.faults(), []);
    }

    #[test]
    fn a_misspelt_field_is_refused_by_name() {
        for text in [
            r#"{"trust": {"allow_digest": []}}"#,
            r#"{"discovery": {"settle": 3}}"#,
            r#"{"stores": {}}"#,
        ] {
            let error = serde_json::from_str::<IntakeConfig>(text)
                .unwrap_err()
                .to_string();
            assert!(error.contains("unknown field"), "{error}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        for (text, expected) in [
            (
                r#"{"watch": {"poll_ms": 1}}"#,
                "intake.watch.poll_ms is 1, outside 10",
            ),
            (
                r#"{"discovery": {"files_per_dir_max": 0}}"#,
                "files_per_dir_max is 0",
            ),
            (r#"{"discovery": {"dirs": [""]}}"#, "intake.discovery.dirs"),
            (r#"{"store": {"dir": ""}}"#, "intake.store.dir"),
            (r#"{"trust": {"allow_digests": []}}"#, "no plugin could be taken"),
        ] {
            let config: IntakeConfig = serde_json::from_str(text).unwrap();
            let faults = config.faults();
            assert!(
                faults.len() == 1 && faults[0].text.contains(expected),
                "{faults:?}"
            );
        }
    }
}
