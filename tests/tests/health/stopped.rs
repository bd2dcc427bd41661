//! A host that is stopped for a while by its system: nobody is to blame but the host.

use super::observe::{PROBE, way};
use extman::model::Health;
use extman_tests::served::Served;
use extman_tests::{build, until};

fn health(served: &Served) -> Option<Health> {
    Some(served.client().plugin("faults")?.health?.judged.health)
}

#[test]
fn a_host_that_was_stopped_blames_nobody() {
    let settings = format!("[vetting]\nenabled = false\n{PROBE}");
    let served = Served::start(&settings, &[]);
    served.put(&build::plugin("faults"));
    until("it is up", || health(&served) == Some(Health::Up));
    let pid = rustix::process::Pid::from_raw(served.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    // Nothing tells when a stopped process has been stopped for long enough, but the time that it will be missing.
    let stopped = std::time::Instant::now();
    until(
        "it has been stopped for longer than an interval and the watchdog's patience",
        || stopped.elapsed() > std::time::Duration::from_secs(4),
    );
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    until("the host says that it did not run", || {
        served.log().contains("the host itself did not run")
    });
    until("it is up again", || health(&served) == Some(Health::Up));
    let way = way(&served);
    assert!(
        way.iter()
            .any(|step| step == "up → unknown: the host itself did not run in time"),
        "{way:?}"
    );
    assert!(
        !way.iter()
            .any(|step| step.contains("→ down") || step.contains("→ degraded")),
        "{way:?}"
    );
}

#[test]
fn a_history_that_is_deleted_costs_no_plugin_its_health() {
    let settings = format!("[vetting]\nenabled = false\n{PROBE}");
    let served = Served::start(&settings, &[]);
    served.put(&build::plugin("faults"));
    until("it is up", || health(&served) == Some(Health::Up));
    let file = served.folder().join("history.db");
    until("it is written down", || {
        file.metadata().is_ok_and(|file| file.len() > 0)
    });
    for name in ["history.db", "history.db-wal", "history.db-shm"] {
        let _ = std::fs::remove_file(served.folder().join(name));
    }
    until("a new one is begun", || {
        file.metadata().is_ok_and(|file| file.len() > 0)
    });
    until("it is still checked", || {
        let view = served.client().plugin("faults");
        view.is_some_and(|view| {
            view.health
                .is_some_and(|health| health.judged.health == Health::Up)
        })
    });
    assert!(
        !way(&served)
            .iter()
            .any(|step| step.contains("→ down") || step.contains("→ unknown"))
    );
}
