//! Exports three of the host's functions from its executables, so that plugins bind to them and not to glibc's. Without
//! this the loader keeps libraries in memory instead of closing them. An embedder puts the same line into its own build
//! script.

fn main() {
    println!("cargo::rerun-if-env-changed=CARGO_CFG_TARGET_OS");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!(
            "cargo::rustc-link-arg=-Wl,--export-dynamic-symbol=pthread_create,--export-dynamic-symbol=pthread_key_create,\
             --export-dynamic-symbol=pthread_key_delete"
        );
    }
}
