//! Libraries beside a plugin's own: extension modules that bind to the plugin's symbols (`symbols = "global"`), and system libraries
//! that its manifest names (`libraries`).

use crate::answers::{Answers, plugin};
use crate::served::{Place, Served};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A library from this C code, in the place's own folder.
fn library(place: &Place, name: &str, code: &str) -> PathBuf {
    let (source, library) = (
        place.path().join(format!("{name}.c")),
        place.path().join(format!("lib{name}.so")),
    );
    std::fs::write(&source, code).expect("written");
    let built = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg(format!("-Wl,-soname,lib{name}.so"))
        .status();
    assert!(built.is_ok_and(|status| status.success()), "{name} is built");
    library
}

/// A plugin as an interpreter is one: its `create` opens an extension module, which calls back into the plugin's own functions.
fn interpreter(extension: &Path, fields: &'static str) -> Answers {
    plugin("interpreter", "1.0.0", "bound")
        .says_of_itself(fields)
        .code(
            "#include <dlfcn.h>\n__attribute__((visibility(\"default\"))) int interpreter_value(void);\n\
             int interpreter_value(void) { return 41; }",
        )
        .in_create(format!(
            r#"void *extension = dlopen({extension:?}, RTLD_NOW);
            if (extension == NULL) {{ return extman_fail(error, EXTMAN_STATUS_INTERNAL, dlerror()); }}
            int (*value)(void) = (int (*)(void))dlsym(extension, "extension_value");
            int said = value();
            dlclose(extension);
            if (said != 42) {{ return extman_fail(error, EXTMAN_STATUS_INTERNAL, "bound to another function"); }}"#
        ))
}

/// A host with that plugin, vetted as by default.
fn with_interpreter(fields: &'static str) -> Served {
    let place = Place::default();
    let extension = library(
        &place,
        "extension",
        "extern int interpreter_value(void);\nint extension_value(void) { return interpreter_value() + 1; }",
    );
    let plugin = interpreter(&extension, fields).build(place.path());
    place.put(&plugin, "interpreter.so");
    let host = place.serve("supervision.restart = \"never\"\n");
    host.until_ready();
    host
}

#[test]
fn extension_module_binds_to_a_plugin_whose_symbols_are_global() {
    let host = with_interpreter("symbols = \"global\"");
    assert_eq!(
        host.lifecycle("interpreter"),
        "running",
        "{}",
        host.plugin("interpreter")
    );
    assert_eq!(host.ask("interpreter"), "bound");
    let (status, said) = host.change("interpreter", "unload");
    assert_eq!(status, 200, "{said}");
    assert_eq!(host.plugin("interpreter")["unload"]["verdict"], "unmapped");
    host.stop();
}

#[test]
fn extension_module_does_not_bind_to_a_plugin_whose_symbols_are_its_own() {
    let host = with_interpreter("");
    let view = host.plugin("interpreter");
    let cause = view["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("undefined symbol: interpreter_value"), "{view}");
    assert_eq!(view["lifecycle"], "failed", "{view}");
    host.stop();
}

/// A plugin that is linked with a library which no search of the dynamic loader finds.
fn linked(place: &Place, library: &Path, fields: &'static str) {
    let argument: &'static str = Box::leak(library.to_string_lossy().into_owned().into_boxed_str());
    let plugin = plugin("linked", "1.0.0", "linked")
        .says_of_itself(fields)
        .code("extern int elsewhere_value(void);")
        .in_create("if (elsewhere_value() != 7) { abort(); }")
        .built_with(&[argument])
        .build(place.path());
    place.put(&plugin, "linked.so");
}

fn elsewhere(place: &Place) -> PathBuf {
    library(place, "elsewhere", "int elsewhere_value(void) { return 7; }")
}

const NAMED: &str = "libraries = [\"libelsewhere.so\"]";

#[test]
fn library_that_the_loader_does_not_find_is_refused_with_the_manifest_field_that_allows_it() {
    let place = Place::default();
    let library = elsewhere(&place);
    linked(&place, &library, "");
    let host = place.serve("");
    host.until_ready();
    let refused = host.refused("linked.so");
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("libelsewhere.so") && reason.contains("[plugin] libraries"),
        "{refused}"
    );
    host.stop();
}

#[test]
fn library_that_the_manifest_names_and_nobody_has_is_refused_with_the_loaders_own_words() {
    let place = Place::default();
    let library = elsewhere(&place);
    linked(&place, &library, NAMED);
    let host = place.serve("");
    host.until_ready();
    let view = host.plugin("linked");
    let cause = view["cause"].as_str().unwrap_or_default();
    assert!(
        cause.contains("libelsewhere.so: cannot open shared object file"),
        "{view}"
    );
    // What is missing around a plugin is no fault of its bytes: with the library there, it is taken without an operator's word.
    let place = host.stopped();
    let mut command = place.command("");
    command.env("LD_PRELOAD", &library);
    let host = place.serve_by(command);
    host.until_ready();
    assert_eq!(host.ask("linked"), "linked", "{}", host.plugin("linked"));
    host.stop();
}
