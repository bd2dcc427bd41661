//! `extman events`.

use super::args::Target;
use super::backend::Backend;
use super::fault::Fault;
use super::screen::{Outcome, Rendered, Screen};
use super::session::{self, Session};
use super::text::plain;
use extman_model::clock;
use extman_model::control::events::{EventsAnswer, EventsAsked, NumberedEvent};
use extman_model::control::{Command, since_ms};
use extman_model::moment::utc;

#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    /// Only of these plugins
    names: Vec<String>,
    /// Go on, and show each event as it happens; ends with the host
    #[arg(long, short)]
    follow: bool,
    /// From how far back on, such as 90s, 15m or 24h [default: all that is kept; the last ten with --follow]
    #[arg(long, value_name = "DURATION", value_parser = since_ms)]
    since: Option<u64>,
    #[arg(skip)]
    pub(super) target: Target,
}

/// Events before the first one that is followed.
const BEFORE: usize = 10;

pub(super) fn run(args: &Events, backend: &dyn Backend, screen: &mut Screen) -> Result<Outcome, Fault> {
    let now = clock::unix_ms(clock::wall());
    let asked = EventsAsked {
        since_unix_ms: args.since.map(|ms| now.saturating_sub(ms)),
        ..EventsAsked::default()
    };
    let (outcome, _) = session::with(&args.target, backend, |host| {
        let mut answer: EventsAnswer = host.ask(Command::Events(asked))?;
        answer.events.retain(|event| args.wants(event));
        if args.follow {
            let first = match args.since {
                Some(_) => 0,
                None => answer.events.len().saturating_sub(BEFORE),
            };
            answer.events.drain(..first);
            return follow(args, host, answer, screen);
        }
        let lines: Vec<String> = answer.events.iter().map(line).collect();
        let text = match lines.is_empty() {
            true => "Nothing happened.".to_owned(),
            false => lines.join("\n"),
        };
        Rendered::new(&answer, text).map(Outcome::Rendered)
    })?;
    Ok(outcome)
}

impl Events {
    fn wants(&self, event: &NumberedEvent) -> bool {
        let instance = event.event.what.instance();
        self.names.is_empty()
            || instance.is_some_and(|instance| self.names.iter().any(|name| name == instance))
    }
}

/// Until nobody reads any more, or the host ends.
fn follow(
    args: &Events,
    host: &Session,
    mut answer: EventsAnswer,
    screen: &mut Screen,
) -> Result<Outcome, Fault> {
    loop {
        if answer.missed > 0 && !screen.json {
            let text = format!("… {} events were not kept\n", answer.missed);
            screen.write(text.as_bytes());
        }
        for event in answer.events.iter().filter(|event| args.wants(event)) {
            let read = if screen.json {
                screen.write_json(event)
            } else {
                screen.write(format!("{}\n", line(event)).as_bytes())
            };
            if !read {
                return Ok(Outcome::Written);
            }
        }
        answer = host.ask(Command::Events(EventsAsked {
            after: Some(answer.last),
            since_unix_ms: None,
            wait_ms: EventsAsked::WAIT_MS_MAX,
        }))?;
    }
}

/// One line, whatever is in it.
fn line(event: &NumberedEvent) -> String {
    let what = &event.event.what;
    let name = what
        .instance()
        .map(|name| format!("{name}: "))
        .unwrap_or_default();
    let text = plain(&format!("{name}{what}")).replace('\n', " ");
    format!("{}  {text}", utc(event.event.at_unix_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_one_line_that_drives_no_terminal() {
        let event: NumberedEvent = serde_json::from_value(json!({
            "number": 7, "at_unix_ms": 1_700_000_000_000_u64, "event": "health", "name": "lang", "from": "up", "to": "down",
            "cause": {"code": "says_down"}, "flapping": false, "text": "no\nroom\u{1b}[2J",
        }))
        .unwrap();
        assert_eq!(
            line(&event),
            "2023-11-14 22:13:20Z  lang: up → down: says that it is down: no\\nroom\u{fffd}[2J"
        );
    }
}
