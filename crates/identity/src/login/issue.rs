//! What a successful sign-in gives: the tokens and their claims.

use super::Login;
use super::client::Proof;
use crate::dialect::invalid_request;
use base::{AppId, Error, ObjectId, Result, TenantId, Timestamp};
use base64::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service::{Head, Neighbours};
use trust::{Directory, PrincipalKind};
use wire::oauth::{Form, Scope, parse_scope};

/// Applications ask again for each hour: they hold their secret anyway.
const APP_TOKEN_S: i64 = 3600;
/// Users' tokens live 60 to 90 minutes, at random as in Entra, so that a fleet does not ask at once.
const USER_TOKEN_S: i64 = 3600;
const USER_TOKEN_SPREAD_S: i64 = 1800;
/// A refresh token not used for so long is void.
const REFRESH_IDLE_S: i64 = 14 * 86_400;
/// However often it was refreshed, a session ends so long after its sign-in.
const SESSION_S: i64 = 90 * 86_400;
const REFRESH: &str = "identity.refresh.1";

/// What is asked for, judged: an audience of this region.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Wish {
    pub resource: String,
    pub openid: bool,
    pub offline_access: bool,
    /// The `nonce` of the authorization request, for the ID token.
    pub nonce: Option<String>,
}

impl Login {
    /// Reads `scope` (or `resource`, of the older form). Errors: `invalid_scope`; `invalid_resource` AADSTS500011 for an
    /// audience that is no door of this region.
    pub(crate) fn wish(&self, head: &Head, form: &Form) -> Result<Wish> {
        let graph = head.urls.host("graph");
        let scope = match (form.get("scope"), form.get("resource")) {
            // the older form has no scopes: a user's client gets all it can use
            (None, Some(resource)) => Scope { resource: Some(resource.to_owned()), openid: true, offline_access: true },
            (scope, resource) => {
                let mut read = parse_scope(scope.unwrap_or_default(), &graph)?;
                read.resource = read.resource.or(resource.map(str::to_owned));
                read
            }
        };
        let resource = scope.resource.unwrap_or(graph);
        if !self.is_askable(&head.urls, &resource) {
            let shown: String = resource.chars().filter(|c| !c.is_control()).take(200).collect();
            return Err(Error::invalid(
                "invalid_resource",
                format!(
                    "AADSTS500011: The resource principal named '{shown}' was not found in this region. It is no service of this region, or it is spelt differently."
                ),
            ));
        }
        Ok(Wish { resource, openid: scope.openid, offline_access: scope.offline_access, nonce: form.get("nonce").map(str::to_owned) })
    }
}

/// A proof of who signed in, to whom the tokens go, and for what.
pub(crate) struct Grant<'a> {
    pub principal: &'a Directory,
    pub client: AppId,
    pub proof: Proof,
    pub wish: &'a Wish,
    /// When the user last typed a password: the start of the session.
    pub session_start: Timestamp,
    /// The user proved more than a password then.
    pub mfa: bool,
    /// `{base}/adfs` or `{base}/{tenant}/v2.0`, as the client's discovery document said.
    pub issuer: String,
}

/// The token response (RFC 6749 section 5.1). For applications: the access token alone.
pub(crate) fn issue(near: &Neighbours, grant: &Grant<'_>) -> Result<Value> {
    let now_s = near.clock.now().seconds();
    let is_user = grant.principal.kind == PrincipalKind::User;
    let lifetime_s = if is_user { USER_TOKEN_S + spread_s(near) } else { APP_TOKEN_S };
    let access = near.credentials().sign_token(&access_claims(near, grant, now_s, now_s + lifetime_s))?;
    let mut answer = Map::new();
    answer.insert("token_type".into(), "Bearer".into());
    if is_user {
        let resource = &grant.wish.resource;
        answer.insert("scope".into(), format!("{resource}/user_impersonation {resource}/.default").into());
    }
    answer.insert("expires_in".into(), lifetime_s.into());
    answer.insert("ext_expires_in".into(), lifetime_s.into());
    answer.insert("expires_on".into(), (now_s + lifetime_s).to_string().into());
    answer.insert("resource".into(), grant.wish.resource.clone().into());
    answer.insert("access_token".into(), access.into());
    if !is_user {
        return Ok(Value::Object(answer));
    }
    if grant.wish.offline_access {
        answer.insert("refresh_token".into(), Refresh::of(grant, near.clock.now()).seal(near).into());
    }
    if grant.wish.openid {
        answer.insert("id_token".into(), near.credentials().sign_token(&id_claims(grant, now_s, now_s + lifetime_s))?.into());
    }
    let client_info = json!({"uid": grant.principal.object.to_string(), "utid": grant.principal.tenant.to_string()}).to_string();
    answer.insert("client_info".into(), BASE64_URL_SAFE_NO_PAD.encode(client_info).into());
    Ok(Value::Object(answer))
}

fn spread_s(near: &Neighbours) -> i64 {
    let mut bytes = [0; 4];
    near.chance.fill(&mut bytes);
    i64::from(u32::from_be_bytes(bytes)) % (USER_TOKEN_SPREAD_S + 1)
}

fn access_claims(near: &Neighbours, grant: &Grant<'_>, now_s: i64, expires_s: i64) -> Value {
    let who = grant.principal;
    let id = crypto::random_secret_text(&*near.chance, 16);
    let mut claims = json!({
        "aud": grant.wish.resource,
        "iss": grant.issuer,
        "iat": now_s,
        "nbf": now_s,
        "exp": expires_s,
        "tid": who.tenant.to_string(),
        "oid": who.object.to_string(),
        "sub": who.object.to_string(),
        "appid": grant.client.to_string(),
        "azp": grant.client.to_string(),
        "appidacr": grant.proof.claim(),
        "azpacr": grant.proof.claim(),
        "uti": id,
        "jti": id,
        "ver": "2.0",
        "name": who.display_name,
    });
    let extra = if who.kind == PrincipalKind::User {
        let upn = who.upn.clone().unwrap_or_default();
        json!({ "idtyp": "user", "scp": "user_impersonation", "upn": upn, "unique_name": upn, "preferred_username": upn, "auth_time": grant.session_start.seconds(), "amr": methods(grant), "acr": "1" })
    } else {
        json!({ "idtyp": "app", "app_displayname": who.display_name })
    };
    merge(&mut claims, extra);
    claims
}

fn id_claims(grant: &Grant<'_>, now_s: i64, expires_s: i64) -> Value {
    let who = grant.principal;
    let upn = who.upn.clone().unwrap_or_default();
    let mut claims = json!({
        "aud": grant.client.to_string(),
        "iss": grant.issuer,
        "iat": now_s,
        "nbf": now_s,
        "exp": expires_s,
        "auth_time": grant.session_start.seconds(),
        "tid": who.tenant.to_string(),
        "oid": who.object.to_string(),
        "sub": who.object.to_string(),
        "preferred_username": upn,
        "upn": upn,
        "unique_name": upn,
        "name": who.display_name,
        "amr": methods(grant),
        "acr": "1",
        "ver": "2.0",
    });
    if let Some(nonce) = &grant.wish.nonce {
        merge(&mut claims, json!({ "nonce": nonce }));
    }
    claims
}

/// How the user proved who they are (RFC 8176): by password, by several factors.
fn methods(grant: &Grant<'_>) -> &'static [&'static str] {
    if grant.mfa { &["pwd", "mfa"] } else { &["pwd"] }
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// A refresh token: sealed, so that nothing is stored. Each use gives a new one; all end with the session, or when the
/// user's sessions are revoked (`tokens_valid_from`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refresh {
    pub tenant: TenantId,
    pub user: ObjectId,
    pub client: AppId,
    pub session_start: Timestamp,
    pub issued: Timestamp,
    /// Tickets of before there was a second factor say nothing of it.
    #[serde(default)]
    pub mfa: bool,
}

impl Refresh {
    fn of(grant: &Grant<'_>, now: Timestamp) -> Refresh {
        Refresh {
            tenant: grant.principal.tenant,
            user: grant.principal.object,
            client: grant.client,
            session_start: grant.session_start,
            issued: now,
            mfa: grant.mfa,
        }
    }
    fn seal(&self, near: &Neighbours) -> String {
        seal(near, REFRESH, self)
    }
    /// Errors `invalid_grant`: AADSTS70000 not ours, AADSTS700082 unused for too long, AADSTS50078 the session is over.
    pub(crate) fn open(near: &Neighbours, text: &str) -> Result<Refresh> {
        let refresh: Refresh = open(near, REFRESH, text)
            .ok_or_else(|| crate::dialect::invalid_grant("AADSTS70000: Provided grant is invalid or malformed."))?;
        let now = near.clock.now();
        if now > refresh.issued.plus_seconds(REFRESH_IDLE_S) {
            return Err(crate::dialect::invalid_grant("AADSTS700082: The refresh token has expired due to inactivity. Sign in again."));
        }
        if now > refresh.session_start.plus_seconds(SESSION_S) {
            return Err(crate::dialect::invalid_grant("AADSTS50078: The session is over. Sign in again."));
        }
        Ok(refresh)
    }
}

/// Seals a value under the region's ticket key; `purpose` keeps one kind of ticket from passing as another.
pub(crate) fn seal<T: Serialize>(near: &Neighbours, purpose: &str, value: &T) -> String {
    // plain structs of ours have no failing path into JSON
    let bytes = serde_json::to_vec(value).expect("tickets serialize");
    near.credentials().seal_ticket(purpose, &bytes)
}

/// `None`: not sealed by us, or for another purpose.
pub(crate) fn open<T: serde::de::DeserializeOwned>(near: &Neighbours, purpose: &str, text: &str) -> Option<T> {
    if text.len() > 16 * 1024 {
        return None;
    }
    serde_json::from_slice(&near.credentials().open_ticket(purpose, text)?).ok()
}

/// The user of a ticket or session, if it may still act. Errors `invalid_grant`: AADSTS50034 deleted, AADSTS50057
/// disabled, AADSTS50173 revoked since.
pub(crate) fn living_user(near: &Neighbours, tenant: TenantId, user: ObjectId, since: Timestamp) -> Result<Directory> {
    let invalid_grant = crate::dialect::invalid_grant;
    let found = near.facts(|f| f.principal(user).filter(|p| p.tenant == tenant && p.kind == PrincipalKind::User).cloned());
    let found = found.ok_or_else(|| invalid_grant("AADSTS50034: The user account does not exist in the tenant's directory."))?;
    if !found.enabled {
        return Err(invalid_grant("AADSTS50057: The user account is disabled."));
    }
    if since.seconds() < found.tokens_valid_from.seconds() {
        return Err(invalid_grant("AADSTS50173: The provided grant has expired due to it being revoked. Sign in again."));
    }
    Ok(found)
}

/// PKCE (RFC 7636 section 4.6), S256 only. Error AADSTS501481.
pub(crate) fn check_verifier(challenge: &str, verifier: &str) -> Result<()> {
    let well_formed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    let digest = BASE64_URL_SAFE_NO_PAD.encode(crypto::sha256(verifier.as_bytes()));
    if well_formed && crypto::equal(digest.as_bytes(), challenge.as_bytes()) {
        return Ok(());
    }
    Err(crate::dialect::invalid_grant(
        "AADSTS501481: The Code_Verifier does not match the code_challenge supplied in the authorization request.",
    ))
}

/// The challenge of an authorization request. Errors `invalid_request`: another method than S256, another length.
pub(crate) fn challenge(form: &Form) -> Result<Option<String>> {
    let Some(challenge) = form.get("code_challenge") else { return Ok(None) };
    if form.get("code_challenge_method") != Some("S256") {
        return Err(invalid_request("AADSTS9002346: The code_challenge_method must be 'S256'."));
    }
    if challenge.len() != 43 || BASE64_URL_SAFE_NO_PAD.decode(challenge).is_err() {
        return Err(invalid_request("AADSTS501491: Invalid size of Code_Challenge parameter."));
    }
    Ok(Some(challenge.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pkce_is_s256_and_nothing_else() {
        // RFC 7636, appendix B
        let (verifier, challenge_text) = ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(check_verifier(challenge_text, verifier).is_ok());
        for bad in ["", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl", challenge_text, &"a".repeat(129)] {
            assert_eq!(check_verifier(challenge_text, bad).unwrap_err().code, "invalid_grant");
        }
        let form = |text: &str| Form::parse(text.as_bytes()).unwrap();
        assert_eq!(challenge(&form("")).unwrap(), None);
        assert!(challenge(&form(&format!("code_challenge={challenge_text}&code_challenge_method=S256"))).unwrap().is_some());
        for bad in [
            format!("code_challenge={challenge_text}"),
            format!("code_challenge={challenge_text}&code_challenge_method=plain"),
            "code_challenge=x&code_challenge_method=S256".into(),
        ] {
            assert!(challenge(&form(&bad)).is_err(), "{bad}");
        }
    }
}
