//! `extman list`.

use super::args::Target;
use super::backend::Backend;
use super::duration::lasted;
use super::fault::Fault;
use super::grid::grid;
use super::health::flags;
use super::output::Output;
use super::screen::{Look, Outcome, Rendered, Screen};
use super::session;
use super::text::{count, plain, wrap};
use extman_model::control::Command;
use extman_model::{
    BreakerState, BreakerView, Cause, Health, Lifecycle, MissingView, PluginView, StatusView, WayBack,
};
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
  waiting               it is started as soon as what it requires is there
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
    session::shown(&args.target, backend, |host| {
        let plugins: Vec<PluginView> = host.ask(Command::Plugins)?;
        let status: StatusView = host.ask(Command::Status)?;
        listed(&args, plugins, &status, screen)
    })
}

fn listed(
    args: &List,
    mut plugins: Vec<PluginView>,
    status: &StatusView,
    screen: &Screen,
) -> Result<Rendered, Fault> {
    // As the host gave it, where nobody asks for another order.
    if args.sort != Sort::Name {
        args.sort.sort(&mut plugins);
    }
    if args.output.is_names() {
        let names: Vec<String> = plugins.iter().map(|plugin| plain(&plugin.name)).collect();
        return Rendered::new(&plugins, names.join("\n"));
    }
    let mut rendered = Rendered::shown(screen.json, &plugins, || {
        let mut text = render(&plugins, &status.missing, &screen.look, args.output.is_wide());
        if !plugins.is_empty() && !status.refused.is_empty() {
            let refused = count(status.refused.len(), "file");
            text.push_str(&format!("\n\n{refused} refused: `extman status` says why."));
        }
        text
    })?;
    if screen.json {
        rendered
            .warnings
            .extend(status.missing.iter().map(MissingView::to_string));
    }
    Ok(rendered)
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
            let table = match wide {
                true => wide_table(&group, look),
                false => grid(
                    &HEADER,
                    &group.iter().map(|plugin| row(plugin, look)).collect::<Vec<_>>(),
                    look,
                ),
            };
            parts.push(format!("{heading}\n{table}"));
        }
    }
    let causes: Vec<_> = plugins
        .iter()
        .flat_map(|plugin| updated(plugin, look).into_iter().chain(trouble(plugin, look)))
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

/// All columns, however wide the screen is.
fn wide_table(plugins: &[&PluginView], look: &Look) -> String {
    let look = Look {
        width: usize::MAX,
        ..*look
    };
    let rows = plugins.iter().map(|plugin| {
        let [name, version, state, since, health, calls, failed] = row(plugin, &look);
        let offered = plugin.capabilities.iter().map(|offered| offered.name.as_str());
        let load = plugin.generation.map(|generation| generation.to_string());
        [
            name,
            version,
            state,
            since,
            health,
            calls,
            failed,
            plugin.id.clone(),
            plugin.desired.as_str().to_owned(),
            load.unwrap_or_else(|| "-".to_owned()),
            offered.collect::<Vec<_>>().join(","),
            plugin.digest.short(),
            plugin.origin.display().to_string(),
        ]
    });
    let header = [
        "NAME",
        "VERSION",
        "STATE",
        "FOR",
        "HEALTH",
        "CALLS",
        "FAILED",
        "PLUGIN",
        "DESIRED",
        "LOAD",
        "CAPABILITIES",
        "DIGEST",
        "ORIGIN",
    ];
    grid(&header, &rows.collect::<Vec<_>>(), &look)
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

/// How it is in a word, and what else is to be known.
pub(super) fn health(plugin: &PluginView) -> String {
    let Some(health) = &plugin.health else {
        return "not checked".to_owned();
    };
    match health.judged.cause {
        Cause::NotChecked => "not checked".to_owned(),
        _ => format!("{}{}", health.judged.health.as_str(), flags(health)),
    }
}

/// The update that is under way.
fn updated(plugin: &PluginView, look: &Look) -> Option<String> {
    let rollout = plugin.rollout.as_ref()?;
    let text = format!("{}: {}", plugin.name, super::rollout::line(rollout));
    Some(wrap(&text, look.width, 0))
}

/// Why a plugin does not serve, or not with all that it requires.
fn trouble(plugin: &PluginView, look: &Look) -> Option<String> {
    if let (Lifecycle::Running, Some(root)) = (plugin.lifecycle, &plugin.suppressed_by) {
        let text = format!("{}: suppressed by {root}", plugin.name);
        return Some(wrap(&text, look.width, 0));
    }
    if let (Lifecycle::Running, Some(shown)) = (plugin.lifecycle, &plugin.breaker) {
        let text = format!("{}: {}", plugin.name, breaker(shown));
        return Some(wrap(&text, look.width, 0));
    }
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

/// What keeps calls from an instance that runs.
pub(super) fn breaker(breaker: &BreakerView) -> String {
    let more = breaker
        .retry_after_ms
        .map(|ms| format!(" for {} more", lasted(ms)));
    match breaker.state {
        BreakerState::Open => format!(
            "breaker open{}: its latest calls failed or were slow, and none goes to it where another one serves",
            more.unwrap_or_default()
        ),
        BreakerState::HalfOpen => "breaker half-open: its latest calls failed or were slow, and a few show whether they succeed again".to_owned(),
    }
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
    use extman_model::BreakerState;
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
    fn one_whose_breaker_is_not_closed_says_so() {
        let mut failing = plugin("lang", "ai", "running");
        let mut said = |retry_after_ms, state| {
            failing.breaker = Some(BreakerView {
                state,
                retry_after_ms,
            });
            let text = render(std::slice::from_ref(&failing), &[], &LOOK, false);
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let open = said(Some(4_000), BreakerState::Open);
        assert!(
            open.contains("lang: breaker open for 4.0 s more: its latest calls"),
            "{open}"
        );
        let half_open = said(None, BreakerState::HalfOpen);
        assert!(
            half_open.contains("lang: breaker half-open: its latest calls"),
            "{half_open}"
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
            "AI plugins\n {name}\n   version 1.2.0, state running, for\n   3 min, health not checked, calls 7,\n   failed 2"
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
