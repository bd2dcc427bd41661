//! One library, tried in a throwaway process whatever was seen of it before.

use crate::config::Config;
use extman_intake::{self as intake, ConfigMisfit, Store, StoreError};
use extman_model::{
    CheckedFile, ProcessChange, ProcessPart, VettingFailure, VettingPhase, VettingRefusal, VettingReport,
};
use extman_runtime::supervisor::{InstanceConfig, unfit};
use extman_runtime::vetting::{Vetting, VettingError};
use std::path::Path;

/// Why a library could not be vetted.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is no plugin for this host.
    #[error("{0}")]
    Refused(String),
    /// It could not be tried.
    #[error(transparent)]
    Vetting(#[from] VettingError),
    /// The configuration that is given for its instance does not fit.
    #[error(transparent)]
    Config(#[from] ConfigMisfit),
}

/// Vets one library in a throwaway process, whatever was seen before. `given` is the configuration that its instance gets;
/// `forget` has a refusal that was seen before forgotten.
///
/// # Errors
/// It is no plugin for this host, or can't be tried.
pub async fn check(
    config: Config,
    file: &Path,
    given: Option<serde_json::Map<String, serde_json::Value>>,
    forget: bool,
) -> Result<CheckedFile, CheckError> {
    let refused = |error: &dyn std::fmt::Display| CheckError::Refused(error.to_string());
    let found = intake::find(file, &config.intake.discovery).map_err(|e| refused(&e))?;
    let stored = Store::open(config.intake.store.dir.clone())?.take(&found)?;
    let of_file = |error: &dyn std::fmt::Display| refused(&format_args!("{}: {error}", file.display()));
    let inspected = intake::inspect(stored).map_err(|e| of_file(&e))?;
    let plugin = intake::verify(inspected, &config.intake.trust).map_err(|e| of_file(&e))?;
    let mut instance = InstanceConfig::default_for(&plugin.manifest().plugin.id);
    let resolved = match given {
        Some(given) => {
            instance.config = given;
            instance.resolve(plugin.manifest())?
        }
        None => instance.resolve_defaults(plugin.manifest())?,
    };
    if let Some(reason) = unfit(&plugin) {
        return Err(of_file(&reason));
    }
    let cache = config.intake.store.dir.join("vetting");
    let vetting = Vetting::new(config.vetting, cache);
    if forget {
        vetting.release(plugin.digest());
    }
    let mut report = vetting.try_out(&plugin, &resolved).await?;
    refuse_for_acts(&mut report);
    Ok(CheckedFile {
        report,
        unknown_manifest_fields: plugin.manifest().unknown.clone(),
    })
}

/// A host keeps its signals and descriptors whatever a plugin does, so it serves such a plugin. Its author is to know all the same:
/// another host that loads it could not be stopped, would not hear of its children's end, or would lose its connections.
fn refuse_for_acts(report: &mut VettingReport) {
    let is_refused = |change: &&ProcessChange| {
        change.put_back && [ProcessPart::Signals, ProcessPart::Descriptors].contains(&change.part)
    };
    let Some(change) = report.process_changes.iter().find(is_refused) else {
        return;
    };
    let advice = match change.part {
        ProcessPart::Descriptors => "close what it has opened itself, by its number",
        _ => "that signal belongs to the program: leave it as it is",
    };
    report.refusal.get_or_insert_with(|| VettingRefusal {
        phase: VettingPhase::named(&change.step),
        why: VettingFailure::Refused {
            text: format!("it {}; {advice}", change.text),
        },
    });
}
