//! `extman list`.

use super::args::Target;
use super::backend::Backend;
use super::fault::Fault;
use super::screen::{Look, Outcome, Screen, Told, cell, lines, word_cell};
use super::session::{self, mismatch};
use super::text::{count, plain, wrap};
use extman_model::control::{Answer, Command};
use extman_model::{Cause, Lifecycle, MissingView, PluginView};
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
    let mut text = render(&plugins, &status.missing, &screen.look);
    if !plugins.is_empty() && !status.refused.is_empty() {
        let refused = count(status.refused.len(), "file");
        text.push_str(&format!("\n\n{refused} refused: `extman status` says why."));
    }
    let mut told = Told::new(&plugins, text)?;
    if screen.json {
        told.warnings
            .extend(status.missing.iter().map(MissingView::to_string));
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
                .map(|missing| wrap(&missing.to_string(), look.width, 0)),
        )
        .collect();
    if !causes.is_empty() {
        parts.push(causes.join("\n"));
    }
    parts.join("\n\n")
}

const HEADER: [&str; 7] = ["NAME", "VERSION", "STATE", "FOR", "HEALTH", "CALLS", "FAILED"];

fn table(plugins: &[&PluginView], look: &Look) -> String {
    let rows: Vec<[String; 7]> = plugins.iter().map(|plugin| row(plugin, look)).collect();
    if !look.fits(&HEADER, &rows) {
        return rows
            .iter()
            .map(|row| paragraph(row, look))
            .collect::<Vec<_>>()
            .join("\n");
    }
    let mut table = look.table(&HEADER);
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, text)| match HEADER[column] {
            "STATE" | "HEALTH" => word_cell(text),
            _ => cell(text),
        });
        table.add_row(cells.collect::<Vec<_>>());
    }
    lines(&table)
}

fn row(plugin: &PluginView, look: &Look) -> [String; 7] {
    let failed: u64 = plugin.calls.errors.values().sum();
    [
        plugin.name.clone(),
        plugin.version.to_string(),
        plugin.lifecycle.as_str().to_owned(),
        look.since(plugin.since_unix_ms),
        health(plugin),
        plugin.calls.total.to_string(),
        failed.to_string(),
    ]
}

/// A row whose table would be wider than the screen: a name that is cut to pieces is of no use to anybody.
fn paragraph(row: &[String; 7], look: &Look) -> String {
    let [name, version, state, since, health, calls, failed] = row;
    let text = format!("{version}, {state} for {since}, health: {health}, calls: {calls}, failed: {failed}");
    format!(" {}\n{}", plain(name), wrap(&text, look.width, 3))
}

/// How it is in a word, and what else is to be known.
pub(super) fn health(plugin: &PluginView) -> String {
    let Some(health) = &plugin.health else {
        return "not checked".to_owned();
    };
    let (judged, flags) = (&health.judged, &health.judged.flags);
    if judged.cause == Cause::NotChecked {
        return "not checked".to_owned();
    }
    let mut word = judged.health.as_str().to_owned();
    for (set, flag) in [
        (flags.busy, "busy"),
        (flags.flapping, "flapping"),
        (flags.stale, "stale"),
        (flags.maintenance, "maintenance"),
    ] {
        if set {
            word.push_str(", ");
            word.push_str(flag);
        }
    }
    word
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
    fn a_name_is_in_one_piece_however_narrow_it_is() {
        let name = "language-detector-of-the-second-tenant";
        let narrow = Look { width: 40, ..LOOK };
        let text = render(&[plugin(name, "ai", "running")], &[], &narrow);
        let expected = format!(
            "AI plugins\n {name}\n   1.2.0, running for 3 min, health: not\n   checked, calls: 7, failed: 2"
        );
        assert_eq!(text, expected);
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
