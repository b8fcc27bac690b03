//! What clients call of deployments.

use super::model::{DEPLOYMENTS, Deployment, Details, Needed, STEPS, State, Step, TEMPLATES, Template, WORK, Work, read, stage, step_name};
use super::request::{self, Prepared, mode};
use super::{KIND, deployment_id, scope_of};
use crate::Arm;
use crate::calls::groups;
use crate::change::{Change, Turns, close, refuse};
use crate::model::{GROUPS, row_name};
use crate::{names, paging};
use base::{Error, Kind, OperationId, ResourceId, Result, Timestamp};
use http::StatusCode;
use serde_json::{Value, json};
use service::{Call, Head, Neighbours, Reply, collect};
use std::sync::Arc;
use trust::{Access, Batch, Caller, Found, Outcome, Permit, Read, Span, Staged, Write};

/// Steps that one commit deletes; a deployment has at most one for each of its 800 resources.
const STEPS_RUN: usize = 900;

fn not_found(id: &ResourceId) -> Error {
    Error::new(Kind::NotFound, "DeploymentNotFound", format!("Deployment '{}' could not be found.", id.name()))
}

async fn load<A: Access>(permit: &Permit<A>, id: &ResourceId) -> Result<Found<Deployment>> {
    if let Some(found) = permit.data().get::<Deployment>(DEPLOYMENTS, row_name(id)).await? {
        return Ok(found);
    }
    if let Some(group) = crate::model::group_of(id) {
        groups::load(permit, &group).await?;
    }
    Err(not_found(id))
}

pub(super) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// `PT1M2.5S` (ISO 8601).
pub(super) fn duration(from: Timestamp, to: Timestamp) -> String {
    let ms = (to.0 - from.0).max(0);
    format!("PT{}.{:03}S", ms / 1000, ms % 1000)
}

async fn show<A: Access>(permit: &Permit<A>, deployment: &Deployment) -> Result<Value> {
    let details: Details = read(permit, &deployment.details).await?;
    Ok(shown(deployment, details))
}

fn shown(deployment: &Deployment, details: Details) -> Value {
    let mut body = json!({
        "id": deployment.id.as_str(),
        "name": deployment.id.name(),
        "type": KIND,
        "properties": {
            "templateHash": deployment.template_hash,
            "parameters": details.parameters,
            "mode": mode(deployment.complete),
            "provisioningState": deployment.state.as_str(),
            "timestamp": deployment.changed.rfc3339(),
            "duration": duration(deployment.began, deployment.changed),
            "correlationId": deployment.correlation,
            "providers": details.providers,
            "dependencies": details.dependencies,
        },
    });
    if let Some(location) = &deployment.location {
        body["location"] = json!(location);
    }
    let tags = parsed(&deployment.tags);
    if tags.as_object().is_some_and(|t| !t.is_empty()) {
        body["tags"] = tags;
    }
    if let Some(outputs) = details.outputs {
        body["properties"]["outputs"] = outputs;
    }
    if deployment.state == State::Succeeded {
        body["properties"]["outputResources"] = details.output_resources.iter().map(|id| json!({"id": id})).collect();
    }
    if let Some(error) = details.error {
        body["properties"]["error"] = error;
    }
    body
}

pub(super) async fn get(_: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let id = deployment_id(&call.head)?;
    let found = async { show(&permit, &load(&permit, &id).await?.value).await };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(super) async fn exists(_: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let id = deployment_id(&call.head)?;
    let found = load(&permit, &id).await;
    let (receipt, _) = close(permit, found).await?;
    Ok(Reply::new(receipt, StatusCode::NO_CONTENT, ""))
}

pub(super) async fn list(_: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let found = page(&call.head, &permit).await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

async fn page(head: &Head, permit: &Permit<Read>) -> Result<Value> {
    let scope = scope_of(head)?;
    if scope.resource_group().is_some() {
        groups::load(permit, &scope).await?;
    }
    let state = wanted_state(head)?;
    let prefix = format!("{}/providers/{}/", row_name(&scope), KIND.to_lowercase());
    let top = paging::top(head)?.min(100);
    let (mut from, mut value) = (paging::start(head, &prefix)?, Vec::new());
    loop {
        let mut span = Span::prefix(&prefix);
        if let Some(from) = &from {
            span = span.from(from);
        }
        let page = permit.data().scan::<Deployment>(DEPLOYMENTS, span, top - value.len()).await?;
        for (_, row) in &page.rows {
            if state.as_ref().is_none_or(|s| s.eq_ignore_ascii_case(row.value.state.as_str())) {
                value.push(show(permit, &row.value).await?);
            }
        }
        from = page.next;
        if from.is_none() || value.len() >= top {
            break;
        }
    }
    let mut body = json!({ "value": value });
    if let Some(next) = from {
        body["nextLink"] = json!(paging::next_link(head, &next));
    }
    Ok(body)
}

/// `$filter=provisioningState eq 'Succeeded'`, all that Azure takes.
fn wanted_state(head: &Head) -> Result<Option<String>> {
    let Some(filter) = head.query.get("$filter").map(str::trim).filter(|f| !f.is_empty()) else { return Ok(None) };
    let words: Vec<&str> = filter.split_whitespace().collect();
    match words.as_slice() {
        [field, eq, value] if field.eq_ignore_ascii_case("provisioningState") && eq.eq_ignore_ascii_case("eq") => {
            Ok(Some(value.trim_matches('\'').to_owned()))
        }
        _ => {
            Err(Error::invalid("InvalidFilterInQueryString", "The $filter is not of the form: provisioningState eq '{state}'.")
                .at("$filter"))
        }
    }
}

/// What a PUT puts aside before it decides.
struct Aside {
    work: Staged,
    details: Staged,
    template: Option<Staged>,
}

/// A batch that also lets go of what an earlier deployment of this name kept beside its rows.
async fn dropped(permit: &Permit<Write>, mut batch: Batch, name: &str, have: Option<&Deployment>) -> Result<Batch> {
    if let Some(have) = have {
        batch = batch.drop_content(have.details.clone());
    }
    if let Some(template) = permit.data().get::<Template>(TEMPLATES, name).await? {
        batch = batch.delete(TEMPLATES, name).drop_content(template.value.text);
    }
    Ok(batch)
}

/// What a PUT came to.
enum Decision {
    Began,
    /// The same is already under way.
    Running,
}

pub(super) async fn put(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let Call { head, body, .. } = call;
    let asked = async {
        let (id, scope) = (deployment_id(&head)?, scope_of(&head)?);
        let asked = request::read(&collect(body, names::BODY_BYTES_MAX).await?, &scope)?;
        let prepared = request::prepare(&arm, &permit, &near, &id, &scope, &asked, false).await?;
        Ok((id, scope, asked, prepared))
    };
    let (id, scope, asked, prepared) = match asked.await {
        Ok(asked) => asked,
        Err(error) => return refuse(permit, error).await,
    };
    let Prepared { plan, region, parameters, providers, dependencies } = prepared;
    let details = Details { parameters, providers, dependencies, ..Details::default() };
    let staged = async {
        let needed = Needed { plan, facts: region };
        let (work, details) = (stage(&permit, &needed).await?, stage(&permit, &details).await?);
        // what a parent evaluated may hold its secrets: a nested template is not kept
        let template = match near.caller {
            Caller::Worker { .. } => None,
            _ => Some(stage(&permit, &asked.template).await?),
        };
        Ok(Aside { work, details, template })
    };
    let aside = match staged.await {
        Ok(aside) => aside,
        Err(error) => return refuse(permit, error).await,
    };
    let mut turns = Turns::new(permit);
    let (receipt, (decision, deployment, created)) = loop {
        let decided = decide(turns.permit()?, &near, &head, &id, &scope, &asked, &aside).await;
        match turns.settle(decided).await {
            Ok(Some(done)) => break done,
            Ok(None) => {}
            Err(error) => {
                if error.code == "OutcomeUnknown" {
                    arm.deployments.look(&id);
                }
                return Err(error);
            }
        }
    };
    if matches!(decision, Decision::Began) {
        arm.deployments.push(&deployment.id);
    }
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let version = head.query.get("api-version").unwrap_or("2024-11-01");
    let poll =
        format!("{}{}/operationStatuses/{}?api-version={version}", paging::base_url(&head), encoded(&deployment.id), deployment.operation);
    Ok(Reply::json(receipt, status, &shown(&deployment, details)).with("azure-asyncoperation", poll).with("retry-after", "1"))
}

fn encoded(id: &ResourceId) -> String {
    id.segments().map(|s| format!("/{}", wire::percent_encode(s, b"()"))).collect()
}

#[allow(clippy::too_many_arguments)] // one decision, all it depends on in sight
async fn decide(
    permit: &Permit<Write>,
    near: &Neighbours,
    head: &Head,
    id: &ResourceId,
    scope: &ResourceId,
    asked: &request::Asked,
    aside: &Aside,
) -> Result<Change<(Decision, Deployment, bool)>> {
    let name = row_name(id);
    let mut batch = Batch::new();
    if scope.resource_group().is_some() {
        let group = groups::load_live(permit, scope).await?;
        batch = batch.is(GROUPS, row_name(scope), group.version);
    }
    let have = permit.data().get::<Deployment>(DEPLOYMENTS, &name).await?;
    if let Some(active) = have.as_ref().map(|h| &h.value).filter(|h| !h.state.is_over()) {
        let same = active.wish == asked.wish && active.asked_by.as_ref().map(|p| p.object) == near.caller.principal().map(|p| p.object);
        if same && !active.cancel {
            return Ok(Change { batch: None, status: 200, answer: (Decision::Running, active.clone(), false) });
        }
        return Err(Error::new(
            Kind::Conflict,
            "DeploymentActive",
            format!(
                "Unable to edit or replace deployment '{}': previous deployment from '{}' is still active. Please see https://aka.ms/arm-deploy for usage details.",
                id.name(),
                active.began.rfc3339()
            ),
        ));
    }
    let now = near.clock.now();
    let deployment = Deployment {
        id: have.as_ref().map_or_else(|| id.clone(), |h| h.value.id.clone()),
        operation: OperationId::random(&*near.chance),
        location: asked.location.clone(),
        tags: Value::Object(asked.tags.clone()).to_string(),
        complete: asked.complete,
        state: State::Accepted,
        template_hash: asked.template_hash.clone(),
        wish: asked.wish.clone(),
        details: aside.details.content.clone(),
        correlation: head.header("x-ms-correlation-request-id").map_or_else(|| near.origin.request.to_string(), str::to_owned),
        asked_by: near.caller.principal().cloned(),
        cancel: false,
        began: now,
        changed: now,
    };
    let version = have.as_ref().map(|h| h.version);
    let batch = batch
        .unchanged(DEPLOYMENTS, &name, version)
        .put(DEPLOYMENTS, &name, &deployment)
        .adopt(&aside.details)
        .put(WORK, &name, &Work { text: aside.work.content.clone() })
        .adopt(&aside.work);
    let mut batch = dropped(permit, batch, &name, have.as_ref().map(|h| &h.value)).await?;
    if let Some(template) = &aside.template {
        batch = batch.put(TEMPLATES, &name, &Template { text: template.content.clone() }).adopt(template);
    }
    let created = have.is_none();
    Ok(Change { batch: Some(batch), status: if created { 201 } else { 200 }, answer: (Decision::Began, deployment, created) })
}

/// What became of the resources of a deployment, so far.
pub(super) async fn steps<A: Access>(permit: &Permit<A>, name: &str, operation: OperationId) -> Result<Vec<Step>> {
    let prefix = step_name(name, operation, "");
    let (mut all, mut span) = (Vec::new(), Span::prefix(&prefix));
    loop {
        let page = permit.data().scan::<Step>(STEPS, span, 1_000).await?;
        all.extend(page.rows.into_iter().map(|(_, row)| row.value));
        match page.next {
            Some(next) => span = Span::prefix(&prefix).from(next),
            None => return Ok(all),
        }
    }
}

pub(super) async fn validate(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let Call { head, body, .. } = call;
    let found = async {
        let (id, scope) = (deployment_id(&head)?, scope_of(&head)?);
        let asked = request::read(&collect(body, names::BODY_BYTES_MAX).await?, &scope)?;
        let prepared = request::prepare(&arm, &permit, &near, &id, &scope, &asked, false).await?;
        let resources: Vec<Value> = prepared.plan.resources.iter().filter(|r| r.deployed).map(|r| json!({"id": r.id})).collect();
        Ok(json!({
            "id": id.as_str(),
            "name": id.name(),
            "type": KIND,
            "properties": {
                "templateHash": asked.template_hash,
                "parameters": prepared.parameters,
                "mode": mode(asked.complete),
                "provisioningState": "Succeeded",
                "timestamp": near.clock.now().rfc3339(),
                "duration": "PT0S",
                "correlationId": near.origin.request.to_string(),
                "providers": prepared.providers,
                "dependencies": prepared.dependencies,
                "validatedResources": resources,
            },
        }))
    };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(super) async fn what_if(arm: Arc<Arm>, call: Call, permit: Permit<Write>, near: Neighbours) -> Result<Reply> {
    let Call { head, body, .. } = call;
    let found = async {
        let (id, scope) = (deployment_id(&head)?, scope_of(&head)?);
        let asked = request::read(&collect(body, names::BODY_BYTES_MAX).await?, &scope)?;
        let prepared = request::prepare(&arm, &permit, &near, &id, &scope, &asked, false).await?;
        let changes = super::what_if::changes(&arm, &near, &permit, &scope, &asked, prepared).await?;
        Ok(json!({"status": "Succeeded", "properties": {"correlationId": near.origin.request.to_string(), "changes": changes}}))
    };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(super) async fn cancel(arm: Arc<Arm>, call: Call, permit: Permit<Write>, _: Neighbours) -> Result<Reply> {
    let id = deployment_id(&call.head)?;
    let mut turns = Turns::new(permit);
    loop {
        let decided = async {
            let permit = turns.permit()?;
            let have = load(permit, &id).await?;
            if have.value.state.is_over() {
                return Err(Error::new(
                    Kind::Conflict,
                    "DeploymentCannotBeCancelled",
                    format!(
                        "The deployment '{}' cannot be cancelled because the provisioning state is '{}'.",
                        id.name(),
                        have.value.state.as_str()
                    ),
                ));
            }
            let name = row_name(&id);
            let batch = Batch::new().is(DEPLOYMENTS, &name, have.version);
            let next = Deployment { cancel: true, ..have.value };
            Ok(Change { batch: Some(batch.put(DEPLOYMENTS, &name, &next)), status: 204, answer: next.operation })
        };
        let decided = decided.await;
        if let Some((receipt, operation)) = turns.settle(decided).await? {
            arm.deployments.cancel(operation);
            return Ok(Reply::new(receipt, StatusCode::NO_CONTENT, ""));
        }
    }
}

/// The deployment's rows go; what it deployed stays.
pub(super) async fn delete(_: Arc<Arm>, call: Call, permit: Permit<Write>, _: Neighbours) -> Result<Reply> {
    let id = deployment_id(&call.head)?;
    let name = row_name(&id);
    if permit.data().get::<Deployment>(DEPLOYMENTS, &name).await?.is_none() {
        return Ok(Reply::new(permit.close(Outcome::done(204)).await?, StatusCode::NO_CONTENT, ""));
    }
    let mut turns = Turns::new(permit);
    loop {
        let decided = async {
            let permit = turns.permit()?;
            let have = load(permit, &id).await?;
            if !have.value.state.is_over() {
                return Err(Error::new(
                    Kind::Conflict,
                    "DeploymentActive",
                    format!("The deployment '{}' is still active: cancel it, or wait for its end.", id.name()),
                ));
            }
            let batch = Batch::new().is(DEPLOYMENTS, &name, have.version).delete(DEPLOYMENTS, &name);
            let mut batch = dropped(permit, batch, &name, Some(&have.value)).await?;
            for step in steps(permit, &name, have.value.operation).await?.into_iter().take(STEPS_RUN) {
                batch = batch.delete(STEPS, step_name(&name, have.value.operation, &step.id));
            }
            Ok(Change { batch: Some(batch), status: 204, answer: () })
        };
        let decided = decided.await;
        if let Some((receipt, ())) = turns.settle(decided).await? {
            return Ok(Reply::new(receipt, StatusCode::NO_CONTENT, ""));
        }
    }
}

pub(super) async fn export(_: Arc<Arm>, call: Call, permit: Permit<Write>, _: Neighbours) -> Result<Reply> {
    let id = deployment_id(&call.head)?;
    let found = async {
        load(&permit, &id).await?;
        let kept = permit.data().get::<Template>(TEMPLATES, row_name(&id)).await?;
        let template = kept.ok_or_else(|| Error::not_implemented("The template of a nested deployment"))?;
        Ok(json!({"template": read::<_, Value>(&permit, &template.value.text).await?}))
    };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

fn show_step(id: &ResourceId, step: &Step) -> Value {
    let mut properties = json!({
        "provisioningOperation": step.operation,
        "provisioningState": if step.succeeded { "Succeeded" } else { "Failed" },
        "timestamp": step.ended.rfc3339(),
        "duration": duration(step.began, step.ended),
        "statusCode": step.status,
    });
    if let Some(message) = &step.message {
        properties["statusMessage"] = parsed(message);
    }
    if !step.target.is_empty() {
        let name = step.target.rsplit('/').next().unwrap_or_default();
        properties["targetResource"] = json!({"id": step.target, "resourceType": step.kind, "resourceName": name});
    }
    json!({"id": format!("{id}/operations/{}", step.id), "operationId": step.id, "properties": properties})
}

pub(super) async fn operations(_: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let id = deployment_id(&call.head)?;
    let found = async {
        let have = load(&permit, &id).await?;
        let mut all = steps(&permit, &row_name(&id), have.value.operation).await?;
        all.sort_by_key(|s| std::cmp::Reverse(s.ended));
        Ok(json!({"value": all.iter().map(|s| show_step(&have.value.id, s)).collect::<Vec<_>>()}))
    };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(super) async fn operation(_: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let id = deployment_id(&call.head)?;
    let wanted = call.head.params.get("op").to_uppercase();
    let found = async {
        let have = load(&permit, &id).await?;
        let step = permit.data().get::<Step>(STEPS, step_name(&row_name(&id), have.value.operation, &wanted)).await?;
        let gone =
            || Error::new(Kind::NotFound, "DeploymentOperationNotFound", format!("Deployment operation '{wanted}' could not be found."));
        step.map(|s| show_step(&have.value.id, &s.value)).ok_or_else(gone)
    };
    let found = found.await;
    let (receipt, body) = close(permit, found).await?;
    Ok(Reply::json(receipt, StatusCode::OK, &body))
}

pub(super) async fn status(_: Arc<Arm>, call: Call, permit: Permit<Read>, _: Neighbours) -> Result<Reply> {
    let id = deployment_id(&call.head)?;
    let wanted = call.head.params.get("op");
    let found = async {
        let have = load(&permit, &id).await?.value;
        if !have.operation.to_string().eq_ignore_ascii_case(wanted) {
            return Err(Error::new(Kind::NotFound, "OperationNotFound", format!("The operation '{wanted}' could not be found.")));
        }
        let mut body = json!({"status": have.state.as_str()});
        if let Some(error) = read::<_, Details>(&permit, &have.details).await?.error {
            body["error"] = error;
        }
        Ok((body, have.state.is_over()))
    };
    let found = found.await;
    let (receipt, (body, over)) = close(permit, found).await?;
    let reply = Reply::json(receipt, StatusCode::OK, &body);
    Ok(if over { reply } else { reply.with("retry-after", "1") })
}
