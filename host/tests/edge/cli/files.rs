//! What needs no host: files.

use super::{run, run_in};

const TOML: &str =
    "[plugin]\nid = \"x\"\nversion = \"1.0.0\"\nkind = \"general\"\n[[capability]]\nname = \"a.b\"\n";

#[test]
fn a_file_that_is_no_plugin_is_refused_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.so"), "some text").unwrap();
    let ran = run_in(dir.path(), &["inspect", "a.so", "missing.so"]);
    assert_eq!((ran.code, &*ran.err), (1, ""));
    assert!(
        ran.text().starts_with("a.so\n  refused (text): the file is text"),
        "{}",
        ran.text()
    );
    assert!(
        ran.text().contains("\n\nmissing.so\n  refused ("),
        "{}",
        ran.text()
    );
    let ran = run_in(dir.path(), &["inspect", "--json", "a.so"]);
    let envelope = ran.json();
    assert_eq!((ran.code, &envelope["ok"]), (1, &true.into()), "it was inspected");
    assert_eq!(envelope["data"][0]["loadable"], false);
    assert_eq!(envelope["data"][0]["error"]["code"], "text");
    let ran = run_in(dir.path(), &["check", "a.so"]);
    assert_eq!((ran.code, ran.text()), (1, ""));
    assert!(ran.err.contains("a.so"), "{}", ran.err);
}

#[test]
fn a_program_is_a_library_of_no_use_and_its_facts_are_shown() {
    let ran = run(&["inspect", env!("CARGO_BIN_EXE_extman")]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.text().contains("refused (executable)"), "{}", ran.text());
}

#[test]
fn a_manifest_becomes_c() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plugin.toml"), TOML).unwrap();
    let ran = run_in(dir.path(), &["manifest", "plugin.toml"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    assert!(
        ran.text().contains("#include \"extman_plugin.h\""),
        "{}",
        ran.text()
    );
    let from_input = super::run_with_input(&["manifest", "-"], TOML.as_bytes());
    assert_eq!(from_input.out, ran.out);
    std::fs::write(dir.path().join("plugin.toml"), "[plugin]\nid = 3\n").unwrap();
    let ran = run_in(dir.path(), &["manifest", "plugin.toml"]);
    assert_eq!((ran.code, ran.text()), (1, ""));
    assert!(
        ran.err.contains("plugin.toml") && ran.err.contains("line 2"),
        "{}",
        ran.err
    );
    assert_eq!(run_in(dir.path(), &["manifest", "missing.toml"]).code, 2);
}
