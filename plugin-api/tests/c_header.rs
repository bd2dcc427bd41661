//! The C header says the same as the Rust structs, and compiles where authors will compile it.

mod abi;
mod c;

use abi::Abi;
use std::fmt::Write;
use std::path::Path;

/// Every name that the ABI declares, as the header spells it, printed by C in the words of [`by_rust`].
fn by_c(abi: &Abi) -> String {
    let mut out = String::from("#include <inttypes.h>\n#include <stdio.h>\n#include \"extman_plugin.h\"\n");
    // Writing to a String does not fail.
    for s in &abi.structs {
        let _ = writeln!(
            out,
            "struct align_{0} {{ char first; Extman{0} second; }};",
            s.name
        );
    }
    out.push_str("int main(void) {\n");
    for constant in &abi.constants {
        let name = &constant.name;
        let _ = if constant.ty == "&str" {
            writeln!(out, "printf(\"{name} %s\\n\", EXTMAN_{name});")
        } else {
            writeln!(
                out,
                "printf(\"{name} %\" PRIu64 \"\\n\", (uint64_t)EXTMAN_{name});"
            )
        };
    }
    for alias in &abi.aliases {
        let name = &alias.name;
        let _ = writeln!(out, "printf(\"{name} %zu\\n\", sizeof(Extman{name}));");
    }
    for s in &abi.structs {
        let name = &s.name;
        let _ = writeln!(
            out,
            "printf(\"{name} %zu align %zu\\n\", sizeof(Extman{name}), offsetof(struct align_{name}, second));"
        );
        for field in &s.fields {
            let (field, on) = (&field.name, format!("Extman{name}"));
            let _ = writeln!(
                out,
                "printf(\"{name}.{field} %zu at %zu\\n\", sizeof((({on} *)0)->{field}), offsetof({on}, {field}));"
            );
        }
    }
    out + "return 0;\n}\n"
}

fn by_rust(abi: &Abi) -> String {
    let mut out = String::new();
    for constant in &abi.constants {
        let _ = writeln!(out, "{} {}", constant.name, constant.value);
    }
    for alias in &abi.aliases {
        let size = match alias.of.as_str() {
            "u32" => 4,
            "u64" => 8,
            _ => size_of::<usize>(),
        };
        let _ = writeln!(out, "{} {size}", alias.name);
    }
    for s in &abi.structs {
        let _ = writeln!(out, "{} {} align {}", s.name, s.size, s.align);
        for field in &s.fields {
            let _ = writeln!(
                out,
                "{}.{} {} at {}",
                s.name, field.name, field.size, field.offset
            );
        }
    }
    out
}

fn agrees(compiler: &str, standard: &str, file: &str) {
    let folder = tempfile::tempdir().unwrap();
    let abi = abi::current();
    let (source, program) = (folder.path().join(file), folder.path().join("layout"));
    std::fs::write(&source, by_c(&abi)).unwrap();
    c::compile(
        compiler,
        &[&[standard][..], &c::STRICT].concat(),
        &[&source],
        &program,
    );
    let said = c::run(&program);
    for (c, rust) in said.lines().zip(by_rust(&abi).lines()) {
        assert_eq!(c, rust, "the header (left) and the Rust structs (right) differ");
    }
    assert_eq!(said, by_rust(&abi));
}

#[test]
fn c_sees_every_constant_size_and_offset_as_rust_does() {
    agrees("cc", "-std=c11", "layout.c");
}

#[test]
fn cpp_sees_every_constant_size_and_offset_as_rust_does() {
    agrees("c++", "-std=c++17", "layout.cpp");
}

#[test]
fn helpers_do_what_they_say() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c");
    let folder = tempfile::tempdir().unwrap();
    for (compiler, standard, file) in [
        ("cc", "-std=c11", "helpers.c"),
        ("c++", "-std=c++11", "guarded.cpp"),
        ("c++", "-std=c++17", "guarded.cpp"),
    ] {
        let program = folder.path().join("program");
        c::compile(
            compiler,
            &[&[standard][..], &c::STRICT].concat(),
            &[&sources.join(file)],
            &program,
        );
        assert_eq!(c::run(&program), "ok\n");
    }
}

#[test]
fn every_function_of_the_boundary_is_tagged() {
    let header = include_str!("../include/extman_plugin.h");
    let types = header
        .split("/* ---- For convenience")
        .next()
        .expect("a first part");
    let mut functions = 0;
    for (i, line) in types.lines().enumerate() {
        if !line.contains(")(") && !line.contains("(*") || line.trim_start().starts_with('*') {
            continue;
        }
        functions += 1;
        let comment: Vec<&str> = types.lines().take(i).collect();
        let start = comment
            .iter()
            .rposition(|line| line.trim() == "/**")
            .expect("a comment");
        let comment = comment[start..].join("\n");
        for tag in ["[state]", "[thread]"] {
            assert!(comment.contains(tag), "line {}: {line} has no {tag}", i + 1);
        }
    }
    let declared = abi::current();
    let pointers = declared
        .structs
        .iter()
        .flat_map(|s| &s.fields)
        .filter(|field| field.ty.contains("fn("));
    assert_eq!(
        functions,
        pointers.count() + 1,
        "each function pointer and the entry are seen"
    );
    assert!(!header.contains("\\["), "rustdoc's escapes are gone");
    assert!(!header.contains("[`"), "rustdoc's links are gone");
}
