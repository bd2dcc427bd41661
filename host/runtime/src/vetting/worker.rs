//! The process that loads the library, tries it, and says what gets done. What the plugin prints goes to standard error.

use super::guard;
use super::memory;
use super::protocol::{Line, Order, receive_order, say};
use crate::crash::LibraryEntry;
use crate::loader::{
    Answering, CallContext, CodeOwner, Library, Listener, Making, Mapped, NoAnswer, NotDestroyed, OpenError,
    OutgoingCall, OutgoingRouter, OutputLimits, PluginInstance, Said, SealedImage, Step, Task, exit_now,
};
use crate::process_guard;
use extman_abi::CallToken;
use extman_model::clock;
use extman_model::{
    CallError, CheckKind, ErrorKind, LogLevel, Progress, Report, Verdict, VettingDepth, VettingPhase,
};
use std::fs::File;
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// As `eprintln!`, which panics when nobody reads any more.
macro_rules! complain {
    ($($text:tt)*) => {
        drop(writeln!(std::io::stderr(), $($text)*))
    };
}

/// First argument of the guard process; the second is the limit on memory in bytes.
pub(super) const GUARD: &str = "guard";
/// First argument of the process that loads the library; the second is the control group that it belongs to, if there is one.
pub(super) const INSIDE: &str = "inside";

/// Is the guard or the worker, as the arguments say. Returns the process's exit code: 0 when all was done, whatever the plugin said.
pub fn run(arguments: &[String]) -> u8 {
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [GUARD, memory] => memory
            .parse()
            .map_err(io::Error::other)
            .and_then(guard::run)
            .map(|()| 0),
        [INSIDE] => inside(None),
        [INSIDE, group] => inside(Some(Path::new(group))),
        _ => Err(io::Error::other("it is started by extman, not by hand")),
    };
    done.unwrap_or_else(|error| {
        complain!("extman-worker: {error}");
        NOT_BEGUN
    })
}

/// The exit code when nothing was tried.
const NOT_BEGUN: u8 = 2;

fn inside(group: Option<&Path>) -> io::Result<u8> {
    // Before anything of the library is here. Where it fails, the guard still measures what is in use.
    if let Some(Err(error)) = group.map(memory::join) {
        complain!("extman-worker: its memory is not bounded by its control group: {error}");
    }
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    restrict();
    if let Err(error) = process_guard::keep_signals() {
        complain!("extman-worker: signals could not be kept: {error}");
    }
    let host = HOST.get_or_init(|| Host { socket });
    process_guard::on_thread_end(end_without_thread);
    host.say(&Line::Hello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    let (order, library) = receive_order(&host.socket)?;
    // Every step on one thread that ends before the library is closed, as on a lane.
    let stack_bytes = usize::try_from(order.stack_bytes).unwrap_or(usize::MAX);
    let stepped = on_a_thread(stack_bytes, move || steps(host, &order, library));
    let Some(left) = host.tell_of_no_thread(stepped)? else {
        return Ok(PANICKED);
    };
    if let Some(Left { library, passed }) = left {
        let phase = VettingPhase::Close;
        if passed {
            host.say(&Line::Begin { phase });
        }
        let began = clock::monotonic();
        let Some(verdict) = host.tell_of_no_thread(close(library))? else {
            return Ok(PANICKED);
        };
        if passed {
            host.say(&Line::End {
                phase,
                took_ns: nanos_since(began),
                error: None,
                changes: Vec::new(),
            });
            host.say(&Line::Unload { verdict });
        }
    }
    host.say(&Line::Done);
    Ok(0)
}

/// One for the process: also a thread that a plugin wants to end has to say so.
static HOST: OnceLock<Host> = OnceLock::new();

/// Nothing more can be tried: the plugin's own thread of this process stands still. It is refused for that.
fn end_without_thread() {
    if let Some(host) = HOST.get() {
        host.say(&Line::ThreadEnded);
        exit_now(0);
    }
}

/// Who hears of each step.
struct Host {
    socket: UnixStream,
}

impl Host {
    fn say(&self, line: &Line) {
        say(&self.socket, line);
    }

    /// Tells the host if there was no thread to go on with, which is no fault of the plugin's.
    fn tell_of_no_thread<T>(&self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| {
            let text =
                format!("no thread could be made in it: {error}; raise the limit of processes and threads");
            self.say(&Line::Failed { text });
        })
    }

    fn step<T>(&self, phase: VettingPhase, run: impl FnOnce() -> Result<T, CallError>) -> Option<T> {
        self.say(&Line::Begin { phase });
        let began = clock::monotonic();
        let result = run();
        let took_ns = nanos_since(began);
        let error = result.as_ref().err().cloned();
        let changes = process_guard::take_changes();
        self.say(&Line::End {
            phase,
            took_ns,
            error,
            changes,
        });
        result.ok()
    }
}

/// The exit code when the host's own code panicked over the library, as reading damaged tables does. Nothing passes that way.
const PANICKED: u8 = 101;

/// `None` if the host's own code panicked.
fn close(library: Box<Mapped>) -> io::Result<Option<Verdict>> {
    match on_a_thread(CLOSING_STACK_BYTES, move || library.close(Duration::from_secs(2)))? {
        // Nothing else is loaded here that could keep it from being looked at.
        Some(Ok(closed)) => Ok(on_a_thread(CLOSING_STACK_BYTES, move || closed.verdict().ok())?.flatten()),
        Some(Err(not_closed)) => Ok(Some(not_closed.verdict)),
        None => Ok(None),
    }
}

/// What is still mapped after the steps.
struct Left {
    library: Box<Mapped>,
    /// Its tables did.
    passed: bool,
}

impl Left {
    fn passed(library: Library) -> Self {
        Left {
            library: Box::new(library.into_mapped()),
            passed: true,
        }
    }
}

fn steps(host: &Host, order: &Order, library: File) -> Option<Left> {
    let mut refused = None;
    let opened = host.step(VettingPhase::Open, || {
        let sealed = SealedImage::adopt(library, order.digest).map_err(|e| unavailable(&e))?;
        let _window = process_guard::window(&order.name, process_guard::LOAD, CodeOwner::UNKNOWN);
        Library::open(sealed, order.rust, order.symbols, LibraryEntry::default()).map_err(|not_opened| {
            refused = not_opened.mapped;
            match not_opened.error {
                // What is missing around the library is no fault of its bytes.
                error @ (OpenError::Loader(_) | OpenError::Seal(_) | OpenError::Busy) => unavailable(&error),
                error => CallError::new(ErrorKind::Internal, error.to_string()),
            }
        })
    });
    let Some(library) = opened else {
        return refused.map(|library| Left {
            library,
            passed: false,
        });
    };
    if order.depth == VettingDepth::Open {
        return Some(Left::passed(library));
    }
    let library = Arc::new(library);
    let Some(context) = CallContext::acquire() else {
        return Arc::into_inner(library).map(Left::passed);
    };
    // The host ends this process at its limit of time.
    let open = || context.open(None, None, OutputLimits::default());
    let making = Making {
        name: &order.name,
        config: &order.config,
        resource_dir: order.resource_dir.as_deref().map(Path::new),
        data_dir: order.own_dirs.as_ref().map(|[data, _]| data.as_path()),
        cache_dir: order.own_dirs.as_ref().map(|[_, cache]| cache.as_path()),
    };
    let made = host.step(VettingPhase::Create, || {
        PluginInstance::create(library.clone(), making, open(), Arc::new(Chatter))
    });
    if let Some(bound) = made {
        if order.depth == VettingDepth::Probe {
            probe(host, &bound, &context);
        }
        host.step(VettingPhase::Destroy, || destroy(&bound, open()));
    }
    Arc::into_inner(library).map(Left::passed)
}

fn destroy(bound: &PluginInstance, call: CallToken) -> Result<(), CallError> {
    match bound.destroy(call) {
        Err(NotDestroyed::Inside(n)) => {
            let text = format!("{n} calls are inside");
            Err(CallError::new(ErrorKind::Internal, text))
        }
        // It is gone: a host goes on after such a complaint too, and tells it.
        Err(NotDestroyed::Gone(error)) => {
            complain!("destroy failed: {error}");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn unavailable(error: &dyn std::fmt::Display) -> CallError {
    CallError::new(ErrorKind::Unavailable, error.to_string())
}

fn probe(host: &Host, bound: &PluginInstance, context: &CallContext) {
    let open = || context.open(None, None, OutputLimits::default());
    let start = || match bound.step(Step::Start, open()) {
        Err(error) if CALLS.load(Relaxed) => {
            complain!(
                "start failed, and calls other plugins, which are not here: {error}; it is not blamed for that"
            );
            Ok(false)
        }
        started => started.map(|()| true),
    };
    if host.step(VettingPhase::Start, start) != Some(true) {
        return;
    }
    let report = host.step(VettingPhase::Check, || {
        let deadline = clock::monotonic().after(Duration::from_secs(10));
        context.open(Some(deadline), None, OutputLimits::default());
        bound.check(context, CheckKind::Readiness)
    });
    if let Some(report) = report.and_then(Said::report) {
        host.say(&Line::Said { report });
    }
    for (phase, end) in [
        (VettingPhase::Drain, Step::Drain),
        (VettingPhase::Stop, Step::Stop),
    ] {
        host.step(phase, || bound.step(end, open()));
    }
}

fn nanos_since(began: clock::Monotonic) -> u64 {
    clock::nanos(clock::monotonic().since(began))
}

/// Finalisers run where a host closes a library: on a thread of the default stack.
const CLOSING_STACK_BYTES: usize = 8 << 20;

/// `None` if it panicked there.
///
/// # Errors
/// No thread can be made.
fn on_a_thread<T: Send + 'static>(
    stack_bytes: usize,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let builder = std::thread::Builder::new().name("extman-vetting".to_owned());
    Ok(builder.stack_size(stack_bytes).spawn(run)?.join().ok())
}

/// No core files, and no life after the guard's.
fn restrict() {
    use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        complain!("extman-worker: a limit could not be set: {error}");
    }
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        complain!("extman-worker: it would outlive its guard: {error}");
    }
}

/// The plugin's log goes to standard error.
struct Chatter;

impl Listener for Chatter {
    fn log(&self, _: LogLevel, target: &str, text: &str, _: &str) {
        complain!("{target}: {text}");
    }

    fn keeps(&self, _: LogLevel) -> bool {
        true
    }

    fn progress(&self, progress: Progress) {
        let of = progress
            .total
            .map(|total| format!(" of {total}"))
            .unwrap_or_default();
        complain!("progress: {} ({}{of})", progress.text, progress.done);
    }

    fn health(&self, _: Report) {}

    fn calls(&self) -> Option<Arc<dyn OutgoingRouter>> {
        Some(Arc::new(Alone))
    }
}

/// The plugin has called another one: here there is none.
static CALLS: AtomicBool = AtomicBool::new(false);

/// Notes that the plugin calls others, and has none served.
struct Alone;

impl OutgoingRouter for Alone {
    fn may_call(&self) -> bool {
        false
    }

    fn route(&self, call: OutgoingCall) -> Answering {
        CALLS.store(true, Relaxed);
        let text = format!(
            "no other plugin is here while this one is vetted, so that nobody serves {}",
            call.capability
        );
        let error = CallError::new(ErrorKind::Unavailable, text);
        Box::pin(std::future::ready(Err(NoAnswer::Failed(error))))
    }

    fn spawn(&self, task: Task) {
        drop(task);
    }

    fn panicked(&self) {}
}
