//! The budget of deep checks: synthetic requests through the capability itself, which cost what a real request costs.
//!
//! * [`lived`]: how much time has certainly passed, whatever the wall clock does;
//! * [`book`]: when one is due, and whether it may be made;
//! * [`account`]: what was spent, as it is written down;
//! * [`Refused`]: why one was not made.

pub mod account;
pub mod book;
pub mod lived;
mod refused;
#[cfg(test)]
mod tests;

pub use refused::Refused;
