//! Instances that an operator disables: they stay so over restarts of the host, and count in no sum.

use crate::answers::plugin;
use crate::served::{Place, Served, fails};
use extman::Host;
use extman_model::control::ControlError;
use serde_json::{Value, json};

const SETTINGS: &str = "[vetting]\nenabled = false\n[probe]\ninterval_ms = 100\n[[instance]]\nplugin = 'sick'\ncriticality = 'required'\n";

/// A host with a required plugin that can't be created, and one that is well.
fn host_with_sick_plugin() -> Served {
    let place = Place::default();
    let sick = plugin("sick", "1.0.0", "one").requires("model");
    place.put(&sick.build(place.path()), "sick.so");
    place.put(&plugin("well", "1.0.0", "one").build(place.path()), "well.so");
    let host = place.serve(SETTINGS);
    host.until("it is down", || word(&host) == "down");
    host.until_lifecycle("well", "running");
    host
}

fn word(host: &Served) -> Value {
    host.get("/api/v1/health")["overall"]["health"].clone()
}

/// What is wanted of it, and what it is.
fn states(host: &Served, name: &str) -> (Value, Value) {
    let view = host.plugin(name);
    (view["desired"].clone(), view["lifecycle"].clone())
}

fn said(host: &Served, args: &[&str]) -> (Option<i32>, String) {
    let output = host.extman(args);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (
        output.status.code(),
        text.split_whitespace().collect::<Vec<_>>().join(" "),
    )
}

fn killed(mut host: Served) -> Place {
    host.signal("KILL");
    std::mem::take(&mut host.place)
}

#[test]
fn disabled_instances_count_in_no_sum_and_neither_a_restart_nor_other_bytes_start_them() {
    let host = host_with_sick_plugin();
    let (code, text) = said(&host, &["disable", "sick", "well"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(
        text.matches("desired disabled state stopped").count(),
        2,
        "{text}"
    );
    host.until("it counts no longer", || word(&host) == "up");
    let place = host.stopped();

    let host = place.serve(SETTINGS);
    host.until_ready();
    for name in ["sick", "well"] {
        assert_eq!(
            states(&host, name),
            (json!("disabled"), json!("stopped")),
            "{name}"
        );
        for word in ["load", "restart"] {
            let (status, body) = host.change(name, word);
            let text = body["error"]["text"].as_str().unwrap();
            assert!(status >= 400 && text.contains("extman enable"), "{body}");
        }
    }
    assert_ne!(word(&host), "down");
    let (_, wide) = said(&host, &["list", "-o", "wide"]);
    assert!(
        wide.contains(" DESIRED ") && wide.contains(" disabled "),
        "{wide}"
    );
    let second = plugin("well", "1.1.0", "two").build(host.place.path());
    host.place.put(&second, "well.so");
    host.until("the other bytes are seen", || {
        host.plugin("well")["version"] == "1.1.0"
    });
    assert_eq!(states(&host, "well"), (json!("disabled"), json!("stopped")));
    // Nor does one count whose file is gone.
    std::fs::remove_file(host.place.plugins().join("sick.so")).unwrap();
    host.until("its file is seen to be gone", || {
        host.get("/api/v1/status")["missing"][0]["name"] == "sick"
    });
    assert_ne!(word(&host), "down");
    let (code, text) = said(&host, &["enable", "well"]);
    assert!(
        code == Some(0) && text.contains("desired running state running"),
        "{text}"
    );
    assert_eq!(host.ask("well"), "two");
    let (_, again) = host.change("well", "enable");
    assert_eq!(again["data"]["lifecycle"], "running", "{again}");
    host.stop();
}

#[test]
fn enabling_what_does_not_start_says_both_and_a_wrong_name_says_which_there_are() {
    let host = host_with_sick_plugin();
    assert_eq!(host.change("sick", "disable").0, 200);
    let (status, body) = host.change("sick", "enable");
    let text = body["error"]["text"].as_str().unwrap();
    assert!(
        status == 502 && text.starts_with("enabled, but not started: sick:") && text.contains("model"),
        "{body}"
    );
    assert_eq!(states(&host, "sick"), (json!("running"), json!("failed")));
    let (code, text) = said(&host, &["disable", "zzzzzzzzzz", "well"]);
    assert!(
        code == Some(1) && text.contains("did you mean sick or well?"),
        "{text}"
    );
    assert_eq!(
        states(&host, "well").0,
        "disabled",
        "the other name is done all the same"
    );
    host.stop();
}

#[test]
fn disabled_instance_whose_file_is_gone_can_be_enabled_and_starts_when_it_comes() {
    let place = Place::default();
    let library = plugin("well", "1.0.0", "one").build(place.path());
    let file = place.put(&library, "well.so");
    let host = place.serve("[vetting]\nenabled = false\n");
    host.until_lifecycle("well", "running");
    assert_eq!(said(&host, &["disable", "well"]).0, Some(0));
    std::fs::remove_file(file).unwrap();
    host.until("it is forgotten", || {
        !host
            .get("/api/v1/plugins")
            .to_string()
            .contains("\"name\":\"well\"")
    });
    let (code, text) = said(&host, &["enable", "well"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("well is enabled") && text.contains("when its file comes"),
        "{text}"
    );
    host.place.put(&library, "well.so");
    host.until_lifecycle("well", "running");
    host.stop();
}

#[test]
fn enable_that_takes_long_holds_up_no_other_command() {
    let place = Place::default();
    let (inside, goes_on) = (place.path().join("inside"), place.path().join("goes-on"));
    let waits = format!(
        "fclose(fopen({inside:?}, \"w\")); while (access({goes_on:?}, F_OK) != 0) {{ usleep(1000); }}"
    );
    let slow = plugin("slow", "1.0.0", "one").in_create(waits);
    place.put(&slow.build(place.path()), "slow.so");
    place.put(&plugin("well", "1.0.0", "one").build(place.path()), "well.so");
    std::fs::write(&goes_on, b"").unwrap();
    let host = place.serve("[vetting]\nenabled = false\n");
    host.until_lifecycle("slow", "running");
    host.until_lifecycle("well", "running");
    assert_eq!(said(&host, &["disable", "slow"]).0, Some(0));
    std::fs::remove_file(&goes_on).unwrap();
    std::fs::remove_file(&inside).unwrap();
    std::thread::scope(|scope| {
        let enabled = scope.spawn(|| said(&host, &["enable", "slow"]));
        host.until("it is in its create", || inside.exists());
        let disabled = scope.spawn(|| said(&host, &["disable", "well"]));
        host.until("the other one is disabled", || disabled.is_finished());
        assert!(!enabled.is_finished());
        std::fs::write(&goes_on, b"").unwrap();
        assert_eq!(disabled.join().unwrap().0, Some(0));
        let (code, text) = enabled.join().unwrap();
        assert_eq!(code, Some(0), "{text}");
    });
    host.stop();
}

#[test]
fn hundred_hosts_killed_right_after_an_answer_have_all_kept_it() {
    let mut place = Place::default();
    place.put(&plugin("well", "1.0.0", "one").build(place.path()), "well.so");
    let mut expected = "running";
    for round in 0..100 {
        let host = place.serve("history.enabled = false\n[vetting]\nenabled = false\n");
        host.until("it is known", || host.plugin("well") != Value::Null);
        assert_eq!(states(&host, "well").0, expected, "round {round}");
        let word = match expected {
            "running" => "disable",
            _ => "enable",
        };
        let (status, body) = host.change("well", word);
        place = killed(host);
        assert_eq!(status, 200, "round {round}: {body}");
        expected = body["data"]["desired"]
            .as_str()
            .map_or("", |desired| match desired {
                "disabled" => "disabled",
                _ => "running",
            });
        assert_eq!(expected == "disabled", word == "disable", "{body}");
    }
    let host = place.serve("[vetting]\nenabled = false\n");
    host.until("it is known", || host.plugin("well") != Value::Null);
    assert_eq!(states(&host, "well").0, expected);
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn embedder_without_a_state_directory_is_told_what_to_do_and_the_instance_runs_on() {
    let place = Place::default();
    place.put(&plugin("well", "1.0.0", "one").build(place.path()), "well.so");
    let builder = Host::builder()
        .dir(place.plugins())
        .store_dir(place.path().join("store"));
    let host = builder.vetting(false).build().await.expect("a host");
    host.wait_ready().await;
    let refused = host.disable("well").await.expect_err("it can't be kept");
    assert!(
        matches!(&refused, ControlError::Unavailable(text) if text.contains("HostBuilder::state_dir") && text.contains("unload")),
        "{refused}"
    );
    assert!(host.plugin("well").expect("it is there").generation.is_some());
    host.shutdown().await;
}

#[test]
fn host_that_can_not_read_who_is_disabled_starts_nobody_and_says_what_to_do() {
    let place = Place::default();
    let state = place.path().join("state");
    std::fs::create_dir(&state).unwrap();
    std::fs::write(state.join("disabled.json"), b"{\"disabled\": [").unwrap();
    let (code, said) = fails(place.command(""));
    assert_eq!(code, Some(3), "{said}");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.contains("disabled.json") && said.contains("mend the file, or remove it"),
        "{said}"
    );
}
