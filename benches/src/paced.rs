//! Many plugins asked once a second each, for some seconds: what it costs, and how late it is.

use crate::figures::Figure;
use crate::raw::{Raw, RawCheck};
use extman_model::latency::{LatencyHistogram, Recorder};
use futures_util::stream;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};
use tokio::net::UnixListener;
use tokio::time::{interval_at, timeout};
use tonic::transport::{Endpoint, Server};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// Each plugin is asked once in this time.
pub const PERIOD: Duration = Duration::from_secs(1);

/// What probes add up to.
#[derive(Default)]
pub struct Meter {
    done: AtomicU64,
    lag: Recorder,
}

impl Meter {
    /// Probes so far, and how late those since the last time were.
    pub fn read(&self) -> (u64, LatencyHistogram) {
        (self.done.load(Relaxed), self.lag.drain())
    }
}

/// Measures for `stretch`, after half of it. `read` gives the probes so far, and how late those since the last time began.
pub fn measure(plugins: usize, stretch: Duration, read: impl Fn() -> (u64, LatencyHistogram)) -> Vec<Figure> {
    std::thread::sleep(stretch / 2);
    let ((before, _), cpu, began) = (read(), cpu(), Instant::now());
    std::thread::sleep(stretch);
    let (cpu, took) = (self::cpu() - cpu, began.elapsed());
    let (after, lag) = read();
    let (done, due) = (
        (after - before) as f64,
        plugins as f64 * took.div_duration_f64(PERIOD),
    );
    let mut figures = vec![
        ("CPU, % of a core", cpu.div_duration_f64(took) * 100.0),
        ("CPU a probe, µs", cpu.as_secs_f64() * 1e6 / done.max(1.0)),
    ];
    figures.extend(
        lag.quantile(0.99)
            .map(|lag| ("lag p99, ms", lag.as_secs_f64() * 1e3)),
    );
    figures.push(("done, % of what was due", done / due * 100.0));
    figures
}

/// CPU time of this process, all threads.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How often whoever asks them looks who is due: as the engine does.
const TICK: Duration = Duration::from_millis(10);

/// For comparison: a thread sleeps until the next tick, and another one, on which plugins' code runs, makes the calls that are due
/// then, each timed. Nobody is watched, judged or told of. Ends when `meter` has no other holder.
pub fn by_ticks(instances: &[RawCheck<'_>], meter: Arc<Meter>) {
    let ticks = PERIOD.div_duration_f64(TICK) as usize;
    let (mut due, group) = (Instant::now(), instances.len().div_ceil(ticks));
    std::thread::scope(|scope| {
        let (give, given) = sync_channel::<(&[RawCheck<'_>], Instant)>(1);
        let meter_of_lane = meter.clone();
        scope.spawn(move || {
            for (instances, due) in given {
                meter_of_lane.lag.record(due.elapsed());
                for instance in instances {
                    let began = Instant::now();
                    black_box((instance.check(), began.elapsed()));
                }
                meter_of_lane.done.fetch_add(instances.len() as u64, Relaxed);
            }
        });
        for group in instances.chunks(group).cycle() {
            due += TICK;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // The lane has the other one.
            if Arc::strong_count(&meter) <= 2 || give.send((group, due)).is_err() {
                break;
            }
        }
    });
}

/// The usual design: for each plugin a task, which has the blocking pool make the call and waits for it with a timeout.
pub async fn tasks(plugins: usize, raw: Arc<Raw>, meter: Arc<Meter>) {
    for number in 0..plugins {
        let (raw, meter) = (raw.clone(), meter.clone());
        tokio::spawn(async move {
            let mut due = interval_at(first(number, plugins), PERIOD);
            loop {
                let (due, raw, meter) = (due.tick().await, raw.clone(), meter.clone());
                let call = tokio::task::spawn_blocking(move || {
                    meter.lag.record(due.elapsed());
                    raw.check();
                    meter.done.fetch_add(1, Relaxed);
                });
                let _ = timeout(PERIOD, call).await;
            }
        });
    }
}

/// gRPC's health service over a Unix socket, a connection for each plugin. Both ends are in this process.
///
/// # Panics
/// The socket can't be made, or a plugin does not answer.
pub async fn grpc(plugins: usize, socket: &std::path::Path, meter: Arc<Meter>) {
    let listener = UnixListener::bind(socket).expect("a socket");
    let incoming = stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await.map(|(stream, _)| stream);
        Some((accepted, listener))
    });
    let (_reporter, service) = tonic_health::server::health_reporter();
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(Box::pin(incoming)),
    );
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).expect("an address");
    for number in 0..plugins {
        let channel = endpoint.connect().await.expect("a connection");
        let (mut client, meter) = (HealthClient::new(channel), meter.clone());
        tokio::spawn(async move {
            let mut due = interval_at(first(number, plugins), PERIOD);
            loop {
                let due = due.tick().await;
                meter.lag.record(due.elapsed());
                let answer = timeout(PERIOD, client.check(HealthCheckRequest::default())).await;
                if matches!(answer, Ok(Ok(_))) {
                    meter.done.fetch_add(1, Relaxed);
                }
            }
        });
    }
}

/// Plugins are spread evenly over the period.
fn first(number: usize, plugins: usize) -> tokio::time::Instant {
    tokio::time::Instant::now() + PERIOD.mul_f64(number as f64 / plugins as f64)
}
