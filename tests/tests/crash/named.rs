//! Hosts that crash in a plugin: the next one names it.

use crate::host::{Host, Place, Settings};
use crate::number;
use extman_tests::build;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A crash, as it is configured and as it is told.
#[derive(Debug, Clone, Copy)]
struct Case {
    crash: &'static str,
    when: &'static str,
}

const CRASHES: [&str; 6] = [
    "segfault",
    "abort",
    "stack-overflow",
    "illegal-instruction",
    "bus",
    "raise",
];
const WHEN: [&str; 8] = [
    "create",
    "start",
    "check",
    "invoke",
    "thread",
    "late-thread",
    "masked-thread",
    "small-stack-thread",
];
const SIGABRT: i32 = 6;

impl Case {
    fn all() -> impl Iterator<Item = Case> + Clone {
        WHEN.into_iter()
            .flat_map(|when| CRASHES.map(|crash| Case { crash, when }))
    }

    fn config(self) -> String {
        format!("{{ crash = {:?}, when = {:?} }}", self.crash, self.when)
    }

    /// The signal's number, and how it is told.
    fn signal(self) -> (i32, &'static str) {
        match self.crash {
            "abort" => (SIGABRT, "SIGABRT"),
            "illegal-instruction" => (4, "SIGILL"),
            "bus" => (7, "SIGBUS"),
            "stack-overflow" => (11, "SIGSEGV (stack overflow)"),
            _ => (11, "SIGSEGV"),
        }
    }

    fn sentence(self, pid: u32) -> [String; 2] {
        let place = match self.when {
            "invoke" => "invoke (c.echo)",
            "thread" | "late-thread" | "masked-thread" | "small-stack-thread" => "a thread of its own",
            other => other,
        };
        let (_, signal) = self.signal();
        [
            format!("host process {pid} was ended at "),
            format!(" by {signal} in {place} of fault-crashes 1.0.0 (digest "),
        ]
    }

    /// Has a host end this way.
    fn end(self, host: &mut Host) {
        if ["invoke", "late-thread"].contains(&self.when) && host.listens() {
            host.call_until_gone();
        }
        let status = host.ended();
        let (signal, _) = self.signal();
        // The standard library of the host tells a stack overflow on its own threads from other faults, and aborts.
        let expected = [Some(signal), (self.crash == "stack-overflow").then_some(SIGABRT)];
        assert!(
            expected.contains(&status.signal()) && status.signal().is_some(),
            "{self:?}: {status}\n{}",
            host.log()
        );
    }
}

fn assert_named(case: Case, pid: u32, log: &str) {
    let is_told = |line: &str| {
        let sentence = case.sentence(pid);
        sentence.iter().all(|part| line.contains(part)) && line.contains(", instance one)")
    };
    let told = log.lines().filter(|line| line.contains(" was ended at "));
    assert_eq!(told.clone().count(), 1, "{case:?}: {log}");
    assert!(told.clone().all(is_told), "{case:?}: {log}");
}

/// Hosts one after the other on one state directory, each of which tells how the one before it ended.
fn chain(cases: impl Iterator<Item = Case>) {
    let mut place = Place::new();
    let mut before: Option<(Case, u32)> = None;
    for case in cases {
        let config = case.config();
        let mut host = place.launch(Settings {
            config: &config,
            crash: Settings::IGNORING,
        });
        let pid = host.pid();
        case.end(&mut host);
        match before.replace((case, pid)) {
            Some((case, pid)) => assert_named(case, pid, &host.log()),
            None => assert!(!host.log().contains(" was ended at "), "{}", host.log()),
        }
    }
    let mut last = place.launch(Settings {
        config: "{}",
        crash: Settings::IGNORING,
    });
    assert!(last.listens(), "{}", last.log());
    if let Some((case, pid)) = before {
        assert_named(case, pid, &last.log());
    }
    last.stop();
}

#[test]
fn every_crash_is_named_by_the_next_host() {
    let hosts = number("EXTMAN_CRASHES", WHEN.len() * CRASHES.len());
    let cases = Case::all().cycle().take(hosts);
    std::thread::scope(|scope| {
        for part in 0..2 {
            let cases = cases.clone().skip(part).step_by(2);
            scope.spawn(move || chain(cases));
        }
    });
}

#[test]
fn who_crashes_in_a_call_of_another_plugin_is_named_and_not_its_caller() {
    let case = Case {
        crash: "segfault",
        when: "invoke",
    };
    let mut place = Place::new();
    let relay = build::plugin("relay");
    std::fs::copy(&relay, place.path().join("plugins/librelay.so")).expect("copied");
    let mut first = place.launch(Settings {
        config: &case.config(),
        crash: Settings::IGNORING,
    });
    assert!(first.listens(), "{}", first.log());
    first.until_lifecycle("one", "running");
    first.until_lifecycle("relay", "running");
    first.relay_until_gone();
    assert_eq!(first.ended().signal(), Some(case.signal().0), "{}", first.log());
    let mut next = place.launch(Settings {
        config: "{}",
        crash: Settings::IGNORING,
    });
    assert!(next.listens(), "{}", next.log());
    assert_named(case, first.pid(), &next.log());
    next.stop();
}

#[test]
fn crash_is_told_by_every_way_a_user_has() {
    let mut place = Place::new();
    let case = Case {
        crash: "segfault",
        when: "invoke",
    };
    let mut first = place.launch(Settings {
        config: &case.config(),
        crash: "",
    });
    case.end(&mut first);
    let mut next = place.launch(Settings {
        config: "{}",
        crash: "",
    });
    assert!(next.listens(), "{}", next.log());
    next.until_lifecycle("one", "running");
    let status = next.status();
    let crash = &status["crashes"][0];
    assert_eq!(
        (&crash["signal"], &crash["pid"], &crash["address"]),
        (&"SIGSEGV".into(), &first.pid().into(), &16.into()),
        "{status}"
    );
    let culprit = &crash["culprit"];
    for (field, value) in [
        ("id", "fault-crashes"),
        ("version", "1.0.0"),
        ("instance", "one"),
        ("capability", "c.echo"),
        ("phase", "invoke"),
    ] {
        assert_eq!(culprit[field], value, "{crash}");
    }
    assert_eq!(culprit["digest"], next.plugin("one")["digest"], "{crash}");
    let code = crash["code"].as_str().unwrap_or_default();
    assert!(code.starts_with("fault-crashes+0x"), "{crash}");
    let [began, of] = case.sentence(first.pid());
    let mut said = next.extman(&["status"]);
    said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains(&began) && said.contains(of.trim()), "{said}");
    let events = next.get("/api/v1/events");
    assert!(events.to_string().contains("host_crashed"), "{events}");
    next.stop();

    // It is told once.
    let mut later = place.launch(Settings {
        config: "{}",
        crash: "",
    });
    assert!(later.listens());
    assert_eq!(later.status()["crashes"], serde_json::Value::Null);
    later.stop();
}

#[test]
fn history_of_an_instance_has_its_crashes() {
    let mut place = Place::new();
    let case = Case {
        crash: "abort",
        when: "create",
    };
    let mut first = place.launch(Settings {
        config: &case.config(),
        crash: "",
    });
    case.end(&mut first);
    place.history = true;
    let mut next = place.launch(Settings {
        config: "{}",
        crash: "",
    });
    assert!(next.listens(), "{}", next.log());
    next.until_lifecycle("one", "running");
    let history = next.get("/api/v1/plugins/one/history");
    assert_eq!(history["crashes"][0]["signal"], "SIGABRT", "{history}");
    let said = next.extman(&["history", "one"]);
    assert!(said.contains("crash: host process"), "{said}");
    let other = next.get("/api/v1/plugins/fault-echo/history");
    assert_eq!(other["crashes"], serde_json::Value::Null, "{other}");
    next.stop();
}

/// A library that the program loads before it begins: as an embedder's own disposition of a signal, set by this code, with the handler
/// `on_signal`, which says so once and goes on with that code.
fn set_before(place: &Path, sets: &str, goes_on: &str) -> PathBuf {
    let (source, library) = (place.join("before.c"), place.join("before.so"));
    let text = format!(
        "#define _GNU_SOURCE\n#include <signal.h>\n#include <unistd.h>\nstatic volatile int said;\n\
         __attribute__((unused)) static void on_signal(int signal) {{\n\
           if (!said++) write(2, \"the handler before\\n\", 19);\n(void)signal; {goes_on}\n}}\n\
         __attribute__((constructor)) static void begin(void) {{ {sets} }}\n"
    );
    std::fs::write(&source, text).expect("written");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source);
    assert!(
        compiler.status().is_ok_and(|status| status.success()),
        "a compiler"
    );
    library
}

const SEGFAULT: Case = Case {
    crash: "segfault",
    when: "create",
};
const ABORT: Case = Case {
    crash: "abort",
    when: "create",
};
const RAISE: Case = Case {
    crash: "raise",
    when: "create",
};
const ONCE: &str = "struct sigaction once = {0}; once.sa_handler = on_signal; once.sa_flags = SA_RESETHAND; \
                    sigaction(SIGSEGV, &once, NULL);";
const EACH_TIME: &str = "signal(SIGSEGV, on_signal);";

/// How a host ends by this crash where this was set before, with what it and the next one said.
fn with_before(case: Case, sets: &str, goes_on: &str) -> (std::process::ExitStatus, String) {
    let mut place = Place::new();
    let before = set_before(place.path(), sets, goes_on);
    let config = case.config();
    let settings = Settings {
        config: &config,
        crash: "",
    };
    let mut host = place.launch_with(settings, &[("LD_PRELOAD", &before)]);
    let (status, pid) = (host.ended(), host.pid());
    let mut next = place.launch(Settings {
        config: "{}",
        crash: "",
    });
    assert!(next.listens(), "{}", next.log());
    assert_named(case, pid, &next.log());
    next.stop();
    (status, host.log())
}

#[test]
fn handler_that_was_there_before_has_the_last_word() {
    let (status, log) = with_before(SEGFAULT, EACH_TIME, "_exit(9);");
    assert_eq!(status.code(), Some(9), "{log}");
    assert!(log.contains("the handler before"), "{log}");
}

#[test]
fn handler_before_that_is_for_once_is_called_once_and_the_fault_ends_the_host() {
    for goes_on in ["", "raise(signal);"] {
        let (status, log) = with_before(SEGFAULT, ONCE, goes_on);
        assert_eq!(status.signal(), Some(11), "{goes_on}: {log}");
        assert!(log.contains("the handler before"), "{log}");
    }
    let (status, log) = with_before(RAISE, ONCE, "raise(signal);");
    assert_eq!(status.signal(), Some(11), "{log}");
}

#[test]
fn abort_is_named_though_what_was_there_before_returns_or_ignores_it() {
    for sets in ["signal(SIGABRT, on_signal);", "signal(SIGABRT, SIG_IGN);"] {
        let (status, log) = with_before(ABORT, sets, "");
        assert_eq!(status.signal(), Some(SIGABRT), "{sets}: {log}");
    }
}

#[test]
fn signal_that_a_handler_before_sees_to_is_no_crash() {
    for sets in [EACH_TIME, ONCE] {
        let mut place = Place::new();
        let before = set_before(place.path(), sets, "");
        let settings = Settings {
            config: &RAISE.config(),
            crash: "",
        };
        let mut host = place.launch_with(settings, &[("LD_PRELOAD", &before)]);
        assert!(host.listens(), "{sets}: {}", host.log());
        host.until_lifecycle("one", "running");
        assert!(host.log().contains("the handler before"), "{}", host.log());
        host.send(rustix::process::Signal::KILL);
        host.ended();
        let mut next = place.launch(Settings {
            config: "{}",
            crash: "",
        });
        assert!(next.listens());
        assert!(!next.log().contains(" was ended at "), "{}", next.log());
        next.stop();
    }
}

#[test]
fn two_hosts_on_one_state_directory_are_told_apart() {
    let mut place = Place::new();
    let invoke = Case {
        crash: "segfault",
        when: "invoke",
    };
    let create = Case {
        crash: "abort",
        when: "create",
    };
    let mut lives = place.launch(Settings {
        config: &invoke.config(),
        crash: Settings::IGNORING,
    });
    assert!(lives.listens(), "{}", lives.log());
    lives.until_lifecycle("one", "running");
    let mut dies = place.launch(Settings {
        config: &create.config(),
        crash: Settings::IGNORING,
    });
    create.end(&mut dies);
    let mut third = place.launch(Settings {
        config: "{}",
        crash: Settings::IGNORING,
    });
    assert!(third.listens(), "{}", third.log());
    assert_named(create, dies.pid(), &third.log());
    lives.call_until_gone();
    lives.ended();
    let mut fourth = place.launch(Settings {
        config: "{}",
        crash: Settings::IGNORING,
    });
    assert!(fourth.listens(), "{}", fourth.log());
    assert_named(invoke, lives.pid(), &fourth.log());
    third.stop();
    fourth.stop();
    let mut fifth = place.launch(Settings {
        config: "{}",
        crash: Settings::IGNORING,
    });
    assert!(fifth.listens(), "{}", fifth.log());
    assert!(
        !fifth.log().contains("did not end in good order"),
        "{}",
        fifth.log()
    );
    let left = std::fs::read_dir(place.journals())
        .expect("a directory")
        .flatten();
    let journals = left.filter(|entry| entry.path().extension().is_some_and(|end| end == "journal"));
    assert_eq!(journals.count(), 1, "its own");
    fifth.stop();
}
