//! Hosts that end by signals and otherwise, and what the next host on their state directory says of it. `EXTMAN_CRASHES` and
//! `EXTMAN_CALM_ENDS` set how many hosts there are; by default each way of ending comes once or a few times.

mod host;
mod named;
mod policy;
mod unnamed;

/// A number of hosts that the environment sets.
fn number(variable: &str, default: usize) -> usize {
    let asked = std::env::var(variable).ok();
    asked.map_or(default, |n| n.parse().expect("a number of hosts"))
}
