//! Refusals of another tenant's callers: the first ones of a minute have entries of their own, the rest share one.
//!
//! Whoever is refused writes into the record of whose resource it was: a stranger with an account of its own could fill
//! it. The first [`OWN_A_MINUTE`] refusals of one tenant's callers at another's resources are recorded as any refusal is.
//! What comes beyond is gathered by the second into one line for each caller, verb and error, about the tenant as a
//! whole: counted, named, and bounded whatever the stranger tries.

use base::{TenantId, Timestamp};
use std::collections::HashMap;
use std::sync::Mutex;

/// As many refusals as a person reads.
const OWN_A_MINUTE: u32 = 20;
/// Pairs of tenants remembered; beyond, those of past minutes are forgotten, and then nobody new has entries of its own.
const PAIRS_MAX: usize = 10_000;

/// The minute, and the refusals in it, of each stranger at each owner.
#[derive(Default)]
pub(crate) struct Foreign(Mutex<HashMap<(TenantId, TenantId), (i64, u32)>>);

impl Foreign {
    /// Counts a refusal. True where it is recorded like any other.
    pub(crate) fn is_recorded(&self, stranger: TenantId, owner: TenantId, now: Timestamp) -> bool {
        let minute = now.seconds().div_euclid(60);
        // a panic while counting leaves the counts usable
        let mut pairs = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if pairs.len() >= PAIRS_MAX {
            pairs.retain(|_, (at, _)| *at == minute);
            if pairs.len() >= PAIRS_MAX && !pairs.contains_key(&(stranger, owner)) {
                return false;
            }
        }
        let count = pairs.entry((stranger, owner)).or_insert((minute, 0));
        if count.0 != minute {
            *count = (minute, 0);
        }
        count.1 = count.1.saturating_add(1);
        count.1 <= OWN_A_MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_minute_are_recorded_for_each_stranger_and_owner() {
        let foreign = Foreign::default();
        let id = |n| TenantId(uuid::Uuid::from_u128(n));
        let tries = |stranger, owner, second| {
            (0..100).filter(|_| foreign.is_recorded(id(stranger), id(owner), Timestamp::from_seconds(second))).count()
        };
        assert_eq!(tries(1, 2, 0), 20);
        assert_eq!(tries(1, 2, 59), 0);
        assert_eq!(tries(1, 3, 59), 20);
        assert_eq!(tries(2, 1, 59), 20);
        assert_eq!(tries(1, 2, 60), 20);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let foreign = Foreign::default();
        let id = |n| TenantId(uuid::Uuid::from_u128(n));
        for n in 0..PAIRS_MAX as u128 * 2 {
            foreign.is_recorded(id(n), id(n + 1), Timestamp::from_seconds(0));
        }
        assert!(foreign.0.lock().unwrap().len() <= PAIRS_MAX);
        assert!(foreign.is_recorded(id(1), id(7), Timestamp::from_seconds(60)));
    }
}
