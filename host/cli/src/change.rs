//! `extman show`, `extman load`, `extman unload`, `extman restart`, `extman enable`, `extman disable`: what is answered by plugins as
//! they are, or are afterwards.

use super::args::Target;
use super::backend::Backend;
use super::fault::Fault;
use super::screen::{Outcome, Screen};
use super::several::each;
use super::{session, show};
use extman_model::PluginView;
use extman_model::control::Command;

#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// Their names, as `extman list` shows them
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    pub(super) target: Target,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WithDependents {
    /// Do the same with those that require them, before them
    #[arg(long)]
    pub(super) cascade: bool,
    #[command(flatten)]
    pub(super) named: Named,
}

pub(super) fn run(
    command: impl Fn(String) -> Command,
    args: &Named,
    backend: &dyn Backend,
    screen: &Screen,
) -> Result<Outcome, Fault> {
    session::shown(&args.target, backend, |host| {
        each(&args.names, |name| {
            host.rendered(command(name.to_owned()), |plugin: &PluginView| {
                show::render(plugin, &screen.look)
            })
        })
    })
}
