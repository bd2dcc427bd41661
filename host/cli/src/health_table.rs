//! One row an instance, however narrow the screen is: where there is no room, columns go, the least needed first.

use super::bars::{heartbeat, sparkline, state};
use super::duration::short;
use super::grid::{GAP, line};
use super::health::{RECENT, words};
use super::maintenance;
use super::screen::Look;
use super::text::{cut, plain, width};
use extman_model::control::report::PluginHealth;

/// In the order in which they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Health,
    For,
    Why,
    States,
    Curve,
    Took,
}

const ALL: [Column; 7] = {
    use Column::{Curve, For, Health, Name, States, Took, Why};
    [Name, Health, For, Why, States, Curve, Took]
};

/// In the order in which they go.
const LEAST_NEEDED: [Column; 5] = {
    use Column::{Curve, For, States, Took, Why};
    [Curve, Took, States, For, Why]
};

/// A reason has this much room, or less if it is shorter, before other columns go for it.
const WHY_MIN: usize = 24;

impl Column {
    fn header(self) -> &'static str {
        match self {
            Column::Name => "NAME",
            Column::Health => "HEALTH",
            Column::For => "FOR",
            Column::Why => "WHY",
            Column::States => "LAST STATES",
            Column::Curve => "CHECKS TOOK",
            Column::Took => "LAST",
        }
    }

    fn text(self, plugin: &PluginHealth, look: &Look) -> String {
        match self {
            Column::Name => plain(&plugin.name),
            Column::Health => words(plugin),
            Column::For => look.since(plugin.health.since_unix_ms),
            Column::Why => why(plugin, look),
            Column::States => heartbeat(&plugin.recent, RECENT, false),
            Column::Curve => {
                let trips: Vec<Option<u64>> = plugin.checks_ns.iter().copied().map(Some).collect();
                sparkline(&trips, 16)
            }
            Column::Took => plugin.checks_ns.last().map(|ns| short(*ns)).unwrap_or_default(),
        }
    }

    /// Colours take no room, so they come after the columns have their widths.
    fn coloured(self, text: &str, plugin: &PluginHealth, look: &Look) -> String {
        match self {
            Column::Health => state(text, look.colour),
            Column::States => heartbeat(&plugin.recent, RECENT, look.colour),
            _ => text.to_owned(),
        }
    }
}

/// What an operator does with it goes before what it says.
fn why(plugin: &PluginHealth, look: &Look) -> String {
    let reason = plain(&plugin.health.reason).replace('\n', " ");
    match &plugin.health.in_maintenance {
        Some(maintenance) => format!("{}; {reason}", maintenance::words(maintenance, look)),
        None => reason,
    }
}

/// The table, and of each instance whether its reason is cut off. With `wide`, nothing is left out.
pub(super) fn render(plugins: &[PluginHealth], look: &Look, wide: bool) -> (String, Vec<bool>) {
    if plugins.is_empty() {
        return (String::new(), Vec::new());
    }
    let (columns, mut widths) = columns(plugins, look, wide);
    let why = columns.iter().position(|column| *column == Column::Why);
    let reason = |plugin: &PluginHealth| width(&Column::Why.text(plugin, look));
    let is_cut = |plugin: &PluginHealth| why.is_none_or(|at| reason(plugin) > widths[at]);
    let is_cut: Vec<bool> = plugins.iter().map(is_cut).collect();
    // A name that is longer than the screen is cut too: half a row on the next line is in nobody's column.
    let taken: usize = widths.iter().skip(1).map(|width| width + GAP).sum();
    let room = look.width.saturating_sub(taken + 1).max(8);
    if !wide {
        widths[0] = widths[0].min(room);
    }
    let header = columns
        .iter()
        .map(|column| (column.header().to_owned(), column.header().to_owned()));
    let mut lines = vec![line(header, &widths)];
    for plugin in plugins {
        let cells = columns.iter().zip(&widths).map(|(column, width)| {
            let text = cut(&column.text(plugin, look), *width);
            let shown = column.coloured(&text, plugin, look);
            (text, shown)
        });
        lines.push(line(cells, &widths));
    }
    (lines.join("\n"), is_cut)
}

/// The columns that find room, and how wide they are.
fn columns(plugins: &[PluginHealth], look: &Look, wide: bool) -> (Vec<Column>, Vec<usize>) {
    let natural = |column: Column| {
        let texts = plugins.iter().map(|plugin| width(&column.text(plugin, look)));
        texts.max().unwrap_or(0).max(column.header().len())
    };
    let mut columns: Vec<(Column, usize)> = ALL.map(|column| (column, natural(column))).to_vec();
    if !wide {
        let least = |columns: &[(Column, usize)]| -> usize {
            let widths = columns.iter().map(|(column, width)| match column {
                Column::Why => (*width).min(WHY_MIN),
                _ => *width,
            });
            1 + widths.map(|width| width + GAP).sum::<usize>() - GAP
        };
        for gone in LEAST_NEEDED {
            if least(&columns) <= look.width {
                break;
            }
            columns.retain(|(column, _)| *column != gone);
        }
        let others: usize = columns
            .iter()
            .filter(|(column, _)| *column != Column::Why)
            .map(|(_, width)| width + GAP)
            .sum();
        for (column, width) in &mut columns {
            if *column == Column::Why {
                *width = (*width).min(look.width.saturating_sub(1 + others));
            }
        }
    }
    columns.into_iter().unzip()
}
