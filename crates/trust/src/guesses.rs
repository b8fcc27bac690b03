//! Who guesses secrets, and what that costs: the count of wrong attempts, and the queue before the slow hash.
//!
//! A *source* is an address prefix (/24, /48). Wrong attempts are counted for each source of each holder, so that whoever
//! guesses locks out itself and not the owner. Guesses spread over many sources meet a second, slower count, which locks
//! every source but *familiar* ones: those from which the right secret came within a month. Both counts fade.
//!
//! | count | locks | at | fades by one in |
//! |---|---|---|---|
//! | of one source | that source | [`WRONG_MAX`] | [`FADES_S`] |
//! | of all unfamiliar sources | all unfamiliar sources | [`UNFAMILIAR_MAX`] | [`UNFAMILIAR_FADES_S`] |

use base::{Error, Kind, Result, Stored, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Argon2id computations at once: each takes 19 MiB and about 20 ms of a core.
const ARGON2_AT_ONCE: usize = 4;
/// Who may wait for one: a second or two of work.
const QUEUE_MAX: usize = 128;
/// Of these, from one source.
const QUEUE_OF_SOURCE_MAX: usize = QUEUE_MAX / 2;

/// Wrong secrets from one source before it is locked out.
const WRONG_MAX: u32 = 10;
const FADES_S: i64 = 600;
/// Wrong secrets from all unfamiliar sources before these are locked out.
const UNFAMILIAR_MAX: u32 = 100;
const UNFAMILIAR_FADES_S: i64 = 300;
/// The first lock-out; it doubles up to an hour.
const LOCK_OUT_S: i64 = 60;
const LOCK_OUT_S_MAX: i64 = 3_600;
/// A right secret makes its source familiar for so long.
const FAMILIAR_S: i64 = 30 * 86_400;
/// A familiar source is written down again after so long: not at each sign-in.
const REFRESH_S: i64 = 86_400;
/// Sources remembered of one holder; those that matter least are forgotten first.
const SOURCES_MAX: usize = 32;

/// A count that fades, and the lock-out that it led to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    wrong: u32,
    at: Timestamp,
    locked_until: Timestamp,
}

impl Count {
    fn now(&self, now: Timestamp, fades_s: i64) -> u32 {
        let faded = (now.seconds() - self.at.seconds()).max(0) / fades_s;
        self.wrong.saturating_sub(u32::try_from(faded).unwrap_or(u32::MAX))
    }
    fn add(&mut self, now: Timestamp, fades_s: i64, max: u32) {
        self.wrong = self.now(now, fades_s) + 1;
        self.at = now;
        if self.wrong >= max {
            let doublings = (self.wrong - max).min(6);
            self.locked_until = now.plus_seconds((LOCK_OUT_S << doublings).min(LOCK_OUT_S_MAX));
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Source {
    prefix: String,
    count: Count,
    /// When the right secret last came from here.
    welcome: Option<Timestamp>,
}

impl Source {
    fn is_familiar(&self, now: Timestamp) -> bool {
        self.welcome.is_some_and(|at| at.plus_seconds(FAMILIAR_S) > now)
    }
}

/// The attempts at one holder's secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempts {
    sources: Vec<Source>,
    unfamiliar: Count,
}

impl Stored for Attempts {
    const NAME: &'static str = "trust.attempts";
    const VERSION: u8 = 2;
    type Previous = Attempts1;
    /// The old count was of all sources together: nobody is locked out by it any more.
    fn upgrade(_: Attempts1) -> Attempts {
        Attempts::default()
    }
}

/// The first version: one count, whoever guessed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Attempts1 {
    wrong: u32,
    locked_until: Timestamp,
}

impl Stored for Attempts1 {
    const NAME: &'static str = "trust.attempts";
    const VERSION: u8 = 1;
    type Previous = Attempts1;
    fn upgrade(previous: Attempts1) -> Attempts1 {
        previous
    }
}

impl Attempts {
    /// For how many seconds more a source is locked out.
    pub(crate) fn locked_s(&self, prefix: &str, now: Timestamp) -> Option<i64> {
        let source = self.sources.iter().find(|s| s.prefix == prefix);
        let own = source.map_or(Timestamp::default(), |s| s.count.locked_until);
        let until = match source.is_some_and(|s| s.is_familiar(now)) {
            true => own,
            false => own.max(self.unfamiliar.locked_until),
        };
        (until > now).then(|| until.seconds() - now.seconds() + 1)
    }

    pub(crate) fn wrong(&mut self, prefix: &str, now: Timestamp) {
        let source = self.source(prefix, now);
        source.count.add(now, FADES_S, WRONG_MAX);
        if !source.is_familiar(now) {
            self.unfamiliar.add(now, UNFAMILIAR_FADES_S, UNFAMILIAR_MAX);
        }
    }

    /// The secret was right. False where there is nothing new to remember.
    pub(crate) fn right(&mut self, prefix: &str, now: Timestamp) -> bool {
        let source = self.source(prefix, now);
        let fresh = source.welcome.is_some_and(|at| at.plus_seconds(REFRESH_S) > now);
        if fresh && source.count == Count::default() {
            return false;
        }
        source.welcome = Some(now);
        // guesses from elsewhere still count
        source.count = Count::default();
        true
    }

    fn source(&mut self, prefix: &str, now: Timestamp) -> &mut Source {
        if let Some(at) = self.sources.iter().position(|s| s.prefix == prefix) {
            return &mut self.sources[at];
        }
        if self.sources.len() >= SOURCES_MAX {
            let weight = |s: &Source| (s.is_familiar(now), s.count.now(now, FADES_S), s.count.at, s.welcome);
            let least = self.sources.iter().enumerate().min_by_key(|(_, s)| weight(s)).map_or(0, |(at, _)| at);
            self.sources.swap_remove(least);
        }
        self.sources.push(Source { prefix: prefix.to_owned(), ..Source::default() });
        // just pushed
        let last = self.sources.len() - 1;
        &mut self.sources[last]
    }
}

/// The queue before the slow hash: a few at once, a bounded number waiting, and of these only so many from one source.
pub(crate) struct Gate {
    turns: Semaphore,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    all: usize,
    by_source: HashMap<String, usize>,
}

/// A place in the queue.
pub(crate) struct Queued<'g> {
    gate: &'g Gate,
    source: String,
}

impl Gate {
    pub(crate) fn new() -> Gate {
        Gate { turns: Semaphore::new(ARGON2_AT_ONCE), waiting: Mutex::default() }
    }

    /// Error `temporarily_unavailable` (kind Throttled): too many wait already. It costs nothing.
    pub(crate) fn queue(&self, source: &str) -> Result<Queued<'_>> {
        let mut waiting = lock(&self.waiting);
        let of_source = waiting.by_source.get(source).copied().unwrap_or(0);
        if waiting.all >= QUEUE_MAX || of_source >= QUEUE_OF_SOURCE_MAX {
            return Err(Error::new(
                Kind::Throttled,
                "temporarily_unavailable",
                "AADSTS90055: Too many sign-ins at once. Try again in a few seconds.",
            ));
        }
        waiting.all += 1;
        *waiting.by_source.entry(source.to_owned()).or_default() += 1;
        Ok(Queued { gate: self, source: source.to_owned() })
    }
}

impl Queued<'_> {
    /// The right to compute, kept while it is done.
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        self.gate.turns.acquire().await.map_err(Error::internal)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.gate.waiting);
        waiting.all -= 1;
        if let Some(count) = waiting.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                waiting.by_source.remove(&self.source);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // counts are whole between any two statements
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_795_507_200_000);

    /// Guesses without a pause until the source is locked out.
    fn guess(attempts: &mut Attempts, from: &str, now: Timestamp) -> u32 {
        let mut tries = 0;
        while attempts.locked_s(from, now).is_none() && tries < 1_000 {
            attempts.wrong(from, now);
            tries += 1;
        }
        tries
    }

    #[test]
    fn whoever_guesses_locks_out_itself() {
        let mut attempts = Attempts::default();
        assert_eq!(guess(&mut attempts, "attacker", START), WRONG_MAX);
        assert!(attempts.locked_s("attacker", START).is_some());
        // the owner, from a place never seen before
        assert_eq!(attempts.locked_s("office", START), None);
        assert!(attempts.right("office", START));
        // and that did not help the attacker
        assert!(attempts.locked_s("attacker", START).is_some());
    }

    #[test]
    fn many_sources_lock_each_other_out_but_not_a_familiar_one() {
        let mut attempts = Attempts::default();
        attempts.right("office", START);
        let mut tries = 0;
        for source in 0..1_000 {
            tries += guess(&mut attempts, &format!("zombie {source}"), START);
        }
        assert_eq!(tries, UNFAMILIAR_MAX);
        assert_eq!(attempts.locked_s("office", START), None);
        assert!(attempts.locked_s("never seen", START).is_some());
        assert!(attempts.sources.len() <= SOURCES_MAX);
        // a familiar source guesses no better than others
        assert_eq!(guess(&mut attempts, "office", START), WRONG_MAX);
        // familiarity ends
        let later = START.plus_seconds(FAMILIAR_S);
        guess(&mut attempts, "zombie", later);
        assert!(!attempts.sources.iter().any(|s| s.is_familiar(later)));
    }

    #[test]
    fn lock_outs_grow_and_counts_fade() {
        let mut attempts = Attempts::default();
        let (mut now, mut waits) = (START, Vec::new());
        guess(&mut attempts, "a", now);
        for _ in 0..8 {
            let wait = attempts.locked_s("a", now).unwrap();
            waits.push(wait - 1);
            now = now.plus_seconds(wait);
            attempts.wrong("a", now);
        }
        assert_eq!(waits[..5], [60, 120, 240, 480, 960], "{waits:?}");
        assert!(waits.iter().all(|w| *w <= LOCK_OUT_S_MAX));
        // nine slips a day are nobody's attack
        let mut attempts = Attempts::default();
        for day in 0..30 {
            for _ in 0..WRONG_MAX - 1 {
                let now = START.plus_seconds(day * 86_400);
                assert_eq!(attempts.locked_s("a", now), None, "day {day}");
                attempts.wrong("a", now);
            }
        }
        assert_eq!(attempts.locked_s("a", START.plus_seconds(29 * 86_400)), None);
    }

    #[test]
    fn a_sign_in_from_the_usual_place_has_nothing_new_to_remember() {
        let mut attempts = Attempts::default();
        assert!(attempts.right("a", START));
        assert!(!attempts.right("a", START.plus_seconds(60)));
        assert!(attempts.right("a", START.plus_seconds(REFRESH_S)));
        attempts.wrong("a", START.plus_seconds(REFRESH_S));
        assert!(attempts.right("a", START.plus_seconds(REFRESH_S + 1)));
    }

    #[test]
    fn the_first_version_is_still_read() {
        let old = base::encode(&Attempts1 { wrong: 12, locked_until: START });
        assert_eq!(old[0], 1);
        assert_eq!(base::decode::<Attempts>(&old).unwrap(), Attempts::default());
    }

    #[tokio::test]
    async fn the_queue_is_bounded_over_all_and_for_each_source() {
        let gate = Gate::new();
        let mut held: Vec<_> = (0..QUEUE_OF_SOURCE_MAX).map(|_| gate.queue("a").unwrap()).collect();
        let refused = gate.queue("a").err().unwrap();
        assert_eq!((refused.kind.status(), &*refused.code), (429, "temporarily_unavailable"));
        held.extend((0..QUEUE_MAX - QUEUE_OF_SOURCE_MAX).map(|i| gate.queue(&format!("b{i}")).unwrap()));
        assert!(gate.queue("c").is_err());
        held.pop();
        drop(gate.queue("c").unwrap().turn().await.unwrap());
        drop(held);
        assert!(lock(&gate.waiting).by_source.is_empty());
    }
}
