//! An instance's handle, bound to the library that made it: safe calls over the plugin's entries.
//!
//! The library can't be closed while a `PluginInstance` lives, nothing is called after `destroy`, and `destroy` is refused while a call is
//! inside. What is *not* promised is anything about the plugin: once its code runs, its bugs are the process's.

use super::attach::{self, AttachedEntry};
use super::call_context::{self, CallContext};
use super::chain::Chain;
use super::code_owner::{self, CodeOwner};
use super::host_table::HOST_TABLE;
use super::library::Library;
use super::listeners::{self, Listener};
use super::outgoing::{OutgoingCalls, ReceivingLanes};
use super::output::{self, Completed, Completion, Output};
use super::root::{Invoke as InvokeFn, Step as StepFn, Tables};
use super::text::ErrorText;
use super::{read, status};
use crate::crash::{InstanceEntry, Place};
use crate::lanes::Phase;
use crate::process_guard::{self, Active, Activity, Entering};
use crate::sync::lock;
use extman_abi::{self as abi, Bytes, CallToken, InstanceToken};
use extman_model::clock::Monotonic;
use extman_model::{CallError, CheckKind, ErrorKind, Figures, InputPart, Report, RequestExtras, Usage};
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};

/// An instance as the loader knows it.
pub struct PluginInstance {
    /// Its library's: one copy for all instances, which is in the cache when one among thousands is checked.
    tables: Arc<Tables>,
    // Given up by `destroy`: whoever still holds the `PluginInstance` then no longer holds the library.
    library: Mutex<Option<Arc<Library>>>,
    handle: abi::InstanceHandle,
    token: InstanceToken,
    name: Arc<str>,
    owner: CodeOwner,
    activity: Activity,
    listed: InstanceEntry,
    outgoing: Arc<OutgoingCalls>,
    /// Calls of other plugins may be made in its own.
    may_call: bool,
}

// SAFETY: the handle is opaque to the host, and the ABI lets any thread pass it to the plugin.
unsafe impl Send for PluginInstance {}
// SAFETY: as above; overlap is limited by the callers as the manifest's thread model says.
unsafe impl Sync for PluginInstance {}

impl Active for PluginInstance {
    fn activity(&self) -> &Activity {
        &self.activity
    }
}

/// What an instance is made from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Making<'a> {
    /// The instance's name.
    pub name: &'a str,
    /// Its configuration: a JSON object.
    pub config: &'a str,
    /// Where its data stays, if there is such a folder.
    pub data_dir: Option<&'a Path>,
    /// Where it may keep what can be made anew.
    pub cache_dir: Option<&'a Path>,
    /// Where the plugin's files are.
    pub resource_dir: Option<&'a Path>,
}

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
    /// What else the caller says.
    pub extras: &'a RequestExtras,
}

/// A state that an instance wrote for its successor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Version of the state's format, as the plugin counts; 0 if it gave none.
    pub format: u32,
    /// The state.
    pub state: Vec<u8>,
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

impl PluginInstance {
    /// Has the library make an instance, in the open call `call`.
    ///
    /// # Errors
    /// What the plugin says.
    pub fn create(
        library: Arc<Library>,
        making: Making<'_>,
        call: CallToken,
        listener: Arc<dyn Listener>,
    ) -> Result<Arc<PluginInstance>, CallError> {
        let path = |path: Option<&Path>| Bytes::of(path.map_or(&[], |path| path.as_os_str().as_bytes()));
        let name: Arc<str> = making.name.into();
        let outgoing = OutgoingCalls::new(name.clone(), listener.calls());
        let token = listeners::register(listener, outgoing.clone());
        output::of_instance(call, token);
        let request = abi::CreateRequest {
            struct_size: size_of::<abi::CreateRequest>(),
            instance: token,
            call,
            name: Bytes::of(making.name.as_bytes()),
            config: Bytes::of(making.config.as_bytes()),
            data_dir: path(making.data_dir),
            cache_dir: path(making.cache_dir),
            resource_dir: path(making.resource_dir),
        };
        let listed = library.listed().instance(making.name);
        let made = Self::make(&library, &request, making.name, &listed);
        let instance = |handle| PluginInstance {
            tables: library.tables().clone(),
            owner: library.owner(),
            handle,
            token,
            name,
            activity: Activity::of_new_instance(),
            listed,
            library: Mutex::new(Some(library.clone())),
            may_call: outgoing.may_call(),
            outgoing,
        };
        let made = made.map(instance).inspect_err(|_| listeners::unregister(token))?;
        let made = Arc::new(made);
        let instance: Weak<dyn Active> = Arc::downgrade(&made) as _;
        process_guard::instance_created(&made.name, made.owner, instance);
        made.outgoing.open();
        Ok(made)
    }

    fn make(
        library: &Library,
        request: &abi::CreateRequest,
        name: &str,
        listed: &InstanceEntry,
    ) -> Result<abi::InstanceHandle, CallError> {
        let tables = library.tables();
        let mut handle: abi::InstanceHandle = std::ptr::null_mut();
        let mut error = ErrorText::new();
        let _window = process_guard::window(name, "create", library.owner());
        let _code = code_owner::inside(library.owner(), listed.at(Phase::Create));
        let _thread = attach::thread(tables, library.owner(), listed.detaching())?;
        // SAFETY: a checked entry of an open library; all pointers are to locals that outlive the call.
        let status = unsafe { (tables.create)(&HOST_TABLE, request, &mut handle, error.lend()) };
        status::result(status, &error, "create").map(|()| handle)
    }

    /// Bytes that are kept of each apart from it: by its token, and for calls that it makes.
    pub(crate) const fn apart_bytes() -> usize {
        listeners::REGISTERED_BYTES + size_of::<OutgoingCalls>() + 2 * size_of::<usize>()
    }

    /// Its name: one copy, for all who need it.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether the plugin has an entry for this step: without one there is nothing to run.
    pub fn has_step(&self, step: Step) -> bool {
        self.entry_of(step).0.is_some()
    }

    fn entry_of(&self, step: Step) -> (Option<StepFn>, &'static str, Phase) {
        let lifecycle = &self.tables.lifecycle;
        match step {
            Step::Start => (lifecycle.start, "start", Phase::Start),
            Step::Drain => (lifecycle.drain, "drain", Phase::Drain),
            Step::Stop => (lifecycle.stop, "stop", Phase::Stop),
        }
    }

    /// Runs a lifecycle step in the open call `call`.
    ///
    /// # Errors
    /// What the plugin says, or that the instance is being destroyed.
    pub fn step(&self, step: Step, call: CallToken) -> Result<(), CallError> {
        let (entry, name, phase) = self.entry_of(step);
        let Some(entry) = entry else { return Ok(()) };
        let _window = process_guard::window(&self.name, name, self.owner);
        // SAFETY: the contract of `in_entry`.
        self.in_entry(Some(entry), (phase, name), call, |entry, error| unsafe {
            entry(self.handle, &step_request(call), error)
        })
    }

    /// Hands over a new configuration, in the open call `call`.
    ///
    /// # Errors
    /// What the plugin says; unsupported if it has no such entry.
    pub fn configure(&self, config: &str, call: CallToken) -> Result<(), CallError> {
        let request = abi::ConfigureRequest {
            struct_size: size_of::<abi::ConfigureRequest>(),
            call,
            config: Bytes::of(config.as_bytes()),
        };
        let (entry, named) = (self.tables.lifecycle.configure, (Phase::Configure, "configure"));
        // SAFETY: the contract of `in_entry`.
        self.in_entry(entry, named, call, |entry, error| unsafe {
            entry(self.handle, &request, error)
        })
    }

    /// Hands over the state that a predecessor of version `plugin_version` wrote, in the open call `call`.
    ///
    /// # Errors
    /// What the plugin says; unsupported if it has no such entry.
    pub fn restore(&self, from: &Snapshot, plugin_version: &str, call: CallToken) -> Result<(), CallError> {
        let request = abi::RestoreRequest {
            struct_size: size_of::<abi::RestoreRequest>(),
            call,
            plugin_version: Bytes::of(plugin_version.as_bytes()),
            state: Bytes::of(&from.state),
            format: from.format,
            reserved: 0,
        };
        let (entry, named) = (self.tables.lifecycle.restore, (Phase::Restore, "restore"));
        // SAFETY: the contract of `in_entry`.
        self.in_entry(entry, named, call, |entry, error| unsafe {
            entry(self.handle, &request, error)
        })
    }

    /// Has the instance write its state to the open call `call`; the state's format.
    ///
    /// # Errors
    /// What the plugin says; unsupported if it has no such entry.
    pub fn snapshot(&self, call: CallToken) -> Result<u32, CallError> {
        let mut snapshot = abi::Snapshot {
            struct_size: size_of::<abi::Snapshot>(),
            format: 0,
            reserved: 0,
        };
        let (entry, named) = (self.tables.lifecycle.snapshot, (Phase::Snapshot, "snapshot"));
        // SAFETY: the contract of `in_entry`.
        self.in_entry(entry, named, call, |entry, error| unsafe {
            entry(self.handle, &step_request(call), &mut snapshot, error)
        })?;
        Ok(snapshot.format)
    }

    /// Runs an entry of the lifecycle, which `named` names, as a step in the open call `call`. What `run` may rest on: the entry was
    /// checked, the library is open until `destroy`, and the handle is live; what it lends besides has to outlive it.
    fn in_entry<E>(
        &self,
        entry: Option<E>,
        (phase, name): (Phase, &str),
        call: CallToken,
        run: impl FnOnce(E, *mut abi::TextBuffer) -> abi::Status,
    ) -> Result<(), CallError> {
        let unsupported = || CallError::new(ErrorKind::Unsupported, format!("the plugin has no {name}"));
        let entry = entry.ok_or_else(unsupported)?;
        let _inside = self.enter_step(phase)?;
        self.begins_in(call, || {
            Chain::outermost(&format!("{name} of {}", self.name), &[])
        });
        let mut error = ErrorText::new();
        let status = run(entry, error.lend());
        status::result(status, &error, name)
    }

    /// Serves one call; its output goes to the open call `call`.
    #[inline]
    pub fn invoke(&self, call: CallToken, input: Input<'_>) -> Returned {
        let _inside = match self.enter(self.listed.in_call(input.capability)) {
            Ok(inside) => inside,
            Err(failure) => {
                return Returned {
                    result: Err(failure),
                    usage: Usage::default(),
                };
            }
        };
        self.call(self.tables.invoke, call, input)
    }

    /// Hands one call over to the plugin, in its open context: `completion` hears what it comes to, perhaps before this returns.
    ///
    /// # Errors
    /// It was not handed over, and `completion` hears nothing.
    pub fn submit(
        &self,
        context: CallContext,
        input: Input<'_>,
        completion: Completion,
    ) -> Result<(), CallError> {
        let Some(submit) = self.tables.submit else {
            let text = "its manifest marks it async = true, but the library has no extman.async/1";
            return Err(CallError::new(ErrorKind::Unsupported, text));
        };
        let _inside = self.enter(self.listed.in_call(input.capability))?;
        let call = context.token();
        context.hand_over(completion);
        let Returned { result, usage } = self.call(submit, call, input);
        if let Err(failure) = result {
            // Unless it was completed before: then that is what it came to.
            call_context::complete(call, |output| Completed {
                failure: Some(failure),
                usage,
                output,
            });
        }
        Ok(())
    }

    /// Whether calls can be handed over to the plugin.
    pub fn can_submit(&self) -> bool {
        self.tables.submit.is_some()
    }

    /// Whether the plugin wants to be told of cancelled calls.
    pub fn hears_cancel(&self) -> bool {
        self.tables.capability.cancel.is_some()
    }

    /// Tells the plugin that a call is cancelled.
    pub fn cancel(&self, call: CallToken) {
        if let Some(cancel) = self.tables.capability.cancel
            && let Ok(_inside) = self.enter(self.listed.at(Phase::Invoke))
        {
            // SAFETY: a checked entry; the library is open until `destroy`, and a live handle.
            unsafe { cancel(self.handle, call) };
        }
    }

    /// Its code begins to run in the open call `call`. If it may call others, their calls are made in that, which `outermost` tells of
    /// unless it is in a chain already.
    #[inline]
    fn begins_in(&self, call: CallToken, outermost: impl FnOnce() -> Arc<Chain>) {
        output::of_instance(call, self.token);
        if self.may_call {
            output::begin_chain(call, outermost);
        }
    }

    /// Has `lanes` receive the answers to calls that it makes and of which no thread waits.
    pub(crate) fn receive_on(&self, lanes: Box<dyn ReceivingLanes>) {
        self.outgoing.receive_on(lanes);
    }

    /// Runs this as its code, which takes an answer to a call that it has made.
    pub(crate) fn receive(&self, receive: impl FnOnce()) {
        if let Ok(_inside) = self.enter_step(Phase::Invoke) {
            receive();
        }
    }

    #[inline]
    fn call(&self, entry: InvokeFn, call: CallToken, input: Input<'_>) -> Returned {
        self.begins_in(call, || {
            Chain::outermost(input.capability, &input.extras.metadata)
        });
        // Most calls have none, and cost 130 instructions less without the two lists.
        let extras = input.extras;
        let has_lists = !extras.metadata.is_empty() || !extras.parts.is_empty();
        let lists = has_lists.then(|| (read::lent_pairs(&extras.metadata), lent_parts(&extras.parts)));
        let (metadata, parts): (&[_], &[_]) = match &lists {
            Some((metadata, parts)) => (metadata, parts),
            None => (&[], &[]),
        };
        let request = abi::Request {
            struct_size: size_of::<abi::Request>(),
            call,
            capability: Bytes::of(input.capability.as_bytes()),
            capability_version: Bytes::of(input.extras.capability_version.as_bytes()),
            content_type: Bytes::of(input.content_type.as_bytes()),
            accept: Bytes::of(input.extras.accept.as_bytes()),
            input: Bytes::of(input.body),
            metadata: metadata.as_ptr(),
            metadata_len: metadata.len(),
            parts: parts.as_ptr(),
            parts_len: parts.len(),
            flags: if input.stream { abi::REQUEST_STREAM } else { 0 },
            reserved: 0,
        };
        let mut outcome = abi::Outcome::BLANK;
        let mut error = ErrorText::new();
        // SAFETY: a checked entry; the library is open until `destroy`, a live handle, and locals that outlive the call.
        let status = unsafe { entry(self.handle, &request, &mut outcome, error.lend()) };
        Returned {
            result: status::result(status, &error, "invoke")
                .map_err(|failure| read::failed(&outcome, failure)),
            usage: read::usage(&outcome),
        }
    }

    /// Whether the plugin has a check of its own.
    #[inline]
    pub fn has_check(&self) -> bool {
        self.tables
            .health
            .as_ref()
            .and_then(|health| health.check)
            .is_some()
    }

    /// Fetches from memory what a check needs, and has the processor begin to fetch what the plugin keeps at its handle.
    #[inline]
    pub fn warm(&self) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        black_box((self.inside(), self.has_check()));
        // SAFETY: a hint, which never faults: a handle may be any number.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(self.handle.cast_const().cast()) };
    }

    /// Asks the instance how it is, in an open context, and closes that.
    ///
    /// # Errors
    /// The plugin could not answer.
    #[inline]
    pub fn check(&self, context: &CallContext, kind: CheckKind) -> Result<Said, CallError> {
        let Some(entry) = self.tables.health.as_ref().and_then(|health| health.check) else {
            return Ok(Said::Nothing);
        };
        let _inside = self.enter(self.listed.at(Phase::Check))?;
        code_owner::entry_is_check();
        let request = abi::CheckRequest {
            struct_size: size_of::<abi::CheckRequest>(),
            call: context.token(),
            kind: match kind {
                CheckKind::Liveness => abi::CHECK_LIVENESS,
                CheckKind::Readiness => abi::CHECK_READINESS,
                CheckKind::Deep => abi::CHECK_DEEP,
            },
            reserved: 0,
        };
        let mut raw = abi::Report::BLANK;
        let mut text = ErrorText::new();
        // SAFETY: a checked entry; the library is open until `destroy`, a live handle, and locals that outlive the call.
        let status = unsafe { entry(self.handle, &request, &mut raw, text.lend()) };
        let Output { parts, .. } = context.close();
        if status != abi::STATUS_OK {
            return status::result(status, &text, "check").map(|()| Said::Nothing);
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

    /// Has the plugin free the instance, in the open call `call`. Afterwards nothing is called on it any more, whatever the plugin
    /// says.
    ///
    /// # Errors
    /// Calls are still inside, or what receives an answer does not return; or what the plugin says of what may be left.
    pub fn destroy(&self, call: CallToken) -> Result<(), NotDestroyed> {
        let deadline = call_context::deadline(call).flatten();
        let deadline = deadline.unwrap_or(Monotonic::from_nanos(u64::MAX));
        let receives = |receive: &dyn Fn()| self.receive(receive);
        self.outgoing
            .close(deadline, receives)
            .map_err(NotDestroyed::Inside)?;
        match self.activity.close() {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(inside) => return Err(NotDestroyed::Inside(inside)),
        }
        let said = self.end(call);
        process_guard::instance_destroyed(&self.name, self.owner);
        listeners::unregister(self.token);
        drop(lock(&self.library).take());
        said.map_err(NotDestroyed::Gone)
    }

    fn end(&self, call: CallToken) -> Result<(), CallError> {
        let _window = process_guard::window(&self.name, "destroy", self.owner);
        let _code = code_owner::inside(self.owner, self.listed.at(Phase::Destroy));
        let _thread = attach::thread(&self.tables, self.owner, self.listed.detaching())?;
        output::of_instance(call, self.token);
        let request = step_request(call);
        let mut error = ErrorText::new();
        // SAFETY: a checked entry; the library is open until `destroy`; the handle is live, nothing is inside, and nothing enters any more.
        let status = unsafe { (self.tables.destroy)(self.handle, &request, error.lend()) };
        status::result(status, &error, "destroy")
    }

    /// Calls that are inside now.
    pub fn inside(&self) -> usize {
        self.activity.inside()
    }

    /// Lets no more calls and checks in; steps of the lifecycle still are.
    pub fn seal(&self) {
        self.activity.seal();
    }

    /// For calls and checks.
    #[inline]
    fn enter(&self, place: Place) -> Result<Inside<'_>, CallError> {
        self.enter_as(Entering::Call, place)
    }

    /// For steps of the lifecycle.
    fn enter_step(&self, phase: Phase) -> Result<Inside<'_>, CallError> {
        self.enter_as(Entering::Step, self.listed.at(phase))
    }

    #[inline]
    fn enter_as(&self, entering: Entering, place: Place) -> Result<Inside<'_>, CallError> {
        if !self.activity.enter(entering) {
            return Err(CallError::new(
                ErrorKind::NotServing,
                "the instance is being stopped",
            ));
        }
        let inside = Inside {
            instance: self,
            _code: code_owner::inside(self.owner, place),
            thread: None,
        };
        match self.tables.module.thread_attach {
            None => Ok(inside),
            Some(_) => inside.attached(),
        }
    }
}

struct Inside<'a> {
    instance: &'a PluginInstance,
    _code: code_owner::Inside,
    thread: Option<AttachedEntry>,
}

impl Inside<'_> {
    #[cold]
    fn attached(mut self) -> Result<Self, CallError> {
        self.thread = {
            let instance = self.instance;
            attach::thread(&instance.tables, instance.owner, instance.listed.detaching())?
        };
        Ok(self)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        process_guard::end_if_forked();
        // While it still counts: detaching is the library's code too.
        self.thread = None;
        self.instance.activity.leave();
    }
}

fn step_request(call: CallToken) -> abi::StepRequest {
    abi::StepRequest {
        struct_size: size_of::<abi::StepRequest>(),
        call,
    }
}

fn lent_parts(parts: &[InputPart]) -> Vec<abi::InputPart> {
    let lent = parts.iter().map(|part| abi::InputPart {
        name: Bytes::of(part.name.as_bytes()),
        content_type: Bytes::of(part.content_type.as_bytes()),
        data: Bytes::of(&part.data),
    });
    lent.collect()
}

/// Why an instance is not destroyed, or not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDestroyed {
    /// It is there: this many calls are inside.
    Inside(usize),
    /// It is gone, and the plugin says that something went wrong.
    Gone(CallError),
}
