//! Calls that are mirrored: made a second time, on a new version that gets none yet, once the one that serves has answered them.
//!
//! ```text
//!   a call ──▶ Mirror::copy ──▶ the version that serves ──▶ CallCopy::offer ──▶ its caller is answered
//!                                                                 └─▶ MirroredCall, to whoever makes it (`supervisor/mirroring.rs`)
//! ```
//!
//! Whoever calls pays for the copies and waits for nothing else. What there is no room for is not copied.

use super::{Candidate, Entry};
use crate::instance::{Call, CallFailure, Instance};
use extman_health::rollout::Share;
use extman_model::{ErrorKind, Reply};
use extman_plugin_api::manifest::schema::Capability;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls that are copied at once, from when they begin to when what came of their mirroring is known. With more, the new version would serve side by
/// side what the old one has served one after the other, and seem slower than that.
const COPIES_MAX: usize = 1;
/// Bytes of a copy, of input and answer.
const BYTES_MAX: usize = 8 << 20;
/// Says in which trace somebody calls. Of a mirrored call nobody is to find a span in theirs.
const TRACE_KEYS: [&str; 2] = ["traceparent", "tracestate"];

/// What is mirrored of an instance's calls.
pub struct Mirror {
    new: Arc<Instance>,
    capabilities: Vec<Mirrorable>,
    share: Share,
    /// Calls that could have been mirrored so far.
    calls: AtomicU64,
    copies: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    offered: UnboundedSender<MirroredCall>,
}

/// A capability whose calls may be mirrored, with how much its new version takes.
struct Mirrorable {
    name: String,
    input_bytes_max: u64,
}

/// The copy of a call that the old version is about to serve. Dropped, the call is not mirrored.
pub struct CallCopy {
    call: Call,
    bytes: Arc<Semaphore>,
    room: Room,
    offered: UnboundedSender<MirroredCall>,
}

/// A call that is to be made on the new version.
pub(crate) struct MirroredCall {
    pub call: Call,
    pub old: OldAnswer,
    /// Held until its answer is thrown away.
    pub room: Room,
}

/// What the old version came to.
pub(crate) enum OldAnswer {
    Answered(Reply),
    Failed(ErrorKind),
}

/// A place among the copies, with their bytes.
pub(crate) struct Room {
    _copy: OwnedSemaphorePermit,
    bytes: OwnedSemaphorePermit,
}

impl Mirror {
    /// Of this share of the calls of `old`, to `new`. `None` where the two have no capability that both declare idempotent, with the same input.
    pub(crate) fn new(
        new: &Candidate,
        old: &Entry,
        share: Share,
    ) -> Option<(Self, UnboundedReceiver<MirroredCall>)> {
        let idempotent = |entry: &Entry| -> Vec<Capability> {
            let declared = &entry.plugin.manifest().capabilities;
            declared.iter().filter(|one| one.idempotent).cloned().collect()
        };
        let old = idempotent(old);
        // Of another schema, its inputs are held against the old one's only, and it may refuse what its callers are let have by the old version.
        let is_of_old = |one: &Capability| {
            old.iter()
                .any(|other| (&other.name, &other.input) == (&one.name, &one.input))
        };
        let both = idempotent(&new.entry).into_iter().filter(is_of_old);
        let capabilities: Vec<_> = both
            .map(|capability| Mirrorable {
                input_bytes_max: capability.limits.input_bytes_max.unwrap_or(u64::MAX),
                name: capability.name,
            })
            .collect();
        let (offered, received) = mpsc::unbounded_channel();
        let mirror = Mirror {
            new: new.instance.clone(),
            capabilities,
            share,
            calls: AtomicU64::new(0),
            copies: Arc::new(Semaphore::new(COPIES_MAX)),
            bytes: Arc::new(Semaphore::new(BYTES_MAX)),
            offered,
        };
        (!mirror.capabilities.is_empty()).then_some((mirror, received))
    }

    /// The copy of a call of this capability, whose input has so many bytes, if it is one that is mirrored and there is room for it.
    pub fn copy(&self, capability: &str, bytes: usize, copy: impl FnOnce() -> Call) -> Option<CallCopy> {
        let capability = self.capabilities.iter().find(|one| one.name == capability)?;
        let is_drawn = self.share.takes(self.calls.fetch_add(1, Relaxed));
        let fits = bytes as u64 <= capability.input_bytes_max;
        if !is_drawn || !fits || self.offered.is_closed() || self.new.no_room().is_some() {
            return None;
        }
        let room = Room {
            _copy: self.copies.clone().try_acquire_owned().ok()?,
            bytes: take(&self.bytes, bytes)?,
        };
        let call = copy();
        let mut extras = call.extras;
        extras
            .metadata
            .retain(|(key, _)| !TRACE_KEYS.contains(&key.as_str()));
        Some(CallCopy {
            call: Call { extras, ..call },
            bytes: self.bytes.clone(),
            room,
            offered: self.offered.clone(),
        })
    }
}

fn take(bytes: &Arc<Semaphore>, wanted: usize) -> Option<OwnedSemaphorePermit> {
    let wanted = u32::try_from(wanted).ok()?;
    bytes.clone().try_acquire_many_owned(wanted).ok()
}

impl CallCopy {
    /// Has the call made a second time, now that the old version has come to this. What says nothing of that one is not mirrored, nor what it
    /// panicked at: the new version may have to serve all calls at once.
    pub fn offer(mut self, ended: &Result<Reply, CallFailure>) {
        let old = match ended {
            Ok(reply) => {
                let metadata = reply.metadata.iter().map(|(key, value)| key.len() + value.len());
                let bytes = reply.body.len() + reply.content_type.len() + metadata.sum::<usize>();
                let Some(more) = take(&self.bytes, bytes) else {
                    return;
                };
                self.room.bytes.merge(more);
                OldAnswer::Answered(reply.clone())
            }
            Err(failure) if failure.is_blamed && failure.error.kind != ErrorKind::Panicked => {
                OldAnswer::Failed(failure.error.kind)
            }
            Err(_) => return,
        };
        // Whoever makes them may have ended by now.
        let _ = self.offered.send(MirroredCall {
            call: self.call,
            old,
            room: self.room,
        });
    }
}
