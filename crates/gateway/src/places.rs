//! Who holds how much: *places* (connections) and *turns* (requests at once), bounded over all peers and for each.
//!
//! A peer is an IPv4 address, or the /64 of an IPv6 one, which is what one customer line has. Its share is counted once a
//! connection, under one of a few locks; a request takes two counters that nobody else waits for.

use crate::Limits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

const SHARDS: usize = 16;

/// Who shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Peer {
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6(u64),
}

impl Peer {
    fn of(ip: IpAddr) -> Peer {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Peer::V4(ip),
            IpAddr::V6(ip) => Peer::V6((u128::from(ip) >> 64) as u64),
        }
    }
    fn shard(self) -> usize {
        let mixed = match self {
            Peer::V4(ip) => u64::from(u32::from(ip)),
            Peer::V6(prefix) => prefix,
        };
        (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60) as usize % SHARDS
    }
}

/// What one peer holds: known for as long as it has a place or a turn. Work of a connection that is gone still counts.
struct Share {
    all: Arc<Places>,
    peer: Peer,
    places: AtomicUsize,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut peers = lock(&self.all.peers[self.peer.shard()]);
        // the peer may have come back meanwhile
        if peers.get(&self.peer).is_some_and(|share| share.strong_count() == 0) {
            peers.remove(&self.peer);
        }
    }
}

/// The places and turns of a gateway, over all its listeners.
pub(crate) struct Places {
    limits: Limits,
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    peers: [Mutex<HashMap<Peer, Weak<Share>>>; SHARDS],
}

/// Why there is no place or turn; also the reason in the tally of strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Region,
    Peer,
}

impl Full {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Full::Region => "TooManyConnections",
            Full::Peer => "TooManyConnectionsOfPeer",
        }
    }
}

impl Places {
    pub(crate) fn new(limits: Limits) -> Places {
        Places {
            limits,
            places: Arc::new(Semaphore::new(limits.connections_max)),
            turns: Arc::new(Semaphore::new(limits.requests_max)),
            peers: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// A place for a connection from there, at once or not at all.
    pub(crate) fn take(self: &Arc<Places>, ip: IpAddr) -> Result<Place, Full> {
        let loopback = ip.to_canonical().is_loopback();
        let (share, places_max) = (self.share(Peer::of(ip), loopback), self.limits.share_of(self.limits.connections_max, loopback));
        let more = |held: usize| (held < places_max).then_some(held + 1);
        share.places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| Full::Peer)?;
        match self.places.clone().try_acquire_owned() {
            Ok(place) => Ok(Place { share, _place: place }),
            Err(_) => {
                share.places.fetch_sub(1, Ordering::Relaxed);
                Err(Full::Region)
            }
        }
    }

    /// What a peer holds already, or nothing yet. No share may be let go under the lock: its end takes it, too.
    fn share(self: &Arc<Places>, peer: Peer, loopback: bool) -> Arc<Share> {
        let mut peers = lock(&self.peers[peer.shard()]);
        if let Some(share) = peers.get(&peer).and_then(Weak::upgrade) {
            return share;
        }
        let turns = self.limits.share_of(self.limits.requests_max, loopback);
        let share = Arc::new(Share {
            all: self.clone(),
            peer,
            places: AtomicUsize::new(0),
            turns: Arc::new(Semaphore::new(turns)),
            waiting: AtomicUsize::new(0),
            // who waits may have sent a part of its body already, which lies in memory
            waiting_max: (turns / 4).max(1),
        });
        peers.insert(peer, Arc::downgrade(&share));
        share
    }

    #[cfg(test)]
    fn peers_known(&self) -> usize {
        self.peers.iter().map(|shard| lock(shard).len()).sum()
    }
}

/// A connection's place, free again when it is dropped.
pub(crate) struct Place {
    share: Arc<Share>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.share.places.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request's place among the requests at once.
pub(crate) struct Turn {
    _peer: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _share: Arc<Share>,
}

impl Place {
    /// A turn, waited for among a bounded number of the same peer's requests: the client's own time-out decides. Error:
    /// too many wait already.
    pub(crate) async fn turn(&self) -> Result<Turn, Full> {
        let _peer = match self.share.turns.clone().try_acquire_owned() {
            Ok(turn) => turn,
            Err(TryAcquireError::Closed) => return Err(Full::Region),
            Err(TryAcquireError::NoPermits) => {
                let _waiting = Waiting::begin(&self.share)?;
                self.share.turns.clone().acquire_owned().await.map_err(|_| Full::Region)?
            }
        };
        // who waits here has a turn among the peer's, so their number is bounded too
        let _all = self.share.all.turns.clone().acquire_owned().await.map_err(|_| Full::Region)?;
        Ok(Turn { _peer, _all, _share: self.share.clone() })
    }
}

struct Waiting<'a>(&'a Share);

impl Waiting<'_> {
    fn begin(share: &Share) -> Result<Waiting<'_>, Full> {
        let waiting = Waiting(share);
        match share.waiting.fetch_add(1, Ordering::Relaxed) < share.waiting_max {
            true => Ok(waiting),
            false => Err(Full::Peer),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // a count is whole between any two statements
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn places(connections_max: usize, requests_max: usize) -> Arc<Places> {
        Arc::new(Places::new(Limits { connections_max, requests_max, ..Limits::default() }))
    }
    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_holds_its_share_and_no_more() {
        let places = places(16, 16);
        for (same, other) in [
            (["192.0.2.1", "192.0.2.1"], "192.0.2.2"),
            (["2001:db8:0:1::1", "2001:db8:0:1:ffff::2"], "2001:db8:0:2::1"),
            (["127.0.0.1", "127.0.0.1"], "127.0.0.2"),
            (["192.0.2.1", "::ffff:192.0.2.1"], "::ffff:192.0.2.2"),
        ] {
            let mut held: Vec<Place> = (0..4).map(|i| places.take(ip(same[i % 2])).unwrap_or_else(|e| panic!("{e:?}"))).collect();
            for address in same {
                assert_eq!(places.take(ip(address)).err(), Some(Full::Peer), "{address}");
            }
            assert!(places.take(ip(other)).is_ok(), "{other}");
            held.pop();
            assert!(places.take(ip(same[0])).is_ok());
        }
        assert_eq!(places.peers_known(), 0);
    }

    #[test]
    fn loopback_may_have_another_share_for_a_proxy_in_front() {
        let limits = Limits { connections_max: 16, loopback_share_percent: 100, ..Limits::default() };
        let places = Arc::new(Places::new(limits));
        let held: Vec<Place> = (0..16).map(|_| places.take(ip("127.0.0.1")).unwrap_or_else(|e| panic!("{e:?}"))).collect();
        assert_eq!(places.take(ip("192.0.2.1")).err(), Some(Full::Region));
        drop(held);
    }

    #[tokio::test]
    async fn one_address_takes_its_share_of_turns_waits_a_while_and_is_refused_beyond() {
        let places = places(16, 32);
        let (greedy, modest) = (
            places.take(ip("192.0.2.1")).unwrap_or_else(|e| panic!("{e:?}")),
            places.take(ip("192.0.2.2")).unwrap_or_else(|e| panic!("{e:?}")),
        );
        let mut turns = Vec::new();
        for _ in 0..8 {
            turns.push(greedy.turn().now_or_never().unwrap().unwrap_or_else(|e| panic!("{e:?}")));
        }
        let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(greedy.turn())).collect();
        for turn in &mut waiting {
            assert!(turn.as_mut().now_or_never().is_none());
        }
        assert_eq!(greedy.turn().now_or_never().unwrap().err(), Some(Full::Peer));
        // whoever gives up waiting makes room for another, and nobody else has noticed anything
        waiting.pop();
        assert!(greedy.turn().now_or_never().is_none());
        assert!(modest.turn().now_or_never().unwrap().is_ok());
        turns.pop();
        assert!(waiting.remove(0).now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn work_that_outlives_its_connection_counts_for_the_next_one() {
        let places = places(16, 8);
        let take = || places.take(ip("192.0.2.1")).unwrap_or_else(|e| panic!("{e:?}"));
        let first = take();
        let mut working: Vec<_> = (0..2).map(|_| first.turn().now_or_never().unwrap().unwrap_or_else(|e| panic!("{e:?}"))).collect();
        drop(first);
        let second = take();
        let mut waiting = Box::pin(second.turn());
        assert!(waiting.as_mut().now_or_never().is_none(), "the share is in use");
        working.pop();
        assert!(waiting.as_mut().now_or_never().unwrap().is_ok());
        drop(waiting);
        drop((second, working));
        assert_eq!(places.peers_known(), 0);
    }
}
