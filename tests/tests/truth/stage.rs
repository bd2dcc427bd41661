//! A host with the plugins of a story, their scripts, and whoever calls them meanwhile.

use super::stories::Story;
use extman_tests::build;
use extman_tests::served::{Client, Served, pause};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Short times, since everything is waited for; long enough for a machine that is busy.
const PROBE: &str = "[probe]\ninterval_ms = 200\nrecheck_ms = 100\nbackoff_min_ms = 200\nbackoff_max_ms = 400\n\
                     timeout_min_ms = 700\ntimeout_ms = 700\nwindow_ms = 1500\nstale_intervals = 20\n";

/// A story's host.
pub struct Stage {
    pub served: Served,
    scripts: tempfile::TempDir,
    callers: Vec<Caller>,
}

impl Stage {
    /// Starts it with the story's plugins, each with a script of its own that says nothing but what the story begins with.
    pub fn set(story: &Story) -> Stage {
        let scripts = tempfile::tempdir().expect("a folder for scripts");
        let mut settings = format!("batch_ms = 50\n{}{PROBE}", story.settings);
        if !story.settings.contains("[vetting]") {
            settings.push_str("[vetting]\nenabled = false\n");
        }
        for (name, lines) in story.instances {
            let file = scripts.path().join(name);
            std::fs::write(&file, "{}").expect("a script");
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
        self.callers.push(Caller::start(self.client().clone()));
    }

    /// Nobody calls any more.
    pub fn quiet(&mut self) {
        self.callers.clear();
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

/// Calls all the while.
struct Caller {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Caller {
    fn start(client: Client) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                let _ = call(&client);
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
