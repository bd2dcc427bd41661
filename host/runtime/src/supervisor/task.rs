//! The task itself: requests in, decisions, long steps beside it, snapshots out.

mod arrivals;
mod residents;
mod steps;

use super::flow::{Means, Running};
use super::leftovers::Leftovers;
use super::record::{Goal, Record};
use super::requests::{Events, Outcome, Request, Requests};
use super::spec::InstanceConfig;
use crate::instance::Tally;
use crate::lifecycle::{Event, Refusal};
use crate::registry::Registry;
use extman_intake::VerifiedPlugin;
use extman_model::clock;
use extman_model::{Digest, Lifecycle, RefusedView, Verdict, What};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Instances that are gone, and whose calls are remembered for when they come back.
const TALLIES_MAX: usize = 1024;

/// Something that runs and is to be stopped.
struct Stop {
    name: String,
    /// Whether it is the instance itself, and not a generation that was replaced.
    own: bool,
    plugin: VerifiedPlugin,
    running: Running,
    /// Whether it serves no more, and why is known.
    failed: bool,
}

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
    stops: Vec<Stop>,
    looks: usize,
    looked: bool,
    told: Vec<What>,
    answers: Vec<(oneshot::Sender<Outcome>, Outcome)>,
    closing: Option<oneshot::Sender<Vec<(String, Verdict)>>>,
    over: bool,
    verdicts: Vec<(String, Verdict)>,
    leftovers: Leftovers,
    /// Whether a look at them is due by itself.
    looking: bool,
    /// Calls of instances that are gone.
    tallies: BTreeMap<String, Tally>,
    /// Plugins without an instance, as another plugin's has their name.
    displaced: Vec<RefusedView>,
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
            stops: Vec::new(),
            looks: 0,
            looked: false,
            told: Vec::new(),
            answers: Vec::new(),
            closing: None,
            over: false,
            verdicts: Vec::new(),
            leftovers: Leftovers::default(),
            looking: false,
            tallies: BTreeMap::new(),
            displaced: Vec::new(),
        }
    }

    /// Runs until it is shut down.
    pub async fn run(mut self, mut received: mpsc::UnboundedReceiver<Request>) {
        while let Some(request) = received.recv().await {
            self.handle(request);
            self.publish();
            // Only now: a call that is turned away by what is being stopped must find who serves instead.
            for stop in std::mem::take(&mut self.stops) {
                self.spawn_stop(stop);
            }
            // Only now: whoever hears or is answered must find the snapshot that belongs to it.
            for what in std::mem::take(&mut self.told) {
                self.events.tell(what);
            }
            for (waiter, outcome) in std::mem::take(&mut self.answers) {
                let _ = waiter.send(outcome);
            }
            let done = self.records.is_empty() && self.stopping_old == 0;
            if self.closing.is_some() && (done || self.over) {
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
            Request::VettingSlow(name, text) => self.vetting_is_slow(&name, text),
            Request::Started(name, plugin, result) => self.started(&name, *plugin, *result),
            Request::Stopped(stopped) => self.stopped(*stopped),
            Request::LookAgain => self.look_again(),
            Request::Tried(name, generation, ended) => self.tried(name, generation, ended),
            Request::Shutdown(reply, budget) => {
                self.closing = Some(reply);
                self.means.vetting.end();
                let requests = self.requests.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(budget).await;
                    requests.make(Request::ShutdownOver);
                });
                self.set_goals(|_| Goal::Gone);
            }
            Request::ShutdownOver => self.over = true,
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
        if !restart {
            self.restarting.remove(&name);
        }
        if record.goal != goal {
            let older = self.waiting.remove(&name).unwrap_or_default();
            let overtaken = |waiter| (waiter, Err("a later command has overtaken this one".to_owned()));
            self.answers.extend(older.into_iter().map(overtaken));
        }
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
                    Ok(_) => self.begin_start(name, by_operator),
                    Err(refusal) => {
                        record.goal = Goal::Stopped;
                        self.answer(name, Err(refusal.to_string()));
                    }
                }
                self.tell_move(name, from);
            }
            Goal::Running if record.is_outdated() => self.begin_start(name, by_operator),
            Goal::Running => self.answer(name, Ok(())),
            Goal::Stopped | Goal::Gone if record.running.is_some() => {
                let cause = match record.goal {
                    Goal::Gone if self.closing.is_some() => Some("the host is ending".to_owned()),
                    Goal::Gone => Some("its file is gone".to_owned()),
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
                if let Some(record) = self.records.remove(name)
                    && self.tallies.len() < TALLIES_MAX
                {
                    self.tallies.insert(name.to_owned(), record.tally);
                }
                self.rejected.remove(name);
                self.failures.remove(name);
            }
        }
    }

    fn answer(&mut self, name: &str, outcome: Outcome) {
        if outcome.is_err() {
            self.restarting.remove(name);
        }
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
        let waited_for = |record: &Record| record.busy && !record.slow_vetting;
        if self.looked && !self.records.values().any(waited_for) {
            self.registry.set_ready();
        }
    }
}
