//! What is noted, what is read again from whatever lies there, and what follows.

use super::journal::{self, Identity, enter, library, slot_here};
use super::layout::{Code, Contents, FILE_BYTES, Journal, Note, OWN_THREAD, Slot, WHOLE, Word, read};
use super::ledger::{Ledger, Standing};
use super::{CrashConfig, CrashPolicy, Crashes, left};
use crate::lanes::Phase;
use extman_model::{Crash, CrashCulprit, Digest};
use proptest::prelude::*;
use std::path::Path;
use std::sync::atomic::Ordering::{Relaxed, Release};

const DIGEST: Digest = Digest::new([7; 32]);

/// A journal in memory in which nothing is noted.
fn empty() -> Box<Journal> {
    // SAFETY: all zeros is a journal: it is made of atomics alone.
    let journal: Box<Journal> = unsafe { Box::new_zeroed().assume_init() };
    journal.page.begin(42);
    journal
}

/// One in which a signal is noted, of the thread of slot 3 in `invoke` of an instance.
fn noted() -> Box<Journal> {
    let journal = empty();
    let row = &journal.libraries[1];
    row.id.set_text("lang");
    row.version.set_text("1.2.0");
    row.digest.set(DIGEST.bytes());
    journal.instances[4].name.set_text("one");
    journal.capabilities[2].name.set_text("text.detect");
    let word = Word {
        phase: 4,
        library: 2,
        capability: 3,
        instance: 5,
    };
    journal.slots[3].word.store(word.pack(), Relaxed);
    journal.slots[3].entries.store(9, Relaxed);
    let mut note = Note {
        pid: 42,
        signal: libc::SIGSEGV as u64,
        tid: 77,
        at_unix_ms: 1_000,
        is_fault: 1,
        address: 0x10,
        stack: 0x7000_0000,
        slot: 4,
        slot_word: word.pack(),
        slot_entries: 9,
        thread: *b"x-lang-1\0\0\0\0\0\0\0\0",
        ..Note::empty()
    };
    note.set_code(Code::Library(1, 0x1b40), &journal);
    note.set_culprit(word, &journal);
    journal.page.write(&note);
    journal.page.state.store(WHOLE, Release);
    journal
}

fn bytes(journal: &Journal) -> Vec<u8> {
    let bytes = std::ptr::from_ref(journal).cast::<u8>();
    // SAFETY: the whole of a live value without padding that anybody reads; nobody writes to it meanwhile.
    unsafe { std::slice::from_raw_parts(bytes, FILE_BYTES) }.to_vec()
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(dir.join(name), bytes).unwrap();
}

fn found(dir: &Path) -> Vec<Crash> {
    left::look(dir).unwrap().crashes
}

#[test]
fn note_that_was_left_is_told_with_all_its_names() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "42-1.journal", &bytes(&noted()));
    let crashes = found(dir.path());
    let told: Vec<_> = crashes.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "host process 42 was ended at 1970-01-01 00:00:01Z by SIGSEGV in invoke (text.detect) of lang 1.2.0 (digest \
          070707070707, instance one); thread 77 \"x-lang-1\", code at lang+0x1b40, address 0x10"
        ]
    );
}

#[test]
fn fault_just_at_the_stacks_end_is_a_stack_overflow() {
    let journal = noted();
    let word = Word {
        phase: OWN_THREAD,
        library: 2,
        ..Word::default()
    };
    let mut note = Note {
        pid: 42,
        signal: libc::SIGSEGV as u64,
        tid: 1,
        is_fault: 1,
        address: 0x7000_0000 - 8,
        stack: 0x7000_0000,
        ..Note::empty()
    };
    note.set_code(Code::Host(16), &journal);
    note.set_culprit(word, &journal);
    journal.page.write(&note);
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "42-1.journal", &bytes(&journal));
    let [crash] = &found(dir.path())[..] else {
        panic!("one crash")
    };
    assert_eq!(crash.act(), "SIGSEGV (stack overflow) in a thread of its own");
    assert_eq!(crash.code.as_deref(), Some("the host+0x10"));
}

/// What lies there whose process noted no signal, or that is no journal of this version.
#[test]
fn file_that_is_no_whole_note_names_nobody_and_is_removed() {
    let whole = bytes(&noted());
    let with = |at: usize, value: u64| {
        let mut bytes = whole.clone();
        bytes[at * 8..at * 8 + 8].copy_from_slice(&value.to_ne_bytes());
        bytes
    };
    let slot = std::mem::offset_of!(Journal, slots) + 3 * 64;
    let left_since = with((slot + std::mem::offset_of!(Slot, word)) / 8, 0);
    let entered_since = with((slot + std::mem::offset_of!(Slot, entries)) / 8, 10);
    let cases: [(&str, Vec<u8>); 10] = [
        ("no signal", bytes(&empty())),
        ("nothing", Vec::new()),
        ("truncated", whole[..FILE_BYTES / 2].to_vec()),
        ("longer", [&whole[..], b"x"].concat()),
        ("another version", with(1, 1)),
        ("another program's", with(0, 0)),
        ("half-written note", with(3, 1)),
        ("a page that was not written", with(6, libc::SIGABRT as u64)),
        ("its thread has left the plugin", left_since),
        ("its thread has entered the plugin again", entered_since),
    ];
    for (what, bytes) in cases {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "42-1.journal", &bytes);
        let (crashes, failure) = Crashes::take_in(dir.path(), &CrashConfig::default());
        assert!(failure.is_none(), "{what}: {failure:?}");
        assert_eq!(crashes.found(), [], "{what}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{what}");
    }
}

proptest! {
    #[test]
    fn no_changed_byte_of_a_note_makes_another_name(at in 0..1024_usize, value: u8) {
        let whole = bytes(&noted());
        let mut bytes = whole.clone();
        bytes[at] = value;
        let said = read(&bytes);
        prop_assert!(said == read(&whole) || matches!(said, Contents::Nothing | Contents::NoSignal), "{said:?}");
    }

    #[test]
    fn garbage_is_read_as_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..8192)) {
        prop_assert_eq!(read(&bytes), Contents::Nothing);
    }
}

#[test]
fn journal_of_a_process_that_lives_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("42-1.journal");
    std::fs::write(&path, bytes(&noted())).unwrap();
    // The lock is another process's: those of this one keep nobody here out.
    let mut holder = std::process::Command::new("python3")
        .args(["-c", "import fcntl,sys\nf=open(sys.argv[1],'r+')\nfcntl.lockf(f,fcntl.LOCK_EX)\nprint('held',flush=True)\nsys.stdin.read()"])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = String::new();
    let out = holder.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut held).unwrap();
    assert_eq!(held, "held\n");
    let found_while_it_lives = found(dir.path()).len();
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert_eq!((found_while_it_lives, found(dir.path()).len()), (0, 1));
}

/// The journal is the process's, so all of it stands in one test.
#[test]
fn entries_are_noted_nest_and_are_given_back() {
    let dir = tempfile::tempdir().unwrap();
    journal::open(dir.path()).unwrap();
    journal::open(dir.path()).unwrap();
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "one file a process"
    );
    let journal = journal::journal().unwrap();
    let identity = Identity {
        id: "lang",
        version: "1.2.0",
        digest: DIGEST,
    };
    let library = library(identity, ["text.detect", "text.other"].into_iter());
    let (one, other) = (library.instance("one"), library.instance("other"));
    let word = || Word::unpack(slot_here(journal).unwrap().1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(slot_here(journal).is_none(), "a thread that never entered one");
            let outer = enter(one.in_call("text.other"));
            let in_outer = word();
            let inner = enter(other.at(Phase::Check));
            assert_eq!(word().phase, Phase::Check as u64 + 1);
            assert_ne!(word().instance, in_outer.instance);
            assert_eq!(word().library, in_outer.library);
            drop(inner);
            assert_eq!(word(), in_outer);
            let in_the_hosts_own = crate::loader::outside(word);
            assert_eq!(in_the_hosts_own, Word::default(), "called from a plugin");
            assert_eq!(word(), in_outer);
            assert_ne!(in_outer.capability, 0);
            drop(outer);
            assert_eq!(word(), Word::default());
            let unknown = enter(one.in_call("text.unknown"));
            assert_eq!(word().capability, 0);
            drop(unknown);
            assert_eq!(slot_here(journal).unwrap().2, 3, "entries");
        });
    });
    // What this process has open is not looked at: closing it again would take its lock away.
    assert_eq!(found(dir.path()), []);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    // Nor by another name, as a second host in this process may give it.
    let elsewhere = tempfile::tempdir().unwrap();
    let another_name = elsewhere.path().join("crash");
    std::os::unix::fs::symlink(dir.path(), &another_name).unwrap();
    let (crashes, failure) = Crashes::take_in(&another_name, &CrashConfig::default());
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(crashes.silent(), 0, "its process lives");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn journals_beyond_a_starts_share_are_left_to_the_next_and_other_files_take_none_of_it() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..2 * left::FILES_MAX {
        write(dir.path(), &format!("{n}.other"), b"");
    }
    write(dir.path(), "42-1.journal", &bytes(&noted()));
    assert_eq!(found(dir.path()).len(), 1);
    for n in 0..left::FILES_MAX {
        write(dir.path(), &format!("42-{n}.journal"), b"");
    }
    write(dir.path(), "43-1.journal", b"");
    let journals = || {
        let names = std::fs::read_dir(dir.path()).unwrap().flatten();
        let paths = names.map(|entry| entry.path());
        paths
            .filter(|path| path.extension().is_some_and(|end| end == "journal"))
            .count()
    };
    for expected in [1, 0] {
        Crashes::take_in(dir.path(), &CrashConfig::default());
        assert_eq!(journals(), expected);
    }
}

fn crash(at_s: u64, digest: u8) -> Crash {
    Crash {
        at_unix_ms: at_s * 1000,
        pid: 1,
        signal: "SIGSEGV".to_owned(),
        thread: "2 \"x\"".to_owned(),
        address: None,
        stack_overflow: false,
        code: None,
        culprit: Some(CrashCulprit {
            id: "lang".to_owned(),
            version: "1.2.0".to_owned(),
            digest: Digest::new([digest; 32]),
            instance: None,
            capability: None,
            phase: "create".to_owned(),
        }),
    }
}

fn standing(times_s: &[u64], policy: CrashPolicy) -> Standing {
    let config = CrashConfig {
        policy,
        ..CrashConfig::default()
    };
    let mut ledger = Ledger::default();
    for at in times_s {
        ledger.add(&crash(*at, 7), &config);
        ledger.add(&crash(*at, 7), &config);
    }
    ledger.standing(DIGEST, config.policy)
}

#[test]
fn second_crash_within_the_window_quarantines() {
    let quarantined = |standing: &Standing| matches!(standing, Standing::Quarantined(why) if why.contains("twice within 10 min"));
    assert_eq!(standing(&[], CrashPolicy::Quarantine), Standing::Clear);
    assert_eq!(standing(&[100], CrashPolicy::Quarantine), Standing::Clear);
    assert_eq!(standing(&[100, 701], CrashPolicy::Quarantine), Standing::Clear);
    assert!(quarantined(&standing(&[100, 700], CrashPolicy::Quarantine)));
    assert!(quarantined(&standing(&[100, 701, 702], CrashPolicy::Quarantine)));
    assert!(
        quarantined(&standing(&[700, 100], CrashPolicy::Quarantine)),
        "the clock was set back"
    );
    assert!(
        quarantined(&standing(&[1_000_000, 500, 510], CrashPolicy::Quarantine)),
        "the clock was far ahead at the first"
    );
    assert_eq!(standing(&[100], CrashPolicy::Vet), Standing::ToBeVetted);
    assert!(quarantined(&standing(&[100, 700], CrashPolicy::Vet)));
    assert_eq!(standing(&[100, 700], CrashPolicy::Ignore), Standing::Clear);
}

#[test]
fn person_and_vetting_clear_a_library_and_another_digest_was_never_blamed() {
    let config = CrashConfig {
        policy: CrashPolicy::Vet,
        ..CrashConfig::default()
    };
    let mut ledger = Ledger::default();
    ledger.add(&crash(100, 7), &config);
    assert_eq!(
        ledger.standing(Digest::new([8; 32]), config.policy),
        Standing::Clear
    );
    assert!(ledger.passed(DIGEST) && !ledger.passed(DIGEST));
    assert_eq!(ledger.standing(DIGEST, config.policy), Standing::Clear);
    ledger.add(&crash(200, 7), &config);
    assert!(matches!(
        ledger.standing(DIGEST, config.policy),
        Standing::Quarantined(_)
    ));
    assert!(ledger.release(DIGEST) && !ledger.release(DIGEST));
    assert_eq!(ledger.standing(DIGEST, config.policy), Standing::Clear);
    ledger.add(&crash(300, 7), &config);
    assert_eq!(
        ledger.standing(DIGEST, config.policy),
        Standing::ToBeVetted,
        "counted anew"
    );
}

#[test]
fn ledger_outlives_its_host_is_shared_and_is_put_aside_if_it_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "42-1.journal", &bytes(&noted()));
    let take_in = || {
        Crashes::take_in(
            dir.path(),
            &CrashConfig {
                policy: CrashPolicy::Vet,
                ..CrashConfig::default()
            },
        )
        .0
    };
    let first = take_in();
    assert_eq!((first.found().len(), first.kept().len()), (1, 1));
    let second = take_in();
    assert_eq!((second.found().len(), second.kept().len()), (0, 1));
    assert_eq!(second.standing(DIGEST), Standing::ToBeVetted);
    second.set_policy(CrashPolicy::Ignore);
    assert_eq!(second.standing(DIGEST), Standing::Clear, "from here on");
    assert!(first.release(DIGEST));
    assert_eq!(take_in().standing(DIGEST), Standing::Clear, "by another host");
    write(dir.path(), "ledger.json", b"{\"crashes\": [");
    let (third, failure) = Crashes::take_in(dir.path(), &CrashConfig::default());
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(third.kept(), []);
    assert!(dir.path().join("ledger.json.unreadable").exists());
}

#[test]
fn what_can_not_be_written_down_holds_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "42-1.journal", &bytes(&noted()));
    // A directory where the ledger is to be: nobody can write that, whoever it is.
    std::fs::create_dir(dir.path().join("ledger.json")).unwrap();
    let config = CrashConfig {
        policy: CrashPolicy::Vet,
        ..CrashConfig::default()
    };
    let (crashes, failure) = Crashes::take_in(dir.path(), &config);
    assert!(failure.is_some_and(|error| error.to_string().contains("can't be read or written")));
    assert_eq!(crashes.standing(DIGEST), Standing::ToBeVetted);
    assert_eq!(found(dir.path()).len(), 1, "the next host finds it again");
}
