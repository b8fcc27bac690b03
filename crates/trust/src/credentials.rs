//! Credentials: checked here, never handed out. Passwords and client secrets as Argon2id, account keys for HMAC, client
//! certificates; the region's token key; sealed tickets. Checking needs no permit: there is no caller yet.

use crate::guesses::Attempts;
use crate::journal::{self};
use crate::{Access, Caller, Origin, Outcome, Permit, Receipt, Trust, Weight, layout};
use base::{Chance, Error, ObjectId, ResourceId, Result, SpaceId, TenantId, Timestamp};
use bytes::Bytes;
use crypto::{ClientCertificate, HmacKey, SecretBytes, open_record, password, seal_record};
use record::Phase;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::sync::Arc;
use store::KeyRange;

/// Locks that keep the attempts of one holder apart; holders share them by id.
pub(crate) const ATTEMPT_LOCKS: usize = 256;
/// Clocks of clients may be this much ahead of ours.
const SKEW_S: i64 = 300;

/// A stored credential.
#[derive(Clone, Serialize, Deserialize)]
pub enum Credential {
    /// A password or client secret, as an Argon2id PHC string. `hint`: its first characters, for people.
    Password { phc: String, created: Timestamp, expires: Option<Timestamp>, hint: String },
    /// A key that signs requests (a storage account's).
    Hmac { key: Bytes, created: Timestamp },
    /// A client certificate (X.509, DER).
    Certificate { der: Bytes, created: Timestamp, expires: Timestamp },
    /// The key that a user's authenticator makes codes with, and the step of the last code that was taken.
    Totp { key: Bytes, created: Timestamp, used: u64 },
    /// Recovery codes that are left, as HMACs under a key of this set.
    Recovery { key: Bytes, left: Vec<Bytes>, created: Timestamp },
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}

base::first_version! { Credential "trust.credential"; }

impl Credential {
    /// Takes about 20 ms of a core: call it in `spawn_blocking`. `hint_chars` of the secret are kept for people (0 for
    /// passwords, 3 for client secrets, as Graph's `hint`).
    pub fn password(
        chance: &dyn Chance,
        secret: &SecretBytes,
        now: Timestamp,
        expires: Option<Timestamp>,
        hint_chars: usize,
    ) -> Result<Credential> {
        let hint = String::from_utf8_lossy(secret.expose()).chars().take(hint_chars).collect();
        Ok(Credential::Password { phc: password::hash_password(chance, secret)?, created: now, expires, hint })
    }
    pub fn hmac(key: impl Into<Bytes>, now: Timestamp) -> Credential {
        Credential::Hmac { key: key.into(), created: now }
    }
    pub fn certificate(der: impl Into<Bytes>, now: Timestamp, expires: Timestamp) -> Credential {
        Credential::Certificate { der: der.into(), created: now, expires }
    }
    fn kind(&self) -> &'static str {
        match self {
            Credential::Password { .. } => "Password",
            Credential::Hmac { .. } => "Hmac",
            Credential::Certificate { .. } => "Certificate",
            Credential::Totp { .. } => "Totp",
            Credential::Recovery { .. } => "Recovery",
        }
    }
}

/// What may be shown of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialInfo {
    pub id: String,
    /// `Password`, `Hmac`, `Certificate`, `Totp`, `Recovery`.
    pub kind: &'static str,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    pub hint: String,
}

/// Why a credential does not hold. Which of these a stranger is told is the dialect's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    Wrong,
    Expired,
    /// Not yet valid, or its audience or shape is not ours.
    NotForUs,
    LockedOut {
        retry_after_s: i64,
    },
    /// The holder has no credential of this kind.
    Nothing,
}

/// The keys of a permit's target and the credentials of its tenant.
pub struct Keys<'p, A: Access> {
    pub(crate) permit: &'p Permit<A>,
}

impl<A: Access> Keys<'_, A> {
    pub async fn list(&self, holder: &str) -> Result<Vec<CredentialInfo>> {
        let all = self.permit.trust.inner().credentials_of(self.permit.space.id, &self.permit.key, holder).await?;
        Ok(all
            .into_iter()
            .map(|(id, c)| {
                let kind = c.kind();
                let (created, expires, hint) = match c {
                    Credential::Password { created, expires, hint, .. } => (created, expires, hint),
                    Credential::Hmac { created, .. } | Credential::Totp { created, .. } | Credential::Recovery { created, .. } => {
                        (created, None, String::new())
                    }
                    Credential::Certificate { created, expires, .. } => (created, Some(expires), String::new()),
                };
                CredentialInfo { id, kind, created, expires, hint }
            })
            .collect())
    }

    /// An HMAC key, for its owner (Azure's listKeys). Only in an act that the record knew *before*.
    pub async fn reveal(&self, holder: &str, id: &str) -> Result<Option<SecretBytes>> {
        if !matches!(self.permit.ask.weight, Weight::Before | Weight::Indexed) {
            return Err(Error::internal("a key is released only by an act that is recorded before it"));
        }
        let all = self.permit.trust.inner().credentials_of(self.permit.space.id, &self.permit.key, holder).await?;
        Ok(all.into_iter().find_map(|(name, c)| match c {
            Credential::Hmac { key, .. } if name == id => Some(SecretBytes::new(key.to_vec())),
            _ => None,
        }))
    }
}

/// A sign-in, or the refusal of one, for the record.
#[derive(Debug)]
pub struct SignIn {
    /// Whose record it belongs to; `None` for nobody's.
    pub tenant: Option<TenantId>,
    pub who: Caller,
    pub verb: &'static str,
    pub outcome: Outcome,
    /// The client application and the audience asked for.
    pub detail: String,
    pub origin: Origin,
}

/// See the module.
pub struct Credentials<'t> {
    pub(crate) trust: &'t Trust,
}

impl Credentials<'_> {
    /// Checks a password or client secret that came `from` there; `Ok(Ok(id))` names the credential that fits. Wrong ones
    /// lock out the source they come from, and nobody else (`guesses`); the count survives a restart. Error
    /// `temporarily_unavailable` (kind Throttled): too many wait to be checked.
    pub async fn check_secret(
        &self,
        tenant: TenantId,
        holder: ObjectId,
        presented: SecretBytes,
        from: Option<IpAddr>,
    ) -> Result<Result<String, Denied>> {
        let inner = self.trust.inner();
        let source = crate::source_prefix(from);
        let queued = inner.gate.queue(&source)?;
        let Some((space, key)) = self.tenant_space(tenant)? else { return Ok(Err(Denied::Nothing)) };
        // one at a time for each holder: attempts side by side would each read the same count, and guess without end
        let _alone = match holder.0.is_nil() {
            true => None,
            false => Some(inner.attempts[(holder.0.as_u128() % inner.attempts.len() as u128) as usize].lock().await),
        };
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
        // whoever has the password alone must not clear the count of wrong codes
        let is_whole_proof = !all.iter().any(|(_, c)| matches!(c, Credential::Totp { .. }));
        let stored: Vec<(String, String, Option<Timestamp>)> = all
            .into_iter()
            .filter_map(|(id, c)| match c {
                Credential::Password { phc, expires, .. } => Some((id, phc, expires)),
                _ => None,
            })
            .collect();
        let nothing = stored.is_empty();
        let _turn = queued.turn().await?;
        let found = tokio::task::spawn_blocking(move || -> Result<Option<(String, Option<Timestamp>)>> {
            for (id, phc, expires) in stored {
                if password::verify_password(&presented, &phc)? {
                    return Ok(Some((id, expires)));
                }
            }
            if nothing {
                // an unknown holder takes as long as a known one
                password::verify_nobody(&presented)?;
            }
            Ok(None)
        })
        .await
        .map_err(Error::internal)??;
        match found {
            Some((_, Some(expires))) if expires <= now => Ok(Err(Denied::Expired)),
            Some((id, _)) => {
                if is_whole_proof && attempts.right(&source, now) {
                    self.save_attempts(attempts_row, &key, attempts).await?;
                }
                Ok(Ok(id))
            }
            None if nothing => Ok(Err(Denied::Nothing)),
            None => {
                attempts.wrong(&source, now);
                self.save_attempts(attempts_row, &key, attempts).await?;
                Ok(Err(Denied::Wrong))
            }
        }
    }

    pub(crate) async fn save_attempts(&self, row: Vec<u8>, key: &crypto::SealKey, attempts: Attempts) -> Result<()> {
        let inner = self.trust.inner();
        let sealed = seal_record(key, &*inner.chance, &row, &base::encode(&attempts)).into();
        let commit = store::Commit { shard: layout::SHARD, idem: 0, checks: Vec::new(), ops: vec![store::Op::Put(row, sealed)] };
        inner.kv.commit(commit).await?;
        Ok(())
    }

    /// Checks a client assertion (RFC 7523) against the holder's certificates: signature, audience, lifetime of at most a
    /// day, subject = issuer. `Ok(Ok(id))` names the certificate.
    pub async fn check_assertion(
        &self,
        tenant: TenantId,
        holder: ObjectId,
        jwt: &str,
        audiences: &[String],
    ) -> Result<Result<String, Denied>> {
        let inner = self.trust.inner();
        let now = inner.clock.now();
        let Some((space, key)) = self.tenant_space(tenant)? else { return Ok(Err(Denied::Nothing)) };
        let mut names = Vec::new();
        let mut certificates = Vec::new();
        for (id, credential) in inner.credentials_of(space, &key, &holder.to_string()).await? {
            if let Credential::Certificate { der, .. } = credential {
                certificates.push(ClientCertificate::from_der(&der).map_err(Error::internal)?);
                names.push(id);
            }
        }
        if certificates.is_empty() {
            return Ok(Err(Denied::Nothing));
        }
        let Ok((claims, which)) = crypto::jwt::verify_assertion(jwt, &certificates) else { return Ok(Err(Denied::Wrong)) };
        let seconds = |name: &str| claims.seconds(name).unwrap_or(0);
        let certificate = &certificates[which];
        if certificate.not_after() <= now || certificate.not_before() > now.plus_seconds(SKEW_S) || seconds("exp") <= now.seconds() {
            return Ok(Err(Denied::Expired));
        }
        let audience_ok = claims.text("aud").is_some_and(|aud| audiences.iter().any(|a| a == aud));
        let lifetime_ok = seconds("nbf") <= now.seconds() + SKEW_S && seconds("exp") - now.seconds() <= 86_400;
        if !audience_ok || !lifetime_ok || claims.text("iss") != claims.text("sub") {
            return Ok(Err(Denied::NotForUs));
        }
        Ok(Ok(names.swap_remove(which)))
    }

    /// Which of a resource's HMAC keys (holder `account`) made this MAC over this message.
    pub async fn check_mac(&self, resource: &ResourceId, message: &[u8], mac: &[u8]) -> Result<Option<String>> {
        let inner = self.trust.inner();
        let Some(space) = self.trust.facts(|f| f.space(resource).cloned()) else { return Ok(None) };
        let keys = match inner.mac_keys(space.id) {
            Some(keys) => keys,
            None => {
                let (key, generation) = (inner.keys.space(&space)?, inner.mac_generation());
                let all = inner.credentials_of(space.id, &key, "account").await?;
                let keys: Vec<(String, HmacKey)> = all
                    .into_iter()
                    .filter_map(|(id, c)| match c {
                        Credential::Hmac { key, .. } => Some((id, HmacKey::new(&key))),
                        _ => None,
                    })
                    .collect();
                inner.keep_mac_keys(space.id, generation, Arc::new(keys))
            }
        };
        Ok(keys.iter().find(|(_, key)| key.verify(message, mac)).map(|(id, _)| id.clone()))
    }

    /// Signs a token with the region's token key (RS256, `kid` in the header).
    pub fn sign_token(&self, claims: &Value) -> Result<String> {
        crypto::jwt::sign(&self.trust.inner().token_key, claims)
    }

    /// Our signature, and the token's lifetime by our clock: `exp` exactly, `nbf` with five minutes of grace.
    pub fn verify_token(&self, token: &str) -> Result<Map<String, Value>, Denied> {
        let inner = self.trust.inner();
        let unverified = crypto::jwt::parse(token).map_err(|_| Denied::NotForUs)?;
        let claims = unverified.verify(inner.token_key.public()).map_err(|_| Denied::Wrong)?;
        let now = inner.clock.now().seconds();
        if claims.seconds("exp").unwrap_or(0) <= now {
            return Err(Denied::Expired);
        }
        if claims.seconds("nbf").unwrap_or(i64::MAX) > now + SKEW_S {
            return Err(Denied::NotForUs);
        }
        Ok(claims.as_map().clone())
    }

    /// The public keys of the token service (RFC 7517).
    pub fn jwks(&self) -> Value {
        serde_json::json!({ "keys": [self.trust.inner().token_key.public().jwk()] })
    }

    /// A stateless ticket (refresh token, code): sealed, so that only we can read or make one. Base64url.
    pub fn seal_ticket(&self, purpose: &str, bytes: &[u8]) -> String {
        let inner = self.trust.inner();
        base64::Engine::encode(
            &base64::prelude::BASE64_URL_SAFE_NO_PAD,
            seal_record(&inner.tickets, &*inner.chance, purpose.as_bytes(), bytes),
        )
    }
    pub fn open_ticket(&self, purpose: &str, text: &str) -> Option<Vec<u8>> {
        let sealed = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text).ok()?;
        open_record(&self.trust.inner().tickets, purpose.as_bytes(), &sealed).ok()
    }

    /// Records a sign-in or its refusal: durable before the answer.
    pub async fn record(&self, sign_in: SignIn) -> Result<Receipt> {
        let tenant = sign_in.tenant.filter(|t| self.trust.facts(|f| f.tenant(*t).is_some()));
        let resource = tenant.map_or_else(ResourceId::region, ResourceId::tenant);
        let mut event = record::Event::new(journal::owner_of(tenant), journal::who(&sign_in.who), sign_in.verb, resource);
        event.detail = record::bounded(&sign_in.detail, record::DETAIL_BYTES_MAX);
        journal::from(&mut event, &sign_in.origin);
        journal::ended(&mut event, &sign_in.outcome);
        let id = self.trust.append(&event, record::Weight::With, Phase::Whole, None).await?;
        Ok(Receipt { entry: Some(id) })
    }

    pub(crate) fn tenant_space(&self, tenant: TenantId) -> Result<Option<(SpaceId, crypto::SealKey)>> {
        let Some(space) = self.trust.facts(|f| f.space(&ResourceId::tenant(tenant)).cloned()) else { return Ok(None) };
        Ok(Some((space.id, self.trust.inner().keys.space(&space)?)))
    }
}

impl crate::Inner {
    /// Every credential of a holder, in id order.
    pub(crate) async fn credentials_of(&self, space: SpaceId, key: &crypto::SealKey, holder: &str) -> Result<Vec<(String, Credential)>> {
        let prefix = layout::credentials(space, holder);
        let page = self.kv.scan(KeyRange::prefix(&prefix), 1_000, false).await?;
        page.rows
            .into_iter()
            .map(|row| {
                let id = String::from_utf8_lossy(&row.key[prefix.len()..]).into_owned();
                Ok((id, base::decode(&open_record(key, &row.key, &row.value)?)?))
            })
            .collect()
    }
}
