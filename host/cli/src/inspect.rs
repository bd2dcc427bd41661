//! `extman inspect`.

use super::fault::Fault;
use super::screen::{Look, Outcome, Rendered, Screen};
use super::show::fields;
use super::text::{count, plain, wrap};
use extman_intake::{Discovery, DiscoveryConfig, Inspection, inspect_file};
use extman_model::clock;
use extman_model::text::lossy_path;
use extman_plugin_api::manifest::schema::Capability;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// Libraries: ELF, PE or Mach-O, made for this machine or for another; of a directory, those that a host would look at
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// The report on one file.
#[derive(Serialize)]
struct Inspected<'a> {
    #[serde(serialize_with = "lossy_path")]
    path: &'a Path,
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
    let (paths, warnings) = libraries(&args.files)?;
    let files: Vec<_> = paths.iter().map(|path| look_at(path, bytes_max)).collect();
    let text: Vec<_> = files.iter().map(|file| render(file, &screen.look)).collect();
    let mut rendered = Rendered::new(&files, text.join("\n\n"))?;
    rendered.warnings = warnings;
    let refused: Vec<_> = files.iter().filter(|file| !file.loadable).collect();
    Ok(Outcome::Rendered(match refused.first() {
        None => rendered,
        Some(first) => {
            let of = count(files.len(), "file");
            let text = format!(
                "this host would refuse {} of {of}, the first is {}; `data` has the reasons",
                refused.len(),
                first.path.display()
            );
            rendered.refused(text)
        }
    }))
}

/// The files that are named, with those in directories that are named; and what could not be listed.
fn libraries(named: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<String>), Fault> {
    let (mut files, mut warnings) = (Vec::new(), Vec::new());
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut discovery = Discovery::new(DiscoveryConfig {
            dirs: vec![path.clone()],
            settle_ms: 0,
            ..DiscoveryConfig::default()
        });
        let scan = discovery.scan(clock::wall());
        let found = scan.found.iter().map(|found| found.path().to_owned());
        let refused = scan.refused.into_iter().map(|refused| refused.path);
        let mut inside: Vec<_> = found
            .chain(scan.pending)
            .chain(refused)
            .chain(scan.aliases)
            .collect();
        inside.sort();
        warnings.extend(scan.dirs.iter().map(ToString::to_string));
        if inside.is_empty() && scan.dirs.is_empty() {
            let extension = std::env::consts::DLL_EXTENSION;
            let text = format!(
                "there is no library (*.{extension}) in the directory {}; name a file, or another directory",
                path.display()
            );
            return Err(Fault::usage(text));
        }
        files.extend(inside);
    }
    if files.is_empty() {
        return Err(Fault::usage(warnings.join("; ")));
    }
    Ok((files, warnings))
}

fn look_at(path: &Path, bytes_max: u64) -> Inspected<'_> {
    match inspect_file(path, bytes_max) {
        Ok(inspection) => Inspected {
            path,
            loadable: inspection.problems.is_empty(),
            inspection: Some(inspection),
            error: None,
        },
        Err(error) => Inspected {
            path,
            loadable: false,
            inspection: None,
            error: Some(Unreadable {
                code: error.code(),
                text: error.to_string(),
            }),
        },
    }
}

fn render(file: &Inspected<'_>, look: &Look) -> String {
    let mut lines = vec![plain(&file.path.display().to_string())];
    let said = |word: &str, code: &str, text: &str| wrap(&format!("{word} ({code}): {text}"), look.width, 2);
    if let Some(inspection) = &file.inspection {
        let notes = inspection.facts.notes.iter();
        lines.push(fields(&rows(inspection), look));
        lines.extend(notes.map(|note| said("note", note.code, &note.text)));
        lines.extend(
            inspection
                .problems
                .iter()
                .map(|problem| said("refused", problem.code, &problem.text)),
        );
    }
    lines.extend(
        file.error
            .iter()
            .map(|error| said("refused", error.code, &error.text)),
    );
    if file.loadable {
        lines.push("  This host would take it.".to_owned());
    }
    lines.join("\n")
}

fn offer(capability: &Capability) -> String {
    let mut text = format!("{} {}", capability.name, capability.version);
    for (is, word) in [
        (capability.is_async, ", asynchronous"),
        (capability.streaming, ", streaming"),
        (capability.idempotent, ", idempotent"),
    ] {
        text.push_str(if is { word } else { "" });
    }
    let limits = &capability.limits;
    for (limit, of) in [
        (limits.input_bytes_max, "bytes of input"),
        (limits.output_bytes_max, "bytes of output"),
        (limits.concurrency_max.map(u64::from), "calls at a time"),
    ] {
        if let Some(limit) = limit {
            text.push_str(&format!(", at most {limit} {of}"));
        }
    }
    if !capability.models.is_empty() {
        text.push_str(&format!(", with {}", capability.models.join(" and ")));
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
            rows.push(("offers", offer(capability)));
        }
        rows.extend(manifest.declared());
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
        let same = match build.same_structs {
            Some(true) => ", the structs of this host",
            Some(false) => ", other structs than this host's",
            None => "",
        };
        rows.push((
            "ABI",
            format!(
                "{}.{}{same}{by}{}",
                build.abi_major, build.abi_minor, build.compiler
            ),
        ));
    }
    if !facts.needed.is_empty() {
        rows.push(("needs", facts.needed.join(", ")));
    }
    rows.push(("digest", inspection.digest.to_string()));
    rows
}
