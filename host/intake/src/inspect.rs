//! Reads what a library says of itself without running it: its format, its manifest, what it needs and offers.
//!
//! [`inspect`] is the step on the way to a verified plugin and refuses at the first problem. [`inspect_file`] and
//! [`inspect_bytes`] are for people: they list every problem of anything that is a library at all.
//!
//! The bytes are hostile: no size that they declare is believed, and memory stays within a budget (see `image`).

mod elf;
mod error;
mod facts;
mod image;
mod judge;
mod loader_cache;
mod macho;
mod pe;
mod read;
mod sniff;
mod system;

use super::discovery;
use super::files;
use super::store::{self, StoredPlugin};
pub use error::InspectError;
use extman_model::Digest;
use extman_plugin_api::manifest::schema::Manifest;
pub use facts::{Build, Exports, Facts, FileFormat, Note, Panics, Sdk};
use image::Image;
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// A stored plugin whose manifest and facts were read and found usable on this host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InspectedPlugin {
    stored: StoredPlugin,
    manifest: Arc<Manifest>,
    facts: Arc<Facts>,
}

impl InspectedPlugin {
    /// SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        self.stored.digest()
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.stored.size()
    }

    /// Where the plugin was found.
    pub fn origin(&self) -> &Path {
        self.stored.origin()
    }

    /// What the plugin says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What the bytes say.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The host's copy.
    pub fn stored(&self) -> &StoredPlugin {
        &self.stored
    }
}

/// All that can be told of a library, loadable on this host or not.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// What the bytes say.
    pub facts: Facts,
    /// What the plugin says of itself, if it does in a way that can be read.
    pub manifest: Option<Manifest>,
    /// Why this host would refuse it, the gravest first. Empty: it would not.
    pub problems: Vec<Problem>,
}

/// One reason why a host would refuse a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// [`InspectError::code`].
    pub code: &'static str,
    /// What is wrong and what to do.
    pub text: String,
}

/// Reads a stored plugin and checks that this host could load it.
///
/// # Errors
/// The first problem that was found.
pub fn inspect(stored: StoredPlugin) -> Result<InspectedPlugin, InspectError> {
    let copy = stored.open().map_err(|e| InspectError::Io(e.to_string()))?;
    let (manifest, facts) = usable(&Image::new(copy.into_file()))?;
    Ok(InspectedPlugin {
        stored,
        manifest: Arc::new(manifest),
        facts: Arc::new(facts),
    })
}

fn usable(image: &Image) -> Result<(Manifest, Facts), InspectError> {
    let mut findings = judge::findings(image)?;
    match findings.manifest {
        _ if !findings.problems.is_empty() => Err(findings.problems.swap_remove(0)),
        Some(manifest) => Ok((manifest, findings.facts)),
        None => Err(InspectError::NoManifest),
    }
}

/// Inspects a file where it lies, for people.
///
/// # Errors
/// There is no file of at most `bytes_max` bytes, or it is no whole library.
pub fn inspect_file(path: &Path, bytes_max: u64) -> Result<Inspection, InspectError> {
    let found = discovery::examine(path, bytes_max).map_err(InspectError::NoFile)?;
    let (mut file, _) = files::open_regular(found.resolved(), bytes_max).map_err(InspectError::NoFile)?;
    let digest = store::hash(&mut file).map_err(|e| InspectError::Io(e.to_string()))?;
    inspection(digest, &Image::new(file))
}

/// Inspects bytes that are in memory already.
///
/// # Errors
/// They are no whole library.
pub fn inspect_bytes(bytes: &[u8]) -> Result<Inspection, InspectError> {
    let digest = store::hash(&mut &*bytes).map_err(|e| InspectError::Io(e.to_string()))?;
    inspection(digest, bytes)
}

fn inspection<'data>(digest: Digest, data: impl object::ReadRef<'data>) -> Result<Inspection, InspectError> {
    let mut findings = judge::findings(data)?;
    findings.problems.extend(judge::by_default(&findings.facts));
    Ok(Inspection {
        digest,
        facts: findings.facts,
        manifest: findings.manifest,
        problems: findings
            .problems
            .iter()
            .map(|problem| Problem {
                code: problem.code(),
                text: problem.to_string(),
            })
            .collect(),
    })
}
