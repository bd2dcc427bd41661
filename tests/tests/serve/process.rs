//! What is the process's and not a plugin's: paths, signals, standard streams, limits, and the log. What each act of a plugin comes to stands
//! in `tests/FAULTS.md`, by the test `process`.

use crate::answers::plugin;
use crate::served::{Place, Served, program};
use extman_tests::build;
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

const QUICK: &str = "[vetting]\nenabled = false\n[supervision]\nrestart = \"never\"\n[probe]\ninterval_ms = 100\n[health]\ncomponents_every_ms = 100\n";
const ID: &str = "fault-process";

/// One instance of the plugin that does this in `when`.
fn doing(act: &str, when: &str) -> String {
    format!("{QUICK}[[instance]]\nplugin = {ID:?}\n[instance.config]\nact = {act:?}\nwhen = {when:?}\n")
}

fn component(host: &Served, name: &str) -> Value {
    let health = host.get("/api/v1/health");
    let all = health["components"].as_array().cloned().unwrap_or_default();
    all.into_iter()
        .find(|part| part["name"] == name)
        .unwrap_or_default()
}

/// `extman serve` through a shell that does this first.
fn after(first: &str, place: &Place, more: &str) -> Command {
    let serve = place.command(more);
    let mut command = Command::new("bash");
    command.args(["-c", &format!("{first}; exec \"$@\""), "bash"]);
    command.arg(serve.get_program()).args(serve.get_args());
    command.env_remove("RUST_LOG").env("NO_COLOR", "1");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn plugin_that_changes_the_directory_unloads_nothing_of_a_host_with_relative_paths() {
    let place = Place::default();
    place.put(
        &plugin("beside", "1.0.0", "here").build(place.path()),
        "beside.so",
    );
    place.put(&build::c_fault("process"), "process.so");
    let config = place.path().join("relative.toml");
    let text = doing("chdir", "invoke").replace(QUICK, "");
    let relative = "intake.discovery.dirs = [\"plugins\"]\nintake.store.dir = \"store\"\nhistory.file = \"history.db\"\n\
                    state.dir = \"state\"\n";
    std::fs::write(&config, format!("{relative}{QUICK}{text}")).unwrap();
    let mut command = Command::new(program());
    command.args(["serve", "--listen", "127.0.0.1:0", "--config", "relative.toml"]);
    command
        .current_dir(place.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let host = place.serve_by(command);
    host.until_ready();
    assert_eq!(host.call("c.echo", ID, b"1").0, 200);
    host.until("it is told of", || {
        host.log().contains("changed the working directory to /")
    });
    host.place.put(
        &plugin("later", "1.0.0", "later").build(host.place.path()),
        "later.so",
    );
    host.until("a plugin that comes later is found", || {
        host.ask("later") == "later"
    });
    assert_eq!(host.ask("beside"), "here");
    assert_eq!(host.lifecycle(ID), "running");
    host.stop();
}

#[test]
fn directory_that_vanishes_takes_no_plugin_down() {
    let place = Place::default();
    place.put(&plugin("stays", "1.0.0", "here").build(place.path()), "stays.so");
    let host = place.serve(QUICK);
    host.until_ready();
    let (plugins, aside) = (host.place.plugins(), host.place.path().join("aside"));
    std::fs::rename(&plugins, &aside).unwrap();
    host.until("its absence is told", || {
        host.refused("plugins")["code"] == "directory-missing"
    });
    assert_eq!(host.ask("stays"), "here");
    std::fs::rename(&aside, &plugins).unwrap();
    host.until("it is there again", || host.refused("plugins").is_null());
    assert_eq!(
        (host.ask("stays").as_str(), host.lifecycle("stays").as_str()),
        ("here", "running")
    );
    std::fs::remove_file(plugins.join("stays.so")).unwrap();
    host.until(
        "a file that is gone from a directory that is there is gone",
        || host.ask("stays").is_empty(),
    );
    host.stop();
}

#[test]
fn hang_up_drains_the_host_as_terminate_does() {
    let place = Place::default();
    place.put(&plugin("one", "1.0.0", "here").build(place.path()), "one.so");
    let host = place.serve(QUICK);
    host.until_ready();
    host.signal("HUP");
    let (status, log) = host.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        log.contains("SIGHUP: draining and unloading") && log.contains("unmapped"),
        "{log}"
    );
}

#[test]
fn host_whose_parent_ignores_and_blocks_signals_hears_them_and_its_children() {
    let place = Place::default();
    place.put(
        &plugin("vetted", "1.0.0", "here").build(place.path()),
        "vetted.so",
    );
    let serve = place.command("");
    let mut command = Command::new("env");
    command.args(["--ignore-signal=CHLD,TERM,HUP", "--block-signal=TERM,HUP,CHLD"]);
    command.arg(serve.get_program()).args(serve.get_args());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let host = place.serve_by(command);
    host.until("it was vetted and runs", || host.ask("vetted") == "here");
    host.stop();
}

#[test]
fn signals_that_a_plugin_sets_in_a_call_still_end_the_host() {
    for act in [
        "ignore SIGTERM, SIGINT",
        "default SIGTERM, SIGINT",
        "handle SIGTERM",
        "block all signals",
    ] {
        let place = Place::default();
        place.put(&build::c_fault("process"), "process.so");
        let host = place.serve(&doing(act, "invoke"));
        host.until_ready();
        assert_eq!(host.call("c.echo", ID, b"1").0, 200, "{act}");
        host.stop();
    }
}

#[test]
fn plugin_that_prints_leaves_standard_output_to_the_program() {
    let place = Place::default();
    place.put(&build::c_fault("process"), "process.so");
    let config = place.config(&doing("print", "invoke"));
    let called = Command::new(program())
        .args(["call", "c.echo", "--input", "1", "--json", "--config"])
        .arg(&config)
        .arg("--dir")
        .arg(place.plugins())
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&called.stdout).unwrap_or_default();
    assert_eq!(answer["ok"], true, "{called:?}");
    assert!(
        String::from_utf8_lossy(&called.stderr).contains("loading model... done"),
        "{called:?}"
    );
}

#[test]
fn answer_that_cannot_be_written_is_a_failure_and_a_closed_pipe_is_none() {
    let run = |out: Stdio| {
        let mut command = Command::new(program());
        let ran = command
            .arg("--help")
            .stdout(out)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (code, said) = run(full.into());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("could not be written: No space left"), "{said}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(run(writer.into()), (Some(0), String::new()));
}

/// With its log there, it must serve, tell of the lines that it lost, and end well.
fn serves_without_a_log(stderr: Stdio, why: &str) {
    let place = Place::default();
    let dies = Path::new("/nowhere/at/all");
    place.put(&plugin("one", "1.0.0", "here").build(place.path()), "one.so");
    let mut command = place.command(QUICK);
    command.stderr(stderr).env("HOME", dies);
    let host = place.serve_by(command);
    host.until_ready();
    for _ in 0..3 {
        assert_eq!(host.change("one", "unload").0, 200);
        assert_eq!(host.change("one", "load").0, 200);
    }
    assert_eq!(host.ask("one"), "here");
    host.until("lines that are lost are told", || {
        component(&host, "log")["health"] == "degraded"
    });
    let reason = component(&host, "log")["reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(reason.contains(why), "{reason}");
    assert_eq!(component(&host, "threads")["health"], "up");
    host.signal("TERM");
    assert_eq!(host.exit().code(), Some(0));
}

#[test]
fn host_on_a_full_disk_loses_lines_of_its_log_and_serves() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    serves_without_a_log(full.into(), "No space left");
}

#[test]
fn host_whose_log_nobody_reads_any_more_loses_its_lines_and_serves() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    serves_without_a_log(writer.into(), "Broken pipe");
}

#[test]
fn host_whose_logs_reader_stands_still_loses_lines_and_serves() {
    let (reader, writer) = std::io::pipe().unwrap();
    // As full as it gets, and never read.
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let line = [b'x'; 4096];
    while rustix::io::write(&writer, &line).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    serves_without_a_log(writer.into(), "nobody reads the pipe");
    drop(reader);
}

#[test]
fn file_that_may_not_grow_is_an_error_and_not_the_end_of_the_host() {
    let place = Place::default();
    place.put(&build::c_fault("echo"), "echo.so");
    let first = place.serve("");
    first.until_lifecycle("fault-echo", "running");
    let place = first.stopped();
    let command = after("ulimit -f 8", &place, "supervision.restart = \"never\"\n");
    let host = place.serve_by(command);
    host.until_lifecycle("fault-echo", "failed");
    let cause = host.plugin("fault-echo")["cause"].clone();
    assert!(
        cause
            .as_str()
            .is_some_and(|cause| cause.contains("File too large")),
        "{cause}"
    );
    assert_eq!(host.status_of("/livez"), 200);
    host.stop();
}

#[test]
fn soft_limit_of_descriptors_is_raised_to_the_hard_one() {
    let place = Place::default();
    let command = after("ulimit -Sn 200; ulimit -Hn 3000", &place, QUICK);
    let host = place.serve_by(command);
    host.until("they are counted", || {
        component(&host, "descriptors")["health"] == "up"
    });
    let part = component(&host, "descriptors");
    let figures = part["figures"].as_array().cloned().unwrap_or_default();
    let allowed = figures.iter().find(|figure| figure["name"] == "allowed");
    assert_eq!(
        allowed.map(|figure| figure["value"].clone()),
        Some(3000.into()),
        "{part}"
    );
    host.stop();
}

#[test]
fn host_near_its_limit_of_descriptors_says_so_with_the_remedy() {
    let place = Place::default();
    let many = "for fd in $(seq 30 119); do eval \"exec $fd</dev/null\"; done; ulimit -n 130";
    let command = after(many, &place, QUICK);
    let host = place.serve_by(command);
    host.until("it is told", || {
        let part = component(&host, "descriptors");
        let reason = part["reason"].as_str().unwrap_or_default().to_owned();
        ["degraded", "down"].contains(&part["health"].as_str().unwrap_or_default())
            && reason.contains("LimitNOFILE")
    });
    host.stop();
}

#[test]
fn constructor_that_hangs_stops_no_answer_of_the_api() {
    let place = Place::default();
    place.put(
        &plugin("beside", "1.0.0", "here").build(place.path()),
        "beside.so",
    );
    let host = place.serve(QUICK);
    host.until("the neighbour runs", || host.ask("beside") == "here");
    host.place.put(&build::c_fault("hang-constructor"), "hang.so");
    host.until_lifecycle("fault-hang-constructor", "starting");
    for _ in 0..200 {
        assert_eq!(host.status_of("/livez"), 200);
        assert_eq!(host.ask("beside"), "here");
        // A new connection each, and what is done on threads of their own.
        let listed = host.extman(&["list"]);
        assert!(listed.status.success(), "{listed:?}");
        if host.lifecycle("fault-hang-constructor") == "failed" {
            break;
        }
    }
    host.signal("TERM");
    assert_eq!(host.exit().code(), Some(0));
}

#[test]
fn second_plugin_with_a_timer_stays_in_memory_and_the_timer_harms_nobody() {
    let place = Place::default();
    place.put(&build::c_fault("process"), "first.so");
    let more = doing("timer", "create");
    let host = place.serve(&more);
    host.until_lifecycle(ID, "running");
    // The thread that waits for all timers is older than the next load.
    for _ in 0..2 {
        let (status, said) = host.change(ID, "restart");
        assert_eq!(status, 200, "{said}");
        let verdict = host.plugin(ID)["unload"].clone();
        assert_eq!(verdict["reason"], "called-later", "{verdict}");
    }
    host.place.put(
        &plugin("beside", "1.0.0", "here").build(host.place.path()),
        "beside.so",
    );
    host.until("another plugin runs", || host.ask("beside") == "here");
    assert_eq!(host.change("beside", "unload").0, 200);
    assert_eq!(host.plugin("beside")["unload"]["verdict"], "unmapped");
    host.signal("TERM");
    assert_eq!(host.exit().code(), Some(0));
}

#[test]
fn exhausted_static_thread_locals_are_a_cause_whose_remedy_helps() {
    let place = Place::default();
    place.put(&build::c_fault("static-tls"), "tls.so");
    let host = place.serve(QUICK);
    host.until_lifecycle("fault-static-tls", "failed");
    let cause = host.plugin("fault-static-tls")["cause"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let remedy = cause
        .split("GLIBC_TUNABLES=")
        .nth(1)
        .unwrap_or_else(|| panic!("{cause}"));
    let place = host.stopped();
    let mut command = place.command(QUICK);
    command.env("GLIBC_TUNABLES", remedy);
    let host = place.serve_by(command);
    host.until_lifecycle("fault-static-tls", "running");
    host.stop();
}
