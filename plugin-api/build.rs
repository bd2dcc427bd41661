//! Passes on two facts that only a build script gets: the target, and the compiler's version. The manifest frame
//! carries both.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!(
        "cargo::rustc-env=EXTMAN_TARGET={}",
        std::env::var("TARGET").unwrap_or_default()
    );
    let compiler = std::env::var_os("RUSTC")
        .and_then(|rustc| Command::new(rustc).arg("--version").output().ok())
        .filter(|out| out.status.success())
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        .unwrap_or_default();
    println!("cargo::rustc-env=EXTMAN_COMPILER={compiler}");
}
