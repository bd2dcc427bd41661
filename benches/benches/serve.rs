//! `extman serve` with thousands of instances, as an operator has it: a process with defaults, its history on, asked over HTTP and by the
//! command line.

use extman_benches::figures::{Asked, Figure};
use extman_benches::plugins;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const GROUP: &str = "extman serve";
/// How long the host is left to itself while its processor time is measured: several rounds of checks at the default interval.
const AT_REST: Duration = Duration::from_secs(30);
/// How often a route is asked.
const GETS: usize = 51;
/// How long a host may take for anything that is waited for.
const LIMIT: Duration = Duration::from_secs(120);

fn main() {
    let asked = Asked::from_args();
    for (count, criticality, words) in [
        (0, "optional", "no instance"),
        (10_000, "optional", "10,000 instances of one library"),
        (10_000, "required", "10,000 required instances of one library"),
    ] {
        asked.row(GROUP, words, |asked| {
            let count = asked.count(count);
            measure(&Served::start(count, criticality), asked, count)
        });
    }
}

fn measure(served: &Served, asked: &Asked, count: usize) -> Vec<Figure> {
    let timed = |run: &dyn Fn()| {
        let began = Instant::now();
        run();
        ms(began)
    };
    served.until("ready", || served.get("/readyz").0 == 200);
    let mut figures = vec![("ms until ready", ms(served.began))];
    if count > 0 {
        // Ready is what all that is required is; the others are still being started.
        served.until("all running", || served.running() == count);
        figures.push(("ms until all run", ms(served.began)));
    }
    let [livez, readyz, health] = ["/livez", "/readyz", "/health"].map(|path| served.median_ms(path, asked));
    figures.push(("ms for GET /readyz", readyz));
    figures.push(("times as long as GET /livez", readyz / livez));
    figures.push(("ms for GET /health", health));
    figures.push((
        "ms for `extman list --json`",
        timed(&|| served.run(&["list", "--json"])),
    ));
    if count > 0 {
        figures.push((
            "ms for `extman unload NAME`",
            timed(&|| served.run(&["unload", "plugin-0"])),
        ));
    }
    if asked.measures() {
        let (began, before) = (Instant::now(), served.processor_s());
        std::thread::sleep(AT_REST);
        let used = (served.processor_s() - before) / began.elapsed().as_secs_f64();
        figures.push(("% of a core at rest", used * 100.0));
    }
    let resident = served.resident_bytes();
    figures.push(("resident MiB", resident / f64::from(1 << 20)));
    figures.push(("ms until stopped", timed(&|| served.stop())));
    figures
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// A host in a process of its own. The process is killed when this is dropped.
struct Served {
    program: PathBuf,
    child: std::cell::RefCell<Child>,
    url: String,
    began: Instant,
    _folder: TempDir,
}

impl Served {
    fn start(count: usize, criticality: &str) -> Self {
        let program = plugins::program();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = configure(folder.path(), count, criticality);
        let mut command = Command::new(&program);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(config);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let began = Instant::now();
        let mut child = command.spawn().expect("extman can be run");
        let mut url = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut url).expect("readable");
        Served {
            program,
            child: child.into(),
            url: url.trim().to_owned(),
            began,
            _folder: folder,
        }
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        while !is_so() {
            assert!(
                self.began.elapsed() < LIMIT,
                "the host is not {what} after {LIMIT:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many instances run.
    fn running(&self) -> usize {
        let status: Option<serde_json::Value> = serde_json::from_str(&self.get("/api/v1/status").1).ok();
        let running = status.and_then(|status| status["data"]["instances"]["running"].as_u64());
        running.unwrap_or(0) as usize
    }

    /// Status and body of a GET; 0 without an answer.
    fn get(&self, path: &str) -> (u16, String) {
        let address = self
            .url
            .strip_prefix("http://")
            .expect("it tells where it listens");
        let asked = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(address)?;
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = asked().unwrap_or_default();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        (status.unwrap_or(0), body.to_owned())
    }

    /// The median of some GETs that succeed, one after the other.
    fn median_ms(&self, path: &str, asked: &Asked) -> f64 {
        let mut all: Vec<f64> = (0..asked.count(GETS))
            .map(|_| {
                let began = Instant::now();
                assert_eq!(self.get(path).0, 200, "{path}");
                ms(began)
            })
            .collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    }

    /// Runs the command line against this host.
    fn run(&self, arguments: &[&str]) {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--url", &self.url]);
        let output = command.output().expect("extman can be run");
        assert!(output.status.success(), "extman {arguments:?}: {output:?}");
    }

    fn pid(&self) -> u32 {
        self.child.borrow().id()
    }

    /// Asks the process to end, and waits until it has.
    fn stop(&self) {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a process"), rustix::process::Signal::TERM)
            .expect("it is there");
        let status = self.child.borrow_mut().wait().expect("it ends");
        assert!(status.success(), "the host ended with {status}");
    }

    /// Processor time that the process has used (proc_pid_stat(5), fields 14 and 15).
    fn processor_s(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the process runs");
        let (_, after_name) = stat.rsplit_once(')').expect("its name is in brackets");
        let ticks = after_name.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().expect("a number")).sum();
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// Resident memory of the process (proc_pid_status(5)).
    fn resident_bytes(&self) -> f64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
        kib.expect("the kernel tells the resident size") * 1024.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // After `stop` there is nothing to kill.
        let _ = self.child.borrow_mut().kill();
        let _ = self.child.borrow_mut().wait();
    }
}

/// A configuration with this many instances of one library, and the library in the watched folder.
fn configure(folder: &Path, count: usize, criticality: &str) -> PathBuf {
    let (plugins, store) = (folder.join("plugins"), folder.join("store"));
    std::fs::create_dir(&plugins).expect("a folder for plugins");
    let mut text = format!(
        "intake.discovery.dirs = [{plugins:?}]\nintake.store.dir = {store:?}\nhistory.file = {history:?}\n\
         intake.trust.allow_world_writable = true\nshutdown.budget_ms = 60000\n",
        history = folder.join("history.db"),
    );
    if count > 0 {
        let library = plugins::build("bench-plugin");
        std::fs::copy(library, plugins.join("libbench-plugin.so")).expect("copied");
    }
    for number in 0..count {
        let _ = write!(
            text,
            "[[instance]]\nname = \"plugin-{number}\"\nplugin = \"bench-plugin\"\ncriticality = \"{criticality}\"\n"
        );
    }
    let path = folder.join("extman.toml");
    std::fs::write(&path, text).expect("written");
    path
}
