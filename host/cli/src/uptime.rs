//! `extman uptime`.

use super::args::Target;
use super::backend::Backend;
use super::duration::{lasted, long};
use super::fault::{Exit, Fault};
use super::grid::grid;
use super::screen::{Look, Outcome, Rendered, Screen};
use super::session::{self, Session};
use super::several;
use super::text::wrap;
use extman_model::control::report::{Uptime, UptimeRow};
use extman_model::control::{Command, since_ms};

#[derive(Debug, clap::Args)]
pub(crate) struct UptimeArgs {
    /// Only these plugins; one may be gone, as long as its history is kept
    names: Vec<String>,
    /// How far back, such as 90s, 15m, 24h or 7d
    #[arg(long, value_name = "DURATION", value_parser = since_ms, default_value = "24h")]
    since: u64,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: &UptimeArgs, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let ask = |host: &Session, name: Option<String>| -> Result<Vec<UptimeRow>, Fault> {
        let since_ms = args.since;
        host.ask(Command::Uptime { name, since_ms })
    };
    let mut failures = Vec::new();
    let (rows, warnings) = session::with(&args.target, backend, |host| {
        if args.names.is_empty() {
            return ask(host, None);
        }
        let mut rows = Vec::new();
        for name in &args.names {
            match ask(host, Some(name.clone())) {
                Ok(of_name) => rows.extend(of_name),
                Err(fault) if args.names.len() == 1 || fault.exit != Exit::Failed => return Err(fault),
                Err(fault) => failures.push(format!("{name}: {}", fault.failure.text)),
            }
        }
        Ok(rows)
    })?;
    let mut rendered = Rendered::new(&rows, render(&rows, args.since, &screen.look))?;
    rendered.warnings = warnings;
    several::refuse(&mut rendered, failures, args.names.len());
    Ok(Outcome::Rendered(rendered))
}

/// What was seen for nearly all of the time that was asked about says no length.
const FRESH_MS: u64 = 60_000;

const HEADER: [&str; 7] = [
    "NAME",
    "UPTIME",
    "KNOWN",
    "OUTAGES",
    "LONGEST",
    "TO RESTORE",
    "BETWEEN",
];

fn render(rows: &[UptimeRow], since_ms: u64, look: &Look) -> String {
    if rows.is_empty() {
        return "No plugins.".to_owned();
    }
    let cells: Vec<[String; 7]> = rows.iter().map(|one| row(one, since_ms)).collect();
    let heading = format!(
        "The last {}, or since a plugin was first seen. What nobody knew is in no share.",
        long(since_ms)
    );
    let heading = wrap(&heading, look.width, 0);
    let table = grid(&HEADER, &cells, look);
    format!("{heading}\n\n{table}{}", left_out(rows, look))
}

/// Time that is in no share: in maintenance, or stopped by an operator.
fn left_out(rows: &[UptimeRow], look: &Look) -> String {
    let of = |row: &UptimeRow| {
        let ms = row.uptime.left_out_ms;
        let text = format!(
            "{}: {} in maintenance or stopped, in no share",
            row.name,
            lasted(ms)
        );
        (ms > 0).then(|| wrap(&text, look.width, 0))
    };
    let lines: Vec<String> = rows.iter().filter_map(of).collect();
    match lines.is_empty() {
        true => String::new(),
        false => format!("\n\n{}", lines.join("\n")),
    }
}

fn row(row: &UptimeRow, since_ms: u64) -> [String; 7] {
    let Uptime {
        range,
        uptime,
        known,
        outages,
        longest,
        mttr_ms,
        mtbf_ms,
        ..
    } = &row.uptime;
    let length = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), lasted);
    let mut known = share(*known);
    if range.length_ms() + FRESH_MS < since_ms {
        known.push_str(&format!(" of {}", long(range.length_ms())));
    }
    [
        row.name.clone(),
        share(*uptime),
        known,
        outages.to_string(),
        length(longest.map(|outage| outage.length_ms())),
        length(*mttr_ms),
        length(*mtbf_ms),
    ]
}

/// In percent, cut and not rounded: 99.9996 is not 100.
pub(super) fn share(share: Option<f64>) -> String {
    share.map_or_else(
        || "-".to_owned(),
        |share| format!("{:.3} %", (share * 100_000.0).floor() / 1000.0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nearly_all_is_not_all_and_nothing_known_is_no_number() {
        assert_eq!(share(Some(0.999_999_9)), "99.999 %");
        assert_eq!(share(Some(1.0)), "100.000 %");
        assert_eq!(share(None), "-");
    }

    #[test]
    fn plugin_that_was_seen_for_less_than_was_asked_says_for_how_long() {
        let row: UptimeRow = serde_json::from_value(json!({"name": "lang", "uptime": {
            "range": {"from_unix_ms": 0, "to_unix_ms": 7_200_000}, "up_ms": 7_200_000, "degraded_ms": 0, "down_ms": 0,
            "unknown_ms": 0, "left_out_ms": 0, "coverage": 1.0, "known": 1.0, "uptime": 1.0, "outages": 0}}))
        .unwrap();
        let of = |since_ms| self::row(&row, since_ms)[2].clone();
        assert_eq!(of(7_200_000), "100.000 %");
        assert_eq!(of(90 * 86_400_000), format!("100.000 % of {}", long(7_200_000)));
    }

    #[test]
    fn time_in_maintenance_is_listed() {
        let row: UptimeRow = serde_json::from_value(json!({"name": "lang", "uptime": {
            "range": {"from_unix_ms": 0, "to_unix_ms": 7_200_000}, "up_ms": 3_600_000, "degraded_ms": 0, "down_ms": 0,
            "unknown_ms": 0, "left_out_ms": 3_600_000, "coverage": 1.0, "known": 1.0, "uptime": 1.0, "outages": 0}}))
        .unwrap();
        let look = Look {
            width: 80,
            colour: false,
            now_unix_ms: 0,
        };
        let text = render(&[row], 7_200_000, &look);
        assert!(
            text.ends_with("lang: 1 h in maintenance or stopped, in no share"),
            "{text}"
        );
    }

    #[test]
    fn rows_fit_or_become_paragraphs() {
        let row: UptimeRow = serde_json::from_value(json!({"name": "lang", "uptime": {
            "range": {"from_unix_ms": 0, "to_unix_ms": 100_000}, "up_ms": 90_000, "degraded_ms": 0, "down_ms": 10_000,
            "unknown_ms": 0, "left_out_ms": 0, "coverage": 1.0, "known": 1.0, "uptime": 0.9, "outages": 1,
            "mttr_ms": 10_000, "mtbf_ms": null, "since_last_ms": 5, "longest": {"from_unix_ms": 0,
            "to_unix_ms": 10_000, "cause": {"code": "says_down"}, "running": false}}}))
        .unwrap();
        let look = |width| Look {
            width,
            colour: false,
            now_unix_ms: 0,
        };
        let wide = render(std::slice::from_ref(&row), 100_000, &look(100));
        assert!(
            wide.lines()
                .any(|l| l.contains("lang") && l.contains("90.000 %") && l.contains("10 s")),
            "{wide}"
        );
        let narrow = render(&[row], 100_000, &look(40));
        assert!(narrow.contains(" lang\n   uptime 90.000 %"), "{narrow}");
        assert!(!narrow.contains("between") && !narrow.contains(" -"), "{narrow}");
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
    }
}
