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
        steps: &[
            Step {
                situation: "a call ended the host, which was started again",
                act: |stage| stage.crash_by_call("one"),
                crashed: "in truth.answer of one, scripted 1.0.0 (SIGABRT)",
                never: "down, degraded",
                ..STEP
            },
            Step {
                situation: "a call of the same plugin ended the host again within ten minutes",
                act: |stage| stage.crash_by_call("one"),
                caller: "every call fails: not_serving",
                told: &[(
                    "one",
                    "down: quarantined: it ended the host twice within 10 min, last by SIGABRT in invoke (truth.answer) at …",
                )],
                overall: "Down: 1 of 1 plugin down (one)",
                crashed: "in truth.answer of one, scripted 1.0.0 (SIGABRT)",
                ..STEP
            },
            Step {
                situation: "an operator loads it again",
                act: |stage| stage.change("load", "one"),
                crashed: "in truth.answer of one, scripted 1.0.0 (SIGABRT)",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        settings: "[[instance]]\nname = \"off\"\nplugin = \"scripted\"\nautostart = false\n",
        steps: &[Step {
            situation: "another instance is configured not to start",
            told: &[("off", "left out, unknown: verified"), ("one", super::UP)],
            ..STEP
        }],
        ..ONE
    },
    Story {
        steps: &[
            Step {
                situation: "another program holds the lock of the history",
                act: |stage| {
                    stage.up();
                    stage.lock_history();
                },
                overall: "Degraded: 1 of 8 host components degraded (history)",
                ..STEP
            },
            Step {
                situation: "the lock is free again",
                act: |stage| stage.unlock_history(),
                never: "down, degraded",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        settings: "[health]\ncomponents_every_ms = 100\n",
        mortal: Some("extman-probe"),
        steps: &[Step {
            situation: "the thread that has plugins checked has died",
            act: |stage| {
                stage.up();
                stage.kill_thread();
            },
            told: &[("one", "unknown: the host itself did not run in time")],
            overall: "Unknown: 1 of 8 host components down (threads), 1 of 1 plugin unknown (one)",
            ..STEP
        }],
        ..ONE
    },
];
