//! Where plugins are in their lives.

use super::{ONE, STEP, Step, Story};

const ILL: &str = r#"{"says": "down", "text": "no provider", "call": "fails"}"#;
const GONE: &str = "every call fails: not_serving";

pub const STORIES: &[Story] = &[
    Story {
        settings: "[vetting]\nenabled = true\n",
        scripts: &[("one", r#"{"create_ms": 4000}"#)],
        steps: &[
            Step {
                situation: "an optional plugin is being vetted",
                caller: GONE,
                told: &[("one", "unknown: starting")],
                overall: "Unknown: 1 of 1 plugin unknown (one)",
                ..STEP
            },
            Step {
                situation: "it has passed",
                never: "down",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        settings: "[vetting]\nenabled = true\n",
        instances: &[("one", "criticality = \"required\"")],
        scripts: &[("one", r#"{"create_ms": 4000}"#)],
        steps: &[
            Step {
                situation: "a required plugin is being vetted",
                caller: GONE,
                told: &[("one", "unknown: starting")],
                overall: "Unknown: 1 of 1 plugin unknown (one)",
                ready: false,
                ..STEP
            },
            Step {
                situation: "it has passed as well",
                never: "down",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        settings: "[vetting]\nenabled = true\n",
        scripts: &[("one", r#"{"create": "aborts"}"#)],
        steps: &[Step {
            situation: "it ends the process in vetting",
            caller: GONE,
            told: &[(
                "one",
                "down: quarantined: the plugin died in create with signal 6 (SIGABRT)",
            )],
            overall: "Down: 1 of 1 plugin down (one)",
            ..STEP
        }],
        ..ONE
    },
    Story {
        settings: "[vetting]\nenabled = true\n",
        copies: (30, "", "{}"),
        scripts: &[("one", r#"{"create": "aborts"}"#)],
        steps: &[Step {
            situation: "vetting refuses one of thirty-one plugins",
            caller: "answered by p001",
            told: &[
                (
                    "one",
                    "down: quarantined: the plugin died in create with signal 6 (SIGABRT)",
                ),
                ("p001", super::UP),
                ("p030", super::UP),
            ],
            overall: "Degraded: 1 of 31 plugins down (one), truth.answer and truth.push served by their fallbacks",
            ..STEP
        }],
        ..ONE
    },
    Story {
        instances: &[("one", "criticality = \"required\"")],
        scripts: &[("one", r#"{"create": "fails"}"#)],
        steps: &[
            Step {
                situation: "a required plugin can't be made",
                caller: GONE,
                told: &[(
                    "one",
                    "down: failed: create failed: unavailable: as the script says",
                )],
                overall: "Down: 1 of 1 plugin down (one)",
                ready: false,
                ..STEP
            },
            Step {
                situation: "it is mended and loaded",
                act: |stage| {
                    stage.script("one", "{}");
                    stage.change("load", "one");
                },
                ..STEP
            },
            Step {
                situation: "it is restarted while it is called",
                act: |stage| {
                    stage.called();
                    stage.change("restart", "one");
                },
                ..STEP
            },
            Step {
                situation: "an operator has unloaded it",
                act: |stage| {
                    stage.quiet();
                    stage.change("unload", "one");
                },
                caller: GONE,
                told: &[("one", "left out, unknown: stopped: stopped by an operator")],
                overall: "Up: everything is stopped or in maintenance",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        steps: &[Step {
            situation: "other bytes are put in its place while it is called",
            act: |stage| {
                stage.until_told("one", "up");
                stage.called();
                let before = stage.load("one");
                stage.replace();
                stage.until_loaded_again("one", before);
            },
            never: "down, degraded, unknown",
            ..STEP
        }],
        ..ONE
    },
    Story {
        steps: &[
            Step {
                situation: "the file of an optional configured plugin is gone",
                act: |stage| {
                    stage.until_told("one", "up");
                    std::fs::remove_file(stage.library()).expect("removed");
                },
                caller: "every call fails: not_found",
                told: &[("one", "down: its plugin is not there: …")],
                overall: "Down: 1 of 1 plugin down (one)",
                ..STEP
            },
            Step {
                situation: "the file is there again",
                act: |stage| stage.put(),
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        instances: &[("one", "criticality = \"required\"")],
        is_empty: true,
        steps: &[Step {
            situation: "a required plugin is configured, and its file was never there",
            caller: "every call fails: not_found",
            told: &[("one", "down: its plugin is not there: …")],
            overall: "Down: 1 of 1 plugin down (one)",
            ready: false,
            ..STEP
        }],
        ..ONE
    },
    Story {
        instances: &[("one", "maintenance = true\ncriticality = \"required\"")],
        scripts: &[("one", r#"{"says": "down", "text": "at work", "call": "fails"}"#)],
        steps: &[Step {
            situation: "a required plugin is down in maintenance",
            caller: "every call fails: unavailable",
            told: &[("one", "left out, down: says that it is down: at work")],
            overall: "Up: everything is stopped or in maintenance",
            ..STEP
        }],
        ..ONE
    },
    Story {
        instances: &[("one", "criticality = \"required\"")],
        steps: &[
            Step {
                situation: "an operator puts a required plugin into maintenance, and takes its file away",
                act: |stage| {
                    stage.up().maintain("one", "--for=1h");
                    std::fs::remove_file(stage.library()).expect("removed");
                },
                caller: "every call fails: not_found",
                told: &[("one", "left out, down: its plugin is not there: …")],
                overall: "Up: everything is stopped or in maintenance",
                ..STEP
            },
            Step {
                situation: "the file is there again, still in maintenance",
                act: |stage| stage.put(),
                told: &[("one", "left out, up: answers its checks")],
                overall: "Up: everything is stopped or in maintenance",
                ..STEP
            },
            Step {
                situation: "the operator ends the maintenance",
                act: |stage| stage.maintain("one", "--end"),
                never: "down, degraded",
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        steps: &[Step {
            situation: "its next version is put in its place while it is called",
            act: |stage| {
                stage.until_told("one", "up");
                stage.called();
                stage.update("scripted-next");
                stage.until_version("one", "1.1.0");
            },
            never: "down, degraded, unknown",
            ..STEP
        }],
        ..ONE
    },
    Story {
        steps: &[
            Step {
                situation: "it goes up and down all the while, and is down now",
                act: |stage| stage.flap("one", ILL),
                caller: "every call fails: unavailable",
                told: &[("one", "down: says that it is down: no provider")],
                overall: "Down: 1 of 1 plugin down (one)",
                shows: &["flapping for"],
                ..STEP
            },
            Step {
                situation: "it stays up",
                act: |stage| stage.script("one", "{}"),
                ..STEP
            },
        ],
        ..ONE
    },
    Story {
        instances: &[],
        is_empty: true,
        steps: &[Step {
            situation: "there is no plugin",
            caller: "every call fails: not_found",
            told: &[],
            overall: "Up: there are no plugins",
            ..STEP
        }],
        ..ONE
    },
];
