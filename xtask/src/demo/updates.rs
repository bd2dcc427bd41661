//! Two updates of a plugin that is called all the time: to a version that is as good, and to one that is broken.

use super::DemoError;
use super::client::Client;
use crate::{plugins, root};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PLUGIN: &str = "hash-embedder";
/// How long one update may take: far more than its steps.
const LIMIT: Duration = Duration::from_secs(60);

/// Short steps, and a judge who is content with the calls of seconds: a demo's, never a deployment's.
pub(super) const CONFIGURATION: &str = "\
[rollout]
canary_percent = [10, 50]
step_ms = 500
probation_ms = 500

[rollout.judge]
calls_min = 20
errors_max = 0.2
latency_max = 5.0
";

/// Libraries of later versions.
pub(super) struct Versions {
    good: PathBuf,
    broken: PathBuf,
}

/// Builds two later versions of the plugin below this folder.
///
/// # Errors
/// They can't be written or built.
pub(super) fn build(folder: &Path) -> Result<Versions, DemoError> {
    // The calls of the second one fail, and its checks do not.
    const BROKEN: &str = "#include \"embed.h\"\n\nExtmanStatus __wrap_embed(ExtmanBytes text, float vector[DIMENSIONS]);\n\n\
                          ExtmanStatus __wrap_embed(ExtmanBytes text, float vector[DIMENSIONS]) {\n    (void)text;\n    (void)vector;\n    \
                          return EXTMAN_STATUS_INTERNAL;\n}\n";
    Ok(Versions {
        good: version(folder, "1.1.0", None)?,
        broken: version(folder, "1.2.0", Some(BROKEN))?,
    })
}

fn version(folder: &Path, version: &str, more: Option<&str>) -> Result<PathBuf, DemoError> {
    let (from, to) = (
        root().join("sample-plugins").join(PLUGIN),
        folder.join("versions").join(version),
    );
    let file = |path: &Path| {
        let path = path.to_owned();
        move |error| DemoError::File(path, error)
    };
    let sources = to.join("src");
    std::fs::create_dir_all(&sources).map_err(file(&sources))?;
    let manifest = from.join("plugin.toml");
    let text = std::fs::read_to_string(&manifest).map_err(file(&manifest))?;
    let text = text.replacen("version = \"1.0.0\"", &format!("version = \"{version}\""), 1);
    std::fs::write(to.join("plugin.toml"), text).map_err(file(&to))?;
    for entry in std::fs::read_dir(from.join("src")).map_err(file(&from))? {
        let path = entry.map_err(file(&from))?.path();
        let name = path.file_name().unwrap_or_default();
        std::fs::copy(&path, sources.join(name)).map_err(file(&path))?;
    }
    let flags: &[&str] = match more {
        Some(code) => {
            std::fs::write(sources.join("broken.c"), code).map_err(file(&sources))?;
            &["-Wl,--wrap=embed"]
        }
        None => &[],
    };
    Ok(plugins::build_c_with(&to, &to, flags)?)
}

/// Puts one version after the other into the plugins' folder, and tells what becomes of them; as a text, how long both took.
///
/// # Errors
/// An update is not over in time, or ends otherwise than it should.
pub(super) fn show(client: &Client, versions: &Versions, library_dir: &Path) -> Result<String, DemoError> {
    let began = Instant::now();
    println!("\n{PLUGIN} is called all the time, and a newer build is put in its place");
    let good = follow(client, &versions.good, library_dir)?;
    if good["version"] != "1.1.0" {
        return Err(DemoError::Call(format!("1.1.0 was not taken: {good}")));
    }
    println!("and another one, whose checks are well and whose calls fail");
    let back = follow(client, &versions.broken, library_dir)?;
    let barred = &back["barred"][0];
    if back["version"] != "1.1.0" || barred["version"] != "1.2.0" {
        return Err(DemoError::Call(format!("1.2.0 was not taken back: {back}")));
    }
    let mut text = String::new();
    let why = barred["reason"].as_str().unwrap_or_default();
    let _ = writeln!(text, "  1.2.0 was taken back: {why}");
    let _ = write!(
        text,
        "an update and a rollback, in {:.1} s",
        began.elapsed().as_secs_f64()
    );
    Ok(text)
}

/// Puts a library there, calls the plugin until the update to it is over, and prints each of its steps; how its updates stand then.
fn follow(client: &Client, library: &Path, library_dir: &Path) -> Result<Value, DemoError> {
    let name = library.file_name().unwrap_or_default();
    let (partial, to) = (library.with_extension("partial"), library_dir.join(name));
    std::fs::copy(library, &partial).map_err(|e| DemoError::File(library.into(), e))?;
    std::fs::rename(&partial, &to).map_err(|e| DemoError::File(to.clone(), e))?;
    let (began, mut seen, mut calls, mut failed) = (Instant::now(), None, 0, 0);
    let input = json!({ "text": "one of many" }).to_string();
    while began.elapsed() < LIMIT {
        for _ in 0..20 {
            calls += 1;
            let answer = client.call("text.embed", Some(PLUGIN), "application/json", input.as_bytes());
            failed += usize::from(answer.is_err());
        }
        let now = client.get(&format!("/api/v1/plugins/{PLUGIN}/rollout"))?;
        let at = step(&now["rollout"]);
        match (&seen, at) {
            (Some(_), None) => {
                let version = now["version"].as_str().unwrap_or_default();
                println!("  {version} serves; {failed} of {calls} calls failed");
                return Ok(now);
            }
            (_, Some(at)) if seen.as_ref() != Some(&at) => {
                println!("  {at}");
                seen = Some(at);
            }
            _ => {}
        }
    }
    Err(DemoError::Call(format!(
        "the update of {PLUGIN} was not over within {LIMIT:?}"
    )))
}

/// Where an update is; nothing without one.
fn step(rollout: &Value) -> Option<String> {
    let word = |name: &str| rollout[name].as_str().unwrap_or_default().replace('_', " ");
    let percent = rollout["percent"].as_u64()?;
    Some(format!(
        "{} → {}: {}, {percent} % of the calls to the new one",
        word("from"),
        word("to"),
        word("phase")
    ))
}
