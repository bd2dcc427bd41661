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
use crate::control::report::{HealthAnswer, HistoryState, PluginHealth};
use crate::control::{Answer, Command};
use crate::model::Health as Word;
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
        .filter(|plugin| plugin.health.judged.health != Word::Up)
        .map(|plugin| {
            wrap(
                &format!("{}: {}", plugin.name, plugin.health.reason),
                look.width,
                0,
            )
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
    if let HistoryState::Degraded { why, .. } = &health.history.state {
        parts.push(wrap(&format!("history: degraded: {why}"), look.width, 0));
    }
    parts.join("\n\n")
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

/// The word, and what else is to be known.
fn words(plugin: &PluginHealth) -> String {
    let (judged, flags) = (&plugin.health.judged, &plugin.health.judged.flags);
    let mut text = judged.health.as_str().to_owned();
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
    let [name, health, since, ..] = row;
    let told = word(health, plugin.health.judged.health, look.colour);
    let bar = heartbeat(&plugin.recent, RECENT, look.colour);
    format!(" {name}\n   {told} for {since}\n   {bar}")
        .trim_end()
        .to_owned()
}

fn one(plugin: &PluginHealth, look: &Look) -> String {
    let trips: Vec<Option<u64>> = plugin.checks_ns.iter().copied().map(Some).collect();
    let health = plugin.health.judged.health;
    let headline = format!(
        "{} is {} for {}",
        plain(&plugin.name),
        word(&words(plugin), health, look.colour),
        look.since(plugin.health.since_unix_ms)
    );
    let mut lines = vec![headline, wrap(&plugin.health.reason, look.width, 2)];
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
    for figure in &plugin.health.figures {
        let value = super::history::amount(figure.value, figure.unit);
        let name = plain(&figure.name).replace('_', " ");
        let source = match figure.source {
            crate::model::Source::Host => "host",
            crate::model::Source::Sdk => "sdk",
            crate::model::Source::Plugin => "plugin",
        };
        lines.push(format!("  {name:<24}{value} (by the {source})"));
    }
    lines.join("\n")
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
