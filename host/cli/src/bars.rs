//! Small pictures in one line: states as blocks, figures as a curve. Each character means the same with and without colours.

use extman_model::Health;

/// One character a state, the newest last, at most `width` of them.
pub(super) fn heartbeat(states: &[Health], width: usize, colour: bool) -> String {
    let last = &states[states.len().saturating_sub(width)..];
    last.iter().map(|state| block(Some(*state), colour)).collect()
}

/// One character a stretch; nothing is known of `None`.
pub(super) fn timeline(stretches: &[Option<Health>], colour: bool) -> String {
    stretches.iter().map(|state| block(*state, colour)).collect()
}

fn block(state: Option<Health>, colour: bool) -> String {
    let (block, code) = match state {
        Some(Health::Up) => ('█', GREEN),
        Some(Health::Degraded) => ('▅', YELLOW),
        Some(Health::Down) => ('▁', RED),
        Some(Health::Unknown) => ('?', DIM),
        None => ('·', DIM),
    };
    paint(&block.to_string(), code, colour)
}

/// The word of a state or a health, with what follows it, in the colour of that word.
pub(super) fn state(text: &str, colour: bool) -> String {
    let word = text.split([',', ' ']).next().unwrap_or_default();
    match word.to_lowercase().as_str() {
        "running" | "up" => paint(text, GREEN, colour),
        "failed" | "quarantined" | "wedged" | "down" => paint(text, RED, colour),
        "waiting" | "starting" | "draining" | "backoff" | "degraded" => paint(text, YELLOW, colour),
        "unknown" => paint(text, DIM, colour),
        _ => text.to_owned(),
    }
}

/// A text in bright red.
pub(super) fn alarm(text: &str, colour: bool) -> String {
    paint(text, RED, colour)
}

/// What the blocks mean.
pub(super) const LEGEND: &str = "█ up, ▅ degraded, ▁ down, ? unknown, · not observed";

const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const RED: u8 = 31;
const DIM: u8 = 90;

fn paint(text: &str, code: u8, colour: bool) -> String {
    if colour {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Figures from nothing (▁) to the greatest of them (█); of more than `width`, the greatest of each few. A space where there is none.
pub(super) fn sparkline(figures: &[Option<u64>], width: usize) -> String {
    let few = figures.len().div_ceil(width.max(1)).max(1);
    let figures: Vec<Option<u64>> = figures
        .chunks(few)
        .map(|few| few.iter().flatten().max().copied())
        .collect();
    let most = figures.iter().flatten().max().copied().unwrap_or(0).max(1);
    let step = |figure: u64| STEPS[(u128::from(figure) * 7 / u128::from(most)) as usize];
    figures.iter().map(|figure| figure.map_or(' ', step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Health::{Degraded, Down, Unknown, Up};

    #[test]
    fn states_differ_without_colours_too() {
        let all = [Up, Degraded, Down, Unknown];
        assert_eq!(heartbeat(&all, 10, false), "█▅▁?");
        assert_eq!(heartbeat(&all, 2, false), "▁?");
        assert_eq!(heartbeat(&[], 2, true), "");
        assert_eq!(
            heartbeat(&[Up, Down], 9, true),
            "\u{1b}[32m█\u{1b}[0m\u{1b}[31m▁\u{1b}[0m"
        );
        assert_eq!(timeline(&[Some(Up), None], false), "█·");
        for mark in ["█", "▅", "▁", "?", "·"] {
            assert!(LEGEND.contains(mark));
        }
    }

    #[test]
    fn the_greatest_is_the_highest_and_none_is_none() {
        assert_eq!(sparkline(&[Some(0), Some(50), None, Some(100)], 9), "▁▄ █");
        assert_eq!(sparkline(&[], 9), "");
        assert_eq!(sparkline(&[Some(0), Some(0)], 9), "▁▁");
        assert_eq!(sparkline(&[Some(u64::MAX), Some(1)], 9), "█▁");
        let many: Vec<_> = (0..100).map(Some).collect();
        let line = sparkline(&many, 10);
        assert_eq!(line.chars().count(), 10);
        assert!(line.starts_with('▁') && line.ends_with('█'), "{line}");
    }
}
