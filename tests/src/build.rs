//! Building the plugins and programs that tests need, each once in a process. Cargo's own lock keeps processes apart; its target
//! folder is another one than the outer `cargo test` holds.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The library of a package of this workspace.
pub fn plugin(package: &str) -> PathBuf {
    once(&format!("plugin {package}"), || {
        cargo(&xtask::root(), &folder("test-plugins"), &["-p", package], package)
    })
}

/// The worker program.
pub fn worker() -> PathBuf {
    let what = ["-p", "extman-runtime", "--bin", "extman-worker"];
    once("worker", || {
        cargo(&xtask::root(), &folder("test-plugins"), &what, "extman-worker")
    })
}

/// `fault-host` without the linker argument.
pub fn host_without_interposition() -> PathBuf {
    let name = "extman-no-interposition";
    once(name, || {
        cargo(&xtask::root(), &folder("test-plugins"), &["-p", name], name)
    })
}

/// The library of a fault in C.
pub fn c_fault(name: &str) -> PathBuf {
    once(&format!("fault {name}"), || {
        faults_build::c_fault(name, &folder("test-plugins/c")).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// The library of a sample plugin in C.
pub fn c_plugin(name: &str) -> PathBuf {
    once(&format!("c {name}"), || {
        let sources = xtask::root().join("sample-plugins").join(name);
        xtask::plugins::build_c(&sources, &folder("test-plugins/c")).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// A library from this C code, to be preloaded into a program.
///
/// # Panics
/// The compiler refuses.
pub fn preloaded(name: &str, code: &str) -> PathBuf {
    once(&format!("preloaded {name}"), || {
        let folder = folder("test-plugins/preloaded");
        std::fs::create_dir_all(&folder).expect("a folder for libraries");
        // A name of this process's own: another test program may build the same.
        let (source, library) = (
            folder.join(format!("{name}.c")),
            folder.join(format!("lib{name}.so")),
        );
        let fresh = folder.join(format!("lib{name}.{}", std::process::id()));
        std::fs::write(&source, code).expect("the code is written");
        let built = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
            .args(["-std=c11", "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o"])
            .args([&fresh, &source])
            .status();
        assert!(
            built.as_ref().is_ok_and(std::process::ExitStatus::success),
            "cc could not build {name}: {built:?}; it says why above"
        );
        std::fs::rename(fresh, &library).expect("the library is put in its place");
        library
    })
}

/// A system that fails a thread of the host, to be preloaded: see `failing.c`.
pub fn failing() -> PathBuf {
    preloaded("failing", include_str!("failing.c"))
}

/// A folder under the target folder.
pub fn folder(name: &str) -> PathBuf {
    let root = xtask::root();
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    target.join(name)
}

/// Runs `cargo build` in a workspace and returns the file of the `cdylib` or program called `name`. Without debug information: a
/// library is hashed and copied at each load.
///
/// # Panics
/// It can't be built.
pub fn cargo(workspace: &Path, target: &Path, what: &[&str], name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--offline",
            "--message-format=json-render-diagnostics",
        ])
        .args(what)
        .arg("--target-dir")
        .arg(target)
        .current_dir(workspace)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_STRIP", "debuginfo")
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "cargo could not build {name}; it says why above"
    );
    let underscored = name.replace('-', "_");
    let artifact = |message: &serde_json::Value| {
        let target = &message["target"];
        let called = target["name"].as_str()?;
        match target["kind"][0].as_str()? {
            "cdylib" if called == underscored => message["filenames"][0].as_str().map(PathBuf::from),
            "bin" | "example" if called == name => message["executable"].as_str().map(PathBuf::from),
            _ => None,
        }
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .find_map(|message| artifact(&message))
        .unwrap_or_else(|| panic!("{name} is neither a cdylib nor a program"))
}

fn once(key: &str, make: impl FnOnce() -> PathBuf) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let built = built.get_or_insert_default();
    if let Some(path) = built.get(key) {
        return path.clone();
    }
    let path = make();
    built.insert(key.to_owned(), path.clone());
    path
}
