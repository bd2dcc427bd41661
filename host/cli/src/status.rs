//! `extman status`.

use super::args::HostAlone;
use super::backend::Backend;
use super::fault::Fault;
use super::screen::{Look, Outcome, Screen};
use super::session;
use super::show::fields;
use super::text::{count, plain, wrap};
use extman_model::control::Command;
use extman_model::{RefusedView, StatusView};

pub(super) fn run(args: &HostAlone, backend: &dyn Backend, screen: &Screen) -> Result<Outcome, Fault> {
    session::answered(&args.target, backend, Command::Status, |status: &StatusView| {
        render(status, &screen.look)
    })
}

fn render(status: &StatusView, look: &Look) -> String {
    let (directories, files): (Vec<_>, Vec<_>) = status
        .refused
        .iter()
        .partition(|refused| refused.code.starts_with("directory-"));
    let refused = |refused: &RefusedView| {
        let path = plain(&refused.path.display().to_string());
        let code = plain(&refused.code);
        format!("  {path} ({code})\n{}", wrap(&refused.reason, look.width, 6))
    };
    let line = |text: String| wrap(&text, look.width, 2);
    let (missing, maintenance) = (status.missing.iter(), status.maintenance.iter());
    let missing = missing.map(|missing| line(format!("{}: {}", missing.name, missing.reason)));
    let maintenance = maintenance.map(|row| {
        let words = super::maintenance::words(&row.maintenance, look);
        line(format!("{}: {words}", row.name))
    });
    let crashes = status.crashes.iter().map(|crash| line(crash.to_string()));
    let resident = status.resident.iter().map(|left| {
        line(format!(
            "{} {}, load {}: {}",
            left.id, left.version, left.generation, left.verdict
        ))
    });
    let without_plugin = count(status.missing.len(), "configured instance");
    let rollouts = status.rollouts.iter().filter_map(|one| {
        let rollout = one.rollout.as_ref()?;
        Some(line(format!("{}: {}", one.name, super::rollout::line(rollout))))
    });
    let sections: [(String, Vec<String>); 7] = [
        (
            "Directories with a problem".to_owned(),
            directories.into_iter().map(refused).collect(),
        ),
        (
            count(files.len(), "refused file"),
            files.into_iter().map(refused).collect(),
        ),
        (
            format!("{without_plugin} whose plugin is not there"),
            missing.collect(),
        ),
        (
            "Ended by a signal before this start".to_owned(),
            crashes.collect(),
        ),
        ("Updates under way".to_owned(), rollouts.collect()),
        ("In maintenance".to_owned(), maintenance.collect()),
        ("Kept in memory after their unload".to_owned(), resident.collect()),
    ];
    let config = &status.config;
    let faults = config.faults.iter().map(|fault| line(fault.to_string()));
    let not_taken = config.not_taken.iter();
    let not_taken = not_taken.map(|name| line(format!("{name}: goes on with the configuration before")));
    let waits = config.needs_restart.iter();
    let waits = waits.map(|field| line(format!("{field}: holds from the next start of the host on")));
    let config = (
        "Configured and not in force".to_owned(),
        faults.chain(not_taken).chain(waits).collect::<Vec<_>>(),
    );
    let sections = std::iter::once(config).chain(sections);
    let mut parts = vec![format!("{}\n{}", headline(status), facts(status, look))];
    let sections = sections.filter(|(_, lines)| !lines.is_empty());
    parts.extend(sections.map(|(heading, lines)| format!("{heading}\n{}", lines.join("\n"))));
    parts.join("\n\n")
}

fn headline(status: &StatusView) -> String {
    let ready = if status.ready {
        "Ready"
    } else {
        "Not ready: the first look at the directories is not done"
    };
    let instances: Vec<_> = status
        .instances
        .iter()
        .map(|(lifecycle, number)| format!("{number} {}", lifecycle.as_str()))
        .collect();
    match instances.is_empty() {
        true => format!("{ready}, no plugins"),
        false => format!("{ready}, {}", instances.join(", ")),
    }
}

fn facts(status: &StatusView, look: &Look) -> String {
    let up = look.since(status.started_unix_ms);
    let mut rows = vec![(
        "host",
        format!(
            "{}, ABI {}, process {}, up {up}",
            status.version, status.abi, status.pid
        ),
    )];
    if let Some(file) = &status.config.file {
        let sync = match status.config.in_sync {
            true => "in force",
            false => "not all in force",
        };
        rows.push(("config", format!("{}, {sync}", file.display())));
    }
    for directory in &status.directories {
        rows.push(("watches", directory.display().to_string()));
    }
    let unloads = match status.unloads {
        true => "yes".to_owned(),
        false => "no: the host can't see its plugins' threads, so it keeps libraries instead of closing them"
            .to_owned(),
    };
    rows.push(("unloads", unloads));
    if let Some(bound) = status.vetting_memory {
        rows.push(("vetting", format!("its memory is bounded by {bound}")));
    }
    if let Some(why) = &status.crashes_not_noted {
        rows.push(("crashes", format!("not noted: {why}")));
    }
    for change in &status.process_changes {
        rows.push(("process", format!("{}: {change}", change.by.join(", "))));
    }
    for warning in &status.warnings {
        rows.push(("warning", warning.clone()));
    }
    fields(&rows, look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refused_files_have_their_reason_wrapped() {
        let reason = "the library is cut off: its sections end at byte 9000, the file has 4096; copy or build it again";
        let status: StatusView = serde_json::from_value(json!({
            "version": "0.1.0", "abi": "1.0", "pid": 7, "started_unix_ms": 0, "ready": true, "unloads": false,
            "instances": {"running": 11, "failed": 1},
            "refused": [{"path": "/opt/plugins/broken\u{1b}.so", "code": "truncated", "reason": reason}],
            "resident": [{"id": "a", "version": "1.0.0", "generation": 3,
                "verdict": {"verdict": "resident", "reason": "kept-by-loader", "culprit": "STB_GNU_UNIQUE x"}}],
            "directories": ["/opt/plugins"],
        }))
        .unwrap();
        let look = Look {
            width: 60,
            colour: false,
            now_unix_ms: 180_000,
        };
        let text = render(&status, &look);
        assert!(text.starts_with("Ready, 11 running, 1 failed\n"), "{text}");
        for part in [
            "up 3 min",
            "/opt/plugins",
            "1 refused file\n",
            "(truncated)",
            "a 1.0.0, load 3: resident: the dynamic loader kept it",
            "unloads  no:",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let words: Vec<_> = text.split_whitespace().collect();
        assert!(words.join(" ").contains(reason), "{text}");
    }
}
