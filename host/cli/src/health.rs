//! `extman health` and `extman probe`.

use super::args::Target;
use super::backend::Backend;
use super::bars::{heartbeat, sparkline, word};
use super::duration::short;
use super::fault::{Exit, Fault};
use super::screen::{Look, Outcome, Screen, Told};
use super::session::{self, mismatch};
use super::text::{plain, wrap};
use super::{duration, watch};
use extman_model::control::report::{HealthAnswer, HistoryState, HistoryStatus, PluginHealth};
use extman_model::control::{Answer, Command};
use extman_model::{Component, Figure, Health as Word, Source};
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 up, 10 degraded, 11 unknown, 12 down, 3 no host answers")]
pub(crate) struct Health {
    /// Only this plugin
    name: Option<String>,
    /// Go on, and show each change
    #[arg(long, conflicts_with = "dirs")]
    watch: bool,
    /// How often the host is asked with --watch
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "2s", requires = "watch")]
    interval: Duration,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Probe {
    /// The plugin's name, as `extman list` shows it
    name: String,
    /// By a deep check: a real request that the plugin makes of itself, and that costs what one costs; on the
    /// instance's budget
    #[arg(long, conflicts_with = "dirs")]
    deep: bool,
    #[command(flatten)]
    target: Target,
}

impl Health {
    pub(super) fn word(&self) -> &'static str {
        self.command().word()
    }

    pub(super) fn command(&self) -> Command {
        match &self.name {
            Some(name) => Command::PluginHealth { name: name.clone() },
            None => Command::Health,
        }
    }
}

pub(super) fn run(args: Health, backend: &dyn Backend, screen: &mut Screen) -> Result<Outcome, Fault> {
    if args.watch {
        return watch::run(&args, args.interval, backend, screen);
    }
    let (answer, warnings) = session::with(&args.target, backend, |host| host.run(args.command()))?;
    let mut told = told(&answer, &screen.look)?;
    told.warnings = warnings;
    Ok(Outcome::Told(told))
}

pub(super) fn probe(args: Probe, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let command = Command::CheckNow {
        name: args.name,
        deep: args.deep,
    };
    let (answer, warnings) = session::with(&args.target, backend, |host| host.run(command))?;
    let mut told = told(&answer, &screen.look)?;
    told.warnings = warnings;
    Ok(Outcome::Told(told))
}

/// An answer with its text, and the exit code that says the same.
pub(super) fn told(answer: &Answer, look: &Look) -> Result<Told, Fault> {
    let mut told = match answer {
        Answer::Health(health) => Told::new(health, render(health, look))?,
        Answer::PluginHealth(plugin) => Told::new(plugin, one(plugin, look))?,
        _ => return Err(mismatch()),
    };
    told.exit = exit(word_of(answer));
    Ok(told)
}

/// The word of the whole, or of the one that was asked for.
pub(super) fn word_of(answer: &Answer) -> Word {
    match answer {
        Answer::Health(health) => health.overall.health,
        Answer::PluginHealth(plugin) => plugin.health.judged.health,
        _ => Word::Unknown,
    }
}

fn exit(health: Word) -> Exit {
    match health {
        Word::Up => Exit::Done,
        Word::Degraded => Exit::Degraded,
        Word::Unknown => Exit::Unknown,
        Word::Down => Exit::Down,
    }
}

const HEADER: [&str; 6] = ["NAME", "HEALTH", "FOR", "LAST STATES", "CHECKS TOOK", "LAST"];

pub(super) fn render(health: &HealthAnswer, look: &Look) -> String {
    let sentence = wrap(&health.overall.sentence, look.width, 0);
    let (first, rest) = sentence.split_once(':').unwrap_or((&sentence, ""));
    let colon = if rest.is_empty() { "" } else { ":" };
    let mut parts = vec![format!(
        "{}{colon}{rest}",
        word(first, health.overall.health, look.colour)
    )];
    if !health.plugins.is_empty() {
        parts.push(table(&health.plugins, look));
    }
    let reasons: Vec<String> = health
        .plugins
        .iter()
        .filter(|plugin| plugin.health.judged.health != Word::Up || plugin.health.judged.flags.flapping)
        .map(|plugin| {
            let mut text = format!("{}: {}", plugin.name, plugin.health.reason);
            if let Some(flapping) = flapping(plugin) {
                text = format!(
                    "{}: {flapping}; now {}: {}",
                    plugin.name,
                    plugin.health.judged.health.as_str(),
                    plugin.health.reason
                );
            }
            wrap(&text, look.width, 0)
        })
        .collect();
    if !reasons.is_empty() {
        parts.push(reasons.join("\n"));
    }
    let kept_from = |plugin: &PluginHealth| {
        let why = plugin.health.deep.as_ref()?.obstacle.as_deref()?;
        let text = format!("{}: no deep checks are made: {why}", plugin.name);
        Some(wrap(&text, look.width, 0))
    };
    let kept_from: Vec<String> = health.plugins.iter().filter_map(kept_from).collect();
    if !kept_from.is_empty() {
        parts.push(kept_from.join("\n"));
    }
    if health.components.is_empty() {
        // A host that tells of no other part.
        parts.extend(history(&health.history).map(|text| wrap(&text, look.width, 0)));
    } else {
        parts.push(components(&health.components, look));
        parts.extend(lost(&health.history).map(|text| wrap(&format!("history: {text}"), look.width, 0)));
    }
    parts.join("\n\n")
}

/// The host's own parts in a line, and why some of them are not up.
fn components(all: &[Component], look: &Look) -> String {
    let brief = |part: &Component| {
        let state = if part.left_out {
            "left out"
        } else {
            part.health.as_str()
        };
        format!("{} {state}", plain(&part.name))
    };
    let brief: Vec<String> = all.iter().map(brief).collect();
    let mut lines = vec![wrap(&format!("Host: {}", brief.join(", ")), look.width, 0)];
    let counted = all
        .iter()
        .filter(|part| part.health != Word::Up && !part.left_out);
    lines.extend(counted.map(|part| {
        let text = format!("{}: {}: {}", part.name, part.health.as_str(), part.reason);
        wrap(&text, look.width, 0)
    }));
    lines.join("\n")
}

/// What is to be known of the history, if anything is.
fn history(status: &HistoryStatus) -> Option<String> {
    match (&status.state, lost(status)) {
        (HistoryState::Degraded { why, .. }, None) => Some(format!("history: degraded: {why}")),
        (HistoryState::Degraded { why, .. }, Some(lost)) => Some(format!("history: degraded: {why}; {lost}")),
        (HistoryState::Working, lost) => lost.map(|lost| format!("history: works; {lost}")),
        (HistoryState::Off { .. }, _) => None,
    }
}

/// How many records were lost, if any; or that the oldest will go before its time.
fn lost(status: &HistoryStatus) -> Option<String> {
    match status.dropped.total() {
        0 => status.shortage.clone(),
        1 => Some("1 record was lost since the host began".to_owned()),
        many => Some(format!("{many} records were lost since the host began")),
    }
}

/// Why it is held to be flapping, if it is.
fn flapping(plugin: &PluginHealth) -> Option<String> {
    let permille = plugin.health.flapping_permille;
    let share = format!(
        "flapping, {}.{} % of its last states changed",
        permille / 10,
        permille % 10
    );
    plugin.health.judged.flags.flapping.then_some(share)
}

fn row(plugin: &PluginHealth, look: &Look) -> [String; 6] {
    let trips: Vec<Option<u64>> = plugin.checks_ns.iter().copied().map(Some).collect();
    [
        plain(&plugin.name),
        words(plugin),
        look.since(plugin.health.since_unix_ms),
        heartbeat(&plugin.recent, RECENT, false),
        sparkline(&trips, 16),
        plugin.checks_ns.last().map(|ns| short(*ns)).unwrap_or_default(),
    ]
}

const RECENT: usize = 21;

/// The word, since when, and what else is to be known: that has a time of its own.
fn for_how_long(plugin: &PluginHealth, look: &Look) -> String {
    let health = plugin.health.judged.health;
    format!(
        "{} for {}{}",
        word(health.as_str(), health, look.colour),
        look.since(plugin.health.since_unix_ms),
        flags(plugin)
    )
}

/// The word, and what else is to be known.
fn words(plugin: &PluginHealth) -> String {
    format!("{}{}", plugin.health.judged.health.as_str(), flags(plugin))
}

fn flags(plugin: &PluginHealth) -> String {
    let flags = &plugin.health.judged.flags;
    let mut text = String::new();
    for (set, flag) in [
        (plugin.health.left_out, "left out"),
        (flags.flapping, "flapping"),
        (flags.stale, "stale"),
        (flags.busy, "busy"),
    ] {
        if set {
            text.push_str(", ");
            text.push_str(flag);
        }
    }
    text
}

/// Colours come after the columns have their widths, since they take none.
fn table(plugins: &[PluginHealth], look: &Look) -> String {
    let rows: Vec<[String; 6]> = plugins.iter().map(|plugin| row(plugin, look)).collect();
    if !look.fits(&HEADER, &rows) {
        let told = plugins.iter().zip(&rows);
        return told
            .map(|(plugin, row)| paragraph(plugin, row, look))
            .collect::<Vec<_>>()
            .join("\n");
    }
    let header = HEADER.map(str::to_owned);
    let widths: [usize; 6] = std::array::from_fn(|at| {
        let all = rows.iter().chain([&header]).map(|row| row[at].chars().count());
        all.max().unwrap_or(0)
    });
    let line = |row: &[String; 6], plugin: Option<&PluginHealth>| {
        let mut line = String::new();
        for (at, text) in row.iter().enumerate() {
            let shown = match (HEADER[at], plugin) {
                ("HEALTH", Some(plugin)) => word(text, plugin.health.judged.health, look.colour),
                ("LAST STATES", Some(plugin)) => heartbeat(&plugin.recent, RECENT, look.colour),
                _ => text.clone(),
            };
            let pad = widths[at] - text.chars().count();
            line.push_str(&format!(" {shown}{} ", " ".repeat(pad)));
        }
        line.trim_end().to_owned()
    };
    let told = plugins
        .iter()
        .zip(&rows)
        .map(|(plugin, row)| line(row, Some(plugin)));
    let lines: Vec<String> = std::iter::once(line(&header, None)).chain(told).collect();
    lines.join("\n")
}

/// A row whose table would be wider than the screen.
fn paragraph(plugin: &PluginHealth, row: &[String; 6], look: &Look) -> String {
    let [name, ..] = row;
    let told = for_how_long(plugin, look);
    let bar = heartbeat(&plugin.recent, RECENT, look.colour);
    format!(" {name}\n   {told}\n   {bar}").trim_end().to_owned()
}

fn one(plugin: &PluginHealth, look: &Look) -> String {
    let trips: Vec<Option<u64>> = plugin.checks_ns.iter().copied().map(Some).collect();
    let headline = format!("{} is {}", plain(&plugin.name), for_how_long(plugin, look));
    let mut lines = vec![headline, wrap(&plugin.health.reason, look.width, 2)];
    if let Some(flapping) = flapping(plugin) {
        lines.push(wrap(&flapping, look.width, 2));
    }
    if !plugin.recent.is_empty() {
        let bar = heartbeat(&plugin.recent, RECENT, look.colour);
        lines.push(format!("  last states   {bar}"));
    }
    if let Some(last) = plugin.checks_ns.last() {
        lines.push(format!(
            "  checks took   {}  {}",
            sparkline(&trips, 16),
            short(*last)
        ));
    }
    if let Some(deep) = &plugin.health.deep {
        lines.extend(super::deep::lines(deep, look));
    }
    let shown = plugin.health.figures.iter().map(|figure| shown(figure, look));
    lines.extend(shown);
    for missing in &plugin.health.not_measured {
        let name = plain(&missing.name).replace('_', " ");
        let text = format!("not measured: {}", plain(&missing.why));
        lines.push(entry(&name, &text, look));
    }
    lines.join("\n")
}

fn shown(figure: &Figure, look: &Look) -> String {
    let value = super::history::amount(figure.value, figure.unit);
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
    entry(&plain(&figure.name).replace('_', " "), &text, look)
}

/// A name and what belongs to it, in two columns.
fn entry(name: &str, text: &str, look: &Look) -> String {
    let head = format!("  {name:<24}");
    let indent = head.chars().count();
    let wrapped = wrap(text, look.width.max(indent + 24), indent);
    format!("{head}{}", wrapped.trim_start())
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
