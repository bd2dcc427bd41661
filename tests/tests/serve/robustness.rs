//! Beginnings under bad conditions.

use crate::answers::plugin;
use crate::served::{Place, fails, program};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

#[test]
fn a_mistake_in_the_configuration_is_shown_with_its_place() {
    for (more, expected) in [
        ("[probe]\nintervall_ms = 5\n", "extman.toml:7:1"),
        ("[[instance]]\nplugin = 5\n", "extman.toml:7:10"),
        ("lanes.queue_max = 0\n", "lanes.queue_max is 0"),
        ("http.token = \"short\"\n", "http.token"),
    ] {
        let place = Place::default();
        let (code, said) = fails(place.command(more));
        assert_eq!(code, Some(2), "{more}: {said}");
        assert!(said.contains(expected), "{more}: {said}");
    }
}

#[test]
fn a_store_that_can_not_be_used_is_named() {
    let place = Place::default();
    std::fs::write(place.path().join("store"), b"a file in its place").unwrap();
    let (code, said) = fails(place.command(""));
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.contains(place.path().join("store").to_str().unwrap()),
        "{said}"
    );
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Place::default();
    let mut command = std::process::Command::new(program());
    command
        .args(["serve", "--listen", &address, "--config"])
        .arg(place.config(""));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (code, said) = fails(command);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}

#[test]
fn a_plugin_directory_may_come_later() {
    let place = Place::default();
    let library = plugin("later", "1.0.0", "here").build(place.path());
    std::fs::remove_dir(place.plugins()).unwrap();
    let host = place.serve("intake.watch.poll_ms = 100\n");
    host.until_ready();
    let refused = host.refused("plugins");
    assert!(
        refused["reason"].as_str().unwrap().contains("is not there"),
        "{refused}"
    );
    std::fs::create_dir(host.place.plugins()).unwrap();
    host.place.put(&library, "later.so");
    host.until("it answers", || host.ask("later") == "here");
    host.until("nothing is refused", || host.refused("plugins") == Value::Null);
    host.stop();
}

#[test]
fn a_directory_that_everybody_may_write_to_is_refused_until_it_is_mended() {
    let place = Place::default();
    let mode = |bits| std::fs::set_permissions(place.plugins(), PermissionsExt::from_mode(bits)).unwrap();
    place.put(
        &plugin("exposed", "1.0.0", "safe").build(place.path()),
        "exposed.so",
    );
    mode(0o777);
    let plugins = place.plugins();
    let host = place.serve("");
    host.until_ready();
    assert_eq!(host.plugin("exposed"), Value::Null);
    let reason = host.refused("exposed.so")["reason"].to_string();
    assert!(
        reason.contains("chmod o-w") && reason.contains(plugins.to_str().unwrap()),
        "{reason}"
    );
    std::fs::set_permissions(&plugins, PermissionsExt::from_mode(0o755)).unwrap();
    host.until("it answers", || host.ask("exposed") == "safe");
    assert_eq!(host.refused("exposed.so"), Value::Null);
    host.stop();
}

#[test]
fn what_is_no_file_is_refused_and_holds_nothing_up() {
    let place = Place::default();
    let plugins = place.plugins();
    std::fs::create_dir(plugins.join("directory.so")).unwrap();
    std::os::unix::fs::symlink("nowhere", plugins.join("link.so")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(plugins.join("pipe.so"))
        .status();
    assert!(made.unwrap().success());
    place.put(&plugin("among", "1.0.0", "fine").build(place.path()), "among.so");
    let host = place.serve("");
    host.until_ready();
    assert_eq!(host.ask("among"), "fine");
    for (file, code) in [
        ("directory.so", "directory"),
        ("link.so", "dangling-link"),
        ("pipe.so", "pipe"),
    ] {
        assert_eq!(host.refused(file)["code"], code);
    }
    host.stop();
}

#[test]
fn optional_plugin_that_is_still_being_started_holds_no_readiness() {
    let place = Place::default();
    let release = place.path().join("release");
    place.put(&extman_tests::build::plugin("faults"), "faults.so");
    place.put(&plugin("quick", "1.0.0", "fine").build(place.path()), "quick.so");
    std::fs::write(place.plugins().join("no.so"), b"no library").unwrap();
    let host = place.serve(&format!(
        "[[instance]]\nplugin = \"faults\"\nconfig = {{ hazard = \"hang\", phase = \"start\", release = {release:?} }}\n\
         [vetting]\nenabled = false\n"
    ));
    host.until("the quick one answers", || host.ask("quick") == "fine");
    assert_eq!(host.status_of("/livez"), 200);
    assert_eq!(host.lifecycle("faults"), "starting");
    assert_eq!(host.status_of("/readyz"), 200);
    assert_eq!(host.get("/api/v1/status")["ready"], true);
    std::fs::write(release, b"").unwrap();
    host.until_ready();
    assert_eq!(host.lifecycle("faults"), "running");
    assert_ne!(host.refused("no.so"), Value::Null);
    host.stop();
}
