//! Writing groups. A membership is a fact and nothing else: rules read it at each decision.

use super::answer::{self, Asked, Change, entity, home};
use super::body::{json as read_json, need, properties};
use super::deleted::mark;
use super::users::{forget_principal, tenant_of};
use super::{bad_request, dynamic, not_found, objects, relations};
use crate::directory::{GROUPS, MEMBER_MARKS, MemberMark, Object, ObjectKind, row_name};
use base::{Error, Kind, ObjectId, Result, TenantId, Timestamp};
use http::StatusCode;
use serde_json::{Map, Value, json};
use service::{Body, Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Batch, Directory, Fact, Permit, PrincipalKind, Read, Write};

const GROUP: ObjectKind = ObjectKind::Group;
/// Members shown at once; Graph's own page is as long.
const MEMBERS_MAX: usize = 999;

/// A membership, and the mark that it came.
pub(super) fn joined(batch: Batch, tenant: TenantId, group: ObjectId, member: ObjectId) -> Batch {
    let batch = batch.put_fact(Fact::Member { tenant, group, member });
    batch.put(MEMBER_MARKS, format!("{group}/{member}"), &MemberMark { present: true })
}

/// No membership, and the mark that it went.
pub(super) fn left(batch: Batch, tenant: TenantId, group: ObjectId, member: ObjectId) -> Batch {
    let batch = batch.remove_fact(Fact::Member { tenant, group, member }.key());
    batch.put(MEMBER_MARKS, format!("{group}/{member}"), &MemberMark { present: false })
}

/// `POST /groups`: security groups. Mail is another service's.
pub(super) async fn create(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = new_group(&asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn new_group(call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let mut sent = properties(GROUP, body).await?;
    let display_name = need(&sent, "displayName")?.to_owned();
    need(&sent, "mailNickname")?;
    check_types(&sent)?;
    if sent.get("securityEnabled") != Some(&Value::Bool(true)) {
        return Err(bad_request("A group must be security enabled.").at("securityEnabled"));
    }
    sent.entry("groupTypes").or_insert_with(|| json!([]));
    sent.entry("mailEnabled").or_insert_with(|| json!(false));
    let (now, id) = (near.clock.now(), ObjectId::random(&*near.chance));
    let group = Object::new(id, now, &sent);
    let fact = Directory {
        tenant: tenant_of(permit)?,
        object: id,
        kind: PrincipalKind::Group,
        app: None,
        upn: None,
        display_name,
        enabled: true,
        tokens_valid_from: Timestamp::default(),
    };
    let mut batch = Batch::new().absent(GROUPS, group.name()).put(GROUPS, group.name(), &group).put_fact(Fact::Principal(fact));
    if let Some(rule) = rule_of(&sent)? {
        batch = dynamic::apply(batch, tenant_of(permit)?, id, Some(&rule), permit, near).await?;
    }
    Ok(Change { batch, status: StatusCode::CREATED, body: Some(entity(&call.head, GROUP, group.show(GROUP)?)) })
}

/// Security groups, assigned or dynamic. Errors `NotImplemented`, `Request_BadRequest`.
fn check_types(all: &Map<String, Value>) -> Result<()> {
    let types = all.get("groupTypes").and_then(Value::as_array).cloned().unwrap_or_default();
    if all.get("mailEnabled") == Some(&Value::Bool(true)) || types.iter().any(|t| t != "DynamicMembership") {
        return Err(Error::not_implemented("A group with mail").at("groupTypes"));
    }
    let state = all.get("membershipRuleProcessingState").and_then(Value::as_str);
    if state.is_some_and(|state| state != "On") {
        return Err(Error::not_implemented("A membership rule that is not processed").at("membershipRuleProcessingState"));
    }
    Ok(())
}

/// The rule of a dynamic group, read and found good. Error `Request_BadRequest`: a rule without the type, or the other way.
fn rule_of(all: &Map<String, Value>) -> Result<Option<String>> {
    let is_dynamic = all.get("groupTypes").and_then(Value::as_array).is_some_and(|types| types.iter().any(|t| t == "DynamicMembership"));
    match all.get("membershipRule").and_then(Value::as_str) {
        Some(rule) if is_dynamic => dynamic::Rule::parse(rule).map(|_| Some(rule.to_owned())),
        None if !is_dynamic => Ok(None),
        _ => Err(bad_request("A dynamic group has the type 'DynamicMembership' and a membership rule.").at("membershipRule")),
    }
}

/// `PATCH /groups/{id}`.
pub(super) async fn update(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = changed_group(&asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn changed_group(call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let sent = properties(GROUP, body).await?;
    let mut found = objects::find(GROUP, call.head.params.get("id"), permit, near).await?;
    if sent.get("securityEnabled").is_some_and(|s| *s != true) || sent.contains_key("isAssignableToRole") {
        return Err(bad_request("This property of a group can't be changed.").at("securityEnabled"));
    }
    let before = found.value.properties()?;
    let mut all = before.clone();
    all.extend(sent);
    check_types(&all)?;
    let mut fact = super::users::fact_of(near, found.value.id)?;
    fact.display_name = need(&all, "displayName")?.to_owned();
    let (was, is) = (rule_of(&before)?, rule_of(&all)?);
    found.value.set(&all);
    let name = found.value.name();
    let mut batch = Batch::new().is(GROUPS, &name, found.version).put(GROUPS, &name, &found.value).put_fact(Fact::Principal(fact));
    if was != is {
        batch = dynamic::apply(batch, tenant_of(permit)?, found.value.id, is.as_deref(), permit, near).await?;
    }
    Ok(Change::none(batch))
}

/// Members of a dynamic group follow from its rule alone.
fn refuse_dynamic(group: &Object) -> Result<()> {
    match rule_of(&group.properties()?)? {
        None => Ok(()),
        Some(_) => Err(bad_request("Insufficient privileges: the members of a dynamic group follow from its rule.").at("membershipRule")),
    }
}

/// `DELETE /groups/{id}`.
pub(super) async fn delete(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = gone_group(&asked, &permit, &near).await;
    answer::write(permit, change).await
}

async fn gone_group(call: &Asked, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let found = objects::find(GROUP, call.head.params.get("id"), permit, near).await?;
    let name = found.value.name();
    let (id, batch) = (found.value.id, Batch::new().is(GROUPS, &name, found.version).delete(GROUPS, &name));
    let batch = mark(relations::forget_links(batch, id, permit).await?, GROUP, id, near.clock.now());
    let mut batch = super::grants::forget_grants(batch, id, permit).await?;
    if rule_of(&found.value.properties()?)?.is_some() {
        batch = dynamic::apply(batch, tenant_of(permit)?, id, None, permit, near).await?;
    }
    Ok(Change::none(forget_principal(near, batch, tenant_of(permit)?, id)))
}

/// `POST /groups/{id}/members/$ref` with `{"@odata.id": "…/directoryObjects/{id}"}`.
pub(super) async fn add_member(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let change = new_member(&asked, body, &permit, &near).await;
    answer::write(permit, change).await
}

async fn new_member(call: &Asked, body: Body, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let member = relations::reference(body, permit, near).await?;
    let group = objects::find(GROUP, call.head.params.get("id"), permit, near).await?.value;
    refuse_dynamic(&group)?;
    let (group, tenant) = (group.id, tenant_of(permit)?);
    let fact = Fact::Member { tenant, group, member };
    if near.facts(|f| f.get(&fact.key()).is_some()) {
        return Err(bad_request("One or more added object references already exist for the following modified properties: 'members'."));
    }
    if member == group {
        return Err(bad_request("A group cannot be a member of itself."));
    }
    Ok(Change::none(joined(Batch::new().exists(GROUPS, row_name(group)), tenant, group, member)))
}

/// `DELETE /groups/{id}/members/{member}/$ref`.
pub(super) async fn remove_member(_: Arc<super::Graph>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let change = gone_member(&asked, &permit, &near).await;
    answer::write(permit, change).await
}

async fn gone_member(call: &Asked, permit: &Permit<Write>, near: &Neighbours) -> Result<Change> {
    let group = objects::find(GROUP, call.head.params.get("id"), permit, near).await?.value;
    refuse_dynamic(&group)?;
    let group = group.id;
    let id = call.head.params.get("member");
    let member = id.parse().map_err(|_| not_found(id))?;
    let tenant = tenant_of(permit)?;
    let key = Fact::Member { tenant, group, member }.key();
    if near.facts(|f| f.get(&key).is_none()) {
        return Err(Error::new(Kind::NotFound, "Request_ResourceNotFound", format!("'{member}' is not a member of the group.")));
    }
    Ok(Change::none(left(Batch::new().exists(GROUPS, row_name(group)), tenant, group, member)))
}

/// `POST …/checkMemberGroups` with `{"groupIds": […]}`: which of these groups it is in, nested ones included.
pub(super) async fn check_groups(_: Arc<super::Graph>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, body) = Asked::of(call);
    let found = groups_among(&asked, body, &permit, &near).await;
    answer::read(permit, found).await
}

async fn groups_among(call: &Asked, body: Body, permit: &Permit<Read>, near: &Neighbours) -> Result<Value> {
    let sent = read_json(body).await?;
    let wanted = sent
        .get("groupIds")
        .and_then(Value::as_array)
        .ok_or_else(|| bad_request("A value is required for parameter 'groupIds'.").at("groupIds"))?;
    let wanted: Vec<String> = wanted.iter().take(MEMBERS_MAX).filter_map(Value::as_str).map(str::to_lowercase).collect();
    let found: Vec<String> = groups_of(call, permit, near)?.into_iter().filter(|g| wanted.contains(g)).collect();
    Ok(answer::with_context(format!("{}/$metadata#Collection(Edm.String)", home(&call.head)), json!({ "value": found })))
}

/// `POST …/getMemberGroups`: every group it is in, nested ones included.
pub(super) async fn all_groups(_: Arc<super::Graph>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let (asked, _) = Asked::of(call);
    let found = groups_of(&asked, &permit, &near);
    let shown =
        found.map(|ids| answer::with_context(format!("{}/$metadata#Collection(Edm.String)", home(&asked.head)), json!({ "value": ids })));
    answer::read(permit, shown).await
}

fn groups_of(call: &Asked, permit: &Permit<Read>, near: &Neighbours) -> Result<Vec<String>> {
    let id = call.head.params.get("id");
    near.facts(|f| {
        let by_name = || crate::directory::find_user(f, id, permit.tenant()).map(|u| u.object);
        let object = id.parse().ok().or_else(by_name).filter(|o| f.principal(*o).is_some_and(|p| Some(p.tenant) == permit.tenant()));
        let object = object.ok_or_else(|| not_found(id))?;
        Ok(f.identities(object).into_iter().filter(|o| *o != object).map(|o| o.to_string()).collect())
    })
}
