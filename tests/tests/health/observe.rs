//! One fault in one host, until its plugin is held to be what is expected and stays so.

use super::table::{FLAPPING, Row};
use extman_tests::build;
use extman_tests::served::{Caller, Client, Served, pause};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// Changes of mind would come within some checks.
const STAYS_FOR_CHECKS: usize = 8;

/// Short times, since everything is waited for; long enough for a machine that is busy.
pub const PROBE: &str = "[probe]\ninterval_ms = 200\nrecheck_ms = 100\nbackoff_min_ms = 200\nbackoff_max_ms = 400\n\
                         timeout_min_ms = 1000\ntimeout_ms = 1000\nwindow_ms = 1500\nstale_intervals = 50\n";

/// What was seen otherwise.
pub fn observe(row: &Row) -> Result<(), String> {
    let (name, figures) = row.parts();
    let figures = figures.map_or(String::new(), |(number, figure)| format!("{figure} = {number}\n"));
    let config = if row.when == "never" {
        String::new()
    } else {
        format!(
            "[instance.config]\nhazard = {name:?}\nphase = {:?}\n{figures}",
            row.when
        )
    };
    let settings = format!(
        "[vetting]\nenabled = false\n{PROBE}[[instance]]\nplugin = \"faults\"\ncall_timeout_ms = 1000\nwedge_after_ms = 2500\n\
         start_budget_ms = 5000\nstop_budget_ms = 1000\n{config}"
    );
    let mut served = Served::start(&settings, &[]);
    served.put(&build::plugin("faults"));
    let caller = row.called.then(|| calling(served.client().clone()));
    let give_up = Instant::now() + PATIENCE;
    let (mut stayed, mut last_check) = (0, 0);
    let mut seen = String::from("nothing");
    while stayed < STAYS_FOR_CHECKS {
        if let Some(how) = served.died() {
            return Err(format!("the host died: {how}"));
        }
        if Instant::now() > give_up {
            return Err(format!("{seen}; by {}", way(&served).join(", ")));
        }
        pause();
        let Some(health) = served.client().plugin("faults").and_then(|view| {
            let checked = view.check.as_ref().map_or(0, |check| check.at_unix_ms);
            Some((view.health?, checked))
        }) else {
            continue;
        };
        let (health, checked) = health;
        seen = format!("{}: {}", health.judged.health.as_str(), health.judged.cause);
        let as_expected = match row.health {
            FLAPPING => health.judged.flags.flapping,
            word => seen == format!("{word}: {}", row.cause),
        };
        if !as_expected {
            stayed = 0;
        } else if checked != last_check || matches!(row.bound, "the event") {
            stayed += 1;
        }
        last_check = checked;
    }
    drop(caller);
    let way = way(&served);
    let forbidden = format!("→ {}", row.never);
    match way.iter().find(|step| step.contains(&forbidden)) {
        Some(step) => Err(format!("{seen}; by {step}")),
        None => Ok(()),
    }
}

/// All changes of its health, as they were logged.
pub fn way(served: &Served) -> Vec<String> {
    let log = served.log();
    let lines = log
        .lines()
        .filter(|line| line.contains(" → ") && line.contains("plugin=\"faults\""));
    let said = lines.filter_map(|line| {
        let words = line.split_once("INFO ").or_else(|| line.split_once("WARN "))?.1;
        Some(words.split(" plugin=").next()?.trim().to_owned())
    });
    said.collect()
}

/// Calls the plugin all the while: whether that fails is what the host is to see.
pub fn calling(client: Client) -> Caller {
    Caller::start(move || drop(client.invoke("fault.echo", "\"ping\"")))
}
