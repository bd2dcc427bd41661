//! How plugins were: questions to the history, answered where waiting for the disk is allowed.

mod findings;

use super::Host;
use extman_health::analysis::uptime;
use extman_history::{HistoryError, Reader};
use extman_model::clock;
use extman_model::control::report::deep_result;
use extman_model::control::report::{AnalysisAnswer, Flapping, HistoryAnswer, Range, UptimeRow};
use extman_model::control::{ControlError, SINCE_MS_MAX};
use extman_model::record::SpanRow;
use extman_model::{HealthView, Unit};
use findings::Asked;

/// Deep checks that one answer tells of.
const DEEP_MAX: usize = 1_000;
/// Instances that one answer tells of.
const INSTANCES_MAX: usize = 1_000;

impl Host {
    /// How an instance was. One that is gone is told of as long as anything is kept of it.
    ///
    /// # Errors
    /// Nothing is known of this name, or there is no history, or it can't be read.
    pub async fn history(&self, name: &str, since_ms: u64) -> Result<HistoryAnswer, ControlError> {
        let (range, known, asked) = (last(since_ms), self.plugin(name), name.to_owned());
        let answer = self.read(move |reader| told(reader, asked, range)).await?;
        let nothing = answer.spans.is_empty() && answer.buckets.is_empty() && answer.releases.is_empty();
        if nothing {
            known?;
        }
        Ok(answer)
    }

    /// How much of the time an instance could serve, or each that there is.
    ///
    /// # Errors
    /// There is none of this name, or there is no history, or it can't be read.
    pub async fn uptime(&self, name: Option<&str>, since_ms: u64) -> Result<Vec<UptimeRow>, ControlError> {
        let range = last(since_ms);
        let names: Vec<String> = match name {
            Some(name) => vec![self.plugin(name)?.name],
            None => self.names(),
        };
        self.read(move |reader| {
            let row = |name: String| {
                let uptime = uptime::uptime(&spans(reader, &name, range)?, range);
                Ok(UptimeRow { name, uptime })
            };
            names.into_iter().map(row).collect()
        })
        .await
    }

    /// What can be said of an instance from its history. `deep` looks for what takes long, too.
    ///
    /// # Errors
    /// There is none of this name, or there is no history, or it can't be read.
    pub async fn analyse(
        &self,
        name: &str,
        since_ms: u64,
        deep: bool,
    ) -> Result<AnalysisAnswer, ControlError> {
        let health = self.plugin(name)?.health;
        let asked = Asked {
            name: name.to_owned(),
            range: last(since_ms),
            flapping: health.as_ref().map(|health| Flapping {
                flapping: health.judged.flags.flapping,
                permille: health.flapping_permille,
            }),
            heap_limit: health.as_ref().and_then(heap_limit),
            others: deep.then(|| self.names()),
        };
        self.read(move |reader| asked.answer(reader)).await
    }

    fn names(&self) -> Vec<String> {
        let snapshot = self.snapshot();
        snapshot
            .all()
            .take(INSTANCES_MAX)
            .map(|entry| entry.name.to_string())
            .collect()
    }

    /// Has a question answered on a thread that may wait.
    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let unavailable = |error: HistoryError| ControlError::Unavailable(error.to_string());
        let reader = self.inner.history.reader().map_err(unavailable)?;
        let room = self.inner.reading.clone().acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _room = room;
            question(&reader)
        });
        let answer = done.await.map_err(|_| ControlError::ShuttingDown)?;
        answer.map_err(unavailable)
    }
}

fn last(since_ms: u64) -> Range {
    let now = clock::unix_ms(clock::wall());
    Range::last(since_ms.clamp(1, SINCE_MS_MAX), now)
}

fn told(reader: &Reader, name: String, range: Range) -> Result<HistoryAnswer, HistoryError> {
    let sums = reader.rollups(&name, range, None)?;
    let spans = reader.spans(&name, range)?;
    let releases = reader.releases(&name)?;
    let checks = reader.deep_checks(&name, range, DEEP_MAX)?;
    Ok(HistoryAnswer {
        range,
        resolution: sums.resolution,
        buckets: sums.rows.iter().map(Into::into).collect(),
        more: sums.more || spans.more || releases.more || checks.more,
        clock: reader.clock_steps(range)?.into_iter().map(Into::into).collect(),
        checks: checks.rows.into_iter().map(deep_result).collect(),
        spans: spans.rows.into_iter().map(Into::into).collect(),
        releases: releases.rows.into_iter().map(Into::into).collect(),
        name,
    })
}

fn spans(reader: &Reader, name: &str, range: Range) -> Result<Vec<SpanRow>, HistoryError> {
    Ok(reader.spans(name, range)?.rows)
}

fn heap_limit(health: &HealthView) -> Option<u64> {
    let limit = health
        .figures
        .iter()
        .find(|figure| figure.name == "heap_limit" && figure.unit == Unit::Bytes)?;
    Some(limit.value)
}
