//! What befalls the host itself: it is stopped, its wall clock is set, its disk is full, its history deleted. None of that is a
//! plugin's doing.

use super::faulty::Faulty;
use super::observe::{PROBE, calling, way};
use extman_model::Health;
use extman_model::control::report::{HistoryAnswer, HistoryState, HistoryStatus, UptimeRow};
use extman_tests::served::{Caller, Served};
use extman_tests::{build, until};
use std::fmt;
use std::time::{Duration, Instant};

/// A fault of the host's, and what comes of it. The words are the table's.
pub struct HostRow {
    pub fault: &'static str,
    /// What its plugin is held to be.
    pub health: &'static str,
    pub cause: &'static str,
    /// A word that it is never held to be meanwhile.
    pub never: &'static str,
    /// What is told of the host's own parts.
    pub history: &'static str,
    pub bound: &'static str,
    /// Has it happen, and looks.
    pub observe: fn(),
}

/// All of them.
pub const ROWS: &[HostRow] = &[
    HostRow {
        fault: "stopped (`SIGSTOP`) for 30 s",
        health: "unknown, then up",
        cause: "the host itself did not run in time",
        never: "down, degraded",
        history: "works",
        bound: "the first look after it, then 1 check",
        observe: stopped,
    },
    HostRow {
        fault: "wall clock set back by 1 h, later ahead by 1 h",
        health: "up",
        cause: "answers its checks",
        never: "down, degraded, unknown",
        history: "works, and no second is lost or counted twice",
        bound: "1 check or 1 s",
        observe: clock_set,
    },
    HostRow {
        fault: "disk full, later room again",
        health: "up",
        cause: "answers its checks",
        never: "down, degraded, unknown",
        history: "degraded, counts what it drops, then works",
        bound: "the first write; the next attempt",
        observe: disk_full,
    },
    HostRow {
        fault: "history's file deleted",
        health: "up",
        cause: "answers its checks",
        never: "down, degraded, unknown",
        history: "begins a new file, with the states that go on",
        bound: "1 s, or the next heartbeat",
        observe: deleted,
    },
];

/// Seconds that the host is stopped for: as the table says in the full run, else fewer.
fn stop_for() -> Duration {
    let seconds = std::env::var("EXTMAN_HOST_STOP_S").ok();
    Duration::from_secs(seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or(4))
}

/// How far two clocks that are read by two processes may be apart, and how exactly a step of one is measured.
const EXACT_MS: u64 = 500;

fn health(served: &Served) -> Option<Health> {
    Some(served.client().plugin("faults")?.health?.judged.health)
}

/// Puts the plugin in, waits until it is up, and has it called from then on.
fn up(served: &Served) -> Caller {
    served.put(&build::plugin("faults"));
    until("it is up", || health(served) == Some(Health::Up));
    calling(served.client().clone())
}

fn checked_ms(served: &Served) -> u64 {
    let check = served.client().plugin("faults").and_then(|view| view.check);
    check.map_or(0, |check| check.at_unix_ms)
}

/// Waits for so many more checks.
fn checks(served: &Served, count: usize) {
    let (mut last, mut seen) = (checked_ms(served), 0);
    until("it is checked further", || {
        let now = checked_ms(served);
        seen += usize::from(now != last);
        last = now;
        seen >= count
    });
}

/// It is up now, and was nothing else after it had come up.
fn stayed_up(served: &Served) {
    assert_eq!(health(served), Some(Health::Up));
    let way = way(served);
    let after = way.iter().skip_while(|step| !step.contains("→ up")).skip(1);
    let after: Vec<_> = after.collect();
    assert!(after.is_empty(), "{after:?}");
}

fn history(served: &Served) -> HistoryStatus {
    let told = served.client().get("/api/v1/health").expect("an answer");
    serde_json::from_value(told["history"].clone()).expect("a status of the history")
}

/// What `/health/host` says: the word, and of the history the word and the reason.
fn host_group(served: &Served) -> (String, String, String) {
    let told = served.client().document("/health/host").expect("an answer");
    let check = &told["checks"]["host.history:state"][0];
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (
        text(&told["status"]),
        text(&check["observedValue"]),
        text(&check["output"]),
    )
}

fn stopped() {
    let served = Served::start(&format!("[vetting]\nenabled = false\n{PROBE}"), &[]);
    let _caller = up(&served);
    let pid = rustix::process::Pid::from_raw(served.pid() as i32).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("it is stopped");
    // Nothing tells when a stopped process has been stopped for long enough, but the time that it will be missing.
    let since = Instant::now();
    until("it has been stopped for long enough", || {
        since.elapsed() > stop_for()
    });
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("it goes on");
    until("the host says that it did not run", || {
        served.log().contains("the host itself did not run")
    });
    until("it is up again", || health(&served) == Some(Health::Up));
    until("that it is up is told too", || {
        way(&served)
            .last()
            .is_some_and(|step| step.starts_with("unknown → up"))
    });
    let way = way(&served);
    let unknown = "up → unknown: the host itself did not run in time";
    assert!(way.iter().any(|step| step == unknown), "{way:?}");
    let blamed = |step: &String| step.contains("→ down") || step.contains("→ degraded");
    assert!(!way.iter().any(blamed), "{way:?}");
    assert_eq!(history(&served).state, HistoryState::Working);
}

/// Milliseconds that the history's spans account for, and what share of that was up.
fn accounted(served: &Served) -> (u64, u64) {
    let rows = served.client().get("/api/v1/plugins/faults/uptime?since=3h");
    let Some(row) = rows.and_then(|rows| serde_json::from_value::<Vec<UptimeRow>>(rows).ok()?.pop()) else {
        return (0, 0);
    };
    let told = row.uptime;
    let all = told.up_ms + told.degraded_ms + told.down_ms + told.unknown_ms + told.left_out_ms;
    (all, told.up_ms)
}

/// Milliseconds that the sums of minutes account for.
fn in_minutes(served: &Served) -> u64 {
    let told = served.client().get("/api/v1/plugins/faults/history?since=3h");
    let told: HistoryAnswer = serde_json::from_value(told.expect("an answer")).expect("a history");
    let sum = |rollup: &extman_model::control::report::RollupView| {
        rollup.up_ms + rollup.degraded_ms + rollup.down_ms + rollup.unknown_ms + rollup.left_out_ms
    };
    told.rollups.iter().map(sum).sum()
}

/// Which way the clock was set, each time, as the history tells.
fn set(served: &Served) -> Vec<i64> {
    let told = served.client().get("/api/v1/plugins/faults/history?since=3h");
    let told: HistoryAnswer = serde_json::from_value(told.expect("an answer")).expect("a history");
    told.clock.iter().map(|step| step.by_ms.signum()).collect()
}

fn clock_set() {
    let settings = format!("batch_ms = 50\n[vetting]\nenabled = false\n{PROBE}");
    // Before the host: what is accounted for begins with its plugin, which is up before anybody can look.
    let begin = Instant::now();
    let (served, system) = Faulty::start(&settings);
    let _caller = up(&served);
    until("the history tells of it", || accounted(&served).1 > 1_000);
    let (mut up_before, mut since) = (accounted(&served).1, Instant::now());
    let (reads, checked) = (system.clock_reads(), checked_ms(&served));
    assert!(
        reads > 0 && checked > 0,
        "the host does not read the clock that is set"
    );
    // What was accounted for, against what has passed by this process's own clock since the clock was last set.
    let spans = |up_before: u64, since: Instant| -> Result<(), String> {
        let least = (up_before + since.elapsed().as_millis() as u64).saturating_sub(EXACT_MS);
        let (all, up) = accounted(&served);
        let most = begin.elapsed().as_millis() as u64 + EXACT_MS;
        let said = format!("{up} of {all}, within {least} to {most}");
        (up >= least && all <= most).then_some(()).ok_or(said)
    };
    assert_eq!(spans(up_before, since), Ok(()), "before");
    for (offset_s, steps, what) in [(-3_600, 1, "set back"), (0, 2, "set ahead again")] {
        let before = checked_ms(&served);
        system.set_clock(offset_s);
        until("the host's clock has leapt", || {
            checked_ms(&served).abs_diff(before) > 1_800_000
        });
        until("it is seen", || {
            served.log().matches("the wall clock was set").count() == steps
        });
        // What the clock had told before counts no longer where it was set back behind it; from here on all counts.
        (up_before, since) = (0, Instant::now());
        until("it has gone on for a while", || {
            since.elapsed() > Duration::from_secs(2)
        });
        assert_eq!(spans(up_before, since), Ok(()), "{what}");
        assert_eq!(set(&served), [-1, 1][..steps], "{what}");
        let (all, most) = (in_minutes(&served), begin.elapsed().as_millis() as u64 + EXACT_MS);
        assert!(all <= most, "{what}: {all} ms in minutes, of {most}");
    }
    assert!(system.clock_reads() > reads);
    checks(&served, 3);
    stayed_up(&served);
    assert_eq!(history(&served).state, HistoryState::Working);
}

fn disk_full() {
    let settings = format!("batch_ms = 50\n[vetting]\nenabled = false\n{PROBE}");
    let (served, system) = Faulty::start(&settings);
    let file = served.folder().join("history.db");
    system.fill(&file, false);
    let _caller = up(&served);
    until("it is written down, past what can be filled", || {
        history(&served).written > 0 && system.writes() > 0
    });
    assert_eq!(
        host_group(&served),
        ("pass".into(), "working".into(), String::new())
    );
    assert_eq!((system.refused(), history(&served).dropped.total()), (0, 0));
    system.fill(&file, true);
    until("the history says so", || {
        let (status, word, why) = host_group(&served);
        (&*status, &*word) == ("warn", "degraded") && why.contains("full")
    });
    assert!(system.refused() > 0);
    let told = served.client().get("/api/v1/health").expect("an answer");
    let sentence = told["overall"]["sentence"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(sentence.contains("history"), "{sentence}");
    checks(&served, 5);
    stayed_up(&served);
    let written = history(&served).written;
    system.fill(&file, false);
    until("it is written again", || {
        let now = history(&served);
        now.state == HistoryState::Working && now.written > written
    });
    until("the host is as before", || host_group(&served).0 == "pass");
    let dropped = history(&served).dropped;
    assert_eq!(dropped.total(), 0, "{dropped:?}");
    checks(&served, 3);
    stayed_up(&served);
    assert!(accounted(&served).1 > 0);
}

fn deleted() {
    let settings = format!("batch_ms = 50\n[vetting]\nenabled = false\n{PROBE}");
    let served = Served::start(&settings, &[]);
    let _caller = up(&served);
    until("it is written down", || accounted(&served).1 > 0);
    for name in ["history.db", "history.db-wal", "history.db-shm"] {
        let _ = std::fs::remove_file(served.folder().join(name));
    }
    until("a new one is begun", || history(&served).replaced == 1);
    until("what goes on is in it", || accounted(&served).1 > 0);
    checks(&served, 5);
    stayed_up(&served);
    assert_eq!(history(&served).state, HistoryState::Working);
}

impl fmt::Display for HostRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host: {}", self.fault)
    }
}

/// Their lines of the table.
pub fn render() -> String {
    let line = |row: &HostRow| {
        format!(
            "| the host: {} | while it serves | yes | {} | {} | {} | {}; the history {} |\n",
            row.fault, row.health, row.cause, row.never, row.bound, row.history
        )
    };
    ROWS.iter().map(line).collect()
}
