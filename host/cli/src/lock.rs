//! `extman lock`: which version of each plugin, in which bytes, is used from here on.

use super::backend::{Backend, HostSources, Locking};
use super::deps::refused;
use super::fault::Fault;
use super::screen::{Outcome, Rendered, Screen};
use super::session;
use super::text::{count, plain};
use extman_intake::Lock;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct LockArgs {
    /// The configuration [default: as for serve]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory with plugins; taken in place of the configured ones; may be given several times
    #[arg(long = "dir", value_name = "DIR")]
    dirs: Vec<PathBuf>,
}

const HELP: &str = "\
The file is extman.lock beside the configuration, or here if there is none. A host that finds it uses what is locked before
other versions; with --locked it uses nothing else. Nothing is started, and nothing is written while a plugin can't be used.";

#[derive(Serialize)]
struct Locked<'a> {
    file: &'a PathBuf,
    plugins: &'a std::collections::BTreeMap<String, extman_intake::Locked>,
    changes: Vec<String>,
}

pub(super) fn run(args: LockArgs, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    session::directories_are_there(&args.dirs)?;
    let resolved = backend.dependencies(HostSources {
        config: args.config,
        dirs: args.dirs,
        locking: Locking::Ignored,
    })?;
    let view = &resolved.dependencies;
    let warnings: Vec<String> = resolved.refused.iter().map(refused).collect();
    if !view.left_out.is_empty() {
        let reasons = view.left_out.iter().map(|left_out| {
            let lines: Vec<_> = left_out.reason.lines().map(plain).collect();
            lines.join("\n")
        });
        let reasons: Vec<_> = reasons.collect();
        let ids: Vec<_> = view
            .left_out
            .iter()
            .map(|left_out| left_out.id.as_str())
            .collect();
        let mut rendered = Rendered::new(view, format!("{}\n\nNothing is written.", reasons.join("\n\n")))?;
        rendered.warnings = warnings;
        return Ok(Outcome::Rendered(
            rendered.refused(format!("left out: {}; nothing is written", ids.join(", "))),
        ));
    }
    let lock = Lock::of(view);
    let before = Lock::read(&resolved.lock_file);
    lock.write(&resolved.lock_file)
        .map_err(|error| Fault::failed("failed", error.to_string()))?;
    let locked = Locked {
        file: &resolved.lock_file,
        plugins: &lock.plugins,
        changes: before.map(|before| changes(&before, &lock)).unwrap_or_default(),
    };
    let mut text = vec![format!(
        "{}: {}.",
        plain(&resolved.lock_file.display().to_string()),
        count(lock.plugins.len(), "plugin")
    )];
    text.extend(locked.changes.iter().map(|change| format!("  {}", plain(change))));
    let text: Vec<_> = text
        .iter()
        .map(|line| super::text::cut(line, screen.look.width))
        .collect();
    let mut rendered = Rendered::new(&locked, text.join("\n"))?;
    rendered.warnings = warnings;
    Ok(Outcome::Rendered(rendered))
}

/// What is otherwise than in the lock before.
fn changes(before: &Lock, now: &Lock) -> Vec<String> {
    let ids = before.plugins.keys().chain(now.plugins.keys());
    let ids: std::collections::BTreeSet<_> = ids.collect();
    let change = |id: &String| match (before.plugins.get(id), now.plugins.get(id)) {
        (Some(was), Some(is)) if was == is => None,
        (Some(was), Some(is)) if was.version == is.version => {
            let (was, is) = (was.digest.short(), is.digest.short());
            Some(format!("{id}: other bytes, sha256:{was} before, {is} now"))
        }
        (Some(was), Some(is)) => {
            let lower = if is.version < was.version {
                ", which is LOWER"
            } else {
                ""
            };
            Some(format!("{id}: {} before, {} now{lower}", was.version, is.version))
        }
        (Some(was), None) => Some(format!("{id}: {} before, gone now", was.version)),
        (None, Some(is)) => Some(format!("{id}: {} is new", is.version)),
        (None, None) => None,
    };
    ids.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::Digest;

    #[test]
    fn what_has_changed_is_told_and_what_is_lower_stands_out() {
        let lock = |plugins: &[(&str, &str, u8)]| Lock {
            plugins: plugins
                .iter()
                .map(|(id, version, digest)| {
                    let locked = extman_intake::Locked {
                        version: version.parse().unwrap(),
                        digest: Digest::new([*digest; 32]),
                    };
                    ((*id).to_owned(), locked)
                })
                .collect(),
        };
        let before = lock(&[
            ("a", "1.0.0", 1),
            ("b", "2.0.0", 2),
            ("c", "1.0.0", 3),
            ("d", "1.0.0", 4),
        ]);
        let now = lock(&[
            ("a", "1.1.0", 5),
            ("b", "1.0.0", 6),
            ("c", "1.0.0", 7),
            ("e", "1.0.0", 8),
        ]);
        assert_eq!(
            changes(&before, &now),
            [
                "a: 1.0.0 before, 1.1.0 now",
                "b: 2.0.0 before, 1.0.0 now, which is LOWER",
                "c: other bytes, sha256:030303030303 before, 070707070707 now",
                "d: 1.0.0 before, gone now",
                "e: 1.0.0 is new",
            ]
        );
        assert_eq!(changes(&now, &now), Vec::<String>::new());
    }
}
