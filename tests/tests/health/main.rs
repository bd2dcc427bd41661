//! Every fault in a real host, and what the host holds its plugin to be: the word, what decided, and by what way it came there. The
//! expectations stand in `table`; `tests/FAULTS.md` shows them.

mod deep;
mod observe;
mod stopped;
mod table;

use extman_tests::published::publish;
use extman_tests::{build, served};
use std::sync::{Mutex, PoisonError};
use table::ROWS;

/// Hosts at a time; most of the time each of them waits.
const HOSTS: usize = 4;

#[test]
fn every_fault_is_judged_as_the_table_says() {
    served::program();
    build::plugin("faults");
    let only = std::env::var("EXTMAN_FAULTS_ONLY").unwrap_or_default();
    let rows: Vec<_> = ROWS
        .iter()
        .filter(|row| row.to_string().contains(&only))
        .collect();
    assert!(!rows.is_empty(), "no row is called like {only:?}");
    let left = Mutex::new(rows.iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let differ = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..HOSTS {
            scope.spawn(|| {
                while let Some(row) = next() {
                    if let Err(seen) = observe::observe(row) {
                        let mut differ = differ.lock().unwrap_or_else(PoisonError::into_inner);
                        differ.push(format!("{row}\n expected {}\n     seen {seen}", row.expected()));
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
        publish("health", &table::render());
    }
}
