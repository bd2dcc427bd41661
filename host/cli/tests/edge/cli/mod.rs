//! The program, from outside.

mod asks;
mod calls;
mod files;
mod health;
mod hosts;
mod reference;
mod updates;

use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program, with nothing in its environment that a test did not put there.
pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_extman"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.text().matches('\n').count(), 1, "one line: {}", self.text());
        serde_json::from_str(self.text()).unwrap()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(!err.contains("panicked at"), "{err}");
        Ran {
            code: output.status.code().expect("it exits by itself"),
            out: output.stdout,
            err,
        }
    }
}

pub fn run(arguments: &[&str]) -> Ran {
    program(arguments).output().unwrap().into()
}

/// In this directory, which also is where it keeps its own things.
pub fn run_in(dir: &Path, arguments: &[&str]) -> Ran {
    let mut command = program(arguments);
    command
        .current_dir(dir)
        .env("XDG_CACHE_HOME", dir.join("cache"))
        .env("XDG_STATE_HOME", dir.join("state"));
    command.output().unwrap().into()
}

pub fn run_with_input(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = program(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap().into()
}
