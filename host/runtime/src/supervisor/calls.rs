//! Calls that instances make of each other's capabilities: who makes one, and what it may call. Who serves it is for a [`CallRouter`] to say.

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
    /// Which load of its library it is of.
    pub generation: u64,
    /// Its plugin.
    pub plugin: VerifiedPlugin,
}

/// Serves calls that instances make of each other.
pub trait CallRouter: Send + Sync {
    /// Has a call served that `caller` may make. Polled on any thread.
    fn route(&self, caller: &Caller, call: Call, stream: Option<Arc<Frames>>) -> Answering;

    /// Runs this until it is done, or drops it when there is nobody left to run it.
    fn spawn(&self, task: Task);

    /// What was to receive an answer in `caller` has panicked.
    fn panicked(&self, caller: &Caller);
}

/// Nobody serves anything: of a supervisor without a host around it.
pub struct NoRouter;

impl CallRouter for NoRouter {
    fn route(&self, _: &Caller, _: Call, _: Option<Arc<Frames>>) -> Answering {
        let text = "this host runs no other plugin that could be called";
        refuse(NoAnswer::Failed(CallError::new(ErrorKind::Unavailable, text)))
    }

    fn spawn(&self, task: Task) {
        drop(task);
    }

    fn panicked(&self, _: &Caller) {}
}

impl Caller {
    /// Whether what `other` offers as this capability may be called: it, or its capability, is required in such a version.
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

    /// Why a capability may not be called whoever offers it, if it may not.
    fn undeclared(&self, capability: &str) -> Option<CallError> {
        let mut required = self.plugin.manifest().requires.iter();
        let may_be = required.any(|required| match &required.target {
            Target::Plugin(_) => true,
            Target::Capability(name) => name == capability,
        });
        (!may_be).then(|| self.not_required(capability))
    }

    /// What is said where nothing that the plugin requires offers a capability, though others do.
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
            return refuse(NoAnswer::Refused(undeclared));
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

fn refuse(why: NoAnswer) -> Answering {
    Box::pin(std::future::ready(Err(why)))
}
