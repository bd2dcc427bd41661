//! `extman config get|set|unset|diff|history|rollback`: what a plugin is configured with, in a running host.

use super::args::Target;
use super::backend::Backend;
use super::fault::Fault;
use super::grid::grid;
use super::screen::{Look, Outcome, Screen};
use super::session;
use super::text::{plain, wrap};
use extman_model::control::Command;
use extman_model::moment::utc;
use extman_model::{ConfigAnswer, ConfigChange, ConfigChangeAsked, ConfigDifference};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, clap::Args)]
pub(crate) struct Of {
    /// Its name, as `extman list` shows it
    name: String,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A field's path is that in the [[instance]]: config.size, probe.interval_ms, priority. A value is JSON, a table as in extman.toml, or
else a text; { env = \"NAME\" } and { file = \"/run/secrets/name\" } stand for a secret that lies there.

Examples:
  extman config set embedder config.model_dir=/srv/models
  extman config set embedder config.api_key='{ file = \"/run/secrets/embedder\" }' priority=5")]
pub(crate) struct Set {
    /// Its name, as `extman list` shows it
    name: String,
    /// Paths and values; all of them are taken, or none
    #[arg(required = true, value_name = "FIELD=VALUE", value_parser = assignment)]
    values: Vec<(String, Value)>,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Unset {
    /// Its name, as `extman list` shows it
    name: String,
    /// Paths of what was set: from here on, what extman.toml says holds there
    #[arg(required = true, value_name = "FIELD")]
    fields: Vec<String>,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Rollback {
    /// Its name, as `extman list` shows it
    name: String,
    /// To what it was after this change, as `extman config history` numbers them [default: before the last one]
    #[arg(long, value_name = "NUMBER")]
    to: Option<u64>,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, clap::Args)]
struct Who {
    /// Who changes it, for the history [default: $USER]
    #[arg(long = "as", value_name = "WHO")]
    who: Option<String>,
}

impl Who {
    fn name(&self) -> Option<String> {
        let user = || std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok();
        self.who.clone().or_else(user)
    }
}

fn assignment(text: &str) -> Result<(String, Value), String> {
    let (field, value) = text
        .split_once('=')
        .ok_or("it has no =; give a field and its value, such as config.size=3")?;
    Ok((field.trim().to_owned(), value_of(value.trim())))
}

/// JSON, a table or an array of TOML, or else the text itself.
fn value_of(text: &str) -> Value {
    if let Ok(value) = serde_json::from_str(text) {
        return value;
    }
    let of_toml = || {
        let mut table: toml::Table = format!("value = {text}").parse().ok()?;
        serde_json::to_value(table.remove("value")?).ok()
    };
    let is_composed = text.starts_with(['{', '[']);
    let composed = is_composed.then(of_toml).flatten();
    composed.unwrap_or_else(|| Value::String(text.to_owned()))
}

pub(super) fn get(args: Of, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    answered(&args.target, backend, screen, Command::Config { name: args.name })
}

pub(super) fn set(args: Set, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let asked = ConfigChangeAsked {
        set: args.values.into_iter().collect::<BTreeMap<_, _>>(),
        unset: Vec::new(),
        who: args.who.name(),
    };
    let change = Command::ChangeConfig {
        name: args.name,
        asked,
    };
    answered(&args.target, backend, screen, change)
}

pub(super) fn unset(args: Unset, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let asked = ConfigChangeAsked {
        set: BTreeMap::new(),
        unset: args.fields,
        who: args.who.name(),
    };
    let change = Command::ChangeConfig {
        name: args.name,
        asked,
    };
    answered(&args.target, backend, screen, change)
}

pub(super) fn roll_back(args: Rollback, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let command = Command::RollBackConfig {
        name: args.name,
        to: args.to,
        who: args.who.name(),
    };
    answered(&args.target, backend, screen, command)
}

pub(super) fn diff(args: Of, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let command = Command::ConfigDiff { name: args.name };
    session::answered(&args.target, backend, command, |rows: &Vec<ConfigDifference>| {
        differences(rows, &screen.look)
    })
}

pub(super) fn history(args: Of, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let command = Command::ConfigHistory { name: args.name };
    session::answered(&args.target, backend, command, |changes: &Vec<ConfigChange>| {
        past(changes, &screen.look)
    })
}

fn answered(
    target: &Target,
    backend: &dyn Backend,
    screen: &Screen,
    command: Command,
) -> Result<Outcome, Fault> {
    session::answered(target, backend, command, |answer: &ConfigAnswer| {
        render(answer, &screen.look)
    })
}

fn render(answer: &ConfigAnswer, look: &Look) -> String {
    let row = |field: &extman_model::ConfigField| {
        [
            field.field.clone(),
            field.origin.as_str().to_owned(),
            shown(Some(&field.value)),
        ]
    };
    let rows: Vec<_> = answer.fields.iter().map(row).collect();
    let mut text = match rows.is_empty() {
        true => format!(
            "{}: nothing is configured, so all has its default.",
            plain(&answer.name)
        ),
        false => grid(&["FIELD", "FROM", "VALUE"], &rows, look),
    };
    if let Some(fault) = &answer.fault {
        text.push_str("\n\n");
        text.push_str(&wrap(&format!("Not in force: {fault}"), look.width, 2));
    }
    text
}

fn differences(rows: &[ConfigDifference], look: &Look) -> String {
    if rows.is_empty() {
        return "What is configured is what the file says, and in force.".to_owned();
    }
    let row = |row: &ConfigDifference| {
        [
            row.field.clone(),
            shown(row.file.as_ref()),
            shown(row.configured.as_ref()),
            shown(row.in_force.as_ref()),
        ]
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    grid(&["FIELD", "FILE", "CONFIGURED", "IN FORCE"], &rows, look)
}

fn past(changes: &[ConfigChange], look: &Look) -> String {
    if changes.is_empty() {
        return "No change is known.".to_owned();
    }
    let row = |change: &ConfigChange| {
        let fields = change.fields.iter().map(|field| {
            format!(
                "{}: {} → {}",
                field.field,
                shown(field.before.as_ref()),
                shown(field.after.as_ref())
            )
        });
        let not_taken = change.not_taken.iter().map(|why| format!("not taken: {why}"));
        let what: Vec<String> = fields.chain(not_taken).collect();
        [
            change.number.to_string(),
            utc(change.at_unix_ms),
            change.who.clone(),
            change.by.as_str().to_owned(),
            what.join("; "),
        ]
    };
    let rows: Vec<_> = changes.iter().map(row).collect();
    grid(&["NUMBER", "WHEN", "WHO", "BY", "WHAT"], &rows, look)
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "-".to_owned(), Value::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_json_or_as_in_the_file_or_texts() {
        for (text, expected) in [
            ("config.size=3", json!(3)),
            ("config.size = \"3\"", json!("3")),
            ("config.key={ env = \"KEY\" }", json!({"env": "KEY"})),
            ("config.list=[1, 2]", json!([1, 2])),
            ("config.url=http://a/?b=c", json!("http://a/?b=c")),
            ("config.name=2024-01-01", json!("2024-01-01")),
        ] {
            assert_eq!(assignment(text).unwrap().1, expected, "{text}");
        }
        assert!(assignment("config.size").is_err());
    }

    #[test]
    fn tables_fit_and_texts_of_others_are_one_line() {
        let look = Look {
            width: 80,
            colour: false,
            now_unix_ms: 0,
        };
        let change: ConfigChange = serde_json::from_value(json!({
            "number": 7, "at_unix_ms": 0, "who": "eve\u{1b}[2J", "by": "command", "not_taken": "it panicked",
            "fields": [{"field": "config.size", "before": 1, "after": 2}],
        }))
        .unwrap();
        let table = past(&[change], &look);
        let text = table.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["config.size: 1 → 2", "not taken: it panicked", "command"] {
            assert!(text.contains(part), "{part:?} is missing in\n{table}");
        }
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let answer: ConfigAnswer = serde_json::from_value(json!({
            "name": "en", "plugin": "a", "in_sync": false, "fault": "the new configuration was not taken",
            "fields": [{"field": "config.size", "value": 3, "origin": "set"}],
        }))
        .unwrap();
        let text = render(&answer, &look);
        assert!(
            text.contains("config.size") && text.contains("Not in force"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
