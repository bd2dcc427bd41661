//! For the test `header_bindgen`, with the feature `bindgen`: the C header as clang reads it, in Rust, and a table that sets each size,
//! alignment, offset and constant of it beside that of the Rust ABI. Which there are is read from the ABI's golden text.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "bindgen")]
    header::write();
}

#[cfg(feature = "bindgen")]
mod header {
    use std::fmt::Write;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    const HEADER: &str = "../plugin-api/include/extman_plugin.h";
    const GOLDEN: &str = "../plugin-api/abi/golden/abi-1.0.txt";

    pub(super) fn write() {
        for path in [HEADER, GOLDEN] {
            println!("cargo::rerun-if-changed={path}");
        }
        println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");
        let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        let golden = std::fs::read_to_string(GOLDEN).expect("the golden text is there");
        let bindings = bindgen::Builder::default()
            .header_contents("compared.h", &compared(&golden))
            .clang_args(["-std=c11".to_owned(), format!("-isystem{}", compilers_headers())])
            .allowlist_item("Extman.*|EXTMAN_.*|low_.*|high_.*")
            .generate_cstr(true)
            .layout_tests(false)
            .generate_comments(false)
            .generate()
            .expect("clang reads the header; where libclang is missing, install it and set LIBCLANG_PATH");
        bindings
            .write_to_file(out.join("header.rs"))
            .expect("OUT_DIR can be written");
        std::fs::write(out.join("pairs.rs"), pairs(&golden)).expect("OUT_DIR can be written");
    }

    /// The header, and two 32-bit halves of each number, so that clang itself evaluates what the header says: bindgen alone reads neither UINT64_C nor
    /// what has 64 bits.
    fn compared(golden: &str) -> String {
        let header = std::fs::canonicalize(HEADER).expect("the header is there");
        let mut text = format!("#include \"{}\"\n", header.display());
        for name in golden.lines().filter_map(number) {
            let _ = writeln!(
                text,
                "static const uint32_t low_{name} = (uint32_t)(EXTMAN_{name});\n\
                 static const uint32_t high_{name} = (uint32_t)((uint64_t)(EXTMAN_{name}) >> 32);"
            );
        }
        text
    }

    /// The name of the number that a line of the golden text declares.
    fn number(line: &str) -> Option<&str> {
        let (name, rest) = line.strip_prefix("const ")?.split_once(": ")?;
        (!rest.starts_with('&')).then_some(name)
    }

    /// Where the C compiler has `stddef.h`: libclang alone brings none.
    fn compilers_headers() -> String {
        let cc = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let found = Command::new(cc).arg("-print-file-name=include").output();
        let found = found.expect("there is a C compiler");
        let text = String::from_utf8(found.stdout).expect("the path is UTF-8");
        assert!(
            Path::new(text.trim()).join("stddef.h").exists(),
            "stddef.h is in {text}"
        );
        text.trim().to_owned()
    }

    /// `SIZES` and `NUMBERS` are lists of what, in the header, in Rust; `TEXTS` likewise.
    fn pairs(golden: &str) -> String {
        let (mut sizes, mut numbers, mut texts) = (String::new(), String::new(), String::new());
        let mut current = "";
        for line in golden.lines() {
            if let Some(name) = number(line) {
                let _ = writeln!(
                    numbers,
                    "(\"{name}\", (c::high_{name} as u64) << 32 | c::low_{name} as u64, abi::{name} as u64),"
                );
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            match *words {
                ["struct", name, ..] => {
                    current = name;
                    let _ = writeln!(
                        sizes,
                        "(\"size of {name}\", size_of::<c::Extman{name}>(), size_of::<abi::{name}>()),\n\
                         (\"alignment of {name}\", align_of::<c::Extman{name}>(), align_of::<abi::{name}>()),"
                    );
                }
                ["type", name, "=", ..] if name != "EntryFn" => {
                    let _ = writeln!(
                        sizes,
                        "(\"size of {name}\", size_of::<c::Extman{name}>(), size_of::<abi::{name}>()),"
                    );
                }
                ["const", name, ..] => {
                    let name = name.trim_end_matches(':');
                    let _ = writeln!(texts, "(\"{name}\", c::EXTMAN_{name}, abi::{name}),");
                }
                [field, ..] if line.starts_with("    ") => {
                    let field = field.trim_end_matches(':');
                    let _ = writeln!(
                        sizes,
                        "(\"offset of {current}.{field}\", offset_of!(c::Extman{current}, {field}), \
                         offset_of!(abi::{current}, {field})),"
                    );
                }
                _ => {}
            }
        }
        format!(
            "const SIZES: &[(&str, usize, usize)] = &[\n{sizes}];\n\
             const NUMBERS: &[(&str, u64, u64)] = &[\n{numbers}];\n\
             const TEXTS: &[(&str, &core::ffi::CStr, &str)] = &[\n{texts}];\n"
        )
    }
}
