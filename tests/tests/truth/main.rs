//! What a person is told about a running host is what a caller would say: real hosts with scripted plugins whose truth is known, asked by
//! every way a user has, and called. The situations stand in `stories`; `tests/TRUTH.md` shows them with what was seen.

mod ask;
mod glance;
mod stage;
mod stories;

use extman_tests::published::publish_in;
use extman_tests::{build, served};
use stage::Stage;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use stories::{STORIES, Step, Story};

/// Hosts at a time; most of the time each of them waits.
const HOSTS: usize = 4;

#[test]
fn every_edge_says_what_a_caller_would_say() {
    served::program();
    for package in ["scripted", "scripted-ai", "scripted-next"] {
        build::plugin(package);
    }
    build::failing();
    let only = std::env::var("EXTMAN_TRUTH_ONLY").unwrap_or_default();
    let chosen: Vec<_> = STORIES.iter().flat_map(|part| part.iter()).collect();
    let chosen: Vec<_> = chosen
        .into_iter()
        .filter(|story| story.steps.iter().any(|step| step.situation.contains(&only)))
        .collect();
    assert!(!chosen.is_empty(), "no situation is called like {only:?}");
    let left = Mutex::new(chosen.iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let differ = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..HOSTS {
            scope.spawn(|| {
                while let Some(story) = next() {
                    let seen = std::panic::catch_unwind(|| tell(story));
                    let seen = seen.unwrap_or_else(|_| Err("it panicked, and said above why".to_owned()));
                    if let Err(seen) = seen {
                        let mut differ = differ.lock().unwrap_or_else(PoisonError::into_inner);
                        differ.push(seen);
                    }
                }
            });
        }
    });
    let differ = differ.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(
        differ.is_empty(),
        "{} of {} stories differ:\n{}",
        differ.len(),
        chosen.len(),
        differ.join("\n")
    );
    if only.is_empty() {
        publish_in("tests/TRUTH.md", "truth", &render());
    }
}

/// A story in a host of its own, step by step, until one differs.
fn tell(story: &Story) -> Result<(), String> {
    let mut stage = Stage::set(story);
    for step in story.steps {
        (step.act)(&mut stage);
        ask::holds(&mut stage, step).map_err(|seen| format!("{}\n{seen}", step.situation))?;
    }
    Ok(())
}

/// The table as Markdown.
fn render() -> String {
    let mut text = String::from(
        "| situation | a caller sees | `extman health NAME`, the history | `extman health`, `/health` | exit code, status | `/readyz` | never told |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for step in STORIES
        .iter()
        .flat_map(|part| part.iter())
        .flat_map(|story| story.steps)
    {
        let told: Vec<_> = step
            .told
            .iter()
            .map(|(name, told)| format!("{name}: {told}"))
            .collect();
        let (exit, status) = ask::mapped(step.word());
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {exit}, {status} | {} | {} |",
            step.situation,
            if step.caller.is_empty() {
                "–"
            } else {
                step.caller
            },
            told.join("<br>"),
            step.overall,
            if step.ready { "ready" } else { "not ready" },
            if step.never.is_empty() { "–" } else { step.never },
        );
    }
    text
}

impl Step {
    /// The word that the sentence begins with.
    fn word(&self) -> &'static str {
        self.overall.split(':').next().unwrap_or_default()
    }
}
