//! The event log: the last events with their numbers, for clients that ask for them or follow.

use super::Host;
use extman_model::control::ControlError;
use extman_model::control::events::{EventsAnswer, EventsAsked, NumberedEvent};
use extman_model::{Event, What, clock};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// Events that are kept. What plugins write to their logs is none of them: it would push the others out.
const KEPT_MAX: usize = 2048;

pub(super) struct EventLog {
    kept: Mutex<Kept>,
    /// The newest number; `None` once nothing more will happen.
    newest: watch::Sender<Option<u64>>,
}

struct Kept {
    events: VecDeque<NumberedEvent>,
    last: u64,
}

impl EventLog {
    /// Keeps the events that come from here on.
    pub(super) fn start(mut received: Receiver<Event>) -> Arc<Self> {
        let log = Arc::new(EventLog::new(clock::unix_ms(clock::wall())));
        let keeping = Arc::downgrade(&log);
        tokio::spawn(async move {
            loop {
                let event = received.recv().await;
                let Some(log) = keeping.upgrade() else { return };
                match event {
                    Ok(event) => log.push(event),
                    Err(RecvError::Lagged(missed)) => log.skip(missed),
                    Err(RecvError::Closed) => return log.close(),
                }
            }
        });
        log
    }

    fn new(started_unix_ms: u64) -> Self {
        // No host counts a thousand events a millisecond, so the next one's numbers are greater than all of this one's.
        let last = started_unix_ms.saturating_mul(1000);
        EventLog {
            kept: Mutex::new(Kept {
                events: VecDeque::new(),
                last,
            }),
            newest: watch::Sender::new(Some(last)),
        }
    }

    fn push(&self, event: Event) {
        if matches!(event.what, What::Logged { .. }) {
            return;
        }
        let mut kept = self.kept();
        kept.last += 1;
        let number = kept.last;
        if kept.events.len() == KEPT_MAX {
            kept.events.pop_front();
        }
        kept.events.push_back(NumberedEvent { number, event });
        drop(kept);
        self.newest.send_if_modified(|newest| {
            newest.as_mut().is_some_and(|newest| {
                *newest = number;
                true
            })
        });
    }

    /// Missed events have numbers too, so that their absence is seen.
    fn skip(&self, missed: u64) {
        self.kept().last += missed;
    }

    /// Nothing more will happen: nobody waits any longer.
    pub(super) fn close(&self) {
        self.newest.send_replace(None);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, asked: &EventsAsked) -> EventsAnswer {
        let kept = self.kept();
        let after = asked.after.unwrap_or(0);
        let since = asked.since_unix_ms.unwrap_or(0);
        let events: Vec<_> = kept
            .events
            .iter()
            .filter(|event| event.number > after && event.event.at_unix_ms >= since)
            .cloned()
            .collect();
        // Of what is after the one that was named, all that is not there.
        let missed = asked.after.map_or(0, |after| {
            let there = kept.events.iter().filter(|event| event.number > after).count() as u64;
            kept.last.saturating_sub(after).saturating_sub(there)
        });
        EventsAnswer {
            events,
            last: kept.last,
            missed,
        }
    }

    async fn wait(&self, asked: EventsAsked) -> Result<EventsAnswer, ControlError> {
        let wait = Duration::from_millis(asked.wait_ms.min(EventsAsked::WAIT_MS_MAX));
        let mut newest = self.newest.subscribe();
        let come = async {
            loop {
                let answer = self.answer(&asked);
                if !answer.events.is_empty() || answer.missed > 0 {
                    return Ok(answer);
                }
                if newest.borrow_and_update().is_none() || newest.changed().await.is_err() {
                    return Err(ControlError::ShuttingDown);
                }
            }
        };
        match tokio::time::timeout(wait, come).await {
            Ok(come) => come,
            Err(_) => Ok(self.answer(&asked)),
        }
    }
}

impl Host {
    /// What happened lately, of the last 2048 events; where there is nothing, it is waited for as long as is asked.
    ///
    /// # Errors
    /// The host was shut down, and there are no further events.
    pub async fn recent_events(&self, asked: EventsAsked) -> Result<EventsAnswer, ControlError> {
        self.inner.event_log.wait(asked).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(path: u64) -> Event {
        Event {
            at_unix_ms: path,
            what: What::Vanished {
                path: path.to_string().into(),
            },
        }
    }

    fn numbers(answer: &EventsAnswer) -> Vec<u64> {
        answer.events.iter().map(|event| event.number).collect()
    }

    #[tokio::test]
    async fn client_that_goes_on_after_a_number_misses_none_and_receives_none_twice() {
        let log = EventLog::new(0);
        (1..=3).for_each(|at| log.push(gone(at)));
        let all = log.wait(EventsAsked::default()).await.unwrap();
        assert_eq!((numbers(&all), all.last, all.missed), (vec![1, 2, 3], 3, 0));
        let asked = |after| EventsAsked {
            after: Some(after),
            ..EventsAsked::default()
        };
        assert_eq!(numbers(&log.wait(asked(2)).await.unwrap()), [3]);
        let none = log.wait(asked(3)).await.unwrap();
        assert_eq!((numbers(&none), none.last), (vec![], 3));
        log.skip(2);
        log.push(gone(6));
        let more = log.wait(asked(3)).await.unwrap();
        assert_eq!((numbers(&more), more.missed), (vec![6], 2));
        let since = EventsAsked {
            since_unix_ms: Some(3),
            ..EventsAsked::default()
        };
        assert_eq!(numbers(&log.wait(since).await.unwrap()), [3, 6]);
    }

    #[tokio::test]
    async fn a_full_log_forgets_the_oldest_and_says_how_many() {
        let log = EventLog::new(0);
        let all = KEPT_MAX as u64 + 5;
        (1..=all).for_each(|at| log.push(gone(at)));
        let asked = EventsAsked {
            after: Some(2),
            ..EventsAsked::default()
        };
        let answer = log.wait(asked).await.unwrap();
        assert_eq!(
            (answer.missed, answer.events.len(), answer.last),
            (3, KEPT_MAX, all)
        );
        assert_eq!(answer.events[0].number, 6);
    }

    #[tokio::test]
    async fn client_that_waits_receives_the_next_event_and_the_end() {
        let log = Arc::new(EventLog::new(0));
        let asked = |after| EventsAsked {
            after: Some(after),
            wait_ms: EventsAsked::WAIT_MS_MAX,
            ..EventsAsked::default()
        };
        let waiting = log.clone();
        let waits = tokio::spawn(async move { waiting.wait(asked(0)).await });
        tokio::task::yield_now().await;
        log.push(gone(1));
        assert_eq!(numbers(&waits.await.unwrap().unwrap()), [1]);
        let waiting = log.clone();
        let waits = tokio::spawn(async move { waiting.wait(asked(1)).await });
        tokio::task::yield_now().await;
        log.close();
        assert_eq!(waits.await.unwrap(), Err(ControlError::ShuttingDown));
    }
}
