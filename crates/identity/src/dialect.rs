//! OAuth errors as Microsoft's clients read them: `error` for programs, `AADSTSnnnn` for people who search the web.
//!
//! An error of sign-in is a [`base::Error`] whose code is OAuth's (`invalid_grant`) and whose message begins with
//! Microsoft's number. [`oauth_error`] adds the rest.

use base::{Error, Kind, Timestamp};
use serde_json::{Value, json};
use service::Head;

/// OAuth's `error` codes that pass as they are (RFC 6749 sections 4.1.2.1 and 5.2, RFC 8628 section 3.5, OpenID Connect
/// Core section 3.1.2.6, and Microsoft's own).
const CODES: [&str; 18] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "invalid_resource",
    "invalid_tenant",
    "invalid_instance",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
    "access_denied",
    "authorization_pending",
    "authorization_declined",
    "slow_down",
    "expired_token",
    "interaction_required",
    "server_error",
    "temporarily_unavailable",
];

pub(crate) fn invalid_request(message: impl Into<String>) -> Error {
    Error::invalid("invalid_request", message)
}
pub(crate) fn invalid_grant(message: impl Into<String>) -> Error {
    Error::invalid("invalid_grant", message)
}
pub(crate) fn invalid_client(message: impl Into<String>) -> Error {
    Error::new(Kind::Unauthenticated, "invalid_client", message)
}
/// AADSTS700016: no such application in the directory.
pub(crate) fn unknown_application(client: &str, tenant: &str) -> Error {
    Error::invalid(
        "unauthorized_client",
        format!(
            "AADSTS700016: Application with identifier '{client}' was not found in the directory '{tenant}'. Check the client id, and that the application has a service principal in this tenant."
        ),
    )
}
/// AADSTS90002: no such tenant.
pub(crate) fn unknown_tenant(name: &str) -> Error {
    Error::invalid(
        "invalid_tenant",
        format!(
            "AADSTS90002: Tenant '{name}' not found. Check that the tenant id or domain is right and that it is a tenant of this region."
        ),
    )
}
/// AADSTS50126: the same words for a wrong name and a wrong password.
pub(crate) fn wrong_password() -> Error {
    invalid_grant("AADSTS50126: Error validating credentials due to invalid username or password.")
}
/// AADSTS50053.
pub(crate) fn locked_out(retry_after_s: i64) -> Error {
    invalid_grant(format!("AADSTS50053: The account is locked because of too many wrong attempts. Try again in {retry_after_s} seconds."))
}

/// Status and JSON body of an error at the token service.
pub(crate) fn oauth_error(head: &Head, error: &Error) -> (u16, Value) {
    let code = CODES.iter().copied().find(|c| *c == error.code).unwrap_or(match error.kind {
        Kind::Internal => "server_error",
        Kind::Unavailable | Kind::Throttled | Kind::Cancelled => "temporarily_unavailable",
        Kind::Unauthenticated | Kind::Forbidden => "access_denied",
        _ => "invalid_request",
    });
    let trace = head.origin.request.to_string();
    let correlation = head
        .header("client-request-id")
        .filter(|id| is_id(id))
        .or(head.origin.client_request.as_deref().filter(|id| is_id(id)))
        .unwrap_or(&trace);
    let message = if error.message.starts_with("AADSTS") {
        error.message.clone()
    } else {
        format!("AADSTS{}: {}", fallback_number(error.kind), error.message)
    };
    let timestamp = timestamp(head.at);
    let body = json!({
        "error": code,
        "error_description": format!("{message} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}"),
        "error_codes": [number_of(&message)],
        "timestamp": timestamp,
        "trace_id": trace,
        "correlation_id": correlation,
    });
    (error.kind.status(), body)
}

/// Microsoft's number for what has none of its own: 90033 asks to try again, 9002313 says malformed.
fn fallback_number(kind: Kind) -> u32 {
    match kind {
        Kind::Internal | Kind::Unavailable | Kind::Cancelled => 90033,
        Kind::Throttled => 90055,
        Kind::NotFound | Kind::MethodNotAllowed => 900_561,
        _ => 9_002_313,
    }
}

fn number_of(message: &str) -> u64 {
    let digits: String = message.trim_start_matches("AADSTS").chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

fn is_id(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// `2026-11-24 08:13:52Z`.
fn timestamp(at: Timestamp) -> String {
    let text = at.rfc3339();
    text.get(..19).map_or_else(String::new, |t| format!("{}Z", t.replace('T', " ")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use base::{RequestId, Result};
    use http::HeaderMap;
    use service::{Params, Query};
    use std::sync::Arc;
    use trust::Origin;

    pub(crate) fn head() -> Head {
        Head {
            method: http::Method::POST,
            host: "login.bleu.localhost".into(),
            raw_path: "/common/oauth2/v2.0/token".into(),
            raw_query: String::new(),
            query: Query::default(),
            headers: HeaderMap::new(),
            door: "login",
            params: Params::default(),
            origin: Origin { request: RequestId(uuid::Uuid::from_u128(9)), peer: None, client_request: None, user_agent: None },
            at: Timestamp(1_795_508_032_123),
            urls: Arc::new(crate::urls::tests::urls()),
        }
    }

    #[test]
    fn errors_are_spelt_as_clients_read_them() -> Result<()> {
        let cases = [
            (invalid_client("AADSTS7000215: Invalid client secret provided."), 401, "invalid_client", 7000215),
            (wrong_password(), 400, "invalid_grant", 50126),
            (locked_out(60), 400, "invalid_grant", 50053),
            (unknown_tenant("x"), 400, "invalid_tenant", 90002),
            (unknown_application("x", "y"), 400, "unauthorized_client", 700016),
            (Error::internal("secret cause"), 500, "server_error", 90033),
            (Error::new(Kind::NotFound, "ResourceNotFound", "No."), 404, "invalid_request", 900561),
            (Error::invalid("InvalidQueryParameterValue", "Bad."), 400, "invalid_request", 9002313),
            (Error::invalid("authorization_pending", "AADSTS70016: Wait."), 400, "authorization_pending", 70016),
        ];
        for (error, status, code, number) in cases {
            let (got, body) = oauth_error(&head(), &error);
            assert_eq!((got, body["error"].as_str(), body["error_codes"][0].as_u64()), (status, Some(code), Some(number)), "{error}");
            let description = body["error_description"].as_str().unwrap();
            assert!(description.starts_with(&format!("AADSTS{number}: ")), "{description}");
            assert!(!description.contains("secret cause"));
            assert_eq!(body["timestamp"], "2026-11-24 08:13:52Z");
            for field in ["trace_id", "correlation_id"] {
                assert!(body[field].is_string());
            }
        }
        Ok(())
    }
}
