//! How an earlier host was ended by a signal, and whose code ran on the thread that it hit.

use super::Digest;
use super::moment::utc;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The end of a host by a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// The host's process id.
    pub pid: u32,
    /// The signal, such as `SIGSEGV`.
    pub signal: String,
    /// The thread that it hit: its kernel id and its name.
    pub thread: String,
    /// The address that the fault is about; absent for a signal that was raised.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub address: Option<u64>,
    /// The address lies just below the thread's stack.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub stack_overflow: bool,
    /// Where the instruction lies at which it happened, such as `lang-detect+0x1b40`; absent if it is in no plugin and not in the host.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    /// Whose code it was; absent if the thread was not in a plugin.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub culprit: Option<Culprit>,
}

/// The plugin in whose code a host ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Culprit {
    /// The plugin's id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the library.
    pub digest: Digest,
    /// The instance; absent if the library has several and the thread was none of the host's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<String>,
    /// The capability that was called.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub capability: Option<String>,
    /// Which entry it was in, such as `invoke`, or `a thread of its own`.
    pub phase: String,
}

impl Crash {
    /// Whether it was in the code of this instance, or of its library where the instance is not known.
    pub fn is_of(&self, instance: &str, plugin: &str) -> bool {
        let of = |culprit: &Culprit| match &culprit.instance {
            Some(name) => name == instance,
            None => culprit.id == plugin,
        };
        self.culprit.as_ref().is_some_and(of)
    }

    /// All that one needs to look further, in a line: `host crashed at 2026-03-01 03:12:09Z in text.embed of one, embedder 1.2.0 (SIGSEGV)`.
    pub fn headline(&self) -> String {
        let overflow = if self.stack_overflow {
            ", stack overflow"
        } else {
            ""
        };
        let place = match &self.culprit {
            None => "outside of any plugin".to_owned(),
            Some(culprit) => {
                let what = culprit.capability.as_ref().unwrap_or(&culprit.phase);
                let instance = culprit.instance.as_ref();
                let instance = instance.map_or_else(String::new, |name| format!("{name}, "));
                format!("in {what} of {instance}{} {}", culprit.id, culprit.version)
            }
        };
        let (at, signal) = (utc(self.at_unix_ms), &self.signal);
        format!("host crashed at {at} {place} ({signal}{overflow})")
    }

    /// The signal, and where it hit: `SIGSEGV in invoke (fault.run)`.
    pub fn act(&self) -> String {
        let overflow = if self.stack_overflow {
            " (stack overflow)"
        } else {
            ""
        };
        let signal = format!("{}{overflow}", self.signal);
        match &self.culprit {
            None => format!("{signal} outside of any plugin"),
            Some(culprit) => {
                let capability = culprit.capability.as_ref();
                let capability = capability.map_or_else(String::new, |name| format!(" ({name})"));
                format!("{signal} in {}{capability}", culprit.phase)
            }
        }
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "host process {} was ended at {} by {}",
            self.pid,
            utc(self.at_unix_ms),
            self.act()
        )?;
        if let Some(culprit) = &self.culprit {
            write!(f, " of {culprit}")?;
        }
        write!(f, "; thread {}", self.thread)?;
        if let Some(code) = &self.code {
            write!(f, ", code at {code}")?;
        }
        match self.address {
            Some(address) => write!(f, ", address {address:#x}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, version, digest) = (&self.id, &self.version, self.digest.short());
        write!(f, "{id} {version} (digest {digest}")?;
        match &self.instance {
            Some(name) => write!(f, ", instance {name})"),
            None => f.write_str(")"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headline_says_when_where_and_by_what() {
        let mut crash = Crash {
            at_unix_ms: 1_772_334_729_000,
            pid: 7,
            signal: "SIGSEGV".to_owned(),
            thread: "9 (x-embed-1)".to_owned(),
            address: None,
            stack_overflow: false,
            code: None,
            culprit: Some(Culprit {
                id: "embedder".to_owned(),
                version: "1.2.0".to_owned(),
                digest: Digest::new([7; 32]),
                instance: Some("one".to_owned()),
                capability: Some("text.embed".to_owned()),
                phase: "invoke".to_owned(),
            }),
        };
        let at = "host crashed at 2026-03-01 03:12:09Z";
        assert_eq!(
            crash.headline(),
            format!("{at} in text.embed of one, embedder 1.2.0 (SIGSEGV)")
        );
        let culprit = crash.culprit.as_mut().unwrap();
        (culprit.instance, culprit.capability) = (None, None);
        culprit.phase = "a thread of its own".to_owned();
        crash.stack_overflow = true;
        assert_eq!(
            crash.headline(),
            format!("{at} in a thread of its own of embedder 1.2.0 (SIGSEGV, stack overflow)")
        );
        crash.culprit = None;
        crash.stack_overflow = false;
        assert_eq!(crash.headline(), format!("{at} outside of any plugin (SIGSEGV)"));
    }
}
