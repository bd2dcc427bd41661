//! Calls that instances make of each other's capabilities: who makes one, and what it may call. A [`CallRouter`] says who serves it.

use crate::instance::Call;
use crate::loader::{Answering, Frames, NoAnswer, OutgoingCall, OutgoingRouter, Task};
use extman_intake::VerifiedPlugin;
use extman_model::{CallError, ErrorKind};
use extman_plugin_api::manifest::schema::{Manifest, Target};
use std::sync::Arc;

/// An instance that calls others.
#[derive(Clone)]
pub struct Caller {
    /// Its name.
    pub name: Arc<str>,
    /// The load of its library that it runs in.
    pub generation: u64,
    /// Its plugin.
    pub plugin: VerifiedPlugin,
}

/// Serves calls that instances make of each other.
pub trait CallRouter: Send + Sync {
    /// Has a call served that `caller` may make. Polled on any thread.
    fn route(&self, caller: &Caller, call: Call, stream: Option<Arc<Frames>>) -> Answering;

    /// Runs this until it is done, or drops it once the host has ended.
    fn spawn(&self, task: Task);

    /// The function of `caller` that receives frames or answers has panicked.
    fn panicked(&self, caller: &Caller);
}

impl Caller {
    /// Whether this capability of `other` may be called: the manifest requires that plugin or that capability, in a version that fits.
    pub fn may_call(&self, capability: &str, other: &Manifest) -> bool {
        let own = self.plugin.manifest();
        let is_other = other.plugin.id != own.plugin.id;
        is_other
            && own.requires.iter().any(|required| match &required.target {
                Target::Plugin(id) => {
                    *id == other.plugin.id && required.version.matches(&other.plugin.version)
                }
                Target::Capability(name) => {
                    let mut offered = other.capabilities.iter();
                    *name == capability
                        && offered.any(|offered| {
                            offered.name == *name && required.version.matches(&offered.version)
                        })
                }
            })
    }

    /// The error of a capability that no requirement of the manifest can allow, whoever offers it.
    fn undeclared(&self, capability: &str) -> Option<CallError> {
        let mut required = self.plugin.manifest().requires.iter();
        let may_be_allowed = required.any(|required| match &required.target {
            Target::Plugin(_) => true,
            Target::Capability(name) => name == capability,
        });
        (!may_be_allowed).then(|| self.not_required(capability))
    }

    /// The error of a call to a capability that the manifest does not require.
    pub fn not_required(&self, capability: &str) -> CallError {
        let id = &self.plugin.manifest().plugin.id;
        let text = format!(
            "{id} calls {capability} and does not require it: add [[requires]] with capability = {capability:?} to its plugin.toml, \
             and build it again"
        );
        CallError::new(ErrorKind::Configuration, text)
    }
}

/// The calls of one instance.
pub(super) struct InstanceCalls {
    caller: Caller,
    router: Arc<dyn CallRouter>,
}

impl InstanceCalls {
    pub(super) fn new(caller: Caller, router: Arc<dyn CallRouter>) -> Self {
        InstanceCalls { caller, router }
    }
}

impl OutgoingRouter for InstanceCalls {
    fn may_call(&self) -> bool {
        !self.caller.plugin.manifest().requires.is_empty()
    }

    fn route(&self, call: OutgoingCall) -> Answering {
        if let Some(undeclared) = self.caller.undeclared(&call.capability) {
            return Box::pin(std::future::ready(Err(NoAnswer::Refused(undeclared))));
        }
        let stream = call.stream;
        let call = Call {
            capability: call.capability,
            content_type: call.content_type,
            body: call.body,
            timeout: call.timeout,
            extras: call.extras,
            chain: Some(call.chain),
        };
        self.router.route(&self.caller, call, stream)
    }

    fn spawn(&self, task: Task) {
        self.router.spawn(task);
    }

    fn panicked(&self) {
        self.router.panicked(&self.caller);
    }
}
