//! Tests of the whole host with real plugins.

mod unload;
mod vetting;
