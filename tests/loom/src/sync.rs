//! The runtime's `sync`, made of a model.

pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
use std::sync::PoisonError;
use std::time::Duration;

pub(crate) fn pause(_: &mut u32) {
    loom::thread::yield_now();
}

/// The model has no time: it waits for ever, and what is never woken is a deadlock.
pub(crate) fn wait_while<'a, T>(
    condvar: &Condvar,
    mut guard: MutexGuard<'a, T>,
    _: Duration,
    mut condition: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    while condition(&mut guard) {
        guard = condvar.wait(guard).unwrap_or_else(PoisonError::into_inner);
    }
    guard
}

/// The model takes `SeqCst` for `AcqRel`, but knows sequentially consistent fences: with one on either side, an access is what it says.
pub(crate) mod atomic {
    use loom::sync::atomic::{self as model, fence};
    pub(crate) use std::sync::atomic::Ordering;

    fn fenced<T>(order: Ordering, access: impl FnOnce() -> T) -> T {
        let edge = || {
            if order == Ordering::SeqCst {
                fence(order);
            }
        };
        edge();
        let value = access();
        edge();
        value
    }

    macro_rules! word {
        ($name:ident, $value:ty) => {
            #[derive(Debug)]
            pub(crate) struct $name(model::$name);

            impl Default for $name {
                fn default() -> Self {
                    $name::new(Default::default())
                }
            }

            impl $name {
                pub(crate) fn new(value: $value) -> Self {
                    $name(model::$name::new(value))
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    fenced(order, || self.0.load(order))
                }

                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    fenced(order, || self.0.store(value, order));
                }

                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    fenced(order, || self.0.swap(value, order))
                }

                pub(crate) fn compare_exchange(
                    &self,
                    now: $value,
                    next: $value,
                    set: Ordering,
                    fetch: Ordering,
                ) -> Result<$value, $value> {
                    fenced(set, || self.0.compare_exchange(now, next, set, fetch))
                }

                pub(crate) fn fetch_update(
                    &self,
                    set: Ordering,
                    fetch: Ordering,
                    next: impl FnMut($value) -> Option<$value>,
                ) -> Result<$value, $value> {
                    fenced(set, || self.0.fetch_update(set, fetch, next))
                }
            }
        };
    }

    macro_rules! counter {
        ($name:ident, $value:ty) => {
            word!($name, $value);

            impl $name {
                pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                    fenced(order, || self.0.fetch_add(value, order))
                }

                pub(crate) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                    fenced(order, || self.0.fetch_sub(value, order))
                }

                pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                    fenced(order, || self.0.fetch_or(value, order))
                }

                pub(crate) fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                    fenced(order, || self.0.fetch_and(value, order))
                }
            }
        };
    }

    word!(AtomicBool, bool);
    counter!(AtomicU64, u64);
    counter!(AtomicUsize, usize);
}
