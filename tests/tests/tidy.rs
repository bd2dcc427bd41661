//! The house's rules that a machine can hold: who imports whom, where `unsafe` may stand, how long a file may be.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room of the host, and the rooms that its code may name. A room contains those below it; the longest that fits counts.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("sketch", &[]),
    ("model", &["model"]),
    ("intake", &["intake", "model"]),
    ("runtime::loader", &["runtime::loader", "model", "clock"]),
    (
        "runtime::lanes",
        &["runtime::lanes", "runtime::loader", "model", "clock"],
    ),
    ("runtime", &["runtime", "intake", "model", "clock", "sketch"]),
    (
        "health",
        &[
            "health",
            "runtime::instance",
            "runtime::registry",
            "runtime::lanes",
            "model",
            "clock",
            "sketch",
        ],
    ),
    ("control", &["control", "health", "model", "runtime::loader"]),
    (
        "config",
        &["config", "health", "intake", "model", "runtime", "http"],
    ),
    (
        "host",
        &[
            "host", "control", "config", "health", "runtime", "intake", "model", "clock", "sketch",
        ],
    ),
    ("http", &["http", "control", "model"]),
    (
        "cli",
        &["cli", "app", "control", "config", "intake", "model", "clock"],
    ),
    (
        "app",
        &[
            "app", "host", "http", "control", "config", "health", "runtime", "intake", "model", "clock",
        ],
    ),
];

/// Files that decide and do nothing: they read no clock, do no I/O, start nothing.
const PURE: &[&str] = &[
    "host/src/health/aggregate.rs",
    "host/src/health/components.rs",
    "host/src/health/course.rs",
    "host/src/health/course/answer.rs",
    "host/src/health/course/deep.rs",
    "host/src/health/course/heap.rs",
    "host/src/health/course/patience.rs",
    "host/src/health/course/warm.rs",
    "host/src/health/deep/account.rs",
    "host/src/health/deep/book.rs",
    "host/src/health/deep/lived.rs",
    "host/src/health/deep/refused.rs",
    "host/src/health/evaluate/deep.rs",
    "host/src/health/evaluate/evidence.rs",
    "host/src/health/evaluate/heap.rs",
    "host/src/health/evaluate/mod.rs",
    "host/src/health/evaluate/track.rs",
    "host/src/health/policy.rs",
    "host/src/health/analysis/charts.rs",
    "host/src/health/analysis/drift.rs",
    "host/src/health/analysis/errors.rs",
    "host/src/health/analysis/flapping.rs",
    "host/src/health/analysis/fold.rs",
    "host/src/health/analysis/leak.rs",
    "host/src/health/analysis/mod.rs",
    "host/src/health/analysis/patterns/after_load.rs",
    "host/src/health/analysis/patterns/co_failing.rs",
    "host/src/health/analysis/patterns/mod.rs",
    "host/src/health/analysis/patterns/periodic.rs",
    "host/src/health/analysis/statistics.rs",
    "host/src/health/analysis/timeline.rs",
    "host/src/health/analysis/trend.rs",
    "host/src/health/analysis/uptime.rs",
    "host/src/control/since.rs",
    "host/src/cli/bars.rs",
    "host/src/cli/moment.rs",
    "host/src/health/engine/trips.rs",
    "host/src/health/record.rs",
    "host/src/health/report.rs",
    "host/src/health/schedule/cadence.rs",
    "host/src/health/schedule/round_trip.rs",
    "host/src/health/schedule/wheel.rs",
    "host/src/health/simulate/bounds.rs",
    "host/src/health/simulate/drive.rs",
    "host/src/health/simulate/fault.rs",
    "host/src/health/simulate/judge.rs",
    "host/src/health/simulate/mod.rs",
    "host/src/health/simulate/nature.rs",
    "host/src/health/simulate/plugin.rs",
    "host/src/health/simulate/random.rs",
    "host/src/health/simulate/report.rs",
    "host/src/health/simulate/seat.rs",
    "host/src/health/simulate/summary.rs",
    "host/src/health/simulate/systems.rs",
    "host/src/health/simulate/world.rs",
    "host/src/runtime/lifecycle.rs",
    "host/src/runtime/supervisor/spec.rs",
    "host/src/intake/duplicates.rs",
];
const NOT_PURE: &[&str] = &[
    "clock::",
    "std::fs",
    "tokio::",
    "SystemTime::now",
    "Instant::now",
    "std::thread",
    "std::env",
    "spawn(",
];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &[
    "host/src/runtime/loader/",
    "plugin-api/abi/src/",
    "plugin-api/src/sdk/gateway/",
    "plugin-api/src/sdk/alloc.rs",
    // Attributes of what a plugin exports; no block.
    "plugin-api/src/sdk/export.rs",
    // What the host is measured against: the same calls without its checks.
    "benches/src/raw.rs",
    "benches/plugin/",
    // Writes such code into a copy of the loader.
    "tests/tests/abi_growth/variant.rs",
    // The fault is the point.
    "sample-plugins/faults/",
];

const LINES_MAX: usize = 400;

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

/// The room of a file of the host: `host/src/runtime/lanes/pool.rs` is in `runtime::lanes::pool`.
fn room(file: &str) -> Option<String> {
    let inside = file.strip_prefix("host/src/")?.strip_suffix(".rs")?;
    if inside == "lib" || inside.starts_with("bin/") {
        return None;
    }
    Some(inside.trim_end_matches("/mod").replace('/', "::"))
}

/// Whether `room` is `other` or lies in it.
fn is_in(room: &str, other: &str) -> bool {
    room == other
        || room
            .strip_prefix(other)
            .is_some_and(|rest| rest.starts_with("::"))
}

/// The paths after `crate::` in some code, with the members of a braced list each on its own.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .unwrap_or(rest.len());
        let path = rest[..end].trim_end_matches(':');
        if rest[end..].starts_with('{') {
            let list = rest[end + 1..].split('}').next().unwrap_or_default();
            for member in list.split(',') {
                let member = member.split_whitespace().next().unwrap_or_default();
                let member = member.split('{').next().unwrap_or_default().trim_end_matches(':');
                found.insert(
                    [path, member]
                        .iter()
                        .filter(|p| !p.is_empty())
                        .copied()
                        .collect::<Vec<_>>()
                        .join("::"),
                );
            }
        } else {
            found.insert(path.to_owned());
        }
    }
    found
}

#[test]
fn nobody_imports_whom_they_must_not() {
    let mut breaches = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files() {
        let Some(room) = room(&file) else { continue };
        let rule = MAY_IMPORT
            .iter()
            .filter(|(of, _)| is_in(&room, of))
            .max_by_key(|(of, _)| of.len());
        let Some((of, allowed)) = rule else {
            breaches.push(format!(
                "{file}: the room {room} has no rule; add one to MAY_IMPORT"
            ));
            continue;
        };
        seen.insert(*of);
        for import in imports(&code(&file)) {
            // What `lib.rs` re-exports is named by its room.
            let import = if import == "Host" {
                "host".to_owned()
            } else {
                import
            };
            if !allowed.iter().any(|room| is_in(&import, room)) {
                breaches.push(format!("{file}: {of} must not import crate::{import}"));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
    let unused: Vec<_> = MAY_IMPORT
        .iter()
        .map(|(of, _)| of)
        .filter(|of| !seen.contains(*of))
        .collect();
    assert!(
        unused.is_empty(),
        "rules for rooms that are not there: {unused:?}"
    );
}

#[test]
fn the_rule_would_catch_a_breach() {
    let found = imports("use crate::{model::Digest, runtime::{loader::Slot}};\nlet x = crate::http::serve;");
    assert!(
        found.contains("model::Digest") && found.contains("http::serve"),
        "{found:?}"
    );
    assert!(found.iter().any(|path| path.starts_with("runtime")), "{found:?}");
    assert!(
        is_in("runtime::loader::slot", "runtime::loader") && !is_in("runtime::loaders", "runtime::loader")
    );
}

#[test]
fn what_decides_does_nothing() {
    for file in PURE {
        let code = code(file);
        let breach = NOT_PURE.iter().find(|word| code.contains(**word));
        assert!(
            breach.is_none(),
            "{file} is to be pure and has {:?}",
            breach.unwrap()
        );
    }
}

#[test]
fn unsafe_stands_only_where_it_may() {
    let mut breaches = Vec::new();
    for file in rust_files() {
        if UNSAFE.iter().any(|allowed| file.starts_with(allowed)) {
            continue;
        }
        for (number, line) in read(&file).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let is_block = ["unsafe {", "unsafe fn ", "unsafe impl ", "unsafe extern "];
            // Built from parts, so that this file does not hold them.
            if is_block.iter().any(|word| code.contains(word)) && !code.contains('"') {
                breaches.push(format!("{file}:{}", number + 1));
            }
        }
    }
    assert!(
        breaches.is_empty(),
        "unsafe outside its rooms:\n{}",
        breaches.join("\n")
    );
}

#[test]
fn files_are_short() {
    let lines = |file: &String| read(file).lines().count();
    let long: Vec<_> = rust_files()
        .into_iter()
        .map(|f| (lines(&f), f))
        .filter(|(n, _)| *n > LINES_MAX)
        .collect();
    assert!(
        long.is_empty(),
        "over {LINES_MAX} lines; is there a room inside that wants its own door? {long:?}"
    );
    let mut all: Vec<usize> = rust_files().iter().map(lines).collect();
    all.sort_unstable();
    assert!(
        all[all.len() / 2] <= 150,
        "the median file has {} lines",
        all[all.len() / 2]
    );
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
