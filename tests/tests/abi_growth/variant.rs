//! A changed copy of the sources, and what is built from it.

use extman_tests::build;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Sources with changes, by path in the workspace.
pub struct Variant {
    name: &'static str,
    files: BTreeMap<PathBuf, String>,
}

const COPIED: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "plugin-api/Cargo.toml",
    "plugin-api/build.rs",
    "plugin-api/src",
    "plugin-api/abi",
    "plugin-api/include",
    "sample-plugins/lang-detect",
];
const COPIED_HOST: [&str; 5] = [
    "host/build.rs",
    "host/model",
    "host/intake",
    "host/health",
    "host/runtime",
];

/// Structs of the ABI that may grow, with the type of the field that is appended and its value in the host and in the SDK.
const GROWING: [(&str, &str, &str, &str); 20] = [
    ("CreateRequest", "u64", "77", "5"),
    ("StepRequest", "u64", "77", "5"),
    ("ConfigureRequest", "u64", "77", "5"),
    ("Snapshot", "u64", "77", "5"),
    ("RestoreRequest", "u64", "77", "5"),
    ("Request", "u64", "77", "5"),
    ("Outcome", "u64", "77", "5"),
    ("CheckRequest", "u64", "77", "5"),
    ("Report", "u64", "77", "5"),
    ("Check", "u64", "77", "5"),
    ("LogRecord", "u64", "77", "5"),
    ("PluginModule", "u64", "77", "5"),
    (
        "HostTable",
        FUNCTION,
        "extman_abi::appended",
        "extman_abi::appended",
    ),
    ("LifecycleVtable", OPTIONAL, APPENDED, APPENDED),
    ("CapabilityVtable", OPTIONAL, APPENDED, APPENDED),
    ("HealthVtable", OPTIONAL, APPENDED, APPENDED),
    ("AsyncVtable", OPTIONAL, APPENDED, APPENDED),
    ("Answer", "u64", "77", "5"),
    ("Receiver", OPTIONAL, APPENDED, APPENDED),
    (
        "CallTable",
        FUNCTION,
        "extman_abi::appended",
        "extman_abi::appended",
    ),
];
const FUNCTION: &str = "unsafe extern \"C\" fn() -> u32";
const OPTIONAL: &str = "Option<unsafe extern \"C\" fn() -> u32>";
const APPENDED: &str = "Some(extman_abi::appended)";

impl Variant {
    /// The sources as they are, but with this version of the ABI's package. All variants share a target folder, in which cargo
    /// tells packages apart by name, version and path *within* the workspace: so each variant needs a version of its own.
    pub fn new(name: &'static str, abi_version: &str) -> Self {
        let mut files = BTreeMap::new();
        for path in COPIED.iter().chain(&COPIED_HOST) {
            read(&xtask::root(), Path::new(path), &mut files);
        }
        let mut variant = Variant { name, files };
        variant.replace(
            "plugin-api/abi/Cargo.toml",
            "version = \"1.0.0\"",
            &format!("version = \"{abi_version}\""),
        );
        let root = variant.text("Cargo.toml");
        let members = "members = [\"plugin-api\", \"plugin-api/abi\", \"host/model\", \"host/intake\", \"host/health\", \"host/runtime\", \
                       \"sample-plugins/lang-detect\"]\n";
        let before = root.find("members = [").expect("the workspace has members");
        let after = root
            .find("\n[workspace.package]")
            .expect("and then its package section");
        *root = format!("{}{members}{}", &root[..before], &root[after..]);
        // In one target folder, libraries of one name would take each other's place.
        let package = format!("name = \"lang-detect-{name}\"");
        variant.replace(
            "sample-plugins/lang-detect/Cargo.toml",
            "name = \"lang-detect\"",
            &package,
        );
        variant
    }

    /// Changes one place in a file.
    pub fn replace(&mut self, file: &str, from: &str, to: &str) {
        let text = self.text(file);
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {file}");
        *text = text.replacen(from, to, 1);
    }

    /// Makes it the next minor: each struct gets one more field, and both sides say what they see of the other's.
    pub fn append_fields(&mut self) {
        self.replace(
            "plugin-api/abi/src/constants.rs",
            "ABI_MINOR: u32 = 0",
            "ABI_MINOR: u32 = 1",
        );
        for (name, kind, of_host, of_sdk) in GROWING {
            self.append_field(name, kind);
            for (path, text) in &mut self.files {
                let value = if path.starts_with("host") { of_host } else { of_sdk };
                for size in [
                    format!("size_of::<{name}>()"),
                    format!("size_of::<abi::{name}>()"),
                ] {
                    let line = format!("struct_size: {size},\n");
                    *text = text.replace(&line, &format!("{line}appended: {value},\n"));
                }
            }
        }
        let read = self.text("host/runtime/src/loader/read.rs");
        *read = read.replace("        struct_size: 0,\n", "struct_size: 0,\nappended: 77,\n");
        self.text("plugin-api/abi/src/vtables.rs")
            .push_str("/// For tests.\npub unsafe extern \"C\" fn appended() -> u32 { 11 }\n");
        self.speak();
    }

    /// `struct_size` alone tells whether the field is there.
    fn speak(&mut self) {
        self.replace(
            "plugin-api/src/sdk/gateway/host.rs",
            "    /// Writes a log record; `target`",
            "    /// For tests.
             pub fn appended(&self) -> Option<u32> {
                 let end = std::mem::offset_of!(HostTable, appended) + size_of::<usize>();
                 // SAFETY: the size comes first, and covers the field.
                 unsafe { ((*self.table).struct_size >= end).then(|| ((*self.table).appended)()) }
             }

             /// Writes a log record; `target`",
        );
        self.replace(
            "sample-plugins/lang-detect/src/lib.rs",
            "fn create(_: &Create<'_>) -> Result<Self> {\n",
            "fn create(create: &Create<'_>) -> Result<Self> {
                 let said = format!(\"the host's appended: {:?}\", create.host().appended());
                 create.host().log(Level::Info, \"growth\", &said);\n",
        );
        self.replace(
            "host/runtime/src/loader/root.rs",
            "    Ok(Tables {\n",
            "    // SAFETY: for tests, a function that returns a number.
             let call = |f: Option<unsafe extern \"C\" fn() -> u32>| f.map(|f| unsafe { f() });
             eprintln!(
                 \"the tables' appended: {:?} {:?} {:?} {:?}\",
                 module.appended,
                 call(lifecycle.appended),
                 call(capability.appended),
                 call(health.as_ref().and_then(|health| health.appended)),
             );
             Ok(Tables {\n",
        );
        // The host begins with a value of its own, so that what a plugin leaves is told from what it writes.
        self.replace(
            "host/runtime/src/loader/plugin_instance.rs",
            "let mut raw = abi::Report::BLANK;\n",
            "let mut raw = abi::Report { appended: 77, ..abi::Report::BLANK };\n",
        );
        self.replace(
            "host/runtime/src/loader/plugin_instance.rs",
            "        let figures = read::figures(&raw);\n",
            "        eprintln!(\"the report's appended: {}\", raw.appended);\n        let figures = read::figures(&raw);\n",
        );
    }

    fn append_field(&mut self, name: &str, kind: &str) {
        let declared = format!("pub struct {name} {{\n");
        let file = self
            .files
            .iter_mut()
            .filter(|(path, _)| path.starts_with("plugin-api/abi/src"))
            .find(|(_, text)| text.contains(&declared));
        let (_, text) = file.unwrap_or_else(|| panic!("no {name}"));
        let start = text.find(&declared).expect("just found");
        let end = start + text[start..].find("\n}").expect("an end");
        text.insert_str(end, &format!("\n    /// For tests.\n    pub appended: {kind},"));
    }

    /// The plugin's library.
    pub fn plugin(&self) -> PathBuf {
        let package = format!("lang-detect-{}", self.name);
        self.build(&["-p", &package], &package)
    }

    /// The host's worker program.
    pub fn worker(&self) -> PathBuf {
        self.build(
            &["-p", "extman-runtime", "--bin", "extman-worker"],
            "extman-worker",
        )
    }

    fn build(&self, what: &[&str], name: &str) -> PathBuf {
        // Of two tests that build one variant, the second finds it done.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let folder = build::folder("abi-growth").join(self.name);
        for (path, text) in &self.files {
            let to = folder.join(path);
            // What is unchanged keeps its time, so that cargo builds nothing anew.
            if std::fs::read_to_string(&to).is_ok_and(|old| old == *text)
                || path.ends_with("Cargo.lock") && to.exists()
            {
                continue;
            }
            std::fs::create_dir_all(to.parent().expect("a file has a folder"))
                .expect("the target folder can be written");
            std::fs::write(&to, text).expect("the target folder can be written");
        }
        build::cargo(&folder, &build::folder("abi-growth/target"), what, name)
    }

    fn text(&mut self, file: &str) -> &mut String {
        self.files
            .get_mut(Path::new(file))
            .unwrap_or_else(|| panic!("{file} is not among the copied files"))
    }
}

fn read(root: &Path, path: &Path, into: &mut BTreeMap<PathBuf, String>) {
    let from = root.join(path);
    if from.is_dir() {
        for entry in std::fs::read_dir(&from).expect("the sources can be read") {
            read(root, &path.join(entry.expect("an entry").file_name()), into);
        }
    } else {
        let text = std::fs::read_to_string(&from).expect("the sources are text");
        into.insert(path.to_owned(), text);
    }
}
