//! What intake and vetting make of plugins that fork, reserve, take long, lie about themselves or are hard to tell apart.

use crate::answers::{Answers, plugin};
use crate::served::{Place, program};
use serde_json::Value;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(args: &[&dyn AsRef<std::ffi::OsStr>]) -> Output {
    let mut command = Command::new(program());
    command.args(args).env("NO_COLOR", "1");
    command.output().expect("it runs")
}

/// `extman vet --json`, with a store in `place` and `more` configuration.
fn check(place: &Place, library: &Path, more: &str) -> Value {
    let config = place.config(more);
    let output = run(&[&"check", &"--json", &"--host-config", &config, &library]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

fn inspect(library: &Path) -> Value {
    let output = run(&[&"inspect", &"--json", &library]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// The codes of what inspection notes or holds against the first file.
fn codes(inspected: &Value, of: &str) -> Vec<String> {
    let file = &inspected["data"][0];
    let list = if of == "notes" {
        &file["facts"][of]
    } else {
        &file[of]
    };
    let list = list.as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|one| one["code"].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn refusal(checked: &Value) -> String {
    let text = checked["error"]["text"].as_str();
    text.unwrap_or_else(|| panic!("it was not refused: {checked}"))
        .to_owned()
}

#[track_caller]
fn passed(checked: &Value) {
    assert_eq!(checked["ok"], true, "{checked}");
}

const HELPER: &str = r#"
    pid_t helper = fork();
    if (helper == 0) { setsid(); execlp("sleep", "sleep", "3600", (char *)0); _exit(1); }
"#;

/// A plugin whose `create` leaves a process that outlives it, and writes that process's number to a file.
fn forker(place: &Place) -> (PathBuf, PathBuf) {
    let number = place.path().join("helper");
    let write = format!(
        r#"FILE *file = fopen({number:?}, "w"); if (file) {{ fprintf(file, "%d", helper); fclose(file); }}"#
    );
    let library = plugin("forker", "1.0.0", "forked")
        .code("#include <stdio.h>")
        .in_create(format!("{HELPER}{write}"))
        .build(place.path());
    (library, number)
}

#[test]
fn a_helper_process_left_behind_does_not_hold_up_vetting_and_ends_with_it() {
    let place = Place::default();
    let (library, number) = forker(&place);
    let checked = check(&place, &library, "vetting.timeout_ms = 20000\n");
    let number = std::fs::read_to_string(number).unwrap();
    let alive = Path::new("/proc").join(number.trim()).exists();
    if alive {
        let _ = Command::new("kill").args(["-KILL", number.trim()]).status();
    }
    passed(&checked);
    assert!(!alive, "the helper process lives on");
    let notes = checked["data"]["left_processes"].to_string();
    assert!(notes.contains("sleep"), "{checked}");
}

const RESERVE: &str = r#"
    void *reserved = mmap(0, (size_t)16 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) { return extman_fail(error, EXTMAN_STATUS_RESOURCE_EXHAUSTED, "can not reserve 16 GiB"); }
    void *volatile untouched = malloc((size_t)9 << 30);
    if (untouched == NULL) { abort(); }
    free(untouched);
"#;

#[test]
fn address_space_that_is_reserved_and_not_used_is_no_memory() {
    let place = Place::default();
    let library = plugin("reserve", "1.0.0", "reserved")
        .code("#include <sys/mman.h>")
        .in_create(RESERVE)
        .build(place.path());
    passed(&check(&place, &library, ""));
}

fn hungry(place: &Place) -> PathBuf {
    plugin("hungry", "1.0.0", "fed")
        .in_create("volatile char *used = malloc((size_t)400 << 20); for (size_t i = 0; i < (size_t)400 << 20; i += 512) used[i] = 1; usleep(300000);")
        .build(place.path())
}

#[test]
fn memory_in_use_over_the_limit_is_refused_by_the_settings_name_and_forgotten_when_it_is_raised() {
    let place = Place::default();
    place.put(&hungry(&place), "hungry.so");
    let host = place.serve("vetting.memory_bytes_max = 200000000\n");
    host.until("it is refused", || host.plugin("hungry")["cause"] != Value::Null);
    let cause = host.plugin("hungry")["cause"].to_string();
    assert!(
        cause.contains("vetting.memory_bytes_max") && cause.contains("200000000"),
        "{cause}"
    );
    let host = host.stopped().serve("vetting.memory_bytes_max = 2000000000\n");
    host.until("it answers", || host.ask("hungry") == "fed");
    host.stop();
}

#[test]
fn time_over_the_limit_is_refused_by_the_settings_name() {
    let place = Place::default();
    let library = plugin("slow", "1.0.0", "slept")
        .in_create("sleep(3600);")
        .build(place.path());
    let said = refusal(&check(&place, &library, "vetting.timeout_ms = 1000\n"));
    assert!(
        said.contains("vetting.timeout_ms") && said.contains("startup_ms"),
        "{said}"
    );
}

#[test]
fn the_manifests_own_startup_time_is_granted() {
    let place = Place::default();
    let library = plugin("slow", "1.0.0", "slept")
        .declares("[probe]\nstartup_ms = 60000\n")
        .in_create("sleep(2);")
        .build(place.path());
    passed(&check(&place, &library, "vetting.timeout_ms = 1000\n"));
}

fn gate(place: &Place) -> PathBuf {
    plugin("gate", "1.0.0", "open")
        .in_create("if (memmem(request->config.data, request->config.len, \"true\", 4)) { volatile uintptr_t nowhere = 16; *(volatile int *)nowhere = 1; }")
        .build(place.path())
}

#[test]
fn a_library_is_vetted_again_for_another_configuration() {
    let place = Place::default();
    place.put(&gate(&place), "gate.so");
    let host = place.serve(
        "[[instance]]\nplugin = \"gate\"\n[[instance]]\nname = \"crash\"\nplugin = \"gate\"\nautostart = false\nconfig = { crash = true }\n",
    );
    host.until_ready();
    assert_eq!(host.ask("gate"), "open");
    let (status, body) = host.change("crash", "load");
    assert!(
        status >= 400 && body.to_string().contains("SIGSEGV"),
        "{status} {body} {}",
        host.log()
    );
    assert_eq!(host.ask("gate"), "open", "the host is still there");
    host.stop();
}

#[test]
fn a_killed_worker_says_nothing_of_the_bytes() {
    let place = Place::default();
    let mended = place.path().join("mended");
    let kill = format!("if (access({mended:?}, F_OK) != 0) {{ kill(getpid(), SIGKILL); }}");
    let library = plugin("killed", "1.0.0", "alive")
        .code("#include <signal.h>")
        .in_create(kill)
        .build(place.path());
    place.put(&library, "killed.so");
    let host = place.serve("");
    host.until("it is refused", || host.plugin("killed")["cause"] != Value::Null);
    std::fs::write(mended, b"").unwrap();
    let host = host.stopped().serve("");
    host.until("it answers", || host.ask("killed") == "alive");
    host.stop();
}

/// Each `create` in the vetting worker adds a byte to this file.
fn counted(place: &Place, id: &'static str, slow: &str) -> (Answers, PathBuf) {
    let count = place.path().join(format!("{id}.count"));
    let code = format!(
        r#"char program[4096] = {{0}};
        if (readlink("/proc/self/exe", program, sizeof program - 1) > 0 && strstr(program, "extman-worker")) {{
            FILE *file = fopen({count:?}, "a"); if (file) {{ fputc('x', file); fclose(file); }}
            {slow}
        }}"#
    );
    (
        plugin(id, "1.0.0", "counted")
            .code("#include <stdio.h>")
            .in_create(code),
        count,
    )
}

#[test]
fn a_hundred_instances_of_one_library_are_vetted_once() {
    let place = Place::default();
    let (library, count) = counted(&place, "many", "usleep(200000);");
    place.put(&library.build(place.path()), "many.so");
    let instances: String = (0..100)
        .map(|n| format!("[[instance]]\nname = \"i{n}\"\nplugin = \"many\"\n"))
        .collect();
    let host = place.serve(&instances);
    host.until_ready();
    assert_eq!(host.lifecycle("i99"), "running");
    assert_eq!(std::fs::read(count).unwrap().len(), 1);
    host.stop();
}

#[test]
fn a_vetting_under_way_ends_with_the_host() {
    let place = Place::default();
    let (library, count) = counted(&place, "sleeper", "sleep(3600);");
    place.put(&library.build(place.path()), "sleeper.so");
    let host = place.serve("vetting.timeout_ms = 3600000\nshutdown.budget_ms = 3600000\n");
    host.until("vetting is under way", || count.exists());
    host.stop();
}

#[test]
fn a_slow_vetting_of_an_optional_plugin_holds_nobody_elses_readiness() {
    let place = Place::default();
    let (library, count) = counted(&place, "sleeper", "sleep(3600);");
    place.put(&library.build(place.path()), "sleeper.so");
    place.put(&plugin("quick", "1.0.0", "fine").build(place.path()), "quick.so");
    let host = place.serve("vetting.timeout_ms = 3600000\n");
    host.until("vetting is under way", || count.exists());
    host.until_lifecycle("quick", "running");
    assert_eq!(host.status_of("/readyz"), 200);
    assert_eq!(host.ask("quick"), "fine");
    host.stop();
}

#[test]
fn a_slow_vetting_of_a_required_plugin_is_the_reason_that_readiness_names() {
    let place = Place::default();
    let (library, count) = counted(&place, "sleeper", "sleep(3600);");
    place.put(&library.build(place.path()), "sleeper.so");
    let host = place.serve(
        "vetting.timeout_ms = 3600000\n[[instance]]\nplugin = \"sleeper\"\ncriticality = \"required\"\n",
    );
    host.until("vetting is under way", || count.exists());
    assert_eq!(host.status_of("/readyz"), 503);
    host.until("the reason is told", || {
        let (status, said) = host.text_of("/readyz");
        status == 503 && said.contains("sleeper is required") && said.contains("vetting")
    });
    host.stop();
}

#[test]
fn libraries_that_the_system_has_may_be_needed() {
    let place = Place::default();
    let library = plugin("zipped", "1.0.0", "zipped")
        .built_with(&["-Wl,--no-as-needed", "-l:libz.so.1"])
        .build(place.path());
    passed(&check(&place, &library, ""));
    let library = plugin("lacking", "1.0.0", "lacking").build(place.path());
    let needs = library.with_extension("needs");
    let mut bytes = std::fs::read(&library).unwrap();
    let at = bytes.windows(9).position(|w| w == b"libc.so.6").unwrap();
    bytes[at..at + 9].copy_from_slice(b"libq.so.6");
    std::fs::write(&needs, bytes).unwrap();
    let said = refusal(&check(&place, &needs, ""));
    assert!(said.contains("libq.so.6") && said.contains("ldconfig"), "{said}");
}

#[test]
fn companions_that_the_manifest_names_are_let_through_to_the_loader() {
    let place = Place::default();
    let library = plugin("friend", "1.0.0", "lacking").build(place.path());
    let text = inspect(&library);
    assert_eq!(text["ok"], true, "{text}");
}

#[test]
fn static_tls_and_an_executable_stack_are_noted() {
    let place = Place::default();
    let library = plugin("tls", "1.0.0", "tls")
        .code("static __thread volatile char cell[256] __attribute__((tls_model(\"initial-exec\"), aligned(16)));")
        .in_create("cell[1] = 1;")
        .build(place.path());
    let inspected = inspect(&library);
    assert!(
        codes(&inspected, "notes").contains(&"static-tls".to_owned()),
        "{inspected}"
    );
    let library = plugin("stack", "1.0.0", "stack")
        .built_with(&["-Wl,-z,execstack"])
        .build(place.path());
    let inspected = inspect(&library);
    assert_eq!(codes(&inspected, "problems"), ["executable-stack"], "{inspected}");
    let said = refusal(&check(&place, &library, ""));
    assert!(said.contains("intake.trust.allow_executable_stack"), "{said}");
    passed(&check(
        &place,
        &library,
        "intake.trust.allow_executable_stack = true\n",
    ));
}

#[test]
fn other_bytes_of_the_same_size_and_time_are_another_plugin() {
    let place = Place::default();
    let one = plugin("twin", "1.0.0", "one").build(place.path());
    let two = plugin("twin", "1.0.0", "two").build(place.path());
    let file = place.put(&one, "twin.so");
    assert_eq!(
        std::fs::metadata(&one).unwrap().len(),
        std::fs::metadata(&two).unwrap().len()
    );
    let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
    let host = place.serve("");
    host.until("the first answers", || host.ask("twin") == "one");
    // In place, as `cp -p` does it: the inode stays, and the time is set back.
    let over = std::fs::File::options().write(true).open(&file).unwrap();
    std::io::copy(&mut std::fs::File::open(&two).unwrap(), &mut &over).unwrap();
    over.set_modified(modified).unwrap();
    drop(over);
    host.until("the second answers", || host.ask("twin") == "two");
    host.stop();
}

#[test]
fn of_two_copies_the_one_in_the_earlier_directory_is_used() {
    let place = Place::default();
    let (a, b) = (place.path().join("a"), place.path().join("b"));
    for (dir, answer) in [(&a, "from a"), (&b, "from b")] {
        std::fs::create_dir(dir).unwrap();
        std::fs::copy(
            plugin("copy", "1.0.0", answer).build(place.path()),
            dir.join("copy.so"),
        )
        .unwrap();
    }
    let config = place.config("");
    let call = run(&[
        &"call",
        &"copy.ask",
        &"--config",
        &config,
        &"--dir",
        &b,
        &"--dir",
        &a,
    ]);
    let said = String::from_utf8_lossy(&call.stdout).into_owned();
    assert!(said.contains("from b"), "{call:?}");
}

#[test]
fn a_pre_release_is_used_only_where_it_is_asked_for() {
    let place = Place::default();
    place.put(
        &plugin("next", "1.0.0", "released").build(place.path()),
        "next-1.so",
    );
    place.put(
        &plugin("next", "2.0.0-rc.1", "candidate").build(place.path()),
        "next-2.so",
    );
    let host = place.serve("");
    host.until_ready();
    assert_eq!(host.ask("next"), "released");
    let host = host
        .stopped()
        .serve("[[instance]]\nplugin = \"next\"\nversion = \">=2.0.0-rc.0\"\n");
    host.until_ready();
    assert_eq!(host.ask("next"), "candidate");
    host.stop();
}

#[test]
fn a_file_name_that_is_not_unicode_is_listed_with_replacement_characters() {
    let place = Place::default();
    let library = plugin("byte", "1.0.0", "here").build(place.path());
    let name = std::ffi::OsStr::from_bytes(b"by\xffte.so");
    std::fs::copy(&library, place.plugins().join(name)).unwrap();
    std::fs::write(
        place.plugins().join(std::ffi::OsStr::from_bytes(b"bad\xff.so")),
        b"text",
    )
    .unwrap();
    let host = place.serve("");
    host.until_ready();
    assert_eq!(host.ask("byte"), "here");
    let origin = host.plugin("byte")["origin"].to_string();
    assert!(origin.contains("by\u{fffd}te.so"), "{origin}");
    for words in [&["list"][..], &["show", "byte"], &["status"], &["list", "--json"]] {
        let output = host.extman(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    }
    let refused = host.refused("bad\u{fffd}.so");
    assert_eq!(refused["code"], "text", "{}", host.get("/api/v1/status"));
    let inspected = inspect(&place_of(&host).join(name));
    assert_eq!(inspected["ok"], true, "{inspected}");
    host.stop();
}

fn place_of(host: &crate::served::Served) -> PathBuf {
    host.place.plugins()
}

const FORGED: &str = "2000-01-01T00:00:00Z ERROR forged";

#[test]
fn a_line_end_in_a_text_or_a_file_name_begins_no_line() {
    let place = Place::default();
    let log = format!(
        "extman_log(host, request->instance, EXTMAN_LOG_INFO, extman_bytes(\"target\"), extman_bytes(\"first\\n{FORGED}\\033[31m\"));"
    );
    let fail = format!("return extman_fail(error, EXTMAN_STATUS_CONFIGURATION, \"no model\\n{FORGED}\");");
    let library = plugin("liar", "1.0.0", "lies")
        .in_create(format!("{log}{fail}"))
        .build(place.path());
    place.put(&library, "liar.so");
    let name = format!("x\n{}.so", FORGED.replace(':', "-"));
    std::fs::write(place.plugins().join(&name), b"text").unwrap();
    let host = place.serve("vetting.enabled = false\n");
    host.until("it is refused", || host.plugin("liar")["cause"] != Value::Null);
    host.until_log("no model");
    for words in [
        &["list"][..],
        &["show", "liar"],
        &["status"],
        &["health"],
        &["history", "events"],
    ] {
        let output = host.extman(words);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let begun = said
            .lines()
            .any(|line| line.trim_start().starts_with("2000-01-01T"));
        assert!(!begun, "{words:?}: {said}");
    }
    let begun: Vec<_> = host
        .log()
        .lines()
        .filter(|line| line.starts_with("2000-01-01T"))
        .map(str::to_owned)
        .collect();
    assert!(
        begun.is_empty() && !host.log().contains('\u{1b}'),
        "{}",
        host.log()
    );
    host.stop();
}

#[test]
fn inspection_takes_nothing_that_a_check_refuses_for_its_bytes() {
    let place = Place::default();
    let library = plugin("aborts", "1.0.0", "aborts").build(place.path());
    let mut bytes = std::fs::read(&library).unwrap();
    let frame = bytes.windows(8).position(|w| w == b"EXTMANMF").unwrap();
    bytes[frame + 24] = 2;
    std::fs::write(&library, bytes).unwrap();
    assert_eq!(inspect(&library)["ok"], false);
    assert_eq!(check(&place, &library, "")["ok"], false);
}

#[test]
fn the_store_is_listed_and_pruned() {
    let place = Place::default();
    let host = {
        place.put(&plugin("kept", "1.0.0", "kept").build(place.path()), "kept.so");
        place.serve("")
    };
    host.until("it answers", || host.ask("kept") == "kept");
    let other = plugin("gone", "1.0.0", "gone").build(host.place.path());
    let config = host.place.path().join("extman.toml");
    let checked = run(&[&"check", &"--host-config", &config, &other]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    let listed = run(&[&"store", &"list", &"--json", &"--config", &config]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(
        listed["data"]["copies"].as_array().map(Vec::len),
        Some(2),
        "{listed}"
    );
    let pruned = run(&[
        &"store",
        &"prune",
        &"--json",
        &"--unused-days",
        &"0",
        &"--config",
        &config,
    ]);
    let pruned: Value = serde_json::from_slice(&pruned.stdout).unwrap();
    assert_eq!(
        pruned["data"]["removed"].as_array().map(Vec::len),
        Some(1),
        "{pruned}"
    );
    assert_eq!(host.ask("kept"), "kept");
    host.stop();
}

const IN_CXX: &str = r#"
#include <map>
#include <memory>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>
extern "C" int work(void) {
    try {
        std::map<std::string, std::vector<std::string>> words;
        std::ostringstream text;
        text << "instance " << 42;
        words["a"].push_back(text.str());
        std::smatch found;
        std::string told = text.str();
        if (!std::regex_match(told, found, std::regex("[a-z]+ ([0-9]+)"))) { throw std::runtime_error("no match"); }
        throw std::logic_error("inside");
    } catch (const std::logic_error &) {
        return 0;
    } catch (...) {
        return 1;
    }
}
"#;

/// A plugin that does work in C++, linked with these arguments more.
fn in_cxx(place: &Place, more: &[&'static str]) -> PathBuf {
    let (source, object) = (place.path().join("work.cc"), place.path().join("work.o"));
    std::fs::write(&source, IN_CXX).unwrap();
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let built = Command::new(compiler)
        .args([
            "-std=c++17",
            "-O2",
            "-fPIC",
            "-fvisibility=hidden",
            "-fno-gnu-unique",
            "-c",
            "-o",
        ])
        .args([&object, &source])
        .status();
    assert!(
        built.is_ok_and(|status| status.success()),
        "the C++ compiler refuses it"
    );
    // The builder keeps its arguments for as long as the test runs.
    let object: &'static str = String::leak(object.to_str().unwrap().to_owned());
    let arguments: Vec<&'static str> = [object, "-lstdc++"]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    plugin("cxx", "1.0.0", "worked")
        .code("int work(void);")
        .in_create(
            "if (work() != 0) { return extman_fail(error, EXTMAN_STATUS_INTERNAL, \"it did not work\"); }",
        )
        .built_with(&arguments)
        .build(place.path())
}

#[test]
fn a_plugin_in_cxx_by_the_recipe_unloads_at_the_first_try() {
    let place = Place::default();
    let map = place.path().join("exports.map");
    std::fs::write(
        &map,
        "{ global: extman_plugin_entry; extman_manifest; local: *; };\n",
    )
    .unwrap();
    let script: &'static str = String::leak(format!("-Wl,--version-script={}", map.display()));
    let checked = check(&place, &in_cxx(&place, &[script]), "");
    passed(&checked);
    assert_eq!(checked["data"]["unload"]["verdict"], "unmapped", "{checked}");
}

#[test]
fn a_library_that_another_one_is_bound_to_is_told_apart_from_one_that_keeps_itself() {
    let place = Place::default();
    let checked = check(&place, &in_cxx(&place, &[]), "");
    passed(&checked);
    assert_eq!(
        checked["data"]["unload"]["reason"], "bound-by-others",
        "{checked}"
    );
    assert!(
        checked["data"]["unload"]["culprit"]
            .to_string()
            .contains("version script"),
        "{checked}"
    );
}

#[test]
fn a_configuration_of_a_mebibyte_reaches_the_plugin_in_vetting() {
    let place = Place::default();
    let big = plugin("big", "1.0.0", "big").in_create(
        "if (request->config.len > 1000000) { return extman_fail(error, EXTMAN_STATUS_CONFIGURATION, \"all of it has come\"); }",
    );
    place.put(&big.build(place.path()), "big.so");
    let text = "x".repeat(1 << 20);
    let host = place.serve(&format!(
        "[[instance]]\nplugin = \"big\"\nconfig = {{ text = \"{text}\" }}\n"
    ));
    host.until("it is refused", || {
        host.plugin("big")["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("all of it has come"))
    });
    host.stop();
}
