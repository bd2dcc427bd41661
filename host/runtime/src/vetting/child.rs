//! The host's side of one vetting: start the processes, listen, and end them when their time is up or the host ends.

use super::VettingError;
use super::protocol::{Ended, LINE_BYTES_MAX, Line, Order, send_order};
use crate::process_guard::signal_name;
use extman_model::{VettingDepth, VettingFailure, VettingPhase, VettingRefusal, VettingReport, VettingStep};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// How much of the worker's standard error is kept, in bytes.
const STDERR_BYTES_MAX: usize = 4096;
/// How long the guard may take to end everything once its lifeline is cut.
const GUARD_PATIENCE: Duration = Duration::from_secs(5);
/// How long the last words on standard error are waited for: a process that could not be ended may hold the pipe.
const STDERR_PATIENCE: Duration = Duration::from_secs(1);

/// What bounds a vetting.
pub(super) struct Limits {
    pub time: Duration,
    pub memory_bytes: u64,
}

/// `phase` is told which step is under way.
pub(super) async fn run(
    worker: &Path,
    order: Order,
    library: File,
    limits: Limits,
    phase: &watch::Sender<VettingPhase>,
    mut host_ends: watch::Receiver<bool>,
) -> Result<VettingReport, VettingError> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    let mut guard = Command::new(worker)
        .arg(super::worker::GUARD)
        .arg(limits.memory_bytes.to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A Ctrl-C in the host's terminal is the host's.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let stderr = guard.stderr.take().map(|err| tokio::spawn(tail(err)));
    let mut heard = Heard::new(order.depth, limits.memory_bytes, phase);
    let sending = ours.try_clone()?;
    sending.set_write_timeout(Some(limits.time))?;
    // Whole before the socket becomes one that does not block: both descriptors are of one socket. That a worker takes no order shows
    // in what the guard says of its end.
    let sent = tokio::task::spawn_blocking(move || send_order(&sending, &order, &library));
    let is_sent = tokio::select! {
        _ = sent => true,
        _ = host_ends.wait_for(|ends| *ends) => false,
    };
    ours.set_nonblocking(true)?;
    let socket = UnixStream::from_std(ours)?;
    let timed = tokio::select! {
        _ = std::future::ready(()), if !is_sent => None,
        listened = tokio::time::timeout(limits.time, listen(socket, &mut heard)) => Some(listened),
        _ = host_ends.wait_for(|ends| *ends) => None,
    };
    // The lifeline is cut by now: `listen` owned it.
    end(&mut guard).await;
    let stderr_tail = match stderr {
        Some(tail) => tokio::time::timeout(STDERR_PATIENCE, tail)
            .await
            .ok()
            .and_then(Result::ok),
        None => None,
    };
    heard.report.stderr_tail = stderr_tail.unwrap_or_default();
    let over = match timed {
        None => return Err(VettingError::HostEnds),
        Some(Ok(listened)) => listened.map(|()| None)?,
        Some(Err(_)) => Some(limits.time),
    };
    Ok(heard.judge(over)?)
}

/// Waits for the guard, which ends all others first; if it does not, ends what is in its process group.
async fn end(guard: &mut Child) {
    if tokio::time::timeout(GUARD_PATIENCE, guard.wait()).await.is_ok() {
        return;
    }
    let group = guard
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = guard.kill().await;
}

struct Heard<'a> {
    report: VettingReport,
    phase: &'a watch::Sender<VettingPhase>,
    version: Option<String>,
    done: bool,
    /// Why the worker itself could not go on.
    failed: Option<String>,
    memory_bytes_max: u64,
    ended: Option<Ended>,
}

impl<'a> Heard<'a> {
    fn new(depth: VettingDepth, memory_bytes_max: u64, phase: &'a watch::Sender<VettingPhase>) -> Self {
        phase.send_replace(VettingPhase::Worker);
        Heard {
            report: VettingReport::new(depth),
            phase,
            version: None,
            done: false,
            failed: None,
            memory_bytes_max,
            ended: None,
        }
    }

    fn hear(&mut self, line: Line) {
        match line {
            Line::Hello { version } => self.version = Some(version),
            Line::Begin { phase } => {
                self.phase.send_replace(phase);
            }
            Line::End {
                phase,
                took_ns,
                error,
                changes,
            } => {
                self.report.process_changes.extend(changes);
                if let (Some(error), None) = (&error, &self.report.refusal) {
                    let why = VettingFailure::Refused {
                        text: error.text.clone(),
                    };
                    self.report.refusal = Some(VettingRefusal { phase, why });
                }
                self.report.steps.push(VettingStep {
                    phase,
                    took_ns,
                    error,
                });
            }
            Line::Said { report } => self.report.report = Some(report),
            Line::Unload { verdict } => self.report.unload = Some(verdict),
            Line::ThreadEnded => {
                let text =
                    "it wanted to end the host's thread (pthread_exit): an entry of a plugin has to return"
                        .to_owned();
                let (phase, why) = (*self.phase.borrow(), VettingFailure::Refused { text });
                self.report.refusal = Some(VettingRefusal { phase, why });
                self.done = true;
            }
            Line::Done => self.done = true,
            Line::Failed { text } => self.failed = Some(text),
            Line::Ended(mut ended) => {
                self.report.left_processes = std::mem::take(&mut ended.left);
                self.ended = Some(ended);
            }
        }
    }

    /// `timed_out`: the time that was over before the worker had ended.
    fn judge(mut self, timed_out: Option<Duration>) -> io::Result<VettingReport> {
        let said = match self.report.stderr_tail.trim() {
            "" => String::new(),
            tail => format!("; its last words: {tail}"),
        };
        let own = env!("CARGO_PKG_VERSION");
        match &self.version {
            Some(version) if version == own => {}
            Some(version) => {
                let text =
                    format!("it is of version {version}, and the host of {own}; install both from one build");
                return Err(io::Error::other(text));
            }
            None => return Err(io::Error::other(format!("it did not begin{said}"))),
        }
        if let Some(text) = self.failed {
            return Err(io::Error::other(text));
        }
        let phase = *self.phase.borrow();
        let (over_memory, code, signal) = match &self.ended {
            Some(ended) => (ended.over_memory, ended.code, ended.signal),
            None => (None, None, None),
        };
        let why = match (over_memory, timed_out, signal, code) {
            (Some(used_bytes), ..) => VettingFailure::OverMemory {
                used_bytes,
                limit_bytes: self.memory_bytes_max,
            },
            (_, Some(limit), ..) => VettingFailure::TimedOut {
                limit_ms: limit.as_millis() as u64,
            },
            (_, _, Some(number), _) => VettingFailure::Signal {
                number,
                name: signal_name(number),
            },
            (.., Some(0)) if self.done => return Ok(self.report),
            (.., Some(code)) => VettingFailure::Exited { code },
            (.., None) => return Err(io::Error::other(format!("its guard process died{said}"))),
        };
        if phase == VettingPhase::Worker {
            return Err(io::Error::other(format!(
                "it ended before it opened the library{said}"
            )));
        }
        // How the process ended says more than what the plugin said before.
        self.report.refusal = Some(VettingRefusal { phase, why });
        Ok(self.report)
    }
}

/// Until the guard's last line, or until nobody is left who could write one.
async fn listen(socket: UnixStream, heard: &mut Heard<'_>) -> io::Result<()> {
    let mut socket = BufReader::new(socket);
    let mut line = Vec::new();
    while heard.ended.is_none() {
        line.clear();
        let read = (&mut socket)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .await;
        match read {
            // Whoever dies with the order unread leaves a reset connection behind.
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        if let Ok(line) = serde_json::from_slice(&line) {
            heard.hear(line);
        }
    }
    Ok(())
}

async fn tail(mut err: impl AsyncRead + Unpin) -> String {
    let (mut kept, mut chunk) = (Vec::new(), [0; 1024]);
    while let Ok(read @ 1..) = err.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..read]);
        let surplus = kept.len().saturating_sub(STDERR_BYTES_MAX);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
