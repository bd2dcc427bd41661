//! `extman list`.

use super::args::Target;
use super::backend::Backend;
use super::duration::lasted;
use super::fault::Fault;
use super::output::Output;
use super::screen::{Look, Outcome, Rendered, Screen, cell, lines, word_cell};
use super::session::{self, mismatch};
use super::text::{count, plain, wrap};
use extman_model::control::{Answer, Command};
use extman_model::{Cause, Health, Lifecycle, MissingView, PluginView, WayBack};
use extman_plugin_api::manifest::schema::Kind;

#[derive(Debug, clap::Args)]
#[command(after_help = STATES)]
pub(crate) struct List {
    /// In which order
    #[arg(long, value_enum, value_name = "BY", default_value_t)]
    sort: Sort,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    pub(super) target: Target,
}

/// What the states are, for help.
const STATES: &str = "\
States:
  discovered, verified  its file was found, and looked at
  starting              it is vetted, loaded and started
  running               it takes calls
  draining, stopped     it finishes its calls; an operator stopped it, or it is not started by itself
  failed                it could not be started, or failed as it ran
  backoff               it failed, and is started again after a while
  quarantined           it failed too often, or was refused: `extman load` or another file starts it again
  wedged                a call into it does not return

-o wide and --json show beside the state what was asked for: running, stopped, or disabled (`extman enable` ends that).";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    /// By name
    #[default]
    Name,
    /// By state, those that do not serve first
    State,
    /// By health, the worst first
    Health,
    /// By calls, the most first
    Calls,
    /// By failed calls, the most first
    Failed,
    /// By how long they are in their state, the newest first
    Since,
}

impl Sort {
    fn sort(self, plugins: &mut [PluginView]) {
        let most = std::cmp::Reverse::<u64>;
        match self {
            Sort::Name => plugins.sort_by(|a, b| a.name.cmp(&b.name)),
            Sort::State => plugins.sort_by_key(|plugin| {
                (
                    plugin.lifecycle == Lifecycle::Running,
                    most(plugin.lifecycle as u64),
                )
            }),
            Sort::Health => plugins.sort_by_key(|plugin| {
                let word = plugin.health.as_ref().map(|health| health.judged.health);
                super::health::rank(word.unwrap_or(Health::Unknown))
            }),
            Sort::Calls => plugins.sort_by_key(|plugin| most(plugin.calls.total)),
            Sort::Failed => plugins.sort_by_key(|plugin| most(plugin.calls.failed())),
            Sort::Since => plugins.sort_by_key(|plugin| most(plugin.since_unix_ms)),
        }
    }
}

pub(super) fn run(args: List, backend: &dyn Backend, screen: &mut Screen) -> Result<Outcome, Fault> {
    args.output.apply(screen);
    let (answers, warnings) = session::with(&args.target, backend, |host| {
        Ok((host.run(Command::Plugins)?, host.run(Command::Status)?))
    })?;
    let (Answer::Plugins(mut plugins), Answer::Status(status)) = answers else {
        return Err(mismatch());
    };
    // As the host gave it, where nobody asks for another order.
    if args.sort != Sort::Name {
        args.sort.sort(&mut plugins);
    }
    if args.output.is_names() {
        let names: Vec<String> = plugins.iter().map(|plugin| plain(&plugin.name)).collect();
        return Rendered::new(&plugins, names.join("\n")).map(Outcome::Rendered);
    }
    let mut text = render(&plugins, &status.missing, &screen.look, args.output.is_wide());
    if !plugins.is_empty() && !status.refused.is_empty() {
        let refused = count(status.refused.len(), "file");
        text.push_str(&format!("\n\n{refused} refused: `extman status` says why."));
    }
    let mut rendered = Rendered::new(&plugins, text)?;
    if screen.json {
        rendered
            .warnings
            .extend(status.missing.iter().map(MissingView::to_string));
    }
    rendered.warnings.extend(warnings);
    Ok(Outcome::Rendered(rendered))
}

fn render(plugins: &[PluginView], missing: &[MissingView], look: &Look, wide: bool) -> String {
    let mut parts = Vec::new();
    if plugins.is_empty() {
        let text = "No plugins. `extman status` shows which directories are watched, and which files were refused and why.";
        parts.push(wrap(text, look.width, 0));
    }
    for (heading, kind) in [("AI plugins", Kind::Ai), ("General plugins", Kind::General)] {
        let group: Vec<_> = plugins.iter().filter(|plugin| plugin.kind == kind).collect();
        if !group.is_empty() {
            let table = if wide {
                wide_table(&group, look)
            } else {
                table(&group, look)
            };
            parts.push(format!("{heading}\n{table}"));
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

/// All columns, however wide the screen is.
fn wide_table(plugins: &[&PluginView], look: &Look) -> String {
    let look = Look {
        width: usize::from(u16::MAX),
        ..*look
    };
    let mut header = HEADER.to_vec();
    header.extend(["PLUGIN", "DESIRED", "LOAD", "CAPABILITIES", "DIGEST", "ORIGIN"]);
    let mut table = look.table(&header);
    for plugin in plugins {
        let [name, version, state, since, health, calls, failed] = row(plugin, &look);
        let capabilities: Vec<&str> = plugin
            .capabilities
            .iter()
            .map(|offered| offered.name.as_str())
            .collect();
        table.add_row(vec![
            cell(name),
            cell(version),
            word_cell(&state),
            cell(since),
            word_cell(&health),
            cell(calls),
            cell(failed),
            cell(&plugin.id),
            cell(plugin.desired.as_str()),
            cell(
                plugin
                    .generation
                    .map_or("-".to_owned(), |generation| generation.to_string()),
            ),
            cell(capabilities.join(",")),
            cell(plugin.digest.short()),
            cell(plugin.origin.display().to_string()),
        ]);
    }
    lines(&table)
}

fn row(plugin: &PluginView, look: &Look) -> [String; 7] {
    let failed = plugin.calls.failed();
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
        let mut text = format!("{}: {}: {cause}", plugin.name, plugin.lifecycle.as_str());
        if let Some(way) = &plugin.way_back {
            text.push_str("; ");
            text.push_str(&way_back(way, look));
        }
        wrap(&text, look.width, 0)
    })
}

/// How an instance that failed comes back, and when.
pub(super) fn way_back(way: &WayBack, look: &Look) -> String {
    match way
        .next_try_unix_ms
        .map(|next| next.saturating_sub(look.now_unix_ms))
    {
        Some(0) => format!("next try as soon as it can be: {}", way.text),
        Some(ms) => format!("next try in {}: {}", lasted(ms), way.text),
        None => way.text.clone(),
    }
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
            false,
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
    fn one_that_failed_says_when_and_how_it_comes_back() {
        let mut backoff = plugin("lang", "ai", "backoff");
        backoff.way_back = Some(WayBack {
            next_try_unix_ms: Some(LOOK.now_unix_ms + 12_000),
            text: "it is started again by itself".to_owned(),
        });
        let said = |plugin: &PluginView| {
            let text = render(std::slice::from_ref(plugin), &[], &LOOK, false);
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let text = said(&backoff);
        assert!(
            text.ends_with("load it again; next try in 12 s: it is started again by itself"),
            "{text}"
        );
        if let Some(way) = &mut backoff.way_back {
            way.next_try_unix_ms = None;
        }
        let text = said(&backoff);
        assert!(
            text.ends_with("load it again; it is started again by itself"),
            "{text}"
        );
    }

    #[test]
    fn wide_shows_what_was_asked_for_beside_what_is() {
        let mut disabled = plugin("lang", "ai", "stopped");
        disabled.desired = extman_model::DesiredState::Disabled;
        let text = render(&[disabled], &[], &LOOK, true);
        assert!(
            text.contains(" DESIRED ") && text.contains(" disabled "),
            "{text}"
        );
    }

    #[test]
    fn a_name_is_in_one_piece_however_narrow_it_is() {
        let name = "language-detector-of-the-second-tenant";
        let narrow = Look { width: 40, ..LOOK };
        let text = render(&[plugin(name, "ai", "running")], &[], &narrow, false);
        let expected = format!(
            "AI plugins\n {name}\n   1.2.0, running for 3 min, health: not\n   checked, calls: 7, failed: 2"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn names_do_not_drive_the_terminal() {
        let text = render(&[plugin("a\u{1b}[2J", "ai", "failed")], &[], &LOOK, false);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let colour = Look { colour: true, ..LOOK };
        assert!(render(&[plugin("a", "ai", "failed")], &[], &colour, false).contains("\u{1b}["));
    }

    #[test]
    fn wide_names_keep_the_columns_under_each_other() {
        let text = render(
            &[
                plugin("语言检测", "ai", "running"),
                plugin("lang", "ai", "running"),
            ],
            &[],
            &LOOK,
            false,
        );
        let at = |line: &str| super::super::text::width(line.split_once("running").unwrap().0);
        let columns: Vec<usize> = text
            .lines()
            .filter(|line| line.contains("running"))
            .map(at)
            .collect();
        assert!(columns.len() == 2 && columns[0] == columns[1], "{text}");
    }

    #[test]
    fn each_order_has_its_first() {
        let mut failing = plugin("b-failing", "ai", "failed");
        failing.calls.errors.insert(extman_model::ErrorKind::Internal, 9);
        let mut busy = plugin("c-busy", "ai", "running");
        (busy.calls.total, busy.since_unix_ms) = (99, 2_000);
        let all = [plugin("a-first", "ai", "running"), failing, busy];
        for (sort, first) in [
            (Sort::Name, "a-first"),
            (Sort::State, "b-failing"),
            (Sort::Calls, "c-busy"),
            (Sort::Failed, "b-failing"),
            (Sort::Since, "c-busy"),
        ] {
            let mut all = all.clone();
            sort.sort(&mut all);
            assert_eq!(all[0].name, first, "{sort:?}");
        }
    }

    #[test]
    fn wide_shows_all_columns_however_narrow_the_screen_is() {
        let text = render(&[plugin("lang", "ai", "running")], &[], &LOOK, true);
        let row = text.lines().last().unwrap();
        assert!(
            row.contains("/opt/plugins/a.so") && row.contains("abababab"),
            "{text}"
        );
    }

    #[test]
    fn no_plugins_say_where_to_look() {
        assert!(render(&[], &[], &LOOK, false).contains("extman status"));
    }
}
