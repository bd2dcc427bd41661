//! The parent's side: start the worker, listen, and end it when its time is up.

use super::worker::{Line, MARK, Order};
use extman_model::{VettingFailure, VettingPhase, VettingRefusal, VettingReport, VettingStep};
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Command;

/// Longest line that is read from the worker, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// How much of the worker's standard error is kept, in bytes.
const STDERR_BYTES_MAX: usize = 4096;

pub(super) async fn run(
    worker: &Path,
    order: &Order,
    bytes: File,
    limit: Duration,
) -> std::io::Result<VettingReport> {
    let mut child = Command::new(worker)
        .arg(serde_json::to_string(order)?)
        .stdin(Stdio::from(bytes))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(std::io::Error::other("the worker has no pipes"));
    };
    let mut heard = Heard::new(order);
    let tail = tokio::spawn(tail(err));
    let ended = tokio::time::timeout(limit, async {
        listen(out, &mut heard).await?;
        child.wait().await
    })
    .await;
    let status = match ended {
        Ok(status) => Some(status?),
        Err(_) => {
            child.kill().await?;
            None
        }
    };
    // A grandchild may hold the pipe open for ever.
    let stderr_tail = tokio::time::timeout(Duration::from_secs(1), tail).await;
    heard.report.stderr_tail = stderr_tail.ok().and_then(Result::ok).unwrap_or_default();
    Ok(heard.judge(status, limit))
}

struct Heard {
    report: VettingReport,
    phase: VettingPhase,
    done: bool,
}

impl Heard {
    fn new(order: &Order) -> Self {
        let report = VettingReport {
            depth: order.depth,
            steps: Vec::new(),
            refusal: None,
            report: None,
            process_changes: Vec::new(),
            unload: None,
            stderr_tail: String::new(),
        };
        Heard {
            report,
            phase: VettingPhase::Worker,
            done: false,
        }
    }

    fn hear(&mut self, line: Line) {
        match line {
            Line::Begin { phase } => self.phase = phase,
            Line::End {
                phase,
                took_ns,
                error,
            } => {
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
            Line::Changed { change } => self.report.process_changes.push(change),
            Line::Unload { verdict } => self.report.unload = Some(verdict),
            Line::Done => self.done = true,
        }
    }

    fn judge(mut self, status: Option<ExitStatus>, limit: Duration) -> VettingReport {
        let why = match status {
            None => VettingFailure::TimedOut {
                limit_ms: limit.as_millis() as u64,
            },
            Some(status) => match (status.signal(), status.code()) {
                (Some(number), _) => VettingFailure::Signal {
                    number,
                    name: signal_name(number),
                },
                (None, Some(0)) if self.done => return self.report,
                (None, code) => VettingFailure::Exited {
                    code: code.unwrap_or(0),
                },
            },
        };
        // How the process ended says more than what the plugin said before.
        self.report.refusal = Some(VettingRefusal {
            phase: self.phase,
            why,
        });
        self.report
    }
}

async fn listen(out: impl AsyncRead + Unpin, heard: &mut Heard) -> std::io::Result<()> {
    let mut out = BufReader::new(out);
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut out)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .await?
            == 0
        {
            return Ok(());
        }
        if let Some(json) = line.strip_prefix(MARK.as_bytes())
            && let Ok(line) = serde_json::from_slice(json)
        {
            heard.hear(line);
        }
    }
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

fn signal_name(number: i32) -> String {
    let name = match number {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGXCPU => "SIGXCPU",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
