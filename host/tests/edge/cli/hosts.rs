//! Hosts that the program itself starts, without a plugin in them.

use super::{program, run, run_in};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn one_command_can_have_a_host_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("p")).unwrap();
    let ran = run_in(dir.path(), &["list", "--dir", "p"]);
    assert_eq!((ran.code, &*ran.err), (0, ""), "{}", ran.text());
    assert!(ran.text().starts_with("No plugins."), "{}", ran.text());
    std::fs::write(dir.path().join("p/broken.so"), "some text").unwrap();
    let ran = run_in(dir.path(), &["status", "--json", "--dir", "p"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.json()["data"]["refused"][0]["code"], "text", "{}", ran.text());
    let ran = run_in(dir.path(), &["call", "text.echo", "--dir", "p"]);
    assert_eq!((ran.code, ran.text()), (1, ""));
    assert!(ran.err.contains("text.echo"), "{}", ran.err);
    assert!(
        !dir.path().join("plugin-store").exists(),
        "nothing is left where it was typed"
    );
}

#[test]
fn a_host_that_cannot_be_started_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("extman.toml"),
        "[probe]\ninterval_ms = \"fast\"\n",
    )
    .unwrap();
    for arguments in [
        &["list", "--dir", ".", "--config", "extman.toml"][..],
        &["serve", "--config", "extman.toml"],
    ] {
        let ran = run_in(dir.path(), arguments);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains("extman.toml:2:15"), "{}", ran.err);
    }
    let ran = run_in(dir.path(), &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("token_file"), "{}", ran.err);
}

#[test]
fn serve_says_where_it_listens_and_ends_on_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let mut host = program(&["serve", "--listen", "127.0.0.1:0", "--dir", "."])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(host.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let ran = run(&["status", "--json", "--url", url.trim()]);
    let seen = (ran.code, ran.json()["data"]["pid"].clone());
    let pid = rustix::process::Pid::from_child(&host);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = host.wait_with_output().unwrap();
    assert_eq!(seen, (0, pid.as_raw_nonzero().get().into()));
    let log = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{log}");
    assert!(log.contains("SIGTERM"), "{log}");
}
