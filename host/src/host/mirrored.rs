//! Calls that are mirrored to a new version that gets none yet: which are copied, and what may be called in them.

use super::calls::is_idempotent;
use extman_model::{Reply, RequestExtras};
use extman_runtime::instance::{Call, CallFailure};
use extman_runtime::registry::{CallCopy, Candidate, Entry};

/// The copy of a call that this one is about to serve, if it is mirrored. One that was made in a mirrored call is not: two versions that call each
/// other would never end.
#[inline]
pub(super) fn copy(candidate: &Candidate, call: &Call) -> Option<CallCopy> {
    let mirror = candidate.mirror()?;
    let is_mirrored = call.chain.as_ref().is_some_and(|chain| chain.is_mirrored());
    let copied = || Call {
        chain: None,
        ..call.clone()
    };
    (!is_mirrored)
        .then(|| mirror.copy(&call.capability, bytes(call), copied))
        .flatten()
}

/// The same of a call on its caller's own thread, once it has ended.
pub(super) fn copy_attached(candidate: &Candidate, capability: &str, body: &[u8]) -> Option<CallCopy> {
    candidate.mirror()?.copy(capability, body.len(), || Call {
        capability: capability.to_owned(),
        content_type: "application/json".to_owned(),
        body: body.to_vec(),
        timeout: None,
        extras: RequestExtras::NONE,
        chain: None,
    })
}

/// Has a copied call made a second time, now that it has come to this.
#[inline]
pub(super) fn offer(copy: Option<CallCopy>, ended: Result<Reply, CallFailure>) -> Result<Reply, CallFailure> {
    if let Some(copy) = copy {
        copy.offer(&ended);
    }
    ended
}

/// Whether a capability may be called in a mirrored call: a call of it may be made twice, and takes no place that is promised to callers.
pub(super) fn may_call(entry: &Entry, capability: &str) -> bool {
    is_idempotent(entry, capability) && entry.config.limits.are_none()
}

fn bytes(call: &Call) -> usize {
    let RequestExtras {
        capability_version,
        accept,
        metadata,
        parts,
    } = &call.extras;
    let pairs = metadata.iter().map(|(key, value)| key.len() + value.len());
    let parts = parts
        .iter()
        .map(|part| part.name.len() + part.content_type.len() + part.data.len());
    let texts = [&call.content_type, capability_version, accept].map(|text| text.len());
    call.body.len() + texts.into_iter().chain(pairs).chain(parts).sum::<usize>()
}
