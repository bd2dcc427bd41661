//! Exports three of the host's functions from the test programs, as an embedder's own build script does.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!(
            "cargo::rustc-link-arg=-Wl,--export-dynamic-symbol=pthread_create,--export-dynamic-symbol=pthread_key_create,\
             --export-dynamic-symbol=pthread_key_delete"
        );
    }
}
