//! `extman health` and `extman probe`.

use super::args::Target;
use super::backend::Backend;
use super::bars::word;
use super::fault::{Exit, Fault};
use super::health_one::one;
use super::output::Output;
use super::screen::{Look, Outcome, Rendered, Screen};
use super::session::{self, mismatch};
use super::several::together;
use super::text::{plain, wrap};
use super::{duration, health_table, watch};
use extman_model::control::report::{HealthAnswer, HistoryState, HistoryStatus, PluginHealth, ProbeEnd};
use extman_model::control::{Answer, Command};
use extman_model::{Component, Health as Word};
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 up, 10 degraded, 11 unknown, 12 down, 3 no host answers")]
pub(crate) struct Health {
    /// Only these plugins
    names: Vec<String>,
    /// In which order
    #[arg(long, value_enum, value_name = "BY", default_value_t)]
    sort: Sort,
    #[command(flatten)]
    output: Output,
    /// Of one plugin, all figures, and who measured them
    #[arg(long, short)]
    verbose: bool,
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
    /// Their names, as `extman list` shows them
    #[arg(required = true)]
    names: Vec<String>,
    /// By a deep check: a real request that the plugin makes of itself, and that costs what one costs; on the
    /// instance's budget
    #[arg(long, conflicts_with = "dirs")]
    deep: bool,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Sort {
    /// The worst first
    #[default]
    Health,
    /// By name
    Name,
    /// By how long they are as they are, the newest first
    Since,
}

impl Health {
    pub(super) fn word(&self) -> &'static str {
        self.command().word()
    }

    /// What is asked of a host that is watched.
    pub(super) fn command(&self) -> Command {
        match &*self.names {
            [name] => Command::PluginHealth { name: name.clone() },
            _ => Command::Health,
        }
    }

    fn layout(&self, screen: &Screen) -> Layout {
        Layout {
            sort: self.sort,
            wide: self.output.is_wide(),
            scrolls: screen.height,
            verbose: self.verbose,
        }
    }
}

/// How a view of health is laid out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Layout {
    sort: Sort,
    /// All columns, and reasons as long as they are.
    wide: bool,
    /// Lines that stay in sight where what comes first scrolls away.
    scrolls: Option<usize>,
    /// Of one plugin, all figures and their sources.
    verbose: bool,
}

pub(super) fn run(args: Health, backend: &dyn Backend, screen: &mut Screen) -> Result<Outcome, Fault> {
    args.output.apply(screen);
    if args.watch {
        if args.names.len() > 1 {
            return Err(Fault::usage(
                "--watch shows one plugin or all of them; name one, or none",
            ));
        }
        return watch::run(&args, args.interval, backend, screen);
    }
    let layout = args.layout(screen);
    let look = &screen.look;
    let (mut rendered, warnings) = session::with(&args.target, backend, |host| {
        let answer = |name: &String| host.run(Command::PluginHealth { name: name.clone() });
        let mut rendered = match &*args.names {
            [] => rendered(&host.run(Command::Health)?, look, layout)?,
            [name] => rendered(&answer(name)?, look, layout)?,
            names => {
                let one = |name: &String| rendered(&answer(name)?, look, layout);
                together(names.iter().map(|name| (name.clone(), one(name))).collect())?
            }
        };
        if args.output.is_names() {
            rendered.text = names(&rendered.data);
        }
        Ok(rendered)
    })?;
    rendered.warnings.extend(warnings);
    Ok(Outcome::Rendered(rendered))
}

/// The names of the plugins in an answer, one a line.
fn names(data: &serde_json::Value) -> String {
    let many = data.get("plugins").unwrap_or(data);
    let all = many.as_array().map_or(std::slice::from_ref(many), Vec::as_slice);
    let names = all.iter().filter_map(|plugin| plugin["name"].as_str());
    names.map(plain).collect::<Vec<_>>().join("\n")
}

pub(super) fn probe(args: Probe, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let (mut all, warnings) = session::with(&args.target, backend, |host| {
        let one = |name: &String| {
            let command = Command::CheckNow {
                name: name.clone(),
                deep: args.deep,
            };
            rendered(&host.run(command)?, &screen.look, Layout::default())
        };
        together(args.names.iter().map(|name| (name.clone(), one(name))).collect())
    })?;
    all.warnings.extend(warnings);
    Ok(Outcome::Rendered(all))
}

/// An answer with its text, and the exit code that says the same.
pub(super) fn rendered(answer: &Answer, look: &Look, layout: Layout) -> Result<Rendered, Fault> {
    let mut rendered = match answer {
        Answer::Health(health) => {
            let mut health = health.clone();
            layout.sort.sort(&mut health.plugins);
            let text = render(&health, look, layout);
            // As the host gave it, where nobody asks for another order.
            let data = if layout.sort == Sort::Health {
                answer
            } else {
                &Answer::Health(health)
            };
            Rendered::new(data, text)?
        }
        Answer::PluginHealth(plugin) => Rendered::new(plugin, one(plugin, look, layout.verbose))?,
        _ => return Err(mismatch()),
    };
    rendered.exit = exit(word_of(answer));
    Ok(rendered)
}

/// The word of the whole, or of the one that was asked for.
pub(super) fn word_of(answer: &Answer) -> Word {
    match answer {
        Answer::Health(health) => health.overall.health,
        Answer::PluginHealth(plugin) => match (plugin.probe, plugin.health.judged.health) {
            // What was known before it was asked says nothing of one that did not answer.
            (Some(ProbeEnd::NoResult { .. }), Word::Up | Word::Degraded) => Word::Unknown,
            (_, word) => word,
        },
        _ => Word::Unknown,
    }
}

/// The worst first.
pub(super) fn rank(health: Word) -> u8 {
    match health {
        Word::Down => 0,
        Word::Unknown => 1,
        Word::Degraded => 2,
        Word::Up => 3,
    }
}

impl Sort {
    fn sort(self, plugins: &mut [PluginHealth]) {
        match self {
            Sort::Health => plugins.sort_by_key(|plugin| {
                let steady = !plugin.health.judged.flags.flapping;
                (plugin.health.left_out, rank(plugin.health.judged.health), steady)
            }),
            Sort::Name => plugins.sort_by(|a, b| a.name.cmp(&b.name)),
            Sort::Since => plugins.sort_by_key(|plugin| std::cmp::Reverse(plugin.health.since_unix_ms)),
        }
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

/// The whole. Where what comes first scrolls away, what one has to know comes last.
pub(super) fn render(health: &HealthAnswer, look: &Look, layout: Layout) -> String {
    let sentence = wrap(&health.overall.sentence, look.width, 0);
    let (first, rest) = sentence.split_once(':').unwrap_or((&sentence, ""));
    let colon = if rest.is_empty() { "" } else { ":" };
    let headline = format!("{}{colon}{rest}", word(first, health.overall.health, look.colour));
    let (table, cut) = health_table::render(&health.plugins, look, layout.wide);
    let mut about_host = Vec::new();
    if health.components.is_empty() {
        // A host that has no other component.
        about_host.extend(history(&health.history).map(|text| wrap(&text, look.width, 0)));
    } else {
        about_host.push(components(&health.components, look));
        about_host.extend(lost(&health.history).map(|text| wrap(&format!("history: {text}"), look.width, 0)));
    }
    let away = layout
        .scrolls
        .is_some_and(|lines| table.lines().count() + ALONGSIDE > lines);
    let room = layout
        .scrolls
        .map_or(usize::MAX, |lines| lines.saturating_sub(ALONGSIDE));
    let reasons = reasons(health, &cut, away, look, room);
    let parts = match layout.scrolls {
        Some(_) => [table, about_host.join("\n\n"), reasons, headline],
        None => [headline, table, reasons, about_host.join("\n\n")],
    };
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}

/// Lines that stand beside a table: the headline, the host's own, and what is between.
const ALONGSIDE: usize = 8;

/// What did not find room in the rows, or scrolled away with them.
fn reasons(health: &HealthAnswer, cut: &[bool], away: bool, look: &Look, room: usize) -> String {
    let mut lines = Vec::new();
    for (plugin, cut) in health.plugins.iter().zip(cut) {
        let judged = &plugin.health.judged;
        let is_well = judged.health == Word::Up && !judged.flags.flapping;
        let now = judged.health.as_str();
        let since = look.since(plugin.health.since_unix_ms);
        if let Some(flapping) = flapping(plugin) {
            let text = format!("{}: {flapping}; now {now}: {}", plugin.name, plugin.health.reason);
            lines.push(wrap(&text, look.width, 0));
        } else if !is_well && (*cut || away) {
            let text = format!("{}: {now} for {since}: {}", plugin.name, plugin.health.reason);
            lines.push(wrap(&text, look.width, 0));
        }
        if let Some(why) = plugin
            .health
            .deep
            .as_ref()
            .and_then(|deep| deep.obstacle.as_deref())
        {
            let text = format!("{}: no deep checks are made: {why}", plugin.name);
            lines.push(wrap(&text, look.width, 0));
        }
    }
    let mut taken = 0;
    let shown = lines.iter().take_while(|text| {
        taken += text.lines().count();
        taken <= room
    });
    let shown = shown.count().max(1).min(lines.len());
    let more = lines.len() - shown;
    lines.truncate(shown);
    if more > 0 {
        lines.push(format!("… and {more} more, in the rows above"));
    }
    lines.join("\n")
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
pub(super) fn flapping(plugin: &PluginHealth) -> Option<String> {
    let permille = plugin.health.flapping_permille;
    let share = format!(
        "flapping, {}.{} % of its last states changed",
        permille / 10,
        permille % 10
    );
    plugin.health.judged.flags.flapping.then_some(share)
}

/// Hard states that are shown.
pub(super) const RECENT: usize = 21;

/// The word, since when, and what else is to be known: that has a time of its own.
pub(super) fn for_how_long(plugin: &PluginHealth, look: &Look) -> String {
    let health = plugin.health.judged.health;
    format!(
        "{} for {}{}",
        word(health.as_str(), health, look.colour),
        look.since(plugin.health.since_unix_ms),
        flags(plugin)
    )
}

/// The word, and what else is to be known.
pub(super) fn words(plugin: &PluginHealth) -> String {
    format!("{}{}", plugin.health.judged.health.as_str(), flags(plugin))
}

fn flags(plugin: &PluginHealth) -> String {
    let flags = &plugin.health.judged.flags;
    let mut text = String::new();
    for (set, flag) in [
        (flags.maintenance, "maintenance"),
        (plugin.health.left_out && !flags.maintenance, "left out"),
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

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
