//! `extman serve` as a child of the demo.

use super::DemoError;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long the host may take until it listens.
const START: Duration = Duration::from_secs(60);

/// A host that serves.
pub(super) struct Served {
    child: Child,
    url: String,
}

impl Served {
    /// Starts the host and waits until it says where it listens. Its log goes on to this process's standard error.
    pub(super) fn start(program: &Path, config: &Path) -> Result<Self, DemoError> {
        let mut child = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(config)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| DemoError::Host(format!("{} can't be started: {e}", program.display())))?;
        let Some(log) = child.stderr.take() else {
            return Err(DemoError::Host("its log can't be read".to_owned()));
        };
        let (found, address) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if let Some((_, url)) = line.split_once("listening on ") {
                    let _ = found.send(url.trim().to_owned());
                }
                eprintln!("  {line}");
            }
        });
        match address.recv_timeout(START) {
            Ok(url) => Ok(Served { child, url }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(DemoError::Host(
                    "it did not say where it listens; its log is above".to_owned(),
                ))
            }
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks it to end, as an operator would, and waits.
    pub(super) fn stop(mut self) -> Result<(), DemoError> {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            return Err(DemoError::Host("it could not be asked to end".to_owned()));
        }
        self.ended()
    }

    /// Waits until somebody ends it. Ctrl-C reaches both processes; this one goes on until the child has ended.
    pub(super) fn wait(mut self) -> Result<(), DemoError> {
        self.ended()
    }

    fn ended(&mut self) -> Result<(), DemoError> {
        let status = self.child.wait().map_err(|e| DemoError::Host(e.to_string()))?;
        if status.success() {
            Ok(())
        } else {
            Err(DemoError::Host(format!("it ended with {status}")))
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // After `stop` and `wait` there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
