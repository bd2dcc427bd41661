//! `extman update`.

use super::args::Target;
use super::backend::Backend;
use super::fault::Fault;
use super::rollout::render;
use super::rollout_watch::{Watched, watch};
use super::screen::{Outcome, Rendered, Screen};
use super::session;
use extman_model::control::Command;
use extman_model::{PluginView, RolloutStatus, UpdateTo};
use std::path::Path;

/// It is answered once the new version has started beside the one that serves; `extman rollout NAME` shows how it goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes of --wait: 0 the new version has taken the place of the old one, 20 it was taken back,
1 another version or configuration has overtaken it, or nothing serves.

Examples:
  extman update embedder
  extman update embedder --to 1.3.0 --wait
  extman update embedder --to ./libembedder.so")]
pub(crate) struct Update {
    /// Its name, as `extman list` shows it
    name: String,
    /// A version that lies in the directories, or a library file, also one that was taken back [default: the newest]
    #[arg(long, value_name = "VERSION|FILE", value_parser = update_to)]
    to: Option<UpdateTo>,
    /// Print a line for each change, until it is over
    #[arg(long)]
    wait: bool,
    #[arg(skip)]
    pub(super) target: Target,
}

pub(super) fn run(args: Update, backend: &dyn Backend, screen: &mut Screen) -> Result<Outcome, Fault> {
    let (name, to) = (args.name, args.to.unwrap_or(UpdateTo::Newest));
    let (outcome, _) = session::with(&args.target, backend, |host| {
        let before: RolloutStatus = host.ask(Command::Rollout { name: name.clone() })?;
        let plugin: PluginView = host.ask(Command::Update { name, to })?;
        let after = RolloutStatus::from(&plugin);
        match args.wait {
            true => watch(host, Watched::asked_for(&before, after), screen),
            false => Rendered::new(&plugin, render(&after, &screen.look)).map(Outcome::Rendered),
        }
    })?;
    Ok(outcome)
}

/// A version; or a file, by a path or a library's ending.
fn update_to(text: &str) -> Result<UpdateTo, String> {
    if let Ok(version) = text.parse() {
        return Ok(UpdateTo::Version(version));
    }
    let path = Path::new(text);
    if !text.contains('/') && path.extension().is_none_or(|ending| ending != "so") {
        return Err("it is neither a version such as 1.2.0 nor the path of a library (*.so)".to_owned());
    }
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    Ok(UpdateTo::File(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use semver::Version;

    #[test]
    fn version_or_file_is_told_by_its_look() {
        assert_eq!(
            update_to("1.2.0-rc.1"),
            Ok(UpdateTo::Version(Version::parse("1.2.0-rc.1").unwrap()))
        );
        assert_eq!(update_to("/p/a"), Ok(UpdateTo::File("/p/a".into())));
        let here = std::env::current_dir().unwrap();
        assert_eq!(update_to("a.so"), Ok(UpdateTo::File(here.join("a.so"))));
        for text in ["1.2", "newest", ""] {
            assert!(update_to(text).unwrap_err().contains("neither"), "{text}");
        }
    }
}
