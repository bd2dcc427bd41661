//! Where answers go: text or one JSON envelope to standard output, faults to standard error.

use super::fault::{Exit, Fault};
use super::text::wrap_hanging;
use extman_model::clock;
use extman_model::control::{Envelope, Failure};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::sync::OnceLock;

/// What a command came to.
pub(super) enum Outcome {
    /// To be shown: as text, or as data in the envelope.
    Rendered(Rendered),
    /// It has written what there is to write.
    Written,
}

/// What a command found out.
#[derive(Debug)]
pub(super) struct Rendered {
    pub(super) text: String,
    pub(super) data: Box<RawValue>,
    pub(super) warnings: Vec<String>,
    /// Why the exit code says that it failed, although there is something to show.
    pub(super) refused: Option<Failure>,
    /// The exit code of what was done.
    pub(super) exit: Exit,
}

impl Rendered {
    pub(super) fn new(data: &impl Serialize, text: String) -> Result<Rendered, Fault> {
        let data = to_raw_value(data).map_err(|error| {
            Fault::failed(
                "internal",
                format!("the answer can't be written as JSON: {error}"),
            )
        })?;
        Ok(Rendered {
            text,
            data,
            warnings: Vec::new(),
            refused: None,
            exit: Exit::Done,
        })
    }

    /// The same of what may be large: only what is shown is made, the data or the text.
    pub(super) fn shown(
        json: bool,
        data: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<Rendered, Fault> {
        match json {
            true => Rendered::new(data, String::new()),
            false => Rendered::new(&(), text()),
        }
    }

    /// It was looked at, and refused.
    pub(super) fn refused(self, text: impl Into<String>) -> Rendered {
        Rendered {
            refused: Some(Failure::new("refused", text)),
            exit: Exit::Failed,
            ..self
        }
    }
}

/// How text may look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) width: usize,
    pub(super) colour: bool,
    pub(super) now_unix_ms: u64,
}

/// Standard output, and what it is.
pub(super) struct Screen {
    pub(super) json: bool,
    pub(super) terminal: bool,
    pub(super) look: Look,
    /// Lines that are in sight of whoever reads what scrolled by: of a terminal only.
    pub(super) height: Option<usize>,
    out: Box<dyn Write>,
    /// Why the answer could not be written; nothing if it was, or if nobody reads any more.
    not_written: Option<std::io::Error>,
}

/// Standard output, if it was taken from everybody else in this process.
static TAKEN: OnceLock<File> = OnceLock::new();

/// From here on, answers go to this file.
pub(super) fn answer_to(out: File) {
    let _ = TAKEN.set(out);
}

/// What answers go to.
pub(super) fn out() -> Box<dyn Write> {
    match TAKEN.get() {
        Some(taken) => Box::new(taken),
        None => Box::new(std::io::stdout()),
    }
}

/// As [`out`], for questions to a terminal.
pub(super) fn out_fd() -> BorrowedFd<'static> {
    TAKEN
        .get()
        .map_or_else(|| rustix::stdio::stdout(), |taken| taken.as_fd())
}

impl Screen {
    pub(super) fn of_process(json: bool) -> Screen {
        let terminal = out_fd().is_terminal();
        let (columns, rows) = size();
        let columns = columns.or_else(|| std::env::var("COLUMNS").ok()?.parse().ok());
        Screen {
            json,
            terminal,
            look: Look {
                width: columns.unwrap_or(80).clamp(WIDTH_MIN, WIDTH_MAX),
                colour: colour(terminal, |name| std::env::var(name).ok()),
                now_unix_ms: clock::unix_ms(clock::wall()),
            },
            height: terminal.then_some(rows.unwrap_or(24)),
            out: out(),
            not_written: None,
        }
    }

    /// Writes as it is, and at once. `false` if nobody reads any more.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        let written = self.out.write_all(bytes).and_then(|()| self.out.flush());
        let is_written = written.is_ok();
        if let Err(error) = written
            && error.kind() != std::io::ErrorKind::BrokenPipe
        {
            self.not_written.get_or_insert(error);
        }
        is_written
    }

    /// Writes one JSON value on a line of its own.
    pub(super) fn write_json(&mut self, value: &impl Serialize) -> bool {
        let mut line = serde_json::to_vec(value).unwrap_or_default();
        line.push(b'\n');
        self.write(&line)
    }

    /// Shows what a command came to. A reader that has gone away changes nothing of the exit code; an answer that can't be written,
    /// as on a full disk, is a failure.
    pub(super) fn finish(&mut self, word: &str, outcome: Result<Outcome, Fault>) -> ExitCode {
        let exit = match outcome {
            Ok(Outcome::Written) => Exit::Done,
            Ok(Outcome::Rendered(rendered)) => self.show(word, rendered),
            Err(fault) => self.blame(word, fault),
        };
        let Some(error) = self.not_written.take() else {
            return ExitCode::from(exit as u8);
        };
        let text =
            format!("error: the answer could not be written: {error}; look at what standard output leads to");
        say(&text, self.look.width);
        ExitCode::from(Exit::Failed as u8)
    }

    /// Shows what was found out, now.
    pub(super) fn show(&mut self, word: &str, rendered: Rendered) -> Exit {
        let exit = rendered.exit;
        if self.json {
            let mut envelope = Envelope::done(word, rendered.data);
            envelope.warnings = rendered.warnings;
            envelope.ok = rendered.refused.is_none();
            envelope.error = rendered.refused;
            self.write_json(&envelope);
        } else {
            self.write(format!("{}\n", rendered.text.trim_end()).as_bytes());
            for warning in rendered.warnings {
                say(&format!("warning: {warning}"), self.look.width);
            }
        }
        exit
    }

    fn blame(&mut self, word: &str, fault: Fault) -> Exit {
        let Fault {
            exit,
            failure,
            mut each,
            next,
        } = fault;
        if self.json {
            let mut failure = failure;
            if let Some(next) = next {
                failure.text = format!("{}; {next}", failure.text);
            }
            self.write_json(&Envelope::<()>::failed(word, *failure));
            return exit;
        }
        if each.is_empty() {
            each.push(with_kind(&failure.kind, &failure.text));
        }
        for text in each {
            say(&format!("error: {text}"), self.look.width);
        }
        if let Some(ms) = failure.retry_after_ms {
            say(
                &format!("  next: try again in {}", super::duration::wait(ms)),
                self.look.width,
            );
        }
        if let Some(next) = next {
            say(&format!("  next: {next}"), self.look.width);
        }
        exit
    }
}

/// A failure's text after its kind, where that says something more than the text.
fn with_kind(kind: &str, text: &str) -> String {
    let kind = match kind {
        "usage" | "no_host" | "failed" | "conflict" | "not_found" | "refused" => return text.to_owned(),
        kind => kind.replace('_', " "),
    };
    match text.starts_with(&kind) {
        true => text.to_owned(),
        false => format!("{kind}: {text}"),
    }
}

#[cfg(test)]
pub(super) mod memory {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// What was written.
    #[derive(Clone, Default)]
    pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Screen {
        /// A terminal or not, that keeps what is written.
        pub(crate) fn into_memory(terminal: bool) -> (Screen, Written) {
            let written = Written::default();
            let look = Look {
                width: 80,
                colour: false,
                now_unix_ms: 0,
            };
            let screen = Screen {
                json: false,
                terminal,
                look,
                height: None,
                out: Box::new(written.clone()),
                not_written: None,
            };
            (screen, written)
        }
    }
}

impl Look {
    /// How long ago that was.
    pub(super) fn since(&self, unix_ms: u64) -> String {
        super::duration::long(self.now_unix_ms.saturating_sub(unix_ms))
    }
}

/// Texts are wrapped at no less, and at no more: lines of a thousand columns are read by nobody.
pub(super) const WIDTH_MIN: usize = 40;
pub(super) const WIDTH_MAX: usize = 400;

/// Columns and lines of the terminal, where it is one and says so.
pub(super) fn size() -> (Option<usize>, Option<usize>) {
    let size = rustix::termios::tcgetwinsize(out_fd()).ok();
    let of = |cells: u16| (cells > 0).then_some(usize::from(cells));
    (
        size.and_then(|size| of(size.ws_col)),
        size.and_then(|size| of(size.ws_row)),
    )
}

/// To standard error.
pub(super) fn say(text: &str, width: usize) {
    let _ = writeln!(std::io::stderr(), "{}", wrap_hanging(text, width));
}

/// Whether there are colours: <https://no-color.org>, <https://bixense.com/clicolors>.
fn colour(terminal: bool, env: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name| env(name).filter(|value| !value.is_empty());
    if set("NO_COLOR").is_some() {
        return false;
    }
    if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    terminal
        && set("CLICOLOR").is_none_or(|value| value != "0")
        && set("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_its_kind_once() {
        assert_eq!(with_kind("panicked", "panicked: as told"), "panicked: as told");
        assert_eq!(
            with_kind("not_serving", "it is failed"),
            "not serving: it is failed"
        );
        assert_eq!(with_kind("usage", "no name"), "no name");
    }

    #[test]
    fn colours_only_where_they_are_wanted() {
        let with = |terminal, pairs: &[(&str, &str)]| {
            colour(terminal, |name| {
                let found = pairs.iter().find(|(n, _)| *n == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(with(true, &[]) && with(true, &[("NO_COLOR", "")]) && with(true, &[("CLICOLOR", "1")]));
        assert!(!with(false, &[]) && !with(false, &[("CLICOLOR", "1")]));
        assert!(!with(true, &[("NO_COLOR", "1")]) && !with(true, &[("CLICOLOR", "0")]));
        assert!(with(false, &[("CLICOLOR_FORCE", "1")]) && !with(false, &[("CLICOLOR_FORCE", "0")]));
        assert!(!with(true, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]));
        assert!(!with(true, &[("TERM", "dumb")]));
    }

    #[test]
    fn further_lines_hang() {
        assert_eq!(
            wrap_hanging("error: one two three four five", 24),
            "error: one two three\n  four five"
        );
        assert_eq!(wrap_hanging("  next: a", 24), "  next: a");
    }
}
