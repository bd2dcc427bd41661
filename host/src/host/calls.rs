//! Calling a capability: who serves it, and what comes back.

use super::{Host, error_hint};
use extman_model::control::{FrameReader, Invocation, Invoked, InvokedStream};
use extman_model::{CallError, ErrorKind, Lifecycle, RequestExtras};
use extman_runtime::instance::Call;
use extman_runtime::lanes::Attached;
use extman_runtime::loader::Frames;
use extman_runtime::registry::{Candidate, Choice, Entry, Route, Snapshot};
use extman_runtime::supervisor::{Caller, Request, Requests};
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
        self.invoke_once(invocation, Held::BySize).await
    }

    /// The same, with the input held against what whoever serves it declares.
    pub(super) async fn invoke_once(&self, invocation: Invocation, held: Held) -> Result<Invoked, CallError> {
        let (target, call) = split(invocation);
        self.serve_target(target, call, held).await
    }

    async fn serve_target(&self, target: Target, call: Call, held: Held) -> Result<Invoked, CallError> {
        if let Some((trial, call)) = self.trial(&target, &call, held).await {
            match self.serve_held(target.clone(), trial, call, None, held).await {
                // Whoever stands in serves the call.
                Err(error) if did_nothing(&error) => {}
                done => return done,
            }
        }
        let chosen = self.choose(&target)?;
        self.serve(target, chosen, call, None, held).await
    }

    /// Has a call of another plugin's served, with the input held against the schema of whoever serves it.
    pub(super) async fn serve_nested(
        &self,
        target: Target,
        call: Call,
        stream: Option<Arc<Frames>>,
    ) -> Result<Invoked, CallError> {
        match stream {
            None => self.serve_target(target, call, Held::BySchema).await,
            Some(_) => {
                let chosen = self.choose(&target)?;
                self.serve(target, chosen, call, stream, Held::BySchema).await
            }
        }
    }

    /// Calls a capability with bytes and gets its frames as they come.
    ///
    /// # Errors
    /// Nobody serves it.
    pub fn invoke_streamed(&self, invocation: Invocation) -> Result<InvokedStream, CallError> {
        let (target, call) = split(invocation);
        let fits = |chosen: &Candidate| check_size(&chosen.entry, &target.capability, call.body.len());
        let chosen = match self.due_trial(&target) {
            Some((_, trial)) if fits(&trial).is_ok() => trial,
            due => {
                due.inspect(|(choice, _)| choice.put_off_trial());
                let chosen = self.choose(&target)?;
                fits(&chosen)?;
                chosen
            }
        };
        Ok(self.stream(target, chosen, call, Held::BySize))
    }

    /// The same, with the input held against the schema of whoever serves it.
    pub(super) async fn stream_held(&self, invocation: Invocation) -> Result<InvokedStream, CallError> {
        let (target, call) = split(invocation);
        // Once it has begun nobody stands in for a trial, since who serves is told before.
        let (chosen, call) = match self.trial(&target, &call, Held::BySchema).await {
            Some(trial) => trial,
            None => {
                let chosen = self.choose(&target)?;
                let call = self.hold(&chosen.entry, call, Held::BySchema).await?;
                (chosen, call)
            }
        };
        Ok(self.stream(target, chosen, call, Held::BySchema))
    }

    fn stream(&self, mut target: Target, chosen: Candidate, call: Call, held: Held) -> InvokedStream {
        let served_by = chosen.entry.name.to_string();
        target.instance = Some(served_by.clone());
        let frames = Arc::new(Frames::new(FRAMES_AHEAD));
        let reader = FrameReader::new(frames.clone());
        let host = self.clone();
        // A task of its own: the call must go on while the reader reads, and the reader ends it by going away.
        let call = tokio::spawn(async move {
            let served = host
                .serve_held(target, chosen, call, Some(frames.clone()), held)
                .await;
            // If no lane ever took it, nobody else says that nothing will come.
            frames.finish();
            served.map(|invoked| invoked.reply)
        });
        let done = async move {
            call.await
                .unwrap_or_else(|error| Err(CallError::new(ErrorKind::Internal, error.to_string())))
        };
        InvokedStream {
            served_by,
            frames: reader,
            done: Box::pin(done),
        }
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
        if let Some(trial) = choice.as_ref().and_then(|choice| choice.trial()) {
            match self.serve_attached(attached, &trial, capability, body) {
                Err(error) if did_nothing(&error) => {}
                done => return done,
            }
        }
        let serving = choice.as_ref().and_then(|choice| choice.serving.as_ref());
        let serving = serving.ok_or_else(|| nobody_serves(route, capability))?;
        let new = serving.canary(|entry| offers(entry, capability));
        self.serve_attached(attached, new.unwrap_or(serving), capability, body)
    }

    #[inline]
    fn serve_attached(
        &self,
        attached: &Attached,
        by: &Candidate,
        capability: &str,
        body: &[u8],
    ) -> Result<Invoked, CallError> {
        check_size(&by.entry, capability, body.len())?;
        let reply = by.instance.invoke_attached(attached, capability, body);
        let failure = reply.as_ref().err();
        note_panic(&self.inner.requests, &by.entry.name, by.generation, failure);
        reply.map(|reply| Invoked {
            served_by: by.entry.name.clone(),
            reply,
        })
    }

    /// Has a call served. One that was turned away, since what was chosen began to stop meanwhile, goes to whoever serves by
    /// then: a stop begins only after the snapshot without it is there.
    async fn serve(
        &self,
        target: Target,
        chosen: Candidate,
        call: Call,
        stream: Option<Arc<Frames>>,
        held: Held,
    ) -> Result<Invoked, CallError> {
        let call = self.hold(&chosen.entry, call, held).await?;
        self.serve_held(target, chosen, call, stream, held).await
    }

    /// The same, of an input that is held already against what `chosen` declares.
    async fn serve_held(
        &self,
        target: Target,
        mut chosen: Candidate,
        mut call: Call,
        stream: Option<Arc<Frames>>,
        held: Held,
    ) -> Result<Invoked, CallError> {
        loop {
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
                    (call, chosen) = (self.hold(&next.entry, turned_away, held).await?, next);
                }
            }
        }
    }

    /// Who gets this call to show whether it is well again, if this is the one, with the input held against what that takes. One that does not
    /// fit shows nothing: whoever stands in serves it, and the next call may be the one.
    async fn trial(&self, target: &Target, call: &Call, held: Held) -> Option<(Candidate, Call)> {
        let (choice, trial) = self.due_trial(target)?;
        let fits = self.hold(&trial.entry, call.clone(), held).await;
        match fits {
            Ok(call) => Some((trial, call)),
            Err(_) => {
                choice.put_off_trial();
                None
            }
        }
    }

    fn due_trial(&self, target: &Target) -> Option<(Arc<Choice>, Candidate)> {
        let current = self.inner.registry.current();
        let route = current
            .route(&target.capability)
            .filter(|_| target.instance.is_none())?;
        let choice = route.choice();
        let trial = choice.as_ref()?.trial()?;
        if !target.fits(&trial.entry) {
            choice.as_ref()?.put_off_trial();
            return None;
        }
        Some((choice.clone()?, trial))
    }

    /// Holds an input against what the plugin has declared of it.
    async fn hold(&self, entry: &Entry, call: Call, held: Held) -> Result<Call, CallError> {
        check_size(entry, &call.capability, call.body.len())?;
        match held {
            Held::BySize => Ok(call),
            Held::BySchema => self.check_input(entry, call).await,
        }
    }

    fn choose(&self, target: &Target) -> Result<Candidate, CallError> {
        let Some(name) = &target.instance else {
            let current = self.inner.registry.current();
            let route = route(&current, &target.capability)?;
            let serving = match &target.caller {
                None => route.choice().as_ref().and_then(|choice| choice.serving.clone()),
                Some(_) => route.choose_among(|entry| target.fits(entry)),
            };
            let serving = serving.ok_or_else(|| nobody_serves(route, &target.capability))?;
            return Ok(target.with_canary(serving));
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
        if !offers(&entry, capability) {
            return Err(not_found(format!(
                "{name} has no capability {capability:?}; `extman list` shows what it has"
            )));
        }
        Ok(target.with_canary(running(entry)?))
    }
}

fn offers(entry: &Entry, capability: &str) -> bool {
    let capabilities = &entry.plugin.manifest().capabilities;
    capabilities.iter().any(|offered| offered.name == capability)
}

/// How much of what a plugin declares of its inputs is held before it sees them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Held {
    /// Its size: who embeds the host answers for the rest.
    BySize,
    /// Its size and its schema.
    BySchema,
}

/// Whether a failure says that the plugin did nothing, so that another one may serve the call.
fn did_nothing(error: &CallError) -> bool {
    use ErrorKind as E;
    matches!(
        error.kind,
        E::Unavailable | E::NotServing | E::Unsupported | E::InvalidInput
    )
}

/// Who is asked for.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) capability: String,
    pub(super) instance: Option<String>,
    /// The instance that calls, if one does: then only what it requires serves.
    pub(super) caller: Option<Caller>,
}

impl Target {
    fn fits(&self, entry: &Entry) -> bool {
        let caller = self.caller.as_ref();
        caller.is_none_or(|caller| caller.may_call(&self.capability, entry.plugin.manifest()))
    }

    /// Whoever serves, or its new version, if the call is one of that one's share.
    #[inline]
    fn with_canary(&self, serving: Candidate) -> Candidate {
        let new = serving.canary(|entry| offers(entry, &self.capability) && self.fits(entry));
        match new.cloned() {
            Some(new) => new,
            None => serving,
        }
    }
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
        Lifecycle::Waiting | Lifecycle::Starting | Lifecycle::Backoff => {
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
        caller: None,
    };
    let call = Call {
        capability: invocation.capability,
        content_type: invocation.content_type,
        body: invocation.body,
        timeout: invocation.timeout,
        extras: invocation.extras,
        chain: None,
    };
    (target, call)
}

pub(super) fn note_panic(requests: &Requests, name: &str, generation: u64, failure: Option<&CallError>) {
    if let Some(failure) = failure.filter(|failure| failure.kind == ErrorKind::Panicked) {
        requests.make(Request::Panicked {
            name: name.to_owned(),
            generation,
            text: failure.text.clone(),
        });
    }
}
