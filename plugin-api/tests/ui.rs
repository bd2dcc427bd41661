//! What the compiler says to an author who makes a mistake with `export_plugin!`.
//!
//! Each folder in `ui/` is a plugin: `lib.rs`, its `plugin.toml`, and `expected`, whose lines must all be in the
//! compiler's first error; without that file it must compile. The macro reads `plugin.toml` from beside the crate's
//! Cargo.toml, so each case is a package of its own, and one run of cargo checks them all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn mistakes_are_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let cases = cases(&folder);
    let errors = check(&workspace(&folder, &cases));
    let mut wrong = String::new();
    for case in &cases {
        let expected = std::fs::read_to_string(folder.join(case).join("expected")).ok();
        let said = errors.get(case).map_or("", |errors| &errors[0]);
        let as_expected = match &expected {
            Some(lines) => !lines.trim().is_empty() && lines.lines().all(|line| said.contains(line.trim())),
            None => said.is_empty(),
        };
        if !as_expected {
            wrong += &format!("== {case}: expected {expected:?}; the compiler says:\n{said}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(errors.keys().all(|name| cases.contains(name)), "{errors:?}");
}

fn cases(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("a readable folder"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().expect("names in UTF-8"))
        .collect();
    names.sort();
    names
}

/// Lays out a workspace with a package for each case, with the dependencies' versions of this one.
fn workspace(folder: &Path, cases: &[String]) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui");
    let api = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A manifest of an earlier run must not be found by a case that has none.
    let _ = std::fs::remove_dir_all(&root);
    for case in cases {
        let package = root.join(case);
        write(
            &package.join("Cargo.toml"),
            &format!(
                "[package]\nname = {case:?}\nversion = \"1.0.0\"\nedition = \"2024\"\n[lib]\npath = {:?}\n\
                 [dependencies]\nextman-plugin-api = {{ path = {api:?} }}\n",
                folder.join(case).join("lib.rs")
            ),
        );
        if let Ok(manifest) = std::fs::read_to_string(folder.join(case).join("plugin.toml")) {
            write(&package.join("plugin.toml"), &manifest);
        }
    }
    write(
        &root.join("Cargo.toml"),
        &format!("[workspace]\nresolver = \"3\"\nmembers = {cases:?}\n"),
    );
    let lock = api.parent().expect("the workspace").join("Cargo.lock");
    std::fs::copy(lock, root.join("Cargo.lock")).expect("the workspace's lock file can be copied");
    root
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("the target folder can be written");
    std::fs::write(path, text).expect("the target folder can be written");
}

/// The rendered errors of each case.
fn check(workspace: &Path) -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "check",
            "--keep-going",
            "--offline",
            "--quiet",
            "--message-format=json",
            "--workspace",
            "--target-dir",
        ])
        // Shared with the workspace, so that the dependencies are compiled once.
        .arg(
            Path::new(env!("CARGO_TARGET_TMPDIR"))
                .parent()
                .expect("the target folder"),
        )
        .current_dir(workspace)
        .output()
        .expect("cargo runs");
    let mut errors: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut messages = 0;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line).expect("cargo prints JSON");
        messages += 1;
        if message["reason"] == "compiler-message" && message["message"]["level"] == "error" {
            let name = message["target"]["name"]
                .as_str()
                .expect("a target's name")
                .replace('_', "-");
            let text = message["message"]["rendered"]
                .as_str()
                .expect("a text")
                .to_owned();
            errors.entry(name).or_default().push(text);
        }
    }
    assert!(
        messages > 0,
        "cargo check did not start:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    errors
}
