//! `extman store list` and `extman store prune`.

use super::backend::Backend;
use super::duration::long;
use super::fault::Fault;
use super::screen::{Look, Outcome, Rendered, Screen};
use super::text::count;
use extman_intake::{Pruned, StoredCopy};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the host's copies of plugins, and which of them are in use
    List(Which),
    /// Remove copies that no host has used for long
    Prune {
        #[command(flatten)]
        which: Which,
        /// Days for which a copy may be unused; 0 removes all that are not in use [default: the configured]
        #[arg(long, value_name = "DAYS")]
        unused_days: Option<u64>,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The host's configuration, which names its store [default: the defaults]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Serialize)]
struct Listed {
    copies: Vec<StoredCopy>,
    bytes: u64,
}

impl StoreArgs {
    pub(super) fn word(&self) -> &'static str {
        match self.what {
            What::List(_) => "store_list",
            What::Prune { .. } => "store_prune",
        }
    }
}

pub(super) fn run(args: StoreArgs, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    let rendered = match args.what {
        What::List(which) => {
            let copies = backend.store_list(which.config).map_err(Fault::from)?;
            let bytes = copies.iter().map(|copy| copy.bytes).sum();
            let listed = Listed { copies, bytes };
            Rendered::new(&listed, render(&listed, &screen.look))?
        }
        What::Prune { which, unused_days } => {
            let pruned = backend
                .store_prune(which.config, unused_days)
                .map_err(Fault::from)?;
            Rendered::new(&pruned, removed(&pruned))?
        }
    };
    Ok(Outcome::Rendered(rendered))
}

fn render(listed: &Listed, look: &Look) -> String {
    let mut lines = Vec::new();
    for copy in &listed.copies {
        let used = match copy.in_use {
            true => "in use".to_owned(),
            false => format!(
                "unused for {}",
                long(look.now_unix_ms.saturating_sub(copy.used_unix_ms))
            ),
        };
        lines.push(format!("{}  {} bytes  {used}", copy.digest, copy.bytes));
    }
    lines.push(format!("{}, {} bytes", copies(listed.copies.len()), listed.bytes));
    lines.join("\n")
}

fn removed(pruned: &Pruned) -> String {
    let removed = pruned.removed.len();
    format!(
        "{} removed, {} bytes freed; {} left",
        copies(removed),
        pruned.freed_bytes,
        pruned.left
    )
}

fn copies(number: usize) -> String {
    match number {
        1 => count(1, "copy"),
        _ => format!("{number} copies"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::Digest;

    #[test]
    fn copies_are_listed_with_their_use() {
        let copy = |n, in_use| StoredCopy {
            digest: Digest::new([n; 32]),
            bytes: 1000,
            used_unix_ms: 0,
            in_use,
        };
        let listed = Listed {
            copies: vec![copy(1, true), copy(2, false)],
            bytes: 2000,
        };
        let look = Look {
            width: 80,
            colour: false,
            now_unix_ms: 3 * 86_400_000,
        };
        let text = render(&listed, &look);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with("1000 bytes  in use"), "{text}");
        assert!(lines[1].ends_with("1000 bytes  unused for 3 d"), "{text}");
        assert_eq!(lines[2], "2 copies, 2000 bytes");
        let pruned = Pruned {
            removed: vec![Digest::new([2; 32])],
            left: 1,
            freed_bytes: 1000,
        };
        assert_eq!(removed(&pruned), "1 copy removed, 1000 bytes freed; 1 left");
    }
}
