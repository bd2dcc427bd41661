//! One fault in one host: brought about, and looked at until it is as expected or nothing more happens.

use super::table::{In, NOTHING as NONE, ROWS, Row, Seen};
use extman_model::{CheckOutcome, Lifecycle, PluginView, Verdict, VettingFailure, VettingRefusal};
use extman_tests::beside::Beside;
use extman_tests::build;
use extman_tests::served::{Client, Served, pause};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a host may take to come to the state that is expected. Loading gives up after 20 s.
const PATIENCE: Duration = Duration::from_secs(40);

/// One fault in one phase.
pub struct Case {
    row: &'static Row,
    phase: &'static str,
}

impl Case {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Case> {
        ROWS.iter()
            .flat_map(|row| row.phases.split(' ').map(move |phase| Case { row, phase }))
    }

    /// What the table says.
    pub fn expected(&self) -> Observed {
        self.row.seen.into()
    }

    fn id(&self) -> String {
        match self.row.within {
            In::Rust => "faults".to_owned(),
            In::C => format!("fault-{}", self.row.hazard()),
        }
    }

    fn library(&self) -> PathBuf {
        match self.row.within {
            In::Rust => build::plugin("faults"),
            In::C => build::c_fault(self.row.hazard()),
        }
    }

    /// Times are short, since what hangs is waited for, and still long for what does not.
    fn settings(&self, vetting: bool) -> String {
        let hangs = self.row.hazard().starts_with("hang");
        let timeout_ms = if hangs { 2_000 } else { 20_000 };
        let config = match self.row.within {
            In::Rust => format!(
                "hazard = {:?}\nphase = {:?}\n{}\n",
                self.row.hazard(),
                self.phase,
                self.row.figures()
            ),
            In::C => String::new(),
        };
        format!(
            "[vetting]\nenabled = {vetting}\ntimeout_ms = {timeout_ms}\n[probe]\ninterval_ms = 5000\ntimeout_ms = 500\n\
             [[instance]]\nplugin = {:?}\ncall_timeout_ms = 1000\nwedge_after_ms = 500\nstart_budget_ms = 1000\n\
             stop_budget_ms = 1000\n[instance.config]\n{config}",
            self.id()
        )
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.row.fault, self.phase)
    }
}

/// What was seen, in the table's words.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    vetting: String,
    host: String,
    answer: String,
    state: String,
    cause: String,
    unload: String,
    beside: String,
}

impl From<Seen> for Observed {
    fn from(seen: Seen) -> Self {
        Observed {
            vetting: seen.vetting.to_owned(),
            host: seen.host.to_owned(),
            answer: seen.answer.to_owned(),
            state: seen.state.to_owned(),
            cause: seen.cause.to_owned(),
            unload: seen.unload.to_owned(),
            beside: seen.beside.to_owned(),
        }
    }
}

/// With vetting; and without it, if vetting does not let the plugin through.
pub fn observe(case: &Case) -> Observed {
    let vetted = Scene::new(case, true).play();
    if !vetted.vetting.starts_with("refused: ") {
        return vetted;
    }
    // What a plugin says against its configuration or surroundings is no refusal of its bytes: it has failed, for now.
    let kept_out = ["quarantined", "failed"].contains(&vetted.state.as_str());
    if vetted.host != "lives" || vetted.beside != ALL || !kept_out {
        return vetted;
    }
    let Observed { vetting, .. } = vetted;
    Observed {
        vetting,
        ..Scene::new(case, false).play()
    }
}

const ALL: &str = "all answered";

/// A host with both plugins.
struct Scene<'a> {
    case: &'a Case,
    expected: Observed,
    served: Served,
    client: Client,
    beside: Beside,
    vetting: bool,
}

impl<'a> Scene<'a> {
    fn new(case: &'a Case, vetting: bool) -> Self {
        let served = Served::start(&case.settings(vetting), &[]);
        Scene {
            case,
            expected: case.expected(),
            beside: Beside::start(&served),
            client: served.client().clone(),
            served,
            vetting,
        }
    }

    fn play(mut self) -> Observed {
        let answered_before = self.beside.answered();
        let mut died = false;
        self.served.put(&self.case.library());
        let mut seen = Observed {
            vetting: "passed".to_owned(),
            host: "lives".to_owned(),
            answer: NONE.to_owned(),
            state: NONE.to_owned(),
            cause: String::new(),
            unload: NONE.to_owned(),
            beside: ALL.to_owned(),
        };
        self.arrive(&mut seen);
        let through = seen.vetting == "passed";
        if through {
            self.trigger(&mut seen);
            self.look(&mut seen);
            self.unload(&mut seen);
        }
        self.await_that(|scene| scene.beside.answered() > answered_before + 5);
        if self.expected.host != "lives" && through {
            self.await_that(|_| false);
        }
        if let Some(how) = self.served.died() {
            seen.host = how;
            for gone in [&mut seen.state, &mut seen.unload] {
                *gone = NONE.to_owned();
            }
            seen.cause = String::new();
            died = true;
        }
        seen.beside = match (self.beside.failed(), self.served.died()) {
            (failed, _) if !failed.is_empty() => format!("failed: {failed:?}"),
            (_, Some(_)) => "answered until then".to_owned(),
            _ if self.beside.answered() > answered_before + 5 => ALL.to_owned(),
            _ => "not answered any more".to_owned(),
        };
        if died && self.next_host_names_it() {
            seen.host += "; the next one names it";
        }
        seen
    }

    /// Starts a host in its place, without the fault.
    fn next_host_names_it(&mut self) -> bool {
        let name = self.case.library();
        let name = name.file_name().expect("a file");
        std::fs::remove_file(self.served.folder().join("plugins").join(name)).expect("it was put there");
        self.served.kill_and_start();
        let status = self.served.client().status().expect("the next host answers");
        let culprit = status.crashes.first().and_then(|crash| crash.culprit.as_ref());
        culprit.is_some_and(|culprit| culprit.id == self.case.id())
    }

    /// Until it has been started or refused, or has taken the host with it.
    fn arrive(&mut self, seen: &mut Observed) {
        let (id, path) = (self.case.id(), self.case.library());
        self.await_that(|scene| {
            let lifecycle = scene.client.plugin(&id).map(|view| view.lifecycle);
            let under_way = [Lifecycle::Discovered, Lifecycle::Verified, Lifecycle::Starting];
            let started = lifecycle.is_some_and(|lifecycle| !under_way.contains(&lifecycle));
            started
                || scene
                    .client
                    .status()
                    .is_some_and(|status| !status.refused.is_empty())
        });
        if let Some(status) = self.client.status()
            && let Some(refused) = status
                .refused
                .iter()
                .find(|refused| refused.path.file_name() == path.file_name())
        {
            seen.vetting = format!("not reached: {}", refused.code);
        }
        if let Some(view) = self.client.plugin(&id)
            && let Some(refusal) = self.served.vetted(view.digest).and_then(|report| report.refusal)
        {
            seen.vetting = format!("refused: {}", told(&refusal, self.case.phase));
            seen.state = view.lifecycle.as_str().to_owned();
            let cause = view.cause.unwrap_or_default();
            assert!(cause.contains(&refusal.to_string()), "{cause}");
        } else if let Some(view) = self.client.plugin(&id)
            && self.vetting
            && let Some(phase) = timed_out_in(view.cause.as_deref().unwrap_or_default())
        {
            let there = match phase.split(' ').next() {
                Some(word) if word == self.case.phase => String::new(),
                _ => format!(" in {phase}"),
            };
            seen.vetting = format!("refused: timed out{there}");
            seen.state = view.lifecycle.as_str().to_owned();
        } else if let Some(view) = self.client.plugin(&id)
            && self.vetting
            && view.lifecycle == Lifecycle::Failed
            && let Some((phase, text)) = view.cause.unwrap_or_default().split_once(" failed: ")
        {
            let there = if phase == self.case.phase {
                String::new()
            } else {
                format!(" in {phase}")
            };
            seen.vetting = format!("refused: “{text}”{there}");
            seen.state = "failed".to_owned();
        }
    }

    fn trigger(&mut self, seen: &mut Observed) {
        let called = match (self.case.row.within, self.case.phase) {
            (In::Rust, "invoke") => self.client.invoke("fault.echo", "\"ping\""),
            (In::C, _) if seen.host == "lives" && self.expected.answer != NONE => {
                self.client.invoke("c.echo", &self.input())
            }
            _ => return,
        };
        seen.answer = match called {
            Ok(answer) if answer == "ping" || answer["most"] == 1 => "right".to_owned(),
            Ok(answer) => format!("{answer}").chars().take(40).collect(),
            Err(kind) => kind,
        };
        if self.case.row.hazard() == "write-after-return" {
            let client = self.client.clone();
            let last = || client.invoke("fault.last", "null").unwrap_or_default();
            self.await_that(|_| last()["hazard"] == "write-after-return");
            let word = if last()["accepted"] == false {
                "refused"
            } else {
                "taken"
            };
            seen.answer = format!("{}, late write {word}", seen.answer);
        }
    }

    /// A text; for those that wait for a file, one that is there.
    fn input(&self) -> String {
        match self.case.row.hazard() {
            "affine" | "serial" => self.served.folder().join("extman.toml").display().to_string(),
            _ => "\"ping\"".to_owned(),
        }
    }

    /// Until state, cause and check are as expected.
    fn look(&mut self, seen: &mut Observed) {
        let after_unload = ["drain", "stop", "destroy"].contains(&self.case.phase);
        if after_unload {
            return;
        }
        let (id, by_check, expected) = (self.case.id(), self.case.phase == "check", self.expected.clone());
        let mut last = seen.clone();
        self.await_that(|scene| {
            if let Some(view) = scene.client.plugin(&id) {
                note_state(&view, &expected, &mut last);
                if by_check && let Some(check) = &view.check {
                    last.answer = word(&check.outcome);
                }
            }
            last.state == expected.state && last.cause == expected.cause && last.answer == expected.answer
        });
        *seen = last;
    }

    fn unload(&mut self, seen: &mut Observed) {
        let id = self.case.id();
        // A failed one has nothing to unload; it says so, and what its view says counts.
        let _ = self.client.post(&format!("/api/v1/plugins/{id}/unload"), "{}");
        let (late, expected) = (seen.state == NONE, self.expected.clone());
        let mut last = seen.clone();
        self.await_that(|scene| {
            if let Some(view) = scene.client.plugin(&id) {
                last.unload = view.unload.as_ref().map_or(NONE.to_owned(), verdict);
                if late {
                    note_state(&view, &expected, &mut last);
                }
            }
            last.unload == expected.unload
                && (!late || (last.state == expected.state && last.cause == expected.cause))
        });
        *seen = last;
    }

    /// Until this holds, the host has died, or patience has ended.
    fn await_that(&mut self, mut holds: impl FnMut(&Self) -> bool) {
        let give_up = Instant::now() + patience();
        while !holds(self) && self.served.died().is_none() && Instant::now() < give_up {
            pause();
        }
    }
}

fn patience() -> Duration {
    let asked = std::env::var("EXTMAN_FAULTS_PATIENCE_S")
        .ok()
        .and_then(|s| s.parse().ok());
    asked.map_or(PATIENCE, Duration::from_secs)
}

/// The expected part of a cause stands for the whole of it.
fn note_state(view: &PluginView, expected: &Observed, seen: &mut Observed) {
    view.lifecycle.as_str().clone_into(&mut seen.state);
    let cause = view.cause.clone().unwrap_or_default();
    seen.cause = if !expected.cause.is_empty() && cause.contains(&expected.cause) {
        expected.cause.clone()
    } else {
        cause
    };
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Unmapped => "unmapped".to_owned(),
        Verdict::Resident { reason, .. } => format!("resident: {reason}"),
    }
}

fn word(outcome: &CheckOutcome) -> String {
    match outcome {
        CheckOutcome::Answered { report } => {
            let health = report.as_ref().and_then(|report| report.health);
            health.map_or("answered", |health| health.as_str()).to_owned()
        }
        CheckOutcome::Busy => "busy".to_owned(),
        CheckOutcome::NotBegun => "not begun".to_owned(),
        CheckOutcome::TimedOut => "timed out".to_owned(),
        CheckOutcome::Failed { kind, .. } => kind.as_str().to_owned(),
    }
}

/// The phase in which a vetting ran out of time: no refusal of the bytes, since the machine may have been slow.
fn timed_out_in(cause: &str) -> Option<&str> {
    let rest = cause.strip_prefix("the plugin had not come back from ")?;
    Some(rest.split_once(" when the ")?.0)
}

/// A refusal in a few words; the phase only if it is another one than the fault's.
fn told(refusal: &VettingRefusal, phase: &str) -> String {
    let why = match &refusal.why {
        VettingFailure::Signal { name, .. } => name.clone(),
        VettingFailure::Exited { code } => format!("exit {code}"),
        VettingFailure::TimedOut { .. } => "timed out".to_owned(),
        VettingFailure::OverMemory { .. } => "out of memory".to_owned(),
        VettingFailure::Refused { text } => {
            format!("“{}”", text.split([';', '\n']).next().unwrap_or_default())
        }
    };
    match refusal.phase.to_string() {
        there if there.split(' ').next() == Some(phase) => why,
        there => format!("{why} in {there}"),
    }
}
