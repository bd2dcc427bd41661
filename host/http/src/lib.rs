//! The HTTP API: an adapter between requests and [`Control`](extman_model::control::Control).
//!
//! ```text
//! connection (serve, connections) → method (routes) → may it ask at all? (access) → is a slot free? (admission)
//!   → route (routes, health, invoke, events) → envelope (answer)
//! ```
//!
//! `GET /livez /readyz /health /health/{group} /api/v1/status /api/v1/health /api/v1/uptime /api/v1/events /api/v1/plugins
//! /api/v1/plugins/{name} /api/v1/plugins/{name}/{health,history,uptime,analysis} /api/v1/capabilities`,
//! `POST /api/v1/plugins/{name}/{load,unload,restart,check} /api/v1/capabilities/{name}/invoke`.
//!
//! Nothing here knows of plugins' states, of routing, or of the command line. No GET runs a check.
#![forbid(unsafe_code)]

mod access;
mod admission;
mod answer;
mod body;
mod config;
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

pub use config::{HttpConfig, HttpConfigError};
pub use secret::Secret;
pub use serve::serve;
