//! Writing users.

use super::answer::{self, Asked, Change, entity};
use super::body::{need, properties};
use super::deleted::set_aside;
use super::groups::left;
use super::{bad_request, dynamic, not_found, objects};
use crate::directory::{Object, ObjectKind, PASSWORD, UPN_ZONE, USERS, check_password, row_name, user_fact};
use crate::seed::password_credential;
use base::{Error, Kind, ObjectId, ResourceId, Result, TenantId};
use crypto::SecretBytes;
use http::StatusCode;
use serde_json::{Map, Value, json};
use service::{Body, Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Batch, Directory, Fact, GlobalName, Permit, Write};

const USER: ObjectKind = ObjectKind::User;

/// The tenant whose directory is written.
pub(super) fn tenant_of(permit: &Permit<Write>) -> Result<TenantId> {
    permit.tenant().ok_or_else(|| Error::internal("a directory permit is for a tenant"))
}

/// The fact of an object that was found as a row. Error `Internal`: one without the other.
pub(super) fn fact_of(near: &Neighbours, object: ObjectId) -> Result<Directory> {
    near.facts(|f| f.principal(object).cloned()).ok_or_else(|| Error::internal(format!("directory object {object} has a row and no fact")))
}

/// `POST /users`.
pub(super) async fn create(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = new_user(&asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn new_user(call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let mut sent = properties(USER, body).await?;
    let tenant = tenant_of(permit)?;
    let upn = need(&sent, "userPrincipalName")?.to_owned();
    let display_name = need(&sent, "displayName")?.to_owned();
    need(&sent, "mailNickname")?;
    let enabled = sent
        .get("accountEnabled")
        .and_then(Value::as_bool)
        .ok_or_else(|| bad_request("A value is required for property 'accountEnabled' of the resource.").at("accountEnabled"))?;
    check_upn(&upn, tenant, near)?;
    let password = new_password(&mut sent, &upn)?
        .ok_or_else(|| bad_request("A value is required for property 'passwordProfile' of the resource.").at("passwordProfile"))?;
    if near.facts(|f| f.user_by_name(&upn).is_some()) {
        return Err(
            bad_request("Another object with the same value for property userPrincipalName already exists.").at("userPrincipalName")
        );
    }
    sent.entry("userType").or_insert_with(|| "Member".into());
    let credential = password_credential(near, password, None, 0).await?;
    let (now, id) = (near.clock.now(), ObjectId::random(&*near.chance));
    let user = Object::new(id, now, &sent);
    let batch = Batch::new()
        .absent(USERS, user.name())
        .put(USERS, user.name(), &user)
        .claim_fact(Fact::Name(GlobalName { zone: UPN_ZONE.into(), name: upn.to_lowercase(), resource: ResourceId::tenant(tenant) }))
        .put_fact(user_fact(tenant, id, &upn, &display_name, enabled, now))
        .set_credential(&id.to_string(), PASSWORD, credential);
    let batch = dynamic::follow(batch, tenant, id, &sent, permit, near).await?;
    Ok(Change { batch, status: StatusCode::CREATED, body: Some(entity(&call.head, USER, user.show(USER)?)) })
}

/// A user principal name: a plain local part, and a domain of the tenant. Error `Request_BadRequest`.
fn check_upn(upn: &str, tenant: TenantId, near: &Neighbours) -> Result<()> {
    let wrong = |why: &str| Err(bad_request(why.to_owned()).at("userPrincipalName"));
    let Some((local, domain)) = upn.split_once('@') else { return wrong("Property userPrincipalName is invalid: it has no domain.") };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"'.-_!#^~".contains(&b);
    if local.is_empty() || local.len() > 64 || !local.bytes().all(plain) || local.starts_with('.') || local.ends_with('.') {
        return wrong("Property userPrincipalName is invalid.");
    }
    if near.facts(|f| f.tenant_by_domain(domain)) != Some(tenant) {
        return wrong(
            "The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names in your organization.",
        );
    }
    Ok(())
}

/// Takes the password out of what was sent, so that it is never kept beside it. Errors `Request_BadRequest`;
/// `NotImplemented` when the user is to change it at the next sign-in, which we don't enforce yet.
fn new_password(sent: &mut Map<String, Value>, upn: &str) -> Result<Option<SecretBytes>> {
    let Some(profile) = sent.remove("passwordProfile") else { return Ok(None) };
    for flag in ["forceChangePasswordNextSignIn", "forceChangePasswordNextSignInWithMfa"] {
        if profile.get(flag).and_then(Value::as_bool) == Some(true) {
            return Err(Error::not_implemented(format!("'{flag}': true")).at(flag));
        }
    }
    let password = profile
        .get("password")
        .and_then(Value::as_str)
        .ok_or_else(|| bad_request("A password is required in 'passwordProfile'.").at("passwordProfile"))?;
    check_password(password, upn)?;
    Ok(Some(SecretBytes::from(password.to_owned())))
}

/// `PATCH /users/{id}`.
pub(super) async fn update(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = changed_user(&asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn changed_user(call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let mut sent = properties(USER, body).await?;
    let found = objects::find(USER, call.head.params.get("id"), permit, near).await?;
    let (mut user, mut fact) = (found.value, fact_of(near, found_id(call, near, permit)?)?);
    let upn = fact.upn.clone().unwrap_or_default();
    if sent.get("userPrincipalName").and_then(Value::as_str).is_some_and(|new| new != upn) {
        return Err(Error::not_implemented("Renaming a user").at("userPrincipalName"));
    }
    let mut batch = Batch::new();
    if let Some(password) = new_password(&mut sent, &upn)? {
        batch = batch.set_credential(&user.id.to_string(), PASSWORD, password_credential(near, password, None, 0).await?);
        // whoever knew the old password is out
        fact.tokens_valid_from = near.clock.now();
    }
    if let Some(enabled) = sent.get("accountEnabled").and_then(Value::as_bool) {
        if !enabled {
            fact.tokens_valid_from = near.clock.now();
        }
        fact.enabled = enabled;
    }
    if let Some(name) = sent.get("displayName").and_then(Value::as_str) {
        fact.display_name = name.to_owned();
    }
    let mut all = user.properties()?;
    all.extend(sent);
    user.set(&all);
    batch = batch.is(USERS, user.name(), found.version).put(USERS, user.name(), &user).put_fact(Fact::Principal(fact));
    Ok(Change::none(dynamic::follow(batch, tenant_of(permit)?, user.id, &all, permit, near).await?))
}

/// The object id that the path names, by id or by name.
fn found_id(call: &Asked, near: &Neighbours, permit: &Permit<Write>) -> Result<ObjectId> {
    let id = call.head.params.get("id");
    let by_name = || near.facts(|f| crate::directory::find_user(f, id, permit.tenant()).map(|u| u.object));
    id.parse().ok().or_else(by_name).ok_or_else(|| not_found(id))
}

/// `DELETE /users/{id}`.
pub(super) async fn delete(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = gone_user(&asked, &permit, &near).await;
    answer::write(permit, change).await
}

async fn gone_user(call: &Asked, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let found = objects::find(USER, call.head.params.get("id"), permit, near).await?;
    let (id, tenant) = (found.value.id, tenant_of(permit)?);
    if call.caller.principal().is_some_and(|me| me.object == id) {
        return Err(Error::new(Kind::Invalid, "Request_BadRequest", "You cannot delete the account that you are signed in with."));
    }
    let upn = fact_of(near, id)?.upn.unwrap_or_default().to_lowercase();
    let batch = Batch::new().is(USERS, row_name(id), found.version).delete(USERS, row_name(id)).remove_fact(Fact::name_key(UPN_ZONE, &upn));
    // its password waits with it: nobody of this name signs in meanwhile
    let batch = set_aside(batch, USER, &found.value, tenant, near);
    Ok(Change::none(forget_principal(near, batch, tenant, id)))
}

/// Removes a principal's fact and its memberships. Its role assignments stay, as in Azure, and mean nobody.
pub(super) fn forget_principal(near: &Neighbours, batch: Batch, tenant: TenantId, object: ObjectId) -> Batch {
    let prefix = format!("member/{tenant}/");
    let memberships: Vec<(ObjectId, ObjectId)> = near.facts(|f| {
        let concerned = |fact: &Fact| match fact {
            Fact::Member { group, member, .. } if *group == object || *member == object => Some((*group, *member)),
            _ => None,
        };
        f.scan(&prefix).filter_map(concerned).collect()
    });
    let batch = memberships.into_iter().fold(batch, |batch, (group, member)| left(batch, tenant, group, member));
    batch.remove_fact(Fact::principal_key(tenant, object))
}

/// `POST /users/{id}/revokeSignInSessions`: all tokens of the user end now.
pub(super) async fn revoke(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = revoked(&asked, &permit, &near).await;
    answer::write(permit, change).await
}

async fn revoked(call: &Asked, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let found = objects::find(USER, call.head.params.get("id"), permit, near).await?;
    // tokens count whole seconds: the ones of this second end too
    let fact = Directory { tokens_valid_from: near.clock.now().plus_seconds(1), ..fact_of(near, found.value.id)? };
    let body = answer::with_context(format!("{}/$metadata#Edm.Boolean", answer::home(&call.head)), json!({ "value": true }));
    Ok(Change {
        batch: Batch::new().exists(USERS, found.value.name()).put_fact(Fact::Principal(fact)),
        status: StatusCode::OK,
        body: Some(body),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_taken_out_and_judged() {
        let mut sent = crate::directory::into_map(json!({"displayName": "A", "passwordProfile": {"password": "correct horse battery"}}));
        assert!(new_password(&mut sent, "a@b").unwrap().is_some());
        assert!(!sent.contains_key("passwordProfile"));
        assert!(new_password(&mut sent, "a@b").unwrap().is_none());
        for bad in [
            json!({}),
            json!({"password": "short"}),
            json!({"password": 7}),
            json!({"password": "correct horse battery", "forceChangePasswordNextSignIn": true}),
        ] {
            let mut sent = crate::directory::into_map(json!({ "passwordProfile": bad.clone() }));
            assert!(new_password(&mut sent, "a@b").is_err(), "{bad}");
        }
    }
}
