//! `extman rollout`: an update that is under way, what is shown of it, and what an operator may want of it.

use super::args::Target;
use super::backend::Backend;
use super::duration::lasted;
use super::fault::Fault;
use super::grid::grid;
use super::rollout_watch::{Watched, watch, watch_all};
use super::screen::{Look, Outcome, Rendered, Screen};
use super::session;
use super::show::fields;
use super::text::wrap;
use extman_model::control::Command;
use extman_model::moment::utc;
use extman_model::{
    BarredView, JudgeSays, PluginView, RolloutCommand, RolloutPhase, RolloutStatus, RolloutView, StatusView,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Phases:
  loading     the new version is loaded and started beside the one that serves
  warming up  it has started, and gets ready
  canary      it gets a share of the calls, and is judged against the other
  probation   it gets all calls; the one before stays loaded, to go back to
  retiring    one of the two is drained and unloaded

Exit codes of --watch with a name: 0 promoted, 20 taken back, 1 no update was under way, 3 the host went away.")]
pub(crate) struct Rollout {
    /// Its name, as `extman list` shows it [default: all whose update is under way]
    name: Option<String>,
    /// What to do with it
    #[arg(value_enum, default_value_t, hide_default_value = true)]
    action: Action,
    /// Then print a line for each change, until it is over; without a name, of all and without an end
    #[arg(long)]
    watch: bool,
    #[arg(skip)]
    pub(super) target: Target,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Action {
    /// Show how it stands
    #[default]
    Status,
    /// No further step until it is resumed; what is worse is taken back all the same
    Pause,
    /// On with it
    Resume,
    /// All calls to the new version at once, also without evidence; in probation, let go of the old one
    Promote,
    /// Back to the old version; the new one is not tried again by itself
    Abort,
}

impl Action {
    fn change(self) -> Option<RolloutCommand> {
        match self {
            Action::Status => None,
            Action::Pause => Some(RolloutCommand::Pause),
            Action::Resume => Some(RolloutCommand::Resume),
            Action::Promote => Some(RolloutCommand::Promote),
            Action::Abort => Some(RolloutCommand::Abort),
        }
    }
}

impl Rollout {
    /// The command's word in the envelope.
    pub(super) fn word(&self) -> &'static str {
        let name = String::new();
        match self.action.change() {
            Some(change) if !self.watch => Command::ChangeRollout { name, change }.word(),
            _ => Command::Rollout { name }.word(),
        }
    }
}

pub(super) fn run(args: &Rollout, backend: &dyn Backend, screen: &mut Screen) -> Result<Outcome, Fault> {
    let look = screen.look;
    let (outcome, _) = session::with(&args.target, backend, |host| {
        let Some(name) = &args.name else {
            return match args.watch {
                true => watch_all(host, screen),
                false => {
                    let status: StatusView = host.ask(Command::Status)?;
                    Rendered::new(&status.rollouts, table(&status.rollouts, &look)).map(Outcome::Rendered)
                }
            };
        };
        let name = name.clone();
        match (args.action.change(), args.watch) {
            (None, false) => host.rendered(Command::Rollout { name }, |status: &RolloutStatus| {
                render(status, &look)
            }),
            (None, true) => {
                let watched = Watched::from(host.ask::<RolloutStatus>(Command::Rollout { name })?);
                return watch(host, watched, screen);
            }
            (Some(change), false) => host
                .rendered(Command::ChangeRollout { name, change }, |plugin: &PluginView| {
                    render(&plugin.into(), &look)
                }),
            (Some(change), true) => {
                let before: RolloutStatus = host.ask(Command::Rollout { name: name.clone() })?;
                let changed: PluginView = host.ask(Command::ChangeRollout { name, change })?;
                return watch(host, Watched::from(before).then((&changed).into()), screen);
            }
        }
        .map(Outcome::Rendered)
    })?;
    Ok(outcome)
}

/// All that is known of an instance's updates.
pub(super) fn render(status: &RolloutStatus, look: &Look) -> String {
    let barred = status
        .barred
        .iter()
        .map(|barred| ("barred", self::barred(barred)));
    let Some(rollout) = &status.rollout else {
        let text = format!("{}: no update is under way; {}", status.name, serves(status));
        let rows: Vec<_> = barred.collect();
        return match rows.is_empty() {
            true => wrap(&text, look.width, 0),
            false => format!("{}\n{}", wrap(&text, look.width, 0), fields(&rows, look)),
        };
    };
    let mut rows = vec![
        (
            "update",
            format!(
                "{} → {}, digest {}",
                rollout.from,
                rollout.to,
                rollout.digest.short()
            ),
        ),
        (
            "phase",
            format!(
                "{} for {}{}",
                phase_word(rollout),
                look.since(rollout.since_unix_ms),
                if rollout.paused { ", paused" } else { "" }
            ),
        ),
        ("calls", share(rollout)),
    ];
    if let Some(said) = judge(rollout) {
        rows.push(("judge", said));
    }
    if let Some(mirrored) = &rollout.mirrored {
        rows.push(("mirrored", mirrored.to_string()));
    }
    rows.push(("next", next(rollout, &status.name)));
    rows.extend(barred);
    format!("{}\n{}", wrap(&status.name, look.width, 0), fields(&rows, look))
}

/// Which version serves, or would.
pub(super) fn serves(status: &RolloutStatus) -> String {
    let how = if status.serves { "serves" } else { "does not serve" };
    format!("{} {how}", status.version)
}

/// One line: what is updated, where it is, and what the judge says.
pub(super) fn line(rollout: &RolloutView) -> String {
    let mirrored = rollout.mirrored.as_ref();
    let mirrored = mirrored.filter(|_| rollout.phase == RolloutPhase::WarmingUp);
    let said = judge(rollout).or(mirrored.map(ToString::to_string));
    let said = said.map(|said| format!("; {said}"));
    format!(
        "update {} → {}: {}, {}{}",
        rollout.from,
        rollout.to,
        phase(rollout),
        share(rollout),
        said.unwrap_or_default()
    )
}

/// Which build is not tried again, since when and why.
pub(super) fn barred(barred: &BarredView) -> String {
    format!(
        "{} (digest {}) since {}: {}",
        barred.version,
        barred.digest.short(),
        utc(barred.since_unix_ms),
        barred.reason
    )
}

fn table(rollouts: &[RolloutStatus], look: &Look) -> String {
    if rollouts.is_empty() {
        return "No update is under way.".to_owned();
    }
    let row = |status: &RolloutStatus| {
        let rollout = status.rollout.as_ref()?;
        Some([
            status.name.clone(),
            format!("{} → {}", rollout.from, rollout.to),
            phase(rollout),
            look.since(rollout.since_unix_ms),
            format!("{} %", rollout.percent),
            judge(rollout).unwrap_or_else(|| "-".to_owned()),
        ])
    };
    let rows: Vec<_> = rollouts.iter().filter_map(row).collect();
    grid(&["NAME", "UPDATE", "PHASE", "FOR", "CALLS", "JUDGE"], &rows, look)
}

fn phase(rollout: &RolloutView) -> String {
    let paused = if rollout.paused { ", paused" } else { "" };
    format!("{}{paused}", phase_word(rollout))
}

fn phase_word(rollout: &RolloutView) -> String {
    rollout.phase.as_str().replace('_', " ")
}

/// Which calls the new version gets.
fn share(rollout: &RolloutView) -> String {
    let RolloutView { from, to, .. } = rollout;
    match (rollout.phase, rollout.percent) {
        (RolloutPhase::Loading | RolloutPhase::WarmingUp, _) => format!("no call to {to} yet"),
        (RolloutPhase::Retiring, 0) => format!("all calls to {from} again"),
        (_, 100) => format!("all calls to {to}"),
        (_, percent) => format!("{percent} % of the calls to {to}"),
    }
}

/// What the judge says, with its reasons.
fn judge(rollout: &RolloutView) -> Option<String> {
    let said = match rollout.judgement? {
        JudgeSays::Good => "good",
        JudgeSays::Worse => "worse",
        JudgeSays::NotEnough => "not enough evidence",
    };
    Some(match rollout.because.is_empty() {
        true => said.to_owned(),
        false => format!("{said}: {}", rollout.because.join("; ")),
    })
}

/// What comes next, and when at the earliest.
fn next(rollout: &RolloutView, name: &str) -> String {
    let RolloutView { from, to, .. } = rollout;
    let text = match (rollout.phase, rollout.percent) {
        (RolloutPhase::Loading, _) => format!("{to} gets ready, once it has started"),
        (RolloutPhase::WarmingUp, _) => format!("{to} gets its first calls, {}", once_warm(rollout)),
        (RolloutPhase::Canary, _) => format!("{to} gets more of the calls, or all, {}", earliest(rollout)),
        (RolloutPhase::Probation, _) => format!("{from} is drained and unloaded, {}", earliest(rollout)),
        (RolloutPhase::Retiring, 0) => return format!("{to} is unloaded once its calls have ended"),
        (RolloutPhase::Retiring, _) => return format!("{from} is unloaded once its calls have ended"),
    };
    match rollout.paused {
        true => format!("nothing before `extman rollout {name} resume`; then {text}"),
        false => text,
    }
}

/// What ends the warm-up, and when at the latest.
fn once_warm(rollout: &RolloutView) -> String {
    match (&rollout.mirrored, rollout.due_ms) {
        (None, _) => "once it is ready".to_owned(),
        (Some(mirrored), Some(ms)) if ms > 0 && mirrored.compared < mirrored.wanted => format!(
            "once {} mirrored calls are compared, in {} at the latest",
            mirrored.wanted,
            lasted(ms)
        ),
        (Some(_), Some(_)) => "once the mirrored calls under way have ended".to_owned(),
        (Some(_), None) => "now".to_owned(),
    }
}

/// When a step is over whose time has to pass, and after which the judge has to have said good.
fn earliest(rollout: &RolloutView) -> String {
    let is_good = rollout.judgement == Some(JudgeSays::Good);
    match (rollout.due_ms, is_good) {
        (Some(ms), true) => format!("in {}", lasted(ms)),
        (Some(ms), false) => format!("in {} at the earliest, and once the judge says good", lasted(ms)),
        (None, true) => "now".to_owned(),
        (None, false) => "as soon as the judge says good".to_owned(),
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
