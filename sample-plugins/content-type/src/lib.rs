//! Which type of file some bytes are, with Magika's neural network.
//!
//! The network is small, so its forward pass is written out here ([`network`]) and its weights are read straight from the
//! ONNX file ([`onnx`]): no inference runtime, no thread, nothing that would outlive an unload.

pub mod detector;
pub mod features;
pub mod network;
pub mod onnx;
mod plugin;
pub mod rules;

pub use detector::{Answer, Detector, LoadError};
pub use plugin::{Config, ContentType, DetectType};
