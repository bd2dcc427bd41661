//! `extman analyse`.

use super::backend::Backend;
use super::duration::{lasted, long, short};
use super::fault::Fault;
use super::history::{Past, amount};
use super::screen::{Look, Outcome, Screen};
use super::session;
use super::show::fields;
use super::uptime::share;
use extman_model::Unit;
use extman_model::control::Command;
use extman_model::control::report::{AnalysisAnswer, Drift, Finding, Leak};
use extman_model::moment::utc;

pub(super) fn run(args: Past, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let command = Command::Analyse {
        name: args.name,
        since_ms: args.since,
        full: true,
    };
    session::answered(&args.target, backend, command, |analysis: &AnalysisAnswer| {
        render(analysis, &screen.look)
    })
}

fn render(analysis: &AnalysisAnswer, look: &Look) -> String {
    let nanos = |value: f64| short(value.max(0.0) as u64);
    let bytes = |value: f64| amount(value.max(0.0) as u64, Unit::Bytes);
    let rows = vec![
        ("uptime", uptime(analysis)),
        (
            "flapping",
            said(&analysis.flapping, |found| {
                let word = if found.flapping { "yes" } else { "no" };
                format!(
                    "{word}, {:.1} % of its last states changed",
                    f64::from(found.permille) / 10.0
                )
            }),
        ),
        ("latency", said(&analysis.latency, |found| drift(found, nanos))),
        ("heap", said(&analysis.heap, |found| drift(found, bytes))),
        ("leak", said(&analysis.leak, leak)),
        ("errors", errors(analysis)),
        ("rhythm", rhythm(analysis)),
        (
            "load",
            said(&analysis.after_load, |found| match found {
                None => "its outages don't come after load, or too few to tell".to_owned(),
                Some(found) => format!(
                    "its outages come after load: {:.1} calls a minute before them, {:.1} otherwise",
                    found.before_calls_per_minute, found.other_calls_per_minute
                ),
            }),
        ),
        (
            "together",
            said(&analysis.co_failing, |pairs| {
                let other = |pair: &extman_model::control::report::CoFailing| {
                    let other = if pair.first == analysis.name {
                        &pair.second
                    } else {
                        &pair.first
                    };
                    format!("{other} ({} times)", pair.together)
                };
                match pairs.is_empty() {
                    true => "it fails together with nobody".to_owned(),
                    false => pairs.iter().map(other).collect::<Vec<_>>().join(", "),
                }
            }),
        ),
    ];
    let heading = format!("{}, the last {}", analysis.name, long(analysis.range.length_ms()));
    format!("{}\n{}", super::text::plain(&heading), fields(&rows, look))
}

fn said<T>(finding: &Finding<T>, say: impl FnOnce(&T) -> String) -> String {
    match finding {
        Finding::Found { found } => say(found),
        Finding::Missing { missing } => format!("can't be told: {missing}"),
    }
}

fn uptime(analysis: &AnalysisAnswer) -> String {
    let uptime = &analysis.uptime;
    let mut text = format!(
        "{} of the {} that is known, {} outages",
        share(uptime.uptime),
        share(uptime.known),
        uptime.outages
    );
    if let Some(longest) = uptime.longest {
        text.push_str(&format!(
            ", the longest {}: {}",
            lasted(longest.length_ms()),
            longest.cause
        ));
    }
    text
}

fn drift(found: &Drift, show: impl Fn(f64) -> String) -> String {
    let (word, comparison) = match found {
        Drift::NotEnough {
            baseline,
            baseline_needed,
            current,
            current_needed,
        } => {
            return format!(
                "too little is known: {baseline} of {baseline_needed} figures of the version before, {current} of \
                 {current_needed} of this one"
            );
        }
        Drift::None(comparison) => ("as in the version before", comparison),
        Drift::Worse(comparison) => ("worse than in the version before", comparison),
        Drift::Better(comparison) => ("better than in the version before", comparison),
    };
    format!(
        "{word}: {} then, {} now",
        show(comparison.baseline),
        show(comparison.current)
    )
}

fn leak(found: &Leak) -> String {
    match found {
        Leak::NotEnough { hours, hours_needed } => {
            format!("too little is known: {hours} of {hours_needed} hours after its first one")
        }
        Leak::NotSuspected(growth) => format!("no sign of one in {} hours", growth.hours),
        Leak::Suspected {
            growth,
            exhausted_unix_ms,
        } => {
            let rate = amount(growth.bytes_per_hour.max(0.0) as u64, Unit::Bytes);
            let end = exhausted_unix_ms.map(|at| format!(", at its limit on {}", utc(at)));
            let end = end.unwrap_or_default();
            format!("suspected: it grows by {rate} an hour{end}")
        }
    }
}

fn errors(analysis: &AnalysisAnswer) -> String {
    if analysis.errors.total == 0 {
        return "none".to_owned();
    }
    let kinds = analysis.errors.kinds.iter().map(|kind| {
        let callers = if kind.callers { ", the callers'" } else { "" };
        format!(
            "{} × {} ({:.0} %{callers})",
            kind.count,
            kind.kind,
            kind.share * 100.0
        )
    });
    kinds.collect::<Vec<_>>().join(", ")
}

fn rhythm(analysis: &AnalysisAnswer) -> String {
    match &analysis.periodic {
        None => "its failures have none, or they are too few to tell".to_owned(),
        Some(found) => format!(
            "it fails about every {}; the next is due on {}",
            lasted(found.period_ms),
            utc(found.next_unix_ms)
        ),
    }
}
