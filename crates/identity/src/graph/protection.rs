//! What protects sign-in, by Graph: the authentication methods of users, and conditional access policies.
//!
//! Methods are set up by their owner alone, on a page (`login/security.rs`); here they are listed, and taken away by an
//! administrator when a telephone is lost. Of conditional access there is the first piece: "who must have a second factor"
//! (`conditional.rs`). A policy that says more is refused with 501, never kept and ignored.

use super::answer::{self, Asked, Change, home, with_context};
use super::{bad_request, body, not_found, objects};
use crate::conditional::{FAMILY, Policy, policy_id};
use crate::directory::{AUTHENTICATOR, ObjectKind, RECOVERY, tenant_of};
use base::{Error, Kind, ObjectId, ResourceId, Result, TenantId};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use service::{Builder, Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Access, Batch, Fact, Permit, PrincipalKind, Read, Scoped, Version, Weight, Write};

/// The id under which Graph shows everybody's password, in every tenant.
const PASSWORD_METHOD: &str = "28c10230-6103-485e-b985-444c60001490";
const DELETE_METHODS: &str = "microsoft.directory/users/authenticationMethods/delete";
const UPDATE_POLICIES: &str = "microsoft.directory/conditionalAccessPolicies/basic/update";
/// Of one tenant: each is judged at each sign-in.
const POLICIES_MAX: usize = 100;
const PRINCIPALS_MAX: usize = 256;

const READ_METHODS: &[&str] = &["microsoft.directory/users/authenticationMethods/standard/read"];
const READ_POLICIES: &[&str] = &["microsoft.directory/conditionalAccessPolicies/standard/read"];

#[rustfmt::skip] // a table: one row a line
pub(super) fn rows(table: Builder<super::Graph>) -> Builder<super::Graph> {
    table
        .read("List Authentication Methods", Method::GET, "/v1.0/users/{id}/authentication/methods", &[], READ_METHODS, methods)
        .read("List My Authentication Methods", Method::GET, "/v1.0/me/authentication/methods", &[], READ_METHODS, methods)
        .read("List Authenticators", Method::GET, "/v1.0/users/{id}/authentication/softwareOathMethods", &[], READ_METHODS, authenticators)
        .read("List My Authenticators", Method::GET, "/v1.0/me/authentication/softwareOathMethods", &[], READ_METHODS, authenticators)
        .write("Delete Authenticator", Method::DELETE, "/v1.0/users/{id}/authentication/softwareOathMethods/{method}", &[], &["microsoft.directory/users/authenticationMethods/delete"], reset)
        .weighing(Weight::Indexed)
        .write("Delete My Authenticator", Method::DELETE, "/v1.0/me/authentication/softwareOathMethods/{method}", &[], &["microsoft.directory/users/authenticationMethods/delete"], reset)
        .weighing(Weight::Indexed)
        .read("List Conditional Access Policies", Method::GET, "/v1.0/identity/conditionalAccess/policies", &[], READ_POLICIES, list_policies)
        .read("Get Conditional Access Policy", Method::GET, "/v1.0/identity/conditionalAccess/policies/{id}", &[], READ_POLICIES, get_policy)
        .write("Create Conditional Access Policy", Method::POST, "/v1.0/identity/conditionalAccess/policies", &[], &["microsoft.directory/conditionalAccessPolicies/create"], create_policy)
        .weighing(Weight::Indexed)
        .write("Update Conditional Access Policy", Method::PATCH, "/v1.0/identity/conditionalAccess/policies/{id}", &[], &["microsoft.directory/conditionalAccessPolicies/basic/update"], update_policy)
        .weighing(Weight::Indexed)
        .write("Delete Conditional Access Policy", Method::DELETE, "/v1.0/identity/conditionalAccess/policies/{id}", &[], &["microsoft.directory/conditionalAccessPolicies/delete"], delete_policy)
        .weighing(Weight::Indexed)
}

/// The user that a path names; `me` where it names none.
async fn user_of<A: Access>(call: &Asked, permit: &Permit<A>, near: &Neighbours) -> Result<ObjectId> {
    if call.head.raw_path.starts_with("/v1.0/me/") {
        let me = call.caller.principal().filter(|p| p.kind == PrincipalKind::User);
        let words = "/me request is only valid with delegated authentication flow.";
        return me.map(|p| p.object).ok_or_else(|| Error::invalid("BadRequest", words));
    }
    Ok(objects::find(ObjectKind::User, call.head.params.get("id"), permit, near).await?.value.id)
}

/// Everybody in a tenant reads its directory, but not what protects others.
fn must_administer(near: &Neighbours, action: &str, tenant: TenantId) -> Result<()> {
    match near.may(action, &ResourceId::tenant(tenant)) {
        true => Ok(()),
        false => Err(Error::new(Kind::Forbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")),
    }
}

/// `GET /users/{id}/authentication/methods`, `GET /me/authentication/methods`.
pub(super) async fn methods(_: Arc<super::Graph>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let shown = shown_methods(&asked, &permit, &near, false).await;
    answer::read(permit, shown).await
}

/// `GET …/authentication/softwareOathMethods`.
pub(super) async fn authenticators(_: Arc<super::Graph>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let shown = shown_methods(&asked, &permit, &near, true).await;
    answer::read(permit, shown).await
}

async fn shown_methods(call: &Asked, permit: &Permit<Read>, near: &Neighbours, authenticators_only: bool) -> Result<Value> {
    let (tenant, user) = (tenant_of(&call.caller)?, user_of(call, permit, near).await?);
    if call.caller.principal().is_none_or(|p| p.object != user) {
        must_administer(near, DELETE_METHODS, tenant)?;
    }
    let mut all = Vec::new();
    if !authenticators_only {
        all.push(json!({"@odata.type": "#microsoft.graph.passwordAuthenticationMethod", "id": PASSWORD_METHOD, "password": null}));
    }
    if let Some(factor) = near.credentials().second_factor(tenant, user).await? {
        all.push(json!({
            "@odata.type": "#microsoft.graph.softwareOathAuthenticationMethod",
            "id": AUTHENTICATOR,
            "secretKey": null,
            "createdDateTime": factor.created.rfc3339(),
        }));
    }
    let what = if authenticators_only { "softwareOathMethods" } else { "methods" };
    let context = format!("{}/$metadata#users('{user}')/authentication/{what}", home(&call.head));
    Ok(with_context(context, json!({ "value": all })))
}

/// `DELETE …/authentication/softwareOathMethods/{method}`: the authenticator and its recovery codes. Who must have one
/// sets up another at the next sign-in.
pub(super) async fn reset(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = without_authenticator(&asked, &permit, &near).await;
    answer::write(permit, change).await
}

async fn without_authenticator(call: &Asked, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let (tenant, user) = (tenant_of(&call.caller)?, user_of(call, permit, near).await?);
    let method = call.head.params.get("method");
    let has = near.credentials().second_factor(tenant, user).await?.is_some();
    if !has || !method.eq_ignore_ascii_case(AUTHENTICATOR) {
        return Err(not_found(method));
    }
    let holder = user.to_string();
    Ok(Change::none(Batch::new().delete_credential(&holder, AUTHENTICATOR).delete_credential(&holder, RECOVERY)))
}

/// `GET /identity/conditionalAccess/policies`.
pub(super) async fn list_policies(_: Arc<super::Graph>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let shown = all_policies(&asked, &near);
    answer::read(permit, shown).await
}

fn all_policies(call: &Asked, near: &Neighbours) -> Result<Value> {
    let tenant = tenant_of(&call.caller)?;
    must_administer(near, UPDATE_POLICIES, tenant)?;
    let found: Vec<Vec<u8>> = near.facts(|f| f.scoped_at(FAMILY, &ResourceId::tenant(tenant)).map(|s| s.value.clone()).collect());
    let shown = found.iter().map(|value| shown(&base::decode(value)?)).collect::<Result<Vec<Value>>>()?;
    Ok(with_context(format!("{}/$metadata#identity/conditionalAccess/policies", home(&call.head)), json!({ "value": shown })))
}

fn shown(policy: &Policy) -> Result<Value> {
    serde_json::from_str(&policy.shown).map_err(Error::internal)
}

/// `GET /identity/conditionalAccess/policies/{id}`.
pub(super) async fn get_policy(_: Arc<super::Graph>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let shown = tenant_of(&asked.caller)
        .and_then(|tenant| must_administer(&near, UPDATE_POLICIES, tenant))
        .and_then(|()| known(&asked, &near))
        .and_then(|(policy, _)| Ok(one(&asked, shown(&policy)?)));
    answer::read(permit, shown).await
}

fn one(call: &Asked, policy: Value) -> Value {
    with_context(format!("{}/$metadata#identity/conditionalAccess/policies/$entity", home(&call.head)), policy)
}

/// The policy that the path names, with the version of its fact.
fn known(call: &Asked, near: &Neighbours) -> Result<(Policy, Option<Version>)> {
    let (id, tenant) = (call.head.params.get("id"), tenant_of(&call.caller)?);
    let id: ObjectId = id.parse().map_err(|_| not_found(id))?;
    let resource = policy_id(tenant, &id.to_string())?;
    let found =
        near.facts(|f| f.scoped_fact(FAMILY, &resource).map(|s| (s.value.clone(), f.version(&Fact::scoped_key(FAMILY, &resource)))));
    let (value, version) = found.ok_or_else(|| not_found(&id.to_string()))?;
    Ok((base::decode(&value)?, version))
}

/// `POST /identity/conditionalAccess/policies`.
pub(super) async fn create_policy(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, sent) = Asked::of(call);
    let change = match body::json(sent).await {
        Ok(sent) => new_policy(&asked, &sent, &near),
        Err(error) => Err(error),
    };
    answer::write(permit, change).await
}

fn new_policy(call: &Asked, sent: &Map<String, Value>, near: &Neighbours) -> Result<Change> {
    let tenant = tenant_of(&call.caller)?;
    if near.facts(|f| f.scoped_at(FAMILY, &ResourceId::tenant(tenant)).count()) >= POLICIES_MAX {
        return Err(bad_request(format!("A tenant has at most {POLICIES_MAX} conditional access policies.")));
    }
    let id = ObjectId::random(&*near.chance).to_string();
    let now = near.clock.now().rfc3339();
    let policy = judge(sent, &id, &now, None)?;
    let body = Some(one(call, shown(&policy)?));
    let batch = Batch::new().put_fact(fact_of(tenant, &id, &policy)?);
    Ok(Change { batch, status: StatusCode::CREATED, body })
}

fn fact_of(tenant: TenantId, id: &str, policy: &Policy) -> Result<Fact> {
    let scope = ResourceId::tenant(tenant);
    Ok(Fact::Scoped(Scoped { family: FAMILY.into(), id: policy_id(tenant, id)?, tenant, scope, value: base::encode(policy) }))
}

/// `PATCH /identity/conditionalAccess/policies/{id}`.
pub(super) async fn update_policy(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, sent) = Asked::of(call);
    let change = match body::json(sent).await {
        Ok(sent) => changed_policy(&asked, sent, &near),
        Err(error) => Err(error),
    };
    answer::write(permit, change).await
}

fn changed_policy(call: &Asked, sent: Map<String, Value>, near: &Neighbours) -> Result<Change> {
    let (tenant, (old, version)) = (tenant_of(&call.caller)?, known(call, near)?);
    let Value::Object(mut all) = shown(&old)? else { return Err(Error::internal("a policy is an object")) };
    let text = |all: &Map<String, Value>, name: &str| all.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (id, created) = (text(&all, "id"), text(&all, "createdDateTime"));
    all.extend(sent);
    let policy = judge(&all, &id, &created, Some(&near.clock.now().rfc3339()))?;
    let key = Fact::scoped_key(FAMILY, &policy_id(tenant, &id)?);
    Ok(Change::none(Batch::new().fact_is(key, version).put_fact(fact_of(tenant, &id, &policy)?)))
}

/// `DELETE /identity/conditionalAccess/policies/{id}`.
pub(super) async fn delete_policy(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = known(&asked, &near).and_then(|(_, version)| {
        let id = asked.head.params.get("id").to_ascii_lowercase();
        let key = Fact::scoped_key(FAMILY, &policy_id(tenant_of(&asked.caller)?, &id)?);
        Ok(Change::none(Batch::new().fact_is(key.clone(), version).remove_fact(key)))
    });
    answer::write(permit, change).await
}

/// What a policy comes to. Errors: `Request_BadRequest` for what is malformed, `NotImplemented` for what is Graph's and
/// not ours: a policy that asked for more than is enforced would be a false promise.
fn judge(sent: &Map<String, Value>, id: &str, created: &str, modified: Option<&str>) -> Result<Policy> {
    let known = [
        "@odata.context",
        "@odata.type",
        "id",
        "createdDateTime",
        "modifiedDateTime",
        "displayName",
        "state",
        "conditions",
        "grantControls",
    ];
    only(sent, &known, "")?;
    let name = sent.get("displayName").and_then(Value::as_str).filter(|n| !n.is_empty() && n.len() <= 256);
    let name = name.ok_or_else(|| bad_request("A value is required for property 'displayName' of the resource.").at("displayName"))?;
    let state = match sent.get("state").and_then(Value::as_str) {
        Some(state @ ("enabled" | "disabled")) => state,
        Some("enabledForReportingButNotEnforced") => return Err(Error::not_implemented("A policy that reports only").at("state")),
        _ => return Err(bad_request("Property 'state' must be 'enabled' or 'disabled'.").at("state")),
    };
    let conditions = part(sent, "conditions")?;
    only(conditions, &["users", "applications", "clientAppTypes"], "conditions.")?;
    let applications = part(conditions, "applications")?;
    only(applications, &["includeApplications"], "conditions.applications.")?;
    if texts(applications, "includeApplications")? != ["All"] {
        return Err(Error::not_implemented("A policy for some applications").at("conditions.applications.includeApplications"));
    }
    if !matches!(texts(conditions, "clientAppTypes")?.as_slice(), [] | ["all"]) {
        return Err(Error::not_implemented("A policy for some kinds of client").at("conditions.clientAppTypes"));
    }
    let users = part(conditions, "users")?;
    only(users, &["includeUsers", "excludeUsers", "includeRoles"], "conditions.users.")?;
    let mut include = texts(users, "includeUsers")?;
    let everybody = include.contains(&"All");
    include.retain(|u| !matches!(*u, "All" | "None"));
    let grant = part(sent, "grantControls")?;
    only(grant, &["operator", "builtInControls"], "grantControls.")?;
    if texts(grant, "builtInControls")? != ["mfa"] {
        return Err(Error::not_implemented("A control other than 'mfa'").at("grantControls.builtInControls"));
    }
    let mut shown = sent.clone();
    shown.retain(|name, _| !name.starts_with('@'));
    for (name, value) in [("id", Some(id)), ("createdDateTime", Some(created)), ("modifiedDateTime", modified), ("displayName", Some(name))]
    {
        shown.insert(name.into(), value.into());
    }
    Ok(Policy {
        enabled: state == "enabled",
        everybody,
        users: ids(&include, "includeUsers")?,
        roles: ids(&texts(users, "includeRoles")?, "includeRoles")?.iter().map(ObjectId::to_string).collect(),
        except: ids(&texts(users, "excludeUsers")?, "excludeUsers")?,
        shown: Value::Object(shown).to_string(),
    })
}

/// Everything else in an object must say nothing.
fn only(sent: &Map<String, Value>, known: &[&str], place: &str) -> Result<()> {
    let says = |value: &Value| !value.is_null() && value.as_array().is_none_or(|all| !all.is_empty());
    match sent.iter().find(|(name, value)| !known.contains(&name.as_str()) && says(value)) {
        Some((name, _)) => {
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            Err(Error::not_implemented(format!("'{place}{name}' of a conditional access policy")).at(format!("{place}{name}")))
        }
        None => Ok(()),
    }
}

fn part<'a>(of: &'a Map<String, Value>, name: &str) -> Result<&'a Map<String, Value>> {
    let found = of.get(name).and_then(Value::as_object);
    found.ok_or_else(|| bad_request(format!("A value is required for property '{name}' of the resource.")).at(name.to_owned()))
}

fn texts<'a>(of: &'a Map<String, Value>, name: &str) -> Result<Vec<&'a str>> {
    let wrong = || bad_request(format!("Property '{name}' must be a list of at most {PRINCIPALS_MAX} texts.")).at(name.to_owned());
    let all = match of.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(value) => value.as_array().filter(|all| all.len() <= PRINCIPALS_MAX).ok_or_else(wrong)?,
    };
    all.iter().map(|v| v.as_str().ok_or_else(wrong)).collect()
}

/// Guests and other kinds of people that Graph names by a word are not told apart here.
fn ids(texts: &[&str], name: &str) -> Result<Vec<ObjectId>> {
    let one =
        |text: &&str| text.parse().map_err(|_| Error::not_implemented("Naming people by anything but 'All' and ids").at(name.to_owned()));
    texts.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Value {
        json!({
            "displayName": "MFA for all", "state": "enabled",
            "conditions": {"users": {"includeUsers": ["All"], "excludeGroups": []}, "applications": {"includeApplications": ["All"]}, "clientAppTypes": ["all"], "locations": null},
            "grantControls": {"operator": "OR", "builtInControls": ["mfa"]}, "sessionControls": null,
        })
    }

    #[test]
    fn a_policy_that_says_more_than_is_enforced_is_not_kept() {
        let judged = |value: &Value| judge(value.as_object().unwrap(), "i", "c", None);
        let good = judged(&policy()).unwrap();
        assert!(good.enabled && good.everybody && shown(&good).unwrap()["id"] == "i");
        for (pointer, value, code) in [
            ("/state", json!("enabledForReportingButNotEnforced"), "NotImplemented"),
            ("/state", json!("on"), "Request_BadRequest"),
            ("/displayName", json!(""), "Request_BadRequest"),
            ("/conditions/users/excludeGroups", json!(["00000000-0000-0000-0000-000000000001"]), "NotImplemented"),
            ("/conditions/users/includeUsers", json!(["GuestsOrExternalUsers"]), "NotImplemented"),
            ("/conditions/users/includeUsers", json!("All"), "Request_BadRequest"),
            ("/conditions/users/includeUsers", json!([7]), "Request_BadRequest"),
            ("/conditions/applications/includeApplications", json!(["Office365"]), "NotImplemented"),
            ("/conditions/clientAppTypes", json!(["browser"]), "NotImplemented"),
            ("/conditions/locations", json!({"includeLocations": ["All"]}), "NotImplemented"),
            ("/grantControls/builtInControls", json!(["block"]), "NotImplemented"),
            ("/grantControls/builtInControls", json!([]), "NotImplemented"),
            ("/grantControls", json!(null), "Request_BadRequest"),
            ("/sessionControls", json!({"signInFrequency": {}}), "NotImplemented"),
        ] {
            let mut bad = policy();
            *bad.pointer_mut(pointer).unwrap() = value.clone();
            assert_eq!(judged(&bad).unwrap_err().code, code, "{pointer} {value}");
        }
    }
}
