//! A call without a thread: it is the plugin's until it is completed.

use super::call::Sink;
use super::gateway::host::Host;
use super::gateway::incoming::Incoming;
use super::{CallId, Caller, Error, Result, Usage};
use crate::abi;
use std::time::Duration;

/// One call that the plugin took over, with copies of all that it came with. It may be sent from thread to thread; dropped without
/// [`complete`](Self::complete), it ends as an internal error.
pub struct Submitted {
    sink: Sink,
    host: Host,
    call: abi::CallToken,
    /// What the caller asks.
    pub request: OwnedRequest,
    usage: Usage,
    open: bool,
}

/// What the caller of a [`Submitted`] call asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedRequest {
    /// The capability's name.
    pub capability: String,
    /// The version of the capability's contract that the caller was made for; empty if it does not say.
    pub capability_version: String,
    /// Media type of the input.
    pub content_type: String,
    /// Media types that the caller takes, as HTTP's `Accept`; empty for any.
    pub accept: String,
    /// The input.
    pub input: Vec<u8>,
    /// Further parts of the input: name, media type, bytes.
    pub parts: Vec<(String, String, Vec<u8>)>,
    /// What the caller says beside the input.
    pub metadata: Vec<(String, String)>,
    /// Whether the caller wants frames as they come.
    pub streams: bool,
}

impl Submitted {
    pub(crate) fn new(host: &Host, request: &Incoming<'_>) -> Self {
        let call = request.call();
        Submitted {
            sink: Sink::new(host.clone(), call),
            host: host.clone(),
            call,
            request: OwnedRequest {
                capability: request.capability().to_owned(),
                capability_version: request.capability_version().to_owned(),
                content_type: request.content_type().to_owned(),
                accept: request.accept().to_owned(),
                input: request.input().to_vec(),
                parts: request
                    .parts()
                    .map(|part| {
                        (
                            part.name.to_owned(),
                            part.content_type.to_owned(),
                            part.data.to_vec(),
                        )
                    })
                    .collect(),
                metadata: request
                    .metadata()
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect(),
                streams: request.flags() & abi::REQUEST_STREAM != 0,
            },
            usage: Usage::default(),
            open: true,
        }
    }

    /// The name of this call, as [`Plugin::cancel`](super::Plugin::cancel) gets it.
    pub fn id(&self) -> CallId {
        CallId(self.call)
    }

    /// The host, for calls of other plugins that are made in this one, until it is completed.
    pub fn host(&self) -> Caller {
        Caller::new(self.host.clone(), self.call)
    }

    /// Where its output goes.
    pub fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Whether to stop as soon as possible.
    pub fn cancelled(&self) -> bool {
        self.sink.cancelled()
    }

    /// Time until the deadline; `None` without one.
    pub fn remaining(&self) -> Option<Duration> {
        self.sink.remaining()
    }

    /// Tokens that a model read and wrote for this call.
    pub fn usage(&mut self, usage: Usage) {
        self.usage = usage;
    }

    /// The input as JSON.
    ///
    /// # Errors
    /// As [`Call::json`](super::Call::json).
    #[cfg(feature = "json")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T> {
        super::call::read_json(&self.request.input)
    }

    /// Ends the call: its caller gets what was written, or the failure.
    pub fn complete(mut self, result: Result<()>) {
        self.end(result.as_ref().err());
    }

    fn end(&mut self, failure: Option<&Error>) {
        if std::mem::take(&mut self.open) {
            self.host.complete(self.call, failure, self.usage);
        }
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        if std::thread::panicking() && self.open {
            self.open = false;
            self.host
                .complete_panicked(self.call, "panicked while it had the call");
        } else {
            self.end(Some(&Error::internal(
                "the plugin dropped the call without an answer",
            )));
        }
    }
}
