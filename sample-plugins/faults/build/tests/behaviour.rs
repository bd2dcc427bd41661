//! Each fault does what its name says, seen from a small host in C that runs in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

struct Bench {
    folder: tempfile::TempDir,
    driver: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let driver = folder.path().join("driver");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let out = Command::new("cc")
            .args([
                "-std=c11",
                "-D_GNU_SOURCE",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-pthread",
                "-o",
            ])
            .arg(&driver)
            .arg("-I")
            .arg(here.join("../c"))
            .arg(here.join("tests/driver.c"))
            .arg("-ldl")
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        Bench { folder, driver }
    }

    fn command(&self, fault: &str, input: &str, mode: &str) -> Command {
        let library = faults_build::c_fault(fault, self.folder.path()).unwrap();
        let mut command = Command::new(&self.driver);
        command
            .arg(library)
            .args([input, mode])
            .env(faults_build::FILE_VARIABLE, self.file())
            .env(faults_build::RELEASE_VARIABLE, self.release())
            .stdout(Stdio::piped());
        command
    }

    fn run(&self, fault: &str, input: &str, mode: &str) -> Output {
        self.command(fault, input, mode).output().unwrap()
    }

    /// What the driver says of a fault that lets it end.
    fn says(&self, fault: &str, input: &str, mode: &str) -> String {
        let out = self.run(fault, input, mode);
        assert!(out.status.success(), "{fault}: {}", out.status);
        String::from_utf8(out.stdout).unwrap()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    fn release(&self) -> PathBuf {
        self.folder.path().join("release")
    }
}

fn wait_until(child: &mut Child, condition: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it hung");
        assert!(
            Instant::now() < limit,
            "it never came to the point where it hangs"
        );
        std::thread::yield_now();
    }
}

#[test]
fn the_echo_answers_and_is_unmapped() {
    let said = Bench::new().says("echo", "ping", "close");
    for line in [
        "create 0",
        "check 0 health 1",
        "output ping",
        "invoke 0 error 0 of 100",
        "threads 1",
        "unmapped",
    ] {
        assert!(said.lines().any(|l| l == line), "no {line:?} in:\n{said}");
    }
}

#[test]
fn what_is_wrong_is_what_the_name_says() {
    let bench = Bench::new();
    for (fault, input, line) in [
        ("bad-magic", "", "bad magic"),
        ("wrong-abi-major", "", "ABI major 2"),
        ("null-vtable", "", "no lifecycle table"),
        ("null-create", "", "no create"),
        (
            "wrong-struct-size",
            "",
            "lifecycle table of 64 bytes, destroy is at 64",
        ),
        ("ignores-lengths", "", "invoke 300 error 100 of 100"),
        ("ignores-lengths", "beyond", "invoke 300 error 4196 of 100"),
        ("nodelete", "", "resident"),
        ("unique-symbol", "", "resident"),
        ("no-manifest", "", "unmapped"),
        ("two-frames", "", "unmapped"),
        ("signal-handler", "", "SIGUSR2 handled"),
    ] {
        let said = bench.says(fault, input, "close");
        assert!(
            said.lines().any(|l| l == line),
            "{fault}: no {line:?} in:\n{said}"
        );
    }
}

#[test]
fn threads_outlive_their_instance() {
    let bench = Bench::new();
    for fault in ["thrd-create-alive", "pthread-alive"] {
        let said = bench.says(fault, "", "keep");
        assert!(said.lines().any(|l| l == "threads 2"), "{fault}:\n{said}");
    }
}

#[test]
fn hangs_end_with_their_release_and_not_before() {
    for (fault, seen_after) in [("hang-constructor", "opened"), ("hang-finaliser", "unmapped")] {
        let bench = Bench::new();
        let mut child = bench.command(fault, "", "close").spawn().unwrap();
        wait_until(&mut child, || bench.file().exists());
        assert_eq!(child.try_wait().unwrap(), None, "{fault} did not hang");
        std::fs::write(bench.release(), "").unwrap();
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{fault}: {}", out.status);
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(said.contains(seen_after), "{fault}:\n{said}");
    }
}

#[test]
fn the_written_file_proves_that_the_constructor_ran() {
    let bench = Bench::new();
    faults_build::c_fault("write-file-constructor", bench.folder.path()).unwrap();
    assert!(!bench.file().exists());
    bench.says("write-file-constructor", "", "close");
    assert!(bench.file().exists());
}

#[test]
#[cfg(unix)]
fn some_take_the_process_with_them() {
    use std::os::unix::process::ExitStatusExt;
    const SIGSEGV: i32 = 11;
    let bench = Bench::new();
    assert_eq!(bench.run("exit-constructor", "", "close").status.code(), Some(3));
    assert_eq!(
        bench.run("segfault-constructor", "", "close").status.signal(),
        Some(SIGSEGV)
    );
    let out = bench.run("pthread-key", "", "outlive");
    assert!(
        String::from_utf8_lossy(&out.stdout).contains("unmapped"),
        "{out:?}"
    );
    assert_eq!(out.status.signal(), Some(SIGSEGV));
}
