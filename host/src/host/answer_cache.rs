//! Answers that were given, for calls that nobody serves: opt-in for each capability, of those alone that are declared idempotent, bounded by
//! bytes, those that were used least recently left out first. What is whole and was given by the first choice is kept; no error, no stream.

use super::Host;
use super::attempts::Attempts;
use super::calls::{Target, is_idempotent};
use extman_model::clock::{self, Monotonic};
use extman_model::control::Invoked;
use extman_model::{CallError, Digest, ErrorKind, InputPart, Reply, Usage};
use extman_runtime::instance::Call;
use extman_runtime::registry::{Entry, Routing};
use extman_runtime::supervisor::InstanceConfig;
use lru::LruCache;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Who has served a call, where nobody did and its answer was kept.
const SERVED_BY: &str = "cached";
/// What an answer takes beside the bytes in it: itself and what was asked, and its place in list and table.
const ENTRY_OVERHEAD_BYTES: usize = size_of::<CacheKey>() + size_of::<CachedAnswer>() + 128;
/// Says who calls in which trace, and nothing of the answer that is wanted.
const TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// The answers that are kept.
pub(super) struct AnswerCache(Mutex<Answers>);

struct Answers {
    by_request: LruCache<CacheKey, CachedAnswer>,
    bytes: usize,
}

/// All of a call that an answer may depend on. The whole of it is compared: no two calls are taken for one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct CacheKey {
    capability: String,
    /// Of the contract that the caller was made for.
    asked_version: String,
    content_type: String,
    accept: String,
    body: Vec<u8>,
    metadata: Vec<(String, String)>,
    parts: Vec<InputPart>,
}

/// An answer, and who gave it when.
struct CachedAnswer {
    reply: Reply,
    by: AnsweredBy,
    at: Monotonic,
    bytes: usize,
}

/// A build with a configuration, which has answered. Another one in its place may answer otherwise.
#[derive(Debug, Clone)]
struct AnsweredBy {
    name: Arc<str>,
    version: String,
    digest: Digest,
    config: Arc<InstanceConfig>,
}

impl CacheKey {
    fn of(call: &Call) -> Self {
        let extras = &call.extras;
        let is_meant = |(key, _): &&(String, String)| !TRACE.contains(&key.as_str());
        CacheKey {
            capability: call.capability.clone(),
            asked_version: extras.capability_version.clone(),
            content_type: call.content_type.clone(),
            accept: extras.accept.clone(),
            body: call.body.clone(),
            metadata: extras.metadata.iter().filter(is_meant).cloned().collect(),
            parts: extras.parts.clone(),
        }
    }

    /// Beside itself.
    fn bytes(&self) -> usize {
        let texts = [&self.capability, &self.asked_version];
        let texts = texts.into_iter().chain([&self.content_type, &self.accept]);
        let parts = self
            .parts
            .iter()
            .map(|part| size_of::<InputPart>() + part.name.len() + part.content_type.len() + part.data.len());
        let texts = texts.map(String::len);
        self.body.len() + texts.chain(parts).sum::<usize>() + pairs_bytes(&self.metadata)
    }
}

fn pairs_bytes(pairs: &[(String, String)]) -> usize {
    let bytes = |(key, value): &(String, String)| size_of::<(String, String)>() + key.len() + value.len();
    pairs.iter().map(bytes).sum()
}

impl AnsweredBy {
    fn of(entry: &Entry) -> Self {
        AnsweredBy {
            name: entry.name.clone(),
            version: entry.plugin.manifest().plugin.version.to_string(),
            digest: entry.plugin.digest(),
            config: entry.config.clone(),
        }
    }

    /// Whether its instance is still of this build with this configuration, whether or not it runs.
    fn is_still(&self, entry: &Entry) -> bool {
        self.is_same(entry.plugin.digest(), &entry.config)
    }

    fn is_same(&self, digest: Digest, config: &InstanceConfig) -> bool {
        self.digest == digest && self.config.is_made_as(config)
    }
}

impl fmt::Display for AnsweredBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

impl Answers {
    fn remove(&mut self, asked: &CacheKey) {
        if let Some(given) = self.by_request.pop(asked) {
            self.bytes -= given.bytes;
        }
    }

    /// Leaves out those that were used least recently, until there are no more bytes than so many.
    fn shrink_to(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some((_, oldest)) = self.by_request.pop_lru()
        {
            self.bytes -= oldest.bytes;
        }
    }
}

impl AnswerCache {
    /// An empty one.
    pub(super) fn new() -> Self {
        AnswerCache(Mutex::new(Answers {
            by_request: LruCache::unbounded(),
            bytes: 0,
        }))
    }

    /// Keeps an answer, with at most so many bytes in all; one that is larger is not kept. What it has used and how long that took was its own
    /// call's.
    fn keep(&self, asked: CacheKey, (by, reply): (AnsweredBy, &Reply), at: Monotonic, bytes_max: usize) {
        let answered = reply.body.len() + reply.content_type.len() + pairs_bytes(&reply.metadata);
        let bytes = asked.bytes() + answered + by.version.len() + ENTRY_OVERHEAD_BYTES;
        if bytes > bytes_max {
            // What was answered before is older than this.
            return self.lock().remove(&asked);
        }
        let given = CachedAnswer {
            reply: Reply {
                usage: Usage::default(),
                ran: Duration::ZERO,
                ..reply.clone()
            },
            by,
            at,
            bytes,
        };
        let mut answers = self.lock();
        let before = answers.by_request.put(asked, given);
        answers.bytes = answers.bytes + bytes - before.map_or(0, |before| before.bytes);
        answers.shrink_to(bytes_max);
    }

    /// What was answered before, by whom, and how long ago that is. One that is older than so, or of whom is no longer the same, is let go.
    fn find(
        &self,
        asked: &CacheKey,
        max_age: Duration,
        now: Monotonic,
        is_still: impl FnOnce(&AnsweredBy) -> bool,
    ) -> Option<(Reply, AnsweredBy, Duration)> {
        let mut answers = self.lock();
        let given = answers.by_request.peek(asked)?;
        let age = now.since(given.at);
        if age > max_age || !is_still(&given.by) {
            answers.remove(asked);
            return None;
        }
        let given = answers.by_request.get(asked)?;
        Some((given.reply.clone(), given.by.clone(), age))
    }

    /// Lets go what is not to be kept any more by this configuration.
    pub(super) fn retain_configured(&self, routing: &Routing) {
        let mut answers = self.lock();
        let Answers { by_request, bytes } = &mut *answers;
        by_request.retain(|asked, given| {
            let stays = routing.answers_kept_for(&asked.capability).is_some();
            *bytes -= if stays { 0 } else { given.bytes };
            stays
        });
        answers.shrink_to(routing.answers_bytes_max());
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// What is to be kept of a call with its answer; nothing unless its capability's answers are.
    pub(super) fn cache_key(&self, target: &Target, call: &Call) -> Option<CacheKey> {
        let registry = &self.inner.registry;
        let is_any = target.instance.is_none() && target.caller.is_none();
        if !is_any || registry.routing().answers_kept_for(&call.capability).is_none() {
            return None;
        }
        let first = registry.current().route(&call.capability)?.first()?;
        is_idempotent(&first, &call.capability).then(|| CacheKey::of(call))
    }

    /// The answer, which is kept; or, of a call that nobody has served, what was answered before.
    pub(super) fn keep_or_find(
        &self,
        asked: CacheKey,
        served: Result<Invoked, CallError>,
        attempts: &Attempts,
    ) -> Result<Invoked, CallError> {
        let (cache, now) = (&self.inner.answers, clock::monotonic());
        let routing = self.inner.registry.routing();
        match served {
            Ok(invoked) => {
                // What stands in may answer otherwise: the first choice's answer is worth more, for as long as it is kept.
                let first = attempts.first_choice();
                let first = first.filter(|first| is_idempotent(first, &asked.capability));
                // Another configuration may have come since the call began.
                let is_kept = routing.answers_kept_for(&asked.capability).is_some();
                if let Some(first) = first.filter(|_| is_kept) {
                    let given = (AnsweredBy::of(first), &invoked.reply);
                    cache.keep(asked, given, now, routing.answers_bytes_max());
                }
                Ok(invoked)
            }
            Err(error) if may_be_old(error.kind, attempts.is_for_room()) => {
                let is_still = |giver: &AnsweredBy| self.is_still_first(giver, &asked.capability);
                let max_age = routing.answers_kept_for(&asked.capability);
                let found = max_age.and_then(|max_age| cache.find(&asked, max_age, now, is_still));
                let (reply, giver, age) = found.ok_or_else(|| error.clone())?;
                let why = format!("{error}; {giver} gave this answer before");
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

    /// Whether the same build with the same configuration would serve if all were well.
    fn is_still_first(&self, giver: &AnsweredBy, capability: &str) -> bool {
        let current = self.inner.registry.current();
        let route = current.route(capability);
        let entry = current.get(&giver.name);
        let still = entry.filter(|entry| giver.is_still(entry));
        still.is_some_and(|entry| route.is_some_and(|route| route.is_first_choice(&entry)))
    }
}

/// Whether an old answer is better than such an error: nobody was there to serve the call, or had room, or came back from it. What a plugin says
/// of the call itself, and limits that are meant to be held, stand as they are.
fn may_be_old(kind: ErrorKind, is_for_room: bool) -> bool {
    use ErrorKind as E;
    match kind {
        E::NotServing | E::Unavailable | E::DeadlineExceeded | E::Panicked => true,
        E::Exhausted => is_for_room,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use extman_model::RequestExtras;
    use extman_runtime::registry::RoutingConfig;
    use proptest::prelude::*;

    fn call(body: &[u8]) -> Call {
        Call {
            capability: "a.b".to_owned(),
            content_type: "text/plain".to_owned(),
            body: body.to_vec(),
            timeout: None,
            extras: RequestExtras::NONE,
            chain: None,
        }
    }

    fn asked(body: &[u8]) -> CacheKey {
        CacheKey::of(&call(body))
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

    fn giver(name: &str) -> AnsweredBy {
        AnsweredBy {
            name: name.into(),
            version: "1.0.0".to_owned(),
            digest: Digest::new([1; 32]),
            config: Arc::new(InstanceConfig::default_for(name)),
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(1).after(Duration::from_millis(ms))
    }

    /// Keeps an answer of `x`.
    fn keep(cache: &AnswerCache, asked: CacheKey, reply: &Reply, ms: u64, bytes_max: usize) {
        cache.keep(asked, (giver("x"), reply), at(ms), bytes_max);
    }

    fn found(cache: &AnswerCache, body: &[u8]) -> Option<Vec<u8>> {
        let found = cache.find(&asked(body), HOUR, at(0), |_| true);
        found.map(|(reply, ..)| reply.body)
    }

    #[test]
    fn answer_is_found_with_its_age_until_it_is_too_old() {
        let cache = AnswerCache::new();
        keep(&cache, asked(b"q"), &reply(b"a"), 1000, 10_000);
        let second = Duration::from_secs(1);
        let find = |ms| cache.find(&asked(b"q"), second, at(ms), |_| true);
        let (found, by, age) = find(2000).unwrap();
        assert_eq!((&*found.body, &*by.name, age), (&b"a"[..], "x", second));
        assert!(find(2001).is_none());
        let answers = cache.lock();
        assert_eq!((answers.by_request.len(), answers.bytes), (0, 0), "it is let go");
        drop(answers);
        cache.keep(asked(b"q"), (giver("y"), &reply(b"b")), at(3000), 10_000);
        let (found, by, age) = find(3000).unwrap();
        assert_eq!((&*found.body, &*by.name, age), (&b"b"[..], "y", Duration::ZERO));
    }

    #[test]
    fn answer_of_another_build_or_configuration_is_let_go() {
        let one = giver("x");
        let builds = AnsweredBy {
            digest: Digest::new([2; 32]),
            ..one.clone()
        };
        let configs = AnsweredBy {
            config: Arc::new(InstanceConfig {
                config: serde_json::Map::from_iter([("a".to_owned(), 1.into())]),
                ..InstanceConfig::default_for("x")
            }),
            ..one.clone()
        };
        for other in [builds, configs] {
            let cache = AnswerCache::new();
            keep(&cache, asked(b"q"), &reply(b"a"), 0, 10_000);
            let is_still = |now: &AnsweredBy| {
                let now = now.clone();
                move |giver: &AnsweredBy| giver.is_same(now.digest, &now.config)
            };
            assert!(cache.find(&asked(b"q"), HOUR, at(0), is_still(&one)).is_some());
            assert!(cache.find(&asked(b"q"), HOUR, at(0), is_still(&other)).is_none());
            assert!(cache.find(&asked(b"q"), HOUR, at(0), is_still(&one)).is_none());
        }
    }

    #[test]
    fn answer_that_is_too_large_to_be_kept_lets_the_one_before_it_go() {
        let cache = AnswerCache::new();
        keep(&cache, asked(b"q"), &reply(b"small"), 0, 10_000);
        assert_eq!(found(&cache, b"q").as_deref(), Some(&b"small"[..]));
        keep(&cache, asked(b"q"), &reply(&[0; 10_000]), 0, 10_000);
        assert_eq!(found(&cache, b"q"), None);
        assert_eq!(cache.lock().bytes, 0);
    }

    #[test]
    fn kept_answer_has_used_nothing_and_taken_no_time() {
        let cache = AnswerCache::new();
        let costly = Reply {
            usage: Usage {
                tokens_in: Some(7),
                ..Usage::default()
            },
            ran: HOUR,
            ..reply(b"a")
        };
        keep(&cache, asked(b"q"), &costly, 0, 10_000);
        let (found, ..) = cache.find(&asked(b"q"), HOUR, at(0), |_| true).unwrap();
        assert_eq!(found, reply(b"a"));
    }

    #[test]
    fn old_answers_stand_in_for_nobody_there_and_for_no_word_of_a_plugin_or_limit() {
        use ErrorKind as E;
        let of = |is_for_room| {
            ErrorKind::ALL
                .into_iter()
                .filter(move |kind| may_be_old(*kind, is_for_room))
        };
        let mut all: Vec<_> = of(false).collect();
        let four = [E::Unavailable, E::DeadlineExceeded, E::Panicked, E::NotServing];
        assert_eq!(all, four);
        all.push(E::Exhausted);
        let mut for_room: Vec<_> = of(true).collect();
        for_room.sort_by_key(|kind| all.iter().position(|known| known == kind));
        assert_eq!(for_room, all, "nobody has room");
    }

    #[test]
    fn calls_that_differ_in_anything_but_their_trace_are_not_taken_for_one() {
        let cache = AnswerCache::new();
        keep(&cache, asked(b"q"), &reply(b"a"), 0, 100_000);
        type Change = fn(&mut CacheKey);
        let changes: [Change; 7] = [
            |asked| asked.capability.push('x'),
            |asked| asked.asked_version.push('x'),
            |asked| asked.content_type.push('x'),
            |asked| asked.accept.push('x'),
            |asked| asked.body.push(b'x'),
            |asked| asked.metadata.push(("tenant".to_owned(), "b".to_owned())),
            |asked| asked.parts.push(InputPart::default()),
        ];
        let find = |asked: &CacheKey| cache.find(asked, HOUR, at(0), |_| true);
        for change in changes {
            let mut other = asked(b"q");
            change(&mut other);
            assert!(find(&other).is_none(), "{other:?}");
        }
        let mut call = call(b"q");
        call.extras.metadata = vec![("traceparent".to_owned(), "00-a-b-01".to_owned())];
        assert!(find(&CacheKey::of(&call)).is_some());
    }

    #[test]
    fn least_recently_used_answers_go_first() {
        let (cache, given) = (AnswerCache::new(), reply(b"a"));
        let one = asked(b"1").bytes() + 1 + "text/plain".len() + "1.0.0".len() + ENTRY_OVERHEAD_BYTES;
        let keep = |body: &[u8]| keep(&cache, asked(body), &given, 0, 2 * one);
        keep(b"1");
        keep(b"2");
        assert!(found(&cache, b"1").is_some(), "it is used");
        keep(b"3");
        let there = || [b"1", b"2", b"3"].map(|body| found(&cache, body).is_some());
        assert_eq!(there(), [true, false, true]);
        let mut config = RoutingConfig::default();
        config.cache.max_age_ms.insert("a.b".to_owned(), 1);
        cache.retain_configured(&config.clone().into());
        assert_eq!(cache.lock().bytes, 2 * one);
        config.cache.bytes_max = one as u64;
        cache.retain_configured(&config.into());
        assert_eq!(there(), [false, false, true], "a lower bound holds at once");
        cache.retain_configured(&RoutingConfig::default().into());
        assert_eq!(there(), [false; 3], "none of this capability are kept any more");
        assert_eq!(cache.lock().bytes, 0);
    }

    #[test]
    fn pairs_and_parts_without_bytes_are_counted() {
        let mut many = asked(b"q");
        let before = many.bytes();
        many.metadata = vec![(String::new(), String::new()); 100];
        many.parts = vec![InputPart::default(); 100];
        let each = size_of::<(String, String)>() + size_of::<InputPart>();
        assert_eq!(many.bytes() - before, 100 * each);
    }

    proptest! {
        #[test]
        fn bytes_are_counted_as_they_are_and_bounded(sizes in prop::collection::vec((0_u8..20, 0_usize..4000), 1..60)) {
            let cache = AnswerCache::new();
            for (which, size) in sizes {
                keep(&cache, asked(&[which]), &reply(&vec![0; size]), 0, 8000);
                let answers = cache.lock();
                let sum: usize = answers.by_request.iter().map(|(_, given)| given.bytes).sum();
                prop_assert_eq!(answers.bytes, sum);
                prop_assert!(sum <= 8000);
                // Whatever fits is there.
                drop(answers);
                if size < 8000 - ENTRY_OVERHEAD_BYTES - 100 {
                    prop_assert_eq!(found(&cache, &[which]).map(|body| body.len()), Some(size));
                }
            }
        }
    }
}
