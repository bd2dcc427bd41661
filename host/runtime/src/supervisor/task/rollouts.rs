//! Updates that are judged: what the instance's actor decides is carried out and shown, and operators are served.

use super::super::barred::OfOne;
use super::super::blueprint::Blueprint;
use super::super::judging::{self, Checks, Judging};
use super::super::kept::{Change, OfInstance};
use super::super::mirroring::Mirroring;
use super::super::requests::{Outcome, Request, UpdateRequest};
use super::super::stage::{Build, Input, Loaded};
use super::super::start::Running;
use super::{Record, Supervisor, Told, Waiter};
use crate::registry::{Beside, Canary, Candidate, Entry};
use extman_health::judge::Aim;
use extman_health::policy::Policy;
use extman_health::rollout::{Command, Judged, Phase};
use extman_intake::VerifiedPlugin;
use extman_model::clock::{self, Monotonic};
use extman_model::{
    BarredView, Digest, JudgeSays, Lifecycle, MirroredView, ProbeSettings, RolloutCommand, RolloutPhase,
    RolloutView, UpdatePolicy, What,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// What is followed of an instance's update, for what is shown of it and goes on for it.
#[derive(Default)]
pub(super) struct Followed {
    /// Where it was when it was last looked at, and since when.
    at: Option<(RolloutPhase, u8)>,
    since_unix_ms: u64,
    judging: Option<Judging>,
    judgement: Option<(JudgeSays, Vec<String>)>,
    beside: Option<Arc<Beside>>,
    /// Until when calls are mirrored, while they are.
    mirrors_until: Option<Monotonic>,
    mirrored: Option<MirroredView>,
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

fn nothing_else(name: &str, barred: &BarredView) -> String {
    let BarredView { version, reason, .. } = barred;
    format!(
        "version {version} is barred, and no other one is there: {reason}; `extman update {name} --to {version}` tries it again"
    )
}

fn version(build: &Blueprint) -> semver::Version {
    build.plugin.manifest().plugin.version.clone()
}

impl Record {
    /// The update that is under way, as it is shown, and when the time of its step is over.
    pub(super) fn rollout_view(&self) -> Option<(RolloutView, Option<Monotonic>)> {
        let rollout = self.actor.rollout()?;
        let (judgement, because) = self.followed.judgement.clone().unzip();
        let view = RolloutView {
            phase: shown_phase(rollout.phase)?,
            since_unix_ms: self.followed.since_unix_ms,
            from: version(rollout.from),
            to: version(rollout.to),
            digest: rollout.to.plugin.digest(),
            percent: rollout.share.as_percent(),
            paused: rollout.paused,
            due_ms: None,
            judgement,
            because: because.unwrap_or_default(),
            mirrored: self.followed.mirrored.clone(),
        };
        Some((view, rollout.due().or(self.followed.mirrors_until)))
    }

    /// The new version, as long as it gets a share of the calls or has calls mirrored.
    pub(super) fn beside(&self) -> Option<Arc<Beside>> {
        self.followed.beside.clone()
    }

    /// Follows where the update is now; the event, if that is elsewhere than before.
    fn follow_rollout(&mut self) -> Option<What> {
        let view = self.rollout_view().map(|(view, _)| view);
        self.follow_beside();
        if self.actor.compared().is_none() {
            (self.followed.judging, self.followed.judgement) = (None, None);
        }
        let at = view.as_ref().map(|view| (view.phase, view.percent));
        let before = std::mem::replace(&mut self.followed.at, at);
        if before == at {
            return None;
        }
        self.followed.since_unix_ms = clock::unix_ms(clock::wall());
        self.followed.judgement = None;
        // It is told of as long as its update lasts.
        let was_warming_up = before.is_some_and(|(phase, _)| phase == RolloutPhase::WarmingUp);
        let is_of_before = !at.is_some_and(|(phase, _)| phase != RolloutPhase::Loading);
        self.followed.mirrored.take_if(|_| is_of_before);
        let view = view?;
        Some(What::RolloutMoved {
            name: self.name.to_string(),
            from: view.from,
            to: view.to,
            phase: view.phase,
            percent: view.percent,
            mirrored: view.mirrored.filter(|_| was_warming_up),
        })
    }

    fn follow_beside(&mut self) {
        let rollout = self.actor.rollout();
        if !rollout
            .as_ref()
            .is_some_and(|rollout| is_warming_up(rollout.phase))
        {
            self.followed.mirrors_until = None;
        }
        if self.followed.mirrors_until.is_some() {
            return;
        }
        let share = rollout.map(|rollout| rollout.share);
        let share = share.filter(|share| (1..100).contains(&share.as_percent()));
        let Some((candidate, share)) = self.candidate().zip(share) else {
            self.followed.beside = None;
            return;
        };
        let before = match self.followed.beside.as_deref() {
            Some(Beside::Canary(before)) => Some(before),
            _ => None,
        };
        let is_it = |canary: &Canary| canary.generation() == candidate.generation && canary.share() == share;
        if before.is_some_and(is_it) {
            return;
        }
        let canary = Canary::new(candidate, share, before);
        self.followed.beside = Some(Arc::new(Beside::Canary(canary)));
    }

    /// The new version, while both are loaded.
    fn candidate(&self) -> Option<Candidate> {
        let (new, _) = self.actor.compared()?;
        let entry = Entry {
            plugin: new.build().plugin.clone(),
            config: new.build().config.clone(),
            serving: Some((new.instance.clone(), new.generation())),
            beside: None,
            rollout: None,
            ..self.entry()
        };
        Some(Candidate {
            entry: Arc::new(entry),
            instance: new.instance.clone(),
            generation: new.generation(),
        })
    }
}

/// Whether the new version is not known to be ready.
fn is_warming_up(phase: Phase) -> bool {
    phase == Phase::WarmingUp { ready: false }
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
        let mirrors = policy.mirror_percent > 0;
        tokio::spawn(async move {
            let outcome = judging::warm_up(instance, checks, within).await;
            requests.make(match outcome.is_ok() && mirrors {
                true => Request::Mirror(name, generation),
                false => Request::WarmedUp(name, generation, outcome),
            });
        });
    }

    /// The new version of an update is ready: before it gets calls of its own, it is judged by what is mirrored of the old one's, if that can be.
    pub(super) fn mirror(&mut self, name: &Arc<str>, generation: u64) {
        let Some(record) = self.instances.get_mut(name) else {
            return;
        };
        let is_awaited = |record: &Record| is_warming_up(record.actor.rollout()?.phase).then_some(());
        let candidate = record.candidate().filter(|new| new.generation == generation);
        let Some((candidate, ())) = candidate.zip(is_awaited(record)) else {
            return;
        };
        let Some(((new, old), policy)) = record.actor.compared().zip(record.actor.rollout_policy()) else {
            return;
        };
        let begun = Mirroring::begin(&candidate, &record.entry(), policy, self.requests.clone());
        let Some((beside, mirroring)) = begun else {
            let outcome = Ok(());
            return self.feed(name, Input::WarmedUp { generation, outcome });
        };
        let followed = (mirroring.due(), mirroring.seen().clone());
        let of = (name.clone(), generation);
        let both = (&new.instance, &old.instance);
        let checks = checks(new, self.probe);
        let judging = Judging::begin(of, both, policy, checks, Some(mirroring), self.requests.clone());
        record.followed.judging = Some(judging);
        record.followed.mirrors_until = Some(followed.0);
        record.followed.mirrored = Some(followed.1);
        record.followed.beside = Some(Arc::new(beside));
        self.batch.changed.insert(name.clone());
    }

    /// What came of mirrored calls so far.
    pub(super) fn note_mirrored(&mut self, name: &str, generation: u64, mirrored: Option<MirroredView>) {
        if let Some(record) = self.instances.get_mut(name)
            && let Some((new, _)) = record.actor.compared()
            && new.generation() == generation
            && record.followed.mirrors_until.is_some()
        {
            record.followed.mirrored = mirrored.or(record.followed.mirrored.take());
        }
    }

    pub(super) fn judge(&mut self, name: &Arc<str>, step: (u32, Aim)) {
        let Some(record) = self.instances.get_mut(name) else {
            return;
        };
        let Some(((new, old), policy)) = record.actor.compared().zip(record.actor.rollout_policy()) else {
            return;
        };
        let begin = || {
            let of = (name.clone(), new.generation());
            let both = (&new.instance, &old.instance);
            let checks = checks(new, self.probe);
            Judging::begin(of, both, policy, checks, None, self.requests.clone())
        };
        record.followed.judging.get_or_insert_with(begin).begin_step(step);
    }

    pub(super) fn judged(
        &mut self,
        name: &str,
        (generation, step): (u64, u32),
        judged: Judged,
        judgement: (JudgeSays, Vec<String>),
    ) {
        if let Some(record) = self.instances.get_mut(name)
            && record
                .actor
                .compared()
                .is_some_and(|(new, _)| new.generation() == generation)
        {
            // While calls are mirrored it is not the judge that the next step waits for.
            let is_step = record.followed.mirrors_until.is_none();
            record.followed.judgement = is_step.then_some(judgement);
            let input = Input::Judged {
                generation,
                step,
                judged,
            };
            self.feed(name, input);
        }
    }

    /// A new version was taken back, for the one that is kept. The event is published once that is on the disk, or could not be written.
    pub(super) fn taken_back(&mut self, name: &Arc<str>, build: &Blueprint, kept: &Blueprint, why: String) {
        let what = What::TakenBack {
            name: name.to_string(),
            version: version(build),
            digest: build.plugin.digest(),
            why: why.clone(),
        };
        if self.chosen_digest(name) == Some(build.plugin.digest()) {
            self.undo_choice(name, Some(&kept.plugin));
        }
        let change = self.bar(name, build, why, &kept.plugin);
        let requests = self.requests.clone();
        self.write(change, move |_| {
            requests.make(Request::Written(Box::new(what)));
        });
        // What there is for it is another one now.
        self.reselects = true;
    }

    /// Bars a build in favour of another one.
    fn bar(
        &mut self,
        name: &Arc<str>,
        build: &Blueprint,
        reason: String,
        good: &VerifiedPlugin,
    ) -> Change<OfOne> {
        let barred = BarredView {
            version: version(build),
            digest: build.plugin.digest(),
            reason,
            since_unix_ms: clock::unix_ms(clock::wall()),
        };
        self.good.insert(name.clone(), good.clone());
        let change = self.barred.add(name, barred, Some(good.digest()));
        self.show_barred(name);
        change
    }

    /// What was chosen before an update is chosen again; for an instance that is not updated by itself and had nothing chosen, what `serves` is.
    fn undo_choice(&mut self, name: &Arc<str>, serves: Option<&VerifiedPlugin>) {
        let record = self.instances.get(name);
        let is_auto = record.is_some_and(|record| record.actor.target().config.update == UpdatePolicy::Auto);
        let change = self.chosen.undo(name, serves.filter(|_| !is_auto));
        self.write_if(change);
    }

    /// If an instance serves what was chosen for it, and its update is over, that is not undone any more. Whether this is so from now on.
    pub(super) fn settle_choice(&mut self, name: &Arc<str>) -> bool {
        let is_over = |record: &Record| {
            let rollout = record.actor.rollout();
            !rollout.is_some_and(|one| one.phase.is_under_way())
        };
        let is_settled = self.serves_unsettled(name) && self.instances.get(name).is_some_and(is_over);
        if is_settled {
            let change = self.chosen.settle(name);
            self.write_if(change);
        }
        is_settled
    }

    /// Whether an instance serves what it is being updated to, all calls of it.
    fn serves_unsettled(&self, name: &str) -> bool {
        let chosen = self.chosen.unsettled(name).zip(self.instances.get(name));
        let serves = |record: &Record| Some(record.actor.serving()?.build().plugin.digest());
        chosen.is_some_and(|(digest, record)| serves(record) == Some(digest))
    }

    /// A build did not start, and nothing serves in its place. If it was chosen by an update, that is undone.
    pub(super) fn choice_not_started(&mut self, name: &str, tried: Digest) {
        let Some(record) = self.instances.get(name) else {
            return;
        };
        let name = record.name.clone();
        let has_failed = record.actor.next_step().is_some() || record.actor.lifecycle() == Lifecycle::Waiting;
        if has_failed && record.is_to_run() && self.chosen.unsettled(&name) == Some(tried) {
            tracing::warn!(
                plugin = &*name,
                "the version that was chosen did not start, and is chosen no longer"
            );
            self.undo_choice(&name, None);
            // It may have been gone back from.
            let before = self.chosen_digest(&name);
            if let Some(change) = before.and_then(|before| self.barred.remove(&name, before)) {
                self.write(change, |_| {});
                self.show_barred(&name);
            }
            self.reselects = true;
        }
    }

    /// Updates that the host before this one did not live to settle are told, and written down as undone.
    pub(super) fn tell_undone(&mut self) {
        let undone = self.chosen.take_undone();
        if undone.is_empty() {
            return;
        }
        for (name, digest) in undone {
            tracing::warn!(
                plugin = name,
                "the host before this one ended before the update to the build {} was settled: what served before it does so again; \
                 `extman update {name} --to VERSION` tries it again",
                digest.short()
            );
        }
        let change = self.chosen.changes();
        self.write(change, |_| {});
    }

    /// Has a change written down, and then this done.
    fn write<T: OfInstance>(
        &mut self,
        change: Change<T>,
        then: impl FnOnce(Result<(), String>) + Send + 'static,
    ) {
        if let Some(writer) = change.written(then) {
            self.writes.retain(|write| !write.is_finished());
            self.writes.push(tokio::task::spawn_blocking(writer));
        }
    }

    fn write_if(&mut self, change: Option<Change<impl OfInstance>>) {
        if let Some(change) = change {
            self.write(change, |_| {});
        }
    }

    /// Whoever is answered by what is returned is answered once what is barred and chosen is on the disk, too, or with why it is not.
    fn answered_once_kept(&mut self, reply: Waiter) -> Waiter {
        let (waiter, outcome) = oneshot::channel::<Outcome>();
        let barred = self.changes_written(self.barred.changes());
        let chosen = self.changes_written(self.chosen.changes());
        tokio::spawn(async move {
            let kept = [barred.await, chosen.await];
            let Ok(mut outcome) = outcome.await else {
                return;
            };
            if let Some(why) = kept.into_iter().find_map(|kept| kept.ok()?.err()) {
                outcome = outcome.and_then(|()| Err(format!("done, but not kept: {why}")));
            }
            let _ = reply.send(outcome);
        });
        waiter
    }

    /// The answers from this one on are given once that is so.
    pub(super) fn answer_once_kept(&mut self, from: usize) {
        for (waiter, outcome) in self.batch.answers.split_off(from) {
            let waiter = self.answered_once_kept(waiter);
            self.batch.answers.push((waiter, outcome));
        }
    }

    fn changes_written(&mut self, change: Change<impl OfInstance>) -> oneshot::Receiver<Result<(), String>> {
        let (is_written, written) = oneshot::channel();
        self.write(change, move |outcome| {
            let _ = is_written.send(outcome);
        });
        written
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

    /// Decides what an instance is made from, where this is the version that was resolved for it; and why it is made from nothing, where that is barred
    /// and nothing else is there. Where the instance is not updated by itself, what is decided is kept as its choice; a choice that holds no longer
    /// is forgotten.
    pub(super) fn select(
        &mut self,
        name: &Arc<str>,
        update: UpdatePolicy,
        resolved: VerifiedPlugin,
    ) -> (VerifiedPlugin, Option<String>) {
        let is_auto = update == UpdatePolicy::Auto;
        if is_auto {
            self.forget_choice_over_another(name, resolved.digest());
        }
        let barred = self.barred.reason(name, resolved.digest()).cloned();
        let may_be = |plugin: &VerifiedPlugin| {
            let is_of_id = plugin.manifest().plugin.id == resolved.manifest().plugin.id;
            is_of_id && self.barred.reason(name, plugin.digest()).is_none()
        };
        let record = self.instances.get(name);
        let target = record.map(|record| record.actor.target().plugin.clone());
        // What was there before all files were known is no choice, unless an operator has started it.
        let is_chosen = |record: &Record| !record.awaits_files || record.actor.serving().is_some();
        let is_held = !is_auto && record.is_some_and(is_chosen);
        let held = target.clone().filter(|_| is_held);
        let chosen = self.chosen_build(name);
        let lost = self.chosen_digest(name).filter(|_| chosen.is_none());
        let kept_to = chosen.into_iter().chain(held).find(may_be);
        let (selected, lacking) = match (kept_to, &barred) {
            (Some(kept_to), _) if kept_to.digest() != resolved.digest() => (kept_to, None),
            (_, None) => (resolved.clone(), None),
            (_, Some(barred)) => {
                let good = target.into_iter().chain(self.good.get(name).cloned());
                let mut good = good.chain(self.directories.others_of(&resolved));
                match good.find(may_be) {
                    Some(good) => (good, None),
                    None => (resolved.clone(), Some(nothing_else(name, barred))),
                }
            }
        };
        // Until all files are known, what is lost, or chosen by nobody, may be one that is being written now.
        let is_known = self.directories.are_known();
        if let Some(lost) = lost.filter(|_| is_known && self.chosen.note_lost(name)) {
            tracing::warn!(
                plugin = &**name,
                "the build that is chosen for it, {}, is neither in the plugin directories nor among the host's copies: version {} is used until it \
                 is, or `extman update {name} --to VERSION` chooses another",
                lost.short(),
                selected.manifest().plugin.version
            );
        }
        if !is_auto && lacking.is_none() {
            if lost.is_none() && is_known && self.chosen_digest(name) != Some(selected.digest()) {
                let change = self.chosen.choose(name, &selected);
                self.write(change, |_| {});
            }
            if barred.is_none() && selected.digest() != resolved.digest() {
                self.tell_available(name, &selected, &resolved);
            }
        }
        (selected, lacking)
    }

    fn chosen_digest(&self, name: &str) -> Option<Digest> {
        self.chosen.of(name).map(|(choice, _)| choice.digest)
    }

    /// Whether an instance may turn out to be made from another file once all are known: its choice is not there, or nothing is chosen yet for one
    /// that is not updated by itself.
    pub(super) fn awaits_files(&self, name: &str, update: UpdatePolicy) -> bool {
        let is_open = match self.chosen_digest(name) {
            Some(_) => self.chosen_build(name).is_none(),
            None => update != UpdatePolicy::Auto,
        };
        is_open && !self.directories.are_known()
    }

    /// The build that is chosen for an instance, as long as it is there.
    fn chosen_build(&self, name: &str) -> Option<VerifiedPlugin> {
        let (choice, plugin) = self.chosen.of(name)?;
        plugin
            .or_else(|| self.directories.of_digest(choice.digest))
            .cloned()
    }

    /// What an operator has chosen for an instance that is updated by itself holds until another build is resolved for it than the one over which
    /// it was chosen.
    fn forget_choice_over_another(&mut self, name: &str, resolved: Digest) {
        let holds = self
            .chosen
            .of(name)
            .is_none_or(|(choice, _)| choice.over == Some(resolved));
        // A file that is being written now may be the one over which it was chosen.
        if !holds && self.directories.are_known() {
            let change = self.chosen.forget(name);
            self.write_if(change);
        }
    }

    /// A build could not be put in the place of what serves. If it was chosen, that is undone: what serves is as it was before.
    pub(super) fn choice_not_taken(&mut self, name: &Arc<str>, tried: Digest) {
        if self.chosen_digest(name) != Some(tried) {
            return;
        }
        let Some(record) = self.instances.get_mut(name) else {
            return;
        };
        let serves = record.actor.target().clone();
        record.told = Some(Told::of(&serves));
        self.undo_choice(name, Some(&serves.plugin));
        if let Some(change) = self.barred.remove(name, serves.plugin.digest()) {
            self.write(change, |_| {});
            self.show_barred(name);
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
        let answered = self.batch.answers.len();
        let is_promoted = command == RolloutCommand::Promote;
        let command = match command {
            RolloutCommand::Pause => Command::Pause,
            RolloutCommand::Resume => Command::Resume,
            RolloutCommand::Promote => Command::Promote,
            RolloutCommand::Abort => Command::Abort,
        };
        if is_promoted {
            self.end_mirroring(name);
        }
        self.command(name, reply, |reply| Input::Rollout(reply, command));
        if is_promoted && self.serves_unsettled(name) {
            let change = self.chosen.promote(name);
            self.write_if(change);
            self.answer_once_kept(answered);
        }
    }

    /// Nothing more is mirrored to the new version of an update: it is as if the time for that were over.
    fn end_mirroring(&mut self, name: &str) {
        let record = self.instances.get(name).filter(|_| self.shutdown.is_none());
        let record = record.filter(|record| record.followed.mirrors_until.is_some());
        if let Some((new, _)) = record.and_then(|record| record.actor.compared()) {
            let (generation, outcome) = (new.generation(), Ok(()));
            self.feed(name, Input::WarmedUp { generation, outcome });
        }
    }

    /// An operator wants an instance updated.
    pub(super) fn update(&mut self, name: &str, to: UpdateRequest, reply: Waiter) {
        let Some(record) = self.instances.get(name).filter(|_| self.shutdown.is_none()) else {
            return self.refuse(name, reply, "the host is ending");
        };
        let name = record.name.clone();
        let version = self.version_for(record, to);
        let fitting = version.and_then(|plugin| match self.does_not_fit(&name, &plugin) {
            Some(why) => Err(why),
            None => Ok(plugin),
        });
        match fitting {
            Err(why) => self.refuse(&name, reply, &why),
            Ok(plugin) => self.update_to(&name, plugin, None, reply),
        }
    }

    fn version_for(&self, record: &Record, to: UpdateRequest) -> Result<VerifiedPlugin, String> {
        let config = &record.actor.build().config;
        let name = &record.name;
        match to {
            UpdateRequest::Newest if config.update == UpdatePolicy::Pinned => Err(format!(
                "it is pinned (update = \"pinned\"); name the version: `extman update {name} --to VERSION`"
            )),
            UpdateRequest::Newest => self.resolved_for(name).ok_or_else(|| {
                format!(
                    "no version of {} that it may use is in the plugin directories",
                    config.plugin
                )
            }),
            UpdateRequest::Version(version) => {
                let is_it = |plugin: &&VerifiedPlugin| {
                    let about = &plugin.manifest().plugin;
                    about.id == config.plugin && about.version == version
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
            UpdateRequest::Build(plugin) => {
                let id = &plugin.manifest().plugin.id;
                match *id == config.plugin {
                    true => Ok(*plugin),
                    false => Err(format!(
                        "{} is the plugin {id}, and {name} is one of {}; name a file of that",
                        plugin.origin().display(),
                        config.plugin
                    )),
                }
            }
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
        let present = record.actor.build().clone();
        let is_other = |previous: &&VerifiedPlugin| previous.digest() != present.plugin.digest();
        let Some(previous) = record.previous.as_ref().filter(is_other).cloned() else {
            let text = format!(
                "no version before this one is known to this host; `extman update {name} --to VERSION` updates to any that is there"
            );
            return self.refuse(name, reply, &text);
        };
        let name = record.name.clone();
        self.update_to(&name, previous, Some(present), reply);
    }

    /// Updates an instance to a build that an operator has chosen; `back_from`: at once, unjudged, and this is barred from here on.
    fn update_to(
        &mut self,
        name: &Arc<str>,
        plugin: VerifiedPlugin,
        back_from: Option<Blueprint>,
        reply: Waiter,
    ) {
        let over = self.resolved_for(name).map(|resolved| resolved.digest());
        let Some(record) = self.instances.get_mut(name) else {
            return self.refuse(name, reply, "the host is ending");
        };
        let config = match &record.told {
            Some(told) => told.config.clone(),
            None => record.actor.build().config.clone(),
        };
        let build = Blueprint {
            plugin: plugin.clone(),
            config,
        };
        if let Some(why) = record.actor.refuses(&build) {
            return self.refuse(name, reply, &why);
        }
        record.told = Some(Told::of(&build));
        let direct = back_from.is_some();
        let serving = record.actor.serving().map(|running| running.build().clone());
        let judged_against =
            serving.filter(|from| self.rollout.enabled && !direct && !from.has_bytes_of(&build));
        let _ = self.barred.remove(name, plugin.digest());
        if let Some(present) = back_from {
            let why = "an operator has gone back to the version before".to_owned();
            let _ = self.bar(name, &present, why, &plugin);
        }
        let serves = judged_against.as_ref().map(|from| &from.plugin);
        let _ = self.chosen.update(name, &plugin, over, serves);
        let waiter = self.answered_once_kept(reply);
        self.show_barred(name);
        let input = Input::Update {
            waiter,
            build,
            direct,
        };
        self.feed(name, input);
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
