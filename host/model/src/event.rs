//! Events of the host and its plugins.

use super::moment::utc;
use super::{
    Cause, Connection, Crash, Digest, Health, Lifecycle, LogLevel, Maintenance, MirroredView, MissingView,
    PlacedFault, ProcessChange, RefusedView, RolloutPhase, Verdict,
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
    /// What serves in the place of another generation has been handed the state of that one.
    StateHandedOver {
        /// The instance.
        name: String,
        /// The version that wrote the state.
        from: semver::Version,
        /// The version that has taken it.
        to: semver::Version,
        /// The state's format, as the plugin counts; 0 if it gave none.
        format: u32,
        /// How large it is.
        bytes: u64,
    },
    /// An instance has begun without the state of the generation before it, which had one.
    StateLost {
        /// The instance.
        name: String,
        /// Why.
        text: String,
    },
    /// Another version could not be put in the place of the one that serves, or served, which goes on.
    VersionNotTaken {
        /// The instance.
        name: String,
        /// The version that was not taken.
        version: semver::Version,
        /// Why.
        text: String,
    },
    /// An update has come a step further: another phase, or another share of the calls.
    RolloutMoved {
        /// The instance.
        name: String,
        /// The version that served before.
        from: semver::Version,
        /// The version that is to take its place.
        to: semver::Version,
        /// Where the update is.
        phase: RolloutPhase,
        /// The share of the calls that the new version gets, in percent.
        percent: u8,
        /// What came of mirrored calls, where it comes from a phase in which calls were mirrored.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        mirrored: Option<MirroredView>,
    },
    /// A new version was taken back, or did not come so far that it was called; the one before it serves. It is not tried again by itself.
    TakenBack {
        /// The instance.
        name: String,
        /// The version that was taken back.
        version: semver::Version,
        /// Which bytes that is.
        digest: Digest,
        /// Why.
        why: String,
    },
    /// Another version is there, and waits for an operator.
    UpdateAvailable {
        /// The instance.
        name: String,
        /// The version that serves.
        from: semver::Version,
        /// The version that is there.
        to: semver::Version,
        /// Which bytes that is.
        digest: Digest,
    },
    /// `extman.toml` was changed, and can't be used: what it said before is in force.
    ConfigRefused {
        /// All that is wrong, each with its place.
        faults: Vec<PlacedFault>,
    },
    /// `extman.toml`, or a secret that it refers to, was changed, and is taken in.
    ConfigRead {
        /// Instances for which it says something else than before.
        instances: Vec<String>,
        /// Fields of the host's own that are in force at once.
        changed: Vec<String>,
        /// Fields of the host's own that hold from its next start on.
        needs_restart: Vec<String>,
        /// What can't be used of single instances, each with its place.
        faults: Vec<PlacedFault>,
    },
    /// A command has changed what is configured for an instance. It is on the disk, and was taken if the instance runs.
    ConfigSet {
        /// The instance.
        name: String,
        /// Who, as they said themselves.
        who: String,
        /// Which fields.
        fields: Vec<String>,
    },
    /// What is configured for an instance is another one, and it serves with that.
    ConfigTaken {
        /// The instance.
        name: String,
        /// It took it as it ran; else, another one that was made with it serves in its place.
        live: bool,
    },
    /// What is configured for an instance was not taken; it goes on with what it has.
    ConfigNotTaken {
        /// The instance.
        name: String,
        /// Why.
        text: String,
    },
    /// An instance served nobody for a while, as it had to be stopped with one configuration before it could be started with another.
    ConfigGap {
        /// The instance.
        name: String,
        /// For how long, in milliseconds.
        for_ms: u64,
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
        /// Which capability is called, if that entry is a call.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        capability: Option<String>,
        /// How long it has been in, in milliseconds.
        ran_ms: u64,
    },
    /// A call that was given up has come back.
    LateReturn {
        /// The instance.
        name: String,
        /// Which entry it was in.
        phase: String,
        /// Which capability was called, if that entry was a call.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        capability: Option<String>,
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
    /// Too many of an instance's latest calls failed or were slow, or one failed that was to show whether they succeed again: for a while none goes
    /// to it where another one serves.
    BreakerOpened {
        /// The instance.
        name: String,
        /// For how long, in milliseconds.
        for_ms: u64,
    },
    /// Failed calls keep no others from an instance any more: they succeed again, or the one whose calls failed was replaced or has ended.
    BreakerClosed {
        /// The instance.
        name: String,
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
            | What::StateHandedOver { name, .. }
            | What::StateLost { name, .. }
            | What::VersionNotTaken { name, .. }
            | What::RolloutMoved { name, .. }
            | What::TakenBack { name, .. }
            | What::UpdateAvailable { name, .. }
            | What::ConfigSet { name, .. }
            | What::ConfigTaken { name, .. }
            | What::ConfigNotTaken { name, .. }
            | What::ConfigGap { name, .. }
            | What::StepFailed { name, .. }
            | What::Unloaded { name, .. }
            | What::LaneLost { name, .. }
            | What::LateReturn { name, .. }
            | What::Logged { name, .. }
            | What::Health { name, .. }
            | What::Flapping { name, .. }
            | What::PartChanged { name, .. }
            | What::ConnectionChanged { name, .. }
            | What::BreakerOpened { name, .. }
            | What::BreakerClosed { name }
            | What::Maintenance { name, .. }
            | What::HealthPushed { name, .. } => Some(name),
            What::Found { .. }
            | What::Refused(_)
            | What::Vanished { .. }
            | What::Appeared { .. }
            | What::MovedMany { .. }
            | What::HealthMany { .. }
            | What::HostTrouble { .. }
            | What::ConfigRefused { .. }
            | What::ConfigRead { .. }
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
            What::StateHandedOver {
                from,
                to,
                format,
                bytes,
                ..
            } => write!(
                f,
                "version {to} has taken the state of version {from} (format {format}, {bytes} bytes)"
            ),
            What::StateLost { text, .. } => {
                write!(f, "it begins without the state of the one before: {text}")
            }
            What::VersionNotTaken { text, .. } => f.write_str(text),
            What::RolloutMoved { .. } | What::TakenBack { .. } | What::UpdateAvailable { .. } => {
                write_update(f, self)
            }
            What::ConfigRefused { .. }
            | What::ConfigRead { .. }
            | What::ConfigSet { .. }
            | What::ConfigTaken { .. }
            | What::ConfigNotTaken { .. }
            | What::ConfigGap { .. } => write_config(f, self),
            What::StepFailed { step, text, .. } => write!(f, "{step} failed, stopping goes on: {text}"),
            What::Unloaded {
                generation, verdict, ..
            } => write!(f, "load {generation} unloaded: {verdict}"),
            What::LaneLost { .. } | What::LateReturn { .. } => write_lane(f, self),
            What::BreakerOpened { .. } | What::BreakerClosed { .. } => write_breaker(f, self),
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

/// What has become of a lane whose work does not return.
fn write_lane(f: &mut fmt::Formatter<'_>, what: &What) -> fmt::Result {
    match what {
        What::LaneLost {
            phase,
            capability,
            ran_ms,
            ..
        } => {
            let phase = entered(phase, capability.as_deref());
            write!(
                f,
                "{phase} does not return after {ran_ms} ms; its lane is given up"
            )
        }
        What::LateReturn {
            phase,
            capability,
            ran_ms,
            ..
        } => {
            let phase = entered(phase, capability.as_deref());
            write!(f, "{phase} was given up, and has returned after {ran_ms} ms")
        }
        _ => Ok(()),
    }
}

/// What has become of a breaker.
fn write_breaker(f: &mut fmt::Formatter<'_>, what: &What) -> fmt::Result {
    match what {
        What::BreakerOpened { for_ms, .. } => write!(
            f,
            "its latest calls failed or were slow: for {for_ms} ms none goes to it, where another one serves"
        ),
        What::BreakerClosed { .. } => {
            f.write_str("failed calls keep no others from it any more: they succeed again, or it was replaced or has ended")
        }
        _ => Ok(()),
    }
}

/// Where an update from one version to another is, with the new one's share of the calls.
fn write_step(
    f: &mut fmt::Formatter<'_>,
    (from, to): (&semver::Version, &semver::Version),
    phase: RolloutPhase,
    percent: u8,
) -> fmt::Result {
    match phase {
        RolloutPhase::Loading => write!(f, "update from {from} to {to}: {to} is started beside {from}"),
        RolloutPhase::WarmingUp => {
            write!(f, "update from {from} to {to}: {to} has started, and gets ready")
        }
        RolloutPhase::Canary => write!(
            f,
            "update from {from} to {to}: {to} gets {percent} % of the calls"
        ),
        RolloutPhase::Probation => write!(
            f,
            "update from {from} to {to}: {to} gets all calls, and {from} stays loaded, to go back to"
        ),
        RolloutPhase::Retiring if percent == 0 => {
            write!(f, "update from {from} to {to}: {to} is drained and unloaded")
        }
        RolloutPhase::Retiring => {
            write!(f, "update from {from} to {to}: {from} is drained and unloaded")
        }
    }
}

/// What has become of an update.
fn write_update(f: &mut fmt::Formatter<'_>, what: &What) -> fmt::Result {
    match what {
        What::RolloutMoved {
            from,
            to,
            phase,
            percent,
            mirrored,
            ..
        } => {
            write_step(f, (from, to), *phase, *percent)?;
            mirrored
                .as_ref()
                .map_or(Ok(()), |mirrored| write!(f, "; {mirrored}"))
        }
        What::TakenBack { version, why, .. } => {
            write!(
                f,
                "version {version} was taken back, and is not tried again by itself: {why}"
            )
        }
        What::UpdateAvailable { name, from, to, .. } => write!(
            f,
            "version {to} is there, and {from} serves on; `extman update {name} --to {to}` updates it"
        ),
        _ => Ok(()),
    }
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

/// Names that are told of many.
const NAMED_MAX: usize = 5;

fn write_config(f: &mut fmt::Formatter<'_>, what: &What) -> fmt::Result {
    let in_one_line = |faults: &[PlacedFault]| {
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        texts.join("; ")
    };
    match what {
        What::ConfigRefused { faults } => write!(
            f,
            "the configuration can't be used, and what it said before goes on: {}",
            in_one_line(faults)
        ),
        What::ConfigSet { who, fields, .. } => write!(f, "{who} has changed {}", fields.join(", ")),
        What::ConfigTaken { live: true, .. } => f.write_str("has taken its new configuration as it runs"),
        What::ConfigTaken { .. } => f.write_str("serves with its new configuration, made anew"),
        What::ConfigNotTaken { text, .. } => f.write_str(text),
        What::ConfigGap { for_ms, .. } => write!(
            f,
            "served nobody for {for_ms} ms: it was stopped with one configuration before it was started with another"
        ),
        What::ConfigRead {
            instances,
            changed,
            needs_restart,
            faults,
        } => {
            f.write_str("the configuration was read again")?;
            for (what, names) in [
                ("changed for", instances),
                ("changed", changed),
                ("holds from the next start of the host on", needs_restart),
            ] {
                let (named, more) = names.split_at(names.len().min(NAMED_MAX));
                if !named.is_empty() {
                    write!(f, "; {what}: {}", named.join(", "))?;
                }
                if !more.is_empty() {
                    write!(f, " and {} more", more.len())?;
                }
            }
            match faults.is_empty() {
                true => Ok(()),
                false => write!(f, "; {}", in_one_line(faults)),
            }
        }
        _ => Ok(()),
    }
}

/// An entry, and what is called by it.
fn entered(phase: &str, capability: Option<&str>) -> String {
    match capability {
        Some(capability) => format!("{phase} ({capability})"),
        None => phase.to_owned(),
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
