//! The detector says what Magika's Python package says, of whole, cut, repeated and damaged files of many types.

use content_type::{Answer, Detector};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const SCORE_DIFFERENCE_MAX: f64 = 1e-4;

#[derive(Deserialize)]
struct Expected {
    file: String,
    sample: String,
    mode: String,
    label: String,
    mime_type: String,
    group: String,
    description: String,
    extensions: Vec<String>,
    is_text: bool,
    score: f64,
    network_label: String,
    reason: String,
}

#[test]
fn agrees_with_the_python_package() {
    let folder = tempfile::tempdir().unwrap();
    let expected = reference(folder.path());
    let mut labels = BTreeSet::new();
    let mut overwritten = 0;
    let mut most: f64 = 0.0;
    let mut wrong = Vec::new();
    for mode in ["high-confidence", "medium-confidence", "best-guess"] {
        let detector = Detector::load(&models().join("magika"), parsed(mode)).unwrap();
        for expected in expected.iter().filter(|e| e.mode == mode) {
            let file = std::fs::read(folder.path().join(&expected.file)).unwrap();
            let found = detector.detect(&file);
            if let Some(difference) = difference(expected, &found) {
                wrong.push(format!("{} ({mode}): {difference}", expected.sample));
            }
            most = most.max((found.score - expected.score).abs());
            labels.insert(expected.network_label.clone());
            overwritten += usize::from(found.overwritten.is_some());
        }
    }
    println!(
        "{} comparisons, {} labels, largest difference of a score: {most:e}",
        expected.len(),
        labels.len()
    );
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        expected.len(),
        wrong.join("\n")
    );
    assert!(expected.len() > 900, "only {} comparisons", expected.len());
    assert!(
        labels.len() >= 60,
        "only {} labels were met: {labels:?}",
        labels.len()
    );
    assert!(overwritten > 20, "only {overwritten} answers were overwritten");
}

fn difference(expected: &Expected, found: &Answer<'_>) -> Option<String> {
    let reason = serde_json::to_value(found.overwritten.as_ref().map(|o| o.reason)).unwrap();
    let network_label = match &found.overwritten {
        Some(overwritten) => overwritten.label,
        None if expected.network_label == "undefined" => "undefined",
        None => found.label,
    };
    let same = found.label == expected.label
        && found.mime_type == expected.mime_type
        && found.group == expected.group
        && found.description == expected.description
        && found.extensions == expected.extensions
        && found.is_text == expected.is_text
        && (found.score - expected.score).abs() <= SCORE_DIFFERENCE_MAX
        && reason.as_str().unwrap_or("none") == expected.reason
        && network_label == expected.network_label;
    (!same).then(|| {
        format!(
            "expected {} {:.6} (network: {}, reason: {}), found {found:?}",
            expected.label, expected.score, expected.network_label, expected.reason
        )
    })
}

fn reference(folder: &Path) -> Vec<Expected> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference.py");
    let python = models().join("venv/bin/python");
    let model = models().join("magika");
    assert!(
        python.exists() && model.exists(),
        "{} or {} is not there; run `cargo xtask models` first",
        python.display(),
        model.display()
    );
    let output = Command::new(python)
        .arg(script)
        .arg(folder)
        .arg(model)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn parsed(mode: &str) -> content_type::rules::Mode {
    serde_json::from_value(mode.into()).unwrap()
}

fn models() -> PathBuf {
    match std::env::var_os("EXTMAN_MODELS") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/models"),
    }
}
