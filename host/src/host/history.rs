//! How plugins were: questions to the history, answered where waiting for the disk is allowed.

mod findings;

use super::Host;
use extman_history::{HistoryError, Reader};
use extman_model::clock;
use extman_model::control::report::check_result;
use extman_model::control::report::{AnalysisAnswer, Flapping, HistoryAnswer, Range, UptimeRow};
use extman_model::control::{ControlError, SINCE_MS_MAX};
use extman_model::{HealthView, Unit};
use findings::Asked;
use std::collections::BTreeSet;
use std::time::Duration;

/// Most checks of one answer.
const CHECKS_MAX: usize = 1_000;
/// Most spans of one answer.
const SPANS_MAX: usize = 10_000;
/// A disk that is slower is not waited for: the answer has what was written.
const FLUSH_MAX: Duration = Duration::from_millis(500);

impl Host {
    /// How an instance was. One that is gone has a history for as long as anything is kept of it.
    ///
    /// # Errors
    /// Nothing is known of this name, or there is no history, or it can't be read.
    pub async fn history(&self, name: &str, since_ms: u64) -> Result<HistoryAnswer, ControlError> {
        let (range, known, asked) = (last(since_ms), self.plugin(name), name.to_owned());
        let answer = self.read(move |reader| answer(reader, asked, range)).await?;
        let is_unknown = answer.spans.is_empty() && answer.rollups.is_empty() && answer.releases.is_empty();
        if is_unknown {
            known?;
        }
        Ok(answer)
    }

    /// How much of the time an instance could serve, or each that there is or that is configured and missing. One that is gone has a row
    /// for as long as anything is kept of it.
    ///
    /// # Errors
    /// Nothing is known of this name, or there is no history, or it can't be read.
    pub async fn uptime(&self, name: Option<&str>, since_ms: u64) -> Result<Vec<UptimeRow>, ControlError> {
        let (range, asked) = (last(since_ms), name.map(str::to_owned));
        let mut found = self
            .read(move |reader| reader.uptimes(asked.as_deref(), range))
            .await?;
        let names = match name {
            Some(name) => {
                if found.is_empty() {
                    self.plugin(name)?;
                }
                vec![name.to_owned()]
            }
            None => self.names(),
        };
        let row = |name: String| {
            let uptime = found.remove(&name).unwrap_or_else(|| Reader::unknown(range));
            UptimeRow { name, uptime }
        };
        Ok(names.into_iter().map(row).collect())
    }

    /// What can be said of an instance from its history. `deep` looks for what takes long, too.
    ///
    /// # Errors
    /// Nothing is known of this name, or there is no history, or it can't be read.
    pub async fn analyse(
        &self,
        name: &str,
        since_ms: u64,
        deep: bool,
    ) -> Result<AnalysisAnswer, ControlError> {
        let known = self.plugin(name);
        let health = known.as_ref().ok().and_then(|view| view.health.as_ref());
        let asked = Asked {
            name: name.to_owned(),
            range: last(since_ms),
            flapping: health.map(|health| Flapping {
                flapping: health.judged.flags.flapping,
                permille: health.flapping_permille,
            }),
            heap_limit: health.and_then(heap_limit),
            others: deep.then(|| self.names()),
        };
        let answer = self.read(move |reader| asked.answer(reader)).await?;
        match answer {
            Some(answer) => Ok(answer),
            None => Err(known.err().unwrap_or_else(|| ControlError::NotFound {
                name: name.to_owned(),
                similar: Vec::new(),
            })),
        }
    }

    /// All that there are, and those that are configured and missing.
    fn names(&self) -> Vec<String> {
        let snapshot = self.snapshot();
        let missing = self.inner.registry.missing();
        let mut names: BTreeSet<String> = snapshot.all().map(|entry| entry.name.to_string()).collect();
        names.extend(missing.iter().map(|missing| missing.name.clone()));
        names.into_iter().collect()
    }

    /// Has a question answered on a thread that may wait, once what happened before is written.
    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let history = self.inner.history.clone();
        let room = self.inner.reading.clone().acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _room = room;
            history.flush(FLUSH_MAX);
            question(&history.reader()?)
        });
        let answer = done.await.map_err(|_| ControlError::ShuttingDown)?;
        answer.map_err(|error| ControlError::Unavailable(error.to_string()))
    }
}

fn last(since_ms: u64) -> Range {
    let now = clock::unix_ms(clock::wall());
    Range::last(since_ms.clamp(1, SINCE_MS_MAX), now)
}

fn answer(reader: &Reader, name: String, range: Range) -> Result<HistoryAnswer, HistoryError> {
    let rollups = reader.rollups(&name, range, None)?;
    let spans = reader.spans(&name, range, SPANS_MAX)?;
    let releases = reader.releases(&name)?;
    let checks = reader.checks(&name, range, CHECKS_MAX)?;
    Ok(HistoryAnswer {
        range,
        resolution: rollups.resolution,
        rollups: rollups.rows.iter().map(Into::into).collect(),
        more: rollups.more || spans.more || releases.more || checks.more,
        clock: reader.clock_steps(range)?.into_iter().map(Into::into).collect(),
        checks: checks.rows.into_iter().map(check_result).collect(),
        spans: spans.rows.into_iter().map(Into::into).collect(),
        releases: releases.rows.into_iter().map(Into::into).collect(),
        name,
    })
}

fn heap_limit(health: &HealthView) -> Option<u64> {
    let limit = health
        .figures
        .iter()
        .find(|figure| figure.name == "heap_limit" && figure.unit == Unit::Bytes)?;
    Some(limit.value)
}
