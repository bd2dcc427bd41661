//! Files that are no plugins, or were plugins before a byte of them was changed: what refuses them, and that nothing of them runs
//! before that.

mod agreement;
mod elf;
mod flipped;
mod malformed;
