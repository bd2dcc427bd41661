//! What calls of one plugin come to, whose checks are well.

use super::{ONE, STEP, Step, Story, UP};

/// How long it was waited for follows.
const WEDGED: &str = "down: wedged: invoke (truth.answer) has not returned; given up after …";

pub const STORIES: &[Story] = &[
    Story {
        instances: &[("one", "criticality = \"required\"")],
        steps: &[
            Step {
                situation: "each call fails, called all the time",
                act: |stage| {
                    stage.script("one", r#"{"call": "fails"}"#);
                    stage.called();
                },
                caller: "every call fails: unavailable",
                told: &[(
                    "one",
                    "down: its checks succeed while its calls fail: the last as unavailable",
                )],
                overall: "Down: 1 of 1 plugin down (one)",
                ready: false,
                ..STEP
            },
            Step {
                situation: "each call succeeds again, called all the time",
                act: |stage| stage.script("one", "{}"),
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        steps: &[
            Step {
                situation: "each call fails, six in all",
                act: |stage| {
                    stage.up().script("one", r#"{"call": "fails"}"#);
                    stage.calls(6);
                },
                caller: "every call fails: unavailable",
                told: &[(
                    "one",
                    "down: its checks succeed while its calls fail: the last as unavailable",
                )],
                overall: "Down: 1 of 1 plugin down (one)",
                ..STEP
            },
            Step {
                situation: "nobody calls any more, and nothing is mended",
                act: |stage| stage.checks(12),
                caller: "every call fails: unavailable",
                told: &[(
                    "one",
                    "down: its checks succeed while its calls fail: the last as unavailable",
                )],
                overall: "Down: 1 of 1 plugin down (one)",
                ..STEP
            },
            Step {
                situation: "it is mended, and called all the time",
                act: |stage| {
                    stage.script("one", "{}");
                    stage.called();
                },
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        scripts: &[("one", r#"{"call": "fails", "one_in": 4}"#)],
        steps: &[Step {
            situation: "every fourth call fails, called all the time",
            act: |stage| stage.called(),
            caller: ANY,
            told: &[(
                "one",
                "degraded: its checks succeed while its calls fail: the last as unavailable",
            )],
            overall: "Degraded: 1 of 1 plugin degraded (one)",
            never: "down",
            ..STEP
        }],
        ..ONE
    },
    Story {
        scripts: &[("one", r#"{"call": "fails", "one_in": 50}"#)],
        steps: &[Step {
            situation: "every fiftieth call fails, called all the time",
            act: |stage| {
                stage.called();
                stage.checks(10);
            },
            caller: ANY,
            never: "down, degraded",
            ..STEP
        }],
        ..ONE
    },
    Story {
        scripts: &[("one", r#"{"call": "refuses"}"#)],
        steps: &[Step {
            situation: "callers send what it can't take, all the time",
            act: |stage| {
                stage.called();
                stage.checks(10);
            },
            caller: "every call fails: invalid_input",
            never: "down, degraded",
            ..STEP
        }],
        ..ONE
    },
    Story {
        scripts: &[("one", r#"{"call_ms": 400}"#)],
        steps: &[Step {
            situation: "each call takes 400 ms of the 1000 ms that its caller waits",
            act: |stage| stage.called(),
            never: "down, degraded",
            ..STEP
        }],
        ..ONE
    },
    Story {
        scripts: &[("one", r#"{"call_ms": 1200}"#)],
        steps: &[Step {
            situation: "each call takes longer than its caller waits",
            act: |stage| stage.called(),
            caller: "every call fails: deadline_exceeded",
            told: &[(
                "one",
                "down: its checks succeed while its calls fail: the last as deadline exceeded",
            )],
            overall: "Down: 1 of 1 plugin down (one)",
            ..STEP
        }],
        ..ONE
    },
    Story {
        steps: &[Step {
            situation: "a call hangs for good",
            act: |stage| {
                stage.up().script("one", r#"{"call": "hangs"}"#);
                stage.calls(1);
            },
            caller: "every call fails: not_serving",
            told: &[("one", WEDGED)],
            overall: "Down: 1 of 1 plugin down (one)",
            ..STEP
        }],
        ..ONE
    },
    Story {
        instances: &[("one", "priority = 10")],
        copies: (30, "", "{}"),
        steps: &[Step {
            situation: "a call of one of thirty-one plugins hangs for good",
            act: |stage| {
                stage.up().script("one", r#"{"call": "hangs"}"#);
                stage.calls(1);
            },
            caller: "answered by p001",
            told: &[("one", WEDGED), ("p001", super::UP), ("p030", super::UP)],
            overall: "Degraded: 1 of 31 plugins down (one), truth.answer and truth.push served by their fallbacks",
            ..STEP
        }],
        ..ONE
    },
    Story {
        steps: &[
            Step {
                situation: "a call panics",
                act: |stage| {
                    stage.up().script("one", r#"{"call": "panics"}"#);
                    stage.calls(1);
                },
                caller: "every call fails: not_serving",
                told: &[("one", "down: failed: panicked: as the script says")],
                overall: "Down: 1 of 1 plugin down (one)",
                ..STEP
            },
            Step {
                situation: "it is mended, and an operator loads it again",
                act: |stage| {
                    stage.script("one", "{}");
                    stage.change("load", "one");
                },
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        settings: "[lanes]\nper_module_max = 1\nqueue_max = 1\n",
        instances: &[("one", "concurrency_max = 1")],
        scripts: &[("one", r#"{"call_ms": 100}"#)],
        steps: &[Step {
            situation: "more callers than it and its queue can take",
            act: |stage| {
                for _ in 0..6 {
                    stage.called();
                }
                stage.checks(10);
            },
            caller: ANY,
            told: &[("one", UP)],
            never: "down",
            ..STEP
        }],
        ..ONE
    },
    Story {
        scripts: &[("one", r#"{"frames": 200000}"#)],
        steps: &[Step {
            situation: "somebody reads its stream more slowly than it writes, for longer than a call may take",
            act: |stage| {
                // As many as it has lanes; each call is over its time long before its reader has read it.
                stage.up();
                for _ in 0..6 {
                    stage.read_slowly();
                }
                stage.checks(25);
            },
            caller: ANY,
            never: "down, degraded",
            ..STEP
        }],
        ..ONE
    },
];

/// Which of a caller's few calls succeed is left to chance, or each would take long.
pub const ANY: &str = "";
