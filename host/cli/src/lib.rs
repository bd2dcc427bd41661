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
mod check;
mod deep;
mod duration;
mod fault;
mod health;
mod history;
mod inspect;
mod json_problem;
mod list;
mod manifest;
mod moment;
mod remote;
mod screen;
mod serve;
mod session;
mod show;
mod sse;
mod status;
mod store;
mod text;
mod uptime;
mod watch;

pub use backend::{Backend, CheckArgs, Logs, NotChecked, NotStarted, OneShot, Place, ServeArgs};

use args::{Args, Sub};
use clap::Parser;
use fault::Fault;
use screen::{Outcome, Screen};
use std::fs::File;
use std::process::ExitCode;

/// Runs the program with the process's arguments. Answers go to `out`: standard output itself may be somebody else's by then.
pub fn main(backend: &dyn Backend, out: File) -> ExitCode {
    screen::answer_to(out);
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(refused) if refused.use_stderr() => {
            // Nobody hears if standard error is closed.
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
    let outcome = run(args.command, backend, &mut screen);
    screen.finish(word, outcome)
}

fn run(command: Sub, backend: &dyn Backend, screen: &mut Screen) -> Result<Outcome, Fault> {
    match command {
        Sub::Serve(args) => serve::run(args, backend),
        Sub::List(args) => list::run(&args, backend, screen),
        Sub::Show(args) => show::run(&args, backend, screen),
        Sub::Status(args) => status::run(&args, backend, screen),
        Sub::Health(args) => health::run(args, backend, screen),
        Sub::Probe(args) => health::probe(args, backend, screen),
        Sub::History(args) => history::run(args, backend, screen),
        Sub::Uptime(args) => uptime::run(&args, backend, screen),
        Sub::Analyse(args) => analyse::run(args, backend, screen),
        Sub::Capabilities(args) => capabilities::run(&args, backend, screen),
        Sub::Call(args) => call::run(args, backend, screen),
        Sub::Load(args) => change::run(change::Change::Load, args, backend, screen),
        Sub::Unload(args) => change::run(change::Change::Unload, args, backend, screen),
        Sub::Restart(args) => change::run(change::Change::Restart, args, backend, screen),
        Sub::Inspect(args) => inspect::run(&args, screen),
        Sub::Check(args) => check::run(args, backend, screen),
        Sub::Manifest(args) => manifest::run(&args),
        Sub::Store(args) => store::run(args, backend, screen),
    }
}
