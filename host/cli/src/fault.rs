//! Why a command was not done, and the exit code that follows.

use super::backend::{NotChecked, NotStarted};
use extman_model::CallError;
use extman_model::control::{ControlError, Failure};

/// Exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// Done.
    Done = 0,
    /// A plugin's failure, or a file that is refused.
    Failed = 1,
    /// The arguments, or the configuration.
    Usage = 2,
    /// The host can't be reached or started.
    NoHost = 3,
    /// `extman health`: degraded.
    Degraded = 10,
    /// `extman health`: not known.
    Unknown = 11,
    /// `extman health`: down.
    Down = 12,
    /// `extman rollout --watch`, `extman update --wait`: the new version was taken back.
    TakenBack = 20,
}

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) exit: Exit,
    pub(super) failure: Box<Failure>,
    /// What is wrong, each on a line of its own, where that is more than one thing.
    pub(super) each: Vec<String>,
    /// What to do next, where the failure's own text does not say.
    pub(super) next: Option<String>,
}

impl Fault {
    fn new(exit: Exit, failure: Failure) -> Fault {
        Fault {
            exit,
            failure: Box::new(failure),
            each: Vec::new(),
            next: None,
        }
    }

    /// The arguments can't be used.
    pub(super) fn usage(text: impl Into<String>) -> Fault {
        Fault::new(Exit::Usage, Failure::new("usage", text))
    }

    /// A file is refused, or something failed here.
    pub(super) fn failed(kind: &str, text: impl Into<String>) -> Fault {
        Fault::new(Exit::Failed, Failure::new(kind, text))
    }

    /// There is no host.
    pub(super) fn no_host(text: impl Into<String>) -> Fault {
        Fault::new(Exit::NoHost, Failure::new("no_host", text))
    }

    pub(super) fn next(mut self, what: impl Into<String>) -> Fault {
        self.next = Some(what.into());
        self
    }
}

impl From<NotStarted> for Fault {
    fn from(error: NotStarted) -> Fault {
        match error {
            NotStarted::Unfit(faults) => {
                let each: Vec<String> = faults.iter().map(ToString::to_string).collect();
                let fault = Fault::from(NotStarted::Configuration(each.join("; ")));
                Fault { each, ..fault }
            }
            NotStarted::Configuration(text) => Fault::new(Exit::Usage, Failure::new("configuration", text)),
            NotStarted::Refused(text) => Fault::failed("refused", text),
            NotStarted::Host(text) => Fault::no_host(text),
        }
    }
}

impl From<NotChecked> for Fault {
    fn from(error: NotChecked) -> Fault {
        match error {
            NotChecked::Host(error) => error.into(),
            NotChecked::Configuration(text) => NotStarted::Configuration(text).into(),
            NotChecked::Refused(text) => Fault::failed("refused", text),
            NotChecked::Failed(text) => Fault::failed("failed", text),
        }
    }
}

impl From<Failure> for Fault {
    /// What a host said.
    fn from(failure: Failure) -> Fault {
        let (exit, next) = match failure.kind.as_str() {
            "unauthorized" => (
                Exit::Usage,
                Some("give the host's token with --token-file or EXTMAN_TOKEN"),
            ),
            "forbidden" | "unsupported_media_type" | "too_large" => (Exit::Usage, None),
            "not_found" if failure.similar.is_empty() => {
                (Exit::Failed, Some("see `extman list` and `extman capabilities`"))
            }
            // Unless the host has said what to do.
            "not_serving" if !failure.text.contains("`extman ") => {
                (Exit::Failed, Some("see `extman health` for why nobody serves"))
            }
            _ => (Exit::Failed, None),
        };
        Fault {
            next: next.map(str::to_owned),
            ..Fault::new(exit, failure)
        }
    }
}

impl From<ControlError> for Fault {
    fn from(error: ControlError) -> Fault {
        Failure::from(error).into()
    }
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Fault {
        Failure::from(error).into()
    }
}
