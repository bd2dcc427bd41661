//! Runs a C plugin's sources under a host in miniature (`c/driver.c`), with the address and undefined-behaviour sanitisers.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A compiled driver with a plugin inside.
pub struct Driver {
    program: PathBuf,
}

/// What one call gave.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u32,
    pub error: String,
    pub content_type: String,
    pub output: Vec<u8>,
}

impl Driver {
    /// Compiles the C files in `sources`, a folder below the workspace's.
    pub fn new(sources: &str) -> Self {
        let files = std::fs::read_dir(xtask::root().join(sources))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let files: Vec<PathBuf> = files
            .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
            .collect();
        let sanitisers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        Self::link(&sources.replace('/', "-"), &files, &sanitisers)
    }

    /// With a plugin that another compiler has made an object file of.
    #[allow(dead_code)]
    pub fn of_object(name: &str, object: &Path) -> Self {
        Self::link(name, &[object.to_owned()], &["-lstdc++"])
    }

    fn link(name: &str, files: &[PathBuf], more: &[&str]) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = xtask::root();
        let output = Command::new("cc")
            .args([
                "-std=c11",
                "-Wall",
                "-Wextra",
                "-Wpedantic",
                "-Werror",
                "-O1",
                "-g",
                "-pthread",
            ])
            .arg("-I")
            .arg(root.join("plugin-api/include"))
            .arg("-o")
            .arg(folder.path().join("driver"))
            .arg(root.join("xtask/tests/c/driver.c"))
            .args(files)
            .args(["-lm"])
            .args(more)
            .output()
            .expect("this test needs a C compiler, cc");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::rename(folder.path().join("driver"), &program).unwrap();
        Driver { program }
    }

    /// Standard output of one run.
    pub fn run(&self, words: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(&self.program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the driver starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::thread::scope(|scope| {
            // A check reads no input and may be gone already.
            scope.spawn(move || stdin.write_all(input));
            let output = child.wait_with_output().expect("the driver ends");
            assert!(
                output.status.success(),
                "{words:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            output.stdout
        })
    }

    /// The answer of `invoke`, `cancel` or `refuse`.
    pub fn answer(&self, words: &[&str], input: &[u8]) -> Answer {
        let out = self.run(words, input);
        let mut lines = out.splitn(4, |byte| *byte == b'\n');
        let mut line = || String::from_utf8(lines.next().expect("four parts").to_vec()).expect("UTF-8");
        let (status, error, content_type) = (line().parse().expect("a number"), line(), line());
        Answer {
            status,
            error,
            content_type,
            output: lines.next().expect("four parts").to_vec(),
        }
    }
}
