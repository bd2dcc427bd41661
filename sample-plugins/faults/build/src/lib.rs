//! Builds the faults that are written in C, one library each. What a fault does stands at the top of its file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The environment variable that names the file whose appearance ends a hang or a left thread.
pub const RELEASE_VARIABLE: &str = "EXTMAN_FAULT_RELEASE";
/// The environment variable that names the file that `write-file-constructor` makes, and every hang when it begins.
pub const FILE_VARIABLE: &str = "EXTMAN_FAULT_FILE";

/// The names that [`c_fault`] takes, sorted.
pub fn names() -> &'static [&'static str] {
    NAMES
}

/// Compiles the fault `name` with `$CC` (C++ with `$CXX`) into `<out_dir>/lib<name>.so` and returns that path. Its id is
/// `fault-<name>`. Building the same one twice at once is fine.
///
/// # Errors
/// There is no such fault, the folder can't be written, or the compiler is missing or fails; the text has its output.
pub fn c_fault(name: &str, out_dir: &Path) -> Result<PathBuf, String> {
    if !NAMES.contains(&name) {
        return Err(format!(
            "there is no fault {name:?}; faults_build::names() lists them"
        ));
    }
    std::fs::create_dir_all(out_dir).map_err(|e| {
        format!(
            "{}: can't make the folder for the fault {name:?}: {e}; choose one that can be written",
            out_dir.display()
        )
    })?;
    let (compiler, mut command) = compiler_for(name);
    let library = out_dir.join(format!("lib{name}.so"));
    let unfinished = out_dir.join(unfinished_name(name));
    command
        .args(FLAGS)
        .args(extra_flags(name))
        .arg("-o")
        .arg(&unfinished);
    let out = command.output().map_err(|e| {
        format!("can't run the compiler {compiler:?}: {e}; install one or name it in CC or CXX")
    })?;
    if !out.status.success() {
        return Err(format!(
            "{compiler:?} can't build the fault {name:?} ({}):\n{}",
            out.status,
            String::from_utf8_lossy(&out.stderr)
        ));
    }
    std::fs::rename(&unfinished, &library)
        .map_err(|e| format!("{}: can't put the built fault there: {e}", library.display()))?;
    Ok(library)
}

const NAMES: &[&str] = &[
    "affine",
    "bad-magic",
    "checks",
    "crashes",
    "echo",
    "every-entry",
    "exit-constructor",
    "hang-constructor",
    "hang-finaliser",
    "ignores-lengths",
    "no-manifest",
    "nodelete",
    "null-create",
    "null-vtable",
    "openmp",
    "page-that-never-comes",
    "process",
    "pthread-alive",
    "pthread-exit",
    "pthread-key",
    "relay",
    "segfault-constructor",
    "serial",
    "signal-handler",
    "static-tls",
    "std-thread-alive",
    "thrd-create-alive",
    "two-frames",
    "unique-symbol",
    "write-file-constructor",
    "wrong-abi-major",
    "wrong-struct-size",
];

const FLAGS: &[&str] = &[
    "-O1",
    "-g",
    "-fPIC",
    "-shared",
    "-pthread",
    "-Wall",
    "-Wextra",
    "-Wl,--as-needed",
];

fn extra_flags(name: &str) -> &'static [&'static str] {
    match name {
        "nodelete" => &["-Wl,-z,nodelete"],
        _ => &[],
    }
}

/// The compiler's name, and its command with the language's flags and the source.
fn compiler_for(name: &str) -> (String, Command) {
    let (variable, default, standard, extension) = match name {
        "std-thread-alive" | "unique-symbol" => ("CXX", "c++", "-std=c++17", "cc"),
        _ => ("CC", "cc", "-std=c11", "c"),
    };
    let chosen = std::env::var(variable).unwrap_or_default();
    let mut words = chosen.split_whitespace();
    let compiler = words.next().unwrap_or(default).to_owned();
    let mut command = Command::new(&compiler);
    command
        .args(words)
        .args([OsStr::new(standard), OsStr::new("-D_GNU_SOURCE")])
        .arg(sources().join(format!("{name}.{extension}")));
    (compiler, command)
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../c")
}

fn unfinished_name(name: &str) -> String {
    static BUILDS: AtomicU32 = AtomicU32::new(0);
    let build = BUILDS.fetch_add(1, Ordering::Relaxed);
    format!(".{name}.{}.{build}", std::process::id())
}
