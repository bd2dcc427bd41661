//! How the supervisor is asked.

use super::configure::NotConfigured;
use super::restart::SupervisionConfig;
use super::spec::{Configured, InstanceConfig};
use super::start::{NotStarted, Running};
use super::stop::Stopped;
use crate::lanes::{LaneObserver, Work};
use extman_health::rollout::{Judged, RolloutPolicy};
use extman_intake::{Arrived, VerifiedPlugin};
use extman_model::clock::Monotonic;
use extman_model::{JudgeSays, ProbeSettings, RolloutCommand, Verdict, What};
use semver::Version;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What came of an operator's command.
pub type Outcome = Result<(), String>;

/// What is configured for all instances.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// What becomes of those that fail, where nothing else is configured for one.
    pub supervision: SupervisionConfig,
    /// By which steps updates are judged.
    pub rollout: Arc<RolloutPolicy>,
    /// How they are asked how they are, below what is configured for each.
    pub probe: ProbeSettings,
}

/// To which build an instance is to be updated.
pub enum UpdateRequest {
    /// The newest that lies in the directories.
    Newest,
    /// This version, which lies in the directories.
    Version(Version),
    /// This build, wherever it came from.
    Build(Box<VerifiedPlugin>),
}

/// What the supervisor is told or asked.
pub enum Request {
    /// A look at the directories has ended.
    Arrived(Box<Arrived>),
    /// Start an instance.
    Load(String, oneshot::Sender<Outcome>),
    /// Stop and unload an instance.
    Unload(String, oneshot::Sender<Outcome>),
    /// Both.
    Restart(String, oneshot::Sender<Outcome>),
    /// An instance is disabled no longer, and is started if it is one that is started by itself.
    Enable(String, oneshot::Sender<Outcome>),
    /// An instance is disabled from here on, whether its file is there or comes later: it is stopped and unloaded.
    Disable(String, oneshot::Sender<Outcome>),
    /// An operator wants this of the update that is under way.
    Rollout(String, RolloutCommand, oneshot::Sender<Outcome>),
    /// An operator wants an instance to be updated. Answered once the new version has started, or could not be.
    Update(String, UpdateRequest, oneshot::Sender<Outcome>),
    /// An operator wants an update undone: the one under way, or else the last one.
    RollBack(String, oneshot::Sender<Outcome>),
    /// From here on this is configured. What is as before is left alone.
    Configured(Box<Configured>, Box<Policies>),
    /// This is configured for one instance, in place of what is, if it is taken; else, everything stays as it was.
    Change(String, Arc<InstanceConfig>, oneshot::Sender<Outcome>),
    /// An instance is down by its checks or calls, or no longer.
    Down {
        /// Which.
        name: Arc<str>,
        /// In which load.
        generation: u64,
        /// Whether it is.
        is_down: bool,
        /// Why, if a restart may help it.
        why: Option<String>,
    },
    /// An instance has panicked.
    Panicked {
        /// Which.
        name: String,
        /// In which load.
        generation: u64,
        /// With which text.
        text: String,
    },
    /// A lane was given up.
    LaneLost(Work, Duration),
    /// A lane that was given up has come back.
    LateReturn(Work, Duration),
    /// Stop everything; answered when it is done, or when this much time has passed.
    Shutdown(oneshot::Sender<Vec<(String, Verdict)>>, Duration),
    /// The time for stopping is over.
    #[doc(hidden)]
    ShutdownOver,
    /// The vetting of an instance that is being started takes long; what is said of it.
    #[doc(hidden)]
    VettingSlow(Arc<str>, String),
    /// A start of these bytes has ended.
    #[doc(hidden)]
    Started(Arc<str>, Box<VerifiedPlugin>, Box<Result<Running, NotStarted>>),
    /// What this tells of is written down.
    #[doc(hidden)]
    Written(Box<What>),
    /// The new version of an update is ready, or why it is not.
    #[doc(hidden)]
    WarmedUp(Arc<str>, u64, Outcome),
    /// The judge has looked at the update to a generation.
    #[doc(hidden)]
    Judged {
        /// Of which instance.
        name: Arc<str>,
        /// To which generation.
        generation: u64,
        /// In which of its steps.
        step: u32,
        /// What follows from it.
        judged: Judged,
        /// What it says.
        says: JudgeSays,
        /// Why, a sentence each.
        because: Vec<String>,
    },
    /// A generation was asked to take a configuration.
    #[doc(hidden)]
    AskedToTake(Arc<str>, u64, Result<(), NotConfigured>),
    /// A generation that was made from these bytes has been stopped.
    #[doc(hidden)]
    Stopped(Arc<str>, Box<VerifiedPlugin>, Box<Stopped>),
    /// A moment that an instance waits for has come.
    #[doc(hidden)]
    Due(Arc<str>, Monotonic),
    /// The next instance may be tried, as the host is in trouble.
    #[doc(hidden)]
    Rested,
    /// An instance that ends with the host has had its time: what it requires waits for it no longer.
    #[doc(hidden)]
    Overdue(Arc<str>),
    /// Time to look at resident libraries.
    #[doc(hidden)]
    LookAgain,
    /// One of them was tried, which this instance served last.
    #[doc(hidden)]
    Tried(String, Box<Stopped>),
}

/// How requests are made.
#[derive(Clone)]
pub struct Requests(mpsc::UnboundedSender<Request>);

impl Requests {
    /// Both ends.
    pub fn channel() -> (Requests, mpsc::UnboundedReceiver<Request>) {
        // Unbounded: the watchdog and lanes must never wait. What comes is bounded by lanes, files and operators.
        let (sender, receiver) = mpsc::unbounded_channel();
        (Requests(sender), receiver)
    }

    /// Makes a request. `false` if the supervisor has ended.
    pub fn make(&self, request: Request) -> bool {
        self.0.send(request).is_ok()
    }
}

impl LaneObserver for Requests {
    fn lost(&self, work: &Work, ran: Duration) {
        self.make(Request::LaneLost(work.clone(), ran));
    }

    fn returned_late(&self, work: &Work, ran: Duration) {
        self.make(Request::LateReturn(work.clone(), ran));
    }
}
