//! `extman call`.

use super::args::Target;
use super::backend::Backend;
use super::duration::{self, lasted, short};
use super::fault::Fault;
use super::json_problem::json_problem;
use super::screen::{Outcome, Rendered, Screen, say};
use super::session;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use extman_model::control::{Invocation, Invoked};
use extman_model::{RequestExtras, clock};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Call {
    /// The capability's name, as `extman capabilities` shows it
    capability: String,
    /// Only this instance [default: whichever serves first]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// JSON or text; @FILE is a file's content, - is standard input [default: nothing]
    #[arg(long, value_name = "INPUT", allow_hyphen_values = true)]
    input: Option<String>,
    /// Media type of the input [default: JSON, text or bytes, as it looks]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Print the answer's frames as they come
    #[arg(long)]
    stream: bool,
    /// How long to wait, such as 500ms, 5s, 2m [default: the host's]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// What the plugin gets beside the input, such as `tenant=a` or `idempotency-key=7`; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// The version of the capability's contract that is meant
    #[arg(long, value_name = "VERSION")]
    capability_version: Option<String>,
    #[command(flatten)]
    pub(super) target: Target,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
        !key.is_empty() && key.bytes().all(fits)
    });
    let (key, value) =
        pair.ok_or("write KEY=VALUE, the key in lowercase letters, digits, '-', '.' and '_'")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn run(args: Call, backend: &dyn Backend, screen: &mut Screen) -> Result<Outcome, Fault> {
    let body = args.input.as_deref().map(input).transpose()?.unwrap_or_default();
    let content_type = match args.content_type {
        Some(content_type) => content_type,
        None => looks_like(&body).to_owned(),
    };
    let invocation = Invocation {
        capability: args.capability,
        instance: args.instance,
        content_type,
        body,
        timeout: args.timeout,
        extras: RequestExtras {
            capability_version: args.capability_version.unwrap_or_default(),
            metadata: args.metadata,
            ..RequestExtras::NONE
        },
    };
    if args.stream {
        stream(&args.target, backend, invocation, screen)
    } else {
        whole(&args.target, backend, invocation, screen)
    }
}

const INPUT_BYTES_MAX: u64 = 1 << 30;

/// What `--input` stands for.
fn input(text: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = match text {
        "-" => std::io::stdin().take(INPUT_BYTES_MAX).read_to_end(&mut bytes),
        _ => match text.strip_prefix('@') {
            Some(path) => {
                std::fs::File::open(path).and_then(|file| file.take(INPUT_BYTES_MAX).read_to_end(&mut bytes))
            }
            None => return inline(text),
        },
    };
    match read {
        Err(error) => Err(Fault::usage(format!("--input {text}: {error}; check the path"))),
        Ok(read) if read as u64 == INPUT_BYTES_MAX => Err(Fault::usage(format!(
            "--input {text} has more than 1 GiB; send less"
        ))),
        Ok(_) => Ok(bytes),
    }
}

/// Text that starts as JSON and is none was mistyped.
fn inline(text: &str) -> Result<Vec<u8>, Fault> {
    if text.trim_start().starts_with(['{', '[', '"'])
        && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text)
    {
        let fault = Fault::usage(format!("--input is no JSON: {}", json_problem(&error, text)));
        return Err(fault.next(
            "put it into single quotes as in --input '{\"text\": \"hi\"}', or into a file and give --input @FILE",
        ));
    }
    Ok(text.as_bytes().to_vec())
}

fn looks_like(body: &[u8]) -> &'static str {
    if body.is_empty() {
        "application/octet-stream"
    } else if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
        "application/json"
    } else if std::str::from_utf8(body).is_ok() {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    }
}

fn whole(
    target: &Target,
    backend: &dyn Backend,
    invocation: Invocation,
    screen: &mut Screen,
) -> Result<Outcome, Fault> {
    let (invoked, warnings) = session::with(target, backend, |host| host.invoke(invocation))?;
    if screen.json {
        let mut data = facts(&invoked);
        put_output(&mut data, &invoked.reply.body);
        let mut rendered = Rendered::new(&data, String::new())?;
        rendered.warnings = warnings;
        return Ok(Outcome::Rendered(rendered));
    }
    show(&invoked.reply.body, &invoked.reply.content_type, screen);
    epilogue(&invoked, &warnings, screen);
    Ok(Outcome::Written)
}

fn stream(
    target: &Target,
    backend: &dyn Backend,
    invocation: Invocation,
    screen: &mut Screen,
) -> Result<Outcome, Fault> {
    let (done, warnings) = session::with(target, backend, |host| {
        host.invoke_stream(invocation, |frame| {
            if screen.json {
                let mut line = json!({ "event": "frame" });
                put_output(&mut line, frame);
                screen.write_json(&line)
            } else {
                show(frame, "frames", screen)
            }
        })
    })?;
    let Some(invoked) = done else {
        return Ok(Outcome::Written);
    };
    if screen.json {
        let mut rendered = Rendered::new(&facts(&invoked), String::new())?;
        rendered.warnings = warnings;
        return Ok(Outcome::Rendered(rendered));
    }
    if screen.terminal {
        screen.write(b"\n");
    }
    epilogue(&invoked, &warnings, screen);
    Ok(Outcome::Written)
}

fn facts(invoked: &Invoked) -> Value {
    let metadata: BTreeMap<_, _> = invoked.reply.metadata.iter().cloned().collect();
    let mut facts = json!({
        "served_by": &*invoked.served_by,
        "degraded": invoked.degraded.is_some(),
        "degraded_reason": invoked.degraded.as_deref(),
        "attempts": invoked.attempts,
        "content_type": invoked.reply.content_type,
        "ran_ns": u64::try_from(invoked.reply.ran.as_nanos()).unwrap_or(u64::MAX),
        "usage": invoked.reply.usage,
        "metadata": metadata,
    });
    if let Some(age) = invoked.age {
        facts["age_ms"] = clock::millis(age).into();
    }
    facts
}

/// Output as JSON if it is, else as text if it is, else in base64.
fn put_output(data: &mut Value, body: &[u8]) {
    if let Ok(json) = serde_json::from_slice::<Value>(body) {
        data["json"] = json;
    } else if let Ok(text) = std::str::from_utf8(body) {
        data["text"] = text.into();
    } else {
        data["base64"] = STANDARD.encode(body).into();
    }
}

/// As it is; but a terminal gets text only, and none that drives it.
fn show(body: &[u8], content_type: &str, screen: &mut Screen) -> bool {
    if !screen.terminal {
        return screen.write(body);
    }
    match std::str::from_utf8(body) {
        Ok(text) => screen.write(super::text::plain_lines(text).as_bytes()),
        Err(_) => {
            let what = format!(
                "[{} bytes of {content_type}: redirect them into a file]",
                body.len()
            );
            screen.write(super::text::plain_lines(&what).as_bytes())
        }
    }
}

/// Who served, for people who watch; that it was not the first choice, and warnings, for all.
fn epilogue(invoked: &Invoked, warnings: &[String], screen: &mut Screen) {
    if screen.terminal && !invoked.reply.body.is_empty() && !invoked.reply.body.ends_with(b"\n") {
        screen.write(b"\n");
    }
    if screen.terminal && std::io::stderr().is_terminal() {
        let ran = short(u64::try_from(invoked.reply.ran.as_nanos()).unwrap_or(u64::MAX));
        let attempts = match invoked.attempts {
            0 | 1 => String::new(),
            more => format!(", the {more}. instance that was called"),
        };
        say(
            &format!("served by {}, ran {ran}{attempts}", invoked.served_by),
            screen.look.width,
        );
    }
    if let Some(reason) = &invoked.degraded {
        let text = match invoked.age {
            Some(age) => format!(
                "warning: degraded: this answer was given {} ago, as {reason}",
                lasted(clock::millis(age))
            ),
            None => format!("warning: degraded: {} served, as {reason}", invoked.served_by),
        };
        say(&text, screen.look.width);
    }
    for warning in warnings {
        say(&format!("warning: {warning}"), screen.look.width);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Exit;

    #[test]
    fn inputs_are_text_files_or_refused() {
        assert_eq!(input("hello").unwrap(), b"hello");
        assert_eq!(input(r#"{"a": [1]}"#).unwrap(), br#"{"a": [1]}"#);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in");
        std::fs::write(&path, [0xff, 1]).unwrap();
        assert_eq!(input(&format!("@{}", path.display())).unwrap(), [0xff, 1]);
        for text in ["{a: 1}", "[1", "@/does/not/exist"] {
            let fault = input(text).unwrap_err();
            assert_eq!(fault.exit, Exit::Usage, "{text}");
        }
    }

    #[test]
    fn an_answer_ends_its_line_on_a_terminal_and_nowhere_else() {
        let after = |terminal, body: &[u8]| {
            let (mut screen, written) = Screen::into_memory(terminal);
            let invoked = Invoked {
                served_by: "a".into(),
                degraded: None,
                attempts: 1,
                age: None,
                reply: extman_model::Reply {
                    content_type: "text/plain".to_owned().into(),
                    body: body.to_vec(),
                    usage: extman_model::Usage::default(),
                    metadata: Vec::new(),
                    ran: Duration::from_nanos(1),
                },
            };
            show(&invoked.reply.body, "text/plain", &mut screen);
            epilogue(&invoked, &[], &mut screen);
            written.text()
        };
        assert_eq!(after(true, b"an answer"), "an answer\n");
        assert_eq!(after(true, b"an answer\n"), "an answer\n");
        assert_eq!(after(true, b""), "");
        assert_eq!(after(false, b"an answer"), "an answer");
    }

    #[test]
    fn media_types_follow_from_the_bytes() {
        assert_eq!(looks_like(b" {\"a\": 1}"), "application/json");
        assert_eq!(looks_like("zwölf".as_bytes()), "text/plain; charset=utf-8");
        assert_eq!(looks_like(&[0xff]), "application/octet-stream");
        assert_eq!(looks_like(b""), "application/octet-stream");
    }

    #[test]
    fn output_is_shown_in_the_best_form_for_it() {
        let of = |body: &[u8]| {
            let mut data = json!({});
            put_output(&mut data, body);
            data
        };
        assert_eq!(of(br#"{"a":1}"#), json!({"json": {"a": 1}}));
        assert_eq!(of(b"a"), json!({"text": "a"}));
        assert_eq!(of(&[0xff, 0]), json!({"base64": "/wA="}));
    }
}
