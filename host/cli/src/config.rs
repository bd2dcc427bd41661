//! `extman config` and what it checks and prints without a host (`config_of` has the rest), and where a host's configuration is looked for.

use super::args::Target;
use super::backend::{Backend, ConfigChecked};
use super::config_of;
use super::fault::{Exit, Fault};
use super::screen::{Outcome, Rendered, Screen};
use super::text::{count, wrap, wrap_hanging};
use extman_model::control::Failure;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show what a plugin is configured with, and where each value comes from
    Get(config_of::Of),
    /// Set values above what extman.toml says: held against the plugin's schema, taken by the plugin as it runs, or else nothing changes
    Set(config_of::Set),
    /// End that values are set
    Unset(config_of::Unset),
    /// Show where extman.toml, what was set, and what is in force differ
    Diff(config_of::Of),
    /// Show who changed what, and when
    History(config_of::Of),
    /// Bring back an earlier configuration
    Rollback(config_of::Rollback),
    /// Say whether a configuration can be used, and what is wrong with it where
    Check {
        /// The file [default: the one that serve would use]
        file: Option<PathBuf>,
    },
    /// Print a configuration with every field, what it is for, and its default
    Reference,
}

impl ConfigArgs {
    /// The command's word in the envelope.
    pub(super) fn word(&self) -> &'static str {
        match self.what {
            What::Diff(_) => "config_diff",
            What::History(_) => "config_history",
            What::Rollback(_) => "config_rollback",
            _ => "config",
        }
    }

    /// The host that it is for; nothing if it is for none.
    pub(super) fn target_mut(&mut self) -> Option<&mut Target> {
        match &mut self.what {
            What::Get(args) | What::Diff(args) | What::History(args) => Some(&mut args.target),
            What::Set(args) => Some(&mut args.target),
            What::Unset(args) => Some(&mut args.target),
            What::Rollback(args) => Some(&mut args.target),
            What::Check { .. } | What::Reference => None,
        }
    }
}

/// Generated from the documentation of the fields; a test holds it to them.
const REFERENCE: &str = include_str!("reference.toml");

pub(super) fn run(args: ConfigArgs, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    match args.what {
        What::Get(args) => config_of::get(args, backend, screen),
        What::Set(args) => config_of::set(args, backend, screen),
        What::Unset(args) => config_of::unset(args, backend, screen),
        What::Diff(args) => config_of::diff(args, backend, screen),
        What::History(args) => config_of::history(args, backend, screen),
        What::Rollback(args) => config_of::roll_back(args, backend, screen),
        What::Reference => Rendered::new(&serde_json::json!({ "toml": REFERENCE }), REFERENCE.to_owned())
            .map(Outcome::Rendered),
        What::Check { file } => {
            let checked = backend.check_config(file)?;
            let mut rendered = Rendered::new(&checked, render(&checked, screen.look.width))?;
            if let Some(first) = checked.faults.first() {
                let text = format!(
                    "{} can't be used, the first: {first}",
                    count(checked.faults.len(), "field")
                );
                rendered.refused = Some(Failure::new("configuration", text));
                rendered.exit = Exit::Usage;
            }
            Ok(Outcome::Rendered(rendered))
        }
    }
}

fn render(checked: &ConfigChecked, width: usize) -> String {
    let faults = checked.faults.iter();
    let faults: Vec<String> = faults
        .map(|fault| wrap_hanging(&fault.to_string(), width))
        .collect();
    if !faults.is_empty() {
        return faults.join("\n");
    }
    let text = match &checked.file {
        Some(file) => format!("{} can be used.", file.display()),
        None => {
            let places: Vec<String> = checked
                .places
                .iter()
                .map(|place| place.display().to_string())
                .collect();
            format!(
                "There is no configuration, so a host uses the defaults: `extman config reference` has them. It was looked for \
                 at {}.",
                places.join(", ")
            )
        }
    };
    wrap(&text, width, 0)
}

/// Where a configuration is looked for when none is named, in this order: where the program was started, where the user keeps such
/// files, and where the system does.
pub fn configuration_places(env: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    const NAME: &str = "extman.toml";
    let absolute = |name| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let own = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    let all = env("XDG_CONFIG_DIRS").filter(|dirs| !dirs.is_empty());
    let all = all.unwrap_or_else(|| "/etc/xdg".to_owned());
    let system = std::env::split_paths(&all).filter(|path| path.is_absolute());
    let system: Vec<PathBuf> = system.collect();
    std::iter::once(PathBuf::from(NAME))
        .chain(
            own.into_iter()
                .chain(system)
                .chain([PathBuf::from("/etc")])
                .map(|dir| dir.join("extman").join(NAME)),
        )
        .collect()
}

/// The first of them that is there.
pub fn found_configuration() -> Option<PathBuf> {
    let places = configuration_places(|name| std::env::var(name).ok());
    places.into_iter().find(|place| place.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_looked_for_from_near_to_far() {
        let places = |pairs: &[(&str, &str)]| {
            let env = |name: &str| {
                let found = pairs.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let places = configuration_places(env).into_iter();
            places
                .map(|place| place.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            places(&[("HOME", "/home/a")]),
            [
                "extman.toml",
                "/home/a/.config/extman/extman.toml",
                "/etc/xdg/extman/extman.toml",
                "/etc/extman/extman.toml"
            ]
        );
        let set = [
            ("HOME", "/home/a"),
            ("XDG_CONFIG_HOME", "/c"),
            ("XDG_CONFIG_DIRS", "/d:relative:/e"),
        ];
        assert_eq!(
            places(&set),
            [
                "extman.toml",
                "/c/extman/extman.toml",
                "/d/extman/extman.toml",
                "/e/extman/extman.toml",
                "/etc/extman/extman.toml"
            ]
        );
        assert_eq!(places(&[("XDG_CONFIG_HOME", "relative")]).len(), 3);
    }
}
