//! Reads server-sent events, as far as a host sends them: one line of data an event.

use std::io::{self, BufRead, Read};

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
}

/// Events from a body.
pub(super) struct Events<R> {
    body: R,
}

impl<R: BufRead> Events<R> {
    /// Longest line that is read.
    const LINE_BYTES_MAX: u64 = 64 << 20;

    pub(super) fn new(body: R) -> Self {
        Events { body }
    }

    /// The next event; `None` at the body's end.
    pub(super) fn next(&mut self) -> io::Result<Option<Event>> {
        let (mut name, mut data) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            let read = (&mut self.body).take(Self::LINE_BYTES_MAX).read_line(&mut line)?;
            if read == 0 {
                return Ok(None);
            }
            if !line.ends_with('\n') && read as u64 == Self::LINE_BYTES_MAX {
                return Err(io::Error::other("an event is larger than 64 MiB"));
            }
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() && !(name.is_empty() && data.is_empty()) {
                return Ok(Some(Event { name, data }));
            }
            // A line without a colon, or with one at its start, is a comment or a field of no interest.
            match line.split_once(':') {
                Some(("event", value)) => value.strip_prefix(' ').unwrap_or(value).clone_into(&mut name),
                Some(("data", value)) => value.strip_prefix(' ').unwrap_or(value).clone_into(&mut data),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_comments_are_not() {
        let text = ": keep-alive\n\nevent: frame\r\ndata: {\"text\":\"a: b\"}\r\n\r\n:\n\nevent:done\ndata:1\n\nevent: cut";
        let mut events = Events::new(text.as_bytes());
        let mut next = || events.next().unwrap().map(|event| (event.name, event.data));
        let pair = |name: &str, data: &str| Some((name.to_owned(), data.to_owned()));
        assert_eq!(next(), pair("frame", "{\"text\":\"a: b\"}"));
        assert_eq!(next(), pair("done", "1"));
        assert_eq!(next(), None, "an event that was cut off is none");
    }
}
