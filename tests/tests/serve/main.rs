//! Tests of `extman serve` as a program, and of the `extman` library as an embedder uses it, with real plugins.

mod answers;
mod arrivals;
mod components;
mod configured;
mod dependencies;
mod ending;
mod failures;
mod health;
mod instances;
mod intake;
mod library;
mod limits;
mod maintenance;
mod manifest;
mod process;
mod residents;
mod resources;
mod robustness;
mod served;
mod symbols;
mod thousands;
mod trials;
mod updates;
mod vetting;
mod vital;
