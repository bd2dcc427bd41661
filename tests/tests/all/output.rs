//! Output, logs and parts: what a plugin may write, and what happens to one that writes more.

use crate::faulty::Faulty;
use extman_model::{CheckKind, CheckOutcome, ErrorKind};
use extman_runtime::instance::{Instance, InstanceSettings};
use extman_runtime::loader::Frames;
use extman_tests::until::LIMIT;
use extman_tests::{Bench, build, call, until_async};
use std::sync::Arc;
use std::time::Duration;

async fn faulty(bench: &Bench, config: &str, settings: InstanceSettings) -> Instance {
    let module = bench.module(&build::plugin("faults")).await;
    bench.started(&module, config, settings).await
}

fn limited(output_bytes_max: usize) -> InstanceSettings {
    InstanceSettings {
        output_bytes_max,
        ..InstanceSettings::default()
    }
}

#[tokio::test]
async fn output_ends_at_its_limit_and_the_instance_serves_on() {
    let bench = Bench::new();
    let instance = faulty(&bench, "{}", limited(4096)).await;
    let exact = vec![b'x'; 4096];
    let reply = instance
        .invoke(call("fault.echo", exact.clone()), None)
        .await
        .unwrap();
    assert_eq!(reply.body, exact);
    for too_much in [
        call("fault.echo", vec![b'x'; 4097]),
        call(
            "fault.run",
            r#"{"hazard": "flood-sink", "bytes": 1024, "writes": 1000000}"#,
        ),
    ] {
        let refused = instance.invoke(too_much, None).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Exhausted, "{refused}");
    }
    assert!(instance.invoke(call("fault.echo", "small"), None).await.is_ok());
}

#[tokio::test]
async fn an_error_text_that_ignores_its_buffer_is_cut() {
    let bench = Bench::new();
    let module = bench.module(&build::c_fault("ignores-lengths")).await;
    let instance = bench.started(&module, "{}", InstanceSettings::default()).await;
    for input in ["within", "beyond"] {
        let failed = instance.invoke(call("c.echo", input), None).await.unwrap_err();
        assert_eq!(failed.kind, ErrorKind::Internal);
        assert!(failed.text.starts_with("€€€"), "{}", failed.text);
        assert!(failed.text.len() <= 4096 + 8, "{} bytes", failed.text.len());
    }
}

#[tokio::test]
async fn frames_come_in_order_and_whole() {
    let bench = Bench::new();
    let instance = Arc::new(faulty(&bench, "{}", InstanceSettings::default()).await);
    let frames = Arc::new(Frames::new(2));
    let order = r#"{"hazard": "flood-sink", "bytes": 3, "writes": 100}"#;
    let caller = tokio::spawn({
        let (instance, frames) = (instance.clone(), frames.clone());
        async move { instance.invoke(call("fault.run", order), Some(frames)).await }
    });
    let mut read = 0;
    while let Some(frame) = frames.next().await {
        assert_eq!(frame, b"xxx");
        read += 1;
    }
    assert_eq!(read, 100);
    assert_eq!(caller.await.unwrap().unwrap().body, b"", "it was streamed");
}

#[tokio::test]
async fn a_reader_that_is_behind_holds_the_writer_back() {
    let bench = Bench::new();
    let instance = faulty(&bench, "{}", InstanceSettings::default()).await;
    let frames = Arc::new(Frames::new(2));
    // Far more than the queue takes: only a writer that waits has not come to the end at its deadline.
    let mut endless = call(
        "fault.run",
        r#"{"hazard": "flood-sink", "bytes": 1, "writes": 10000000}"#,
    );
    endless.timeout = Some(Duration::from_secs(1));
    let failed = instance.invoke(endless, Some(frames.clone())).await.unwrap_err();
    assert_eq!(failed.kind, ErrorKind::DeadlineExceeded);
    let mut read = 0;
    while frames.next().await.is_some() {
        read += 1;
    }
    assert_eq!(read, 2);
    let counts = || instance.call_metrics().counts();
    assert_eq!(
        (counts().blamed, counts().excused, counts().failed_run),
        (0, 1, 0),
        "the reader took the call's time"
    );
    until_async("its code has come back", || counts().returned == 1).await;
    let ran = instance.call_metrics().latency().quantile(1.0).unwrap();
    assert!(ran < Duration::from_secs(1), "{ran:?} of its own");
    assert!(instance.invoke(call("fault.echo", "next"), None).await.is_ok());
}

#[tokio::test]
async fn a_reader_that_goes_away_stops_the_writer() {
    let bench = Bench::new();
    let instance = Arc::new(faulty(&bench, "{}", InstanceSettings::default()).await);
    let frames = Arc::new(Frames::new(2));
    let order = r#"{"hazard": "flood-sink", "bytes": 1, "writes": 10000000}"#;
    let caller = tokio::spawn({
        let (instance, frames) = (instance.clone(), frames.clone());
        async move { instance.invoke(call("fault.run", order), Some(frames)).await }
    });
    assert!(frames.next().await.is_some());
    frames.abandon();
    let ended = tokio::time::timeout(LIMIT, caller)
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(ended.unwrap_err().kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn parts_of_a_check_end_at_their_limit() {
    let bench = Bench::new();
    let config = r#"{"hazard": "flood-parts", "phase": "check", "count": 1000}"#;
    let instance = faulty(&bench, config, InstanceSettings::default()).await;
    let (outcome, took) = instance.check(CheckKind::Readiness, LIMIT).await;
    let CheckOutcome::Answered { report: Some(report) } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(report.parts.len(), 64);
    assert_eq!(report.parts[63].name, "part 63");
    assert!(took.is_some() && report.heap_bytes.is_some());
}

#[tokio::test]
async fn every_log_record_of_a_flood_is_heard_and_none_holds_the_call() {
    let bench = Bench::new();
    let instance = faulty(&bench, "{}", InstanceSettings::default()).await;
    let order = r#"{"hazard": "flood-log", "count": 20000}"#;
    instance.invoke(call("fault.run", order), None).await.unwrap();
    let logs = bench.heard.logs();
    assert_eq!(
        (logs.len(), logs[19_999].as_str()),
        (20_000, "flood 19999 of 20000")
    );
}

#[tokio::test]
async fn a_streamed_call_that_never_began_ends_for_its_reader() {
    let one_at_a_time = InstanceSettings {
        concurrency_max: 1,
        ..InstanceSettings::default()
    };
    let faulty = Faulty::new(one_at_a_time).await;
    let (release, begun) = (faulty.file("release"), faulty.file("begun"));
    let inside = tokio::spawn({
        let (instance, hang) = (faulty.instance.clone(), faulty.hang(&release, &begun));
        async move { instance.invoke(hang, None).await }
    });
    until_async("the first call is inside", || begun.exists()).await;
    let frames = Arc::new(Frames::new(2));
    let mut waits = call("fault.echo", "never");
    waits.timeout = Some(Duration::from_millis(1));
    let failed = faulty
        .instance
        .invoke(waits, Some(frames.clone()))
        .await
        .unwrap_err();
    assert_eq!(failed.kind, ErrorKind::DeadlineExceeded);
    let end = tokio::time::timeout(LIMIT, frames.next()).await;
    assert_eq!(end.expect("the reader is told"), None);
    std::fs::write(release, "").unwrap();
    assert!(inside.await.unwrap().is_ok());
}
