//! Compliance (Microsoft.PolicyInsights/policyStates): worked out of what is there when it is asked for, so that it is
//! never older than the resources.

use crate::Arm;
use crate::change::close;
use crate::model::{GROUPS, Group, RESOURCES, Resource, group_of};
use crate::policies::{of_group, of_resource, surroundings};
use crate::rulings::{self, LOCK, Lock, inner};
use crate::target;
use base::{Error, ResourceId, Result, TenantId};
use http::StatusCode;
use policy::{Applied, Compliance, Subject, Surroundings};
use serde_json::{Map, Value, json};
use service::{Call, Neighbours, Reply};
use std::collections::BTreeMap;
use std::sync::Arc;
use trust::{Permit, Read, Span, Weight};

/// Resources looked at for one answer. More are refused, not left out silently.
const RESOURCES_MAX: usize = 50_000;
const ROWS_MAX: usize = 10_000;
const QUERY: &str = "Microsoft.PolicyInsights/policyStates/queryResults/read";

/// What one policy says of one resource.
struct State {
    policy: Arc<Applied>,
    effect: &'static str,
    id: String,
    kind: String,
    location: String,
    group: String,
    tags: Value,
    compliance: Compliance,
}

/// Only what is asked about: an assignment, a definition, an initiative.
#[derive(Default)]
struct About {
    assignment: Option<String>,
    definition: Option<String>,
    set: Option<String>,
}

impl About {
    fn fits(&self, policy: &Applied) -> bool {
        let is =
            |wanted: &Option<String>, found: Option<&str>| wanted.as_ref().is_none_or(|w| found.is_some_and(|f| f.eq_ignore_ascii_case(w)));
        is(&self.assignment, Some(&policy.assignment_id))
            && is(&self.definition, Some(&policy.definition_id))
            && is(&self.set, policy.set.as_ref().map(|s| s.id.as_str()))
    }
}

/// The scope of a call, apart from a policy object that its path may end with.
fn asked(call: &Call) -> Result<(ResourceId, About)> {
    let text = format!("/{}", call.head.params.get("scope"));
    let folded = text.to_ascii_lowercase();
    for kind in ["policyassignments", "policydefinitions", "policysetdefinitions"] {
        let marker = format!("/providers/microsoft.authorization/{kind}/");
        let Some(at) = folded.rfind(&marker) else { continue };
        // a built-in definition's id has no scope of its own
        let built_in = text.get(at..).filter(|id| crate::builtin_policies::find(id).is_some());
        let id = Some(built_in.unwrap_or(&text).to_owned());
        let about = match kind {
            "policyassignments" => About { assignment: id, ..About::default() },
            "policydefinitions" => About { definition: id, ..About::default() },
            _ => About { set: id, ..About::default() },
        };
        let scope = text.get(..at).filter(|s| !s.is_empty()).unwrap_or("/");
        let tenant = call.caller.tenant().ok_or_else(|| Error::internal("a call without a tenant"))?;
        return Ok((inner(scope, tenant)?, about));
    }
    Ok((target::scope_id(&call.head, &call.caller)?, About::default()))
}

async fn states(arm: &Arm, call: &Call, permit: &Permit<Read>, near: &Neighbours) -> Result<Vec<State>> {
    let (scope, about) = asked(call)?;
    let tenant = permit.tenant().ok_or_else(|| Error::internal("a scope without a tenant"))?;
    if scope.subscription_id().is_some() {
        return in_subscription(arm, permit, near, tenant, &scope, &about).await;
    }
    let below = near.facts(|f| {
        let all = f.subscriptions(tenant).into_iter().map(|s| ResourceId::subscription(s.id));
        all.filter(|s| f.scopes_of(s).contains(&scope)).collect::<Vec<_>>()
    });
    let mut found = Vec::new();
    for subscription in below.into_iter().filter(|s| near.may(QUERY, s)) {
        let inside: Permit<Read> = near.permit("Query Policy States", &[QUERY], false, &subscription, Weight::Batched, "").await?;
        let part = in_subscription(arm, &inside, near, tenant, &subscription, &about).await;
        let (_, part) = close(inside, part).await?;
        found.extend(part);
    }
    Ok(found)
}

async fn in_subscription(
    arm: &Arm,
    permit: &Permit<Read>,
    near: &Neighbours,
    tenant: TenantId,
    scope: &ResourceId,
    about: &About,
) -> Result<Vec<State>> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut span = Span::prefix("/");
    loop {
        let page = permit.data().scan::<Group>(GROUPS, span, 1_000).await?;
        groups.extend(page.rows.into_iter().map(|(_, row)| (row.value.id.folded().to_owned(), row.value)));
        match page.next {
            Some(next) => span = Span::prefix("/").from(next),
            None => break,
        }
    }
    let mut subjects: Vec<(ResourceId, Subject)> = groups.values().map(|g| (g.id.clone(), of_group(g))).collect();
    let mut span = Span::prefix("/");
    loop {
        let page = permit.data().scan::<Resource>(RESOURCES, span, 1_000).await?;
        for (_, row) in page.rows {
            let have = row.value.have;
            if let Ok(kind) = arm.kind_of(&have.id) {
                subjects.push((have.id.clone(), of_resource(&**kind, &have)));
            }
        }
        if subjects.len() > RESOURCES_MAX {
            return Err(Error::invalid(
                "TooManyResources",
                format!("There are more than {RESOURCES_MAX} resources: ask for a resource group."),
            ));
        }
        match page.next {
            Some(next) => span = Span::prefix("/").from(next),
            None => break,
        }
    }
    subjects.extend(others(near, permit.target(), tenant)?);
    let base = surroundings(permit, near, None, "").await?;
    let around: BTreeMap<&String, Surroundings> =
        groups.iter().map(|(id, group)| (id, Surroundings { resource_group: crate::calls::groups::show(group), ..base.clone() })).collect();
    let mut found = Vec::new();
    for (id, subject) in subjects.iter().filter(|(id, _)| id.is_within(scope)) {
        let reached = near.facts(|f| arm.policies_for(f, tenant, id, near.clock.now()))?;
        if reached.is_empty() {
            continue;
        }
        let group = group_of(id);
        let around = group.as_ref().and_then(|g| around.get(&g.folded().to_owned())).unwrap_or(&base);
        let related = |policy: &Applied, of: &Subject| {
            let Some(existence) = &policy.definition.existence else { return false };
            let near_by = |other: &ResourceId| {
                let same_group = group.as_ref().is_some_and(|g| other.is_within(g));
                other != id && (existence.anywhere || same_group)
            };
            subjects.iter().any(|(other, body)| near_by(other) && policy.satisfied_by(of, body, around, arm))
        };
        let all = reached.policies.iter().map(|p| (p, false)).chain(reached.exempt.iter().map(|p| (p, true)));
        for (policy, exempt) in all.filter(|(p, _)| about.fits(p)) {
            let compliance = match policy.compliance(subject, around, arm, &related) {
                Compliance::NotApplicable => continue,
                Compliance::NonCompliant if exempt => Compliance::Exempt,
                other => other,
            };
            found.push(State {
                effect: policy.effect().map_or("deny", |e| e.name()),
                policy: policy.clone(),
                id: id.to_string(),
                kind: subject.kind().to_owned(),
                location: subject.text("location").to_owned(),
                group: id.resource_group().unwrap_or_default().to_owned(),
                tags: subject.body.get("tags").cloned().unwrap_or(Value::Null),
                compliance,
            });
        }
    }
    Ok(found)
}

/// What has no row of its own but is a resource to policies: role assignments, the tenant's own roles, locks.
fn others(near: &Neighbours, subscription: &ResourceId, tenant: TenantId) -> Result<Vec<(ResourceId, Subject)>> {
    near.facts(|f| {
        let mut found = Vec::new();
        for a in f.assignments_within(subscription) {
            let kind = f.principal(a.principal).map(|p| format!("{:?}", p.kind)).unwrap_or_default();
            let body = json!({
                "id": a.id.as_str(), "name": a.id.name(), "type": "Microsoft.Authorization/roleAssignments",
                "properties": {
                    "roleDefinitionId": crate::calls::role_definitions::definition_id(&a.role, &a.scope), "principalId": a.principal.to_string(),
                    "principalType": kind, "scope": a.scope.as_str(), "description": a.description,
                },
            });
            found.push((a.id.clone(), Subject { body }));
        }
        for fact in f.scoped_at(LOCK, subscription).chain(f.scoped_below(LOCK, subscription)).filter(|f| f.tenant == tenant) {
            let lock: Lock = rulings::read(fact)?;
            let level = if lock.read_only { "ReadOnly" } else { "CanNotDelete" };
            let body = json!({
                "id": fact.id.as_str(), "name": fact.id.name(), "type": "Microsoft.Authorization/locks",
                "properties": {"level": level, "notes": lock.notes},
            });
            found.push((fact.id.clone(), Subject { body }));
        }
        Ok(found)
    })
}

fn show(state: &State, subscription: &str, now: &str) -> Value {
    let p = &state.policy;
    let parameters: Map<String, Value> = p.parameters.iter().map(|(k, v)| (k.clone(), json!({"value": v}))).collect();
    json!({
        "timestamp": now,
        "resourceId": state.id,
        "policyAssignmentId": p.assignment_id,
        "policyDefinitionId": p.definition_id,
        "effectiveParameters": "",
        "isCompliant": state.compliance != Compliance::NonCompliant,
        "subscriptionId": subscription,
        "resourceType": state.kind,
        "resourceLocation": state.location,
        "resourceGroup": state.group,
        "resourceTags": state.tags.to_string(),
        "policyAssignmentName": p.assignment_name,
        "policyAssignmentOwner": "",
        "policyAssignmentParameters": Value::Object(parameters).to_string(),
        "policyAssignmentScope": p.scope,
        "policyDefinitionName": p.definition_name,
        "policyDefinitionAction": state.effect,
        "policyDefinitionCategory": "",
        "policySetDefinitionId": p.set.as_ref().map(|s| s.id.as_str()).unwrap_or(""),
        "policySetDefinitionName": p.set.as_ref().map(|s| s.name.as_str()).unwrap_or(""),
        "policySetDefinitionOwner": "",
        "policySetDefinitionCategory": "",
        "policySetDefinitionParameters": "",
        "policyDefinitionReferenceId": p.set.as_ref().map(|s| s.reference.as_str()).unwrap_or(""),
        "managementGroupIds": "",
        "complianceState": state.compliance.name(),
    })
}

pub(crate) async fn query(arm: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = async {
        let head = &call.head;
        for name in ["$apply", "$expand"] {
            if head.query.has(name) {
                return Err(Error::not_implemented(format!("'{name}' of policy states")).at(name));
            }
        }
        let top = head
            .query
            .get("$top")
            .map(|t| t.parse::<usize>().map_err(|_| Error::invalid("InvalidTop", "'$top' is not a number.")))
            .transpose()?;
        let filter = crate::filter::Filter::of(head)?;
        let select: Option<Vec<String>> = head.query.get("$select").map(|s| s.split(',').map(|n| n.trim().to_owned()).collect());
        let all = states(&arm, &call, &permit, &near).await?;
        let now = near.clock.now().rfc3339();
        let mut rows: Vec<Value> = Vec::new();
        for state in &all {
            let subscription = ResourceId::parse(&state.id)?.subscription_id().map(|s| s.to_string()).unwrap_or_default();
            let row = show(state, &subscription, &now);
            let fits = filter.as_ref().is_none_or(|f| {
                f.fits(&|one| {
                    let value = row.as_object().and_then(|r| r.iter().find(|(k, _)| k.eq_ignore_ascii_case(one.field()))).map(|(_, v)| v);
                    one.text_fits(value.map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned)).as_deref())
                })
            });
            if fits {
                rows.push(row);
            }
        }
        let count = rows.len();
        rows.truncate(top.unwrap_or(ROWS_MAX).min(ROWS_MAX));
        if let Some(select) = select {
            for row in &mut rows {
                if let Value::Object(map) = row {
                    map.retain(|k, _| select.iter().any(|s| s.eq_ignore_ascii_case(k)));
                }
            }
        }
        let context = format!("{}/$metadata#latest", crate::paging::base_url(head));
        Ok(json!({"@odata.context": context, "@odata.count": count, "value": rows}))
    };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// Resources and policies that do not comply, counted.
fn results(states: &[&State]) -> Value {
    let mut worst: BTreeMap<&str, Compliance> = BTreeMap::new();
    for state in states {
        let entry = worst.entry(&state.id).or_insert(state.compliance);
        if state.compliance == Compliance::NonCompliant || *entry == Compliance::Compliant {
            *entry = state.compliance;
        }
    }
    let bad: Vec<&&State> = states.iter().filter(|s| s.compliance == Compliance::NonCompliant).collect();
    let distinct = |names: Vec<&str>| names.into_iter().collect::<std::collections::BTreeSet<_>>().len();
    let details = [Compliance::Compliant, Compliance::NonCompliant, Compliance::Exempt]
        .map(|c| json!({"complianceState": c.name().to_lowercase(), "count": worst.values().filter(|w| **w == c).count()}));
    json!({
        "queryResultsUri": null,
        "nonCompliantResources": worst.values().filter(|c| **c == Compliance::NonCompliant).count(),
        "nonCompliantPolicies": distinct(bad.iter().map(|s| s.policy.definition_id.as_str()).collect()),
        "resourceDetails": details, "policyDetails": [], "policyGroupDetails": [],
    })
}

pub(crate) async fn summarize(arm: Arc<Arm>, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = states(&arm, &call, &permit, &near).await.map(|all| {
        let mut by: BTreeMap<&str, BTreeMap<(&str, &str), Vec<&State>>> = BTreeMap::new();
        for state in &all {
            let reference = state.policy.set.as_ref().map_or("", |s| s.reference.as_str());
            by.entry(&state.policy.assignment_id).or_default().entry((&state.policy.definition_id, reference)).or_default().push(state);
        }
        let assignments: Vec<Value> = by
            .iter()
            .map(|(assignment, definitions)| {
                let inside: Vec<&State> = definitions.values().flatten().copied().collect();
                let set = inside.first().and_then(|s| s.policy.set.as_ref()).map_or("", |s| s.id.as_str());
                json!({
                    "policyAssignmentId": assignment, "policySetDefinitionId": set, "results": results(&inside),
                    "policyDefinitions": definitions.iter().map(|((definition, reference), states)| json!({
                        "policyDefinitionId": definition, "policyDefinitionReferenceId": reference,
                        "effect": states.first().map_or("", |s| s.effect), "results": results(states),
                    })).collect::<Vec<_>>(),
                    "policyGroups": [],
                })
            })
            .collect();
        let whole: Vec<&State> = all.iter().collect();
        let context = format!("{}/$metadata#summary", crate::paging::base_url(&call.head));
        let summary = json!({"@odata.id": null, "@odata.context": format!("{context}/$entity"), "results": results(&whole), "policyAssignments": assignments});
        json!({"@odata.context": context, "@odata.count": 1, "value": [summary]})
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// A scan is done already: every query looks anew.
pub(crate) async fn trigger(_: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let found = asked(&call);
    let (receipt, _) = close(permit, found).await?;
    Ok(Reply::new(receipt, StatusCode::OK, ""))
}
