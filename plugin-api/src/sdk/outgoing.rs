//! Calling what other plugins can do.

#[cfg(feature = "json")]
use super::Error;
use super::gateway::host::Host;
use super::{InputPart, Result, Usage};
use crate::abi;
use std::time::Duration;

/// The host, for calls of other plugins' capabilities: from [`Call::host`](super::Call::host), [`Submitted::host`](super::Submitted::host),
/// [`Step::host`](super::Step::host), or [`Host::caller`] for a thread of the plugin's own. Cheap to clone, usable from any thread.
///
/// What may be called is what the manifest requires (`[[requires]]`, by capability or by plugin); a plugin never serves its own calls. The
/// deadline, the cancellation and the trace context of the call or step are handed on. While a call waits for another one it counts against the
/// concurrency limit of its instance: one that comes back to an instance whose limit is reached waits until its deadline, and its error names the
/// chain of calls.
///
/// An error has the kind that the other plugin gave it. Passed on with `?`, it does not count against this plugin.
///
/// ```no_run
/// # use extman_plugin_api::prelude::*;
/// fn embedded(call: &Call<'_>) -> Result<Vec<u8>> {
///     let reply = call.host().call("text.embed", r#"{"texts": ["Bonjour"]}"#)?;
///     Ok(reply.body)
/// }
/// ```
#[derive(Clone)]
pub struct Caller {
    host: Host,
    within: abi::CallToken,
}

/// A call of another plugin's capability.
#[derive(Debug, Clone)]
pub struct CallRequest<'a> {
    pub(crate) capability: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) accept: &'a str,
    pub(crate) input: &'a [u8],
    pub(crate) metadata: Vec<(&'a str, &'a str)>,
    pub(crate) parts: Vec<InputPart<'a>>,
    pub(crate) timeout: Option<Duration>,
}

impl<'a> CallRequest<'a> {
    /// Calls this capability, with an input that is JSON unless [`content_type`](Self::content_type) says otherwise.
    pub fn new(capability: &'a str, input: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        CallRequest {
            capability,
            content_type: "application/json",
            accept: "",
            input: input.as_ref(),
            metadata: Vec::new(),
            parts: Vec::new(),
            timeout: None,
        }
    }

    /// Media type of the input.
    pub fn content_type(mut self, content_type: &'a str) -> Self {
        self.content_type = content_type;
        self
    }

    /// Media types that are taken as an answer, as HTTP's `Accept`.
    pub fn accept(mut self, accept: &'a str) -> Self {
        self.accept = accept;
        self
    }

    /// One more key with its value: `idempotency-key`, `tenant`. Without a `traceparent` that of the call under way is handed on.
    pub fn metadata(mut self, key: &'a str, value: &'a str) -> Self {
        self.metadata.push((key, value));
        self
    }

    /// A further part of the input.
    pub fn part(mut self, part: InputPart<'a>) -> Self {
        self.parts.push(part);
        self
    }

    /// The most time that it may take. Without it: until the deadline of the call that it is made in; without that too, as long as the instance
    /// that serves it allows.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

/// What another plugin answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// Media type of the body.
    pub content_type: String,
    /// The output; empty if it came in frames.
    pub body: Vec<u8>,
    /// What is said beside it: `finish-reason`, `model`.
    pub metadata: Vec<(String, String)>,
    /// Tokens that a model read and wrote.
    pub usage: Usage,
    /// The instance that has served the call.
    pub served_by: String,
}

impl Reply {
    /// The body as JSON.
    ///
    /// # Errors
    /// It is not JSON of this shape: an internal error.
    #[cfg(feature = "json")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::internal(format_args!(
                "the answer of {} is not as expected: {error}",
                self.served_by
            ))
        })
    }
}

/// A call that was submitted.
#[derive(Clone)]
pub struct Outgoing {
    host: Host,
    token: abi::OutgoingToken,
}

impl Outgoing {
    /// Cancels it: its answer comes soon, as an error of kind [`Cancelled`](super::ErrorKind::Cancelled) unless another one was there.
    pub fn cancel(&self) {
        self.host.cancel_outgoing(self.token);
    }
}

impl Caller {
    pub(crate) fn new(host: Host, within: abi::CallToken) -> Self {
        Caller { host, within }
    }

    /// Calls a capability with a JSON input and waits for the whole answer.
    ///
    /// # Errors
    /// The manifest does not require it, nobody serves it, or whoever serves it fails.
    pub fn call(&self, capability: &str, input: impl AsRef<[u8]>) -> Result<Reply> {
        self.send(&CallRequest::new(capability, &input))
    }

    /// Calls a capability with a value as JSON and reads the answer as JSON.
    ///
    /// # Errors
    /// As [`call`](Self::call); or input or answer have not this shape.
    #[cfg(feature = "json")]
    pub fn call_json<T: serde::de::DeserializeOwned>(
        &self,
        capability: &str,
        input: &(impl serde::Serialize + ?Sized),
    ) -> Result<T> {
        self.call(capability, serde_json::to_vec(input)?)?.json()
    }

    /// Makes a call and waits for the whole answer.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn send(&self, request: &CallRequest<'_>) -> Result<Reply> {
        self.host.call_and_wait(self.within, request, None)
    }

    /// Makes a call and hands over its frames as they come; the answer has no body then. The next frame waits until `frame` returns, and if that
    /// fails the call is cancelled.
    ///
    /// # Errors
    /// As [`call`](Self::call), also after some frames; or what `frame` fails with.
    pub fn stream(
        &self,
        request: &CallRequest<'_>,
        mut frame: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<Reply> {
        self.host.call_and_wait(self.within, request, Some(&mut frame))
    }

    /// Makes a call without waiting. `answer` gets its result, once, on a thread of the host, and has to return at once. It is called before the
    /// instance is destroyed, whatever happens. If the call that this one is made in ends before, this one is cancelled.
    ///
    /// # Errors
    /// The call was not begun, and `answer` is not called: the instance or the call has ended, or too many calls are under way.
    pub fn submit(
        &self,
        request: &CallRequest<'_>,
        answer: impl FnOnce(Result<Reply>) + Send + 'static,
    ) -> Result<Outgoing> {
        self.submitted(request, None, Box::new(answer))
    }

    /// The same with `frame` called for each frame as it comes, before `answer`. If `frame` fails, the call is cancelled, and `answer` gets that
    /// error.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_stream(
        &self,
        request: &CallRequest<'_>,
        frame: impl FnMut(&[u8]) -> Result<()> + Send + 'static,
        answer: impl FnOnce(Result<Reply>) + Send + 'static,
    ) -> Result<Outgoing> {
        self.submitted(request, Some(Box::new(frame)), Box::new(answer))
    }

    fn submitted(
        &self,
        request: &CallRequest<'_>,
        frame: Option<Box<OnFrame>>,
        answer: Box<OnAnswer>,
    ) -> Result<Outgoing> {
        let token = self.host.submit_call(self.within, request, frame, answer)?;
        Ok(Outgoing {
            host: self.host.clone(),
            token,
        })
    }
}

/// Called with each frame of a submitted call.
pub(crate) type OnFrame = dyn FnMut(&[u8]) -> Result<()> + Send;
/// Called with the result of a submitted call.
pub(crate) type OnAnswer = dyn FnOnce(Result<Reply>) + Send;
