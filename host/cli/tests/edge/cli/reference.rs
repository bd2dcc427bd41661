//! `extman config reference` is generated from the documentation of the configuration's fields, and is held to it here. To write it
//! anew: `EXTMAN_WRITE_REFERENCE=1 cargo test -p extman-cli --test edge -- reference`.

use super::run;
use extman::config::Config;
use extman_http::HttpConfig;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Where each struct of the configuration is, from `host/` on.
const STRUCTS: [(&str, &str); 23] = [
    ("Config", "src/config.rs"),
    ("LanesConfig", "src/config.rs"),
    ("RoutingConfig", "runtime/src/registry/config.rs"),
    ("BreakerConfig", "runtime/src/registry/config.rs"),
    ("CacheConfig", "runtime/src/registry/config.rs"),
    ("HealthConfig", "src/config.rs"),
    ("ShutdownConfig", "src/config.rs"),
    ("IntakeConfig", "intake/src/config.rs"),
    ("DiscoveryConfig", "intake/src/config.rs"),
    ("StoreConfig", "intake/src/config.rs"),
    ("TrustConfig", "intake/src/config.rs"),
    ("WatchConfig", "intake/src/config.rs"),
    ("VettingConfig", "runtime/src/vetting/mod.rs"),
    ("ProbeSettings", "model/src/settings.rs"),
    ("HistoryConfig", "history/src/config.rs"),
    ("Retention", "history/src/config.rs"),
    ("StateConfig", "src/config.rs"),
    ("SupervisionConfig", "runtime/src/supervisor/restart.rs"),
    ("RolloutPolicy", "health/src/rollout/mod.rs"),
    ("JudgePolicy", "health/src/judge/policy.rs"),
    ("CrashConfig", "runtime/src/crash/mod.rs"),
    ("LogConfig", "src/config.rs"),
    // The last one: the program's own section.
    HTTP,
];
const HTTP: (&str, &str) = ("HttpConfig", "http/src/config.rs");
const INSTANCE: (&str, &str) = ("InstanceConfig", "runtime/src/supervisor/spec.rs");
/// Their defaults follow from the user's environment.
const FROM_ENVIRONMENT: [&str; 3] = ["intake.store.dir", "history.file", "state.dir"];

const HEAD: &str = "\
# The configuration of an ExtManager host: every field, what it is for, and its default. A file needs only what differs from
# that: an empty one is a good one. Fields that have no default, or one that depends on the user, are commented out.
#
# It is looked for in extman.toml where the program is started, then in extman/extman.toml in the user's configuration
# directory ($XDG_CONFIG_HOME, else ~/.config), in the system's ($XDG_CONFIG_DIRS, else /etc/xdg), and in /etc; --config goes
# before all of them. `extman config check` says what is wrong with one.
";

struct Field {
    name: String,
    of: String,
    doc: String,
}

fn host() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The public fields of a struct with their documentation, in the order of the source.
fn fields((name, file): (&str, &str)) -> Vec<Field> {
    let source = std::fs::read_to_string(host().join(file)).unwrap();
    let head = format!("pub struct {name} {{\n");
    let (_, body) = source
        .split_once(&head)
        .unwrap_or_else(|| panic!("no {name} in {file}"));
    let (body, _) = body.split_once("\n}").unwrap();
    let (mut fields, mut doc, mut renamed) = (Vec::new(), Vec::new(), None);
    let mut is_skipped = false;
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            doc.push(text);
        } else if line == "#[serde(skip)]" {
            is_skipped = true;
        } else if let Some(rest) = line.strip_prefix("#[serde(rename = \"") {
            renamed = rest.split('"').next();
        } else if let Some((name, of)) = line.strip_prefix("pub ").and_then(|field| field.split_once(": ")) {
            let field = Field {
                name: renamed.take().unwrap_or(name).to_owned(),
                of: of.trim_end_matches(',').to_owned(),
                doc: std::mem::take(&mut doc).join(" "),
            };
            if !std::mem::take(&mut is_skipped) {
                fields.push(field);
            }
        }
    }
    assert!(!fields.is_empty(), "{name}");
    fields
}

fn comment(doc: &str, out: &mut String) {
    let mut line = String::from("#");
    for word in doc.split(' ') {
        if line.len() + 1 + word.len() > 118 {
            writeln!(out, "{line}").unwrap();
            line = String::from("#");
        }
        write!(line, " {word}").unwrap();
    }
    writeln!(out, "{line}").unwrap();
}

/// The default that the documentation names, as TOML; an ellipsis where it is no value.
fn named_default(doc: &str) -> String {
    let told = doc.split_once("Default: ").map_or("", |(_, told)| told);
    let told = told.split([',', ' ']).next().unwrap_or("").trim_end_matches('.');
    if told.parse::<u64>().is_ok() || told == "true" || told == "false" {
        return told.to_owned();
    }
    match told.strip_prefix('`').and_then(|word| word.strip_suffix('`')) {
        Some(word) => format!("\"{word}\""),
        None => "…".to_owned(),
    }
}

fn section(at: &str, of: (&str, &str), defaults: &toml::Value, out: &mut String) {
    let fields = fields(of);
    let known = |field: &Field| STRUCTS.iter().find(|(name, _)| *name == field.of).copied();
    if !at.is_empty() && fields.iter().any(|field| known(field).is_none()) {
        writeln!(out, "[{at}]").unwrap();
    }
    for field in fields
        .iter()
        .filter(|field| known(field).is_none() && field.name != "instance")
    {
        let path = format!("{at}.{}", field.name);
        comment(&field.doc, out);
        match defaults
            .get(&field.name)
            .filter(|_| !FROM_ENVIRONMENT.contains(&&*path))
        {
            Some(value) => writeln!(out, "{} = {value}\n", field.name).unwrap(),
            None if FROM_ENVIRONMENT.contains(&&*path) => writeln!(out, "# {} = …\n", field.name).unwrap(),
            None => writeln!(out, "# {} = {}\n", field.name, named_default(&field.doc)).unwrap(),
        }
    }
    for field in &fields {
        if let Some(of) = known(field) {
            let path = if at.is_empty() {
                field.name.clone()
            } else {
                format!("{at}.{}", field.name)
            };
            comment(&field.doc, out);
            let none = toml::Value::Table(toml::Table::new());
            section(&path, of, defaults.get(&field.name).unwrap_or(&none), out);
        }
    }
}

fn generated() -> String {
    let mut out = HEAD.to_owned();
    out.push('\n');
    let defaults = toml::Value::try_from(Config::default()).unwrap();
    section("", STRUCTS[0], &defaults, &mut out);
    comment("The HTTP API.", &mut out);
    section(
        "http",
        HTTP,
        &toml::Value::try_from(HttpConfig::default()).unwrap(),
        &mut out,
    );
    let config = fields(STRUCTS[0]);
    comment(
        &config.iter().find(|field| field.name == "instance").unwrap().doc,
        &mut out,
    );
    out.push_str("# [[instance]]\n");
    for field in fields(INSTANCE) {
        comment(&field.doc, &mut out);
        match &*field.of {
            "ProbeSettings" => writeln!(out, "# probe = {{ interval_ms = 10000 }}\n").unwrap(),
            "CallLimits" => {
                let limits = "calls_per_s = 20, burst = 40, in_flight_max = 16";
                writeln!(out, "# limits = {{ {limits} }}\n").unwrap();
            }
            "Map<String, Value>" => writeln!(out, "# config = {{}}\n").unwrap(),
            _ => writeln!(out, "# {} = {}\n", field.name, named_default(&field.doc)).unwrap(),
        }
    }
    format!("{}\n", out.trim_end())
}

#[test]
fn the_reference_is_what_the_fields_say_of_themselves() {
    let (path, generated) = (
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reference.toml"),
        generated(),
    );
    if std::env::var_os("EXTMAN_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    let differs = written
        .lines()
        .zip(generated.lines())
        .find(|(written, generated)| written != generated);
    assert!(
        written == generated,
        "the first line that differs: {differs:?}; write it anew as the head of this file says"
    );
}

#[test]
fn the_reference_parses_to_the_defaults_and_has_every_field() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(&["config", "reference"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
    let path = dir.path().join("extman.toml");
    std::fs::write(&path, ran.text()).unwrap();
    let (config, http): (Config, HttpConfig) = Config::read_beside(&path, "http", |_| Vec::new()).unwrap();
    let config = Config { text: None, ..config };
    assert_eq!((config, http), (Config::default(), HttpConfig::default()));
    let every = STRUCTS.iter().chain([&INSTANCE]).flat_map(|of| fields(*of));
    for field in every {
        let (name, text) = (&field.name, ran.text());
        let set = text
            .lines()
            .any(|line| line.trim_start_matches("# ").starts_with(&format!("{name} = ")));
        let is_section = text.lines().any(|line| {
            let line = line.trim_matches(['#', ' ', '[', ']']);
            line == name || line.ends_with(&format!(".{name}")) || line.starts_with(&format!("{name}."))
        });
        assert!(set || is_section, "{name} is missing");
    }
}
