//! Azure Policy upon what is written here: which policies reach a resource, and what they make of a wish before anything
//! of it is stored. The language is `policy`'s; assignments, definitions and exemptions are facts (`rulings`).

use crate::model::{Group, RESOURCES, Resource, ScopeTags, TAGS, row_name};
use crate::rulings::{self, DEFINITION, EXEMPTION, POLICY, SET, inner, outer, outer_scope};
use crate::{Arm, builtin_policies};
use base::{Error, Kind, ResourceId, Result, TenantId, Timestamp};
use policy::{Applied, Definition, InSet, Set, Subject, Surroundings};
use serde_json::{Map, Value, json};
use service::{Have, Neighbours, Want};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use trust::{Access, Fact, Facts, Permit, Scoped, Span, Version};

/// Assignments kept ready. Beyond that all are read anew: a bound, not a measure.
const KEPT_MAX: usize = 4_096;

/// What was worked out of assignments, as long as nothing that they rest on has changed.
#[derive(Default)]
pub(crate) struct Ready(Mutex<HashMap<ResourceId, Arc<Assigned>>>);

/// An assignment with its definitions.
pub(crate) struct Assigned {
    rests_on: Vec<(String, Option<Version>)>,
    /// [`Facts::scoped_changes`] when that was last looked at.
    seen: AtomicU64,
    pub policies: Vec<Arc<Applied>>,
    not_scopes: Vec<ResourceId>,
}

/// The policies that reach a resource.
#[derive(Default)]
pub(crate) struct Reached {
    pub policies: Vec<Arc<Applied>>,
    /// Under an exemption.
    pub exempt: Vec<Arc<Applied>>,
}

impl Assigned {
    fn still_holds(&self, facts: &Facts) -> bool {
        let now = facts.scoped_changes();
        if self.seen.load(Ordering::Relaxed) == now {
            return true;
        }
        let holds = self.rests_on.iter().all(|(key, version)| facts.version(key) == *version);
        if holds {
            self.seen.store(now, Ordering::Relaxed);
        }
        holds
    }
}

impl Reached {
    pub(crate) fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.exempt.is_empty()
    }
}

/// A definition or initiative, by the id that an assignment names.
pub(crate) enum Named {
    Definition(Arc<Definition>),
    Set(Set),
}

/// What is said about a definition beside its rule.
pub(crate) struct About {
    /// As clients call it.
    pub id: String,
    pub name: String,
    pub display_name: String,
}

pub(crate) fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name)?.as_str()
}

fn missing(id: &str, set: bool) -> Error {
    let name = id.rsplit('/').next().unwrap_or("");
    let (code, what) =
        if set { ("PolicySetDefinitionNotFound", "policy set definition") } else { ("PolicyDefinitionNotFound", "policy definition") };
    Error::new(Kind::NotFound, code, format!("The {what} '{name}' could not be found."))
}

/// The key of the fact that an answer rests on, and its version; `None`: it rests on no fact.
type RestsOn = Option<(String, Option<Version>)>;

/// The definition that `id` names, with what the answer rests on. Error `PolicyDefinitionNotFound`…
pub(crate) fn named(arm: &Arm, facts: &Facts, tenant: TenantId, id: &str) -> Result<(Named, About, RestsOn)> {
    let folded = id.to_ascii_lowercase();
    let set = folded.contains("/policysetdefinitions/");
    let name = id.rsplit('/').next().unwrap_or("").to_owned();
    if let Some(found) = builtin_policies::find(id) {
        let about = About { id: found.id(), name, display_name: found.display_name().to_owned() };
        let named = if set {
            Named::Set(Set::read(&found.properties)?)
        } else {
            Named::Definition(Arc::new(Definition::read(&found.properties, arm)?))
        };
        return Ok((named, about, None));
    }
    let family = if set { SET } else { DEFINITION };
    let place = inner(id, tenant)?;
    let fact = facts.scoped_fact(family, &place).filter(|f| f.tenant == tenant).ok_or_else(|| missing(id, set))?;
    let stored: rulings::Policy = rulings::read(fact)?;
    let properties = stored.properties();
    let display_name = text(&properties, "displayName").unwrap_or(fact.id.name()).to_owned();
    let about = About { id: outer(&fact.id, &fact.scope), name: fact.id.name().to_owned(), display_name };
    let key = Fact::scoped_key(family, &place);
    let rests_on = (key.clone(), facts.version(&key));
    let named = if set { Named::Set(Set::read(&properties)?) } else { Named::Definition(Arc::new(Definition::read(&properties, arm)?)) };
    Ok((named, about, Some(rests_on)))
}

/// An assignment's properties, with everything they name. Errors: as Azure refuses such an assignment.
pub(crate) fn assigned(
    arm: &Arm,
    facts: &Facts,
    tenant: TenantId,
    id: &ResourceId,
    scope: &ResourceId,
    properties: &Value,
) -> Result<Assigned> {
    let definition = text(properties, "policyDefinitionId").unwrap_or("");
    let (found, about, rests_on) = named(arm, facts, tenant, definition)?;
    let mut rests_on: Vec<_> = rests_on.into_iter().collect();
    let messages: Vec<(Option<&str>, &str)> = properties["nonComplianceMessages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|m| Some((text(m, "policyDefinitionReferenceId"), text(m, "message")?)))
        .collect();
    let message = |reference: Option<&str>| {
        let exact = messages.iter().find(|(r, _)| reference.is_some() && *r == reference);
        exact.or_else(|| messages.iter().find(|(r, _)| r.is_none())).map(|(_, m)| (*m).to_owned())
    };
    let enforced = !text(properties, "enforcementMode").is_some_and(|m| m.eq_ignore_ascii_case("DoNotEnforce"));
    let base = |definition: Arc<Definition>, about: About, parameters, set: Option<InSet>| Applied {
        assignment_id: outer(id, scope),
        assignment_name: id.name().to_owned(),
        assignment_display_name: text(properties, "displayName").unwrap_or(id.name()).to_owned(),
        scope: outer_scope(scope),
        enforced,
        parameters,
        message: message(set.as_ref().map(|s| s.reference.as_str())),
        definition,
        definition_id: about.id,
        definition_name: about.name,
        definition_display_name: about.display_name,
        set,
        once: Default::default(),
    };
    let given = properties.get("parameters");
    let mut policies = Vec::new();
    match found {
        Named::Definition(definition) => {
            let values = policy::arguments(&definition.parameters, given, id.name(), &about.name)?;
            policies.push(Arc::new(base(definition, about, values, None)));
        }
        Named::Set(set) => {
            let of_set = policy::arguments(&set.parameters, given, id.name(), &about.name)?;
            for member in &set.members {
                let (found, its, rests) = named(arm, facts, tenant, &member.definition)?;
                rests_on.extend(rests);
                let Named::Definition(definition) = found else { return Err(missing(&member.definition, false)) };
                let wrong = |why| {
                    Error::invalid("InvalidPolicyParameters", format!("The parameters of '{}' have no value: {why}.", member.reference))
                };
                let values = policy::member_parameters(member, &of_set).map_err(wrong)?;
                let values = policy::merged(&definition.parameters, &values, id.name(), &its.name)?;
                let (set_id, name, display_name) = (about.id.clone(), about.name.clone(), about.display_name.clone());
                let in_set = InSet { id: set_id, name, display_name, reference: member.reference.clone() };
                policies.push(Arc::new(base(definition, its, values, Some(in_set))));
            }
        }
    }
    let not_scopes = properties["notScopes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|s| inner(s, tenant))
        .collect::<Result<_>>()?;
    Ok(Assigned { rests_on, seen: AtomicU64::new(facts.scoped_changes()), policies, not_scopes })
}

impl Arm {
    fn ready(&self, facts: &Facts, fact: &Scoped, kept: &mut HashMap<ResourceId, Arc<Assigned>>) -> Result<Arc<Assigned>> {
        if let Some(found) = kept.get(&fact.id).filter(|found| found.still_holds(facts)) {
            return Ok(found.clone());
        }
        let key = Fact::scoped_key(POLICY, &fact.id);
        let own = (key.clone(), facts.version(&key));
        let stored: rulings::Policy = rulings::read(fact)?;
        // what can't be worked out stands in the way of writing: it may be what forbids it
        let unusable = |e: Error| {
            Error::new(
                Kind::Conflict,
                "PolicyAssignmentUnusable",
                format!("The policy assignment '{}' can't be evaluated: {}", outer(&fact.id, &fact.scope), e.message),
            )
        };
        let mut found = assigned(self, facts, fact.tenant, &fact.id, &fact.scope, &stored.properties()).map_err(unusable)?;
        found.rests_on.push(own);
        let found = Arc::new(found);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(fact.id.clone(), found.clone());
        Ok(found)
    }

    /// The policies that reach a resource, those of the innermost scope first.
    pub(crate) fn policies_for(&self, facts: &Facts, tenant: TenantId, id: &ResourceId, now: Timestamp) -> Result<Reached> {
        let mut reached = Reached::default();
        let assignments = facts.scoped_above(POLICY, id);
        if assignments.is_empty() {
            return Ok(reached);
        }
        let exemptions: Vec<Exemption> =
            facts.scoped_above(EXEMPTION, id).into_iter().filter(|f| f.tenant == tenant).filter_map(|f| Exemption::read(f, now)).collect();
        // work under the lock is work that is needed once
        let mut kept = self.ready.0.lock().unwrap_or_else(|e| e.into_inner());
        for fact in assignments.into_iter().filter(|f| f.tenant == tenant) {
            let found = self.ready(facts, fact, &mut kept)?;
            if found.not_scopes.iter().any(|s| id.is_within(s) || facts.scopes_of(id).contains(s)) {
                continue;
            }
            for policy in &found.policies {
                let exempt = exemptions.iter().any(|e| e.is_from(policy));
                if exempt { &mut reached.exempt } else { &mut reached.policies }.push(policy.clone());
            }
        }
        Ok(reached)
    }
}

struct Exemption {
    assignment: String,
    references: Vec<String>,
}

impl Exemption {
    /// `None`: expired, or unreadable, and so exempting nothing.
    fn read(fact: &Scoped, now: Timestamp) -> Option<Exemption> {
        let properties = rulings::read::<rulings::Policy>(fact).ok()?.properties();
        let expired = match text(&properties, "expiresOn") {
            None => false,
            Some(at) => Timestamp::parse_rfc3339(at).is_none_or(|at| at <= now),
        };
        let references = properties["policyDefinitionReferenceIds"].as_array().into_iter().flatten();
        let references = references.filter_map(Value::as_str).map(str::to_owned).collect();
        (!expired).then(|| Some(Exemption { assignment: text(&properties, "policyAssignmentId")?.to_owned(), references }))?
    }
    fn is_from(&self, policy: &Applied) -> bool {
        let reference = policy.set.as_ref().map(|s| &s.reference);
        self.assignment.eq_ignore_ascii_case(&policy.assignment_id)
            && (self.references.is_empty() || reference.is_some_and(|r| self.references.iter().any(|x| x.eq_ignore_ascii_case(r))))
    }
}

/// Where and when a resource of a subscription is judged.
pub(crate) async fn surroundings<A: Access>(
    permit: &Permit<A>,
    near: &Neighbours,
    group: Option<&Group>,
    version: &str,
) -> Result<Surroundings> {
    let mut subscription = Value::Null;
    if let Some(id) = permit.target().subscription_id() {
        let tags = permit.data().get::<ScopeTags>(TAGS, "").await?.map(|t| t.value.tags).unwrap_or_default();
        let (name, tenant) = near.facts(|f| f.subscription(id).map(|s| (s.name.clone(), s.tenant))).unzip();
        subscription = json!({"id": format!("/subscriptions/{id}"), "subscriptionId": id.to_string(), "displayName": name, "tenantId": tenant.map(|t| t.to_string()), "tags": tags});
    }
    let resource_group = group.map(crate::calls::groups::show).unwrap_or(Value::Null);
    Ok(Surroundings { now: near.clock.now(), resource_group, subscription, api_version: version.to_owned() })
}

/// The wish of a write in a subscription, as policies leave it; `None`: as it was. Error `RequestDisallowedByPolicy`.
pub(crate) async fn govern<A: Access>(
    arm: &Arm,
    permit: &Permit<A>,
    near: &Neighbours,
    id: &ResourceId,
    group: Option<&Group>,
    version: &str,
    subject: Subject,
) -> Result<Option<Subject>> {
    let Some(tenant) = permit.tenant() else { return Ok(None) };
    let reached = near.facts(|f| arm.policies_for(f, tenant, id, near.clock.now()))?;
    if reached.policies.is_empty() {
        return Ok(None);
    }
    let around = surroundings(permit, near, group, version).await?;
    let decision = policy::judge(subject, &reached.policies, &around, arm);
    if !decision.denials.is_empty() {
        return Err(policy::refusal(id.name(), &decision.denials));
    }
    Ok(decision.changed.then_some(decision.subject))
}

/// A deletion, as `denyAction` sees it.
pub(crate) async fn govern_delete<A: Access>(
    arm: &Arm,
    permit: &Permit<A>,
    near: &Neighbours,
    id: &ResourceId,
    subject: Subject,
) -> Result<()> {
    let Some(tenant) = permit.tenant() else { return Ok(()) };
    let reached = near.facts(|f| arm.policies_for(f, tenant, id, near.clock.now()))?;
    if reached.policies.is_empty() {
        return Ok(());
    }
    let around = surroundings(permit, near, None, "").await?;
    let denials = policy::judge_delete(&subject, &reached.policies, &around, arm);
    if denials.is_empty() { Ok(()) } else { Err(policy::refusal(id.name(), &denials)) }
}

/// What is in a group, when the group is to be deleted: each resource as by a deletion of its own, but where a policy lets it
/// go with its group.
pub(crate) async fn govern_contents(arm: &Arm, permit: &Permit<trust::Write>, near: &Neighbours, group: &ResourceId) -> Result<()> {
    let Some(tenant) = permit.tenant() else { return Ok(()) };
    if near.facts(|f| f.scoped_above(POLICY, group).is_empty() && f.scoped_below(POLICY, group).next().is_none()) {
        return Ok(());
    }
    let around = surroundings(permit, near, None, "").await?;
    let prefix = format!("{}/", row_name(group));
    let mut span = Span::prefix(&prefix);
    loop {
        let page = permit.data().scan::<Resource>(RESOURCES, span, 1_000).await?;
        for (_, row) in page.rows {
            let have = row.value.have;
            let Ok(kind) = arm.kind_of(&have.id) else { continue };
            let mut reached = near.facts(|f| arm.policies_for(f, tenant, &have.id, near.clock.now()))?.policies;
            reached.retain(|p| !p.definition.goes_with_its_group);
            let denials = policy::judge_delete(&of_resource(&**kind, &have), &reached, &around, arm);
            if !denials.is_empty() {
                return Err(policy::refusal(have.id.name(), &denials));
            }
        }
        match page.next {
            Some(next) => span = Span::prefix(&prefix).from(next),
            None => return Ok(()),
        }
    }
}

/// A resource that is there.
pub(crate) fn of_resource(kind: &dyn service::Kind, have: &Have) -> Subject {
    Subject {
        body: body(
            kind,
            &have.id,
            have.location.as_ref().map(|l| l.as_str()),
            &have.tags,
            &have.kind,
            &have.sku,
            &have.identity,
            &have.properties,
        ),
    }
}

#[allow(clippy::too_many_arguments)] // the members of a resource, once
fn body(
    kind: &dyn service::Kind,
    id: &ResourceId,
    location: Option<&str>,
    tags: &Map<String, Value>,
    kind_name: &Option<String>,
    sku: &Option<Value>,
    identity: &Option<Value>,
    properties: &Value,
) -> Value {
    json!({
        "id": id.as_str(), "name": id.name(), "type": format!("{}/{}", kind.namespace(), kind.name()), "location": location,
        "tags": tags, "kind": kind_name, "sku": sku, "identity": identity, "properties": properties,
    })
}

pub(crate) fn of_group(group: &Group) -> Subject {
    let mut body = crate::calls::groups::show(group);
    body["type"] = json!("Microsoft.Resources/subscriptions/resourceGroups");
    Subject { body }
}

/// The wish for a resource, as policies leave it. They see what would be stored: the wish over what is there.
#[allow(clippy::too_many_arguments)] // all that a policy may look at
pub(crate) async fn on_want<A: Access>(
    arm: &Arm,
    permit: &Permit<A>,
    near: &Neighbours,
    kind: &dyn service::Kind,
    id: &ResourceId,
    group: &Group,
    mut want: Want,
    have: Option<&Have>,
) -> Result<Want> {
    let properties = crate::calls::resources::merged(have.map(|h| h.properties.clone()), want.properties.clone());
    let location = want.location.as_ref().or_else(|| have?.location.as_ref()).map(|l| l.as_str());
    let before = body(kind, id, location, &want.tags, &want.kind, &want.sku, &want.identity, &properties);
    let version = want.api_version.clone();
    let Some(after) = govern(arm, permit, near, id, Some(group), &version, Subject { body: before.clone() }).await? else {
        return Ok(want);
    };
    let after = after.body;
    let changed = |name: &str| (before[name] != after[name]).then(|| after[name].clone());
    if let Some(tags) = changed("tags") {
        want.tags = crate::names::tags(Some(&tags))?.unwrap_or_default();
    }
    if let Some(sku) = changed("sku") {
        want.sku = Some(sku);
    }
    if let Some(kind) = changed("kind") {
        want.kind = kind.as_str().map(str::to_owned);
    }
    if before["identity"] != after["identity"] || before["location"] != after["location"] {
        return Err(Error::not_implemented("A policy that changes the identity or location of a resource"));
    }
    let (Some(was), Some(is)) = (before["properties"].as_object(), after["properties"].as_object()) else { return Ok(want) };
    if let Value::Object(wished) = &mut want.properties {
        wished.extend(is.iter().filter(|(name, value)| was.get(*name) != Some(value)).map(|(n, v)| (n.clone(), v.clone())));
        wished.retain(|name, _| is.contains_key(name));
    }
    Ok(want)
}
