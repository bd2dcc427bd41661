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
    /// It is not JSON of this shape: invalid input, with what is wrong, where, and how the input starts.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Deserialize<'a>>(&self) -> Result<T> {
        serde_json::from_slice(self.input).map_err(|error| unlike(&error, self.input))
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
    let said = said.split(" at line ").next().unwrap_or_default();
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

#[cfg(all(test, feature = "json"))]
mod tests {
    use super::*;

    fn said(input: &str) -> String {
        let error = serde_json::from_str::<Vec<u8>>(input).unwrap_err();
        unlike(&error, input.as_bytes()).text().to_owned()
    }

    #[test]
    fn an_input_that_does_not_fit_is_quoted_with_what_and_where() {
        assert_eq!(
            said("[1, x]"),
            "the input is no JSON: expected value (line 1, column 5); it starts with `[1, x]`"
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
