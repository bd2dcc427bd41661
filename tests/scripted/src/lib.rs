//! A plugin whose truth is known, for tests of the host: it does what its script says. The script is a file that is read anew at each check
//! and each call, so a test changes a plugin's truth while it runs.

use extman_plugin_api::prelude::*;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a script says; what it leaves out is well.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Script {
    /// What checks answer: `up` if it is left out.
    says: Option<Word>,
    /// The text beside that.
    text: String,
    /// Milliseconds that a check takes.
    check_ms: u64,
    /// What befalls a check instead of an answer.
    check: Option<Mishap>,
    /// A part of the check: its name, and its health.
    part: Option<(String, Word)>,
    /// The state of the connection that it tells of.
    connected: Option<bool>,
    /// The limit of its heap that it tells, in MiB; none if it is left out.
    heap_limit_mib: u64,
    /// MiB that it keeps from a check on.
    heap_mib: usize,
    /// Milliseconds that a call takes.
    call_ms: u64,
    /// What befalls calls.
    call: Option<Mishap>,
    /// Of so many calls one meets that mishap; each of them if it is left out.
    one_in: Option<u64>,
    /// Frames of an answer that is streamed.
    frames: u64,
    /// Milliseconds that making an instance takes.
    create_ms: u64,
    /// What befalls the making of an instance.
    create: Option<Mishap>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Up,
    Degraded,
    Down,
    Unknown,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mishap {
    /// It fails as one whose provider can't be reached.
    Fails,
    /// It fails as one that was given a wrong input.
    Refuses,
    /// The plugin does not do this at all.
    Lacks,
    /// It does not come back.
    Hangs,
    Panics,
    /// The process ends.
    Aborts,
}

impl Word {
    fn health(self) -> Health {
        match self {
            Word::Up => Health::Up,
            Word::Degraded => Health::Degraded,
            Word::Down => Health::Down,
            Word::Unknown => Health::Unknown,
        }
    }
}

impl Mishap {
    fn happen(self) -> Result<()> {
        match self {
            Mishap::Fails => Err(Error::unavailable("as the script says")),
            Mishap::Refuses => Err(Error::invalid_input("as the script says")),
            Mishap::Lacks => Err(Error::unimplemented("as the script says")),
            Mishap::Hangs => loop {
                std::thread::park();
            },
            Mishap::Panics => panic!("as the script says"),
            Mishap::Aborts => std::process::abort(),
        }
    }
}

#[derive(Deserialize)]
struct Configuration {
    script: Option<PathBuf>,
}

struct Scripted {
    host: Host,
    file: Option<PathBuf>,
    calls: AtomicU64,
    kept: Mutex<Vec<u8>>,
}

impl Scripted {
    fn script(file: Option<&PathBuf>) -> Result<Script> {
        let Some(file) = file else {
            return Ok(Script::default());
        };
        Ok(serde_json::from_slice(&std::fs::read(file)?)?)
    }
}

fn take(ms: u64) {
    if ms > 0 {
        std::thread::sleep(Duration::from_millis(ms));
    }
}

impl Plugin for Scripted {
    fn create(create: &Create<'_>) -> Result<Self> {
        let Configuration { script: file } = create.config()?;
        let script = Scripted::script(file.as_ref())?;
        take(script.create_ms);
        script.create.map_or(Ok(()), Mishap::happen)?;
        Ok(Scripted {
            host: create.host().clone(),
            file,
            calls: AtomicU64::new(0),
            kept: Mutex::default(),
        })
    }

    fn check(&self, probe: &mut Probe<'_>) -> Result<Health> {
        let script = Scripted::script(self.file.as_ref())?;
        take(script.check_ms);
        script.check.map_or(Ok(()), Mishap::happen)?;
        if let Some((name, word)) = &script.part {
            probe.part(name, word.health(), "as the script says")?;
        }
        if let Some(connected) = script.connected {
            let state = if connected {
                Connection::Connected
            } else {
                Connection::Broken
            };
            probe.connection(state, Duration::from_secs(7));
        }
        if script.heap_limit_mib > 0 {
            probe.heap_limit(script.heap_limit_mib << 20);
        }
        // Written to, so that it is memory and no promise of it.
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = vec![1; script.heap_mib << 20];
        probe.explain(&script.text);
        Ok(script.says.unwrap_or(Word::Up).health())
    }
}

struct Answer;

impl Capability for Answer {
    type Plugin = Scripted;
    const NAME: &'static str = "truth.answer";

    fn invoke(plugin: &Scripted, call: &mut Call<'_>) -> Result<()> {
        let script = Scripted::script(plugin.file.as_ref())?;
        let number = plugin.calls.fetch_add(1, Ordering::Relaxed);
        take(script.call_ms);
        if number.is_multiple_of(script.one_in.unwrap_or(1).max(1)) {
            script.call.map_or(Ok(()), Mishap::happen)?;
        }
        call.begin(call.content_type())?;
        for _ in 0..script.frames.max(1) {
            call.write(call.input())?;
        }
        Ok(())
    }
}

struct Push;

impl Capability for Push {
    type Plugin = Scripted;
    const NAME: &'static str = "truth.push";

    fn invoke(plugin: &Scripted, call: &mut Call<'_>) -> Result<()> {
        let word: Word = serde_json::from_slice(call.input())?;
        plugin.host.push_health(word.health(), "pushed")?;
        call.reply_json(&true)
    }
}

export_plugin!(Scripted, capabilities: [Answer, Push]);
