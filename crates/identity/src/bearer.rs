//! Bearer tokens, verified at every door in the same way.
//!
//! A token is ours (signature), alive (`exp`, `nbf`), meant for this door (`aud`), from one of our issuers, of a tenant
//! and a principal that exist, together, now, and were not cut off since (`enabled`, `tokens_valid_from`).

use crate::directory::principal;
use crate::urls::issuers;
use base::{AppId, Error, Kind, ObjectId, Result, TenantId};
use serde_json::{Map, Value};
use service::Neighbours;
use trust::{Caller, Denied, Directory, Facts};
use wire::oauth::REVOKED;

/// The caller of a bearer token. `audiences` are the door's, compared exactly: list each with and without its slash.
///
/// Errors, all of kind Unauthenticated, in Resource Manager's words: `ExpiredAuthenticationToken`,
/// `InvalidAuthenticationTokenAudience`, `InvalidAuthenticationTokenTenant`, `InvalidAuthenticationToken`.
pub fn verify_bearer(near: &Neighbours, token: &str, audiences: &[String]) -> Result<Caller> {
    let claims = near.credentials().verify_token(token).map_err(denied)?;
    let issuers = issuers(&near.urls);
    near.facts(|facts| judge(&claims, audiences, &issuers, facts))
}

fn refuse(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(Kind::Unauthenticated, code, message)
}

fn denied(why: Denied) -> Error {
    match why {
        Denied::Expired => refuse("ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than current UTC time."),
        Denied::NotForUs => refuse("InvalidAuthenticationToken", "The access token is malformed or not yet valid."),
        _ => refuse("InvalidAuthenticationToken", "The access token is invalid: its signature is not of this region's token service."),
    }
}

/// Everything about a token but its signature and its time.
fn judge(claims: &Map<String, Value>, audiences: &[String], issuers: &crate::urls::Issuers, facts: &Facts) -> Result<Caller> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let audience = text("aud").unwrap_or_default();
    if !audiences.iter().any(|a| a == audience) {
        return Err(refuse(
            "InvalidAuthenticationTokenAudience",
            format!(
                "The access token has been obtained for wrong audience or resource '{audience}'. It should exactly match one of the allowed audiences '{}'.",
                audiences.join("','")
            ),
        ));
    }
    let invalid = |why: &str| refuse("InvalidAuthenticationToken", format!("The access token is invalid: {why}."));
    let tenant: TenantId = text("tid").and_then(|t| t.parse().ok()).ok_or_else(|| invalid("it names no tenant"))?;
    if !text("iss").is_some_and(|iss| issuers.includes(iss, tenant)) {
        return Err(refuse("InvalidAuthenticationTokenTenant", "The access token is from the wrong issuer."));
    }
    if facts.tenant(tenant).is_none() {
        return Err(refuse(
            "InvalidAuthenticationTokenTenant",
            format!("The access token is of the tenant '{tenant}', which does not exist."),
        ));
    }
    let object: ObjectId = text("oid").and_then(|o| o.parse().ok()).ok_or_else(|| invalid("it names no principal"))?;
    let app: AppId = text("appid").and_then(|a| a.parse().ok()).ok_or_else(|| invalid("it names no application"))?;
    let issued_s = claims.get("iat").and_then(Value::as_i64).ok_or_else(|| invalid("it has no time of issue"))?;
    let Some(found) = facts.principal(object).filter(|p| p.tenant == tenant) else {
        return Err(invalid("its principal does not exist in the tenant"));
    };
    if !found.enabled {
        return Err(invalid("its principal was disabled"));
    }
    if !may_still_act(found, issued_s) {
        return Err(refuse(
            "InvalidAuthenticationToken",
            format!("Continuous access evaluation resulted in challenge with result: InteractionRequired and code: {REVOKED}"),
        ));
    }
    Ok(Caller::Principal(principal(found, app)))
}

/// True while the principal is enabled and its sessions were not revoked since `issued_s` (seconds since 1970).
pub(crate) fn may_still_act(principal: &Directory, issued_s: i64) -> bool {
    // tokens carry whole seconds: one issued in the second of the revocation still counts
    principal.enabled && issued_s >= principal.tokens_valid_from.seconds()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Timestamp;
    use serde_json::json;
    use trust::PrincipalKind;

    fn user() -> Directory {
        Directory {
            tenant: TenantId(uuid::Uuid::from_u128(1)),
            object: ObjectId(uuid::Uuid::from_u128(2)),
            kind: PrincipalKind::User,
            app: None,
            upn: Some("anna@contoso.fr".into()),
            display_name: "Anna".into(),
            enabled: true,
            tokens_valid_from: Timestamp(5_900),
        }
    }

    #[test]
    fn revocation_and_disabling_end_a_session() {
        assert!(may_still_act(&user(), 5));
        assert!(!may_still_act(&user(), 4));
        assert!(!may_still_act(&Directory { enabled: false, ..user() }, 9));
    }

    #[test]
    fn a_token_without_its_claims_is_refused() {
        let issuers = crate::urls::issuers(&crate::urls::tests::urls());
        let audiences = vec!["https://a".to_owned()];
        let tenant = "00000000-0000-0000-0000-000000000001";
        let good_issuer = format!("https://login.bleu.localhost:8443/{tenant}/v2.0");
        let cases = [
            (json!({}), "InvalidAuthenticationTokenAudience"),
            (json!({"aud": "https://a/"}), "InvalidAuthenticationTokenAudience"),
            (json!({"aud": ["https://a"]}), "InvalidAuthenticationTokenAudience"),
            (json!({"aud": "https://a"}), "InvalidAuthenticationToken"),
            (json!({"aud": "https://a", "tid": tenant, "iss": "https://elsewhere/"}), "InvalidAuthenticationTokenTenant"),
            (
                json!({"aud": "https://a", "tid": tenant, "iss": "https://login.bleu.localhost:8443/00000000-0000-0000-0000-000000000002/v2.0"}),
                "InvalidAuthenticationTokenTenant",
            ),
            (json!({"aud": "https://a", "tid": tenant, "iss": good_issuer}), "InvalidAuthenticationTokenTenant"),
        ];
        for (claims, code) in cases {
            let error = judge(claims.as_object().unwrap(), &audiences, &issuers, &Facts::default()).unwrap_err();
            assert_eq!((error.kind, error.code.as_ref()), (Kind::Unauthenticated, code), "{claims}");
        }
    }
}
