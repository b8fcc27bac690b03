//! From a body to a plan. Bodies are read leniently: `az` sends the template's own text inside JSON.

use super::inside;
use super::region::Region;
use crate::Arm;
use crate::calls::resources;
use base::{Error, Kind, ResourceId, Result};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use service::Neighbours;
use std::sync::Arc;
use template::{Plan, Planned, lenient, template_hash};
use trust::{Access, Permit};

/// A body, read and checked as far as it can be without the region.
pub(super) struct Asked {
    pub complete: bool,
    pub location: Option<String>,
    pub tags: Map<String, Value>,
    pub template: Value,
    pub template_hash: String,
    /// A hash of all that was asked: secrets are in it, so that it is shown to nobody.
    pub wish: String,
    pub only_ids: bool,
    places: lenient::Places,
    parameters: Map<String, Value>,
}

impl Prepared {
    /// The same plan with stars in the place of secrets, for `what-if`. `None`: secrets decide what is deployed.
    pub(super) fn foretold(&self, scope: &ResourceId, asked: &Asked) -> Option<Plan> {
        let request = template::Request {
            scope: scope.as_str(),
            template: &asked.template,
            places: Default::default(),
            parameters: &asked.parameters,
            hide_secrets: true,
        };
        let shown = template::plan(&request, &self.region.again()).ok()?;
        let same = shown.resources.iter().map(|r| (&r.id, r.deployed)).eq(self.plan.resources.iter().map(|r| (&r.id, r.deployed)));
        same.then_some(shown)
    }
}

/// What a plan came to, for the answers.
pub(super) struct Prepared {
    pub plan: Plan,
    pub region: Region,
    pub parameters: Value,
    pub providers: Value,
    pub dependencies: Value,
}

fn invalid(message: impl Into<String>) -> Error {
    Error::invalid("InvalidRequestContent", message)
}

/// Errors `InvalidRequestContent`, `InvalidDeployment…`, and what is not built.
pub(super) fn read(bytes: &Bytes, scope: &ResourceId) -> Result<Asked> {
    let document = lenient::parse(bytes)?;
    let body = document.value;
    let Some(properties) = body.get("properties").and_then(Value::as_object) else {
        return Err(invalid("The request content was invalid: 'properties' is missing.").at("properties"));
    };
    let complete = match properties.get("mode").and_then(Value::as_str) {
        Some(mode) if mode.eq_ignore_ascii_case("incremental") => false,
        Some(mode) if mode.eq_ignore_ascii_case("complete") => true,
        other => {
            let shown = other.unwrap_or("");
            return Err(Error::invalid(
                "InvalidDeploymentMode",
                format!("The deployment mode '{shown}' is not 'Incremental' or 'Complete'."),
            )
            .at("mode"));
        }
    };
    if complete && scope.resource_group().is_none() {
        return Err(Error::invalid("InvalidDeploymentMode", "The mode 'Complete' is for deployments to a resource group only.").at("mode"));
    }
    for (name, what) in [
        ("templateLink", "A template link (template specs, and templates at other addresses)"),
        ("parametersLink", "A link to parameters"),
        ("onErrorDeployment", "A deployment that is made when another fails"),
    ] {
        if properties.get(name).is_some_and(|v| !v.is_null()) {
            return Err(Error::not_implemented(what).at(name));
        }
    }
    let location = match body.get("location") {
        None | Some(Value::Null) => None,
        Some(Value::String(location)) => Some(location.clone()),
        Some(_) => return Err(invalid("The location is not a text.").at("location")),
    };
    if location.is_none() && scope.resource_group().is_none() {
        return Err(Error::invalid("LocationRequired", "The location property is required for this definition.").at("location"));
    }
    if location.is_some() && scope.resource_group().is_some() {
        return Err(Error::invalid(
            "InvalidDeployment",
            "The 'location' property is not allowed for a deployment to a resource group. Please see https://aka.ms/deploy-to-subscription for usage details.",
        )
        .at("location"));
    }
    let tags = crate::names::tags(body.get("tags"))?.unwrap_or_default();
    let Some(template) = properties.get("template").filter(|t| !t.is_null()).cloned() else {
        return Err(Error::invalid("InvalidDeployment", "The deployment has no template.").at("template"));
    };
    let parameters = match properties.get("parameters") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(map)) => parameters(map),
        Some(_) => return Err(invalid("The parameters are not an object.").at("parameters")),
    };
    let format = properties.get("whatIfSettings").and_then(|s| s.get("resultFormat")).and_then(Value::as_str);
    Ok(Asked {
        complete,
        location,
        tags,
        template_hash: template_hash(&template),
        wish: template_hash(&body),
        template,
        only_ids: format.is_some_and(|f| f.eq_ignore_ascii_case("ResourceIdOnly")),
        places: document.places.below("/properties/template"),
        parameters,
    })
}

/// A whole parameter file may stand where its `parameters` are meant.
fn parameters(map: &Map<String, Value>) -> Map<String, Value> {
    match (map.get("$schema"), map.get("parameters").and_then(Value::as_object)) {
        (Some(_), Some(inside)) => inside.clone(),
        _ => map.clone(),
    }
}

/// The plan, and whether the region knows what it asks for and the caller may do it. Errors `InvalidTemplate`,
/// `InvalidTemplateDeployment`, `InvalidResourceType`…
pub(super) async fn prepare<A: Access>(
    arm: &Arc<Arm>,
    permit: &Permit<A>,
    near: &Neighbours,
    id: &ResourceId,
    scope: &ResourceId,
    asked: &Asked,
    hide_secrets: bool,
) -> Result<Prepared> {
    let mut region = Region::of(arm, permit, near, scope).await?;
    if let Some(location) = &asked.location {
        crate::names::location(Some(&json!(location)), &near.urls.location, "LocationNotAvailableForDeployment", "deployment")?;
    }
    region.deployment = json!({
        "name": id.name(),
        "properties": {
            "mode": mode(asked.complete),
            "provisioningState": "Accepted",
            "template": {"$schema": asked.template.get("$schema"), "contentVersion": asked.template.get("contentVersion")},
            "templateHash": asked.template_hash,
            "parameters": {},
        },
    });
    if let Some(location) = &asked.location {
        region.deployment["location"] = json!(location);
    }
    let request = template::Request {
        scope: scope.as_str(),
        template: &asked.template,
        places: asked.places.clone(),
        parameters: &asked.parameters,
        hide_secrets,
    };
    let plan = template::plan(&request, &region)?;
    check(arm, permit, near, &plan).await?;
    let shown = plan.parameters().map(|p| {
        let mut value = json!({"type": p.kind.as_str()});
        if let Some(given) = p.value {
            value["value"] = given.clone();
        }
        (p.name.to_owned(), value)
    });
    let parameters = Value::Object(shown.collect());
    let (providers, dependencies) = (providers(&plan), dependencies(&plan));
    Ok(Prepared { plan, region, parameters, providers, dependencies })
}

pub(super) fn mode(complete: bool) -> &'static str {
    if complete { "Complete" } else { "Incremental" }
}

/// Types that are not there, acts that the caller may not do, and what each resource would be refused for are told before
/// anything is done.
async fn check<A: Access>(arm: &Arc<Arm>, permit: &Permit<A>, near: &Neighbours, plan: &Plan) -> Result<()> {
    for resource in plan.resources.iter().filter(|r| r.deployed) {
        let id = ResourceId::parse(&resource.id).map_err(|e| Error::invalid("InvalidTemplate", e.message))?;
        let actions = inside::actions_of_put(arm, near, &resource.id, &resource.kind, &resource.api_version)
            .map_err(|error| Error::invalid(error.code, error.message).at(resource.id.clone()))?;
        // a group that this very deployment makes carries no role yet: those above it count
        let scope = if id.tenant_id().is_none() { id.clone() } else { continue };
        for action in actions {
            if !near.may(action, &scope) {
                let who = near.caller.principal().map(|p| p.object.to_string()).unwrap_or_default();
                return Err(Error::new(
                    Kind::Forbidden,
                    "InvalidTemplateDeployment",
                    format!(
                        "Deployment failed with multiple errors: 'Authorization failed for template resource '{}' of type '{}'. The client with object id '{who}' does not have permission to perform action '{action}' at scope '{}'.'",
                        resource.name, resource.kind, resource.id
                    ),
                ));
            }
        }
        if resource.is_known() && id.subscription_id() == permit.target().subscription_id() && arm.kind_of(&id).is_ok() {
            let body = resource.preview.as_object().cloned().unwrap_or_default();
            let version = resource.api_version.to_ascii_lowercase();
            resources::preflight(arm, permit, &id, &body, &version, near).await.map_err(|error| not_valid(resource, error))?;
        }
    }
    Ok(())
}

/// A resource that would be refused: Azure's outer words, and the inner ones.
fn not_valid(resource: &Planned, error: Error) -> Error {
    let message = format!(
        "The template deployment is not valid according to the validation procedure. Resource '{}' of type '{}': {}: {}",
        resource.name, resource.kind, error.code, error.message
    );
    let outer = Error::new(error.kind, "InvalidTemplateDeployment", message).at(resource.id.clone());
    match error.info {
        Some(info) => outer.with_info(info),
        None => outer,
    }
}

/// Namespaces with the types that are deployed.
fn providers(plan: &Plan) -> Value {
    let mut all: Vec<(String, Vec<Value>)> = Vec::new();
    for resource in plan.resources.iter().filter(|r| r.deployed) {
        let (namespace, name) = resource.kind.split_once('/').unwrap_or((&resource.kind, ""));
        let location = resource.preview.get("location").cloned();
        let entry = match all.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(namespace)) {
            Some(entry) => entry,
            None => {
                all.push((namespace.to_owned(), Vec::new()));
                let last = all.len() - 1;
                &mut all[last]
            }
        };
        if !entry.1.iter().any(|t| t["resourceType"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(name))) {
            entry.1.push(json!({"resourceType": name, "locations": [location]}));
        }
    }
    all.into_iter().map(|(namespace, types)| json!({"namespace": namespace, "resourceTypes": types})).collect()
}

fn dependencies(plan: &Plan) -> Value {
    let of = |r: &Planned| json!({"id": r.id, "resourceType": r.kind, "resourceName": r.name});
    let some = plan.resources.iter().filter(|r| r.deployed && !r.depends_on.is_empty());
    some.map(|r| {
        let mut value = of(r);
        value["dependsOn"] = r.depends_on.iter().map(|at| of(&plan.resources[*at])).collect();
        value
    })
    .collect()
}
