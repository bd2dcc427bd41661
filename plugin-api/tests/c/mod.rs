//! Runs the C and C++ compilers for the tests. A test that needs one fails without it.

use std::path::Path;
use std::process::Command;

/// The flags under which what we ship must be clean.
pub const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// Compiles; panics with the compiler's words.
pub fn compile(compiler: &str, arguments: &[&str], sources: &[&Path], out: &Path) {
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/include");
    let output = Command::new(compiler)
        .args(arguments)
        .args(["-I", include, "-o"])
        .arg(out)
        .args(sources)
        .output()
        .unwrap_or_else(|e| panic!("this test needs the compiler `{compiler}`: {e}"));
    assert!(
        output.status.success(),
        "{compiler} {arguments:?} {sources:?}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs a program; its standard output.
#[allow(dead_code)]
pub fn run(program: &Path) -> String {
    let output = Command::new(program).output().expect("the compiled program runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("the program prints UTF-8")
}
