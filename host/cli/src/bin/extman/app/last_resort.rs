//! The end of a process whose end hangs.

use extman::exit_now;
use std::io::Write;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// How much longer than its time for stopping the host may take until it is ended from outside.
const OVERTIME: Duration = Duration::from_secs(2);

/// Ends the process if stopping takes too long. A finaliser that hangs holds the dynamic loader's lock, and any other thread may
/// come to need that: for its first use of a thread-local, for one. So this thread has all it needs before plugins are stopped.
pub(super) struct LastResort(std::sync::mpsc::Sender<i32>);

impl LastResort {
    pub(super) fn start(budget: Duration) -> std::io::Result<Self> {
        let (armed, wait) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .name("extman-end".to_owned())
            .spawn(move || {
                let Ok(code) = wait.recv() else { return };
                if wait.recv_timeout(budget + OVERTIME) == Err(RecvTimeoutError::Timeout) {
                    let text = "the time for stopping is over, and a library holds up the process: ending\n";
                    let _ = std::io::stderr().write_all(text.as_bytes());
                    exit_now(code);
                }
            })?;
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
