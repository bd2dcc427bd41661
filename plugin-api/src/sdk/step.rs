//! A step of the lifecycle as the plugin sees it.

use super::gateway::host::Host;
use super::{Caller, Error, Result};
use crate::abi;
use std::time::Duration;

/// A step of the lifecycle under way: its deadline, whether it is cancelled, and where its progress goes. Usable from other threads
/// too; after the step it only answers "cancelled".
#[derive(Clone)]
pub struct Step {
    host: Host,
    call: abi::CallToken,
}

impl Step {
    pub(crate) fn new(host: Host, call: abi::CallToken) -> Self {
        Step { host, call }
    }

    /// Whether to stop as soon as possible. Look at it in every long loop.
    pub fn cancelled(&self) -> bool {
        self.host.cancelled(self.call)
    }

    /// Fails with [`ErrorKind::Cancelled`](super::ErrorKind::Cancelled) when [`cancelled`](Self::cancelled), for use with `?`.
    ///
    /// # Errors
    /// The step is cancelled.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancelled() {
            Err(Error::cancelled())
        } else {
            Ok(())
        }
    }

    /// The host, for calls of other plugins that are made in this step. What a plugin requires serves before it is started. From `create` no calls
    /// can be made.
    pub fn host(&self) -> Caller {
        Caller::new(self.host.clone(), self.call)
    }

    /// Time until the deadline; `None` without one.
    pub fn remaining(&self) -> Option<Duration> {
        self.host.remaining(self.call)
    }

    /// Reports progress: `done` of `total` of whatever the plugin counts, `total` 0 if that is not known.
    pub fn progress(&self, done: u64, total: u64, text: &str) {
        self.host.progress(self.call, done, total, text);
    }
}

/// A state that a successor starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Version of the state's format, counted by the plugin from 1.
    pub format: u32,
    /// The state.
    pub state: Vec<u8>,
}

/// A predecessor's state.
pub struct Restore<'a> {
    pub(crate) format: u32,
    pub(crate) plugin_version: &'a str,
    pub(crate) state: &'a [u8],
}

impl<'a> Restore<'a> {
    /// Version of the state's format, as [`Snapshot::format`] gave it.
    pub fn format(&self) -> u32 {
        self.format
    }

    /// Version of the plugin that wrote it.
    pub fn plugin_version(&self) -> &'a str {
        self.plugin_version
    }

    /// The state.
    pub fn state(&self) -> &'a [u8] {
        self.state
    }
}
