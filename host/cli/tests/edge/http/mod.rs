//! Over real connections.

mod calls;
mod health;
mod limits;
mod routes;
