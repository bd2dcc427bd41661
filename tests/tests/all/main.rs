//! Tests of the whole host with real plugins.

mod calls;
mod output;
mod unload;
mod vetting;
