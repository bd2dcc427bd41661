//! Deep checks with an engine, a clock that a test moves, and a store that it breaks.

mod bench;
mod making;
