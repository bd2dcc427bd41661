//! One scenario in a process of its own: load, create, start, call, stop, destroy, unload, some number of times.
//!
//! The parent gives the order as the one argument, in JSON, and reads the outcome as the only line on standard output.

use crate::{Bench, call, until};
use extman_model::Verdict;
use extman_runtime::instance::InstanceSettings;
use extman_runtime::lanes::PoolLimits;
use extman_runtime::loader::{Interposition, Step, interposition};
use extman_runtime::module::ModuleBudgets;
use extman_runtime::process_guard::take_changes;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// What to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The plugin's library.
    pub library: PathBuf,
    /// The instance's configuration.
    pub config: String,
    /// Which capability to call.
    pub capability: String,
    /// With which input.
    pub input: String,
    /// How often in each cycle.
    pub calls: u32,
    /// How many cycles.
    pub cycles: u32,
    /// After how many cycles memory is measured first.
    pub warm_up: u32,
    /// Milliseconds for what is just ending before an unload, and for the unload itself.
    pub patience_ms: u64,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether the host's thread functions are in place.
    pub interposed: bool,
    /// The last answer.
    pub reply: String,
    /// Cycles that ended with an unmapped library.
    pub unmapped: u32,
    /// The last verdict; the cycles end at the first that is not `unmapped`.
    pub verdict: Verdict,
    /// Whether a plugin's memory is mapped in the end, by /proc/self/maps.
    pub mapped: bool,
    /// Threads of the process in the end.
    pub threads: usize,
    /// Resident bytes of the process after the warm-up.
    pub rss_before_bytes: u64,
    /// Resident bytes of the process in the end.
    pub rss_after_bytes: u64,
    /// Descriptors of the process after the warm-up.
    pub descriptors_before: usize,
    /// Descriptors of the process in the end.
    pub descriptors_after: usize,
    /// What the process guard blames on plugins.
    pub blamed: Vec<String>,
}

impl Order {
    /// One cycle that calls the echo of a fault in C.
    pub fn c(name: &str) -> Self {
        Order::new(crate::build::c_fault(name), "c.echo", "\"ping\"")
    }

    /// One cycle in which `faults` does a hazard in a call.
    pub fn fault(hazard: &str) -> Self {
        let input = format!(r#"{{"hazard": "{hazard}"}}"#);
        Order::new(crate::build::plugin("faults"), "fault.run", &input)
    }

    /// One cycle.
    pub fn new(library: PathBuf, capability: &str, input: &str) -> Self {
        Order {
            library,
            config: "{}".to_owned(),
            capability: capability.to_owned(),
            input: input.to_owned(),
            calls: 1,
            cycles: 1,
            warm_up: 0,
            patience_ms: 2_000,
        }
    }

    /// Runs `program` with this order.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg(serde_json::to_string(self).expect("an order is JSON"));
        command
    }

    /// Has `program` do it, in an environment with these variables too.
    ///
    /// # Panics
    /// The program dies.
    pub fn run(&self, program: &Path, variables: &[(&str, &Path)]) -> Outcome {
        let output = self
            .command(program)
            .envs(variables.iter().copied())
            .output()
            .expect("the program can be started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{self:?}: {}, said {said:?}, {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error} in {said:?}"))
    }
}

/// The program: does its argument and says what came of it.
pub fn main() -> ExitCode {
    let order = std::env::args().nth(1).unwrap_or_default();
    let order: Order = match serde_json::from_str(&order) {
        Ok(order) => order,
        Err(error) => {
            eprintln!("started by tests, with an order in JSON: {error}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(perform(&order));
    println!("{}", serde_json::to_string(&outcome).expect("an outcome is JSON"));
    ExitCode::SUCCESS
}

async fn perform(order: &Order) -> Outcome {
    let bench = Bench::new();
    let plugin = bench.verified(&order.library);
    let mut outcome = Outcome {
        interposed: interposition() == Interposition::Active,
        reply: String::new(),
        unmapped: 0,
        verdict: Verdict::Unmapped,
        mapped: false,
        threads: 0,
        rss_before_bytes: 0,
        rss_after_bytes: 0,
        descriptors_before: 0,
        descriptors_after: 0,
        blamed: Vec::new(),
    };
    let budgets = ModuleBudgets {
        settle: Duration::from_millis(order.patience_ms),
        close: Duration::from_millis(order.patience_ms),
        ..ModuleBudgets::default()
    };
    for cycle in 0..order.cycles {
        if cycle == order.warm_up {
            until("the copies of unmapped libraries are freed", || !has_copies());
            outcome.rss_before_bytes = resident_bytes();
            outcome.descriptors_before = entries("/proc/self/fd");
        }
        let module = bench.load(plugin.clone(), PoolLimits::default(), budgets).await;
        let instance = bench
            .started(&module, &order.config, InstanceSettings::default())
            .await;
        for _ in 0..order.calls {
            let answer = instance
                .invoke(call(&order.capability, order.input.as_str()), None)
                .await;
            outcome.reply = match answer {
                Ok(reply) => String::from_utf8_lossy(&reply.body).into_owned(),
                Err(error) => error.to_string(),
            };
        }
        // An instance that has panicked refuses; it is destroyed all the same.
        let _ = instance.step(Step::Stop).await;
        instance.destroy().await.expect("destroy");
        drop(instance);
        outcome.verdict = module.unload(budgets).await;
        if !outcome.verdict.is_unmapped() {
            break;
        }
        outcome.unmapped += 1;
    }
    if outcome.verdict.is_unmapped() {
        until("the copies of unmapped libraries are freed", || !has_copies());
    }
    outcome.rss_after_bytes = resident_bytes();
    outcome.mapped = is_mapped();
    outcome.threads = entries("/proc/self/task");
    outcome.descriptors_after = entries("/proc/self/fd");
    outcome.blamed = take_changes().iter().map(ToString::to_string).collect();
    outcome
}

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

/// Whether a library's sealed copy is open. It is freed soon after the unload was answered.
fn has_copies() -> bool {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    open.filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .any(|file| file.to_string_lossy().starts_with("/memfd:extman-"))
}

/// Whether any plugin's code is mapped into this process. Not whether anything of its file is: std reads a library's debug
/// information for the backtrace of a panic, and never lets go of that.
pub fn is_mapped() -> bool {
    let is_code = |line: &str| {
        let executable = line
            .split_ascii_whitespace()
            .nth(1)
            .is_some_and(|permissions| permissions.contains('x'));
        executable && line.contains("/memfd:extman-")
    };
    std::fs::read_to_string("/proc/self/maps").is_ok_and(|maps| maps.lines().any(is_code))
}

/// Resident memory of this process (proc_pid_status(5)).
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("the kernel tells the resident size") * 1024
}
