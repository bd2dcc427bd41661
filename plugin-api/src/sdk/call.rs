//! A call as the plugin sees it.

use super::gateway::host::Host;
use super::gateway::incoming::Incoming;
use super::{Caller, Error, Result};
use crate::abi;
use std::time::Duration;

/// Names one call into the plugin, for [`Plugin::cancel`](super::Plugin::cancel).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId(pub(crate) abi::CallToken);

/// Tokens that a model read and wrote, as far as they are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens that the model read.
    pub tokens_in: Option<u64>,
    /// Tokens that it wrote.
    pub tokens_out: Option<u64>,
    /// Of those that it read, those that came from a cache.
    pub tokens_cached: Option<u64>,
    /// Of those that it wrote, those that it spent on reasoning.
    pub tokens_reasoning: Option<u64>,
}

/// A further part of a call's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputPart<'a> {
    /// Its name; may be empty.
    pub name: &'a str,
    /// Its media type.
    pub content_type: &'a str,
    /// Its bytes.
    pub data: &'a [u8],
}

/// One call under way: its input, its deadline, and where its output goes.
pub struct Call<'a> {
    pub(crate) request: Incoming<'a>,
    pub(crate) host: &'a Host,
    pub(crate) usage: Usage,
}

impl<'a> Call<'a> {
    /// The name of this call, as [`Plugin::cancel`](super::Plugin::cancel) gets it.
    pub fn id(&self) -> CallId {
        CallId(self.request.call())
    }

    /// The capability's name.
    pub fn capability(&self) -> &'a str {
        self.request.capability()
    }

    /// The version of the capability's contract that the caller was made for; empty if it does not say.
    pub fn capability_version(&self) -> &'a str {
        self.request.capability_version()
    }

    /// Media type of the input.
    pub fn content_type(&self) -> &'a str {
        self.request.content_type()
    }

    /// Media types that the caller takes, as HTTP's `Accept`; empty for any.
    pub fn accept(&self) -> &'a str {
        self.request.accept()
    }

    /// The input.
    pub fn input(&self) -> &'a [u8] {
        self.request.input()
    }

    /// Further parts of the input.
    pub fn parts(&self) -> impl Iterator<Item = InputPart<'a>> {
        self.request.parts()
    }

    /// What the caller says beside the input: `traceparent`, `idempotency-key`, `tenant`, `priority`.
    pub fn metadata(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.request.metadata()
    }

    /// The value of one key of the [`metadata`](Self::metadata).
    pub fn metadata_value(&self, key: &str) -> Option<&'a str> {
        self.metadata().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// The host, for calls of other plugins that are made in this one.
    pub fn host(&self) -> Caller {
        Caller::new(self.host.clone(), self.request.call())
    }

    /// Whether the caller wants frames as they come: then each [`write`](Self::write) is one frame.
    pub fn streams(&self) -> bool {
        self.request.flags() & abi::REQUEST_STREAM != 0
    }

    /// Whether to stop as soon as possible: the caller is gone or the deadline has passed. Look at it in every long loop.
    pub fn cancelled(&self) -> bool {
        self.host.cancelled(self.request.call())
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
        self.host.remaining(self.request.call())
    }

    /// Names the media type of the output. Before the first write; the default is `application/octet-stream`.
    ///
    /// # Errors
    /// Output has begun, or the call has ended.
    pub fn begin(&mut self, content_type: &str) -> Result<()> {
        self.host.sink_begin(self.request.call(), content_type)
    }

    /// Writes output; in a streamed call, one frame.
    ///
    /// # Errors
    /// The call is cancelled, or the host's limit on output is reached.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.host.sink_write(self.request.call(), bytes)
    }

    /// Adds to what the caller gets beside the output: `finish-reason`, `model`. Keys are lowercase.
    ///
    /// # Errors
    /// The call has ended, or the host's limit on metadata is reached.
    pub fn emit_metadata(&mut self, key: &str, value: &str) -> Result<()> {
        self.host.emit_metadata(self.request.call(), key, value)
    }

    /// Tokens that a model read and wrote for this call.
    pub fn usage(&mut self, usage: Usage) {
        self.usage = usage;
    }

    /// The output's other end, for use from other threads. It outlives the call; then it only answers "cancelled".
    pub fn sink(&self) -> Sink {
        Sink::new(self.host.clone(), self.request.call())
    }

    /// The input as JSON.
    ///
    /// # Errors
    /// It is not JSON of this shape: invalid input, with what is wrong, where, and how the input starts.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Deserialize<'a>>(&self) -> Result<T> {
        read_json(self.input())
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

/// An input, read as JSON.
#[cfg(feature = "json")]
pub(super) fn read_json<'a, T: serde::Deserialize<'a>>(input: &'a [u8]) -> Result<T> {
    serde_json::from_slice(input).map_err(|error| unlike(&error, input))
}

/// Most characters of an input that an error quotes.
#[cfg(feature = "json")]
const QUOTED_CHARS_MAX: usize = 60;

#[cfg(feature = "json")]
fn unlike(error: &serde_json::Error, input: &[u8]) -> Error {
    use serde_json::error::Category;
    if input.is_empty() {
        return Error::invalid_input("the input is empty, and has to be JSON");
    }
    let said = error.to_string();
    let said = match said.split(" at line ").next().unwrap_or_default() {
        "expected value" | "expected ident" => {
            "a value has to stand (text in double quotes, a number, true, false, null, {…} or […])"
        }
        "key must be a string" => "a name in double quotes has to stand",
        other => other,
    };
    let what = match error.classify() {
        Category::Eof => "the input is no whole JSON: it ends too early".to_owned(),
        Category::Syntax => format!("the input is no JSON: {said}"),
        Category::Data | Category::Io => format!("the input is JSON, but not as expected: {said}"),
    };
    let place = match error.line() {
        0 => String::new(),
        line => format!(" (line {line}, column {})", error.column()),
    };
    // A character has four bytes at most.
    let start = String::from_utf8_lossy(&input[..input.len().min(4 * QUOTED_CHARS_MAX)]);
    let shown: String = start.chars().take(QUOTED_CHARS_MAX).collect();
    let more = if shown.len() < input.len() { "…" } else { "" };
    Error::invalid_input(format_args!("{what}{place}; it starts with `{shown}{more}`"))
}

/// Where a call's output goes.
#[derive(Clone)]
pub struct Sink {
    host: Host,
    call: abi::CallToken,
}

impl Sink {
    pub(super) fn new(host: Host, call: abi::CallToken) -> Self {
        Sink { host, call }
    }

    /// See [`Call::begin`].
    ///
    /// # Errors
    /// As there.
    pub fn begin(&self, content_type: &str) -> Result<()> {
        self.host.sink_begin(self.call, content_type)
    }

    /// See [`Call::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        self.host.sink_write(self.call, bytes)
    }

    /// See [`Call::emit_metadata`].
    ///
    /// # Errors
    /// As there.
    pub fn emit_metadata(&self, key: &str, value: &str) -> Result<()> {
        self.host.emit_metadata(self.call, key, value)
    }

    /// See [`Call::cancelled`].
    pub fn cancelled(&self) -> bool {
        self.host.cancelled(self.call)
    }

    /// See [`Call::remaining`].
    pub fn remaining(&self) -> Option<Duration> {
        self.host.remaining(self.call)
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use super::*;

    fn said(input: &str) -> String {
        let error = serde_json::from_str::<Vec<serde_json::Value>>(input).unwrap_err();
        unlike(&error, input.as_bytes()).text().to_owned()
    }

    #[test]
    fn an_input_that_does_not_fit_is_quoted_with_what_and_where() {
        assert_eq!(
            said("[1, {x: 1}]"),
            "the input is no JSON: a name in double quotes has to stand (line 1, column 6); it starts with `[1, {x: 1}]`"
        );
        let text = said("[1, x]");
        assert!(
            text.contains("a value has to stand") && text.ends_with("`[1, x]`"),
            "{text}"
        );
        assert!(said("[1").starts_with("the input is no whole JSON: it ends too early (line 1, column 2);"));
        assert_eq!(said(""), "the input is empty, and has to be JSON");
        let long = said(&format!("{{\"{}\": 1}}", "ä".repeat(500)));
        assert!(
            long.starts_with("the input is JSON, but not as expected: invalid type: map")
                && long.ends_with("ä…`"),
            "{long}"
        );
        assert!(long.chars().count() < 200, "{long}");
    }
}
