//! One call of another plugin's capability, from the look at whether it may be made to what it comes to.
//!
//! ```text
//!   prepare ──▶ Prepared ──route──▶ UnderWay ──poll──▶ frames, answer
//!      └─ NotBegun                     └─ stopped: by its caller, with the call that it is made in, or by that one's reader
//! ```

use super::super::chain::{Chain, NESTED_MAX, Nested};
use super::super::stop::Stop;
use super::super::{call_context, output, read};
use super::{Answered, Answering, CallerStage, LOOK, NoAnswer, OutgoingCall, OutgoingCalls, OutgoingRouter};
use crate::deadlines::Deadline;
use extman_abi::{self as abi, InstanceToken, Status};
use extman_model::clock::{self, Monotonic};
use extman_model::frames::Frames;
use extman_model::{CallError, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Frames that may wait for a receiver before whoever writes them is held up.
const FRAMES_AHEAD: usize = 64;

/// Why a call was not begun.
pub(super) enum NotBegun {
    /// The caller's function is told at once.
    Status(Status),
    /// It is what the call comes to.
    Answer(CallError),
}

fn not_begun(kind: ErrorKind, text: impl Into<String>) -> NotBegun {
    NotBegun::Answer(CallError::new(kind, text))
}

/// The call that another is made in, as its token says.
struct Within {
    chain: Arc<Chain>,
    token: Option<abi::CallToken>,
    deadline: Option<Monotonic>,
}

impl Within {
    fn of(calls: &OutgoingCalls, instance: InstanceToken, token: abi::CallToken) -> Result<Self, NotBegun> {
        let outermost = || Chain::outermost(&calls.name, &[]);
        if token == 0 {
            return Ok(Within {
                chain: outermost(),
                token: None,
                deadline: None,
            });
        }
        match output::instance(token) {
            None => return Err(NotBegun::Status(abi::STATUS_CLOSED)),
            Some(0) => return Err(from_check()),
            Some(inside) if inside != instance => {
                return Err(NotBegun::Status(abi::STATUS_INVALID_INPUT));
            }
            Some(_) => {}
        }
        Ok(Within {
            deadline: call_context::deadline(token).ok_or(NotBegun::Status(abi::STATUS_CLOSED))?,
            chain: output::chain(token).unwrap_or_else(outermost),
            token: Some(token),
        })
    }
}

fn from_check() -> NotBegun {
    not_begun(
        ErrorKind::FailedPrecondition,
        "no other plugin is called from a check: it is to tell how this instance is, and not how others are; call from a thread of the \
         plugin's own, and have the check tell what came of it",
    )
}

/// A call that may be made.
pub(super) struct Prepared {
    request: read::OutgoingRequest,
    router: Arc<dyn OutgoingRouter>,
    within: Within,
    nested: Nested,
    stop: Arc<Stop>,
}

/// Whether an instance may make this call, which `stop` ends; `in_check`: it asks from a check.
pub(super) fn prepare(
    calls: &OutgoingCalls,
    instance: InstanceToken,
    mut request: read::OutgoingRequest,
    in_check: bool,
    stop: &Arc<Stop>,
) -> Result<Prepared, NotBegun> {
    if in_check {
        return Err(from_check());
    }
    if calls.lock().stage == CallerStage::Created {
        let text = "no other plugin is called from create: the instance is not there yet to receive an answer; call from start";
        return Err(not_begun(ErrorKind::FailedPrecondition, text));
    }
    let Some(router) = calls.router.clone() else {
        let text = "this host runs no other plugin that could be called";
        return Err(not_begun(ErrorKind::Unavailable, text));
    };
    let within = Within::of(calls, instance, request.within)?;
    if within.chain.depth() >= NESTED_MAX {
        let (chain, capability) = (within.chain.text(), &request.capability);
        let text = format!("calls are nested {NESTED_MAX} deep: {chain} → {capability}");
        return Err(not_begun(ErrorKind::Exhausted, text));
    }
    // It carries the trace of the call that it is made in, unless its caller gave it one.
    let metadata = &mut request.extras.metadata;
    if !metadata.iter().any(|(key, _)| key == "traceparent") {
        metadata.extend(within.chain.trace().iter().cloned());
    }
    let nested = within.chain.begin(&request.capability, metadata, stop);
    Ok(Prepared {
        nested: nested.ok_or(NotBegun::Status(abi::STATUS_CLOSED))?,
        request,
        router,
        within,
        stop: stop.clone(),
    })
}

impl Prepared {
    /// Has it served.
    pub(super) fn route(self, timeout_ns: u64) -> UnderWay {
        let Prepared {
            request,
            router,
            within,
            nested,
            stop,
        } = self;
        // Again, now that whoever cancels it finds this one.
        if within.token.is_some_and(output::cancelled) {
            stop.set();
        }
        let now = clock::monotonic();
        let own = (timeout_ns != abi::NO_DEADLINE).then(|| now.after(Duration::from_nanos(timeout_ns)));
        let deadline = within.deadline.into_iter().chain(own).min();
        let stream = request.streams.then(|| Arc::new(Frames::new(FRAMES_AHEAD)));
        let answering = router.route(OutgoingCall {
            capability: request.capability,
            content_type: request.content_type,
            body: request.input,
            timeout: deadline.map(|deadline| deadline.since(now)),
            extras: request.extras,
            chain: nested.call().clone(),
            stream: stream.clone(),
        });
        let reader = within.token.filter(|token| output::streams(*token));
        UnderWay {
            reader: reader.map(|token| (token, Deadline::new(now.after(LOOK)))),
            shares_deadline: deadline.is_some() && deadline == within.deadline,
            deadline,
            nested,
            stop,
            answering: Some(answering),
            came_to: None,
            is_stopped: false,
            stream,
        }
    }
}

/// A call that is under way. Dropped, it is cancelled.
pub(super) struct UnderWay {
    deadline: Option<Monotonic>,
    /// That is the one of the call that it is made in.
    shares_deadline: bool,
    nested: Nested,
    stop: Arc<Stop>,
    answering: Option<Answering>,
    came_to: Option<Result<Answered, CallError>>,
    is_stopped: bool,
    stream: Option<Arc<Frames>>,
    /// The call that this one is made in, if that is streamed, and when it is looked next whether its reader is still there.
    reader: Option<(abi::CallToken, Deadline)>,
}

/// What comes of a call.
pub(super) enum Event {
    Frame(Vec<u8>),
    Answer(Result<Answered, CallError>),
}

impl UnderWay {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
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
        match self.came_to.take() {
            Some(came_to) => Poll::Ready(Event::Answer(came_to)),
            None => Poll::Pending,
        }
    }

    /// Nobody wants an answer any more.
    pub(super) fn stop(&self) {
        self.stop.set();
    }

    /// A reader that goes away wakes nobody.
    fn look_at_reader(&mut self, context: &mut Context<'_>) {
        while let Some((within, look)) = &mut self.reader
            && let Poll::Ready(reached) = look.poll(context)
        {
            let is_gone = output::cancelled(*within);
            if is_gone {
                self.stop.set();
            }
            *look = Deadline::new(clock::monotonic().after(LOOK));
            if is_gone || reached.is_err() {
                self.reader = None;
            }
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
        let is_over = |deadline| clock::monotonic() >= deadline;
        if self.deadline.is_some_and(is_over) {
            let text = "there was no answer before the deadline of the call that it was made in";
            return CallError::new(ErrorKind::DeadlineExceeded, text);
        }
        CallError::new(ErrorKind::Cancelled, "the call was cancelled")
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.abandon();
        }
    }
}
