//! What is configured and does not fit, or is not there: it is told, and no plugin's code has run by then.

use crate::answers::plugin;
use crate::served::Place;
use serde_json::{Value, json};

const SIZED: &str = "[config.schema]\ntype = \"object\"\nadditionalProperties = false\n\
                     properties.size = { type = \"integer\", minimum = 1 }\n";

/// An [[instance]] with this configuration, of a plugin that takes the host with it when it is made.
fn with_config(config: &str) -> Value {
    let place = Place::default();
    let never = place.path().join("never");
    let sized = plugin("sized", "1.0.0", "one")
        .declares(SIZED)
        .crashes_without(&never);
    place.put(&sized.build(place.path()), "sized.so");
    let host = place.serve(&format!(
        "[vetting]\nenabled = false\n[[instance]]\nplugin = \"sized\"\nname = \"en\"\nconfig = {config}\n"
    ));
    host.until_ready();
    let view = host.plugin("en");
    host.stop();
    view
}

#[test]
fn a_configuration_that_does_not_fit_fails_the_start_before_any_code_runs() {
    let view = with_config("{ size = 0, szie = 7 }");
    assert_eq!(view["lifecycle"], "failed", "{view}");
    let cause = view["cause"].as_str().unwrap();
    for part in [
        "config.size: value is less than the minimum of 1",
        "szie",
        "the name \"en\"",
    ] {
        assert!(cause.contains(part), "{part:?} is missing in {cause}");
    }
}

#[test]
fn check_holds_a_configuration_against_the_schema_and_names_unknown_fields_once() {
    let place = Place::default();
    let sized = plugin("sized", "1.0.0", "one").declares(
        "colour = \"red\"\n[config.schema]\nproperties.size = { type = \"integer\", minimum = 1 }\n",
    );
    let file = place.put(&sized.build(place.path()), "sized.so");
    let host = place.serve("");
    let config = host.place.path().join("extman.toml");
    let [file, host_config] = [&file, &config].map(|path| path.to_str().unwrap());
    let check = |config: &str| {
        let output = host.extman(&["check", "--host-config", host_config, "--config", config, file]);
        let told = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), told(output.stdout), told(output.stderr))
    };
    let (code, out, err) = check(r#"{"size": 0}"#);
    assert_eq!((code, &*out), (Some(2), ""));
    assert!(
        err.contains("--config") && err.contains("config.size: value is less"),
        "{err}"
    );
    let (code, out, err) = check(r#"{"size": 1}"#);
    assert_eq!((code, &*err), (Some(0), ""));
    assert_eq!(out.matches("capability.1.colour").count(), 1, "{out}");
    let inspected = String::from_utf8(host.extman(&["inspect", file]).stdout).unwrap();
    assert_eq!(inspected.matches("capability.1.colour").count(), 1, "{inspected}");
    host.until_ready();
    let shown = String::from_utf8(host.extman(&["show", "sized"]).stdout).unwrap();
    assert_eq!(shown.matches("capability.1.colour").count(), 1, "{shown}");
    host.stop();
}

#[test]
fn an_instance_whose_plugin_is_not_there_is_told_until_it_comes() {
    let place = Place::default();
    let built = plugin("late", "1.0.0", "one").build(place.path());
    let host = place.serve("[[instance]]\nplugin = \"late\"\nname = \"en\"\nversion = \"^1\"\n");
    host.until_ready();
    host.until_log("no plugin with the id \"late\" was found in ");
    let missing = || host.get("/api/v1/status")["missing"].clone();
    assert_eq!(missing()[0]["name"], "en");
    let warned = host.envelope("/api/v1/plugins")["warnings"].clone();
    assert!(
        warned[0].as_str().is_some_and(|text| text.starts_with("en: ")),
        "{warned}"
    );
    let (status, body) = host.change("en", "load");
    assert_eq!(status, 409, "{body}");
    let (status, body) = host.call("late.ask", "en", b"{}");
    assert!(
        status == 503 && body["error"]["text"].as_str().unwrap().contains("configured"),
        "{body}"
    );
    let waited = host.extman(&["wait", "en", "--for", "up", "--timeout", "50ms"]);
    let said = String::from_utf8_lossy(&waited.stderr).into_owned();
    assert!(
        said.contains("en is not up after"),
        "it was not waited for: {said}"
    );
    let other = plugin("late", "2.0.0", "two").build(host.place.path());
    host.place.put(&other, "late.so");
    host.until("the other version is told", || {
        let reason = missing()[0]["reason"].clone();
        reason
            .as_str()
            .is_some_and(|reason| reason.contains("only 2.0.0"))
    });
    host.place.put(&built, "late.so");
    host.until_lifecycle("en", "running");
    assert_eq!(missing(), Value::Null);
    assert_eq!(
        host.envelope("/api/v1/plugins")["warnings"],
        Value::Array(Vec::new())
    );
    host.stop();
}

#[test]
fn a_directory_that_is_not_there_is_waited_for() {
    let place = Place::default();
    std::fs::remove_dir(place.plugins()).unwrap();
    let built = plugin("later", "1.0.0", "one").build(place.path());
    let host = place.serve("[intake.watch]\npoll_ms = 20\n");
    host.until_ready();
    host.until_log("is not there; the host waits for it");
    std::fs::create_dir(host.place.plugins()).unwrap();
    host.until_log("plugins is there now");
    host.place.put(&built, "later.so");
    host.until("it answers", || host.ask("later") == "one");
    assert_eq!(host.get("/api/v1/status")["refused"], json!([]));
    host.stop();
}

#[test]
fn who_sends_a_wrong_input_is_told_what_is_taken() {
    let place = Place::default();
    let picky =
        plugin("picky", "1.0.0", "one").declares("input = { type = \"string\", description = \"a path\" }\n");
    place.put(&picky.build(place.path()), "picky.so");
    let host = place.serve("");
    host.until_ready();
    let path = format!("\"{}\"", "x".repeat(2000));
    for (input, said) in [
        (
            path.as_str(),
            "the path is too long; picky.wait takes JSON: string",
        ),
        ("x", "the input does not fit what picky takes: it is no JSON"),
        ("7", "the input does not fit what picky takes"),
    ] {
        let (status, body) = host.call("picky.wait", "", input.as_bytes());
        assert_eq!(status, 400);
        let text = body["error"]["text"].as_str().unwrap();
        assert!(text.contains(said), "{text}");
    }
    host.stop();
}

#[test]
fn configured_instance_whose_file_is_gone_keeps_its_history_and_its_row_in_uptime() {
    let place = Place::default();
    let file = place.put(&plugin("gone", "1.0.0", "one").build(place.path()), "gone.so");
    let host = place.serve("[[instance]]\nplugin = \"gone\"\nname = \"en\"\n[probe]\ninterval_ms = 100\n");
    host.until_ready();
    let row = || {
        let rows = host.get("/api/v1/uptime?since=1h");
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.into_iter()
            .find(|row| row["name"] == "en")
            .unwrap_or_default()
    };
    host.until("it is up for a while", || {
        row()["uptime"]["up_ms"].as_u64().unwrap_or(0) > 0
    });
    std::fs::remove_file(file).unwrap();
    host.until("it is missing", || {
        host.get("/api/v1/status")["missing"][0]["name"] == "en"
    });
    assert!(row()["uptime"]["up_ms"].as_u64().unwrap() > 0, "{}", row());
    let history = host.extman(&["history", "en"]);
    assert_eq!(history.status.code(), Some(0));
    let both = host.extman(&["uptime", "nobody", "en"]);
    let shown = String::from_utf8_lossy(&both.stdout).into_owned();
    assert!(both.status.code() == Some(1) && shown.contains("en "), "{both:?}");
    let health = host.extman(&["health", "en"]);
    let said = String::from_utf8_lossy(&health.stdout).into_owned();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("configured, but no plugin"), "{said}");
    host.stop();
}
