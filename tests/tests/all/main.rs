//! Tests of the whole host with real plugins.

mod calls;
mod entries;
mod faulty;
mod lanes;
mod nested;
mod output;
mod overlap;
mod supervisor;
mod unload;
mod vetting;
