//! A library's first load happens in a throwaway child: what crashes or hangs there never reaches this process.
//!
//! [`Vetting`] starts `extman-worker`, hands it the sealed bytes on its standard input, and reads what it gets done, step by step.
//! Results are kept by digest: what passed is not vetted again, what was refused is not tried again until the refusal expires
//! or is released by hand. Only this module makes a [`VettedPlugin`], which is what the in-process loader takes.

mod child;
mod ledger;
pub mod worker;

pub use ledger::{Ledger, LedgerEntry};

use super::loader::{SealError, SealedImage};
use extman_intake::{Sdk, VerifiedPlugin};
use extman_model::{VettingDepth, VettingReport};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// A verified plugin that may be loaded into this process.
#[derive(Debug, Clone)]
pub struct VettedPlugin(VerifiedPlugin);

impl VettedPlugin {
    /// The plugin.
    pub fn verified(&self) -> &VerifiedPlugin {
        &self.0
    }
}

/// `[vetting]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VettingConfig {
    /// Whether plugins are vetted before they are loaded. Default: true.
    pub enabled: bool,
    /// How far: `open`, `create` or `probe`. A plugin that requires configuration which is not given is only opened.
    pub depth: VettingDepth,
    /// Milliseconds for all of it. Default: 30000.
    pub timeout_ms: u64,
    /// Bytes of address space that the child may use. Default: 8 GiB.
    pub memory_bytes_max: u64,
    /// Seconds after which a refusal is forgotten. Default: one day.
    pub refusal_expires_s: u64,
    /// The worker program. Default: `extman-worker` beside the running program.
    pub worker: Option<PathBuf>,
}

impl Default for VettingConfig {
    fn default() -> Self {
        VettingConfig {
            enabled: true,
            depth: VettingDepth::Probe,
            timeout_ms: 30_000,
            memory_bytes_max: 8 << 30,
            refusal_expires_s: 24 * 60 * 60,
            worker: None,
        }
    }
}

/// Why a plugin was not vetted, or not passed.
#[derive(Debug, thiserror::Error)]
pub enum VettingError {
    /// It was tried and refused, now or before.
    #[error("{}{}", .report.refusal.as_ref().map_or_else(String::new, ToString::to_string), when(*.remembered))]
    Refused {
        /// What was seen.
        report: Box<VettingReport>,
        /// Whether that was in an earlier try.
        remembered: bool,
    },
    /// There is no worker program.
    #[error(
        "there is no worker program at {path}, so the plugin can't be vetted: put extman-worker there, name one by \
         vetting.worker, or switch vetting off (vetting.enabled = false) and take the risk",
        path = .0.display()
    )]
    NoWorker(PathBuf),
    /// The bytes could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Starting or talking to the worker failed.
    #[error("the vetting worker failed: {0}")]
    Worker(#[from] std::io::Error),
}

fn when(remembered: bool) -> &'static str {
    if remembered {
        " (seen in an earlier try; `extman load` or `extman check --forget FILE` has it tried again)"
    } else {
        ""
    }
}

/// Vets plugins.
#[derive(Debug)]
pub struct Vetting {
    config: VettingConfig,
    ledger: Ledger,
}

impl Vetting {
    /// With results kept in `ledger`.
    pub fn new(config: VettingConfig, ledger: Ledger) -> Self {
        Vetting { config, ledger }
    }

    /// Lets a plugin pass, or says why not. `config` is the configuration that an instance would get, as JSON.
    ///
    /// # Errors
    /// It was refused, or could not be tried.
    pub async fn vet(
        &self,
        plugin: VerifiedPlugin,
        config: &str,
        now: SystemTime,
    ) -> Result<VettedPlugin, VettingError> {
        if !self.config.enabled {
            return Ok(VettedPlugin(plugin));
        }
        let expires = Duration::from_secs(self.config.refusal_expires_s);
        if let Some(entry) = self.ledger.look_up(plugin.digest(), now, expires) {
            return if entry.report.passed() {
                Ok(VettedPlugin(plugin))
            } else {
                Err(VettingError::Refused {
                    report: Box::new(entry.report),
                    remembered: true,
                })
            };
        }
        let report = self.try_out(&plugin, config).await?;
        // What a plugin says of its configuration or its surroundings may be otherwise next time.
        if report.passed() || report.blames_bytes() {
            self.ledger.enter(plugin.digest(), now, &report);
        }
        if report.passed() {
            Ok(VettedPlugin(plugin))
        } else {
            Err(VettingError::Refused {
                report: Box::new(report),
                remembered: false,
            })
        }
    }

    /// Tries a plugin in a child, whatever was seen before, and keeps nothing.
    ///
    /// # Errors
    /// It could not be tried.
    pub async fn try_out(
        &self,
        plugin: &VerifiedPlugin,
        config: &str,
    ) -> Result<VettingReport, VettingError> {
        let worker = self.worker()?;
        let (bytes, digest) = (plugin.open()?, plugin.digest());
        // It copies and hashes a whole file, so not on one of the async runtime's own threads.
        let sealed = tokio::task::spawn_blocking(move || SealedImage::copy(bytes, "extman-vetting", digest));
        let sealed = sealed.await.map_err(std::io::Error::other)??;
        let order = worker::Order {
            digest: plugin.digest(),
            rust: is_rust(plugin),
            name: plugin.manifest().plugin.id.clone(),
            config: config.to_owned(),
            depth: self.depth(plugin, config),
            memory_bytes_max: self.config.memory_bytes_max,
        };
        let limit = Duration::from_millis(self.config.timeout_ms);
        Ok(child::run(&worker, &order, sealed.share()?, limit).await?)
    }

    /// What an operator should know: that nothing new can be vetted, though what was seen before still counts.
    pub fn concern(&self) -> Option<String> {
        let error = self.worker().err().filter(|_| self.config.enabled)?;
        Some(format!(
            "{error}. Until then, plugins that were never vetted are not started, and those that passed once, by this host or \
             by another with the same store, are started without being tried again"
        ))
    }

    /// Forgets what was seen of a plugin. `false` if there was nothing.
    pub fn release(&self, digest: extman_model::Digest) -> bool {
        self.ledger.release(digest)
    }

    /// Forgets that a plugin was refused; that it passed is kept. `false` if there was no refusal.
    pub fn release_refusal(&self, digest: extman_model::Digest) -> bool {
        self.ledger.release_refusal(digest)
    }

    fn depth(&self, plugin: &VerifiedPlugin, config: &str) -> VettingDepth {
        let given: serde_json::Value = serde_json::from_str(config).unwrap_or_default();
        let lacks = |key: &String| given.get(key).is_none();
        if plugin.manifest().config.required.iter().any(lacks) {
            VettingDepth::Open
        } else {
            self.config.depth
        }
    }

    fn worker(&self) -> Result<PathBuf, VettingError> {
        let worker = match &self.config.worker {
            Some(worker) => worker.clone(),
            None => beside_this_program()?,
        };
        if worker.is_file() {
            Ok(worker)
        } else {
            Err(VettingError::NoWorker(worker))
        }
    }
}

/// `extman-worker` beside the running program; for a test or an example, beside its folder.
fn beside_this_program() -> std::io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let name = format!("extman-worker{}", std::env::consts::EXE_SUFFIX);
    let beside = program.with_file_name(&name);
    let above = program
        .parent()
        .and_then(|dir| dir.parent())
        .map(|dir| dir.join(&name));
    Ok(match above {
        Some(above) if !beside.is_file() && above.is_file() => above,
        _ => beside,
    })
}

/// Whether a plugin was made with the Rust SDK.
pub fn is_rust(plugin: &VerifiedPlugin) -> bool {
    plugin
        .facts()
        .build
        .as_ref()
        .is_some_and(|build| build.sdk == Sdk::Rust)
}
