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
    /// That was broken off, and with what it goes on is not known.
    Unknown(String),
    /// It panicked.
    Panicked(String),
}

/// Holds a configuration against what the plugin declares, vets the plugin with it, and hands it over. `secrets` are those that the
/// instance has been handed.
pub(super) async fn configure(
    services: &Services,
    instance: &Instance,
    secrets: &Secrets,
    blueprint: &Blueprint,
) -> Result<(), NotConfigured> {
    let resolved = resolve(blueprint)
        .await
        .map_err(|not| NotConfigured::Refused(not.cause))?;
    // One that its configuration crashes does so there, and not here.
    let vetted = vet(services, blueprint, &resolved).await;
    vetted.map_err(|not| NotConfigured::Refused(resolved.clean(not.cause)))?;
    secrets.add(&resolved);
    let taken = instance.configure(resolved.expose()).await;
    taken.map_err(|error| {
        let text = resolved.clean(error.to_string());
        match error.kind {
            ErrorKind::Unsupported => NotConfigured::Unsupported,
            ErrorKind::Panicked => NotConfigured::Panicked(text),
            ErrorKind::DeadlineExceeded | ErrorKind::Cancelled => NotConfigured::Unknown(text),
            _ => NotConfigured::Refused(text),
        }
    })
}
