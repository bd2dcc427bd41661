//! Configurations that change while the host runs.

use super::super::blueprint::Blueprint;
use super::super::configure::configure;
use super::super::requests::{Policies, Request};
use super::super::spec::{Configured, InstanceConfig};
use super::super::stage::{Build, Gone, Input, Loaded};
use super::{Supervisor, Waiter};
use extman_model::{What, clock};
use std::sync::Arc;

impl Supervisor {
    /// From here on this is configured.
    pub(super) fn reconfigure(&mut self, configured: Configured, policies: Policies) {
        let supervision = policies.supervision;
        (self.rollout, self.probe) = (policies.rollout, policies.probe);
        self.configured = configured;
        self.supervision = supervision;
        self.trials.clear();
        if self.shutdown.is_none() && self.directories.were_looked_at() {
            self.resolve_and_reconcile(Gone::Configuration);
        }
        for record in self.instances.values_mut() {
            let supervision = record.actor.build().config.supervision(supervision);
            record.actor.supervise(supervision);
        }
    }

    /// This is configured for one instance if it takes it. Whoever asked is answered when that is known, and then says what is configured.
    pub(super) fn try_config(&mut self, name: String, config: Arc<InstanceConfig>, reply: Waiter) {
        if self.shutdown.is_some() {
            return self
                .batch
                .answers
                .push((reply, Err("the host is ending".to_owned())));
        }
        let Some(record) = self.instances.get_mut(&*name) else {
            // It is made from this when its plugin comes.
            return self.batch.answers.push((reply, Ok(())));
        };
        // Another file may lie at the path by now, which is not for this to take.
        let told = record.told.as_ref().and_then(|told| {
            let plugin = self.directories.file(&told.path)?;
            (plugin.digest() == told.digest).then(|| plugin.clone())
        });
        let plugin = told.unwrap_or_else(|| record.actor.target().plugin.clone());
        let blueprint = Blueprint { plugin, config };
        record.told = Some(super::Told::of(&blueprint));
        self.trials.insert(name.clone(), blueprint.config.clone());
        self.feed(&name, Input::Change(reply, blueprint));
    }

    /// Makes an instance that is gone anew, if its name has another plugin by now.
    pub(super) fn follow_rebirths(&mut self) {
        if std::mem::take(&mut self.reborn) && self.shutdown.is_none() {
            self.reconcile(Gone::Configuration);
        }
    }

    pub(super) fn spawn_configure(&self, name: &Arc<str>, build: Blueprint) {
        let running = self.instances.get(name).and_then(|record| record.actor.serving());
        let Some(running) = running else { return };
        let (generation, instance) = (running.generation(), running.instance.clone());
        let secrets = running.secrets.clone();
        let (name, services, requests) = (name.clone(), self.services.clone(), self.requests.clone());
        tokio::spawn(async move {
            let outcome = configure(&services, &instance, &secrets, &build).await;
            requests.make(Request::AskedToTake(name, generation, outcome));
        });
    }

    /// Another generation serves, or the same with another configuration.
    pub(super) fn replaced(&mut self, name: &Arc<str>, from: &Blueprint, to: &Blueprint, live: bool) {
        let name_of = name.to_string();
        if from.has_bytes_of(to) {
            self.batch.events.push(What::ConfigTaken { name: name_of, live });
        } else {
            let version = |build: &Blueprint| build.plugin.manifest().plugin.version.clone();
            self.batch.events.push(What::Replaced {
                name: name_of,
                from: version(from),
                to: version(to),
            });
        }
        if let Some(record) = self.instances.get_mut(name).filter(|_| !live) {
            record.since_unix_ms = clock::unix_ms(clock::wall());
        }
    }

    /// What serves, or served, goes on.
    pub(super) fn not_taken(&mut self, name: &Arc<str>, tried: &Blueprint, text: String) {
        let Some(record) = self.instances.get(name) else {
            return;
        };
        match tried.has_bytes_of(record.actor.build()) {
            true => self.batch.events.push(What::ConfigNotTaken {
                name: name.to_string(),
                text,
            }),
            false => {
                self.batch.events.push(What::VersionNotTaken {
                    name: name.to_string(),
                    version: tried.plugin.manifest().plugin.version.clone(),
                    text,
                });
                self.choice_not_taken(name, tried.plugin.digest());
            }
        }
    }
}

/// What an instance is to be made from.
pub(super) fn blueprint(
    trials: &std::collections::BTreeMap<String, Arc<InstanceConfig>>,
    name: &str,
    mut blueprint: Blueprint,
) -> Blueprint {
    if let Some(tried) = trials.get(name) {
        blueprint.config = tried.clone();
    }
    blueprint
}
