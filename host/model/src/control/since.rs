//! How far back somebody asks, as people write it. Pure.

/// Reads `90s`, `15m`, `24h`, `7d`, as milliseconds: from a second to 366 days.
///
/// # Errors
/// It is no such duration; the text says which are.
pub fn since_ms(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text:?} is no duration; write 90s, 15m, 24h or 7d");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
    let (number, unit) = text.split_at(split);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => SECOND_MS,
        "m" | "min" => 60 * SECOND_MS,
        "h" => 3_600 * SECOND_MS,
        "d" => DAY_MS,
        _ => return Err(refuse()),
    };
    let number: u64 = number.parse().map_err(|_| refuse())?;
    number
        .checked_mul(unit_ms)
        .filter(|ms| (SECOND_MS..=SINCE_MS_MAX).contains(ms))
        .ok_or_else(|| format!("{text} is outside 1s to 366d; give a duration within that range"))
}

/// Where nobody says.
pub const SINCE_MS_DEFAULT: u64 = DAY_MS;
/// As far back as anybody may ask.
pub const SINCE_MS_MAX: u64 = 366 * DAY_MS;

const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400 * SECOND_MS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, ms) in [
            ("90s", 90_000),
            ("15m", 900_000),
            ("15min", 900_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("366d", SINCE_MS_MAX),
            ("5000ms", 5_000),
        ] {
            assert_eq!(since_ms(text), Ok(ms), "{text}");
        }
        for text in [
            "",
            "5",
            "d",
            "1.5h",
            "-1h",
            "0s",
            "999ms",
            "367d",
            "1w",
            "1 h",
            "99999999999999999999d",
        ] {
            assert!(since_ms(text).is_err(), "{text}");
        }
    }
}
