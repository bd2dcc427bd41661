//! The least that it costs to have another thread do something: it is woken, does nothing, and wakes the caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::*};
use std::sync::mpsc;
use std::thread::{self, JoinHandle, Thread};
use tokio::sync::oneshot;

const CALLERS: u32 = 0;
const PEERS: u32 = 1;
const OVER: u32 = 2;

/// Two threads that take turns, one futex each way.
pub struct FutexHop {
    turn: Arc<AtomicU32>,
    peer: Option<JoinHandle<()>>,
}

impl FutexHop {
    /// Starts the other thread. Only the thread that made this may call [`hop`](Self::hop).
    pub fn new() -> Self {
        let turn = Arc::new(AtomicU32::new(CALLERS));
        let peer = thread::spawn({
            let (turn, caller) = (turn.clone(), thread::current());
            move || take_turns(&turn, &caller)
        });
        FutexHop {
            turn,
            peer: Some(peer),
        }
    }

    /// There and back.
    pub fn hop(&self) {
        self.give(PEERS);
        while self.turn.load(Acquire) != CALLERS {
            thread::park();
        }
    }

    fn give(&self, to: u32) {
        self.turn.store(to, Release);
        if let Some(peer) = &self.peer {
            peer.thread().unpark();
        }
    }
}

impl Default for FutexHop {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for FutexHop {
    fn drop(&mut self) {
        self.give(OVER);
        if let Some(peer) = self.peer.take() {
            let _ = peer.join();
        }
    }
}

fn take_turns(turn: &AtomicU32, caller: &Thread) {
    loop {
        match turn.load(Acquire) {
            PEERS => {
                turn.store(CALLERS, Release);
                caller.unpark();
            }
            OVER => return,
            _ => thread::park(),
        }
    }
}

/// Two threads with a channel each way.
pub struct ChannelHop {
    there: mpsc::SyncSender<()>,
    back: mpsc::Receiver<()>,
}

impl ChannelHop {
    /// Starts the other thread, which ends with this.
    pub fn new() -> Self {
        let (there, arrived) = mpsc::sync_channel(1);
        let (answer, back) = mpsc::sync_channel(1);
        thread::spawn(move || while arrived.recv().is_ok() && answer.send(()).is_ok() {});
        ChannelHop { there, back }
    }

    /// There and back.
    pub fn hop(&self) {
        let _ = self.there.send(());
        let _ = self.back.recv();
    }
}

impl Default for ChannelHop {
    fn default() -> Self {
        Self::new()
    }
}

/// From async code to a thread by a channel, and back by tokio's oneshot.
pub struct AsyncHop {
    there: mpsc::SyncSender<oneshot::Sender<()>>,
}

impl AsyncHop {
    /// Starts the thread, which ends with this.
    pub fn new() -> Self {
        let (there, arrived) = mpsc::sync_channel::<oneshot::Sender<()>>(1);
        thread::spawn(move || {
            while let Ok(answer) = arrived.recv() {
                let _ = answer.send(());
            }
        });
        AsyncHop { there }
    }

    /// There and back.
    pub async fn hop(&self) {
        let (answer, back) = oneshot::channel();
        let _ = self.there.send(answer);
        let _ = back.await;
    }
}

impl Default for AsyncHop {
    fn default() -> Self {
        Self::new()
    }
}
