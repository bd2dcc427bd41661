//! What a plugin says of its health.

use super::Result;
use super::gateway::host::Host;
use crate::abi;
use std::time::Duration;

/// Health as the plugin sees itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It does not say.
    Unknown,
    /// Able to serve.
    Up,
    /// Able to serve, worse than usual.
    Degraded,
    /// Not able to serve.
    Down,
}

impl Health {
    pub(crate) fn code(self) -> abi::Health {
        match self {
            Health::Unknown => abi::HEALTH_UNKNOWN,
            Health::Up => abi::HEALTH_UP,
            Health::Degraded => abi::HEALTH_DEGRADED,
            Health::Down => abi::HEALTH_DOWN,
        }
    }
}

/// What the host asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    /// Do you answer at all? Return at once; touch no network.
    Liveness,
    /// Can you serve now? Cheap.
    Readiness,
    /// One synthetic request through the capability itself. Asked only of plugins whose manifest has `[probe] deep = true`, and only where
    /// an operator wants it; within 30 s, if nothing else is configured.
    Deep,
}

/// State of a connection that the plugin keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Being made.
    Connecting,
    /// Made.
    Connected,
    /// Lost or refused.
    Broken,
}

/// A check under way: what the host asks, and where the plugin's measurements go. What is not set stays "not measured".
pub struct Probe<'a> {
    pub(crate) kind: CheckKind,
    pub(crate) call: abi::CallToken,
    pub(crate) host: &'a Host,
    pub(crate) report: abi::Report,
    pub(crate) text: String,
}

impl Probe<'_> {
    /// What the host asks.
    pub fn kind(&self) -> CheckKind {
        self.kind
    }

    /// Time until the check counts as failed; `None` without a limit.
    pub fn remaining(&self) -> Option<Duration> {
        self.host.remaining(self.call)
    }

    /// Whether to stop as soon as possible: the time is over, or the instance is being stopped. Look at it in a check that takes long.
    pub fn cancelled(&self) -> bool {
        self.host.cancelled(self.call)
    }

    /// Why the health is what it is, for people.
    pub fn explain(&mut self, text: impl std::fmt::Display) -> &mut Self {
        self.text = text.to_string();
        self
    }

    /// The connection's state and how long it has been in it.
    pub fn connection(&mut self, state: Connection, age: Duration) -> &mut Self {
        self.report.connection = match state {
            Connection::Connecting => abi::CONNECTION_CONNECTING,
            Connection::Connected => abi::CONNECTION_CONNECTED,
            Connection::Broken => abi::CONNECTION_BROKEN,
        };
        self.report.connection_age_ms = age.as_millis().try_into().unwrap_or(u64::MAX);
        self.report.valid |= abi::REPORT_CONNECTION | abi::REPORT_CONNECTION_AGE;
        self
    }

    /// The last measured round trip over the connection.
    pub fn round_trip(&mut self, rtt: Duration) -> &mut Self {
        self.report.connection_rtt_ns = rtt.as_nanos().try_into().unwrap_or(u64::MAX);
        self.report.valid |= abi::REPORT_CONNECTION_RTT;
        self
    }

    /// Work waiting inside the plugin, and how much may wait.
    pub fn queue(&mut self, depth: u64, capacity: Option<u64>) -> &mut Self {
        self.report.queue_depth = depth;
        self.report.valid |= abi::REPORT_QUEUE_DEPTH;
        if let Some(capacity) = capacity {
            self.report.queue_capacity = capacity;
            self.report.valid |= abi::REPORT_QUEUE_CAPACITY;
        }
        self
    }

    /// Work under way inside the plugin.
    pub fn in_flight(&mut self, calls: u64) -> &mut Self {
        self.report.in_flight = calls;
        self.report.valid |= abi::REPORT_IN_FLIGHT;
        self
    }

    /// The most heap that the plugin means to use, in bytes.
    pub fn heap_limit(&mut self, bytes: u64) -> &mut Self {
        self.report.heap_limit_bytes = bytes;
        self.report.valid |= abi::REPORT_HEAP_LIMIT;
        self
    }

    /// Adds a named part: "connection to the provider", "model loaded".
    ///
    /// # Errors
    /// The host takes no more parts, or the check has ended.
    pub fn part(&mut self, name: &str, health: Health, message: &str) -> Result<()> {
        self.measured_part(&Part {
            name,
            health,
            message,
            took: None,
            value: None,
        })
    }

    /// Adds a named part with what was measured of it.
    ///
    /// # Errors
    /// The host takes no more parts, or the check has ended.
    pub fn measured_part(&mut self, part: &Part<'_>) -> Result<()> {
        self.host.emit_check(self.call, part)
    }
}

/// A named part of a check.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part<'a> {
    /// Which part of the plugin: "connection to the provider", "model loaded".
    pub name: &'a str,
    /// Its health.
    pub health: Health,
    /// What was seen, for people.
    pub message: &'a str,
    /// How long it took to look at it.
    pub took: Option<Duration>,
    /// A figure that belongs to it; the name says which, and its unit.
    pub value: Option<f64>,
}
