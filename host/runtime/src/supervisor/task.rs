//! The supervisor's task: it feeds each instance's [`Actor`] with what has come, and carries out the effects.
//!
//! ```text
//!   mailbox, drained ──▶ actors ──▶ effects: starts begin at once
//!                                       │
//!                                       ▼
//!                                 published, once for all that was drained
//!                                       │
//!                                       ▼
//!                                 stops begin, events are published, operators answered
//! ```
//!
//! In this order, because whoever receives an event or an answer must find the registry up to date, and a call that a stopping generation
//! turns away must find the one that serves instead.

mod configuration;
mod dependencies;
mod directories;
mod ending;
mod restarts;
mod rollouts;
mod unloads;

use super::barred::Barred;
use super::blueprint::Blueprint;
use super::chosen::Chosen;
use super::dependencies::{Dependencies, Lack};
use super::events::Events;
use super::handover::{self, Giver, LeftState, Predecessor};
use super::host_trouble::{Consequence, HostTrouble};
use super::requests::{Outcome, Policies, Request, Requests};
use super::residents::ResidentLibraries;
use super::restart::{Restarts, SupervisionConfig};
use super::spec::{Configured, InstanceConfig};
use super::stage::{Actor, Condition, Effect, Inherits, Input, Loaded};
use super::start::{self, NotStarted, Running, Services};
use super::stop::{self, Stopped};
use crate::instance::CallTotals;
use crate::lanes::{Phase, Work};
use crate::registry::{Entry, Registry};
use directories::Directories;
use ending::Shutdown;
use extman_health::rollout::RolloutPolicy;
use extman_intake::{LockUse, VerifiedPlugin};
use extman_model::clock;
use extman_model::{BarredView, DesiredState, Digest, ProbeSettings, Verdict, What};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Most requests that are handled between two publications.
const DRAINED_MAX: usize = 4096;
/// Most instances that are gone whose totals of calls are kept for when they come back.
const GONE_TOTALS_MAX: usize = 1024;
pub(super) type Waiter = oneshot::Sender<Outcome>;

/// Owns the actors of all instances.
pub struct Supervisor {
    configured: Configured,
    lock: Option<LockUse>,
    /// What becomes of instances that fail, unless an instance is configured otherwise.
    supervision: SupervisionConfig,
    /// By which steps updates are judged.
    rollout: Arc<RolloutPolicy>,
    /// How instances are probed, unless an instance is configured otherwise.
    probe: ProbeSettings,
    /// Builds that are not tried again by themselves.
    barred: Barred,
    /// What served last of instances of which something is barred, whether its file is there or not.
    good: BTreeMap<Arc<str>, VerifiedPlugin>,
    /// Builds that instances are to be made from whatever else lies in the directories.
    chosen: Chosen,
    /// Something was barred: what instances are made from is chosen anew.
    reselects: bool,
    /// Changes that are being written down: the host does not end before they are.
    writes: Vec<JoinHandle<()>>,
    /// Instances that an operator has disabled, also ones that do not exist.
    disabled: BTreeSet<Arc<str>>,
    services: Arc<Services>,
    registry: Arc<Registry>,
    events: Events,
    requests: Requests,
    instances: BTreeMap<Arc<str>, Record>,
    /// How many instances the host's readiness waits for.
    awaited: usize,
    /// How many instances are to run.
    to_run: usize,
    /// Which instances lack what they require.
    dependencies: Dependencies,
    trouble: HostTrouble,
    /// What follows from the host's trouble and is not carried out yet.
    consequences: VecDeque<Consequence>,
    directories: Directories,
    residents: ResidentLibraries,
    /// Whether [`Request::RetryUnloads`] is on its way.
    retry_is_scheduled: bool,
    /// Totals of the calls of instances that are gone.
    gone_totals: BTreeMap<Arc<str>, CallTotals>,
    /// Configurations that are tried in place of those that stand in the file.
    trials: BTreeMap<String, Arc<InstanceConfig>>,
    /// A configured instance was forgotten: if its name belongs to another plugin by now, it is made anew.
    reborn: bool,
    batch: Batch,
    shutdown: Option<Shutdown>,
}

/// One instance: its actor, and what is shown of it beside the actor's own state.
struct Record {
    name: Arc<str>,
    actor: Actor<Running, Waiter>,
    /// What its actor was last told to make it from; `None` once that is gone.
    told: Option<Told>,
    /// What it requires and lacks.
    lack: Option<Lack>,
    /// What it is to be made from may be among the files that are not known yet.
    awaits_files: bool,
    /// The generation that is held to be down by its checks or calls.
    down: Option<u64>,
    since_unix_ms: u64,
    /// Its last unload: which load of its library it was, and what became of that.
    unload: Option<(u64, Verdict)>,
    /// Totals of the calls of all its generations.
    totals: CallTotals,
    /// What goes on for its update, and is shown of it.
    followed: rollouts::Followed,
    /// Builds that are not tried again by themselves.
    barred: Vec<BarredView>,
    /// The version before the one that serves, if there was one.
    previous: Option<VerifiedPlugin>,
    /// The version of which it was published that it waits for an operator.
    available: Option<Digest>,
}

/// What an instance's actor was told to make it from, to see whether that has changed.
#[derive(PartialEq)]
struct Told {
    digest: Digest,
    path: PathBuf,
    config: Arc<InstanceConfig>,
}

impl Told {
    fn of(blueprint: &Blueprint) -> Self {
        Told {
            digest: blueprint.plugin.digest(),
            path: blueprint.plugin.origin().to_owned(),
            config: blueprint.config.clone(),
        }
    }
}

/// What is published and begun once all drained requests are handled.
#[derive(Default)]
struct Batch {
    changed: BTreeSet<Arc<str>>,
    forgotten: BTreeSet<Arc<str>>,
    stops: Vec<(Arc<str>, Running, Condition, bool)>,
    events: Vec<What>,
    answers: Vec<(Waiter, Outcome)>,
}

impl Loaded for Running {
    type Build = Blueprint;
    type State = LeftState;

    fn build(&self) -> &Blueprint {
        &self.made_from
    }

    fn generation(&self) -> u64 {
        self.module.generation()
    }

    fn moved_to(&mut self, build: &Blueprint) {
        self.made_from = build.clone();
    }
}

impl Supervisor {
    /// For these instances, with these services.
    pub fn new(
        configured: Configured,
        services: Arc<Services>,
        registry: Arc<Registry>,
        events: Events,
        requests: Requests,
    ) -> Self {
        Supervisor {
            configured,
            lock: None,
            supervision: SupervisionConfig::default(),
            rollout: Arc::default(),
            probe: ProbeSettings::default(),
            barred: Barred::default(),
            good: BTreeMap::new(),
            chosen: Chosen::default(),
            reselects: false,
            writes: Vec::new(),
            disabled: BTreeSet::new(),
            services,
            registry,
            events,
            requests,
            instances: BTreeMap::new(),
            awaited: 0,
            to_run: 0,
            dependencies: Dependencies::default(),
            trouble: HostTrouble::default(),
            consequences: VecDeque::new(),
            directories: Directories::default(),
            residents: ResidentLibraries::default(),
            retry_is_scheduled: false,
            gone_totals: BTreeMap::new(),
            trials: BTreeMap::new(),
            reborn: false,
            batch: Batch::default(),
            shutdown: None,
        }
    }

    /// With the versions of `extman.lock`.
    pub fn with_lock(mut self, lock: Option<LockUse>) -> Self {
        self.lock = lock;
        self
    }

    /// With these policies for all instances.
    pub fn with_policies(mut self, policies: Policies) -> Self {
        self.supervision = policies.supervision;
        (self.rollout, self.probe) = (policies.rollout, policies.probe);
        self
    }

    /// With these builds barred, and with those that served instead, whose files may be gone.
    pub fn with_barred(
        mut self,
        barred: Barred,
        good: impl IntoIterator<Item = (String, VerifiedPlugin)>,
    ) -> Self {
        self.barred = barred;
        let good = good.into_iter().map(|(name, plugin)| (name.into(), plugin));
        self.good = good.collect();
        self
    }

    /// With these builds chosen.
    pub fn with_chosen(mut self, chosen: Chosen) -> Self {
        self.chosen = chosen;
        self
    }

    /// With these instances disabled.
    pub fn with_disabled(mut self, disabled: impl IntoIterator<Item = String>) -> Self {
        self.disabled = disabled.into_iter().map(Arc::from).collect();
        self
    }

    /// Runs until it is shut down.
    pub async fn run(mut self, mut received: mpsc::UnboundedReceiver<Request>) {
        let mut drained = Vec::new();
        while received.recv_many(&mut drained, DRAINED_MAX).await > 0 {
            for request in drained.drain(..) {
                self.handle(request);
                self.follow_rebirths();
                self.follow_bars();
                self.follow_dependencies();
                self.follow_consequences();
                self.follow_departures();
            }
            let ended = self.has_shut_down();
            self.finish_batch(ended);
            if let Some(shutdown) = self.shutdown.take_if(|_| ended) {
                for write in std::mem::take(&mut self.writes) {
                    let _ = write.await;
                }
                shutdown.has_ended();
                return;
            }
        }
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Arrived(arrived) => self.arrived(*arrived),
            Request::Load(name, reply) => self.command(&name, reply, Input::Load),
            Request::Unload(name, reply) => self.command(&name, reply, Input::Unload),
            Request::Restart(name, reply) => self.command(&name, reply, Input::Restart),
            Request::Enable(name, reply) => self.enable(&name, reply),
            Request::Disable(name, reply) => self.disable(&name, reply),
            Request::Configured(configured, policies) => self.reconfigure(*configured, *policies),
            Request::Change(name, config, reply) => self.try_config(name, config, reply),
            Request::Rollout(name, command, reply) => self.steer(&name, command, reply),
            Request::Update(name, to, reply) => self.update(&name, to, reply),
            Request::RollBack(name, reply) => self.roll_back(&name, reply),
            Request::Written(what) => self.batch.events.push(*what),
            Request::Mirror(name, generation) => self.mirror(&name, generation),
            Request::WarmedUp(name, generation, outcome) => {
                self.feed(&name, Input::WarmedUp { generation, outcome });
            }
            Request::Judged {
                name,
                generation,
                step,
                judged,
                says,
                because,
                mirrored,
            } => {
                self.note_mirrored(&name, generation, mirrored);
                self.judged(&name, (generation, step), judged, (says, because));
            }
            Request::AskedToTake(name, generation, outcome) => {
                self.feed(&name, Input::Configured { generation, outcome });
            }
            Request::Down {
                name,
                generation,
                is_down,
                why,
            } => {
                self.note_down(&name, generation, is_down);
                self.feed(&name, Input::Down { generation, why });
            }
            Request::Due(name, due) => self.due(name, due),
            Request::RestOver => self.consequences.extend(self.trouble.rest_over()),
            Request::Panicked {
                name,
                generation,
                text,
            } => self.feed(&name, Input::Panicked { generation, text }),
            Request::LaneLost(work, ran) => self.lane_lost(&work, ran),
            Request::LateReturn(work, ran) => self.late_return(&work, ran),
            Request::VettingSlow(name, text) => self.feed(&name, Input::Slow(text)),
            Request::Started(name, plugin, result) => self.started(&name, &plugin, *result),
            Request::Stopped(name, plugin, stopped) => self.stopped(&name, &plugin, *stopped),
            Request::Kept(name, running, cause) => {
                let running = *running;
                self.feed(&name, Input::Kept { running, cause });
            }
            Request::RetryUnloads => self.retry_unloads(),
            Request::UnloadRetried(name, stopped) => self.unload_retried(&name, *stopped),
            Request::Shutdown(reply, budget) => self.begin_shutdown(reply, budget),
            Request::Overdue(name) => self.overdue(&name),
            Request::ShutdownOver => self.shutdown_over(),
        }
    }

    /// Feeds an instance with an operator's command, unless the host is ending.
    fn command(&mut self, name: &str, reply: Waiter, input: impl FnOnce(Waiter) -> Input<Running, Waiter>) {
        match self.shutdown.is_none() && self.instances.contains_key(name) {
            true => self.feed(name, input(reply)),
            false => self.refuse(name, reply, "the host is ending"),
        }
    }

    /// Answers a command with this, or that there is no such instance.
    fn refuse(&mut self, name: &str, reply: Waiter, why: &str) {
        let text = match self.instances.contains_key(name) {
            true => why.to_owned(),
            false => format!("there is no plugin named {name:?}"),
        };
        self.batch.answers.push((reply, Err(text)));
    }

    /// Feeds an instance's actor, and carries out the effects.
    fn feed(&mut self, name: &str, input: Input<Running, Waiter>) {
        let Some(record) = self.instances.get_mut(name) else {
            return;
        };
        let (name, from) = (record.name.clone(), record.actor.lifecycle());
        let now = clock::monotonic();
        record
            .actor
            .judge_by(self.rollout.enabled.then(|| self.rollout.clone()));
        self.awaited -= usize::from(record.actor.is_awaited());
        self.to_run -= usize::from(record.is_to_run());
        let effects = record.actor.next(input, now);
        let supervision = record.actor.build().config.supervision(self.supervision);
        record.actor.supervise(supervision);
        self.awaited += usize::from(record.actor.is_awaited());
        self.to_run += usize::from(record.is_to_run());
        let to = record.actor.lifecycle();
        if from != to {
            record.since_unix_ms = clock::unix_ms(clock::wall());
            self.batch.events.push(What::Moved {
                name: name.to_string(),
                from,
                to,
                cause: record.actor.cause().map(str::to_owned),
            });
        }
        let bars = effects
            .iter()
            .any(|effect| matches!(effect, Effect::TakenBack { .. }));
        let answered = self.batch.answers.len();
        for effect in effects {
            self.carry_out(&name, effect);
        }
        if self.settle_choice(&name) || bars {
            self.answer_once_kept(answered);
        }
        self.note_rollout(&name);
        self.note_availability(&name);
        self.note_trouble(&name, now);
        self.batch.changed.insert(name);
    }

    fn carry_out(&mut self, name: &Arc<str>, effect: Effect<Running, Waiter>) {
        match effect {
            Effect::Start {
                build,
                by_operator,
                inherits,
            } => self.spawn_start(name, build, by_operator, inherits),
            Effect::Configure { build } => self.spawn_configure(name, build),
            Effect::Stop {
                running,
                condition,
                hands_over,
            } => {
                let stop = (name.clone(), running, condition, hands_over);
                self.batch.stops.push(stop);
            }
            Effect::StateLost(text) => self.batch.events.push(What::StateLost {
                name: name.to_string(),
                text,
            }),
            Effect::Wake(due) => self.wake(name, due),
            Effect::Answer(waiter, outcome) => self.batch.answers.push((waiter, outcome)),
            Effect::Replaced { from, to, live } => {
                self.note_previous(name, &from, &to);
                self.replaced(name, &from, &to, live);
            }
            Effect::NotTaken { build, text } => self.not_taken(name, &build, text),
            Effect::WarmUp => self.spawn_warm_up(name),
            Effect::Judge { step, aim } => self.judge(name, (step, aim)),
            Effect::TakenBack { build, kept, why } => self.taken_back(name, &build, &kept, why),
            Effect::Gap(gap) => self.batch.events.push(What::ConfigGap {
                name: name.to_string(),
                for_ms: gap.as_millis() as u64,
            }),
            Effect::Forget => {
                let is_first = self.batch.forgotten.insert(name.clone());
                if let Some(shutdown) = &mut self.shutdown {
                    // Instances stay listed, as they ended, until all have ended.
                    shutdown.forgotten(name, is_first);
                } else if let Some(record) = self.instances.remove(name) {
                    let id = &record.actor.build().plugin.manifest().plugin.id;
                    self.dependencies.forget(id, name);
                    self.reborn |= self.configured.has(name);
                    self.to_run -= usize::from(record.is_to_run());
                    if self.gone_totals.len() < GONE_TOTALS_MAX {
                        self.gone_totals.insert(name.clone(), record.totals);
                    }
                }
            }
        }
    }

    /// Publishes what has changed, and then does what must find it published.
    fn finish_batch(&mut self, ended: bool) {
        let batch = std::mem::take(&mut self.batch);
        let mut forgotten = batch.forgotten;
        let changed = batch.changed.iter().filter_map(|name| self.instances.get(name));
        let changed = changed.map(Record::entry).collect();
        if self.shutdown.is_some() && !ended {
            self.batch.forgotten = std::mem::take(&mut forgotten);
        }
        self.registry.publish(changed, &forgotten);
        if self.directories.are_known() {
            self.registry.set_known();
            if self.awaited == 0 {
                self.registry.set_ready();
            }
        }
        for (name, running, condition, hands_over) in batch.stops {
            self.spawn_stop(name, running, condition, hands_over);
        }
        for what in batch.events {
            self.events.publish(what);
        }
        self.events.flush(ended);
        for (waiter, outcome) in batch.answers {
            let _ = waiter.send(outcome);
        }
    }

    // The long steps, and what came of them.

    fn spawn_start(
        &self,
        name: &Arc<str>,
        build: Blueprint,
        by_operator: bool,
        inherits: Inherits<LeftState>,
    ) {
        let Some(record) = self.instances.get(name) else {
            return;
        };
        let beside = record.actor.loaded().map(Loaded::generation);
        let serving = record.actor.serving();
        let serving = serving.map(|running| Giver::of(running, &self.registry));
        let predecessor = match inherits {
            Inherits::Nothing => Predecessor::Nobody,
            Inherits::OfServing => serving.map_or(Predecessor::Nobody, Predecessor::Serving),
            Inherits::Left(state) => Predecessor::Stopped(state),
        };
        let (name, plugin) = (name.clone(), build.plugin.clone());
        let (services, requests, events) =
            (self.services.clone(), self.requests.clone(), self.events.clone());
        tokio::spawn(async move {
            let digest = plugin.digest();
            if by_operator && services.vetting.release_refusal(digest) {
                tracing::info!(plugin = %name, "refused before; tried again, as an operator asks for it");
            }
            let result = tokio::select! {
                result = start::start(&services, build, name.clone(), (beside, predecessor), events) => result,
                never = report_slow_vetting(&services, &requests, &name, digest) => match never {},
            };
            requests.make(Request::Started(name, Box::new(plugin), Box::new(result)));
        });
    }

    fn started(&mut self, name: &str, plugin: &VerifiedPlugin, result: Result<Running, NotStarted>) {
        match result {
            Ok(mut running) => {
                self.batch.events.extend(running.inherited.take());
                if let Some(record) = self.instances.get_mut(name) {
                    record.totals.begin(running.instance.call_metrics().clone());
                }
                self.feed(name, Input::Started(running));
            }
            Err(NotStarted {
                cause,
                hopeless,
                unload,
                state,
                panicked,
            }) => {
                let unloaded = unload.as_ref().map(|unload| unload.generation);
                if let Some(unload) = unload {
                    self.unloaded(name, plugin, unload);
                }
                self.feed(
                    name,
                    Input::NotStarted {
                        cause,
                        hopeless,
                        unloaded,
                        state,
                    },
                );
                // Only now: nothing takes its place by then.
                if let Some((generation, text)) = panicked {
                    self.feed(name, Input::Panicked { generation, text });
                }
                self.choice_not_started(name, plugin.digest());
            }
        }
    }

    fn spawn_stop(&self, name: Arc<str>, running: Running, condition: Condition, hands_over: bool) {
        let (services, requests, registry) = (
            self.services.clone(),
            self.requests.clone(),
            self.registry.clone(),
        );
        tokio::spawn(async move {
            let left = match hands_over {
                true => handover::leave(&running, &registry).await,
                false => Ok(None),
            };
            let left = match left {
                Ok(left) => left,
                Err(not) => {
                    if let Some((generation, text)) = not.panicked {
                        let name = name.to_string();
                        requests.make(Request::Panicked {
                            name,
                            generation,
                            text,
                        });
                    }
                    requests.make(Request::Kept(name, Box::new(running), not.cause));
                    return;
                }
            };
            let plugin = Box::new(running.made_from.plugin.clone());
            let stopped = stop::stop(&services, running, condition).await;
            let stopped = Stopped { left, ..stopped };
            requests.make(Request::Stopped(name, plugin, Box::new(stopped)));
        });
    }

    fn stopped(&mut self, name: &str, plugin: &VerifiedPlugin, stopped: Stopped) {
        let Stopped {
            generation,
            complaints,
            unload,
            metrics,
            left,
        } = stopped;
        self.report_complaints(name, generation, &complaints);
        let unloaded = unload.is_some();
        if let Some(unload) = unload {
            self.unloaded(name, plugin, unload);
        }
        if let (Some(metrics), Some(totals)) = (metrics, self.totals_of(name)) {
            totals.close(&metrics);
        }
        self.feed(
            name,
            Input::Stopped {
                generation,
                complaints,
                unloaded,
                left,
            },
        );
    }

    fn lane_lost(&mut self, work: &Work, ran: Duration) {
        let text = format!(
            "{} has not returned; given up after {:.1} s",
            work.entry(),
            ran.as_secs_f64()
        );
        self.batch.events.push(What::LaneLost {
            name: work.subject.to_string(),
            phase: work.phase.to_string(),
            capability: work.capability.as_deref().map(str::to_owned),
            ran_ms: ran.as_millis() as u64,
        });
        let generation = work.generation;
        // What serves does so whether or not its state can be had.
        if work.phase != Phase::Snapshot {
            self.feed(&work.subject, Input::LaneLost { generation, text });
        }
    }

    fn late_return(&mut self, work: &Work, ran: Duration) {
        let text = format!("{} came back only after {:.1} s", work.entry(), ran.as_secs_f64());
        self.batch.events.push(What::LateReturn {
            name: work.subject.to_string(),
            phase: work.phase.to_string(),
            capability: work.capability.as_deref().map(str::to_owned),
            ran_ms: ran.as_millis() as u64,
        });
        let generation = work.generation;
        self.retry_generation(generation);
        if work.phase != Phase::Snapshot {
            self.feed(&work.subject, Input::LateReturn { generation, text });
        }
    }
}

impl Record {
    fn new(
        name: Arc<str>,
        blueprint: Blueprint,
        (supervision, disabled): (SupervisionConfig, bool),
        totals: CallTotals,
    ) -> Self {
        let desired = match disabled {
            true => DesiredState::Disabled,
            false => configured(&blueprint.config),
        };
        let restarts = Restarts::new(blueprint.config.supervision(supervision), &name);
        Record {
            name,
            actor: Actor::new(blueprint, desired, restarts, clock::monotonic()),
            told: None,
            lack: None,
            awaits_files: false,
            down: None,
            since_unix_ms: clock::unix_ms(clock::wall()),
            unload: None,
            totals,
            followed: rollouts::Followed::default(),
            barred: Vec::new(),
            previous: None,
            available: None,
        }
    }

    /// Whether it is to run.
    fn is_to_run(&self) -> bool {
        self.actor.desired() == DesiredState::Running
    }

    /// Why it may not be started by itself.
    fn why_waits(&self) -> Option<String> {
        const FILES: &str = "it waits until all files in the plugin directories are known: what it is to be made from may be one that is still \
                             being written";
        let lack = || self.lack.as_ref().map(ToString::to_string);
        self.awaits_files.then(|| FILES.to_owned()).or_else(lack)
    }

    fn entry(&self) -> Entry {
        Entry {
            name: self.name.clone(),
            plugin: self.actor.build().plugin.clone(),
            config: self.actor.build().config.clone(),
            config_fault: self.actor.configuration_not_taken().map(str::to_owned),
            desired: self.actor.desired(),
            way_back: restarts::way_back(&self.name, &self.actor, self.awaits_files, self.lack.as_ref()),
            suppressed_by: self
                .lack
                .as_ref()
                .filter(|lack| lack.is_down)
                .map(|lack| lack.root.clone()),
            lifecycle: self.actor.lifecycle(),
            since_unix_ms: self.since_unix_ms,
            cause: self.actor.cause().map(str::to_owned),
            serving: self
                .actor
                .serving()
                .map(|running| (running.instance.clone(), running.module.generation())),
            beside: self.beside(),
            rollout: self.rollout_view(),
            barred: self.barred.clone(),
            tally: self.totals.clone(),
            unload: self.unload.clone(),
        }
    }
}

/// The desired state of an instance of which no operator has said anything.
fn configured(config: &InstanceConfig) -> DesiredState {
    match config.autostart {
        true => DesiredState::Running,
        false => DesiredState::Stopped,
    }
}

/// How long a vetting takes until it is reported as slow, and between two such reports.
const SLOW_VETTING: Duration = Duration::from_secs(5);

/// Reports the vetting of these bytes again and again as it takes long.
async fn report_slow_vetting(
    services: &Services,
    requests: &Requests,
    name: &Arc<str>,
    digest: Digest,
) -> Infallible {
    for times in 1.. {
        tokio::time::sleep(SLOW_VETTING).await;
        if let Some(phase) = services.vetting.phase(digest) {
            let seconds = (SLOW_VETTING * times).as_secs();
            let text = format!("its vetting has been under way for {seconds} s, and is in {phase}");
            requests.make(Request::VettingSlow(name.clone(), text));
        }
    }
    std::future::pending().await
}
