//! The plain data that every part of the host speaks: identities, states, views, events, commands and answers; the clock; durations
//! counted in buckets.
//!
//! Nothing here decides anything, runs a plugin or touches a disk.
#![forbid(unsafe_code)]

mod call;
pub mod clock;
mod component;
mod configuration;
pub mod control;
mod crash;
mod deep;
mod dependencies;
mod digest;
mod event;
mod figures;
pub mod findings;
pub mod frames;
mod health;
pub mod history;
pub mod latency;
pub mod leb128;
mod limits;
mod maintenance;
pub mod moment;
mod overall;
mod process;
pub mod record;
mod report;
mod rollout;
mod settings;
pub mod text;
mod unfit;
mod verdict;
mod vetting;
mod view;
pub mod vital;

pub use call::{CallError, ErrorKind, InputPart, Reply, RequestExtras, Usage};
pub use component::Component;
pub use configuration::{
    ConfigAnswer, ConfigChange, ConfigChangeAsked, ConfigChangeBy, ConfigDifference, ConfigField,
    ConfigFieldChange, ConfigOrigin, ConfigStatus,
};
pub use crash::{Crash, Culprit as CrashCulprit};
pub use deep::{DeepResult, DeepView};
pub use dependencies::{DependenciesView, LeftOut, LeftOutCode, ResolvedPlugin, ResolvedRequirement};
pub use digest::{Digest, DigestError};
pub use event::{Event, What};
pub use figures::Figures;
pub use health::{
    Cause, ConnectionView, Figure, HealthFlags, HealthView, Judgement, NotMeasured, Source, Unit,
};
pub use limits::CallLimits;
pub use maintenance::{Maintenance, MaintenanceAsked, MaintenanceRow, MaintenanceSource};
pub use overall::{Counts, Group, GroupHealth, Overall};
pub use process::{ProcessChange, ProcessPart};
pub use report::{CheckKind, Connection, Health, LogLevel, Part, Progress, Report};
pub use rollout::{
    BarredView, JudgeSays, MirroredView, RolloutCommand, RolloutPhase, RolloutStatus, RolloutView,
    UpdatePolicy, UpdateTo,
};
pub use settings::{Criticality, ProbeSettings};
pub use unfit::{FieldFault, PlacedFault, UnfitFields};
pub use verdict::{Culprit, ResidentReason, Verdict};
pub use vetting::{
    CheckedFile, MemoryBound, VettingDepth, VettingFailure, VettingPhase, VettingRefusal, VettingReport,
    VettingStep,
};
pub use view::{
    BreakerState, BreakerView, CallStats, CapabilityOffer, CapabilityView, CheckOutcome, CheckView,
    DesiredState, Lifecycle, MissingView, PluginView, RefusedView, ResidentView, StatusView, UnreturnedView,
    WayBack, failed_of,
};
