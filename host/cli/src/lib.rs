//! The command line: an adapter between arguments and [`Control`](extman_model::control::Control), with one file a subcommand.
//!
//! ```text
//! args → a session with a host (running elsewhere: remote; in this process: one shot) → command → screen
//! ```
//!
//! What the program does that needs a host of its own comes from a [`Backend`]. Nothing here knows of HTTP's server, of
//! plugins' states or of routing.
#![forbid(unsafe_code)]

mod analyse;
mod args;
mod backend;
mod bars;
mod call;
mod capabilities;
mod change;
mod completions;
mod config;
mod config_of;
mod deep;
mod deps;
mod duration;
mod events;
mod fault;
mod grid;
mod health;
mod health_one;
mod health_table;
mod history;
mod inspect;
mod json_problem;
mod list;
mod lock;
mod maintenance;
mod manifest;
mod output;
mod remote;
mod rollout;
mod rollout_watch;
mod screen;
mod serve;
mod session;
mod several;
mod show;
mod sse;
mod status;
mod store;
mod text;
mod update;
mod uptime;
mod vet;
mod wait;
mod watch;

pub use backend::{
    Backend, CheckArgs, ConfigChecked, HostSources, Locking, Logs, NotChecked, NotStarted, OneShot, Resolved,
    ServeArgs,
};
pub use config::{configuration_places, found_configuration};

use args::{Args, Sub};
use clap::Parser;
use extman_model::control::Command;
use fault::Fault;
use screen::{Outcome, Screen};
use std::fs::File;
use std::process::ExitCode;

/// Runs the program with the process's arguments. Answers go to `out`: standard output itself may be somebody else's by then.
pub fn main(backend: &dyn Backend, out: File) -> ExitCode {
    screen::answer_to(out);
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(refused) if refused.use_stderr() && wants_json(std::env::args_os()) => {
            let text = refused.render().to_string();
            let text = text
                .strip_prefix("error: ")
                .unwrap_or(&text)
                .trim_end()
                .to_owned();
            return Screen::of_process(true).finish("usage", Err(Fault::usage(text)));
        }
        Err(refused) if refused.use_stderr() => {
            // A closed standard error can not be reported anywhere.
            let _ = refused.print();
            return ExitCode::from(u8::try_from(refused.exit_code()).unwrap_or(2));
        }
        Err(help) => {
            let mut screen = Screen::of_process(false);
            let text = help.render();
            let text = if screen.look.colour {
                text.ansi().to_string()
            } else {
                text.to_string()
            };
            screen.write(text.as_bytes());
            return screen.finish("help", Ok(Outcome::Written));
        }
    };
    let mut screen = Screen::of_process(args.json);
    let word = args.command.word();
    let outcome = args
        .for_host()
        .and_then(|command| run(command, backend, &mut screen));
    screen.finish(word, outcome)
}

/// Whether the answer is to be JSON, of arguments that can't be used.
fn wants_json(arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let mut before = std::ffi::OsString::new();
    for argument in arguments.skip(1).take_while(|argument| argument != "--") {
        let of_output = before == "-o" || before == "--output";
        if argument == "--json"
            || argument == "-ojson"
            || argument == "--output=json"
            || of_output && argument == "json"
        {
            return true;
        }
        before = argument;
    }
    false
}

fn run(command: Sub, backend: &dyn Backend, screen: &mut Screen) -> Result<Outcome, Fault> {
    match command {
        Sub::Serve(args) => serve::run(args, backend),
        Sub::List(args) => list::run(args, backend, screen),
        Sub::Show(args) => change::run(|name| Command::Plugin { name }, &args, backend, screen),
        Sub::Status(args) => status::run(&args, backend, screen),
        Sub::Health(args) => health::run(args, backend, screen),
        Sub::Probe(args) => health::probe(args, backend, screen),
        Sub::History(args) => history::run(args, backend, screen),
        Sub::Uptime(args) => uptime::run(&args, backend, screen),
        Sub::Analyse(args) => analyse::run(args, backend, screen),
        Sub::Capabilities(args) => capabilities::run(&args, backend, screen),
        Sub::Call(args) => call::run(args, backend, screen),
        Sub::Load(args) => change::run(|name| Command::Load { name }, &args, backend, screen),
        Sub::Unload(change::WithDependents { cascade, named }) => {
            change::run(|name| Command::Unload { name, cascade }, &named, backend, screen)
        }
        Sub::Restart(args) => change::run(|name| Command::Restart { name }, &args, backend, screen),
        Sub::Enable(args) => change::run(|name| Command::Enable { name }, &args, backend, screen),
        Sub::Disable(change::WithDependents { cascade, named }) => {
            change::run(|name| Command::Disable { name, cascade }, &named, backend, screen)
        }
        Sub::Update(args) => update::run(args, backend, screen),
        Sub::Rollback(args) => change::run(|name| Command::RollBack { name }, &args, backend, screen),
        Sub::Rollout(args) => rollout::run(&args, backend, screen),
        Sub::Maintenance(args) => maintenance::run(args, backend, screen),
        Sub::Inspect(args) => inspect::run(&args, screen),
        Sub::Vet(args) => vet::run(args, backend, screen),
        Sub::Wait(args) => wait::run(&args, backend),
        Sub::Events(args) => events::run(&args, backend, screen),
        Sub::Config(args) => config::run(args, backend, screen),
        Sub::Completions(args) => completions::run(&args, screen),
        Sub::Manifest(args) => manifest::run(&args),
        Sub::Deps(args) => deps::run(&args, backend, screen),
        Sub::Lock(args) => lock::run(args, backend, screen),
        Sub::Store(args) => store::run(args, backend, screen),
    }
}

#[cfg(test)]
mod tests {
    use super::wants_json;

    #[test]
    fn json_is_wanted_where_it_is_said_and_not_where_it_is_an_input() {
        let wants = |line: &str| wants_json(line.split(' ').map(Into::into));
        for line in [
            "extman --json lsit",
            "extman list -o json --x",
            "extman list --output=json --x",
            "extman x -ojson",
        ] {
            assert!(wants(line), "{line}");
        }
        for line in [
            "extman lsit",
            "extman list -o wide",
            "extman call json",
            "extman call -- --json",
        ] {
            assert!(!wants(line), "{line}");
        }
    }
}
