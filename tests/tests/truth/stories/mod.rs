//! The situations: what the plugins do, what a caller sees of it, and what has to be told.

mod calls;
mod checks;
mod fallback;
mod host;
mod life;
mod many;
mod scale;

use super::stage::Stage;

/// A host, its plugins, and what becomes of them.
pub struct Story {
    /// TOML beside that of every host; `[vetting]` is off unless it stands here.
    pub settings: &'static str,
    /// TOML of the host's `[probe]`, and of each instance: short times, or nothing for the defaults.
    pub times: [&'static str; 2],
    /// The package whose library they are uses of.
    pub plugin: &'static str,
    /// A thread of the host that dies once [`Stage::kill_thread`] was called.
    pub mortal: Option<&'static str>,
    /// Uses of the scripted plugin: their names, and TOML of their sections.
    pub instances: &'static [(&'static str, &'static str)],
    /// So many more of them, called p001 and so on, TOML of each, and what each does.
    pub copies: (usize, &'static str, &'static str),
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
    /// What is told of each plugin: whether it is left out, its word, and why.
    pub told: &'static [(&'static str, &'static str)],
    /// The sentence about all.
    pub overall: &'static str,
    /// Whether the host is ready.
    pub ready: bool,
    /// Words that none of the plugins has ever had so far, nor any other of the host; unknown counts once something was known.
    pub never: &'static str,
    /// Where and by what the host crashed, as it is told in sight of a terminal and as a note of `/health`; nothing if it did not.
    pub crashed: &'static str,
    /// What `extman health NAME` of the first plugin shows beside that.
    pub shows: &'static [&'static str],
    /// Statuses of other paths.
    pub answers: &'static [(&'static str, u16)],
}

/// A story of one plugin with nothing special.
const ONE: Story = Story {
    settings: "",
    times: [
        // Short, since everything is waited for; long enough for a machine that is busy.
        "[probe]\ninterval_ms = 200\nrecheck_ms = 100\nbackoff_min_ms = 200\nbackoff_max_ms = 400\ntimeout_min_ms = 700\n\
         timeout_ms = 700\nwindow_ms = 1500\nstale_intervals = 20\n",
        "call_timeout_ms = 1000\nwedge_after_ms = 1500\nstart_budget_ms = 20000\nstop_budget_ms = 1000\n",
    ],
    plugin: "scripted",
    mortal: None,
    instances: &[("one", "")],
    copies: (0, "", "{}"),
    scripts: &[],
    is_empty: false,
    steps: &[],
};

/// A plugin that is well, and a caller who sees that.
const STEP: Step = Step {
    situation: "",
    act: |_| {},
    caller: "answered by one",
    told: &[("one", UP)],
    overall: "Up: the one plugin is up",
    ready: true,
    never: "",
    crashed: "",
    shows: &[],
    answers: &[],
};

const UP: &str = "up: answers its checks";

/// All of them, the longest first.
pub const STORIES: &[&[Story]] = &[
    scale::STORIES,
    fallback::STORIES,
    calls::STORIES,
    life::STORIES,
    many::STORIES,
    host::STORIES,
    checks::STORIES,
];
