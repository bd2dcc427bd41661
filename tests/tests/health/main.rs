//! Every fault of a plugin's and of the host's own in a real host, and what the host holds its plugin to be: the word, what decided,
//! and by what way it came there. The expectations stand in `table` and `hosts`; `tests/FAULTS.md` shows them.

mod deep;
mod faulty;
mod hosts;
mod observe;
mod table;

use extman_tests::published::publish;
use extman_tests::{build, served};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use table::Row;

/// Hosts at a time; most of the time each of them waits.
const HOSTS: usize = 4;

#[test]
fn every_fault_is_judged_as_the_table_says() {
    served::program();
    build::plugin("faults");
    let only = std::env::var("EXTMAN_FAULTS_ONLY").unwrap_or_default();
    let plugins = table::ROWS.iter().map(Fault::Plugins);
    // The longest first.
    let all: Vec<Fault> = hosts::ROWS.iter().map(Fault::Hosts).chain(plugins).collect();
    let rows: Vec<_> = all.iter().filter(|row| row.to_string().contains(&only)).collect();
    assert!(!rows.is_empty(), "no row is called like {only:?}");
    let left = Mutex::new(rows.iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let differ = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..HOSTS {
            scope.spawn(|| {
                while let Some(row) = next() {
                    if let Err(seen) = row.observe() {
                        let mut differ = differ.lock().unwrap_or_else(PoisonError::into_inner);
                        differ.push(format!("{row}\n{seen}"));
                    }
                }
            });
        }
    });
    let differ = differ.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(
        differ.is_empty(),
        "{} of {} rows differ:\n{}",
        differ.len(),
        rows.len(),
        differ.join("\n")
    );
    if only.is_empty() {
        publish("health", &format!("{}{}", table::render(), hosts::render()));
    }
}

/// One row of the table.
enum Fault {
    Plugins(&'static Row),
    Hosts(&'static hosts::HostRow),
}

impl Fault {
    /// What was seen otherwise than the table says.
    fn observe(&self) -> Result<(), String> {
        match self {
            Fault::Plugins(row) => observe::observe(row)
                .map_err(|seen| format!(" expected {}\n     seen {seen}", row.expected())),
            Fault::Hosts(row) => std::panic::catch_unwind(row.observe).map_err(|why| {
                let text = why.downcast_ref::<String>().cloned();
                text.unwrap_or_else(|| "it panicked, and said above why".to_owned())
            }),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Plugins(row) => row.fmt(f),
            Fault::Hosts(row) => row.fmt(f),
        }
    }
}
