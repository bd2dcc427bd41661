//! One act in one host: brought about, and looked at.

use extman_model::{Lifecycle, PluginView, Verdict};
use extman_tests::beside::Beside;
use extman_tests::build;
use extman_tests::served::{self, Served, pause};
use extman_tests::until::LIMIT;
use std::process::Command;
use std::time::Instant;

const ID: &str = "fault-process";
const NONE: &str = "–";

/// What is done, and when.
pub struct Act {
    pub name: &'static str,
    pub when: &'static str,
}

impl Act {
    pub const fn create(name: &'static str) -> Self {
        Act { name, when: "create" }
    }

    pub const fn invoke(name: &'static str) -> Self {
        Act { name, when: "invoke" }
    }
}

/// What was seen, in the table's words.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What `extman vet` says of it.
    pub check: String,
    /// Lives, or how it died.
    pub host: String,
    /// What the host says that the plugin changed.
    pub told: String,
    pub calls: String,
    pub beside: String,
    pub unload: String,
    /// What comes of the signal that ends a host in good order.
    pub terminated: String,
}

/// With vetting; and without it, if vetting does not let the plugin through.
pub fn observe(act: &Act) -> Seen {
    let vetted = play(act, true);
    if !vetted.calls.starts_with("quarantined") {
        return vetted;
    }
    let trusted = play(act, false);
    // Who meets the closed descriptor first is chance: the host, which names the plugin and ends, or a library of the host, which aborts.
    const BY_CHANCE: [&str; 2] = ["exit 70", "SIGABRT"];
    let is_by_chance = act.name.ends_with("past libc") && BY_CHANCE.contains(&trusted.host.as_str());
    let host = match is_by_chance {
        true => BY_CHANCE.join(" or "),
        false => trusted.host,
    };
    Seen {
        host: format!("lives; without vetting: {host}"),
        beside: format!("{}; without vetting: {}", vetted.beside, trusted.beside),
        ..vetted
    }
}

fn play(act: &Act, vetting: bool) -> Seen {
    let settings = format!(
        "[vetting]\nenabled = {vetting}\n[health]\ncomponents_every_ms = 100\n[probe]\ninterval_ms = 1000\n[shutdown]\nbudget_ms = 10000\n\
         [[instance]]\nplugin = {ID:?}\nstart_budget_ms = 20000\n[instance.config]\nact = {:?}\nwhen = {:?}\n",
        act.name, act.when
    );
    let mut served = Served::start(&settings, &[]);
    let beside = Beside::start(&served);
    let mut seen = Seen {
        check: check(act, &served),
        host: "lives".to_owned(),
        told: NONE.to_owned(),
        calls: NONE.to_owned(),
        beside: "all answered".to_owned(),
        unload: NONE.to_owned(),
        terminated: NONE.to_owned(),
    };
    served.put(&build::c_fault("process"));
    let view = arrived(&mut served);
    if view
        .as_ref()
        .is_some_and(|view| view.lifecycle == Lifecycle::Running)
    {
        seen.calls = match served.client().invoke("c.echo", "\"ping\"") {
            Ok(answer) if answer == "ping" => "right".to_owned(),
            Ok(answer) => answer.to_string(),
            Err(kind) => kind,
        };
        seen.told = told(&mut served, act);
    } else if let Some(view) = view {
        seen.calls = format!("{}: {}", view.lifecycle.as_str(), first_of(view.cause.as_deref()));
    }
    let before = beside.answered();
    wait(&mut served, |_| beside.answered() > before + 10);
    if seen.calls == "right" {
        seen.unload = unloaded(&mut served);
    }
    let before = beside.answered();
    wait(&mut served, |_| beside.answered() > before + 10);
    let failed = beside.failed();
    if !failed.is_empty() {
        seen.beside = format!("failed: {}", failed[0]);
    }
    match served.died() {
        Some(how) => {
            seen.host = how;
            seen.beside = "answered until then".to_owned();
            (seen.told, seen.unload) = (NONE.to_owned(), NONE.to_owned());
        }
        None if beside.answered() <= before + 10 => seen.beside = "not answered any more".to_owned(),
        None => {}
    }
    if seen.host == "lives" {
        drop(beside);
        seen.terminated = terminated(served);
    }
    seen
}

fn check(act: &Act, served: &Served) -> String {
    let config = format!("{{\"act\":{:?},\"when\":{:?}}}", act.name, act.when);
    let host_config = served.folder().join("extman.toml");
    let output = Command::new(served::program())
        .arg("check")
        .arg(build::c_fault("process"))
        .args(["--json", "--config", &config, "--host-config"])
        .arg(host_config)
        .output()
        .expect("the program runs");
    let envelope: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let text = envelope["error"]["text"].as_str();
    match (output.status.code(), text) {
        (Some(0), _) => "passed".to_owned(),
        (_, Some(text)) => {
            let said = text.split_once(".so: ").map_or(text, |(_, said)| said);
            format!("refused: {}", first_of(Some(said)))
        }
        (code, None) => format!("exit {code:?} without an answer"),
    }
}

/// The view once it has been started or refused; nothing if the host died of it.
fn arrived(served: &mut Served) -> Option<PluginView> {
    let under_way = [Lifecycle::Discovered, Lifecycle::Verified, Lifecycle::Starting];
    let mut last = None;
    wait(served, |served| {
        last = served.client().plugin(ID);
        last.as_ref()
            .is_some_and(|view| !under_way.contains(&view.lifecycle))
    });
    last
}

/// What the host tells of the plugin: of an act in a call, or one that no quick look sees, it may hear at its next whole look only.
fn told(served: &mut Served, act: &Act) -> String {
    let changes = |served: &Served| {
        let view = served.client().plugin(ID);
        view.map(|view| view.process_changes).unwrap_or_default()
    };
    let later = ["fork, return", "umask, past libc"];
    if (act.when == "invoke" || later.contains(&act.name)) && act.is_told() {
        wait(served, |served| !changes(served).is_empty());
    }
    let told: Vec<String> = changes(served).iter().map(ToString::to_string).collect();
    if told.is_empty() {
        NONE.to_owned()
    } else {
        told.join("; ")
    }
}

impl Act {
    /// Whether the host compares what it changes: not so for what a call leaves on the plugin's own lane.
    fn is_told(&self) -> bool {
        self.name != "block all signals"
    }
}

fn unloaded(served: &mut Served) -> String {
    let _ = served
        .client()
        .post(&format!("/api/v1/plugins/{ID}/unload"), "{}");
    let mut verdict = None;
    wait(served, |served| {
        verdict = served.client().plugin(ID).and_then(|view| view.unload);
        verdict.is_some()
    });
    match verdict {
        Some(Verdict::Unmapped) => "unmapped".to_owned(),
        Some(Verdict::Resident { reason, .. }) => format!("resident: {reason}"),
        None => "no verdict".to_owned(),
    }
}

fn terminated(mut served: Served) -> String {
    let sent = Command::new("kill")
        .args(["-TERM", &served.pid().to_string()])
        .status();
    assert!(sent.is_ok_and(|status| status.success()), "the signal is sent");
    wait(&mut served, |_| false);
    match served.died() {
        Some(how) => format!("ends, {how}"),
        None => "does not end".to_owned(),
    }
}

/// Until this holds, the host has died, or the limit is reached.
fn wait(served: &mut Served, mut holds: impl FnMut(&Served) -> bool) {
    let give_up = Instant::now() + LIMIT;
    while !holds(served) && served.died().is_none() && Instant::now() < give_up {
        pause();
    }
}

/// The first part of a text, which says what; the rest says what to do.
fn first_of(text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    text.split([';', '\n']).next().unwrap_or_default().to_owned()
}
