//! How many connections there are, and whose: one peer gets no more than its share, and who only waits gives way to who asks.
//!
//! ```text
//! accepted ─┬─ the peer has its share ──── one of its own that has not asked gives way, else it is refused
//!           ├─ there is room ───────────── served
//!           └─ there is none ───────────── one that has not asked gives way, else it waits until another ends
//! ```

use super::config::HttpConfig;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// For how long a new connection may not have asked and still does not give way: its head is on its way.
const GRACE: Duration = Duration::from_millis(250);
/// Between two looks for one that gives way.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// All open connections.
pub(super) struct Connections {
    slots: Arc<Semaphore>,
    per_peer_max: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// In the order in which they came.
    all: BTreeMap<u64, Arc<Connection>>,
    by_peer: HashMap<IpAddr, usize>,
}

/// One connection, as its task and the accepting one share it.
pub(super) struct Connection {
    peer: IpAddr,
    since: Instant,
    asked: AtomicBool,
    gone: Notify,
}

impl Connection {
    /// It has sent a whole head.
    pub(super) fn asks(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Ends when the connection has to give way.
    pub(super) async fn gives_way(&self) {
        self.gone.notified().await;
    }
}

/// A connection's place; it is free again when this is dropped.
pub(super) struct Admitted {
    pub(super) connection: Arc<Connection>,
    connections: Arc<Connections>,
    number: u64,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.all.remove(&self.number);
        if let Some(count) = open.by_peer.get_mut(&self.connection.peer) {
            *count -= 1;
            if *count == 0 {
                open.by_peer.remove(&self.connection.peer);
            }
        }
    }
}

impl Connections {
    pub(super) fn new(config: &HttpConfig) -> Arc<Self> {
        Arc::new(Connections {
            slots: Arc::new(Semaphore::new(config.connections_max)),
            per_peer_max: config.connections_per_peer_max,
            open: Mutex::default(),
        })
    }

    /// A place for a new connection of this peer, as soon as there is one; `None` if the peer has its share.
    pub(super) async fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Admitted> {
        let peer = peer.to_canonical();
        if self
            .open()
            .by_peer
            .get(&peer)
            .is_some_and(|open| *open >= self.per_peer_max)
            && !self.give_way(|connection| connection.peer == peer)
        {
            return None;
        }
        let permit = loop {
            if let Ok(permit) = self.slots.clone().try_acquire_owned() {
                break permit;
            }
            self.give_way(|_| true);
            let freed = self.slots.clone().acquire_owned();
            if let Ok(Ok(permit)) = tokio::time::timeout(LOOK_EVERY, freed).await {
                break permit;
            }
        };
        let connection = Arc::new(Connection {
            peer,
            since: Instant::now(),
            asked: AtomicBool::new(false),
            gone: Notify::new(),
        });
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        open.all.insert(number, connection.clone());
        *open.by_peer.entry(peer).or_default() += 1;
        drop(open);
        Some(Admitted {
            connection,
            connections: self.clone(),
            number,
            _permit: permit,
        })
    }

    /// Ends the oldest of these that has not asked for anything yet. Whether there was one.
    fn give_way(&self, among: impl Fn(&Connection) -> bool) -> bool {
        let open = self.open();
        let idle = open.all.values().find(|connection| {
            among(connection)
                && !connection.asked.load(Ordering::Relaxed)
                && connection.since.elapsed() >= GRACE
        });
        // It counts as one that has asked from here on, so that the next one ends another.
        idle.map(|connection| {
            connection.asks();
            connection.gone.notify_one();
        })
        .is_some()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn connections(all: usize, per_peer: usize) -> Arc<Connections> {
        Connections::new(&HttpConfig {
            connections_max: all,
            connections_per_peer_max: per_peer,
            ..HttpConfig::default()
        })
    }

    #[tokio::test]
    async fn a_peer_with_its_share_is_refused_and_another_one_is_not() {
        let connections = connections(10, 2);
        let first = connections.admit(ONE).await.unwrap();
        let second = connections.admit(ONE).await.unwrap();
        first.connection.asks();
        second.connection.asks();
        assert!(connections.admit(ONE).await.is_none());
        assert!(connections.admit(OTHER).await.is_some());
        drop(first);
        assert!(connections.admit(ONE).await.is_some());
    }

    #[tokio::test]
    async fn who_has_not_asked_gives_way_and_who_has_just_come_does_not() {
        let connections = connections(2, 2);
        let idle = connections.admit(ONE).await.unwrap();
        let busy = connections.admit(OTHER).await.unwrap();
        busy.connection.asks();
        let asked = connections.clone();
        let third = tokio::spawn(async move { asked.admit(OTHER).await });
        idle.connection.gives_way().await;
        drop(idle);
        assert!(third.await.unwrap().is_some());
        drop(busy);
        let new = connections.admit(ONE).await.unwrap();
        assert!(!connections.give_way(|_| true), "its head is on its way");
        drop(new);
        assert!(connections.open().all.is_empty() && connections.open().by_peer.is_empty());
    }
}
