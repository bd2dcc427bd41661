//! Calling a capability: who serves it, and what comes back.

use super::{Host, error_hint};
use extman_model::control::{FrameReader, Invocation, Invoked, InvokedStream};
use extman_model::{CallError, ErrorKind, Lifecycle, RequestExtras};
use extman_runtime::instance::Call;
use extman_runtime::lanes::Attached;
use extman_runtime::loader::Frames;
use extman_runtime::registry::{Candidate, Entry, Route, Snapshot};
use extman_runtime::supervisor::{Request, Requests};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Frames that may wait for a slow reader before the plugin is held up.
const FRAMES_AHEAD: usize = 64;

/// Why a typed call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum TypedError {
    /// The input can't be written as JSON.
    #[error("the input can't be written as JSON: {0}")]
    Input(serde_json::Error),
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer has another shape.
    #[error("the answer of {served_by} is not as expected: {error}")]
    Answer {
        /// Who answered.
        served_by: String,
        /// Where the answer differs.
        error: serde_json::Error,
    },
}

impl Host {
    /// Calls a capability with a JSON input and reads a JSON answer.
    ///
    /// # Errors
    /// The input or the answer does not fit, or the call failed.
    pub async fn call<T: DeserializeOwned>(
        &self,
        capability: &str,
        input: &(impl Serialize + ?Sized),
    ) -> Result<T, TypedError> {
        let body = serde_json::to_vec(input).map_err(TypedError::Input)?;
        let invocation = Invocation {
            capability: capability.to_owned(),
            instance: None,
            content_type: "application/json".to_owned(),
            body,
            timeout: None,
            extras: RequestExtras::NONE,
        };
        let invoked = self.invoke_raw(invocation).await?;
        serde_json::from_slice(&invoked.reply.body).map_err(|error| TypedError::Answer {
            served_by: invoked.served_by.to_string(),
            error,
        })
    }

    /// Calls a capability with bytes and waits for the whole answer.
    ///
    /// # Errors
    /// Nobody serves it, or the call failed.
    pub async fn invoke_raw(&self, invocation: Invocation) -> Result<Invoked, CallError> {
        let (target, call) = split(invocation);
        if let Some(trial) = self.trial(&target) {
            match self.serve(target.clone(), trial, call.clone(), None).await {
                // It says that it did nothing, so whoever stands in serves the call.
                Err(error) if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::NotServing) => {}
                done => return done,
            }
        }
        let chosen = self.choose(&target)?;
        self.serve(target, chosen, call, None).await
    }

    /// Calls a capability with bytes and gets its frames as they come.
    ///
    /// # Errors
    /// Nobody serves it.
    pub fn invoke_streamed(&self, invocation: Invocation) -> Result<InvokedStream, CallError> {
        let (mut target, call) = split(invocation);
        let chosen = self.choose(&target)?;
        let served_by = chosen.entry.name.to_string();
        // Who serves is told before the call begins.
        target.instance = Some(served_by.clone());
        let frames = Arc::new(Frames::new(FRAMES_AHEAD));
        let reader = FrameReader::new(frames.clone());
        let host = self.clone();
        // A task of its own: the call must go on while the reader reads, and the reader ends it by going away.
        let call = tokio::spawn(async move {
            let served = host.serve(target, chosen, call, Some(frames.clone())).await;
            // If no lane ever took it, nobody else says that nothing will come.
            frames.finish();
            served.map(|invoked| invoked.reply)
        });
        let done = async move {
            call.await
                .unwrap_or_else(|error| Err(CallError::new(ErrorKind::Internal, error.to_string())))
        };
        Ok(InvokedStream {
            served_by,
            frames: reader,
            done: Box::pin(done),
        })
    }

    /// Calls a capability inline on a thread that was attached: no thread hop, and no way to give up a call that hangs.
    ///
    /// # Errors
    /// Nobody serves it, its plugin needs a thread of its own, or the call failed.
    pub fn invoke_attached(
        &self,
        attached: &Attached,
        capability: &str,
        body: &[u8],
    ) -> Result<Invoked, CallError> {
        let current = self.inner.registry.current();
        let route = route(&current, capability)?;
        let choice = route.choice();
        let choice = choice.as_ref().ok_or_else(|| nobody_serves(route, capability))?;
        let Candidate {
            entry,
            instance,
            generation,
        } = &choice.serving;
        check_size(entry, capability, body.len())?;
        let reply = instance.invoke_attached(attached, capability, body);
        let failure = reply.as_ref().err();
        note_panic(&self.inner.requests, &entry.name, *generation, failure);
        reply.map(|reply| Invoked {
            served_by: entry.name.clone(),
            reply,
        })
    }

    /// Has a call served. One that was turned away, since what was chosen began to stop meanwhile, goes to whoever serves by
    /// then: a stop begins only after the snapshot without it is there.
    async fn serve(
        &self,
        target: Target,
        mut chosen: Candidate,
        mut call: Call,
        stream: Option<Arc<Frames>>,
    ) -> Result<Invoked, CallError> {
        loop {
            check_size(&chosen.entry, &target.capability, call.body.len())?;
            match chosen.instance.invoke_if_open(call, stream.clone()).await {
                Ok(reply) => {
                    let (name, failure) = (&chosen.entry.name, reply.as_ref().err());
                    note_panic(&self.inner.requests, name, chosen.generation, failure);
                    return match reply {
                        Ok(reply) => Ok(Invoked {
                            served_by: name.clone(),
                            reply,
                        }),
                        Err(error) => Err(error_hint::add(
                            error,
                            chosen.entry.plugin.manifest(),
                            &target.capability,
                        )),
                    };
                }
                Err(turned_away) => {
                    let next = self.choose(&target)?;
                    if Arc::ptr_eq(&next.instance, &chosen.instance) {
                        return Err(not_serving(&next.entry));
                    }
                    (call, chosen) = (turned_away, next);
                }
            }
        }
    }

    /// Who gets this call to show whether it is well again, if this is the one.
    fn trial(&self, target: &Target) -> Option<Candidate> {
        let current = self.inner.registry.current();
        let route = current
            .route(&target.capability)
            .filter(|_| target.instance.is_none())?;
        route.choice().as_ref()?.trial()
    }

    /// Who would get this call now.
    pub(super) fn would_serve(&self, invocation: &Invocation) -> Result<Arc<Entry>, CallError> {
        let target = Target {
            capability: invocation.capability.clone(),
            instance: invocation.instance.clone(),
        };
        self.choose(&target).map(|chosen| chosen.entry)
    }

    fn choose(&self, target: &Target) -> Result<Candidate, CallError> {
        let Some(name) = &target.instance else {
            let current = self.inner.registry.current();
            let route = route(&current, &target.capability)?;
            let choice = route.choice();
            let choice = choice
                .as_ref()
                .ok_or_else(|| nobody_serves(route, &target.capability))?;
            return Ok(choice.serving.clone());
        };
        let snapshot = self.snapshot();
        let not_found = |text: String| CallError::new(ErrorKind::NotFound, text);
        let entry = snapshot.get(name).ok_or_else(|| {
            if let Some(text) = self.absence(name) {
                return CallError::new(ErrorKind::NotServing, text);
            }
            let similar = snapshot.similar(name);
            let error_hint = if similar.is_empty() {
                String::new()
            } else {
                format!("; did you mean {}?", similar.join(" or "))
            };
            not_found(format!("there is no plugin named {name:?}{error_hint}"))
        })?;
        let capability = &target.capability;
        if !entry
            .plugin
            .manifest()
            .capabilities
            .iter()
            .any(|c| c.name == *capability)
        {
            return Err(not_found(format!(
                "{name} has no capability {capability:?}; `extman list` shows what it has"
            )));
        }
        running(entry)
    }
}

/// Who is asked for.
#[derive(Clone)]
struct Target {
    capability: String,
    instance: Option<String>,
}

/// It serves, if it runs.
fn running(entry: Arc<Entry>) -> Result<Candidate, CallError> {
    let (instance, generation) = entry.serving.clone().ok_or_else(|| not_serving(&entry))?;
    Ok(Candidate {
        entry,
        instance,
        generation,
    })
}

fn route<'a>(snapshot: &'a Snapshot, capability: &str) -> Result<&'a Route, CallError> {
    snapshot.route(capability).ok_or_else(|| {
        let text = format!("no plugin offers the capability {capability:?}");
        CallError::new(ErrorKind::NotFound, text)
    })
}

/// Why none of those that have a capability is called.
fn nobody_serves(route: &Route, capability: &str) -> CallError {
    let running = route.running();
    match route.first() {
        Some(first) if running == 0 => not_serving(&first),
        _ => {
            let text = format!(
                "all that offer {capability} are down ({running} running); `extman health` says why. With [routing] all_down = \
                 \"least_bad\" they would be called all the same"
            );
            CallError::new(ErrorKind::NotServing, text)
        }
    }
}

/// Holds the limit that the plugin has declared for its input.
fn check_size(entry: &Entry, capability: &str, bytes: usize) -> Result<(), CallError> {
    let declared = entry
        .plugin
        .manifest()
        .capabilities
        .iter()
        .find(|c| c.name == capability);
    match declared.and_then(|c| c.limits.input_bytes_max) {
        Some(max) if bytes as u64 > max => Err(CallError::new(
            ErrorKind::InvalidInput,
            format!(
                "the input has {bytes} bytes; {} takes at most {max} for {capability}",
                entry.name
            ),
        )),
        _ => Ok(()),
    }
}

fn not_serving(entry: &Entry) -> CallError {
    let cause = entry
        .cause
        .as_ref()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    let name = &entry.name;
    let next = match entry.lifecycle {
        Lifecycle::Stopped | Lifecycle::Failed | Lifecycle::Quarantined => {
            format!("; `extman load {name}` starts it")
        }
        Lifecycle::Starting | Lifecycle::Backoff => {
            format!("; `extman wait {name} --for running` waits for it")
        }
        _ => String::new(),
    };
    let text = format!("{name} is {}{cause}{next}", entry.lifecycle.as_str());
    CallError::new(ErrorKind::NotServing, text)
}

fn split(invocation: Invocation) -> (Target, Call) {
    let target = Target {
        capability: invocation.capability.clone(),
        instance: invocation.instance,
    };
    let call = Call {
        capability: invocation.capability,
        content_type: invocation.content_type,
        body: invocation.body,
        timeout: invocation.timeout,
        extras: invocation.extras,
    };
    (target, call)
}

fn note_panic(requests: &Requests, name: &str, generation: u64, failure: Option<&CallError>) {
    if let Some(failure) = failure.filter(|failure| failure.kind == ErrorKind::Panicked) {
        requests.make(Request::Panicked {
            name: name.to_owned(),
            generation,
            text: failure.text.clone(),
        });
    }
}
