//! `extman maintenance`.

use super::args::Target;
use super::backend::Backend;
use super::duration::lasted;
use super::fault::Fault;
use super::grid::grid;
use super::screen::{Look, Outcome, Screen};
use super::session;
use super::several::each;
use super::text::{plain, wrap};
use extman_model::control::{Command, since_ms};
use extman_model::moment::utc;
use extman_model::{Maintenance, MaintenanceAsked, MaintenanceRow};

/// A plugin in maintenance is checked and shown, counts in no sum, and is called only where nobody else serves. It ends by itself,
/// and outlives a restart of the host.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  extman maintenance embedder --for 1h --reason 'new model'
  extman maintenance embedder --end
  extman maintenance")]
pub(crate) struct MaintenanceArgs {
    /// Their names, as `extman list` shows them
    #[arg(required_if_eq("end", "true"))]
    names: Vec<String>,
    /// Begin it, for so long, such as 30m, 1h or 7d; again to change how long
    #[arg(long = "for", value_name = "DURATION", value_parser = since_ms, requires = "names")]
    for_ms: Option<u64>,
    /// Why; shown wherever the plugin is
    #[arg(long, value_name = "TEXT", requires = "for_ms")]
    reason: Option<String>,
    /// End it now
    #[arg(long, conflicts_with = "for_ms")]
    end: bool,
    #[command(flatten)]
    pub(super) target: Target,
}

pub(super) fn run(args: MaintenanceArgs, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let look = &screen.look;
    let command = |name: String| match (args.for_ms, args.end) {
        (Some(for_ms), _) => Command::StartMaintenance {
            name,
            asked: MaintenanceAsked {
                for_ms,
                reason: args.reason.clone(),
            },
        },
        (None, true) => Command::EndMaintenance { name },
        (None, false) => Command::Maintenance { name: Some(name) },
    };
    let one = |name: &str, rows: &[MaintenanceRow]| match rows {
        [] if args.end => format!("{}: maintenance has ended", plain(name)),
        [] => format!("{} is in no maintenance", plain(name)),
        [row, ..] => {
            let text = format!("{} is {}", row.name, words(&row.maintenance, look));
            wrap(&text, look.width, 0)
        }
    };
    session::shown(&args.target, backend, |host| match &*args.names {
        [] => host.rendered(
            Command::Maintenance { name: None },
            |rows: &Vec<MaintenanceRow>| table(rows, look),
        ),
        names => each(names, |name| {
            host.rendered(command(name.to_owned()), |rows: &Vec<MaintenanceRow>| {
                one(name, rows)
            })
        }),
    })
}

/// In maintenance until when, and why.
pub(super) fn words(maintenance: &Maintenance, look: &Look) -> String {
    let mut text = match maintenance.until_unix_ms {
        Some(until) => format!(
            "in maintenance until {}, for {} more",
            utc(until),
            lasted(until.saturating_sub(look.now_unix_ms))
        ),
        None => "in maintenance by its configuration, without an end".to_owned(),
    };
    if let Some(reason) = &maintenance.reason {
        text.push_str(": ");
        text.push_str(&plain(reason));
    }
    text
}

fn table(rows: &[MaintenanceRow], look: &Look) -> String {
    if rows.is_empty() {
        return "Nothing is in maintenance.".to_owned();
    }
    let moment = |at: Option<u64>| at.map_or_else(|| "-".to_owned(), utc);
    let row = |MaintenanceRow { name, maintenance }: &MaintenanceRow| {
        let left = maintenance
            .until_unix_ms
            .map(|until| lasted(until.saturating_sub(look.now_unix_ms)));
        let reason = match (&maintenance.reason, maintenance.until_unix_ms) {
            (Some(reason), _) => reason.clone(),
            (None, None) => "its configuration".to_owned(),
            (None, Some(_)) => "-".to_owned(),
        };
        [
            name.clone(),
            moment(maintenance.since_unix_ms),
            moment(maintenance.until_unix_ms),
            left.unwrap_or_else(|| "-".to_owned()),
            reason,
        ]
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    grid(&["NAME", "SINCE", "UNTIL", "LEFT", "REASON"], &rows, look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::MaintenanceSource;

    const LOOK: Look = Look {
        width: 80,
        colour: false,
        now_unix_ms: 60_000,
    };

    #[test]
    fn both_sources_are_listed_in_lines_that_fit() {
        let rows = [
            MaintenanceRow {
                name: "embedder".to_owned(),
                maintenance: Maintenance {
                    by: MaintenanceSource::Operator,
                    since_unix_ms: Some(0),
                    until_unix_ms: Some(3_660_000),
                    reason: Some(
                        "new\u{1b}[2J model, and a reason that is longer than there is room".to_owned(),
                    ),
                },
            },
            MaintenanceRow {
                name: "lang".to_owned(),
                maintenance: Maintenance::CONFIGURED,
            },
        ];
        let text = table(&rows, &LOOK);
        assert!(
            text.contains("1970-01-01") && text.contains("1 h") && text.contains("its configuration"),
            "{text}"
        );
        assert!(
            !text.contains('\u{1b}') && text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert_eq!(
            words(&rows[1].maintenance, &LOOK),
            "in maintenance by its configuration, without an end"
        );
        assert!(
            words(&rows[0].maintenance, &LOOK)
                .starts_with("in maintenance until 1970-01-01 01:01:00Z, for 1 h more: new")
        );
        assert_eq!(table(&[], &LOOK), "Nothing is in maintenance.");
    }
}
