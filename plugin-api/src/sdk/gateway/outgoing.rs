//! Calls of other plugins: the host's `extman.call/1`, and the functions that it hands frames and answers to.

use super::guard::{array, caught, slice, text};
use super::host::Host;
use crate::abi::{self, Bytes, CallTable, Status};
use crate::sdk::outgoing::{OnAnswer, OnFrame};
use crate::sdk::{CallRequest, Error, Reply, Result, Usage};
use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// A request as the host reads it: what it points to is the borrowed [`CallRequest`]'s.
struct LentRequest {
    request: abi::Request,
    _metadata: Vec<abi::Metadata>,
    _parts: Vec<abi::InputPart>,
}

impl LentRequest {
    fn new(within: abi::CallToken, request: &CallRequest<'_>, streams: bool) -> Self {
        let bytes = |text: &str| Bytes::of(text.as_bytes());
        let metadata = request.metadata.iter().map(|(key, value)| abi::Metadata {
            key: bytes(key),
            value: bytes(value),
        });
        let parts = request.parts.iter().map(|part| abi::InputPart {
            name: bytes(part.name),
            content_type: bytes(part.content_type),
            data: Bytes::of(part.data),
        });
        let (metadata, parts): (Vec<_>, Vec<_>) = (metadata.collect(), parts.collect());
        let request = abi::Request {
            struct_size: size_of::<abi::Request>(),
            call: within,
            capability: bytes(request.capability),
            capability_version: Bytes::EMPTY,
            content_type: bytes(request.content_type),
            accept: bytes(request.accept),
            input: Bytes::of(request.input),
            metadata: metadata.as_ptr(),
            metadata_len: metadata.len(),
            parts: parts.as_ptr(),
            parts_len: parts.len(),
            flags: if streams { abi::REQUEST_STREAM } else { 0 },
            reserved: 0,
        };
        LentRequest {
            request,
            _metadata: metadata,
            _parts: parts,
        }
    }
}

fn timeout_ns(request: &CallRequest<'_>) -> u64 {
    let ns = |timeout: Duration| timeout.as_nanos().try_into().unwrap_or(abi::NO_DEADLINE);
    request.timeout.map_or(abi::NO_DEADLINE, ns)
}

/// Called with each frame of a call on the thread that waits for it.
type OnFrameHere<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

/// A call whose thread waits for the answer.
struct WaitingCall<'a, 'b> {
    frame: Option<&'a mut OnFrameHere<'b>>,
    failure: Option<Error>,
    panic: Option<Box<dyn Any + Send>>,
    result: Option<Result<Reply>>,
}

/// A submitted call: what its frames and its answer are handed to.
struct SubmittedCall {
    frame: Option<Box<OnFrame>>,
    answer: Box<OnAnswer>,
    failure: Option<Error>,
}

impl Host {
    fn call_table(&self) -> Result<*const CallTable> {
        let id = abi::EXTENSION_CALL;
        // SAFETY: the id is borrowed for the call; the function is of ABI 1.0.
        let table = unsafe { ((*self.table).extension)(self.table, id.as_ptr(), id.len()) };
        match table.is_null() {
            false => Ok(table.cast()),
            true => Err(Error::unimplemented(
                "this host has no extman.call/1: it can't call other plugins",
            )),
        }
    }

    /// Makes a call and waits for its answer.
    pub(crate) fn call_and_wait(
        &self,
        within: abi::CallToken,
        request: &CallRequest<'_>,
        frame: Option<&mut OnFrameHere<'_>>,
    ) -> Result<Reply> {
        let table = self.call_table()?;
        let lent = LentRequest::new(within, request, frame.is_some());
        let mut waiting = WaitingCall {
            frame,
            failure: None,
            panic: None,
            result: None,
        };
        let receiver = abi::Receiver {
            struct_size: size_of::<abi::Receiver>(),
            context: (&raw mut waiting).cast(),
            frame: Some(waiting_frame),
            answer: Some(waiting_answer),
        };
        let timeout = timeout_ns(request);
        // SAFETY: the host's table of `extman.call/1`, a function of its first version; request, receiver and context outlive the call.
        let status = unsafe { ((*table).call)(self.table, self.instance, &lent.request, timeout, &receiver) };
        if let Some(panic) = waiting.panic {
            resume_unwind(panic);
        }
        if let Some(failure) = waiting.failure {
            return Err(failure);
        }
        waiting
            .result
            .unwrap_or_else(|| Err(Error::from_host_status(status, "call another plugin")))
    }

    /// Makes a call and returns at once, with its token.
    pub(crate) fn submit_call(
        &self,
        within: abi::CallToken,
        request: &CallRequest<'_>,
        frame: Option<Box<OnFrame>>,
        answer: Box<OnAnswer>,
    ) -> Result<abi::OutgoingToken> {
        let table = self.call_table()?;
        let lent = LentRequest::new(within, request, frame.is_some());
        let submitted = Box::into_raw(Box::new(SubmittedCall {
            frame,
            answer,
            failure: None,
        }));
        let receiver = abi::Receiver {
            struct_size: size_of::<abi::Receiver>(),
            context: submitted.cast(),
            frame: Some(submitted_frame),
            answer: Some(submitted_answer),
        };
        let (timeout, mut token) = (timeout_ns(request), 0);
        // SAFETY: as in `call_and_wait`; the context stays until `submitted_answer` takes it.
        let status = unsafe {
            ((*table).submit)(
                self.table,
                self.instance,
                &lent.request,
                timeout,
                &receiver,
                &mut token,
            )
        };
        if status == abi::STATUS_OK {
            return Ok(token);
        }
        // SAFETY: it was not begun, so that nobody else has the context.
        drop(unsafe { Box::from_raw(submitted) });
        Err(Error::from_host_status(status, "call another plugin"))
    }

    /// Cancels a call that was submitted. One that was answered is left alone.
    pub(crate) fn cancel_outgoing(&self, token: abi::OutgoingToken) {
        if let Ok(table) = self.call_table() {
            // SAFETY: the host's table of `extman.call/1`, a function of its first version, which checks the token.
            unsafe { ((*table).cancel)(self.table, self.instance, token) };
        }
    }
}

unsafe extern "C" fn waiting_frame(context: *mut c_void, data: *const u8, data_len: usize) -> Status {
    // SAFETY: the context of `call_and_wait`, which waits for the call to end and touches nothing of it until then.
    let Some(waiting) = (unsafe { context.cast::<WaitingCall<'_, '_>>().as_mut() }) else {
        return abi::STATUS_INTERNAL;
    };
    // SAFETY: the host lends the frame for the call.
    let data = unsafe { lent_frame(data, data_len) };
    let Some(frame) = &mut waiting.frame else {
        return abi::STATUS_OK;
    };
    match catch_unwind(AssertUnwindSafe(|| frame(data))) {
        Ok(Ok(())) => abi::STATUS_OK,
        Ok(Err(failure)) => {
            let status = failure.status();
            waiting.failure = Some(failure);
            status
        }
        Err(panic) => {
            // It goes on where the call returns.
            waiting.panic = Some(panic);
            abi::STATUS_CANCELLED
        }
    }
}

unsafe extern "C" fn waiting_answer(context: *mut c_void, answer: *const abi::Answer) -> Status {
    // SAFETY: as in `waiting_frame`.
    if let Some(waiting) = unsafe { context.cast::<WaitingCall<'_, '_>>().as_mut() } {
        // SAFETY: the host's answer, valid with all that it points to for the call.
        waiting.result = Some(unsafe { read(answer) });
    }
    abi::STATUS_OK
}

unsafe extern "C" fn submitted_frame(context: *mut c_void, data: *const u8, data_len: usize) -> Status {
    // SAFETY: the context of `submit_call`, which is there until `submitted_answer`; the host calls one after the other.
    let Some(submitted) = (unsafe { context.cast::<SubmittedCall>().as_mut() }) else {
        return abi::STATUS_INTERNAL;
    };
    // SAFETY: the host lends the frame for the call.
    let data = unsafe { lent_frame(data, data_len) };
    let Some(frame) = &mut submitted.frame else {
        return abi::STATUS_OK;
    };
    match caught(|| frame(data)) {
        Ok(Ok(())) => abi::STATUS_OK,
        Ok(Err(failure)) => {
            let status = failure.status();
            submitted.failure = Some(failure);
            status
        }
        Err(panic) => {
            submitted.failure = Some(Error::internal(panic));
            abi::STATUS_PANICKED
        }
    }
}

unsafe extern "C" fn submitted_answer(context: *mut c_void, answer: *const abi::Answer) -> Status {
    if context.is_null() {
        return abi::STATUS_INTERNAL;
    }
    // SAFETY: made by `submit_call` from a Box of this type; the host calls this once, and nothing with this context after it.
    let submitted = unsafe { Box::from_raw(context.cast::<SubmittedCall>()) };
    // SAFETY: the host's answer, valid with all that it points to for the call.
    let result = unsafe { read(answer) };
    let SubmittedCall { answer, failure, .. } = *submitted;
    let heard = caught(move || {
        answer(match failure {
            Some(failure) => Err(failure),
            None => result,
        });
    });
    match heard {
        Ok(()) => abi::STATUS_OK,
        Err(_) => abi::STATUS_PANICKED,
    }
}

/// # Safety
/// The bytes are valid for `'a`.
unsafe fn lent_frame<'a>(data: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: the caller's contract.
    unsafe { slice(Bytes { data, len }) }
}

/// An answer, copied: field by field, as the host may know it shorter or longer. The fields read here are of its first version.
///
/// # Safety
/// `answer` is null or the host's, valid with all that it points to.
unsafe fn read(answer: *const abi::Answer) -> Result<Reply> {
    if answer.is_null() {
        return Err(Error::internal("the host gave no answer"));
    }
    // SAFETY: not null, and the caller's contract; an outcome is never null.
    let (status, outcome) = unsafe { ((*answer).status, &*(*answer).outcome) };
    let given = |bit: u64, value: u64| (outcome.valid & bit != 0).then_some(value);
    if status != abi::STATUS_OK {
        // SAFETY: the caller's contract.
        let mut failure = Error::from_answer(status, unsafe { text((*answer).error) });
        failure.retryable =
            given(abi::OUTCOME_RETRYABLE, u64::from(outcome.retryable)).map(|retryable| retryable != 0);
        let retry_after = given(abi::OUTCOME_RETRY_AFTER, outcome.retry_after_ms);
        failure.retry_after = retry_after.map(Duration::from_millis);
        return Err(failure);
    }
    // SAFETY: the caller's contract.
    let pairs = unsafe { array((*answer).metadata, (*answer).metadata_len) };
    // SAFETY: the caller's contract.
    let metadata = pairs
        .iter()
        .map(|pair| unsafe { (text(pair.key).to_owned(), text(pair.value).to_owned()) });
    // SAFETY: the caller's contract.
    unsafe {
        Ok(Reply {
            content_type: text((*answer).content_type).to_owned(),
            body: slice((*answer).output).to_vec(),
            metadata: metadata.collect(),
            usage: Usage {
                tokens_in: given(abi::OUTCOME_TOKENS_IN, outcome.tokens_in),
                tokens_out: given(abi::OUTCOME_TOKENS_OUT, outcome.tokens_out),
                tokens_cached: given(abi::OUTCOME_TOKENS_CACHED, outcome.tokens_cached),
                tokens_reasoning: given(abi::OUTCOME_TOKENS_REASONING, outcome.tokens_reasoning),
            },
            served_by: text((*answer).served_by).to_owned(),
        })
    }
}
