//! Inspection and the system's loader agree on damaged headers: what inspection would take, the loader does not refuse for its header.

use super::elf::{Elf, HEADER, SEGMENT};
use extman_intake::{
    DiscoveryConfig, Store, TrustConfig, VerifiedPlugin, find, inspect, inspect_bytes, verify,
};
use extman_model::{VettingFailure, VettingPhase};
use extman_runtime::vetting::{Vetting, VettingConfig};
use extman_tests::build;
use std::path::Path;

/// What glibc says of a header that it does not take (elf/dl-load.c); what it misses around the library is told otherwise.
const OF_HEADERS: [&str; 8] = [
    "invalid ELF header",
    "ELF file",
    "ELF load command",
    "object file has no",
    "file too short",
    "cannot read file data",
    "wrong ELF class",
    "cannot dynamically load",
];

#[test]
fn nothing_that_inspection_takes_is_refused_by_the_loader_for_its_header() {
    let base = Elf(std::fs::read(build::c_fault("echo")).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    let config = VettingConfig {
        worker: Some(build::worker()),
        ..VettingConfig::default()
    };
    let vetting = Vetting::new(config, folder.path().join("vetting"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let table = base.number(32, 8);
    let segments = table..table + base.number(56, 2) * SEGMENT;
    let (mut taken, mut refused) = (0, 0);
    for at in (0..HEADER).chain(segments) {
        for change in [0x01, 0x80] {
            let bytes = base.with(at, &[base.0[at] ^ change]);
            if inspect_bytes(&bytes).is_ok_and(|inspection| inspection.problems.is_empty()) {
                taken += 1;
                let plugin = verified(&store, folder.path(), &bytes);
                let report = runtime.block_on(vetting.try_out(&plugin, "{}")).unwrap();
                if let Some(refusal) = report.refusal
                    && let (VettingPhase::Open, VettingFailure::Refused { text }) =
                        (refusal.phase, &refusal.why)
                {
                    let of_header = OF_HEADERS.iter().any(|said| text.contains(said));
                    assert!(
                        !of_header,
                        "byte {at} ^ {change:#x}: inspection takes it, the loader says: {text}"
                    );
                }
            } else {
                refused += 1;
            }
        }
    }
    // Both happen, or nothing was compared.
    assert!(taken > 20 && refused > 50, "{taken} taken, {refused} refused");
}

fn verified(store: &Store, folder: &Path, bytes: &[u8]) -> VerifiedPlugin {
    let file = folder.join("changed.so");
    std::fs::write(&file, bytes).unwrap();
    let trust = TrustConfig {
        allow_world_writable: true,
        ..TrustConfig::default()
    };
    let found = find(&file, &DiscoveryConfig::default()).unwrap();
    verify(inspect(store.take(&found).unwrap()).unwrap(), &trust).unwrap()
}
