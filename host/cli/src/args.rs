//! What can be typed.

use super::{
    analyse, call, change, check, health, history, inspect, list, manifest, serve, show, store, uptime,
};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Hosts native plugins: finds, vets, loads, probes, calls and truly unloads them.
#[derive(Debug, Parser)]
#[command(name = "extman", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(super) struct Args {
    /// Print one JSON envelope instead of text
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Sub,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  it failed: a call, a check, a change, or a file that is refused
  2  usage: arguments, a configuration, an input or a token that can't be used
  3  no host: it can't be reached, or could not be started
  10, 11, 12  health, probe: degraded, unknown, down (up is 0)
  130, 143  serve: a second SIGINT or SIGTERM ended it before everything was unloaded

Environment:
  EXTMAN_URL    the running host, as --url
  EXTMAN_TOKEN  its bearer token, where --token-file is not given
  RUST_LOG      what is logged to standard error
  NO_COLOR, CLICOLOR, CLICOLOR_FORCE  whether tables have colours";

#[derive(Debug, Subcommand)]
pub(super) enum Sub {
    /// Run a host until it is told to end
    Serve(serve::Serve),
    /// List the plugins
    List(list::List),
    /// Show one plugin
    Show(show::Show),
    /// Show the host: what runs, which files were refused, what stayed in memory
    Status(StatusArgs),
    /// Say how the plugins are, or one of them; the exit code says it too
    Health(health::Health),
    /// Ask a plugin how it is, now, and say what came of it
    Probe(health::Probe),
    /// Show how a plugin was: its states, its calls, its versions
    History(history::History),
    /// Show how much of the time plugins could serve
    Uptime(uptime::UptimeArgs),
    /// Say what can be said of a plugin from its history: drift, leak, errors, patterns
    Analyse(analyse::Analyse),
    /// List what can be called, and who serves it
    Capabilities(CapabilitiesArgs),
    /// Call a capability
    Call(call::Call),
    /// Load and start a plugin that is stopped, failed or quarantined
    Load(change::Named),
    /// Drain, stop and unload a plugin; it stays known
    Unload(change::Named),
    /// Unload a plugin and load it again
    Restart(change::Named),
    /// Say what libraries are, without running anything of them
    Inspect(inspect::Inspect),
    /// Vet a library: open, create and probe it in a throwaway process
    Check(check::Check),
    /// Print the C source of a plugin.toml's frame
    Manifest(manifest::ManifestArgs),
    /// List or prune the host's copies of plugins
    Store(store::StoreArgs),
}

impl Sub {
    /// The command's word in the envelope.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Sub::Serve(_) => "serve",
            Sub::List(_) => "plugins",
            Sub::Show(_) => "plugin",
            Sub::Status(_) => "status",
            Sub::Health(args) => args.word(),
            Sub::Probe(_) => "check_now",
            Sub::History(_) => "history",
            Sub::Uptime(_) => "uptime",
            Sub::Analyse(_) => "analysis",
            Sub::Capabilities(_) => "capabilities",
            Sub::Call(_) => "invoke",
            Sub::Load(_) => "load",
            Sub::Unload(_) => "unload",
            Sub::Restart(_) => "restart",
            Sub::Inspect(_) => "inspect",
            Sub::Check(_) => "check",
            Sub::Manifest(_) => "manifest",
            Sub::Store(args) => args.word(),
        }
    }
}

/// No arguments of its own.
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) target: Target,
}

/// No arguments of its own.
#[derive(Debug, clap::Args)]
pub(super) struct CapabilitiesArgs {
    #[command(flatten)]
    pub(super) target: Target,
}

/// Which host.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Which host")]
pub(super) struct Target {
    /// A running host [default: $EXTMAN_URL, else http://127.0.0.1:8642]
    #[arg(long, value_name = "URL", conflicts_with_all = ["dirs", "config"])]
    pub(super) url: Option<String>,
    /// File that holds its bearer token [default: $EXTMAN_TOKEN holds the token]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dirs", "config"])]
    pub(super) token_file: Option<PathBuf>,
    /// No running host: start one here with these plugins, do the command, and end it
    #[arg(long = "dir", value_name = "DIR")]
    pub(super) dirs: Vec<PathBuf>,
    /// Configuration of the host that --dir starts
    #[arg(long, value_name = "FILE", requires = "dirs")]
    pub(super) config: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn json_may_stand_anywhere() {
        assert!(Args::try_parse_from(["extman", "--json", "list"]).unwrap().json);
        assert!(Args::try_parse_from(["extman", "list", "--json"]).unwrap().json);
    }

    #[test]
    fn a_host_is_either_running_or_started_here() {
        for line in [
            "extman list --url http://a --dir b",
            "extman list --token-file a --dir b",
            "extman list --config a",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
        assert!(Args::try_parse_from("extman list --dir b --config a --dir c".split(' ')).is_ok());
    }

    #[test]
    fn help_names_the_exit_codes() {
        let help = Args::command().render_long_help().to_string();
        for line in ["Exit codes:", "  3  no host", "EXTMAN_TOKEN"] {
            assert!(help.contains(line), "{help}");
        }
    }
}
