//! Sign-in and the directory from the outside: a whole region in memory, spoken to as clients speak to it.

use base::{Kind, Location, ObjectId, TenantId};
use base64::prelude::*;
use crypto::SecretBytes;
use identity::{AZ_CLIENT, GLOBAL_ADMINISTRATOR, Graph, Login, Seed, Seeded, seed, verify_bearer};
use serde_json::{Value, json};
use service::Service;
use std::sync::Arc;
use testkit::{Answer, Kit, Setup};
use trust::{Ask, Caller, Facts, Rules, Verdict};

#[path = "suite/second_factor.rs"]
mod second_factor;

const ADMIN_PASSWORD: &str = "correct horse battery";
const CLIENT_SECRET: &str = "a-secret-of-the-client-application";
const ARM: &str = "https://management.bleu.localhost/";
const LOGIN: &str = "https://login.bleu.localhost";
const GRAPH: &str = "https://graph.bleu.localhost";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The directory part of the real rules: everybody reads, the role of the seed writes.
struct DirectoryRules;

impl Rules for DirectoryRules {
    fn judge(&self, ask: &Ask, facts: &Facts) -> Verdict {
        let reads = ask.actions.iter().all(|a| a.ends_with("/read"));
        let writes = ask.caller.principal().is_some_and(|p| {
            facts.assignments_for(p.object).iter().any(|a| a.role == GLOBAL_ADMINISTRATOR && ask.scope.is_within(&a.scope))
        });
        match reads || writes {
            true => Verdict::Allow { because: "test".into() },
            false => Verdict::Refuse(base::Error::new(Kind::Forbidden, "AuthorizationFailed", "No.")),
        }
    }
}

struct World {
    kit: Kit,
    contoso: Seeded,
}

fn tenant(number: u128) -> TenantId {
    TenantId(uuid::Uuid::from_u128(number))
}

fn new_tenant(number: u128, name: &str) -> Seed {
    Seed {
        tenant: tenant(number),
        name: name.into(),
        domain: format!("{name}.example"),
        location: Location::new("francecentral").unwrap(),
        client_name: "first client".into(),
        admin_password: Some(SecretBytes::from(ADMIN_PASSWORD.to_owned())),
        client_secret: Some(SecretBytes::from(CLIENT_SECRET.to_owned())),
    }
}

fn setup(number: u64) -> Setup {
    let graph: Arc<dyn Service> = Arc::new(Graph);
    let login: Arc<dyn Service> = Arc::new(Login::new(std::slice::from_ref(&graph)));
    Setup::new(number).services(vec![login, graph]).rules(DirectoryRules).bearer(Arc::new(verify_bearer))
}

async fn world(number: u64) -> World {
    world_on(setup(number)).await
}

async fn world_on(setup: Setup) -> World {
    let kit = Kit::start(setup).await;
    let contoso = seed(&kit.region("identity"), &new_tenant(0xC0, "contoso")).await.unwrap();
    World { kit, contoso }
}

/// What the region owns is opened in everybody's bundle: nothing of a tenant may be in it, its name least of all.
#[tokio::test]
async fn a_tenants_bundle_names_no_other_tenant() {
    let world = world(41).await;
    let fabrikam = seed(&world.kit.region("identity"), &new_tenant(0xFA, "fabrikam")).await.unwrap();
    // refused, and so not in an entry of the new tenant's
    let taken = Seed { domain: "contoso.example".into(), ..new_tenant(0xFB, "impostor") };
    assert_eq!(seed(&world.kit.region("identity"), &taken).await.unwrap_err().code, "DomainTaken");
    let bundle = world.kit.trust.export(Some(fabrikam.tenant)).await.unwrap();
    let holds = |text: &str| bundle.to_ascii_lowercase().windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds(&fabrikam.tenant.to_string()), "its own name is in clear, so this looks where names are");
    for other in [world.contoso.tenant.to_string(), "contoso".into(), "impostor".into()] {
        assert!(!holds(&other), "'{other}' is in the bundle of another tenant");
    }
    world.kit.audit(Some(world.contoso.tenant)).await;
}

fn form(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(n, v)| format!("{n}={}", wire::percent_encode(v, b""))).collect::<Vec<_>>().join("&")
}

/// A token's claims, unverified.
fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

impl World {
    async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Answer {
        self.kit.call("POST", url, &[("content-type", "application/x-www-form-urlencoded")], form(fields)).await
    }
    /// As [`World::post`], from another address.
    async fn post_from(&self, from: [u8; 4], url: &str, fields: &[(&str, &str)]) -> (u16, http::HeaderMap, Value) {
        let request = http::Request::post(url).header("content-type", "application/x-www-form-urlencoded");
        let request = request.body(http_body_util::Full::new(form(fields).into())).unwrap();
        let (parts, body) = self.kit.gateway.answer(request, Some(from.into())).await.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, serde_json::from_slice(&body).unwrap())
    }
    async fn client_token(&self, scope: &str) -> Answer {
        let id = self.contoso.client.to_string();
        self.post(
            &format!("{LOGIN}/adfs/oauth2/token/"),
            &[("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", CLIENT_SECRET), ("scope", scope)],
        )
        .await
    }
    async fn user_token(&self, name: &str, password: &str, scope: &str) -> Answer {
        let az = AZ_CLIENT.to_string();
        let scope = format!("{scope} openid profile offline_access");
        self.post(
            &format!("{LOGIN}/organizations/oauth2/v2.0/token"),
            &[
                ("grant_type", "password"),
                ("client_id", &az),
                ("username", name),
                ("password", password),
                ("scope", &scope),
                ("client_info", "1"),
            ],
        )
        .await
    }
    async fn admin_for(&self, scope: &str) -> String {
        let answer = self.user_token("admin@contoso.example", ADMIN_PASSWORD, scope).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }
    async fn graph(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.kit
            .call(method, &format!("{GRAPH}/v1.0{path}"), &[("authorization", &bearer), ("content-type", "application/json")], body)
            .await
    }
}

/// Status, OAuth code and Microsoft's number of a refusal.
fn refusal(answer: &Answer) -> (u16, String, u64) {
    let body = answer.json();
    let description = body["error_description"].as_str().unwrap_or_default();
    let number = body["error_codes"][0].as_u64().unwrap_or_default();
    assert!(description.starts_with(&format!("AADSTS{number}: ")), "{description}");
    (answer.status, body["error"].as_str().unwrap_or_default().to_owned(), number)
}

#[tokio::test]
async fn discovery_speaks_under_the_name_that_was_used() {
    let w = world(1).await;
    let id = tenant(0xC0);
    let cases = [
        (format!("{LOGIN}/adfs/.well-known/openid-configuration"), format!("{LOGIN}/adfs"), format!("{LOGIN}/adfs/oauth2/token/")),
        (
            "https://localhost/adfs/.well-known/openid-configuration".into(),
            "https://localhost/adfs".into(),
            "https://localhost/adfs/oauth2/token/".into(),
        ),
        (
            format!("{LOGIN}/{id}/v2.0/.well-known/openid-configuration"),
            format!("{LOGIN}/{id}/v2.0"),
            format!("{LOGIN}/{id}/oauth2/v2.0/token"),
        ),
        (
            format!("{LOGIN}/contoso.example/v2.0/.well-known/openid-configuration"),
            format!("{LOGIN}/{id}/v2.0"),
            format!("{LOGIN}/{id}/oauth2/v2.0/token"),
        ),
        (
            format!("{LOGIN}/common/v2.0/.well-known/openid-configuration"),
            format!("{LOGIN}/{{tenantid}}/v2.0"),
            format!("{LOGIN}/common/oauth2/v2.0/token"),
        ),
        (format!("{LOGIN}/{id}/.well-known/openid-configuration"), format!("{LOGIN}/{id}/v2.0"), format!("{LOGIN}/{id}/oauth2/token")),
    ];
    for (url, issuer, token) in cases {
        let document = w.kit.call("GET", &url, &[], "").await;
        assert_eq!(document.status, 200, "{url}");
        assert_eq!(
            (document.json()["issuer"].as_str(), document.json()["token_endpoint"].as_str()),
            (Some(issuer.as_str()), Some(token.as_str()))
        );
        let keys = w.kit.call("GET", document.json()["jwks_uri"].as_str().unwrap(), &[], "").await.json();
        assert_eq!(keys["keys"][0]["kty"], "RSA");
    }
    let unknown = w.kit.call("GET", &format!("{LOGIN}/fabrikam.example/v2.0/.well-known/openid-configuration"), &[], "").await;
    assert_eq!(refusal(&unknown), (400, "invalid_tenant".into(), 90002));
    let realm = w.kit.call("GET", &format!("{LOGIN}/common/userrealm/nobody@contoso.example?api-version=1.0"), &[], "").await;
    assert_eq!(realm.json()["account_type"], "Managed");
    let instance = w
        .kit
        .call(
            "GET",
            &format!("{LOGIN}/common/discovery/instance?api-version=1.1&authorization_endpoint={LOGIN}/common/oauth2/v2.0/authorize"),
            &[],
            "",
        )
        .await;
    assert_eq!(instance.json()["metadata"][0]["aliases"][0], "login.bleu.localhost");
    let foreign = w
        .kit
        .call("GET", &format!("{LOGIN}/common/discovery/instance?authorization_endpoint=https://login.elsewhere.example/common/"), &[], "")
        .await;
    assert_eq!(refusal(&foreign), (400, "invalid_instance".into(), 50049));
}

#[tokio::test]
async fn a_program_signs_in_with_its_secret() {
    let w = world(2).await;
    let answer = w.client_token(&format!("{ARM}/.default")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(!answer.header("x-bleu-entry").is_empty(), "a token is recorded before it is answered");
    let body = answer.json();
    assert_eq!((body["token_type"].as_str(), body["expires_in"].as_i64()), (Some("Bearer"), Some(3600)));
    assert!(body.get("refresh_token").is_none());
    let claims = claims(body["access_token"].as_str().unwrap());
    assert_eq!(claims["aud"], ARM);
    assert_eq!(claims["iss"], format!("{LOGIN}/adfs"));
    assert_eq!(claims["tid"], tenant(0xC0).to_string());
    assert_eq!(claims["oid"], w.contoso.client_object.to_string());
    assert_eq!((claims["appid"].as_str(), claims["idtyp"].as_str()), (Some(w.contoso.client.to_string().as_str()), Some("app")));

    // HTTP Basic, the tenant's own address, and a managed identity say the same
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{CLIENT_SECRET}", w.contoso.client)));
    let url = format!("{LOGIN}/contoso.example/oauth2/v2.0/token");
    let answer = w
        .kit
        .call(
            "POST",
            &url,
            &[("authorization", &basic)],
            form(&[("grant_type", "client_credentials"), ("scope", "https://graph.microsoft.com/.default")]),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let header = format!("{}.{CLIENT_SECRET}", w.contoso.client);
    let answer =
        w.kit.call("GET", &format!("{LOGIN}/msi/token?api-version=2019-08-01&resource={ARM}"), &[("x-identity-header", &header)], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()["expires_on"].as_str().unwrap().parse::<i64>().is_ok());
    w.kit.audit(Some(tenant(0xC0))).await;
}

/// A form, and the status, code and number that it is refused with.
type Case<'a> = (&'a [(&'a str, &'a str)], (u16, &'a str, u64));

#[tokio::test]
async fn refusals_speak_the_dialect() {
    let w = world(3).await;
    let id = w.contoso.client.to_string();
    let url = format!("{LOGIN}/{}/oauth2/v2.0/token", tenant(0xC0));
    let scope = format!("{ARM}/.default");
    let stranger = "11111111-1111-1111-1111-111111111111";
    let az = AZ_CLIENT.to_string();
    let cases: &[Case<'_>] = &[
        (&[], (400, "invalid_request", 900144)),
        (&[("grant_type", "client_credentials")], (400, "invalid_request", 900144)),
        (&[("grant_type", "magic"), ("client_id", &id)], (400, "unsupported_grant_type", 70003)),
        (
            &[("grant_type", "client_credentials"), ("client_id", stranger), ("client_secret", "x"), ("scope", &scope)],
            (400, "unauthorized_client", 700016),
        ),
        (
            &[("grant_type", "client_credentials"), ("client_id", "not-a-guid"), ("client_secret", "x")],
            (400, "unauthorized_client", 700016),
        ),
        (&[("grant_type", "client_credentials"), ("client_id", &id), ("scope", &scope)], (401, "invalid_client", 7000218)),
        (
            &[("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", "wrong"), ("scope", &scope)],
            (401, "invalid_client", 7000215),
        ),
        (
            &[
                ("grant_type", "client_credentials"),
                ("client_id", &id),
                ("client_secret", CLIENT_SECRET),
                ("scope", "https://elsewhere.example/.default"),
            ],
            (400, "invalid_resource", 500011),
        ),
        (
            &[
                ("grant_type", "client_credentials"),
                ("client_id", &id),
                ("client_secret", CLIENT_SECRET),
                ("scope", "https://a/.default https://b/.default"),
            ],
            (400, "invalid_scope", 28000),
        ),
        (
            &[
                ("grant_type", "client_credentials"),
                ("client_id", &id),
                ("client_assertion", "a.b.c"),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("scope", &scope),
            ],
            (401, "invalid_client", 700021),
        ),
        (
            &[
                ("grant_type", "password"),
                ("client_id", &az),
                ("username", "admin@contoso.example"),
                ("password", "wrong"),
                ("scope", &scope),
            ],
            (400, "invalid_grant", 50126),
        ),
        (
            &[
                ("grant_type", "password"),
                ("client_id", &az),
                ("username", "nobody@contoso.example"),
                ("password", "wrong"),
                ("scope", &scope),
            ],
            (400, "invalid_grant", 50126),
        ),
        (
            &[
                ("grant_type", "password"),
                ("client_id", &id),
                ("username", "admin@contoso.example"),
                ("password", ADMIN_PASSWORD),
                ("scope", &scope),
            ],
            (401, "invalid_client", 7000218),
        ),
        (&[("grant_type", "refresh_token"), ("client_id", &az), ("refresh_token", "nonsense")], (400, "invalid_grant", 70000)),
        (
            &[("grant_type", "authorization_code"), ("client_id", &az), ("code", "nonsense"), ("redirect_uri", "http://localhost:1")],
            (400, "invalid_grant", 70000),
        ),
        (
            &[("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("client_id", &az), ("device_code", "nonsense")],
            (400, "invalid_grant", 70000),
        ),
    ];
    for (fields, (status, code, number)) in cases {
        let answer = w.post(&url, fields).await;
        assert_eq!(refusal(&answer), (*status, (*code).to_owned(), *number), "{fields:?}");
    }
    let twice = w.kit.call("POST", &url, &[], "grant_type=a&grant_type=b").await;
    assert_eq!(refusal(&twice).0, 400);
    let elsewhere =
        w.post(&format!("{LOGIN}/{}/oauth2/v2.0/token", tenant(0xEE)), &[("grant_type", "client_credentials"), ("client_id", &id)]).await;
    assert_eq!(refusal(&elsewhere), (400, "invalid_tenant".into(), 90002));
    // refusals of a known principal are recorded before the answer; strangers are not
    let known =
        w.post(&url, &[("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", "wrong"), ("scope", &scope)]).await;
    assert!(!known.header("x-bleu-entry").is_empty());
    let unknown =
        w.post(&url, &[("grant_type", "client_credentials"), ("client_id", stranger), ("client_secret", "wrong"), ("scope", &scope)]).await;
    assert!(unknown.header("x-bleu-entry").is_empty());
    w.kit.audit(Some(tenant(0xC0))).await;
}

fn password_grant<'a>(name: &'a str, password: &'a str, az: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("grant_type", "password"),
        ("client_id", az),
        ("username", name),
        ("password", password),
        ("scope", "https://graph.microsoft.com/.default openid"),
    ]
}

#[tokio::test]
async fn guessing_locks_out_whoever_guesses_and_not_the_owner() {
    let w = world(41).await;
    let (az, url) = (AZ_CLIENT.to_string(), format!("{LOGIN}/organizations/oauth2/v2.0/token"));
    let (attacker, neighbour, owner) = ([203, 0, 113, 7], [203, 0, 113, 8], [198, 51, 100, 1]);
    let name = "admin@contoso.example";
    for _ in 0..12 {
        w.post_from(attacker, &url, &password_grant(name, "guess", &az)).await;
    }
    for from in [attacker, neighbour] {
        let (status, _, body) = w.post_from(from, &url, &password_grant(name, ADMIN_PASSWORD, &az)).await;
        assert_eq!((status, body["error_codes"][0].as_u64()), (400, Some(50053)), "{body}");
    }
    let (status, _, body) = w.post_from(owner, &url, &password_grant(name, ADMIN_PASSWORD, &az)).await;
    assert_eq!(status, 200, "{body}");
    // the same for a client's secret
    let (id, token) = (w.contoso.client.to_string(), format!("{LOGIN}/adfs/oauth2/token/"));
    let secret = |secret: &'static str| {
        [
            ("grant_type", "client_credentials"),
            ("client_id", &*id),
            ("client_secret", secret),
            ("scope", "https://graph.microsoft.com/.default"),
        ]
    };
    for _ in 0..10 {
        w.post_from(attacker, &token, &secret("guess")).await;
    }
    assert_eq!(w.post_from(attacker, &token, &secret(CLIENT_SECRET)).await.2["error_codes"][0], 50053);
    assert_eq!(w.post_from(owner, &token, &secret(CLIENT_SECRET)).await.0, 200);
    // it fades: an hour later the attacker's neighbour is heard again
    w.kit.clock.advance_seconds(3_600);
    assert_eq!(w.post_from(neighbour, &token, &secret(CLIENT_SECRET)).await.0, 200);
    w.kit.audit(Some(tenant(0xC0))).await;
}

#[tokio::test]
async fn a_flood_of_sign_ins_is_refused_beyond_a_short_queue() {
    let w = world(42).await;
    let (az, url) = (AZ_CLIENT.to_string(), format!("{LOGIN}/organizations/oauth2/v2.0/token"));
    let fields = password_grant("nobody@contoso.example", "guess", &az);
    let right = password_grant("admin@contoso.example", ADMIN_PASSWORD, &az);
    let (flood, elsewhere) = tokio::join!(
        futures::future::join_all((0..200).map(|_| w.post_from([203, 0, 113, 7], &url, &fields))),
        w.post_from([198, 51, 100, 1], &url, &right),
    );
    assert_eq!(elsewhere.0, 200, "{}", elsewhere.2);
    let refused: Vec<_> = flood.iter().filter(|(status, ..)| *status == 429).collect();
    assert!((100..200).contains(&refused.len()), "{}", refused.len());
    for (_, headers, body) in refused {
        assert_eq!((body["error"].as_str(), body["error_codes"][0].as_u64()), (Some("temporarily_unavailable"), Some(90055)));
        assert_eq!(headers["retry-after"], "2");
    }
    // and it is over when the queue is
    assert_eq!(w.post_from([203, 0, 113, 7], &url, &fields).await.0, 400);
}

#[tokio::test]
async fn guessing_locks_out_for_a_while() {
    let w = world(4).await;
    for _ in 0..10 {
        w.user_token("admin@contoso.example", "guess", "https://graph.microsoft.com/.default").await;
    }
    let locked = w.user_token("admin@contoso.example", ADMIN_PASSWORD, "https://graph.microsoft.com/.default").await;
    assert_eq!(refusal(&locked), (400, "invalid_grant".into(), 50053));
    w.kit.clock.advance_seconds(3700);
    assert_eq!(w.user_token("admin@contoso.example", ADMIN_PASSWORD, "https://graph.microsoft.com/.default").await.status, 200);
}

#[tokio::test]
async fn a_session_is_refreshed_and_revoked() {
    let w = world(5).await;
    let first = w.user_token("Admin@Contoso.example", ADMIN_PASSWORD, &format!("{ARM}/.default")).await.json();
    assert_eq!(first["scope"], format!("{ARM}/user_impersonation {ARM}/.default"));
    let info: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(first["client_info"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(
        (info["uid"].as_str(), info["utid"].as_str()),
        (Some(w.contoso.admin.to_string().as_str()), Some(tenant(0xC0).to_string().as_str()))
    );
    let id = claims(first["id_token"].as_str().unwrap());
    assert_eq!(
        (id["aud"].as_str(), id["preferred_username"].as_str()),
        (Some(AZ_CLIENT.to_string().as_str()), Some("admin@contoso.example"))
    );
    let lifetime = first["expires_in"].as_i64().unwrap();
    assert!((3600..=5400).contains(&lifetime));

    let refresh = first["refresh_token"].as_str().unwrap();
    let az = AZ_CLIENT.to_string();
    let again = |token: String, at: &'static str, client: String| {
        let w = &w;
        async move {
            w.post(
                &format!("{LOGIN}/{at}/oauth2/v2.0/token"),
                &[
                    ("grant_type", "refresh_token"),
                    ("client_id", &client),
                    ("refresh_token", &token),
                    ("scope", "https://graph.microsoft.com/.default"),
                ],
            )
            .await
        }
    };
    let second = again(refresh.into(), "contoso.example", az.clone()).await;
    assert_eq!(second.status, 200, "{}", second.text());
    let access = second.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(claims(&access)["aud"], "https://graph.microsoft.com");
    assert_ne!(second.json()["refresh_token"].as_str().unwrap(), refresh);
    assert_eq!(refusal(&again(refresh.into(), "organizations", w.contoso.client.to_string()).await).1, "invalid_grant");

    // another tenant does not take it
    seed(&w.kit.region("identity"), &new_tenant(0xFA, "fabrikam")).await.unwrap();
    assert_eq!(refusal(&again(refresh.into(), "fabrikam.example", az.clone()).await), (400, "invalid_grant".into(), 50020));

    assert_eq!(w.graph("GET", "/me", &access, Value::Null).await.status, 200);
    let missing = w.graph("POST", "/me/sendMail", &access, json!({})).await;
    assert!(
        missing.status == 501 && missing.json()["error"]["message"].as_str().unwrap().contains("POST /v1.0/me/sendMail"),
        "{}",
        missing.text()
    );
    let revoked = w.graph("POST", "/users/admin@contoso.example/revokeSignInSessions", &access, json!({})).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_eq!(w.graph("GET", "/me", &access, Value::Null).await.status, 401);
    assert_eq!(refusal(&again(refresh.into(), "organizations", az.clone()).await), (400, "invalid_grant".into(), 50173));

    // a session that nobody used ends by itself
    w.kit.clock.advance_seconds(2);
    let fresh = w.user_token("admin@contoso.example", ADMIN_PASSWORD, &format!("{ARM}/.default")).await.json();
    w.kit.clock.advance_seconds(15 * 86_400);
    assert_eq!(
        refusal(&again(fresh["refresh_token"].as_str().unwrap().into(), "organizations", az).await),
        (400, "invalid_grant".into(), 700082)
    );
}

#[tokio::test]
async fn a_token_opens_one_door_of_its_own_region() {
    let w = world(6).await;
    let near = w.kit.region("identity");
    let token = w.client_token(&format!("{ARM}/.default")).await.json()["access_token"].as_str().unwrap().to_owned();
    let audiences = vec![ARM.to_owned()];
    let Caller::Principal(who) = verify_bearer(&near, &token, &audiences).unwrap() else { panic!("a principal") };
    assert_eq!((who.object, who.tenant, who.app), (w.contoso.client_object, tenant(0xC0), w.contoso.client));
    let refused = |token: &str, audiences: &[String]| verify_bearer(&near, token, audiences).unwrap_err();
    assert_eq!(refused(&token, &["https://management.bleu.localhost".into()]).code, "InvalidAuthenticationTokenAudience");
    let answer = w.graph("GET", "/users", &token, Value::Null).await;
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (401, Some("InvalidAuthenticationToken")));
    assert!(answer.header("www-authenticate").starts_with("Bearer"));

    let mut forged = token.clone();
    forged.replace_range(token.len() - 6..token.len() - 5, if &token[token.len() - 6..token.len() - 5] == "A" { "B" } else { "A" });
    assert_eq!(refused(&forged, &audiences).code, "InvalidAuthenticationToken");
    assert_eq!(refused("a.b.c", &audiences).kind, Kind::Unauthenticated);
    // signed by us, for a tenant or a principal that is not there
    let mut claims = claims(&token);
    for (name, value, code) in [
        ("tid", tenant(0xFA).to_string(), "InvalidAuthenticationTokenTenant"),
        ("oid", ObjectId(uuid::Uuid::nil()).to_string(), "InvalidAuthenticationToken"),
        ("iss", "https://elsewhere/adfs".into(), "InvalidAuthenticationTokenTenant"),
    ] {
        let before = claims[name].clone();
        claims[name] = value.into();
        assert_eq!(refused(&near.credentials().sign_token(&claims).unwrap(), &audiences).code, code, "{name}");
        claims[name] = before;
    }
    // not yet valid, or it does not say from when
    let nbf = claims["nbf"].clone();
    for nbf in [json!(w.kit.now().seconds() + 301), Value::Null] {
        claims["nbf"] = nbf;
        assert_eq!(refused(&near.credentials().sign_token(&claims).unwrap(), &audiences).code, "InvalidAuthenticationToken");
    }
    claims["nbf"] = nbf;
    assert!(verify_bearer(&near, &near.credentials().sign_token(&claims).unwrap(), &audiences).is_ok());
    // a principal of one tenant under the name of another
    let fabrikam = seed(&w.kit.region("identity"), &new_tenant(0xFA, "fabrikam")).await.unwrap().tenant;
    let mut mixed = claims.clone();
    (mixed["tid"], mixed["iss"]) = (fabrikam.to_string().into(), format!("{LOGIN}/{fabrikam}/v2.0").into());
    let why = refused(&near.credentials().sign_token(&mixed).unwrap(), &audiences);
    assert!(why.code == "InvalidAuthenticationToken" && why.message.contains("principal"), "{why:?}");
    w.kit.clock.advance_seconds(3600);
    assert_eq!(refused(&token, &audiences).code, "ExpiredAuthenticationToken");
}

/// What a browser knows after a page.
struct Page {
    cookie: String,
    flow: String,
}

fn page(answer: &Answer) -> Page {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    let flow =
        answer.text().split("name=\"flow\" value=\"").nth(1).map(|rest| rest.split('"').next().unwrap().to_owned()).unwrap_or_default();
    Page { cookie, flow }
}

fn authorize_url(mode: &str) -> String {
    let query = form(&[
        ("client_id", &AZ_CLIENT.to_string()),
        ("response_type", "code"),
        ("redirect_uri", "http://localhost:52311"),
        ("scope", &format!("{ARM}/.default openid profile offline_access")),
        ("state", "s t&"),
        ("response_mode", mode),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("nonce", "n1"),
        ("prompt", "select_account"),
        ("client_info", "1"),
    ]);
    format!("{LOGIN}/organizations/oauth2/v2.0/authorize?{query}")
}

#[tokio::test]
async fn a_person_signs_in_with_a_browser() {
    let w = world(7).await;
    let url = authorize_url("form_post");
    let shown = w.kit.call("GET", &url, &[("accept-language", "fr-FR,fr;q=0.9,en;q=0.8")], "").await;
    assert!(shown.text().contains("Mot de passe") && shown.text().contains("Microsoft Azure CLI"));
    assert!(shown.header("content-security-policy").contains("form-action 'self' http://localhost:52311;"));
    assert!(shown.header("set-cookie").contains("HttpOnly") && shown.header("set-cookie").contains("Secure"));
    let known = page(&shown);
    let post = format!("{LOGIN}/organizations/oauth2/v2.0/authorize");
    let send = |cookie: String, flow: String, password: &'static str, action: &'static str| {
        let (w, post) = (&w, &post);
        async move {
            let fields = form(&[("flow", &flow), ("username", "admin@contoso.example"), ("password", password), ("action", action)]);
            w.kit.call("POST", post, &[("cookie", &cookie)], fields).await
        }
    };
    // another browser, no browser, a damaged form, a wrong password
    for cookie in ["__Host-bleu-signin=0123456789abcdef0123", ""] {
        assert_eq!(send(cookie.into(), known.flow.clone(), ADMIN_PASSWORD, "sign-in").await.status, 400);
    }
    assert_eq!(send(known.cookie.clone(), "damaged".into(), ADMIN_PASSWORD, "sign-in").await.status, 400);
    let wrong = send(known.cookie.clone(), known.flow.clone(), "wrong", "sign-in").await;
    assert!(wrong.status == 400 && wrong.text().contains("incorrect") && wrong.text().contains("name=\"flow\""));

    let back = send(known.cookie.clone(), known.flow.clone(), ADMIN_PASSWORD, "sign-in").await;
    assert_eq!(back.status, 200);
    assert!(back.text().contains("action=\"http://localhost:52311\"") && back.text().contains("name=\"state\" value=\"s t&amp;\""));
    assert!(!back.header("x-bleu-entry").is_empty());
    let code = back.text().split("name=\"code\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let az = AZ_CLIENT.to_string();
    let token = format!("{LOGIN}/organizations/oauth2/v2.0/token");
    let redeem_as = |client: String, verifier: &'static str, redirect: &'static str| {
        let (w, token, code) = (&w, &token, &code);
        async move {
            let fields = [
                ("grant_type", "authorization_code"),
                ("client_id", client.as_str()),
                ("code", code.as_str()),
                ("redirect_uri", redirect),
                ("code_verifier", verifier),
                ("client_info", "1"),
            ];
            w.post(token, &fields).await
        }
    };
    let redeem = |verifier, redirect| redeem_as(az.clone(), verifier, redirect);
    assert_eq!(refusal(&redeem_as(w.contoso.client.to_string(), VERIFIER, "http://localhost:52311").await).2, 700005);
    assert_eq!(refusal(&redeem(CHALLENGE, "http://localhost:52311").await).2, 501481);
    assert_eq!(refusal(&redeem(VERIFIER, "http://localhost:1").await).2, 500112);
    let tokens = redeem(VERIFIER, "http://localhost:52311").await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    assert_eq!(claims(tokens.json()["id_token"].as_str().unwrap())["nonce"], "n1");
    assert_eq!(claims(tokens.json()["access_token"].as_str().unwrap())["aud"], ARM);
    assert_eq!(refusal(&redeem(VERIFIER, "http://localhost:52311").await), (400, "invalid_grant".into(), 54005));

    let cancelled = send(known.cookie.clone(), known.flow.clone(), "", "cancel").await;
    assert!(cancelled.text().contains("access_denied"));
    w.kit.clock.advance_seconds(16 * 60);
    assert_eq!(send(known.cookie, known.flow, ADMIN_PASSWORD, "sign-in").await.status, 400);
}

#[tokio::test]
async fn codes_travel_in_the_address_too_and_expire() {
    let w = world(8).await;
    for (mode, joint) in [("query", "?"), ("fragment", "#")] {
        let known = page(&w.kit.call("GET", &authorize_url(mode), &[], "").await);
        let fields = form(&[("flow", &known.flow), ("username", "admin@contoso.example"), ("password", ADMIN_PASSWORD)]);
        let back = w.kit.call("POST", &format!("{LOGIN}/organizations/oauth2/v2.0/authorize"), &[("cookie", &known.cookie)], fields).await;
        assert_eq!(back.status, 303);
        let location = back.header("location");
        let code = location.strip_prefix(&format!("http://localhost:52311{joint}code=")).unwrap().split('&').next().unwrap().to_owned();
        assert!(location.ends_with("&state=s%20t%26"));
        w.kit.clock.advance_seconds(301);
        let late = w
            .post(
                &format!("{LOGIN}/organizations/oauth2/v2.0/token"),
                &[
                    ("grant_type", "authorization_code"),
                    ("client_id", &AZ_CLIENT.to_string()),
                    ("code", &code),
                    ("redirect_uri", "http://localhost:52311"),
                    ("code_verifier", VERIFIER),
                ],
            )
            .await;
        assert_eq!(refusal(&late), (400, "invalid_grant".into(), 70008));
    }
}

/// Which codes were used is remembered by the process that made them: the next one takes none of them.
#[tokio::test]
async fn a_code_from_before_a_restart_is_refused() {
    let setup_of = setup(44);
    let (kv, blobs) = (setup_of.kv.clone(), setup_of.blobs.clone());
    let w = world_on(setup_of).await;
    let known = page(&w.kit.call("GET", &authorize_url("query"), &[], "").await);
    let fields = form(&[("flow", &known.flow), ("username", "admin@contoso.example"), ("password", ADMIN_PASSWORD)]);
    let back = w.kit.call("POST", &format!("{LOGIN}/organizations/oauth2/v2.0/authorize"), &[("cookie", &known.cookie)], fields).await;
    let code = back.header("location").split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let World { kit, contoso } = w;
    kit.crash();
    let w = World { kit: Kit::start(setup(45).on(kv, blobs)).await, contoso };
    let az = AZ_CLIENT.to_string();
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", &*az),
        ("code", &code),
        ("redirect_uri", "http://localhost:52311"),
        ("code_verifier", VERIFIER),
    ];
    let late = w.post(&format!("{LOGIN}/organizations/oauth2/v2.0/token"), &fields).await;
    assert_eq!(refusal(&late), (400, "invalid_grant".into(), 70008));
}

#[tokio::test]
async fn errors_go_to_an_address_only_when_it_is_the_clients() {
    let w = world(9).await;
    let good = authorize_url("query");
    for (from, to) in
        [("localhost%3A52311", "evil.example"), ("client_id=04", "client_id=14"), ("client_id=04b07795-8ddb-461a-bbee-02f9e1bf7b46&", "")]
    {
        let answer = w.kit.call("GET", &good.replacen(from, to, 1), &[], "").await;
        assert!(
            answer.status == 400 && answer.header("location").is_empty() && answer.header("content-type").starts_with("text/html"),
            "{from}"
        );
    }
    for (from, to, code) in [
        ("response_type=code", "response_type=token", "unsupported_response_type"),
        ("management.bleu.localhost", "elsewhere.example", "invalid_resource"),
        ("code_challenge_method=S256", "code_challenge_method=plain", "invalid_request"),
        ("prompt=select_account", "prompt=none", "login_required"),
    ] {
        let answer = w.kit.call("GET", &good.replacen(from, to, 1), &[], "").await;
        assert_eq!(answer.status, 303, "{from}");
        assert!(answer.header("location").starts_with(&format!("http://localhost:52311?error={code}&")), "{}", answer.header("location"));
    }
}

#[tokio::test]
async fn a_device_is_allowed_from_a_browser() {
    let w = world(10).await;
    let az = AZ_CLIENT.to_string();
    let scope = format!("{ARM}/.default openid offline_access profile");
    let begun = w.post("https://localhost/adfs/oauth2/devicecode", &[("client_id", &az), ("scope", &scope)]).await.json();
    let (user_code, device_code) = (begun["user_code"].as_str().unwrap().to_owned(), begun["device_code"].as_str().unwrap().to_owned());
    assert_eq!(begun["verification_uri"], "https://localhost/devicelogin");
    let token = "https://localhost/adfs/oauth2/token/";
    let poll = || async {
        w.post(token, &[("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("client_id", &az), ("device_code", &device_code)])
            .await
    };
    assert_eq!(refusal(&poll().await).1, "authorization_pending");
    assert_eq!(refusal(&poll().await).1, "slow_down");

    let url = "https://localhost/devicelogin";
    assert!(w.kit.call("GET", url, &[], "").await.text().contains("name=\"user_code\""));
    assert_eq!(w.post(url, &[("user_code", "XXXX-XXXX")]).await.status, 400);
    let known = page(&w.post(url, &[("user_code", &user_code.to_lowercase().replace('-', ""))]).await);
    let fields = [("flow", known.flow.as_str()), ("username", "admin@contoso.example"), ("password", "wrong"), ("action", "sign-in")];
    assert_eq!(w.kit.call("POST", url, &[("cookie", &known.cookie)], form(&fields)).await.status, 400);
    let fields =
        [("flow", known.flow.as_str()), ("username", "admin@contoso.example"), ("password", ADMIN_PASSWORD), ("action", "sign-in")];
    assert_eq!(w.kit.call("POST", url, &[], form(&fields)).await.status, 400, "without the cookie");
    assert_eq!(w.kit.call("POST", url, &[("cookie", &known.cookie)], form(&fields)).await.status, 200);
    w.kit.clock.advance_seconds(5);
    let tokens = poll().await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    assert_eq!(claims(tokens.json()["access_token"].as_str().unwrap())["iss"], "https://localhost/adfs");
    assert!(tokens.json()["refresh_token"].is_string());
    assert_eq!(refusal(&poll().await).1, "invalid_grant");

    // refused, and expired
    for (action, wait, code) in [("cancel", 0, "authorization_declined"), ("", 16 * 60, "expired_token")] {
        let begun = w.post(&format!("{LOGIN}/common/oauth2/v2.0/devicecode"), &[("client_id", &az), ("scope", &scope)]).await.json();
        let known = page(&w.post(url, &[("user_code", begun["user_code"].as_str().unwrap())]).await);
        w.kit.clock.advance_seconds(wait);
        if wait == 0 {
            w.kit.call("POST", url, &[("cookie", &known.cookie)], form(&[("flow", &known.flow), ("action", action)])).await;
        }
        let answer = w
            .post(
                &format!("{LOGIN}/common/oauth2/v2.0/token"),
                &[("grant_type", "device_code"), ("client_id", &az), ("device_code", begun["device_code"].as_str().unwrap())],
            )
            .await;
        assert_eq!(refusal(&answer).1, code);
    }
}

/// What waits for a device's code is gone with the process: the program is told to start again, as for one that expired.
#[tokio::test]
async fn a_device_code_of_before_a_restart_has_expired() {
    let first = setup(42);
    let (kv, blobs) = (first.kv.clone(), first.blobs.clone());
    let mut w = world_on(first).await;
    let az = AZ_CLIENT.to_string();
    let begun = w.post("https://localhost/adfs/oauth2/devicecode", &[("client_id", &az), ("scope", "openid")]).await.json();
    w.kit.crash();
    w.kit = Kit::start(setup(43).on(kv, blobs)).await;
    let poll = async |client: &str, code: &str| {
        let fields = [("grant_type", "device_code"), ("client_id", client), ("device_code", code)];
        refusal(&w.post("https://localhost/adfs/oauth2/token/", &fields).await).1
    };
    let code = begun["device_code"].as_str().unwrap();
    assert_eq!(poll(&az, code).await, "expired_token");
    assert_eq!(poll(&az, &code[1..]).await, "invalid_grant");
    assert_ne!(poll(&w.contoso.client.to_string(), code).await, "expired_token");
}

#[tokio::test]
async fn a_registered_certificate_signs_in() {
    let w = world(11).await;
    let admin = w.admin_for("https://graph.microsoft.com/.default").await;
    let pem = include_bytes!("../../crypto/tests/samples/client.pem");
    let created = w
        .graph("POST", "/applications", &admin, json!({"displayName": "with certificate", "keyCredentials": [{"type": "AsymmetricX509Cert", "usage": "Verify", "key": BASE64_STANDARD.encode(pem)}]}))
        .await;
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(created.json()["keyCredentials"].as_array().unwrap().len(), 1);
    assert!(created.json()["keyCredentials"][0].get("key").is_none());
    let id = created.json()["id"].as_str().unwrap().to_owned();
    // a list without it takes it away; one with its id keeps it
    let key_id = created.json()["keyCredentials"][0]["keyId"].clone();
    assert_eq!(w.graph("PATCH", &format!("/applications/{id}"), &admin, json!({"keyCredentials": [{"keyId": key_id}]})).await.status, 204);
    assert_eq!(w.graph("PATCH", &format!("/applications/{id}"), &admin, json!({"keyCredentials": [{"keyId": "other"}]})).await.status, 400);
    assert_eq!(w.graph("PATCH", &format!("/applications/{id}"), &admin, json!({"keyCredentials": []})).await.status, 204);
    let shown = w.graph("GET", &format!("/applications/{id}"), &admin, Value::Null).await.json();
    assert_eq!(shown["keyCredentials"], json!([]));
    for bad in [json!([{"key": "???"}]), json!([{"key": BASE64_STANDARD.encode("no certificate")}]), json!("x")] {
        assert_eq!(w.graph("PATCH", &format!("/applications/{id}"), &admin, json!({ "keyCredentials": bad })).await.status, 400);
    }
}

#[tokio::test]
async fn an_assertion_is_judged_like_a_secret() {
    let w = world(19).await;
    // the certificate begins on the day that these tests do
    w.kit.clock.advance_seconds(86_400);
    let admin = w.admin_for("https://graph.microsoft.com/.default").await;
    let (certificate, key) = (include_bytes!("samples/robot.der"), include_bytes!("samples/robot-key.der"));
    let key = crypto::SigningKey::from_pkcs8(&SecretBytes::new(key.to_vec())).unwrap();
    let app = w
        .graph(
            "POST",
            "/applications",
            &admin,
            json!({"displayName": "robot", "keyCredentials": [{"key": BASE64_STANDARD.encode(certificate)}]}),
        )
        .await
        .json();
    let app_id = app["appId"].as_str().unwrap();
    assert_eq!(w.graph("POST", "/servicePrincipals", &admin, json!({"appId": app_id})).await.status, 201);
    let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(crypto::sha256(certificate));
    let endpoint = format!("{LOGIN}/adfs/oauth2/token/");
    let now_s = w.kit.now().seconds();
    let good = json!({"aud": endpoint, "iss": app_id, "sub": app_id, "nbf": now_s, "exp": now_s + 600, "jti": "1"});
    let send = |claims: Value, thumbprint: String| {
        let part = |v: Value| BASE64_URL_SAFE_NO_PAD.encode(v.to_string());
        let signed = format!("{}.{}", part(json!({"alg": "RS256", "typ": "JWT", "x5t#S256": thumbprint})), part(claims));
        let assertion = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap()));
        let (w, endpoint) = (&w, &endpoint);
        async move {
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            let scope = format!("{ARM}/.default");
            w.post(
                endpoint,
                &[
                    ("grant_type", "client_credentials"),
                    ("client_id", app_id),
                    ("client_assertion", &assertion),
                    ("client_assertion_type", kind),
                    ("scope", &scope),
                ],
            )
            .await
        }
    };
    let answer = send(good.clone(), thumbprint.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(claims(answer.json()["access_token"].as_str().unwrap())["appidacr"], "2");
    let unknown = send(good.clone(), BASE64_URL_SAFE_NO_PAD.encode([0; 32])).await;
    assert_eq!(refusal(&unknown), (401, "invalid_client".into(), 700027));
    for (name, value, number) in [
        ("aud", json!("https://elsewhere.example/token"), 50027),
        ("exp", json!(now_s), 700024),
        ("exp", json!(now_s + 90_000), 50027),
        ("nbf", json!(now_s + 900), 50027),
        ("sub", json!(w.contoso.client.to_string()), 700021),
        ("iss", json!("somebody"), 50027),
    ] {
        let mut bad = good.clone();
        bad[name] = value;
        assert_eq!(refusal(&send(bad, thumbprint.clone()).await), (401, "invalid_client".into(), number), "{name}");
    }
    // the certificate itself ends
    let end_s = crypto::ClientCertificate::from_der(certificate).unwrap().not_after().seconds();
    let fresh = |now_s: i64| json!({"aud": endpoint, "iss": app_id, "sub": app_id, "nbf": now_s, "exp": now_s + 600, "jti": "2"});
    w.kit.clock.advance_seconds(end_s - 1 - now_s);
    assert_eq!(send(fresh(end_s - 1), thumbprint.clone()).await.status, 200);
    w.kit.clock.advance_seconds(1);
    assert_eq!(refusal(&send(fresh(end_s), thumbprint.clone()).await), (401, "invalid_client".into(), 700024));
}

#[tokio::test]
async fn a_secret_ends_when_it_says() {
    let w = world(43).await;
    let admin = w.admin_for("https://graph.microsoft.com/.default").await;
    let app = w.graph("POST", "/applications", &admin, json!({"displayName": "robot"})).await.json();
    let (id, app_id) = (app["id"].as_str().unwrap(), app["appId"].as_str().unwrap());
    assert_eq!(w.graph("POST", "/servicePrincipals", &admin, json!({"appId": app_id})).await.status, 201);
    let ends = w.kit.now().plus_seconds(86_400).rfc3339();
    let asked = json!({"passwordCredential": {"endDateTime": ends}});
    let secret = w.graph("POST", &format!("/applications/{id}/addPassword"), &admin, asked).await.json();
    let secret = secret["secretText"].as_str().unwrap();
    let scope = format!("{ARM}/.default");
    let fields = [("grant_type", "client_credentials"), ("client_id", app_id), ("client_secret", secret), ("scope", &scope)];
    let url = format!("{LOGIN}/adfs/oauth2/token/");
    w.kit.clock.advance_seconds(86_399);
    assert_eq!(w.post(&url, &fields).await.status, 200);
    w.kit.clock.advance_seconds(1);
    assert_eq!(refusal(&w.post(&url, &fields).await), (401, "invalid_client".into(), 7000222));
}

#[tokio::test]
async fn az_makes_a_service_principal() {
    let w = world(12).await;
    let admin = w.admin_for("https://graph.bleu.localhost/.default").await;
    // az ad sp create-for-rbac, call by call
    let none = w.graph("GET", "/applications?$filter=startswith(displayName,'robot')", &admin, Value::Null).await;
    assert_eq!(none.json()["value"], json!([]));
    let app = w
        .graph(
            "POST",
            "/applications",
            &admin,
            json!({"displayName": "robot", "signInAudience": "AzureADMyOrg", "identifierUris": [], "web": {"redirectUris": []}}),
        )
        .await;
    assert_eq!(app.status, 201, "{}", app.text());
    let app = app.json();
    assert_eq!((&app["passwordCredentials"], &app["keyCredentials"]), (&json!([]), &json!([])));
    let (id, app_id) = (app["id"].as_str().unwrap(), app["appId"].as_str().unwrap());
    let principal = w.graph("POST", "/servicePrincipals", &admin, json!({"appId": app_id, "accountEnabled": true})).await;
    assert_eq!(principal.status, 201, "{}", principal.text());
    let again = w.graph("POST", "/servicePrincipals", &admin, json!({"appId": app_id})).await;
    assert_eq!((again.status, again.json()["error"]["code"].as_str()), (409, Some("Request_MultipleObjectsWithSameKeyValue")));
    let secret = w
        .graph(
            "POST",
            &format!("/applications/{id}/addPassword"),
            &admin,
            json!({"passwordCredential": {"displayName": "rbac", "endDateTime": "2027-11-24T00:00:00Z"}}),
        )
        .await;
    assert_eq!(secret.status, 200, "{}", secret.text());
    let (text, key_id) = (secret.json()["secretText"].as_str().unwrap().to_owned(), secret.json()["keyId"].as_str().unwrap().to_owned());
    let filter = wire::percent_encode(&format!("servicePrincipalNames/any(c:c eq '{app_id}')"), b"");
    let found = w.graph("GET", &format!("/servicePrincipals?$filter={filter}"), &admin, Value::Null).await.json();
    assert_eq!(found["value"][0]["id"], principal.json()["id"]);
    assert_eq!(found["value"][0]["@odata.type"], "#microsoft.graph.servicePrincipal");
    let token = |secret: String| {
        let (w, app_id) = (&w, app_id);
        async move {
            w.post(
                &format!("{LOGIN}/adfs/oauth2/token/"),
                &[
                    ("grant_type", "client_credentials"),
                    ("client_id", app_id),
                    ("client_secret", &secret),
                    ("scope", "https://graph.microsoft.com/.default"),
                ],
            )
            .await
        }
    };
    let signed_in = token(text.clone()).await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    let robot = signed_in.json()["access_token"].as_str().unwrap().to_owned();
    // it reads, it is no user, and it may not write
    assert_eq!(w.graph("GET", "/users", &robot, Value::Null).await.status, 200);
    let me = w.graph("GET", "/me", &robot, Value::Null).await;
    assert!(me.status == 400 && me.text().contains("only valid with delegated authentication flow"));
    let refused = w.graph("POST", "/groups", &robot, json!({"displayName": "g"})).await;
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (403, Some("Authorization_RequestDenied")));

    let shown = w.graph("GET", &format!("/applications/{id}"), &admin, Value::Null).await;
    assert!(!shown.text().contains(&text) && shown.json()["passwordCredentials"][0]["hint"] == text[..3]);
    assert_eq!(w.graph("POST", &format!("/applications/{id}/removePassword"), &admin, json!({"keyId": key_id})).await.status, 204);
    assert_eq!(refusal(&token(text.clone()).await), (401, "invalid_client".into(), 7000215));
    // a secret of the service principal is a secret of the client id too
    let object = principal.json()["id"].as_str().unwrap().to_owned();
    let other = w.graph("POST", &format!("/servicePrincipals/{object}/addPassword"), &admin, json!({})).await.json();
    assert_eq!(token(other["secretText"].as_str().unwrap().into()).await.status, 200);
    assert_eq!(
        w.graph("POST", &format!("/servicePrincipals/{object}/removePassword"), &admin, json!({"keyId": other["keyId"]})).await.status,
        204
    );
    assert_eq!(token(other["secretText"].as_str().unwrap().into()).await.status, 401);
    // disabled, then gone with its application
    assert_eq!(w.graph("PATCH", &format!("/servicePrincipals/{object}"), &admin, json!({"accountEnabled": false})).await.status, 204);
    assert_eq!(w.graph("GET", "/users", &robot, Value::Null).await.status, 401);
    assert_eq!(w.graph("DELETE", &format!("/applications/{id}"), &admin, Value::Null).await.status, 204);
    assert_eq!(w.graph("GET", &format!("/servicePrincipals/{object}"), &admin, Value::Null).await.status, 404);
    assert_eq!(refusal(&token(text).await), (400, "unauthorized_client".into(), 700016));
    w.kit.audit(Some(tenant(0xC0))).await;
}

#[tokio::test]
async fn people_and_groups_come_and_go() {
    let w = world(13).await;
    let admin = w.admin_for("https://graph.microsoft.com/.default").await;
    let anna = json!({"accountEnabled": true, "displayName": "Anna", "mailNickname": "anna", "userPrincipalName": "anna@contoso.example", "passwordProfile": {"password": "a long enough one", "forceChangePasswordNextSignIn": false}});
    let created = w.graph("POST", "/users", &admin, anna.clone()).await;
    assert_eq!(created.status, 201, "{}", created.text());
    assert!(!created.text().contains("long enough"));
    assert_eq!(w.graph("POST", "/users", &admin, anna.clone()).await.status, 400, "the name is taken");
    for (name, value) in [
        ("userPrincipalName", json!("anna@elsewhere.example")),
        ("userPrincipalName", json!("an na@contoso.example")),
        ("passwordProfile", json!({"password": "short"})),
        ("isGod", json!(true)),
    ] {
        let mut bad = anna.clone();
        bad["userPrincipalName"] = "berta@contoso.example".into();
        bad[name] = value;
        let refused = w.graph("POST", "/users", &admin, bad).await;
        assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (400, Some("Request_BadRequest")), "{name}");
    }
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let signed_in = w.user_token("anna@contoso.example", "a long enough one", "https://graph.microsoft.com/.default").await;
    let token = signed_in.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(w.graph("GET", "/me", &token, Value::Null).await.json()["displayName"], "Anna");
    assert_eq!(w.graph("DELETE", &format!("/users/{id}"), &token, Value::Null).await.status, 403);

    let filter = wire::percent_encode("userPrincipalName eq 'ANNA@contoso.example'", b"");
    let found = w.graph("GET", &format!("/users?$filter={filter}&$select=id"), &admin, Value::Null).await.json();
    assert_eq!((found["value"].as_array().unwrap().len(), &found["value"][0]["id"], found["value"][0].get("mail")), (1, &json!(id), None));
    assert_eq!(w.graph("GET", "/users?$filter=x", &admin, Value::Null).await.status, 400);
    let first = w.graph("GET", "/users?$top=1", &admin, Value::Null).await.json();
    let next = first["@odata.nextLink"].as_str().unwrap().strip_prefix(&format!("{GRAPH}/v1.0")).unwrap().to_owned();
    let second = w.graph("GET", &next, &admin, Value::Null).await.json();
    assert!(
        second["value"].as_array().unwrap().len() == 1
            && second.get("@odata.nextLink").is_none()
            && second["value"][0]["id"] != first["value"][0]["id"]
    );

    let group = w
        .graph(
            "POST",
            "/groups",
            &admin,
            json!({"displayName": "g", "mailNickname": "g", "mailEnabled": false, "securityEnabled": true, "groupTypes": []}),
        )
        .await;
    assert_eq!(group.status, 201, "{}", group.text());
    let group = group.json()["id"].as_str().unwrap().to_owned();
    let reference = json!({"@odata.id": format!("{GRAPH}/v1.0/directoryObjects/{id}")});
    assert_eq!(w.graph("POST", &format!("/groups/{group}/members/$ref"), &admin, reference.clone()).await.status, 204);
    assert_eq!(w.graph("POST", &format!("/groups/{group}/members/$ref"), &admin, reference).await.status, 400);
    assert_eq!(w.graph("GET", &format!("/groups/{group}/members"), &admin, Value::Null).await.json()["value"][0]["id"], json!(id));
    let in_group = |w: &World| w.kit.trust.facts(|f| f.identities(id.parse().unwrap()).len());
    assert_eq!(in_group(&w), 2);
    let check = w.graph("POST", &format!("/directoryObjects/{id}/checkMemberGroups"), &admin, json!({"groupIds": [group, id]})).await;
    assert_eq!(check.json()["value"], json!([group]));
    assert_eq!(
        w.graph("POST", "/users/anna@contoso.example/getMemberGroups", &admin, json!({"securityEnabledOnly": true})).await.json()["value"],
        json!([group])
    );
    let both = w
        .graph(
            "POST",
            "/directoryObjects/getByIds",
            &admin,
            json!({"ids": [group, id, "11111111-1111-1111-1111-111111111111"], "types": ["user", "group", "servicePrincipal"]}),
        )
        .await
        .json();
    assert_eq!(
        both["value"].as_array().unwrap().iter().map(|o| o["@odata.type"].as_str().unwrap()).collect::<Vec<_>>(),
        ["#microsoft.graph.group", "#microsoft.graph.user"]
    );

    // a new password, then no account at all
    assert_eq!(
        w.graph("PATCH", &format!("/users/{id}"), &admin, json!({"passwordProfile": {"password": "another long one"}})).await.status,
        204
    );
    assert_eq!(refusal(&w.user_token("anna@contoso.example", "a long enough one", "https://graph.microsoft.com/.default").await).2, 50126);
    assert_eq!(w.graph("PATCH", &format!("/users/{id}"), &admin, json!({"accountEnabled": false})).await.status, 204);
    assert_eq!(refusal(&w.user_token("anna@contoso.example", "another long one", "https://graph.microsoft.com/.default").await).2, 50057);
    assert_eq!(w.graph("DELETE", "/users/anna@contoso.example", &admin, Value::Null).await.status, 204);
    assert_eq!(w.graph("GET", &format!("/users/{id}"), &admin, Value::Null).await.status, 404);
    assert_eq!(in_group(&w), 1);
    assert_eq!(w.graph("POST", "/users", &admin, anna).await.status, 201, "the name is free again");
    assert_eq!(w.graph("DELETE", "/users/admin@contoso.example", &admin, Value::Null).await.status, 400);
    w.kit.audit(Some(tenant(0xC0))).await;
}

#[tokio::test]
async fn two_tenants_do_not_see_each_other() {
    let w = world(14).await;
    let fabrikam = seed(&w.kit.region("identity"), &new_tenant(0xFA, "fabrikam")).await.unwrap();
    let admin = w.admin_for("https://graph.microsoft.com/.default").await;
    let users = w.graph("GET", "/users", &admin, Value::Null).await;
    assert!(users.text().contains("admin@contoso.example") && !users.text().contains("fabrikam"));
    for path in [
        format!("/users/{}", fabrikam.admin),
        "/users/admin@fabrikam.example".into(),
        format!("/servicePrincipals/{}", fabrikam.client_object),
        format!("/directoryObjects/{}", fabrikam.admin),
    ] {
        assert_eq!(w.graph("GET", &path, &admin, Value::Null).await.status, 404, "{path}");
    }
    assert_eq!(w.graph("DELETE", &format!("/users/{}", fabrikam.admin), &admin, Value::Null).await.status, 404);
    let both = w.graph("POST", "/directoryObjects/getByIds", &admin, json!({"ids": [fabrikam.admin.to_string()]})).await;
    assert_eq!(both.json()["value"], json!([]));
    // a client of one at the address of the other
    let id = fabrikam.client.to_string();
    let answer = w
        .post(
            &format!("{LOGIN}/contoso.example/oauth2/v2.0/token"),
            &[
                ("grant_type", "client_credentials"),
                ("client_id", &id),
                ("client_secret", CLIENT_SECRET),
                ("scope", "https://graph.microsoft.com/.default"),
            ],
        )
        .await;
    assert_eq!(refusal(&answer), (400, "unauthorized_client".into(), 700016));
    let az = AZ_CLIENT.to_string();
    let answer = w
        .post(
            &format!("{LOGIN}/contoso.example/oauth2/v2.0/token"),
            &[("grant_type", "password"), ("client_id", &az), ("username", "admin@fabrikam.example"), ("password", ADMIN_PASSWORD)],
        )
        .await;
    assert_eq!(refusal(&answer), (400, "invalid_grant".into(), 50126));
    w.kit.audit(Some(tenant(0xFA))).await;
    w.kit.audit(Some(tenant(0xC0))).await;
}

#[tokio::test]
async fn an_application_of_one_tenant_gets_no_token_for_a_user_of_another() {
    let w = world(17).await;
    seed(&w.kit.region("identity"), &new_tenant(0xFA, "fabrikam")).await.unwrap();
    let admin = w.admin_for("https://graph.microsoft.com/.default").await;
    let app = w
        .graph(
            "POST",
            "/applications",
            &admin,
            json!({"displayName": "trap", "isFallbackPublicClient": true, "publicClient": {"redirectUris": ["http://localhost"]}}),
        )
        .await
        .json();
    let app_id = app["appId"].as_str().unwrap();
    assert_eq!(w.graph("POST", "/servicePrincipals", &admin, json!({"appId": app_id})).await.status, 201);
    let sign_in = |name: &'static str| {
        let w = &w;
        async move {
            w.post(
                &format!("{LOGIN}/common/oauth2/v2.0/token"),
                &[
                    ("grant_type", "password"),
                    ("client_id", app_id),
                    ("username", name),
                    ("password", ADMIN_PASSWORD),
                    ("scope", "https://graph.microsoft.com/.default"),
                ],
            )
            .await
        }
    };
    assert_eq!(sign_in("admin@contoso.example").await.status, 200);
    assert_eq!(refusal(&sign_in("admin@fabrikam.example").await), (400, "unauthorized_client".into(), 700016));
    for bad in ["javascript://x", "http://evil.example/cb"] {
        let body = json!({"publicClient": {"redirectUris": [bad]}});
        assert_eq!(w.graph("PATCH", &format!("/applications/{}", app["id"].as_str().unwrap()), &admin, body).await.status, 400);
    }
}

#[tokio::test]
async fn a_flood_of_refusals_does_not_fill_the_record() {
    let w = world(18).await;
    let id = w.contoso.client.to_string();
    let mut recorded = 0;
    for _ in 0..30 {
        let refused = w.post(&format!("{LOGIN}/adfs/oauth2/token"), &[("grant_type", "client_credentials"), ("client_id", &id)]).await;
        assert_eq!(refusal(&refused), (401, "invalid_client".into(), 7000218));
        recorded += usize::from(!refused.header("x-bleu-entry").is_empty());
    }
    assert_eq!(recorded, 20);
    w.kit.audit(Some(tenant(0xC0))).await;
}

#[tokio::test]
async fn a_tenant_is_made_once() {
    let w = world(15).await;
    let near = w.kit.region("identity");
    let again = seed(&near, &new_tenant(0xC0, "contoso")).await.unwrap();
    assert!(again.admin_password.is_none() && again.client_secret.is_none());
    assert_eq!((again.admin, again.client, again.client_object), (w.contoso.admin, w.contoso.client, w.contoso.client_object));
    // whatever its administrator did since, the region can start again
    let admin = w.admin_for("https://graph.microsoft.com/.default").await;
    assert_eq!(w.graph("POST", "/applications", &admin, json!({"displayName": "first client"})).await.status, 201);
    assert_eq!(w.graph("DELETE", &format!("/servicePrincipals/{}", w.contoso.client_object), &admin, Value::Null).await.status, 204);
    let again = seed(&near, &new_tenant(0xC0, "contoso")).await.unwrap();
    assert_eq!((again.client, again.client_object), (w.contoso.client, w.contoso.client_object));
    assert_eq!(seed(&near, &new_tenant(0xDD, "contoso")).await.unwrap_err().code, "DomainTaken");
    let weak = Seed { admin_password: Some(SecretBytes::from("short".to_owned())), ..new_tenant(0xDD, "other") };
    assert_eq!(seed(&near, &weak).await.unwrap_err().target.as_deref(), Some("password"));
    let random = Seed { admin_password: None, client_secret: None, ..new_tenant(0xDD, "other") };
    let made = seed(&near, &random).await.unwrap();
    let password = String::from_utf8(made.admin_password.unwrap().expose().to_vec()).unwrap();
    assert_eq!(w.user_token("admin@other.example", &password, "https://graph.microsoft.com/.default").await.status, 200);
}

#[tokio::test]
async fn a_stranger_is_refused_at_every_row_of_the_directory() {
    let w = world(16).await;
    let mut asked = 0;
    for (namespace, row) in w.kit.gateway.operations().filter(|(n, _)| *n == "microsoft.directory") {
        let path = row
            .path
            .replace("{id}", "11111111-1111-1111-1111-111111111111")
            .replace("{call+}", "x/y")
            .replace("{member}", "11111111-1111-1111-1111-111111111111")
            .replace("{cast}", "microsoft.graph.user");
        let answer = w.kit.call(row.method.as_str(), &format!("{GRAPH}{path}"), &[], "").await;
        assert_eq!(answer.status, 401, "{namespace} {row:?}");
        assert!(answer.json()["error"]["code"].is_string());
        asked += 1;
    }
    assert!(asked > 20);
}
