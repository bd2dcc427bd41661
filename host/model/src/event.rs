//! Events of the host and its plugins.

use super::moment::utc;
use super::{
    Cause, Connection, Crash, Digest, Health, Lifecycle, LogLevel, Maintenance, MissingView, ProcessChange,
    RefusedView, Verdict,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// Something that happened, with its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// A file was found, and it is a plugin for this host.
    Found {
        /// The plugin's id.
        id: String,
        /// The plugin's version.
        version: semver::Version,
        /// Which file.
        #[serde(serialize_with = "crate::text::lossy_path")]
        path: PathBuf,
        /// SHA-256 of the file.
        digest: Digest,
    },
    /// A file was found, and it is not.
    Refused(RefusedView),
    /// A file is gone.
    Vanished {
        /// Which file.
        #[serde(serialize_with = "crate::text::lossy_path")]
        path: PathBuf,
    },
    /// A plugin directory that was not there is there now.
    Appeared {
        /// Which directory.
        #[serde(serialize_with = "crate::text::lossy_path")]
        path: PathBuf,
    },
    /// An instance is configured, and its plugin is not there.
    Missing(MissingView),
    /// An instance changed its state.
    Moved {
        /// The instance.
        name: String,
        /// Where it was.
        from: Lifecycle,
        /// Where it is.
        to: Lifecycle,
        /// Why.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        cause: Option<String>,
    },
    /// Many instances changed their state in the same way at the same time. None of them has an event of its own.
    MovedMany {
        /// Where they were.
        from: Lifecycle,
        /// Where they are.
        to: Lifecycle,
        /// How many.
        count: usize,
        /// The first few of them.
        names: Vec<String>,
    },
    /// Many instances are held to be something else at the same time. None of them has an event of its own.
    HealthMany {
        /// What they were held to be.
        from: Health,
        /// What they are held to be.
        to: Health,
        /// How many.
        count: usize,
        /// The first few of them.
        names: Vec<String>,
    },
    /// Another generation of an instance serves now.
    Replaced {
        /// The instance.
        name: String,
        /// The version that served.
        from: semver::Version,
        /// The version that serves.
        to: semver::Version,
    },
    /// A step of stopping an instance failed; stopping goes on.
    StepFailed {
        /// The instance.
        name: String,
        /// Which load it was.
        generation: u64,
        /// Which step: `drain`, `stop` or `destroy`.
        step: String,
        /// What it said.
        text: String,
    },
    /// A library was unloaded, or could not be. Told again when what held it is gone, or something else holds it.
    Unloaded {
        /// The instance that it served last.
        name: String,
        /// Which load it was.
        generation: u64,
        /// What became of it.
        verdict: Verdict,
    },
    /// A call has not come back for so long that its lane is given up.
    LaneLost {
        /// The instance.
        name: String,
        /// Which entry it is in.
        phase: String,
        /// How long it has been in, in milliseconds.
        ran_ms: u64,
    },
    /// A call that was given up has come back.
    LateReturn {
        /// The instance.
        name: String,
        /// Which entry it was in.
        phase: String,
        /// How long it was in, in milliseconds.
        ran_ms: u64,
    },
    /// An instance writes to its log.
    Logged {
        /// The instance.
        name: String,
        /// How important.
        level: LogLevel,
        /// Which part of the plugin speaks.
        target: String,
        /// What it says.
        text: String,
    },
    /// An instance is held to be something else.
    Health {
        /// The instance.
        name: String,
        /// What it was held to be.
        from: Health,
        /// What it is held to be.
        to: Health,
        /// What decided.
        cause: Cause,
        /// It changes too often to be believed.
        flapping: bool,
        /// The plugin's own words, or its error's.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        text: Option<String>,
    },
    /// An instance's health begins to change too often to be believed, or ceases to. Between, its changes have no events of their own.
    Flapping {
        /// The instance.
        name: String,
        /// Whether it begins.
        begins: bool,
        /// What it is held to be.
        to: Health,
        /// What decided.
        cause: Cause,
        /// Weighted share of changes among its last states, in thousandths.
        permille: u16,
        /// Changes without an event; 0 where it begins.
        changes: u32,
        /// For how long it flapped, in milliseconds; 0 where it begins.
        for_ms: u64,
    },
    /// A named part of an instance's check is otherwise than before.
    PartChanged {
        /// The instance.
        name: String,
        /// Which part.
        part: String,
        /// How it was; absent in the first report.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        from: Option<Health>,
        /// How it is.
        to: Health,
        /// What was seen; may be empty.
        text: String,
    },
    /// The connection that an instance keeps is otherwise than before.
    ConnectionChanged {
        /// The instance.
        name: String,
        /// How it was.
        from: Connection,
        /// How it is.
        to: Connection,
    },
    /// An instance's maintenance began, was changed, or ended.
    Maintenance {
        /// The instance.
        name: String,
        /// How it is from here on; absent if it ended.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        maintenance: Option<Maintenance>,
    },
    /// More than half of the instances that are to run failed within a short time, which is held to be the host's trouble and not theirs:
    /// they are started one after the other. Told when that begins and when it is over.
    HostTrouble {
        /// Whether it begins.
        begins: bool,
        /// How many have failed.
        failed: usize,
        /// Of how many.
        of: usize,
        /// The first few of them.
        names: Vec<String>,
    },
    /// Plugin code changed something of the process that all share.
    ProcessChanged(ProcessChange),
    /// A host that ran before was ended by a signal. Told once, by the next host's start.
    HostCrashed(Crash),
    /// The host itself did not run for a while; nothing that happened meanwhile is held against a plugin.
    Stalled {
        /// How long, in milliseconds.
        for_ms: u64,
    },
    /// An instance pushes its health without being asked.
    HealthPushed {
        /// The instance.
        name: String,
        /// What it says.
        health: Health,
        /// Why.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        text: Option<String>,
    },
}

impl What {
    /// The instance that it is about.
    pub fn instance(&self) -> Option<&str> {
        match self {
            What::Missing(missing) => Some(&missing.name),
            What::ProcessChanged(change) => match &*change.by {
                [one] => Some(one),
                _ => None,
            },
            What::HostCrashed(crash) => crash.culprit.as_ref()?.instance.as_deref(),
            What::Moved { name, .. }
            | What::Replaced { name, .. }
            | What::StepFailed { name, .. }
            | What::Unloaded { name, .. }
            | What::LaneLost { name, .. }
            | What::LateReturn { name, .. }
            | What::Logged { name, .. }
            | What::Health { name, .. }
            | What::Flapping { name, .. }
            | What::PartChanged { name, .. }
            | What::ConnectionChanged { name, .. }
            | What::Maintenance { name, .. }
            | What::HealthPushed { name, .. } => Some(name),
            What::Found { .. }
            | What::Refused(_)
            | What::Vanished { .. }
            | What::Appeared { .. }
            | What::MovedMany { .. }
            | What::HealthMany { .. }
            | What::HostTrouble { .. }
            | What::Stalled { .. } => None,
        }
    }
}

/// In a line for people, without the instance's name.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Found {
                id, version, path, ..
            } => write!(f, "found {id} {version} at {}", path.display()),
            What::Refused(refused) => {
                write!(
                    f,
                    "refused {} ({}): {}",
                    refused.path.display(),
                    refused.code,
                    refused.reason
                )
            }
            What::Vanished { path } => write!(f, "{} is gone", path.display()),
            What::Appeared { path } => write!(f, "the plugin directory {} is there now", path.display()),
            What::Missing(missing) => f.write_str(&missing.reason),
            What::Moved { from, to, cause, .. } => {
                write!(f, "{} → {}{}", from.as_str(), to.as_str(), more(cause.as_ref()))
            }
            What::MovedMany {
                from,
                to,
                count,
                names,
            } => many(f, from.as_str(), to.as_str(), *count, names),
            What::HealthMany {
                from,
                to,
                count,
                names,
            } => many(f, from.as_str(), to.as_str(), *count, names),
            What::HostTrouble { .. } => write_host_trouble(f, self),
            What::Maintenance { maintenance, .. } => match maintenance {
                Some(maintenance) => write_maintenance(f, maintenance),
                None => f.write_str("maintenance has ended"),
            },
            What::ProcessChanged(change) => write!(f, "{change}"),
            What::HostCrashed(crash) => write!(f, "{crash}"),
            What::Replaced { from, to, .. } => write!(f, "version {from} replaced by {to}"),
            What::StepFailed { step, text, .. } => write!(f, "{step} failed, stopping goes on: {text}"),
            What::Unloaded {
                generation, verdict, ..
            } => write!(f, "load {generation} unloaded: {verdict}"),
            What::LaneLost { phase, ran_ms, .. } => {
                write!(
                    f,
                    "{phase} does not return after {ran_ms} ms; its lane is given up"
                )
            }
            What::LateReturn { phase, ran_ms, .. } => {
                write!(f, "{phase} was given up, and has returned after {ran_ms} ms")
            }
            What::Logged { target, text, .. } => write!(f, "{target}: {text}"),
            What::Stalled { for_ms } => write!(f, "the host itself did not run for {for_ms} ms"),
            What::Health { .. }
            | What::Flapping { .. }
            | What::PartChanged { .. }
            | What::ConnectionChanged { .. }
            | What::HealthPushed { .. } => write_health(f, self),
        }
    }
}

fn more(text: Option<&String>) -> String {
    text.map(|text| format!(": {text}")).unwrap_or_default()
}

/// What is known of an instance's health is otherwise than before.
fn write_health(f: &mut fmt::Formatter<'_>, what: &What) -> fmt::Result {
    match what {
        What::Health {
            from,
            to,
            cause,
            flapping,
            text,
            ..
        } => {
            let flapping = if *flapping { ", flapping" } else { "" };
            let (from, to) = (from.as_str(), to.as_str());
            write!(f, "{from} → {to}{flapping}: {cause}{}", more(text.as_ref()))
        }
        What::Flapping {
            begins: true,
            to,
            cause,
            permille,
            ..
        } => write!(
            f,
            "flapping: {} % of its last states are changes; now {}: {cause}",
            permille / 10,
            to.as_str()
        ),
        What::Flapping {
            to,
            cause,
            changes,
            for_ms,
            ..
        } => write!(
            f,
            "no longer flapping: {}: {cause}, after {changes} changes in {} s",
            to.as_str(),
            for_ms / 1000
        ),
        What::PartChanged {
            part, from, to, text, ..
        } => {
            let from = from.map_or("not reported", Health::as_str);
            let text = if text.is_empty() {
                String::new()
            } else {
                format!(": {text}")
            };
            write!(f, "part {part}: {from} → {}{text}", to.as_str())
        }
        What::ConnectionChanged { from, to, .. } => {
            write!(f, "connection: {} → {}", from.as_str(), to.as_str())
        }
        What::HealthPushed { health, text, .. } => {
            write!(f, "says of itself: {}{}", health.as_str(), more(text.as_ref()))
        }
        _ => Ok(()),
    }
}

fn many(f: &mut fmt::Formatter<'_>, from: &str, to: &str, count: usize, names: &[String]) -> fmt::Result {
    let names = names.join(", ");
    write!(f, "{count} plugins {from} → {to}, {names} among them")
}

fn write_host_trouble(f: &mut fmt::Formatter<'_>, what: &What) -> fmt::Result {
    match what {
        What::HostTrouble {
            begins: true,
            failed,
            of,
            names,
        } => write!(
            f,
            "{failed} of {of} plugins failed at the same time, {} among them: that is held to be the host's trouble, and they are \
             started one after the other",
            names.join(", ")
        ),
        What::HostTrouble { failed, of, .. } => {
            write!(
                f,
                "the host's trouble is over: {failed} of {of} plugins have failed"
            )
        }
        _ => Ok(()),
    }
}

fn write_maintenance(f: &mut fmt::Formatter<'_>, maintenance: &Maintenance) -> fmt::Result {
    f.write_str("in maintenance")?;
    if let Some(until) = maintenance.until_unix_ms {
        write!(f, " until {}", utc(until))?;
    }
    match &maintenance.reason {
        Some(reason) => write!(f, ": {reason}"),
        None => Ok(()),
    }
}
