//! A host with the plugins of a story, their scripts, and whoever calls them meanwhile.

use super::ask::extman;
use super::stories::Story;
use extman_model::PluginView;
use extman_tests::served::{Caller, Client, Served, pause};
use extman_tests::{build, until};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a host may take for the checks that a step waits for.
const CHECKS_MAX: Duration = Duration::from_secs(300);

/// A story's host.
pub struct Stage {
    pub served: Served,
    plugin: PathBuf,
    scripts: tempfile::TempDir,
    callers: Vec<Caller>,
    readers: Vec<TcpStream>,
    locks: Vec<File>,
}

impl Stage {
    /// Starts it with the story's plugins, each with a script of its own that says nothing but what the story begins with.
    pub fn set(story: &Story) -> Stage {
        let scripts = tempfile::tempdir().expect("a folder for scripts");
        let [probe, times] = story.times;
        let mut settings = format!("batch_ms = 50\n{}{probe}", story.settings);
        if !story.settings.contains("[vetting]") {
            settings.push_str("[vetting]\nenabled = false\n");
        }
        let (count, lines, does) = story.copies;
        let copies = (1..=count).map(|number| (format!("p{number:03}"), lines, does));
        let named = story
            .instances
            .iter()
            .map(|(name, lines)| ((*name).to_owned(), *lines, "{}"));
        for (number, (name, lines, script)) in named.chain(copies).enumerate() {
            // Equals share the calls; here, each has its place, so that it is known who answers.
            let place = match lines.contains("priority") {
                true => String::new(),
                false => format!("priority = -{number}\n"),
            };
            let file = scripts.path().join(&name);
            std::fs::write(&file, script).expect("a script");
            let _ = write!(
                settings,
                "[[instance]]\nname = {name:?}\nplugin = {:?}\n{place}{times}{lines}\nconfig.script = {file:?}\n",
                story.plugin
            );
        }
        for (name, script) in story.scripts {
            std::fs::write(scripts.path().join(name), script).expect("a script");
        }
        let (failing, once_there) = (build::failing(), scripts.path().join(FAILS));
        let variables = story.mortal.map(|thread| {
            [
                ("LD_PRELOAD", &*failing),
                ("EXTMAN_FAILS", Path::new(thread)),
                ("EXTMAN_FAILS_ONCE_THERE", &*once_there),
            ]
        });
        let served = Served::start(
            &settings,
            variables.as_ref().map_or(&[], |variables| &variables[..]),
        );
        let plugin = build::plugin(story.plugin);
        if !story.is_empty {
            served.put(&plugin);
        }
        Stage {
            served,
            plugin,
            scripts,
            callers: Vec::new(),
            readers: Vec::new(),
            locks: Vec::new(),
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
        let health = || self.client().get("/api/v1/health").unwrap_or_default();
        let checks = || health()["host"]["checks"].as_u64().unwrap_or_default();
        let plugins = health()["plugins"].as_array().map_or(1, Vec::len);
        let enough = checks() + count * plugins as u64;
        let give_up = Instant::now() + CHECKS_MAX;
        while checks() < enough {
            assert!(
                Instant::now() < give_up,
                "not within {CHECKS_MAX:?}: it is checked further"
            );
            pause();
        }
    }

    /// Makes it well and ill again, until the host says that it flaps; it is ill in the end.
    pub fn flap(&self, name: &str, ill: &str) {
        let flaps = || {
            let plugin = self.client().plugin(name).and_then(|plugin| plugin.health);
            plugin.is_some_and(|health| health.judged.flags.flapping)
        };
        while !flaps() {
            self.script(name, "{}");
            self.until_told(name, "up");
            self.script(name, ill);
            self.until_told(name, "down");
        }
    }

    /// A call of this plugin ends the host, which is started again; what the plugin does then is all well.
    pub fn crash_by_call(&mut self, name: &str) {
        self.until_told(name, "up");
        self.script(name, r#"{"call": "aborts"}"#);
        self.calls(1);
        until("the host has ended", || self.served.died().is_some());
        self.script(name, "{}");
        self.served.start_again();
    }

    /// The thread of the host that the story calls mortal dies.
    pub fn kill_thread(&self) {
        std::fs::write(self.scripts.path().join(FAILS), b"").expect("a file");
    }

    /// Another program holds the lock of the history, of a host that was killed and is started again.
    pub fn lock_history(&mut self) {
        self.served.kill();
        let lock = self.served.folder().join("history.db.lock");
        let lock = File::options().create(true).append(true).open(lock);
        let lock = lock.expect("a file");
        lock.try_lock().expect("the lock of a host that is gone");
        self.locks.push(lock);
        self.served.start_again();
    }

    /// It holds it no longer.
    pub fn unlock_history(&mut self) {
        self.locks.clear();
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

    /// What an operator says of an instance's maintenance.
    pub fn maintain(&self, name: &str, what: &str) {
        let said = extman(self, &["maintenance", name, what]);
        assert!(said.status.success(), "{said:?}");
    }

    /// Waits until this version of it runs.
    pub fn until_version(&self, name: &str, version: &str) {
        self.until_runs(name, |plugin| plugin.version.to_string() == version);
    }

    /// Waits until the library that runs is not the one that was loaded as this one.
    pub fn until_loaded_again(&self, name: &str, before: u64) {
        self.until_runs(name, |plugin| plugin.generation.is_some_and(|load| load > before));
    }

    /// Which load of its library runs.
    pub fn load(&self, name: &str) -> u64 {
        let plugin = self.client().plugin(name).expect("it is there");
        plugin.generation.expect("it runs")
    }

    fn until_runs(&self, name: &str, is_it: impl Fn(&PluginView) -> bool) {
        until("the other library runs", || {
            self.client().plugin(name).is_some_and(|plugin| is_it(&plugin))
        });
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
        self.served.put(&self.plugin);
    }

    /// Puts the library of another package in its place, whole at once.
    pub fn update(&self, package: &str) {
        let folder = tempfile::tempdir_in(self.served.folder()).expect("a folder");
        let other = folder.path().join(self.library().file_name().expect("a file"));
        std::fs::copy(build::plugin(package), &other).expect("a copy");
        std::fs::rename(other, self.library()).expect("put in its place");
    }

    /// Puts other bytes of the same version in the library's place.
    pub fn replace(&self) {
        let mut bytes = std::fs::read(&self.plugin).expect("a library");
        bytes.extend_from_slice(b"other bytes");
        let folder = tempfile::tempdir_in(self.served.folder()).expect("a folder");
        let other = folder.path().join(self.library().file_name().expect("a file"));
        std::fs::write(&other, bytes).expect("written");
        std::fs::rename(other, self.library()).expect("put in its place");
    }

    /// Where the plugin's library lies.
    pub fn library(&self) -> PathBuf {
        let name = self.plugin.file_name().expect("a file");
        self.served.folder().join("plugins").join(name)
    }
}

/// The file whose being there kills the mortal thread.
const FAILS: &str = "the thread fails";

/// Who served, or the kind of the failure.
pub fn call(client: &Client) -> Result<String, String> {
    client.served_by("truth.answer", "\"a question\"")
}
