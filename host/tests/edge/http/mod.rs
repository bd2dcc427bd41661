//! Over real connections.

mod calls;
mod limits;
mod routes;
