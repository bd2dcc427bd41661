//! `extman health` and `extman probe`.

use super::args::Target;
use super::backend::Backend;
use super::bars::state;
use super::fault::{Exit, Fault};
use super::health_one::one;
use super::output::Output;
use super::screen::{Look, Outcome, Rendered, Screen};
use super::session::{self, Session};
use super::several::each;
use super::text::{plain, wrap};
use super::{duration, health_one, health_table, list, watch};
use extman_model::control::report::{HealthAnswer, HistoryStatus, PluginHealth, ProbeEnd};
use extman_model::control::{Answer, Command};
use extman_model::{Cause, Component, ConfigStatus, Crash, Health as Word, HealthView, failed_of};
use std::collections::HashMap;
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
        match self.names.len() {
            1 => "plugin_health",
            _ => "health",
        }
    }

    /// How the one plugin is that is named, or all of them.
    pub(super) fn ask(&self, host: &Session) -> Result<Answer, Fault> {
        match &*self.names {
            [name] => one_of(host, name),
            _ => Ok(Answer::Health(Box::new(host.ask(Command::Health)?))),
        }
    }

    fn layout(&self, screen: &Screen) -> Layout {
        Layout {
            sort: self.sort,
            wide: self.output.is_wide(),
            scrolls: screen.height,
            verbose: self.verbose,
            names: self.output.is_names(),
            json: screen.json,
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
    /// Names alone, one a line, in the order of the table.
    names: bool,
    /// For programs.
    json: bool,
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
    session::shown(&args.target, backend, |host| match &*args.names {
        [] => rendered(&args.ask(host)?, look, layout),
        names => each(names, |name| rendered(&one_of(host, name)?, look, layout)),
    })
}

fn one_of(host: &Session, name: &str) -> Result<Answer, Fault> {
    let name = name.to_owned();
    Ok(Answer::PluginHealth(Box::new(
        host.ask(Command::PluginHealth { name })?,
    )))
}

/// The names of plugins, one a line.
fn names(plugins: &[PluginHealth]) -> String {
    let names = plugins.iter().map(|plugin| plain(&plugin.name));
    names.collect::<Vec<_>>().join("\n")
}

pub(super) fn probe(args: Probe, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    session::shown(&args.target, backend, |host| {
        each(&args.names, |name| {
            let command = Command::CheckNow {
                name: name.to_owned(),
                deep: args.deep,
            };
            let probed = Answer::PluginHealth(Box::new(host.ask(command)?));
            rendered(&probed, &screen.look, Layout::default())
        })
    })
}

/// An answer with its text, and the exit code that says the same.
pub(super) fn rendered(answer: &Answer, look: &Look, layout: Layout) -> Result<Rendered, Fault> {
    let mut rendered = match answer {
        Answer::Health(health) => {
            // As the host gave it, where nobody asks for another order.
            if layout.json && layout.sort == Sort::Health {
                Rendered::new(answer, String::new())?
            } else {
                let mut health = health.clone();
                layout.sort.sort(&mut health.plugins);
                match (layout.json, layout.names) {
                    (true, _) => Rendered::new(&Answer::Health(health), String::new())?,
                    (false, true) => Rendered::new(&(), names(&health.plugins))?,
                    (false, false) => Rendered::new(&(), render(&health, look, layout))?,
                }
            }
        }
        Answer::PluginHealth(plugin) if layout.names => {
            Rendered::new(plugin, names(std::slice::from_ref(plugin)))?
        }
        Answer::PluginHealth(plugin) => Rendered::new(plugin, one(plugin, look, layout.verbose))?,
        other => Rendered::new(other, String::new())?,
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
                let (health, judged) = (&plugin.health, plugin.health.judged);
                // What is at the root goes before what it takes with it.
                let is_suppressed = judged.cause == Cause::DependencyDown;
                let (is_optional, is_steady) = (!plugin.required, !judged.flags.flapping);
                (
                    health.left_out,
                    rank(judged.health),
                    is_suppressed,
                    is_optional,
                    is_steady,
                )
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
    let headline = format!("{}{colon}{rest}", state(first, look.colour));
    let (table, cut) = health_table::render(&health.plugins, look, layout.wide);
    let mut about_host = Vec::new();
    if !health.components.is_empty() {
        about_host.push(components(&health.components, look));
    }
    let not_in_force = health.config.as_ref().map(|config| not_in_force(config, look));
    about_host.extend(not_in_force.clone());
    about_host.extend(lost(&health.history).map(|text| wrap(&format!("history: {text}"), look.width, 0)));
    let crashed = crashed(&health.crashes, look);
    let lines = |text: &str| text.lines().count() + usize::from(!text.is_empty());
    let alongside = ALONGSIDE + lines(&crashed) + lines(&not_in_force.unwrap_or_default());
    let away = layout
        .scrolls
        .is_some_and(|lines| table.lines().count() + alongside > lines);
    let room = layout
        .scrolls
        .map_or(usize::MAX, |lines| lines.saturating_sub(alongside));
    let reasons = reasons(health, &cut, away, look, room);
    let parts = match layout.scrolls {
        Some(_) => [table, about_host.join("\n\n"), reasons, crashed, headline],
        None => [headline, crashed, table, reasons, about_host.join("\n\n")],
    };
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}

/// Faults of the configuration that are told one by one.
const FAULTS_TOLD: usize = 2;

/// What of the configuration is not in force: plugins are well by what was configured before, and somebody meant otherwise.
fn not_in_force(config: &ConfigStatus, look: &Look) -> String {
    let since = config
        .since_unix_ms
        .map(|since| format!(" for {}", look.since(since)));
    let mut told: Vec<String> = config
        .faults
        .iter()
        .take(FAULTS_TOLD)
        .map(ToString::to_string)
        .collect();
    let (more, not_taken) = (config.faults.len().saturating_sub(FAULTS_TOLD), &config.not_taken);
    if more > 0 {
        told.push(format!("{more} more (`extman status`)"));
    }
    if let [first, others @ ..] = &**not_taken {
        let others = match others.len() {
            0 => "goes on".to_owned(),
            more => format!("and {more} more go on"),
        };
        // What the plugin itself does not take has no place in a file.
        let why = match config.faults.is_empty() {
            true => format!(" (`extman show {first}` says why)"),
            false => String::new(),
        };
        told.push(format!("{first} {others} with the configuration before{why}"));
    }
    let text = format!(
        "Configured and not in force{}: {}",
        since.unwrap_or_default(),
        told.join("; ")
    );
    wrap(&text, look.width, 0)
}

/// Lines that stand beside a table: the headline, the host's own, and what is between.
const ALONGSIDE: usize = 8;

/// That the host itself was ended lately: all may be well again, and somebody was called for it.
fn crashed(crashes: &[Crash], look: &Look) -> String {
    let Some(last) = crashes.first() else {
        return String::new();
    };
    let all = match crashes.len() {
        1 => String::new(),
        number => format!("; {number} crashes within a day"),
    };
    wrap(&format!("{}{all}", last.headline()), look.width, 0)
}

/// What did not find room in the rows, or scrolled away with them.
fn reasons(health: &HealthAnswer, cut: &[bool], away: bool, look: &Look, room: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let is_told = |plugin: &PluginHealth, cut: bool| {
        !is_well(plugin)
            && flapping(plugin, look).is_none()
            && (cut || away || !what_follows(plugin, look).is_empty())
    };
    let mut alike: HashMap<(Word, &str), Vec<&PluginHealth>> = HashMap::new();
    for (plugin, _) in health
        .plugins
        .iter()
        .zip(cut)
        .filter(|(plugin, cut)| is_told(plugin, **cut))
    {
        let key = (plugin.health.judged.health, &*plugin.health.reason);
        alike.entry(key).or_default().push(plugin);
    }
    for (plugin, cut) in health.plugins.iter().zip(cut) {
        let (health, since) = (&plugin.health, look.since(plugin.health.since_unix_ms));
        let now = health.judged.health;
        let mut told = Vec::new();
        if let Some(flapping) = flapping(plugin, look) {
            told.push(format!(
                "{} for {since}: {}; {flapping}{}",
                now.as_str(),
                health.reason,
                what_follows(plugin, look)
            ));
        } else if is_told(plugin, *cut) {
            match alike.get_mut(&(now, &*health.reason)) {
                Some(all) if all.len() >= ALIKE_MIN => lines.push(told_together(&std::mem::take(all), look)),
                // The first of them has told of all.
                Some(all) if all.is_empty() => {}
                _ => {
                    let before = changes(&plugin.recent);
                    told.push(format!(
                        "{} for {since}{before}: {}{}",
                        now.as_str(),
                        health.reason,
                        what_follows(plugin, look)
                    ));
                }
            }
        }
        told.extend(calls(plugin));
        // Of one that is sick it stands beside the reason.
        let breaker = plugin
            .breaker
            .as_ref()
            .filter(|_| is_well(plugin) && !health.left_out);
        told.extend(breaker.map(list::breaker));
        told.extend(taken_back(plugin, look));
        let obstacle = health.deep.as_ref().and_then(|deep| deep.obstacle.as_deref());
        told.extend(obstacle.map(|why| format!("no deep checks are made: {why}")));
        let told = told.iter().map(|text| format!("{}: {text}", plugin.name));
        lines.extend(told.map(|text| wrap(&text, look.width, 0)));
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
        lines.push(format!(
            "… and {more} more, in the rows above and in `extman health NAME`"
        ));
    }
    lines.join("\n")
}

/// Changes among its last states from which on the last one alone says too little.
const CHANGES_MIN: usize = 3;

/// That it goes up and down, of one that does not do so often enough to flap.
fn changes(recent: &[Word]) -> String {
    let changes = recent.windows(2).filter(|pair| pair[0] != pair[1]).count();
    match changes >= CHANGES_MIN {
        true => format!(", {changes} changes in its last {} states", recent.len()),
        false => String::new(),
    }
}

/// How one that is sick comes back, and what keeps calls from it meanwhile.
fn what_follows(plugin: &PluginHealth, look: &Look) -> String {
    // In maintenance an operator sees to it.
    if plugin.health.left_out {
        return String::new();
    }
    let way = plugin
        .health
        .way_back
        .as_ref()
        .filter(|way| way.next_try_unix_ms.is_some());
    let way = way.map(|way| format!("; {}", list::way_back(way, look)));
    let breaker = plugin
        .breaker
        .as_ref()
        .map(|breaker| format!("; {}", list::breaker(breaker)));
    format!("{}{}", way.unwrap_or_default(), breaker.unwrap_or_default())
}

/// That an update of it has come to nothing: it is well, and who put the version there does not know.
pub(super) fn taken_back(plugin: &PluginHealth, look: &Look) -> Option<String> {
    let barred = plugin.taken_back.as_ref()?;
    Some(format!(
        "version {} was taken back {} ago: {}",
        barred.version,
        look.since(barred.since_unix_ms),
        barred.reason
    ))
}

fn is_well(plugin: &PluginHealth) -> bool {
    let judged = plugin.health.judged;
    judged.health == Word::Up && !judged.flags.flapping
}

/// So many that are sick for one reason are told of together: they must not hide who is sick for another.
const ALIKE_MIN: usize = 3;
/// Of those that are told of together, so many are named.
const NAMED: usize = 4;

/// Tells of some that have the same word for the same reason.
fn told_together(all: &[&PluginHealth], look: &Look) -> String {
    let since = all.iter().map(|plugin| plugin.health.since_unix_ms);
    let (last, first) = (since.clone().max(), since.min());
    let [shortest, longest] = [last, first].map(|unix_ms| look.since(unix_ms.unwrap_or_default()));
    let range = match shortest == longest {
        true => longest,
        false => format!("{shortest} to {longest}"),
    };
    let mut names: Vec<&str> = all.iter().take(NAMED).map(|plugin| &*plugin.name).collect();
    let more = format!("{} more", all.len() - names.len());
    let last = if all.len() > NAMED {
        more.as_str()
    } else {
        names.pop().unwrap_or_default()
    };
    let health = &all[0].health;
    let next_try = |plugin: &&&PluginHealth| {
        let way = plugin.health.way_back.as_ref();
        way.and_then(|way| way.next_try_unix_ms)
    };
    let first_back = all
        .iter()
        .filter(|plugin| next_try(plugin).is_some())
        .min_by_key(next_try);
    let follows = first_back.map(|first| {
        let what = what_follows(first, look);
        format!("; {} first: {}", first.name, what.trim_start_matches("; "))
    });
    let text = format!(
        "{} plugins are {}, for {range}: {}: {} and {last}{}",
        all.len(),
        health.judged.health.as_str(),
        health.reason,
        names.join(", "),
        follows.unwrap_or_default()
    );
    wrap(&text, look.width, 0)
}

/// Share of failed calls from which on it is told of one that is up, in percent.
const FAILED_PERCENT: u64 = 10;
/// Fewer calls say nothing of a share.
const CALLS_MIN: u64 = 20;

/// What callers of one that is up suffer from all the same: calls that fail, as where it has more callers than it can take, or that take
/// nearly as long as they may.
fn calls(plugin: &PluginHealth) -> Option<String> {
    let health = &plugin.health;
    if health.judged.health != Word::Up || health.left_out {
        return None;
    }
    let value = |name: &str| health_one::find(&health.figures, name).map(|figure| figure.value);
    let errors = health_one::errors(&health.figures);
    // Of one that has just begun there is no whole minute.
    let (calls, failed, is_recent) = match (value("calls_5min"), value("calls_failed_5min")) {
        (Some(calls), Some(failed)) => (calls, failed, true),
        _ => (value("calls")?, failed_of(&errors), false),
    };
    if calls >= CALLS_MIN && failed * 100 >= calls * FAILED_PERCENT {
        let of_plugin = || errors.iter().filter(|(kind, _)| !kind.is_callers());
        // Kinds are counted since it began: of the last minutes they tell only where there was but one.
        let kind = of_plugin().max_by_key(|(_, count)| **count);
        let kind = kind.filter(|_| !is_recent || of_plugin().count() == 1);
        let mostly = kind.map(|(kind, _)| format!(", mostly {}", kind.as_str().replace('_', " ")));
        let when = if is_recent {
            "in the last five minutes"
        } else {
            "since it began"
        };
        let percent = failed as f64 * 100.0 / calls as f64;
        return Some(format!(
            "{percent:.1} % of {calls} calls failed {when}{}",
            mostly.unwrap_or_default()
        ));
    }
    let (p95_ns, timeout_ms) = (value("call_p95_5min")?, value("call_timeout")?);
    let slow = format!(
        "its calls are slow: p95 {} in the last five minutes",
        duration::short(p95_ns)
    );
    if p95_ns.saturating_mul(2) >= timeout_ms.saturating_mul(1_000_000) {
        return Some(format!(
            "{slow}, of the {} that they may take",
            duration::lasted(timeout_ms)
        ));
    }
    // A few calls say nothing of how long they usually take.
    let usual_ns = value("call_p95_usual").filter(|_| is_recent && calls >= CALLS_MIN)?;
    let is_slow = p95_ns >= usual_ns.saturating_mul(SLOWER) && p95_ns - usual_ns >= SLOWER_MIN_NS;
    is_slow.then(|| format!("{slow}, usually {}", duration::short(usual_ns)))
}

/// How many times as long as usual calls take from which on it is told.
const SLOWER: u64 = 3;
/// By how much at least.
const SLOWER_MIN_NS: u64 = 10_000_000;

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
    let is_well = |part: &Component| part.health == Word::Up && !part.left_out;
    let names: Vec<String> = all.iter().map(|part| plain(&part.name)).collect();
    let all_told = match all.iter().all(is_well) {
        true => format!("Host: all up ({})", names.join(", ")),
        false => format!("Host: {}", brief.join(", ")),
    };
    let mut lines = vec![wrap(&all_told, look.width, 0)];
    let counted = all
        .iter()
        .filter(|part| part.health != Word::Up && !part.left_out);
    lines.extend(counted.map(|part| {
        let since = look.since(part.since_unix_ms);
        let text = format!(
            "{}: {} for {since}: {}",
            part.name,
            part.health.as_str(),
            part.reason
        );
        wrap(&text, look.width, 0)
    }));
    lines.join("\n")
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
pub(super) fn flapping(plugin: &PluginHealth, look: &Look) -> Option<String> {
    let since = plugin.health.flapping_since_unix_ms;
    let since = since.map(|since| format!(" for {}", look.since(since)));
    let permille = plugin.health.flapping_permille;
    let share = format!(
        "flapping{}, {}.{} % of its last states changed",
        since.unwrap_or_default(),
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
        state(health.as_str(), look.colour),
        look.since(plugin.health.since_unix_ms),
        flags(&plugin.health)
    )
}

/// The word, and what else is to be known.
pub(super) fn words(plugin: &PluginHealth) -> String {
    format!(
        "{}{}",
        plugin.health.judged.health.as_str(),
        flags(&plugin.health)
    )
}

pub(super) fn flags(health: &HealthView) -> String {
    let flags = &health.judged.flags;
    let set = [
        (flags.maintenance, ", maintenance"),
        (health.left_out && !flags.maintenance, ", left out"),
        (flags.flapping, ", flapping"),
        (flags.stale, ", stale"),
        (flags.busy, ", busy"),
    ];
    let set = set.into_iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, flag)| flag).collect()
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
