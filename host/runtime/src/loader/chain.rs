//! Calls inside calls: which call was made in which, so that a deadline names the whole chain, a cancellation reaches what was called, and a
//! failure is known again by whoever passes it on.
//!
//! ```text
//!   a.x ──begin──▶ b.y ──begin──▶ a.x      each knows the one that it was made in, and those under way in it
//!    │              │
//!    └─ stop, end ──┴─▶ all under way in it are stopped, and so on inwards
//! ```

use super::status;
use super::stop::Stop;
use crate::sync::lock;
use extman_model::clock::{self, Monotonic};
use extman_model::{CallError, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Calls that may be inside each other.
pub(super) const NESTED_MAX: usize = 8;
/// Between the calls of a chain, where it is told.
const WITHIN: &str = " → ";
/// What is handed on of a call's metadata.
const TRACE_KEYS: [&str; 2] = ["traceparent", "tracestate"];

/// A call or a step of the lifecycle, as those see it that are made in it.
#[derive(Debug)]
pub struct Chain {
    label: Box<str>,
    outer: Option<Arc<Chain>>,
    depth: usize,
    trace: Vec<(String, String)>,
    mirrored: Option<Arc<Mirrored>>,
    inner: Mutex<Inner>,
}

/// What is known of a mirrored call, by all that are made in it.
#[derive(Debug, Default)]
struct Mirrored {
    /// One was not made, since a mirrored call makes none like it.
    is_curtailed: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    is_over: bool,
    numbers: u64,
    /// In the order in which they began.
    under_way: Vec<InnerCall>,
    failed: Option<Failed>,
    /// For how long any was under way, and since when one is.
    waited: Duration,
    waits_since: Option<Monotonic>,
}

#[derive(Debug)]
struct InnerCall {
    number: u64,
    call: Arc<Chain>,
    stop: Arc<Stop>,
}

/// What the last call that failed came to, as the plugin was told.
#[derive(Debug)]
struct Failed {
    kind: ErrorKind,
    text: String,
    chain: String,
    is_cycle: bool,
    /// It was over with the deadline of the call that it was made in.
    is_over_with_outer: bool,
}

/// What is known of a call that is over its time.
#[derive(Debug)]
pub(crate) struct Late {
    /// The calls that it was waiting in, from the outermost to the innermost; `None` if it was in none.
    pub chain: Option<String>,
    /// For how long others were at work for it that do not come back to it.
    pub waited: Duration,
}

impl Late {
    /// Of a call that makes none.
    pub(crate) const ALONE: Late = Late {
        chain: None,
        waited: Duration::ZERO,
    };

    /// Whether others took so much of this time that the call is late by them.
    pub(crate) fn is_explained(&self, timeout: Duration) -> bool {
        !self.waited.is_zero() && self.waited >= timeout / 10
    }
}

impl Chain {
    /// One that was made in no other.
    pub(super) fn outermost(label: &str, metadata: &[(String, String)]) -> Arc<Chain> {
        Arc::new(Chain::alone(label, metadata))
    }

    /// One that somebody else has made, and that is made a second time.
    pub(crate) fn mirrored(capability: &str) -> Arc<Chain> {
        Arc::new(Chain {
            mirrored: Some(Arc::default()),
            ..Chain::alone(capability, &[])
        })
    }

    /// Whether it is a mirrored call, or was made in one.
    pub fn is_mirrored(&self) -> bool {
        self.mirrored.is_some()
    }

    /// One that it would make is not made, since it is mirrored: whatever comes of it says nothing.
    pub fn curtail(&self) {
        if let Some(mirrored) = &self.mirrored {
            mirrored.is_curtailed.store(true, SeqCst);
        }
    }

    /// Whether that was so of it, or of one that was made in it.
    pub(crate) fn is_curtailed(&self) -> bool {
        let mirrored = self.mirrored.as_ref();
        mirrored.is_some_and(|mirrored| mirrored.is_curtailed.load(SeqCst))
    }

    /// How many calls are around it, itself among them.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// What is to be handed on to those that are made in it: keys and values of a trace.
    pub(super) fn trace(&self) -> &[(String, String)] {
        &self.trace
    }

    /// A call is made in it, which `stop` ends. `None` if it is over.
    pub(super) fn begin(
        self: &Arc<Self>,
        label: &str,
        metadata: &[(String, String)],
        stop: &Arc<Stop>,
    ) -> Option<Nested> {
        let call = Arc::new(Chain {
            outer: Some(self.clone()),
            depth: self.depth + 1,
            mirrored: self.mirrored.clone(),
            ..Chain::alone(label, metadata)
        });
        let mut inner = self.lock();
        if inner.is_over {
            return None;
        }
        inner.numbers += 1;
        let number = inner.numbers;
        inner.under_way.push(InnerCall {
            number,
            call: call.clone(),
            stop: stop.clone(),
        });
        inner.waits_since.get_or_insert_with(clock::monotonic);
        drop(inner);
        Some(Nested { number, call })
    }

    fn alone(label: &str, metadata: &[(String, String)]) -> Chain {
        let is_trace = |(key, _): &&(String, String)| TRACE_KEYS.contains(&key.as_str());
        Chain {
            label: label.into(),
            outer: None,
            depth: 1,
            trace: metadata.iter().filter(is_trace).cloned().collect(),
            mirrored: None,
            inner: Mutex::default(),
        }
    }

    /// Stops all that is under way in it.
    pub(super) fn stop(&self) {
        let stops: Vec<_> = self
            .lock()
            .under_way
            .iter()
            .map(|call| call.stop.clone())
            .collect();
        // With nothing in hand: it wakes others.
        stops.iter().for_each(|stop| stop.set());
    }

    /// It is over: nothing more is made in it.
    pub(super) fn end(&self) {
        self.lock().is_over = true;
        self.stop();
    }

    /// All calls from the outermost to the innermost that is under way in it.
    pub(super) fn text(&self) -> String {
        self.told().0
    }

    /// The same, or what is known of those that were over with the deadline that they all share; and whether one of them comes twice.
    fn told(&self) -> (String, bool) {
        let mut labels = vec![self.label.to_string()];
        let mut outer = self.outer.clone();
        while let Some(call) = outer {
            labels.push(call.label.to_string());
            outer = call.outer.clone();
        }
        labels.reverse();
        let (mut next, mut over) = self.next();
        while let Some(call) = next {
            labels.push(call.label.to_string());
            (next, over) = call.next();
        }
        over.unwrap_or_else(|| (labels.join(WITHIN), is_cycle(&labels)))
    }

    /// The call that is under way in it; without one, the chain of the last one if that was over with its own deadline.
    fn next(&self) -> (Option<Arc<Chain>>, Option<(String, bool)>) {
        let inner = self.lock();
        let next = inner.under_way.last().map(|last| last.call.clone());
        let over = inner.failed.as_ref().filter(|failed| failed.is_over_with_outer);
        let over = over.map(|failed| (failed.chain.clone(), failed.is_cycle));
        (next, over)
    }

    /// What it was in as its time was over.
    pub(super) fn late(&self) -> Late {
        let was_in = match self.next() {
            (None, None) => None,
            _ => Some(self.told()),
        };
        let inner = self.lock();
        let waits = inner.waits_since.map(|since| clock::monotonic().since(since));
        let is_cycle = was_in.as_ref().is_some_and(|(_, is_cycle)| *is_cycle);
        Late {
            chain: was_in.map(|(chain, _)| chain),
            waited: match is_cycle {
                true => Duration::ZERO,
                false => inner.waited + waits.unwrap_or_default(),
            },
        }
    }

    /// Whether a failure is the one that a call made in it has met: then it is not its own.
    pub(crate) fn has_passed_on(&self, failure: &CallError) -> bool {
        let inner = self.lock();
        inner.failed.as_ref().is_some_and(|failed| {
            !failed.is_cycle && failed.kind == failure.kind && failure.text.contains(&failed.text)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

fn is_cycle(labels: &[String]) -> bool {
    labels
        .iter()
        .enumerate()
        .any(|(at, label)| labels[..at].contains(label))
}

/// A call that is under way in another one, until it is dropped.
#[derive(Debug)]
pub(super) struct Nested {
    number: u64,
    call: Arc<Chain>,
}

impl Nested {
    /// As those see it that are made in it.
    pub(super) fn call(&self) -> &Arc<Chain> {
        &self.call
    }

    /// What whoever made it is told of its failure: the chain beside it, where time was over. `shares_deadline`: it had that of the call that it
    /// was made in.
    pub(super) fn failed(&self, mut failure: CallError, shares_deadline: bool) -> CallError {
        let (chain, is_cycle) = self.call.told();
        let is_late = failure.kind == ErrorKind::DeadlineExceeded;
        if is_late && !failure.text.contains(&chain) {
            failure.text = format!("{} ({chain})", failure.text);
        }
        if let Some(outer) = &self.call.outer {
            outer.lock().failed = Some(Failed {
                kind: status::passed_on(failure.kind),
                text: failure.text.clone(),
                chain,
                is_cycle,
                is_over_with_outer: is_late && shares_deadline,
            });
        }
        failure
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        self.call.end();
        let Some(outer) = &self.call.outer else { return };
        let mut inner = outer.lock();
        inner.under_way.retain(|call| call.number != self.number);
        if inner.under_way.is_empty()
            && let Some(since) = inner.waits_since.take()
        {
            inner.waited += clock::monotonic().since(since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop() -> Arc<Stop> {
        Arc::new(Stop::new())
    }

    fn late_error() -> CallError {
        CallError::new(ErrorKind::DeadlineExceeded, "too late")
    }

    #[test]
    fn chain_is_told_from_the_outermost_call_to_the_innermost() {
        let outer = Chain::outermost("a.x", &[]);
        assert!(outer.late().chain.is_none());
        let middle = outer.begin("b.y", &[], &stop()).unwrap();
        let inner = middle.call().begin("c.z", &[], &stop()).unwrap();
        for call in [&outer, middle.call(), inner.call()] {
            assert_eq!(call.text(), "a.x → b.y → c.z");
        }
        assert_eq!((outer.depth(), inner.call().depth()), (1, 3));
        assert_eq!(outer.late().chain.as_deref(), Some("a.x → b.y → c.z"));
        let told = inner.failed(late_error(), true);
        assert_eq!(told.text, "too late (a.x → b.y → c.z)");
        drop(inner);
        // Passed on, it names the same chain, and once.
        let told = middle.failed(told, true);
        assert_eq!(told.text, "too late (a.x → b.y → c.z)");
        drop(middle);
        assert_eq!(outer.late().chain.as_deref(), Some("a.x → b.y → c.z"));
        assert!(outer.has_passed_on(&told));
        let other = CallError::new(ErrorKind::Internal, told.text.clone());
        assert!(!outer.has_passed_on(&other));
    }

    #[test]
    fn call_whose_inner_one_was_over_a_moment_before_it_names_that_too() {
        let outer = Chain::outermost("a.x", &[]);
        let middle = outer.begin("b.y", &[], &stop()).unwrap();
        let inner = middle.call().begin("a.x", &[], &stop()).unwrap();
        inner.failed(late_error(), true);
        drop(inner);
        assert_eq!(outer.late().chain.as_deref(), Some("a.x → b.y → a.x"));
    }

    #[test]
    fn call_that_was_over_by_a_limit_of_its_own_is_not_what_its_caller_is_late_for() {
        let outer = Chain::outermost("a.x", &[]);
        let nested = outer.begin("b.y", &[], &stop()).unwrap();
        nested.failed(late_error(), false);
        drop(nested);
        assert_eq!(outer.late().chain, None);
    }

    #[test]
    fn who_waits_for_itself_is_not_excused() {
        let outer = Chain::outermost("a.x", &[]);
        let middle = outer.begin("b.y", &[], &stop()).unwrap();
        let inner = middle.call().begin("a.x", &[], &stop()).unwrap();
        assert_eq!(outer.late().waited, Duration::ZERO);
        let told = inner.failed(late_error(), true);
        drop(inner);
        let told = middle.failed(told, true);
        drop(middle);
        assert!(!outer.has_passed_on(&told));
        assert_eq!(outer.late().waited, Duration::ZERO);
    }

    #[test]
    fn time_in_which_another_was_at_work_is_counted() {
        let outer = Chain::outermost("a.x", &[]);
        let nested = outer.begin("b.y", &[], &stop()).unwrap();
        while outer.late().waited.is_zero() {
            std::hint::spin_loop();
        }
        drop(nested);
        let waited = outer.late().waited;
        assert!(!waited.is_zero());
        assert_eq!(outer.late().waited, waited, "it goes on alone");
        assert!(outer.late().is_explained(waited * 5) && !outer.late().is_explained(waited * 50));
        assert!(!Late::ALONE.is_explained(Duration::ZERO));
    }

    #[test]
    fn what_is_under_way_is_stopped_with_the_call_and_ends_with_it() {
        let outer = Chain::outermost("a.x", &[]);
        let (first, second) = (stop(), stop());
        let nested = outer.begin("b.y", &[], &first).unwrap();
        outer.stop();
        assert!(first.is_set());
        let inner = nested.call().begin("c.z", &[], &second).unwrap();
        drop(nested);
        assert!(second.is_set(), "it was made in one that is over");
        drop(inner);
        outer.end();
        assert!(outer.begin("b.y", &[], &stop()).is_none());
    }

    #[test]
    fn what_a_mirrored_call_could_not_make_is_known_of_it_however_deep_it_was() {
        let (outer, other) = (Chain::mirrored("a.x"), Chain::outermost("a.x", &[]));
        let middle = outer.begin("b.y", &[], &stop()).unwrap();
        let inner = middle.call().begin("c.z", &[], &stop()).unwrap();
        let plain = other.begin("b.y", &[], &stop()).unwrap();
        assert!(inner.call().is_mirrored() && !outer.is_curtailed());
        assert!(!plain.call().is_mirrored());
        inner.call().curtail();
        plain.call().curtail();
        assert!(outer.is_curtailed() && !other.is_curtailed());
    }

    #[test]
    fn trace_alone_is_kept() {
        let pair = |key: &str| (key.to_owned(), "x".to_owned());
        let metadata = ["tenant", "traceparent", "idempotency-key", "tracestate"].map(pair);
        let outer = Chain::outermost("a.x", &metadata);
        assert_eq!(outer.trace(), [pair("traceparent"), pair("tracestate")]);
    }
}
