//! What a test may ask, as JSON: one hazard with its figures, now or at a phase.

use crate::catalogue::{Hazard, Phase};
use extman_plugin_api::prelude::*;
use serde::Deserialize;
use std::path::PathBuf;

/// The most bytes that one hazard takes at a time.
pub const BYTES_MAX: u64 = 1 << 30;
/// The most repetitions of a flood.
pub const COUNT_MAX: u64 = 10_000_000;
/// The longest time, in milliseconds.
pub const MS_MAX: u64 = 600_000;

/// One hazard with its figures: the input of `fault.run`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    pub hazard: Hazard,
    /// The file whose appearance ends a wait; for ever without it.
    pub release: Option<PathBuf>,
    /// A file to make when the hazard begins.
    pub marker: Option<PathBuf>,
    pub ms: Option<u64>,
    pub bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
    pub count: Option<u64>,
    pub writes: Option<u64>,
    pub retry_after_ms: Option<u64>,
    pub retryable: Option<bool>,
    pub tokens_in: Option<u64>,
    pub tokens_out: Option<u64>,
}

impl Order {
    /// From the input of `fault.run`.
    pub fn read(input: &[u8]) -> Result<Self> {
        let order: Order = serde_json::from_slice(input).map_err(|e| {
            Error::invalid_input(format_args!(
                "the input is not as expected: {e}; try {{\"hazard\":\"panic\"}}"
            ))
        })?;
        order.check(Phase::Invoke).map_err(Error::invalid_input)?;
        Ok(order)
    }

    fn check(&self, phase: Phase) -> Result<(), String> {
        if !self.hazard.fits(phase) {
            return Err(format!(
                "{} can't happen in the phase {phase:?}; the table in README.md says when it can",
                self.hazard.name()
            ));
        }
        for (field, value, max) in [
            ("ms", self.ms, MS_MAX),
            ("bytes", self.bytes, BYTES_MAX),
            ("limit_bytes", self.limit_bytes, BYTES_MAX),
            ("count", self.count, COUNT_MAX),
            ("writes", self.writes, COUNT_MAX),
        ] {
            if value.is_some_and(|value| value > max) {
                return Err(format!("{field} is larger than {max}; give a smaller one"));
            }
        }
        Ok(())
    }
}

/// An instance's configuration: a hazard, when, and how often. Empty: nothing is wrong.
#[derive(Debug, Default)]
pub struct Configuration {
    planned: Option<(Phase, Order)>,
    left: Option<u64>,
}

impl Configuration {
    /// From the instance's configuration.
    pub fn read(text: &str) -> Result<Self> {
        let wrong = |e: &dyn std::fmt::Display| {
            Error::configuration(format_args!("the configuration is not as expected: {e}"))
        };
        let text = if text.trim().is_empty() { "{}" } else { text };
        let mut fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|e| wrong(&e))?;
        let phase = fields.remove("phase").unwrap_or("invoke".into());
        let phase: Phase = serde_json::from_value(phase).map_err(|e| wrong(&e))?;
        let times = fields.remove("times").unwrap_or_default();
        let left: Option<u64> = serde_json::from_value(times).map_err(|e| wrong(&e))?;
        if fields.is_empty() {
            return Ok(Configuration::default());
        }
        let order: Order = serde_json::from_value(fields.into()).map_err(|e| wrong(&e))?;
        order.check(phase).map_err(|e| wrong(&e))?;
        Ok(Configuration {
            planned: Some((phase, order)),
            left,
        })
    }

    /// What is planned for this phase, unless it has happened often enough. Counts it.
    pub fn take(&mut self, phase: Phase) -> Option<Order> {
        let (_, order) = self.planned.as_ref().filter(|(planned, _)| *planned == phase)?;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        Some(order.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_for_one_phase_and_for_as_often_as_it_says() {
        let mut plan = Configuration::read(r#"{"hazard": "panic", "phase": "start", "times": 2}"#).unwrap();
        assert!(plan.take(Phase::Invoke).is_none());
        assert!(plan.take(Phase::Start).is_some());
        assert!(plan.take(Phase::Start).is_some());
        assert!(plan.take(Phase::Start).is_none());
        assert!(Configuration::read("{}").unwrap().take(Phase::Invoke).is_none());
    }

    #[test]
    fn wrong_orders_are_refused() {
        for (config, expected) in [
            (r#"{"hazard": "panik"}"#, "panik"),
            (r#"{"hazard": "panic", "phase": "noon"}"#, "noon"),
            (
                r#"{"hazard": "usage", "phase": "start"}"#,
                "usage can't happen in the phase Start",
            ),
            (
                r#"{"hazard": "leak", "bytes": 9999999999}"#,
                "bytes is larger than",
            ),
            (r#"{"hazard": "leak", "byte": 1}"#, "byte"),
        ] {
            let error = Configuration::read(config).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.text().contains(expected), "{config}: {error}");
        }
    }
}
