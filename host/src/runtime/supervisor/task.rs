//! The task itself: requests in, decisions, long steps beside it, snapshots out.

use super::flow::{self, Means, NotStarted, Running};
use super::listener::InstanceListener;
use super::record::{Goal, Record};
use super::spec::{InstanceConfig, wanted};
use crate::clock;
use crate::intake::VerifiedPlugin;
use crate::model::{Digest, Event as Told, Lifecycle, ResidentView, Verdict, What};
use crate::runtime::arrivals::Arrived;
use crate::runtime::lanes::{LaneObserver, Work};
use crate::runtime::lifecycle::{Event, Refusal};
use crate::runtime::registry::Registry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Where events are told.
#[derive(Clone)]
pub struct Events(broadcast::Sender<Told>);

impl Events {
    /// With room for this many that a slow listener has not heard yet.
    pub fn new(capacity: usize) -> Self {
        Events(broadcast::channel(capacity).0)
    }

    /// Everything from here on.
    pub fn listen(&self) -> broadcast::Receiver<Told> {
        self.0.subscribe()
    }

    /// Tells.
    pub fn tell(&self, what: What) {
        let _ = self.0.send(Told {
            at_unix_ms: clock::unix_ms(clock::wall()),
            what,
        });
    }
}

/// What came of an operator's wish.
pub type Outcome = Result<(), String>;

/// What the supervisor is told or asked.
pub enum Request {
    /// A look at the directories has ended.
    Arrived(Box<Arrived>),
    /// Start an instance.
    Load(String, oneshot::Sender<Outcome>),
    /// Stop and unload an instance.
    Unload(String, oneshot::Sender<Outcome>),
    /// Both.
    Restart(String, oneshot::Sender<Outcome>),
    /// An instance has panicked.
    Panicked {
        /// Which.
        name: String,
        /// In which load.
        generation: u64,
        /// With which text.
        text: String,
    },
    /// A lane was given up.
    LaneLost(Work, Duration),
    /// A lane that was given up has come back.
    LateReturn(Work, Duration),
    /// Stop everything; answered when it is done.
    Shutdown(oneshot::Sender<Vec<(String, Verdict)>>),
    /// A start has ended.
    #[doc(hidden)]
    Started(String, Box<VerifiedPlugin>, Box<Result<Running, NotStarted>>),
    /// A stop has ended; `true` if it was of the instance itself and not of a generation that was replaced.
    #[doc(hidden)]
    Stopped(String, bool, Box<(VerifiedPlugin, Option<(u64, Verdict)>)>),
}

/// How requests are made.
#[derive(Clone)]
pub struct Requests(mpsc::UnboundedSender<Request>);

impl Requests {
    /// Both ends.
    pub fn channel() -> (Requests, mpsc::UnboundedReceiver<Request>) {
        // Unbounded: the watchdog and lanes must never wait. What comes is bounded by lanes, files and operators.
        let (sender, receiver) = mpsc::unbounded_channel();
        (Requests(sender), receiver)
    }

    /// Makes a request. `false` if the supervisor has ended.
    pub fn make(&self, request: Request) -> bool {
        self.0.send(request).is_ok()
    }
}

impl LaneObserver for Requests {
    fn lost(&self, work: &Work, ran: Duration) {
        self.make(Request::LaneLost(work.clone(), ran));
    }

    fn returned_late(&self, work: &Work, ran: Duration) {
        self.make(Request::LateReturn(work.clone(), ran));
    }
}

/// A file that never stops growing must not keep the host from being ready.
const LOOKS_UNTIL_READY: usize = 10;

/// Owns the state of every instance.
pub struct Supervisor {
    configured: Vec<InstanceConfig>,
    means: Arc<Means>,
    registry: Arc<Registry>,
    events: Events,
    requests: Requests,
    records: BTreeMap<String, Record>,
    waiting: HashMap<String, Vec<oneshot::Sender<Outcome>>>,
    rejected: HashMap<String, Digest>,
    restarting: HashSet<String>,
    failures: HashMap<String, String>,
    plugins: BTreeMap<PathBuf, VerifiedPlugin>,
    stopping_old: usize,
    looks: usize,
    looked: bool,
    told: Vec<What>,
    answers: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    closing: Option<oneshot::Sender<Vec<(String, Verdict)>>>,
    verdicts: Vec<(String, Verdict)>,
}

impl Supervisor {
    /// For these instances, with these means.
    pub fn new(
        configured: Vec<InstanceConfig>,
        means: Arc<Means>,
        registry: Arc<Registry>,
        events: Events,
        requests: Requests,
    ) -> Self {
        Supervisor {
            configured,
            means,
            registry,
            events,
            requests,
            records: BTreeMap::new(),
            waiting: HashMap::new(),
            rejected: HashMap::new(),
            restarting: HashSet::new(),
            failures: HashMap::new(),
            plugins: BTreeMap::new(),
            stopping_old: 0,
            looks: 0,
            looked: false,
            told: Vec::new(),
            answers: Vec::new(),
            closing: None,
            verdicts: Vec::new(),
        }
    }

    /// Runs until it is shut down.
    pub async fn run(mut self, mut received: mpsc::UnboundedReceiver<Request>) {
        while let Some(request) = received.recv().await {
            self.handle(request);
            self.publish();
            // Only now: whoever hears or is answered must find the snapshot that belongs to it.
            for what in std::mem::take(&mut self.told) {
                self.events.tell(what);
            }
            for (waiter, outcome) in std::mem::take(&mut self.answers) {
                let _ = waiter.send(outcome);
            }
            if self.closing.is_some() && self.records.is_empty() && self.stopping_old == 0 {
                if let Some(reply) = self.closing.take() {
                    let _ = reply.send(std::mem::take(&mut self.verdicts));
                }
                return;
            }
        }
    }

    fn handle(&mut self, request: Request) {
        match request {
            Request::Arrived(arrived) => self.arrived(*arrived),
            Request::Load(name, reply) => self.wish(name, Goal::Running, false, reply),
            Request::Unload(name, reply) => self.wish(name, Goal::Stopped, false, reply),
            Request::Restart(name, reply) => self.wish(name, Goal::Stopped, true, reply),
            Request::Panicked {
                name,
                generation,
                text,
            } => self.panicked(&name, generation, text),
            Request::LaneLost(work, ran) => self.lane_lost(&work, ran),
            Request::LateReturn(work, ran) => self.late_return(&work, ran),
            Request::Started(name, plugin, result) => self.started(&name, *plugin, *result),
            Request::Stopped(name, own, ended) => self.stopped(&name, own, *ended),
            Request::Shutdown(reply) => {
                self.closing = Some(reply);
                self.set_goals(|_| Goal::Gone);
            }
        }
    }

    fn arrived(&mut self, arrived: Arrived) {
        self.looks += 1;
        self.looked |= !arrived.pending || self.looks >= LOOKS_UNTIL_READY;
        if self.closing.is_some() {
            return;
        }
        for path in &arrived.vanished {
            self.told.push(What::Vanished { path: path.clone() });
        }
        for refused in &arrived.newly_refused {
            self.told.push(What::Refused(refused.clone()));
        }
        for plugin in arrived.new.iter().filter_map(|path| arrived.plugins.get(path)) {
            let manifest = &plugin.manifest().plugin;
            self.told.push(What::Found {
                id: manifest.id.clone(),
                version: manifest.version.clone(),
                path: plugin.origin().to_owned(),
                digest: plugin.digest(),
            });
        }
        self.registry.publish_refused(arrived.refused);
        self.plugins = arrived.plugins;
        self.reconcile();
    }

    /// Compares what there should be with what there is.
    fn reconcile(&mut self) {
        let wanted = wanted(&self.configured, self.plugins.values());
        self.set_goals(|name| {
            if wanted.contains_key(name) {
                Goal::Running
            } else {
                Goal::Gone
            }
        });
        for (name, (config, plugin)) in wanted {
            let now = clock::unix_ms(clock::wall());
            match self.records.get_mut(&name) {
                None => {
                    self.records
                        .insert(name.clone(), Record::new(config, plugin, now));
                }
                Some(record) => {
                    let rejected = self.rejected.get(&name) == Some(&plugin.digest());
                    if !rejected && record.plugin.digest() != plugin.digest() {
                        record.plugin = plugin;
                        if record.running.is_none() && record.move_on(Event::NewBytes, None, now).is_ok() {
                            record.goal = if record.held { Goal::Stopped } else { Goal::Running };
                        }
                    }
                }
            }
            self.drive(&name);
        }
    }

    /// For instances that nobody holds: what they should come to.
    fn set_goals(&mut self, goal: impl Fn(&str) -> Goal) {
        let names: Vec<String> = self.records.keys().cloned().collect();
        for name in names {
            if let Some(record) = self.records.get_mut(&name) {
                match goal(&name) {
                    Goal::Gone => record.goal = Goal::Gone,
                    // It was to be forgotten, and its file is back.
                    goal if record.goal == Goal::Gone => record.goal = goal,
                    _ => {}
                }
            }
            self.drive(&name);
        }
    }

    fn wish(&mut self, name: String, goal: Goal, restart: bool, reply: oneshot::Sender<Outcome>) {
        let Some(record) = self.records.get_mut(&name) else {
            let _ = reply.send(Err(format!("there is no plugin named {name:?}")));
            return;
        };
        if record.goal == Goal::Gone {
            let _ = reply.send(Err("its file is gone, and it is being unloaded".to_owned()));
            return;
        }
        let idle = !record.busy;
        if idle && goal == Goal::Running && record.running.is_some() && !record.is_outdated() {
            let already = Refusal::Already(record.lifecycle.as_str());
            let _ = reply.send(match record.lifecycle {
                Lifecycle::Running => Ok(()),
                Lifecycle::Wedged => Err(Refusal::Wedged.to_string()),
                _ => Err(already.to_string()),
            });
            return;
        }
        self.rejected.remove(&name);
        record.goal = if restart && record.running.is_none() && idle {
            Goal::Running
        } else {
            goal
        };
        record.held = goal == Goal::Stopped && !restart;
        if restart && record.goal == Goal::Stopped {
            self.restarting.insert(name.clone());
        }
        self.waiting.entry(name.clone()).or_default().push(reply);
        self.drive_as(&name, true);
    }

    fn drive(&mut self, name: &str) {
        self.drive_as(name, false);
    }

    /// Begins the next long step towards the goal, if none is under way.
    fn drive_as(&mut self, name: &str, by_operator: bool) {
        let now = clock::unix_ms(clock::wall());
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        if record.busy {
            return;
        }
        let from = record.lifecycle;
        match record.goal {
            Goal::Running if record.running.is_none() => {
                let event = if by_operator {
                    Event::StartByOperator
                } else {
                    Event::Start
                };
                match record.move_on(event, None, now) {
                    Ok(_) => self.begin_start(name),
                    Err(refusal) => {
                        record.goal = Goal::Stopped;
                        self.answer(name, Err(refusal.to_string()));
                    }
                }
                self.tell_move(name, from);
            }
            Goal::Running if record.is_outdated() => self.begin_start(name),
            Goal::Running => self.answer(name, Ok(())),
            Goal::Stopped | Goal::Gone if record.running.is_some() => {
                let cause = match record.goal {
                    Goal::Gone => Some("its file is gone, or the host is ending".to_owned()),
                    _ => self
                        .failures
                        .get(name)
                        .cloned()
                        .or(Some("stopped by an operator".to_owned())),
                };
                match record.move_on(Event::Stop, cause, now) {
                    Ok(_) => self.begin_stop(name),
                    Err(refusal) => self.answer(name, Err(refusal.to_string())),
                }
                self.tell_move(name, from);
            }
            Goal::Stopped => self.answer(name, Ok(())),
            Goal::Gone => {
                self.answer(name, Err("its file is gone".to_owned()));
                self.records.remove(name);
                self.rejected.remove(name);
                self.failures.remove(name);
            }
        }
    }

    fn begin_start(&mut self, name: &str) {
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        record.busy = true;
        let (means, requests) = (self.means.clone(), self.requests.clone());
        let (config, plugin, name) = (record.config.clone(), record.plugin.clone(), name.to_owned());
        let listener = Arc::new(InstanceListener::new(&name, self.events.clone()));
        tokio::spawn(async move {
            let result = flow::start(&means, &config, plugin.clone(), listener).await;
            requests.make(Request::Started(name, Box::new(plugin), Box::new(result)));
        });
    }

    fn begin_stop(&mut self, name: &str) {
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        let Some(running) = record.running.take() else {
            return;
        };
        let plugin = record.serves.take().unwrap_or_else(|| record.plugin.clone());
        record.busy = true;
        self.spawn_stop(name, true, plugin, running);
    }

    fn spawn_stop(&self, name: &str, own: bool, plugin: VerifiedPlugin, running: Running) {
        let (means, requests, name) = (self.means.clone(), self.requests.clone(), name.to_owned());
        tokio::spawn(async move {
            let ended = flow::stop(&means, running).await;
            requests.make(Request::Stopped(name, own, Box::new((plugin, ended))));
        });
    }

    fn started(&mut self, name: &str, plugin: VerifiedPlugin, result: Result<Running, NotStarted>) {
        let now = clock::unix_ms(clock::wall());
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        record.busy = false;
        let from = record.lifecycle;
        match result {
            Ok(running) => {
                let old = record
                    .running
                    .replace(running)
                    .zip(record.serves.replace(plugin.clone()));
                record.check = Arc::default();
                let moved = record.move_on(Event::Started, None, now);
                match (old, moved) {
                    (Some((old, old_plugin)), _) => {
                        record.since_unix_ms = now;
                        let version = |p: &VerifiedPlugin| p.manifest().plugin.version.clone();
                        let (was, is) = (version(&old_plugin), version(&plugin));
                        self.told.push(What::Replaced {
                            name: name.to_owned(),
                            from: was,
                            to: is,
                        });
                        self.stopping_old += 1;
                        self.spawn_stop(name, false, old_plugin, old);
                    }
                    (None, Ok(_)) => self.tell_move(name, from),
                    (None, Err(_)) => {}
                }
            }
            Err(not_started) => {
                let cause = not_started.cause;
                if let Some((generation, verdict)) = not_started.unload {
                    self.unloaded(name, &plugin, generation, verdict);
                }
                let Some(record) = self.records.get_mut(name) else {
                    return;
                };
                if let Some(serves) = record.serves.clone().filter(|_| record.running.is_some()) {
                    let refused = plugin.manifest().plugin.version.clone();
                    let kept = serves.manifest().plugin.version.clone();
                    record.cause = Some(format!("{refused} was not taken, {kept} goes on: {cause}"));
                    record.plugin = serves;
                    tracing::warn!(plugin = name, %refused, %kept, %cause, "the new version was not taken");
                } else {
                    let event = if not_started.refused {
                        Event::StartRefused
                    } else {
                        Event::StartFailed
                    };
                    let _ = record.move_on(event, Some(cause.clone()), now);
                    if record.goal == Goal::Running {
                        record.goal = Goal::Stopped;
                    }
                }
                self.rejected.insert(name.to_owned(), plugin.digest());
                self.tell_move(name, from);
                self.answer(name, Err(cause));
            }
        }
        self.drive(name);
    }

    fn stopped(&mut self, name: &str, own: bool, ended: (VerifiedPlugin, Option<(u64, Verdict)>)) {
        let (plugin, verdict) = ended;
        if let Some((generation, verdict)) = verdict {
            self.unloaded(name, &plugin, generation, verdict);
        }
        if !own {
            self.stopping_old -= 1;
            return;
        }
        let now = clock::unix_ms(clock::wall());
        let failure = self.failures.remove(name);
        let restart = self.restarting.remove(name);
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        record.busy = false;
        let from = record.lifecycle;
        let (event, cause) = match failure {
            Some(cause) => (Event::EndedFailed, Some(cause)),
            None => (Event::Ended, record.cause.clone()),
        };
        let _ = record.move_on(event, cause, now);
        if restart && record.goal == Goal::Stopped {
            record.goal = Goal::Running;
        }
        self.tell_move(name, from);
        self.drive_as(name, restart);
    }

    fn panicked(&mut self, name: &str, generation: u64, text: String) {
        let now = clock::unix_ms(clock::wall());
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        let current = record
            .running
            .as_ref()
            .is_some_and(|r| r.module.generation() == generation);
        let from = record.lifecycle;
        if !current || record.move_on(Event::Panicked, Some(text.clone()), now).is_err() {
            return;
        }
        if record.goal == Goal::Running {
            record.goal = Goal::Stopped;
        }
        self.failures.insert(name.to_owned(), text);
        self.tell_move(name, from);
        self.drive(name);
    }

    fn lane_lost(&mut self, work: &Work, ran: Duration) {
        let (name, now) = (&*work.subject, clock::unix_ms(clock::wall()));
        let (phase, ran_ms) = (work.phase.to_string(), ran.as_millis() as u64);
        self.told.push(What::LaneLost {
            name: name.to_owned(),
            phase,
            ran_ms,
        });
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        record.wedged_calls += 1;
        let from = record.lifecycle;
        let cause = format!("{} has not returned for {:.1} s", work.phase, ran.as_secs_f64());
        if record.move_on(Event::LaneLost, Some(cause), now).is_ok() {
            self.tell_move(name, from);
        }
    }

    fn late_return(&mut self, work: &Work, ran: Duration) {
        let (name, now) = (&*work.subject, clock::unix_ms(clock::wall()));
        let (phase, ran_ms) = (work.phase.to_string(), ran.as_millis() as u64);
        self.told.push(What::LateReturn {
            name: name.to_owned(),
            phase,
            ran_ms,
        });
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        record.wedged_calls = record.wedged_calls.saturating_sub(1);
        if record.wedged_calls > 0 {
            return;
        }
        let from = record.lifecycle;
        let cause = format!("{} came back only after {:.1} s", work.phase, ran.as_secs_f64());
        if record
            .move_on(Event::LateReturn, Some(cause.clone()), now)
            .is_ok()
        {
            if record.goal == Goal::Running {
                record.goal = Goal::Stopped;
            }
            // Otherwise a step of its start or of its end was late, and there is nothing left to stop.
            if record.running.is_some() {
                self.failures.insert(name.to_owned(), cause);
            }
            self.tell_move(name, from);
            self.drive(name);
        }
    }

    fn unloaded(&mut self, name: &str, plugin: &VerifiedPlugin, generation: u64, verdict: Verdict) {
        let what = What::Unloaded {
            name: name.to_owned(),
            generation,
            verdict: verdict.clone(),
        };
        self.told.push(what);
        if !verdict.is_unmapped() {
            let manifest = &plugin.manifest().plugin;
            let (id, version) = (manifest.id.clone(), manifest.version.clone());
            self.registry.add_resident(ResidentView {
                id,
                version,
                generation,
                verdict: verdict.clone(),
            });
        }
        if self.closing.is_some() {
            self.verdicts.push((name.to_owned(), verdict.clone()));
        }
        if let Some(record) = self.records.get_mut(name) {
            record.unload = Some(verdict);
        }
    }

    fn answer(&mut self, name: &str, outcome: Outcome) {
        if self.restarting.contains(name) && outcome.is_ok() {
            return;
        }
        for waiter in self.waiting.remove(name).unwrap_or_default() {
            self.answers.push((waiter, outcome.clone()));
        }
    }

    fn tell_move(&mut self, name: &str, from: Lifecycle) {
        let Some(record) = self.records.get(name) else {
            return;
        };
        if record.lifecycle != from {
            let (to, cause) = (record.lifecycle, record.cause.clone());
            self.told.push(What::Moved {
                name: name.to_owned(),
                from,
                to,
                cause,
            });
        }
    }

    fn publish(&self) {
        self.registry.publish(self.records.values().map(Record::entry));
        if self.looked && !self.records.values().any(|record| record.busy) {
            self.registry.set_ready();
        }
    }
}
