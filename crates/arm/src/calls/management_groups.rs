//! Management groups (Microsoft.Management/managementGroups): a tree above the subscriptions, whose roles, locks and
//! policies are inherited (`trust::Facts::scopes_of`). The root group is the tenant itself.

use crate::change::{Change, Turns, close, refuse};
use crate::rulings::{self, MANAGEMENT_GROUP, Made, ManagementGroup, Parent, There, inner, outer_scope};
use crate::{Arm, OWNER, names, target};
use base::{Error, Kind, ObjectId, ResourceId, Result, SubscriptionId, TenantId};
use http::StatusCode;
use serde_json::{Map, Value, json};
use service::{Call, Neighbours, Reply};
use std::sync::Arc;
use trust::{Assignment, Batch, Fact, Facts, Outcome, PARENT, Permit, Read, Scoped, Write};

const KIND: &str = "Microsoft.Management/managementGroups";
const READ: &str = "Microsoft.Management/managementGroups/read";
const WRITE: &str = "Microsoft.Management/managementGroups/write";
const GRANT: &str = "Microsoft.Authorization/roleAssignments/write";
/// Azure's limits: levels below the root, and groups in a tenant.
const LEVELS_MAX: usize = 6;
const GROUPS_MAX: usize = 10_000;

fn is_root(id: &ResourceId) -> bool {
    id.tenant_id().is_some() && id.segments().count() == 2
}

fn missing(id: &ResourceId) -> Error {
    let why = format!("Management group '{}' could not be found.", id.name());
    Error::new(Kind::NotFound, "NotFound", why)
}

fn bad(why: String) -> Error {
    Error::invalid("BadRequest", why)
}

/// The group's name for people; of the root, Azure's. Error: there is no such group.
fn display_name(facts: &Facts, id: &ResourceId) -> Result<String> {
    if is_root(id) {
        return Ok("Tenant Root Group".to_owned());
    }
    let fact = facts.scoped_fact(MANAGEMENT_GROUP, id).ok_or_else(|| missing(id))?;
    Ok(rulings::read::<ManagementGroup>(fact)?.display_name)
}

/// Who is directly above: a group, or the root.
fn parent_of(facts: &Facts, id: &ResourceId) -> Option<ResourceId> {
    if is_root(id) {
        return None;
    }
    facts.scopes_of(id).into_iter().nth(1)
}

/// Groups directly below, then subscriptions directly below.
fn children(facts: &Facts, tenant: TenantId, id: &ResourceId) -> (Vec<ResourceId>, Vec<ResourceId>) {
    let groups = facts.scoped_at(MANAGEMENT_GROUP, id).map(|f| f.id.clone()).collect();
    let all = facts.subscriptions(tenant).into_iter().map(|s| ResourceId::subscription(s.id));
    (groups, all.filter(|s| parent_of(facts, s).as_ref() == Some(id)).collect())
}

fn brief(facts: &Facts, id: &ResourceId) -> Result<Value> {
    Ok(json!({"id": outer_scope(id), "name": id.name(), "displayName": display_name(facts, id)?}))
}

fn child_of_kind(facts: &Facts, tenant: TenantId, id: &ResourceId, below: usize) -> Result<Value> {
    if let Some(subscription) = id.subscription_id() {
        let name = facts.subscription(subscription).map(|s| s.name.clone());
        return Ok(json!({"type": "/subscriptions", "id": id.as_str(), "name": subscription.to_string(), "displayName": name}));
    }
    let mut body = brief(facts, id)?;
    body["type"] = json!(KIND);
    if below > 0 {
        body["children"] = tree(facts, tenant, id, below - 1)?;
    }
    Ok(body)
}

fn tree(facts: &Facts, tenant: TenantId, id: &ResourceId, below: usize) -> Result<Value> {
    let (groups, subscriptions) = children(facts, tenant, id);
    let all = groups.iter().chain(&subscriptions);
    Ok(Value::Array(all.map(|c| child_of_kind(facts, tenant, c, below)).collect::<Result<_>>()?))
}

fn show(facts: &Facts, tenant: TenantId, id: &ResourceId, expand: Option<usize>) -> Result<Value> {
    let display_name = display_name(facts, id)?;
    let made = facts.scoped_fact(MANAGEMENT_GROUP, id).map(rulings::read::<ManagementGroup>).transpose()?.map(|g| g.made);
    let mut details = json!({"version": 1, "parent": parent_of(facts, id).map(|p| brief(facts, &p)).transpose()?});
    if let Some(made) = made {
        details["updatedTime"] = json!(made.changed.rfc3339());
        details["updatedBy"] = json!(made.changed_by.map(|o| o.to_string()));
    }
    let mut properties = json!({"tenantId": tenant.to_string(), "displayName": display_name, "details": details});
    if let Some(below) = expand {
        properties["children"] = tree(facts, tenant, id, below)?;
    }
    Ok(json!({"id": outer_scope(id), "type": KIND, "name": id.name(), "properties": properties}))
}

fn own_tenant(permit_tenant: Option<TenantId>) -> Result<TenantId> {
    permit_tenant.ok_or_else(|| Error::internal("a management group without a tenant"))
}

pub(crate) async fn get(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = target::management_group_id(&call.head, &call.caller).and_then(|id| {
        let tenant = own_tenant(permit.tenant())?;
        let expands = call.head.query.get("$expand").is_some_and(|e| e.eq_ignore_ascii_case("children"));
        let recurses = call.head.query.get("$recurse").is_some_and(|r| r.eq_ignore_ascii_case("true"));
        near.facts(|f| show(f, tenant, &id, expands.then_some(if recurses { LEVELS_MAX } else { 0 })))
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

fn all_groups(facts: &Facts, tenant: TenantId) -> Vec<ResourceId> {
    let begins = format!("{}/", Fact::scoped_key(MANAGEMENT_GROUP, &ResourceId::tenant(tenant)));
    facts.scan(&begins).filter_map(|f| if let Fact::Scoped(s) = f { Some(s.id.clone()) } else { None }).collect()
}

/// Those that the caller may read.
fn readable(near: &Neighbours, tenant: TenantId) -> Vec<ResourceId> {
    let mut all = vec![ResourceId::tenant(tenant)];
    all.extend(near.facts(|f| all_groups(f, tenant)));
    all.retain(|id| near.may(READ, id));
    all
}

pub(crate) async fn list(_: Arc<Arm>, _: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = own_tenant(permit.tenant()).and_then(|tenant| {
        let ids = readable(&near, tenant);
        let value = near.facts(|f| ids.iter().map(|id| show(f, tenant, id, None)).collect::<Result<Vec<_>>>())?;
        Ok(json!({ "value": value }))
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// Groups and subscriptions that the caller may read, in one list.
pub(crate) async fn entities(_: Arc<Arm>, _: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = own_tenant(permit.tenant()).and_then(|tenant| {
        let ids = readable(&near, tenant);
        let mut all: Vec<ResourceId> = ids;
        let subscriptions = near.facts(|f| f.subscriptions(tenant).into_iter().map(|s| ResourceId::subscription(s.id)).collect::<Vec<_>>());
        all.extend(subscriptions.into_iter().filter(|s| near.may("Microsoft.Resources/subscriptions/read", s)));
        let value = near.facts(|f| {
            let one = |id: &ResourceId| {
                let mut body = child_of_kind(f, tenant, id, 0)?;
                let chain: Vec<String> =
                    f.scopes_of(id).iter().skip(1).take_while(|s| s.tenant_id().is_some()).map(|s| s.name().to_owned()).collect();
                let display_name = body["displayName"].take();
                body["properties"] = json!({
                    "displayName": display_name, "tenantId": tenant.to_string(), "permissions": "view",
                    "parent": parent_of(f, id).map(|p| json!({"id": outer_scope(&p)})),
                    "parentNameChain": chain.into_iter().rev().collect::<Vec<_>>(),
                });
                Ok(body)
            };
            all.iter().map(one).collect::<Result<Vec<Value>>>()
        })?;
        Ok(json!({"value": value, "count": value.len()}))
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// Everything under a group, groups first.
pub(crate) async fn descendants(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = target::management_group_id(&call.head, &call.caller).and_then(|id| {
        let tenant = own_tenant(permit.tenant())?;
        let value = near.facts(|f| {
            display_name(f, &id)?;
            let (mut waiting, mut found) = (vec![id.clone()], Vec::new());
            while let Some(at) = waiting.pop() {
                let (groups, subscriptions) = children(f, tenant, &at);
                for child in groups.iter().chain(&subscriptions) {
                    let about = child_of_kind(f, tenant, child, 0)?;
                    found.push(json!({
                        "id": about["id"], "name": about["name"], "type": about["type"],
                        "properties": {"displayName": about["displayName"], "parent": {"id": outer_scope(&at)}},
                    }));
                }
                waiting.extend(groups);
            }
            Ok::<_, Error>(found)
        })?;
        Ok(json!({ "value": value }))
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// Whether a name is free: in this tenant.
pub(crate) async fn check_name(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = async {
        let tenant = own_tenant(permit.tenant())?;
        let body = names::json_body(call.body).await?;
        let name = body.get("name").and_then(Value::as_str).unwrap_or("");
        let id = inner(&format!("/providers/{KIND}/{name}"), tenant)?;
        let taken = is_root(&id) || near.facts(|f| f.scoped_fact(MANAGEMENT_GROUP, &id).is_some());
        Ok(match taken {
            true => {
                json!({"nameAvailable": false, "reason": "AlreadyExists", "message": "The group with the specified name already exists"})
            }
            false => json!({ "nameAvailable": true }),
        })
    };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// What a PUT or PATCH asks for.
struct Wish {
    display_name: Option<String>,
    parent: Option<ResourceId>,
}

fn wish(body: &Map<String, Value>, tenant: TenantId) -> Result<Wish> {
    let properties = body.get("properties").and_then(Value::as_object).unwrap_or(body);
    let text = |v: Option<&Value>| v.and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
    let display_name = text(properties.get("displayName"));
    if display_name.as_ref().is_some_and(|n| n.chars().count() > 90) {
        return Err(bad("The display name is longer than 90 characters.".into()).at("displayName"));
    }
    let nested = properties.get("details").and_then(|d| d.get("parent")).and_then(|p| p.get("id"));
    let parent = text(nested.or_else(|| properties.get("parentGroupId"))).map(|id| inner(&id, tenant)).transpose()?;
    Ok(Wish { display_name, parent })
}

pub(crate) async fn put(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    write(arm, call, permit, near, false).await
}
pub(crate) async fn patch(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    write(arm, call, permit, near, true).await
}

async fn write(_: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours, merge: bool) -> Result<Reply> {
    let prepared = async {
        let id = target::management_group_id(&call.head, &call.caller)?;
        let tenant = own_tenant(permit.tenant())?;
        if is_root(&id) {
            return Err(bad("The root management group can't be changed.".into()));
        }
        Ok((id, tenant, wish(&names::json_body(call.body).await?, tenant)?))
    };
    let (id, tenant, wish) = match prepared.await {
        Ok(prepared) => prepared,
        Err(error) => return refuse(permit, error).await,
    };
    let mut turns = Turns::new(permit);
    loop {
        let decided = decide(&id, tenant, &wish, merge, &near);
        if let Some((receipt, ())) = turns.settle(decided).await? {
            let body = near.facts(|f| show(f, tenant, &id, None))?;
            return Ok(Reply::json(receipt, StatusCode::OK, &body));
        }
    }
}

/// Whoever puts something under a group, or takes it away, may write there. The root asks for nothing, as in Azure.
fn may_change(near: &Neighbours, group: &ResourceId) -> Result<()> {
    if is_root(group) || near.may(WRITE, group) {
        return Ok(());
    }
    let why = format!("Permission to '{WRITE}' on management group '{}' is needed.", group.name());
    Err(Error::new(Kind::Forbidden, "AuthorizationFailed", why))
}

fn decide(id: &ResourceId, tenant: TenantId, wish: &Wish, merge: bool, near: &Neighbours) -> Result<Change<()>> {
    struct Seen {
        there: There<ManagementGroup>,
        parent_now: Option<ResourceId>,
        parent: ResourceId,
        parent_fact: Option<(String, Option<trust::Version>, Fact)>,
        levels: usize,
        loops: bool,
        count: usize,
    }
    let seen = near.facts(|f| {
        let there = There::<ManagementGroup>::look(f, MANAGEMENT_GROUP, id)?;
        let parent_now = there.value.as_ref().and_then(|_| parent_of(f, id));
        let parent = wish.parent.clone().or_else(|| parent_now.clone()).unwrap_or_else(|| ResourceId::tenant(tenant));
        display_name(f, &parent)?;
        let above = f.scopes_of(&parent);
        let key = Fact::scoped_key(MANAGEMENT_GROUP, &parent);
        let parent_fact = f.get(&key).map(|fact| (key.clone(), f.version(&key), fact.clone()));
        // the root and the region are no levels
        let levels = above.iter().filter(|s| s.tenant_id().is_some() && !is_root(s)).count() + height(f, id);
        Ok::<_, Error>(Seen {
            loops: above.contains(id),
            count: all_groups(f, tenant).len(),
            there,
            parent_now,
            parent,
            parent_fact,
            levels,
        })
    })?;
    let Seen { there, parent_now, parent, parent_fact, levels, loops, count } = seen;
    if there.value.is_none() && merge {
        return Err(missing(id));
    }
    if loops {
        return Err(bad(format!("The management group '{}' is inside '{}' and can't be its parent.", parent.name(), id.name())));
    }
    if levels > LEVELS_MAX {
        return Err(bad(format!("Management groups are nested {LEVELS_MAX} levels deep at most.")));
    }
    if there.value.is_none() && count >= GROUPS_MAX {
        return Err(bad(format!("The tenant has {GROUPS_MAX} management groups: that is the most.")));
    }
    let moves = parent_now.as_ref() != Some(&parent);
    if moves {
        may_change(near, &parent)?;
        parent_now.as_ref().map_or(Ok(()), |p| may_change(near, p))?;
    }
    let display_name = wish.display_name.clone().or_else(|| there.value.as_ref().map(|g| g.display_name.clone()));
    let group = ManagementGroup {
        display_name: display_name.unwrap_or_else(|| id.name().to_owned()),
        made: Made::anew(near, there.value.as_ref().map(|g| &g.made)),
    };
    let mut batch = there.unchanged(Batch::new()).put_fact(rulings::fact(MANAGEMENT_GROUP, id.clone(), tenant, parent.clone(), &group));
    if moves {
        batch = under(batch, id, tenant, &parent, near);
        if let Some((key, version, fact)) = parent_fact {
            // whoever deletes the parent meanwhile sees that it is not empty any more
            batch = batch.fact_is(key, version).put_fact(fact);
        }
    }
    if there.value.is_none() {
        batch = batch.put_fact(owner(id, tenant, near)?);
    }
    Ok(Change { batch: Some(batch), status: 200, answer: () })
}

/// How many levels a group and what is below it take.
fn height(facts: &Facts, id: &ResourceId) -> usize {
    fn go(facts: &Facts, id: &ResourceId, left: usize) -> usize {
        if left == 0 {
            return 0;
        }
        1 + facts.scoped_at(MANAGEMENT_GROUP, id).map(|f| go(facts, &f.id, left - 1)).max().unwrap_or(0)
    }
    go(facts, id, LEVELS_MAX + 1)
}

/// What says that something is under a group; what is under the root needs no saying.
fn under(batch: Batch, id: &ResourceId, tenant: TenantId, parent: &ResourceId, near: &Neighbours) -> Batch {
    if is_root(parent) {
        return batch.remove_fact(Fact::scoped_key(PARENT, id));
    }
    batch.put_fact(rulings::fact(PARENT, id.clone(), tenant, parent.clone(), &Parent { since: near.clock.now() }))
}

/// Whoever makes a group owns it.
fn owner(id: &ResourceId, tenant: TenantId, near: &Neighbours) -> Result<Fact> {
    let principal = near.caller.principal().ok_or_else(|| Error::internal("a management group is made by nobody"))?;
    Ok(Fact::Assignment(Assignment {
        id: id.provider("Microsoft.Authorization/roleAssignments", &ObjectId::random(&*near.chance).to_string())?,
        tenant,
        scope: id.clone(),
        role: OWNER.to_owned(),
        principal: principal.object,
        principal_kind: principal.kind,
        created: near.clock.now(),
        created_by: Some(principal.object),
        description: None,
    }))
}

pub(crate) async fn delete(_: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let prepared = target::management_group_id(&call.head, &call.caller).and_then(|id| Ok((id, own_tenant(permit.tenant())?)));
    let (id, tenant) = match prepared {
        Ok((id, _)) if is_root(&id) => return refuse(permit, bad("The root management group can't be deleted.".into())).await,
        Ok(prepared) => prepared,
        Err(error) => return refuse(permit, error).await,
    };
    if near.facts(|f| f.scoped_fact(MANAGEMENT_GROUP, &id).is_none()) {
        return Ok(Reply::new(permit.close(Outcome::done(204)).await?, StatusCode::NO_CONTENT, ""));
    }
    let mut turns = Turns::new(permit);
    loop {
        let decided = decide_delete(&id, tenant, &near);
        if let Some((receipt, ())) = turns.settle(decided).await? {
            // done at once; clients know 202 and 204 only
            return Ok(Reply::new(receipt, StatusCode::NO_CONTENT, ""));
        }
    }
}

fn decide_delete(id: &ResourceId, tenant: TenantId, near: &Neighbours) -> Result<Change<()>> {
    let (there, parent, batch) = near.facts(|f| {
        let there = There::<ManagementGroup>::look(f, MANAGEMENT_GROUP, id)?;
        let (groups, subscriptions) = children(f, tenant, id);
        if !groups.is_empty() || !subscriptions.is_empty() {
            let why =
                format!("Management group '{}' has {} children: move or delete them first.", id.name(), groups.len() + subscriptions.len());
            return Err(Error::new(Kind::Conflict, "GroupNotEmpty", why));
        }
        // rules at it go with it: a group made anew under its name must not inherit them
        let mut batch = f.assignments_within(id).into_iter().fold(Batch::new(), |b, a| b.remove_fact(Fact::assignment_key(&a.id)));
        for family in rulings::FAMILIES {
            batch = f.scoped_at(family, id).fold(batch, |b, fact| b.remove_fact(fact_key(fact)));
        }
        Ok((there, parent_of(f, id), batch))
    })?;
    parent.map_or(Ok(()), |p| may_change(near, &p))?;
    let batch = there.unchanged(batch).remove_fact(Fact::scoped_key(MANAGEMENT_GROUP, id)).remove_fact(Fact::scoped_key(PARENT, id));
    Ok(Change { batch: Some(batch), status: 204, answer: () })
}

fn fact_key(fact: &Scoped) -> String {
    Fact::scoped_key(&fact.family, &fact.id)
}

fn subscription(call: &Call, near: &Neighbours, tenant: TenantId) -> Result<ResourceId> {
    let text = call.head.params.get("sub");
    let id = text.parse::<SubscriptionId>().ok().filter(|id| near.facts(|f| f.subscription(*id).is_some_and(|s| s.tenant == tenant)));
    let id =
        id.ok_or_else(|| Error::new(Kind::NotFound, "SubscriptionNotFound", format!("The subscription '{text}' could not be found.")))?;
    Ok(ResourceId::subscription(id))
}

fn show_subscription(facts: &Facts, tenant: TenantId, group: &ResourceId, id: &ResourceId) -> Value {
    let name = id.subscription_id().and_then(|s| facts.subscription(s)).map(|s| s.name.clone());
    json!({
        "id": format!("{}/subscriptions/{}", outer_scope(group), id.name()), "type": format!("{KIND}/subscriptions"), "name": id.name(),
        "properties": {"displayName": name, "parent": {"id": outer_scope(group)}, "state": "Active", "tenant": tenant.to_string()},
    })
}

/// Moves a subscription under a group.
pub(crate) async fn put_subscription(_: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    move_subscription(call, permit, near, true).await
}
/// Moves it back under the root.
pub(crate) async fn delete_subscription(_: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    move_subscription(call, permit, near, false).await
}

async fn move_subscription(call: Call, permit: Permit<Write>, near: Neighbours, here: bool) -> Result<Reply> {
    let prepared = target::management_group_id(&call.head, &call.caller).and_then(|group| {
        let tenant = own_tenant(permit.tenant())?;
        Ok((subscription(&call, &near, tenant)?, group, tenant))
    });
    let (id, group, tenant) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return refuse(permit, error).await,
    };
    let mut turns = Turns::new(permit);
    loop {
        let decided = decide_move(&id, &group, tenant, here, &near);
        if let Some((receipt, ())) = turns.settle(decided).await? {
            if !here {
                return Ok(Reply::new(receipt, StatusCode::NO_CONTENT, ""));
            }
            return Ok(Reply::json(receipt, StatusCode::OK, &near.facts(|f| show_subscription(f, tenant, &group, &id))));
        }
    }
}

fn decide_move(id: &ResourceId, group: &ResourceId, tenant: TenantId, here: bool, near: &Neighbours) -> Result<Change<()>> {
    let key = Fact::scoped_key(MANAGEMENT_GROUP, group);
    let parent_key = Fact::scoped_key(PARENT, id);
    let (now, fact, version) = near.facts(|f| {
        display_name(f, group)?;
        let group_fact = f.get(&key).map(|fact| (fact.clone(), f.version(&key)));
        Ok::<_, Error>((parent_of(f, id), group_fact, f.version(&parent_key)))
    })?;
    if !here && now.as_ref() != Some(group) {
        return Err(Error::new(Kind::NotFound, "NotFound", format!("The subscription '{}' is not under '{}'.", id.name(), group.name())));
    }
    // what a subscription inherits is given and taken by whoever may give and take roles in it
    if !near.may(GRANT, id) {
        let why = format!("The client does not have authorization to perform action '{GRANT}' over scope '{id}'.");
        return Err(Error::new(Kind::Forbidden, "AuthorizationFailed", why));
    }
    may_change(near, group)?;
    now.as_ref().map_or(Ok(()), |p| may_change(near, p))?;
    let root = ResourceId::tenant(tenant);
    let mut batch = Batch::new().fact_is(parent_key, version);
    batch = under(batch, id, tenant, if here { group } else { &root }, near);
    if let Some((fact, version)) = fact {
        batch = batch.fact_is(key, version).put_fact(fact);
    }
    Ok(Change { batch: Some(batch), status: 200, answer: () })
}

pub(crate) async fn get_subscription(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = target::management_group_id(&call.head, &call.caller).and_then(|group| {
        let tenant = own_tenant(permit.tenant())?;
        let id = subscription(&call, &near, tenant)?;
        near.facts(|f| match parent_of(f, &id) == Some(group.clone()) {
            true => Ok(show_subscription(f, tenant, &group, &id)),
            false => {
                Err(Error::new(Kind::NotFound, "NotFound", format!("The subscription '{}' is not under '{}'.", id.name(), group.name())))
            }
        })
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) async fn list_subscriptions(_: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = target::management_group_id(&call.head, &call.caller).and_then(|group| {
        let tenant = own_tenant(permit.tenant())?;
        near.facts(|f| {
            display_name(f, &group)?;
            let (_, subscriptions) = children(f, tenant, &group);
            Ok(json!({"value": subscriptions.iter().map(|s| show_subscription(f, tenant, &group, s)).collect::<Vec<_>>()}))
        })
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// A Global Administrator takes over: User Access Administrator at the root (Azure, "elevate access").
pub(crate) async fn elevate(_: Arc<Arm>, _: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    const USER_ACCESS_ADMINISTRATOR: &str = "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9";
    let prepared = own_tenant(permit.tenant()).and_then(|tenant| {
        let principal = near.caller.principal().cloned().ok_or_else(|| Error::internal("nobody elevates"))?;
        let scope = ResourceId::tenant(tenant);
        let held = near.facts(|f| f.assignments_at(principal.object, &scope).any(|a| a.role == USER_ACCESS_ADMINISTRATOR));
        let grant = Assignment {
            id: scope.provider("Microsoft.Authorization/roleAssignments", &ObjectId::random(&*near.chance).to_string())?,
            tenant,
            scope: scope.clone(),
            role: USER_ACCESS_ADMINISTRATOR.to_owned(),
            principal: principal.object,
            principal_kind: principal.kind,
            created: near.clock.now(),
            created_by: Some(principal.object),
            description: None,
        };
        Ok((!held).then_some(grant))
    });
    let receipt = match prepared {
        Ok(Some(grant)) => permit.commit(Batch::new().claim_fact(Fact::Assignment(grant)), Outcome::done(200)).await?,
        Ok(None) => permit.close(Outcome::done(200)).await?,
        Err(error) => return refuse(permit, error).await,
    };
    Ok(Reply::new(receipt, StatusCode::OK, ""))
}
