//! Durations as people write and read them.

use std::time::Duration;

/// Reads `500ms`, `5s`, `1.5s`, `2m`, `1h`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is no duration; write 500ms, 5s, 2m or 1h");
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(refuse)?;
    let (number, unit) = text.split_at(split);
    let unit_ms = match unit {
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" | "min" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return Err(refuse()),
    };
    let ms = number.parse::<f64>().map_err(|_| refuse())? * unit_ms;
    if !(1.0..=DAY_MS).contains(&ms) {
        return Err(format!(
            "{text} is outside 1ms to 24h; give a duration within that range"
        ));
    }
    Ok(Duration::from_millis(ms.round() as u64))
}

const DAY_MS: f64 = 86_400_000.0;

/// How long something has been going on: `3 s`, `2 min`, `5 h`, `12 d`.
pub(super) fn long(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min", s / 60),
        3600..172_800 => format!("{} h", s / 3600),
        _ => format!("{} d", s / 86_400),
    }
}

/// How long a state lasted: `3.4 s` below ten seconds, else as [`long`].
pub(super) fn lasted(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => long(ms),
    }
}

/// How long to wait, rounded up: who waits that long has waited long enough.
pub(super) fn wait(ms: u64) -> String {
    let unit = match ms {
        0..60_000 => 1_000,
        60_000..3_600_000 => 60_000,
        _ => 3_600_000,
    };
    long(ms.max(1).div_ceil(unit) * unit)
}

/// How long something took: `900 ns`, `12 µs`, `3.4 ms`, `1.2 s`.
pub(super) fn short(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    if value < 10.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_states_have_tenths() {
        assert_eq!(
            [0, 1_499, 9_999, 10_000].map(lasted),
            ["0.0 s", "1.4 s", "9.9 s", "10 s"]
        );
    }

    #[test]
    fn wait_is_never_shown_too_short() {
        for (ms, text) in [
            (0, "1 s"),
            (1_001, "2 s"),
            (60_000, "1 min"),
            (278_000, "5 min"),
            (3_599_999, "1 h"),
            (80_000_000, "23 h"),
        ] {
            assert_eq!(wait(ms), text);
        }
    }

    #[test]
    fn durations_are_read() {
        for (text, ms) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("1.5s", 1_500),
            ("2m", 120_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5 s",
            "-1s",
            "0s",
            "25h",
            "1e9s",
            "..s",
            "5d",
            "0.1ms",
            "99999999999999999999s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_shown() {
        for (ms, text) in [
            (999, "0 s"),
            (3_000, "3 s"),
            (150_000, "2 min"),
            (90_000_000, "25 h"),
            (864_000_000, "10 d"),
        ] {
            assert_eq!(long(ms), text);
        }
        for (ns, text) in [
            (900, "900 ns"),
            (1_500, "1.5 µs"),
            (12_400_000, "12 ms"),
            (3_000_000_000, "3.0 s"),
        ] {
            assert_eq!(short(ns), text);
        }
    }
}
