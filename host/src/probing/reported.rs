//! What an instance's reports tell of its named parts and of its connection: kept while later checks tell nothing of them, and published
//! when it changes.

use extman_health::Moment;
use extman_model::{Connection, ConnectionView, Health, Part, Report};
use std::time::Duration;

/// Changes of one instance that are published within [`WINDOW`]; a part that flaps must not fill the log.
const PUBLISHED_MAX: u8 = 10;
const WINDOW: Duration = Duration::from_secs(600);

/// A named part or the connection is otherwise than before.
#[derive(Debug, Clone, PartialEq)]
pub enum ReportChange {
    /// A named part.
    Part {
        /// Which.
        name: String,
        /// How it was; `None` if it was not told of before.
        from: Option<Health>,
        /// How it is.
        to: Health,
        /// What was seen.
        text: String,
    },
    /// The connection.
    Connection {
        /// How it was.
        from: Connection,
        /// How it is.
        to: Connection,
    },
}

/// Parts and connection, as they were told last.
#[derive(Debug, Default)]
pub(super) struct Reported {
    pub parts: Vec<Part>,
    pub connection: Option<ConnectionView>,
    window: Option<Moment>,
    published: u8,
}

impl Reported {
    /// Whether a report tells of anything that is kept here.
    pub fn is_told_by(report: &Report) -> bool {
        !report.parts.is_empty() || report.connection.is_some()
    }

    /// Takes over what a report tells. Gives what is otherwise than before, as much of it as is to be published.
    pub fn take(&mut self, report: &Report, (now, unix_ms): (Moment, u64)) -> Vec<ReportChange> {
        let mut changes = Vec::new();
        if let Some(to) = report.connection
            && self.connection.is_none_or(|before| before.state != to)
        {
            if let Some(before) = self.connection {
                changes.push(ReportChange::Connection {
                    from: before.state,
                    to,
                });
            }
            let since_unix_ms = unix_ms.saturating_sub(report.connection_age_ms.unwrap_or(0));
            self.connection = Some(ConnectionView {
                state: to,
                since_unix_ms,
            });
        }
        for part in &report.parts {
            let before = self.parts.iter().find(|before| before.name == part.name);
            let from = before.map(|before| before.health);
            // A part that is well when it is first told of is no news.
            if from.unwrap_or(Health::Up) != part.health {
                changes.push(ReportChange::Part {
                    name: part.name.clone(),
                    from,
                    to: part.health,
                    text: part.message.clone(),
                });
            }
        }
        if !report.parts.is_empty() {
            self.parts.clone_from(&report.parts);
        }
        self.within_limit(changes, now)
    }

    fn within_limit(&mut self, mut changes: Vec<ReportChange>, now: Moment) -> Vec<ReportChange> {
        if changes.is_empty() {
            return changes;
        }
        if self.window.is_none_or(|since| now.since(since) >= WINDOW) {
            (self.window, self.published) = (Some(now), 0);
        }
        changes.truncate(usize::from(PUBLISHED_MAX - self.published));
        self.published += changes.len() as u8;
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(health: Health) -> Report {
        Report {
            parts: vec![Part {
                name: "model".to_owned(),
                health,
                message: "as told".to_owned(),
                duration_ns: Some(5),
                value: Some(0.5),
            }],
            ..Report::default()
        }
    }

    fn connection(state: Connection) -> Report {
        Report {
            connection: Some(state),
            connection_age_ms: Some(400),
            ..Report::default()
        }
    }

    fn at(second: u64) -> (Moment, u64) {
        (Moment::from_nanos(second * 1_000_000_000), second * 1000)
    }

    #[test]
    fn part_that_changes_is_published_once_and_kept_while_nothing_is_told_of_it() {
        let mut reported = Reported::default();
        assert_eq!(reported.take(&part(Health::Up), at(1)), []);
        let to_down = ReportChange::Part {
            name: "model".to_owned(),
            from: Some(Health::Up),
            to: Health::Down,
            text: "as told".to_owned(),
        };
        assert_eq!(reported.take(&part(Health::Down), at(2)), [to_down]);
        assert_eq!(reported.take(&part(Health::Down), at(3)), []);
        assert_eq!(reported.take(&Report::default(), at(4)), []);
        let kept = &reported.parts[0];
        assert_eq!(
            (kept.health, kept.value, kept.duration_ns),
            (Health::Down, Some(0.5), Some(5))
        );
        let mut bad_at_first = Reported::default();
        assert_eq!(bad_at_first.take(&part(Health::Degraded), at(1)).len(), 1);
    }

    #[test]
    fn connection_that_changes_is_published_with_since_when_it_is_so() {
        let mut reported = Reported::default();
        assert_eq!(reported.take(&connection(Connection::Connected), at(1)), []);
        let broken = ReportChange::Connection {
            from: Connection::Connected,
            to: Connection::Broken,
        };
        assert_eq!(reported.take(&connection(Connection::Broken), at(2)), [broken]);
        assert_eq!(reported.take(&connection(Connection::Broken), at(3)), []);
        let expected = ConnectionView {
            state: Connection::Broken,
            since_unix_ms: 1600,
        };
        assert_eq!(reported.connection, Some(expected));
    }

    #[test]
    fn part_that_flaps_is_published_ten_times_in_ten_minutes() {
        let mut reported = Reported::default();
        let mut published = 0;
        for second in 1..=1300 {
            let health = if second % 2 == 0 { Health::Up } else { Health::Down };
            published += reported.take(&part(health), at(second)).len();
        }
        assert_eq!(published, 30);
    }
}
