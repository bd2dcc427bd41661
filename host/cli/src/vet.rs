//! `extman vet`.

use super::backend::{Backend, CheckArgs};
use super::duration::short;
use super::fault::Fault;
use super::json_problem::json_problem;
use super::screen::{Look, Outcome, Rendered, Screen};
use super::session::runtime;
use super::text::{plain, unknown_fields, wrap, wrap_lines};
use extman_model::CheckedFile;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct Vet {
    /// The library
    file: PathBuf,
    /// Configuration of the instance that is made: a JSON object, or @FILE with one
    #[arg(long, value_name = "JSON")]
    config: Option<String>,
    /// The host's configuration: its trust, limits and store [default: the one that serve would use]
    #[arg(long, value_name = "FILE")]
    host_config: Option<PathBuf>,
    /// Have a host forget that it refused the library, so that it tries it again
    #[arg(long)]
    forget: bool,
}

pub(super) fn run(args: Vet, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let config = args.config.as_deref().map(parse).transpose()?;
    let file = args.file.clone();
    let checked = runtime()?.block_on(backend.check(CheckArgs {
        file,
        config,
        host_config: args.host_config,
        forget: args.forget,
    }));
    let checked = checked.map_err(Fault::from)?;
    let rendered = Rendered::new(&checked, render(&args.file, &checked, &screen.look))?;
    Ok(Outcome::Rendered(match &checked.report.refusal {
        None => rendered,
        Some(refusal) => rendered.refused(format!("{}: {refusal}", args.file.display())),
    }))
}

fn parse(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, Fault> {
    let json = match text.strip_prefix('@') {
        None => text.to_owned(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Fault::usage(format!("--config @{path}: {error}; check the path")))?,
    };
    serde_json::from_str(&json).map_err(|error| {
        let problem = json_problem(&error, &json);
        Fault::usage(format!("--config is no JSON object: {problem}")).next("give one such as '{\"a\": 1}'")
    })
}

fn render(file: &Path, checked: &CheckedFile, look: &Look) -> String {
    let report = &checked.report;
    let mut lines: Vec<String> = Vec::new();
    lines.extend(report.steps.iter().map(|step| match &step.error {
        None => format!("ok: {} ({})", step.phase, short(step.took_ns)),
        Some(error) => format!("failed: {}: {error}", step.phase),
    }));
    if let Some(report) = &report.report {
        let health = report.health.map_or("nothing", |health| health.as_str());
        let said = report.text.as_ref().map(|text| format!(": {text}"));
        lines.push(format!("it says of itself: {health}{}", said.unwrap_or_default()));
    }
    lines.extend(report.process_changes.iter().map(|change| format!("it {change}")));
    lines.extend(report.unload.iter().map(|verdict| format!("unload: {verdict}")));
    let unknown = unknown_fields(&checked.unknown_manifest_fields);
    let notes = report.notes().into_iter().chain(unknown);
    lines.extend(notes.map(|note| format!("note: {note}")));
    lines.push(match &report.refusal {
        None => "It passed.".to_owned(),
        Some(refusal) => format!("It is refused: {refusal}."),
    });
    let mut text = plain(&file.display().to_string());
    if !report.stderr_tail.is_empty() {
        lines.push("its last words on standard error:".to_owned());
    }
    for line in lines {
        text.push('\n');
        text.push_str(&wrap(&line, look.width, 2));
    }
    if !report.stderr_tail.is_empty() {
        text.push('\n');
        text.push_str(&wrap_lines(&report.stderr_tail, look.width, 4));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Exit;
    use serde_json::json;

    #[test]
    fn crash_is_shown_with_its_step_and_signal() {
        let report: CheckedFile = serde_json::from_value(json!({
            "depth": "probe",
            "steps": [{"phase": "open", "took_ns": 1_500_000}],
            "refusal": {"phase": "create", "why": {"failure": "signal", "number": 11, "name": "SIGSEGV"}},
            "stderr_tail": "about to\u{1b}[31m fall",
            "unknown_manifest_fields": {"plugin.colour": "red"},
        }))
        .unwrap();
        let look = Look {
            width: 80,
            colour: false,
            now_unix_ms: 0,
        };
        let text = render(Path::new("a.so"), &report, &look);
        let expected = "a.so\n  ok: open (constructors) (1.5 ms)\n  note: this host does not know a field of its manifest: plugin.colour\n  It is refused: the plugin died in create with signal \
                        11 (SIGSEGV).\n  its last words on standard error:\n    about to\u{fffd}[31m fall";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_configuration_is_an_object() {
        assert_eq!(parse(r#"{"a": 1}"#).unwrap()["a"], 1);
        for text in ["[1]", "a=1", "@/does/not/exist"] {
            assert_eq!(parse(text).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }
}
