//! `extman health --watch`: a page that is redrawn in place on a terminal, a line for each change in a pipe.

use super::backend::Backend;
use super::bars::alarm;
use super::duration::lasted;
use super::fault::{Exit, Fault};
use super::health::{Health, Layout, rendered};
use super::screen::{Look, Outcome, Screen, WIDTH_MAX, WIDTH_MIN, out, size};
use super::session;
use super::text::{plain, wrap};
use extman_model::clock;
use extman_model::control::{Answer, Envelope};
use extman_model::moment::utc;
use std::io::Write;
use std::time::Duration;

/// Asks again and again. Ends when nobody reads any more, or with the process.
pub(super) fn run(
    args: &Health,
    interval: Duration,
    backend: &dyn Backend,
    screen: &mut Screen,
) -> Result<Outcome, Fault> {
    let page = screen.terminal && !screen.json;
    if page {
        restore_at_the_end();
        screen.write(OPEN.as_bytes());
    }
    let (mut seen, mut lines) = (Seen::default(), String::new());
    let ended = loop {
        let answered = session::with(&args.target, backend, |host| args.ask(host));
        let now = clock::unix_ms(clock::wall());
        screen.look.now_unix_ms = now;
        match answered {
            // Arguments that can't be used will not become better.
            Err(fault) if fault.exit != Exit::NoHost => break Err(fault),
            Err(fault) => seen.lost(fault, now),
            Ok((answer, _)) => seen.found(answer, now),
        }
        let read = if screen.json {
            screen.write_json(&seen.envelope(args.word()))
        } else if page {
            let (width, height) = size();
            let width = width.map(|width| width.clamp(WIDTH_MIN, WIDTH_MAX));
            screen.look.width = width.unwrap_or(screen.look.width);
            let page = format!("{}\n\n{}", heading(now, interval), seen.page(&screen.look));
            screen.write(frame(&page, height).as_bytes())
        } else {
            let line = seen.line();
            let changed = line != lines;
            lines = line;
            !changed || screen.write(format!("{} {lines}\n", utc(now)).as_bytes())
        };
        if !read {
            break Ok(Outcome::Written);
        }
        std::thread::sleep(interval);
    };
    if page {
        screen.write(CLOSE.as_bytes());
    }
    ended
}

/// A host that hangs is waited for; the time of the last answer stands still meanwhile.
fn heading(now: u64, interval: Duration) -> String {
    format!(
        "{}, asked every {}",
        utc(now),
        lasted(interval.as_millis() as u64)
    )
}

/// The alternate screen, without a cursor; and back.
const OPEN: &str = "\u{1b}[?1049h\u{1b}[?25l";
const CLOSE: &str = "\u{1b}[?25h\u{1b}[?1049l";

/// The last answer.
#[derive(Default)]
struct Seen {
    answer: Option<Answer>,
    answered_unix_ms: Option<u64>,
    lost: Option<(u64, Fault)>,
}

impl Seen {
    fn found(&mut self, answer: Answer, now: u64) {
        (self.answer, self.answered_unix_ms, self.lost) = (Some(answer), Some(now), None);
    }

    fn lost(&mut self, fault: Fault, now: u64) {
        let since = self.lost.take().map_or(now, |(since, _)| since);
        self.lost = Some((since, fault));
    }

    /// What was known before a host went away is shown without colours: it may be otherwise by now.
    fn page(&self, look: &Look) -> String {
        let known = |look: &Look| {
            let answer = self.answer.as_ref()?;
            rendered(answer, look, Layout::default())
                .ok()
                .map(|rendered| rendered.text)
        };
        let Some((since, fault)) = &self.lost else {
            return known(look).unwrap_or_default();
        };
        let headline = alarm(&self.silence(*since), look.colour);
        let why = wrap(&fault.failure.text, look.width, 2);
        let mut text = format!("{headline}\n{why}");
        let then = Look {
            colour: false,
            now_unix_ms: self.answered_unix_ms.unwrap_or(look.now_unix_ms),
            ..*look
        };
        if let (Some(known), Some(at)) = (known(&then), self.answered_unix_ms) {
            text.push_str(&format!(
                "\n\nAs it was at {}, and may not be now:\n\n{known}",
                utc(at)
            ));
        }
        text
    }

    fn line(&self) -> String {
        if let Some((since, _)) = &self.lost {
            return self.silence(*since);
        }
        match &self.answer {
            Some(Answer::Health(health)) => plain(&health.overall.sentence),
            Some(Answer::PluginHealth(plugin)) => {
                let word = plugin.health.judged.health.as_str();
                plain(&format!("{}: {word}: {}", plugin.name, plugin.health.reason))
            }
            _ => String::new(),
        }
    }

    fn silence(&self, since: u64) -> String {
        format!("no answer from the host since {}", utc(since))
    }

    fn envelope(&self, word: &str) -> Envelope<serde_json::Value> {
        match (&self.lost, &self.answer) {
            (Some((_, fault)), _) => Envelope::failed(word, (*fault.failure).clone()),
            (None, answer) => Envelope::done(word, serde_json::to_value(answer).unwrap_or_default()),
        }
    }
}

/// The whole page in one write: each line over the one before, the rest of the screen cleared after it.
fn frame(text: &str, height: Option<usize>) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = height.unwrap_or(usize::MAX).saturating_sub(1).max(1);
    let mut frame = String::from("\u{1b}[H");
    let shown = if lines.len() > room { room - 1 } else { lines.len() };
    for line in &lines[..shown] {
        frame.push_str(line);
        frame.push_str("\u{1b}[K\r\n");
    }
    if lines.len() > shown {
        frame.push_str(&format!("… and {} lines more\u{1b}[K\r\n", lines.len() - shown));
    }
    frame.push_str("\u{1b}[J");
    frame
}

/// A signal ends the program at once, whatever it waits for, and leaves the terminal as it was.
fn restore_at_the_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let watch = async || -> std::io::Result<i32> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        Ok(tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
            _ = hangup.recv() => 129,
        })
    };
    let wait = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let code = runtime.block_on(watch())?;
        let mut out = out();
        let _ = out.write_all(CLOSE.as_bytes()).and_then(|()| out.flush());
        std::process::exit(code)
    };
    // Without it a signal ends the program all the same, and leaves the cursor hidden.
    let _ = std::thread::Builder::new().spawn(move || -> std::io::Result<()> { wait() });
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::control::report::PluginHealth;

    const LOOK: Look = Look {
        width: 80,
        colour: true,
        now_unix_ms: 1_700_000_060_000,
    };

    fn up() -> Answer {
        let plugin: PluginHealth = serde_json::from_value(serde_json::json!({
            "name": "lang", "id": "lang", "kind": "ai", "required": false, "covered": false, "lifecycle": "running",
            "health": {"health": "up", "cause": {"code": "answers"}, "reason": "answers its checks",
                "since_unix_ms": 1_700_000_000_000_u64, "left_out": false, "failed_checks": 0,
                "flapping_permille": 0, "figures": []},
            "recent": ["up"], "checks_ns": [],
        }))
        .unwrap();
        Answer::PluginHealth(Box::new(plugin))
    }

    #[test]
    fn a_host_that_goes_away_leaves_nothing_green() {
        const GREEN: &str = "\u{1b}[32m";
        let mut seen = Seen::default();
        seen.found(up(), 1_700_000_000_000);
        assert!(seen.answer.is_some());
        assert!(seen.page(&LOOK).contains(GREEN));
        seen.lost(Fault::no_host("refused"), 1_700_000_001_000);
        seen.lost(Fault::no_host("refused again"), 1_700_000_060_000);
        let page = seen.page(&LOOK);
        assert!(!page.contains(GREEN), "{page:?}");
        for part in [
            "no answer from the host since 2023-11-14 22:13:21Z",
            "refused again",
            "As it was at 2023-11-14 22:13:20Z",
        ] {
            assert!(page.contains(part), "{part:?} is missing in\n{page}");
        }
        assert!(!seen.envelope("health").ok);
        seen.found(up(), 1_700_000_061_000);
        assert_eq!(seen.line(), "lang: up: answers its checks");
        assert!(seen.page(&LOOK).contains(GREEN) && seen.envelope("health").ok);
    }

    #[test]
    fn page_shows_its_time() {
        let rendered = heading(1_700_000_000_000, Duration::from_millis(500));
        assert_eq!(rendered, "2023-11-14 22:13:20Z, asked every 0.5 s");
    }

    #[test]
    fn a_frame_never_scrolls() {
        let text = frame("a\nb\nc\nd", Some(4));
        assert_eq!(
            text,
            "\u{1b}[Ha\u{1b}[K\r\nb\u{1b}[K\r\n… and 2 lines more\u{1b}[K\r\n\u{1b}[J"
        );
        assert_eq!(frame("a\nb\nc", Some(4)).matches("\r\n").count(), 3);
        assert_eq!(frame("a", None), "\u{1b}[Ha\u{1b}[K\r\n\u{1b}[J");
    }
}
