//! Configurations that change while the host runs: taken as a whole or not at all, told, and found again.

use crate::answers::{Answers, plugin};
use crate::served::{Place, Served};
use extman_tests::served::Caller;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const SETTINGS: &str =
    "vetting.enabled = false\nintake.discovery.settle_ms = 20\nintake.watch.debounce_ms = 20\n";
const REFUSES: &str = "if (memmem(request->config.data, request->config.len, \"refuse\", 6) != NULL) {\
    char said[512] = \"not to my liking: \";\
    size_t room = sizeof said - strlen(said) - 1;\
    strncat(said, (const char *)request->config.data, request->config.len < room ? request->config.len : room);\
    return extman_fail(error, EXTMAN_STATUS_CONFIGURATION, said); }";
const SIZED: &str = "[config.schema]\ntype = \"object\"\n\
    properties.size = { type = \"integer\", minimum = 1 }\nproperties.key = { type = \"string\", minLength = 8 }\n";

/// Takes another configuration as it runs, unless that says `refuse`.
fn taking(id: &'static str) -> Answers {
    plugin(id, "1.0.0", "one")
        .declares(SIZED)
        .in_configure(REFUSES)
        .in_create(REFUSES)
}

fn put(place: &Place, made: &Answers) {
    place.put(&made.build(place.path()), "it.so");
}

/// The plugin's configuration, as the instance has it.
fn config_in(host: &Served, name: &str) -> Value {
    host.call("it.ask", name, b"{}").1["config"].clone()
}

fn instance(name: &str, config: &str) -> String {
    format!("[[instance]]\nplugin = \"it\"\nname = {name:?}\nconfig = {config}\n")
}

fn rewrite(host: &Served, more: &str) {
    host.place.config(&format!("{SETTINGS}{more}"));
}

/// Events of these names, each as `(instance, event)`.
fn events(host: &Served, after: u64) -> Vec<Value> {
    let answer = host.get(&format!("/api/v1/events?after={after}&wait_ms=0"));
    answer["events"].as_array().cloned().unwrap_or_default()
}

fn last_event(host: &Served) -> u64 {
    host.get("/api/v1/events?wait_ms=0")["last"]
        .as_u64()
        .unwrap_or_default()
}

fn named<'e>(events: &'e [Value], event: &str) -> Vec<&'e Value> {
    events.iter().filter(|one| one["event"] == event).collect()
}

fn status(host: &Served) -> Value {
    host.get("/api/v1/status")["config"].clone()
}

fn said(host: &Served, args: &[&str]) -> (Option<i32>, String) {
    let output = host.extman(args);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let words: Vec<_> = text.split_whitespace().collect();
    (output.status.code(), words.join(" "))
}

/// What says that an instance goes on as it was.
fn identity(host: &Served, name: &str) -> [Value; 3] {
    let view = host.plugin(name);
    ["generation", "since_unix_ms", "lifecycle"].map(|field| view[field].clone())
}

#[test]
fn of_two_hundred_instances_the_one_that_is_configured_otherwise_is_touched() {
    let place = Place::default();
    put(&place, &taking("it"));
    let all = |size: usize| {
        let one = |number: usize| {
            let size = if number == 77 { size } else { 1 };
            instance(&format!("i{number}"), &format!("{{ size = {size} }}"))
        };
        (0..200).map(one).collect::<String>()
    };
    let host = place.serve(&format!("{SETTINGS}{}", all(1)));
    host.until_ready();
    let identities = || {
        let views = host.get("/api/v1/plugins");
        let views = views.as_array().cloned().unwrap_or_default();
        let of = |view: &Value| {
            ["name", "generation", "since_unix_ms", "lifecycle", "desired"].map(|field| view[field].clone())
        };
        views.iter().map(of).collect::<Vec<_>>()
    };
    let (before, heard) = (identities(), last_event(&host));
    assert_eq!(before.len(), 200);
    rewrite(&host, &all(2));
    host.until("it has taken it", || config_in(&host, "i77")["size"] == 2);
    assert_eq!(identities(), before, "it has taken it as it runs");
    assert_eq!(config_in(&host, "i78")["size"], 1);
    host.until("it is told", || {
        !named(&events(&host, heard), "config_taken").is_empty()
    });
    let events = events(&host, heard);
    for event in &events {
        let read = json!(["i77"]);
        let is_of_it =
            event["name"] == "i77" || event["event"] == "config_read" && event["instances"] == read;
        assert!(is_of_it || event["event"] == "health", "{event}");
    }
    assert_eq!(named(&events, "config_taken")[0]["live"], true);
    assert_eq!(status(&host)["in_sync"], true);
    host.stop();
}

#[test]
fn file_that_can_not_be_used_leaves_what_was_and_is_told_with_all_places() {
    let place = Place::default();
    put(&place, &taking("it"));
    let well = instance("a", "{ size = 1 }") + &instance("b", "{ size = 1 }");
    let host = place.serve(&format!("{SETTINGS}{well}"));
    host.until_ready();
    let before = ["a", "b"].map(|name| identity(&host, name));
    let faults = || status(&host)["faults"].as_array().cloned().unwrap_or_default();
    // No TOML, and in the midst of being written.
    rewrite(&host, "[[instance]]\nplugin = \"it\"\nname = \"a\nco");
    host.until("it is told", || !faults().is_empty());
    let told = events(&host, 0);
    let refused = named(&told, "config_refused");
    assert!(refused[0]["faults"][0]["line"].as_u64() > Some(1), "{refused:?}");
    assert_eq!(status(&host)["in_sync"], false);
    // Several values out of range: all at once.
    rewrite(
        &host,
        &format!("call_timeout = 1\n{well}stop_budget_ms = 0\nprobe.fall = 0\n"),
    );
    host.until("all are told", || faults().len() == 3);
    let places: Vec<(Value, Value)> = faults()
        .iter()
        .map(|fault| (fault["line"].clone(), fault["field"].clone()))
        .collect();
    let line = |text: &str| {
        let file = std::fs::read_to_string(host.place.path().join("extman.toml")).expect("readable");
        file.lines()
            .position(|line| line.starts_with(text))
            .expect("it is there") as u64
            + 1
    };
    let at = |text: &str, field: &str| (json!(line(text)), json!(field));
    assert_eq!(
        places,
        [
            at("call_timeout", "call_timeout"),
            at("stop_budget", "instance[1].stop_budget_ms"),
            at("probe.fall", "instance[1].probe.fall")
        ]
    );
    // The file is gone.
    std::fs::remove_file(host.place.path().join("extman.toml")).expect("removed");
    host.until("it is told", || faults().len() == 1);
    assert_eq!(["a", "b"].map(|name| identity(&host, name)), before);
    rewrite(&host, &well);
    host.until("it is in force", || status(&host)["in_sync"] == true);
    assert_eq!(["a", "b"].map(|name| identity(&host, name)), before);
    host.stop();
}

#[test]
fn value_that_does_not_fit_its_plugin_is_told_with_its_place_and_the_rest_of_the_file_is_taken() {
    let place = Place::default();
    put(&place, &taking("it"));
    let both = |a: &str, b: &str| instance("a", a) + &instance("b", b);
    let host = place.serve(&format!("{SETTINGS}{}", both("{ size = 1 }", "{ size = 1 }")));
    host.until_ready();
    let before = identity(&host, "a");
    rewrite(&host, &both("{ size = 0 }", "{ size = 2 }"));
    host.until("the other one has it", || config_in(&host, "b")["size"] == 2);
    host.until("it is told", || host.plugin("a")["config_in_sync"] == false);
    assert_eq!(
        (identity(&host, "a"), config_in(&host, "a")["size"].clone()),
        (before, json!(1))
    );
    let status = status(&host);
    assert_eq!(
        (&status["in_sync"], &status["not_taken"]),
        (&json!(false), &json!(["a"]))
    );
    let fault = &status["faults"][0];
    assert_eq!(fault["field"], "instance[0].config.size", "{status}");
    assert!(fault["line"].as_u64() > Some(1), "{status}");
    let told = events(&host, 0);
    let text = named(&told, "config_not_taken")[0]["text"]
        .as_str()
        .unwrap_or_default();
    assert!(
        text.contains("config.size") && text.contains("the one before goes on"),
        "{text}"
    );
    let (code, shown) = said(&host, &["status"]);
    assert_eq!(code, Some(0));
    assert!(
        shown.contains("Configured and not in force") && shown.contains("config.size"),
        "{shown}"
    );
    host.until("plugins are well by what was before", || {
        said(&host, &["health"]).0 == Some(0)
    });
    let (_, shown) = said(&host, &["health"]);
    let told = shown.split_once("Configured and not in force for ");
    assert!(
        told.is_some_and(|(_, told)| told.contains("config.size")
            && told.contains("a goes on with the configuration before")),
        "{shown}"
    );
    // What the plugin itself refuses.
    rewrite(&host, &both("{ size = 3, name = \"refuse\" }", "{ size = 2 }"));
    host.until("that is told", || {
        let fault = host.plugin("a")["config_fault"].clone();
        fault
            .as_str()
            .is_some_and(|fault| fault.contains("not to my liking"))
    });
    assert_eq!(config_in(&host, "a")["size"], 1);
    let (_, shown) = said(&host, &["health"]);
    let told = "a goes on with the configuration before (`extman show a` says why)";
    assert!(shown.contains(told), "{shown}");
    rewrite(&host, &both("{ size = 1 }", "{ size = 2 }"));
    host.until("it is in sync", || host.plugin("a")["config_in_sync"] == true);
    host.stop();
}

/// Asks an instance all the while. What it answered, and what failed.
struct Asked {
    answers: Arc<Mutex<Vec<Value>>>,
    failed: Arc<Mutex<Vec<Value>>>,
    _caller: Caller,
}

impl Asked {
    fn start(host: &Served, name: &'static str) -> Self {
        let (answers, failed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (client, answered, not) = (host.client.clone(), answers.clone(), failed.clone());
        let caller = Caller::start(move || match client.call("it.ask", name, b"{}") {
            (200, body) => answered
                .lock()
                .expect("whole")
                .push(body["config"]["size"].clone()),
            (status, body) => not.lock().expect("whole").push(json!([status, body])),
        });
        Asked {
            answers,
            failed,
            _caller: caller,
        }
    }

    fn count(&self) -> usize {
        self.answers.lock().expect("whole").len()
    }

    /// Waits for some more calls.
    fn go_on(&self, host: &Served) {
        let before = self.count();
        host.until("calls go on", || self.count() > before + 5);
    }
}

#[test]
fn plugin_that_takes_none_is_made_anew_beside_and_no_call_fails_under_load() {
    let place = Place::default();
    place.put(
        &plugin("it", "1.0.0", "one").declares(SIZED).build(place.path()),
        "it.so",
    );
    let both = |size: usize| instance("a", &format!("{{ size = {size} }}")) + &instance("b", "{ size = 9 }");
    let host = place.serve(&format!("{SETTINGS}{}", both(1)));
    host.until_ready();
    let other = identity(&host, "b");
    let asked = Asked::start(&host, "a");
    for size in 2..10 {
        asked.go_on(&host);
        rewrite(&host, &both(size));
        host.until("it has it", || config_in(&host, "a")["size"] == size);
        // From here on nobody is answered by the one before.
        let from = asked.count() + 1;
        asked.go_on(&host);
        let answers = asked.answers.lock().expect("whole").clone();
        assert!(
            answers[from..].iter().all(|answer| *answer == size),
            "{answers:?}"
        );
    }
    let failed = asked.failed.lock().expect("whole").clone();
    assert_eq!(failed, Vec::<Value>::new());
    assert_eq!(identity(&host, "b"), other);
    let told = events(&host, 0);
    assert!(
        named(&told, "config_taken")
            .iter()
            .all(|event| event["live"] == false)
    );
    host.stop();
}

#[test]
fn plugin_that_excludes_itself_is_stopped_first_goes_back_if_that_fails_and_the_gap_is_told() {
    let place = Place::default();
    let alone = plugin("it", "1.0.0", "one")
        .declares(SIZED)
        .says_of_itself("update = \"stop-first\"")
        .in_create(REFUSES);
    put(&place, &alone);
    let host = place.serve(&format!("{SETTINGS}{}", instance("a", "{ size = 1 }")));
    host.until_ready();
    rewrite(&host, &instance("a", "{ size = 2 }"));
    host.until("it has it", || config_in(&host, "a")["size"] == 2);
    host.until("the gap is told", || {
        named(&events(&host, 0), "config_gap").len() == 1
    });
    rewrite(&host, &instance("a", "{ size = 3, name = \"refuse\" }"));
    host.until("it is back", || named(&events(&host, 0), "config_gap").len() == 2);
    assert_eq!(config_in(&host, "a")["size"], 2);
    let view = host.plugin("a");
    assert_eq!(view["config_in_sync"], false);
    let fault = view["config_fault"].as_str().unwrap_or_default();
    assert!(
        fault.contains("not to my liking") && fault.contains("goes on"),
        "{fault}"
    );
    host.stop();
}

#[test]
fn whatever_a_change_fails_by_callers_are_answered_with_the_configuration_before() {
    let mut place = Place::default();
    let crashes = format!(
        "{REFUSES} if (memmem(request->config.data, request->config.len, \"crash\", 5) != NULL) {{ volatile uintptr_t nowhere = 16; \
         *(volatile int *)nowhere = 1; }}"
    );
    let panics = format!(
        "{REFUSES} if (memmem(request->config.data, request->config.len, \"panic\", 5) != NULL) \
         return extman_fail(error, EXTMAN_STATUS_PANICKED, \"a panic, as told\");"
    );
    let made = plugin("it", "1.0.0", "one")
        .declares(SIZED)
        .in_create(crashes)
        .in_configure(panics);
    put(&place, &made);
    let settings = SETTINGS.replace("vetting.enabled = false\n", "");
    let host = place.serve(&format!("{settings}{}", instance("a", "{ size = 1 }")));
    host.until_ready();
    let asked = Asked::start(&host, "a");
    for (change, part) in [
        ("config.size=0", "config.size"),
        ("config.size=\"x\"", "config.size"),
        ("config.name=refuse", "not to my liking"),
        // It crashes in the throwaway process, and not here.
        ("config.name=crash", "SIGSEGV"),
        ("priority=high", "priority"),
        ("plugin=other", "plugin says which"),
        (
            "config.key={ env = \"NOBODY_HAS_SET_THIS\" }",
            "NOBODY_HAS_SET_THIS",
        ),
    ] {
        asked.go_on(&host);
        let (code, text) = said(&host, &["config", "set", "a", "config.size=2", change]);
        assert_ne!(code, Some(0), "{change}: {text}");
        assert!(text.contains(part), "{part:?} is missing in {text}");
        let view = host.plugin("a");
        assert_eq!(
            view["config_in_sync"], true,
            "nothing is wanted but what was: {view}"
        );
    }
    asked.go_on(&host);
    assert!(asked.failed.lock().expect("whole").is_empty());
    // One that panics is started again at once, as it was.
    let (code, text) = said(
        &host,
        &["config", "set", "a", "config.size=2", "config.name=panic"],
    );
    assert_ne!(code, Some(0), "{text}");
    host.until("it serves again", || config_in(&host, "a")["size"] == 1);
    asked.go_on(&host);
    let answers = asked.answers.lock().expect("whole").clone();
    assert!(answers.iter().all(|size| *size == 1), "{answers:?}");
    drop(asked);
    place = host.stopped();
    // Nothing of it was kept.
    let host = place.serve(&format!("{settings}{}", instance("a", "{ size = 1 }")));
    host.until("it serves", || config_in(&host, "a")["size"] == 1);
    host.stop();
}

#[test]
fn what_is_set_goes_before_the_file_and_is_shown_undone_and_brought_back() {
    let place = Place::default();
    put(&place, &taking("it"));
    let file = instance("a", "{ size = 1 }");
    let host = place.serve(&format!("{SETTINGS}{file}"));
    host.until_ready();
    let text = |args: &[&str]| {
        let (code, text) = said(&host, args);
        assert_eq!(code, Some(0), "{args:?}: {text}");
        text
    };
    let shown = text(&["config", "set", "a", "config.size=5", "priority=3", "--as", "ada"]);
    assert!(
        shown.contains("config.size set 5") && shown.contains("priority set 3"),
        "{shown}"
    );
    assert_eq!(config_in(&host, "a")["size"], 5);
    let diff = host.get("/api/v1/plugins/a/config/diff");
    let size = json!({"field": "config.size", "file": 1, "configured": 5, "in_force": 5});
    assert!(diff.as_array().is_some_and(|rows| rows.contains(&size)), "{diff}");
    // The file goes on saying what it says, and what was set holds.
    rewrite(&host, &instance("a", "{ size = 7 }"));
    host.until("the file is read", || {
        host.get("/api/v1/plugins/a/config/diff")[0]["file"] == 7
    });
    assert_eq!(config_in(&host, "a")["size"], 5);
    text(&["config", "unset", "a", "config.size"]);
    assert_eq!(config_in(&host, "a")["size"], 7);
    let (code, refused) = said(&host, &["config", "unset", "a", "config.size"]);
    assert!(code == Some(1) || code == Some(2), "{refused}");
    assert!(refused.contains("nothing was set there"), "{refused}");
    text(&["config", "rollback", "a"]);
    assert_eq!(
        config_in(&host, "a")["size"],
        5,
        "as it was before the last change"
    );
    let history = host.get("/api/v1/plugins/a/config/history");
    let changes = history.as_array().cloned().unwrap_or_default();
    let of = |change: &Value| ["by", "who"].map(|field| change[field].as_str().unwrap_or("").to_owned());
    assert_eq!(of(&changes[0])[0], "rollback");
    assert_eq!(of(changes.last().expect("some")), ["command", "ada"]);
    let first = changes.last().expect("some")["number"].to_string();
    assert!(
        changes
            .iter()
            .all(|change| change["at_unix_ms"].as_u64() > Some(1_600_000_000_000))
    );
    text(&["config", "set", "a", "config.size=9"]);
    text(&["config", "rollback", "a", "--to", &first]);
    assert_eq!(config_in(&host, "a")["size"], 5);
    let shown = text(&["config", "history", "a"]);
    assert!(
        shown.contains("ada") && shown.contains("config.size: 1 → 5"),
        "{shown}"
    );
    let (code, refused) = said(&host, &["config", "rollback", "a", "--to", "999"]);
    assert_eq!(code, Some(1), "{refused}");
    assert_eq!(host.get("/api/v1/plugins/nobody/config"), Value::Null);
    let (status, body) = host.post("/api/v1/plugins/a/config", b"{\"sett\": {}}");
    assert_eq!(status, 400, "{body}");
    let unwritten = std::fs::read_to_string(host.place.path().join("extman.toml")).expect("readable");
    assert!(unwritten.contains("size = 7"), "the file is the operator's");
    host.stop();
}

#[test]
fn plugin_without_an_instance_in_the_file_can_be_configured_too() {
    let place = Place::default();
    put(&place, &taking("it"));
    let host = place.serve(SETTINGS);
    host.until_ready();
    let (code, text) = said(&host, &["config", "set", "it", "config.size=5"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(config_in(&host, "it")["size"], 5);
    let place = host.stopped();
    let host = place.serve(SETTINGS);
    host.until("it is as it was set", || config_in(&host, "it")["size"] == 5);
    // One that the file configures is another one.
    rewrite(&host, &instance("a", "{ size = 1 }"));
    host.until("the file's one is there", || config_in(&host, "a")["size"] == 1);
    host.until("the other one is gone", || host.plugin("it") == Value::Null);
    host.stop();
}

#[test]
fn instances_come_and_go_and_become_another_plugins_with_the_file() {
    let place = Place::default();
    put(&place, &taking("it"));
    place.put(&plugin("other", "1.0.0", "two").build(place.path()), "other.so");
    let host = place.serve(&format!("{SETTINGS}{}", instance("a", "{ size = 1 }")));
    host.until_ready();
    let before = identity(&host, "a");
    rewrite(
        &host,
        &(instance("a", "{ size = 1 }") + &instance("b", "{ size = 2 }")),
    );
    host.until("it has come", || config_in(&host, "b")["size"] == 2);
    rewrite(
        &host,
        &(instance("a", "{ size = 1 }") + "[[instance]]\nplugin = \"other\"\nname = \"b\"\n"),
    );
    host.until("it is the other one's", || host.plugin("b")["id"] == "other");
    host.until_lifecycle("b", "running");
    rewrite(&host, &instance("a", "{ size = 1 }"));
    host.until("it is gone", || host.plugin("b") == Value::Null);
    assert_eq!(identity(&host, "a"), before);
    host.stop();
}

#[test]
fn secrets_are_read_for_the_plugin_alone_and_followed_when_they_change_or_vanish() {
    let place = Place::default();
    put(&place, &taking("it"));
    let folder = place.path().join("secrets");
    std::fs::create_dir(&folder).expect("made");
    let file = folder.join("key");
    std::fs::write(&file, "first-secret\n").expect("written");
    let with = |more: &str| {
        instance("a", &format!("{{ key = {{ file = {file:?} }}{more} }}")) + &instance("b", "{ size = 1 }")
    };
    let host = place.serve(&format!("{SETTINGS}{}", with("")));
    host.until_ready();
    let before = ["a", "b"].map(|name| identity(&host, name));
    let key = || config_in(&host, "a")["key"].clone();
    assert_eq!(key(), "first-secret");
    replace(&file, "second-secret");
    host.until("it is followed", || key() == "second-secret");
    std::fs::remove_file(&file).expect("removed");
    host.until("that is told", || host.plugin("a")["config_in_sync"] == false);
    let fault = host.plugin("a")["config_fault"].clone();
    let fault = fault.as_str().unwrap_or_default();
    assert!(
        fault.contains("config.key") && fault.contains("secrets/key"),
        "{fault}"
    );
    assert_eq!(key(), "second-secret", "it goes on");
    assert_eq!(
        status(&host)["faults"][0]["field"],
        "instance[0].config.key",
        "{}",
        status(&host)
    );
    replace(&file, "second-secret");
    host.until("it is back", || host.plugin("a")["config_in_sync"] == true);
    replace(&file, "short");
    host.until("the schema holds for it", || {
        host.plugin("a")["config_in_sync"] == false
    });
    assert_eq!(key(), "second-secret");
    assert_eq!(["a", "b"].map(|name| identity(&host, name)), before);
    host.stop();
}

/// Written elsewhere and renamed, as whoever renews secrets does.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("written");
    std::fs::rename(&new, file).expect("renamed");
}

#[test]
fn secret_that_a_plugin_tells_while_it_ends_is_redacted() {
    const SECRET: &str = "open-sesame-of-a-file";
    let place = Place::default();
    let made = plugin("it", "1.0.0", "one").declares(SIZED).in_destroy(
        "Instance *ended = handle; char said[512]; snprintf(said, sizeof said, \"I had %.400s\", ended->config);\
         free(handle); return extman_fail(error, EXTMAN_STATUS_INTERNAL, said);",
    );
    put(&place, &made);
    let file = place.path().join("key");
    std::fs::write(&file, SECRET).expect("written");
    let host = place.serve(&format!(
        "{SETTINGS}{}",
        instance("a", &format!("{{ key = {{ file = {file:?} }} }}"))
    ));
    host.until_lifecycle("a", "running");
    let (code, text) = said(&host, &["unload", "a"]);
    assert_eq!(code, Some(0), "{text}");
    let told = ["/api/v1/plugins/a", "/api/v1/events?after=0&wait_ms=0"].map(|path| host.text_of(path).1);
    assert!(told.iter().all(|text| text.contains("I had ")), "{told:?}");
    for text in told.into_iter().chain([host.log()]) {
        assert!(!text.contains(SECRET), "{text}");
    }
    host.stop();
}

#[test]
fn secrets_are_found_in_no_answer_history_event_log_error_or_file() {
    const SECRETS: [&str; 3] = [
        "open-sesame-of-a-file",
        "open-sesame-of-a-variable",
        "refuse-open-sesame-too",
    ];
    let place = Place::default();
    // It tells all it is told, in its log and in its errors.
    let tells = "{ const ExtmanHostTable *to = instance->host; \
        extman_log(to, instance->token, EXTMAN_LOG_WARN, extman_bytes(\"it\"), request->config); }";
    let told_at_create =
        "extman_log(host, request->instance, EXTMAN_LOG_WARN, extman_bytes(\"it\"), request->config);";
    let made = plugin("it", "1.0.0", "one")
        .declares(SIZED)
        .in_create(format!("{told_at_create} {REFUSES}"))
        .in_configure(format!("{tells} {REFUSES}"));
    put(&place, &made);
    let file = place.path().join("key");
    std::fs::write(&file, SECRETS[0]).expect("written");
    let settings = SETTINGS.replace("vetting.enabled = false\n", "");
    let with = |size: usize| {
        instance(
            "a",
            &format!("{{ size = {size}, key = {{ file = {file:?} }}, other = {{ env = \"THE_SECRET\" }} }}"),
        )
    };
    let more = format!("{settings}[log]\nlevel = \"trace\"\n{}", with(1));
    let host = place.serve_with(&more, &[("THE_SECRET", Path::new(SECRETS[1]))]);
    host.until_ready();
    host.until_lifecycle("a", "running");
    let has = config_in(&host, "a");
    assert_eq!(
        (&has["key"], &has["other"]),
        (&json!(SECRETS[0]), &json!(SECRETS[1])),
        "it has them"
    );
    host.place
        .config(&format!("{settings}[log]\nlevel = \"trace\"\n{}", with(2)));
    host.until("it has it", || config_in(&host, "a")["size"] == 2);
    // The plugin refuses it, and says what it was given.
    replace(&file, SECRETS[2]);
    host.until("that is told", || host.plugin("a")["config_in_sync"] == false);
    let fault = host.plugin("a")["config_fault"].to_string();
    assert!(
        fault.contains("not to my liking") && fault.contains("[secret]"),
        "{fault}"
    );
    let (code, _) = said(&host, &["config", "set", "a", "config.size=3"]);
    assert_eq!(code, Some(1), "as long as that is so");
    replace(&file, SECRETS[0]);
    host.until("it is back", || host.plugin("a")["config_in_sync"] == true);
    let (code, text) = said(&host, &["config", "set", "a", "config.size=4"]);
    assert_eq!(code, Some(0), "{text}");
    let mut found = Vec::new();
    let mut search = |place: String, text: &[u8]| {
        for secret in SECRETS {
            if text.windows(secret.len()).any(|part| part == secret.as_bytes()) {
                found.push(format!("{secret} in {place}"));
            }
        }
    };
    for path in [
        "/api/v1/status",
        "/api/v1/plugins",
        "/api/v1/plugins/a",
        "/api/v1/plugins/a/health",
        "/api/v1/plugins/a/config",
        "/api/v1/plugins/a/config/diff",
        "/api/v1/plugins/a/config/history",
        "/api/v1/plugins/a/history",
        "/api/v1/health",
        "/health",
        "/api/v1/capabilities",
        "/api/v1/dependencies",
        "/api/v1/events?after=0&wait_ms=0",
    ] {
        let (status, text) = host.text_of(path);
        assert_eq!(status, 200, "{path}");
        search(path.to_owned(), text.as_bytes());
    }
    for args in [
        &["show", "a"][..],
        &["status"],
        &["events"],
        &["history", "a"],
        &["config", "get", "a"],
        &["config", "history", "a", "--json"],
        &["config", "diff", "a"],
        &["config", "set", "a", "config.size=0"],
    ] {
        let output = host.extman(args);
        search(format!("{args:?}"), &[output.stdout, output.stderr].concat());
    }
    let log = host.log();
    assert!(
        log.contains("[secret]"),
        "the plugin has told of it, or this test shows nothing"
    );
    search("the log".to_owned(), log.as_bytes());
    let place = host.stopped();
    for kept in ["state", "store"] {
        for (path, bytes) in files_below(&place.path().join(kept)) {
            search(path, &bytes);
        }
    }
    for kept in ["history.db", "history.db-wal"] {
        search(
            kept.to_owned(),
            &std::fs::read(place.path().join(kept)).unwrap_or_default(),
        );
    }
    assert_eq!(found, Vec::<String>::new());
}

fn files_below(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => all.extend(files_below(&path)),
            false => all.push((
                path.display().to_string(),
                std::fs::read(&path).unwrap_or_default(),
            )),
        }
    }
    all
}

#[test]
fn hundred_hosts_killed_right_after_a_value_was_set_have_all_kept_it() {
    let mut place = Place::default();
    put(&place, &taking("it"));
    let settings = format!(
        "history.enabled = false\n{SETTINGS}{}",
        instance("a", "{ size = 1 }")
    );
    let mut expected = json!(1);
    for round in 0..100 {
        let mut host = place.serve(&settings);
        host.until("it serves", || host.lifecycle("a") == "running");
        assert_eq!(config_in(&host, "a")["size"], expected, "round {round}");
        expected = json!(round + 2);
        let body = json!({"set": {"config.size": expected}}).to_string();
        let (status, body) = host.post("/api/v1/plugins/a/config", body.as_bytes());
        host.signal("KILL");
        place = std::mem::take(&mut host.place);
        assert_eq!(status, 200, "round {round}: {body}");
    }
    let host = place.serve(&settings);
    host.until("it serves", || host.lifecycle("a") == "running");
    assert_eq!(config_in(&host, "a")["size"], expected);
    let changes = host.get("/api/v1/plugins/a/config/history");
    assert_eq!(changes.as_array().map(Vec::len), Some(100));
    host.stop();
}

#[test]
fn what_of_the_hosts_own_can_change_does_and_the_rest_is_told_field_by_field() {
    let place = Place::default();
    put(&place, &taking("it"));
    let later = place.path().join("later");
    std::fs::create_dir(&later).expect("made");
    let built = plugin("other", "1.0.0", "two").build(place.path());
    std::fs::copy(built, later.join("other.so")).expect("copied");
    let host = place.serve(SETTINGS);
    host.until_ready();
    let before = identity(&host, "it");
    let plugins = host.place.plugins();
    let text = format!(
        "intake.store.dir = {:?}\nhistory.file = {:?}\nstate.dir = {:?}\n\
         [intake.discovery]\ndirs = [{plugins:?}, {later:?}]\nsettle_ms = 20\n[intake.watch]\ndebounce_ms = 20\n\
         [vetting]\nenabled = false\n[log]\nlevel = \"debug\"\n[lanes]\nqueue_max = 7\n[http]\nrequests_max = 99\n\
         [crash]\npolicy = \"ignore\"\nwithin_s = 60\n[shutdown]\nbudget_ms = 29000\n\
         [supervision]\nmax_restarts = 3\n[probe]\ninterval_ms = 123\n[routing]\nall_down = \"fail\"\n",
        host.place.path().join("store"),
        host.place.path().join("history.db"),
        host.place.path().join("state"),
    );
    std::fs::write(host.place.path().join("extman.toml"), text).expect("written");
    host.until("the new directory is looked at", || host.ask("other") == "two");
    let status = status(&host);
    assert_eq!(
        status["needs_restart"],
        json!(["crash.within_s", "http.requests_max", "lanes.queue_max"])
    );
    assert_eq!(status["in_sync"], false);
    let policy = host.get("/api/v1/plugins/it/health")["policy"].clone();
    assert_eq!(policy["interval_ms"], 123, "{policy}");
    let told = events(&host, 0);
    let read = named(&told, "config_read");
    let changed = read.last().expect("it is told")["changed"].clone();
    for field in [
        "crash.policy",
        "intake.discovery.dirs",
        "log.level",
        "probe.interval_ms",
        "routing.all_down",
        "shutdown.budget_ms",
        "supervision.max_restarts",
    ] {
        assert!(
            changed.as_array().is_some_and(|all| all.contains(&json!(field))),
            "{changed}"
        );
    }
    host.until_log("DEBUG");
    assert_eq!(identity(&host, "it"), before);
    host.stop();
}

#[test]
fn two_changes_of_one_instance_at_once_are_one_after_the_other() {
    let place = Place::default();
    put(&place, &taking("it"));
    let host = place.serve(&format!("{SETTINGS}{}", instance("a", "{ size = 1 }")));
    host.until_ready();
    let begun = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for field in ["config.x", "config.y", "config.z"] {
            let (host, begun) = (&host, &begun);
            scope.spawn(move || {
                for value in 0..10 {
                    begun.store(true, Ordering::SeqCst);
                    let body = json!({"set": {field: value}}).to_string();
                    let (status, body) = host.post("/api/v1/plugins/a/config", body.as_bytes());
                    assert_eq!(status, 200, "{body}");
                }
            });
        }
    });
    assert!(begun.load(Ordering::SeqCst));
    let has = config_in(&host, "a");
    assert_eq!(has, json!({"size": 1, "x": 9, "y": 9, "z": 9}));
    host.stop();
}
