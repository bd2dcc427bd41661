//! How the supervisor is asked, and where it tells what happens.

use super::ending::Ended;
use super::flow::{NotStarted, Running};
use crate::arrivals::Arrived;
use crate::instance::Accounts;
use crate::lanes::{LaneObserver, Work};
use extman_intake::VerifiedPlugin;
use extman_model::clock;
use extman_model::{Event, Health, Verdict, What};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Where events are told.
#[derive(Clone)]
pub struct Events(broadcast::Sender<Event>, Arc<OnceLock<OnTold>>);

type OnTold = Box<dyn Fn(&str, u64, Health) + Send + Sync>;

impl Events {
    /// With room for this many that a slow listener has not heard yet.
    pub fn new(capacity: usize) -> Self {
        Events(broadcast::channel(capacity).0, Arc::default())
    }

    /// Everything from here on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }

    /// Has somebody hear at once, on whatever thread it is, when an instance of a generation tells of its health unasked. One
    /// listener; later ones are not heard.
    pub fn on_told(&self, listener: impl Fn(&str, u64, Health) + Send + Sync + 'static) {
        let _ = self.1.set(Box::new(listener));
    }

    pub(super) fn told(&self, name: &str, generation: u64, health: Health) {
        if let Some(listener) = self.1.get() {
            listener(name, generation, health);
        }
    }

    /// Tells.
    pub fn tell(&self, what: What) {
        let _ = self.0.send(Event {
            at_unix_ms: clock::unix_ms(clock::wall()),
            what,
        });
    }
}

/// What came of an operator's wish.
pub type Outcome = Result<(), String>;

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
    VettingSlow(String, String),
    /// A start has ended.
    #[doc(hidden)]
    Started(String, Box<VerifiedPlugin>, Box<Result<Running, NotStarted>>),
    /// A stop has ended.
    #[doc(hidden)]
    Stopped(Box<Stopped>),
    /// Time to look at libraries that are in memory after their unload.
    #[doc(hidden)]
    LookAgain,
    /// One of them was tried: the instance that it served last, and which load it was.
    #[doc(hidden)]
    Tried(String, u64, Ended),
}

/// A stop that has ended.
pub struct Stopped {
    /// The instance.
    pub name: String,
    /// Whether it was the instance itself, and not a generation that was replaced.
    pub own: bool,
    /// What it was made from.
    pub plugin: VerifiedPlugin,
    /// Its calls.
    pub accounts: Arc<Accounts>,
    /// What came of it.
    pub ended: Ended,
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
