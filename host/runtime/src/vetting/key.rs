//! Under what a result of vetting is kept: the bytes, how far they were tried, with which configuration, and what around them decides
//! the outcome.

use super::VettingConfig;
use crate::supervisor::ResolvedConfig;
use extman_intake::{FileIdentity, VerifiedPlugin};
use extman_model::{Digest, VettingDepth};
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// Names one result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct VettingKey {
    digest: Digest,
    /// Of all but the digest.
    circumstances: Digest,
}

/// One trial of a plugin: what decides its outcome besides the bytes.
pub(super) struct Trial<'a> {
    pub plugin: &'a VerifiedPlugin,
    pub config: &'a str,
    pub depth: VettingDepth,
    pub limit: Duration,
    pub worker: &'a Path,
    pub secrets: Option<&'a ResolvedConfig>,
}

/// What is hashed. Values of environment variables and configurations may be secrets, so only their hash is kept.
#[derive(Serialize)]
struct Circumstances<'a> {
    host_version: &'static str,
    depth: VettingDepth,
    config: &'a str,
    time_limit_ms: u128,
    memory_bytes_max: u64,
    worker: Option<FileIdentity>,
    /// Which files the dynamic loader finds under which name.
    loader_cache: Option<FileIdentity>,
    limits: Vec<Option<u64>>,
    variables: Vec<(String, Option<OsString>)>,
}

/// Variables that every library's loading depends on.
const LOADER_VARIABLES: [&str; 3] = ["LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES"];

const LIMITS: [Resource; 7] = [
    Resource::As,
    Resource::Data,
    Resource::Stack,
    Resource::Nofile,
    Resource::Nproc,
    Resource::Memlock,
    Resource::Fsize,
];

impl VettingKey {
    pub fn of(trial: &Trial<'_>, config: &VettingConfig) -> Self {
        let declared = &trial.plugin.manifest().permissions.environment;
        let names = LOADER_VARIABLES.iter().map(|name| (*name).to_owned());
        let variables = names.chain(declared.iter().cloned());
        let circumstances = Circumstances {
            host_version: env!("CARGO_PKG_VERSION"),
            depth: trial.depth,
            config: trial.config,
            time_limit_ms: trial.limit.as_millis(),
            memory_bytes_max: config.memory_bytes_max,
            worker: identity(trial.worker),
            loader_cache: identity(Path::new("/etc/ld.so.cache")),
            limits: LIMITS.iter().map(|limit| getrlimit(*limit).current).collect(),
            variables: variables
                .map(|name| (name.clone(), std::env::var_os(name)))
                .collect(),
        };
        // Plain data without maps keyed by anything but text always becomes JSON.
        let json = serde_json::to_vec(&circumstances).unwrap_or_default();
        VettingKey {
            digest: trial.plugin.digest(),
            circumstances: Digest::new(Sha256::digest(json).into()),
        }
    }

    #[cfg(test)]
    pub fn for_test(digest: Digest, circumstances: u8) -> Self {
        let circumstances = Digest::new([circumstances; 32]);
        VettingKey {
            digest,
            circumstances,
        }
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// As the cache's files are named.
impl fmt::Display for VettingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let circumstances = self.circumstances.to_string();
        write!(f, "{}-{}", self.digest, &circumstances[..16])
    }
}

fn identity(path: &Path) -> Option<FileIdentity> {
    std::fs::metadata(path)
        .ok()
        .map(|metadata| FileIdentity::of(&metadata))
}
