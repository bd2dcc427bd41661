//! What one plugin says of itself in its checks, and what its callers see.

use super::{ONE, STEP, Step, Story, UP};

pub const STORIES: &[Story] = &[
    Story {
        steps: &[
            Step {
                situation: "a plugin is well",
                never: "down, degraded",
                ..STEP
            },
            Step {
                situation: "it says that it is degraded, and why",
                act: |stage| stage.script("one", r#"{"says": "degraded", "text": "cache cold"}"#),
                told: &[("one", "degraded: says that it is degraded: cache cold")],
                overall: "Degraded: 1 of 1 plugin degraded (one)",
                never: "down",
                ..STEP
            },
            Step {
                situation: "it is well again",
                act: |stage| stage.script("one", "{}"),
                never: "down",
                ..STEP
            },
            Step {
                situation: "it says that it does not know; calls succeed",
                act: |stage| stage.script("one", r#"{"says": "unknown", "text": "no sensor"}"#),
                told: &[("one", "unknown: says that it does not know: no sensor")],
                overall: "Unknown: 1 of 1 plugin unknown (one)",
                never: "down",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        instances: &[("one", "criticality = \"required\"")],
        steps: &[
            Step {
                situation: "its checks and its calls fail",
                act: |stage| stage.script("one", r#"{"check": "fails", "call": "fails"}"#),
                caller: "every call fails: unavailable",
                told: &[("one", "down: its checks fail: unavailable: as the script says")],
                overall: "Down: 1 of 1 plugin down (one)",
                ready: false,
                ..STEP
            },
            Step {
                situation: "both succeed again",
                act: |stage| stage.script("one", "{}"),
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        steps: &[Step {
            situation: "it says that it is down while each call succeeds",
            act: |stage| {
                stage.script("one", r#"{"says": "down"}"#);
                stage.called();
            },
            told: &[("one", "degraded: its checks fail while its calls succeed")],
            overall: "Degraded: 1 of 1 plugin degraded (one)",
            ..STEP
        }],
        ..ONE
    },
    Story {
        scripts: &[("one", r#"{"check_ms": 300}"#)],
        steps: &[Step {
            situation: "its checks take 300 ms of the 700 ms that they may take",
            never: "down, degraded",
            ..STEP
        }],
        ..ONE
    },
    Story {
        scripts: &[("one", r#"{"check_ms": 1000}"#)],
        steps: &[Step {
            situation: "its checks take longer than they may; each call succeeds",
            act: |stage| stage.called(),
            told: &[("one", "degraded: its checks fail while its calls succeed")],
            overall: "Degraded: 1 of 1 plugin degraded (one)",
            never: "",
            ..STEP
        }],
        ..ONE
    },
    Story {
        steps: &[Step {
            situation: "a check hangs, and each call would too",
            act: |stage| stage.script("one", r#"{"check": "hangs", "call": "hangs"}"#),
            caller: "every call fails: not_serving",
            told: &[("one", "down: wedged: check has not returned; given up after …")],
            overall: "Down: 1 of 1 plugin down (one)",
            ..STEP
        }],
        ..ONE
    },
    Story {
        steps: &[Step {
            situation: "a check panics",
            act: |stage| stage.script("one", r#"{"check": "panics"}"#),
            caller: "every call fails: not_serving",
            told: &[("one", "down: failed: panicked: as the script says")],
            overall: "Down: 1 of 1 plugin down (one)",
            ..STEP
        }],
        ..ONE
    },
    Story {
        steps: &[
            Step {
                situation: "it says that a part of it is degraded",
                act: |stage| {
                    stage.script(
                        "one",
                        r#"{"says": "degraded", "text": "see parts", "part": ["index", "degraded"]}"#,
                    )
                },
                told: &[("one", "degraded: says that it is degraded: see parts")],
                overall: "Degraded: 1 of 1 plugin degraded (one)",
                shows: &["index", "as the script says"],
                never: "down",
                ..STEP
            },
            Step {
                situation: "its connection is broken, and it says that it is degraded",
                act: |stage| {
                    stage.script(
                        "one",
                        r#"{"says": "degraded", "text": "from the cache", "connected": false}"#,
                    )
                },
                told: &[("one", "degraded: says that it is degraded: from the cache")],
                overall: "Degraded: 1 of 1 plugin degraded (one)",
                shows: &["broken"],
                never: "down",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        scripts: &[("one", r#"{"check": "lacks"}"#)],
        steps: &[
            Step {
                situation: "it has no checks; calls succeed",
                act: |stage| stage.up().calls(6),
                told: &[("one", UP)],
                never: "down, degraded",
                ..STEP
            },
            Step {
                situation: "it has no checks, and pushes that it is degraded",
                act: |stage| stage.push("degraded"),
                told: &[("one", "degraded: says that it is degraded")],
                overall: "Degraded: 1 of 1 plugin degraded (one)",
                never: "down",
                ..STEP
            },
            Step {
                situation: "it has no checks, and pushes that it is up again",
                act: |stage| stage.push("up"),
                told: &[("one", UP)],
                never: "down",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        scripts: &[("one", r#"{"heap_limit_mib": 64}"#)],
        steps: &[Step {
            situation: "its heap is near the limit that it tells",
            act: |stage| stage.script("one", r#"{"heap_limit_mib": 64, "heap_mib": 62}"#),
            told: &[("one", "degraded: its heap is near its limit: 62.0 of 64.0 MiB")],
            overall: "Degraded: 1 of 1 plugin degraded (one)",
            shows: &["of 64.0 MiB"],
            never: "down",
            ..STEP
        }],
        ..ONE
    },
];
