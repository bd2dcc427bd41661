//! A library that comes only after its loading was given up, in a process of its own: the dynamic loader hangs meanwhile.
//!
//! The parent gives the library as the one argument and reads what is seen from standard output, one JSON object a line.

use crate::Bench;
use crate::scenario::is_mapped;
use extman_model::Verdict;
use extman_runtime::lanes::PoolLimits;
use extman_runtime::module::ModuleBudgets;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

/// The instance that the library is loaded for.
pub const INSTANCE: &str = "asks-for-it";

/// What is seen.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Why it is not loaded; empty later.
    pub error: String,
    /// What is said of the library.
    pub verdict: Verdict,
    /// Whether it is mapped.
    pub mapped: bool,
    /// Lanes that were lost and that came back, each by the instance that they worked for.
    pub lost: Vec<String>,
    /// As above.
    pub late: Vec<String>,
}

/// The program.
///
/// # Panics
/// The library is loaded in time.
pub fn main() {
    let library = std::env::args().nth(1).expect("a library");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .expect("an async runtime")
        .block_on(load(Path::new(&library)));
}

async fn load(library: &Path) {
    let bench = Bench::new();
    let plugin = bench.verified(library);
    let budgets = ModuleBudgets {
        open: Duration::from_millis(200),
        ..ModuleBudgets::default()
    };
    let opened = bench.open(plugin, INSTANCE, PoolLimits::default(), budgets).await;
    let not_loaded = opened.err().expect("it hangs");
    let (module, first) = not_loaded.left.expect("it is told what is left");
    let say = |error: &str, verdict: &Verdict| {
        let seen = Seen {
            error: error.to_owned(),
            verdict: verdict.clone(),
            mapped: is_mapped(),
            lost: bench.heard.lost_of(),
            late: bench.heard.late_of(),
        };
        println!("{}", serde_json::to_string(&seen).expect("JSON"));
    };
    crate::until_async("its lane is given up", || !bench.heard.lost_of().is_empty()).await;
    say(&not_loaded.error.to_string(), &first);
    // Told again and again, until it has come and gone.
    let mut before = first;
    loop {
        let verdict = module.clone().unload(budgets).await;
        let kind = |verdict: &Verdict| verdict.to_string().split('(').next().map(str::to_owned);
        if verdict.is_unmapped() || kind(&verdict) != kind(&before) {
            say("", &verdict);
        }
        if verdict.is_unmapped() {
            return;
        }
        before = verdict;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
