//! Calls that plugins make of each other, served as any call is: the host's side of `extman.call/1`.

use super::attempts::Attempts;
use super::calls::{Held, Target, note_panic};
use super::{Host, Inner};
use extman_model::{CallError, ErrorKind};
use extman_plugin_api::manifest::schema;
use extman_runtime::instance::Call;
use extman_runtime::loader::{Answered, Answering, Frames, NoAnswer, Task};
use extman_runtime::registry::Entry;
use extman_runtime::supervisor::{CallRouter, Caller};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, OnceLock, Weak};
use tokio::runtime::Handle;

/// Leads calls of plugins back into the host.
pub(super) struct Router {
    runtime: Handle,
    /// Set once the host is there. Weak: its instances have this.
    host: OnceLock<Weak<Inner>>,
}

impl Router {
    /// Of a host that is being built, in its async runtime.
    pub(super) fn new() -> Self {
        Router {
            runtime: Handle::current(),
            host: OnceLock::new(),
        }
    }

    /// This host serves from here on.
    pub(super) fn serve_by(&self, host: &Arc<Inner>) {
        let _ = self.host.set(Arc::downgrade(host));
    }

    fn host(&self) -> Option<Host> {
        let inner = self.host.get()?.upgrade()?;
        Some(Host { inner })
    }
}

impl CallRouter for Router {
    fn route(&self, caller: &Caller, call: Call, stream: Option<Arc<Frames>>) -> Answering {
        let Some(host) = self.host() else {
            let error = CallError::new(ErrorKind::Unavailable, "the host is starting or ending");
            return Box::pin(std::future::ready(Err(NoAnswer::Failed(error))));
        };
        let (caller, runtime) = (caller.clone(), self.runtime.clone());
        Box::pin(async move {
            let mut serves = pin!(host.serve_caller(caller, call, stream));
            // It may be polled on a thread of the plugin's, and what it awaits asks for the async runtime.
            poll_fn(|context| {
                let _here = runtime.enter();
                serves.as_mut().poll(context)
            })
            .await
        })
    }

    fn spawn(&self, task: Task) {
        self.runtime.spawn(task);
    }

    fn panicked(&self, caller: &Caller) {
        let Some(host) = self.host() else { return };
        let text = "panicked while it received an answer";
        let failure = CallError::new(ErrorKind::Panicked, text);
        note_panic(
            &host.inner.requests,
            &caller.name,
            caller.generation,
            Some(&failure),
        );
    }
}

impl Host {
    /// Has a call of an instance's served by what it requires.
    async fn serve_caller(
        &self,
        caller: Caller,
        call: Call,
        stream: Option<Arc<Frames>>,
    ) -> Result<Answered, NoAnswer> {
        self.is_called_rightly(&caller, &call.capability)?;
        let mirrored = call.chain.clone().filter(|chain| chain.is_mirrored());
        let target = Target {
            capability: call.capability.clone(),
            instance: None,
            caller: Some(caller),
            is_mirrored: mirrored.is_some(),
        };
        if let Some(chain) = mirrored
            && !self
                .snapshot()
                .offering(&target.capability)
                .any(|entry| target.fits(&entry))
        {
            chain.curtail();
            let text = format!(
                "a mirrored call makes none of {}: of those that offer it, none declares it idempotent and has no limits",
                target.capability
            );
            let error = CallError::new(ErrorKind::FailedPrecondition, text);
            return Err(NoAnswer::Failed(error));
        }
        let mut attempts = Attempts::default();
        let served = self.serve_nested(target, call, stream, Held::BySchema, &mut attempts);
        match served.await {
            Ok(invoked) => Ok(Answered {
                served_by: invoked.served_by,
                reply: invoked.reply,
            }),
            Err(error) => Err(NoAnswer::Failed(error)),
        }
    }

    /// Whether somebody offers the capability whom the caller may call, whether or not that runs.
    fn is_called_rightly(&self, caller: &Caller, capability: &str) -> Result<(), NoAnswer> {
        let snapshot = self.snapshot();
        let offers = |entry: Arc<Entry>| caller.may_call(capability, entry.plugin.manifest());
        if snapshot.offering(capability).any(offers) {
            return Ok(());
        }
        let required = &caller.plugin.manifest().requires;
        let is_by_name = |required: &schema::Requirement| match &required.target {
            schema::Target::Capability(name) => name == capability,
            schema::Target::Plugin(_) => false,
        };
        let unavailable = |text: String| Err(NoAnswer::Failed(CallError::new(ErrorKind::Unavailable, text)));
        if let Some(required) = required.iter().find(|required| is_by_name(required)) {
            let of = match required.version.comparators.is_empty() {
                true => capability.to_owned(),
                false => format!("{capability} {}", required.version),
            };
            return unavailable(format!("no other plugin offers {of}"));
        }
        let is_there = |required: &schema::Requirement| match &required.target {
            schema::Target::Plugin(id) => snapshot
                .all()
                .any(|entry| entry.plugin.manifest().plugin.id == *id),
            schema::Target::Capability(_) => false,
        };
        match required.iter().any(is_there) {
            true => Err(NoAnswer::Refused(caller.not_required(capability))),
            false => unavailable(format!(
                "none of the plugins that could offer {capability} is there"
            )),
        }
    }
}
