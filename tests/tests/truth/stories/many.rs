//! Several plugins: what one of them does to the whole.

use super::{ONE, STEP, Step, Story, UP};

const BROKEN: &str = r#"{"says": "down", "text": "no provider", "call": "fails"}"#;
const SAYS_DOWN: &str = "down: says that it is down: no provider";
const TWO: &[(&str, &str)] = &[("one", ""), ("two", "")];
const SET: &[(&str, &str)] = &[
    ("a", "redundant = \"set\"\ncriticality = \"required\""),
    ("b", "redundant = \"set\""),
    ("c", "redundant = \"set\""),
];

pub const STORIES: &[Story] = &[
    Story {
        instances: TWO,
        steps: &[
            Step {
                situation: "one of two optional plugins is down",
                act: |stage| stage.script("two", BROKEN),
                told: &[("one", UP), ("two", SAYS_DOWN)],
                overall: "Degraded: 1 of 2 plugins down (two), truth.answer and truth.push served by their fallbacks",
                ..STEP
            },
            Step {
                situation: "both optional plugins are down",
                act: |stage| stage.script("one", BROKEN),
                caller: "every call fails: unavailable",
                told: &[("one", SAYS_DOWN), ("two", SAYS_DOWN)],
                overall: "Down: 2 of 2 plugins down (one, two)",
                answers: &[("/health/general", 503), ("/health/ai", 200)],
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        instances: TWO,
        steps: &[
            Step {
                situation: "of one of two plugins nothing is known",
                act: |stage| stage.script("two", r#"{"says": "unknown", "text": "no sensor"}"#),
                told: &[
                    ("one", UP),
                    ("two", "unknown: says that it does not know: no sensor"),
                ],
                overall: "Degraded: 1 of 2 plugins unknown (two)",
                never: "down",
                ..STEP
            },
            Step {
                situation: "of neither anything is known",
                act: |stage| stage.script("one", r#"{"says": "unknown", "text": "no sensor"}"#),
                told: &[
                    ("one", "unknown: says that it does not know: no sensor"),
                    ("two", "unknown: says that it does not know: no sensor"),
                ],
                overall: "Unknown: 2 of 2 plugins unknown (one, two)",
                never: "down",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        settings: "[health.redundant]\nset = 2\n",
        instances: SET,
        steps: &[
            Step {
                situation: "one of three in a set is down, and two are needed",
                act: |stage| stage.script("a", BROKEN),
                caller: "answered by b",
                told: &[("a", SAYS_DOWN), ("b", UP), ("c", UP)],
                overall: "Degraded: 1 of 3 plugins down (a), truth.answer and truth.push served by their fallbacks, 2 of 3 in set serve, 2 needed",
                ..STEP
            },
            Step {
                situation: "two of the three are down",
                act: |stage| stage.script("b", BROKEN),
                caller: "answered by c",
                told: &[("a", SAYS_DOWN), ("b", SAYS_DOWN), ("c", UP)],
                overall: "Down: 2 of 3 plugins down (a, b), truth.answer and truth.push served by their fallbacks, 1 of 3 in set serve, 2 needed",
                ready: true,
                ..STEP
            },
            Step {
                situation: "all three are down",
                act: |stage| stage.script("c", BROKEN),
                caller: "every call fails: unavailable",
                told: &[("a", SAYS_DOWN), ("b", SAYS_DOWN), ("c", SAYS_DOWN)],
                overall: "Down: 3 of 3 plugins down (a, b, c), 0 of 3 in set serve, 2 needed",
                ready: false,
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        settings: "[health.redundant]\nset = 1\n",
        instances: &[("a", "redundant = \"set\""), ("b", "redundant = \"set\"")],
        scripts: &[("a", BROKEN), ("b", BROKEN)],
        steps: &[Step {
            situation: "all of an optional set are down",
            caller: "every call fails: unavailable",
            told: &[("a", SAYS_DOWN), ("b", SAYS_DOWN)],
            overall: "Down: 2 of 2 plugins down (a, b), 0 of 2 in set serve, 1 needed",
            ..STEP
        }],
        ..ONE
    },
    Story {
        instances: &[],
        copies: (100, "probe.interval_ms = 1000", "{}"),
        steps: &[
            Step {
                situation: "a hundred plugins are well",
                caller: "answered by p001",
                told: &[("p001", UP), ("p100", UP)],
                overall: "Up: all 100 plugins are up",
                never: "down, degraded",
                ..STEP
            },
            Step {
                situation: "one of the hundred is down",
                act: |stage| stage.script("p001", BROKEN),
                caller: "answered by p002",
                told: &[("p001", SAYS_DOWN), ("p002", UP)],
                overall: "Degraded: 1 of 100 plugins down (p001), truth.answer and truth.push served by their fallbacks",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        instances: &[],
        copies: (100, "probe.interval_ms = 1000", r#"{"check_ms": 50}"#),
        steps: &[Step {
            situation: "the checks of each of a hundred plugins take a twentieth of their interval",
            act: |stage| stage.checks(8),
            caller: "answered by p001",
            told: &[("p001", UP), ("p050", UP), ("p100", UP)],
            overall: "Up: all 100 plugins are up",
            never: "down, degraded",
            ..STEP
        }],
        ..ONE
    },
    Story {
        instances: &[("primary", "priority = 10\nmaintenance = true"), ("standby", "")],
        steps: &[
            Step {
                situation: "the primary is in maintenance, the standby is well",
                caller: "answered by standby",
                told: &[("primary", "left out, up: answers its checks"), ("standby", UP)],
                overall: "Up: the one plugin is up",
                never: "down, degraded",
                ..STEP
            },
            Step {
                situation: "the primary is in maintenance, the standby is down",
                act: |stage| stage.script("standby", BROKEN),
                caller: "answered by primary",
                told: &[
                    ("primary", "left out, up: answers its checks"),
                    ("standby", SAYS_DOWN),
                ],
                overall: "Degraded: 1 of 1 plugin down (standby)",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        plugin: "scripted-ai",
        instances: &[("one", ""), ("two", "")],
        steps: &[
            Step {
                situation: "both are AI plugins, and well",
                told: &[("one", UP), ("two", UP)],
                overall: "Up: all 2 plugins are up",
                answers: &[("/health/ai", 200), ("/health/general", 200)],
                never: "down, degraded",
                ..STEP
            },
            Step {
                situation: "one of the AI plugins is down",
                act: |stage| stage.script("one", BROKEN),
                caller: "answered by two",
                told: &[("one", SAYS_DOWN), ("two", UP)],
                overall: "Degraded: 1 of 2 plugins down (one), truth.answer and truth.push served by their fallbacks",
                answers: &[("/health/ai", 200), ("/health/general", 200)],
                ..STEP
            },
            Step {
                situation: "both AI plugins are down",
                act: |stage| stage.script("two", BROKEN),
                caller: "every call fails: unavailable",
                told: &[("one", SAYS_DOWN), ("two", SAYS_DOWN)],
                overall: "Down: 2 of 2 plugins down (one, two)",
                answers: &[("/health/ai", 503), ("/health/general", 200)],
                ..STEP
            },
        ],
        ..ONE
    },
];
