//! `extman history`.

use super::args::Target;
use super::backend::Backend;
use super::bars::{LEGEND, sparkline, state, timeline};
use super::deep::said;
use super::duration::{lasted, long, short};
use super::fault::Fault;
use super::screen::{Look, Outcome, Screen};
use super::session;
use super::text::{plain, wrap};
use extman_model::control::report::{ClockStepView, HistoryAnswer, ReleaseView, RollupView, SpanView};
use extman_model::control::{Command, since_ms};
use extman_model::moment::utc;
use extman_model::{CheckKind, CheckOutcome, DeepResult, Health, Lifecycle, Unit, failed_of};

/// Arguments of what looks back at one plugin.
#[derive(Debug, clap::Args)]
pub(crate) struct Past {
    /// The plugin's name; it may be gone, as long as its history is kept
    pub(super) name: String,
    /// How far back, such as 90s, 15m, 24h or 7d
    #[arg(long, value_name = "DURATION", value_parser = since_ms, default_value = "24h")]
    pub(super) since: u64,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: Past, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let command = Command::History {
        name: args.name,
        since_ms: args.since,
    };
    session::answered(&args.target, backend, command, |history: &HistoryAnswer| {
        render(history, &screen.look)
    })
}

/// Spans that are shown one by one.
const SPANS_SHOWN: usize = 20;
/// Checks that are shown one by one.
const CHECKS_SHOWN: usize = 10;
const BAR_MAX: usize = 96;

fn render(history: &HistoryAnswer, look: &Look) -> String {
    let mut lines = states(history, look);
    lines.extend(rollups(history, look));
    lines.extend(changed(&history.releases).map(|release| {
        let at = utc(release.at_unix_ms);
        format!("  version   {} from {at}", release.version)
    }));
    let clock = history
        .clock
        .iter()
        .map(|step| wrap(&format!("clock: {}", set(step)), look.width, 2));
    lines.extend(clock);
    let crashes = history.crashes.iter();
    lines.extend(crashes.map(|crash| wrap(&format!("crash: {crash}"), look.width, 2)));
    lines.push(String::new());
    lines.extend(spans(history, look));
    lines.extend(single_checks(history, look));
    lines.join("\n")
}

/// Stretches of a bar or a curve.
fn bar_width(look: &Look) -> usize {
    look.width.saturating_sub(12).clamp(10, BAR_MAX)
}

/// The headline, the bar of states, and how much of the time it was what.
fn states(history: &HistoryAnswer, look: &Look) -> Vec<String> {
    let range = history.range;
    let bar = timeline(&slices(history, bar_width(look)), look.colour);
    let mut lines = vec![
        format!(
            "{}, the last {}, to {}",
            plain(&history.name),
            long(range.length_ms()),
            utc(range.to_unix_ms)
        ),
        format!("  states    {bar}"),
        wrap(&format!("{LEGEND}; the worst in each stretch"), look.width, 12),
    ];
    lines.extend(shares(history).map(|shares| row("time", &shares, look)));
    lines
}

/// What was counted and measured: calls, checks, latency, heap and processor time.
fn rollups(history: &HistoryAnswer, look: &Look) -> Vec<String> {
    let rollups = &history.rollups;
    let curve = |values: &[Option<u64>]| sparkline(values, bar_width(look).min(60));
    let values =
        |of: fn(&RollupView) -> Option<u64>| -> Vec<Option<u64>> { rollups.iter().map(of).collect() };
    let sum = |of: fn(&RollupView) -> u64| -> u64 { rollups.iter().map(of).sum() };
    let mut lines = Vec::new();
    let p95 = values(|rollup| rollup.p95_ns);
    if let Some(most) = p95.iter().flatten().max() {
        lines.push(format!("  p95       {}  at most {}", curve(&p95), short(*most)));
    }
    let failed = sum(|rollup| failed_of(&rollup.errors));
    lines.push(format!(
        "  calls     {}, {failed} failed",
        sum(|rollup| rollup.calls)
    ));
    let failed = sum(|rollup| rollup.checks_failed);
    lines.push(format!(
        "  checks    {}, {failed} failed",
        sum(|rollup| rollup.checks)
    ));
    lines.extend(deep(history));
    let heap = values(|rollup| rollup.heap_max_bytes);
    if let Some(most) = heap.iter().flatten().max() {
        let most = amount(*most, Unit::Bytes);
        lines.push(format!("  heap      {}  at most {most}", curve(&heap)));
    }
    let cpu = values(|rollup| rollup.cpu_ns);
    if cpu.iter().any(Option::is_some) {
        let all = amount(cpu.iter().flatten().sum(), Unit::Ns);
        lines.push(format!("  cpu       {}  {all} in all", curve(&cpu)));
    }
    lines
}

fn row(name: &str, text: &str, look: &Look) -> String {
    format!("  {name:<10}{}", wrap(text, look.width, 12).trim_start())
}

/// The last states, one by one.
fn spans(history: &HistoryAnswer, look: &Look) -> Vec<String> {
    let earlier = history.spans.len().saturating_sub(SPANS_SHOWN);
    let mut lines = Vec::new();
    if earlier > 0 || history.more {
        lines.push(format!(
            "The last {SPANS_SHOWN} states; --json has all that there is:"
        ));
    }
    let shown = history.spans[earlier..].iter();
    lines.extend(shown.map(|span| one(span, history, look)));
    if history.spans.is_empty() {
        lines.push("No state of it is written down in this time.".to_owned());
    }
    lines
}

/// How a step of the wall clock affects the spans before it.
fn set(step: &ClockStepView) -> String {
    let by = lasted(step.by_ms.unsigned_abs());
    let at = utc(step.at_unix_ms);
    match (step.found, step.by_ms < 0) {
        (true, _) => format!(
            "when the host began at {at}, its clock was at least {by} behind what was written down; times before that may be wrong, and \
             what was told of times to come gives way"
        ),
        (false, true) => format!(
            "set back by {by} to {at}; what it had written of later times counts no longer, and what was seen since stands there"
        ),
        (false, false) => {
            format!("set ahead by {by} to {at}, or the machine slept; nothing was observed in between")
        }
    }
}

/// Deep checks in one line: those that say something, and of them those that failed.
fn deep(history: &HistoryAnswer) -> Option<String> {
    let deep = || {
        history
            .checks
            .iter()
            .filter(|one| one.check.kind == CheckKind::Deep)
    };
    let all = deep().count();
    let failed = deep().filter(|one| one.counted && is_bad(one)).count();
    (all > 0).then(|| format!("  deep      {all}, {failed} failed"))
}

fn is_bad(result: &DeepResult) -> bool {
    match &result.check.outcome {
        CheckOutcome::Answered { report } => {
            let health = report.as_ref().and_then(|report| report.health);
            health.is_some_and(|health| health != Health::Up)
        }
        CheckOutcome::Busy | CheckOutcome::NotBegun => false,
        CheckOutcome::TimedOut | CheckOutcome::Failed { .. } => true,
    }
}

fn single_checks(history: &HistoryAnswer, look: &Look) -> Vec<String> {
    let earlier = history.checks.len().saturating_sub(CHECKS_SHOWN);
    let mut lines = Vec::new();
    if !history.checks.is_empty() {
        let which = if earlier > 0 {
            format!("The last {CHECKS_SHOWN} checks that failed or were deep; --json has all:")
        } else {
            "Checks that failed or were deep:".to_owned()
        };
        lines.extend([String::new(), which]);
    }
    let rendered = |one: &DeepResult| {
        let mut line = format!("{} {}", utc(one.check.at_unix_ms), said(one));
        if let Some(last) = one.last_unix_ms {
            line.push_str(&format!("; {} times, last at {}", one.times, utc(last)));
        }
        wrap(&line, look.width, 4).trim_start().to_owned()
    };
    lines.extend(history.checks[earlier..].iter().map(rendered));
    lines
}

fn one(span: &SpanView, history: &HistoryAnswer, look: &Look) -> String {
    let to = span.to_unix_ms.unwrap_or(history.range.to_unix_ms);
    let lasted = lasted(to.saturating_sub(span.from_unix_ms));
    let mut rest = format!("for {lasted}: {}", span.cause);
    if span.left_out {
        rest.push_str(match span.lifecycle {
            Lifecycle::Stopped | Lifecycle::Draining | Lifecycle::Discovered | Lifecycle::Verified => {
                " (left out)"
            }
            _ => " (maintenance)",
        });
    }
    if let Some(text) = &span.text {
        rest.push_str(&format!(": {text}"));
    }
    if span.cut {
        rest.push_str("; the host ended without telling");
    }
    let head = format!("{}  {:<8}  ", utc(span.from_unix_ms), span.health.as_str());
    let indent = head.chars().count();
    let coloured = state(&format!("{:<8}", span.health.as_str()), look.colour);
    let head = format!("{}  {coloured}", utc(span.from_unix_ms));
    match look.width.checked_sub(indent) {
        Some(24..) => format!("{head}  {}", wrap(&rest, look.width, indent).trim_start()),
        _ => format!("{}\n{}", head.trim_end(), wrap(&rest, look.width, 4)),
    }
}

/// Where another library than before serves: a restart alone is no news.
fn changed(releases: &[ReleaseView]) -> impl Iterator<Item = &ReleaseView> {
    let before = std::iter::once(None).chain(releases.iter().map(Some));
    let both = releases.iter().zip(before);
    both.filter_map(|(now, before)| {
        before
            .is_none_or(|before| before.digest != now.digest)
            .then_some(now)
    })
}

/// How much of the time that is written down it was what.
fn shares(history: &HistoryAnswer) -> Option<String> {
    let range = history.range;
    let of = |health: Health| -> u64 {
        let those = history
            .spans
            .iter()
            .filter(|span| !span.left_out && span.health == health);
        let within = those.map(|span| {
            let to = span.to_unix_ms.unwrap_or(range.to_unix_ms).min(range.to_unix_ms);
            to.saturating_sub(span.from_unix_ms.max(range.from_unix_ms))
        });
        within.sum()
    };
    let all = [Health::Up, Health::Degraded, Health::Down, Health::Unknown];
    let sum: u64 = all.iter().map(|health| of(*health)).sum();
    let parts: Vec<String> = all
        .iter()
        .filter(|health| of(**health) > 0)
        .map(|health| {
            format!(
                "{} {}",
                health.as_str(),
                super::uptime::share(Some(of(*health) as f64 / sum as f64))
            )
        })
        .collect();
    (sum > 0).then(|| format!("{} of {}", parts.join(", "), lasted(sum)))
}

/// The worst state in each of so many stretches of the range.
fn slices(history: &HistoryAnswer, width: usize) -> Vec<Option<Health>> {
    let (from, length) = (history.range.from_unix_ms, history.range.length_ms().max(1));
    let edge = |at: usize| from + (u128::from(length) * at as u128 / width as u128) as u64;
    let mut slices = vec![None; width];
    for span in history.spans.iter().filter(|span| !span.left_out) {
        let to = span.to_unix_ms.unwrap_or(history.range.to_unix_ms);
        for (at, slice) in slices.iter_mut().enumerate() {
            if span.from_unix_ms < edge(at + 1) && to > edge(at) {
                *slice = (*slice).max(Some(span.health));
            }
        }
    }
    slices
}

/// A figure in its unit.
pub(super) fn amount(value: u64, unit: Unit) -> String {
    match unit {
        Unit::Count => value.to_string(),
        Unit::Permille => format!("{}.{} %", value / 10, value % 10),
        Unit::Ns => short(value),
        Unit::Ms => long(value),
        Unit::Bytes => match value {
            0..1024 => format!("{value} B"),
            1024..1_048_576 => format!("{:.1} KiB", value as f64 / 1024.0),
            1_048_576..1_073_741_824 => format!("{:.1} MiB", value as f64 / 1_048_576.0),
            _ => format!("{:.1} GiB", value as f64 / 1_073_741_824.0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn history() -> HistoryAnswer {
        let span = |from: u64, to: Option<u64>, health: &str| {
            json!({"from_unix_ms": from, "to_unix_ms": to, "lifecycle": "running", "health": health,
                "cause": {"code": "answers"}, "left_out": false, "cut": false, "text": "all\u{1b}[2J well"})
        };
        serde_json::from_value(json!({
            "name": "lang", "range": {"from_unix_ms": 0, "to_unix_ms": 600_000}, "resolution": "minute", "more": false,
            "rollups": [{"from_unix_ms": 0, "up_ms": 1, "degraded_ms": 0, "down_ms": 0, "unknown_ms": 0,
                "left_out_ms": 0, "checks": 6, "checks_failed": 1, "calls": 7, "errors": {"internal": 2},
                "p95_ns": 1_500, "cpu_ns": 2_500_000}],
            "clock": [{"at_unix_ms": 90_000, "by_ms": -3_600_000, "found": false},
                {"at_unix_ms": 95_000, "by_ms": 7_000, "found": false}],
            "spans": [span(60_000, Some(300_000), "up"), span(300_000, Some(301_000), "down"), span(301_000, None, "up")],
            "checks": [
                {"check": {"kind": "deep", "at_unix_ms": 30_000, "outcome": {"result": "failed", "kind": "unavailable",
                    "text": "no\u{1b}[2J credit"}, "took_ns": 1_000_000}, "counted": true},
                {"check": {"kind": "deep", "at_unix_ms": 330_000, "outcome": {"result": "timed_out"}}, "counted": false}],
            "releases": [{"at_unix_ms": 60_000, "version": "1.2.0", "digest": "ab".repeat(32)}],
        }))
        .unwrap()
    }

    #[test]
    fn a_short_outage_is_seen_in_the_bar() {
        let slices = slices(&history(), 10);
        let (up, down) = (Some(Health::Up), Some(Health::Down));
        assert_eq!(slices, [None, up, up, up, up, down, up, up, up, up]);
    }

    #[test]
    fn narrow_screens_get_narrow_lines_and_a_restart_is_no_version() {
        let mut history = history();
        let again = history.releases[0].clone();
        history.releases.push(again);
        let look = Look {
            width: 50,
            colour: false,
            now_unix_ms: 600_000,
        };
        let text = render(&history, &look);
        assert!(text.lines().all(|line| line.chars().count() <= 50), "{text}");
        assert_eq!(text.matches("  version").count(), 1, "{text}");
        // The bar shows the worst; how little that was stands below it.
        assert!(
            text.contains("up 99.814 %, down 0.185 % of 9 min") && text.contains("not observed; the worst"),
            "{text}"
        );
        assert!(
            text.contains("1970-01-01 00:05:00Z  down\n    for 1.0 s: "),
            "{text}"
        );
    }

    #[test]
    fn history_is_shown_in_lines_that_fit() {
        let look = Look {
            width: 80,
            colour: false,
            now_unix_ms: 600_000,
        };
        let text = render(&history(), &look);
        for part in [
            "lang, the last 10 min",
            "7, 2 failed",
            "6, 1 failed",
            "1.5 µs",
            "2.5 ms in all",
            "1.2.0 from 1970",
            "00:05:00Z  down",
            "deep      2, 1 failed",
            "clock: set back by 1 h to",
            "set ahead by 7.0 s to",
            "00:00:30Z unavailable in 1.0 ms: no",
            "00:05:30Z no answer in time (counts for nothing)",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
