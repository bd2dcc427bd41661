//! Calling a capability: who serves it, and what comes back.

use super::attempts::Attempts;
use super::{Host, error_hint, mirrored};
use extman_model::clock::{self, Monotonic};
use extman_model::control::{FrameReader, Invocation, Invoked, InvokedStream};
use extman_model::{CallError, ErrorKind, Lifecycle, Reply, RequestExtras};
use extman_plugin_api::manifest::schema::Capability;
use extman_runtime::instance::{Call, CallFailure};
use extman_runtime::lanes::Attached;
use extman_runtime::loader::Frames;
use extman_runtime::registry::{Admitted, CallEnd, Candidate, Entry, Route, Snapshot};
use extman_runtime::supervisor::{Caller, Request, Requests};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

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
        let asked = self.cache_key(&target, &call);
        let mut attempts = Attempts::default();
        let served = self.serve_nested(target, call, None, held, &mut attempts).await;
        match asked {
            Some(asked) => self.keep_or_find(asked, served, &attempts),
            None => served,
        }
    }

    /// Has a call served, another plugin's too, with the input held against what whoever serves it declares.
    pub(super) async fn serve_nested(
        &self,
        target: Target,
        call: Call,
        stream: Option<Arc<Frames>>,
        held: Held,
        attempts: &mut Attempts,
    ) -> Result<Invoked, CallError> {
        let chosen = self.choose_held(&target, call, held, attempts).await?;
        self.serve(&target, chosen, stream, held, attempts).await
    }

    /// Calls a capability with bytes and gets its frames as they come.
    ///
    /// # Errors
    /// Nobody serves it.
    pub fn invoke_streamed(&self, invocation: Invocation) -> Result<InvokedStream, CallError> {
        let (target, call) = split(invocation);
        let mut attempts = Attempts::default();
        let chosen = loop {
            let mut chosen = self.choose_with_room(&target, &mut attempts)?;
            match check_size(&chosen.candidate.entry, &target.capability, call.body.len()) {
                Ok(()) if attempts.are_let_through(&mut chosen) => break chosen,
                Ok(()) => {}
                Err(error) if chosen.may_be_passed_over() => attempts.turned_away(&chosen.candidate, error),
                Err(error) => return Err(error),
            }
        };
        Ok(self.stream(target, (chosen, call), Held::BySize, &attempts))
    }

    /// The same, with the input held against the schema of whoever serves it.
    pub(super) async fn stream_held(&self, invocation: Invocation) -> Result<InvokedStream, CallError> {
        let (target, call) = split(invocation);
        let mut attempts = Attempts::default();
        let chosen = self
            .choose_held(&target, call, Held::BySchema, &mut attempts)
            .await?;
        Ok(self.stream(target, chosen, Held::BySchema, &attempts))
    }

    /// Who serves is told before the first frame, so nobody else begins it.
    fn stream(
        &self,
        mut target: Target,
        chosen: (Admitted, Call),
        held: Held,
        attempts: &Attempts,
    ) -> InvokedStream {
        let served_by = chosen.0.candidate.entry.name.clone();
        let degraded = attempts.degraded(&chosen.0);
        target.instance = Some(served_by.to_string());
        let frames = Arc::new(Frames::new(FRAMES_AHEAD));
        let reader = FrameReader::new(frames.clone());
        let host = self.clone();
        // A task of its own: the call must go on while the reader reads, and the reader ends it by going away.
        let call = tokio::spawn(async move {
            let stream = Some(frames.clone());
            let served = host
                .serve(&target, chosen, stream, held, &mut Attempts::default())
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
            degraded,
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
        let choice = choice.as_ref().filter(|choice| choice.is_settled);
        let Some((choice, serving)) = choice.and_then(|choice| Some((choice, choice.by_load()?))) else {
            return self.serve_attached(attached, Attempts::default(), capability, body);
        };
        check_size(&serving.entry, capability, body.len())?;
        let permit = serving.instance.breaker().closed_permit();
        match serving.instance.serve_inline(attached, capability, body) {
            Ok(reply) if reply.ran < choice.slow => Ok(Invoked {
                served_by: serving.entry.name.clone(),
                degraded: choice.degraded.clone(),
                attempts: 1,
                age: None,
                reply,
            }),
            ended => {
                let chosen = Admitted::before_call(serving.clone(), permit, choice.degraded.clone());
                self.go_on_attached(attached, Attempts::default(), (chosen, ended), (capability, body))
            }
        }
    }

    /// The same, where more is to be looked at than who serves, or after a call that has failed.
    #[cold]
    fn serve_attached(
        &self,
        attached: &Attached,
        mut attempts: Attempts,
        capability: &str,
        body: &[u8],
    ) -> Result<Invoked, CallError> {
        let target = Target::any(capability);
        let chosen = loop {
            let mut chosen = self.choose(&target, &attempts)?;
            match check_size(&chosen.candidate.entry, capability, body.len()) {
                Ok(()) if attempts.are_let_through(&mut chosen) => break chosen,
                Ok(()) => {}
                Err(error) if chosen.may_be_passed_over() => attempts.turned_away(&chosen.candidate, error),
                Err(error) => return Err(error),
            }
        };
        let ended = chosen.candidate.instance.serve_inline(attached, capability, body);
        self.go_on_attached(attached, attempts, (chosen, ended), (capability, body))
    }

    #[cold]
    fn go_on_attached(
        &self,
        attached: &Attached,
        mut attempts: Attempts,
        (mut chosen, ended): (Admitted, Result<Reply, CallFailure>),
        (capability, body): (&str, &[u8]),
    ) -> Result<Invoked, CallError> {
        let copy = mirrored::copy_attached(&chosen.candidate, capability, body);
        let ended = mirrored::offer(copy, ended);
        match self.note_end(&mut chosen, ended, false) {
            Ok(reply) => Ok(attempts.answered(&chosen, reply)),
            Err(failure) => {
                // The time of a call on this thread is its instance's own, and this one's is over; also if it was spent waiting for room.
                let is_for_room = failure.is_for_room();
                let is_over = failure.error.kind == ErrorKind::DeadlineExceeded || is_for_room;
                let goes_on = !is_over && self.goes_on(&chosen, &failure, capability);
                match is_for_room {
                    true => attempts.had_no_room(&chosen, failure.error),
                    false => attempts.failed(&chosen, failure.error),
                }
                // A lease of its breaker is another call's while the next one serves.
                attempts.goes_on(chosen);
                match goes_on {
                    true => self.serve_attached(attached, attempts, capability, body),
                    false => Err(attempts.error()),
                }
            }
        }
    }

    /// Has a call served by whom it was chosen for, whose schema its input was held against; or by another, if that one turns it away, since it
    /// began to stop meanwhile (a stop begins only after the snapshot without it is there), has no room for it, or fails a call that may be retried.
    async fn serve(
        &self,
        target: &Target,
        (mut chosen, mut call): (Admitted, Call),
        stream: Option<Arc<Frames>>,
        held: Held,
        attempts: &mut Attempts,
    ) -> Result<Invoked, CallError> {
        let began = clock::monotonic();
        let timeout = call
            .timeout
            .unwrap_or_else(|| chosen.candidate.instance.call_timeout());
        loop {
            // What is streamed is told who serves it before it begins.
            let may_go_on = stream.is_none() && self.has_others(&chosen, target);
            let instance = chosen.candidate.instance.clone();
            let may_move = || {
                chosen.may_be_passed_over()
                    || is_idempotent(&chosen.candidate.entry, &target.capability)
                    || instance.is_crowded()
            };
            let spare = (may_go_on && may_move()).then(|| call.clone());
            let is_unary = stream.is_none();
            let copy = is_unary
                .then(|| mirrored::copy(&chosen.candidate, &call))
                .flatten();
            let next = match instance.invoke_if_open(call, stream.clone()).await {
                Err(turned_away) => {
                    let error = not_serving(&chosen.candidate.entry);
                    attempts.turned_away(&chosen.candidate, error);
                    turned_away
                }
                Ok(ended) => match self.note_end(&mut chosen, mirrored::offer(copy, ended), !is_unary) {
                    Ok(reply) => return Ok(attempts.answered(&chosen, reply)),
                    Err(failure) => {
                        let goes_on = self.goes_on(&chosen, &failure, &target.capability);
                        let manifest = chosen.candidate.entry.plugin.manifest();
                        let is_for_room = failure.is_for_room();
                        let error = error_hint::add(failure.error, manifest, &target.capability);
                        match is_for_room {
                            true => attempts.had_no_room(&chosen, error),
                            false => attempts.failed(&chosen, error),
                        }
                        let left = timeout.saturating_sub(clock::monotonic().since(began));
                        match spare.filter(|_| goes_on && left > Duration::ZERO) {
                            Some(spare) => Call {
                                timeout: Some(left),
                                ..spare
                            },
                            None => return Err(attempts.error()),
                        }
                    }
                },
            };
            attempts.goes_on(chosen);
            (chosen, call) = self.choose_held(target, next, held, attempts).await?;
        }
    }

    /// Tells the breaker of whom was called what came of that, and the supervisor of a panic.
    fn note_end(
        &self,
        chosen: &mut Admitted,
        ended: Result<Reply, CallFailure>,
        is_stream: bool,
    ) -> Result<Reply, CallFailure> {
        let registry = &self.inner.registry;
        match &ended {
            Ok(reply) if !is_stream && registry.routing().is_slow(reply.ran) => {
                registry.call_ended(chosen, CallEnd::Slow);
            }
            Ok(_) => registry.call_ended(chosen, CallEnd::Well),
            Err(failure) => {
                let Candidate {
                    entry, generation, ..
                } = &chosen.candidate;
                note_panic(
                    &self.inner.requests,
                    &entry.name,
                    *generation,
                    Some(&failure.error),
                );
                // A busy plugin is not an ill one.
                let is_busy = matches!(failure.error.kind, ErrorKind::RateLimited | ErrorKind::Exhausted);
                if failure.is_blamed && !is_busy {
                    registry.call_ended(chosen, CallEnd::Failed);
                }
            }
        }
        ended
    }

    /// Whether a call could go to another candidate than the chosen one: of a new version, to the old one at least.
    fn has_others(&self, chosen: &Admitted, target: &Target) -> bool {
        let current = self.inner.registry.current();
        let route = || current.route(&target.capability);
        chosen.is_canary() || (target.instance.is_none() && route().is_some_and(Route::has_others))
    }

    /// Whether a call that has failed goes to another candidate: one that found no room, or one on trial or of a new version of which the plugin says
    /// that it did nothing; else only where the capability is idempotent, and within the budget of retries or from a new version to its old one. A caller's
    /// mistake is one everywhere.
    #[cold]
    fn goes_on(&self, chosen: &Admitted, failure: &CallFailure, capability: &str) -> bool {
        if failure.is_for_room() || (chosen.may_be_passed_over() && failure.did_nothing) {
            return true;
        }
        let registry = &self.inner.registry;
        let may_help = failure.is_blamed || failure.did_nothing;
        let is_retry = may_help
            && failure.error.kind != ErrorKind::InvalidInput
            && is_idempotent(&chosen.candidate.entry, capability);
        let current = registry.current();
        let route = current.route(capability).filter(|route| route.has_others());
        // The old version had the new one's share of the calls before.
        let may_be_spent =
            || chosen.is_canary() || route.is_some_and(|route| route.take_retry(&registry.routing()));
        is_retry && may_be_spent()
    }

    /// Who gets a call, with its input held against what that declares, and let through by its limits. An input that one on trial does not take,
    /// or a new version, shows nothing: whoever is next serves it. For the judge it is a caller's mistake, which it counts for neither version.
    async fn choose_held(
        &self,
        target: &Target,
        mut call: Call,
        held: Held,
        attempts: &mut Attempts,
    ) -> Result<(Admitted, Call), CallError> {
        loop {
            let mut chosen = self.choose_with_room(target, attempts)?;
            let spare = chosen.may_be_passed_over().then(|| call.clone());
            match (self.hold(&chosen.candidate.entry, call, held).await, spare) {
                (Ok(call), _) if attempts.are_let_through(&mut chosen) => return Ok((chosen, call)),
                (Ok(fits), _) => call = fits,
                (Err(error), Some(spare)) => {
                    attempts.turned_away(&chosen.candidate, error);
                    call = spare;
                }
                (Err(error), None) => return Err(error),
            }
        }
    }

    /// Holds an input against what the plugin has declared of it.
    async fn hold(&self, entry: &Entry, call: Call, held: Held) -> Result<Call, CallError> {
        check_size(entry, &call.capability, call.body.len())?;
        match held {
            Held::BySize => Ok(call),
            Held::BySchema => self.check_input(entry, call).await,
        }
    }

    /// As [`choose`](Self::choose), for a call that waits for a lane: one whose queue is full is passed over where there are others.
    fn choose_with_room(&self, target: &Target, attempts: &mut Attempts) -> Result<Admitted, CallError> {
        loop {
            let chosen = self.choose(target, attempts)?;
            let may_go_on = self.has_others(&chosen, target);
            let no_room = || chosen.candidate.instance.no_room();
            match may_go_on.then(no_room).flatten() {
                Some(error) => attempts.had_no_room(&chosen, error),
                None => return Ok(chosen),
            }
        }
    }

    /// Who gets a call, of those that were not tried yet; its limits have still to [let it through](Attempts::are_let_through). Else what the last one
    /// said, or why there is nobody.
    fn choose(&self, target: &Target, attempts: &Attempts) -> Result<Admitted, CallError> {
        let admitted = self.admit(target, attempts)?;
        Ok(target.with_canary(admitted, attempts))
    }

    fn admit(&self, target: &Target, attempts: &Attempts) -> Result<Admitted, CallError> {
        let registry = &self.inner.registry;
        let Some(name) = &target.instance else {
            let current = registry.current();
            let route = route(&current, &target.capability)?;
            let fits = |entry: &Entry| target.fits(entry);
            let admitted = route.admit(registry, attempts.tried(), fits);
            return admitted
                .map_err(|at| attempts.last_error(|| nobody_serves(route, &target.capability, at)));
        };
        let candidate = self.choose_named(target, name)?;
        if attempts.has_tried(&candidate) {
            return Err(attempts.last_error(|| not_serving(&candidate.entry)));
        }
        Ok(registry.admit_by_name(candidate))
    }

    fn choose_named(&self, target: &Target, name: &str) -> Result<Candidate, CallError> {
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
        running(entry)
    }
}

fn offers(entry: &Entry, capability: &str) -> bool {
    declared(entry, capability).is_some()
}

/// How much of what a plugin declares of its inputs is held before it sees them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Held {
    /// Its size: who embeds the host answers for the rest.
    BySize,
    /// Its size and its schema.
    BySchema,
}

/// Whether the manifest says of a capability that a call of it may be made twice.
pub(super) fn is_idempotent(entry: &Entry, capability: &str) -> bool {
    declared(entry, capability).is_some_and(|declared| declared.idempotent)
}

/// What the manifest says of a capability.
fn declared<'e>(entry: &'e Entry, capability: &str) -> Option<&'e Capability> {
    let mut declared = entry.plugin.manifest().capabilities.iter();
    declared.find(|declared| declared.name == capability)
}

/// Who is asked for.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) capability: String,
    pub(super) instance: Option<String>,
    /// The instance that calls, if one does: then only what it requires serves.
    pub(super) caller: Option<Caller>,
    /// Made in a mirrored call: only what may be called a second time serves.
    pub(super) is_mirrored: bool,
}

impl Target {
    fn any(capability: &str) -> Self {
        Target {
            capability: capability.to_owned(),
            instance: None,
            caller: None,
            is_mirrored: false,
        }
    }

    pub(super) fn fits(&self, entry: &Entry) -> bool {
        let caller = self.caller.as_ref();
        caller.is_none_or(|caller| caller.may_call(&self.capability, entry.plugin.manifest()))
            && (!self.is_mirrored || mirrored::may_call(entry, &self.capability))
    }

    /// Whoever serves, or its new version, if the call is one of that one's share.
    fn with_canary(&self, admitted: Admitted, attempts: &Attempts) -> Admitted {
        if admitted.is_on_trial() {
            return admitted;
        }
        let may_serve = |new: &Candidate| !attempts.has_tried(new);
        let fits = |entry: &Entry| offers(entry, &self.capability) && self.fits(entry);
        match admitted.candidate.canary(may_serve, fits).cloned() {
            Some(new) => admitted.gives_way_to(new),
            None => admitted,
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

/// Why none of those that have a capability is called; one may be again at this moment.
fn nobody_serves(route: &Route, capability: &str, retry_at: Option<Monotonic>) -> CallError {
    let running = route.running();
    match route.first() {
        Some(first) if running == 0 => not_serving(&first),
        _ => {
            let text = format!(
                "all that offer {capability} are down or failed their latest calls ({running} running); `extman health` says why. With \
                 [routing] all_down = \"least_bad\" they would be called all the same"
            );
            let now = clock::monotonic();
            let after = retry_at.map(|at| clock::millis_up(at.since(now)).max(1));
            comes_back(CallError::new(ErrorKind::NotServing, text), after)
        }
    }
}

/// With when to try again, if that is known.
fn comes_back(error: CallError, after_ms: Option<u64>) -> CallError {
    CallError {
        retryable: after_ms.map(|_| true),
        retry_after_ms: after_ms,
        ..error
    }
}

/// Holds the limit that the plugin has declared for its input.
fn check_size(entry: &Entry, capability: &str, bytes: usize) -> Result<(), CallError> {
    match declared(entry, capability).and_then(|declared| declared.limits.input_bytes_max) {
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
    let next_try = entry.way_back.as_ref().and_then(|way| way.next_try_unix_ms);
    let now = clock::unix_ms(clock::wall());
    comes_back(
        CallError::new(ErrorKind::NotServing, text),
        next_try.map(|at| at.saturating_sub(now)),
    )
}

fn split(invocation: Invocation) -> (Target, Call) {
    let target = Target {
        capability: invocation.capability.clone(),
        instance: invocation.instance,
        caller: None,
        is_mirrored: false,
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
