//! `extman load`, `extman unload`, `extman restart`.

use super::args::Target;
use super::backend::Backend;
use super::fault::Fault;
use super::screen::{Outcome, Screen, Told};
use super::session::{self, mismatch};
use super::show;
use extman_model::control::{Answer, Command};

#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The plugin's name, as `extman list` shows it
    name: String,
    #[command(flatten)]
    target: Target,
}

/// Which change.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Load,
    Unload,
    Restart,
}

pub(super) fn run(
    change: Change,
    args: Named,
    backend: &dyn Backend,
    screen: &Screen,
) -> Result<Outcome, Fault> {
    let name = args.name;
    let command = match change {
        Change::Load => Command::Load { name },
        Change::Unload => Command::Unload { name },
        Change::Restart => Command::Restart { name },
    };
    let (answer, warnings) = session::with(&args.target, backend, |host| host.run(command))?;
    let Answer::Plugin(plugin) = answer else {
        return Err(mismatch());
    };
    let mut told = Told::new(&plugin, show::render(&plugin, &screen.look))?;
    told.warnings = warnings;
    Ok(Outcome::Told(told))
}
