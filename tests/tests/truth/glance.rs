//! What somebody on call sees who knows nothing of the case: the end of `extman health` on a terminal of 80 columns and 24 lines.

use super::ask::flatten;
use super::stage::Stage;
use extman_tests::served::program;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

const COLUMNS: u16 = 80;
const LINES: u16 = 24;
/// The word, how long and the name stand within so many words of the reason.
const NEAR: usize = 12;

/// Holds what is in sight to telling where and by what the host crashed, or of no crash.
pub fn tells_of_crash(stage: &Stage, crashed: &str) -> Result<(), String> {
    let screen = screen(stage);
    let shown = flatten(&screen);
    let told = shown.find(CRASHED).map(|at| &shown[at..]);
    match (told, crashed) {
        (None, "") => Ok(()),
        (Some(told), crashed) if !crashed.is_empty() && told.contains(crashed) => Ok(()),
        _ => Err(format!(
            "where one looks first it is not told that the host crashed {crashed:?}:\n{screen}"
        )),
    }
}

/// How what is told of a crash begins; when it was follows.
pub const CRASHED: &str = "host crashed at ";

/// Holds what is in sight to telling of each of these which it is, what it is, since when, and why.
pub fn tells_of_all(stage: &Stage, sick: &[(&str, &str, &str)]) -> Result<(), String> {
    let screen = screen(stage);
    let shown = flatten(&screen);
    let missing = sick
        .iter()
        .find(|(name, word, reason)| !tells_of(&shown, name, word, reason));
    match missing {
        Some((name, word, reason)) => Err(format!(
            "{name} is not told of as {word} for some time, since {reason:?}, where one looks first:\n{screen}"
        )),
        None => Ok(()),
    }
}

fn tells_of(shown: &str, name: &str, word: &str, reason: &str) -> bool {
    let mut found = shown.match_indices(reason);
    found.any(|(at, _)| {
        let bare = |text: &str| text.trim_end_matches([':', ',']).to_owned();
        let before: Vec<String> = shown[..at].split(' ').rev().take(NEAR).map(bare).collect();
        // Those that are sick for one reason are named after it.
        let after: Vec<String> = shown[at + reason.len()..]
            .split(' ')
            .take(NEAR)
            .map(bare)
            .collect();
        let is_named = before.iter().chain(&after).any(|word| word == name);
        let says = |text: &str| before.iter().any(|word| word == text);
        is_named && says(word) && ["s", "min", "h", "d"].into_iter().any(says)
    })
}

/// The lines that are in sight once it has ended, above the prompt.
fn screen(stage: &Stage) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    unlockpt(&master).expect("its other end");
    let terminal = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    let size = Winsize {
        ws_row: LINES,
        ws_col: COLUMNS,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size).expect("a size");
    let mut asked = Command::new(program())
        .args(["health", "--url", stage.client().url()])
        .env("NO_COLOR", "1")
        .stdout(terminal)
        .stderr(Stdio::null())
        .spawn()
        .expect("the program can be started");
    let (mut master, mut shown) = (File::from(master), Vec::new());
    // It ends with an error once nobody has the other end.
    let _ = master.read_to_end(&mut shown);
    asked.wait().expect("it ends");
    let shown = String::from_utf8_lossy(&shown).replace('\r', "");
    let lines: Vec<&str> = shown.lines().collect();
    let first = lines.len().saturating_sub(usize::from(LINES) - 1);
    lines[first..].join("\n")
}
