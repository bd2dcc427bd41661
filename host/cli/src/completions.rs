//! `extman completions`.

use super::args::Args;
use super::fault::Fault;
use super::screen::{Outcome, Screen};
use clap::CommandFactory;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "For bash: extman completions bash > ~/.local/share/bash-completion/completions/extman"
)]
pub(crate) struct Completions {
    /// Whose
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(super) fn run(args: &Completions, screen: &mut Screen) -> Result<Outcome, Fault> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "extman", &mut script);
    screen.write(&script);
    Ok(Outcome::Written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn each_shell_gets_a_script_with_every_command() {
        for shell in clap_complete::Shell::value_variants() {
            let (mut screen, written) = Screen::into_memory(false);
            run(&Completions { shell: *shell }, &mut screen).unwrap();
            let script = written.text();
            for command in Args::command().get_subcommands() {
                assert!(
                    script.contains(command.get_name()),
                    "{shell}: {}",
                    command.get_name()
                );
            }
        }
    }
}
