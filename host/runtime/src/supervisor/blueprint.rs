//! What an instance is made from.

use super::spec::InstanceConfig;
use super::stage::Build;
use extman_intake::VerifiedPlugin;
use extman_plugin_api::manifest::schema::Update;
use std::sync::Arc;

/// Verified bytes, and what is configured for their use.
#[derive(Clone)]
pub struct Blueprint {
    /// The verified bytes.
    pub plugin: VerifiedPlugin,
    /// How they are used.
    pub config: Arc<InstanceConfig>,
}

impl Build for Blueprint {
    fn is(&self, other: &Self) -> bool {
        self.has_bytes_of(other) && self.config.is_made_as(&other.config)
    }

    fn has_bytes_of(&self, other: &Self) -> bool {
        self.plugin.digest() == other.plugin.digest()
    }

    fn may_take(&self, other: &Self) -> bool {
        self.has_bytes_of(other) && self.config.is_run_as(&other.config)
    }

    fn excludes(&self, other: &Self) -> bool {
        let [one, two] = [self, other].map(|blueprint| &blueprint.plugin.manifest().plugin);
        let stops_first = [one, two].iter().any(|about| about.update == Update::StopFirst);
        // Two of the same bytes, side by side, may be one instance more than the plugin allows.
        stops_first || (self.has_bytes_of(other) && one.instances_max.is_some())
    }

    fn version(&self) -> String {
        self.plugin.manifest().plugin.version.to_string()
    }
}
