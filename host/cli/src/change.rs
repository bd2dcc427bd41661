//! `extman load`, `extman unload`, `extman restart`, `extman enable`, `extman disable`.

use super::args::Target;
use super::backend::Backend;
use super::fault::Fault;
use super::screen::{Outcome, Rendered, Screen};
use super::session::{self, mismatch};
use super::several::together;
use super::show;
use extman_model::control::{Answer, Command};

#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// Their names, as `extman list` shows them
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    pub(super) target: Target,
}

/// Which change.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    Load,
    Unload,
    Restart,
    Enable,
    Disable,
}

pub(super) fn run(
    change: Change,
    args: Named,
    backend: &dyn Backend,
    screen: &Screen,
) -> Result<Outcome, Fault> {
    let command = |name| match change {
        Change::Load => Command::Load { name },
        Change::Unload => Command::Unload { name },
        Change::Restart => Command::Restart { name },
        Change::Enable => Command::Enable { name },
        Change::Disable => Command::Disable { name },
    };
    let (mut rendered, warnings) = session::with(&args.target, backend, |host| {
        let one = |name: &String| {
            let Answer::Plugin(plugin) = host.run(command(name.clone()))? else {
                return Err(mismatch());
            };
            Rendered::new(&plugin, show::render(&plugin, &screen.look))
        };
        together(args.names.iter().map(|name| (name.clone(), one(name))).collect())
    })?;
    rendered.warnings.extend(warnings);
    Ok(Outcome::Rendered(rendered))
}
