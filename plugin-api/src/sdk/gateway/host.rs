//! The host as the plugin sees it: safe calls over the lent table.

use crate::abi::{self, HostTable};
use crate::sdk::health::EMPTY_REPORT;
use crate::sdk::{Error, Health, Result};
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
    table: *const HostTable,
    instance: abi::InstanceToken,
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
        let level = match level {
            Level::Error => abi::LOG_ERROR,
            Level::Warn => abi::LOG_WARN,
            Level::Info => abi::LOG_INFO,
            Level::Debug => abi::LOG_DEBUG,
            Level::Trace => abi::LOG_TRACE,
        };
        // SAFETY: the slices are borrowed for the call, as the table's contract asks.
        unsafe {
            ((*self.table).log)(
                self.instance,
                level,
                bytes(target),
                bytes(text),
                bytes(fields_json),
            );
        }
    }

    /// Tells of a change of health without being asked.
    ///
    /// # Errors
    /// The host takes no reports from this instance now.
    pub fn push_health(&self, health: Health, text: &str) -> Result<()> {
        let mut report = EMPTY_REPORT;
        report.health = health.code();
        report.valid = abi::REPORT_HEALTH;
        // SAFETY: report and text are borrowed for the call.
        let status = unsafe { ((*self.table).push_health)(self.instance, &report, bytes(text)) };
        done(status, "push health")
    }

    pub(crate) fn cancelled(&self, token: abi::CallToken) -> bool {
        // SAFETY: takes a token by value; the host checks it.
        unsafe { ((*self.table).cancelled)(token) != 0 }
    }

    pub(crate) fn remaining(&self, token: abi::CallToken) -> Option<Duration> {
        // SAFETY: as above.
        match unsafe { ((*self.table).deadline_ns)(token) } {
            abi::NO_DEADLINE => None,
            ns => Some(Duration::from_nanos(ns)),
        }
    }

    pub(crate) fn sink_begin(&self, token: abi::CallToken, content_type: &str) -> Result<()> {
        // SAFETY: the slice is borrowed for the call.
        done(
            unsafe { ((*self.table).sink_begin)(token, bytes(content_type)) },
            "begin output",
        )
    }

    pub(crate) fn sink_write(&self, token: abi::CallToken, data: &[u8]) -> Result<()> {
        let data = abi::Bytes {
            data: data.as_ptr(),
            len: data.len(),
        };
        // SAFETY: the slice is borrowed for the call.
        done(unsafe { ((*self.table).sink_write)(token, data) }, "write output")
    }

    pub(crate) fn emit_check(
        &self,
        token: abi::ProbeToken,
        name: &str,
        health: Health,
        message: &str,
    ) -> Result<()> {
        let check = abi::Check {
            struct_size: size_of::<abi::Check>(),
            valid: 0,
            name: bytes(name),
            message: bytes(message),
            health: health.code(),
            reserved: 0,
            duration_ns: 0,
            value: 0.0,
        };
        // SAFETY: the struct and its slices are borrowed for the call.
        done(
            unsafe { ((*self.table).emit_check)(token, &check) },
            "add a check",
        )
    }
}

fn bytes(text: &str) -> abi::Bytes {
    abi::Bytes {
        data: text.as_ptr(),
        len: text.len(),
    }
}

fn done(status: abi::Status, doing: &str) -> Result<()> {
    if status == abi::STATUS_OK {
        Ok(())
    } else {
        Err(Error::of_host(status, doing))
    }
}
