//! The line that every embedder of the host puts into its build script: without it, unloading is not measured but refused.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!(
            "cargo::rustc-link-arg=-Wl,--export-dynamic-symbol=pthread_create,--export-dynamic-symbol=pthread_key_create,\
             --export-dynamic-symbol=pthread_key_delete"
        );
    }
}
