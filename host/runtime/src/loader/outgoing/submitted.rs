//! A call for whose answer no thread waits: a task of the router's carries it out, and lanes of the caller's library receive what comes.

use super::super::code_owner::{self, outside};
use super::super::stop::Stop;
use super::super::{listeners, read};
use super::under_way::{Event, NotBegun, UnderWay, prepare};
use super::{Answered, CallerStage, LOOK, ListedCall, NoLane, OutgoingCalls, ReceiverOf, ending};
use crate::deadlines::Deadline;
use crate::sync::lock;
use extman_abi::{self as abi, InstanceToken, Status};
use extman_model::{CallError, ErrorKind, clock};
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// A call that was submitted.
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

impl Delivery {
    /// Whether all that was offered has been received.
    fn is_received(&self) -> bool {
        self.next.is_none() && !self.is_under_way
    }
}

/// Makes a call of an instance's; `name` hears its number before the receiver hears anything.
pub(in crate::loader) fn submit(
    instance: InstanceToken,
    request: read::OutgoingRequest,
    timeout_ns: u64,
    receiver: ReceiverOf,
    name: impl FnOnce(u64),
) -> Status {
    let in_check = code_owner::is_in_check();
    outside(|| {
        let Some(calls) = listeners::outgoing(instance) else {
            return abi::STATUS_CLOSED;
        };
        if calls.lock().stage == CallerStage::Created {
            return abi::STATUS_FAILED_PRECONDITION;
        }
        let stop = Arc::new(Stop::new());
        let prepared = match prepare(&calls, instance, request, in_check, &stop) {
            Ok(prepared) => Ok(prepared),
            Err(NotBegun::Status(status)) => return status,
            // What it comes to is known already, and received as any other answer is.
            Err(NotBegun::Answer(failure)) => Err(failure),
        };
        let call = match Submitted::list(&calls, receiver, stop) {
            Ok(call) => call,
            Err(status) => return status,
        };
        name(call.number);
        let Some(router) = &calls.router else {
            // Nobody is there to have it received elsewhere.
            call.finish(Err(prepared.err().unwrap_or_else(ending)));
            let _ = call.ask_for_lane();
            return abi::STATUS_OK;
        };
        let begun = prepared.map(|prepared| prepared.route(timeout_ns));
        router.spawn(Box::pin(FinishOnDrop(call).carry_out(begun)));
        abi::STATUS_OK
    })
}

/// Cancels a call that an instance has submitted. `false` if it was received.
pub(in crate::loader) fn cancel(instance: InstanceToken, number: u64) -> bool {
    let Some(calls) = listeners::outgoing(instance) else {
        return false;
    };
    let call = match calls.lock().listed.get(&number) {
        Some(ListedCall::Submitted(call)) => call.clone(),
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
    async fn carry_out(self, begun: Result<UnderWay, CallError>) {
        let call = &self.0;
        let answer = match begun {
            Err(failure) => Event::Answer(Err(failure)),
            Ok(mut under_way) => loop {
                match poll_fn(|context| under_way.poll(context)).await {
                    frame @ Event::Frame(_) => call.deliver(frame).await,
                    answer @ Event::Answer(_) => break answer,
                }
            },
        };
        call.deliver(answer).await;
    }
}

impl Submitted {
    /// # Errors
    /// As [`OutgoingCalls::list`].
    fn list(
        calls: &Arc<OutgoingCalls>,
        receiver: ReceiverOf,
        stop: Arc<Stop>,
    ) -> Result<Arc<Submitted>, Status> {
        let mut made = None;
        calls.list(|number| {
            let call = made.insert(Arc::new(Submitted {
                calls: calls.clone(),
                number,
                receiver,
                stop,
                delivery: Mutex::default(),
            }));
            ListedCall::Submitted(call.clone())
        })?;
        made.ok_or(abi::STATUS_HOST_INTERNAL)
    }

    /// This comes next, unless what the call came to is there already. Whether it does.
    fn offer(&self, event: Event) -> bool {
        let mut delivery = lock(&self.delivery);
        let is_news = !delivery.is_answered;
        if is_news {
            delivery.is_answered = matches!(event, Event::Answer(_));
            delivery.next = Some(event);
        }
        is_news
    }

    /// The call comes to this, unless it has come to something. Whether it does.
    pub(super) fn finish(&self, came_to: Result<Answered, CallError>) -> bool {
        self.stop.set();
        self.offer(Event::Answer(came_to))
    }

    /// Has a lane receive what is there.
    fn ask_for_lane(self: &Arc<Self>) -> Result<(), NoLane> {
        match self.calls.lanes.get() {
            Some(lanes) => lanes.run(self.clone()),
            None => Err(NoLane::Now),
        }
    }

    /// Offers this and has a lane receive it; ready once that is done.
    async fn deliver(self: &Arc<Self>, event: Event) {
        self.offer(event);
        while self.ask_for_lane() == Err(NoLane::Now) {
            let mut pause = Deadline::new(clock::monotonic().after(LOOK));
            let paused = poll_fn(|context| pause.poll(context)).await;
            // Without a thread that wakes this at its time it is left to whoever destroys the instance.
            if paused.is_err() || lock(&self.delivery).is_received() {
                break;
            }
        }
        poll_fn(|context| {
            let mut delivery = lock(&self.delivery);
            if delivery.is_received() {
                return Poll::Ready(());
            }
            delivery.sender = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// A thread that has received is out of the instance: if nothing more comes, that may be destroyed.
    pub(crate) fn leave(&self) {
        if lock(&self.delivery).is_over {
            self.calls.unlist(self.number);
        }
    }

    /// Receives all that is there, on the calling thread, inside the instance. One thread at a time; another one has nothing to do.
    pub(crate) fn receive(&self) {
        while let Some(event) = self.take_next() {
            let status = match &event {
                Event::Frame(frame) => self.receiver.frame(frame),
                Event::Answer(came_to) => self.receiver.answer(came_to),
            };
            if status != abi::STATUS_OK {
                self.stop.set();
            }
            if status == abi::STATUS_PANICKED {
                outside(|| self.calls.panicked());
            }
            let sender = {
                let mut delivery = lock(&self.delivery);
                delivery.is_under_way = false;
                delivery.is_over |= matches!(event, Event::Answer(_));
                delivery.sender.take()
            };
            if let Some(sender) = sender {
                outside(|| sender.wake());
            }
        }
    }

    fn take_next(&self) -> Option<Event> {
        let mut delivery = lock(&self.delivery);
        if delivery.is_under_way {
            return None;
        }
        let next = delivery.next.take();
        delivery.is_under_way = next.is_some();
        next
    }
}
