//! Hosts that end otherwise than by a crash of their own: the next one names nobody.

use crate::host::{Host, Place, Settings};
use crate::number;
use rustix::process::Signal;
use std::time::Duration;

/// A way to end.
#[derive(Debug, Clone, Copy)]
enum End {
    /// In good order.
    Asked(Signal),
    /// While a plugin takes its time to stop, at last by force.
    Slow,
    /// Asked twice.
    Twice,
    /// By force, so many milliseconds after it began.
    KilledEarly(u64),
    /// By force, once it listens.
    Killed,
    /// By force, in the midst of calls.
    KilledInCalls,
    /// By a signal of another process that would tell of a crash, as watchdogs send.
    FromOutside(Signal),
    /// By force, after a child that a plugin forked has crashed.
    ChildCrashed,
    /// By a plugin's own handler of SIGSEGV, with a code of its own.
    OwnHandler,
}

const ENDS: [End; 15] = [
    End::Asked(Signal::TERM),
    End::Killed,
    End::KilledEarly(3),
    End::Asked(Signal::INT),
    End::Slow,
    End::KilledInCalls,
    End::KilledEarly(12),
    End::Twice,
    End::FromOutside(Signal::ABORT),
    End::KilledEarly(25),
    End::ChildCrashed,
    End::FromOutside(Signal::SEGV),
    End::KilledEarly(50),
    End::Asked(Signal::HUP),
    End::OwnHandler,
];

impl End {
    fn config(self) -> &'static str {
        match self {
            End::Slow | End::Twice => "{ slow_stop_ms = 4000 }",
            End::ChildCrashed => "{ crash = \"segfault\", fork = \"crash\" }",
            End::OwnHandler => "{ crash = \"segfault\", when = \"invoke\", handler = \"own\" }",
            _ => "{}",
        }
    }

    /// Has a host end this way.
    fn end(self, host: &mut Host) {
        if let End::KilledEarly(ms) = self {
            // Not a wait for anything: wherever it has come in this time, it ends there.
            std::thread::sleep(Duration::from_millis(ms));
            host.send(Signal::KILL);
            host.ended();
            return;
        }
        assert!(host.listens(), "{self:?}: {}", host.log());
        match self {
            End::KilledEarly(_) => {}
            End::Asked(signal) => host.send(signal),
            End::Killed => host.send(Signal::KILL),
            End::FromOutside(signal) => {
                host.until_lifecycle("one", "running");
                host.send(signal);
            }
            End::Slow => {
                host.until_lifecycle("one", "running");
                host.send(Signal::TERM);
                host.until("it is stopping", || host.log().contains("draining and unloading"));
                host.send(Signal::KILL);
            }
            End::Twice => {
                host.until_lifecycle("one", "running");
                host.send(Signal::TERM);
                host.until("it is stopping", || host.log().contains("draining and unloading"));
                host.send(Signal::TERM);
            }
            End::KilledInCalls => {
                host.until_lifecycle("one", "running");
                std::thread::scope(|scope| {
                    let calls = scope.spawn(|| while host.call("one").is_some() {});
                    host.until("a call was answered", || host.call("one") == Some(200));
                    host.send(Signal::KILL);
                    calls.join().expect("it ends with the host");
                });
            }
            End::ChildCrashed => {
                host.until_lifecycle("one", "running");
                host.send(Signal::KILL);
            }
            End::OwnHandler => {
                host.until_lifecycle("one", "running");
                host.call_until_gone();
            }
        }
        let status = host.ended();
        match self {
            End::Asked(_) => assert_eq!(status.code(), Some(0), "{self:?}: {}", host.log()),
            End::OwnHandler => assert_eq!(status.code(), Some(7), "{}", host.log()),
            _ => assert_ne!(status.code(), Some(0), "{self:?}: {}", host.log()),
        }
    }
}

fn chain(ends: impl Iterator<Item = End>) {
    let mut place = Place::new();
    let mut before = None;
    let assert_unnamed = |before: Option<End>, host: &Host| {
        let log = host.log();
        assert!(!log.contains(" was ended at "), "{before:?}: {log}");
    };
    for end in ends {
        let mut host = place.launch(Settings {
            config: end.config(),
            crash: "",
        });
        end.end(&mut host);
        assert_unnamed(before.replace(end), &host);
    }
    let mut last = place.launch(Settings {
        config: "{}",
        crash: "",
    });
    assert!(last.listens(), "{}", last.log());
    assert_unnamed(before, &last);
    assert_eq!(last.status()["crashes"], serde_json::Value::Null);
    last.until_lifecycle("one", "running");
    last.stop();
    assert!(
        !place.journals().join("ledger.json").exists(),
        "nothing was ever kept"
    );
}

#[test]
fn no_other_end_names_anybody() {
    let hosts = number("EXTMAN_CALM_ENDS", 2 * ENDS.len());
    let ends = ENDS.into_iter().cycle().take(hosts);
    std::thread::scope(|scope| {
        for part in 0..2 {
            let ends = ends.clone().skip(part).step_by(2);
            scope.spawn(move || chain(ends));
        }
    });
}

#[test]
fn host_starts_whatever_lies_in_its_directory_of_journals() {
    let mut place = Place::new();
    let journals = place.journals();
    std::fs::create_dir_all(&journals).expect("made");
    std::fs::write(journals.join("1-1.journal"), b"extmanCJ").expect("written");
    std::fs::write(journals.join("2-1.journal"), vec![0xff; 4 << 20]).expect("written");
    std::fs::write(journals.join("ledger.json"), b"[]").expect("written");
    std::fs::create_dir(journals.join("3-1.journal")).expect("made");
    std::os::unix::fs::symlink("/dev/zero", journals.join("4-1.journal")).expect("made");
    let mut host = place.launch(Settings {
        config: "{}",
        crash: "",
    });
    assert!(host.listens(), "{}", host.log());
    host.until_lifecycle("one", "running");
    let status = host.status();
    assert_eq!(status["crashes"], serde_json::Value::Null, "{status}");
    assert_eq!(status["crashes_not_noted"], serde_json::Value::Null, "{status}");
    host.stop();
}

#[test]
fn host_without_a_place_for_journals_serves_and_says_so() {
    let mut place = Place::new();
    // A file where the directory is to be: nobody can make one there, whoever it is.
    std::fs::create_dir(place.path().join("state")).expect("made");
    std::fs::write(place.journals(), b"").expect("written");
    let mut host = place.launch(Settings {
        config: "{}",
        crash: "",
    });
    assert!(host.listens(), "{}", host.log());
    host.until_lifecycle("fault-echo", "running");
    let status = host.extman(&["status"]);
    assert!(
        status.contains("not noted: the crash journal can't be made"),
        "{status}"
    );
    host.send(Signal::KILL);
    host.ended();
    let mut host = place.launch(Settings {
        config: "{}",
        crash: "enabled = false",
    });
    assert!(host.listens(), "{}", host.log());
    let status = host.extman(&["status"]);
    assert!(status.contains("not noted: crash.enabled is false"), "{status}");
    host.stop();
}
