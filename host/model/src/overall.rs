//! How all plugins and the host's own parts are together.

use crate::Health;
use extman_plugin_api::manifest::schema::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which of the three groups something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Plugins that do work with a model or for one.
    Ai,
    /// All other plugins.
    General,
    /// Parts of the host itself.
    Host,
}

impl Group {
    /// Where plugins of this kind belong.
    pub fn of(kind: Kind) -> Group {
        match kind {
            Kind::Ai => Group::Ai,
            Kind::General => Group::General,
        }
    }
}

/// How many of them there are, by word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Up.
    pub up: usize,
    /// Degraded.
    pub degraded: usize,
    /// Not known.
    pub unknown: usize,
    /// Down.
    pub down: usize,
    /// Left out.
    pub left_out: usize,
}

impl Counts {
    /// Those that count.
    pub fn counted(&self) -> usize {
        self.up + self.degraded + self.unknown + self.down
    }

    /// One more member.
    pub fn add(&mut self, health: Health, left_out: bool) {
        *match (left_out, health) {
            (true, _) => &mut self.left_out,
            (_, Health::Up) => &mut self.up,
            (_, Health::Degraded) => &mut self.degraded,
            (_, Health::Unknown) => &mut self.unknown,
            (_, Health::Down) => &mut self.down,
        } += 1;
    }
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupHealth {
    /// How it is; unknown if nobody in it counts.
    pub health: Health,
    /// Its members.
    pub counts: Counts,
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overall {
    /// How it is.
    pub health: Health,
    /// The same for people, with what matters.
    pub sentence: String,
    /// The groups that have members.
    pub groups: BTreeMap<Group, GroupHealth>,
    /// Those that are left out, by name.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub left_out: Vec<String>,
}
