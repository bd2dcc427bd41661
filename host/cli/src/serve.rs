//! `extman serve`.

use super::backend::{Backend, HostSources, Locking, Logs, ServeArgs};
use super::fault::Fault;
use super::screen::Outcome;
use super::session::runtime;
use extman_model::control::listen_address;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// The configuration [default: extman.toml here, then extman/extman.toml in the user's and the system's places]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory with plugins; taken in place of the configured ones; may be given several times
    #[arg(long = "dir", value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// Address and port of the HTTP API; port 0 is any free one [default: 127.0.0.1:8642]
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// How the log is written to standard error
    #[arg(long, value_enum, default_value_t)]
    log_format: Logs,
    /// Use nothing but what extman.lock has: see `extman lock`
    #[arg(long)]
    locked: bool,
    /// Load plugins without trying them in a throwaway process first: one that crashes takes the host with it
    #[arg(long)]
    no_vetting: bool,
}

pub(super) fn run(args: Serve, backend: &dyn Backend) -> Result<Outcome, Fault> {
    let args = ServeArgs {
        place: HostSources {
            config: args.config,
            dirs: args.dirs,
            locking: Locking::only_if(args.locked),
        },
        listen: args.listen,
        logs: args.log_format,
        vetting: args.no_vetting.then_some(false),
    };
    let runtime = runtime()?;
    let served = runtime.block_on(backend.serve(args));
    // What still looks at files or closes libraries is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served.map(|()| Outcome::Written).map_err(Fault::from)
}
