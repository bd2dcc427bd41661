//! Exports the functions that the host puts in the C library's place from its executables, so that plugins bind to them. Without this
//! the loader keeps libraries in memory instead of closing them. An embedder puts the same line into its own build script.

const INTERPOSED: [&str; 36] = [
    "pthread_create",
    "pthread_key_create",
    "pthread_key_delete",
    "timer_create",
    "timer_delete",
    "mq_notify",
    "aio_read",
    "aio_read64",
    "aio_write",
    "aio_write64",
    "aio_fsync",
    "aio_fsync64",
    "lio_listio",
    "lio_listio64",
    "getaddrinfo_a",
    "on_exit",
    "close",
    "dup2",
    "dup3",
    "close_range",
    "closefrom",
    "chdir",
    "fchdir",
    "umask",
    "setlocale",
    "setrlimit",
    "setrlimit64",
    "pthread_exit",
    "sigaction",
    "signal",
    "setenv",
    "putenv",
    "unsetenv",
    "clearenv",
    "__cxa_atexit",
    "__cxa_thread_atexit_impl",
];

fn main() {
    println!("cargo::rerun-if-env-changed=CARGO_CFG_TARGET_OS");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        for symbol in INTERPOSED {
            println!("cargo::rustc-link-arg=-Wl,--export-dynamic-symbol={symbol}");
        }
    }
}
