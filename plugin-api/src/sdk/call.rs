//! A call as the plugin sees it.

use super::gateway::host::Host;
use super::{Error, Result};
use crate::abi;
use std::time::Duration;

/// One call under way: its input, its deadline, and where its output goes.
pub struct Call<'a> {
    pub(crate) token: abi::CallToken,
    pub(crate) host: &'a Host,
    pub(crate) capability: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) input: &'a [u8],
    pub(crate) flags: u32,
    pub(crate) tokens_in: Option<u64>,
    pub(crate) tokens_out: Option<u64>,
}

impl<'a> Call<'a> {
    /// The capability's name.
    pub fn capability(&self) -> &'a str {
        self.capability
    }

    /// Media type of the input.
    pub fn content_type(&self) -> &'a str {
        self.content_type
    }

    /// The input.
    pub fn input(&self) -> &'a [u8] {
        self.input
    }

    /// Whether the caller wants frames as they come: then each [`write`](Self::write) is one frame.
    pub fn streams(&self) -> bool {
        self.flags & abi::REQUEST_STREAM != 0
    }

    /// Whether to stop as soon as possible: the caller is gone or the deadline has passed. Look at it in every long loop.
    pub fn cancelled(&self) -> bool {
        self.host.cancelled(self.token)
    }

    /// Fails with [`ErrorKind::Cancelled`](super::ErrorKind::Cancelled) when [`cancelled`](Self::cancelled), for use with `?`.
    ///
    /// # Errors
    /// The call is cancelled.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancelled() {
            Err(Error::cancelled())
        } else {
            Ok(())
        }
    }

    /// Time until the deadline; `None` without one.
    pub fn remaining(&self) -> Option<Duration> {
        self.host.remaining(self.token)
    }

    /// Names the media type of the output. Before the first write; the default is `application/octet-stream`.
    ///
    /// # Errors
    /// Output has begun, or the call has ended.
    pub fn begin(&mut self, content_type: &str) -> Result<()> {
        self.sink().begin(content_type)
    }

    /// Writes output; in a streamed call, one frame.
    ///
    /// # Errors
    /// The call is cancelled, or the host's limit on output is reached.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink().write(bytes)
    }

    /// Tokens that a model read and wrote for this call.
    pub fn usage(&mut self, tokens_in: Option<u64>, tokens_out: Option<u64>) {
        self.tokens_in = tokens_in;
        self.tokens_out = tokens_out;
    }

    /// The output's other end, for use from other threads. It outlives the call; then it only answers "cancelled".
    pub fn sink(&self) -> Sink {
        Sink {
            host: self.host.clone(),
            token: self.token,
        }
    }

    /// The input as JSON.
    ///
    /// # Errors
    /// It is not JSON of this shape: invalid input, with line and column.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Deserialize<'a>>(&self) -> Result<T> {
        serde_json::from_slice(self.input)
            .map_err(|e| Error::invalid_input(format_args!("the input is not as expected: {e}")))
    }

    /// Writes a whole answer as JSON.
    ///
    /// # Errors
    /// As [`begin`](Self::begin) and [`write`](Self::write); or the value can't be written as JSON.
    #[cfg(feature = "json")]
    pub fn reply_json<T: serde::Serialize + ?Sized>(&mut self, answer: &T) -> Result<()> {
        let bytes = serde_json::to_vec(answer)?;
        self.begin("application/json")?;
        self.write(&bytes)
    }
}

/// Where a call's output goes.
#[derive(Clone)]
pub struct Sink {
    host: Host,
    token: abi::CallToken,
}

impl Sink {
    /// See [`Call::begin`].
    ///
    /// # Errors
    /// As there.
    pub fn begin(&self, content_type: &str) -> Result<()> {
        self.host.sink_begin(self.token, content_type)
    }

    /// See [`Call::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        self.host.sink_write(self.token, bytes)
    }

    /// See [`Call::cancelled`].
    pub fn cancelled(&self) -> bool {
        self.host.cancelled(self.token)
    }
}
