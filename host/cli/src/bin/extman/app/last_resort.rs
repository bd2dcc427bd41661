//! The end of a process that can't end, or go on, by itself.

use extman::exit_now;
use extman::process_guard::StderrLog;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How much longer than its time for stopping the host may take until it is ended from outside.
const OVERTIME: Duration = Duration::from_secs(2);

/// How often it is looked whether the async runtime still runs: each second, or as tests set it.
fn look() -> Duration {
    let ms = std::env::var("EXTMAN_INTERNAL_RUNTIME_WATCH_MS").ok();
    Duration::from_millis(ms.and_then(|ms| ms.parse().ok()).unwrap_or(1_000))
}
/// Looks in a row without a sign of life after which it is taken for dead. Counted and not measured: a process that was stopped for a
/// while has made no looks either.
const LOOKS_MAX: u32 = 60;
/// The exit code of a host that died of a fault inside it (sysexits.h: EX_SOFTWARE).
const DIED: i32 = 70;

/// Ends the process if the async runtime is dead: then no request is answered, and no signal arrives. And if stopping takes too long. A finaliser that hangs holds the dynamic loader's lock, and any other thread may
/// come to need that: for its first use of a thread-local, for one. So this thread has all it needs before plugins are stopped.
pub(super) struct LastResort(std::sync::mpsc::Sender<i32>);

/// A sign of life of the async runtime.
static BEATS: AtomicU64 = AtomicU64::new(0);

/// Gives signs of life for as long as the async runtime runs it.
async fn beat(every: Duration) {
    loop {
        BEATS.fetch_add(1, Ordering::AcqRel);
        tokio::time::sleep(every).await;
    }
}

/// The exit code once stopping begins; nothing if nobody waits for the end any more. Does not come back if the async runtime is dead.
fn armed_or_dead(wait: &Receiver<i32>, look: Duration) -> Option<i32> {
    let (mut last, mut without) = (0, 0);
    loop {
        match wait.recv_timeout(look) {
            Ok(code) => return Some(code),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let beats = BEATS.load(Ordering::Acquire);
        without = if beats == last { without + 1 } else { 0 };
        last = beats;
        if without >= LOOKS_MAX {
            let text = "the host's async runtime has stopped: nothing is answered any more; ending\n";
            let _ = StderrLog.write_all(text.as_bytes());
            exit_now(DIED);
        }
    }
}

impl LastResort {
    pub(super) fn start(budget: Duration) -> std::io::Result<Self> {
        let (look, (armed, wait)) = (look(), std::sync::mpsc::channel());
        std::thread::Builder::new()
            .name("extman-end".to_owned())
            .spawn(move || {
                let Some(code) = armed_or_dead(&wait, look) else {
                    return;
                };
                if wait.recv_timeout(budget + OVERTIME) == Err(RecvTimeoutError::Timeout) {
                    let text = "the time for stopping is over, and a library holds up the process: ending\n";
                    let _ = StderrLog.write_all(text.as_bytes());
                    exit_now(code);
                }
            })?;
        tokio::spawn(beat(look / 2));
        Ok(LastResort(armed))
    }

    /// From here on, time counts, until this is dropped. A process that has to be ended from outside ends with this code.
    pub(super) fn arm(&self, code: i32) {
        let _ = self.0.send(code);
    }

    /// Time counts until the process is gone.
    pub(super) fn stay_armed(self) {
        std::mem::forget(self.0);
    }
}
