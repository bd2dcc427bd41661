//! Every command that the host takes, as one enum. HTTP and the command line are adapters to it.

mod envelope;
pub mod events;
mod listen;
pub mod report;
mod since;
mod stream;

use crate::control::events::{EventsAnswer, EventsAsked};
use crate::control::report::{
    AnalysisAnswer, HealthAnswer, HealthSummary, HistoryAnswer, PluginHealth, Readiness, UptimeRow,
};
use crate::frames::Frames;
use crate::{
    CallError, CapabilityOffer, ConfigAnswer, ConfigChange, ConfigChangeAsked, ConfigDifference,
    DependenciesView, MaintenanceAsked, MaintenanceRow, PluginView, Reply, RequestExtras, RolloutCommand,
    RolloutStatus, StatusView, UpdateTo,
};
pub use envelope::{Envelope, Failure, SCHEMA_VERSION};
pub use listen::listen_address;
use serde::{Deserialize, Serialize};
pub use since::{SINCE_MS_DEFAULT, SINCE_MS_MAX, since_ms};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
pub use stream::{StreamDone, StreamFrame};

/// A question or an order to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// How is the host?
    Status,
    /// Which instances are there?
    Plugins,
    /// One instance.
    Plugin {
        /// Its name.
        name: String,
    },
    /// What can be called?
    Capabilities,
    /// Which version of each plugin is used, and who requires whom?
    Dependencies,
    /// How is everything? Answered from what is known: nothing is asked for it.
    Health,
    /// How is one instance?
    PluginHealth {
        /// Its name.
        name: String,
    },
    /// How was an instance?
    History {
        /// Its name.
        name: String,
        /// How far back, in milliseconds.
        since_ms: u64,
    },
    /// How much of the time could an instance serve, or each of them?
    Uptime {
        /// Only this one.
        name: Option<String>,
        /// How far back, in milliseconds.
        since_ms: u64,
    },
    /// What can be said of an instance from its history?
    Analyse {
        /// Its name.
        name: String,
        /// How far back, in milliseconds.
        since_ms: u64,
        /// Whether what takes long is looked for too: a leak, and who fails together with it.
        full: bool,
    },
    /// What happened lately?
    Events(EventsAsked),
    /// Ask an instance how it is, now. Answered within its timeout and a little more, whatever comes of it.
    CheckNow {
        /// Its name.
        name: String,
        /// By a deep check: a synthetic request, on the instance's budget.
        #[serde(default)]
        deep: bool,
    },
    /// Load and start an instance that is stopped, failed or quarantined.
    Load {
        /// Its name.
        name: String,
    },
    /// Drain, stop and unload an instance; it stays known. Refused as long as others that run require it.
    Unload {
        /// Its name.
        name: String,
        /// Unload those that require it too, before it.
        #[serde(default)]
        cascade: bool,
    },
    /// Unload and load.
    Restart {
        /// Its name.
        name: String,
    },
    /// End that an instance is disabled, and start it if it is one that is started by itself. Answered once it is on the disk and done.
    Enable {
        /// Its name.
        name: String,
    },
    /// Stop and unload an instance, over restarts of the host, until it is enabled. Answered once it is on the disk and done.
    Disable {
        /// Its name.
        name: String,
        /// Disable those that require it too, before it.
        #[serde(default)]
        cascade: bool,
    },
    /// Update an instance. Answered once the update is under way, or done where it is none that is judged.
    Update {
        /// Its name.
        name: String,
        /// To which version.
        to: UpdateTo,
    },
    /// Take an instance back to the version before: an update that is under way, or the last one.
    RollBack {
        /// Its name.
        name: String,
    },
    /// Is an update of an instance under way, and how does it stand?
    Rollout {
        /// Its name.
        name: String,
    },
    /// Change an update that is under way.
    ChangeRollout {
        /// The instance's name.
        name: String,
        /// How.
        change: RolloutCommand,
    },
    /// What is an instance configured with?
    Config {
        /// Its name.
        name: String,
    },
    /// Where do the file, what was set and what is in force differ?
    ConfigDiff {
        /// Its name.
        name: String,
    },
    /// Who changed what of an instance's configuration, and when?
    ConfigHistory {
        /// Its name.
        name: String,
    },
    /// Change what an instance is configured with, all of it or nothing. Answered once it was taken and is on the disk.
    ChangeConfig {
        /// Its name.
        name: String,
        /// What.
        asked: ConfigChangeAsked,
    },
    /// Bring back an earlier configuration of an instance. Answered once it was taken and is on the disk.
    RollBackConfig {
        /// Its name.
        name: String,
        /// What it was after this change; before the last one if absent.
        #[serde(default)]
        to: Option<u64>,
        /// Who asks, in their own words.
        #[serde(default)]
        who: Option<String>,
    },
    /// Which instances are in maintenance?
    Maintenance {
        /// Only this one.
        name: Option<String>,
    },
    /// Put an instance into maintenance for a while; what was said before of how long and why is replaced. Answered once it is on the disk.
    StartMaintenance {
        /// Its name.
        name: String,
        /// For how long, and why.
        asked: MaintenanceAsked,
    },
    /// End an instance's maintenance before its time.
    EndMaintenance {
        /// Its name.
        name: String,
    },
}

impl Command {
    /// Whether the command changes anything, or has plugin code run.
    pub fn changes(&self) -> bool {
        matches!(
            self,
            Command::Load { .. }
                | Command::Unload { .. }
                | Command::Restart { .. }
                | Command::Enable { .. }
                | Command::Disable { .. }
                | Command::Update { .. }
                | Command::RollBack { .. }
                | Command::ChangeRollout { .. }
                | Command::CheckNow { .. }
                | Command::ChangeConfig { .. }
                | Command::RollBackConfig { .. }
                | Command::StartMaintenance { .. }
                | Command::EndMaintenance { .. }
        )
    }
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// To [`Command::Status`].
    Status(Box<StatusView>),
    /// To [`Command::Plugin`] and to whatever changes an instance: how it is afterwards.
    Plugin(Box<PluginView>),
    /// To [`Command::Rollout`].
    Rollout(Box<RolloutStatus>),
    /// To [`Command::Plugins`].
    Plugins(Vec<PluginView>),
    /// To [`Command::Capabilities`].
    Capabilities(Vec<CapabilityOffer>),
    /// To [`Command::Dependencies`].
    Dependencies(Box<DependenciesView>),
    /// To [`Command::Health`].
    Health(Box<HealthAnswer>),
    /// To [`Command::PluginHealth`] and [`Command::CheckNow`].
    PluginHealth(Box<PluginHealth>),
    /// To [`Command::History`].
    History(Box<HistoryAnswer>),
    /// To [`Command::Uptime`].
    Uptime(Vec<UptimeRow>),
    /// To [`Command::Analyse`].
    Analysis(Box<AnalysisAnswer>),
    /// To [`Command::Events`].
    Events(Box<EventsAnswer>),
    /// To [`Command::Config`] and to whatever changes it.
    Config(Box<ConfigAnswer>),
    /// To [`Command::ConfigDiff`].
    ConfigDiff(Vec<ConfigDifference>),
    /// To [`Command::ConfigHistory`].
    ConfigHistory(Vec<ConfigChange>),
    /// To [`Command::Maintenance`], by name; to the commands that begin and end it, what is so afterwards of the instance.
    Maintenance(Vec<MaintenanceRow>),
}

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// There is no instance of this name.
    #[error("there is no plugin named {name:?}{}", suggest(.similar))]
    NotFound {
        /// The name that was asked for.
        name: String,
        /// Names that look like it.
        similar: Vec<String>,
    },
    /// It can't be done with these values.
    #[error("{0}")]
    Invalid(String),
    /// The instance's state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// It is limited, and time alone makes it possible.
    #[error("{text}")]
    NotYet {
        /// What, and why not yet.
        text: String,
        /// Milliseconds until it is possible.
        retry_after_ms: u64,
    },
    /// It was tried and failed; the instance's view has the cause.
    #[error("{0}")]
    Failed(String),
    /// It can't be answered now: there is no history, or it can't be read or written.
    #[error("{0}")]
    Unavailable(String),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    ShuttingDown,
}

fn suggest(similar: &[String]) -> String {
    if similar.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", similar.join(" or "))
    }
}

/// Over HTTP, a key of a call's metadata is a header with this before it.
pub const METADATA_PREFIX: &str = "extman-metadata-";

/// One call of a capability.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The capability's name.
    pub capability: String,
    /// Only this instance; any that serves otherwise.
    pub instance: Option<String>,
    /// Media type of the body.
    pub content_type: String,
    /// The input.
    pub body: Vec<u8>,
    /// How long the caller waits; the host's default otherwise.
    pub timeout: Option<Duration>,
    /// What else the caller says.
    pub extras: RequestExtras,
}

/// An answer, and who gave it.
#[derive(Debug, Clone)]
pub struct Invoked {
    /// The instance that served; `cached` where none did and an answer was given that had been kept.
    pub served_by: Arc<str>,
    /// Why another instance served than the first choice, or none; absent if the first choice did, or the caller named the instance.
    pub degraded: Option<Arc<str>>,
    /// How many instances were called until one of them answered; 1 if the first one did, 0 if the answer had been kept.
    pub attempts: u32,
    /// How long ago the answer was given, if it had been kept.
    pub age: Option<Duration>,
    /// The answer.
    pub reply: Reply,
}

/// An answer that comes in frames.
pub struct InvokedStream {
    /// The instance that serves. A stream is called once: nobody else begins one that has failed.
    pub served_by: Arc<str>,
    /// As [`Invoked::degraded`].
    pub degraded: Option<Arc<str>>,
    /// The frames as they come.
    pub frames: FrameReader,
    /// Ends when the call has ended, after the last frame.
    pub done: Pin<Box<dyn Future<Output = Result<Reply, CallError>> + Send>>,
}

/// Reads a stream's frames. Dropping it cancels the call.
pub struct FrameReader(Arc<Frames>);

/// Writes frames by hand: for a [`Control`] that has no plugin behind it.
pub struct FrameWriter(Arc<Frames>);

impl FrameWriter {
    /// Names the media type of what follows.
    pub fn begin(&self, content_type: &str) {
        self.0.begin(content_type);
    }

    /// Blocks until there is room. `false` if the reader is gone.
    pub fn push(&self, frame: &[u8]) -> bool {
        self.0.push(frame.to_vec(), || false)
    }
}

impl Drop for FrameWriter {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl FrameReader {
    /// The reading end of a queue of frames.
    pub fn new(frames: Arc<Frames>) -> Self {
        FrameReader(frames)
    }

    /// A reader and its writer, with room for this many frames between them.
    pub fn channel(capacity: usize) -> (FrameWriter, FrameReader) {
        let frames = Arc::new(Frames::new(capacity));
        (FrameWriter(frames.clone()), FrameReader(frames))
    }

    /// The next frame; `None` at the end.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.0.next().await
    }

    /// Media type, once the plugin has named one.
    pub fn content_type(&self) -> Option<String> {
        self.0.content_type()
    }
}

impl Drop for FrameReader {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// A boxed future.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whoever carries out commands: the host.
pub trait Control: Send + Sync + 'static {
    /// Carries out a command. One that changes an instance ends when the change has ended.
    fn run(&self, command: Command) -> Pending<'_, Result<Answer, ControlError>>;

    /// Whether the host is ready. Load balancers ask it every second or so: what it costs grows with what is required, not with all there is.
    fn readiness(&self) -> Readiness;

    /// How everything is, without what is measured. Asks nobody.
    fn health_summary(&self) -> HealthSummary;

    /// Calls a capability and waits for the whole answer.
    fn invoke(&self, invocation: Invocation) -> Pending<'_, Result<Invoked, CallError>>;

    /// Calls a capability and gets its frames as they come.
    fn invoke_stream(&self, invocation: Invocation) -> Pending<'_, Result<InvokedStream, CallError>>;
}
