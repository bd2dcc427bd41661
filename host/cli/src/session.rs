//! One command's host: it runs elsewhere, or is started for the command and ended after it.

use super::args::Target;
use super::backend::{Backend, HostSources, Locking, OneShot};
use super::fault::Fault;
use super::remote::Remote;
use super::screen::{Outcome, Rendered};
use extman_model::control::events::EventsAnswer;
use extman_model::control::report::{AnalysisAnswer, HealthAnswer, HistoryAnswer, PluginHealth, UptimeRow};
use extman_model::control::{Answer, Command, Invocation, Invoked};
use extman_model::{
    CapabilityOffer, ConfigAnswer, ConfigChange, ConfigDifference, DependenciesView, MaintenanceRow,
    PluginView, RolloutStatus, StatusView,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a command is answered by.
pub(super) trait Answers: Serialize + DeserializeOwned {
    /// Nothing if it is the answer to another command.
    fn of(answer: Answer) -> Option<Self>;
}

/// `[*]`: what the variant holds is boxed.
macro_rules! answers {
    ($($variant:ident $([$deref:tt])?: $of:ty,)*) => {$(
        impl Answers for $of {
            fn of(answer: Answer) -> Option<Self> {
                match answer {
                    Answer::$variant(of) => Some($($deref)? of),
                    _ => None,
                }
            }
        }
    )*};
}

answers! {
    Status[*]: StatusView,
    Plugin[*]: PluginView,
    Rollout[*]: RolloutStatus,
    Plugins: Vec<PluginView>,
    Capabilities: Vec<CapabilityOffer>,
    Dependencies[*]: DependenciesView,
    Config[*]: ConfigAnswer,
    ConfigDiff: Vec<ConfigDifference>,
    ConfigHistory: Vec<ConfigChange>,
    Health[*]: HealthAnswer,
    PluginHealth[*]: PluginHealth,
    History[*]: HistoryAnswer,
    Uptime: Vec<UptimeRow>,
    Analysis[*]: AnalysisAnswer,
    Events[*]: EventsAnswer,
    Maintenance: Vec<MaintenanceRow>,
}

pub(super) enum Session {
    Remote(Remote),
    Here {
        runtime: tokio::runtime::Runtime,
        host: OneShot,
    },
}

/// Does something with a host. A host that is started for it is ended after it, whatever came of it; what it left in memory
/// becomes a warning.
pub(super) fn with<T>(
    target: &Target,
    backend: &dyn Backend,
    work: impl FnOnce(&Session) -> Result<T, Fault>,
) -> Result<(T, Vec<String>), Fault> {
    let session = Session::open(target, backend)?;
    let done = work(&session);
    let warnings = session.close();
    Ok((done?, warnings))
}

/// Shows what comes of work with a host, and its warnings.
pub(super) fn shown(
    target: &Target,
    backend: &dyn Backend,
    work: impl FnOnce(&Session) -> Result<Rendered, Fault>,
) -> Result<Outcome, Fault> {
    let (mut rendered, warnings) = with(target, backend, work)?;
    rendered.warnings.extend(warnings);
    Ok(Outcome::Rendered(rendered))
}

/// Asks a host one thing and shows its answer.
pub(super) fn answered<T: Answers>(
    target: &Target,
    backend: &dyn Backend,
    command: Command,
    render: impl FnOnce(&T) -> String,
) -> Result<Outcome, Fault> {
    shown(target, backend, |host| host.rendered(command, render))
}

/// How long building the async runtime may take: it is some threads.
const BUILD_TIME: Duration = Duration::from_secs(5);

/// A runtime for a host.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    let no_threads = |error: &dyn std::fmt::Display| {
        Fault::no_host(format!(
            "no threads for a host: {error}; raise the limit of processes and threads (ulimit -u, TasksMax=)"
        ))
    };
    let (send, built) = std::sync::mpsc::channel();
    // On a thread of its own: where only some of its threads can be made, it panics, and its unwinding waits for those for ever.
    let building = move || drop(send.send(build()));
    std::thread::Builder::new()
        .spawn(building)
        .map_err(|error| no_threads(&error))?;
    match built.recv_timeout(BUILD_TIME) {
        Ok(built) => built.map_err(|error| no_threads(&error)),
        Err(_) => Err(no_threads(&"the async runtime can't be started")),
    }
}

fn build() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // A thread that waits for work is kept: where no more can be made later, what needs one waits for it, and finds one.
        .thread_keep_alive(Duration::from_secs(3600))
        .build()
}

impl Session {
    fn open(target: &Target, backend: &dyn Backend) -> Result<Session, Fault> {
        if target.dirs.is_empty() {
            return Remote::of(target, |name| std::env::var(name).ok()).map(Session::Remote);
        }
        directories_are_there(&target.dirs)?;
        let place = HostSources {
            config: target.config.clone(),
            dirs: target.dirs.clone(),
            locking: Locking::only_if(target.locked),
        };
        let runtime = runtime()?;
        let host = runtime.block_on(backend.one_shot(place)).map_err(Fault::from)?;
        Ok(Session::Here { runtime, host })
    }

    pub(super) fn ask<T: Answers>(&self, command: Command) -> Result<T, Fault> {
        match self {
            Session::Remote(remote) => remote.ask(&command),
            Session::Here { runtime, host } => {
                let answer = runtime.block_on(host.control.run(command))?;
                T::of(answer).ok_or_else(|| {
                    Fault::no_host("the host answered something else than it was asked")
                        .next("use the program of the host's version")
                })
            }
        }
    }

    /// An answer, and the text for it.
    pub(super) fn rendered<T: Answers>(
        &self,
        command: Command,
        render: impl FnOnce(&T) -> String,
    ) -> Result<Rendered, Fault> {
        let answer: T = self.ask(command)?;
        Rendered::new(&answer, render(&answer))
    }

    pub(super) fn invoke(&self, invocation: Invocation) -> Result<Invoked, Fault> {
        match self {
            Session::Remote(remote) => remote.invoke(&invocation),
            Session::Here { runtime, host } => Ok(runtime.block_on(host.control.invoke(invocation))?),
        }
    }

    /// Hands over each frame; `None` if `frame` said that it wants no more.
    pub(super) fn invoke_stream(
        &self,
        invocation: Invocation,
        mut frame: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Invoked>, Fault> {
        match self {
            Session::Remote(remote) => remote.invoke_stream(&invocation, frame),
            Session::Here { runtime, host } => runtime.block_on(async {
                let mut stream = host.control.invoke_stream(invocation).await?;
                while let Some(bytes) = stream.frames.next().await {
                    if !frame(&bytes) {
                        return Ok(None);
                    }
                }
                let reply = stream.done.await?;
                Ok(Some(Invoked {
                    served_by: stream.served_by,
                    degraded: stream.degraded,
                    attempts: 1,
                    age: None,
                    reply,
                }))
            }),
        }
    }

    fn close(self) -> Vec<String> {
        match self {
            Session::Remote(_) => Vec::new(),
            Session::Here { runtime, host } => {
                let mut warnings = host.warnings;
                warnings.extend(close(&runtime, host.close));
                warnings
            }
        }
    }
}

/// Of the directories that are named for one command each can be read.
pub(super) fn directories_are_there(dirs: &[PathBuf]) -> Result<(), Fault> {
    for dir in dirs {
        std::fs::read_dir(dir).map_err(|error| no_directory(dir, &error))?;
    }
    Ok(())
}

/// A host that serves waits for a directory that is not there; one command has nothing to wait for.
fn no_directory(dir: &Path, error: &std::io::Error) -> Fault {
    let text = match error.kind() {
        ErrorKind::NotFound => "there is no such directory; check the path, or create it".to_owned(),
        ErrorKind::NotADirectory => "it is no directory; name the one that holds the plugin".to_owned(),
        _ => format!("{error}; let this user read it"),
    };
    Fault::usage(format!("--dir {}: {text}", dir.display()))
}

fn close(
    runtime: &tokio::runtime::Runtime,
    close: impl Future<Output = Vec<(String, extman_model::Verdict)>>,
) -> Vec<String> {
    let verdicts = runtime.block_on(close);
    verdicts
        .into_iter()
        .filter(|(_, verdict)| !verdict.is_unmapped())
        .map(|(name, verdict)| format!("{name} could not be unloaded: {verdict}"))
        .collect()
}
