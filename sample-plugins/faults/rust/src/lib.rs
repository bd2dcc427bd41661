//! A plugin that misbehaves as it is told to, for tests of the host. What it can do is in `catalogue`; what a test may
//! ask is in `order`; how it is done is in `hazards`. Here is only when.

mod catalogue;
mod hazards;
mod late;
mod order;

use catalogue::{Hazard, Phase};
use extman_plugin_api::prelude::*;
use hazards::Scene;
use order::{Configuration, Order};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

struct Faults {
    host: Host,
    plan: Mutex<Configuration>,
    held: hazards::Held,
    checks: AtomicU64,
}

impl Faults {
    /// What is planned for this phase, if its turn has come. Counts it as done.
    fn take(&self, phase: Phase) -> Option<Order> {
        self.plan
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(phase)
    }

    /// Whether the turn of this check is to be down.
    fn flaps_down(&self, count: Option<u64>) -> bool {
        let before = self.checks.fetch_add(1, Ordering::Relaxed);
        before / count.unwrap_or(3).max(1) % 2 == 1
    }

    fn run(&self, phase: Phase, step: &Step) -> Result<()> {
        match self.take(phase) {
            Some(order) => hazards::perform(&order, &mut Scene::in_step(&self.host, &self.held, step)),
            None => Ok(()),
        }
    }
}

impl Plugin for Faults {
    fn create(create: &Create<'_>) -> Result<Self> {
        let mut plan = Configuration::read(create.config_json())?;
        let host = create.host().clone();
        let held = hazards::Held::default();
        if let Some(order) = plan.take(Phase::Create) {
            hazards::perform(&order, &mut Scene::in_step(&host, &held, create.step()))?;
        }
        Ok(Faults {
            host,
            plan: Mutex::new(plan),
            held,
            checks: AtomicU64::new(0),
        })
    }

    fn start(&self, step: &Step) -> Result<()> {
        self.run(Phase::Start, step)
    }

    fn configure(&self, config: &str, step: &Step) -> Result<()> {
        self.run(Phase::Configure, step)?;
        let plan = Configuration::read(config)?;
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan;
        Ok(())
    }

    fn check(&self, probe: &mut Probe<'_>) -> Result<Health> {
        let phase = match probe.kind() {
            CheckKind::Deep => Phase::Deep,
            CheckKind::Liveness | CheckKind::Readiness => Phase::Check,
        };
        let Some(order) = self.take(phase) else {
            return Ok(Health::Up);
        };
        let health = match order.hazard {
            Hazard::DownButServing => Health::Down,
            Hazard::DegradedButServing => Health::Degraded,
            Hazard::Flap if self.flaps_down(order.count) => Health::Down,
            _ => Health::Up,
        };
        probe.explain(format_args!("as told: {}", order.hazard.name()));
        hazards::perform(&order, &mut Scene::in_check(&self.host, &self.held, probe))?;
        Ok(health)
    }

    fn drain(&self, step: &Step) -> Result<()> {
        self.run(Phase::Drain, step)
    }

    fn stop(&self, step: &Step) -> Result<()> {
        self.run(Phase::Stop, step)
    }

    fn destroy(self, step: &Step) -> Result<()> {
        self.run(Phase::Destroy, step)
    }
}

struct Run;

impl Capability for Run {
    type Plugin = Faults;
    const NAME: &'static str = "fault.run";

    fn invoke(faults: &Faults, call: &mut Call<'_>) -> Result<()> {
        let order = Order::read(call.input())?;
        hazards::perform(&order, &mut Scene::in_call(&faults.host, &faults.held, call))
    }
}

struct Echo;

impl Capability for Echo {
    type Plugin = Faults;
    const NAME: &'static str = "fault.echo";

    fn invoke(faults: &Faults, call: &mut Call<'_>) -> Result<()> {
        if let Some(order) = faults.take(Phase::Invoke) {
            hazards::perform(&order, &mut Scene::in_call(&faults.host, &faults.held, call))?;
            if order.hazard == Hazard::FloodSink {
                return Ok(());
            }
        }
        call.begin(call.content_type())?;
        call.write(call.input())
    }
}

struct Last;

impl Capability for Last {
    type Plugin = Faults;
    const NAME: &'static str = "fault.last";

    fn invoke(_: &Faults, call: &mut Call<'_>) -> Result<()> {
        call.reply_json(&late::last())
    }
}

export_plugin!(Faults, capabilities: [Run, Echo, Last]);

#[cfg(test)]
mod tests;
