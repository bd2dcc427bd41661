//! Updates that are judged: what the instance's actor decides is carried out and shown, and operators are served.

use super::super::barred::Change;
use super::super::blueprint::Blueprint;
use super::super::judging::{self, Checks, Judging};
use super::super::requests::Request;
use super::super::stage::{Build, Input, Loaded};
use super::super::start::Running;
use super::{Record, Supervisor, Told, Waiter};
use crate::registry::{Canary, Candidate, Entry};
use extman_health::judge::Aim;
use extman_health::policy::Policy;
use extman_health::rollout::{Command, Judged, Phase};
use extman_intake::VerifiedPlugin;
use extman_model::clock::{self, Monotonic};
use extman_model::{
    BarredView, Digest, JudgeSays, ProbeSettings, RolloutCommand, RolloutPhase, RolloutView, UpdatePolicy,
    UpdateTo, What,
};
use std::sync::Arc;
use std::time::Duration;

/// What is shown of an instance's update, and what goes on for it.
#[derive(Default)]
pub(super) struct Shown {
    /// Where it was when it was last looked at, and since when.
    at: Option<(RolloutPhase, u8)>,
    since_unix_ms: u64,
    judging: Option<Judging>,
    judgement: Option<(JudgeSays, Vec<String>)>,
    canary: Option<Arc<Canary>>,
}

/// What follows once it is written down which builds are barred.
pub enum Then {
    /// Tell it.
    Tell(Box<What>),
    /// Have the instance updated to this.
    Update {
        /// To this version.
        plugin: Box<VerifiedPlugin>,
        /// At once, and unjudged.
        direct: bool,
        /// Who waits for it.
        reply: Waiter,
    },
}

fn shown_phase(phase: Phase) -> Option<RolloutPhase> {
    Some(match phase {
        Phase::Loading => RolloutPhase::Loading,
        Phase::WarmingUp { .. } => RolloutPhase::WarmingUp,
        Phase::Canary { .. } => RolloutPhase::Canary,
        Phase::Probation { .. } => RolloutPhase::Probation,
        Phase::Retiring(_) => RolloutPhase::Retiring,
        Phase::Over => return None,
    })
}

fn version(build: &Blueprint) -> semver::Version {
    build.plugin.manifest().plugin.version.clone()
}

impl Record {
    /// The update that is under way, as it is shown, and when the time of its step is over.
    pub(super) fn rollout_view(&self) -> Option<(RolloutView, Option<Monotonic>)> {
        let rollout = self.actor.rollout()?;
        let (judgement, because) = self.shown.judgement.clone().unzip();
        let view = RolloutView {
            phase: shown_phase(rollout.phase)?,
            since_unix_ms: self.shown.since_unix_ms,
            from: version(rollout.from),
            to: version(rollout.to),
            digest: rollout.to.plugin.digest(),
            percent: rollout.share.as_percent(),
            paused: rollout.paused,
            due_ms: None,
            judgement,
            because: because.unwrap_or_default(),
        };
        Some((view, rollout.due()))
    }

    /// The new version, as long as it gets a share of the calls.
    pub(super) fn canary(&self) -> Option<Arc<Canary>> {
        self.shown.canary.clone()
    }

    /// Follows where the update is now; the event, if that is elsewhere than before.
    fn follow_rollout(&mut self) -> Option<What> {
        let view = self.rollout_view().map(|(view, _)| view);
        self.follow_canary();
        if self.actor.compared().is_none() {
            (self.shown.judging, self.shown.judgement) = (None, None);
        }
        let at = view.as_ref().map(|view| (view.phase, view.percent));
        if std::mem::replace(&mut self.shown.at, at) == at {
            return None;
        }
        self.shown.since_unix_ms = clock::unix_ms(clock::wall());
        self.shown.judgement = None;
        let view = view?;
        Some(What::RolloutMoved {
            name: self.name.to_string(),
            from: view.from,
            to: view.to,
            phase: view.phase,
            percent: view.percent,
        })
    }

    fn follow_canary(&mut self) {
        let rollout = self.actor.rollout();
        let share = rollout.map(|rollout| rollout.share);
        let share = share.filter(|share| (1..100).contains(&share.as_percent()));
        let Some(((new, _), share)) = self.actor.compared().zip(share) else {
            self.shown.canary = None;
            return;
        };
        let before = self.shown.canary.as_deref();
        let is_it = |canary: &Canary| canary.generation() == new.generation() && canary.share() == share;
        if before.is_some_and(is_it) {
            return;
        }
        let entry = Entry {
            plugin: new.build().plugin.clone(),
            config: new.build().config.clone(),
            serving: Some((new.instance.clone(), new.generation())),
            beside: None,
            rollout: None,
            ..self.entry()
        };
        let candidate = Candidate {
            entry: Arc::new(entry),
            instance: new.instance.clone(),
            generation: new.generation(),
        };
        self.shown.canary = Some(Arc::new(Canary::new(candidate, share, before)));
    }
}

/// How an instance is asked how it is while it is compared.
fn checks(running: &Running, probe: ProbeSettings) -> Checks {
    let (config, manifest) = (&running.made_from.config, running.made_from.plugin.manifest());
    let policy = Policy::resolve(config.probe, &manifest.probe, probe);
    Checks {
        every: policy.interval,
        timeout: policy.timeout.1,
    }
}

impl Supervisor {
    /// An instance's actor has decided something: its update may be elsewhere.
    pub(super) fn note_rollout(&mut self, name: &Arc<str>) {
        if let Some(record) = self.instances.get_mut(name) {
            self.batch.events.extend(record.follow_rollout());
        }
    }

    pub(super) fn spawn_warm_up(&self, name: &Arc<str>) {
        let Some(record) = self.instances.get(name) else {
            return;
        };
        let Some(((new, _), policy)) = record.actor.compared().zip(record.actor.rollout_policy()) else {
            return;
        };
        let (checks, within) = (checks(new, self.probe), Duration::from_millis(policy.warm_up_ms));
        let (instance, generation) = (new.instance.clone(), new.generation());
        let (name, requests) = (name.clone(), self.requests.clone());
        tokio::spawn(async move {
            let outcome = judging::warm_up(instance, checks, within).await;
            requests.make(Request::WarmedUp(name, generation, outcome));
        });
    }

    pub(super) fn judge(&mut self, name: &Arc<str>, aim: Aim) {
        let Some(record) = self.instances.get_mut(name) else {
            return;
        };
        let Some(((new, old), policy)) = record.actor.compared().zip(record.actor.rollout_policy()) else {
            return;
        };
        let begin = || {
            let of = (name.clone(), new.generation());
            let both = (&new.instance, &old.instance);
            Judging::begin(of, both, policy, checks(new, self.probe), self.requests.clone())
        };
        record.shown.judging.get_or_insert_with(begin).aim(aim);
    }

    pub(super) fn judged(
        &mut self,
        name: &str,
        generation: u64,
        judged: Judged,
        judgement: (JudgeSays, Vec<String>),
    ) {
        if let Some(record) = self.instances.get_mut(name)
            && record
                .actor
                .compared()
                .is_some_and(|(new, _)| new.generation() == generation)
        {
            record.shown.judgement = Some(judgement);
            self.feed(name, Input::Judged { generation, judged });
        }
    }

    /// A new version was taken back. It is told when it is written down.
    pub(super) fn taken_back(&mut self, name: &Arc<str>, build: &Blueprint, why: String) {
        let serves = self.instances.get(name).and_then(|record| record.actor.serving());
        let good = serves.map(|running| running.build().plugin.clone());
        let digest = good.as_ref().map(|good| good.digest());
        if let Some(good) = good {
            self.good.insert(name.clone(), good);
        }
        let change = self.bar(name, build, why.clone(), digest);
        let what = What::TakenBack {
            name: name.to_string(),
            version: version(build),
            digest: build.plugin.digest(),
            why,
        };
        self.keep(name, change, Then::Tell(Box::new(what)));
        // What there is for it is another one now.
        self.reselects = true;
    }

    fn bar(&mut self, name: &str, build: &Blueprint, reason: String, good: Option<Digest>) -> Change {
        let barred = BarredView {
            version: version(build),
            digest: build.plugin.digest(),
            reason,
            since_unix_ms: clock::unix_ms(clock::wall()),
        };
        let change = self.barred.add(name, barred, good);
        self.chosen.remove(name);
        change
    }

    fn keep(&self, name: &str, change: Change, then: Then) {
        let (name, requests): (Arc<str>, _) = (name.into(), self.requests.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(why) = change.write() {
                tracing::warn!(plugin = &*name, "{why}");
            }
            requests.make(Request::Kept(name, Box::new(then)));
        });
    }

    /// It is written down which builds are barred.
    pub(super) fn kept(&mut self, name: &Arc<str>, then: Then) {
        match then {
            Then::Tell(what) => {
                self.batch.events.push(*what);
                self.show_barred(name);
            }
            Then::Update {
                plugin,
                direct,
                reply,
            } => {
                self.show_barred(name);
                self.update_to(name, *plugin, direct, reply);
            }
        }
    }

    fn show_barred(&mut self, name: &Arc<str>) {
        if let Some(record) = self.instances.get_mut(name) {
            record.barred = self.barred.of(name).to_vec();
            self.batch.changed.insert(name.clone());
        }
    }

    /// Chooses anew what instances are made from, since something was barred.
    pub(super) fn follow_bars(&mut self) {
        use super::super::stage::Gone;
        if std::mem::take(&mut self.reselects) && self.shutdown.is_none() {
            self.reconcile(Gone::File);
        }
    }

    /// What an instance is made from, where this is the version that was resolved for it; and why nothing is, where that is barred and nothing else
    /// is there.
    pub(super) fn selected(
        &mut self,
        name: &Arc<str>,
        update: UpdatePolicy,
        resolved: VerifiedPlugin,
    ) -> (VerifiedPlugin, Option<String>) {
        if let Some(chosen) = self.chosen.get(name) {
            return (chosen.clone(), None);
        }
        let loaded = self.instances.get(name).and_then(|record| record.actor.loaded());
        let loaded = loaded.map(|running| running.build().plugin.clone());
        let is_barred = |plugin: &VerifiedPlugin| self.barred.reason(name, plugin.digest()).is_some();
        let of_id = |plugin: &VerifiedPlugin| plugin.manifest().plugin.id == resolved.manifest().plugin.id;
        if let Some(barred) = self.barred.reason(name, resolved.digest()) {
            let good = loaded.into_iter().chain(self.good.get(name).cloned());
            let good = good.chain(self.directories.others_of(&resolved));
            let mut good = good.filter(|plugin| of_id(plugin) && !is_barred(plugin));
            let text = format!(
                "version {} is barred, and no other one is there: {}; `extman update {name}` tries it again",
                barred.version, barred.reason
            );
            return match good.next() {
                Some(good) => (good, None),
                None => (resolved, Some(text)),
            };
        }
        match loaded.filter(of_id) {
            Some(loaded) if update != UpdatePolicy::Auto && loaded.digest() != resolved.digest() => {
                self.tell_available(name, &loaded, &resolved);
                (loaded, None)
            }
            _ => (resolved, None),
        }
    }

    fn tell_available(&mut self, name: &Arc<str>, from: &VerifiedPlugin, to: &VerifiedPlugin) {
        let Some(record) = self.instances.get_mut(name) else {
            return;
        };
        if record.available.replace(to.digest()) != Some(to.digest()) {
            self.batch.events.push(What::UpdateAvailable {
                name: name.to_string(),
                from: from.manifest().plugin.version.clone(),
                to: to.manifest().plugin.version.clone(),
                digest: to.digest(),
            });
        }
    }

    // Commands.

    pub(super) fn steer(&mut self, name: &str, command: RolloutCommand, reply: Waiter) {
        let command = match command {
            RolloutCommand::Pause => Command::Pause,
            RolloutCommand::Resume => Command::Resume,
            RolloutCommand::Promote => Command::Promote,
            RolloutCommand::Abort => Command::Abort,
        };
        self.command(name, reply, |reply| Input::Rollout(reply, command));
    }

    /// An operator wants an instance updated.
    pub(super) fn update(&mut self, name: &str, to: &UpdateTo, reply: Waiter) {
        let Some(record) = self.instances.get(name).filter(|_| self.shutdown.is_none()) else {
            return self.refuse(name, reply, "the host is ending");
        };
        match self.version_for(record, to) {
            Err(why) => self.refuse(name, reply, &why),
            Ok(plugin) => {
                let (name, digest) = (record.name.clone(), plugin.digest());
                let then = Then::Update {
                    plugin: Box::new(plugin),
                    direct: false,
                    reply,
                };
                match self.barred.reason(&name, digest).is_some() {
                    true => {
                        let change = self.barred.remove(&name, digest);
                        self.keep(&name, change, then);
                    }
                    false => self.kept(&name, then),
                }
            }
        }
    }

    fn version_for(&self, record: &Record, to: &UpdateTo) -> Result<VerifiedPlugin, String> {
        let config = &record.actor.build().config;
        let name = &record.name;
        match to {
            UpdateTo::Newest if config.update == UpdatePolicy::Pinned => Err(format!(
                "it is pinned (update = \"pinned\"); name the version: `extman update {name} --to VERSION`"
            )),
            UpdateTo::Newest => self.resolved_for(name).ok_or_else(|| {
                format!(
                    "no version of {} that it may use is in the plugin directories",
                    config.plugin
                )
            }),
            UpdateTo::Version(version) => {
                let is_it = |plugin: &&VerifiedPlugin| {
                    let about = &plugin.manifest().plugin;
                    about.id == config.plugin && about.version == *version
                };
                let kept = self.good.get(name).into_iter().chain(record.previous.as_ref());
                let mut all = self.directories.all().chain(kept);
                all.find(is_it).cloned().ok_or_else(|| {
                    format!(
                        "version {version} of {} is not in the plugin directories; put its file there",
                        config.plugin
                    )
                })
            }
            UpdateTo::File(file) => Err(format!(
                "{}: a single file can't be taken; put it into a plugin directory, and name its version",
                file.display()
            )),
        }
    }

    /// An operator wants to go back.
    pub(super) fn roll_back(&mut self, name: &str, reply: Waiter) {
        let Some(record) = self.instances.get(name).filter(|_| self.shutdown.is_none()) else {
            return self.refuse(name, reply, "the host is ending");
        };
        let is_under_way = |phase: Phase| phase.is_under_way();
        if record
            .actor
            .rollout()
            .is_some_and(|rollout| is_under_way(rollout.phase))
        {
            return self.steer(name, RolloutCommand::Abort, reply);
        }
        let Some(previous) = record.previous.clone() else {
            return self.refuse(
                name,
                reply,
                "no version before this one is known to this host; `extman update NAME --to VERSION` updates to any that is there",
            );
        };
        let (name, present) = (record.name.clone(), record.actor.build().clone());
        let why = "an operator has gone back to the version before".to_owned();
        let change = self.bar(&name, &present, why, Some(previous.digest()));
        self.good.insert(name.clone(), previous.clone());
        let then = Then::Update {
            plugin: Box::new(previous),
            direct: true,
            reply,
        };
        self.keep(&name, change, then);
    }

    fn update_to(&mut self, name: &Arc<str>, plugin: VerifiedPlugin, direct: bool, waiter: Waiter) {
        let Some(record) = self.instances.get_mut(name).filter(|_| self.shutdown.is_none()) else {
            return self.refuse(name, waiter, "the host is ending");
        };
        let config = match &record.told {
            Some(told) => told.config.clone(),
            None => record.actor.build().config.clone(),
        };
        let build = Blueprint {
            plugin: plugin.clone(),
            config,
        };
        record.told = Some(Told::of(&build));
        self.chosen.insert(name.clone(), plugin);
        self.feed(
            name,
            Input::Update {
                waiter,
                build,
                direct,
            },
        );
    }

    /// Another version serves: what served before it can be gone back to.
    pub(super) fn note_previous(&mut self, name: &Arc<str>, from: &Blueprint, to: &Blueprint) {
        if from.has_bytes_of(to) {
            return;
        }
        let is_barred = self.barred.reason(name, from.plugin.digest()).is_some();
        if let Some(record) = self.instances.get_mut(name) {
            record.previous = (!is_barred).then(|| from.plugin.clone());
        }
    }
}
