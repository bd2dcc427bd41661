//! What the words that threads share are made of. The tests that try all orders of their steps put a model's in the place of these.

pub(crate) use std::sync::{Mutex, atomic};
