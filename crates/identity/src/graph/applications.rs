//! Writing applications and their service principals.
//!
//! An application is who a program is; its service principal is that program in a tenant, the one that gets roles. Secrets
//! and certificates are kept by `trust` under the client id; what may be shown of them (id, dates, first characters)
//! stands in the application's own properties, changed in the same commit.

use super::answer::{self, Asked, Change, entity, with_context};
use super::body::{json as read_json, need, properties};
use super::deleted::set_aside;
use super::users::{fact_of, forget_principal, tenant_of};
use super::{bad_request, not_found, objects};
use crate::directory::*;
use crate::seed::password_credential;
use base::{AppId, Error, Kind, ObjectId, Result, Timestamp};
use base64::prelude::*;
use crypto::{ClientCertificate, SecretBytes};
use http::StatusCode;
use serde_json::{Map, Value, json};
use service::{Body, Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Batch, Credential, Fact, Found, Permit, PrincipalKind, Write};

const APPLICATION: ObjectKind = ObjectKind::Application;
const PRINCIPAL: ObjectKind = ObjectKind::ServicePrincipal;
/// Secrets of an application, and certificates of one: checking tries each.
const CREDENTIALS_MAX: usize = 20;
/// A secret lives so long when its maker says nothing; never more than twenty years.
const SECRET_S: i64 = 2 * 365 * 86_400;
const SECRET_MAX_S: i64 = 20 * 365 * 86_400;

/// `POST /applications`.
pub(super) async fn create(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = new_application(&asked, body, &near).await;
    answer::write(permit, change).await
}

async fn new_application(call: &Asked, body: Body, near: &Neighbours) -> Result<Change> {
    let mut sent = properties(APPLICATION, body).await?;
    let display_name = need(&sent, "displayName")?.to_owned();
    check_addresses(&sent)?;
    let (app, id, now) = (AppId::random(&*near.chance), ObjectId::random(&*near.chance), near.clock.now());
    refuse_passwords(sent.remove("passwordCredentials"))?;
    let certificates = sent.remove("keyCredentials");
    let mut all = application_properties(app, &display_name, &[]);
    all.insert("isFallbackPublicClient".into(), json!(false));
    all.extend(sent);
    let mut batch = Batch::new();
    if let Some(certificates) = certificates {
        batch = replace_certificates(near, batch, app, &mut all, &certificates)?;
    }
    let application = Object::new(id, now, &all);
    let batch = batch.absent(APPLICATIONS, application.name()).put(APPLICATIONS, application.name(), &application).put(
        APPLICATION_BY_CLIENT_ID,
        app.to_string(),
        &ClientIndex { application: id },
    );
    Ok(Change { batch, status: StatusCode::CREATED, body: Some(entity(&call.head, APPLICATION, application.show(APPLICATION)?)) })
}

/// Secrets are made by us (`addPassword`): one that a client chose is refused.
fn refuse_passwords(sent: Option<Value>) -> Result<()> {
    match sent {
        Some(Value::Array(all)) if all.is_empty() => Ok(()),
        None => Ok(()),
        Some(_) => Err(bad_request("Secrets are made with addPassword.").at("passwordCredentials")),
    }
}

/// Addresses that codes may be sent to: `https`, loopback `http`, or (public clients) a scheme of the program's own; no
/// fragment (RFC 6749 section 3.1.2), nothing that a browser would run. Error `Request_BadRequest`, target `redirectUris`.
fn check_addresses(sent: &Map<String, Value>) -> Result<()> {
    for platform in ["web", "spa", "publicClient"] {
        let uris = sent.get(platform).and_then(|p| p.get("redirectUris"));
        let Some(uris) = uris.filter(|u| !u.is_null()) else { continue };
        let all = uris
            .as_array()
            .filter(|all| all.len() <= 256)
            .ok_or_else(|| bad_request("A list of at most 256 addresses is needed.").at("redirectUris"))?;
        for uri in all {
            if !uri.as_str().is_some_and(|uri| is_address(uri, platform == "publicClient")) {
                return Err(bad_request(format!(
                    "'{}' is not an address that codes may be sent to.",
                    uri.as_str().unwrap_or("?").escape_debug()
                ))
                .at("redirectUris"));
            }
        }
    }
    Ok(())
}

fn is_address(uri: &str, public: bool) -> bool {
    let Some((scheme, rest)) = uri.split_once("://") else { return false };
    let printable = uri.len() <= 1024 && uri.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>\\#`{}|^".contains(&b));
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let host_name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let own_scheme = |s: &str| {
        let refused = ["javascript", "data", "vbscript", "file", "blob", "about", "http", "https", "ftp", "ws", "wss"];
        s.len() >= 3 && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b)) && !refused.contains(&s)
    };
    printable
        && !host.contains('@')
        && match scheme {
            "https" => !host_name.is_empty(),
            "http" => matches!(host_name, "localhost" | "127.0.0.1" | "[::1]"),
            other => public && own_scheme(other),
        }
}

/// The list `keyCredentials` as sent replaces the one before: entries with a `key` are new certificates, entries with
/// only a known `keyId` stay, the others go.
fn replace_certificates(near: &Neighbours, mut batch: Batch, app: AppId, all: &mut Map<String, Value>, sent: &Value) -> Result<Batch> {
    let wrong = |why: &str| bad_request(format!("Key credential is invalid: {why}.")).at("keyCredentials");
    let sent = sent.as_array().filter(|s| s.len() <= CREDENTIALS_MAX).ok_or_else(|| wrong("a list of at most 20 is needed"))?;
    let before = all.get("keyCredentials").and_then(Value::as_array).cloned().unwrap_or_default();
    let holder = holder_of(app).to_string();
    let now = near.clock.now();
    let id_of = |entry: &Value| entry.get("keyId").and_then(Value::as_str).map(str::to_lowercase);
    let mut kept: Vec<Value> = Vec::new();
    for entry in sent {
        let Some(key) = entry.get("key").and_then(Value::as_str) else {
            let known = before.iter().find(|b| id_of(b).is_some() && id_of(b) == id_of(entry));
            kept.push(known.cloned().ok_or_else(|| wrong("it has no 'key'"))?);
            continue;
        };
        // PEM bodies come with their line ends
        let key: String = key.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = BASE64_STANDARD.decode(key).map_err(|_| wrong("'key' is not base64"))?;
        // some clients send the PEM text, in base64 once more
        let certificate =
            ClientCertificate::from_der(&der).or_else(|_| ClientCertificate::from_pem(&der)).map_err(|why| wrong(&why.to_string()))?;
        let key_id = ObjectId::random(&*near.chance).to_string();
        let thumbprint: String = certificate.sha1_thumbprint().iter().map(|b| format!("{b:02X}")).collect();
        kept.push(json!({
            "keyId": key_id,
            "type": "AsymmetricX509Cert",
            "usage": "Verify",
            "displayName": entry.get("displayName").and_then(Value::as_str).unwrap_or(certificate.subject()),
            "customKeyIdentifier": thumbprint,
            "startDateTime": certificate.not_before().rfc3339(),
            "endDateTime": certificate.not_after().rfc3339(),
        }));
        batch = batch.set_credential(&holder, &key_id, Credential::certificate(certificate.der().to_vec(), now, certificate.not_after()));
    }
    for gone in before.iter().filter_map(id_of).filter(|id| !kept.iter().any(|k| id_of(k).as_ref() == Some(id))) {
        batch = batch.delete_credential(&holder, &gone);
    }
    all.insert("keyCredentials".into(), kept.into());
    Ok(batch)
}

/// `PATCH /applications/{id}`.
pub(super) async fn update(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = changed_application(&asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn changed_application(call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let mut sent = properties(APPLICATION, body).await?;
    let mut found = objects::find(APPLICATION, call.head.params.get("id"), permit, near).await?;
    let mut all = found.value.properties()?;
    let app = client_id(&all)?;
    refuse_reserved(app)?;
    check_addresses(&sent)?;
    refuse_passwords(sent.remove("passwordCredentials"))?;
    let certificates = sent.remove("keyCredentials");
    for (name, value) in sent {
        // `web: {redirectUris}` leaves the other parts of `web` as they are
        match (all.get_mut(&name), value) {
            (Some(Value::Object(before)), Value::Object(new)) => before.extend(new),
            (_, value) => drop(all.insert(name, value)),
        }
    }
    let mut batch = Batch::new();
    if let Some(certificates) = certificates {
        batch = replace_certificates(near, batch, app, &mut all, &certificates)?;
    }
    found.value.set(&all);
    batch = mirror(batch, app, &all, permit, near).await?;
    Ok(Change::none(put_object(APPLICATION, batch, &found)))
}

/// What a service principal says because its application does: roles, permissions, names.
async fn mirror(mut batch: Batch, app: AppId, all: &Map<String, Value>, permit: &Permit<Write>, near: &Neighbours) -> Result<Batch> {
    let tenant = tenant_of(permit)?;
    let principals: Vec<ObjectId> =
        near.facts(|f| f.service_principals(app).iter().filter(|p| p.tenant == tenant).map(|p| p.object).collect());
    let mut said = service_principal_properties(tenant, all);
    said.retain(|name, _| ["appDisplayName", "appRoles", "oauth2PermissionScopes", "servicePrincipalNames"].contains(&name.as_str()));
    for principal in principals {
        let Some(mut found) = permit.data().get::<Object>(SERVICE_PRINCIPALS, row_name(principal)).await? else { continue };
        let mut properties = found.value.properties()?;
        properties.extend(said.clone());
        found.value.set(&properties);
        batch = put_object(PRINCIPAL, batch, &found);
    }
    Ok(batch)
}

fn put_object(kind: ObjectKind, batch: Batch, found: &Found<Object>) -> Batch {
    batch.is(kind.table(), found.value.name(), found.version).put(kind.table(), found.value.name(), &found.value)
}

/// Removes every secret and certificate that an object lists.
pub(super) fn forget_credentials(batch: Batch, app: AppId, properties: &Map<String, Value>) -> Batch {
    let lists = ["passwordCredentials", "keyCredentials"].into_iter().filter_map(|list| properties.get(list)?.as_array());
    let ids = lists.flatten().filter_map(|c| c.get("keyId")?.as_str());
    ids.fold(batch, |batch, id| batch.delete_credential(&holder_of(app).to_string(), id))
}

fn client_id(properties: &Map<String, Value>) -> Result<AppId> {
    properties
        .get("appId")
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| Error::internal("an application without a client id"))
}

/// The Azure command's client is the region's: with other addresses or a secret it would be somebody else's.
fn refuse_reserved(app: AppId) -> Result<()> {
    if app == AZ_CLIENT {
        return Err(Error::new(Kind::Forbidden, "Authorization_RequestDenied", "This application belongs to the region."));
    }
    Ok(())
}

/// `DELETE /applications/{id}`: with its service principal; both may come back.
pub(super) async fn delete(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = gone_application(&asked, &permit, &near).await;
    answer::write(permit, change).await
}

async fn gone_application(call: &Asked, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let found = objects::find(APPLICATION, call.head.params.get("id"), permit, near).await?;
    let (all, tenant) = (found.value.properties()?, tenant_of(permit)?);
    let app = client_id(&all)?;
    refuse_reserved(app)?;
    let name = found.value.name();
    let mut batch =
        Batch::new().is(APPLICATIONS, &name, found.version).delete(APPLICATIONS, &name).delete(APPLICATION_BY_CLIENT_ID, app.to_string());
    // secrets wait with it: without the index nobody signs in by this client id
    batch = set_aside(batch, APPLICATION, &found.value, tenant, near);
    let principals: Vec<ObjectId> =
        near.facts(|f| f.service_principals(app).iter().filter(|p| p.tenant == tenant).map(|p| p.object).collect());
    for principal in principals {
        if let Some(object) = permit.data().get::<Object>(SERVICE_PRINCIPALS, row_name(principal)).await? {
            batch = batch.is(SERVICE_PRINCIPALS, row_name(principal), object.version);
            batch = set_aside(batch, PRINCIPAL, &object.value, tenant, near);
        }
        batch = forget_principal(near, batch.delete(SERVICE_PRINCIPALS, row_name(principal)), tenant, principal);
    }
    Ok(Change::none(batch))
}

/// `POST /applications/{id}/addPassword`, and the same of a service principal: the only answer that shows the secret.
/// Either way it is a secret of the client id.
pub(super) async fn add_password(kind: ObjectKind, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = new_password(kind, &asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn new_password(kind: ObjectKind, call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let sent = read_json(body).await?;
    let asked = sent.get("passwordCredential").cloned().unwrap_or_default();
    let mut found = objects::find(kind, call.head.params.get("id"), permit, near).await?;
    let mut all = found.value.properties()?;
    let app = client_id(&all)?;
    refuse_reserved(app)?;
    let mut list = all.get("passwordCredentials").and_then(Value::as_array).cloned().unwrap_or_default();
    if list.len() >= CREDENTIALS_MAX {
        return Err(
            bad_request(format!("An application has at most {CREDENTIALS_MAX} secrets. Remove one first.")).at("passwordCredential")
        );
    }
    let now = near.clock.now();
    let ends = secret_end(&asked, now)?;
    let display_name: String =
        asked.get("displayName").and_then(Value::as_str).unwrap_or_default().chars().filter(|c| !c.is_control()).take(120).collect();
    let secret = crypto::random_secret_text(&*near.chance, 30);
    let credential = password_credential(near, SecretBytes::from(secret.clone()), Some(ends), 3).await?;
    let key_id = ObjectId::random(&*near.chance).to_string();
    let entry = json!({
        "keyId": key_id,
        "displayName": if display_name.is_empty() { Value::Null } else { display_name.into() },
        "startDateTime": now.rfc3339(),
        "endDateTime": ends.rfc3339(),
        "hint": &secret[..3],
        "customKeyIdentifier": null,
    });
    list.push(entry.clone());
    all.insert("passwordCredentials".into(), list.into());
    found.value.set(&all);
    let batch = put_object(kind, Batch::new(), &found).set_credential(&holder_of(app).to_string(), &key_id, credential);
    let mut shown = into_map(entry);
    shown.insert("secretText".into(), secret.into());
    let body = with_context(format!("{}/$metadata#microsoft.graph.passwordCredential", answer::home(&call.head)), Value::Object(shown));
    Ok(Change { batch, status: StatusCode::OK, body: Some(body) })
}

/// When a new secret ends. Error `Request_BadRequest`: no date, in the past, or more than twenty years away.
fn secret_end(asked: &Value, now: Timestamp) -> Result<Timestamp> {
    let Some(text) = asked.get("endDateTime").and_then(Value::as_str) else { return Ok(now.plus_seconds(SECRET_S)) };
    let end = Timestamp::parse_rfc3339(text).filter(|end| *end > now && *end <= now.plus_seconds(SECRET_MAX_S));
    end.ok_or_else(|| bad_request("The end date of the secret is not a date within the next twenty years.").at("endDateTime"))
}

/// `POST /applications/{id}/removePassword` with `{"keyId": …}`, and the same of a service principal.
pub(super) async fn remove_password(kind: ObjectKind, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = gone_password(kind, &asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn gone_password(kind: ObjectKind, call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let sent = read_json(body).await?;
    let key_id = need(&sent, "keyId")?.to_lowercase();
    let mut found = objects::find(kind, call.head.params.get("id"), permit, near).await?;
    let mut all = found.value.properties()?;
    let app = client_id(&all)?;
    let mut list = all.get("passwordCredentials").and_then(Value::as_array).cloned().unwrap_or_default();
    let before = list.len();
    list.retain(|c| c.get("keyId").and_then(Value::as_str) != Some(&key_id));
    if list.len() == before {
        return Err(bad_request("No password credential found with keyId.").at("keyId"));
    }
    all.insert("passwordCredentials".into(), list.into());
    found.value.set(&all);
    Ok(Change::none(put_object(kind, Batch::new(), &found).delete_credential(&holder_of(app).to_string(), &key_id)))
}

/// `POST /servicePrincipals` with `{"appId": …}`.
pub(super) async fn create_principal(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = new_principal(&asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn new_principal(call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let mut sent = properties(PRINCIPAL, body).await?;
    let text = need(&sent, "appId")?.to_owned();
    let missing = || {
        Error::invalid(
            "Request_BadRequest",
            format!("The appId '{}' of the service principal does not reference a valid application object.", text.escape_debug()),
        )
        .at("appId")
    };
    let app: AppId = text.parse().map_err(|_| missing())?;
    let tenant = tenant_of(permit)?;
    let index = permit.data().get::<ClientIndex>(APPLICATION_BY_CLIENT_ID, app.to_string()).await?.ok_or_else(missing)?.value;
    let application = permit.data().get::<Object>(APPLICATIONS, row_name(index.application)).await?.ok_or_else(missing)?;
    if near.facts(|f| f.service_principals(app).iter().any(|p| p.tenant == tenant)) {
        return Err(Error::new(
            Kind::Conflict,
            "Request_MultipleObjectsWithSameKeyValue",
            format!("The service principal cannot be created because one for the appId '{app}' already exists."),
        ));
    }
    sent.remove("appId");
    refuse_passwords(sent.remove("passwordCredentials"))?;
    if sent.remove("keyCredentials").is_some_and(|k| k.as_array().is_none_or(|k| !k.is_empty())) {
        return Err(bad_request("Certificates are added to a service principal that exists.").at("keyCredentials"));
    }
    let mut all = service_principal_properties(tenant, &application.value.properties()?);
    all.extend(sent);
    let display_name = all.get("displayName").and_then(Value::as_str).unwrap_or_default().to_owned();
    let (now, id) = (near.clock.now(), ObjectId::random(&*near.chance));
    let principal = Object::new(id, now, &all);
    let mut fact = service_principal_fact(tenant, id, app, &display_name, PrincipalKind::ServicePrincipal, now);
    if let Fact::Principal(p) = &mut fact {
        p.enabled = all.get("accountEnabled").and_then(Value::as_bool).unwrap_or(true);
    }
    let batch = Batch::new()
        // two at once: the second sees that the application was touched
        .is(APPLICATIONS, application.value.name(), application.version)
        .put(APPLICATIONS, application.value.name(), &application.value)
        .put(SERVICE_PRINCIPALS, principal.name(), &principal)
        .put_fact(fact);
    Ok(Change { batch, status: StatusCode::CREATED, body: Some(entity(&call.head, PRINCIPAL, principal.show(PRINCIPAL)?)) })
}

/// `PATCH /servicePrincipals/{id}`.
pub(super) async fn update_principal(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = changed_principal(&asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn changed_principal(call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let mut sent = properties(PRINCIPAL, body).await?;
    if sent.contains_key("appId") {
        return Err(bad_request("Property 'appId' is read-only and cannot be set.").at("appId"));
    }
    let mut found = objects::find(PRINCIPAL, call.head.params.get("id"), permit, near).await?;
    let mut fact = fact_of(near, found.value.id)?;
    if let Some(enabled) = sent.get("accountEnabled").and_then(Value::as_bool) {
        if !enabled {
            fact.tokens_valid_from = near.clock.now();
        }
        fact.enabled = enabled;
    }
    if let Some(name) = sent.get("displayName").and_then(Value::as_str) {
        fact.display_name = name.to_owned();
    }
    refuse_passwords(sent.remove("passwordCredentials"))?;
    let certificates = sent.remove("keyCredentials");
    let mut all = found.value.properties()?;
    all.extend(sent);
    let mut batch = Batch::new();
    if let Some(certificates) = certificates {
        let app = client_id(&all)?;
        refuse_reserved(app)?;
        batch = replace_certificates(near, batch, app, &mut all, &certificates)?;
    }
    found.value.set(&all);
    Ok(Change::none(put_object(PRINCIPAL, batch, &found).put_fact(Fact::Principal(fact))))
}

/// `DELETE /servicePrincipals/{id}`: the application stays.
pub(super) async fn delete_principal(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = gone_principal(&asked, &permit, &near).await;
    answer::write(permit, change).await
}

async fn gone_principal(call: &Asked, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let id = call.head.params.get("id");
    let found = objects::find(PRINCIPAL, id, permit, near).await?;
    if call.caller.principal().is_some_and(|me| me.object == found.value.id) {
        return Err(bad_request("You cannot delete the service principal that you are signed in with."));
    }
    let app = fact_of(near, found.value.id)?.app.ok_or_else(|| not_found(id))?;
    refuse_reserved(app)?;
    let name = found.value.name();
    let batch = Batch::new().is(SERVICE_PRINCIPALS, &name, found.version).delete(SERVICE_PRINCIPALS, &name);
    let tenant = tenant_of(permit)?;
    let batch = set_aside(batch, PRINCIPAL, &found.value, tenant, near);
    Ok(Change::none(forget_principal(near, batch, tenant, found.value.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_only_to_addresses_that_cannot_run() {
        for (uri, public) in [
            ("https://app.example/cb?x=1", false),
            ("http://localhost:5000/cb", false),
            ("http://127.0.0.1", false),
            ("msal1234://auth", true),
            ("com.example.app://cb", true),
        ] {
            assert!(is_address(uri, public), "{uri}");
        }
        for (uri, public) in [
            ("http://app.example/cb", false),
            ("javascript://x/%0aalert(1)", true),
            ("data://x", true),
            ("https://a.example/#f", false),
            ("https://a.example/\"x", false),
            ("https://", false),
            ("msal1234://auth", false),
            ("https://user@evil.example/", false),
            ("http://localhost@evil.example/", false),
            ("HTTPS://a.example", true),
            ("https://a b", false),
            ("", false),
        ] {
            assert!(!is_address(uri, public), "{uri}");
        }
    }

    #[test]
    fn secrets_end() {
        let now = Timestamp::from_seconds(1_795_508_032);
        assert_eq!(secret_end(&json!({}), now).unwrap(), now.plus_seconds(SECRET_S));
        assert!(secret_end(&json!({"endDateTime": "2027-11-24T00:00:00Z"}), now).is_ok());
        for bad in ["2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "tomorrow"] {
            assert!(secret_end(&json!({ "endDateTime": bad }), now).is_err(), "{bad}");
        }
    }
}
