//! Good plugins with one byte changed: through inspection and trust, then vetting; and what passes both, called in a process that
//! may die of it.

use extman_intake::{DiscoveryConfig, Store, TrustConfig, find, inspect, verify};
use extman_model::{VettingFailure, VettingRefusal};
use extman_runtime::vetting::{Vetting, VettingConfig, VettingError};
use extman_tests::build;
use extman_tests::published::publish_if_asked;
use extman_tests::scenario::{Order, Outcome};
use extman_tests::served::{end, pause};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

/// A called copy that has not ended by then hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const SEED: u64 = 0x6578_746d_616e;
const REFUSED_BY_INTAKE: &str = "refused by inspection";
const REFUSED_BY_VETTING: &str = "refused by vetting";
const RIGHT: &str = "passed, answered rightly";
const WRONG: &str = "passed, answered wrongly or failed";
const DIED: &str = "passed, then took its process with it";

#[test]
fn a_c_plugin_with_a_changed_byte() {
    let order = Order::c("echo");
    let counts = flip(&order, "\"ping\"", 500);
    publish_if_asked("flips-c", &table(&counts));
    // Of bytes chosen at random in a library this small, some hit each of these.
    for outcome in [REFUSED_BY_INTAKE, REFUSED_BY_VETTING, RIGHT] {
        assert!(
            counts.keys().any(|(is, _)| *is == outcome),
            "none was {outcome}: {counts:?}"
        );
    }
}

#[test]
fn a_rust_plugin_with_a_changed_byte() {
    let text = r#"{"text": "Bonjour tout le monde, comment allez-vous aujourd'hui ?"}"#;
    let order = Order::new(build::plugin("lang-detect"), "text.detect-language", text);
    let counts = flip(&order, r#""fra""#, 200);
    publish_if_asked("flips-rust", &table(&counts));
    assert!(counts.keys().any(|(is, _)| *is == RIGHT), "{counts:?}");
}

type Counts = BTreeMap<(&'static str, String), usize>;

/// Changes a byte of the order's library, `times` times over, each in a fresh copy.
fn flip(order: &Order, right: &str, times: usize) -> Counts {
    let worker = build::worker();
    let library = std::fs::read(&order.library).unwrap();
    let half = |from: usize| {
        let (library, worker) = (&library, &worker);
        move || {
            let tries = (from..times).step_by(2);
            tries
                .map(|i| try_out(order, library, worker, i as u64, right))
                .collect::<Vec<_>>()
        }
    };
    let mut counts = Counts::new();
    std::thread::scope(|scope| {
        let halves = [scope.spawn(half(0)), scope.spawn(half(1))];
        for outcome in halves
            .into_iter()
            .flat_map(|half| half.join().expect("this process lives on"))
        {
            *counts.entry(outcome).or_default() += 1;
        }
    });
    assert_eq!(counts.values().sum::<usize>(), times);
    let panicked = (DIED, "exit 101".to_owned());
    assert!(
        !counts.contains_key(&panicked),
        "the host's own code panicked over what had passed: {counts:?}"
    );
    counts
}

fn try_out(order: &Order, library: &[u8], worker: &Path, number: u64, right: &str) -> (&'static str, String) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("flipped.so");
    let mut bytes = library.to_vec();
    let chosen = mix(SEED + number);
    let at = (chosen % bytes.len() as u64) as usize;
    // Any other value, each as likely.
    let other = 1 + ((chosen >> 40) % 255) as u8;
    bytes[at] ^= other;
    std::fs::write(&copy, bytes).unwrap();

    let trust = TrustConfig {
        allow_world_writable: true,
        ..TrustConfig::default()
    };
    let store = Store::open(folder.path().join("store")).unwrap();
    let stored = store
        .take(&find(&copy, &DiscoveryConfig::default()).unwrap())
        .unwrap();
    let verified = match inspect(stored) {
        Ok(inspected) => match verify(inspected, &trust) {
            Ok(verified) => verified,
            // Its headers ask for what is not trusted, as for an executable stack.
            Err(refused) => return (REFUSED_BY_INTAKE, refused.code().to_owned()),
        },
        Err(refused) => return (REFUSED_BY_INTAKE, refused.code().to_owned()),
    };
    let config = VettingConfig {
        worker: Some(worker.to_owned()),
        timeout_ms: 10_000,
        ..VettingConfig::default()
    };
    let vetting = Vetting::new(config, folder.path().join("vetting"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // What comes back here without an error is the only thing that a host loads.
    match runtime.block_on(vetting.vet(verified, "{}", SystemTime::now())) {
        Ok(_) => call(
            &Order {
                library: copy,
                patience_ms: 500,
                ..order.clone()
            },
            right,
        ),
        Err(VettingError::Refused { report, .. }) => {
            let refusal = report.refusal.expect("it was refused");
            (REFUSED_BY_VETTING, told(&refusal))
        }
        Err(other) => panic!("byte {at} changed: {other}"),
    }
}

/// In a process of its own, to which a death can be put down.
fn call(order: &Order, right: &str) -> (&'static str, String) {
    let mut command = order.command(Path::new(env!("CARGO_BIN_EXE_fault-host")));
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let give_up = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > give_up {
            child.kill().unwrap();
            child.wait().unwrap();
            return (DIED, "hangs".to_owned());
        }
        pause();
    };
    let mut said = String::new();
    let _ = child.stdout.take().map(|mut out| out.read_to_string(&mut said));
    match serde_json::from_str::<Outcome>(said.trim()) {
        Ok(outcome) if outcome.reply.contains(right) => (RIGHT, String::new()),
        Ok(_) => (WRONG, String::new()),
        Err(_) => (DIED, end(status)),
    }
}

fn told(refusal: &VettingRefusal) -> String {
    match &refusal.why {
        VettingFailure::Signal { name, .. } => format!("{name} in {}", refusal.phase),
        VettingFailure::Exited { .. } => format!("exit in {}", refusal.phase),
        VettingFailure::TimedOut { .. } => format!("timed out in {}", refusal.phase),
        VettingFailure::OverMemory { .. } => format!("too much memory in {}", refusal.phase),
        VettingFailure::Refused { .. } => format!("an error in {}", refusal.phase),
    }
}

fn table(counts: &Counts) -> String {
    let mut text = "| what came of it | how | copies |\n|---|---|---|\n".to_owned();
    for ((what, how), count) in counts {
        let _ = writeln!(text, "| {what} | {how} | {count} |");
    }
    text
}

/// SplitMix64: the same bytes in every run.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
