//! `extman inspect`.

use super::fault::{Exit, Fault};
use super::screen::{Look, Outcome, Screen, Told};
use super::show::fields;
use super::text::{plain, wrap};
use crate::intake::{DiscoveryConfig, Inspection, inspect_file};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// Libraries: ELF, PE or Mach-O, made for this machine or for another
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// What is told of one file.
#[derive(Serialize)]
struct Inspected<'a> {
    path: &'a PathBuf,
    /// Whether this host would take it.
    loadable: bool,
    #[serde(flatten)]
    inspection: Option<Inspection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Unreadable>,
}

#[derive(Serialize)]
struct Unreadable {
    code: &'static str,
    text: String,
}

pub(super) fn run(args: &Inspect, screen: &Screen) -> Result<Outcome, Fault> {
    let bytes_max = DiscoveryConfig::default().file_bytes_max;
    let files: Vec<_> = args.files.iter().map(|path| look_at(path, bytes_max)).collect();
    let text: Vec<_> = files.iter().map(|file| render(file, &screen.look)).collect();
    let mut told = Told::new(&files, text.join("\n\n"))?;
    if files.iter().any(|file| !file.loadable) {
        told.exit = Exit::Failed;
    }
    Ok(Outcome::Told(told))
}

fn look_at(path: &PathBuf, bytes_max: u64) -> Inspected<'_> {
    match inspect_file(path, bytes_max) {
        Ok(inspection) => Inspected {
            path,
            loadable: inspection.problems.is_empty(),
            inspection: Some(inspection),
            error: None,
        },
        Err(rejected) => Inspected {
            path,
            loadable: false,
            inspection: None,
            error: Some(Unreadable {
                code: rejected.error.code(),
                text: rejected.error.to_string(),
            }),
        },
    }
}

fn render(file: &Inspected<'_>, look: &Look) -> String {
    let mut text = plain(&file.path.display().to_string());
    if let Some(inspection) = &file.inspection {
        text.push('\n');
        text.push_str(&fields(&rows(inspection), look));
        for note in &inspection.facts.notes {
            text.push('\n');
            text.push_str(&wrap(
                &format!("note ({}): {}", note.code, note.text),
                look.width,
                2,
            ));
        }
        for problem in &inspection.problems {
            text.push('\n');
            text.push_str(&wrap(
                &format!("refused ({}): {}", problem.code, problem.text),
                look.width,
                2,
            ));
        }
    }
    if let Some(error) = &file.error {
        text.push('\n');
        text.push_str(&wrap(
            &format!("refused ({}): {}", error.code, error.text),
            look.width,
            2,
        ));
    }
    if file.loadable {
        text.push_str("\n  This host would take it.");
    }
    text
}

fn rows(inspection: &Inspection) -> Vec<(&'static str, String)> {
    let facts = &inspection.facts;
    let mut rows = Vec::new();
    if let Some(manifest) = &inspection.manifest {
        let plugin = &manifest.plugin;
        let task = plugin.task.as_ref().map(|task| format!(", {task}"));
        let kind = format!("{:?}", plugin.kind).to_lowercase();
        rows.push((
            "plugin",
            format!(
                "{} {} ({kind}{})",
                plugin.id,
                plugin.version,
                task.unwrap_or_default()
            ),
        ));
        if let Some(description) = &plugin.description {
            rows.push(("", description.clone()));
        }
        for capability in &manifest.capabilities {
            rows.push(("offers", format!("{} {}", capability.name, capability.version)));
        }
        for field in manifest.unknown.keys() {
            rows.push(("unknown", format!("the field {field} means nothing to this host")));
        }
    }
    rows.push((
        "file",
        format!(
            "{}, {}, {}-bit, {} bytes",
            facts.format, facts.machine, facts.bits, facts.size_bytes
        ),
    ));
    if let Some(build) = &facts.build {
        let by = if build.compiler.is_empty() {
            ""
        } else {
            ", built by "
        };
        rows.push((
            "ABI",
            format!("{}.{}{by}{}", build.abi_major, build.abi_minor, build.compiler),
        ));
    }
    if !facts.needed.is_empty() {
        rows.push(("needs", facts.needed.join(", ")));
    }
    rows.push(("digest", inspection.digest.to_string()));
    rows
}
