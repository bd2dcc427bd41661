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

use super::call_context;
use super::chain::{Chain, NESTED_MAX, Nested};
use super::code_owner::{self, outside};
use super::stop::Stop;
use super::{listeners, output, read, status};
use crate::deadlines::Deadline;
use extman_abi::{self as abi, Bytes, InstanceToken, Receiver, Status};
use extman_model::clock::{self, Monotonic};
use extman_model::frames::Frames;
use extman_model::{CallError, ErrorKind, Reply, RequestExtras, Usage};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// Calls of one instance that may be under way.
const UNDER_WAY_MAX: usize = 1024;
/// Frames that may wait for a receiver before whoever writes them is held up.
const FRAMES_AHEAD: usize = 64;
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

/// The receiver of a call: functions of the plugin's.
pub(super) struct ReceiverOf(Receiver);

// SAFETY: the contract of `new`.
unsafe impl Send for ReceiverOf {}
// SAFETY: as above; its functions are called by one thread at a time.
unsafe impl Sync for ReceiverOf {}

impl ReceiverOf {
    /// # Safety
    /// Its functions may be called with its context from any thread, one after the other, until `answer` has returned.
    pub(super) unsafe fn new(receiver: Receiver) -> Self {
        ReceiverOf(receiver)
    }

    fn frame(&self, data: &[u8]) -> Status {
        match self.0.frame {
            // SAFETY: the contract of `new`; the slice is lent for the call.
            Some(frame) => unsafe { frame(self.0.context, data.as_ptr(), data.len()) },
            None => abi::STATUS_OK,
        }
    }

    fn answer(&self, came_to: &Result<Answered, CallError>) -> Status {
        let Some(receive) = self.0.answer else {
            return abi::STATUS_OK;
        };
        let mut answer = abi::Answer {
            struct_size: size_of::<abi::Answer>(),
            status: abi::STATUS_OK,
            reserved: 0,
            content_type: Bytes::EMPTY,
            output: Bytes::EMPTY,
            error: Bytes::EMPTY,
            served_by: Bytes::EMPTY,
            metadata: std::ptr::null(),
            metadata_len: 0,
            outcome: std::ptr::null(),
        };
        let (mut metadata, mut usage) = (Vec::new(), Usage::default());
        match came_to {
            Ok(Answered { served_by, reply }) => {
                let pair = |(key, value): &(String, String)| abi::Metadata {
                    key: Bytes::of(key.as_bytes()),
                    value: Bytes::of(value.as_bytes()),
                };
                metadata = reply.metadata.iter().map(pair).collect();
                usage = reply.usage;
                answer.content_type = Bytes::of(reply.content_type.as_bytes());
                answer.output = Bytes::of(&reply.body);
                answer.served_by = Bytes::of(served_by.as_bytes());
            }
            Err(failure) => {
                answer.status = status::of(failure.kind);
                answer.error = Bytes::of(failure.text.as_bytes());
            }
        }
        let outcome = read::outcome_of(usage, came_to.as_ref().err());
        answer.outcome = &outcome;
        answer.metadata = metadata.as_ptr();
        answer.metadata_len = metadata.len();
        // SAFETY: the contract of `new`; all that the answer points to outlives the call.
        unsafe { receive(self.0.context, &answer) }
    }
}

/// The calls that one instance makes.
pub(crate) struct OutgoingCalls {
    name: Box<str>,
    router: Option<Arc<dyn OutgoingRouter>>,
    state: Mutex<State>,
    /// Waited at for the last one to be received.
    received: Condvar,
    lanes: OnceLock<Box<dyn ReceivingLanes>>,
}

#[derive(Default)]
struct State {
    stage: Stage,
    numbers: u64,
    under_way: BTreeMap<u64, UnderWay>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The instance is being made.
    #[default]
    Created,
    Open,
    /// It is being destroyed, or is gone.
    Closed,
}

enum UnderWay {
    /// A thread of its own waits for it.
    Waited(Arc<Stop>),
    Submitted(Arc<Submitted>),
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
    pub(super) fn new(name: &str, router: Option<Arc<dyn OutgoingRouter>>) -> Arc<Self> {
        Arc::new(OutgoingCalls {
            name: name.into(),
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
        self.lock().stage = Stage::Open;
    }

    /// Where answers are received of which no thread waits for.
    pub(super) fn receive_on(&self, lanes: Box<dyn ReceivingLanes>) {
        let _ = self.lanes.set(lanes);
    }

    /// No more calls are made, and those under way are stopped. Returns once all that were submitted have been received, those of them that
    /// nobody else receives by `inside`, which runs code of the instance.
    ///
    /// # Errors
    /// So many were not received by the deadline: their receivers do not return.
    pub(super) fn close(&self, deadline: Monotonic, inside: impl Fn(&dyn Fn())) -> Result<(), usize> {
        let (waited, submitted) = {
            let mut state = self.lock();
            state.stage = Stage::Closed;
            let (mut waited, mut submitted) = (Vec::new(), Vec::new());
            for call in state.under_way.values() {
                match call {
                    UnderWay::Waited(stop) => waited.push(stop.clone()),
                    UnderWay::Submitted(call) => submitted.push(call.clone()),
                }
            }
            (waited, submitted)
        };
        waited.iter().for_each(|stop| stop.set());
        for call in submitted {
            call.finish(Err(ending()));
            inside(&|| call.receive());
            call.leave();
        }
        let latest = clock::monotonic().after(RECEIVE_MAX);
        let mut state = self.lock();
        loop {
            let is_submitted = |call: &&UnderWay| matches!(call, UnderWay::Submitted(_));
            let left = state.under_way.values().filter(is_submitted).count();
            let now = clock::monotonic();
            if left == 0 {
                return Ok(());
            }
            if now >= deadline || now >= latest {
                return Err(left);
            }
            let patience = deadline.since(now).min(latest.since(now));
            let waited = self.received.wait_timeout(state, patience);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn over(&self, number: u64) {
        self.lock().under_way.remove(&number);
        self.received.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ending() -> CallError {
    CallError::new(
        ErrorKind::Cancelled,
        "the instance that makes this call is being destroyed",
    )
}

/// Why a call was not begun.
enum NotBegun {
    /// The caller's function is told at once.
    Status(Status),
    /// It is what the call comes to.
    Answer(CallError),
}

fn not_begun(kind: ErrorKind, text: impl Into<String>) -> NotBegun {
    NotBegun::Answer(CallError::new(kind, text))
}

/// A call that is under way.
struct Begun {
    calls: Arc<OutgoingCalls>,
    number: u64,
    within: Option<abi::CallToken>,
    deadline: Option<Monotonic>,
    /// That is the one of the call that it is made in.
    shares_deadline: bool,
    nested: Nested,
    stop: Arc<Stop>,
    answering: Option<Answering>,
    came_to: Option<Result<Answered, CallError>>,
    is_stopped: bool,
    stream: Option<Arc<Frames>>,
    /// When it is looked at the reader of the call that this one is made in; `None` if that has none.
    look: Option<Deadline>,
}

/// What comes of a call.
enum Event {
    Frame(Vec<u8>),
    Answer(Result<Answered, CallError>),
}

/// The call that another is made in, as its token says.
struct Within {
    chain: Arc<Chain>,
    token: Option<abi::CallToken>,
    deadline: Option<Monotonic>,
}

impl Within {
    fn of(calls: &OutgoingCalls, instance: InstanceToken, token: abi::CallToken) -> Result<Self, NotBegun> {
        let alone = |deadline, token| Within {
            chain: Chain::outermost(&calls.name, &[]),
            token,
            deadline,
        };
        if token == 0 {
            return Ok(alone(None, None));
        }
        match output::instance(token) {
            None => return Err(NotBegun::Status(abi::STATUS_CLOSED)),
            Some(0) => return Err(from_check()),
            Some(inside) if inside != instance => {
                return Err(NotBegun::Status(abi::STATUS_INVALID_INPUT));
            }
            Some(_) => {}
        }
        let deadline = call_context::deadline(token).ok_or(NotBegun::Status(abi::STATUS_CLOSED))?;
        match output::chain(token) {
            Some(chain) => Ok(Within {
                chain,
                token: Some(token),
                deadline,
            }),
            None => Ok(alone(deadline, Some(token))),
        }
    }
}

fn from_check() -> NotBegun {
    not_begun(
        ErrorKind::FailedPrecondition,
        "no other plugin is called from a check: it is to tell how this instance is, and not how others are; call from a thread of the \
         plugin's own, and have the check tell what came of it",
    )
}

fn begin(
    instance: InstanceToken,
    asked: read::Asked,
    timeout_ns: u64,
    under_way: impl FnOnce(u64, &Arc<Stop>) -> Option<UnderWay>,
) -> Result<Begun, NotBegun> {
    let calls = listeners::outgoing(instance).ok_or(NotBegun::Status(abi::STATUS_CLOSED))?;
    let stage = calls.lock().stage;
    if stage == Stage::Created {
        let text = "no other plugin is called from create: the instance is not there yet to receive an answer; call from start";
        return Err(not_begun(ErrorKind::FailedPrecondition, text));
    }
    let Some(router) = calls.router.clone() else {
        let text = "this host runs no other plugin that could be called";
        return Err(not_begun(ErrorKind::Unavailable, text));
    };
    let within = Within::of(&calls, instance, asked.within)?;
    if within.chain.depth() >= NESTED_MAX {
        let text = format!(
            "calls are nested {NESTED_MAX} deep: {} → {}",
            within.chain.text(),
            asked.capability
        );
        return Err(not_begun(ErrorKind::Exhausted, text));
    }
    let mut extras = asked.extras;
    hand_on(within.chain.trace(), &mut extras.metadata);
    let stop = Arc::new(Stop::new());
    let nested = within
        .chain
        .begin(&asked.capability, &extras.metadata, &stop)
        .ok_or(NotBegun::Status(abi::STATUS_CLOSED))?;
    let number = {
        let mut state = calls.lock();
        if state.stage != Stage::Open {
            return Err(NotBegun::Status(abi::STATUS_CLOSED));
        }
        if state.under_way.len() >= UNDER_WAY_MAX {
            return Err(NotBegun::Status(abi::STATUS_RESOURCE_EXHAUSTED));
        }
        state.numbers += 1;
        let number = state.numbers;
        let kept = under_way(number, &stop).unwrap_or_else(|| UnderWay::Waited(stop.clone()));
        state.under_way.insert(number, kept);
        number
    };
    // Again, now that whoever cancels it finds this one.
    if within.token.is_some_and(output::cancelled) {
        stop.set();
    }
    let now = clock::monotonic();
    let own = (timeout_ns != abi::NO_DEADLINE).then(|| now.after(Duration::from_nanos(timeout_ns)));
    let deadline = within.deadline.into_iter().chain(own).min();
    let stream = asked.streams.then(|| Arc::new(Frames::new(FRAMES_AHEAD)));
    let answering = router.route(OutgoingCall {
        capability: asked.capability,
        content_type: asked.content_type,
        body: asked.input,
        timeout: deadline.map(|deadline| deadline.since(now)),
        extras,
        chain: nested.call().clone(),
        stream: stream.clone(),
    });
    Ok(Begun {
        look: within
            .token
            .filter(|token| output::streams(*token))
            .map(|_| Deadline::new(now.after(LOOK))),
        within: within.token,
        calls,
        number,
        shares_deadline: deadline.is_some() && deadline == within.deadline,
        deadline,
        nested,
        stop,
        answering: Some(answering),
        came_to: None,
        is_stopped: false,
        stream,
    })
}

/// Has a call carry the trace of the one that it is made in, unless its caller gave it one.
fn hand_on(trace: &[(String, String)], metadata: &mut Vec<(String, String)>) {
    let has_own = metadata.iter().any(|(key, _)| key == "traceparent");
    if !has_own {
        metadata.extend(trace.iter().cloned());
    }
}

impl Begun {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        self.look_at_reader(context);
        if self.stop.poll(context) && !std::mem::replace(&mut self.is_stopped, true) {
            // Also where an answer is there: a part of its frames is no success.
            let failure = self.stopped();
            self.end(Err(NoAnswer::Failed(failure)));
        }
        if let Some(answering) = &mut self.answering
            && let Poll::Ready(came_to) = answering.as_mut().poll(context)
        {
            self.end(came_to);
        }
        if let Some(stream) = &self.stream {
            match pin!(stream.next()).poll(context) {
                Poll::Ready(Some(frame)) => return Poll::Ready(Event::Frame(frame)),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        match self.came_to.is_some() {
            true => Poll::Ready(self.answer()),
            false => Poll::Pending,
        }
    }

    /// A reader that goes away wakes nobody.
    fn look_at_reader(&mut self, context: &mut Context<'_>) {
        while let (Some(look), Some(within)) = (&mut self.look, self.within)
            && let Poll::Ready(reached) = look.poll(context)
        {
            let is_gone = output::cancelled(within);
            if is_gone {
                self.stop.set();
            }
            let again = reached.is_ok() && !is_gone;
            self.look = again.then(|| Deadline::new(clock::monotonic().after(LOOK)));
        }
    }

    /// Nobody waits for an answer any more, or it is there.
    fn end(&mut self, came_to: Result<Answered, NoAnswer>) {
        // Cancels the call if it is not over.
        self.answering = None;
        if let Some(stream) = &self.stream {
            // What was written before can still be read, unless nobody wants it.
            match self.stop.is_set() {
                true => stream.abandon(),
                false => stream.finish(),
            }
        }
        self.came_to = Some(came_to.map_err(|no_answer| match no_answer {
            NoAnswer::Refused(failure) => failure,
            NoAnswer::Failed(failure) => self.nested.failed(failure, self.shares_deadline),
        }));
    }

    fn stopped(&self) -> CallError {
        if self
            .deadline
            .is_some_and(|deadline| clock::monotonic() >= deadline)
        {
            let text = "there was no answer before the deadline of the call that it was made in";
            return CallError::new(ErrorKind::DeadlineExceeded, text);
        }
        CallError::new(ErrorKind::Cancelled, "the call was cancelled")
    }

    fn answer(&mut self) -> Event {
        let came_to = self.came_to.take();
        Event::Answer(came_to.unwrap_or_else(|| Err(self.stopped())))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.abandon();
        }
        let mut state = self.calls.lock();
        // One that was submitted is over when its answer was received.
        if let Some(UnderWay::Waited(_)) = state.under_way.get(&self.number) {
            state.under_way.remove(&self.number);
        }
    }
}

/// Makes a call of an instance's and waits for the answer, on the calling thread.
pub(super) fn call(
    instance: InstanceToken,
    asked: read::Asked,
    timeout_ns: u64,
    receiver: ReceiverOf,
) -> Status {
    if code_owner::is_in_check() {
        return answered_at_once(&receiver, from_check());
    }
    let begun = outside(|| begin(instance, asked, timeout_ns, |_, _| None));
    let mut begun = match begun {
        Ok(begun) => begun,
        Err(not_begun) => return answered_at_once(&receiver, not_begun),
    };
    let waiting = Waiting::here();
    loop {
        match outside(|| waiting.wait(|context| begun.poll(context))) {
            Event::Frame(frame) => {
                if receiver.frame(&frame) != abi::STATUS_OK {
                    begun.stop.set();
                }
            }
            Event::Answer(came_to) => {
                let router = begun.calls.router.clone();
                outside(|| drop(begun));
                if receiver.answer(&came_to) == abi::STATUS_PANICKED
                    && let Some(router) = router
                {
                    outside(|| router.panicked());
                }
                return abi::STATUS_OK;
            }
        }
    }
}

fn answered_at_once(receiver: &ReceiverOf, not_begun: NotBegun) -> Status {
    match not_begun {
        NotBegun::Status(status) => status,
        NotBegun::Answer(failure) => {
            receiver.answer(&Err(failure));
            abi::STATUS_OK
        }
    }
}

/// A thread that waits for something to be ready.
struct Waiting {
    woken: Arc<Woken>,
    waker: Waker,
}

struct Woken {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Release);
        self.thread.unpark();
    }
}

impl Waiting {
    fn here() -> Self {
        let woken = Arc::new(Woken {
            thread: std::thread::current(),
            is_woken: AtomicBool::new(false),
        });
        Waiting {
            waker: woken.clone().into(),
            woken,
        }
    }

    fn wait<T>(&self, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
        let mut context = Context::from_waker(&self.waker);
        loop {
            if let Poll::Ready(value) = poll(&mut context) {
                return value;
            }
            while !self.woken.is_woken.swap(false, Acquire) {
                std::thread::park();
            }
        }
    }
}

/// A call of which no thread waits for the answer.
pub(crate) struct Submitted {
    calls: Arc<OutgoingCalls>,
    number: u64,
    receiver: ReceiverOf,
    stop: Arc<Stop>,
    delivery: Mutex<Delivery>,
}

#[derive(Default)]
struct Delivery {
    /// What is to be received next.
    next: Option<Event>,
    /// A thread is receiving.
    is_under_way: bool,
    /// What the call came to is there, or was.
    is_answered: bool,
    /// That has been received.
    is_over: bool,
    /// Whoever waits until a frame was received.
    sender: Option<Waker>,
}

/// Makes a call of an instance's; `name` hears its number before the receiver hears anything.
pub(super) fn submit(
    instance: InstanceToken,
    asked: read::Asked,
    timeout_ns: u64,
    receiver: ReceiverOf,
    name: impl FnOnce(u64),
) -> Status {
    let refused = code_owner::is_in_check().then(from_check);
    outside(|| {
        let Some(calls) = listeners::outgoing(instance) else {
            return abi::STATUS_CLOSED;
        };
        if calls.lock().stage == Stage::Created {
            return abi::STATUS_FAILED_PRECONDITION;
        }
        let mut receiver = Some(receiver);
        let mut submitted = None;
        let begun = match refused {
            Some(refused) => Err(refused),
            None => begin(instance, asked, timeout_ns, |number, stop| {
                let call = Submitted::new(&calls, number, receiver.take()?, stop);
                submitted = Some(call.clone());
                Some(UnderWay::Submitted(call))
            }),
        };
        let begun = match begun {
            Ok(begun) => Ok(begun),
            Err(NotBegun::Status(status)) => return status,
            Err(NotBegun::Answer(failure)) => Err(failure),
        };
        let submitted = match (submitted, receiver) {
            (Some(submitted), _) => submitted,
            // What it comes to is known already, and received as any other answer is.
            (None, Some(receiver)) => match Submitted::listed(&calls, receiver) {
                Some(submitted) => submitted,
                None => return abi::STATUS_CLOSED,
            },
            (None, None) => return abi::STATUS_HOST_INTERNAL,
        };
        name(submitted.number);
        let Some(router) = calls.router.clone() else {
            // Nobody is there to have it received elsewhere.
            submitted.finish(Err(begun.err().unwrap_or_else(ending)));
            let _ = submitted.ask_for_lane();
            return abi::STATUS_OK;
        };
        let at_the_latest = FinishOnDrop(submitted);
        router.spawn(Box::pin(at_the_latest.carry_out(begun)));
        abi::STATUS_OK
    })
}

/// Cancels a call that an instance has submitted. `false` if it was received.
pub(super) fn cancel(instance: InstanceToken, number: u64) -> bool {
    let Some(calls) = listeners::outgoing(instance) else {
        return false;
    };
    let call = match calls.lock().under_way.get(&number) {
        Some(UnderWay::Submitted(call)) => call.clone(),
        _ => return false,
    };
    let is_answered = lock(&call.delivery).is_answered;
    call.stop.set();
    !is_answered
}

/// Has a call be received whatever happens to the task that carries it out.
struct FinishOnDrop(Arc<Submitted>);

impl Drop for FinishOnDrop {
    fn drop(&mut self) {
        let text = "the host is ending";
        if self.0.finish(Err(CallError::new(ErrorKind::Cancelled, text))) {
            // Where no lane takes it, it is received as the instance is destroyed.
            let _ = self.0.ask_for_lane();
        }
    }
}

impl FinishOnDrop {
    async fn carry_out(self, begun: Result<Begun, CallError>) {
        let call = &self.0;
        let mut begun = match begun {
            Ok(begun) => begun,
            Err(failure) => {
                call.offer(Event::Answer(Err(failure)));
                return call.received().await;
            }
        };
        loop {
            let event = poll_fn(|context| begun.poll(context)).await;
            if let Event::Answer(_) = event {
                drop(begun);
                call.offer(event);
                return call.received().await;
            }
            call.offer(event);
            call.received().await;
        }
    }
}

impl Submitted {
    fn new(calls: &Arc<OutgoingCalls>, number: u64, receiver: ReceiverOf, stop: &Arc<Stop>) -> Arc<Self> {
        Arc::new(Submitted {
            calls: calls.clone(),
            number,
            receiver,
            stop: stop.clone(),
            delivery: Mutex::default(),
        })
    }

    /// One that was not begun, and is to be received all the same. `None` if the instance is being destroyed.
    fn listed(calls: &Arc<OutgoingCalls>, receiver: ReceiverOf) -> Option<Arc<Self>> {
        let mut state = calls.lock();
        if state.stage == Stage::Closed || state.under_way.len() >= UNDER_WAY_MAX {
            return None;
        }
        state.numbers += 1;
        let call = Submitted::new(calls, state.numbers, receiver, &Arc::new(Stop::new()));
        state
            .under_way
            .insert(call.number, UnderWay::Submitted(call.clone()));
        Some(call)
    }

    /// What comes next, unless what the call came to is there already.
    fn offer(&self, event: Event) {
        let mut delivery = lock(&self.delivery);
        if !delivery.is_answered {
            delivery.is_answered = matches!(event, Event::Answer(_));
            delivery.next = Some(event);
        }
    }

    /// The call comes to this, unless it has come to something. Whether it does.
    fn finish(&self, came_to: Result<Answered, CallError>) -> bool {
        self.stop.set();
        let mut delivery = lock(&self.delivery);
        let is_news = !delivery.is_answered;
        if is_news {
            delivery.is_answered = true;
            delivery.next = Some(Event::Answer(came_to));
        }
        is_news
    }

    /// Has a lane receive what is there.
    fn ask_for_lane(self: &Arc<Self>) -> Result<(), NoLane> {
        match self.calls.lanes.get() {
            Some(lanes) => lanes.run(self.clone()),
            None => Err(NoLane::Now),
        }
    }

    /// Ready once all that was offered has been received, which a lane is asked for.
    async fn received(self: &Arc<Self>) {
        while self.ask_for_lane() == Err(NoLane::Now) {
            let mut pause = Deadline::new(clock::monotonic().after(LOOK));
            let paused = poll_fn(|context| pause.poll(context)).await;
            // Without a thread that wakes this at its time it is left to whoever destroys the instance.
            if paused.is_err() || self.is_received() {
                break;
            }
        }
        poll_fn(|context| {
            let mut delivery = lock(&self.delivery);
            if delivery.next.is_none() && !delivery.is_under_way {
                return Poll::Ready(());
            }
            delivery.sender = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn is_received(&self) -> bool {
        let delivery = lock(&self.delivery);
        delivery.next.is_none() && !delivery.is_under_way
    }

    /// A thread that has received is out of the instance: if nothing more comes, that may be destroyed.
    pub(crate) fn leave(&self) {
        if lock(&self.delivery).is_over {
            self.calls.over(self.number);
        }
    }

    /// Receives all that is there, on the calling thread, inside the instance. One thread at a time; another one has nothing to do.
    pub(crate) fn receive(&self) {
        loop {
            let event = {
                let mut delivery = lock(&self.delivery);
                if delivery.is_under_way {
                    return;
                }
                let Some(event) = delivery.next.take() else { return };
                delivery.is_under_way = true;
                event
            };
            let is_answer = matches!(event, Event::Answer(_));
            let status = match &event {
                Event::Frame(frame) => self.receiver.frame(frame),
                Event::Answer(came_to) => self.receiver.answer(came_to),
            };
            if status != abi::STATUS_OK {
                self.stop.set();
            }
            if status == abi::STATUS_PANICKED
                && let Some(router) = &self.calls.router
            {
                outside(|| router.panicked());
            }
            let sender = {
                let mut delivery = lock(&self.delivery);
                delivery.is_under_way = false;
                delivery.is_over |= is_answer;
                delivery.sender.take()
            };
            if let Some(sender) = sender {
                outside(|| sender.wake());
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
