//! The memory of a vetting, bounded by a real kernel: run by name, in a control group that was delegated as a service's is. Where there is none
//! this fails, and says how to run it: a pass means that the kernel was asked.

use extman_model::{MemoryBound, VettingFailure};
use extman_runtime::vetting::{Vetting, VettingConfig};
use extman_tests::{Bench, build};

/// Bytes that the plugin fills, and those that it may have.
const FILLED: u64 = 1_000_000_000;
const ALLOWED: u64 = 600 << 20;

#[tokio::test]
async fn the_kernel_ends_a_vetting_that_fills_its_control_group_before_it_has_more_than_it_may() {
    let bench = Bench::new();
    let config = |memory_bytes_max| VettingConfig {
        worker: Some(build::worker()),
        memory_bytes_max,
        ..VettingConfig::default()
    };
    let vetting = |bytes| Vetting::new(config(bytes), bench.folder().join("vetting"));
    assert_eq!(
        vetting(ALLOWED).memory_bound(),
        Some(MemoryBound::ControlGroup),
        "no control group was delegated to this process, so nothing was shown; run this as a service, with the kernel's control groups of \
         version 2: systemd-run --pipe --wait -p Delegate=memory -p DelegateSubgroup=host THIS-PROGRAM"
    );
    let plugin = bench.verified(&build::plugin("faults"));
    let order = format!(r#"{{"hazard": "leak", "phase": "create", "bytes": {FILLED}}}"#);
    let report = vetting(ALLOWED).try_out(&plugin, order.as_str()).await.unwrap();
    let refusal = report.refusal.expect("it passed");
    // What is measured from outside is seen only once it is over the limit.
    assert!(
        matches!(refusal.why, VettingFailure::OverMemory { used_bytes, .. } if used_bytes <= ALLOWED),
        "{refusal}"
    );
    let report = vetting(2 * FILLED)
        .try_out(&plugin, order.as_str())
        .await
        .unwrap();
    assert!(report.passed(), "{report:?}");
}
