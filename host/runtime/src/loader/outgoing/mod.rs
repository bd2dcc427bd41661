//! Calls that an instance makes of other plugins' capabilities: the far side of `extman.call/1`.
//!
//! ```text
//!   call    the caller's thread ──▶ OutgoingRouter::route, polled here ──▶ frame, answer: here
//!   submit  the caller's thread ──▶ a task of the router's ──▶ a lane of the caller's library: frame, answer
//! ```
//!
//! Whatever happens, `answer` is called once, and before the caller's `destroy` is: that stops what is under way and has the answers received
//! on its own lane, if nobody else does so. While the host waits for an answer on a caller's thread, its code is the host's; in `frame` and `answer` it
//! is the caller's.

mod receiver;
mod submitted;
mod under_way;
mod waited;

pub(super) use receiver::ReceiverOf;
pub(crate) use submitted::Submitted;
pub(super) use submitted::{cancel, submit};
pub(super) use waited::call;

use super::chain::Chain;
use super::stop::Stop;
use crate::sync::{lock, wait_while};
use extman_abi::{self as abi, Status};
use extman_model::clock::{self, Monotonic};
use extman_model::frames::Frames;
use extman_model::{CallError, ErrorKind, Reply, RequestExtras};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

/// Calls of one instance that may be under way.
const UNDER_WAY_MAX: usize = 1024;
/// How often it is looked whether the reader of the call that this one is made in has gone away, and whether a lane takes an answer.
const LOOK: Duration = Duration::from_millis(20);
/// For how long an instance that is destroyed without a deadline waits for answers to be received.
const RECEIVE_MAX: Duration = Duration::from_secs(10);

/// Carries out the calls of one instance.
pub trait OutgoingRouter: Send + Sync {
    /// Whether the instance's plugin requires anything that it could call.
    fn may_call(&self) -> bool;

    /// Has a call served. Polled on any thread; dropped, the call is cancelled.
    fn route(&self, call: OutgoingCall) -> Answering;

    /// Runs this until it is done, or drops it when there is nobody left to run it.
    fn spawn(&self, task: Task);

    /// What was to receive an answer has panicked.
    fn panicked(&self);
}

/// Something to be run.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
/// An answer that is to come.
pub type Answering = Pin<Box<dyn Future<Output = Result<Answered, NoAnswer>> + Send>>;

/// A call that an instance makes.
#[derive(Debug)]
pub struct OutgoingCall {
    /// The capability's name.
    pub capability: String,
    /// Media type of the input.
    pub content_type: String,
    /// The input.
    pub body: Vec<u8>,
    /// How long the caller waits, if it says.
    pub timeout: Option<Duration>,
    /// What else it says.
    pub extras: RequestExtras,
    /// The calls that it is made in.
    pub chain: Arc<Chain>,
    /// Where frames go, if they are wanted as they come.
    pub stream: Option<Arc<Frames>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answered {
    /// The instance that has served the call.
    pub served_by: Arc<str>,
    /// What it says.
    pub reply: Reply,
}

/// Why there is none.
#[derive(Debug)]
pub enum NoAnswer {
    /// The caller may not make this call: that is its own fault.
    Refused(CallError),
    /// What it called failed, or nobody serves it.
    Failed(CallError),
}

/// The calls that one instance makes.
pub(crate) struct OutgoingCalls {
    name: Arc<str>,
    router: Option<Arc<dyn OutgoingRouter>>,
    state: Mutex<State>,
    /// Waited at for the last one to be received.
    received: Condvar,
    lanes: OnceLock<Box<dyn ReceivingLanes>>,
}

#[derive(Default)]
struct State {
    stage: CallerStage,
    numbers: u64,
    /// Those that are under way, by number.
    listed: BTreeMap<u64, ListedCall>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum CallerStage {
    /// The instance is being made.
    #[default]
    Created,
    Open,
    /// It is being destroyed, or is gone.
    Closed,
}

/// A call that is under way, as whoever ends it sees it.
enum ListedCall {
    /// A thread of its own waits for it.
    Waited(Arc<Stop>),
    Submitted(Arc<Submitted>),
}

/// A call for which a thread waits, until it is dropped.
struct Listed {
    calls: Arc<OutgoingCalls>,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.calls.unlist(self.number);
    }
}

/// Lanes on which an instance receives answers.
pub(crate) trait ReceivingLanes: Send + Sync {
    /// Has a lane [`receive`](Submitted::receive) inside the instance, and [`leave`](Submitted::leave) after that.
    ///
    /// # Errors
    /// None takes it; whether one may do so later.
    fn run(&self, call: Arc<Submitted>) -> Result<(), NoLane>;
}

/// Why no lane receives an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoLane {
    /// One may take it in a while.
    Now,
    /// None will.
    AnyMore,
}

impl OutgoingCalls {
    pub(super) fn new(name: Arc<str>, router: Option<Arc<dyn OutgoingRouter>>) -> Arc<Self> {
        Arc::new(OutgoingCalls {
            name,
            router,
            state: Mutex::default(),
            received: Condvar::new(),
            lanes: OnceLock::new(),
        })
    }

    /// Whether calls may be made in the instance's own.
    pub(super) fn may_call(&self) -> bool {
        self.router.as_ref().is_some_and(|router| router.may_call())
    }

    /// The instance is there: it may make calls.
    pub(super) fn open(&self) {
        self.lock().stage = CallerStage::Open;
    }

    /// Where answers are received for which no thread waits.
    pub(super) fn receive_on(&self, lanes: Box<dyn ReceivingLanes>) {
        let _ = self.lanes.set(lanes);
    }

    /// A call is under way from here on, and has the number that `make` hears.
    ///
    /// # Errors
    /// What the caller's function is told: the instance is being destroyed, or too many are under way.
    fn list(&self, make: impl FnOnce(u64) -> ListedCall) -> Result<u64, Status> {
        let mut state = self.lock();
        if state.stage != CallerStage::Open {
            return Err(abi::STATUS_CLOSED);
        }
        if state.listed.len() >= UNDER_WAY_MAX {
            return Err(abi::STATUS_RESOURCE_EXHAUSTED);
        }
        state.numbers += 1;
        let number = state.numbers;
        state.listed.insert(number, make(number));
        Ok(number)
    }

    /// The call is over.
    fn unlist(&self, number: u64) {
        let gone = self.lock().listed.remove(&number);
        drop(gone);
        self.received.notify_all();
    }

    /// No more calls are made, and those under way are stopped. Returns once all that were submitted have been received, those of them that
    /// nobody else receives by `inside`, which runs code of the instance.
    ///
    /// # Errors
    /// So many were not received by the deadline: their receivers do not return.
    pub(super) fn close(&self, deadline: Monotonic, inside: impl Fn(&dyn Fn())) -> Result<(), usize> {
        let (mut waited, mut submitted) = (Vec::new(), Vec::new());
        {
            let mut state = self.lock();
            state.stage = CallerStage::Closed;
            for call in state.listed.values() {
                match call {
                    ListedCall::Waited(stop) => waited.push(stop.clone()),
                    ListedCall::Submitted(call) => submitted.push(call.clone()),
                }
            }
        }
        waited.iter().for_each(|stop| stop.set());
        for call in submitted {
            call.finish(Err(ending()));
            inside(&|| call.receive());
            call.leave();
        }
        let patience = deadline.since(clock::monotonic()).min(RECEIVE_MAX);
        let is_submitted = |call: &&ListedCall| matches!(call, ListedCall::Submitted(_));
        let unreceived = |state: &State| state.listed.values().filter(is_submitted).count();
        let waits = |state: &mut State| unreceived(state) > 0;
        let state = wait_while(&self.received, self.lock(), patience, waits);
        match unreceived(&state) {
            0 => Ok(()),
            left => Err(left),
        }
    }

    /// What was to receive an answer has panicked.
    fn panicked(&self) {
        if let Some(router) = &self.router {
            router.panicked();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn ending() -> CallError {
    let text = "the instance that makes this call is being destroyed";
    CallError::new(ErrorKind::Cancelled, text)
}
