//! An instance's handle, bound to the library that made it: safe calls over the plugin's entries.
//!
//! The library can't be closed while a `Bound` lives, nothing is called after `destroy`, and `destroy` is refused while a call is
//! inside. What is *not* promised is anything about the plugin: once its code runs, its bugs are the process's.

use super::host_table::HOST_TABLE;
use super::library::Library;
use super::listeners::{self, Listener};
use super::origin::{self, Origin};
use super::read;
use super::root::{Step as StepFn, StepWithBytes, Tables};
use super::sink::Output;
use super::slot::Slot;
use super::text::ErrorText;
use crate::process_guard;
use extman_abi::{self as abi, Bytes, Status};
use extman_model::{CallError, CheckKind, ErrorKind, Figures, Report, Usage};
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, PoisonError};

/// An instance as the loader knows it.
pub struct Bound {
    tables: Tables,
    // Given up by `destroy`: whoever still holds the `Bound` then no longer holds the library.
    library: Mutex<Option<Arc<Library>>>,
    handle: abi::InstanceHandle,
    token: u64,
    name: Box<str>,
    origin: Origin,
    // Calls inside. With SEALED no more calls and checks may enter, with CLOSED nothing.
    inside: AtomicUsize,
}

// SAFETY: the handle is opaque to the host, and the ABI lets any thread pass it to the plugin.
unsafe impl Send for Bound {}
// SAFETY: as above; overlap is limited by the callers as the manifest's thread model says.
unsafe impl Sync for Bound {}

const CLOSED: usize = 1 << (usize::BITS - 1);
const SEALED: usize = 1 << (usize::BITS - 2);

/// A lifecycle step without arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Get ready to serve.
    Start,
    /// No new calls will come.
    Drain,
    /// End serving.
    Stop,
}

/// One call as it goes in.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The capability's name.
    pub capability: &'a str,
    /// Media type of the body.
    pub content_type: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// Whether frames are wanted as they come.
    pub stream: bool,
}

/// One call as it came back.
#[derive(Debug)]
pub struct Returned {
    /// What it came to.
    pub result: Result<(), CallError>,
    /// What the plugin said of its use of a model.
    pub usage: Usage,
}

/// What an instance says of itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// The plugin has no check, or says that it has none for this.
    Nothing,
    /// Figures alone.
    Figures(Figures),
    /// With words: a text, or named parts.
    Report(Box<Report>),
}

impl Said {
    /// As a report.
    pub fn report(self) -> Option<Report> {
        match self {
            Said::Nothing => None,
            Said::Figures(figures) => Some(figures.report()),
            Said::Report(report) => Some(*report),
        }
    }
}

impl Bound {
    /// Has the library make an instance.
    ///
    /// # Errors
    /// What the plugin says.
    pub fn create(
        library: Arc<Library>,
        name: &str,
        config: &str,
        listener: Arc<dyn Listener>,
    ) -> Result<Bound, CallError> {
        let token = listeners::register(listener);
        let request = abi::CreateRequest {
            struct_size: size_of::<abi::CreateRequest>(),
            instance: token,
            name: lent(name.as_bytes()),
            config: lent(config.as_bytes()),
        };
        let mut handle: abi::InstanceHandle = std::ptr::null_mut();
        let mut error = ErrorText::new();
        let window = process_guard::window(name, "create", library.origin());
        let code = origin::inside(library.origin());
        // SAFETY: a checked entry; the library is open until `destroy`; all pointers are to locals that outlive the call.
        let status =
            unsafe { (library.tables().lifecycle.create)(&HOST_TABLE, &request, &mut handle, error.lend()) };
        drop(code);
        drop(window);
        match result(status, &error, "create") {
            Ok(()) => Ok(Bound {
                tables: *library.tables(),
                origin: library.origin(),
                library: Mutex::new(Some(library)),
                handle,
                token,
                name: name.into(),
                inside: AtomicUsize::new(0),
            }),
            Err(failure) => {
                listeners::unregister(token);
                process_guard::no_longer_lives(name);
                Err(failure)
            }
        }
    }

    /// Runs a lifecycle step.
    ///
    /// # Errors
    /// What the plugin says, or that the instance is being destroyed.
    pub fn step(&self, step: Step) -> Result<(), CallError> {
        let lifecycle = &self.tables.lifecycle;
        let (entry, name): (Option<StepFn>, _) = match step {
            Step::Start => (lifecycle.start, "start"),
            Step::Drain => (lifecycle.drain, "drain"),
            Step::Stop => (lifecycle.stop, "stop"),
        };
        let Some(entry) = entry else { return Ok(()) };
        let _window = process_guard::window(&self.name, name, self.origin);
        let _inside = self.enter_step()?;
        let mut error = ErrorText::new();
        // SAFETY: a checked entry; the library is open until `destroy`, a live handle, and a lent local.
        let status = unsafe { entry(self.handle, error.lend()) };
        result(status, &error, name)
    }

    /// Hands over a new configuration.
    ///
    /// # Errors
    /// What the plugin says; unsupported if it has no such entry.
    pub fn configure(&self, config: &str) -> Result<(), CallError> {
        self.pass(self.tables.lifecycle.configure, config.as_bytes(), "configure")
    }

    /// Hands over a predecessor's state.
    ///
    /// # Errors
    /// What the plugin says; unsupported if it has no such entry.
    pub fn restore(&self, state: &[u8]) -> Result<(), CallError> {
        self.pass(self.tables.lifecycle.restore, state, "restore")
    }

    /// Has the instance write its state to the open slot of `token`.
    ///
    /// # Errors
    /// What the plugin says; unsupported if it has no such entry.
    pub fn snapshot(&self, token: u64) -> Result<(), CallError> {
        let Some(entry) = self.tables.lifecycle.snapshot else {
            return Err(unsupported("snapshot"));
        };
        let _inside = self.enter_step()?;
        let mut error = ErrorText::new();
        // SAFETY: a checked entry; the library is open until `destroy`, a live handle, and a lent local.
        let status = unsafe { entry(self.handle, token, error.lend()) };
        result(status, &error, "snapshot")
    }

    /// Serves one call; its output goes to the open slot of `token`.
    #[inline]
    pub fn invoke(&self, token: u64, input: Input<'_>) -> Returned {
        let _inside = match self.enter() {
            Ok(inside) => inside,
            Err(failure) => {
                return Returned {
                    result: Err(failure),
                    usage: Usage::default(),
                };
            }
        };
        let request = abi::Request {
            struct_size: size_of::<abi::Request>(),
            call: token,
            capability: lent(input.capability.as_bytes()),
            content_type: lent(input.content_type.as_bytes()),
            input: lent(input.body),
            flags: if input.stream { abi::REQUEST_STREAM } else { 0 },
            reserved: 0,
        };
        let mut outcome = abi::Outcome {
            struct_size: size_of::<abi::Outcome>(),
            valid: 0,
            retryable: 0,
            reserved: 0,
            retry_after_ms: 0,
            tokens_in: 0,
            tokens_out: 0,
        };
        let mut error = ErrorText::new();
        // SAFETY: a checked entry; the library is open until `destroy`, a live handle, and locals that outlive the call.
        let status = unsafe { (self.tables.invoke)(self.handle, &request, &mut outcome, error.lend()) };
        let given = |bit: u64| outcome.valid & bit != 0;
        let failed = |mut failure: CallError| {
            failure.retryable = given(abi::OUTCOME_RETRYABLE).then_some(outcome.retryable != 0);
            failure.retry_after_ms = given(abi::OUTCOME_RETRY_AFTER).then_some(outcome.retry_after_ms);
            failure
        };
        Returned {
            result: result(status, &error, "invoke").map_err(failed),
            usage: Usage {
                tokens_in: given(abi::OUTCOME_TOKENS_IN).then_some(outcome.tokens_in),
                tokens_out: given(abi::OUTCOME_TOKENS_OUT).then_some(outcome.tokens_out),
            },
        }
    }

    /// Whether the plugin has a check of its own.
    #[inline]
    pub fn has_check(&self) -> bool {
        self.tables.check.is_some()
    }

    /// Asks the instance how it is, in the open slot of `token`.
    ///
    /// # Errors
    /// The plugin could not answer.
    #[inline]
    pub fn check(&self, slot: &Slot, token: u64, kind: CheckKind) -> Result<Said, CallError> {
        let Some(entry) = self.tables.check else {
            return Ok(Said::Nothing);
        };
        let _inside = self.enter()?;
        let request = abi::CheckRequest {
            struct_size: size_of::<abi::CheckRequest>(),
            probe: token,
            kind: match kind {
                CheckKind::Liveness => abi::CHECK_LIVENESS,
                CheckKind::Readiness => abi::CHECK_READINESS,
                CheckKind::Deep => abi::CHECK_DEEP,
            },
            reserved: 0,
        };
        let mut raw = read::blank_report();
        let mut text = ErrorText::new();
        // SAFETY: a checked entry; the library is open until `destroy`, a live handle, and locals that outlive the call.
        let status = unsafe { entry(self.handle, &request, &mut raw, text.lend()) };
        let Output { parts, .. } = slot.close();
        if status != abi::STATUS_OK {
            return result(status, &text, "check").map(|()| Said::Nothing);
        }
        let figures = read::figures(&raw);
        if parts.is_empty() && text.is_empty() {
            return Ok(Said::Figures(figures));
        }
        let text = text.read();
        Ok(Said::Report(Box::new(Report {
            text: (!text.is_empty()).then_some(text),
            parts,
            ..figures.report()
        })))
    }

    /// Has the plugin free the instance. Afterwards nothing is called on it any more.
    ///
    /// # Errors
    /// The number of calls that are still inside.
    pub fn destroy(&self) -> Result<(), usize> {
        let mut now = self.inside.load(Acquire);
        loop {
            if now & CLOSED != 0 {
                return Ok(());
            }
            if now & !SEALED != 0 {
                return Err(now & !SEALED);
            }
            match self.inside.compare_exchange(now, CLOSED, AcqRel, Acquire) {
                Ok(_) => break,
                Err(changed) => now = changed,
            }
        }
        let window = process_guard::window(&self.name, "destroy", self.origin);
        let code = origin::inside(self.origin);
        // SAFETY: a checked entry; the library is open until `destroy`; the handle is live, nothing is inside, and nothing enters any more.
        unsafe { (self.tables.lifecycle.destroy)(self.handle) };
        drop(code);
        drop(window);
        process_guard::no_longer_lives(&self.name);
        listeners::unregister(self.token);
        drop(self.library.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }

    /// Calls that are inside now.
    pub fn inside(&self) -> usize {
        self.inside.load(Acquire) & !(CLOSED | SEALED)
    }

    /// Lets no more calls and checks in; steps of the lifecycle still are.
    pub fn seal(&self) {
        self.inside.fetch_or(SEALED, AcqRel);
    }

    fn pass(&self, entry: Option<StepWithBytes>, bytes: &[u8], name: &str) -> Result<(), CallError> {
        let Some(entry) = entry else {
            return Err(unsupported(name));
        };
        let _inside = self.enter_step()?;
        let mut error = ErrorText::new();
        // SAFETY: a checked entry; the library is open until `destroy`, a live handle, and bytes lent for the call.
        let status = unsafe { entry(self.handle, lent(bytes), error.lend()) };
        result(status, &error, name)
    }

    /// For calls and checks.
    #[inline]
    fn enter(&self) -> Result<Inside<'_>, CallError> {
        self.enter_unless(CLOSED | SEALED)
    }

    /// For steps of the lifecycle.
    fn enter_step(&self) -> Result<Inside<'_>, CallError> {
        self.enter_unless(CLOSED)
    }

    #[inline]
    fn enter_unless(&self, barred: usize) -> Result<Inside<'_>, CallError> {
        if self.inside.fetch_add(1, AcqRel) & barred != 0 {
            self.inside.fetch_sub(1, AcqRel);
            return Err(CallError::new(
                ErrorKind::NotServing,
                "the instance is being stopped",
            ));
        }
        Ok(Inside {
            bound: self,
            _code: origin::inside(self.origin),
        })
    }
}

struct Inside<'a> {
    bound: &'a Bound,
    _code: origin::Inside,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        process_guard::end_if_forked();
        self.bound.inside.fetch_sub(1, AcqRel);
    }
}

fn lent(bytes: &[u8]) -> Bytes {
    Bytes {
        data: bytes.as_ptr(),
        len: bytes.len(),
    }
}

fn unsupported(name: &str) -> CallError {
    CallError::new(ErrorKind::Unsupported, format!("the plugin has no {name}"))
}

fn result(status: Status, text: &ErrorText, entry: &str) -> Result<(), CallError> {
    let kind = match status {
        abi::STATUS_OK => return Ok(()),
        abi::STATUS_INVALID_INPUT => ErrorKind::InvalidInput,
        abi::STATUS_UNAVAILABLE => ErrorKind::Unavailable,
        abi::STATUS_RATE_LIMITED => ErrorKind::RateLimited,
        abi::STATUS_CONFIGURATION => ErrorKind::Configuration,
        abi::STATUS_CANCELLED => ErrorKind::Cancelled,
        abi::STATUS_DEADLINE_EXCEEDED => ErrorKind::DeadlineExceeded,
        abi::STATUS_UNSUPPORTED => ErrorKind::Unsupported,
        abi::STATUS_EXHAUSTED => ErrorKind::Exhausted,
        abi::STATUS_PANICKED => ErrorKind::Panicked,
        _ => ErrorKind::Internal,
    };
    let text = text.read();
    let text = if text.is_empty() {
        format!("{entry} failed with status {status}, without a text")
    } else {
        text
    };
    Err(CallError::new(kind, text))
}
