//! `extman rollout --watch` and `extman update --wait`: a line for each change of an update, and an exit code for its end.

use super::fault::{Exit, Fault};
use super::rollout::{line, serves};
use super::screen::{Outcome, Rendered, Screen};
use super::session::Session;
use super::text::plain;
use extman_model::control::{Command, Envelope, Failure};
use extman_model::moment::utc;
use extman_model::{BarredView, Digest, JudgeSays, RolloutPhase, RolloutStatus, StatusView, clock};
use semver::Version;
use std::time::Duration;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

const WORD: &str = "rollout";

/// An update that is followed to its end: by its bytes, since another one may come after it.
pub(super) struct Watched {
    status: RolloutStatus,
    to: Option<(Version, Digest)>,
    shown: Option<Shown>,
}

/// What has to change for another line. Evidence that grows is no change.
type Shown = (RolloutPhase, u8, bool, Option<JudgeSays>);

impl From<RolloutStatus> for Watched {
    fn from(status: RolloutStatus) -> Self {
        let rollout = status.rollout.as_ref();
        let to = rollout.map(|rollout| (rollout.to.clone(), rollout.digest));
        Watched {
            status,
            to,
            shown: None,
        }
    }
}

impl Watched {
    /// The update that was asked for, which may be over already.
    pub(super) fn asked_for(before: &RolloutStatus, after: RolloutStatus) -> Self {
        let is_new = |barred: &&BarredView| !before.barred.contains(barred);
        let taken_back = after.barred.iter().rfind(is_new);
        let over = match taken_back {
            Some(barred) => (barred.version.clone(), barred.digest),
            None => (after.version.clone(), after.digest),
        };
        let watched = Watched::from(after);
        Watched {
            to: watched.to.or(Some(over)),
            ..watched
        }
    }

    /// The same update, some time later.
    pub(super) fn then(self, status: RolloutStatus) -> Self {
        Watched { status, ..self }
    }

    fn is_under_way(&self) -> bool {
        self.is_of(&self.status)
    }

    /// That is this update, which goes on.
    fn is_of(&self, status: &RolloutStatus) -> bool {
        let digest = self.to.as_ref().map(|(_, digest)| *digest);
        let under_way = status.rollout.as_ref().map(|rollout| rollout.digest);
        self.status.name == status.name && digest.is_some() && under_way == digest
    }

    /// Prints where it is, unless that is shown already. `false` if nobody reads any more.
    fn print_change(&mut self, screen: &mut Screen) -> bool {
        let Some(rollout) = &self.status.rollout else {
            return true;
        };
        let shown = Some((rollout.phase, rollout.percent, rollout.paused, rollout.judgement));
        if self.shown == shown {
            return true;
        }
        self.shown = shown;
        if screen.json {
            return screen.write_json(&Envelope::done(WORD, &self.status));
        }
        let text = plain(&format!("{}: {}", self.status.name, line(rollout)));
        screen.write(format!("{}  {text}\n", now()).as_bytes())
    }

    /// What became of it.
    fn ended(&self) -> Result<Rendered, Fault> {
        let RolloutStatus { name, barred, .. } = &self.status;
        let now_serves = serves(&self.status);
        let Some((to, digest)) = &self.to else {
            let text = format!("no update of {name} is under way; {now_serves}");
            let next =
                format!("`extman show {name}` and `extman events {name}` say what became of the last one");
            return Err(Fault::failed("conflict", text).next(next));
        };
        let is_done = self.status.digest == *digest;
        if is_done && self.status.serves {
            let text = format!("{}  {name}: the update is done: {to} serves", now());
            return Rendered::new(&self.status, plain(&text));
        }
        // What is taken back is barred; else another version or configuration was wanted meanwhile.
        let (kind, exit, text) = match barred.iter().rfind(|barred| barred.digest == *digest) {
            Some(BarredView { reason, .. }) => {
                let text = format!("{name}: {to} was taken back, {now_serves}: {reason}");
                ("taken_back", Exit::TakenBack, text)
            }
            None if is_done => {
                let text =
                    format!("{name}: the update is over, and {now_serves}; `extman show {name}` says why");
                ("not_serving", Exit::Failed, text)
            }
            None => {
                let text = format!("{name}: the update to {to} was overtaken, {now_serves}");
                ("overtaken", Exit::Failed, text)
            }
        };
        let text = plain(&text);
        let shown = Rendered::new(&self.status, format!("{}  {text}", now()))?;
        Ok(Rendered {
            refused: Some(Failure::new(kind, text)),
            exit,
            ..shown
        })
    }
}

/// Prints each change of an update until it is over.
pub(super) fn watch(host: &Session, mut watched: Watched, screen: &mut Screen) -> Result<Outcome, Fault> {
    while watched.is_under_way() {
        if !watched.print_change(screen) {
            return Ok(Outcome::Written);
        }
        std::thread::sleep(LOOK_EVERY);
        let name = watched.status.name.clone();
        watched.status = host.ask(Command::Rollout { name })?;
    }
    watched.ended().map(Outcome::Rendered)
}

/// Prints each change of all updates until nobody reads any more, or the host ends.
pub(super) fn watch_all(host: &Session, screen: &mut Screen) -> Result<Outcome, Fault> {
    let mut followed: Vec<Watched> = Vec::new();
    loop {
        let status: StatusView = host.ask(Command::Status)?;
        let is_there = |watched: &Watched| status.rollouts.iter().any(|one| watched.is_of(one));
        let (goes_on, over): (Vec<_>, Vec<_>) = followed.into_iter().partition(is_there);
        followed = goes_on;
        for mut watched in over {
            let name = watched.status.name.clone();
            // Whose file is gone has no end that could be told.
            if let Ok(status) = host.ask(Command::Rollout { name }) {
                watched.status = status;
                screen.show(WORD, watched.ended()?);
            }
        }
        for status in status.rollouts {
            let at = match followed.iter().position(|watched| watched.is_of(&status)) {
                Some(at) => at,
                None => {
                    followed.push(Watched::from(status.clone()));
                    followed.len() - 1
                }
            };
            followed[at].status = status;
            if !followed[at].print_change(screen) {
                return Ok(Outcome::Written);
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn now() -> String {
    utc(clock::unix_ms(clock::wall()))
}
