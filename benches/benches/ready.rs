//! Whole hosts: how long until all instances serve, and until all are stopped and their libraries gone. The baseline is the same
//! instances made and destroyed one after the other, with nobody who supervises, publishes or probes them.

use extman::{Host, InstanceConfig};
use extman_benches::figures::{Asked, Figure};
use extman_benches::plugins::Taken;
use extman_benches::raw::{self, Raw};
use extman_benches::{fixture, plugins};
use extman_model::Lifecycle;
use extman_runtime::loader::Step;
use extman_runtime::module::ModuleBudgets;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const GROUP: &str = "ready and stopped";
/// How often an instance is unloaded and loaded again.
const CYCLES: usize = 100;
/// How long a host is left to itself.
const AT_REST: Duration = Duration::from_secs(10);
/// The id in the manifest of `bench-plugin`. Another one of the same length makes another library of it.
const ID: &str = "bench-plugin";

fn main() {
    let asked = Asked::from_args();
    let taken = plugins::take("bench-plugin");
    for (count, words) in [(1_000, "1,000"), (10_000, "10,000")] {
        asked.row(
            GROUP,
            &format!("{words} instances of one library, by hand"),
            |asked| by_hand(&taken, asked.count(count)),
        );
        asked.row(GROUP, &format!("{words} instances of one library"), |asked| {
            let place = Place::default();
            place.put(&taken.path, ID);
            let count = asked.count(count);
            let instances = (0..count).map(|number| InstanceConfig {
                name: Some(format!("plugin-{number}")),
                ..InstanceConfig::default_for(ID)
            });
            // Its library stays, for the others.
            let change = async |host: &Host| changes(asked, host, "plugin-0").await;
            place.host(instances.collect(), count, change)
        });
    }
    asked.row(
        GROUP,
        "one library, loaded and unloaded again and again",
        |asked| {
            let place = Place::default();
            place.put(&taken.path, ID);
            place.host(Vec::new(), 1, async |host| changes(asked, host, ID).await)
        },
    );
    asked.row(GROUP, "one library, loaded and unloaded by hand", |asked| {
        cycles_by_hand(&taken, asked.count(CYCLES))
    });
    asked.row(GROUP, "one library, the least of a load and an unload", |asked| {
        least_cycles(&taken, asked.count(CYCLES))
    });
    for (count, words) in [(20, "20"), (200, "200")] {
        asked.row(GROUP, &format!("{words} libraries"), |asked| {
            let place = Place::default();
            let count = asked.count(count);
            for number in 0..count {
                place.put(&taken.path, &format!("bench-p{number:05}"));
            }
            place.host(Vec::new(), count, async |_| Vec::new())
        });
    }
}

/// Folders of a host.
struct Place(TempDir);

impl Default for Place {
    fn default() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("plugins")).expect("a folder for plugins");
        Place(folder)
    }
}

impl Place {
    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts the library there under this id.
    fn put(&self, library: &Path, id: &str) {
        let mut bytes = std::fs::read(library).expect("the library is read");
        let old = ID.as_bytes();
        for at in 0..=bytes.len() - old.len() {
            if &bytes[at..at + old.len()] == old {
                bytes[at..at + old.len()].copy_from_slice(id.as_bytes());
            }
        }
        std::fs::write(self.at("plugins").join(format!("lib{id}.so")), bytes)
            .expect("the library is written");
    }

    /// A host with so many instances, from its start to its end, and what is measured in between.
    fn host(
        &self,
        instances: Vec<InstanceConfig>,
        count: usize,
        between: impl AsyncFn(&Host) -> Vec<Figure>,
    ) -> Vec<Figure> {
        let mut config = extman::config::Config {
            instances,
            ..extman::config::Config::default()
        };
        config.history.enabled = false;
        // How long a file must lie still is not the subject.
        config.intake.discovery.settle_ms = 10;
        config.shutdown.budget_ms = 600_000;
        config.intake.trust.allow_world_writable = true;
        let builder = Host::builder()
            .config(config)
            .dir(self.at("plugins"))
            .store_dir(self.at("store"))
            .state_dir(self.at("state"))
            .vetting(false);
        fixture::runtime_of_two().block_on(async {
            let before = resident_bytes();
            let began = Instant::now();
            let host = builder.build().await.expect("a host");
            host.wait_ready().await;
            let ready = began.elapsed();
            let bytes = resident_bytes().saturating_sub(before);
            let running = host.status().instances.get(&Lifecycle::Running).copied();
            assert_eq!(running, Some(count), "all serve: {:?}", host.status().instances);
            let measured = between(&host).await;
            let began = Instant::now();
            let verdicts = host.shutdown().await;
            let stopped = began.elapsed();
            let resident = verdicts.iter().filter(|(_, verdict)| !verdict.is_unmapped());
            let mut figures = figures(ready, stopped, count);
            figures.extend(measured);
            figures.push(("resident bytes an instance", bytes as f64 / count as f64));
            figures.push(("libraries unmapped", verdicts.len() as f64));
            figures.push(("libraries resident", resident.count() as f64));
            figures
        })
    }
}

/// Unloads an instance and loads it again, many times; and what the host uses of the processor when nothing happens but its probing.
async fn changes(asked: &Asked, host: &Host, name: &str) -> Vec<Figure> {
    let cycles = asked.count(CYCLES);
    let (mut unloads, mut loads) = (Vec::new(), Vec::new());
    for _ in 0..cycles {
        let began = Instant::now();
        host.unload(name).await.expect("it is unloaded");
        unloads.push(began.elapsed());
        let began = Instant::now();
        host.load(name).await.expect("it is loaded");
        loads.push(began.elapsed());
    }
    let told = |_| {
        let began = Instant::now();
        std::hint::black_box(host.health());
        began.elapsed()
    };
    let healths = (0..cycles).map(told).collect();
    let mut figures = vec![("µs how all are, median", median(healths))];
    figures.extend(medians(loads, unloads));
    if asked.measures() {
        let (began, used) = (Instant::now(), processor_time());
        tokio::time::sleep(AT_REST).await;
        let used = (processor_time() - used).as_secs_f64() / began.elapsed().as_secs_f64();
        figures.push(("% of a core while nothing changes", used * 100.0));
    }
    figures
}

fn medians(loads: Vec<Duration>, unloads: Vec<Duration>) -> [Figure; 2] {
    [
        ("µs an unload, median", median(unloads)),
        ("µs a load, create and start, median", median(loads)),
    ]
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// What this process has used of the processor (clock_gettime(2)).
fn processor_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        used.tv_sec.unsigned_abs(),
        u32::try_from(used.tv_nsec).unwrap_or(0),
    )
}

fn by_hand(taken: &Taken, count: usize) -> Vec<Figure> {
    fixture::runtime_of_two().block_on(async {
        let began = Instant::now();
        let instances = fixture::instances(taken, count).await;
        let ready = began.elapsed();
        let began = Instant::now();
        for instance in instances {
            instance.destroy().await.expect("it is destroyed");
        }
        figures(ready, began.elapsed(), count)
    })
}

/// A module and its instance, with nobody who supervises, publishes or probes it.
fn cycles_by_hand(taken: &Taken, cycles: usize) -> Vec<Figure> {
    let (mut loads, mut unloads) = (Vec::new(), Vec::new());
    fixture::runtime_of_two().block_on(async {
        for _ in 0..cycles {
            let began = Instant::now();
            let module = fixture::module(taken).await;
            let instance = fixture::create(module.clone(), "bench").await;
            loads.push(began.elapsed());
            let began = Instant::now();
            instance.step(Step::Stop).await.expect("it stops");
            instance.destroy().await.expect("it is destroyed");
            drop(instance);
            let verdict = module.unload(ModuleBudgets::default()).await;
            unloads.push(began.elapsed());
            assert!(verdict.is_unmapped(), "{verdict:?}");
        }
    });
    medians(loads, unloads).into()
}

/// What no host can do without: the sealed copy, a thread on which the plugin runs, which ends before the library is closed, and a thread that
/// closes it. Nothing is checked, counted, watched or compared.
fn least_cycles(taken: &Taken, cycles: usize) -> Vec<Figure> {
    let (mut loads, mut unloads) = (Vec::new(), Vec::new());
    for _ in 0..cycles {
        std::thread::scope(|scope| {
            let ((started, starts), (stop, stops)) = (channel(), channel::<()>());
            let began = Instant::now();
            let lane = scope.spawn(move || {
                let copy = fixture::sealed(taken).share().expect("a descriptor");
                let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
                let instance = Raw::open(Path::new(&path));
                started.send(()).expect("somebody waits");
                let _ = stops.recv();
                (instance.destroy(), copy)
            });
            starts.recv().expect("it starts");
            loads.push(began.elapsed());
            let began = Instant::now();
            drop(stop);
            let (library, copy) = lane.join().expect("the lane ends well");
            let closing = scope.spawn(move || {
                raw::close(library);
                drop(copy);
            });
            closing.join().expect("the thread ends well");
            unloads.push(began.elapsed());
        });
    }
    medians(loads, unloads).into()
}

fn figures(ready: Duration, stopped: Duration, count: usize) -> Vec<Figure> {
    let each = |whole: Duration| whole.as_secs_f64() * 1e6 / count as f64;
    vec![
        ("ms until ready", ready.as_secs_f64() * 1e3),
        ("ms until stopped", stopped.as_secs_f64() * 1e3),
        ("µs an instance until ready", each(ready)),
        ("µs an instance until stopped", each(stopped)),
    ]
}

/// Resident memory of this process (proc_pid_status(5)).
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.expect("the kernel tells the resident size") * 1024
}
