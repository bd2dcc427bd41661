//! Mirrored calls, as they are made: on the new version of an update, which gets no other ones yet. What each comes to is compared with what the old
//! version has answered, counted for the judge and for whoever looks, and thrown away.
//!
//! Compared are the status, the content type, and the bytes; where both say that they are JSON, and are not large, its values. A mirrored call begins a chain and
//! a trace of its own, so that nobody's is longer for it, and is let into no call of a plugin that is not idempotent (`Chain::curtail`).

use super::requests::{Request, Requests};
use crate::instance::Instance;
use crate::loader::Chain;
use crate::registry::{Beside, Candidate, Entry, Mirror, MirroredCall, OldAnswer};
use extman_health::judge::Side;
use extman_health::rollout::{RolloutPolicy, Share};
use extman_model::clock::{self, Monotonic};
use extman_model::latency::Recorder;
use extman_model::{CallError, ErrorKind, MirroredView, Reply};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::Interval;

/// How often it is looked for calls to make: a caller that offers one wakes nobody, since that would be its own time.
const EVERY: Duration = Duration::from_millis(5);

/// Makes mirrored calls and keeps account of them. Dropped, it cancels those that are under way.
pub(super) struct Mirroring {
    name: Arc<str>,
    generation: u64,
    new: Arc<Instance>,
    offered: UnboundedReceiver<MirroredCall>,
    looks: Interval,
    under_way: JoinSet<Pair>,
    due: Monotonic,
    seen: MirroredView,
    new_side: SideRecorder,
    old_side: SideRecorder,
    requests: Requests,
}

/// What came of mirrored calls on one side, since somebody looked.
#[derive(Default)]
struct SideRecorder {
    side: Side,
    /// Of pairs that both sides have answered.
    latencies: Recorder,
}

impl SideRecorder {
    fn take(&mut self) -> Side {
        Side {
            latencies: self.latencies.drain(),
            ..std::mem::take(&mut self.side)
        }
    }
}

/// What both versions came to in one call; `new` is `None` where that says nothing of it.
struct Pair {
    capability: String,
    old: Result<Duration, ErrorKind>,
    new: Option<Result<Duration, CallError>>,
    is_same: bool,
}

impl Mirroring {
    /// Begins to mirror calls of `old`; `None` where nothing of it can be mirrored.
    pub fn begin(
        new: &Candidate,
        old: &Entry,
        policy: &RolloutPolicy,
        requests: Requests,
    ) -> Option<(Beside, Mirroring)> {
        let share = Share::percent(policy.mirror_percent);
        let (mirror, offered) = Mirror::new(new, old, share)?;
        let mirroring = Mirroring {
            name: new.entry.name.clone(),
            generation: new.generation,
            new: new.instance.clone(),
            offered,
            looks: tokio::time::interval(EVERY),
            under_way: JoinSet::new(),
            due: clock::monotonic().after(Duration::from_millis(policy.mirror_ms)),
            seen: MirroredView {
                wanted: policy.mirror_calls,
                ..MirroredView::default()
            },
            new_side: SideRecorder::default(),
            old_side: SideRecorder::default(),
            requests,
        };
        Some((Beside::Mirror(mirror), mirroring))
    }

    /// When no more calls are mirrored, however few were.
    pub fn due(&self) -> Monotonic {
        self.due
    }

    pub fn seen(&self) -> &MirroredView {
        &self.seen
    }

    /// What came of them since the last look, on the new version's side and on the old one's.
    pub fn take_sides(&mut self) -> (Side, Side) {
        (self.new_side.take(), self.old_side.take())
    }

    /// The next one begins or ends.
    pub async fn advance(&mut self) {
        tokio::select! {
            _ = self.looks.tick() => {
                while let Ok(call) = self.offered.try_recv() {
                    self.under_way.spawn(make(self.new.clone(), call));
                }
            }
            Some(ended) = self.under_way.join_next() => {
                if let Ok(pair) = ended {
                    self.note(pair);
                }
            }
        }
    }

    /// Whether enough were compared, or their time is over, and none is under way any more: one that does not come back is waited for until it is
    /// lost, so that nobody else's call follows it.
    pub fn is_over(&mut self) -> bool {
        if self.seen.compared >= self.seen.wanted || clock::monotonic() >= self.due {
            self.offered.close();
        }
        self.offered.is_closed()
            && self.offered.is_empty()
            && self.under_way.is_empty()
            && self.new.unreturned().is_none()
    }

    fn note(&mut self, pair: Pair) {
        let Some(new) = pair.new else {
            self.seen.uncompared += 1;
            return;
        };
        self.seen.compared += 1;
        if !pair.is_same {
            self.seen.different += 1;
            self.seen.different_capability = Some(pair.capability);
        }
        let (of_new, of_old) = (&mut self.new_side, &mut self.old_side);
        of_new.side.calls.of += 1;
        of_old.side.calls.of += 1;
        of_old.side.calls.failed += u64::from(pair.old.is_err());
        match new {
            Ok(ran) => {
                // A pair is one of which each side has one, or none.
                if let Ok(old) = pair.old {
                    of_new.latencies.record(ran);
                    of_old.latencies.record(old);
                }
            }
            Err(failure) => {
                self.seen.failed += 1;
                of_new.side.calls.failed += 1;
                if failure.kind == ErrorKind::Panicked {
                    of_new.side.panics += 1;
                    self.requests.make(Request::Panicked {
                        name: self.name.to_string(),
                        generation: self.generation,
                        text: failure.text,
                    });
                }
            }
        }
    }
}

async fn make(new: Arc<Instance>, mirrored: MirroredCall) -> Pair {
    let MirroredCall { mut call, old, room } = mirrored;
    let (capability, chain) = (call.capability.clone(), Chain::mirrored(&call.capability));
    call.chain = Some(chain.clone());
    let answer = new.invoke_mirrored(call).await;
    let answer = answer.filter(|_| !chain.is_curtailed());
    let is_same = answer.as_ref().is_some_and(|answer| is_same(&old, answer));
    drop(room);
    Pair {
        capability,
        old: match old {
            OldAnswer::Answered(reply) => Ok(reply.ran),
            OldAnswer::Failed(kind) => Err(kind),
        },
        new: answer.map(|answer| answer.map(|reply| reply.ran)),
        is_same,
    }
}

/// Whether both versions have said the same.
fn is_same(old: &OldAnswer, new: &Result<Reply, CallError>) -> bool {
    match (old, new) {
        (OldAnswer::Answered(old), Ok(new)) => {
            old.content_type == new.content_type && (old.body == new.body || is_same_json(old, new))
        }
        (OldAnswer::Failed(old), Err(new)) => *old == new.kind,
        _ => false,
    }
}

/// Larger answers are compared byte by byte: to read them would hold a thread of the async runtime.
const JSON_BYTES_MAX: usize = 64 << 10;

/// Whether both are JSON of the same values. Of the same content type they are known to be.
fn is_same_json(old: &Reply, new: &Reply) -> bool {
    if old.body.len().max(new.body.len()) > JSON_BYTES_MAX {
        return false;
    }
    let media_type = old.content_type.split(';').next().unwrap_or_default().trim();
    let is_json = media_type.eq_ignore_ascii_case("application/json") || media_type.ends_with("+json");
    let value = |reply: &Reply| serde_json::from_slice::<serde_json::Value>(&reply.body).ok();
    is_json && value(old).is_some_and(|old| value(new) == Some(old))
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::Usage;

    fn reply(content_type: &'static str, body: &str) -> Reply {
        Reply {
            content_type: content_type.into(),
            body: body.as_bytes().to_vec(),
            usage: Usage::default(),
            metadata: Vec::new(),
            ran: Duration::ZERO,
        }
    }

    #[test]
    fn answers_are_compared_by_status_content_type_and_bytes_or_values() {
        let json = "application/json";
        for (old, new, same) in [
            (("text/plain", "a"), ("text/plain", "a"), true),
            (("text/plain", "a"), ("text/plain", "a "), false),
            (("text/plain", "{}"), ("text/plain", "{ }"), false),
            (("text/plain", "{}"), (json, "{}"), false),
            (
                (json, r#"{"a": 1, "b": [2]}"#),
                (json, r#"{"b":[2],"a":1}"#),
                true,
            ),
            ((json, r#"{"a": 1}"#), (json, r#"{"a": 2}"#), false),
            ((json, "[1, 2]"), (json, "[2, 1]"), false),
            ((json, "no JSON"), (json, "not JSON"), false),
            ((json, "no JSON"), (json, "no JSON"), true),
            (
                ("application/problem+json; charset=utf-8", "[1]"),
                ("application/problem+json; charset=utf-8", "[ 1 ]"),
                true,
            ),
        ] {
            let answered = OldAnswer::Answered(reply(old.0, old.1));
            assert_eq!(
                is_same(&answered, &Ok(reply(new.0, new.1))),
                same,
                "{old:?} {new:?}"
            );
        }
        let failed = OldAnswer::Failed(ErrorKind::Internal);
        let error = |kind| Err(CallError::new(kind, "as told"));
        assert!(is_same(&failed, &error(ErrorKind::Internal)));
        assert!(!is_same(&failed, &error(ErrorKind::Unavailable)));
        assert!(!is_same(&failed, &Ok(reply(json, "{}"))));
        let answered = OldAnswer::Answered(reply(json, "{}"));
        assert!(!is_same(&answered, &error(ErrorKind::Internal)));
    }
}
