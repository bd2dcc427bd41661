//! Small plugins in C, with a constructor that leaves a mark if anybody ever runs it.

use extman_plugin_api::manifest::frame::{self, HEADER_SIZE, HEADER_SIZE_MIN, MAGIC};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const TOML: &str = r#"
[plugin]
id = "sample"
version = "1.2.3"
kind = "ai"
task = "classification"

[[capability]]
name = "text.classify"
"#;

/// A manifest frame, field by field.
pub struct Frame {
    pub abi_major: u32,
    pub abi_minor: u32,
    pub panic: u32,
    pub declared_len: Option<u64>,
    pub toml: Vec<u8>,
}

impl Frame {
    pub fn of(toml: &str) -> Self {
        Frame {
            abi_major: 1,
            abi_minor: 0,
            panic: frame::PANIC_NONE,
            declared_len: None,
            toml: toml.as_bytes().to_vec(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let numbers = [
            1,
            HEADER_SIZE as u32,
            self.abi_major,
            self.abi_minor,
            self.panic,
            frame::SDK_C,
            0,
            0,
        ];
        out.extend(numbers.iter().flat_map(|n: &u32| n.to_le_bytes()));
        out.resize(HEADER_SIZE_MIN - 8, 0);
        out.extend(self.declared_len.unwrap_or(self.toml.len() as u64).to_le_bytes());
        out.resize(HEADER_SIZE, 0);
        out.extend(&self.toml);
        out.resize(frame::padded(out.len()), 0);
        out
    }
}

/// The source of a plugin and how it is compiled.
pub struct Source {
    pub frames: Vec<Vec<u8>>,
    pub entry: bool,
    pub code: String,
    pub flags: Vec<String>,
}

impl Default for Source {
    fn default() -> Self {
        Source {
            frames: vec![Frame::of(TOML).bytes()],
            entry: true,
            code: String::new(),
            flags: vec!["-shared".to_owned()],
        }
    }
}

impl Source {
    pub fn framed(frame: Frame) -> Self {
        Source {
            frames: vec![frame.bytes()],
            ..Source::default()
        }
    }

    /// Compiles to `dir/name`; the constructor would write `mark(dir)`.
    pub fn build(&self, dir: &Path, name: &str) -> PathBuf {
        let mut text = String::from("#include <stdio.h>\n");
        for (n, frame) in self.frames.iter().enumerate() {
            let bytes: Vec<_> = frame.iter().map(u8::to_string).collect();
            text += &format!(
                "__attribute__((used, retain, section(\".extman\"), aligned(8)))\n\
                 const unsigned char extman_manifest{n}[] = {{{}}};\n",
                bytes.join(",")
            );
        }
        if self.entry {
            text += "int extman_plugin_entry(void) { return 0; }\n";
        }
        let mark = mark(dir);
        text += &format!(
            "__attribute__((constructor)) static void leave_a_mark(void) {{\n\
             FILE *f = fopen({:?}, \"w\"); if (f) fclose(f); }}\n",
            mark.to_str().unwrap()
        );
        text += &self.code;
        let source = dir.join(format!("{name}.c"));
        fs::write(&source, text).unwrap();
        let flags: Vec<_> = self.flags.iter().map(String::as_str).collect();
        compile(dir, &source, name, &flags)
    }
}

pub fn mark(dir: &Path) -> PathBuf {
    dir.join("a-constructor-ran")
}

/// Runs the C compiler, which these tests can't do without.
pub fn compile(dir: &Path, source: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let out = dir.join(name);
    let run = Command::new("cc")
        .args(["-fPIC", "-O0", "-o"])
        .args([&out, source])
        .args(flags)
        .output()
        .expect("these tests need a C compiler named cc");
    assert!(
        run.status.success(),
        "cc: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    out
}

pub fn build(source: &Source) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    fs::read(source.build(dir.path(), "sample.so")).unwrap()
}
