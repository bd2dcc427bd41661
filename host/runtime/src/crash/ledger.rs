//! Which libraries hosts have crashed in, kept over restarts, and what follows from that by policy.
//!
//! ```text
//!              crash                    second crash within the window
//!   (clear) ─────────▶ suspected ──────────────────────────────────────▶ quarantined
//!      ▲                 │  vet: passes at the deepest depth ▲ crash           │
//!      └─ a person ──────┘  before it is loaded again ───────┘                 │
//!      └─────────── a person has it loaded; another digest is another library ─┘
//! ```

use super::{CrashConfig, CrashPolicy};
use extman_model::{Crash, CrashCulprit, Digest, moment};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Crashes that are kept; the oldest goes.
const CRASHES_MAX: usize = 64;
/// Libraries whose crashes are counted; the one that crashed longest ago goes.
const LIBRARIES_MAX: usize = 256;

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Ledger {
    /// In the order of time.
    #[serde(default)]
    pub crashes: Vec<Crash>,
    /// One for each library that is not clear.
    #[serde(default)]
    libraries: Vec<Suspect>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Suspect {
    digest: Digest,
    /// The last of its crashes that was taken in.
    at_unix_ms: u64,
    /// Why it is quarantined.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    quarantined: Option<String>,
    /// It has passed vetting since its last crash.
    #[serde(default)]
    vetted: bool,
}

/// What follows for a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing.
    Clear,
    /// It has to pass vetting at the deepest depth, whatever was seen before.
    ToBeVetted,
    /// It is not loaded, and why.
    Quarantined(String),
}

impl Ledger {
    /// Takes in a crash. Taken in again, it changes nothing.
    pub fn add(&mut self, crash: &Crash, config: &CrashConfig) {
        if self.crashes.contains(crash) {
            return;
        }
        self.crashes.push(crash.clone());
        self.crashes.sort_by_key(|crash| crash.at_unix_ms);
        let surplus = self.crashes.len().saturating_sub(CRASHES_MAX);
        self.crashes.drain(..surplus);
        if let Some(culprit) = &crash.culprit {
            self.suspect(crash, culprit, config);
        }
    }

    fn suspect(&mut self, crash: &Crash, culprit: &CrashCulprit, config: &CrashConfig) {
        let known = self
            .libraries
            .iter_mut()
            .find(|known| known.digest == culprit.digest);
        let Some(known) = known else {
            self.libraries.push(Suspect {
                digest: culprit.digest,
                at_unix_ms: crash.at_unix_ms,
                quarantined: None,
                vetted: false,
            });
            if self.libraries.len() > LIBRARIES_MAX {
                let oldest = self
                    .libraries
                    .iter()
                    .enumerate()
                    .min_by_key(|(_, known)| known.at_unix_ms);
                let oldest = oldest.map_or(0, |(at, _)| at);
                self.libraries.remove(oldest);
            }
            return;
        };
        let apart = crash.at_unix_ms.abs_diff(known.at_unix_ms);
        // The last that is known and not the latest: the clock may have been ahead.
        known.at_unix_ms = crash.at_unix_ms;
        known.vetted = false;
        if apart <= config.within_s.saturating_mul(1000) {
            known.quarantined = Some(format!(
                "it ended the host twice within {}, last by {} at {}",
                moment::in_words(Duration::from_secs(config.within_s)),
                crash.act(),
                moment::utc(crash.at_unix_ms)
            ));
        }
    }

    /// What follows for a library under a policy.
    pub fn standing(&self, digest: Digest, policy: CrashPolicy) -> Standing {
        let Some(known) = self.libraries.iter().find(|known| known.digest == digest) else {
            return Standing::Clear;
        };
        match (policy, &known.quarantined) {
            (CrashPolicy::Ignore, _) => Standing::Clear,
            (_, Some(why)) => Standing::Quarantined(why.clone()),
            (CrashPolicy::Vet, None) if !known.vetted => Standing::ToBeVetted,
            (CrashPolicy::Vet | CrashPolicy::Quarantine, None) => Standing::Clear,
        }
    }

    /// It is clear again, as a person asks for it. `false` if it was.
    pub fn release(&mut self, digest: Digest) -> bool {
        let before = self.libraries.len();
        self.libraries.retain(|known| known.digest != digest);
        self.libraries.len() < before
    }

    /// It has passed vetting. `false` if nobody had asked for that.
    pub fn passed(&mut self, digest: Digest) -> bool {
        let known = self
            .libraries
            .iter_mut()
            .find(|known| known.digest == digest && !known.vetted);
        known.map(|known| known.vetted = true).is_some()
    }
}
