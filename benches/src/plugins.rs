//! The plugins that are measured: built by cargo, and taken in as any plugin is.

use extman_intake::{DiscoveryConfig, Store, TrustConfig, find, inspect, verify};
use extman_runtime::vetting::{VettedPlugin, Vetting, VettingConfig};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use tempfile::TempDir;

/// Builds a package of the workspace with optimisation; the path of its library.
///
/// # Panics
/// It can't be built: then there is nothing to measure.
pub fn build(package: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // A folder of its own: the one that cargo uses now may be locked.
    let target = root.join("target").join("bench-plugins");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "-p", package, "--target-dir"])
        .arg(&target)
        // As it would be shipped: what is hashed should be code, not line tables.
        .env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo")
        .current_dir(&root)
        .status()
        .expect("cargo can be run");
    assert!(status.success(), "{package} can't be built; the reason is above");
    let name = format!(
        "{}{}{}",
        std::env::consts::DLL_PREFIX,
        package.replace('-', "_"),
        std::env::consts::DLL_SUFFIX
    );
    let library = target.join("release").join(name);
    library.canonicalize().expect("cargo has built the library")
}

/// Builds the host program, with its worker beside it, with optimisation; its path.
///
/// # Panics
/// It can't be built: then there is nothing to measure.
pub fn program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--bins"])
        .args(["-p", "extman-cli", "-p", "extman-runtime"])
        .current_dir(&root)
        .status()
        .expect("cargo can be run");
    assert!(status.success(), "extman can't be built; the reason is above");
    let name = format!("extman{}", std::env::consts::EXE_SUFFIX);
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    target
        .join("release")
        .join(name)
        .canonicalize()
        .expect("cargo has built it")
}

/// A library that may be loaded, in a store that goes away with this.
pub struct Taken {
    /// The plugin.
    pub plugin: VettedPlugin,
    /// Where it was built.
    pub path: PathBuf,
    _store: TempDir,
}

/// Builds a package and takes its library in. Vetting is off: the child's time is not the subject.
///
/// # Panics
/// It can't be built, or is refused.
pub fn take(package: &str) -> Taken {
    let path = build(package);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(dir.path().join("store")).expect("a store");
    let found = find(&path, &DiscoveryConfig::default()).unwrap_or_else(|e| panic!("{path:?}: {}", e.reason));
    let stored = store.take(&found).expect("the library is stored");
    let inspected = inspect(stored).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let trust = TrustConfig {
        allow_world_writable: true,
        ..TrustConfig::default()
    };
    let verified = verify(inspected, &trust).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let off = VettingConfig {
        enabled: false,
        ..VettingConfig::default()
    };
    let vetting = Vetting::new(off, dir.path().join("vetting"));
    let plugin = crate::fixture::runtime()
        .block_on(vetting.vet(verified, "{}", SystemTime::now()))
        .expect("without vetting every plugin passes");
    Taken {
        plugin,
        path,
        _store: dir,
    }
}
