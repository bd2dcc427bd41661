//! Plain data that every part of the host speaks: no I/O, no clock, nothing of the other modules.

mod call;
mod component;
mod deep;
mod digest;
mod event;
mod health;
mod report;
mod settings;
mod verdict;
mod vetting;
mod view;

pub use call::{CallError, ErrorKind, Reply, Usage};
pub use component::Component;
pub use deep::{DeepResult, DeepView};
pub use digest::{Digest, DigestError};
pub use event::{Event, What};
pub use health::{Cause, Figure, HealthFlags, HealthView, Judgement, NotMeasured, Source, Unit};
pub use report::{CheckKind, Connection, Health, LogLevel, Part, Report};
pub use settings::{Criticality, ProbeSettings};
pub use verdict::{Culprit, ResidentReason, Verdict};
pub use vetting::{
    CheckedFile, VettingDepth, VettingFailure, VettingPhase, VettingRefusal, VettingReport, VettingStep,
};
pub use view::{
    CallStats, CapabilityOffer, CapabilityView, CheckOutcome, CheckView, Lifecycle, MissingView, PluginView,
    RefusedView, ResidentView, StatusView,
};
