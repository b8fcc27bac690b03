//! Who may do what: keys, signatures, tokens, strangers.

use crate::world::{ACCOUNT, World};
use base64::prelude::*;

fn enc(text: &str) -> String {
    wire::percent_encode(text, b"")
}

impl World {
    /// A service SAS, from its documentation. `resource`: `/con` or `/con/blob`.
    fn service_sas(&self, resource: &str, sr: &str, sp: &str, se: &str, sv: &str) -> String {
        let scope = if sv >= "2020-12-06" { "\n" } else { "" };
        let text = format!("{sp}\n\n{se}\n/blob/{ACCOUNT}{resource}\n\n\n\n{sv}\n{sr}\n{scope}\n\n\n\n\n");
        format!(
            "sv={sv}&sr={sr}&sp={sp}&se={}&sig={}",
            enc(se),
            enc(&BASE64_STANDARD.encode(crypto::hmac_sha256(&self.key, text.as_bytes())))
        )
    }
    fn account_sas(&self, srt: &str, sp: &str) -> String {
        let (se, sv) = ("2026-12-01T00:00:00Z", "2022-11-02");
        let text = format!("{ACCOUNT}\n{sp}\nb\n{srt}\n\n{se}\n\nhttps\n{sv}\n\n");
        format!(
            "sv={sv}&ss=b&srt={srt}&sp={sp}&se={}&spr=https&sig={}",
            enc(se),
            enc(&BASE64_STANDARD.encode(crypto::hmac_sha256(&self.key, text.as_bytes())))
        )
    }
    async fn with(&self, method: &str, path: &str, sas: &str, headers: &[(&str, &str)], body: &'static str) -> (u16, String) {
        let mark = if path.contains('?') { '&' } else { '?' };
        let answer = self.plain(method, &format!("{path}{mark}{sas}"), headers, body).await;
        (answer.status, answer.header("x-ms-error-code").to_owned())
    }
}

const BLOCK: (&str, &str) = ("x-ms-blob-type", "BlockBlob");
const UNTIL: &str = "2026-12-01T00:00:00Z";

#[tokio::test]
async fn a_service_sas_opens_what_it_names_and_nothing_else() {
    let w = World::new(40).await;
    w.container("con").await;
    w.container("other").await;
    w.put("/con/b", "x").await;
    w.put("/con/b2", "y").await;
    w.put("/other/b", "z").await;
    for sv in ["2018-11-09", "2026-10-06"] {
        let read = w.service_sas("/con/b", "b", "r", UNTIL, sv);
        assert_eq!(w.with("GET", "/con/b", &read, &[], "").await.0, 200, "{sv}");
        assert_eq!(w.with("HEAD", "/con/b", &read, &[], "").await.0, 200, "{sv}");
        // another blob is another string to sign
        assert_eq!(w.with("GET", "/con/b2", &read, &[], "").await, (403, "AuthenticationFailed".into()));
        assert_eq!(w.with("GET", "/other/b", &read, &[], "").await, (403, "AuthenticationFailed".into()));
        assert_eq!(w.with("PUT", "/con/b", &read, &[BLOCK], "x").await, (403, "AuthorizationPermissionMismatch".into()));
        assert_eq!(w.with("DELETE", "/con/b", &read, &[], "").await, (403, "AuthorizationPermissionMismatch".into()));
        let container = w.service_sas("/con", "c", "rl", UNTIL, sv);
        assert_eq!(w.with("GET", "/con/b2", &container, &[], "").await.0, 200);
        assert_eq!(w.with("GET", "/con?restype=container&comp=list", &container, &[], "").await.0, 200);
        assert_eq!(w.with("GET", "/other/b", &container, &[], "").await, (403, "AuthenticationFailed".into()));
        assert_eq!(w.with("GET", "/con?restype=container", &container, &[], "").await, (403, "AuthorizationPermissionMismatch".into()));
        assert_eq!(w.with("GET", "/?comp=list", &container, &[], "").await.0, 403);
        let blind = w.service_sas("/con", "c", "r", UNTIL, sv);
        assert_eq!(
            w.with("GET", "/con?restype=container&comp=list", &blind, &[], "").await,
            (403, "AuthorizationPermissionMismatch".into()),
            "reading is not listing"
        );
        let late = w.service_sas("/con/b", "b", "r", "2026-11-24T07:59:59Z", sv);
        assert_eq!(w.with("GET", "/con/b", &late, &[], "").await, (403, "AuthenticationFailed".into()));
    }
    let read = w.service_sas("/con/b", "b", "r", UNTIL, "2026-10-06");
    assert_eq!(w.with("GET", "/con/b", &read.replace("sp=r", "sp=rw"), &[], "").await, (403, "AuthenticationFailed".into()));
    w.kit.clock.advance_seconds(8 * 86_400);
    assert_eq!(w.with("GET", "/con/b", &read, &[], "").await, (403, "AuthenticationFailed".into()));
    w.audited().await;
}

#[tokio::test]
async fn to_create_is_not_to_overwrite() {
    let w = World::new(41).await;
    w.container("con").await;
    let create = w.service_sas("/con", "c", "c", UNTIL, "2026-10-06");
    assert_eq!(w.with("PUT", "/con/b", &create, &[BLOCK], "1").await.0, 201);
    assert_eq!(w.with("PUT", "/con/b", &create, &[BLOCK], "2").await, (403, "UnauthorizedBlobOverwrite".into()));
    assert_eq!(w.with("PUT", "/con/b?comp=block&blockid=AAAA", &create, &[], "3").await.0, 201);
    assert_eq!(
        w.with("PUT", "/con/b?comp=blocklist", &create, &[], "<BlockList><Latest>AAAA</Latest></BlockList>").await,
        (403, "UnauthorizedBlobOverwrite".into())
    );
    let write = w.service_sas("/con", "c", "w", UNTIL, "2026-10-06");
    assert_eq!(w.with("PUT", "/con/b", &write, &[BLOCK], "4").await.0, 201);
    assert_eq!(w.get("/con/b").await.text(), "4");
}

#[tokio::test]
async fn an_account_sas_is_limited_by_types_and_permissions() {
    let w = World::new(42).await;
    w.container("con").await;
    w.put("/con/b", "x").await;
    let all = w.account_sas("sco", "rwdlc");
    for (method, path, status) in [
        ("GET", "/con/b", 200),
        ("GET", "/?comp=list", 200),
        ("GET", "/con?restype=container&comp=list", 200),
        ("GET", "/con?restype=container", 200),
        ("PUT", "/new?restype=container", 201),
        ("DELETE", "/new?restype=container", 202),
    ] {
        assert_eq!(w.with(method, path, &all, &[], "").await.0, status, "{method} {path}");
    }
    let objects = w.account_sas("o", "rwdlc");
    assert_eq!(w.with("GET", "/con/b", &objects, &[], "").await.0, 200);
    for path in ["/?comp=list", "/con?restype=container&comp=list", "/con?restype=container"] {
        assert_eq!(w.with("GET", path, &objects, &[], "").await.0, 403, "{path}");
    }
    assert_eq!(w.with("GET", "/con?restype=container&comp=acl", &all, &[], "").await.0, 403);
    // the table folds the case of "comp", and so must the signature's limits
    assert_eq!(w.with("GET", "/con?restype=container&comp=ACL", &all, &[], "").await.0, 403);
    assert_eq!(w.with("PUT", "/con?restype=container&comp=Acl", &all, &[], "").await.0, 403);
    w.audited().await;
}

#[tokio::test]
async fn response_headers_are_overridden_as_signed() {
    let w = World::new(43).await;
    w.container("con").await;
    w.put("/con/b", "x").await;
    let text = format!("r\n\n{UNTIL}\n/blob/{ACCOUNT}/con/b\n\n\n\n2026-10-06\nb\n\n\n\nattachment; filename=a\n\n\ntext/x");
    let sig = enc(&BASE64_STANDARD.encode(crypto::hmac_sha256(&w.key, text.as_bytes())));
    let url = format!("/con/b?sv=2026-10-06&sr=b&sp=r&se={}&rscd={}&rsct=text/x&sig={sig}", enc(UNTIL), enc("attachment; filename=a"));
    let got = w.plain("GET", &url, &[], "").await;
    assert_eq!(
        (got.status, got.header("content-type"), got.header("content-disposition")),
        (200, "text/x", "attachment; filename=a"),
        "{}",
        got.text()
    );
}

#[tokio::test]
async fn a_wrong_or_old_shared_key_is_refused() {
    let mut w = World::new(44).await;
    w.container("con").await;
    let key = std::mem::replace(&mut w.key, vec![1; 64]);
    let refused = w.get("/?comp=list").await;
    assert_eq!((refused.status, refused.header("x-ms-error-code")), (403, "AuthenticationFailed"));
    assert!(
        refused
            .text()
            .starts_with("<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>AuthenticationFailed</Code><Message>Server failed"),
        "{}",
        refused.text()
    );
    w.key = key;
    assert_eq!(w.get("/?comp=list").await.status, 200);
    let late = w.kit.now().plus_seconds(-1_000).http_date();
    let headers = [
        ("x-ms-date", late.as_str()),
        ("x-ms-version", "2026-04-06"),
        ("authorization", "SharedKey acct:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ];
    let answer = w.plain("GET", "/?comp=list", &headers, "").await;
    assert!(answer.status == 403 && answer.text().contains("too old"), "{}", answer.text());
    for bad in ["SharedKey", "SharedKey acct", "SharedKey other:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "Digest x"] {
        let answer = w.plain("GET", "/?comp=list", &[("authorization", bad), ("x-ms-date", &w.kit.now().http_date())], "").await;
        assert!(matches!(answer.status, 400 | 401 | 403), "{bad}: {}", answer.status);
    }
}

#[tokio::test]
async fn strangers_get_a_challenge_and_learn_nothing() {
    let w = World::new(45).await;
    w.container("con").await;
    let mut seen = std::collections::HashSet::new();
    for host in ["https://acct.blob.core.bleu.localhost", "https://nobody.blob.core.bleu.localhost"] {
        let answer = w.kit.call("GET", &format!("{host}/con/b"), &[("x-ms-version", "2026-04-06")], "").await;
        assert_eq!((answer.status, answer.header("x-ms-error-code")), (401, "NoAuthenticationInformation"));
        assert!(
            answer.header("www-authenticate").starts_with("Bearer authorization_uri=https://login."),
            "{}",
            answer.header("www-authenticate")
        );
        seen.insert(answer.header("www-authenticate").to_owned());
        let version = ("x-ms-version", "2026-04-06");
        let stranger = w.kit.call("GET", &format!("{host}/con/b"), &[("authorization", "Bearer stranger"), version], "").await;
        assert_eq!((stranger.status, stranger.header("x-ms-error-code")), (404, "ResourceNotFound"));
        let body = stranger.text().split("\nRequestId").next().unwrap().to_owned();
        assert!(!body.contains("subscriptions"), "{body}");
        seen.insert(body);
        let wrong = w.kit.call("GET", &format!("{host}/con/b"), &[("authorization", "Bearer nonsense"), version], "").await;
        assert_eq!((wrong.status, wrong.header("x-ms-error-code")), (401, "InvalidAuthenticationInfo"));
    }
    assert_eq!(seen.len(), 2, "an account of another tenant looks like one that does not exist: {seen:?}");
}

#[tokio::test]
async fn a_token_needs_a_version_and_any_will_do() {
    let w = World::new(46).await;
    w.container("con").await;
    let token = ("authorization", "Bearer member");
    assert_eq!(w.plain("GET", "/?comp=list", &[token, ("x-ms-version", "2099-01-01")], "").await.status, 200);
    let none = w.plain("GET", "/?comp=list", &[token], "").await;
    assert_eq!((none.status, none.header("x-ms-error-code")), (400, "MissingRequiredHeader"));
    let bad = w.plain("GET", "/?comp=list", &[token, ("x-ms-version", "latest")], "").await;
    assert_eq!((bad.status, bad.header("x-ms-error-code")), (400, "InvalidHeaderValue"));
}

#[tokio::test]
async fn every_row_of_the_table_refuses_a_stranger() {
    use service::{Service, When};
    let w = World::new(47).await;
    let table = std::sync::Arc::new(storage::Storage).operations();
    let mut asked = 0;
    for row in &table.rows {
        let (base, path) = match row.door.name {
            "blob" => ("https://acct.blob.core.bleu.localhost", row.path.replace("{container}", "con").replace("{blob+}", "b")),
            _ => {
                let scope = w.account.to_string();
                let s: Vec<&str> = scope.split('/').collect();
                (
                    "https://management.bleu.localhost",
                    row.path
                        .replace("{subscription}", s[2])
                        .replace("{group}", "rg")
                        .replace("{account}", "acct")
                        .replace("{container}", "con"),
                )
            }
        };
        let mut query = vec!["api-version=2025-08-01".to_owned()];
        let mut headers = vec![("x-ms-version", "2026-04-06")];
        for when in &row.when {
            match when {
                When::QueryIs(name, value) => query.push(format!("{name}={value}")),
                When::QueryPresent(name) => query.push(format!("{name}=x")),
                When::HeaderPresent(name) => headers.push((name, "x")),
                When::QueryAbsent(_) | When::NamesDirectory => {}
            }
        }
        let url = format!("{base}{path}?{}", query.join("&"));
        for (token, wanted) in [(None, 401), (Some("Bearer nonsense"), 401), (Some("Bearer stranger"), 404)] {
            let mut headers = headers.clone();
            headers.extend(token.map(|t| ("authorization", t)));
            let answer = w.kit.call(row.method.as_str(), &url, &headers, "").await;
            assert_eq!(answer.status, wanted, "{} with {token:?}: {}", row.name, String::from_utf8_lossy(&answer.body));
            asked += 1;
        }
    }
    assert!(asked > 150, "{asked}");
}
