//! Many plugins at the defaults, for longer than their checks go on by themselves.

use super::{ONE, STEP, Step, Story, UP};

pub const STORIES: &[Story] = &[Story {
    times: ["", ""],
    instances: &[],
    copies: (100, "", r#"{"check_ms": 500}"#),
    steps: &[Step {
        situation: "a hundred plugins with checks of 500 ms, thirteen each, at the defaults",
        act: |stage| stage.checks(13),
        caller: "answered by p001",
        told: &[("p001", UP), ("p050", UP), ("p100", UP)],
        overall: "Up: all 100 plugins are up",
        never: "down, degraded",
        ..STEP
    }],
    ..ONE
}];
