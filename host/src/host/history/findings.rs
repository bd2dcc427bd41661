//! What is looked for in one instance's history, and which of it each analysis gets to see.

use extman_health::analysis::Sample;
use extman_health::analysis::drift::drift;
use extman_health::analysis::errors::pareto;
use extman_health::analysis::leak::leak;
use extman_health::analysis::patterns::after_load::after_load;
use extman_health::analysis::patterns::co_failing::co_failing;
use extman_health::analysis::patterns::periodic::periodic;
use extman_health::analysis::timeline::{Piece, SPANS_MAX, onsets, outages, timeline};
use extman_history::{HistoryError, Reader};
use extman_model::Lifecycle;
use extman_model::control::report::{AnalysisAnswer, Finding, Flapping, Range, Resolution};
use extman_model::findings::AfterLoad;
use extman_model::findings::CoFailing;
use extman_model::findings::Drift;
use extman_model::findings::Leak;
use extman_model::findings::Outage;
use extman_model::record::{ReleaseRow, Rollup, SpanRow};

/// Failures of two instances this near to each other came together, in milliseconds.
const TOGETHER_MS: u64 = 30_000;
/// Instances that are compared in pairs.
const FAILING_MAX: usize = 1_000;

/// One question.
pub(super) struct Asked {
    pub name: String,
    pub range: Range,
    pub flapping: Option<Flapping>,
    pub heap_limit: Option<u64>,
    /// Whom it may fail together with; absent if what takes long is not looked for.
    pub others: Option<Vec<String>>,
}

impl Asked {
    /// `None` if nothing is known of the instance.
    pub(super) fn answer(self, reader: &Reader) -> Result<Option<AnalysisAnswer>, HistoryError> {
        let Some(uptime) = reader.uptimes(Some(&self.name), self.range)?.remove(&self.name) else {
            return Ok(None);
        };
        let spans = reader.spans(&self.name, self.range, SPANS_MAX)?.rows;
        let pieces = timeline(&spans, self.range);
        let (outages, starts) = (outages(&pieces), onsets(&pieces));
        let rollups = reader.rollups(&self.name, self.range, None)?;
        let mut all = Rollup::default();
        rollups.rows.iter().for_each(|row| all.add(row));
        let (latency, heap) = self.drifts(reader, &rollups.rows, rollups.resolution)?;
        let co_failing = self.co_failing(reader)?;
        Ok(Some(AnalysisAnswer {
            uptime,
            flapping: match self.flapping {
                Some(found) => Finding::Found { found },
                None => Finding::missing("it is not known to the host now"),
            },
            latency,
            heap,
            leak: self.leak(reader, &spans)?,
            errors: pareto(&all.errors),
            periodic: periodic(&starts),
            after_load: after(&rollups.rows, rollups.resolution, &outages),
            co_failing,
            range: self.range,
            name: self.name,
        }))
    }

    fn drifts(
        &self,
        reader: &Reader,
        rows: &[Rollup],
        resolution: Resolution,
    ) -> Result<(Finding<Drift>, Finding<Drift>), HistoryError> {
        let releases = reader.releases(&self.name)?.rows;
        let Some((before, now)) = versions(&releases) else {
            let missing = || Finding::missing("no other version of it has served before this one");
            return Ok((missing(), missing()));
        };
        let range = Range {
            from_unix_ms: before,
            to_unix_ms: now,
        };
        let older = reader.rollups(&self.name, range, Some(resolution))?.rows;
        // What holds both versions says nothing of either.
        let length = resolution.len_ms();
        let older: Vec<&Rollup> = older
            .iter()
            .filter(|row| row.from_unix_ms >= before && row.from_unix_ms + length <= now)
            .collect();
        let newer: Vec<&Rollup> = rows.iter().filter(|row| row.from_unix_ms >= now).collect();
        let compare = |figure: fn(&Rollup) -> Option<u64>| {
            let baseline: Vec<u64> = older.iter().filter_map(|row| figure(row)).collect();
            let current: Vec<Sample> = newer.iter().filter_map(|row| sample(row, figure)).collect();
            Finding::Found {
                found: drift(&baseline, &current),
            }
        };
        Ok((compare(p95), compare(least_heap)))
    }

    fn leak(&self, reader: &Reader, spans: &[SpanRow]) -> Result<Finding<Leak>, HistoryError> {
        if self.others.is_none() {
            return Ok(Finding::missing(NOT_ASKED));
        }
        let Some(started) = started(spans) else {
            return Ok(Finding::missing(
                "it is not written down since when it runs, or it does not",
            ));
        };
        let hours = reader.rollups(&self.name, self.range, Some(Resolution::Hour))?;
        let samples: Vec<Sample> = hours
            .rows
            .iter()
            .filter_map(|row| sample(row, least_heap))
            .collect();
        if samples.is_empty() {
            return Ok(Finding::missing("nobody has counted its heap"));
        }
        Ok(Finding::Found {
            found: leak(&samples, started, self.heap_limit),
        })
    }

    fn pieces(&self, reader: &Reader, name: &str) -> Result<Vec<Piece>, HistoryError> {
        Ok(timeline(
            &reader.spans(name, self.range, SPANS_MAX)?.rows,
            self.range,
        ))
    }

    fn co_failing(&self, reader: &Reader) -> Result<Finding<Vec<CoFailing>>, HistoryError> {
        let Some(others) = &self.others else {
            return Ok(Finding::missing(NOT_ASKED));
        };
        let mut all = Vec::new();
        for name in others {
            let starts = onsets(&self.pieces(reader, name)?);
            if !starts.is_empty() {
                all.push((name.as_str(), starts));
            }
        }
        if all.len() > FAILING_MAX {
            return Ok(Finding::missing(
                "more than 1000 instances failed; ask for a shorter time",
            ));
        }
        let mut found = co_failing(&all, self.range, TOGETHER_MS);
        found.retain(|pair| pair.first == self.name || pair.second == self.name);
        Ok(Finding::Found { found })
    }
}

const NOT_ASKED: &str = "it takes long and was not asked for; ask with full=true";

fn after(rows: &[Rollup], resolution: Resolution, outages: &[Outage]) -> Finding<Option<AfterLoad>> {
    if resolution != Resolution::Minute {
        return Finding::missing("minutes are needed; ask for the last 24h or less");
    }
    let loads: Vec<(u64, u64)> = rows.iter().map(|row| (row.from_unix_ms, row.calls)).collect();
    Finding::Found {
        found: after_load(&loads, outages),
    }
}

/// When the version before began to serve, and when this one did. Starting the same version again is no new one.
fn versions(releases: &[ReleaseRow]) -> Option<(u64, u64)> {
    let mut stretches: Vec<&ReleaseRow> = Vec::new();
    for release in releases {
        if stretches.last().is_none_or(|last| last.digest != release.digest) {
            stretches.push(release);
        }
    }
    match stretches[..] {
        [.., before, now] => Some((before.at_unix_ms, now.at_unix_ms)),
        _ => None,
    }
}

/// Since when it has been running without a stop.
fn started(spans: &[SpanRow]) -> Option<u64> {
    let running = spans
        .iter()
        .rev()
        .take_while(|span| span.state.lifecycle == Lifecycle::Running);
    running.last().map(|span| span.from_unix_ms)
}

fn p95(row: &Rollup) -> Option<u64> {
    u64::try_from(row.latency.quantile(0.95)?.as_nanos()).ok()
}

fn least_heap(row: &Rollup) -> Option<u64> {
    row.heap_bytes.map(|(least, _)| least)
}

fn sample(row: &Rollup, figure: fn(&Rollup) -> Option<u64>) -> Option<Sample> {
    figure(row).map(|value| Sample {
        at_unix_ms: row.from_unix_ms,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::Digest;

    fn release(at_unix_ms: u64, digest: &str) -> ReleaseRow {
        ReleaseRow {
            instance: "a".into(),
            at_unix_ms,
            version: semver::Version::new(1, 0, 0),
            digest: digest.repeat(32).parse::<Digest>().unwrap(),
        }
    }

    #[test]
    fn a_restart_is_no_new_version() {
        assert_eq!(versions(&[]), None);
        assert_eq!(versions(&[release(1, "aa"), release(2, "aa")]), None);
        let all = [
            release(1, "aa"),
            release(2, "bb"),
            release(3, "bb"),
            release(4, "cc"),
            release(5, "cc"),
        ];
        assert_eq!(versions(&all), Some((2, 4)));
    }
}
