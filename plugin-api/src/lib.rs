//! Write plugins for ExtManager.

pub mod manifest;

pub use extman_abi as abi;
