//! The host's own parts: from what was seen of them to how they are. Pure: whoever looks passes in what it saw.
//!
//! None of it makes a plugin's health worse: a full disk is the host's affair.

use crate::nanos;
use extman_model::history::HistoryState;
use extman_model::{Component, Figure, Health, Source, Unit};
use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

/// From where on a part is worse than up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Free bytes of a file system below which the disk is degraded, and below which it is down.
    pub disk_free: (u64, u64),
    /// Share of the memory that the host may use, in thousandths, from which on it is degraded, and from which on it is down.
    pub memory_permille: (u64, u64),
    /// Share of the descriptors that may be open, in thousandths, from which on they are degraded, and from which on down.
    pub descriptors_permille: (u64, u64),
    /// Time without a lost line after which the log is up again.
    pub log_quiet: Duration,
    /// Time without a look by the watchdog after which the lanes are degraded, and after which they are down.
    pub watchdog: (Duration, Duration),
    /// 99 of 100 checks begin no later than this after they are due; else the lanes are degraded.
    pub lag: Duration,
    /// Lost lanes from which on they are degraded.
    pub lost: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            disk_free: (512 << 20, 64 << 20),
            memory_permille: (850, 950),
            descriptors_permille: (800, 950),
            log_quiet: Duration::from_secs(300),
            watchdog: (Duration::from_secs(1), Duration::from_secs(5)),
            lag: Duration::from_secs(1),
            lost: 8,
        }
    }
}

/// What was seen of the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanesSeen {
    /// How long ago the watchdog looked, or began; absent if there is none.
    pub watchdog: Option<Duration>,
    /// Lanes that are lost in a call.
    pub lost: usize,
    /// 99 of 100 checks began no later than this after they were due, or the one that waits longest for a lane has been due for so long;
    /// absent if there were none.
    pub lag_p99: Option<Duration>,
}

/// What was seen of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// What the host keeps there.
    pub of: Cow<'static, str>,
    /// Where.
    pub path: PathBuf,
    /// Bytes that are free for the host, and all there are; or why that can't be known.
    pub bytes: Result<(u64, u64), String>,
}

/// What was seen of the memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemorySeen {
    /// Of the host with its plugins, in bytes.
    pub resident: Option<u64>,
    /// What its control group allows, in bytes; absent if that allows all there is.
    pub allowed: Option<u64>,
    /// What the machine has, in bytes.
    pub machine: Option<u64>,
}

/// The store: whether the host could write to it the last time that it had to.
pub fn store(failure: Option<String>) -> Component {
    match failure {
        Some(why) => part("store", Health::Down, format!("no plugin can be taken in: {why}")),
        None => part("store", Health::Up, "could be written to the last time"),
    }
}

/// The history, as it tells of itself.
pub fn history(state: &HistoryState) -> Component {
    match state {
        HistoryState::Working => part("history", Health::Up, "is written"),
        HistoryState::Degraded { why, since_unix_ms } => Component {
            since_unix_ms: *since_unix_ms,
            ..part("history", Health::Degraded, why.clone())
        },
        HistoryState::Off { why } => Component {
            left_out: true,
            ..part("history", Health::Up, format!("is off: {why}"))
        },
    }
}

/// The lanes: whether somebody notices one that hangs, and whether checks begin in time.
pub fn lanes(seen: &LanesSeen, limits: &Limits) -> Component {
    use Health::{Degraded, Down, Up};
    let (late, dead) = limits.watchdog;
    let (ago, lag) = (
        seen.watchdog.unwrap_or_default(),
        seen.lag_p99.unwrap_or_default(),
    );
    let (ago_ms, lag_ms, lost) = (ago.as_millis(), lag.as_millis(), seen.lost);
    let unnoticed = "a lane that hangs is not noticed";
    let (health, reason) = if seen.watchdog.is_none() {
        (Down, format!("there is no watchdog: {unnoticed}"))
    } else if ago > dead {
        (
            Down,
            format!("the watchdog has not looked for {ago_ms} ms: {unnoticed}"),
        )
    } else if ago > late {
        (Degraded, format!("the watchdog has not looked for {ago_ms} ms"))
    } else if lag > limits.lag {
        let begins = format!("1 of 100 checks begins {lag_ms} ms late or later");
        (
            Degraded,
            format!("{begins}: the machine, or the host's share of it, is too small"),
        )
    } else if lost >= limits.lost {
        let lanes = format!("{lost} lanes are lost in calls that do not return");
        (
            Degraded,
            format!("{lanes}; the plugins that are wedged hold them"),
        )
    } else {
        (Up, "the watchdog looks, and checks begin in time".to_owned())
    };
    let mut part = part("lanes", health, reason);
    part.figures.push(figure("lanes_lost", lost as u64, Unit::Count));
    let ago = (seen.watchdog).map(|ago| figure("watchdog_looked_before", nanos(ago), Unit::Ns));
    let lag = seen.lag_p99.map(|lag| figure("lag_p99", nanos(lag), Unit::Ns));
    part.figures.extend(ago.into_iter().chain(lag));
    part
}

/// The disks that the host writes to: as the worst of them.
pub fn disk(spaces: &[Space], limits: &Limits) -> Component {
    let (low, empty) = limits.disk_free;
    let told = spaces.iter().map(|space| {
        let (of, at) = (&space.of, space.path.display());
        match &space.bytes {
            Err(why) => (Health::Unknown, format!("{of} at {at}: {why}")),
            Ok((free, all)) => {
                let text = format!("{of} at {at}: {} MiB are free of {} MiB", free >> 20, all >> 20);
                match *free {
                    free if free < empty => (Health::Down, text),
                    free if free < low => (Health::Degraded, text),
                    _ => (Health::Up, text),
                }
            }
        }
    });
    // The first of equals.
    let worst = told.reduce(|worst, next| if next.0 > worst.0 { next } else { worst });
    let Some((health, reason)) = worst else {
        return absent("disk", "the host writes nowhere");
    };
    let mut part = part("disk", health, reason);
    for (space, (free, all)) in spaces.iter().filter_map(|s| Some((s, s.bytes.as_ref().ok()?))) {
        for (what, value) in [("free", *free), ("size", *all)] {
            let name = format!("{}_{what}", space.of.replace(' ', "_"));
            part.figures
                .push(Figure::new(name, value, Unit::Bytes, Source::Host));
        }
    }
    part
}

/// The memory of the host with its plugins, against what it may use.
pub fn memory(seen: &MemorySeen, limits: &Limits) -> Component {
    let (Some(resident), Some(machine)) = (seen.resident, seen.machine.filter(|bytes| *bytes > 0)) else {
        return absent("memory", "can't be measured here: /proc does not tell");
    };
    let allowed = seen.allowed.filter(|allowed| (1..machine).contains(allowed));
    let (of, whose) = match allowed {
        Some(allowed) => (allowed, "its control group allows"),
        None => (machine, "the machine has"),
    };
    let (share, mib, of_mib) = (permille(resident, of), resident >> 20, of >> 20);
    let reason = format!("the host and its plugins have {mib} MiB of the {of_mib} MiB that {whose}");
    let mut part = part("memory", by_share(share, limits.memory_permille), reason);
    part.figures.push(figure("resident", resident, Unit::Bytes));
    part.figures
        .extend(allowed.map(|bytes| figure("allowed", bytes, Unit::Bytes)));
    part.figures.push(figure("machine", machine, Unit::Bytes));
    part.figures.push(figure("share", share, Unit::Permille));
    part
}

/// What was seen of open descriptors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DescriptorsSeen {
    /// Those that are open.
    pub open: Option<u64>,
    /// How many may be.
    pub allowed: Option<u64>,
}

/// Open descriptors against their limit: without one that is free no connection is taken, no library loaded and no child started.
pub fn descriptors(seen: &DescriptorsSeen, limits: &Limits) -> Component {
    let Some(open) = seen.open else {
        return absent("descriptors", "can't be counted here: /proc does not tell");
    };
    let Some(allowed) = seen.allowed.filter(|allowed| *allowed > 0) else {
        return absent("descriptors", "there is no limit");
    };
    let health = by_share(permille(open, allowed), limits.descriptors_permille);
    let remedy = match health {
        Health::Up => "",
        _ => "; raise the hard limit (ulimit -Hn, LimitNOFILE=) and start the host again",
    };
    let reason = format!("{open} descriptors are open of the {allowed} that may be{remedy}");
    let mut part = part("descriptors", health, reason);
    part.figures.push(figure("open", open, Unit::Count));
    part.figures.push(figure("allowed", allowed, Unit::Count));
    part
}

fn permille(part: u64, of: u64) -> u64 {
    u64::try_from(u128::from(part) * 1000 / u128::from(of)).unwrap_or(u64::MAX)
}

fn by_share(share: u64, (high, full): (u64, u64)) -> Health {
    match share {
        _ if share >= full => Health::Down,
        _ if share >= high => Health::Degraded,
        _ => Health::Up,
    }
}

/// What was seen of the log: the lines that were lost, how long ago the last of them was, and why.
pub type LogSeen = Option<(u64, Duration, String)>;

/// The log: whether lines of it are being lost.
pub fn log(seen: &LogSeen, limits: &Limits) -> Component {
    let Some((lines, ago, why)) = seen else {
        return part("log", Health::Up, "no line was lost");
    };
    let (health, reason) = match *ago < limits.log_quiet {
        true => (
            Health::Degraded,
            format!("lines are being lost, {lines} by now: {why}"),
        ),
        false => (
            Health::Up,
            format!(
                "{lines} lines were lost, the last one {} s ago: {why}",
                ago.as_secs()
            ),
        ),
    };
    let mut part = part("log", health, reason);
    part.figures.push(figure("lines_lost", *lines, Unit::Count));
    part
}

/// The host's own threads and tasks: whether all that must live do.
pub fn threads(died: &[&str]) -> Component {
    if died.is_empty() {
        return part("threads", Health::Up, "all that must live do");
    }
    let reason = format!(
        "{} died of a fault in the host; start the host again, and report what its log says of it",
        died.join(", ")
    );
    part("threads", Health::Down, reason)
}

/// The same, if nobody has looked for so long.
pub fn aged(mut part: Component, age: Duration, patience: Duration) -> Component {
    if age > patience && !part.left_out {
        part.health = Health::Unknown;
        part.reason = format!("nobody has looked for {} s; then: {}", age.as_secs(), part.reason);
    }
    part
}

fn part(name: &'static str, health: Health, reason: impl Into<String>) -> Component {
    Component {
        name: Cow::Borrowed(name),
        health,
        reason: reason.into(),
        left_out: false,
        since_unix_ms: 0,
        figures: Vec::new(),
    }
}

fn absent(name: &'static str, reason: &str) -> Component {
    Component {
        left_out: true,
        ..part(name, Health::Unknown, reason)
    }
}

fn figure(name: &'static str, value: u64, unit: Unit) -> Figure {
    Figure::new(name, value, unit, Source::Host)
}

#[cfg(test)]
mod tests;
