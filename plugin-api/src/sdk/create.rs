//! What an instance is made from.

use super::Step;
use super::gateway::host::Host;
#[cfg(feature = "json")]
use super::{Error, Result};
use std::path::Path;

/// What an instance is made from.
pub struct Create<'a> {
    pub(crate) name: &'a str,
    pub(crate) config: &'a str,
    pub(crate) data_dir: Option<&'a Path>,
    pub(crate) cache_dir: Option<&'a Path>,
    pub(crate) resource_dir: Option<&'a Path>,
    pub(crate) host: &'a Host,
    pub(crate) step: &'a Step,
}

impl<'a> Create<'a> {
    /// The instance's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The configuration: a JSON object, the manifest's defaults filled in.
    pub fn config_json(&self) -> &'a str {
        self.config
    }

    /// The host. Keep a clone to log or to report health from anywhere.
    pub fn host(&self) -> &'a Host {
        self.host
    }

    /// Deadline, cancellation and progress of being made.
    pub fn step(&self) -> &'a Step {
        self.step
    }

    /// Folder that is the instance's own and stays; `None` if the host gives none.
    pub fn data_dir(&self) -> Option<&'a Path> {
        self.data_dir
    }

    /// Folder that is the instance's own and may be emptied while it does not run.
    pub fn cache_dir(&self) -> Option<&'a Path> {
        self.cache_dir
    }

    /// Folder of the files that were installed with the plugin, to be read only.
    pub fn resource_dir(&self) -> Option<&'a Path> {
        self.resource_dir
    }

    /// The configuration, read.
    ///
    /// # Errors
    /// It has not this shape.
    #[cfg(feature = "json")]
    pub fn config<T: serde::Deserialize<'a>>(&self) -> Result<T> {
        serde_json::from_str(self.config)
            .map_err(|e| Error::configuration(format_args!("the configuration is not as expected: {e}")))
    }
}
