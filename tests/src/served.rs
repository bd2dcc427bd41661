//! The real program serving in a process of its own, as an operator would start it: a folder, a configuration, and HTTP. What is
//! asked of it and what that means is the tests' own business.

use crate::build;
use extman_model::{Digest, VettingReport};
use serde_json::Value;
use std::io::BufRead;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A host that serves until it is dropped.
pub struct Served {
    child: Child,
    ended: Option<ExitStatus>,
    folder: tempfile::TempDir,
    client: Client,
    variables: Vec<(String, PathBuf)>,
}

impl Served {
    /// Starts it without a plugin, with `settings` (TOML) beside those of the folder and the address, and with these variables. What
    /// stands in them before the first table is the history's. What has failed stays so, for who looks at what came of it.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(settings: &str, variables: &[(&str, &Path)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("plugins")).expect("a folder for plugins");
        let config = format!(
            "[intake.discovery]\ndirs = [{:?}]\nsettle_ms = 10\n[intake.store]\ndir = {:?}\n[intake.watch]\n\
             debounce_ms = 10\n[http]\nlisten = \"127.0.0.1:0\"\n[supervision]\nrestart = \"never\"\n[rollout]\nenabled = false\n[state]\ndir = {:?}\n[history]\nfile = {:?}\n{settings}",
            at("plugins"),
            at("store"),
            at("state"),
            at("history.db")
        );
        std::fs::write(at("extman.toml"), config).expect("a configuration");
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let variables: Vec<_> = variables.collect();
        let (child, client) = launch(folder.path(), &variables);
        Served {
            child,
            ended: None,
            client,
            folder,
            variables,
        }
    }

    /// Kills it where it stands (SIGKILL).
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts one that was killed again in its folder.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_again(&mut self) {
        (self.child, self.client) = launch(self.folder.path(), &self.variables);
        self.ended = None;
    }

    /// Both, one after the other.
    ///
    /// # Panics
    /// It does not start.
    pub fn kill_and_start(&mut self) {
        self.kill();
        self.start_again();
    }

    /// A folder of its own; its plugins are in `plugins`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a copy of a library into the folder of plugins, whole at once, under the same name.
    ///
    /// # Panics
    /// It can't be copied.
    pub fn put(&self, library: &Path) {
        let name = library.file_name().expect("a file");
        let (unfinished, whole) = (self.folder().join(name), self.folder().join("plugins").join(name));
        std::fs::copy(library, &unfinished).expect("a copy");
        std::fs::rename(unfinished, whole).expect("renamed");
    }

    /// Whom to ask.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has: `SIGSEGV`, `exit 3`.
    pub fn died(&mut self) -> Option<String> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child");
        }
        self.ended.map(end)
    }

    /// What vetting saw of a digest, if it has been vetted.
    pub fn vetted(&self, digest: Digest) -> Option<VettingReport> {
        let results = std::fs::read_dir(self.folder().join("store/vetting")).ok()?;
        let named = |path: &PathBuf| {
            path.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(&digest.to_string()))
        };
        let path = results.flatten().map(|entry| entry.path()).find(named)?;
        let mut record: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        serde_json::from_value(record["report"].take()).ok()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }
}

fn launch(folder: &Path, variables: &[(String, PathBuf)]) -> (Child, Client) {
    let at = |name: &str| folder.join(name);
    let log = std::fs::File::options().create(true).append(true).open(at("log"));
    // Without core files: writing one takes longer than anything that is waited for here.
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -c 0; exec \"$0\" serve --config \"$1\""])
        .arg(program())
        .arg(at("extman.toml"))
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(log.expect("a log"))
        .spawn()
        .expect("the program can be started");
    let mut url = String::new();
    let out = child.stdout.take().expect("its output is piped");
    let read = std::io::BufReader::new(out).read_line(&mut url);
    let log = std::fs::read_to_string(at("log")).unwrap_or_default();
    if !read.is_ok_and(|bytes| bytes > 0) {
        let _ = child.kill();
        panic!("{:?}: {log}", child.wait());
    }
    (child, Client::new(url.trim()))
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks one host.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    url: String,
}

impl Client {
    fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        Client {
            agent: config.timeout_global(Some(TIMEOUT)).build().into(),
            url: url.to_owned(),
        }
    }

    /// The `data` of a GET; `None` if there is none, or no connection.
    pub fn get(&self, path: &str) -> Option<Value> {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call().ok()?;
        let mut envelope: Value = response.body_mut().read_json().ok()?;
        (envelope["ok"] == true).then(|| envelope["data"].take())
    }

    /// The whole body of a GET, whatever its status; `None` without a connection.
    pub fn document(&self, path: &str) -> Option<Value> {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call().ok()?;
        response.body_mut().read_json().ok()
    }

    /// One instance; `None` if there is none, or no connection.
    pub fn plugin(&self, name: &str) -> Option<extman_model::PluginView> {
        let view = self.get(&format!("/api/v1/plugins/{name}"))?;
        Some(serde_json::from_value(view).expect("a view of a plugin"))
    }

    /// How the host is; `None` without a connection.
    pub fn status(&self) -> Option<extman_model::StatusView> {
        let view = self.get("/api/v1/status")?;
        Some(serde_json::from_value(view).expect("a view of the status"))
    }

    /// A POST with JSON: the answer, the failure's kind, or [`NO_CONNECTION`].
    ///
    /// # Errors
    /// There was a failure, or no connection.
    pub fn post(&self, path: &str, body: &str) -> Result<Value, String> {
        let gone = |_| NO_CONNECTION.to_owned();
        let request = self.agent.post(format!("{}{path}", self.url));
        let sent = request.content_type("application/json").send(body);
        let mut response = sent.map_err(gone)?;
        let answer: Value = response.body_mut().read_json().map_err(gone)?;
        match answer["error"]["kind"].as_str() {
            Some(kind) if answer["ok"] == false => Err(kind.to_owned()),
            _ => Ok(answer),
        }
    }

    /// The status and the text of a GET; `None` without a connection.
    pub fn text(&self, path: &str) -> Option<(u16, String)> {
        let mut response = self.agent.get(format!("{}{path}", self.url)).call().ok()?;
        let text = response.body_mut().read_to_string().ok()?;
        Some((response.status().as_u16(), text))
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Calls a capability, for who wants to know who served.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub fn served_by(&self, capability: &str, body: &str) -> Result<String, String> {
        let gone = |_| NO_CONNECTION.to_owned();
        let url = format!("{}/api/v1/capabilities/{capability}/invoke", self.url);
        let request = self.agent.post(url).content_type("application/json");
        let mut response = request.send(body).map_err(gone)?;
        if response.status().is_success() {
            let name = response.headers().get("extman-served-by");
            let name = name.and_then(|name| name.to_str().ok());
            return Ok(name.unwrap_or_default().to_owned());
        }
        let answer: Value = response.body_mut().read_json().map_err(gone)?;
        Err(answer["error"]["kind"].as_str().unwrap_or_default().to_owned())
    }

    /// Calls a capability.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub fn invoke(&self, capability: &str, body: &str) -> Result<Value, String> {
        self.post(&format!("/api/v1/capabilities/{capability}/invoke"), body)
    }
}

/// Longer than any unload takes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What [`Client::post`] says when there was no connection.
pub const NO_CONNECTION: &str = "no connection";

/// Has the program and its worker built, side by side.
///
/// # Panics
/// They can't be built.
pub fn program() -> PathBuf {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().expect("an earlier test built it");
    let program = built.get_or_insert_with(|| {
        build::worker();
        let what = ["-p", "extman-cli", "--bin", "extman"];
        build::cargo(&xtask::root(), &build::folder("test-plugins"), &what, "extman")
    });
    program.clone()
}

/// How a process ended, in two words at most.
pub fn end(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(4)) => "SIGILL".to_owned(),
        (None, Some(5)) => "SIGTRAP".to_owned(),
        (None, Some(6)) => "SIGABRT".to_owned(),
        (None, Some(7)) => "SIGBUS".to_owned(),
        (None, Some(8)) => "SIGFPE".to_owned(),
        (None, Some(11)) => "SIGSEGV".to_owned(),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

/// Waits a moment between two looks at something that another process does.
pub fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Calls all the while, until it is dropped.
pub struct Caller {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Caller {
    /// Does this again and again, whatever comes of it, with a moment between.
    pub fn start(mut call: impl FnMut() + Send + 'static) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                call();
                pause();
            }
        });
        Caller {
            end,
            thread: Some(thread),
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
