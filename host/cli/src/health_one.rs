//! One instance's health: what one looks for first, then what it says of itself, then by which numbers it is judged.

use super::bars::{heartbeat, sparkline};
use super::duration::{lasted, short};
use super::health::{RECENT, flapping, for_how_long, taken_back};
use super::history::amount;
use super::screen::Look;
use super::text::{cut, plain, width, wrap};
use extman_model::control::report::{PluginHealth, PolicyView, ProbeEnd};
use extman_model::{Connection, ErrorKind, Figure, Part, Source, failed_of};
use std::collections::BTreeMap;

pub(super) fn one(plugin: &PluginHealth, look: &Look, verbose: bool) -> String {
    let headline = format!("{} is {}", plain(&plugin.name), for_how_long(plugin, look));
    let mut lines = vec![headline, wrap(&plugin.health.reason, look.width, 2)];
    if let Some(maintenance) = &plugin.health.in_maintenance {
        let text = format!("It is {}.", super::maintenance::words(maintenance, look));
        lines.push(wrap(&text, look.width, 2));
    }
    if let Some(rollout) = &plugin.rollout {
        lines.push(wrap(&super::rollout::line(rollout), look.width, 2));
    }
    if let Some(breaker) = &plugin.breaker {
        lines.push(wrap(
            &format!("Its {}.", super::list::breaker(breaker)),
            look.width,
            2,
        ));
    }
    if let Some(way) = &plugin.health.way_back {
        lines.push(wrap(&super::list::way_back(way, look), look.width, 2));
    }
    lines.extend(probed(plugin).map(|text| wrap(&text, look.width, 2)));
    lines.extend(taken_back(plugin, look).map(|text| wrap(&text, look.width, 2)));
    lines.extend(flapping(plugin, look).map(|text| wrap(&text, look.width, 2)));
    let leading = leading(plugin).into_iter();
    lines.extend(leading.map(|(name, text)| entry(name, &text, look)));
    lines.extend(connection(plugin, look).map(|text| entry("connection", &text, look)));
    lines.extend(parts(&plugin.health.parts, look));
    lines.push(entry("checks", &checks(plugin), look));
    if let Some(policy) = plugin.policy.as_deref() {
        lines.push(entry("checked", &checked(policy, plugin), look));
        lines.push(entry("judged", &judged(policy), look));
    }
    if !plugin.recent.is_empty() {
        let bar = heartbeat(&plugin.recent, RECENT, look.colour);
        lines.push(format!("  last states   {bar}"));
    }
    if let Some(last) = plugin.checks_ns.last() {
        let took: Vec<Option<u64>> = plugin.checks_ns.iter().copied().map(Some).collect();
        lines.push(format!(
            "  checks took   {}  {}",
            sparkline(&took, 16),
            short(*last)
        ));
    }
    if let Some(deep) = &plugin.health.deep {
        lines.extend(super::deep::lines(deep, look));
    }
    if verbose {
        lines.extend(figures(plugin, look));
    }
    lines.join("\n")
}

/// The outcome of a probe, if it has no result that the rest shows.
fn probed(plugin: &PluginHealth) -> Option<String> {
    match plugin.probe? {
        ProbeEnd::Ended => None,
        ProbeEnd::NoResult { waited_ms } => Some(format!(
            "It was asked, and its check has no result after {}: this is what was known before.",
            lasted(waited_ms)
        )),
        ProbeEnd::Left { lifecycle } => Some(format!(
            "It was asked, and left before it answered: it is {}.",
            lifecycle.as_str()
        )),
    }
}

/// The four figures that one looks for first: calls, the share of them that failed, how long they take, and the heap.
fn leading(plugin: &PluginHealth) -> [(&'static str, String); 4] {
    let figures = &plugin.health.figures;
    let value = |name: &str| find(figures, name).map(|figure| figure.value);
    let errors = errors(figures);
    let failed = failed_of(&errors);
    let callers = errors.values().sum::<u64>() - failed;
    let beside = match callers {
        0 => String::new(),
        many => format!(", beside {many} by the callers' fault"),
    };
    let (calls, share) = match value("calls") {
        Some(0) => ("none so far".to_owned(), "-".to_owned()),
        Some(calls) => {
            let percent = failed as f64 * 100.0 / calls as f64;
            (calls.to_string(), format!("{percent:.1} %{beside}"))
        }
        None => (why_missing(plugin, "calls"), "-".to_owned()),
    };
    let p95 = match (value("call_p95_5min"), value("call_p95")) {
        (Some(ns), _) => format!("{} in the last five minutes", short(ns)),
        (None, Some(ns)) => format!("{} in this minute", short(ns)),
        (None, None) => "no calls in the last five minutes".to_owned(),
    };
    [
        ("calls", calls),
        ("failed", share),
        ("p95", p95),
        ("heap", heap(plugin)),
    ]
}

/// Kinds of failures and how often, of figures that count that.
pub(super) fn errors(figures: &[Figure]) -> BTreeMap<ErrorKind, u64> {
    let of = |figure: &Figure| {
        let word = figure.name.strip_prefix("errors_")?;
        let kind = ErrorKind::ALL.into_iter().find(|kind| kind.as_str() == word)?;
        Some((kind, figure.value))
    };
    figures.iter().filter_map(of).collect()
}

fn heap(plugin: &PluginHealth) -> String {
    let Some(heap) = find(&plugin.health.figures, "heap") else {
        return why_missing(plugin, "heap");
    };
    let mut text = amount(heap.value, heap.unit);
    match find(&plugin.health.figures, "heap_limit") {
        Some(limit) => text.push_str(&format!(" of {}", amount(limit.value, limit.unit))),
        None => text.push_str(", without a limit"),
    }
    if let Some(instances) = heap.shared_by {
        text.push_str(&format!("; {instances} instances share it"));
    }
    text
}

pub(super) fn find<'a>(figures: &'a [Figure], name: &str) -> Option<&'a Figure> {
    figures.iter().find(|figure| figure.name == name)
}

fn why_missing(plugin: &PluginHealth, name: &str) -> String {
    let missing = &plugin.health.not_measured;
    match missing.iter().find(|missing| missing.name == name) {
        Some(missing) => format!("not measured: {}", plain(&missing.why)),
        None => "not measured".to_owned(),
    }
}

/// The state of the connection that it keeps.
fn connection(plugin: &PluginHealth, look: &Look) -> Option<String> {
    let connection = plugin.health.connection?;
    let mut text = match connection.state {
        Connection::None => return None,
        state => format!("{} for {}", state.as_str(), look.since(connection.since_unix_ms)),
    };
    if let Some(trip) = find(&plugin.health.figures, "connection_round_trip") {
        text.push_str(&format!(", round trip {}", short(trip.value)));
    }
    Some(text)
}

/// How many checks it had, and what came of them.
fn checks(plugin: &PluginHealth) -> String {
    let counts = &plugin.health.checks;
    let mut text = format!("{}, {} failed", counts.checks, counts.failed);
    for (count, what) in [(counts.timed_out, "timed out"), (counts.skipped, "skipped")] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

/// Parts that are shown one by one.
const PARTS_SHOWN: usize = 16;
/// A part's name has this much room.
const PART_NAME_MAX: usize = 28;

/// The named parts of its last report, a line each: state, duration, value, and what was seen.
fn parts(parts: &[Part], look: &Look) -> Vec<String> {
    let names = parts.iter().map(|part| width(&plain(&part.name)));
    let room = names.max().unwrap_or(0).min(PART_NAME_MAX);
    let line = |part: &Part| {
        let name = cut(&plain(&part.name), room);
        let mut rest = vec![part.health.as_str().to_owned()];
        rest.extend(part.duration_ns.map(short));
        rest.extend(part.value.map(|value| value.to_string()));
        let mut text = rest.join(", ");
        if !part.message.is_empty() {
            text.push_str(": ");
            text.push_str(&plain(&part.message));
        }
        let head = format!("    {name}{}  ", " ".repeat(room.saturating_sub(width(&name))));
        let indent = width(&head);
        format!(
            "{head}{}",
            wrap(&text, look.width.max(indent + 24), indent).trim_start()
        )
    };
    let mut lines: Vec<String> = parts.iter().take(PARTS_SHOWN).map(line).collect();
    if !parts.is_empty() {
        lines.insert(0, "  parts".to_owned());
    }
    if parts.len() > PARTS_SHOWN {
        lines.push(format!(
            "    … and {} more; --json has all",
            parts.len() - PARTS_SHOWN
        ));
    }
    lines
}

/// When and how it is checked.
fn checked(policy: &PolicyView, plugin: &PluginHealth) -> String {
    let next = plugin
        .health
        .next_check_ms
        .map(|ms| format!(", next in {}", lasted(ms)));
    format!(
        "every {}{}, answers within {} to {}; down after {} failures in a row, up after {} successes",
        lasted(policy.interval_ms),
        next.unwrap_or_default(),
        short(policy.timeout_min_ms.saturating_mul(1_000_000)),
        short(policy.timeout_max_ms.saturating_mul(1_000_000)),
        policy.fall,
        policy.rise,
    )
}

/// How its calls are judged.
fn judged(policy: &PolicyView) -> String {
    let percent = |permille: u16| format!("{} %", f64::from(permille) / 10.0);
    format!(
        "by calls of {}, from {} on: degraded at {} failures, bad at {}",
        lasted(policy.window_ms),
        policy.window_calls_min,
        percent(policy.degraded_permille),
        percent(policy.down_permille),
    )
}

/// All figures, who measured them, and what was not measured.
fn figures(plugin: &PluginHealth, look: &Look) -> Vec<String> {
    let mut lines = vec!["  figures".to_owned()];
    lines.extend(plugin.health.figures.iter().map(|figure| shown(figure, look)));
    lines.extend(plugin.health.not_measured.iter().map(|missing| {
        let name = plain(&missing.name).replace('_', " ");
        figure_entry(&name, &format!("not measured: {}", plain(&missing.why)), look)
    }));
    lines
}

fn shown(figure: &Figure, look: &Look) -> String {
    let value = amount(figure.value, figure.unit);
    let source = match figure.source {
        Source::Host => "host",
        Source::Sdk => "sdk",
        Source::Plugin => "plugin",
    };
    let mut text = format!("{value} (by the {source}");
    if let Some(instances) = figure.shared_by {
        text.push_str(&format!("; {instances} instances share it"));
    }
    if let Some(note) = &figure.note {
        text.push_str(&format!("; {}", plain(note).replace('_', " ")));
    }
    text.push(')');
    figure_entry(&plain(&figure.name).replace('_', " "), &text, look)
}

/// A name and what belongs to it, in two columns.
fn entry(name: &str, text: &str, look: &Look) -> String {
    format!("  {name:<14}{}", wrap(text, look.width, 16).trim_start())
}

/// The same for figures, whose names are longer.
fn figure_entry(name: &str, text: &str, look: &Look) -> String {
    let head = format!("    {name:<24}");
    let indent = head.chars().count();
    let wrapped = wrap(text, look.width.max(indent + 24), indent);
    format!("{head}{}", wrapped.trim_start())
}
