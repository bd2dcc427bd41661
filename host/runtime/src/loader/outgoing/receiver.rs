//! Where an answer goes: functions of the plugin that has made the call.

use super::super::{read, status};
use super::Answered;
use extman_abi::{self as abi, Bytes, Receiver, Status};
use extman_model::{CallError, Usage};

/// The receiver of one call.
pub(in crate::loader) struct ReceiverOf(Receiver);

// SAFETY: the contract of `new`.
unsafe impl Send for ReceiverOf {}
// SAFETY: as above; its functions are called by one thread at a time.
unsafe impl Sync for ReceiverOf {}

impl ReceiverOf {
    /// # Safety
    /// Its functions may be called with its context from any thread, one after the other, until `answer` has returned.
    pub(in crate::loader) unsafe fn new(receiver: Receiver) -> Self {
        ReceiverOf(receiver)
    }

    pub(super) fn frame(&self, data: &[u8]) -> Status {
        match self.0.frame {
            // SAFETY: the contract of `new`; the slice is lent for the call.
            Some(frame) => unsafe { frame(self.0.context, data.as_ptr(), data.len()) },
            None => abi::STATUS_OK,
        }
    }

    pub(super) fn answer(&self, came_to: &Result<Answered, CallError>) -> Status {
        let Some(receive) = self.0.answer else {
            return abi::STATUS_OK;
        };
        let (mut metadata, mut usage) = (Vec::new(), Usage::default());
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
        match came_to {
            Ok(Answered { served_by, reply }) => {
                metadata = read::lent_pairs(&reply.metadata);
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
