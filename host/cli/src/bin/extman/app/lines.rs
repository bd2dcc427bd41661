//! One line of the log for each event, whatever texts of plugins or names of files are in it.

use extman_model::text::one_line_keeping;
use std::io::{self, Write};
use tracing_subscriber::fmt::MakeWriter;

/// Writes each event on one line.
pub(super) struct OneLine<M> {
    to: M,
    /// Whether the log has colours; then their sequences are the log's own, which has taken out those of others.
    colours: bool,
}

impl<M> OneLine<M> {
    pub fn new(to: M, colours: bool) -> Self {
        OneLine { to, colours }
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLine<M> {
    type Writer = LineWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter {
            to: self.to.make_writer(),
            colours: self.colours,
        }
    }
}

/// Takes one event at a time: each `write` is a whole one.
pub(super) struct LineWriter<W> {
    to: W,
    colours: bool,
}

impl<W: Write> Write for LineWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = one_line_keeping(text.trim_end_matches('\n'), |c| self.colours && c == '\u{1b}');
        // In one write, as lines of several threads come at once.
        self.to.write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_an_event_begins_no_line() {
        let mut written = Vec::new();
        let mut writer = LineWriter {
            to: &mut written,
            colours: false,
        };
        writer
            .write_all(b"WARN told\n2000-01-01 ERROR forged\r\x1b[2K\n")
            .unwrap();
        assert_eq!(
            String::from_utf8(written).unwrap(),
            "WARN told\\n2000-01-01 ERROR forged\u{fffd}\u{fffd}[2K\n"
        );
    }
}
