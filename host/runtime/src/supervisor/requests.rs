//! What the supervisor's task is asked and told: by operators, by the rest of the host, and by its own long steps as they end.

use super::configure::NotConfigured;
use super::restart::SupervisionConfig;
use super::spec::{Configured, InstanceConfig};
use super::start::{NotStarted, Running};
use super::stop::Stopped;
use crate::lanes::{LaneObserver, Work};
use extman_health::rollout::{Judged, RolloutPolicy};
use extman_intake::{Arrived, VerifiedPlugin};
use extman_model::clock::Monotonic;
use extman_model::{JudgeSays, MirroredView, ProbeSettings, RolloutCommand, Verdict, What};
use semver::Version;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What came of an operator's command.
pub type Outcome = Result<(), String>;

/// What is configured for all instances.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// What becomes of instances that fail, unless an instance is configured otherwise.
    pub supervision: SupervisionConfig,
    /// By which steps updates are judged.
    pub rollout: Arc<RolloutPolicy>,
    /// How instances are probed, unless an instance is configured otherwise.
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

/// What the supervisor is asked or told.
pub enum Request {
    /// A scan of the directories has ended.
    Arrived(Box<Arrived>),
    /// Start an instance.
    Load(String, oneshot::Sender<Outcome>),
    /// Stop and unload an instance.
    Unload(String, oneshot::Sender<Outcome>),
    /// Stop an instance and start it again.
    Restart(String, oneshot::Sender<Outcome>),
    /// An instance is no longer disabled; it is started if it is configured to start by itself.
    Enable(String, oneshot::Sender<Outcome>),
    /// An instance is disabled from here on, also one whose file comes later: it is stopped and unloaded.
    Disable(String, oneshot::Sender<Outcome>),
    /// An operator wants this of the update that is under way.
    Rollout(String, RolloutCommand, oneshot::Sender<Outcome>),
    /// An operator wants an instance to be updated. Answered once the new version has started, or could not be.
    Update(String, UpdateRequest, oneshot::Sender<Outcome>),
    /// An operator wants an update undone: the one under way, or else the last one.
    RollBack(String, oneshot::Sender<Outcome>),
    /// The configuration is this from here on. Instances for which it says the same as before are left alone.
    Configured(Box<Configured>, Box<Policies>),
    /// One instance's configuration is this from here on, if the instance takes it; else nothing changes.
    Change(String, Arc<InstanceConfig>, oneshot::Sender<Outcome>),
    /// A generation of an instance is down by its checks or calls, or no longer.
    Down {
        /// The instance.
        name: Arc<str>,
        /// The generation.
        generation: u64,
        /// Whether it is down.
        is_down: bool,
        /// Why, if a restart may help it.
        why: Option<String>,
    },
    /// A generation of an instance has panicked.
    Panicked {
        /// The instance.
        name: String,
        /// The generation.
        generation: u64,
        /// The panic's text.
        text: String,
    },
    /// A lane was given up.
    LaneLost(Work, Duration),
    /// A lane that was given up has come back.
    LateReturn(Work, Duration),
    /// Stop everything. Answered when that is done, or after this time, with what became of each library.
    Shutdown(oneshot::Sender<Vec<(String, Verdict)>>, Duration),
    /// The time for stopping is over.
    #[doc(hidden)]
    ShutdownOver,
    /// The vetting of an instance that is being started takes long: a text for people.
    #[doc(hidden)]
    VettingSlow(Arc<str>, String),
    /// A start of these bytes has ended.
    #[doc(hidden)]
    Started(Arc<str>, Box<VerifiedPlugin>, Box<Result<Running, NotStarted>>),
    /// The write that this event waited for has ended, well or not.
    #[doc(hidden)]
    Written(Box<What>),
    /// The new version of an update is ready, and calls are to be mirrored to it.
    #[doc(hidden)]
    Mirror(Arc<str>, u64),
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
        /// What came of mirrored calls, as long as there are any.
        mirrored: Option<MirroredView>,
    },
    /// A generation was asked to take a configuration.
    #[doc(hidden)]
    AskedToTake(Arc<str>, u64, Result<(), NotConfigured>),
    /// A generation that was made from these bytes has been stopped.
    #[doc(hidden)]
    Stopped(Arc<str>, Box<VerifiedPlugin>, Box<Stopped>),
    /// A generation was not stopped, as its state could not be taken, and why.
    #[doc(hidden)]
    Kept(Arc<str>, Box<Running>, String),
    /// A moment that an instance waits for has come.
    #[doc(hidden)]
    Due(Arc<str>, Monotonic),
    /// The rest after a failed restart is over: while the host is in trouble, the next instance may be restarted.
    #[doc(hidden)]
    RestOver,
    /// An instance that ends with the host takes too long: what it requires is no longer kept waiting for it.
    #[doc(hidden)]
    Overdue(Arc<str>),
    /// It is time to try again to unload resident libraries.
    #[doc(hidden)]
    RetryUnloads,
    /// A library that this instance used last was tried again.
    #[doc(hidden)]
    UnloadRetried(String, Box<Stopped>),
}

/// Makes requests of the supervisor. Cheap to clone.
#[derive(Clone)]
pub struct Requests(mpsc::UnboundedSender<Request>);

impl Requests {
    /// One that makes requests, and where the supervisor receives them.
    pub fn channel() -> (Requests, mpsc::UnboundedReceiver<Request>) {
        // Unbounded, since the watchdog and the lanes must never wait. The number of requests is bounded by that of lanes, files and operators.
        let (sender, receiver) = mpsc::unbounded_channel();
        (Requests(sender), receiver)
    }

    /// Makes a request. `false` if the supervisor has ended.
    pub fn make(&self, request: Request) -> bool {
        self.0.send(request).is_ok()
    }

    /// Makes a request after this time.
    pub(super) fn make_later(&self, after: Duration, request: Request) {
        let requests = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            requests.make(request);
        });
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
