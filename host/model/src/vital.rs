//! Threads and tasks of the host that must live as long as it does: one that a panic ends is noted, so that the host is told to be down
//! where it is, and not well because nobody is left to say otherwise.

use std::sync::{Mutex, PoisonError};

/// A thread or task that must live, while it does.
#[derive(Debug)]
#[must_use = "it watches as long as it lives"]
pub struct Vital {
    name: &'static str,
    kind: Kind,
}

/// What its death means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something is no longer done.
    Part,
    /// Nothing can be loaded, stopped or unloaded any more.
    Essential,
}

/// One that has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// What it did.
    pub name: &'static str,
    /// What that means.
    pub kind: Kind,
}

static DEATHS: Mutex<Vec<Death>> = Mutex::new(Vec::new());

impl Vital {
    /// The calling thread or task does something without which the rest goes on.
    pub fn part(name: &'static str) -> Self {
        Vital {
            name,
            kind: Kind::Part,
        }
    }

    /// The calling thread or task does something without which nothing goes on.
    pub fn essential(name: &'static str) -> Self {
        Vital {
            name,
            kind: Kind::Essential,
        }
    }

    /// Runs a task under this watch.
    pub async fn watch<T>(self, task: impl Future<Output = T>) -> T {
        let ended = task.await;
        drop(self);
        ended
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (name, kind) = (self.name, self.kind);
            let mut deaths = DEATHS.lock().unwrap_or_else(PoisonError::into_inner);
            deaths.push(Death { name, kind });
        }
    }
}

/// Those of this process that have died.
pub fn deaths() -> Vec<Death> {
    DEATHS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_ends_by_a_panic_has_died() {
        let ends = std::thread::spawn(|| drop(Vital::part("ends in good order")));
        ends.join().unwrap();
        let dies = std::thread::spawn(|| {
            let _vital = Vital::essential("dies");
            panic!("as told");
        });
        dies.join().unwrap_err();
        let expected = Death {
            name: "dies",
            kind: Kind::Essential,
        };
        assert_eq!(deaths(), [expected]);
    }
}
