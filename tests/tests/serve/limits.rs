//! Too little of what a process needs: threads, descriptors. The host serves or ends, says why, and blames nobody.

use crate::answers::plugin;
use crate::served::{Place, Served};
use extman_tests::build;
use serde_json::Value;
use std::process::{Command, Stdio};

/// Making a thread fails as a limit of processes has it fail, for those that are named so; such a limit itself does not bind an
/// administrator.
const NO_THREADS: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_int made;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    const char *most = getenv("EXTMAN_THREADS_MAX"), *none = getenv("EXTMAN_NO_THREADS_WHILE");
    if (most && atomic_fetch_add(&made, 1) >= atoi(most)) return EAGAIN;
    if (none && access(none, F_OK) == 0) return EAGAIN;
    return real(thread, attributes, start, argument);
}
"#;

const MOST: &str = "EXTMAN_THREADS_MAX";
const NONE_WHILE: &str = "EXTMAN_NO_THREADS_WHILE";

fn short_of_threads(
    place: &Place,
    more: &str,
    variable: &str,
    value: impl AsRef<std::ffi::OsStr>,
) -> Command {
    let mut command = place.command(more);
    command.env("LD_PRELOAD", build::preloaded("no-threads", NO_THREADS));
    command.env(variable, value);
    command
}

#[test]
fn host_that_may_make_few_threads_serves_or_ends_with_the_reason_and_blames_no_plugin() {
    let scratch = Place::default();
    let library = plugin("served", "1.0.0", "here").build(scratch.path());
    let mut served = 0;
    for most in 0..40 {
        let place = Place::default();
        place.put(&library, "served.so");
        let command = short_of_threads(&place, "", MOST, most.to_string());
        match place.try_serve_by(command) {
            Err((status, log)) => {
                assert!(
                    status.code().is_some_and(|code| code > 0),
                    "{most}: {status}: {log}"
                );
                assert!(log.contains("thread"), "{most}: {log}");
            }
            Ok(host) => {
                host.until("it is taken, or told why not", || {
                    host.ask("served") == "here" || host.plugin("served")["cause"] != Value::Null
                });
                let view = host.plugin("served");
                let cause = view["cause"].as_str().unwrap_or_default();
                assert!(cause.is_empty() || cause.contains("thread"), "{most}: {view}");
                assert_ne!(view["lifecycle"], "quarantined", "{most}: {view}");
                assert_eq!(host.status_of("/livez"), 200, "{most}");
                served += usize::from(cause.is_empty());
                host.signal("TERM");
                let (status, log) = host.ended();
                assert!(status.code().is_some(), "{most}: {status}: {log}");
            }
        }
    }
    assert!(served > 0, "forty are enough");
}

#[test]
fn plugin_that_comes_while_no_thread_can_be_made_is_told_so_and_taken_once_there_are_some() {
    let place = Place::default();
    place.put(&plugin("first", "1.0.0", "one").build(place.path()), "first.so");
    let none = place.path().join("no-threads");
    let command = short_of_threads(&place, "", NONE_WHILE, &none);
    let host = place.serve_by(command);
    host.until("the first runs", || host.ask("first") == "one");
    std::fs::write(&none, b"").unwrap();
    host.place.put(
        &plugin("second", "1.0.0", "two").build(host.place.path()),
        "second.so",
    );
    host.until("it is told", || host.plugin("second")["cause"] != Value::Null);
    let view = host.plugin("second");
    let cause = view["cause"].as_str().unwrap_or_default().to_owned();
    assert!(cause.contains("thread"), "{view}");
    assert_ne!(view["lifecycle"], "quarantined", "{view}");
    assert_eq!(host.ask("first"), "one");
    assert_eq!(host.status_of("/livez"), 200);
    std::fs::remove_file(&none).unwrap();
    let (status, said) = host.change("second", "load");
    assert_eq!(status, 200, "{said}");
    assert_eq!(host.ask("second"), "two");
    host.stop();
}

/// Many copies of one library, each a plugin of its own by its id.
fn many_plugins(place: &Place, count: usize) {
    let library = plugin("many-000", "1.0.0", "one").build(place.path());
    let bytes = std::fs::read(library).unwrap();
    for number in 0..count {
        let id = format!("many-{number:03}");
        let mut copy = bytes.clone();
        for at in 0..copy.len() - id.len() {
            if copy[at..].starts_with(b"many-000") {
                copy[at..at + id.len()].copy_from_slice(id.as_bytes());
            }
        }
        std::fs::write(place.plugins().join(format!("{id}.so")), copy).unwrap();
    }
}

const PLUGINS: usize = 560;

fn by_shell(place: &Place, first: &str) -> Command {
    let serve = place.command("vetting.enabled = false\n[health]\ncomponents_every_ms = 100\n");
    let mut command = Command::new("bash");
    command.args(["-c", &format!("{first}; exec \"$@\""), "bash"]);
    command.arg(serve.get_program()).args(serve.get_args());
    command.env_remove("RUST_LOG").env("NO_COLOR", "1");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn running(host: &Served) -> usize {
    let instances = host.get("/api/v1/status")["instances"].clone();
    instances["running"].as_u64().unwrap_or_default() as usize
}

#[test]
fn hundreds_of_plugins_run_where_only_the_soft_limit_of_descriptors_is_low() {
    let place = Place::default();
    many_plugins(&place, PLUGINS);
    let command = by_shell(&place, "ulimit -Sn 1024");
    let host = place.serve_by(command);
    host.until_ready();
    assert_eq!(running(&host), PLUGINS, "{}", host.get("/api/v1/status"));
    host.stop();
}

#[test]
fn plugins_beyond_the_hard_limit_of_descriptors_are_told_so_and_the_others_serve() {
    let place = Place::default();
    many_plugins(&place, PLUGINS);
    let command = by_shell(&place, "ulimit -n 1024");
    let host = place.serve_by(command);
    host.until_ready();
    let all = host.get("/api/v1/plugins");
    let all = all.as_array().cloned().unwrap_or_default();
    let refused: Vec<_> = all.iter().filter(|view| view["lifecycle"] != "running").collect();
    for view in &refused {
        let cause = view["cause"].as_str().unwrap_or_default();
        assert!(cause.contains("descriptor"), "{view}");
        assert_ne!(view["lifecycle"], "quarantined", "{view}");
    }
    assert!(running(&host) > 300, "{}", host.get("/api/v1/status"));
    assert_eq!(host.ask("many-001"), "one");
    if !refused.is_empty() {
        host.until("the component warns", || {
            let health = host.get("/api/v1/health");
            let parts = health["components"].as_array().cloned().unwrap_or_default();
            let part = parts.into_iter().find(|part| part["name"] == "descriptors");
            part.is_some_and(|part| {
                part["health"] != "up" && part["reason"].to_string().contains("LimitNOFILE")
            })
        });
    }
    host.stop();
}

#[test]
fn threads_beyond_what_the_host_follows_leave_nothing_behind_once_they_are_joined() {
    let place = Place::default();
    let many = r#"
        enum { COUNT = 4300 };
        static pthread_t threads[COUNT];
        pthread_attr_t small;
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 64 << 10);
        int count = 0;
        pthread_mutex_lock(&all_made);
        while (count < COUNT && pthread_create(&threads[count], &small, wait_for_all, NULL) == 0) { count++; }
        pthread_mutex_unlock(&all_made);
        for (int at = 0; at < count; at++) { pthread_join(threads[at], NULL); }
        if (count < COUNT) { return extman_fail(error, EXTMAN_STATUS_RESOURCE_EXHAUSTED, "too few threads"); }
    "#;
    let code = "#include <pthread.h>\nstatic pthread_mutex_t all_made = PTHREAD_MUTEX_INITIALIZER;\n\
                static void *wait_for_all(void *unused) {\n\
                pthread_mutex_lock(&all_made); pthread_mutex_unlock(&all_made); return unused; }";
    let library = plugin("crowd", "1.0.0", "gone")
        .code(code)
        .in_create(many)
        .build(place.path());
    place.put(&library, "crowd.so");
    place.put(
        &plugin("beside", "1.0.0", "here").build(place.path()),
        "beside.so",
    );
    let host = place.serve("vetting.enabled = false\n");
    host.until_ready();
    assert_eq!(host.ask("crowd"), "gone", "{}", host.plugin("crowd"));
    for name in ["beside", "crowd"] {
        assert_eq!(host.change(name, "unload").0, 200);
        assert_eq!(
            host.plugin(name)["unload"]["verdict"],
            "unmapped",
            "{}",
            host.plugin(name)
        );
    }
    host.stop();
}
