//! What a plugin may do to the process that it runs in: each act in a real host with another plugin beside it. What is seen is held
//! against the second table of `tests/FAULTS.md`; the plugin is `sample-plugins/faults/c/process.c`.

mod observe;

use extman_tests::published::publish;
use extman_tests::{build, served};
use observe::{Act, Seen, observe};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Hosts at a time; most of the time each of them waits.
const HOSTS: usize = 3;

const ACTS: &[Act] = &[
    Act::create("chdir"),
    Act::invoke("chdir"),
    Act::create("umask"),
    Act::invoke("umask"),
    Act::create("umask, past libc"),
    Act::create("setlocale"),
    Act::create("setrlimit descriptors"),
    Act::create("setrlimit file size"),
    Act::create("setenv"),
    Act::create("clearenv"),
    Act::create("mlockall"),
    Act::create("not dumpable"),
    Act::create("close 0"),
    Act::create("close 1"),
    Act::create("close 2"),
    Act::invoke("close 2"),
    Act::create("replace 1"),
    Act::create("print"),
    Act::create("close 3 to 1023"),
    Act::invoke("close 3 to 1023"),
    Act::create("close_range"),
    Act::create("replace 3 to 1023"),
    Act::create("close 3 to 1023, past libc"),
    Act::create("handle SIGTERM"),
    Act::create("handle SIGSEGV"),
    Act::create("handle SIGCHLD"),
    Act::create("ignore SIGTERM, SIGINT"),
    Act::invoke("ignore SIGTERM, SIGINT"),
    Act::create("ignore SIGTERM, past libc"),
    Act::create("default SIGTERM, SIGINT"),
    Act::create("ignore SIGCHLD"),
    Act::create("default SIGPIPE"),
    Act::create("block all signals"),
    Act::invoke("block all signals"),
    Act::create("raise SIGUSR1"),
    Act::create("alarm"),
    Act::create("setitimer"),
    Act::create("nice"),
    Act::create("affinity"),
    Act::create("thread name"),
    Act::create("FTZ, DAZ"),
    Act::create("pthread_exit"),
    Act::invoke("pthread_exit"),
    Act::create("4 MiB stack frame"),
    Act::create("4300 threads"),
    Act::create("detached thread"),
    Act::create("fork, exec, leave"),
    Act::create("fork, setsid, exec, leave"),
    Act::create("fork, return"),
    Act::invoke("fork, return"),
    Act::create("fork, exit"),
    Act::create("reap all children"),
    Act::create("system"),
    Act::create("setsid"),
    Act::create("timer"),
    Act::create("timer, deleted"),
    Act::create("atexit"),
    Act::create("on_exit"),
    Act::create("__cxa_atexit of nobody"),
    Act::create("dlopen"),
];

#[test]
fn every_act_on_the_process_ends_as_the_table_says() {
    served::program();
    build::plugin("lang-detect");
    build::c_fault("process");
    let only = std::env::var("EXTMAN_ACTS_ONLY").unwrap_or_default();
    let acts: Vec<&Act> = ACTS.iter().filter(|act| act.name.contains(&only)).collect();
    assert!(!acts.is_empty(), "no act is called like {only:?}");
    let next = AtomicUsize::new(0);
    let seen = Mutex::new(vec![None; acts.len()]);
    std::thread::scope(|scope| {
        for _ in 0..HOSTS {
            scope.spawn(|| {
                while let Some(act) = acts.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let at = acts.iter().position(|other| std::ptr::eq(*other, *act));
                    let observed = observe(act);
                    seen.lock().unwrap()[at.unwrap()] = Some(observed);
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    let table = table(&acts, &seen);
    if only.is_empty() {
        publish("process", &table);
    } else {
        println!("{table}");
    }
}

fn table(acts: &[&Act], seen: &[Option<Seen>]) -> String {
    let mut text = String::from(
        "| act | in | `extman vet` | host | told of it | its calls | calls of the other plugin | unload | SIGTERM |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for (act, seen) in acts.iter().zip(seen) {
        let seen = seen.as_ref().expect("each was observed");
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            act.name,
            act.when,
            seen.check,
            seen.host,
            seen.told,
            seen.calls,
            seen.beside,
            seen.unload,
            seen.terminated
        );
    }
    text
}
