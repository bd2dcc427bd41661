//! Making them: who is due is asked, one after the other. What it costs is on the disk before anybody is asked.

use super::desk::{Desk, Flight, PREFIX};
use super::{Inner, Machine};
use crate::probing::{Asked, Candidate};
use extman_health::deep::Refused;
use extman_model::clock::{self, nanos};
use extman_model::{CheckKind, CheckOutcome, CheckView, DeepResult, ErrorKind, Report};
use extman_runtime::lanes::stood_still;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// An instance runs for so long before it is asked by itself.
const SETTLED_MS: u64 = 60_000;
/// Who is due and can't be asked is looked at again after this.
const HELD_MS: u64 = 15_000;
/// How far time has come is written down so often: over a restart of the machine, no more of it is lost.
const MARK_EVERY_MS: u64 = 300_000;
/// After this it is looked whether what can't be kept can be kept by now.
const RETRY: Duration = Duration::from_secs(30);
/// A plugin's words that are kept with a result, in bytes.
const TEXT_MAX: usize = 200;

/// Until nobody holds it any more.
pub(super) async fn run(inner: Weak<Inner>, wake: Arc<Notify>) {
    loop {
        let Some(strong) = inner.upgrade() else { return };
        let pause = strong.turn().await;
        drop(strong);
        let _ = tokio::time::timeout(pause, wake.notified()).await;
    }
}

impl Inner {
    /// Looks once; when to look again.
    async fn turn(self: &Arc<Self>) -> Duration {
        let at_most = Duration::from_millis(MARK_EVERY_MS);
        let is_wanted = self.desk().seats.values().any(|seat| seat.policy.answered);
        if !is_wanted {
            return at_most;
        }
        let readied = match self.ledger.ready() {
            Ok(()) => self.open().await,
            Err(why) => Err(why),
        };
        let trouble = readied.err();
        let before = std::mem::replace(&mut self.desk().trouble, trouble.clone());
        if let Some(why) = trouble {
            if before.as_ref() != Some(&why) {
                tracing::warn!("deep checks are configured, and none is made: {why}");
            }
            return RETRY;
        }
        let next = {
            let booted_ms = self.booted_ms();
            let mut desk = self.desk();
            let now_ms = desk.now_ms(booted_ms).unwrap_or(0);
            let lost = self.ledger.times_lost();
            if lost != desk.lost
                || now_ms.saturating_sub(desk.marked_ms) >= MARK_EVERY_MS
                || desk.marked_ms == 0
            {
                desk.lost = lost;
                let words = desk.all_words(booted_ms);
                self.ledger.note(words);
            }
            let Some((due_ms, name)) = desk.book.next() else {
                return at_most;
            };
            if due_ms > now_ms {
                return Duration::from_millis(due_ms - now_ms).min(at_most);
            }
            name
        };
        if let Err(refused) = self.make(next.clone(), false).await {
            tracing::debug!(plugin = &*next, "no deep check is made now: {refused}");
            let booted_ms = self.booted_ms();
            let mut desk = self.desk();
            let until_ms = desk.now_ms(booted_ms).unwrap_or(0).saturating_add(HELD_MS);
            desk.book.hold(&next, until_ms);
        }
        Duration::ZERO
    }

    /// Reads the ledger, once.
    async fn open(self: &Arc<Self>) -> Result<(), String> {
        let _one = self.opening.lock().await;
        if self.desk().lived.is_some() {
            return Ok(());
        }
        let ledger = self.ledger.clone();
        let read = tokio::task::spawn_blocking(move || ledger.read(PREFIX)).await;
        let words = read.map_err(|error| error.to_string())??;
        let (booted_ms, lost) = (self.booted_ms(), self.ledger.times_lost());
        let mut desk = self.desk();
        let Machine { boot, .. } = &self.machine;
        let words = desk.open(words, boot, booted_ms, lost);
        desk.lost = lost;
        self.ledger.note(words);
        Ok(())
    }

    /// Makes one, or says why not. It goes on to its end whether or not somebody waits for it.
    pub(super) async fn make(self: &Arc<Self>, name: Arc<str>, by_operator: bool) -> Result<(), Refused> {
        let (inner, stopped) = (self.clone(), Refused::Stopped(name.to_string()));
        let made = self
            .tasks
            .spawn(async move { inner.make_to_its_end(name, by_operator).await });
        made.await.unwrap_or(Err(stopped))
    }

    async fn make_to_its_end(self: Arc<Self>, name: Arc<str>, by_operator: bool) -> Result<(), Refused> {
        let not_kept = |why| Refused::NotKept {
            name: name.to_string(),
            why,
        };
        self.seated(&name)?;
        self.ledger.ready().map_err(not_kept)?;
        self.open().await.map_err(not_kept)?;
        let (candidate, timeout) = self.fit(&name, by_operator)?;
        let (end, mut ended) = oneshot::channel();
        let flight = Flight {
            name: name.clone(),
            generation: candidate.generation,
            _end: end,
        };
        let words = {
            let (booted_ms, lost) = (self.booted_ms(), self.ledger.times_lost());
            let mut desk = self.desk();
            let now_ms = desk.now_ms(booted_ms).unwrap_or(0);
            desk.begin(flight, booted_ms, lost)
                .map_err(|refusal| Refused::of(refusal, &name, now_ms))?
        };
        let landing = Landing(&self, &name);
        let ledger = self.ledger.clone();
        let kept = tokio::task::spawn_blocking(move || ledger.keep(words)).await;
        kept.unwrap_or_else(|error| Err(error.to_string()))
            .map_err(not_kept)?;
        let (began, at_unix_ms) = (clock::monotonic(), clock::unix_ms(clock::wall()));
        let asked = async {
            // One that stopped while the disk was waited for is not asked.
            match ended.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => {}
                _ => return None,
            }
            tokio::select! {
                asked = candidate.target.clone().check_apart(CheckKind::Deep, timeout) => Some(asked),
                _ = &mut ended => None,
            }
        };
        let (outcome, took) = asked.await.ok_or_else(|| Refused::Stopped(name.to_string()))?;
        let host_late = !stood_still(began, clock::monotonic()).is_zero();
        landing.landed(Ended {
            generation: candidate.generation,
            outcome,
            took,
            at_unix_ms,
            host_late,
        })
    }

    /// Whether any may be made of it at all.
    fn seated(&self, name: &str) -> Result<(), Refused> {
        let desk = self.desk();
        let seat = desk
            .seats
            .get(name)
            .ok_or_else(|| Refused::NotWanted(name.to_owned()))?;
        let obstacle = |why| Refused::Obstacle {
            name: name.to_owned(),
            why,
        };
        seat.obstacle().map_or(Ok(()), |why| Err(obstacle(why)))
    }

    /// Whom to ask, and how long. By itself the host asks only who has settled and serves.
    fn fit(&self, name: &str, by_operator: bool) -> Result<(Candidate, Duration), Refused> {
        let not_running = || Refused::NotRunning(name.to_owned());
        let candidate = self.engine.candidate(name).ok_or_else(not_running)?;
        let desk = self.desk();
        let seat = desk
            .seats
            .get(name)
            .ok_or_else(|| Refused::NotWanted(name.to_owned()))?;
        let running = seat
            .running
            .filter(|(generation, _)| *generation == candidate.generation);
        let (_, since_ms) = running.ok_or_else(not_running)?;
        let has_settled = self.booted_ms().saturating_sub(since_ms) >= SETTLED_MS;
        if !(by_operator || has_settled && candidate.is_worth_it) {
            return Err(Refused::Obstacle {
                name: name.to_owned(),
                why: "it has not run for long, does not serve, or is being worked on".to_owned(),
            });
        }
        Ok((candidate, seat.policy.timeout))
    }
}

/// What came of it.
struct Ended {
    generation: u64,
    outcome: CheckOutcome,
    took: Option<Duration>,
    at_unix_ms: u64,
    host_late: bool,
}

/// The next one may be made only when this one is over, however it ends.
struct Landing<'a>(&'a Arc<Inner>, &'a Arc<str>);

impl Landing<'_> {
    fn landed(self, ended: Ended) -> Result<(), Refused> {
        let Landing(inner, name) = self;
        let (took_ns, at_unix_ms) = (ended.took.map(nanos), ended.at_unix_ms);
        let asked = Asked { at_unix_ms, took_ns };
        let told = inner
            .engine
            .deep_ended(name, ended.generation, &ended.outcome, asked, ended.host_late);
        let told = told.ok_or_else(|| Refused::Stopped(name.to_string()))?;
        tracing::info!(
            plugin = &**name,
            counted = told.counted,
            took_ns,
            "deep check: {}",
            said(&ended.outcome)
        );
        let is_unanswered = is_unsupported(&ended.outcome);
        let result = DeepResult {
            times: 1,
            last_unix_ms: None,
            check: CheckView {
                kind: CheckKind::Deep,
                at_unix_ms,
                outcome: shortened(ended.outcome),
                took_ns,
            },
            counted: told.counted,
        };
        let mut desk = inner.desk();
        if let Some(seat) = desk.seats.get_mut(name) {
            seat.failed = told.failed;
            seat.is_unanswered = is_unanswered;
        }
        if is_unanswered {
            hold_for_good(&mut desk, name);
        }
        let words = desk.end(name, Some(result), told.failed == 1);
        drop(desk);
        inner.ledger.note(words);
        Ok(())
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let Landing(inner, name) = self;
        let mut desk = inner.desk();
        if desk.book.under_way() == Some(&**name) {
            desk.end(name, None, false);
        }
        drop(desk);
        inner.wake.notify_one();
    }
}

/// Until another generation runs.
fn hold_for_good(desk: &mut Desk, name: &str) {
    tracing::warn!(
        plugin = name,
        "it says that it answers no deep checks: none is made any more"
    );
    desk.book.hold(name, u64::MAX);
}

fn is_unsupported(outcome: &CheckOutcome) -> bool {
    matches!(
        outcome,
        CheckOutcome::Failed {
            kind: ErrorKind::Unsupported,
            ..
        }
    )
}

fn said(outcome: &CheckOutcome) -> String {
    match outcome {
        CheckOutcome::Answered { report } => {
            let health = report.as_ref().and_then(|report| report.health);
            health.map_or_else(|| "answered".to_owned(), |health| health.as_str().to_owned())
        }
        CheckOutcome::Busy => "not asked: it is busy".to_owned(),
        CheckOutcome::NotBegun => "not asked: no lane of the host's was free".to_owned(),
        CheckOutcome::TimedOut => "no answer in time".to_owned(),
        CheckOutcome::Failed { kind, text } => kind.before(text),
    }
}

/// What is kept of a result over restarts: the word, and a plugin's first words.
fn shortened(outcome: CheckOutcome) -> CheckOutcome {
    let short = |text: String| text[..text.floor_char_boundary(TEXT_MAX)].to_owned();
    match outcome {
        CheckOutcome::Answered { report } => CheckOutcome::Answered {
            report: report.map(|report| Report {
                health: report.health,
                text: report.text.map(short),
                ..Report::default()
            }),
        },
        CheckOutcome::Failed { kind, text } => CheckOutcome::Failed {
            kind,
            text: short(text),
        },
        other @ (CheckOutcome::Busy | CheckOutcome::NotBegun | CheckOutcome::TimedOut) => other,
    }
}
