//! Hosts that the program itself starts, without a plugin in them.

use super::{program, run, run_in};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

/// These hosts load nothing, and the worker that vets is not built for these tests.
fn without_vetting(dir: &Path) {
    std::fs::write(dir.join("extman.toml"), "[vetting]\nenabled = false\n").unwrap();
}

#[test]
fn one_command_can_have_a_host_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("p")).unwrap();
    without_vetting(dir.path());
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
fn one_command_needs_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    for (name, expected) in [("plugns", "no such directory"), ("file", "no directory")] {
        for command in [&["list"][..], &["call", "text.echo"]] {
            let ran = run_in(dir.path(), &[command, &["--dir", name]].concat());
            assert_eq!((ran.code, ran.text()), (2, ""), "{command:?}");
            assert!(
                ran.err.contains(name) && ran.err.contains(expected),
                "{}",
                ran.err
            );
        }
    }
}

#[test]
fn an_instance_of_a_plugin_that_is_not_there_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("p")).unwrap();
    let config = "[vetting]\nenabled = false\n[[instance]]\nname = \"en\"\nplugin = \"embeder\"\n";
    std::fs::write(dir.path().join("extman.toml"), config).unwrap();
    let folder = dir.path().join("p");
    let told = format!(
        "en: configured, but no plugin with the id \"embeder\" was found in {};",
        folder.display()
    );
    for word in ["list", "status"] {
        let arguments = [word, "--dir", "p", "--config", "extman.toml"];
        let ran = run_in(dir.path(), &arguments);
        let words: Vec<_> = ran.text().split_whitespace().collect();
        assert_eq!((ran.code, &*ran.err), (0, ""));
        assert!(words.join(" ").contains(&told), "{}", ran.text());
        let ran = run_in(dir.path(), &[&arguments[..], &["--json"]].concat());
        let envelope = ran.json();
        if word == "list" {
            assert!(
                envelope["warnings"][0].as_str().unwrap().starts_with(&told),
                "{envelope}"
            );
        } else {
            let missing = &envelope["data"]["missing"][0];
            assert_eq!(
                (&missing["name"], &missing["plugin"]),
                (&"en".into(), &"embeder".into())
            );
        }
    }
}

#[test]
fn a_host_that_can_vet_nothing_says_so_at_its_start() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("p")).unwrap();
    std::fs::write(
        dir.path().join("extman.toml"),
        "[vetting]\nworker = \"no-worker\"\n",
    )
    .unwrap();
    let ran = run_in(dir.path(), &["list", "--dir", "p", "--config", "extman.toml"]);
    let words: Vec<_> = ran.err.split_whitespace().collect();
    let err = words.join(" ");
    assert_eq!(ran.code, 0, "{err}");
    for part in [
        "warning: there is no worker program at",
        "/no-worker, so",
        "no plugin is started",
    ] {
        assert!(err.contains(part), "{part:?} is missing in {err}");
    }
    std::fs::write(
        dir.path().join("extman.toml"),
        "[vetting]\nworker = \"no-worker\"\nenabled = false\n",
    )
    .unwrap();
    let ran = run_in(dir.path(), &["list", "--dir", "p", "--config", "extman.toml"]);
    assert_eq!((ran.code, &*ran.err), (0, ""));
}

#[test]
fn host_that_can_not_be_started_is_no_host() {
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
    std::fs::remove_file(dir.path().join("extman.toml")).unwrap();
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

#[test]
fn a_configuration_is_found_where_it_lies_and_the_one_that_is_named_goes_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = |at: &str, text: &str| {
        let path = dir.path().join(at);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let check = |arguments: &[&str]| {
        let mut command = program(&[&["config", "check"], arguments].concat());
        command
            .current_dir(dir.path())
            .env("XDG_CONFIG_HOME", dir.path().join("own"));
        super::Ran::from(command.output().unwrap())
    };
    let none = check(&["--json"]);
    assert_eq!(
        (none.code, &none.json()["data"]["file"]),
        (0, &serde_json::Value::Null)
    );
    assert_eq!(none.json()["data"]["places"][0], "extman.toml");
    file("own/extman/extman.toml", "[probe]\nfall = 0\n");
    let own = check(&[]);
    assert_eq!(own.code, 2, "{}", own.text());
    assert!(own.text().contains(":2:1: probe.fall is 0"), "{}", own.text());
    file("extman.toml", "[http]\nlisten = \"localhost:0\"\n");
    assert_eq!(check(&[]).text(), "extman.toml can be used.\n");
    file("other.toml", "[http]\nlisten = \"0.0.0.0:0\"\n");
    let other = check(&["other.toml"]);
    assert_eq!(other.code, 2);
    let text = other.text();
    assert!(
        text.starts_with("other.toml:2:1: http.listen is") && text.contains("token_file"),
        "{text}"
    );
    // It is the one that a host uses, too.
    file(
        "extman.toml",
        "[[instance]]\nname = \"en\"\nplugin = \"embeder\"\n",
    );
    std::fs::create_dir(dir.path().join("p")).unwrap();
    let ran = run_in(dir.path(), &["list", "--dir", "p"]);
    assert!(ran.text().contains("en: configured, but"), "{}", ran.text());
}

#[test]
fn all_that_is_wrong_with_a_configuration_is_listed_with_file_line_and_field() {
    let dir = tempfile::tempdir().unwrap();
    let text = "[probe]\nfall = 0\nintervall_ms = 5\n[http]\nrequests_max = 0\ntokn = \"x\"\n[[instance]]\nplugin = \"a\"\n\
                concurrency_max = 0\n";
    std::fs::write(dir.path().join("extman.toml"), text).unwrap();
    let ran = run_in(dir.path(), &["config", "check"]);
    assert_eq!((ran.code, &*ran.err), (2, ""));
    let starts = ran.text().lines().filter(|line| !line.starts_with(' '));
    let starts: Vec<_> = starts
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    let expected = [
        "extman.toml:2:1: probe.fall",
        "extman.toml:3:1: probe.intervall_ms:",
        "extman.toml:5:1: http.requests_max",
        "extman.toml:6:1: http.tokn:",
        "extman.toml:9:1: [[instance]]",
    ];
    assert_eq!(starts, expected);
    assert!(
        ran.text().lines().all(|line| line.chars().count() <= 80),
        "{}",
        ran.text()
    );
    let ran = run_in(dir.path(), &["config", "check", "--json"]);
    let envelope = ran.json();
    assert_eq!((ran.code, &envelope["ok"]), (2, &false.into()));
    assert_eq!(envelope["error"]["kind"], "configuration");
    let fault = &envelope["data"]["faults"][4];
    assert_eq!(
        (&fault["file"], &fault["line"], &fault["field"]),
        (
            &"extman.toml".into(),
            &9.into(),
            &"instance[0].concurrency_max".into()
        ),
        "{envelope}"
    );
    // A host that is to start says all of it, too.
    let ran = run_in(dir.path(), &["serve"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    let said = ran.err.lines().filter_map(|line| line.strip_prefix("error: "));
    let said: Vec<_> = said
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(said, expected, "{}", ran.err);
}
