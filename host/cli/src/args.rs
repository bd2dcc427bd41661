//! What can be typed.

use super::fault::Fault;
use super::{
    call, change, completions, config, deps, events, health, history, inspect, list, lock, maintenance,
    manifest, rollout, serve, store, update, uptime, vet, wait,
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
    /// A running host [default: $EXTMAN_URL, else http://127.0.0.1:8642]
    #[arg(long, global = true, value_name = "URL", help_heading = WHICH_HOST)]
    url: Option<String>,
    /// File that holds its bearer token [default: $EXTMAN_TOKEN holds the token]
    #[arg(long, global = true, value_name = "FILE", help_heading = WHICH_HOST)]
    token_file: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Sub,
}

const WHICH_HOST: &str = "Which host";

impl Args {
    /// The command, which knows its host.
    ///
    /// # Errors
    /// It is to be both a running host and one that is started here.
    pub(super) fn for_host(mut self) -> Result<Sub, Fault> {
        if let Some(target) = self.command.target_mut() {
            if !target.dirs.is_empty() && (self.url.is_some() || self.token_file.is_some()) {
                let text = "--dir starts a host here, and --url and --token-file are for one that runs; give the one or the other";
                return Err(Fault::usage(text));
            }
            (target.url, target.token_file) = (self.url, self.token_file);
        } else if self.url.is_some() || self.token_file.is_some() {
            let text = format!(
                "`extman {}` asks no running host; leave --url and --token-file out",
                self.command.word()
            );
            return Err(Fault::usage(text));
        }
        Ok(self.command)
    }
}

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  it failed: a call, a change, a wait, or a file that is refused
  2  usage: arguments, a configuration, an input or a token that can't be used
  3  no host: it can't be reached, or could not be started
  10, 11, 12  health, probe: degraded, unknown, down (up is 0)
  20 rollout --watch, update --wait: the new version was taken back
  130, 143  serve: a second SIGINT or SIGTERM ended it before everything was unloaded

Environment:
  EXTMAN_URL    the running host, as --url
  EXTMAN_TOKEN  its bearer token, where --token-file is not given
  RUST_LOG      what is logged to standard error
  NO_COLOR, CLICOLOR, CLICOLOR_FORCE  whether tables have colours";

#[derive(Debug, Subcommand)]
pub(super) enum Sub {
    /// Run a host until a signal ends it
    Serve(serve::Serve),
    /// List the plugins, one a row: which are there, in which state
    List(list::List),
    /// Show all of a plugin: what it is, offers and came from
    Show(change::Named),
    /// Show the host: what runs, which files were refused, what stayed in memory
    Status(HostAlone),
    /// Say how the plugins are, from what is known; the exit code says it too
    Health(health::Health),
    /// Have a plugin asked how it is, now, and say what came of it
    Probe(health::Probe),
    /// Wait until a plugin runs, or is up
    Wait(wait::Wait),
    /// Show what happened lately, or follow it
    Events(events::Events),
    /// Show how a plugin was: its states, its calls, its versions
    History(history::Past),
    /// Show how much of the time plugins could serve
    Uptime(uptime::UptimeArgs),
    /// Say what can be said of a plugin from its history: drift, leak, errors, patterns
    Analyse(history::Past),
    /// List what can be called, and who serves it
    Capabilities(HostAlone),
    /// Call a capability
    Call(call::Call),
    /// Load and start a plugin that is stopped, failed or quarantined
    Load(change::Named),
    /// Drain, stop and unload a plugin; it stays known
    Unload(change::WithDependents),
    /// Unload a plugin and load it again
    Restart(change::Named),
    /// Have a plugin run again that was disabled
    Enable(change::Named),
    /// Stop and unload a plugin, over restarts of the host, until it is enabled; it counts in no sum
    Disable(change::WithDependents),
    /// Update a plugin: the new version is started beside the old one, judged, and takes its place step by step
    Update(update::Update),
    /// Take plugins back to the version before: an update that is under way, or the last one, at once
    Rollback(change::Named),
    /// Show, pause, resume, promote or abort the updates that are under way
    Rollout(rollout::Rollout),
    /// Put plugins into maintenance for a while, or end that; without --for and --end, list what is in maintenance
    Maintenance(maintenance::MaintenanceArgs),
    /// Say what a library file is, without running anything of it
    Inspect(inspect::Inspect),
    /// Vet a library file: open, create and probe it in a throwaway process, as a host does before it loads it
    #[command(alias = "check")]
    Vet(vet::Vet),
    /// Print the C source of a plugin.toml's frame
    Manifest(manifest::ManifestArgs),
    /// Show which plugin requires which, as a tree, and why one can't be used
    Deps(deps::Deps),
    /// Write down which version of each plugin is used, and its bytes: extman.lock
    Lock(lock::LockArgs),
    /// List or prune the host's copies of plugins
    Store(store::StoreArgs),
    /// Show and change what a plugin is configured with; check a host's configuration, or print all of it with its defaults
    Config(config::ConfigArgs),
    /// Print the completions of a shell
    Completions(completions::Completions),
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
            Sub::Enable(_) => "enable",
            Sub::Disable(_) => "disable",
            Sub::Update(_) => "update",
            Sub::Rollback(_) => "rollback",
            Sub::Rollout(args) => args.word(),
            Sub::Maintenance(_) => "maintenance",
            Sub::Inspect(_) => "inspect",
            Sub::Vet(_) => "vet",
            Sub::Manifest(_) => "manifest",
            Sub::Deps(_) => "dependencies",
            Sub::Lock(_) => "lock",
            Sub::Store(args) => args.word(),
            Sub::Wait(_) => "wait",
            Sub::Events(_) => "events",
            Sub::Config(args) => args.word(),
            Sub::Completions(_) => "completions",
        }
    }

    /// The host that it is for; nothing if it is for none.
    fn target_mut(&mut self) -> Option<&mut Target> {
        Some(match self {
            Sub::List(args) => &mut args.target,
            Sub::Health(args) => &mut args.target,
            Sub::Probe(args) => &mut args.target,
            Sub::Wait(args) => &mut args.target,
            Sub::Events(args) => &mut args.target,
            Sub::History(args) | Sub::Analyse(args) => &mut args.target,
            Sub::Uptime(args) => &mut args.target,
            Sub::Call(args) => &mut args.target,
            Sub::Update(args) => &mut args.target,
            Sub::Rollout(args) => &mut args.target,
            Sub::Maintenance(args) => &mut args.target,
            Sub::Deps(args) => &mut args.target,
            Sub::Unload(args) | Sub::Disable(args) => &mut args.named.target,
            Sub::Show(args)
            | Sub::Load(args)
            | Sub::Restart(args)
            | Sub::Enable(args)
            | Sub::Rollback(args) => &mut args.target,
            Sub::Status(args) | Sub::Capabilities(args) => &mut args.target,
            Sub::Config(args) => return args.target_mut(),
            Sub::Serve(_)
            | Sub::Inspect(_)
            | Sub::Vet(_)
            | Sub::Manifest(_)
            | Sub::Lock(_)
            | Sub::Store(_)
            | Sub::Completions(_) => return None,
        })
    }
}

/// No arguments of its own.
#[derive(Debug, clap::Args)]
pub(super) struct HostAlone {
    #[command(flatten)]
    pub(super) target: Target,
}

/// Which host.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = WHICH_HOST)]
pub(super) struct Target {
    /// Given for all commands.
    #[arg(skip)]
    pub(super) url: Option<String>,
    /// Given for all commands.
    #[arg(skip)]
    pub(super) token_file: Option<PathBuf>,
    /// No running host: start one here with these plugins, do the command, and end it
    #[arg(long = "dir", value_name = "DIR")]
    pub(super) dirs: Vec<PathBuf>,
    /// Configuration of the host that --dir starts [default: as for serve]
    #[arg(long, value_name = "FILE", requires = "dirs")]
    pub(super) config: Option<PathBuf>,
    /// With --dir: use nothing but what extman.lock has
    #[arg(long, requires = "dirs")]
    pub(super) locked: bool,
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
            "extman --url http://a list --dir b",
            "extman list --token-file a --dir b",
            "extman list --config a",
        ] {
            let parsed = Args::try_parse_from(line.split(' '));
            assert!(parsed.is_err() || parsed.unwrap().for_host().is_err(), "{line}");
        }
        assert!(Args::try_parse_from("extman list --dir b --config a --dir c".split(' ')).is_ok());
    }

    #[test]
    fn command_that_asks_no_host_refuses_to_be_given_one() {
        for line in [
            "extman serve --url http://a",
            "extman inspect a.so --token-file t",
        ] {
            let parsed = Args::try_parse_from(line.split(' ')).unwrap();
            let text = parsed.for_host().unwrap_err().failure.text;
            assert!(text.contains("asks no running host"), "{line}: {text}");
        }
    }

    #[test]
    fn the_host_may_be_named_before_and_after_the_command() {
        for line in ["extman --url http://a list", "extman list --url http://a"] {
            let mut command = Args::try_parse_from(line.split(' ')).unwrap().for_host().unwrap();
            assert_eq!(
                command.target_mut().unwrap().url.as_deref(),
                Some("http://a"),
                "{line}"
            );
        }
    }

    #[test]
    fn an_old_word_goes_on_working_and_is_not_shown() {
        let check = Args::try_parse_from(["extman", "check", "a.so"]).unwrap();
        assert_eq!(check.command.word(), "vet");
        let help = Args::command().render_help().to_string();
        assert!(help.contains("  vet ") && !help.contains("  check "), "{help}");
    }

    #[test]
    fn help_names_the_exit_codes() {
        let help = Args::command().render_long_help().to_string();
        for line in ["Exit codes:", "  3  no host", "EXTMAN_TOKEN"] {
            assert!(help.contains(line), "{help}");
        }
    }
}
