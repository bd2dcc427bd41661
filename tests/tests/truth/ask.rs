//! Asking a host by every way that a user has, and holding the answers against what a step expects.

use super::glance;
use super::stage::{Stage, call};
use super::stories::Step;
use extman_model::control::report::{HealthAnswer, HistoryAnswer, PluginHealth, UptimeRow};
use extman_model::moment::utc;
use extman_model::{Cause, Health};
use extman_tests::served::{pause, program};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// How long the host may take to see what is so.
const LIMIT: Duration = Duration::from_secs(30);
/// The same while it says that its lanes are degraded: checks that began late on a busy machine are told of for the minute in which they did
/// and the one after it.
const LIMIT_LATE: Duration = Duration::from_secs(180);
/// Looks at which what it says has to be the same before it counts.
const LOOKS: usize = 30;
/// Calls by which a caller makes up its mind.
const CALLS: usize = 6;

/// The exit code and the status that say the same as a word.
pub fn mapped(word: &str) -> (i32, u16) {
    match word {
        "Up" => (0, 200),
        "Degraded" => (10, 200),
        "Unknown" => (11, 200),
        "Down" => (12, 503),
        other => panic!("{other:?} is no word of a health"),
    }
}

/// Waits until the host says what the step expects, and goes on saying it while it is called; then all edges have to say the same. What a
/// busy machine makes of the host meanwhile (late checks) may pass; what the calls themselves make of it comes again each time.
pub fn holds(stage: &mut Stage, step: &Step) -> Result<(), String> {
    let began = Instant::now();
    loop {
        until_steady(stage, step, began)?;
        let caller = caller(stage);
        if caller != step.caller && !step.caller.is_empty() {
            return Err(format!("  a caller sees {caller:?}, not {:?}", step.caller));
        }
        let differs = edges(stage, step);
        // What was true before the calls has to be true after them: those who ask change nothing.
        let told = health(stage);
        let after = matches(&told, step);
        if differs.is_ok() && after.is_ok() {
            return Ok(());
        }
        if after.is_ok() || began.elapsed() >= limit(&told) {
            let differs = differs.and(after);
            return differs.map_err(|differs| format!("  {differs}\n  {}", way(stage)));
        }
    }
}

/// Waits until the host has said for a while what the step expects.
fn until_steady(stage: &Stage, step: &Step, began: Instant) -> Result<(), String> {
    let mut stayed = 0;
    while stayed < LOOKS {
        pause();
        let told = health(stage);
        match matches(&told, step) {
            Ok(()) => stayed += 1,
            Err(_) if began.elapsed() < limit(&told) => stayed = 0,
            Err(differs) => {
                let after = limit(&told);
                return Err(format!("  after {after:?}: {differs}\n  {}", way(stage)));
            }
        }
    }
    Ok(())
}

fn limit(told: &Option<HealthAnswer>) -> Duration {
    let is_late = |told: &HealthAnswer| told.overall.sentence.contains("degraded (lanes)");
    match told.as_ref().is_some_and(is_late) {
        true => LIMIT_LATE,
        false => LIMIT,
    }
}

fn health(stage: &Stage) -> Option<HealthAnswer> {
    let told = stage.client().get("/api/v1/health")?;
    Some(serde_json::from_value(told).expect("a health"))
}

fn matches(health: &Option<HealthAnswer>, step: &Step) -> Result<(), String> {
    let Some(health) = health else {
        return Err("the host does not answer".to_owned());
    };
    for (name, expected) in step.told {
        let plugin = health.plugins.iter().find(|plugin| plugin.name == *name);
        let told = plugin.map_or("there is no such plugin".to_owned(), told);
        if !is_told(&told, expected) {
            return Err(format!("{name}: {told:?}, not {expected:?}"));
        }
    }
    if health.overall.sentence != step.overall {
        return Err(format!("{:?}, not {:?}", health.overall.sentence, step.overall));
    }
    Ok(())
}

/// What changes from moment to moment is left to an ellipsis.
fn is_told(told: &str, expected: &str) -> bool {
    match expected.strip_suffix('…') {
        Some(begin) => told.starts_with(begin),
        None => told == expected,
    }
}

fn told(plugin: &PluginHealth) -> String {
    let left_out = if plugin.health.left_out { LEFT_OUT } else { "" };
    let word = plugin.health.judged.health.as_str();
    format!("{left_out}{word}: {}", plugin.health.reason)
}

/// Before the word of one that counts in no sum.
const LEFT_OUT: &str = "left out, ";

/// What a caller says of the capability.
fn caller(stage: &Stage) -> String {
    let outcomes: Vec<_> = (0..CALLS).map(|_| call(stage.client())).collect();
    let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
    let served: BTreeSet<String> = outcomes.iter().flatten().cloned().collect();
    let failed: BTreeSet<String> = outcomes
        .iter()
        .filter_map(|outcome| outcome.clone().err())
        .collect();
    match (served.is_empty(), failed.is_empty()) {
        (false, true) => format!("answered by {}", list(served)),
        (true, false) => format!("every call fails: {}", list(failed)),
        _ => format!("answered by {}; some calls fail: {}", list(served), list(failed)),
    }
}

/// All other ways to ask, each of which has to say the same.
fn edges(stage: &Stage, step: &Step) -> Result<(), String> {
    let (exit, status) = mapped(step.word());
    let text = extman(stage, &["health"]);
    same("exit code of `extman health`", code(&text), exit)?;
    let shown = flat(&text);
    if !shown.contains(step.overall) {
        return Err(format!("`extman health` shows {shown:?}, not {:?}", step.overall));
    }
    let json = extman(stage, &["health", "--json"]);
    same("exit code of `extman health --json`", code(&json), exit)?;
    let envelope: Value = serde_json::from_slice(&json.stdout).map_err(|error| format!("--json: {error}"))?;
    same(
        "`extman health --json`",
        &envelope["data"]["overall"]["sentence"],
        &step.overall.into(),
    )?;
    let document = stage.client().text("/health").ok_or("/health does not answer")?;
    same("status of /health", document.0, status)?;
    let document: Value = serde_json::from_str(&document.1).map_err(|error| format!("/health: {error}"))?;
    same(
        "description of /health",
        &document["description"],
        &step.overall.into(),
    )?;
    let note = document["notes"][0].as_str().unwrap_or_default();
    let is_told = note.starts_with(glance::CRASHED) && note.contains(step.crashed);
    if note.is_empty() != step.crashed.is_empty() || (!note.is_empty() && !is_told) {
        return Err(format!(
            "/health notes {note:?}, not that the host crashed {:?}",
            step.crashed
        ));
    }
    glance::tells_of_crash(stage, step.crashed)?;
    let (ready, why) = stage.client().text("/readyz").ok_or("/readyz does not answer")?;
    same(
        &format!("/readyz ({why})"),
        ready,
        if step.ready { 200 } else { 503 },
    )?;
    let live = stage.client().text("/livez").ok_or("/livez does not answer")?;
    same("/livez", live.0, 200)?;
    for (path, expected) in step.answers {
        let (seen, text) = stage.client().text(path).ok_or("no answer")?;
        same(&format!("{path} ({text})"), seen, *expected)?;
    }
    if let Some((name, _)) = step.told.first() {
        let shown = flat(&extman(stage, &["health", name, "-v"]));
        if let Some(missing) = step.shows.iter().find(|text| !shown.contains(**text)) {
            return Err(format!(
                "`extman health {name} -v` shows {shown:?}, without {missing:?}"
            ));
        }
    }
    step.told
        .iter()
        .try_for_each(|(name, expected)| one(stage, step, name, expected))?;
    let sick = step.told.iter().filter_map(|(name, expected)| {
        let (word, reason) = expected.split_once(": ")?;
        let is_sick = word != "up" && !word.starts_with(LEFT_OUT);
        is_sick.then(|| (*name, word, reason.trim_end_matches('…').trim_end()))
    });
    glance::tells_of_all(stage, &sick.collect::<Vec<_>>())?;
    // Of others than those that the step names, the log alone is looked through: there may be a hundred of them.
    let log = stage.served.log();
    let changes = log.lines().filter_map(|line| line.split_once(" → "));
    let told = changes.filter_map(|(_, to)| to.split([':', ' ', '\n']).next());
    never(step, told.map(str::to_owned)).map_err(|word| format!("the log says {word}"))
}

/// How one plugin is told of, now and in its history.
fn one(stage: &Stage, step: &Step, name: &str, expected: &str) -> Result<(), String> {
    let (left_out, expected) = match expected.strip_prefix(LEFT_OUT) {
        Some(expected) => (true, expected),
        None => (false, expected),
    };
    let (word, reason) = expected.split_once(": ").unwrap_or((expected, ""));
    let text = extman(stage, &["health", name]);
    let shown = flat(&text);
    if !shown.contains(&flatten(reason.trim_end_matches('…'))) {
        return Err(format!("`extman health {name}` shows {shown:?}, not {reason:?}"));
    }
    if left_out && !shown.contains("maintenance") && !shown.contains("left out") {
        return Err(format!(
            "`extman health {name}` shows {shown:?}, not that it is left out"
        ));
    }
    let exit = match word {
        "up" => 0,
        "degraded" => 10,
        "unknown" => 11,
        "down" => 12,
        other => return Err(format!("{other:?} is no word of a plugin's health")),
    };
    same(&format!("exit code of `extman health {name}`"), code(&text), exit)?;
    // Who is not there is not observed: its history ends when it was.
    if reason.starts_with(&Cause::Missing.to_string()) {
        return Ok(());
    }
    if step.overall.contains("(history)") {
        let refused = flat(&extman(stage, &["history", name, "--json"]));
        let why = "there is no history: ";
        return match refused.contains(why) {
            true => Ok(()),
            false => Err(format!("`extman history {name}` says {refused:?}, not {why:?}")),
        };
    }
    let give_up = Instant::now() + LIMIT;
    loop {
        // It is written down in batches.
        let written = past(stage, step, name, (left_out, word))?;
        match written {
            Ok(()) => return Ok(()),
            Err(differs) if Instant::now() > give_up => return Err(format!("{differs}; {}", way(stage))),
            Err(_) => pause(),
        }
    }
}

/// What `extman history` and `extman uptime` say of one plugin; the inner error may be none in a moment.
fn past(
    stage: &Stage,
    step: &Step,
    name: &str,
    (left_out, word): (bool, &str),
) -> Result<Result<(), String>, String> {
    let history = data(stage, &["history", name, "--since", "1h"])?;
    let history: HistoryAnswer = serde_json::from_value(history).map_err(|error| error.to_string())?;
    let spans = history.spans;
    let words: Vec<&str> = spans.iter().map(|span| span.health.as_str()).collect();
    let told = format!("the history of {name} is {words:?}");
    // Of nobody anything is known before its first check.
    let told_of = words.iter().skip_while(|word| **word == "unknown");
    never(step, told_of.map(|word| (*word).to_owned())).map_err(|word| format!("{told}, with {word}"))?;
    let last = spans.last().map(|span| (span.left_out, span.health.as_str()));
    if last != Some((left_out, word)) {
        return Ok(Err(format!(
            "{told}, {last:?} at last, not {:?}",
            (left_out, word)
        )));
    }
    let shown = flat(&extman(stage, &["history", name, "--since", "1h"]));
    let since = utc(spans[spans.len() - 1].from_unix_ms);
    let row = format!("{since} {word} for ");
    if !shown.contains(&row) {
        return Err(format!(
            "`extman history {name}` shows {shown:?}, without {row:?}"
        ));
    }
    let rows: Vec<UptimeRow> = serde_json::from_value(data(stage, &["uptime", name, "--since", "1h"])?)
        .map_err(|error| error.to_string())?;
    let [row] = &rows[..] else {
        return Err(format!("`extman uptime {name}` has {} rows", rows.len()));
    };
    let was_down = spans
        .iter()
        .any(|span| !span.left_out && span.health == Health::Down);
    if (row.uptime.outages > 0, row.uptime.down_ms > 0) != (was_down, was_down) {
        return Ok(Err(format!("{told}, and its uptime {:?}", row.uptime)));
    }
    Ok(Ok(()))
}

/// None of these is a word that the step rules out; else that one.
fn never(step: &Step, mut words: impl Iterator<Item = String>) -> Result<(), String> {
    let ruled_out: Vec<&str> = step.never.split(", ").filter(|word| !word.is_empty()).collect();
    match words.find(|word| ruled_out.contains(&word.as_str())) {
        Some(word) => Err(word),
        None => Ok(()),
    }
}

/// The data of a command that is done.
fn data(stage: &Stage, words: &[&str]) -> Result<Value, String> {
    let ran = extman(stage, &[words, &["--json"]].concat());
    let mut envelope: Value =
        serde_json::from_slice(&ran.stdout).map_err(|error| format!("{words:?}: {error}"))?;
    match (code(&ran), &envelope["ok"]) {
        (0, Value::Bool(true)) => Ok(envelope["data"].take()),
        _ => Err(format!("{words:?}: {envelope}")),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: T, expected: T) -> Result<(), String> {
    if seen == expected {
        return Ok(());
    }
    Err(format!("{what} is {seen:?}, not {expected:?}"))
}

/// The program as a person has it.
pub fn extman(stage: &Stage, words: &[&str]) -> Output {
    let asked = Command::new(program())
        .args(words)
        .args(["--url", stage.client().url()])
        .output();
    asked.expect("the program can be started")
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// What it wrote, in one line.
fn flat(output: &Output) -> String {
    flatten(&String::from_utf8_lossy(&output.stdout))
}

pub fn flatten(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// All changes of health, as they were logged.
fn way(stage: &Stage) -> String {
    let log = stage.served.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(" → ")).collect();
    let last = lines.len().saturating_sub(12);
    lines[last..].join("\n  ")
}
