//! Plugins that require each other, in a running host, in a directory alone, and as they are locked.

use crate::answers::plugin;
use crate::served::{Place, Served, program};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const RANK: &str = "[[requires]]\nplugin = \"base\"\nversion = \"^1\"\n";

/// The program in this place, with its configuration.
fn run(place: &Place, arguments: &[&str]) -> Output {
    let config = place.config("[vetting]\nenabled = false\n");
    let mut command = Command::new(program());
    command
        .current_dir(place.path())
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1");
    command.args(arguments).arg("--config").arg(config);
    command.output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn plugin_whose_requirement_is_missing_is_left_out_until_it_comes() {
    let place = Place::default();
    let rank = plugin("rank", "1.0.0", "rank").declares(RANK).build(place.path());
    let base = plugin("base", "1.3.0", "base").build(place.path());
    place.put(&rank, "rank.so");
    place.put(&plugin("other", "1.0.0", "other").build(place.path()), "other.so");
    let host = place.serve("");
    host.until_ready();
    let refused = host.refused("rank.so");
    assert_eq!(refused["code"], "unfulfilled", "{refused}");
    let reason = refused["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("rank 1.0.0 (rank.so) requires base ^1; there is no plugin base."),
        "{reason}"
    );
    assert_eq!(
        host.call("other.ask", "", b"x").0,
        200,
        "it keeps no other from serving"
    );
    host.place.put(&base, "base.so");
    host.until("rank serves", || host.ask("rank") == "rank");
    let told = host.get("/api/v1/dependencies");
    assert_eq!(
        told["start_order"],
        json!([["base", "other"], ["rank"]]),
        "{told}"
    );
    assert_eq!(told["plugins"][0]["required_by"], json!(["rank"]), "{told}");
    assert_eq!(told.get("left_out"), None, "{told}");
    host.stop();
}

#[test]
fn version_that_another_plugin_requires_is_taken_before_a_higher_one() {
    let place = Place::default();
    let rank = plugin("rank", "1.0.0", "rank").declares(RANK).build(place.path());
    place.put(&rank, "rank.so");
    place.put(&plugin("base", "1.3.0", "one").build(place.path()), "base-1.so");
    place.put(&plugin("base", "2.0.0", "two").build(place.path()), "base-2.so");
    let host = place.serve("");
    host.until_ready();
    assert_eq!(host.plugin("base")["version"], "1.3.0", "{}", host.log());
    host.stop();
}

#[test]
fn requirement_does_not_take_a_running_plugin_back_to_a_lower_version() {
    let place = Place::default();
    let rank = plugin("rank", "1.0.0", "rank").declares(RANK).build(place.path());
    place.put(&plugin("base", "1.0.0", "low").build(place.path()), "base-1.so");
    place.put(&plugin("base", "2.0.0", "high").build(place.path()), "base-2.so");
    let host = place.serve("");
    host.until("base serves", || host.ask("base") == "high");
    host.place.put(&rank, "rank.so");
    host.until("rank is refused", || {
        host.refused("rank.so")["code"] == "unfulfilled"
    });
    let reason = host.refused("rank.so")["reason"].to_string();
    assert!(reason.contains("lower than 2.0.0, which runs"), "{reason}");
    assert_eq!(host.ask("base"), "high");
    host.stop();
}

#[test]
fn what_is_locked_is_used_and_nothing_else_starts_with_locked() {
    let place = Place::default();
    let base = plugin("base", "1.3.0", "base").build(place.path());
    place.put(&base, "base.so");
    place.put(
        &plugin("rank", "1.0.0", "rank").declares(RANK).build(place.path()),
        "rank.so",
    );
    let plugins = place.plugins().display().to_string();
    let shown = run(&place, &["deps", "--dir", &plugins]);
    assert_eq!(
        text(&shown.stdout),
        "rank 1.0.0\n└── base 1.3.0 (^1)\n",
        "{}",
        text(&shown.stderr)
    );
    let refused = run(&place, &["serve", "--locked", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(2), "there is no lock yet");
    assert!(
        text(&refused.stderr).contains("extman lock"),
        "{}",
        text(&refused.stderr)
    );
    let written = run(&place, &["lock", "--json"]);
    let told: Value = serde_json::from_slice(&written.stdout).expect("an envelope");
    assert_eq!(told["data"]["plugins"]["base"]["version"], "1.3.0", "{told}");
    let lock = std::fs::read_to_string(place.path().join("extman.lock")).expect("beside the configuration");
    assert!(lock.find("\"base\"") < lock.find("\"rank\""), "{lock}");
    // A higher one comes: without --locked the locked one is used all the same, and the same file with other bytes is refused with it.
    place.put(&plugin("base", "1.4.0", "new").build(place.path()), "base-new.so");
    let shown = run(&place, &["deps", "base", "--dir", &plugins]);
    assert_eq!(text(&shown.stdout), "base 1.3.0\n");
    place.put(
        &plugin("base", "1.3.0", "other bytes").build(place.path()),
        "base.so",
    );
    let refused = run(&place, &["serve", "--locked", "--listen", "127.0.0.1:0"]);
    let said = text(&refused.stderr)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("base can't be used: no file of it is the one in extman.lock."),
        "{said}"
    );
    let refused = run(&place, &["deps", "--locked", "--dir", &plugins]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stdout).contains("extman.lock has 1.3.0"),
        "{}",
        text(&refused.stdout)
    );
}

#[test]
fn plugin_that_others_need_is_unloaded_with_them_and_not_without_a_word() {
    let place = Place::default();
    place.put(&plugin("base", "1.3.0", "base").build(place.path()), "base.so");
    let rank = plugin("rank", "1.0.0", "rank").declares(RANK).build(place.path());
    place.put(&rank, "rank.so");
    let host = place.serve("[vetting]\nenabled = false\n");
    host.until_lifecycle("base", "running");
    host.until_lifecycle("rank", "running");
    for (word, remedy) in [
        ("unload", "`extman unload base --cascade`"),
        ("disable", "`extman disable base --cascade`"),
    ] {
        let (status, body) = host.change("base", word);
        let text = body["error"]["text"].as_str().unwrap();
        assert!(
            status == 409 && text.contains("rank requires it") && text.contains(remedy),
            "{body}"
        );
        assert_eq!(host.ask("base"), "base");
    }
    let unloaded = host.extman(&["unload", "base", "--cascade"]);
    assert!(unloaded.status.success(), "{unloaded:?}");
    for name in ["base", "rank"] {
        let view = host.plugin(name);
        assert_eq!(
            (&view["lifecycle"], &view["desired"]),
            (&json!("stopped"), &json!("stopped"))
        );
    }
    let events = host.get("/api/v1/events")["events"].clone();
    let stopped: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["to"] == "stopped")
        .map(|event| event["name"].clone())
        .collect();
    assert_eq!(stopped, ["rank", "base"], "who needs it goes first");
    assert_eq!(host.change("base", "load").0, 200);
    assert_eq!(
        host.change("base", "unload").0,
        200,
        "nobody that is to run requires it"
    );
    for name in ["base", "rank"] {
        assert_eq!(host.change(name, "load").0, 200);
    }
    let disabled = host.extman(&["disable", "base", "--cascade"]);
    assert!(disabled.status.success(), "{disabled:?}");
    let host = host.stopped().serve("[vetting]\nenabled = false\n");
    host.until_ready();
    for name in ["base", "rank"] {
        let view = host.plugin(name);
        assert_eq!(
            (&view["lifecycle"], &view["desired"]),
            (&json!("stopped"), &json!("disabled"))
        );
    }
    host.stop();
}

const QUICK: &str = "[vetting]\nenabled = false\n[supervision]\nfirst_wait_ms = 10\n";
const BASE: &str = "[[requires]]\nplugin = \"store\"\nversion = \"^1\"\n";

/// C code that writes down a line.
fn writes(line: &str, file: &Path) -> String {
    format!("FILE *f = fopen({file:?}, \"a\"); if (f != NULL) {{ fputs(\"{line}\\n\", f); fclose(f); }}")
}

/// `rank` requires `base`, which requires `store`. Each writes down when it is made and when it is destroyed; `store` can't be made before
/// that file is there.
struct Chain {
    now: PathBuf,
    written: PathBuf,
}

impl Chain {
    fn put(place: &Place) -> Chain {
        let (now, written) = (place.path().join("now"), place.path().join("written"));
        for (id, requires) in [("rank", RANK), ("base", BASE), ("store", "")] {
            let needs = match id {
                "store" => format!(
                    "if (access({now:?}, F_OK) != 0) {{ return extman_fail(error, EXTMAN_STATUS_UNAVAILABLE, \"not yet\"); }}"
                ),
                _ => String::new(),
            };
            let library = plugin(id, "1.0.0", id)
                .declares(requires)
                .in_create(format!("{needs} {}", writes(&format!("+{id}"), &written)))
                .in_destroy(writes(&format!("-{id}"), &written))
                .build(place.path());
            place.put(&library, &format!("{id}.so"));
        }
        Chain { now, written }
    }

    /// All of it may be made from the start.
    fn serving(settings: &str) -> (Chain, Served) {
        let place = Place::default();
        let chain = Chain::put(&place);
        std::fs::write(&chain.now, b"").expect("written");
        (chain, place.serve(settings))
    }

    fn written(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.written).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn said(host: &Served, args: &[&str]) -> String {
    let output = host.extman(args);
    text(&output.stdout)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn events(host: &Served, kind: &str) -> Vec<Value> {
    let told = host.get("/api/v1/events")["events"].clone();
    let all = told.as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|event| event["event"] == kind).collect()
}

#[test]
fn what_requires_a_plugin_that_fails_waits_names_the_root_and_starts_when_that_comes() {
    let place = Place::default();
    let chain = Chain::put(&place);
    let host = place.serve(QUICK);
    host.until("the host is ready though they wait", || {
        host.status_of("/api/v1/status") == 200 && host.get("/api/v1/status")["ready"] == true
    });
    host.until("both name the root", || {
        ["base", "rank"].iter().all(|name| {
            let view = host.plugin(name);
            (&view["lifecycle"], &view["suppressed_by"]) == (&json!("waiting"), &json!("store"))
        })
    });
    let view = host.plugin("rank");
    assert_eq!(view["cause"], "suppressed by store", "{view}");
    assert_eq!(view["health"]["health"], "down", "{view}");
    for args in [&["list"][..], &["show", "rank"], &["health", "rank"]] {
        let text = said(&host, args);
        assert!(text.contains("suppressed by store"), "{args:?}: {text}");
        let way = "it is started as soon as store serves; `extman load rank` starts it at once";
        assert!(text.contains(way), "{args:?}: {text}");
    }
    let (status, body) = host.call("rank.ask", "", b"x");
    let text = body["error"]["text"].as_str().unwrap_or_default();
    assert!(
        status == 503 && text.contains("rank is waiting: suppressed by store"),
        "{body}"
    );
    assert_eq!(chain.written(), [""; 0], "nobody was made");
    std::fs::write(&chain.now, b"").expect("written");
    host.until_lifecycle("rank", "running");
    assert_eq!(chain.written(), ["+store", "+base", "+rank"]);
    host.until("rank is up", || host.plugin("rank")["health"]["health"] == "up");
    assert_eq!(host.plugin("rank")["suppressed_by"], Value::Null);
    host.stop();
}

#[test]
fn what_serves_goes_on_degraded_while_the_root_is_down_and_is_up_again_with_it() {
    let (_, host) = Chain::serving(&format!("{QUICK}restart = \"never\"\n"));
    host.until_lifecycle("rank", "running");
    for name in ["base", "rank"] {
        host.until("it is up", || host.plugin(name)["health"]["health"] == "up");
    }
    let generation = host.plugin("rank")["generation"].clone();
    host.call("store.wait", "", b"panic");
    host.until_lifecycle("store", "failed");
    for name in ["base", "rank"] {
        host.until("it is degraded", || {
            host.plugin(name)["health"]["health"] == "degraded"
        });
        let view = host.plugin(name);
        let (health, reason) = (&view["health"], "what it requires is down: suppressed by store");
        assert_eq!(
            (&view["lifecycle"], &health["reason"]),
            (&json!("running"), &json!(reason)),
            "{view}"
        );
        assert_eq!(
            (&view["suppressed_by"], &health["suppressed"]),
            (&json!("store"), &json!(true)),
            "{view}"
        );
        assert_eq!(host.ask(name), name);
        for args in [&["list"][..], &["show", name], &["health", name]] {
            let text = said(&host, args);
            assert!(text.contains("suppressed by store"), "{args:?}: {text}");
        }
    }
    for name in ["base", "rank"] {
        let text = said(&host, &["history", name]);
        assert!(
            text.contains("what it requires is down: suppressed by store"),
            "{text}"
        );
    }
    let told = events(&host, "health");
    let of_rank: Vec<_> = told
        .iter()
        .filter(|event| event["name"] == "rank" && event["to"] == "degraded")
        .collect();
    assert_eq!(of_rank.len(), 1, "{told:?}");
    assert_eq!(of_rank[0]["text"], "suppressed by store", "{told:?}");
    assert_eq!(host.change("store", "load").0, 200);
    for name in ["base", "rank"] {
        host.until("it is up", || host.plugin(name)["health"]["health"] == "up");
    }
    assert_eq!(host.plugin("rank")["generation"], generation, "it went on");
    host.stop();
}

#[test]
fn failure_while_the_root_is_down_is_no_restart_and_is_mended_by_its_return() {
    let (chain, host) = Chain::serving(&format!("{QUICK}max_restarts = 1\n"));
    host.until_lifecycle("rank", "running");
    std::fs::remove_file(&chain.now).expect("removed");
    host.call("store.wait", "", b"panic");
    host.until_lifecycle("store", "quarantined");
    host.until("rank is suppressed", || {
        host.plugin("rank")["suppressed_by"] == "store"
    });
    host.call("rank.wait", "", b"panic");
    host.until_lifecycle("rank", "waiting");
    let cause = host.plugin("rank")["cause"].to_string();
    assert!(
        cause.contains("suppressed by store; before that it failed: ") && cause.contains("a panic, as told"),
        "{cause}"
    );
    std::fs::write(&chain.now, b"").expect("written");
    assert_eq!(host.change("store", "load").0, 200);
    host.until_lifecycle("rank", "running");
    host.call("rank.wait", "", b"panic");
    host.until("its one restart is left", || {
        host.lifecycle("rank") == "running" && host.call("rank.ask", "", b"x").0 == 200
    });
    host.stop();
}

#[test]
fn restart_of_what_others_require_leaves_them_up_and_as_they_are() {
    let (chain, host) = Chain::serving(QUICK);
    for name in ["base", "rank"] {
        host.until_lifecycle(name, "running");
        host.until("it is up", || host.plugin(name)["health"]["health"] == "up");
    }
    for _ in 0..5 {
        let (status, body) = host.change("store", "restart");
        assert_eq!(status, 200, "{body}");
    }
    let told = events(&host, "health");
    assert!(!told.iter().any(|event| event["to"] == "degraded"), "{told:?}");
    let made = chain.written();
    assert_eq!(
        made.iter().filter(|line| *line == "+store").count(),
        6,
        "{made:?}"
    );
    assert!(
        !made.iter().any(|line| line == "-base" || line == "-rank"),
        "{made:?}"
    );
    host.stop();
}

#[test]
fn chain_of_fifty_with_a_thousand_instances_starts_in_its_order() {
    const LONG: usize = 50;
    const AT_ITS_END: usize = 950;
    let place = Place::default();
    let written = place.path().join("written");
    for number in 0..LONG {
        let id: &'static str = format!("link-{number}").leak();
        let requires: &'static str = match number {
            0 => "",
            _ => format!(
                "[[requires]]\nplugin = \"link-{}\"\nversion = \"^1\"\n",
                number - 1
            )
            .leak(),
        };
        let library = plugin(id, "1.0.0", id)
            .declares(requires)
            .in_create(writes(id, &written))
            .build(place.path());
        place.put(&library, &format!("{id}.so"));
    }
    let mut settings = String::from(QUICK);
    for number in 0..AT_ITS_END {
        let last = LONG - 1;
        write!(
            settings,
            "[[instance]]\nname = \"end-{number}\"\nplugin = \"link-{last}\"\n"
        )
        .expect("written");
    }
    let host = place.serve(&settings);
    host.until("all run", || {
        host.get("/api/v1/status")["instances"] == json!({"running": LONG - 1 + AT_ITS_END})
    });
    let text = std::fs::read_to_string(&written).expect("read");
    let order: Vec<&str> = text.lines().collect();
    assert_eq!(order.len(), LONG - 1 + AT_ITS_END);
    for (at, line) in order.iter().enumerate() {
        assert_eq!(*line, format!("link-{}", at.min(LONG - 1)));
    }
    host.stop();
}

#[test]
fn host_that_ends_stops_who_requires_another_before_it() {
    let (chain, host) = Chain::serving(QUICK);
    host.until_lifecycle("rank", "running");
    let place = host.stopped();
    let ended: Vec<_> = chain
        .written()
        .into_iter()
        .filter(|line| line.starts_with('-'))
        .collect();
    assert_eq!(ended, ["-rank", "-base", "-store"]);
    drop(place);
}

#[test]
fn host_that_ends_does_not_keep_a_plugin_for_one_that_hangs() {
    let place = Place::default();
    let chain = Chain::put(&place);
    std::fs::write(&chain.now, b"").expect("written");
    let never = place.path().join("never");
    let hangs = plugin("hangs", "1.0.0", "hangs")
        .declares(RANK)
        .in_destroy(format!(
            "while (access({never:?}, F_OK) != 0) {{ usleep(1000); }}"
        ))
        .build(place.path());
    place.put(&hangs, "hangs.so");
    let host = place.serve(&format!("shutdown.budget_ms = 4000\n{QUICK}"));
    host.until_lifecycle("rank", "running");
    host.until_lifecycle("hangs", "running");
    host.signal("TERM");
    extman_tests::until::until("store has ended", || {
        chain.written().contains(&"-store".to_owned())
    });
    let ended: Vec<_> = chain
        .written()
        .into_iter()
        .filter(|line| line.starts_with('-'))
        .collect();
    assert_eq!(ended, ["-rank", "-base", "-store"]);
    std::fs::write(never, b"").expect("written");
    drop(host);
}
