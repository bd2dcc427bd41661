//! Another plugin of the same host, called all the time: what its callers see of a fault beside it.

use crate::served::{Client, NO_CONNECTION, pause};
use crate::{build, served::Served, until};
use extman_model::Lifecycle;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Calls of `lang-detect`, one after the other, until this is dropped or there is no connection.
pub struct Beside {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    end: AtomicBool,
    answered: AtomicUsize,
    failed: Mutex<Vec<String>>,
}

impl Beside {
    /// Puts `lang-detect` into a host, waits until it runs, and begins to call it.
    pub fn start(served: &Served) -> Self {
        served.put(&build::plugin("lang-detect"));
        let client = served.client().clone();
        until("lang-detect runs", || {
            client
                .plugin("lang-detect")
                .is_some_and(|view| view.lifecycle == Lifecycle::Running)
        });
        let shared = Arc::new(Shared::default());
        let seen = shared.clone();
        let thread = std::thread::spawn(move || call_on(&client, &seen));
        Beside {
            shared,
            thread: Some(thread),
        }
    }

    /// Calls that were answered rightly.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// Calls that were not, but for one that found no connection.
    pub fn failed(&self) -> Vec<String> {
        let failed = self.shared.failed.lock();
        failed.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn call_on(client: &Client, shared: &Shared) {
    let text = r#"{"text": "Bonjour tout le monde, comment allez-vous aujourd'hui ?"}"#;
    while !shared.end.load(Ordering::SeqCst) {
        let wrong = match client.invoke("text.detect-language", text) {
            Ok(answer) if answer["language"] == "fra" => {
                shared.answered.fetch_add(1, Ordering::SeqCst);
                None
            }
            Ok(answer) => Some(answer.to_string()),
            Err(kind) if kind == NO_CONNECTION => return,
            Err(kind) => Some(kind),
        };
        let mut failed = shared.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.extend(wrong);
        drop(failed);
        pause();
    }
}
