//! `extman list`.

use super::args::Target;
use super::backend::Backend;
use super::fault::Fault;
use super::screen::{Look, Outcome, Screen, Told, cell, lines, word_cell};
use super::session::{self, mismatch};
use super::text::wrap;
use crate::control::{Answer, Command};
use crate::model::{CheckOutcome, Lifecycle, MissingView, PluginView};
use extman_plugin_api::manifest::schema::Kind;

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(args: &List, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let (answers, warnings) = session::with(&args.target, backend, |host| {
        Ok((host.run(Command::Plugins)?, host.run(Command::Status)?))
    })?;
    let (Answer::Plugins(plugins), Answer::Status(status)) = answers else {
        return Err(mismatch());
    };
    let mut told = Told::new(&plugins, render(&plugins, &status.missing, &screen.look))?;
    if screen.json {
        told.warnings.extend(status.missing.iter().map(absence));
    }
    told.warnings.extend(warnings);
    Ok(Outcome::Told(told))
}

fn render(plugins: &[PluginView], missing: &[MissingView], look: &Look) -> String {
    let mut parts = Vec::new();
    if plugins.is_empty() {
        let text = "No plugins. `extman status` shows which directories are watched, and which files were refused and why.";
        parts.push(wrap(text, look.width, 0));
    }
    for (heading, kind) in [("AI plugins", Kind::Ai), ("General plugins", Kind::General)] {
        let group: Vec<_> = plugins.iter().filter(|plugin| plugin.kind == kind).collect();
        if !group.is_empty() {
            parts.push(format!("{heading}\n{}", table(&group, look)));
        }
    }
    let causes: Vec<_> = plugins
        .iter()
        .filter_map(|plugin| trouble(plugin, look))
        .chain(
            missing
                .iter()
                .map(|missing| wrap(&absence(missing), look.width, 0)),
        )
        .collect();
    if !causes.is_empty() {
        parts.push(causes.join("\n"));
    }
    parts.join("\n\n")
}

fn table(plugins: &[&PluginView], look: &Look) -> String {
    let mut table = look.table(&["NAME", "VERSION", "STATE", "FOR", "HEALTH", "CALLS", "FAILED"]);
    for plugin in plugins {
        let failed: u64 = plugin.calls.errors.values().sum();
        table.add_row(vec![
            cell(&plugin.name),
            cell(plugin.version.to_string()),
            word_cell(plugin.lifecycle.as_str()),
            cell(look.since(plugin.since_unix_ms)),
            word_cell(health(plugin)),
            cell(plugin.calls.total.to_string()),
            cell(failed.to_string()),
        ]);
    }
    lines(&table)
}

/// The last check in a word.
pub(super) fn health(plugin: &PluginView) -> &'static str {
    match plugin
        .check
        .as_ref()
        .map(|check| (&check.outcome, check.health()))
    {
        None => "not checked",
        Some((_, Some(health))) => health.as_str(),
        Some((CheckOutcome::Answered { .. }, None)) => "answers",
        Some((CheckOutcome::Busy, _)) => "busy",
        Some((CheckOutcome::TimedOut, _)) => "timed out",
        Some((CheckOutcome::Failed { .. }, _)) => "failed",
    }
}

/// Which configured instance is not there, and why.
fn absence(missing: &MissingView) -> String {
    format!("{}: {}", missing.name, missing.reason)
}

/// Why a plugin does not serve.
fn trouble(plugin: &PluginView, look: &Look) -> Option<String> {
    let cause = plugin.cause.as_ref()?;
    (plugin.lifecycle != Lifecycle::Running).then(|| {
        let text = format!("{}: {}: {cause}", plugin.name, plugin.lifecycle.as_str());
        wrap(&text, look.width, 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plugin(name: &str, kind: &str, lifecycle: &str) -> PluginView {
        serde_json::from_value(json!({
            "name": name, "id": name, "version": "1.2.0", "kind": kind, "lifecycle": lifecycle,
            "since_unix_ms": 1_000, "cause": "no model file at /var/lib/models; set config.model and load it again",
            "calls": {"total": 7, "in_flight": 0, "errors": {"internal": 2}},
            "capabilities": [], "digest": "ab".repeat(32), "origin": "/opt/plugins/a.so",
        }))
        .unwrap()
    }

    const LOOK: Look = Look {
        width: 80,
        colour: false,
        now_unix_ms: 181_000,
    };

    #[test]
    fn kinds_are_apart_and_lines_fit() {
        let text = render(
            &[
                plugin("minilm-embedder-int8", "ai", "running"),
                plugin("host-stats", "general", "quarantined"),
            ],
            &[],
            &LOOK,
        );
        let (ai, general) = text.split_once("General plugins").unwrap();
        assert!(
            ai.starts_with("AI plugins") && ai.contains("minilm") && !ai.contains("host-stats"),
            "{text}"
        );
        assert!(
            general.contains("host-stats") && general.contains("3 min"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("host-stats: quarantined: no model file"), "{text}");
        assert!(
            !text.contains("running: no model file"),
            "a cause of the past is no trouble: {text}"
        );
        assert!(
            ai.contains(" minilm-embedder-int8 "),
            "a name is in one piece: {text}"
        );
        let row = general.lines().find(|line| line.contains("host-stats")).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(
            words,
            [
                "host-stats",
                "1.2.0",
                "quarantined",
                "3",
                "min",
                "not",
                "checked",
                "7",
                "2"
            ]
        );
    }

    #[test]
    fn names_do_not_drive_the_terminal() {
        let text = render(&[plugin("a\u{1b}[2J", "ai", "failed")], &[], &LOOK);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let colour = Look { colour: true, ..LOOK };
        assert!(render(&[plugin("a", "ai", "failed")], &[], &colour).contains("\u{1b}["));
    }

    #[test]
    fn no_plugins_say_where_to_look() {
        assert!(render(&[], &[], &LOOK).contains("extman status"));
    }
}
