//! The child's side: load the library on its standard input and say what gets done.
//!
//! Each line on standard output that starts with [`MARK`] is one [`Line`] as JSON; anything else is the plugin's own chatter.

use crate::loader::{Bound, Library, Listener, Mapped, OutputLimits, Said, SealedImage, Slot, Step};
use extman_model::clock;
use extman_model::{
    CallError, CheckKind, Digest, ErrorKind, LogLevel, Report, Verdict, VettingDepth, VettingPhase,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// What the child is to do; its one argument, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What the bytes must be.
    pub digest: Digest,
    /// Whether the plugin was made with the Rust SDK.
    pub rust: bool,
    /// Name for the instance.
    pub name: String,
    /// Its configuration, as JSON.
    pub config: String,
    /// How far to go.
    pub depth: VettingDepth,
    /// Bytes of address space that may be used.
    pub memory_bytes_max: u64,
}

/// Start of a line that is the worker's own.
pub const MARK: &str = "\u{1}extman ";

/// What the child says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// A step begins.
    Begin {
        /// Which.
        phase: VettingPhase,
    },
    /// A step has ended.
    End {
        /// Which.
        phase: VettingPhase,
        /// How long it took, in nanoseconds.
        took_ns: u64,
        /// What was said against it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        error: Option<CallError>,
    },
    /// What the plugin says of itself.
    Said {
        /// Its report.
        report: Report,
    },
    /// What became of the library.
    Unload {
        /// The verdict.
        verdict: Verdict,
    },
    /// All was done.
    Done,
}

/// Does what the order says. Returns the process's exit code: 0 when all was done, whatever the plugin said.
pub fn run(order: &str) -> u8 {
    let order: Order = match serde_json::from_str(order) {
        Ok(order) => order,
        Err(error) => {
            eprintln!("extman-worker is started by extman, not by hand; its order can't be read: {error}");
            return 2;
        }
    };
    restrict(&order);
    say(&Line::Begin {
        phase: VettingPhase::Open,
    });
    // Every step on one thread that ends before the library is closed, as on a lane.
    let opened = on_a_thread(move || steps(&order));
    let library = match opened {
        Some(Some(Left::Passed(library))) => library,
        Some(left) => {
            if let Some(Left::Refused(library)) = left {
                close(library);
            }
            say(&Line::Done);
            return 0;
        }
        None => return PANICKED,
    };
    say(&Line::Begin {
        phase: VettingPhase::Close,
    });
    let began = clock::monotonic();
    let Some(verdict) = close(library) else {
        return PANICKED;
    };
    say(&Line::End {
        phase: VettingPhase::Close,
        took_ns: nanos_since(began),
        error: None,
    });
    say(&Line::Unload { verdict });
    say(&Line::Done);
    0
}

/// The exit code when the host's own code panicked over the library, as reading damaged tables does. Nothing passes that way.
const PANICKED: u8 = 101;

/// `None` if the host's own code panicked.
fn close(library: Box<Mapped>) -> Option<Verdict> {
    match on_a_thread(move || library.close(Duration::from_secs(2)))? {
        Ok(closed) => on_a_thread(move || closed.verdict()),
        Err(not_closed) => Some(not_closed.verdict),
    }
}

/// What is still mapped after the steps.
enum Left {
    /// A library that passed.
    Passed(Box<Mapped>),
    /// One whose tables did not.
    Refused(Box<Mapped>),
}

fn steps(order: &Order) -> Option<Left> {
    let mut refused = None;
    let opened = step(VettingPhase::Open, || {
        let failed = |error: String| CallError::new(ErrorKind::Internal, error);
        let bytes = std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|e| failed(e.to_string()))?;
        let sealed =
            SealedImage::adopt(File::from(bytes), order.digest).map_err(|e| failed(e.to_string()))?;
        Library::open(sealed, order.rust).map_err(|not_opened| {
            refused = not_opened.mapped;
            failed(not_opened.error.to_string())
        })
    });
    let Some(library) = opened else {
        return refused.map(Left::Refused);
    };
    if order.depth == VettingDepth::Open {
        return Some(Left::Passed(Box::new(library.into_mapped())));
    }
    let library = Arc::new(library);
    say(&Line::Begin {
        phase: VettingPhase::Create,
    });
    let made = step(VettingPhase::Create, || {
        Bound::create(library.clone(), &order.name, &order.config, Arc::new(Chatter))
    });
    if let Some(bound) = made {
        if order.depth == VettingDepth::Probe {
            probe(&bound);
        }
        say(&Line::Begin {
            phase: VettingPhase::Destroy,
        });
        step(VettingPhase::Destroy, || {
            bound
                .destroy()
                .map_err(|n| CallError::new(ErrorKind::Internal, format!("{n} calls are inside")))
        });
    }
    Some(Left::Passed(Box::new(Arc::into_inner(library)?.into_mapped())))
}

fn probe(bound: &Bound) {
    say(&Line::Begin {
        phase: VettingPhase::Start,
    });
    if step(VettingPhase::Start, || bound.step(Step::Start)).is_none() {
        return;
    }
    if let Some(slot) = Slot::acquire() {
        say(&Line::Begin {
            phase: VettingPhase::Check,
        });
        let report = step(VettingPhase::Check, || {
            let deadline = clock::monotonic().after(Duration::from_secs(10));
            let token = slot.open(Some(deadline), None, OutputLimits::default());
            bound.check(&slot, token, CheckKind::Readiness)
        });
        let report = report.and_then(Said::report);
        drop(slot);
        if let Some(report) = report {
            say(&Line::Said { report });
        }
    }
    for (phase, end) in [
        (VettingPhase::Drain, Step::Drain),
        (VettingPhase::Stop, Step::Stop),
    ] {
        say(&Line::Begin { phase });
        step(phase, || bound.step(end));
    }
}

fn step<T>(phase: VettingPhase, run: impl FnOnce() -> Result<T, CallError>) -> Option<T> {
    let began = clock::monotonic();
    let result = run();
    let took_ns = nanos_since(began);
    match result {
        Ok(value) => {
            say(&Line::End {
                phase,
                took_ns,
                error: None,
            });
            Some(value)
        }
        Err(error) => {
            say(&Line::End {
                phase,
                took_ns,
                error: Some(error),
            });
            None
        }
    }
}

fn nanos_since(began: clock::Monotonic) -> u64 {
    clock::monotonic().since(began).as_nanos() as u64
}

fn on_a_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    std::thread::Builder::new()
        .name("extman-vetting".to_owned())
        .spawn(run)
        .ok()?
        .join()
        .ok()
}

/// No core files, no more memory than allowed, and no life after the host's.
fn restrict(order: &Order) {
    use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
    let limits = [(Resource::Core, 0), (Resource::As, order.memory_bytes_max)];
    for (resource, most) in limits {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        if let Err(error) = setrlimit(resource, limit) {
            eprintln!("extman-worker: a limit could not be set: {error}");
        }
    }
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("extman-worker: it would outlive its host: {error}");
    }
}

fn say(line: &Line) {
    let mut out = std::io::stdout().lock();
    if let Ok(json) = serde_json::to_string(line) {
        // On a line of its own even when the plugin has left one unfinished.
        let _ = writeln!(out, "\n{MARK}{json}");
        let _ = out.flush();
    }
}

/// The plugin's log goes to standard error.
struct Chatter;

impl Listener for Chatter {
    fn log(&self, _: LogLevel, target: &str, text: &str, _: &str) {
        eprintln!("{target}: {text}");
    }

    fn health(&self, _: Report) {}
}
