//! Each fault compiles, and has the manifest that its name promises.

use extman_plugin_api::manifest::{frame, schema::Manifest};
use object::{Object, ObjectSection, ObjectSymbol};

#[test]
fn each_fault_compiles_and_has_its_own_frame() {
    let folder = tempfile::tempdir().unwrap();
    for name in faults_build::names() {
        let library = faults_build::c_fault(name, folder.path()).unwrap();
        assert_eq!(library, folder.path().join(format!("lib{name}.so")));
        let bytes = std::fs::read(&library).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let section = file.section_by_name(frame::SECTION_ELF);
        if *name == "no-manifest" {
            assert!(section.is_none(), "{name} has a manifest");
            continue;
        }
        let read = frame::read(section.unwrap().data().unwrap());
        if *name == "two-frames" {
            assert_eq!(read, Err(frame::FrameError::Trailing));
            continue;
        }
        let facts = read.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((facts.abi_major, facts.abi_minor), (1, 0), "{name}");
        assert_eq!(
            (facts.panic, facts.sdk),
            (frame::PANIC_NONE, frame::SDK_C),
            "{name}"
        );
        let manifest: Manifest = facts.toml.parse().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(manifest.plugin.id, format!("fault-{name}"));
        assert!(manifest.unknown.is_empty(), "{name}: {:?}", manifest.unknown);
        let symbol = file
            .dynamic_symbols()
            .any(|symbol| symbol.name() == Ok(frame::SYMBOL));
        assert!(symbol, "{name} does not export {}", frame::SYMBOL);
    }
}

#[test]
fn there_is_one_source_for_each_name_and_a_line_in_the_readme() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources: Vec<String> = std::fs::read_dir(here.join("../c"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "c" || e == "cc"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    sources.sort();
    assert_eq!(sources, faults_build::names());

    let readme = std::fs::read_to_string(here.join("../README.md")).unwrap();
    let table = readme.split("## In C").nth(1).unwrap();
    let rows: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(rows, faults_build::names());
}

#[test]
fn an_unknown_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = faults_build::c_fault("../echo", folder.path()).unwrap_err();
    assert!(error.contains("there is no fault"), "{error}");
}
