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
    assert_eq!(
        (ran.code, &envelope["ok"]),
        (1, &false.into()),
        "as the exit code says"
    );
    assert_eq!(envelope["error"]["kind"], "refused");
    assert!(
        envelope["error"]["text"].as_str().unwrap().contains("a.so"),
        "{envelope}"
    );
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
fn of_a_directory_what_is_inside_is_inspected() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run_in(dir.path(), &["inspect", "."]);
    assert_eq!((ran.code, ran.text()), (2, ""));
    let words: Vec<_> = ran.err.split_whitespace().collect();
    assert!(words.join(" ").contains("name a file"), "{}", ran.err);
    for name in ["b.so", "a.so", "readme.txt"] {
        std::fs::write(dir.path().join(name), "some text").unwrap();
    }
    std::fs::create_dir(dir.path().join("c.so")).unwrap();
    let ran = run_in(dir.path(), &["inspect", "--json", "."]);
    let envelope = ran.json();
    let paths: Vec<_> = envelope["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    assert_eq!((ran.code, paths), (1, vec!["./a.so", "./b.so", "./c.so"]));
}

#[test]
fn advice_is_for_whoever_typed_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run_in(dir.path(), &["check", "nope.so"]);
    let words: Vec<_> = ran.err.split_whitespace().collect();
    assert_eq!(ran.code, 1);
    assert_eq!(
        words.join(" "),
        "error: nope.so is not there, or went away a moment ago; check the path"
    );
    let ran = run_in(dir.path(), &["check", "."]);
    assert!(
        ran.err.contains("name a file") && !ran.err.contains("remove"),
        "{}",
        ran.err
    );
}

#[test]
fn a_manifest_with_fields_that_mean_nothing_is_printed_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plugin.toml"), format!("{TOML}colour = 1\n")).unwrap();
    let ran = run_in(dir.path(), &["manifest", "plugin.toml"]);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.err.matches("capability.0.colour").count(), 1, "{}", ran.err);
    let ran = run_in(dir.path(), &["manifest", "--json", "plugin.toml"]);
    assert_eq!(
        ran.json()["data"]["unknown_manifest_fields"]["capability.0.colour"],
        1
    );
    assert_eq!(ran.json()["warnings"].as_array().unwrap().len(), 1);
}

#[test]
fn a_configuration_of_the_host_that_cannot_be_used_is_usage() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("extman.toml"), "x = 1\n").unwrap();
    let ran = run_in(dir.path(), &["check", "a.so", "--host-config", "extman.toml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("extman.toml:1:1"), "{}", ran.err);
}

#[test]
fn the_header_for_plugins_in_c_is_printed_as_it_is() {
    let ran = super::run(&["manifest", "--header"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    assert_eq!(
        ran.text(),
        include_str!("../../../../../plugin-api/include/extman_plugin.h")
    );
    assert_eq!(super::run(&["manifest"]).code, 2);
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
