//! A primary and its standby: who is called, and who is said to stand in.

use super::{ONE, STEP, Step, Story, UP};

const DOWN: &str = "{\"says\": \"down\", \"text\": \"no provider\", \"call\": \"fails\"}";
const SAYS_SO: &str = "{\"says\": \"down\", \"text\": \"no provider\"}";
const PAIR: &[(&str, &str)] = &[
    ("primary", "priority = 10\ncriticality = \"required\""),
    ("standby", ""),
];
/// Calls of one that failed them are tried again at once.
const SOON_TRIED: &str = "[routing.breaker]\nopen_ms = 200\nopen_max_ms = 200\n";
const FAILS_CALLS: &str = "down: its checks succeed while its calls fail: the last as unavailable";
const SAYS_DOWN: &str = "down: says that it is down: no provider";

pub const STORIES: &[Story] = &[
    Story {
        instances: PAIR,
        steps: &[
            Step {
                situation: "primary and standby are well",
                act: |_| {},
                caller: "answered by primary",
                told: &[("primary", UP), ("standby", UP)],
                overall: "Up: all 2 plugins are up",
                never: "down, degraded",
                ..STEP
            },
            Step {
                situation: "the primary is down and fails each call; the standby is well",
                act: |stage| stage.script("primary", DOWN),
                caller: "answered by standby",
                told: &[("primary", SAYS_DOWN), ("standby", UP)],
                overall: "Degraded: 1 of 2 plugins down (primary), truth.answer and truth.push served by their fallbacks",
                ..STEP
            },
            Step {
                situation: "the standby is down and fails each call as well",
                act: |stage| stage.script("standby", DOWN),
                caller: "every call fails: unavailable",
                told: &[("primary", SAYS_DOWN), ("standby", SAYS_DOWN)],
                overall: "Down: 2 of 2 plugins down (primary, standby)",
                ready: false,
                ..STEP
            },
            Step {
                situation: "the standby is well again, the primary is still down",
                act: |stage| stage.script("standby", "{}"),
                caller: "answered by standby",
                told: &[("primary", SAYS_DOWN), ("standby", UP)],
                overall: "Degraded: 1 of 2 plugins down (primary), truth.answer and truth.push served by their fallbacks",
                ..STEP
            },
            Step {
                situation: "the primary is well again",
                act: |stage| stage.script("primary", "{}"),
                caller: "answered by primary",
                told: &[("primary", UP), ("standby", UP)],
                overall: "Up: all 2 plugins are up",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        settings: "[routing]\nall_down = \"fail\"\n",
        instances: PAIR,
        scripts: &[("primary", DOWN), ("standby", DOWN)],
        steps: &[
            Step {
                situation: "primary and standby are down, and `routing.all_down` is `fail`",
                act: |_| {},
                caller: "every call fails: not_serving",
                told: &[("primary", SAYS_DOWN), ("standby", SAYS_DOWN)],
                overall: "Down: 2 of 2 plugins down (primary, standby)",
                ready: false,
                ..STEP
            },
            Step {
                situation: "with `fail`, the standby is well again",
                act: |stage| stage.script("standby", "{}"),
                caller: "answered by standby",
                told: &[("primary", SAYS_DOWN), ("standby", UP)],
                overall: "Degraded: 1 of 2 plugins down (primary), truth.answer and truth.push served by their fallbacks",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        settings: "[routing]\nall_down = \"least_bad\"\n",
        instances: PAIR,
        scripts: &[("primary", SAYS_SO), ("standby", SAYS_SO)],
        steps: &[Step {
            situation: "both say that they are down, `routing.all_down` is `least_bad`, and calls of the primary succeed",
            act: |stage| stage.called(),
            caller: "answered by primary",
            told: &[
                (
                    "primary",
                    "degraded: its checks fail while its calls succeed: no provider",
                ),
                ("standby", SAYS_DOWN),
            ],
            overall: "Degraded: 1 of 2 plugins down (standby), 1 of 2 plugins degraded (primary)",
            ..STEP
        }],
        ..ONE
    },
    Story {
        settings: SOON_TRIED,
        instances: PAIR,
        steps: &[
            Step {
                situation: "each call of the primary fails, though its checks are well",
                act: |stage| {
                    stage.script("primary", "{\"call\": \"fails\"}");
                    stage.called();
                },
                caller: "answered by standby",
                told: &[
                    (
                        "primary",
                        "down: its checks succeed while its calls fail: the last as unavailable",
                    ),
                    ("standby", UP),
                ],
                overall: "Degraded: 1 of 2 plugins down (primary), truth.answer and truth.push served by their fallbacks",
                ..STEP
            },
            Step {
                situation: "the primary's calls would succeed again",
                act: |stage| stage.script("primary", "{}"),
                caller: "answered by primary",
                told: &[("primary", UP), ("standby", UP)],
                overall: "Up: all 2 plugins are up",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        settings: SOON_TRIED,
        instances: &[
            ("primary", "priority = 10\ncriticality = \"required\""),
            ("second", "priority = 5"),
            ("third", "probe.rise = 1"),
        ],
        steps: &[
            Step {
                situation: "each call of three fails, though their checks are well",
                act: |stage| {
                    for name in ["primary", "second", "third"] {
                        stage.script(name, "{\"call\": \"fails\"}");
                    }
                    stage.called();
                },
                caller: "every call fails: unavailable",
                told: &[
                    ("primary", FAILS_CALLS),
                    ("second", FAILS_CALLS),
                    ("third", FAILS_CALLS),
                ],
                overall: "Down: 3 of 3 plugins down (primary, second, third)",
                ready: false,
                ..STEP
            },
            Step {
                situation: "calls of the third would succeed again",
                act: |stage| stage.script("third", "{}"),
                caller: "answered by third",
                told: &[("primary", FAILS_CALLS), ("second", FAILS_CALLS), ("third", UP)],
                overall: "Degraded: 2 of 3 plugins down (primary, second), truth.answer and truth.push served by their fallbacks",
                ..STEP
            },
        ],
        ..ONE
    },
];
