//! A running `extman serve`, as an operator has it: a folder, a process, its log, its API, and its command line.

use extman_tests::{build, until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// The program, with the worker beside it.
pub fn program() -> PathBuf {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let what = ["-p", "extman-cli", "-p", "extman-runtime", "--bins"];
        build::cargo(&xtask::root(), &build::folder("test-plugins"), &what, "extman")
    });
    BUILT.clone()
}

/// Folders of one host.
pub struct Place {
    folder: TempDir,
}

impl Default for Place {
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("plugins")).expect("made");
        Place { folder }
    }
}

impl Place {
    /// For files of the test, on the plugins' file system.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The watched directory.
    pub fn plugins(&self) -> PathBuf {
        self.path().join("plugins")
    }

    /// The configuration, with `more` at its end.
    pub fn config(&self, more: &str) -> PathBuf {
        let path = self.path().join("extman.toml");
        let (plugins, store) = (self.plugins(), self.path().join("store"));
        let (history, state) = (self.path().join("history.db"), self.path().join("state"));
        // New versions are judged where a test is about that; else they take the place of the old ones at once.
        let rollout = match more.contains("rollout") {
            true => "",
            false => "rollout.enabled = false\n",
        };
        let text = format!(
            "intake.discovery.dirs = [{plugins:?}]\nintake.store.dir = {store:?}\nhistory.file = {history:?}\n\
             state.dir = {state:?}\n{rollout}{more}\n"
        );
        std::fs::write(&path, text).expect("written");
        path
    }

    /// Puts a library there as most tools do: written under another name and renamed.
    pub fn put(&self, library: &Path, name: &str) -> PathBuf {
        let (to, partial) = (self.plugins().join(name), self.path().join(format!(".{name}")));
        std::fs::copy(library, &partial).expect("copied");
        std::fs::rename(&partial, &to).expect("renamed");
        to
    }

    /// Starts a host with this much more configuration, and waits until it listens.
    pub fn serve(self, more: &str) -> Served {
        self.serve_with(more, &[])
    }

    /// As [`serve`](Self::serve), with these variables.
    pub fn serve_with(self, more: &str, variables: &[(&str, &Path)]) -> Served {
        let mut command = self.command(more);
        command.envs(variables.iter().copied());
        self.serve_by(command)
    }

    /// Starts a host by this command, whose output is piped, and waits until it listens.
    pub fn serve_by(self, command: Command) -> Served {
        match self.try_serve_by(command) {
            Ok(served) => served,
            Err((status, log)) => panic!("it does not listen, {status}: {log}"),
        }
    }

    /// As [`serve_by`](Self::serve_by), for a host that may end instead: how it ended, and its log.
    pub fn try_serve_by(self, mut command: Command) -> Result<Served, (ExitStatus, String)> {
        let mut child = command.spawn().expect("it starts");
        let log = Arc::new(Mutex::new(String::new()));
        if let Some(stderr) = child.stderr.take() {
            let writing = log.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut log = writing.lock().unwrap_or_else(PoisonError::into_inner);
                    log.push_str(&line);
                    log.push('\n');
                }
            });
        }
        let mut url = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut url).expect("readable");
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = config.timeout_global(Some(until::LIMIT)).build().into();
        let served = Served {
            place: self,
            child,
            log,
            client: Client {
                agent,
                url: url.trim().to_owned(),
            },
        };
        if url.starts_with("http://") {
            Ok(served)
        } else {
            Err(served.ended())
        }
    }

    /// `extman serve`, its output piped.
    pub fn command(&self, more: &str) -> Command {
        let mut command = Command::new(program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(self.config(more));
        command.env_remove("RUST_LOG").env("NO_COLOR", "1");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A running host. It is killed when it is dropped.
pub struct Served {
    pub place: Place,
    child: Child,
    log: Arc<Mutex<String>>,
    pub client: Client,
}

/// Its API.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    pub url: String,
}

/// An answer: its status and its body.
pub type Answer = (u16, Value);

impl Client {
    /// Status of a GET, 0 without an answer.
    pub fn status_of(&self, path: &str) -> u16 {
        let answered = self.agent.get(format!("{}{path}", self.url)).call();
        answered.map_or(0, |response| response.status().as_u16())
    }

    /// Status and text of a GET, 0 without an answer.
    pub fn text_of(&self, path: &str) -> (u16, String) {
        match self.agent.get(format!("{}{path}", self.url)).call() {
            Ok(mut response) => {
                let text = response.body_mut().read_to_string().unwrap_or_default();
                (response.status().as_u16(), text)
            }
            Err(error) => (0, error.to_string()),
        }
    }

    /// `data` of a GET; null if there is none.
    pub fn get(&self, path: &str) -> Value {
        self.envelope(path)["data"].take()
    }

    /// The whole answer; null if there is none.
    pub fn envelope(&self, path: &str) -> Value {
        let answered = self.agent.get(format!("{}{path}", self.url)).call();
        answered
            .and_then(|mut response| response.body_mut().read_json())
            .unwrap_or_default()
    }

    /// A plugin's view; null if there is none.
    pub fn plugin(&self, name: &str) -> Value {
        self.get(&format!("/api/v1/plugins/{name}"))
    }

    pub fn lifecycle(&self, name: &str) -> String {
        self.plugin(name)["lifecycle"]
            .as_str()
            .unwrap_or("none")
            .to_owned()
    }

    /// Loads, unloads or restarts.
    pub fn change(&self, name: &str, word: &str) -> Answer {
        self.post(&format!("/api/v1/plugins/{name}/{word}"), b"{}")
    }

    /// Calls a capability, of one instance or of any (`""`).
    pub fn call(&self, capability: &str, instance: &str, body: &[u8]) -> Answer {
        let query = match instance {
            "" => String::new(),
            name => format!("?instance={name}"),
        };
        self.post(&format!("/api/v1/capabilities/{capability}/invoke{query}"), body)
    }

    pub fn post(&self, path: &str, body: &[u8]) -> Answer {
        let sent = self.agent.post(format!("{}{path}", self.url));
        match sent.content_type("application/json").send(body) {
            Ok(mut response) => {
                let body = response.body_mut().read_json().unwrap_or_default();
                (response.status().as_u16(), body)
            }
            Err(error) => (0, json!({ "no answer": error.to_string() })),
        }
    }

    /// What `ID.ask` answers now; empty without an answer.
    pub fn ask(&self, id: &str) -> String {
        let (_, body) = self.call(&format!("{id}.ask"), "", b"{}");
        body["answer"].as_str().unwrap_or_default().to_owned()
    }

    /// Code and reason of a refused file; null if it is not refused.
    pub fn refused(&self, file: &str) -> Value {
        let status = self.get("/api/v1/status");
        let all = status["refused"].as_array().cloned().unwrap_or_default();
        let named = |refused: &Value| refused["path"].as_str().is_some_and(|path| path.ends_with(file));
        all.into_iter().find(named).unwrap_or_default()
    }
}

impl std::ops::Deref for Served {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Served {
    pub fn log(&self) -> String {
        text(&self.log)
    }

    /// Waits for a condition; the log is shown if it does not come true.
    pub fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let give_up = std::time::Instant::now() + until::LIMIT;
        while !condition() {
            assert!(
                std::time::Instant::now() < give_up,
                "not within {:?}: {what}\n{}\n{}",
                until::LIMIT,
                self.get("/api/v1/plugins"),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn until_lifecycle(&self, name: &str, lifecycle: &str) {
        self.until(&format!("{name} is {lifecycle}"), || {
            self.lifecycle(name) == lifecycle
        });
    }

    /// Waits until it is ready, and nothing is being started any more.
    pub fn until_ready(&self) {
        self.until("it is ready", || self.status_of("/readyz") == 200);
        self.until("all are started", || {
            self.get("/api/v1/status")["instances"]["starting"].is_null()
        });
    }

    pub fn until_log(&self, text: &str) {
        self.until(&format!("the log says {text:?}"), || self.log().contains(text));
    }

    /// How many descriptors the process has.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .expect("the process runs")
            .count()
    }

    /// Whether the process has mapped code that is not named by a file: the sealed copies of plugins, by name.
    pub fn mapped_plugins(&self) -> usize {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.child.id())).unwrap_or_default();
        maps.lines()
            .filter(|line| line.contains("/memfd:") && line.contains(" r-xp "))
            .count()
    }

    /// Waits until it has ended by itself, whoever still holds its log; how.
    pub fn exit(mut self) -> ExitStatus {
        let mut status = None;
        let child = &mut self.child;
        until::until("the host ends", || {
            status = child.try_wait().expect("a child");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Runs the command line against this host.
    pub fn extman(&self, args: &[&str]) -> Output {
        Command::new(program())
            .args(args)
            .env("EXTMAN_URL", &self.url)
            .env("NO_COLOR", "1")
            .output()
            .expect("it runs")
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "the signal is sent");
    }

    /// Waits until it has ended by itself; how, and its whole log.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let mut status = None;
        let what = "the host ends";
        let child = &mut self.child;
        until::until(what, || {
            status = child.try_wait().expect("a child");
            status.is_some()
        });
        let status = status.expect("it has ended");
        let log = self.log.clone();
        // The thread that reads the log holds one too until the pipe is closed.
        until::until("its log is read", || Arc::strong_count(&log) == 2);
        (status, text(&log))
    }

    /// Has it end as an operator does; it must end well.
    pub fn stop(self) {
        drop(self.stopped());
    }

    /// As [`stop`](Self::stop), and gives back what another host can go on with.
    pub fn stopped(mut self) -> Place {
        let place = std::mem::take(&mut self.place);
        self.signal("TERM");
        let (status, log) = self.ended();
        assert_eq!(status.code(), Some(0), "{log}");
        place
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts what can't run, and gives its exit code and what it wrote to standard error.
pub fn fails(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.spawn().expect("it starts");
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("it is piped");
    // If it runs against expectation, it ends with its first line.
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    out.read_line(&mut line).expect("readable");
    if !line.is_empty() {
        let _ = child.kill();
    }
    stderr.read_to_string(&mut said).expect("readable");
    (child.wait().expect("a child").code(), said)
}

fn text(log: &Mutex<String>) -> String {
    log.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
