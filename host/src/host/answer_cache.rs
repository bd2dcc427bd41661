//! Answers that were given, for calls that nobody serves: opt-in for each capability, of those alone that are declared idempotent, bounded by
//! bytes, those that were used least recently left out first. What is whole and was given by the first choice is kept; no error, no stream.

use super::Host;
use super::calls::{Target, declared};
use extman_model::clock::{self, Monotonic};
use extman_model::control::Invoked;
use extman_model::{CallError, ErrorKind, InputPart, Reply};
use extman_plugin_api::manifest::schema::Capability;
use extman_runtime::instance::Call;
use lru::LruCache;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Who has served a call, where nobody did and its answer was kept.
const SERVED_BY: &str = "cached";
/// What an answer takes beside what can be counted.
const OVERHEAD_BYTES: usize = 512;
/// Says who calls in which trace, and nothing of the answer that is wanted.
const TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// The answers that are kept.
pub(super) struct AnswerCache(Mutex<Answers>);

struct Answers {
    by_request: LruCache<Asked, Given>,
    bytes: usize,
}

/// All of a call that an answer may depend on. The whole of it is compared: no two calls are taken for one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    capability: String,
    /// Of the capability's contract, as the first choice declares it.
    version: String,
    /// Of the contract that the caller was made for.
    asked_version: String,
    content_type: String,
    accept: String,
    body: Vec<u8>,
    metadata: Vec<(String, String)>,
    parts: Vec<InputPart>,
}

/// An answer, and who gave it when.
struct Given {
    reply: Reply,
    served_by: Arc<str>,
    at: Monotonic,
    bytes: usize,
}

impl Asked {
    fn of(call: &Call, version: String) -> Self {
        let extras = &call.extras;
        let is_meant = |(key, _): &&(String, String)| !TRACE.contains(&key.as_str());
        Asked {
            capability: call.capability.clone(),
            version,
            asked_version: extras.capability_version.clone(),
            content_type: call.content_type.clone(),
            accept: extras.accept.clone(),
            body: call.body.clone(),
            metadata: extras.metadata.iter().filter(is_meant).cloned().collect(),
            parts: extras.parts.clone(),
        }
    }

    fn bytes(&self) -> usize {
        let texts = [&self.capability, &self.version, &self.asked_version];
        let texts = texts.into_iter().chain([&self.content_type, &self.accept]);
        let parts = self.parts.iter();
        let parts = parts.map(|part| part.name.len() + part.content_type.len() + part.data.len());
        let texts = texts.map(String::len);
        self.body.len() + texts.chain(parts).sum::<usize>() + pairs_bytes(&self.metadata)
    }
}

fn pairs_bytes(pairs: &[(String, String)]) -> usize {
    pairs.iter().map(|(key, value)| key.len() + value.len()).sum()
}

impl AnswerCache {
    /// An empty one.
    pub(super) fn new() -> Self {
        AnswerCache(Mutex::new(Answers {
            by_request: LruCache::unbounded(),
            bytes: 0,
        }))
    }

    /// Keeps an answer, with at most so many bytes in all; one that is larger is not kept.
    fn keep(&self, asked: Asked, given: (&Arc<str>, &Reply), at: Monotonic, bytes_max: usize) {
        let (served_by, reply) = given;
        let answered = reply.body.len() + reply.content_type.len() + pairs_bytes(&reply.metadata);
        let bytes = asked.bytes() + answered + OVERHEAD_BYTES;
        if bytes > bytes_max {
            return;
        }
        let given = Given {
            reply: reply.clone(),
            served_by: served_by.clone(),
            at,
            bytes,
        };
        let mut answers = self.lock();
        let before = answers.by_request.put(asked, given);
        answers.bytes = answers.bytes + bytes - before.map_or(0, |before| before.bytes);
        while answers.bytes > bytes_max
            && let Some((_, oldest)) = answers.by_request.pop_lru()
        {
            answers.bytes -= oldest.bytes;
        }
    }

    /// What was answered before, by whom, and how long ago that is: no longer than so.
    fn find(&self, asked: &Asked, max_age: Duration, now: Monotonic) -> Option<(Reply, Arc<str>, Duration)> {
        let mut answers = self.lock();
        let given = answers.by_request.get(asked)?;
        let age = now.since(given.at);
        (age <= max_age).then(|| (given.reply.clone(), given.served_by.clone(), age))
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// What is to be kept of a call with its answer; nothing unless its capability's answers are.
    pub(super) fn asked(&self, target: &Target, call: &Call) -> Option<Asked> {
        let registry = &self.inner.registry;
        let is_any = target.instance.is_none() && target.caller.is_none();
        if !is_any || registry.routing().answers_kept_for(&call.capability).is_none() {
            return None;
        }
        let first = registry.current().route(&call.capability)?.first()?;
        let declared = declared(&first, &call.capability)?;
        declared
            .idempotent
            .then(|| Asked::of(call, declared.version.to_string()))
    }

    /// The answer, which is kept; or, of a call that nobody has served, what was answered before.
    pub(super) fn keep_or_find(
        &self,
        asked: Asked,
        served: Result<Invoked, CallError>,
    ) -> Result<Invoked, CallError> {
        let (cache, now) = (&self.inner.answers, clock::monotonic());
        let routing = self.inner.registry.routing();
        match served {
            // What stands in may answer otherwise: the first choice's answer is worth more, for as long as it is kept.
            Ok(invoked) if invoked.degraded.is_none() => {
                let entry = self.snapshot().get(&invoked.served_by);
                let declared = entry
                    .as_ref()
                    .and_then(|entry| declared(entry, &asked.capability));
                let is_the_same = |declared: &Capability| {
                    declared.idempotent && declared.version.to_string() == asked.version
                };
                if declared.is_some_and(is_the_same) {
                    let given = (&invoked.served_by, &invoked.reply);
                    cache.keep(asked, given, now, routing.answers_bytes_max());
                }
                Ok(invoked)
            }
            Err(error) if may_be_old(error.kind) => {
                let max_age = routing.answers_kept_for(&asked.capability);
                let found = max_age.and_then(|max_age| cache.find(&asked, max_age, now));
                let (reply, served_by, age) = found.ok_or_else(|| error.clone())?;
                let why = format!(
                    "{error}; {served_by} gave this answer {} ms before",
                    age.as_millis()
                );
                Ok(Invoked {
                    served_by: SERVED_BY.into(),
                    degraded: Some(why.into()),
                    attempts: 0,
                    age: Some(age),
                    reply,
                })
            }
            served => served,
        }
    }
}

/// Whether an old answer is better than such an error: it is neither the caller's mistake, nor a word of the plugin on the call.
fn may_be_old(kind: ErrorKind) -> bool {
    !kind.is_callers() && kind != ErrorKind::Unsupported
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::{RequestExtras, Usage};
    use proptest::prelude::*;

    fn asked(body: &[u8]) -> Asked {
        let call = Call {
            capability: "a.b".to_owned(),
            content_type: "text/plain".to_owned(),
            body: body.to_vec(),
            timeout: None,
            extras: RequestExtras::NONE,
            chain: None,
        };
        Asked::of(&call, "1.0.0".to_owned())
    }

    fn reply(body: &[u8]) -> Reply {
        Reply {
            content_type: "text/plain".into(),
            body: body.to_vec(),
            usage: Usage::default(),
            metadata: Vec::new(),
            ran: Duration::ZERO,
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(1).after(Duration::from_millis(ms))
    }

    fn found(cache: &AnswerCache, body: &[u8]) -> Option<Vec<u8>> {
        cache
            .find(&asked(body), HOUR, at(0))
            .map(|(reply, ..)| reply.body)
    }

    #[test]
    fn answer_is_found_with_its_age_until_it_is_too_old() {
        let cache = AnswerCache::new();
        cache.keep(asked(b"q"), (&"x".into(), &reply(b"a")), at(1000), 10_000);
        let second = Duration::from_secs(1);
        let (found, by, age) = cache.find(&asked(b"q"), second, at(2000)).unwrap();
        assert_eq!((&*found.body, &*by, age), (&b"a"[..], "x", second));
        assert!(cache.find(&asked(b"q"), second, at(2001)).is_none());
        cache.keep(asked(b"q"), (&"y".into(), &reply(b"b")), at(3000), 10_000);
        let (found, by, age) = cache.find(&asked(b"q"), second, at(3000)).unwrap();
        assert_eq!((&*found.body, &*by, age), (&b"b"[..], "y", Duration::ZERO));
    }

    #[test]
    fn calls_that_differ_in_anything_but_their_trace_are_not_taken_for_one() {
        let cache = AnswerCache::new();
        cache.keep(asked(b"q"), (&"x".into(), &reply(b"a")), at(0), 100_000);
        type Change = fn(&mut Asked);
        let changes: [Change; 8] = [
            |asked| asked.capability.push('x'),
            |asked| asked.version.push('x'),
            |asked| asked.asked_version.push('x'),
            |asked| asked.content_type.push('x'),
            |asked| asked.accept.push('x'),
            |asked| asked.body.push(b'x'),
            |asked| asked.metadata.push(("tenant".to_owned(), "b".to_owned())),
            |asked| asked.parts.push(InputPart::default()),
        ];
        for change in changes {
            let mut other = asked(b"q");
            change(&mut other);
            assert!(cache.find(&other, HOUR, at(0)).is_none(), "{other:?}");
        }
        let mut call = Call {
            capability: "a.b".to_owned(),
            content_type: "text/plain".to_owned(),
            body: b"q".to_vec(),
            timeout: None,
            extras: RequestExtras::NONE,
            chain: None,
        };
        call.extras.metadata = vec![("traceparent".to_owned(), "00-a-b-01".to_owned())];
        let traced = Asked::of(&call, "1.0.0".to_owned());
        assert!(cache.find(&traced, HOUR, at(0)).is_some());
    }

    #[test]
    fn least_recently_used_answers_go_first() {
        let (cache, given) = (AnswerCache::new(), reply(b"a"));
        let one = asked(b"1").bytes() + 1 + "text/plain".len() + OVERHEAD_BYTES;
        let keep = |body: &[u8]| cache.keep(asked(body), (&"x".into(), &given), at(0), 2 * one);
        keep(b"1");
        keep(b"2");
        assert!(found(&cache, b"1").is_some(), "it is used");
        keep(b"3");
        let there = [b"1", b"2", b"3"].map(|body| found(&cache, body).is_some());
        assert_eq!(there, [true, false, true]);
    }

    proptest! {
        #[test]
        fn bytes_are_counted_as_they_are_and_bounded(sizes in prop::collection::vec((0_u8..20, 0_usize..4000), 1..60)) {
            let cache = AnswerCache::new();
            for (which, size) in sizes {
                cache.keep(asked(&[which]), (&"x".into(), &reply(&vec![0; size])), at(0), 8000);
                let answers = cache.lock();
                let sum: usize = answers.by_request.iter().map(|(_, given)| given.bytes).sum();
                prop_assert_eq!(answers.bytes, sum);
                prop_assert!(sum <= 8000);
                // Whatever fits is there.
                drop(answers);
                if size < 8000 - OVERHEAD_BYTES - 100 {
                    prop_assert_eq!(found(&cache, &[which]).map(|body| body.len()), Some(size));
                }
            }
        }
    }
}
