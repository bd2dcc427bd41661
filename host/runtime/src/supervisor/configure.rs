//! The long step in which what serves takes another configuration.

use super::blueprint::Blueprint;
use super::secrets::Secrets;
use super::start::{Services, resolve, vet};
use crate::instance::Instance;
use extman_model::ErrorKind;

/// Why what serves has not taken a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotConfigured {
    /// It takes one only when it is made.
    Unsupported,
    /// It was refused: what serves goes on as it was.
    Refused(String),
    /// The plugin did not answer in time: with which configuration it goes on is not known.
    Unknown(String),
    /// It panicked.
    Panicked(String),
}

/// Checks a configuration against the plugin's manifest, vets the plugin with it, and hands it over. It adds its secrets to `secrets`, those
/// of the instance.
pub(super) async fn configure(
    services: &Services,
    instance: &Instance,
    secrets: &Secrets,
    blueprint: &Blueprint,
) -> Result<(), NotConfigured> {
    let resolved = resolve(blueprint)
        .await
        .map_err(|not| NotConfigured::Refused(not.cause))?;
    // A plugin that crashes with this configuration does so in the vetting worker, and not here.
    let vetted = vet(services, blueprint, &resolved).await;
    vetted.map_err(|not| NotConfigured::Refused(resolved.redact(not.cause)))?;
    secrets.add(&resolved);
    let taken = instance.configure(resolved.expose()).await;
    taken.map_err(|error| {
        let text = error.to_string();
        match error.kind {
            ErrorKind::Unsupported => NotConfigured::Unsupported,
            ErrorKind::Panicked => NotConfigured::Panicked(text),
            ErrorKind::DeadlineExceeded | ErrorKind::Cancelled => NotConfigured::Unknown(text),
            _ => NotConfigured::Refused(text),
        }
    })
}
