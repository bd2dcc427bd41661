//! What befalls the host itself.

use super::{ONE, STEP, Step, Story};

pub const STORIES: &[Story] = &[
    Story {
        steps: &[
            Step {
                situation: "the host was stopped (`SIGSTOP`) for 5 s while it was called",
                act: |stage| {
                    stage.until_told("one", "up");
                    stage.called();
                    stage.stop_for(5);
                },
                never: "down, degraded",
                ..STEP
            },
            Step {
                situation: "the host was killed and started again",
                act: |stage| {
                    stage.quiet();
                    stage.served.kill_and_start();
                },
                never: "down, degraded",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        settings: "[[instance]]\nname = \"off\"\nplugin = \"scripted\"\nautostart = false\n",
        steps: &[Step {
            situation: "another instance is configured not to start",
            told: &[("off", "left out: verified"), ("one", super::UP)],
            ..STEP
        }],
        ..ONE
    },
];
