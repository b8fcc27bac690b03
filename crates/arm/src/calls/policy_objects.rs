//! Policy definitions, initiatives, assignments and exemptions (Microsoft.Authorization/policy…): kept as they were sent,
//! read whole before they are kept.

use crate::builtin_policies::{ALL, BuiltIn};
use crate::calls::role_assignments::while_there;
use crate::change::{Change, Turns, close, refuse};
use crate::filter::Filter;
use crate::policies::{self, Named, text};
use crate::rulings::{self, DEFINITION, EXEMPTION, Made, POLICY, Policy, SET, There, inner, outer, outer_scope};
use crate::{Arm, names, target};
use base::{Error, Kind, ResourceId, Result, TenantId, Timestamp};
use http::StatusCode;
use policy::{Definition, Set};
use serde_json::{Map, Value, json};
use service::{Call, Head, Neighbours, Reply};
use std::sync::Arc;
use trust::{Batch, Caller, Fact, Facts, Outcome, Permit, Read, Scoped, Write};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Definition,
    Set,
    Assignment,
    Exemption,
}

impl What {
    pub(crate) const ALL: [What; 4] = [What::Definition, What::Set, What::Assignment, What::Exemption];
    pub(crate) fn kind(self) -> &'static str {
        match self {
            What::Definition => "policyDefinitions",
            What::Set => "policySetDefinitions",
            What::Assignment => "policyAssignments",
            What::Exemption => "policyExemptions",
        }
    }
    pub(crate) fn noun(self) -> &'static str {
        match self {
            What::Definition => "Policy Definition",
            What::Set => "Policy Set Definition",
            What::Assignment => "Policy Assignment",
            What::Exemption => "Policy Exemption",
        }
    }
    fn family(self) -> &'static str {
        match self {
            What::Definition => DEFINITION,
            What::Set => SET,
            What::Assignment => POLICY,
            What::Exemption => EXEMPTION,
        }
    }
    fn not_found(self) -> &'static str {
        match self {
            What::Definition => "PolicyDefinitionNotFound",
            What::Set => "PolicySetDefinitionNotFound",
            What::Assignment => "PolicyAssignmentNotFound",
            What::Exemption => "PolicyExemptionNotFound",
        }
    }
    /// Azure's limits at one scope.
    fn at_scope_max(self) -> usize {
        match self {
            What::Definition => 500,
            What::Set | What::Assignment => 200,
            What::Exemption => 1_000,
        }
    }
    fn name_max(self) -> usize {
        if self == What::Assignment { 64 } else { 128 }
    }
    /// Kept at subscriptions and management groups only.
    fn is_definition(self) -> bool {
        matches!(self, What::Definition | What::Set)
    }
    fn missing(self, name: &str) -> Error {
        let what = self.noun().to_lowercase();
        Error::new(Kind::NotFound, self.not_found(), format!("The {what} '{name}' could not be found."))
    }
    fn wrong(self, why: impl std::fmt::Display) -> Error {
        let code = match self {
            What::Definition => "InvalidCreatePolicyDefinitionRequest",
            What::Set => "InvalidPolicySetDefinitionRequest",
            What::Assignment => "InvalidCreatePolicyAssignmentRequest",
            What::Exemption => "InvalidCreatePolicyExemptionRequest",
        };
        Error::invalid(code, format!("The {} request is invalid: {why}.", self.noun().to_lowercase()))
    }
}

fn show_built_in(found: &BuiltIn) -> Value {
    let kind = if found.set { What::Set } else { What::Definition }.kind();
    json!({"id": found.id(), "name": found.name, "type": format!("Microsoft.Authorization/{kind}"), "properties": found.properties})
}

fn show(what: What, id: &ResourceId, scope: &ResourceId, stored: &Policy) -> Value {
    let mut body = json!({
        "id": outer(id, scope), "name": id.name(), "type": format!("Microsoft.Authorization/{}", what.kind()),
        "properties": stored.properties(), "systemData": stored.made.system_data(),
    });
    if let Value::Object(beside) = stored.beside() {
        for (name, value) in beside {
            body[name] = value;
        }
    }
    match what {
        What::Assignment => {
            body["properties"]["scope"] = json!(outer_scope(scope));
            for (name, default) in [("enforcementMode", json!("Default")), ("notScopes", json!([])), ("parameters", json!({}))] {
                if body["properties"].get(name).is_none() {
                    body["properties"][name] = default;
                }
            }
        }
        What::Definition | What::Set => body["properties"]["policyType"] = json!("Custom"),
        What::Exemption => {}
    }
    body
}

fn place(what: What, head: &Head, caller: &Caller) -> Result<(ResourceId, ResourceId)> {
    let scope = target::scope_id(head, caller)?;
    Ok((names::ruling_id(&scope, what.kind(), head.params.get("name"), what.name_max())?, scope))
}

/// Where a definition may be kept.
fn keeps_definitions(scope: &ResourceId) -> bool {
    scope.segments().count() == 2 || scope.resource_type().is_some_and(|t| t.eq_ignore_ascii_case("Microsoft.Management/managementGroups"))
}

pub(crate) async fn get(what: What, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = place(what, &call.head, &call.caller).and_then(|(id, scope)| {
        let stored = near.facts(|f| There::<Policy>::look(f, what.family(), &id))?.value;
        if let Some(stored) = stored {
            return Ok(show(what, &id, &scope, &stored));
        }
        // the built-in ones are found at every scope
        let built_in = ALL.iter().find(|b| what.is_definition() && b.set == (what == What::Set) && b.name.eq_ignore_ascii_case(id.name()));
        built_in.map(show_built_in).ok_or_else(|| what.missing(id.name()))
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(crate) async fn list(what: What, call: Call, permit: Permit<Read>, near: Neighbours) -> Result<Reply> {
    let found = target::scope_id(&call.head, &call.caller).and_then(|scope| {
        let fields = ["policyType", "category", "policyDefinitionId", "policyAssignmentId"];
        let filter = Filter::of(&call.head)?.map(|f| f.only(&fields, true)).transpose()?;
        let fits = |body: &Value| {
            let Some(filter) = &filter else { return true };
            filter.fits(&|one| match one {
                Filter::AtScope | Filter::AtExactScope => true,
                one if one.field().eq_ignore_ascii_case("category") => one.text_fits(body["properties"]["metadata"]["category"].as_str()),
                one => one.text_fits(
                    body["properties"]
                        .as_object()
                        .and_then(|p| p.iter().find(|(k, _)| k.eq_ignore_ascii_case(one.field())).and_then(|(_, v)| v.as_str())),
                ),
            })
        };
        let has = |wanted: Filter| filter.as_ref().is_some_and(|f| f.conditions().contains(&&wanted));
        let reach = match (has(Filter::AtExactScope), has(Filter::AtScope)) {
            (true, _) => Reach::Exactly,
            (_, true) => Reach::Above,
            _ => Reach::AboveAndBelow,
        };
        let mut value = near.facts(|f| listed(f, what, &scope, reach))?;
        if what.is_definition() && reach != Reach::Exactly {
            value.extend(ALL.iter().filter(|b| b.set == (what == What::Set)).map(show_built_in));
        }
        value.retain(fits);
        Ok(json!({ "value": value }))
    });
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

/// What a list is of: `atExactScope()`, `atScope()`, neither.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Exactly,
    Above,
    AboveAndBelow,
}

/// Definitions: those of the scope and above. Assignments and exemptions: those that reach the scope and those inside.
fn listed(facts: &Facts, what: What, scope: &ResourceId, reach: Reach) -> Result<Vec<Value>> {
    let mut found: Vec<&Scoped> = match reach {
        Reach::Exactly => facts.scoped_at(what.family(), scope).collect(),
        _ => facts.scoped_above(what.family(), scope),
    };
    if !what.is_definition() && reach == Reach::AboveAndBelow {
        found.extend(facts.scoped_below(what.family(), scope).take(10_000));
    }
    found.into_iter().map(|fact| Ok(show(what, &fact.id, &fact.scope, &rulings::read(fact)?))).collect()
}

/// What is not understood in an assignment or exemption would change what it means.
fn only(what: What, map: &Map<String, Value>, known: &[&str]) -> Result<()> {
    match map.keys().find(|k| !known.iter().any(|n| n.eq_ignore_ascii_case(k))) {
        None => Ok(()),
        Some(other) => Err(what.wrong(format!("the property '{other}' is not supported"))),
    }
}

struct Wish {
    properties: Value,
    beside: Value,
}

/// Reads a body whole. What follows from other objects is looked at in `decide`.
fn wish(what: What, arm: &Arm, body: &Map<String, Value>) -> Result<Wish> {
    let mut properties = match body.get("properties") {
        Some(Value::Object(map)) => map.clone(),
        _ => return Err(what.wrong("there are no properties")),
    };
    properties.retain(|_, v| !v.is_null());
    if Value::Object(properties.clone()).to_string().len() > policy::BYTES_MAX {
        return Err(what.wrong(format!("it is larger than {} bytes", policy::BYTES_MAX)));
    }
    for (name, longest) in [("displayName", 128), ("description", 1_024)] {
        let long = properties.get(name).is_some_and(|v| v.as_str().is_none_or(|t| t.chars().count() > longest));
        if long {
            return Err(what.wrong(format!("'{name}' is not a text of at most {longest} characters")).at(name));
        }
    }
    let value = Value::Object(properties.clone());
    match what {
        What::Definition => drop(Definition::read(&value, arm)?),
        What::Set => drop(Set::read(&value)?),
        What::Assignment => {
            let known = [
                "displayName",
                "description",
                "metadata",
                "policyDefinitionId",
                "definitionVersion",
                "latestDefinitionVersion",
                "effectiveDefinitionVersion",
                "parameters",
                "notScopes",
                "enforcementMode",
                "nonComplianceMessages",
                "scope",
                "instanceId",
                "assignmentType",
                "resourceSelectors",
                "overrides",
            ];
            only(what, &properties, &known)?;
            for name in ["resourceSelectors", "overrides"] {
                if properties.get(name).and_then(Value::as_array).is_some_and(|a| !a.is_empty()) {
                    return Err(Error::not_implemented(format!("'{name}' of a policy assignment")).at(name));
                }
            }
            let mode = text(&value, "enforcementMode").unwrap_or("Default");
            if !["Default", "DoNotEnforce"].iter().any(|m| m.eq_ignore_ascii_case(mode)) {
                return Err(what
                    .wrong(format!("the enforcement mode '{mode}' is none of 'Default' and 'DoNotEnforce'"))
                    .at("enforcementMode"));
            }
            if text(&value, "policyDefinitionId").is_none() {
                return Err(what.wrong("there is no 'policyDefinitionId'").at("policyDefinitionId"));
            }
            let messages = properties.get("nonComplianceMessages").map_or(Some(&[][..]), |m| m.as_array().map(Vec::as_slice));
            if messages.is_none_or(|m| m.iter().any(|m| text(m, "message").is_none())) {
                return Err(what.wrong("a non-compliance message has no 'message'").at("nonComplianceMessages"));
            }
        }
        What::Exemption => {
            let known = [
                "displayName",
                "description",
                "metadata",
                "policyAssignmentId",
                "policyDefinitionReferenceIds",
                "exemptionCategory",
                "expiresOn",
                "assignmentScopeValidation",
                "resourceSelectors",
            ];
            only(what, &properties, &known)?;
            if properties.get("resourceSelectors").and_then(Value::as_array).is_some_and(|a| !a.is_empty()) {
                return Err(Error::not_implemented("'resourceSelectors' of a policy exemption").at("resourceSelectors"));
            }
            let category = text(&value, "exemptionCategory").unwrap_or("");
            if !["Waiver", "Mitigated"].iter().any(|c| c.eq_ignore_ascii_case(category)) {
                return Err(what.wrong(format!("the category '{category}' is none of 'Waiver' and 'Mitigated'")).at("exemptionCategory"));
            }
            let expires = properties.get("expiresOn");
            if expires.is_some_and(|e| e.as_str().and_then(Timestamp::parse_rfc3339).is_none()) {
                return Err(what.wrong("'expiresOn' is not a date and time with its zone").at("expiresOn"));
            }
        }
    }
    let mut beside = Map::new();
    if what == What::Assignment {
        let identity = body.get("identity").filter(|i| !i.is_null());
        if identity.is_some_and(|i| !text(i, "type").is_none_or(|t| t.eq_ignore_ascii_case("None"))) {
            return Err(Error::not_implemented("A managed identity of a policy assignment").at("identity"));
        }
        if let Some(location) = body.get("location").and_then(Value::as_str) {
            beside.insert("location".into(), json!(location));
        }
    }
    for name in ["policyType", "scope", "systemData"] {
        properties.remove(name);
    }
    Ok(Wish { properties: Value::Object(properties), beside: Value::Object(beside) })
}

pub(crate) async fn put(what: What, arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let prepared = async {
        let (id, scope) = place(what, &call.head, &call.caller)?;
        if what.is_definition() && !keeps_definitions(&scope) {
            return Err(what.wrong("it is kept at a subscription or management group"));
        }
        Ok((id, scope, wish(what, &arm, &names::json_body(call.body).await?)?))
    };
    let (id, scope, wish) = match prepared.await {
        Ok(prepared) => prepared,
        Err(error) => return refuse(permit, error).await,
    };
    let mut turns = Turns::new(permit);
    loop {
        let decided = decide(what, &arm, turns.permit()?, &id, &scope, &wish, &near).await;
        if let Some((receipt, (status, stored))) = turns.settle(decided).await? {
            return Ok(Reply::json(receipt, status, &show(what, &id, &scope, &stored)));
        }
    }
}

async fn decide(
    what: What,
    arm: &Arm,
    permit: &Permit<Write>,
    id: &ResourceId,
    scope: &ResourceId,
    wish: &Wish,
    near: &Neighbours,
) -> Result<Change<(StatusCode, Policy)>> {
    let tenant = permit.tenant().ok_or_else(|| Error::internal("a scope without a tenant"))?;
    let batch = if scope.tenant_id().is_some() { Batch::new() } else { while_there(arm, permit, scope).await? };
    let there = near.facts(|f| {
        if scope.resource_type().is_some_and(|t| t.eq_ignore_ascii_case("Microsoft.Management/managementGroups"))
            && f.scoped_fact(rulings::MANAGEMENT_GROUP, scope).is_none()
        {
            let why = format!("Management group '{}' could not be found.", scope.name());
            return Err(Error::new(Kind::NotFound, "ManagementGroupNotFound", why));
        }
        let there = There::<Policy>::look(f, what.family(), id)?;
        if there.value.is_none() && f.scoped_at(what.family(), scope).count() >= what.at_scope_max() {
            let why = format!("There are {} of them at the scope: that is the most.", what.at_scope_max());
            return Err(Error::new(Kind::Conflict, "PolicyLimitExceeded", why));
        }
        rests(f, what, arm, tenant, id, scope, &wish.properties, there.value.as_ref())?;
        Ok(there)
    })?;
    let stored = Policy {
        properties: wish.properties.to_string(),
        beside: wish.beside.to_string(),
        made: Made::anew(near, there.value.as_ref().map(|p| &p.made)),
    };
    // Azure answers 201 to changes of definitions and assignments too
    let created = there.value.is_none() || matches!(what, What::Definition | What::Assignment);
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let batch = there.unchanged(batch).put_fact(rulings::fact(what.family(), id.clone(), tenant, scope.clone(), &stored));
    Ok(Change { batch: Some(batch), status: status.as_u16(), answer: (status, stored) })
}

/// What an object rests on is there, and what rests on it still fits.
#[allow(clippy::too_many_arguments)] // one decision, all it depends on in sight
fn rests(
    facts: &Facts,
    what: What,
    arm: &Arm,
    tenant: TenantId,
    id: &ResourceId,
    scope: &ResourceId,
    properties: &Value,
    before: Option<&Policy>,
) -> Result<()> {
    // a definition kept elsewhere is not reached from here
    let reached = |definition: &str| -> Result<()> {
        if crate::builtin_policies::find(definition).is_some() {
            return Ok(());
        }
        let place = inner(definition, tenant)?;
        let found = [DEFINITION, SET].iter().find_map(|family| facts.scoped_fact(family, &place));
        if found.is_some_and(|f| facts.scopes_of(scope).contains(&f.scope)) {
            return Ok(());
        }
        let what = if definition.to_ascii_lowercase().contains("/policysetdefinitions/") { What::Set } else { What::Definition };
        Err(what.missing(definition.rsplit('/').next().unwrap_or("")))
    };
    match what {
        What::Assignment => {
            reached(text(properties, "policyDefinitionId").unwrap_or(""))?;
            policies::assigned(arm, facts, tenant, id, scope, properties).map(drop)
        }
        What::Exemption => {
            let wanted = text(properties, "policyAssignmentId").unwrap_or("");
            let place = inner(wanted, tenant).map_err(|_| What::Assignment.missing(wanted))?;
            let found = facts.scoped_fact(POLICY, &place).filter(|f| facts.scopes_of(scope).contains(&f.scope));
            found.map(drop).ok_or_else(|| What::Assignment.missing(place.name()))
        }
        What::Set => {
            for member in Set::read(properties)?.members {
                reached(&member.definition)?;
                if !matches!(policies::named(arm, facts, tenant, &member.definition)?.0, Named::Definition(_)) {
                    return Err(what.wrong("a member is an initiative itself"));
                }
            }
            Ok(())
        }
        What::Definition => {
            let Some(before) = before else { return Ok(()) };
            // Azure: parameters that assignments may be using stay
            let (was, is) = (Definition::read(&before.properties(), arm)?.parameters, Definition::read(properties, arm)?.parameters);
            let gone = was.iter().find(|(n, _)| !is.iter().any(|(m, _)| m.eq_ignore_ascii_case(n)));
            let new = is.iter().find(|(n, p)| p.default.is_none() && !was.iter().any(|(m, _)| m.eq_ignore_ascii_case(n)));
            match (gone, new, users(facts, tenant, id).is_empty()) {
                (_, _, true) | (None, None, _) => Ok(()),
                _ => Err(Error::invalid(
                    "UnusedPolicyParameters",
                    "The policy is in use: its parameters can't be removed, and new ones need a default value.",
                )),
            }
        }
    }
}

/// Assignments and initiatives that name a definition.
fn users(facts: &Facts, tenant: TenantId, id: &ResourceId) -> Vec<String> {
    let names = |properties: &Value| {
        let mut all: Vec<&str> = text(properties, "policyDefinitionId").into_iter().collect();
        all.extend(properties["policyDefinitions"].as_array().into_iter().flatten().filter_map(|d| text(d, "policyDefinitionId")));
        all.into_iter().any(|d| inner(d, tenant).is_ok_and(|d| d == *id))
    };
    let mut found = Vec::new();
    for family in [POLICY, SET] {
        let begins = format!("scoped/{family}/");
        for fact in facts.scan(&begins) {
            if let Fact::Scoped(s) = fact
                && s.tenant == tenant
                && rulings::read::<Policy>(s).is_ok_and(|p| names(&p.properties()))
            {
                found.push(outer(&s.id, &s.scope));
            }
        }
    }
    found
}

pub(crate) async fn delete(what: What, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let found = place(what, &call.head, &call.caller).and_then(|(id, scope)| {
        let tenant = permit.tenant().ok_or_else(|| Error::internal("a scope without a tenant"))?;
        let there = near.facts(|f| {
            let there = There::<Policy>::look(f, what.family(), &id)?;
            let users = if what.is_definition() && there.value.is_some() { users(f, tenant, &id) } else { Vec::new() };
            if users.is_empty() {
                return Ok(there);
            }
            let code = if what == What::Set { "PolicySetDefinitionInUse" } else { "PolicyDefinitionInUse" };
            let why =
                format!("The {} '{}' cannot be deleted: it is used by '{}'.", what.noun().to_lowercase(), id.name(), users.join("', '"));
            Err(Error::invalid(code, why))
        })?;
        Ok((there, id, scope))
    });
    let (there, id, scope) = match found {
        Ok(found) => found,
        Err(error) => return refuse(permit, error).await,
    };
    let Some(stored) = &there.value else {
        return Ok(Reply::new(permit.close(Outcome::done(204)).await?, StatusCode::NO_CONTENT, ""));
    };
    let batch = there.unchanged(Batch::new()).remove_fact(Fact::scoped_key(what.family(), &id));
    let receipt = permit.commit(batch, Outcome::done(200)).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &show(what, &id, &scope, stored)))
}
