//! Over real connections.

mod calls;
mod events;
mod health;
mod limits;
mod routes;
