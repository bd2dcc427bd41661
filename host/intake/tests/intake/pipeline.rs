//! The whole way of good plugins, and who is trusted.

use crate::sample::{self, Frame, Source, TOML};
use extman_intake::{
    Discovery, DiscoveryConfig, FileFormat, InspectedPlugin, Panics, Sdk, Store, StoredPlugin, TrustConfig,
    check_schema, find, inspect, inspect_file, verify,
};
use extman_model::Digest;
use extman_plugin_api::manifest::schema::Manifest;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

struct Place {
    _root: tempfile::TempDir,
    plugins: PathBuf,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let plugins = root.path().join("plugins");
        fs::create_dir(&plugins).unwrap();
        set_mode(&plugins, 0o755);
        let store = Store::open(root.path().join("store")).unwrap();
        Place {
            _root: root,
            plugins,
            store,
        }
    }

    fn take(&self, path: &Path) -> StoredPlugin {
        self.store
            .take(&find(path, &DiscoveryConfig::default()).unwrap())
            .unwrap()
    }

    fn inspected(&self, path: &Path) -> InspectedPlugin {
        inspect(self.take(path)).unwrap()
    }

    fn built(&self, source: &Source, name: &str) -> PathBuf {
        let path = source.build(&self.plugins, name);
        set_mode(&path, 0o644);
        path
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_plugin_goes_all_the_way_and_none_of_its_code_runs() {
    let place = Place::new();
    let path = place.built(&Source::default(), "sample.so");
    let mut discovery = Discovery::new(DiscoveryConfig {
        dirs: vec![place.plugins.clone()],
        ..DiscoveryConfig::default()
    });
    let scan = discovery.scan(SystemTime::now() + Duration::from_secs(60));
    assert_eq!(scan.found.len(), 1, "{scan:?}");
    let stored = place.store.take(&scan.found[0]).unwrap();
    let verified = verify(inspect(stored).unwrap(), &TrustConfig::default()).unwrap();

    assert_eq!(
        (verified.origin(), verified.manifest().plugin.id.as_str()),
        (&*path, "sample")
    );
    assert_eq!(verified.manifest().capabilities[0].name, "text.classify");
    let facts = verified.facts();
    assert_eq!(
        (facts.format, facts.machine.as_str()),
        (FileFormat::Elf, std::env::consts::ARCH)
    );
    assert_eq!((facts.bits, facts.size_bytes), (64, verified.size()));
    let build = facts.build.as_ref().unwrap();
    assert_eq!(
        (build.abi_major, build.panics, build.sdk),
        (1, Panics::None, Sdk::C)
    );
    assert!(
        facts.needed.iter().any(|name| name.starts_with("libc")),
        "{:?}",
        facts.needed
    );
    assert!(facts.exports.has("extman_plugin_entry"));
    assert!(facts.notes.is_empty(), "{:?}", facts.notes);

    let original = fs::read(&path).unwrap();
    fs::write(&path, b"later").unwrap();
    let mut bytes = Vec::new();
    verified
        .open()
        .unwrap()
        .into_file()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, original);
    assert!(!sample::mark(&place.plugins).exists(), "a constructor ran");
}

#[test]
fn the_mark_would_be_left_if_a_constructor_ran() {
    let dir = tempfile::tempdir().unwrap();
    let path = Source {
        code: "int main(void) { return 0; }".to_owned(),
        flags: vec![],
        ..Source::default()
    }
    .build(dir.path(), "program");
    assert!(std::process::Command::new(path).status().unwrap().success());
    assert!(sample::mark(dir.path()).exists());
}

#[test]
fn what_stays_resident_or_aborts_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let mut aborting = Frame::of(&format!("{TOML}\n[later]\nx = 1\n"));
    aborting.panic = extman_plugin_api::manifest::frame::PANIC_ABORT;
    aborting.abi_minor = 7;
    let mut source = Source::framed(aborting);
    source.flags.extend([
        "-Wl,-z,nodelete".to_owned(),
        "-Wl,-rpath,$ORIGIN/nowhere".to_owned(),
    ]);
    source.code = "int shared_state;\n__asm__(\".type shared_state, @gnu_unique_object\");\n".to_owned();
    let inspection = inspect_file(&source.build(dir.path(), "a.so"), 1 << 30).unwrap();
    let problems: Vec<_> = inspection.problems.iter().map(|problem| problem.code).collect();
    assert_eq!(problems, ["panic-abort"]);
    let codes: Vec<_> = inspection.facts.notes.iter().map(|note| note.code).collect();
    assert_eq!(
        codes,
        [
            "newer-minor",
            "unknown-fields",
            "resident",
            "resident",
            "search-path"
        ]
    );
    let text = format!("{:?}", inspection.facts.notes);
    assert!(
        text.contains("-fno-gnu-unique") && text.contains("nodelete"),
        "{text}"
    );
    assert!(!sample::mark(dir.path()).exists());
}

#[test]
fn an_inspection_can_be_written_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source {
        entry: false,
        ..Source::default()
    };
    let inspection = inspect_file(&source.build(dir.path(), "a.so"), 1 << 30).unwrap();
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!(json["facts"]["format"], "elf");
    assert_eq!(json["facts"]["build"]["sdk"], "c");
    assert_eq!(json["manifest"]["plugin"]["id"], "sample");
    assert_eq!(json["problems"][0]["code"], "no-entry");
    assert_eq!(json["digest"].as_str().unwrap().len(), 64);
}

#[test]
fn a_refused_plugin_comes_back_with_its_reason() {
    let place = Place::new();
    let path = place.plugins.join("a.so");
    fs::write(&path, b"just text\n").unwrap();
    let stored = place.take(&path);
    let digest = stored.digest();
    let rejected = inspect(stored).unwrap_err();
    assert_eq!(rejected.error.code(), "text");
    assert_eq!((rejected.had.digest(), rejected.had.origin()), (digest, &*path));
    let text = rejected.to_string();
    assert!(
        text.starts_with(&format!("{}: the file is text", path.display())),
        "{text}"
    );
}

#[test]
fn a_world_writable_file_or_directory_is_refused_with_the_way_to_mend_it() {
    let place = Place::new();
    let path = place.built(&Source::default(), "a.so");
    set_mode(&path, 0o666);
    let rejected = verify(place.inspected(&path), &TrustConfig::default()).unwrap_err();
    assert_eq!(rejected.error.code(), "world-writable-file");
    let text = rejected.error.to_string();
    let resolved = path.canonicalize().unwrap();
    assert!(
        text.contains("mode 0666") && text.contains(&format!("chmod o-w {}", resolved.display())),
        "{text}"
    );

    set_mode(&path, 0o644);
    for (mode, sticky) in [(0o777, false), (0o1777, true)] {
        set_mode(&place.plugins, mode);
        let rejected = verify(place.inspected(&path), &TrustConfig::default()).unwrap_err();
        assert_eq!(rejected.error.code(), "world-writable-directory");
        let text = rejected.error.to_string();
        assert!(
            text.contains(&format!("mode {mode:04o}")) && text.contains("chmod o-w"),
            "{text}"
        );
        assert_eq!(text.contains("sticky"), sticky, "{text}");
        let anyway = TrustConfig {
            allow_world_writable: true,
            ..TrustConfig::default()
        };
        verify(rejected.had, &anyway).unwrap();
    }
    set_mode(&place.plugins, 0o755);
    verify(place.inspected(&path), &TrustConfig::default()).unwrap();
}

#[test]
fn a_world_writable_place_behind_a_link_is_refused_too() {
    let place = Place::new();
    let open = place.plugins.join("open");
    fs::create_dir(&open).unwrap();
    Source::default().build(&open, "real.so");
    set_mode(&open, 0o777);
    let link = place.plugins.join("a.so");
    symlink(open.join("real.so"), &link).unwrap();
    let rejected = verify(place.inspected(&link), &TrustConfig::default()).unwrap_err();
    assert_eq!(rejected.error.code(), "world-writable-directory");
    assert!(
        rejected.error.to_string().contains("plugins/open"),
        "{}",
        rejected.error
    );
}

#[test]
fn only_allowed_digests_are_trusted() {
    let place = Place::new();
    let plugin = place.inspected(&place.built(&Source::default(), "a.so"));
    let digest = plugin.digest();
    let allowing = |digests: Vec<Digest>| TrustConfig {
        allow_digests: Some(digests),
        ..TrustConfig::default()
    };
    let others = vec![Digest::new([1; 32]), Digest::new([2; 32])];
    let rejected = verify(plugin, &allowing(others)).unwrap_err();
    assert_eq!(rejected.error.code(), "digest-not-allowed");
    let text = rejected.error.to_string();
    assert!(
        text.contains(&digest.to_string()) && text.contains("among the 2"),
        "{text}"
    );
    verify(rejected.had, &allowing(vec![digest])).unwrap();
}

#[test]
fn a_removed_copy_can_not_be_opened() {
    let place = Place::new();
    let verified = verify(
        place.inspected(&place.built(&Source::default(), "a.so")),
        &TrustConfig::default(),
    )
    .unwrap();
    fs::remove_file(verified.stored().path()).unwrap();
    assert!(
        verified
            .open()
            .unwrap_err()
            .to_string()
            .contains("the stored copy")
    );
}

#[test]
fn a_schema_that_can_not_be_used_is_told_at_inspection() {
    let place = Place::new();
    let toml = format!(
        "{TOML}[capability.input]\ntype = \"strnig\"\n[config.schema]\nproperties.a.minimum = \"one\"\n"
    );
    let path = place.built(&Source::framed(Frame::of(&toml)), "a.so");
    let told = inspect_file(&path, u64::MAX).unwrap();
    let problems: Vec<_> = told.problems.iter().map(|problem| problem.code).collect();
    assert_eq!(problems, ["config-schema"]);
    let text = &told.problems[0].text;
    assert!(
        text.contains("/properties/a/minimum") && text.contains("plugin.toml"),
        "{text}"
    );
    let notes: Vec<_> = told.facts.notes.iter().map(|note| note.code).collect();
    assert_eq!(notes, ["capability-schema"], "{:?}", told.facts.notes);
    assert_eq!(
        inspect(place.take(&path)).unwrap_err().error.code(),
        "config-schema"
    );
}

#[test]
fn the_manifests_of_the_sample_plugins_are_understood_in_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sample-plugins");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let Ok(text) = fs::read_to_string(entry.unwrap().path().join("plugin.toml")) else {
            continue;
        };
        let manifest: Manifest = text.parse().unwrap();
        let id = &manifest.plugin.id;
        assert!(manifest.unknown.is_empty(), "{id}: {:?}", manifest.unknown);
        let calls = manifest.capabilities.iter().flat_map(|c| [&c.input, &c.output]);
        for schema in calls.chain([&manifest.config.schema]).flatten() {
            check_schema(schema).unwrap_or_else(|error| panic!("{id}: {error}"));
        }
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
}
