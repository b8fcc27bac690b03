//! The second factor of a person: codes by the clock from an authenticator, and recovery codes for the day it is lost.
//!
//! A wrong code counts like a wrong password, in the same count (`guesses`), and the right password alone does not clear
//! it: who stole a password has as few guesses at the code as at the password. A code works once: the step of the last one
//! taken is kept beside the key, a recovery code is struck out, each before the answer, one attempt of a person at a time.

use crate::credentials::{Credential, Credentials, Denied};
use crate::guesses::Attempts;
use crate::layout;
use base::{Chance, ObjectId, Result, TenantId, Timestamp};
use bytes::Bytes;
use crypto::{HmacKey, open_record, seal_record, totp_step};
use std::net::IpAddr;

/// Recovery codes of a set.
pub const RECOVERY_CODES: usize = 10;
/// Bytes of an authenticator's key (RFC 4226 section 4: at least 16, 20 recommended).
const KEY_BYTES: usize = 20;
/// Letters of a recovery code: without vowels and look-alikes; 20^12 are 51 bits, beyond any guessing at one in seconds.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const CODE_LETTERS: usize = 12;

/// What proved a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    Totp,
    /// How many recovery codes are left now.
    Recovery {
        left: usize,
    },
}

/// What a person has as a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecondFactor {
    pub created: Timestamp,
    /// Recovery codes that are left.
    pub codes_left: usize,
}

impl Credential {
    /// A new key for an authenticator. Nothing holds it yet: see [`Credential::totp`].
    pub fn totp_key(chance: &dyn Chance) -> Vec<u8> {
        let mut key = vec![0; KEY_BYTES];
        chance.fill(&mut key);
        key
    }
    /// An authenticator whose owner showed that it works: `used` is the step of the code that showed it.
    pub fn totp(key: impl Into<Bytes>, used: u64, now: Timestamp) -> Credential {
        Credential::Totp { key: key.into(), created: now, used }
    }
    /// A set of recovery codes, and the codes themselves: to be shown once.
    pub fn recovery(chance: &dyn Chance, now: Timestamp) -> (Credential, Vec<String>) {
        let mut key = vec![0; 32];
        chance.fill(&mut key);
        let mac = HmacKey::new(&key);
        let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| recovery_code(chance)).collect();
        let left = codes.iter().map(|code| Bytes::copy_from_slice(&mac.sign(normal(code).as_bytes()))).collect();
        (Credential::Recovery { key: key.into(), left, created: now }, codes)
    }
}

/// `BCDF-GHJK-LMNP`.
fn recovery_code(chance: &dyn Chance) -> String {
    let mut letters = Vec::new();
    while letters.len() < CODE_LETTERS {
        let mut byte = [0];
        chance.fill(&mut byte);
        // 240 is the last multiple of 20 in a byte: no letter is likelier than another
        if byte[0] < 240 {
            letters.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
    }
    letters.chunks(4).map(|part| part.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// As people type codes: any case, with spaces and dashes.
fn normal(typed: &str) -> String {
    typed.chars().filter(char::is_ascii_alphanumeric).take(32).collect::<String>().to_ascii_uppercase()
}

impl Credentials<'_> {
    /// The second factor of a person, if there is one: then the password alone proves nothing.
    pub async fn second_factor(&self, tenant: TenantId, holder: ObjectId) -> Result<Option<SecondFactor>> {
        let Some((space, key)) = self.tenant_space(tenant)? else { return Ok(None) };
        let all = self.trust.inner().credentials_of(space, &key, &holder.to_string()).await?;
        let codes_left = all.iter().find_map(|(_, c)| if let Credential::Recovery { left, .. } = c { Some(left.len()) } else { None });
        let created = all.iter().find_map(|(_, c)| if let Credential::Totp { created, .. } = c { Some(*created) } else { None });
        Ok(created.map(|created| SecondFactor { created, codes_left: codes_left.unwrap_or(0) }))
    }

    /// Checks a code of the authenticator, or a recovery code, that came `from` there. What was right once is not again.
    pub async fn check_code(
        &self,
        tenant: TenantId,
        holder: ObjectId,
        typed: &str,
        from: Option<IpAddr>,
    ) -> Result<Result<Factor, Denied>> {
        let inner = self.trust.inner();
        let source = crate::source_prefix(from);
        let Some((space, key)) = self.tenant_space(tenant)? else { return Ok(Err(Denied::Nothing)) };
        // one at a time, also beside passwords: they share the count
        let _alone = inner.attempts[(holder.0.as_u128() % inner.attempts.len() as u128) as usize].lock().await;
        let now = inner.clock.now();
        let attempts_row = layout::credential(space, &format!("attempts/{holder}"), "");
        let mut attempts = match inner.kv.get(&attempts_row).await? {
            Some((_, sealed)) => base::decode::<Attempts>(&open_record(&key, &attempts_row, &sealed)?)?,
            None => Attempts::default(),
        };
        if let Some(retry_after_s) = attempts.locked_s(&source, now) {
            return Ok(Err(Denied::LockedOut { retry_after_s }));
        }
        let all = inner.credentials_of(space, &key, &holder.to_string()).await?;
        if !all.iter().any(|(_, c)| matches!(c, Credential::Totp { .. })) {
            return Ok(Err(Denied::Nothing));
        }
        let Some((id, _)) = all.into_iter().find(|(_, c)| used(c.clone(), typed, now).is_some()) else {
            attempts.wrong(&source, now);
            self.save_attempts(attempts_row, &key, attempts).await?;
            return Ok(Err(Denied::Wrong));
        };
        // once more with its version: what an administrator takes away meanwhile must not come back
        let row = layout::credential(space, &holder.to_string(), &id);
        let Some((version, sealed)) = inner.kv.get(&row).await? else { return Ok(Err(Denied::Nothing)) };
        let Some((after, factor)) = used(base::decode(&open_record(&key, &row, &sealed)?)?, typed, now) else {
            return Ok(Err(Denied::Nothing));
        };
        let checks = vec![store::Check::Is(row.clone(), version)];
        let mut ops = vec![store::Op::Put(row.clone(), seal_record(&key, &*inner.chance, &row, &base::encode(&after)).into())];
        if attempts.right(&source, now) {
            let sealed = seal_record(&key, &*inner.chance, &attempts_row, &base::encode(&attempts));
            ops.push(store::Op::Put(attempts_row, sealed.into()));
        }
        match inner.kv.commit(store::Commit { shard: layout::SHARD, idem: 0, checks, ops }).await {
            Ok(_) => Ok(Ok(factor)),
            Err(store::CommitError::Conflict { .. }) => Ok(Err(Denied::Nothing)),
            Err(error) => Err(error.into()),
        }
    }
}

/// The credential after the code was taken from it, if it fits.
fn used(credential: Credential, typed: &str, now: Timestamp) -> Option<(Credential, Factor)> {
    let typed = normal(typed);
    match credential {
        Credential::Totp { key, created, used } => {
            let step = totp_step(&key, &typed, now.seconds(), used)?;
            Some((Credential::Totp { key, created, used: step }, Factor::Totp))
        }
        Credential::Recovery { key, mut left, created } => {
            let mac = HmacKey::new(&key);
            let at = left.iter().position(|code| mac.verify(typed.as_bytes(), code))?;
            left.swap_remove(at);
            let factor = Factor::Recovery { left: left.len() };
            Some((Credential::Recovery { key, left, created }, factor))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::SeededChance;

    #[test]
    fn recovery_codes_are_ten_and_each_works_once_however_it_is_typed() {
        let (mut set, codes) = Credential::recovery(&SeededChance::new(5), Timestamp(0));
        assert_eq!(codes.iter().collect::<std::collections::HashSet<_>>().len(), RECOVERY_CODES);
        assert!(!format!("{set:?}").contains(&codes[0]));
        for (at, code) in codes.iter().enumerate() {
            let typed = format!(" {} ", code.to_lowercase().replace('-', " "));
            let (after, factor) = used(set, &typed, Timestamp(0)).unwrap();
            assert_eq!(factor, Factor::Recovery { left: RECOVERY_CODES - 1 - at });
            assert!(used(after.clone(), code, Timestamp(0)).is_none(), "again");
            set = after;
        }
        assert!(used(set, "", Timestamp(0)).is_none());
    }

    #[test]
    fn credentials_of_both_kinds_read_back() {
        let chance = SeededChance::new(6);
        for credential in [Credential::totp(Credential::totp_key(&chance), 7, Timestamp(1)), Credential::recovery(&chance, Timestamp(2)).0]
        {
            let back: Credential = base::decode(&base::encode(&credential)).unwrap();
            assert_eq!(base::encode(&back), base::encode(&credential));
        }
    }
}
