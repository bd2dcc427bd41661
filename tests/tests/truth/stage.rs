//! A host with the plugins of a story, their scripts, and whoever calls them meanwhile.

use super::stories::Story;
use extman_tests::served::{Caller, Client, Served, pause};
use extman_tests::{build, until};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// Short times, since everything is waited for; long enough for a machine that is busy.
const PROBE: &str = "[probe]\ninterval_ms = 200\nrecheck_ms = 100\nbackoff_min_ms = 200\nbackoff_max_ms = 400\n\
                     timeout_min_ms = 700\ntimeout_ms = 700\nwindow_ms = 1500\nstale_intervals = 20\n";

/// A story's host.
pub struct Stage {
    pub served: Served,
    scripts: tempfile::TempDir,
    callers: Vec<Caller>,
    readers: Vec<TcpStream>,
}

impl Stage {
    /// Starts it with the story's plugins, each with a script of its own that says nothing but what the story begins with.
    pub fn set(story: &Story) -> Stage {
        let scripts = tempfile::tempdir().expect("a folder for scripts");
        let mut settings = format!("batch_ms = 50\n{}{PROBE}", story.settings);
        if !story.settings.contains("[vetting]") {
            settings.push_str("[vetting]\nenabled = false\n");
        }
        let (count, does) = story.copies;
        let copies = (1..=count).map(|number| (format!("p{number:03}"), "probe.interval_ms = 1000", does));
        let named = story
            .instances
            .iter()
            .map(|(name, lines)| ((*name).to_owned(), *lines, "{}"));
        for (name, lines, script) in named.chain(copies) {
            let file = scripts.path().join(&name);
            std::fs::write(&file, script).expect("a script");
            let _ = write!(
                settings,
                "[[instance]]\nname = {name:?}\nplugin = \"scripted\"\ncall_timeout_ms = 1000\nwedge_after_ms = 1500\n\
                 start_budget_ms = 20000\nstop_budget_ms = 1000\n{lines}\nconfig.script = {file:?}\n"
            );
        }
        for (name, script) in story.scripts {
            std::fs::write(scripts.path().join(name), script).expect("a script");
        }
        let served = Served::start(&settings, &[]);
        if !story.is_empty {
            served.put(&build::plugin("scripted"));
        }
        Stage {
            served,
            scripts,
            callers: Vec::new(),
            readers: Vec::new(),
        }
    }

    /// From here on this is what a plugin does.
    pub fn script(&self, name: &str, script: &str) {
        let (new, file) = (self.scripts.path().join("new"), self.scripts.path().join(name));
        std::fs::write(&new, script).expect("a script");
        std::fs::rename(new, file).expect("the script is there whole");
    }

    pub fn client(&self) -> &Client {
        self.served.client()
    }

    /// So many calls, one after the other; whether they fail is what the host is to see.
    pub fn calls(&self, count: usize) {
        for _ in 0..count {
            let _ = call(self.client());
        }
    }

    /// Calls all the while, by one caller more.
    pub fn called(&mut self) {
        self.callers.push(Caller::start({
            let client = self.client().clone();
            move || drop(call(&client))
        }));
    }

    /// Nobody calls any more.
    pub fn quiet(&mut self) {
        self.callers.clear();
    }

    /// Waits until the host has checked every plugin so many times more.
    pub fn checks(&self, count: u64) {
        let told = |path: &str| {
            self.client()
                .get("/api/v1/health")
                .and_then(|told| told.pointer(path)?.as_u64())
        };
        let checks = || told("/host/checks").unwrap_or_default();
        let plugins = self
            .client()
            .get("/api/v1/health")
            .map_or(1, |told| told["plugins"].as_array().map_or(1, Vec::len));
        let enough = checks() + count * plugins as u64;
        until("it is checked further", || checks() >= enough);
    }

    /// Has the plugin tell the host of its health without being asked.
    pub fn push(&self, word: &str) {
        self.client()
            .invoke("truth.push", &format!("{word:?}"))
            .expect("the plugin pushes");
    }

    /// What an operator does to an instance.
    pub fn change(&self, change: &str, name: &str) {
        self.client()
            .post(&format!("/api/v1/plugins/{name}/{change}"), "{}")
            .expect("the host does it");
    }

    /// Waits until the one plugin is up.
    pub fn up(&self) -> &Self {
        self.until_told("one", "up");
        self
    }

    /// Waits for a word about a plugin.
    pub fn until_told(&self, name: &str, word: &str) {
        until("the host tells of it", || {
            let plugin = self.client().plugin(name).and_then(|plugin| plugin.health);
            plugin.is_some_and(|health| health.judged.health.as_str() == word)
        });
    }

    /// The whole host stands still for so many seconds.
    pub fn stop_for(&self, seconds: u64) {
        let pid = rustix::process::Pid::from_raw(self.served.pid() as i32).expect("a process");
        let signal = |signal| rustix::process::kill_process(pid, signal).expect("it is there");
        signal(rustix::process::Signal::STOP);
        // Nothing else tells when a stopped process has been stopped for long enough.
        std::thread::sleep(Duration::from_secs(seconds));
        signal(rustix::process::Signal::CONT);
    }

    /// Asks for a stream and reads none of it, until the stage is left.
    pub fn read_slowly(&mut self) {
        let address = self.client().url().trim_start_matches("http://").to_owned();
        let mut reader = TcpStream::connect(&address).expect("a connection");
        let body = "\"a question\"";
        let request = format!(
            "POST /api/v1/capabilities/truth.answer/invoke HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        reader.write_all(request.as_bytes()).expect("sent");
        self.readers.push(reader);
    }

    /// Puts the plugin's library back.
    pub fn put(&self) {
        self.served.put(&build::plugin("scripted"));
    }

    /// Puts other bytes of the same version in the library's place.
    pub fn replace(&self) {
        let mut bytes = std::fs::read(build::plugin("scripted")).expect("a library");
        bytes.extend_from_slice(b"other bytes");
        let folder = tempfile::tempdir_in(self.served.folder()).expect("a folder");
        let other = folder.path().join(self.library().file_name().expect("a file"));
        std::fs::write(&other, bytes).expect("written");
        std::fs::rename(other, self.library()).expect("put in its place");
    }

    /// Where the plugin's library lies.
    pub fn library(&self) -> PathBuf {
        let name = build::plugin("scripted");
        let name = name.file_name().expect("a file");
        self.served.folder().join("plugins").join(name)
    }
}

/// Who served, or the kind of the failure.
pub fn call(client: &Client) -> Result<String, String> {
    client.served_by("truth.answer", "\"a question\"")
}
