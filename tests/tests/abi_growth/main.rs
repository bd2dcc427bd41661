//! The ABI grows by appending: a host and a plugin of different minors run together, both ways round, and what one of them does
//! not have reads as absent to the other. Any other difference is refused. Each variant is built from a changed copy of the sources.

mod variant;

use extman_model::VettingReport;
use extman_runtime::instance::InstanceSettings;
use extman_runtime::lanes::PoolLimits;
use extman_runtime::loader::OpenError;
use extman_runtime::module::{LoadError, ModuleBudgets};
use extman_runtime::vetting::{Vetting, VettingConfig};
use extman_tests::{Bench, build, call};
use std::path::Path;
use variant::Variant;

const TEXT: &str = r#"{"text": "Bonjour tout le monde, comment allez-vous aujourd'hui ?"}"#;

/// ABI 1.1: each struct that may grow has one more field.
fn grown() -> Variant {
    let mut variant = Variant::new("grown", "1.1.0");
    variant.append_fields();
    variant
}

#[tokio::test]
async fn a_newer_plugin_works_in_this_host_and_sees_that_it_is_older() {
    let bench = Bench::new();
    let module = bench.module(&grown().plugin()).await;
    let instance = bench.started(&module, "{}", InstanceSettings::default()).await;
    let reply = instance
        .invoke(call("text.detect-language", TEXT), None)
        .await
        .unwrap();
    assert!(String::from_utf8(reply.body).unwrap().contains(r#""fra""#));
    assert_eq!(bench.heard.logs(), ["the host's appended: None"]);
    let verdict = bench.finished(instance, module).await;
    assert!(verdict.is_unmapped(), "{verdict}");
}

#[tokio::test]
async fn an_older_plugin_works_in_a_newer_host_and_lacks_what_is_new() {
    let worker = grown().worker();
    let old = tried(&worker, &build::plugin("lang-detect")).await;
    assert!(
        old.passed() && old.unload.as_ref().unwrap().is_unmapped(),
        "{old:?}"
    );
    says(
        &old,
        &[
            "the tables' appended: 0 None None None",
            "the report's appended: 77",
        ],
    );

    let c = tried(&worker, &build::c_fault("echo")).await;
    assert!(c.passed() && c.unload.as_ref().unwrap().is_unmapped(), "{c:?}");
    says(
        &c,
        &[
            "the tables' appended: 0 None None None",
            "the report's appended: 77",
        ],
    );

    // And of a plugin as new as itself it sees all.
    let new = tried(&worker, &grown().plugin()).await;
    assert!(new.passed(), "{new:?}");
    says(
        &new,
        &[
            "the host's appended: Some(11)",
            "the tables' appended: 5 Some(11) Some(11) Some(11)",
            "the report's appended: 5",
        ],
    );
}

#[track_caller]
fn says(report: &VettingReport, lines: &[&str]) {
    for line in lines {
        let said = &report.stderr_tail;
        assert!(said.lines().any(|l| l.ends_with(line)), "no {line:?} in {said}");
    }
}

async fn tried(worker: &Path, library: &Path) -> VettingReport {
    let bench = Bench::new();
    let config = VettingConfig {
        worker: Some(worker.to_owned()),
        ..VettingConfig::default()
    };
    let vetting = Vetting::new(config, bench.folder().join("vetting"));
    vetting.try_out(&bench.verified(library), "{}").await.unwrap()
}

async fn refused(variant: &Variant) -> OpenError {
    let bench = Bench::new();
    let plugin = bench.verified(&variant.plugin());
    let loaded = bench
        .try_load(plugin, PoolLimits::default(), ModuleBudgets::default())
        .await;
    match loaded.map(|_| ()) {
        Err(LoadError::Open(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_field_that_is_gone_or_moved_or_of_another_type_is_refused() {
    let mut removed = Variant::new("removed", "1.0.1");
    removed.replace(
        "plugin-api/abi/src/values.rs",
        "    /// How long it took, in nanoseconds.\n    pub duration_ns: u64,\n",
        "",
    );
    removed.replace(
        "plugin-api/src/sdk/gateway/host.rs",
        "            duration_ns: 0,\n",
        "",
    );
    removed.replace(
        "plugin-api/src/sdk/gateway/host.rs",
        "            check.duration_ns = took.as_nanos().try_into().unwrap_or(u64::MAX);\n",
        "let _ = took;\n",
    );

    let mut reordered = Variant::new("reordered", "1.0.2");
    let (first, second) = ("    pub queue_depth: u64,\n", "    pub in_flight: u64,\n");
    let values = "plugin-api/abi/src/values.rs";
    reordered.replace(values, first, "@");
    reordered.replace(values, second, first);
    reordered.replace(values, "@", second);

    let mut retyped = Variant::new("retyped", "1.0.3");
    retyped.replace(
        "plugin-api/abi/src/values.rs",
        "    pub retryable: u32,\n    /// Zero.\n    pub reserved: u32,\n",
        "    pub retryable: u32,\n    /// Zero.\n    pub reserved: i32,\n",
    );

    for (variant, version, part) in [
        (removed, "1.0.1", "duration_ns"),
        (reordered, "1.0.2", "queue_depth"),
        (retyped, "1.0.3", "i32"),
    ] {
        match refused(&variant).await {
            OpenError::Layout {
                plugin, differences, ..
            } => {
                assert_eq!(plugin, version);
                assert!(differences.contains(part), "{differences}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn another_major_is_refused() {
    let mut major = Variant::new("major", "2.0.0");
    major.replace(
        "Cargo.toml",
        "plugin-api/abi\", version = \"1.0.0\"",
        "plugin-api/abi\", version = \"2.0.0\"",
    );
    let error = refused(&major).await;
    assert!(
        matches!(error, OpenError::AbiMajor { plugin: 2, host: 1 }),
        "{error:?}"
    );
}
