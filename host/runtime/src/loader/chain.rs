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
use extman_model::clock::{self, Monotonic};
use extman_model::{CallError, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    is_over: bool,
    numbers: u64,
    /// In the order in which they began.
    under_way: Vec<UnderWay>,
    failed: Option<Failed>,
    /// For how long any was under way, and since when one is.
    waited: Duration,
    waits_since: Option<Monotonic>,
}

#[derive(Debug)]
struct UnderWay {
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
        Arc::new(Chain {
            label: label.into(),
            outer: None,
            depth: 1,
            trace: trace_of(metadata),
            inner: Mutex::default(),
        })
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
            ..Chain::alone(label, trace_of(metadata))
        });
        let mut inner = self.lock();
        if inner.is_over {
            return None;
        }
        inner.numbers += 1;
        let number = inner.numbers;
        inner.under_way.push(UnderWay {
            number,
            call: call.clone(),
            stop: stop.clone(),
        });
        inner.waits_since.get_or_insert_with(clock::monotonic);
        drop(inner);
        Some(Nested { number, call })
    }

    fn alone(label: &str, trace: Vec<(String, String)>) -> Chain {
        Chain {
            label: label.into(),
            outer: None,
            depth: 1,
            trace,
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
        self.labels().join(WITHIN)
    }

    fn labels(&self) -> Vec<String> {
        let mut labels = vec![self.label.to_string()];
        let mut outer = self.outer.clone();
        while let Some(call) = outer {
            labels.push(call.label.to_string());
            outer = call.outer.clone();
        }
        labels.reverse();
        let mut inner = self.innermost_next();
        while let Some(call) = inner {
            labels.push(call.label.to_string());
            inner = call.innermost_next();
        }
        labels
    }

    fn innermost_next(&self) -> Option<Arc<Chain>> {
        self.lock().under_way.last().map(|last| last.call.clone())
    }

    /// What it was in as its time was over.
    pub(super) fn late(&self) -> Late {
        let labels = self.labels();
        let inner = self.lock();
        let (chain, is_cycle) = match (&inner.failed, inner.under_way.is_empty()) {
            (_, false) => (Some(labels.join(WITHIN)), is_cycle(&labels)),
            (Some(failed), true) if failed.kind == ErrorKind::DeadlineExceeded => {
                (Some(failed.chain.clone()), failed.is_cycle)
            }
            _ => (None, false),
        };
        let waits = inner.waits_since.map(|since| clock::monotonic().since(since));
        Late {
            chain,
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
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_cycle(labels: &[String]) -> bool {
    labels
        .iter()
        .enumerate()
        .any(|(at, label)| labels[..at].contains(label))
}

fn trace_of(metadata: &[(String, String)]) -> Vec<(String, String)> {
    let is_trace = |(key, _): &&(String, String)| TRACE_KEYS.contains(&key.as_str());
    metadata.iter().filter(is_trace).cloned().collect()
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

    /// What whoever made it is told of its failure: the chain beside it, where time was over.
    pub(super) fn failed(&self, mut failure: CallError) -> CallError {
        let labels = self.call.labels();
        let mut chain = labels.join(WITHIN);
        let mut is_cycle = is_cycle(&labels);
        if let Some(deeper) = &self.call.lock().failed {
            is_cycle |= deeper.is_cycle;
            if deeper.kind == ErrorKind::DeadlineExceeded {
                chain.clone_from(&deeper.chain);
            }
        }
        if failure.kind == ErrorKind::DeadlineExceeded && !failure.text.contains(&chain) {
            failure.text = format!("{} ({chain})", failure.text);
        }
        if let Some(outer) = &self.call.outer {
            outer.lock().failed = Some(Failed {
                kind: status::passed_on(failure.kind),
                text: failure.text.clone(),
                chain,
                is_cycle,
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
        let told = inner.failed(late_error());
        assert_eq!(told.text, "too late (a.x → b.y → c.z)");
        drop(inner);
        // Passed on, it names the same chain, and once.
        let told = middle.failed(told);
        assert_eq!(told.text, "too late (a.x → b.y → c.z)");
        drop(middle);
        assert_eq!(outer.late().chain.as_deref(), Some("a.x → b.y → c.z"));
        assert!(outer.has_passed_on(&told));
        let other = CallError::new(ErrorKind::Internal, told.text.clone());
        assert!(!outer.has_passed_on(&other));
    }

    #[test]
    fn who_waits_for_itself_is_not_excused() {
        let outer = Chain::outermost("a.x", &[]);
        let middle = outer.begin("b.y", &[], &stop()).unwrap();
        let inner = middle.call().begin("a.x", &[], &stop()).unwrap();
        assert_eq!(outer.late().waited, Duration::ZERO);
        let told = inner.failed(late_error());
        drop(inner);
        let told = middle.failed(told);
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
    fn trace_alone_is_kept() {
        let pair = |key: &str| (key.to_owned(), "x".to_owned());
        let metadata = ["tenant", "traceparent", "idempotency-key", "tracestate"].map(pair);
        let outer = Chain::outermost("a.x", &metadata);
        assert_eq!(outer.trace(), [pair("traceparent"), pair("tracestate")]);
    }
}
