//! The host as the plugin sees it: safe calls over the lent table.

use super::entry::describe;
use crate::abi::{self, HostTable};
use crate::sdk::{Caller, Error, Health, Part, Result, Usage};
use std::time::Duration;

/// How important a log record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something may fail soon.
    Warn,
    /// What an operator wants to see.
    Info,
    /// What a developer wants to see.
    Debug,
    /// Everything.
    Trace,
}

/// The host, for one instance. Cheap to clone, usable from any thread.
///
/// Its table's functions are read one by one, never through a reference to the whole: an older host's table is shorter
/// than this crate knows it. What is read here is of ABI 1.0, which every host has.
#[derive(Clone)]
pub struct Host {
    pub(super) table: *const HostTable,
    pub(super) instance: abi::InstanceToken,
}

// SAFETY: the table is immutable, lives until the library is unloaded, and each of its functions may be called from any
// thread (contract of HostTable).
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// # Safety
    /// `table` is the host's table as given to `create`: valid until the library is unloaded, of ABI 1.0 or later.
    pub(super) unsafe fn new(table: *const HostTable, instance: abi::InstanceToken) -> Self {
        Host { table, instance }
    }

    /// Writes a log record; `target` says which part of the plugin speaks.
    pub fn log(&self, level: Level, target: &str, text: &str) {
        self.log_with(level, target, text, "");
    }

    /// Writes a log record with fields: a JSON object as text, or nothing.
    pub fn log_with(&self, level: Level, target: &str, text: &str, fields_json: &str) {
        let record = abi::LogRecord {
            struct_size: size_of::<abi::LogRecord>(),
            level: level.code(),
            reserved: 0,
            target: abi::Bytes::of(target.as_bytes()),
            text: abi::Bytes::of(text.as_bytes()),
            fields: abi::Bytes::of(fields_json.as_bytes()),
        };
        // SAFETY: the record and its slices are borrowed for the call, as the table's contract asks.
        unsafe { ((*self.table).log)(self.table, self.instance, &record) };
    }

    /// Whether records of this level are kept: ask before a text that takes time to make.
    pub fn log_enabled(&self, level: Level) -> bool {
        // SAFETY: takes numbers by value.
        unsafe { ((*self.table).log_enabled)(self.table, self.instance, level.code()) != 0 }
    }

    /// Reports a change of health that no check asked for.
    ///
    /// # Errors
    /// The host takes no reports from this instance now, or they come too often.
    pub fn push_health(&self, health: Health, text: &str) -> Result<()> {
        let mut report = abi::Report::BLANK;
        report.health = health.code();
        report.valid = abi::REPORT_HEALTH;
        // SAFETY: report and text are borrowed for the call.
        let status = unsafe {
            ((*self.table).push_health)(self.table, self.instance, &report, text.as_ptr(), text.len())
        };
        into_result(status, "push health")
    }

    /// The host, for calls of other plugins from outside any call or step, as from a thread of the plugin's own. No deadline is handed on to
    /// such a call: its [`timeout`](crate::sdk::CallRequest::timeout) holds, or else what the instance that serves it allows. It is cancelled when
    /// the instance that makes it ends.
    pub fn caller(&self) -> Caller {
        Caller::new(self.clone(), 0)
    }

    pub(crate) fn cancelled(&self, call: abi::CallToken) -> bool {
        // SAFETY: takes a token by value; the host checks it.
        unsafe { ((*self.table).cancelled)(self.table, call) != 0 }
    }

    pub(crate) fn remaining(&self, call: abi::CallToken) -> Option<Duration> {
        // SAFETY: as above.
        match unsafe { ((*self.table).deadline_ns)(self.table, call) } {
            abi::NO_DEADLINE => None,
            ns => Some(Duration::from_nanos(ns)),
        }
    }

    pub(crate) fn progress(&self, call: abi::CallToken, done: u64, total: u64, text: &str) {
        // SAFETY: the text is borrowed for the call.
        unsafe { ((*self.table).progress)(self.table, call, done, total, text.as_ptr(), text.len()) };
    }

    pub(crate) fn sink_begin(&self, call: abi::CallToken, content_type: &str) -> Result<()> {
        // SAFETY: the text is borrowed for the call.
        let status = unsafe {
            ((*self.table).sink_begin)(self.table, call, content_type.as_ptr(), content_type.len())
        };
        into_result(status, "begin output")
    }

    pub(crate) fn sink_write(&self, call: abi::CallToken, data: &[u8]) -> Result<()> {
        // SAFETY: the slice is borrowed for the call.
        let status = unsafe { ((*self.table).sink_write)(self.table, call, data.as_ptr(), data.len()) };
        into_result(status, "write output")
    }

    pub(crate) fn emit_metadata(&self, call: abi::CallToken, key: &str, value: &str) -> Result<()> {
        let (k, v) = (key.as_ptr(), value.as_ptr());
        // SAFETY: both texts are borrowed for the call.
        let status = unsafe { ((*self.table).emit_metadata)(self.table, call, k, key.len(), v, value.len()) };
        into_result(status, "add metadata")
    }

    pub(crate) fn emit_check(&self, call: abi::CallToken, part: &Part<'_>) -> Result<()> {
        let mut check = abi::Check {
            struct_size: size_of::<abi::Check>(),
            valid: 0,
            name: abi::Bytes::of(part.name.as_bytes()),
            message: abi::Bytes::of(part.message.as_bytes()),
            health: part.health.code(),
            reserved: 0,
            duration_ns: 0,
            value: 0.0,
        };
        if let Some(took) = part.took {
            check.duration_ns = took.as_nanos().try_into().unwrap_or(u64::MAX);
            check.valid |= abi::CHECK_VALID_DURATION;
        }
        if let Some(value) = part.value {
            check.value = value;
            check.valid |= abi::CHECK_VALID_VALUE;
        }
        // SAFETY: the struct and its slices are borrowed for the call.
        let status = unsafe { ((*self.table).emit_check)(self.table, call, &check) };
        into_result(status, "add a check")
    }

    /// Ends a submitted call. A host that has given it up takes no notice.
    pub(crate) fn complete(&self, call: abi::CallToken, failure: Option<&Error>, usage: Usage) {
        let mut outcome = abi::Outcome::BLANK;
        describe(&mut outcome, usage, failure);
        let (status, text) = match failure {
            None => (abi::STATUS_OK, ""),
            Some(failure) => (failure.status(), failure.text()),
        };
        // SAFETY: the outcome and the text are borrowed for the call.
        unsafe {
            ((*self.table).complete)(self.table, call, status, &outcome, text.as_ptr(), text.len());
        }
    }

    /// Ends a submitted call by a panic.
    pub(crate) fn complete_panicked(&self, call: abi::CallToken, text: &str) {
        let (status, outcome) = (abi::STATUS_PANICKED, std::ptr::null());
        // SAFETY: the text is borrowed for the call.
        unsafe { ((*self.table).complete)(self.table, call, status, outcome, text.as_ptr(), text.len()) };
    }
}

impl Level {
    fn code(self) -> abi::LogLevel {
        match self {
            Level::Error => abi::LOG_ERROR,
            Level::Warn => abi::LOG_WARN,
            Level::Info => abi::LOG_INFO,
            Level::Debug => abi::LOG_DEBUG,
            Level::Trace => abi::LOG_TRACE,
        }
    }
}

fn into_result(status: abi::Status, doing: &str) -> Result<()> {
    if status == abi::STATUS_OK {
        Ok(())
    } else {
        Err(Error::from_host_status(status, doing))
    }
}
