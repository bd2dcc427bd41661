//! On what and when it was measured, as far as the system tells.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// A list in Markdown; what can't be told is left out.
pub(super) fn description(at: SystemTime, command: &str) -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
    let cores = std::thread::available_parallelism()
        .ok()
        .map(|cores| cores.to_string());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load = load.and_then(|text| Some(text.split_ascii_whitespace().nth(1)?.to_owned()));
    [
        ("Command", Some(format!("`{command}`"))),
        ("Measured", Some(date(at))),
        ("Processor", model),
        ("Cores", cores),
        ("Kernel", kernel.map(|kernel| format!("Linux {}", kernel.trim()))),
        ("Compiler", first_line("rustc")),
        ("Load average over five minutes, when the table was written", load),
    ]
    .into_iter()
    .filter_map(|(what, value)| Some(format!("- {what}: {}\n", value?)))
    .collect()
}

fn first_line(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

/// Day in UTC.
fn date(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (mut days, mut year) = (seconds / 86_400, 1970);
    while days >= days_of(year) {
        days -= days_of(year);
        year += 1;
    }
    let february = days_of(year) - 337;
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02} (UTC)", days + 1)
}

fn days_of(year: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    365 + u64::from(leap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn days_are_told_rightly_around_leap_years() {
        for (days, wanted) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_453, "2025-12-31"),
        ] {
            let at = UNIX_EPOCH + Duration::from_secs(days * 86_400 + 86_399);
            assert_eq!(date(at), format!("{wanted} (UTC)"));
        }
    }
}
