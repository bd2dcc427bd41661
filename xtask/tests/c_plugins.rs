//! The plugins in C, as built for a host; and the header that they are built with.

mod driver;

use driver::Driver;
use extman_plugin_api::abi::{ENTRY_SYMBOL, STATUS_OK, STATUS_UNIMPLEMENTED};
use extman_plugin_api::manifest::frame;
use object::{Object, ObjectSection, ObjectSymbol};

#[test]
fn the_header_is_current() {
    xtask::header::check().unwrap();
}

#[test]
fn libraries_carry_their_manifest_and_export_nothing_else() {
    for name in ["minimal-c", "hash-embedder"] {
        let dir = xtask::root().join("sample-plugins").join(name);
        let out = tempfile::tempdir().unwrap();
        let library = xtask::plugins::build_c(&dir, out.path()).unwrap();
        assert_eq!(library, out.path().join(xtask::plugins::library_name(name)));
        assert_eq!(
            std::fs::read_dir(out.path()).unwrap().count(),
            1,
            "only the library is left"
        );

        let bytes = std::fs::read(&library).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let section = file
            .section_by_name(frame::SECTION_ELF)
            .expect("the manifest's section");
        let facts = frame::read(section.data().unwrap()).unwrap();
        assert_eq!(
            facts.toml,
            std::fs::read_to_string(dir.join("plugin.toml")).unwrap()
        );
        assert_eq!(facts.sdk, frame::SDK_C);
        let mut exported: Vec<&str> = file
            .dynamic_symbols()
            .filter(|symbol| symbol.is_definition())
            .filter_map(|symbol| symbol.name().ok())
            .collect();
        exported.sort_unstable();
        assert_eq!(exported, [frame::SYMBOL, ENTRY_SYMBOL]);
    }
}

#[test]
fn the_minimal_plugin_is_short_and_gives_back_its_input() {
    let source = include_str!("../../sample-plugins/minimal-c/plugin.c");
    assert!(source.lines().count() < 60);
    let driver = Driver::new("sample-plugins/minimal-c");
    let answer = driver.answer(&["invoke", "bytes.echo"], b"a\0b\nc");
    assert_eq!((answer.status, answer.error.as_str()), (STATUS_OK, ""));
    assert_eq!(answer.content_type, "application/json");
    assert_eq!(answer.output, b"a\0b\nc");
    assert_eq!(
        driver.answer(&["invoke", "bytes.other"], b"").status,
        STATUS_UNIMPLEMENTED
    );
}
