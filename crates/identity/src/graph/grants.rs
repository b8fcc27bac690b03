//! What applications were given: app roles (assignments of a role that an application defines), delegated permissions
//! (consent), and federated credentials (whose tokens stand for the application).
//!
//! They are rows beside the objects, each an object of its own. The token service does not read them yet: a consent shows
//! who agreed to what, and a federated credential gives no token.

use super::answer::{self, Asked, Change, home, with_context};
use super::body::{json as read_json, need};
use super::query::{Options, Page, listing};
use super::users::tenant_of;
use super::{bad_request, not_found, objects};
use crate::directory::*;
use base::{Error, Kind, ObjectId, Result};
use http::StatusCode;
use serde_json::{Map, Value, json};
use service::{Body, Call, Head, Neighbours, Reply};
use trust::{Access, Batch, Found, Permit, PrincipalKind, Read, Span, Table, Write};

const SCAN: usize = 500;
/// Of one application (Graph's own bound).
const FEDERATED_MAX: usize = 20;
const TEXT_BYTES_MAX: usize = 600;
/// The role of an application that defines none.
const DEFAULT_ROLE: &str = "00000000-0000-0000-0000-000000000000";

/// Which end of an app role assignment the path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Who has the role: `of/{principal}/{id}`.
    Principal,
    /// The service principal whose role it is: `to/{resource}/{id}`.
    Resource,
}

impl End {
    fn prefix(self, object: ObjectId) -> String {
        match self {
            End::Principal => format!("of/{object}/"),
            End::Resource => format!("to/{object}/"),
        }
    }
    fn property(self) -> &'static str {
        match self {
            End::Principal => "principalId",
            End::Resource => "resourceId",
        }
    }
}

/// Id first, then the properties.
fn show(of: &Object) -> Result<Value> {
    let mut shown = Map::from_iter([("id".to_owned(), of.id.to_string().into())]);
    shown.extend(of.properties()?);
    Ok(Value::Object(shown))
}

fn shown_entity(head: &Head, context: &str, of: &Object) -> Result<Value> {
    Ok(with_context(format!("{}/$metadata#{context}/$entity", home(head)), show(of)?))
}

async fn rows<A: Access>(table: Table, prefix: &str, permit: &Permit<A>) -> Result<Vec<Found<Object>>> {
    let (mut found, mut span) = (Vec::new(), Span::prefix(prefix));
    loop {
        let page = permit.data().scan::<Object>(table, span, SCAN).await?;
        found.extend(page.rows.into_iter().map(|(_, row)| row));
        match page.next {
            Some(from) => span = Span::prefix(prefix).from(from),
            None => return Ok(found),
        }
    }
}

/// A list of what stands under `prefix`, as asked for.
async fn listed(
    head: &Head,
    context: &str,
    table: Table,
    prefix: &str,
    permit: &Permit<Read>,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let options = Options::read(head, None)?;
    let mut page = Page::of(&options);
    for row in rows(table, prefix, permit).await? {
        let shown = show(&row.value)?;
        if wanted(&shown) {
            page.offer(shown);
        }
    }
    let count = options.count.then(|| page.total());
    let (found, next) = page.finish();
    Ok(listing(head, context, count, next, found.into_iter().map(|o| options.select(o)).collect()))
}

/// For `$expand`: what stands beside an object, if the name is one of these.
pub(super) async fn expanded(name: &str, id: ObjectId, permit: &Permit<Read>) -> Result<Option<Vec<Value>>> {
    let found = match name {
        "appRoleAssignments" => rows(APP_ROLES, &End::Principal.prefix(id), permit).await?,
        "appRoleAssignedTo" => rows(APP_ROLES, &End::Resource.prefix(id), permit).await?,
        _ => return Ok(None),
    };
    found.iter().take(20).map(|row| show(&row.value)).collect::<Result<_>>().map(Some)
}

/// Only texts, all known by name. Error `Request_BadRequest`.
fn texts(sent: &Map<String, Value>, known: &[&str]) -> Result<()> {
    for (name, value) in sent.iter().filter(|(name, _)| !name.starts_with("@odata.")) {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        if !known.contains(&name.as_str()) {
            return Err(bad_request(format!("Property '{shown}' does not exist here.")).at(shown));
        }
        let is_text = |v: &Value| v.as_str().is_some_and(|t| t.len() <= TEXT_BYTES_MAX && !t.chars().any(char::is_control));
        if !(value.is_null() || is_text(value)) {
            return Err(bad_request(format!("Invalid value specified for property '{shown}'.")).at(shown));
        }
    }
    Ok(())
}

fn need_id(sent: &Map<String, Value>, name: &'static str) -> Result<ObjectId> {
    need(sent, name)?.parse().map_err(|_| bad_request(format!("Invalid value specified for property '{name}'.")).at(name))
}

/// A principal of the permit's tenant: its name and kind.
fn principal_of(id: ObjectId, permit: &Permit<Write>, near: &Neighbours) -> Result<(String, PrincipalKind)> {
    let tenant = tenant_of(permit)?;
    let found = near.facts(|f| f.principal(id).filter(|p| p.tenant == tenant).map(|p| (p.display_name.clone(), p.kind)));
    found.ok_or_else(|| not_found(&id.to_string()))
}

fn is_program(kind: PrincipalKind) -> bool {
    matches!(kind, PrincipalKind::ServicePrincipal | PrincipalKind::ManagedIdentity)
}

/// `GET /users/{id}/appRoleAssignments`, `GET /servicePrincipals/{id}/appRoleAssignedTo` and their kin.
pub(super) async fn list_app_roles(kind: ObjectKind, end: End, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let shown = async {
        let of = objects::find(kind, asked.head.params.get("id"), &permit, &near).await?.value.id;
        listed(&asked.head, "appRoleAssignments", APP_ROLES, &end.prefix(of), &permit, |_| true).await
    };
    let shown = shown.await;
    answer::read(permit, shown).await
}

/// `POST` of the same: `{"principalId", "resourceId", "appRoleId"}`.
pub(super) async fn add_app_role(kind: ObjectKind, end: End, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = new_app_role(kind, end, &asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn new_app_role(kind: ObjectKind, end: End, call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let sent = read_json(body).await?;
    texts(&sent, &["appRoleId", "principalId", "resourceId"])?;
    let at = objects::find(kind, call.head.params.get("id"), permit, near).await?.value.id;
    let (principal, resource) = (need_id(&sent, "principalId")?, need_id(&sent, "resourceId")?);
    if at != if end == End::Principal { principal } else { resource } {
        return Err(bad_request(format!("The property '{}' is not the object of the path.", end.property())).at(end.property()));
    }
    let role = need_id(&sent, "appRoleId")?.to_string();
    let (principal_name, principal_kind) = principal_of(principal, permit, near)?;
    let (resource_name, resource_kind) = principal_of(resource, permit, near)?;
    if !is_program(resource_kind) {
        return Err(bad_request("The resource is not a service principal.").at("resourceId"));
    }
    check_role(&role, principal_kind, resource, permit).await?;
    let assigned = rows(APP_ROLES, &End::Principal.prefix(principal), permit).await?;
    for row in &assigned {
        let before = row.value.properties()?;
        if before.get("resourceId") == Some(&resource.to_string().into()) && before.get("appRoleId") == Some(&role.clone().into()) {
            return Err(bad_request("Permission being assigned already exists on the object."));
        }
    }
    let (now, id) = (near.clock.now(), ObjectId::random(&*near.chance));
    let kind_name = match principal_kind {
        PrincipalKind::User => "User",
        PrincipalKind::Group => "Group",
        PrincipalKind::ServicePrincipal | PrincipalKind::ManagedIdentity => "ServicePrincipal",
    };
    let made = Object::new(
        id,
        now,
        &into_map(json!({
            "appRoleId": role,
            "createdDateTime": now.rfc3339(),
            "deletedDateTime": null,
            "principalDisplayName": principal_name,
            "principalId": principal.to_string(),
            "principalType": kind_name,
            "resourceDisplayName": resource_name,
            "resourceId": resource.to_string(),
        })),
    );
    let batch = [(End::Principal, principal), (End::Resource, resource)]
        .into_iter()
        .fold(Batch::new(), |batch, (end, object)| batch.put(APP_ROLES, format!("{}{id}", end.prefix(object)), &made))
        .exists(SERVICE_PRINCIPALS, row_name(resource));
    Ok(Change { batch, status: StatusCode::CREATED, body: Some(shown_entity(&call.head, "appRoleAssignments", &made)?) })
}

/// The role is one that the resource defines for such a principal, or the default where it defines none.
async fn check_role(role: &str, principal: PrincipalKind, resource: ObjectId, permit: &Permit<Write>) -> Result<()> {
    let found = permit.data().get::<Object>(SERVICE_PRINCIPALS, row_name(resource)).await?;
    let properties = found.ok_or_else(|| not_found(&resource.to_string()))?.value.properties()?;
    let defined = properties.get("appRoles").and_then(Value::as_array).cloned().unwrap_or_default();
    let wanted = if is_program(principal) { "Application" } else { "User" };
    let fits = |r: &Value| {
        let is_for = r.get("allowedMemberTypes").and_then(Value::as_array).is_some_and(|all| all.iter().any(|k| k == wanted));
        let is_same = r.get("id").and_then(Value::as_str).is_some_and(|id| id.eq_ignore_ascii_case(role));
        is_same && is_for && r.get("isEnabled") != Some(&json!(false))
    };
    let for_these =
        defined.iter().any(|r| r.get("allowedMemberTypes").and_then(Value::as_array).is_some_and(|all| all.iter().any(|k| k == wanted)));
    if defined.iter().any(fits) || (role == DEFAULT_ROLE && !for_these) {
        return Ok(());
    }
    Err(bad_request("Permission being assigned was not found on application.").at("appRoleId"))
}

/// `DELETE /servicePrincipals/{id}/appRoleAssignedTo/{member}` and its kin.
pub(super) async fn remove_app_role(kind: ObjectKind, end: End, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = gone_app_role(kind, end, &asked, &permit, &near).await;
    answer::write(permit, change).await
}

async fn gone_app_role(kind: ObjectKind, end: End, call: &Asked, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let of = objects::find(kind, call.head.params.get("id"), permit, near).await?.value.id;
    let id = call.head.params.get("member");
    let name = format!("{}{}", end.prefix(of), id.parse::<ObjectId>().map_err(|_| not_found(id))?);
    let found = permit.data().get::<Object>(APP_ROLES, &name).await?.ok_or_else(|| not_found(id))?;
    Ok(Change::none(drop_app_role(Batch::new().is(APP_ROLES, name, found.version), &found.value)?))
}

fn drop_app_role(mut batch: Batch, of: &Object) -> Result<Batch> {
    let properties = of.properties()?;
    for end in [End::Principal, End::Resource] {
        if let Some(object) = properties.get(end.property()).and_then(Value::as_str).and_then(|id| id.parse().ok()) {
            batch = batch.delete(APP_ROLES, format!("{}{}", end.prefix(object), of.id));
        }
    }
    Ok(batch)
}

/// `GET /oauth2PermissionGrants`, and those of one client or user.
pub(super) async fn list_consents(
    of: Option<(ObjectKind, &'static str)>,
    call: Call,
    permit: Permit<Read>,
    near: Neighbours,
) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let shown = async {
        let wanted = match of {
            None => None,
            Some((kind, property)) => {
                let id = objects::find(kind, asked.head.params.get("id"), &permit, &near).await?.value.id;
                Some((property, Value::from(id.to_string())))
            }
        };
        let fits = |o: &Value| wanted.as_ref().is_none_or(|(property, id)| o.get(*property) == Some(id));
        listed(&asked.head, "oauth2PermissionGrants", CONSENTS, "", &permit, fits).await
    };
    let shown = shown.await;
    answer::read(permit, shown).await
}

async fn consent<A: Access>(call: &Asked, permit: &Permit<A>) -> Result<Found<Object>> {
    let id = call.head.params.get("id");
    let name = id.parse::<ObjectId>().map_err(|_| not_found(id))?;
    permit.data().get::<Object>(CONSENTS, row_name(name)).await?.ok_or_else(|| not_found(id))
}

/// `GET /oauth2PermissionGrants/{id}`.
pub(super) async fn get_consent(call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let shown = consent(&asked, &permit).await.and_then(|found| shown_entity(&asked.head, "oauth2PermissionGrants", &found.value));
    answer::read(permit, shown).await
}

/// `POST /oauth2PermissionGrants`: a record of consent.
pub(super) async fn add_consent(call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = new_consent(&asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn new_consent(call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let sent = read_json(body).await?;
    // two dates of an older Graph, which some clients still send
    texts(&sent, &["clientId", "consentType", "principalId", "resourceId", "scope", "startTime", "expiryTime"])?;
    let (client, resource) = (need_id(&sent, "clientId")?, need_id(&sent, "resourceId")?);
    for (id, name) in [(client, "clientId"), (resource, "resourceId")] {
        if !is_program(principal_of(id, permit, near)?.1) {
            return Err(bad_request(format!("'{name}' is not a service principal.")).at(name));
        }
    }
    let who = match need(&sent, "consentType")? {
        "AllPrincipals" if sent.get("principalId").is_none_or(Value::is_null) => Value::Null,
        "Principal" => {
            let user = need_id(&sent, "principalId")?;
            if principal_of(user, permit, near)?.1 != PrincipalKind::User {
                return Err(bad_request("'principalId' is not a user.").at("principalId"));
            }
            user.to_string().into()
        }
        _ => return Err(bad_request("Invalid value specified for property 'consentType'.").at("consentType")),
    };
    let same = |o: &Map<String, Value>| {
        o.get("clientId") == Some(&client.to_string().into())
            && o.get("resourceId") == Some(&resource.to_string().into())
            && o.get("principalId") == Some(&who)
    };
    for row in rows(CONSENTS, "", permit).await? {
        if same(&row.value.properties()?) {
            return Err(Error::new(Kind::Conflict, "Request_MultipleObjectsWithSameKeyValue", "Permission entry already exists."));
        }
    }
    let scope = sent.get("scope").and_then(Value::as_str).unwrap_or_default();
    let (now, id) = (near.clock.now(), ObjectId::random(&*near.chance));
    let made = Object::new(
        id,
        now,
        &into_map(json!({
            "clientId": client.to_string(),
            "consentType": sent.get("consentType"),
            "principalId": who,
            "resourceId": resource.to_string(),
            "scope": scope,
        })),
    );
    let batch = Batch::new().exists(SERVICE_PRINCIPALS, row_name(client)).put(CONSENTS, made.name(), &made);
    Ok(Change { batch, status: StatusCode::CREATED, body: Some(shown_entity(&call.head, "oauth2PermissionGrants", &made)?) })
}

/// `PATCH /oauth2PermissionGrants/{id}` with `{"scope"}`.
pub(super) async fn change_consent(call: Call, permit: Permit<Write>, _: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = async {
        let sent = read_json(body).await?;
        texts(&sent, &["scope"])?;
        let mut found = consent(&asked, &permit).await?;
        let mut all = found.value.properties()?;
        all.insert("scope".into(), sent.get("scope").and_then(Value::as_str).unwrap_or_default().into());
        found.value.set(&all);
        Ok(Change::none(Batch::new().is(CONSENTS, found.value.name(), found.version).put(CONSENTS, found.value.name(), &found.value)))
    };
    let change = change.await;
    answer::write(permit, change).await
}

/// `DELETE /oauth2PermissionGrants/{id}`.
pub(super) async fn remove_consent(call: Call, permit: Permit<Write>, _: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = consent(&asked, &permit).await.map(|found| {
        let name = found.value.name();
        Change::none(Batch::new().is(CONSENTS, &name, found.version).delete(CONSENTS, name))
    });
    answer::write(permit, change).await
}

fn federated_prefix(application: ObjectId) -> String {
    format!("{application}/")
}

/// A federated credential of the application of the path, by id or by name.
async fn federated<A: Access>(call: &Asked, permit: &Permit<A>, near: &Neighbours) -> Result<(ObjectId, Found<Object>)> {
    let application = objects::find(ObjectKind::Application, call.head.params.get("id"), permit, near).await?.value.id;
    let wanted = call.head.params.get("member");
    for row in rows(FEDERATED, &federated_prefix(application), permit).await? {
        if row.value.id.to_string().eq_ignore_ascii_case(wanted)
            || row.value.properties()?.get("name").and_then(Value::as_str) == Some(wanted)
        {
            return Ok((application, row));
        }
    }
    Err(not_found(wanted))
}

/// `GET /applications/{id}/federatedIdentityCredentials`.
pub(super) async fn list_federated(call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let shown = async {
        let of = objects::find(ObjectKind::Application, asked.head.params.get("id"), &permit, &near).await?.value.id;
        listed(&asked.head, "federatedIdentityCredentials", FEDERATED, &federated_prefix(of), &permit, |_| true).await
    };
    let shown = shown.await;
    answer::read(permit, shown).await
}

/// `GET /applications/{id}/federatedIdentityCredentials/{member}`.
pub(super) async fn get_federated(call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let shown =
        federated(&asked, &permit, &near).await.and_then(|(_, f)| shown_entity(&asked.head, "federatedIdentityCredentials", &f.value));
    answer::read(permit, shown).await
}

/// `POST /applications/{id}/federatedIdentityCredentials`.
pub(super) async fn add_federated(call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = new_federated(&asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn new_federated(call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let sent = read_json(body).await?;
    let application = objects::find(ObjectKind::Application, call.head.params.get("id"), permit, near).await?;
    let of = application.value.id;
    let made = Object::new(ObjectId::random(&*near.chance), near.clock.now(), &federation(Map::new(), sent)?);
    let before = rows(FEDERATED, &federated_prefix(of), permit).await?;
    if before.len() >= FEDERATED_MAX {
        return Err(bad_request(format!("An application has at most {FEDERATED_MAX} federated credentials.")));
    }
    let (mine, same) = (made.properties()?, |a: &Map<String, Value>, b: &Map<String, Value>, name: &str| a.get(name) == b.get(name));
    for row in before {
        let other = row.value.properties()?;
        if same(&mine, &other, "name") || (same(&mine, &other, "issuer") && same(&mine, &other, "subject")) {
            return Err(Error::new(
                Kind::Conflict,
                "Request_MultipleObjectsWithSameKeyValue",
                "FederatedIdentityCredential with this name, or with this issuer and subject, already exists.",
            ));
        }
    }
    // the application's row is written again: two added at once do not both believe to be the only one of their name
    let batch = Batch::new()
        .is(APPLICATIONS, application.value.name(), application.version)
        .put(APPLICATIONS, application.value.name(), &application.value)
        .put(FEDERATED, format!("{}{}", federated_prefix(of), made.id), &made);
    Ok(Change { batch, status: StatusCode::CREATED, body: Some(shown_entity(&call.head, "federatedIdentityCredentials", &made)?) })
}

/// What was, with what was sent; every rule of a federated credential. Error `Request_BadRequest`.
fn federation(mut all: Map<String, Value>, sent: Map<String, Value>) -> Result<Map<String, Value>> {
    let audiences = sent.get("audiences").cloned();
    let rest: Map<String, Value> = sent.into_iter().filter(|(name, value)| name != "audiences" && !value.is_null()).collect();
    texts(&rest, &["name", "issuer", "subject", "description"])?;
    if all.contains_key("name") && rest.get("name").is_some_and(|name| all.get("name") != Some(name)) {
        return Err(bad_request("Property 'name' is read-only and cannot be changed.").at("name"));
    }
    all.extend(rest.into_iter().filter(|(name, _)| !name.starts_with('@')));
    if let Some(audiences) = audiences {
        all.insert("audiences".into(), audiences);
    }
    let is_audience = |a: &Value| a.as_str().is_some_and(|a| !a.is_empty() && a.len() <= TEXT_BYTES_MAX);
    let one = all.get("audiences").and_then(Value::as_array).is_some_and(|a| a.len() == 1 && a.iter().all(is_audience));
    if !one {
        return Err(bad_request("Exactly one audience is needed.").at("audiences"));
    }
    let name = need(&all, "name")?;
    if name.len() > 120 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(bad_request("Property 'name' has 3 to 120 letters, digits, '-' or '_'.").at("name"));
    }
    need(&all, "subject")?;
    let issuer = need(&all, "issuer")?;
    let is_url = issuer.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', '@', ' ']));
    if !is_url {
        return Err(bad_request("Property 'issuer' is an https address.").at("issuer"));
    }
    Ok(all)
}

/// `PATCH /applications/{id}/federatedIdentityCredentials/{member}`.
pub(super) async fn change_federated(call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = async {
        let sent = read_json(body).await?;
        let (of, mut found) = federated(&asked, &permit, &near).await?;
        let all = federation(found.value.properties()?, sent)?;
        found.value.set(&all);
        let name = format!("{}{}", federated_prefix(of), found.value.id);
        Ok(Change::none(Batch::new().is(FEDERATED, &name, found.version).put(FEDERATED, name, &found.value)))
    };
    let change = change.await;
    answer::write(permit, change).await
}

/// `DELETE /applications/{id}/federatedIdentityCredentials/{member}`.
pub(super) async fn remove_federated(call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = federated(&asked, &permit, &near).await.map(|(of, found)| {
        let name = format!("{}{}", federated_prefix(of), found.value.id);
        Change::none(Batch::new().is(FEDERATED, &name, found.version).delete(FEDERATED, name))
    });
    answer::write(permit, change).await
}

/// All that was given to or by an object that will not come back.
pub(super) async fn forget_grants(mut batch: Batch, id: ObjectId, permit: &Permit<Write>) -> Result<Batch> {
    for end in [End::Principal, End::Resource] {
        for row in rows(APP_ROLES, &end.prefix(id), permit).await? {
            batch = drop_app_role(batch, &row.value)?;
        }
    }
    let text = Value::from(id.to_string());
    for row in rows(CONSENTS, "", permit).await? {
        let properties = row.value.properties()?;
        if ["clientId", "principalId", "resourceId"].into_iter().any(|name| properties.get(name) == Some(&text)) {
            batch = batch.delete(CONSENTS, row.value.name());
        }
    }
    for row in rows(FEDERATED, &federated_prefix(id), permit).await? {
        batch = batch.delete(FEDERATED, format!("{}{}", federated_prefix(id), row.value.id));
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn federated_credentials_are_whole() {
        let good = json!({"name": "github-main", "issuer": "https://token.example/", "subject": "repo:a/b", "audiences": ["api://AzureADTokenExchange"]});
        let made = federation(Map::new(), into_map(good.clone())).unwrap();
        assert_eq!(made.len(), 4);
        for (name, value) in [
            ("name", json!("a b")),
            ("issuer", json!("http://token.example/")),
            ("issuer", json!("https://")),
            ("subject", json!("")),
            ("audiences", json!([])),
            ("audiences", json!(["a", "b"])),
            ("audiences", json!("a")),
            ("key", json!("x")),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            assert!(federation(Map::new(), into_map(bad)).is_err(), "{name}");
        }
        assert_eq!(federation(made.clone(), into_map(json!({"subject": "other"}))).unwrap()["subject"], "other");
        assert!(federation(made, into_map(json!({"name": "other"}))).is_err());
    }
}
