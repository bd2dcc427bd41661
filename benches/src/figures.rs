//! Figures that are no durations: they lie beside what criterion keeps, for `cargo xtask bench-table`.

use serde_json::json;
use std::path::{Path, PathBuf};

/// What a row is measured in, and what came of it.
pub type Figure = (&'static str, f64);

/// What the command line of a bench asks for.
pub struct Asked {
    measures: bool,
    filter: Option<String>,
}

impl Asked {
    /// As criterion's benches are told.
    pub fn from_args() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let has = |flag| arguments.iter().any(|argument| argument == flag);
        Asked {
            measures: has("--bench") && !has("--test"),
            filter: arguments
                .iter()
                .find(|argument| !argument.starts_with('-'))
                .cloned(),
        }
    }

    /// Whether more is wanted than to see that it runs.
    pub fn measures(&self) -> bool {
        self.measures
    }

    /// How many instances to take for a row that is about `count`.
    pub fn count(&self, count: usize) -> usize {
        if self.measures { count } else { count.min(50) }
    }

    /// Runs a row, unless it is filtered out, and keeps its figures, unless nothing is measured.
    ///
    /// # Panics
    /// They can't be written.
    pub fn row(&self, group: &str, name: &str, run: impl FnOnce(&Self) -> Vec<Figure>) {
        let whole = format!("{group}/{name}");
        let is_asked_for = |filter: &String| filter.split('|').any(|part| whole.contains(part));
        if !self.filter.as_ref().is_none_or(is_asked_for) {
            return;
        }
        let figures = run(self);
        if self.measures {
            println!("{whole}: {figures:?}");
            keep(group, name, &figures);
        } else {
            println!("{whole}: runs");
        }
    }
}

fn keep(group: &str, name: &str, figures: &[Figure]) {
    let folder = kept().join(group).join(name);
    std::fs::create_dir_all(&folder).expect("a folder for the figures");
    let figures: Vec<_> = figures
        .iter()
        .map(|(what, value)| json!({ "what": what, "value": value }))
        .collect();
    let text = json!({ "group": group, "name": name, "figures": figures }).to_string();
    std::fs::write(folder.join("figures.json"), text).expect("the figures are written");
}

/// Where criterion keeps its own.
fn kept() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target =
        || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    std::env::var_os("CRITERION_HOME").map_or_else(|| target().join("criterion"), PathBuf::from)
}
