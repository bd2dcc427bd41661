//! The HTTP API: an adapter between requests and [`Control`](extman_model::control::Control).
//!
//! ```text
//! connection (serve, connections) → method (routes, which lists them all) → may it ask at all? (access) → is a slot free? (admission)
//!   → route (routes, health, invoke, events) → envelope (answer)
//! ```
//!
//! Nothing here knows of plugins' states, of routing, or of the command line. No GET runs a check.
#![forbid(unsafe_code)]

mod access;
mod admission;
mod answer;
mod body;
mod config;
mod configuration;
mod connections;
mod events;
mod first_byte;
mod health;
mod invoke;
mod maintenance;
mod routes;
mod secret;
mod serve;
mod stream;
mod updates;

pub use config::HttpConfig;
pub use secret::Secret;
pub use serve::serve;
