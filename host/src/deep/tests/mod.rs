//! Deep checks with an engine, a clock that a test moves, and a ledger that it breaks.

mod bench;
mod making;
