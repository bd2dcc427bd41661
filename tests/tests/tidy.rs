//! The house's rules that neither Cargo nor the compiler holds.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders and files that decide and do nothing: they read no clock, do no I/O, start nothing.
const PURE: &[&str] = &[
    "host/health/src/",
    "host/model/src/control/since.rs",
    "host/model/src/record.rs",
    "host/model/src/control/report.rs",
    "host/cli/src/bars.rs",
    "host/cli/src/moment.rs",
    "host/src/host/configuration/fields.rs",
    "host/src/probing/trips.rs",
    "host/runtime/src/crash/layout.rs",
    "host/runtime/src/registry/load.rs",
    "host/runtime/src/token_bucket.rs",
    "host/runtime/src/crash/ledger.rs",
    "host/runtime/src/supervisor/departures.rs",
    "host/runtime/src/supervisor/dependencies.rs",
    "host/runtime/src/supervisor/host_trouble.rs",
    "host/runtime/src/supervisor/residents.rs",
    "host/runtime/src/supervisor/restart.rs",
    "host/runtime/src/supervisor/spec.rs",
    "host/runtime/src/supervisor/stage.rs",
    "host/intake/src/resolve/",
    "tests/simulator/src/",
];
/// The simulator's programs, and clocks that are handed in.
const NOT_DECIDING: &[&str] = &[
    "tests/simulator/src/main.rs",
    "tests/simulator/src/bin/judge-trial.rs",
];
const NOT_PURE: &[&str] = &[
    "clock::monotonic",
    "clock::wall",
    "clock::since_boot",
    "clock::has_come",
    "std::fs",
    "tokio::",
    "SystemTime::now",
    "Instant::now",
    "std::thread",
    "std::env",
    "spawn(",
];

/// Where `unsafe` may be allowed; everywhere else the workspace's lints refuse it.
const UNSAFE: &[&str] = &[
    "host/runtime/src/crash/mod.rs",
    "host/runtime/src/loader/mod.rs",
    "host/runtime/src/process_guard/mod.rs",
    "plugin-api/abi/src/lib.rs",
    "plugin-api/src/sdk/gateway/mod.rs",
    "plugin-api/src/sdk/alloc.rs",
    // The attributes of what a plugin exports; no block.
    "plugin-api/src/sdk/export.rs",
    // What the host is measured against: the same calls without its checks.
    "benches/src/raw.rs",
    "benches/plugin/",
    // The fault is the point.
    "sample-plugins/faults/",
];

/// Only the composition root may name the HTTP API: the command line is an adapter beside it.
const COMPOSITION: &str = "host/cli/src/bin/";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

/// Every Rust file of the workspace, as a path from its folder.
fn rust_files() -> Vec<String> {
    fn walk(dir: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with('.') || name.starts_with("target") {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                walk(&path, root, found);
            } else if name.ends_with(".rs") {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &root(), &mut found);
    assert!(
        found.len() > 100,
        "only {} files: is this the right folder?",
        found.len()
    );
    found.sort();
    found
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// A file's code, without comments and without its own tests.
fn code(file: &str) -> String {
    let text = read(file);
    let code = text
        .split("\n#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn code_that_decides_reads_no_clock_and_does_no_io() {
    let mut read = 0;
    for file in rust_files() {
        let decides = PURE.iter().any(|pure| file.starts_with(pure)) && !NOT_DECIDING.contains(&&*file);
        if !decides || file.contains("/tests/") || file.ends_with("_tests.rs") || file.ends_with("/tests.rs")
        {
            continue;
        }
        read += 1;
        let code = code(&file);
        let breach = NOT_PURE.iter().find(|word| code.contains(**word));
        assert!(
            breach.is_none(),
            "{file} is to be pure and has {:?}",
            breach.unwrap()
        );
    }
    assert!(read > 40, "only {read} files: have they moved?");
}

#[test]
fn unsafe_is_allowed_only_where_it_may_be() {
    let allowing = rust_files().into_iter().filter(|file| {
        // Built from parts, so that this file does not hold it.
        !file.starts_with("tests/") && read(file).contains(concat!("allow(unsafe", "_code)"))
    });
    let breaches: Vec<_> = allowing
        .filter(|file| !UNSAFE.iter().any(|allowed| file.starts_with(allowed)))
        .collect();
    assert!(breaches.is_empty(), "unsafe code is allowed in {breaches:?}");
}

#[test]
fn subcommands_know_nothing_of_the_http_api() {
    for file in rust_files() {
        let subcommand = file.starts_with("host/cli/src/") && !file.starts_with(COMPOSITION);
        assert!(
            !subcommand || !code(&file).contains("extman_http"),
            "{file} names extman_http"
        );
    }
}

#[test]
fn plugins_know_nothing_of_the_host() {
    for file in rust_files()
        .iter()
        .filter(|f| f.starts_with("plugin-api/") || f.starts_with("sample-plugins/"))
    {
        let code = code(file);
        assert!(
            !code.contains("use extman::") && !code.contains("extman::Host"),
            "{file} uses the host"
        );
    }
    for manifest in [
        "lang-detect",
        "host-stats",
        "embedder",
        "content-type",
        "faults/rust",
    ] {
        let text = read(&format!("sample-plugins/{manifest}/Cargo.toml"));
        assert!(
            !text
                .lines()
                .any(|line| line.starts_with("extman ") || line.starts_with("extman.")),
            "{manifest}"
        );
    }
}
