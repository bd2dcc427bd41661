//! How an instance is made, called, taken through its lifecycle and freed.

mod asynchronous;
mod attached;
mod cancel_notices;
mod check;
mod destroy_on_drop;
mod receiving;
mod state;
mod used;

use super::{
    CallBreaker, CallMetrics, InstanceFolders, InstanceSettings, KeptSettings, call_limiter::CallLimiter,
};
use crate::lanes::{ConcurrencyLimit, Permit, Phase, Pool, Priority, Refused, Work};
use crate::loader::{
    CallContext, Chain, Frames, Input, Library, Listener, Making, NotDestroyed, Output, OutputLimits,
    PluginInstance, Returned, Step,
};
use crate::module::Module;
use crate::pending_call::{DispatchError, PendingCall, TOO_MANY_CALLS};
use cancel_notices::CancelNotices;
pub use check::Answer;
pub(super) use check::RunningChecks;
use destroy_on_drop::DestroyOnDrop;
use extman_abi::CallToken;
use extman_model::clock::{self, Monotonic};
use extman_model::{CallError, ErrorKind, Reply, RequestExtras, UnreturnedView, Usage};
use extman_plugin_api::manifest::schema::ThreadModel;
use receiving::Receiving;
use std::borrow::{Borrow, Cow};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
pub use used::{InstanceUsed, ModulesUsed};

/// One configured use of a module.
pub struct Instance {
    name: Arc<str>,
    settings: KeptSettings,
    threads: ThreadModel,
    module: Arc<Module>,
    /// The module's lanes; one of its own if everything must run on one thread.
    pool: Pool,
    concurrency: Arc<ConcurrencyLimit>,
    metrics: Arc<CallMetrics>,
    breaker: CallBreaker,
    pub(super) limiter: CallLimiter,
    destroyed: AtomicBool,
    plugin: Arc<PluginInstance>,
    /// `None` if the plugin does not want to hear of cancelled calls.
    cancel_notices: Option<Arc<CancelNotices>>,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The capability's name.
    pub capability: String,
    /// Media type of the body.
    pub content_type: String,
    /// The input.
    pub body: Vec<u8>,
    /// How long the caller waits; the instance's default otherwise.
    pub timeout: Option<Duration>,
    /// What else the caller says.
    pub extras: RequestExtras,
    /// The calls that it is made in; `None` if it is the outermost.
    pub chain: Option<Arc<Chain>>,
}

/// A call that brought no answer.
#[derive(Debug)]
pub struct CallFailure {
    /// Why.
    pub error: CallError,
    /// Whether it counts against the plugin.
    pub is_blamed: bool,
    /// Whether nothing was done for it, so that another instance may serve the call: the host turned it away, or the plugin itself says that it
    /// can't serve. That a plugin has no room left, or that another one which it had called says one of these, tells nothing of what was done before.
    pub did_nothing: bool,
}

impl CallFailure {
    /// Whether the host had no room for it: another instance may have.
    pub fn is_for_room(&self) -> bool {
        self.did_nothing && self.error.kind == ErrorKind::Exhausted
    }

    /// The host turned the call away: the plugin was never entered.
    fn refused(error: CallError) -> Self {
        CallFailure {
            is_blamed: false,
            did_nothing: true,
            error,
        }
    }

    /// The plugin was entered. `is_excused`: it says nothing of the plugin; `is_own`: the plugin has said it of itself.
    fn entered(error: CallError, is_excused: bool, is_own: bool) -> Self {
        use ErrorKind as E;
        let says_so = matches!(
            error.kind,
            E::Unavailable | E::NotServing | E::Unsupported | E::InvalidInput
        );
        CallFailure {
            is_blamed: !is_excused && !error.kind.is_callers(),
            did_nothing: is_own && says_so,
            error,
        }
    }
}

impl Call {
    /// As the plugin gets it.
    fn input(&self, stream: bool) -> Input<'_> {
        Input {
            capability: &self.capability,
            content_type: &self.content_type,
            body: &self.body,
            stream,
            extras: &self.extras,
        }
    }
}

impl Instance {
    /// Has a module make an instance.
    ///
    /// # Errors
    /// What the plugin says, or that it took too long.
    pub async fn create(
        module: Arc<Module>,
        name: &str,
        config: &str,
        listener: Arc<dyn Listener>,
        mut settings: InstanceSettings,
    ) -> Result<Self, CallError> {
        let name: Arc<str> = name.into();
        let concurrency = concurrency(&module, &settings);
        let threads = module.manifest().threads.model;
        let pool = match threads {
            ThreadModel::Many | ThreadModel::Serial => module.pool().clone(),
            ThreadModel::Affine => module.own_lane(&name),
        };
        let folders = settings.folders.take();
        let mut capabilities = module.manifest().capabilities.iter();
        let work = |phase, budget| work(&name, &module, phase, budget, settings.wedge_after);
        let creation = Creation {
            library: module
                .library()
                .ok_or_else(|| CallError::new(ErrorKind::NotServing, "the module has been unloaded"))?,
            name: name.clone(),
            config: config.to_owned(),
            folders,
            resource_dir: module.resource_dir().map(Path::to_owned),
            listener,
            submits: capabilities.any(|capability| capability.is_async),
            home: pool.clone(),
            freeing: work(Phase::Destroy, settings.start_budget + settings.stop_budget),
        };
        let made = creation
            .on_lane(work(Phase::Create, settings.start_budget), urgency(threads))
            .await;
        // One whose `create` may come back late, and one that was made and can't be used, need their lane to be destroyed on. The module ends
        // all of them at the latest.
        use ErrorKind as E;
        let needs_lane =
            matches!(&made, Err(error) if matches!(error.kind, E::DeadlineExceeded | E::Unsupported));
        if threads == ThreadModel::Affine && made.is_err() && !needs_lane {
            let _ = pool.shutdown(Duration::ZERO);
        }
        let plugin = made?.claim();
        let receiving = Receiving {
            generation: module.generation(),
            wedge_after: settings.wedge_after,
            budget: settings.stop_budget,
        };
        receiving::on_lanes(&plugin, &pool, (threads, &concurrency), &receiving);
        let telling = || work(Phase::Invoke, settings.stop_budget);
        Ok(Instance {
            cancel_notices: CancelNotices::of(&plugin, module.pool(), telling, settings.stop_budget),
            breaker: CallBreaker::new(module.generation()),
            limiter: CallLimiter::default(),
            name: plugin.name().clone(),
            plugin,
            threads,
            pool,
            metrics: Arc::new(CallMetrics::new(concurrency.clone())),
            concurrency,
            destroyed: AtomicBool::new(false),
            settings: settings.into(),
            module,
        })
    }

    /// What the host keeps of each instance besides its health, by what it is for, in bytes; without names and without what only some have.
    pub fn memory_parts() -> [(&'static str, usize); 5] {
        [
            ("instance: settings, lanes, breaker", shared::<Instance>()),
            ("instance: accounts of its calls", shared::<CallMetrics>()),
            ("instance: how many may be inside", shared::<ConcurrencyLimit>()),
            (
                "instance: handle, and whether code is inside",
                shared::<PluginInstance>(),
            ),
            (
                "instance: what it says unasked, and calls of its own",
                PluginInstance::apart_bytes() + receiving::LANES_BYTES,
            ),
        ]
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the host counts of its calls.
    pub fn call_metrics(&self) -> &Arc<CallMetrics> {
        &self.metrics
    }

    /// Whether calls are to go to it, by what came of those before.
    #[inline]
    pub fn breaker(&self) -> &CallBreaker {
        &self.breaker
    }

    /// Time for a call whose caller names none.
    pub fn call_timeout(&self) -> Duration {
        self.settings.call_timeout()
    }

    /// Runs a step of the lifecycle.
    ///
    /// # Errors
    /// What the plugin says, or that it took too long.
    pub async fn step(&self, step: Step) -> Result<(), CallError> {
        let (phase, budget) = match step {
            Step::Start => (Phase::Start, self.settings.start_budget()),
            Step::Drain => (Phase::Drain, self.settings.stop_budget()),
            Step::Stop => (Phase::Stop, self.settings.stop_budget()),
        };
        // No lane is woken for what would run nothing.
        if !self.plugin.has_step(step) {
            return Ok(());
        }
        let plugin = self.plugin.clone();
        self.in_step(phase, budget, move |context| plugin.step(step, context.token()))
            .await
    }

    /// Runs one of the lifecycle's entries on a lane, in an open call that its plugin may ask for deadline and cancellation.
    async fn in_step<T: Send + 'static>(
        &self,
        phase: Phase,
        budget: Duration,
        run: impl FnOnce(CallContext) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        let work = self.work(phase, budget);
        let call = PendingCall::step(work.deadline);
        self.in_step_of(call, work, run).await
    }

    /// As [`in_step`](Self::in_step), in this call.
    async fn in_step_of<T: Send + 'static>(
        &self,
        call: PendingCall,
        work: Work,
        run: impl FnOnce(CallContext) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        let phase = work.phase;
        let returned = call.dispatch(&self.pool, work, urgency(self.threads), run).await;
        settle(returned, phase)
            .flatten()
            .map_err(|error| self.redacted(error))
    }

    /// Serves one call, whole or into `stream`.
    ///
    /// # Errors
    /// What the plugin says, that it took too long, or that there is no room.
    pub async fn invoke(&self, call: Call, stream: Option<Arc<Frames>>) -> Result<Reply, CallError> {
        let served = self.invoke_if_open(call, stream).await;
        match served {
            Ok(served) => served.map_err(|failure| failure.error),
            Err(_) => Err(being_stopped()),
        }
    }

    /// As [`invoke`](Self::invoke), for callers who know somebody else to ask.
    ///
    /// # Errors
    /// The call itself, untouched, if the instance takes no more calls.
    pub async fn invoke_if_open(
        &self,
        call: Call,
        stream: Option<Arc<Frames>>,
    ) -> Result<Result<Reply, CallFailure>, Call> {
        let counted = self.metrics.begin();
        if self.admit().is_err() {
            return Err(call);
        }
        let counted = counted.let_in();
        let CameTo {
            result,
            is_excused,
            is_refused,
            is_own,
        } = self.come_to(call, stream, Some(&self.metrics)).await;
        counted.end(result.as_ref().err(), is_excused);
        Ok(result.map_err(|error| match is_refused {
            true => CallFailure::refused(error),
            false => CallFailure::entered(error, is_excused, is_own),
        }))
    }

    /// Makes a mirrored call, for which nobody waits and which counts as nobody's. `None` if what came of it says nothing of the plugin: it was not
    /// entered, or has passed on what another one said.
    pub(crate) async fn invoke_mirrored(&self, call: Call) -> Option<Result<Reply, CallError>> {
        self.admit().ok()?;
        let came_to = self.come_to(call, None, None).await;
        let says_nothing = came_to.is_excused || came_to.is_refused;
        (came_to.result.is_ok() || !says_nothing).then_some(came_to.result)
    }

    /// Has a call served that was let in, and its time counted.
    async fn come_to(
        &self,
        call: Call,
        stream: Option<Arc<Frames>>,
        counted: Option<&Arc<CallMetrics>>,
    ) -> CameTo {
        let reader = Reader::new(
            stream.clone(),
            call.timeout.unwrap_or(self.settings.call_timeout()),
        );
        let returned = match self.is_async(&call.capability) {
            true => self.hand_over(call, stream, counted).await,
            false => self.invoke_on_lane(call, stream, counted).await,
        };
        // Then its plugin was never entered.
        let is_excused = match &returned {
            Ok(Err(failure)) => failure.is_passed_on,
            Err(DispatchError::Deadline(late)) => late.is_explained(reader.timeout),
            Err(error) => error.is_hosts(),
            Ok(Ok(_)) => false,
        };
        let is_refused = matches!(&returned, Err(error) if error.is_hosts());
        let is_own = matches!(&returned, Ok(Err(failure)) if !failure.is_passed_on);
        let result = settle(returned, Phase::Invoke);
        let result = result.and_then(|served| served.map_err(|failure| failure.error));
        let result = result.map_err(|error| self.redacted(error));
        let failure = result.as_ref().err();
        let is_excused = is_excused || failure.is_some_and(|failure| reader.explains(failure));
        CameTo {
            result,
            is_excused,
            is_refused,
            is_own,
        }
    }

    async fn invoke_on_lane(
        &self,
        call: Call,
        stream: Option<Arc<Frames>>,
        counted: Option<&Arc<CallMetrics>>,
    ) -> Result<Served, DispatchError> {
        let timeout = call.timeout.unwrap_or(self.settings.call_timeout());
        let work = self.call_work(&call.capability, timeout);
        let deadline = work.deadline;
        let (plugin, counted, limits) = (self.plugin.clone(), counted.cloned(), self.output_limits());
        let (streams, reader) = (stream.is_some(), stream.clone());
        let pending = PendingCall::open(deadline, stream, limits)
            .in_chain(call.chain.clone())
            .on_cancel(self.tells_of_cancel());
        let run = move |context: CallContext| {
            let input = call.input(streams);
            let times = (clock::monotonic(), deadline);
            serve(&plugin, &context, input, times, |ran, _| {
                if let Some(counted) = &counted {
                    counted.returned(ran.saturating_sub(held_up(reader.as_ref())));
                }
            })
        };
        let priority = Priority::Call(Some(self.concurrency.clone()));
        pending.dispatch(&self.pool, work, priority, run).await
    }

    /// What tells the plugin that a call of it is cancelled; `None` if the plugin does not want to hear.
    fn tells_of_cancel(&self) -> Option<impl Fn(CallToken) + Send + 'static> {
        let notices = self.cancel_notices.clone()?;
        Some(move |call| notices.notify(call))
    }

    /// Why it would turn a call away for want of room that waits for a lane, if it would.
    pub fn no_room(&self) -> Option<CallError> {
        let refused = self.pool.full_for_calls()?;
        Some(CallError::new(ErrorKind::Exhausted, refused.to_string()))
    }

    /// Whether it may turn a call away for want of room before that has come to its queue.
    pub fn is_crowded(&self) -> bool {
        self.pool.is_crowded()
    }

    /// Takes no more calls. Those that are counted as in flight were let in before.
    pub fn close(&self) {
        self.concurrency.close();
    }

    /// Takes calls again: it is not stopped after all.
    pub fn reopen(&self) {
        self.concurrency.reopen();
    }

    /// Lets no more calls and checks in, also none that were taken before: what comes next is `stop` or `destroy`.
    pub fn seal(&self) {
        self.plugin.seal();
    }

    /// Calls and checks whose code is running, whether or not somebody still waits for them.
    pub fn inside(&self) -> usize {
        self.plugin.inside()
    }

    /// What is inside though its caller was answered without it.
    pub fn unreturned(&self) -> Option<UnreturnedView> {
        let (calls, since) = self.pool.unreturned(&self.name)?;
        let longest_ms = clock::monotonic().since(since).as_millis() as u64;
        Some(UnreturnedView { calls, longest_ms })
    }

    /// An error without the instance's secrets: unlike an answer, it is shown to others than the caller.
    #[cold]
    fn redacted(&self, error: CallError) -> CallError {
        CallError {
            text: self.settings.secrets.redact(&error.text).into_owned(),
            ..error
        }
    }

    /// Asked after the call has been counted, so that a call is either refused here or waited for by whoever closes.
    fn admit(&self) -> Result<(), CallError> {
        if self.concurrency.is_closed() {
            return Err(being_stopped());
        }
        Ok(())
    }

    /// Frees it, and tells what the plugin says went wrong with that. Nothing may be called on it afterwards.
    ///
    /// # Errors
    /// It is still there: a call is inside, or it took too long.
    pub async fn destroy(&self) -> Result<Option<CallError>, CallError> {
        if self.destroyed.load(Ordering::Acquire) {
            return Ok(None);
        }
        let plugin = self.plugin.clone();
        let destroy = move |context: CallContext| Ok(plugin.destroy(context.token()));
        let said = match self
            .in_step(Phase::Destroy, self.settings.stop_budget(), destroy)
            .await?
        {
            Ok(()) => None,
            Err(NotDestroyed::Inside(inside)) => {
                let text = format!("{inside} calls are still inside");
                return Err(CallError::new(ErrorKind::NotServing, text));
            }
            Err(NotDestroyed::Gone(error)) => Some(self.redacted(error)),
        };
        self.destroyed.store(true, Ordering::Release);
        if self.threads == ThreadModel::Affine {
            // Its end is waited for by the module.
            let _ = self.pool.shutdown(Duration::ZERO);
        }
        Ok(said)
    }

    fn work(&self, phase: Phase, budget: Duration) -> Work {
        work(
            &self.name,
            &self.module,
            phase,
            budget,
            self.settings.wedge_after(),
        )
    }

    fn call_work(&self, capability: &str, timeout: Duration) -> Work {
        Work {
            capability: self.module.capability(capability),
            ..self.work(Phase::Invoke, timeout)
        }
    }

    fn output_limits(&self) -> OutputLimits {
        OutputLimits {
            bytes_max: self.settings.output_bytes_max,
            ..OutputLimits::default()
        }
    }
}

/// Bytes of a value that is shared by a counted reference, counts included.
const fn shared<T>() -> usize {
    size_of::<T>() + 2 * size_of::<usize>()
}

/// An instance that is to be made, on a lane.
struct Creation {
    library: Arc<Library>,
    name: Arc<str>,
    config: String,
    folders: Option<Box<InstanceFolders>>,
    resource_dir: Option<PathBuf>,
    listener: Arc<dyn Listener>,
    /// Calls of some capability are to be submitted and not to hold a lane.
    submits: bool,
    /// Where, and as what, it is freed if it comes too late.
    home: Pool,
    freeing: Work,
}

impl Creation {
    async fn on_lane(self, work: Work, priority: Priority) -> Result<DestroyOnDrop, CallError> {
        let (call, home) = (PendingCall::step(work.deadline), self.home.clone());
        let make = move |context: CallContext| self.carry_out(context.token());
        let made = call.dispatch(&home, work, priority, make).await;
        settle(made, Phase::Create).flatten()
    }

    fn carry_out(self, call: CallToken) -> Result<DestroyOnDrop, CallError> {
        // Whoever has no use for them is made all the same.
        let folders = self.folders.filter(|folders| match folders.make() {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(
                    plugin = &*self.name,
                    "it has no folders of its own, as they can't be made: {error}; make state.dir writable, or name another one"
                );
                false
            }
        });
        let making = Making {
            name: &self.name,
            config: &self.config,
            data_dir: folders.as_ref().map(|folders| &*folders.data),
            cache_dir: folders.as_ref().map(|folders| &*folders.cache),
            resource_dir: self.resource_dir.as_deref(),
        };
        let plugin = PluginInstance::create(self.library, making, call, self.listener)?;
        let can_serve = !self.submits || plugin.can_submit();
        let made = DestroyOnDrop::new(plugin, self.home, self.freeing);
        can_serve.then_some(made).ok_or_else(|| {
            let text = "its manifest says async = true of a capability, and it has no extension extman.async/1 to submit calls to";
            CallError::new(ErrorKind::Unsupported, text)
        })
    }
}

/// A permit to be inside: when it is given back the lanes are told, who may have passed over a job for want of it.
struct Inside<G: Deref<Target = ConcurrencyLimit>, P: Borrow<Pool>> {
    permit: Option<Permit<G>>,
    pool: P,
}

impl<G: Deref<Target = ConcurrencyLimit>, P: Borrow<Pool>> Inside<G, P> {
    fn new(permit: Permit<G>, pool: P) -> Self {
        let permit = Some(permit);
        Inside { permit, pool }
    }
}

impl<G: Deref<Target = ConcurrencyLimit>, P: Borrow<Pool>> Drop for Inside<G, P> {
    fn drop(&mut self) {
        if self.permit.take().is_some_and(Permit::leave) {
            self.pool.borrow().nudge();
        }
    }
}

/// The caller of a call, who may be slow to read what is streamed. Dropped, it ends the stream, also of a call that never came to a lane: nobody
/// waits for more then.
struct Reader {
    stream: Option<Arc<Frames>>,
    timeout: Duration,
    began: Monotonic,
}

impl Reader {
    fn new(stream: Option<Arc<Frames>>, timeout: Duration) -> Self {
        Reader {
            stream,
            timeout,
            began: clock::monotonic(),
        }
    }

    /// Whether the call is over its time because its plugin waited for the reader: without that it had time left.
    fn explains(&self, failure: &CallError) -> bool {
        let is_over = matches!(failure.kind, ErrorKind::DeadlineExceeded | ErrorKind::Cancelled);
        let held_up = held_up(self.stream.as_ref());
        let own = clock::monotonic().since(self.began).saturating_sub(held_up);
        is_over && self.stream.is_some() && held_up >= self.timeout / 10 && own < self.timeout
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.finish();
        }
    }
}

/// Time in which a plugin waited for its caller to read, which is not its own.
fn held_up(stream: Option<&Arc<Frames>>) -> Duration {
    stream.map_or(Duration::ZERO, |stream| stream.held_up())
}

/// What a call came to.
struct CameTo {
    result: Result<Reply, CallError>,
    /// A failure says nothing of the plugin.
    is_excused: bool,
    /// The host turned it away: the plugin was never entered.
    is_refused: bool,
    /// The plugin has failed it, and says so of itself.
    is_own: bool,
}

/// What a call came to once its plugin was entered.
type Served = Result<Reply, Failure>;

/// Why a call that was served brought no answer.
#[derive(Debug)]
struct Failure {
    error: CallError,
    /// It is what another plugin met that this one had called: it says nothing of this one.
    is_passed_on: bool,
}

impl Failure {
    fn of(error: CallError, output: &Output) -> Self {
        let chain = output.chain.as_ref();
        Failure {
            is_passed_on: chain.is_some_and(|chain| chain.has_passed_on(&error)),
            error,
        }
    }
}

/// One call in its open context, on whatever thread this is. `count` hears how long the plugin's code ran and what came of it.
#[inline]
fn serve(
    plugin: &PluginInstance,
    context: &CallContext,
    input: Input<'_>,
    (began, deadline): (Monotonic, Monotonic),
    count: impl FnOnce(Duration, Option<&Failure>),
) -> Served {
    let Returned { mut result, usage } = plugin.invoke(context.token(), input);
    let ended = clock::monotonic();
    let ran = ended.since(began);
    // A plugin that stops when it is told to must not look as if its caller had gone away.
    if let Err(error) = &mut result
        && error.kind == ErrorKind::Cancelled
        && ended >= deadline
    {
        error.kind = ErrorKind::DeadlineExceeded;
    }
    let output = context.close();
    let failed = result.map_err(|error| Failure::of(error, &output));
    count(ran, failed.as_ref().err());
    failed.map(|()| reply(output, usage, ran))
}

fn reply(output: Output, usage: Usage, ran: Duration) -> Reply {
    Reply {
        content_type: output
            .content_type
            .unwrap_or(Cow::Borrowed("application/octet-stream")),
        body: output.body,
        usage,
        metadata: output.metadata,
        ran,
    }
}

/// How many calls at a time may be inside an instance.
fn concurrency(module: &Module, settings: &InstanceSettings) -> Arc<ConcurrencyLimit> {
    ConcurrencyLimit::new(match module.manifest().threads.model {
        ThreadModel::Many => settings.concurrency_max,
        ThreadModel::Serial | ThreadModel::Affine => 1,
    })
}

/// On a lane of its own, a step must not start a second one.
fn urgency(threads: ThreadModel) -> Priority {
    match threads {
        ThreadModel::Affine => Priority::Call(None),
        ThreadModel::Many | ThreadModel::Serial => Priority::Step,
    }
}

fn work(name: &Arc<str>, module: &Module, phase: Phase, budget: Duration, wedge_after: Duration) -> Work {
    let deadline: Monotonic = clock::monotonic().after(budget);
    Work {
        subject: name.clone(),
        generation: module.generation(),
        phase,
        capability: None,
        deadline,
        wedge_after,
    }
}

fn being_stopped() -> CallError {
    CallError::new(ErrorKind::NotServing, "the instance is being stopped")
}

fn settle<T>(returned: Result<T, DispatchError>, phase: Phase) -> Result<T, CallError> {
    returned.map_err(|error| match error {
        DispatchError::TooManyCalls => CallError::new(ErrorKind::Exhausted, TOO_MANY_CALLS),
        DispatchError::NotBegun => CallError::new(
            ErrorKind::DeadlineExceeded,
            format!("no lane was free for {phase} before its deadline"),
        ),
        DispatchError::Deadline(late) => {
            let waited = late.chain.map(|chain| format!("; it waited in {chain}"));
            let waited = waited.unwrap_or_default();
            let text = format!("{phase} did not return before its deadline{waited}");
            CallError::new(ErrorKind::DeadlineExceeded, text)
        }
        DispatchError::Refused(refused @ (Refused::QueueFull(_) | Refused::NoThread(_))) => {
            CallError::new(ErrorKind::Exhausted, refused.to_string())
        }
        DispatchError::Refused(refused) => CallError::new(ErrorKind::NotServing, refused.to_string()),
        DispatchError::Dropped => CallError::new(ErrorKind::NotServing, "the instance is being unloaded"),
    })
}
