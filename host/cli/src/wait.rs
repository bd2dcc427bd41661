//! `extman wait`: for scripts that go on once a plugin is there.

use super::args::Target;
use super::backend::Backend;
use super::duration;
use super::fault::{Exit, Fault};
use super::screen::{Outcome, Rendered};
use super::session;
use extman_model::control::Command;
use extman_model::{Health, Lifecycle, PluginView};
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 it is so, 1 it was not in time, or will not be by itself, 3 no host answered all the time"
)]
pub(crate) struct Wait {
    /// The plugin's name; it may not be there yet, as may the host
    name: String,
    /// What to wait for
    #[arg(long = "for", value_enum, value_name = "WHAT")]
    goal: Goal,
    /// For how long, such as 500ms, 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "60s")]
    timeout: Duration,
    #[arg(skip)]
    pub(super) target: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Goal {
    /// It takes calls
    Running,
    /// It takes calls, and its health is up
    Up,
}

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) fn run(args: &Wait, backend: &dyn Backend) -> Result<Outcome, Fault> {
    let began = Instant::now();
    loop {
        let command = Command::Plugin {
            name: args.name.clone(),
        };
        let seen = session::with(&args.target, backend, |host| host.ask::<PluginView>(command));
        let not_yet = match seen.map(|(plugin, _)| plugin) {
            Ok(plugin) if args.goal.is_reached(&plugin) => {
                let waited = duration::lasted(began.elapsed().as_millis() as u64);
                let text = format!("{} is {}, after {waited}", plugin.name, args.goal.word());
                return Rendered::new(&plugin, text).map(Outcome::Rendered);
            }
            Ok(plugin) if plugin.lifecycle == Lifecycle::Quarantined => {
                let next = format!("mend the cause, then `extman load {}`", args.name);
                return Err(args.missed("will not start by itself", &how(&plugin)).next(next));
            }
            Ok(plugin) => args.missed(&args.late(), &how(&plugin)),
            // Nobody knows it, or it is configured and its file is not there.
            Err(fault) if matches!(fault.failure.kind.as_str(), "not_found" | "conflict") => {
                args.missed(&args.late(), &fault.failure.text)
            }
            // A host that is starting does not answer yet.
            Err(fault) if matches!(fault.exit, Exit::NoHost) || fault.failure.retryable == Some(true) => {
                fault
            }
            Err(fault) => return Err(fault),
        };
        if began.elapsed() >= args.timeout {
            return Err(not_yet);
        }
        std::thread::sleep(LOOK_EVERY.min(args.timeout.saturating_sub(began.elapsed())));
    }
}

impl Wait {
    fn late(&self) -> String {
        let waited = duration::lasted(self.timeout.as_millis() as u64);
        format!("is not {} after {waited}", self.goal.word())
    }

    fn missed(&self, what: &str, why: &str) -> Fault {
        Fault::failed("timeout", format!("{} {what}: {why}", self.name))
    }
}

impl Goal {
    fn word(self) -> &'static str {
        match self {
            Goal::Running => "running",
            Goal::Up => "up",
        }
    }

    fn is_reached(self, plugin: &PluginView) -> bool {
        let running = plugin.lifecycle == Lifecycle::Running;
        let health = plugin.health.as_ref().map(|health| health.judged.health);
        running && (self == Goal::Running || health == Some(Health::Up))
    }
}

/// Where it is, and why.
fn how(plugin: &PluginView) -> String {
    let mut text = format!("it is {}", plugin.lifecycle.as_str());
    match (&plugin.cause, &plugin.health) {
        (Some(cause), _) if plugin.lifecycle != Lifecycle::Running => text.push_str(&format!(": {cause}")),
        (_, Some(health)) => {
            let word = health.judged.health.as_str();
            text.push_str(&format!(", its health is {word}: {}", health.reason));
        }
        _ => {}
    }
    text
}
