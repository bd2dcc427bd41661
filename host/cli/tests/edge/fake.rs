//! A control without plugins, and a server in front of it.

use crate::well;
use extman_http::HttpConfig;
use extman_model::control::events::{EventsAnswer, EventsAsked, NumberedEvent};
use extman_model::control::report::{HealthSummary, PluginHealth, Readiness};
use extman_model::control::{
    Answer, Command, Control, ControlError, FrameReader, Invocation, Invoked, InvokedStream, Pending,
};
use extman_model::{
    CallError, CapabilityOffer, DependenciesView, ErrorKind, Event, Lifecycle, Maintenance, MaintenanceAsked,
    MaintenanceRow, MaintenanceSource, MissingView, PluginView, RefusedView, Reply, RolloutStatus,
    StatusView, Usage, What,
};
use serde_json::json;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Knows `lang` (running) and `embed` (failed), serves `text.echo`, and notes what it was asked.
#[derive(Default)]
pub struct Fake {
    pub asked: Mutex<Vec<Command>>,
    pub invoked: Mutex<Vec<Invocation>>,
    pub starting: bool,
    /// `lang` is down, and nothing works without it.
    pub down: bool,
    /// Calls of `wait.for` end when this is notified.
    pub release: Arc<Notify>,
    /// Notified when a call of `wait.for` began.
    pub began: Arc<Notify>,
    /// How the updates of `lang` stand, look after look; the last one stays.
    pub rollouts: Mutex<VecDeque<RolloutStatus>>,
    /// Notified when the reader of a stream of `stream.endless` is gone.
    pub abandoned: Arc<Notify>,
}

impl Fake {
    fn answer(&self, command: &Command) -> Result<Answer, ControlError> {
        let one = |name: &str| {
            let mut known = self.plugins().into_iter();
            known
                .find(|plugin| plugin.name == name)
                .map(|plugin| Answer::Plugin(Box::new(plugin)))
                .ok_or_else(|| ControlError::NotFound {
                    name: name.to_owned(),
                    similar: vec!["lang".to_owned()],
                })
        };
        match command {
            Command::Status => Ok(Answer::Status(Box::new(self.status()))),
            Command::Plugins => Ok(Answer::Plugins(self.plugins())),
            Command::Capabilities => Ok(Answer::Capabilities(capabilities())),
            Command::Dependencies => Ok(Answer::Dependencies(Box::new(dependencies()))),
            Command::Load { name } if name == "lang" => {
                Err(ControlError::Conflict("lang is running already".to_owned()))
            }
            Command::Restart { name } if name == "embed" => Err(ControlError::Failed(
                "embed could not be started: no model file".to_owned(),
            )),
            Command::Health => Ok(Answer::Health(Box::new(well::all(self.down)))),
            Command::PluginHealth { name } | Command::CheckNow { name, .. } => {
                one(name)?;
                let rollout = self.plugins().into_iter().find(|plugin| plugin.name == *name);
                Ok(Answer::PluginHealth(Box::new(PluginHealth {
                    rollout: rollout.and_then(|plugin| plugin.rollout),
                    ..well::plugin(name, self.down)
                })))
            }
            Command::History { name, .. } => {
                one(name)?;
                Ok(Answer::History(Box::new(well::history(name))))
            }
            Command::Uptime { name, .. } => {
                if let Some(name) = name {
                    one(name)?;
                }
                Ok(Answer::Uptime(well::uptime(name.as_deref().unwrap_or("lang"))))
            }
            Command::Analyse { name, .. } => {
                one(name)?;
                Ok(Answer::Analysis(Box::new(well::analysis(name))))
            }
            Command::Maintenance { name: None } => Ok(Answer::Maintenance(maintenance("embed", None))),
            Command::Maintenance { name: Some(name) } | Command::EndMaintenance { name } => {
                one(name).map(|_| Answer::Maintenance(Vec::new()))
            }
            Command::StartMaintenance { name, asked } => {
                one(name).map(|_| Answer::Maintenance(maintenance(name, Some(asked))))
            }
            Command::Config { name }
            | Command::ChangeConfig { name, .. }
            | Command::RollBackConfig { name, .. } => {
                one(name).map(|_| Answer::Config(Box::new(configured(name))))
            }
            Command::ConfigDiff { name } => one(name).map(|_| Answer::ConfigDiff(Vec::new())),
            Command::ConfigHistory { name } => one(name).map(|_| Answer::ConfigHistory(Vec::new())),
            Command::ChangeRollout { name, .. } if name == "embed" => Err(ControlError::Conflict(
                "embed: there is no update under way".to_owned(),
            )),
            Command::Rollout { name } => one(name).map(|answer| self.look(answer)),
            Command::Events(asked) => Ok(Answer::Events(Box::new(events(asked)))),
            Command::Plugin { name }
            | Command::Load { name }
            | Command::Unload { name, .. }
            | Command::Restart { name }
            | Command::Enable { name }
            | Command::Update { name, .. }
            | Command::RollBack { name }
            | Command::ChangeRollout { name, .. }
            | Command::Disable { name, .. } => one(name),
        }
    }

    /// With the update of `lang` as it stands.
    fn plugins(&self) -> Vec<PluginView> {
        let mut plugins = plugins();
        if let Some(now) = self.rollouts.lock().unwrap().front() {
            let lang = &mut plugins[0];
            (lang.version, lang.digest) = (now.version.clone(), now.digest);
            (lang.rollout, lang.barred) = (now.rollout.clone(), now.barred.clone());
            if !now.serves {
                lang.lifecycle = Lifecycle::Stopped;
            }
        }
        plugins
    }

    fn status(&self) -> StatusView {
        let now = self.plugins().iter().map(RolloutStatus::from).collect::<Vec<_>>();
        StatusView {
            rollouts: now.into_iter().filter(|one| one.rollout.is_some()).collect(),
            ..status(!self.starting)
        }
    }

    /// How the updates of a plugin stand; the next look sees what comes after it.
    fn look(&self, answer: Answer) -> Answer {
        let Answer::Plugin(plugin) = answer else {
            return answer;
        };
        let mut rollouts = self.rollouts.lock().unwrap();
        if rollouts.len() > 1 && plugin.name == "lang" {
            rollouts.pop_front();
        }
        Answer::Rollout(Box::new((&*plugin).into()))
    }
}

/// An update of `lang` from 1.2.0 to 1.3.0: with an update under way (`more`), or after it by this word: `"promoted"`, `"stopped"`, `"taken back"`.
pub fn rollout(more: serde_json::Value) -> RolloutStatus {
    let (old, new) = ("ab".repeat(32), "cd".repeat(32));
    let mut status = json!({"name": "lang", "version": "1.2.0", "digest": old});
    match more.as_str() {
        Some("promoted") => status = json!({"name": "lang", "version": "1.3.0", "digest": new}),
        Some("stopped") => {
            status = json!({"name": "lang", "version": "1.3.0", "digest": new, "serves": false});
        }
        Some(_) => {
            status["barred"] = json!([{"version": "1.3.0", "digest": new, "since_unix_ms": 1_700_000_000_000_u64,
                "reason": "12 of 60 calls failed\u{1b}[2J"}]);
        }
        None => {
            let mut rollout = json!({"phase": "canary", "since_unix_ms": 1_700_000_000_000_u64, "from": "1.2.0",
                "to": "1.3.0", "digest": new, "percent": 5, "paused": false});
            let fields = rollout.as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
            status["rollout"] = rollout;
        }
    }
    serde_json::from_value(status).unwrap()
}

fn configured(name: &str) -> extman_model::ConfigAnswer {
    let json = json!({
        "name": name, "plugin": "lang-detect", "in_sync": true,
        "fields": [{ "field": "config.size", "value": 3, "origin": "set" }],
    });
    serde_json::from_value(json).expect("an answer")
}

/// One that requires another, and one that is left out.
fn dependencies() -> DependenciesView {
    let json = serde_json::json!({
        "plugins": [
            { "id": "embed", "version": "1.2.0", "digest": "01".repeat(32), "origin": "/p/embed.so", "required_by": ["lang"] },
            { "id": "lang", "version": "2.0.0", "digest": "02".repeat(32), "origin": "/p/lang.so", "requires": [
                { "plugin": "embed", "version": "^1", "fulfilled_by": ["embed"] },
            ]},
        ],
        "start_order": [["embed"], ["lang"]],
        "left_out": [{ "id": "rank", "code": "unfulfilled", "reason": "rank can't be used.\n  there is no plugin x\nAdd x." }],
    });
    serde_json::from_value(json).unwrap()
}

impl Control for Fake {
    fn run(&self, command: Command) -> Pending<'_, Result<Answer, ControlError>> {
        self.asked.lock().unwrap().push(command.clone());
        Box::pin(async move {
            let answer = self.answer(&command);
            if let (Command::Events(asked), Ok(Answer::Events(events))) = (&command, &answer)
                && events.events.is_empty()
            {
                tokio::time::sleep(Duration::from_millis(asked.wait_ms)).await;
            }
            answer
        })
    }

    fn readiness(&self) -> Readiness {
        match (self.starting, self.down) {
            (true, _) => Readiness::not_for("the first look is not done"),
            (false, true) => Readiness {
                reasons: vec!["lang is required, and is running and down".to_owned()],
                more: 3,
            },
            (false, false) => Readiness::default(),
        }
    }

    fn health_summary(&self) -> HealthSummary {
        well::summary(self.down)
    }

    fn invoke(&self, invocation: Invocation) -> Pending<'_, Result<Invoked, CallError>> {
        self.invoked.lock().unwrap().push(invocation.clone());
        Box::pin(async move {
            match invocation.capability.as_str() {
                "text.echo" => Ok(Invoked {
                    served_by: "lang".into(),
                    degraded: None,
                    attempts: 1,
                    age: None,
                    reply: reply(&invocation.content_type, invocation.body),
                }),
                "text.fallback" => Ok(Invoked {
                    served_by: "lang".into(),
                    degraded: Some("first is down".into()),
                    attempts: 2,
                    age: None,
                    reply: reply(&invocation.content_type, invocation.body),
                }),
                "text.kept" => Ok(Invoked {
                    served_by: "cached".into(),
                    degraded: Some("lang is down; it gave this answer before".into()),
                    attempts: 0,
                    age: Some(Duration::from_millis(61_500)),
                    reply: reply(&invocation.content_type, invocation.body),
                }),
                "wait.for" => {
                    self.began.notify_one();
                    self.release.notified().await;
                    Ok(Invoked {
                        served_by: "lang".into(),
                        degraded: None,
                        attempts: 1,
                        age: None,
                        reply: reply("text/plain", b"released".to_vec()),
                    })
                }
                "busy.now" => Err(CallError {
                    retryable: Some(true),
                    retry_after_ms: Some(2500),
                    ..CallError::new(ErrorKind::RateLimited, "the provider wants a pause")
                }),
                "panic.now" => Err(CallError::new(
                    ErrorKind::Panicked,
                    "the plugin panicked: \u{1b}[31mboom",
                )),
                other => Err(CallError::new(
                    ErrorKind::NotFound,
                    format!("nothing serves {other:?}; there is text.echo"),
                )),
            }
        })
    }

    fn invoke_stream(&self, invocation: Invocation) -> Pending<'_, Result<InvokedStream, CallError>> {
        self.invoked.lock().unwrap().push(invocation.clone());
        let (writer, frames) = FrameReader::channel(2);
        let (end, ended) = oneshot::channel();
        let abandoned = self.abandoned.clone();
        std::thread::spawn(move || {
            writer.begin("text/plain");
            let result = match invocation.capability.as_str() {
                "stream.words" => {
                    for frame in [&b"one\n"[..], "zw\u{f6}\r\nlf".as_bytes(), &[0xff, 0]] {
                        writer.push(frame);
                    }
                    Ok(reply("text/plain", Vec::new()))
                }
                "stream.endless" => {
                    while writer.push(b"again") {}
                    abandoned.notify_one();
                    Err(CallError::new(ErrorKind::Cancelled, "nobody reads"))
                }
                _ => {
                    writer.push(b"half");
                    Err(CallError::new(ErrorKind::Internal, "the model went away"))
                }
            };
            drop(writer);
            let _ = end.send(result);
        });
        Box::pin(async move {
            Ok(InvokedStream {
                served_by: "lang".into(),
                degraded: None,
                frames,
                done: Box::pin(async move { ended.await.unwrap() }),
            })
        })
    }
}

fn reply(content_type: &str, body: Vec<u8>) -> Reply {
    Reply {
        content_type: content_type.to_owned().into(),
        body,
        usage: Usage {
            tokens_in: Some(3),
            ..Usage::default()
        },
        metadata: vec![("model".to_owned(), "fake-1".to_owned())],
        ran: Duration::from_nanos(1234),
    }
}

fn plugins() -> Vec<PluginView> {
    let plugin = |name: &str, kind: &str, lifecycle: &str, more: serde_json::Value| {
        let mut view = json!({
            "name": name,
            "id": format!("{name}-detect"),
            "version": "1.2.0",
            "kind": kind,
            "lifecycle": lifecycle,
            "since_unix_ms": 1_700_000_000_000_u64,
            "calls": {"total": 7, "in_flight": 0, "errors": {"internal": 2}},
            "capabilities": [{"name": "text.echo", "version": "1.0.0", "streaming": true}],
            "digest": "ab".repeat(32),
            "origin": "/opt/plugins/a.so",
        });
        let view = view.as_object_mut().unwrap();
        view.extend(more.as_object().unwrap().clone());
        serde_json::from_value(view.clone().into()).unwrap()
    };
    let check = json!({"health": well::plugin("lang", false).health, "check": {
        "kind": "readiness", "at_unix_ms": 1_700_000_000_000_u64, "took_ns": 900,
        "outcome": {"result": "answered", "report": {"health": "up"}},
    }, "generation": 4, "health": {
        "health": "up", "cause": {"code": "answers"}, "reason": "answers its checks",
        "since_unix_ms": 1_700_000_000_000_u64, "left_out": false, "failed_checks": 0, "flapping_permille": 0,
        "figures": [],
    }});
    vec![
        plugin("lang", "ai", "running", check),
        plugin(
            "embed",
            "general",
            "failed",
            json!({"cause": "no model file at /m; set config.model"}),
        ),
    ]
}

/// Three events; who has heard them waits in vain.
fn events(asked: &EventsAsked) -> EventsAnswer {
    let of = |number: u64, what: What| NumberedEvent {
        number,
        event: Event {
            at_unix_ms: 1_700_000_000_000 + number,
            what,
        },
    };
    let moved = |name: &str, to| What::Moved {
        name: name.to_owned(),
        from: Lifecycle::Starting,
        to,
        cause: None,
    };
    let all = [
        of(7, moved("embed", Lifecycle::Failed)),
        of(8, moved("lang", Lifecycle::Running)),
        of(
            9,
            What::Vanished {
                path: "/opt/plugins/old.so".into(),
            },
        ),
    ];
    EventsAnswer {
        events: all
            .into_iter()
            .filter(|event| event.number > asked.after.unwrap_or(0))
            .collect(),
        last: 9,
        missed: 0,
    }
}

fn capabilities() -> Vec<CapabilityOffer> {
    serde_json::from_value(json!([
        {"name": "text.echo", "instances": ["lang"], "not_serving": ["embed"]},
    ]))
    .unwrap()
}

fn status(ready: bool) -> StatusView {
    StatusView {
        version: "0.1.0".parse().unwrap(),
        abi: "1.0".to_owned(),
        pid: 77,
        started_unix_ms: 1_700_000_000_000,
        ready,
        instances: serde_json::from_value(json!({"running": 1, "failed": 1})).unwrap(),
        refused: vec![RefusedView {
            path: "/opt/plugins/broken.so".into(),
            code: "truncated".to_owned(),
            reason: "the library is cut off: its sections end at byte 9000, the file has 4096; copy or build it again"
                .to_owned(),
        }],
        resident: Vec::new(),
        unloads: true,
        directories: vec!["/opt/plugins".into()],
        missing: vec![MissingView {
            name: "embed-en".to_owned(),
            plugin: "embeder".to_owned(),
            reason: "configured, but no plugin with the id \"embeder\" was found in /opt/plugins; put it there".to_owned(),
            since_unix_ms: 1_700_000_000_000,
        }],
        config: Default::default(),
        process_changes: Vec::new(),
        vetting_memory: None,
        maintenance: Vec::new(),
        rollouts: Vec::new(),
        crashes: Vec::new(),
        crashes_not_noted: None,
        warnings: vec!["there is no worker program at /usr/bin/extman-worker".to_owned()],
    }
}

/// A server on a thread of its own; it ends when this is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub fake: Arc<Fake>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<std::io::Result<()>>>,
}

impl Server {
    pub fn start() -> Server {
        Server::with(Fake::default(), HttpConfig::default())
    }

    pub fn with(fake: Fake, config: HttpConfig) -> Server {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let fake = Arc::new(fake);
        let control = fake.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            runtime.block_on(async move {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                extman_http::serve(listener, control, config, async {
                    let _ = stopped.await;
                })
                .await
            })
        });
        Server {
            address,
            fake,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tells it to end, and does not wait.
    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits for its end.
    pub fn join(&mut self) -> std::io::Result<()> {
        self.stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn maintenance(name: &str, asked: Option<&MaintenanceAsked>) -> Vec<MaintenanceRow> {
    let maintenance = asked.map_or(Maintenance::CONFIGURED, |asked| Maintenance {
        by: MaintenanceSource::Operator,
        since_unix_ms: Some(0),
        until_unix_ms: Some(asked.for_ms),
        reason: asked.reason.clone(),
    });
    vec![MaintenanceRow {
        name: name.to_owned(),
        maintenance,
    }]
}
