//! `[history]`: whether, where and for how long it is written down.

use extman_model::FieldFault;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Bytes a day of an instance that is called every minute (the bench `history_size`): its minutes, hours and days, and the spans of ten
/// changes of state.
pub(super) const MINUTES_BYTES: u64 = 20_000;
pub(super) const HOURS_BYTES: u64 = 2_500;
pub(super) const DAYS_BYTES: u64 = 120;
const SPANS_BYTES: u64 = 600;

/// `[history]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistoryConfig {
    /// Whether anything is written down. Default: true.
    pub enabled: bool,
    /// The file; its directory is made if it is not there. Default: `extman/history.db` in the user's state directory
    /// (`$XDG_STATE_HOME`, else `~/.local/state`), or `history.db` here if there is none.
    pub file: PathBuf,
    /// Most mebibytes of the file. Before it grows over that, the oldest goes: first results of checks, then minutes, hours, days and
    /// spans. A day of 10,000 instances takes about 50 MiB while they idle, and 230 MiB if each is called every minute (measured by the bench
    /// `history_size`); a host whose instances may need more than this says so. Default: 2048.
    pub size_max_mib: u64,
    /// Records that may wait to be written. Results of checks may fill half of it, minutes three quarters. Default: 65536.
    pub queue_max: usize,
    /// Most milliseconds that a record waits before it is written; whoever reads has what waits written first. Default: 5000.
    pub batch_ms: u64,
    /// For how long what is kept.
    pub retention: Retention,
}

/// `[history.retention]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Hours of results of checks that were not good. Default: 48.
    pub result_hours: u64,
    /// Days of rollups of a minute. Default: 8.
    pub minute_days: u64,
    /// Days of rollups of an hour, and of deep checks, one by one. Default: 90.
    pub hour_days: u64,
    /// Days of rollups of a day. Default: 1095.
    pub day_days: u64,
    /// Days of spans and releases. Default: 365.
    pub span_days: u64,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        HistoryConfig {
            enabled: true,
            file: default_file(),
            size_max_mib: 2048,
            queue_max: 65_536,
            batch_ms: 5000,
            retention: Retention::default(),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Retention {
            result_hours: 48,
            minute_days: 8,
            hour_days: 90,
            day_days: 1095,
            span_days: 365,
        }
    }
}

impl HistoryConfig {
    /// What is wrong with the values.
    pub fn faults(&self) -> Vec<FieldFault> {
        let keep = &self.retention;
        let ranges = [
            ("history.size_max_mib", self.size_max_mib, 4, 1 << 20),
            ("history.queue_max", self.queue_max as u64, 16, 10_000_000),
            ("history.batch_ms", self.batch_ms, 1, 60_000),
            ("history.retention.result_hours", keep.result_hours, 1, 24 * 366),
            ("history.retention.minute_days", keep.minute_days, 1, 366),
            ("history.retention.hour_days", keep.hour_days, 1, 3660),
            ("history.retention.day_days", keep.day_days, 1, 36_600),
            ("history.retention.span_days", keep.span_days, 1, 36_600),
        ];
        let mut faults: Vec<FieldFault> = FieldFault::out_of_range(ranges).collect();
        if self.file.file_name().is_none() {
            let goes_on = "is empty; give the path of a file, or set history.enabled = false";
            faults.push(FieldFault::new("history.file", goes_on));
        }
        faults
    }

    /// The warning if so many instances, each called every minute, may fill the file before retention ends.
    pub(super) fn shortage(&self, instances: usize) -> Option<String> {
        let keep = &self.retention;
        let days = [
            (MINUTES_BYTES, keep.minute_days),
            (HOURS_BYTES, keep.hour_days),
            (DAYS_BYTES, keep.day_days),
            (SPANS_BYTES, keep.span_days),
        ];
        let each: u64 = days.iter().map(|(bytes, days)| bytes * days).sum();
        let mib = (each.saturating_mul(instances as u64) >> 20) + 1;
        (mib > self.size_max_mib).then(|| {
            format!(
                "{instances} instances that are called every minute fill {mib} MiB if all is kept for as long as history.retention says, and \
                 history.size_max_mib is {}: the oldest goes before its time; raise that, or lower history.retention.minute_days and \
                 hour_days",
                self.size_max_mib
            )
        })
    }

    /// [`size_max_mib`](Self::size_max_mib), in bytes.
    pub(super) fn size_max(&self) -> u64 {
        self.size_max_mib.saturating_mul(1 << 20)
    }
}

fn default_file() -> PathBuf {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map_or_else(
            || PathBuf::from("history.db"),
            |state| state.join("extman/history.db"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_section_is_the_default_and_unknown_fields_are_refused() {
        let config: HistoryConfig = toml::from_str("").unwrap();
        assert_eq!(config, HistoryConfig::default());
        assert_eq!(config.faults(), []);
        assert!(toml::from_str::<HistoryConfig>("size_mib = 1").is_err());
        assert!(toml::from_str::<HistoryConfig>("[retention]\nminutes = 1").is_err());
    }

    #[test]
    fn instances_that_need_more_room_than_there_is_bring_a_warning() {
        let config = HistoryConfig::default();
        assert_eq!(config.shortage(100), None);
        let text = config.shortage(100_000).unwrap();
        assert!(
            text.contains("100000 instances") && text.contains("is 2048"),
            "{text}"
        );
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let config: HistoryConfig = toml::from_str("[retention]\nminute_days = 0").unwrap();
        let text = &config.faults()[0].text;
        assert!(
            text.contains("history.retention.minute_days is 0, outside 1 to 366"),
            "{text}"
        );
        let config: HistoryConfig = toml::from_str("file = \"\"").unwrap();
        assert_eq!(config.faults()[0].field, "history.file");
    }
}
