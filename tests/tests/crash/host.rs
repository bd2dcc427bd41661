//! Hosts that are to start fast and to end in any way: the real program with a folder, no vetting and no history.

use extman_tests::{build, served};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a place is made with.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// The configuration of the instance `one` of `fault-crashes`, as TOML.
    pub config: &'a str,
    /// `[crash]`.
    pub crash: &'a str,
}

impl Settings<'_> {
    pub const IGNORING: &'static str = "policy = \"ignore\"";
}

/// Folders that hosts share, one after the other or at a time.
pub struct Place {
    folder: TempDir,
    starts: usize,
    /// Whether hosts write down how plugins are.
    pub history: bool,
}

impl Place {
    /// With `fault-crashes`, and `fault-echo` as its innocent neighbour.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).expect("made");
        for name in ["crashes", "echo"] {
            let library = build::c_fault(name);
            std::fs::copy(&library, plugins.join(library.file_name().expect("a file"))).expect("copied");
        }
        Place {
            folder,
            starts: 0,
            history: false,
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the journals and the ledger are.
    pub fn journals(&self) -> PathBuf {
        self.path().join("state/crash")
    }

    /// Starts a host, whose log is its own.
    pub fn launch(&mut self, settings: Settings<'_>) -> Host {
        self.launch_with(settings, &[])
    }

    /// As [`launch`](Self::launch), with these variables.
    pub fn launch_with(&mut self, settings: Settings<'_>, variables: &[(&str, &Path)]) -> Host {
        self.starts += 1;
        let at = |name: &str| self.path().join(name);
        let (config, log) = (
            at(&format!("extman-{}.toml", self.starts)),
            at(&format!("log-{}", self.starts)),
        );
        std::fs::write(&config, self.text(settings)).expect("written");
        // Without core files: writing one takes longer than anything that is waited for here.
        let child = Command::new("sh")
            .args(["-c", "ulimit -c 0; exec \"$0\" serve --config \"$1\""])
            .arg(served::program())
            .arg(&config)
            .envs(variables.iter().copied())
            .env_remove("RUST_LOG")
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("it starts");
        Host {
            child,
            config,
            log,
            url: String::new(),
        }
    }

    /// Has a host that runs read these.
    pub fn reconfigure(&self, host: &Host, settings: Settings<'_>) {
        let whole = self.path().join("whole.toml");
        std::fs::write(&whole, self.text(settings)).expect("written");
        std::fs::rename(whole, &host.config).expect("renamed");
    }

    fn text(&self, settings: Settings<'_>) -> String {
        let at = |name: &str| self.path().join(name);
        format!(
            "intake.discovery.dirs = [{:?}]\nintake.discovery.settle_ms = 0\nintake.store.dir = {:?}\nstate.dir = {:?}\n\
             history.enabled = {}\nhistory.file = {:?}\nvetting.enabled = false\nhttp.listen = \"127.0.0.1:0\"\nshutdown.budget_ms = 5000\n\
             [crash]\n{}\n[[instance]]\nplugin = \"fault-crashes\"\nname = \"one\"\nconfig = {}\n",
            at("plugins"),
            at("store"),
            at("state"),
            self.history,
            at("history.db"),
            settings.crash,
            settings.config
        )
    }
}

/// A host. It is killed when it is dropped.
pub struct Host {
    child: Child,
    config: PathBuf,
    log: PathBuf,
    url: String,
}

/// A test that meets it has failed.
const LIMIT: Duration = Duration::from_secs(60);

impl Host {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it listens. `false` if it ended before.
    pub fn listens(&mut self) -> bool {
        let out = self.child.stdout.take().expect("asked once");
        let mut line = String::new();
        let read = BufReader::new(out).read_line(&mut line);
        self.url = line.trim().to_owned();
        read.is_ok_and(|bytes| bytes > 0)
    }

    fn agent() -> ureq::Agent {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        config.timeout_global(Some(LIMIT)).build().into()
    }

    /// `data` of a GET; null without an answer.
    pub fn get(&self, path: &str) -> Value {
        let answered = Self::agent().get(format!("{}{path}", self.url)).call();
        let body = answered.and_then(|mut response| response.body_mut().read_json::<Value>());
        body.map(|mut body| body["data"].take()).unwrap_or_default()
    }

    /// Calls an instance; nothing without an answer.
    pub fn call(&self, instance: &str) -> Option<u16> {
        let url = format!(
            "{}/api/v1/capabilities/c.echo/invoke?instance={instance}",
            self.url
        );
        let sent = Self::agent()
            .post(url)
            .content_type("application/json")
            .send(b"{}");
        sent.ok().map(|response| response.status().as_u16())
    }

    /// Waits for a condition; the log is shown if it does not come true.
    pub fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let give_up = Instant::now() + LIMIT;
        while !condition() {
            let log = self.log();
            assert!(Instant::now() < give_up, "not within {LIMIT:?}: {what}\n{log}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until an instance is there.
    pub fn until_lifecycle(&self, name: &str, lifecycle: &str) {
        self.until(&format!("{name} is {lifecycle}"), || {
            self.plugin(name)["lifecycle"] == lifecycle
        });
    }

    pub fn plugin(&self, name: &str) -> Value {
        self.get(&format!("/api/v1/plugins/{name}"))
    }

    pub fn status(&self) -> Value {
        self.get("/api/v1/status")
    }

    /// Calls `one` until the host is gone.
    pub fn call_until_gone(&self) {
        self.until("it ends in a call", || self.call("one").is_none());
    }

    /// What the command line says of it.
    pub fn extman(&self, arguments: &[&str]) -> String {
        let output = Command::new(served::program())
            .args(arguments)
            .env("EXTMAN_URL", &self.url)
            .env("NO_COLOR", "1")
            .env("COLUMNS", "400")
            .output()
            .expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    pub fn send(&self, signal: Signal) {
        // Its number is its own until it is waited for.
        let pid = Pid::from_raw(self.pid() as i32).expect("a number");
        kill_process(pid, signal).expect("it is there");
    }

    /// Has the plugin that calls others call `one`, until the host is gone.
    pub fn relay_until_gone(&self) {
        let url = format!("{}/api/v1/capabilities/test.relay/invoke", self.url);
        let calls = || {
            let sent = Self::agent().post(&url).content_type("text/plain");
            sent.send(b"call c.echo\n{}").is_err()
        };
        self.until("it ends in a call of a call", calls);
    }

    /// Waits until it has ended; how.
    pub fn ended(&mut self) -> ExitStatus {
        let give_up = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < give_up, "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Has it end as an operator does.
    pub fn stop(&mut self) {
        self.send(Signal::TERM);
        let status = self.ended();
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
