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
const WHEN: [&str; 6] = ["create", "start", "check", "invoke", "thread", "late-thread"];
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
            "thread" | "late-thread" => "a thread of its own",
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

/// A library that the program loads before it begins: as an embedder's own handler of SIGSEGV.
fn handler_before(place: &Path, code: &str) -> PathBuf {
    let (source, library) = (place.join("before.c"), place.join("before.so"));
    let text = format!(
        "#include <signal.h>\n#include <unistd.h>\n\
         static void on_signal(int signal) {{ (void)signal; write(2, \"the handler before\\n\", 19); {code} }}\n\
         __attribute__((constructor)) static void begin(void) {{ signal(SIGSEGV, on_signal); }}\n"
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

#[test]
fn handler_that_was_there_before_has_the_last_word() {
    build::c_fault("crashes");
    let mut place = Place::new();
    let before = handler_before(place.path(), "_exit(9);");
    let settings = Settings {
        config: "{ crash = \"segfault\", when = \"create\" }",
        crash: "",
    };
    let mut host = place.launch_with(settings, &[("LD_PRELOAD", &before)]);
    assert_eq!(host.ended().code(), Some(9), "{}", host.log());
    assert!(host.log().contains("the handler before"), "{}", host.log());
    let pid = host.pid();
    let mut next = place.launch(Settings {
        config: "{}",
        crash: "",
    });
    assert!(next.listens());
    assert_named(
        Case {
            crash: "segfault",
            when: "create",
        },
        pid,
        &next.log(),
    );
    next.stop();
}

#[test]
fn signal_that_a_handler_before_sees_to_is_no_crash() {
    let mut place = Place::new();
    let before = handler_before(place.path(), "");
    let settings = Settings {
        config: "{ crash = \"raise\", when = \"create\" }",
        crash: "",
    };
    let mut host = place.launch_with(settings, &[("LD_PRELOAD", &before)]);
    assert!(host.listens(), "{}", host.log());
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
