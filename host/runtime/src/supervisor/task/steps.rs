//! The long steps: begun here, and what came of them.

use super::super::ending;
use super::super::flow::{self, Means, NotStarted, Running};
use super::super::listener::InstanceListener;
use super::super::record::Goal;
use super::super::requests::{Request, Requests, Stopped};
use super::{Stop, Supervisor};
use crate::lanes::Work;
use crate::lifecycle::Event;
use extman_intake::VerifiedPlugin;
use extman_model::clock;
use extman_model::{Digest, Lifecycle, What};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

impl Supervisor {
    pub(super) fn begin_start(&mut self, name: &str, by_operator: bool) {
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        record.busy = true;
        record.slow_vetting = false;
        record.late = None;
        let (means, requests) = (self.means.clone(), self.requests.clone());
        let (config, plugin, name) = (record.config.clone(), record.plugin.clone(), name.to_owned());
        let listener = Arc::new(InstanceListener::new(&name, self.events.clone()));
        tokio::spawn(async move {
            if by_operator && means.vetting.release_refusal(plugin.digest()) {
                tracing::info!(plugin = %name, "refused before; tried again, as an operator asks for it");
            }
            let result = tokio::select! {
                result = flow::start(&means, &config, plugin.clone(), listener) => result,
                never = tell_slow_vetting(&means, &requests, &name, plugin.digest()) => match never {},
            };
            requests.make(Request::Started(name, Box::new(plugin), Box::new(result)));
        });
    }

    pub(super) fn vetting_is_slow(&mut self, name: &str, text: String) {
        if let Some(record) = self.records.get_mut(name).filter(|record| record.busy) {
            record.slow_vetting = true;
            // What serves meanwhile has a cause of its own.
            if record.running.is_none() {
                record.cause = Some(text);
            }
        }
    }

    pub(super) fn begin_stop(&mut self, name: &str) {
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        let Some(running) = record.running.take() else {
            return;
        };
        let plugin = record.serves.take().unwrap_or_else(|| record.plugin.clone());
        record.generation_min = running.module.generation();
        record.busy = true;
        record.late = None;
        self.stops.push(Stop {
            name: name.to_owned(),
            own: true,
            plugin,
            running,
            failed: self.failures.contains_key(name),
        });
    }

    pub(super) fn spawn_stop(&self, stop: Stop) {
        let (means, requests) = (self.means.clone(), self.requests.clone());
        tokio::spawn(async move {
            let accounts = stop.running.instance.accounts().clone();
            let ended = ending::stop(&means, stop.running, stop.failed).await;
            requests.make(Request::Stopped(Box::new(Stopped {
                name: stop.name,
                own: stop.own,
                plugin: stop.plugin,
                accounts,
                ended,
            })));
        });
    }

    pub(super) fn started(
        &mut self,
        name: &str,
        plugin: VerifiedPlugin,
        result: Result<Running, NotStarted>,
    ) {
        let now = clock::unix_ms(clock::wall());
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        record.busy = false;
        let from = record.lifecycle;
        match result {
            Ok(running) => {
                record.generation_min = running.module.generation();
                record.wedged_calls = 0;
                record.tally.begin(running.instance.accounts().clone());
                let old = record
                    .running
                    .replace(running)
                    .zip(record.serves.replace(plugin.clone()));
                match old {
                    Some((old, old_plugin)) => {
                        record.since_unix_ms = now;
                        let failed = record.lifecycle != Lifecycle::Running;
                        let version = |p: &VerifiedPlugin| p.manifest().plugin.version.clone();
                        let (was, is) = (version(&old_plugin), version(&plugin));
                        self.told.push(What::Replaced {
                            name: name.to_owned(),
                            from: was,
                            to: is,
                        });
                        self.restarting.remove(name);
                        if record.move_on(Event::Replaced, None, now).is_ok() {
                            self.failures.remove(name);
                            if !record.held && record.goal == Goal::Stopped {
                                record.goal = Goal::Running;
                            }
                        }
                        record.cause = None;
                        self.stopping_old += 1;
                        self.stops.push(Stop {
                            name: name.to_owned(),
                            own: false,
                            plugin: old_plugin,
                            running: old,
                            failed,
                        });
                        self.tell_move(name, from);
                    }
                    None => {
                        let _ = record.move_on(Event::Started, None, now);
                        self.tell_move(name, from);
                    }
                }
            }
            Err(not_started) => {
                let mut cause = not_started.cause;
                if let Some((_, late)) = record.late.take() {
                    cause = format!("{cause}; {late}");
                }
                if let Some(unload) = not_started.unload {
                    self.unloaded(name, &plugin, unload);
                }
                let Some(record) = self.records.get_mut(name) else {
                    return;
                };
                if let Some(serves) = record.serves.clone().filter(|_| record.running.is_some()) {
                    let refused = plugin.manifest().plugin.version.clone();
                    let kept = serves.manifest().plugin.version.clone();
                    record.cause = Some(format!("{refused} was not taken, {kept} goes on: {cause}"));
                    record.plugin = serves;
                    tracing::warn!(plugin = name, %refused, %kept, %cause, "the new version was not taken");
                } else {
                    let event = if not_started.refused {
                        Event::StartRefused
                    } else {
                        Event::StartFailed
                    };
                    let _ = record.move_on(event, Some(cause.clone()), now);
                    // Other bytes may have come while these were tried.
                    if record.goal == Goal::Running && record.plugin.digest() == plugin.digest() {
                        record.goal = Goal::Stopped;
                    }
                }
                self.rejected.insert(name.to_owned(), plugin.digest());
                self.tell_move(name, from);
                self.take_newer(name, &plugin, now);
                self.answer(name, Err(cause));
            }
        }
        self.drive(name);
    }

    pub(super) fn stopped(&mut self, stopped: Stopped) {
        let Stopped {
            name,
            own,
            plugin,
            accounts,
            ended,
        } = stopped;
        let name = &*name;
        self.tell_complaints(name, ended.generation, &ended.complaints);
        if let Some(unload) = ended.unload {
            self.unloaded(name, &plugin, unload);
        }
        if let Some(tally) = self.tally_of(name) {
            tally.close(&accounts);
        }
        if !own {
            self.stopping_old -= 1;
            return;
        }
        let now = clock::unix_ms(clock::wall());
        let failure = self.failures.remove(name);
        let restart = self.restarting.remove(name);
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        record.busy = false;
        let from = record.lifecycle;
        let (event, cause) = match failure {
            Some(cause) => (Event::EndedFailed, Some(cause)),
            None => (Event::Ended, record.cause.clone()),
        };
        let _ = record.move_on(event, cause, now);
        if let Some((_, late)) = record.late.take() {
            record.add_to_cause(&late);
        }
        for complaint in &ended.complaints {
            if !complaint.is_known_from(&record.cause) {
                record.add_to_cause(&complaint.to_string());
            }
        }
        if restart && record.goal == Goal::Stopped {
            record.goal = Goal::Running;
        }
        self.tell_move(name, from);
        self.take_newer(name, &plugin, now);
        self.drive_as(name, restart);
    }

    /// Other bytes came while these failed or were stopped for having failed: they are tried in their place.
    pub(super) fn take_newer(&mut self, name: &str, tried: &VerifiedPlugin, now: u64) {
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        let failed = matches!(record.lifecycle, Lifecycle::Failed | Lifecycle::Quarantined);
        if !failed || record.held || record.goal == Goal::Gone || record.plugin.digest() == tried.digest() {
            return;
        }
        let from = record.lifecycle;
        if record.move_on(Event::NewBytes, None, now).is_ok() {
            record.goal = Goal::Running;
            self.tell_move(name, from);
        }
    }

    pub(super) fn panicked(&mut self, name: &str, generation: u64, text: String) {
        let now = clock::unix_ms(clock::wall());
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        let current = record
            .running
            .as_ref()
            .is_some_and(|r| r.module.generation() == generation);
        let from = record.lifecycle;
        if !current || record.move_on(Event::Panicked, Some(text.clone()), now).is_err() {
            return;
        }
        if record.goal == Goal::Running {
            record.goal = Goal::Stopped;
        }
        self.failures.insert(name.to_owned(), text);
        self.tell_move(name, from);
        self.drive(name);
    }

    pub(super) fn lane_lost(&mut self, work: &Work, ran: Duration) {
        let (name, now) = (&*work.subject, clock::unix_ms(clock::wall()));
        let (phase, ran_ms) = (work.phase.to_string(), ran.as_millis() as u64);
        self.told.push(What::LaneLost {
            name: name.to_owned(),
            phase,
            ran_ms,
        });
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        if !record.is_of_mine(work.generation) {
            return;
        }
        record.wedged_calls += 1;
        let from = record.lifecycle;
        let cause = format!("{} has not returned for {:.1} s", work.phase, ran.as_secs_f64());
        if record.move_on(Event::LaneLost, Some(cause), now).is_ok() {
            self.tell_move(name, from);
        }
    }

    pub(super) fn late_return(&mut self, work: &Work, ran: Duration) {
        let (name, now) = (&*work.subject, clock::unix_ms(clock::wall()));
        let (phase, ran_ms) = (work.phase.to_string(), ran.as_millis() as u64);
        self.told.push(What::LateReturn {
            name: name.to_owned(),
            phase,
            ran_ms,
        });
        self.try_again(work.generation);
        let Some(record) = self.records.get_mut(name) else {
            return;
        };
        if record.is_of_mine_no_more(work.generation) {
            let text = format!("{} came back only after {:.1} s", work.phase, ran.as_secs_f64());
            match record.busy {
                true => record.late = Some((work.generation, text)),
                false => record.add_to_cause(&text),
            }
        }
        if !record.is_of_mine(work.generation) {
            return;
        }
        record.wedged_calls = record.wedged_calls.saturating_sub(1);
        if record.wedged_calls > 0 || record.running.is_none() {
            return;
        }
        let from = record.lifecycle;
        let cause = format!("{} came back only after {:.1} s", work.phase, ran.as_secs_f64());
        if record
            .move_on(Event::LateReturn, Some(cause.clone()), now)
            .is_ok()
        {
            if record.goal == Goal::Running {
                record.goal = Goal::Stopped;
            }
            self.failures.insert(name.to_owned(), cause);
            self.tell_move(name, from);
            self.drive(name);
        }
    }
}

/// After this time a vetting is said to take long, and again each time that it has passed.
const SLOW_VETTING: Duration = Duration::from_secs(5);

/// Tells of the vetting of these bytes as long as it takes long.
async fn tell_slow_vetting(means: &Means, requests: &Requests, name: &str, digest: Digest) -> Infallible {
    for times in 1.. {
        tokio::time::sleep(SLOW_VETTING).await;
        if let Some(phase) = means.vetting.phase(digest) {
            let seconds = (SLOW_VETTING * times).as_secs();
            let text = format!("its vetting has been under way for {seconds} s, and is in {phase}");
            requests.make(Request::VettingSlow(name.to_owned(), text));
        }
    }
    std::future::pending().await
}
