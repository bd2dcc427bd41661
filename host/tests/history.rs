//! What a host says of the past: from a history that was written before it began.

use extman::Host;
use extman::config::Config;
use extman_history::{History, HistoryConfig, HistoryFile};
use extman_model::control::report::UptimeRow;
use extman_model::history::HistoryState;
use extman_model::record::{MinuteRow, Record, Rollup, SpanState, StateTransition};
use extman_model::{Cause, Health, Lifecycle, clock};
use std::path::Path;
use std::time::{Duration, Instant};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

fn now() -> u64 {
    clock::unix_ms(clock::wall())
}

fn transition(name: &str, at_unix_ms: u64, health: Option<Health>) -> Record {
    Record::Transition(StateTransition {
        instance: name.into(),
        at_unix_ms,
        state: health.map(|health| SpanState {
            lifecycle: Lifecycle::Running,
            health,
            cause: Cause::Answers,
            left_out: false,
        }),
        text: None,
    })
}

/// A host whose configured instances are all missing: what is known of them is in the history alone.
async fn host(dir: &Path, names: &[String]) -> Host {
    let mut text = format!("[intake.discovery]\ndirs = [{:?}]\n", dir.join("plugins"));
    text.push_str(&format!("[intake.store]\ndir = {:?}\n", dir.join("store")));
    text.push_str(&format!(
        "[history]\nfile = {:?}\n[vetting]\nenabled = false\n",
        dir.join("history.db")
    ));
    for name in names {
        text.push_str(&format!(
            "[[instance]]\nname = \"{name}\"\nplugin = \"com.example.gone\"\n"
        ));
    }
    std::fs::create_dir_all(dir.join("plugins")).unwrap();
    let config: Config = toml::from_str(&text).unwrap();
    let host = Host::builder().config(config).build().await.unwrap();
    host.wait_ready().await;
    host
}

fn write(dir: &Path, records: &[Record], now: u64) {
    let mut file = HistoryFile::open(&dir.join("history.db"), now.saturating_sub(100 * HOUR_MS)).unwrap();
    file.write(records, now).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn uptime_of_a_missing_plugin_counts_all_of_its_spans() {
    let dir = tempfile::tempdir().unwrap();
    let end = now();
    // 13,000 cycles of 20 seconds: 16.7 s up, 3.3 s down.
    let cycle = |n: u64| {
        let at = end - (n + 1) * 20_000;
        [
            transition("gone", at, Some(Health::Up)),
            transition("gone", at + 16_660, Some(Health::Down)),
        ]
    };
    let mut records: Vec<Record> = (0..13_000).rev().flat_map(cycle).collect();
    records.push(transition("gone", end, None));
    write(dir.path(), &records, end);
    let host = host(dir.path(), &["gone".to_owned()]).await;
    let rows = host.uptime(Some("gone"), 90 * 24 * HOUR_MS).await.unwrap();
    let uptime = &rows[0].uptime;
    assert_eq!((uptime.up_ms, uptime.down_ms), (13_000 * 16_660, 13_000 * 3_340));
    assert_eq!((uptime.outages, uptime.mttr_ms), (13_000, Some(3_340)));
    // Known is the share of the time since anything is known of it.
    assert!(uptime.known.unwrap() > 0.999, "{uptime:?}");
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uptime_of_all_has_a_row_for_each_of_1200_configured_instances() {
    let dir = tempfile::tempdir().unwrap();
    let end = now();
    let names: Vec<String> = (0..1_200).map(|n| format!("gone-{n:04}")).collect();
    let of = |name: &String| {
        [
            transition(name, end - HOUR_MS, Some(Health::Up)),
            transition(name, end, None),
        ]
    };
    let records: Vec<Record> = names.iter().flat_map(of).collect();
    write(dir.path(), &records, end);
    let host = host(dir.path(), &names).await;
    let rows: Vec<UptimeRow> = host.uptime(None, 2 * HOUR_MS).await.unwrap();
    let told: Vec<&String> = rows.iter().map(|row| &row.name).collect();
    assert_eq!(told, names.iter().collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row.uptime.up_ms == HOUR_MS));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_of_an_instance_that_is_checked_every_20_minutes_hold_all_of_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let end = now();
    let begin = (end - 3 * HOUR_MS) / HOUR_MS * HOUR_MS;
    let mut records = vec![transition("rare", begin, Some(Health::Up))];
    // What an engine that looks every 20 minutes counts: checks, and no time in any state.
    records.extend((0..6).map(|n| {
        let rollup = Rollup {
            from_unix_ms: begin + n * 20 * MINUTE_MS,
            checks: 1,
            ..Rollup::default()
        };
        Record::Minute(Box::new(MinuteRow {
            instance: "rare".into(),
            rollup,
        }))
    }));
    records.push(transition("rare", begin + 2 * HOUR_MS, None));
    write(dir.path(), &records, end);
    let host = host(dir.path(), &["rare".to_owned()]).await;
    let told = host.history("rare", 5 * HOUR_MS).await.unwrap();
    let up: u64 = told.rollups.iter().map(|rollup| rollup.up_ms).sum();
    let checks: u64 = told.rollups.iter().map(|rollup| rollup.checks).sum();
    assert_eq!((up, checks), (2 * HOUR_MS, 6));
    host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_another_host_holds_is_degraded_and_written_once_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let config = HistoryConfig {
        file: dir.path().join("history.db"),
        ..HistoryConfig::default()
    };
    let first = History::start(&config).unwrap();
    let host = host(dir.path(), &[]).await;
    let told = host.health_report();
    assert!(
        matches!(told.history.state, HistoryState::Degraded { .. }),
        "{:?}",
        told.history.state
    );
    let component = |host: &Host| {
        host.health_report()
            .components
            .into_iter()
            .find(|part| part.name == "history")
            .unwrap()
    };
    assert_eq!(
        (component(&host).health, component(&host).left_out),
        (Health::Degraded, false)
    );
    assert!(first.close(Duration::from_secs(60)));
    let since = Instant::now();
    while host.health_report().history.state != HistoryState::Working {
        assert!(
            since.elapsed() < Duration::from_secs(120),
            "{:?}",
            host.health_report().history
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    host.shutdown().await;
}
