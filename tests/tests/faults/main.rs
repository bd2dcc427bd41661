//! Every fault in a real host with another plugin beside it: what vetting says, whether the host lives, what it says of the fault,
//! and what the callers of the other plugin see. The expectations stand in `table`; `tests/FAULTS.md` shows them.

mod observe;
mod render;
mod table;

use extman_tests::published::publish;
use extman_tests::{build, served};
use observe::{Case, observe};
use std::sync::{Mutex, PoisonError};
use table::ROWS;

/// Hosts at a time; most of the time each of them waits.
const HOSTS: usize = 4;

#[test]
fn every_fault_ends_as_the_table_says() {
    served::program();
    build::plugin("lang-detect");
    build::plugin("faults");
    let only = std::env::var("EXTMAN_FAULTS_ONLY").unwrap_or_default();
    let cases: Vec<Case> = Case::all()
        .filter(|case| case.to_string().contains(&only))
        .collect();
    assert!(!cases.is_empty(), "no case is called like {only:?}");
    let left = Mutex::new(cases.iter());
    let differ = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..HOSTS {
            scope.spawn(|| {
                while let Some(case) = next(&left) {
                    let seen = observe(case);
                    if seen != case.expected() {
                        let mut differ = differ.lock().unwrap_or_else(PoisonError::into_inner);
                        differ.push(format!(
                            "{case}\n expected {:?}\n     seen {seen:?}",
                            case.expected()
                        ));
                    }
                }
            });
        }
    });
    let differ = differ.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(
        differ.is_empty(),
        "{} of {} cases differ:\n{}",
        differ.len(),
        cases.len(),
        differ.join("\n")
    );
    if only.is_empty() {
        publish("faults", &render::table(ROWS));
    }
}

#[test]
fn every_fault_has_a_row() {
    let readme = include_str!("../../../sample-plugins/faults/README.md");
    let (rust, c) = readme.split_once("## In C").expect("two parts");
    for (part, folder) in [(rust, table::In::Rust), (c, table::In::C)] {
        let names = part
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let mut any = false;
        for name in names {
            any = true;
            assert!(
                ROWS.iter()
                    .any(|row| row.within == folder && row.hazard() == name),
                "{name} has no row"
            );
        }
        assert!(any, "the README has no table");
    }
}

fn next<'a>(left: &Mutex<std::slice::Iter<'a, Case>>) -> Option<&'a Case> {
    left.lock().unwrap_or_else(PoisonError::into_inner).next()
}
