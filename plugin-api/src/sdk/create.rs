//! What an instance is made from.

use super::gateway::host::Host;
#[cfg(feature = "json")]
use super::{Error, Result};

/// What an instance is made from.
pub struct Create<'a> {
    pub(crate) name: &'a str,
    pub(crate) config: &'a str,
    pub(crate) host: &'a Host,
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
