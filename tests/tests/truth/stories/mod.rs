//! The situations: what the plugins do, what a caller sees of it, and what has to be told.

mod fallback;

use super::stage::Stage;

/// A host, its plugins, and what becomes of them.
pub struct Story {
    /// TOML beside that of every host; `[vetting]` is off unless it stands here.
    pub settings: &'static str,
    /// Uses of the scripted plugin: their names, and TOML of their sections.
    pub instances: &'static [(&'static str, &'static str)],
    /// What they do from the beginning; all is well where nothing is said.
    pub scripts: &'static [(&'static str, &'static str)],
    /// The plugin's file is not there at first.
    pub is_empty: bool,
    /// What happens, in this order.
    pub steps: &'static [Step],
}

/// One row of the table.
pub struct Step {
    /// What is so.
    pub situation: &'static str,
    /// Makes it so.
    pub act: fn(&mut Stage),
    /// What a caller of the capability sees.
    pub caller: &'static str,
    /// What is told of each plugin: its word, and why.
    pub told: &'static [(&'static str, &'static str)],
    /// The sentence about all.
    pub overall: &'static str,
    /// Whether the host is ready.
    pub ready: bool,
    /// Words that none of the plugins has ever had so far.
    pub never: &'static str,
}

/// A story of one plugin with nothing special.
const ONE: Story = Story {
    settings: "",
    instances: &[("one", "")],
    scripts: &[],
    is_empty: false,
    steps: &[],
};

const UP: &str = "up: answers its checks";

/// All of them, the longest first.
pub const STORIES: &[&[Story]] = &[fallback::STORIES];
