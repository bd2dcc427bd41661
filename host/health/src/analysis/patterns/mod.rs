//! When failures come: [`co_failing`], together with another instance's; [`periodic`], at a regular interval; [`after_load`], after
//! many calls.
//!
//! Each is a test against chance, so that something is told of about one in a hundred where there is nothing; and each tells of what
//! comes together, never of what causes what.

pub mod after_load;
pub mod co_failing;
pub mod periodic;

/// The probability below which a pattern is more than chance, after all that was tried.
pub const P_MAX: f64 = 0.01;
