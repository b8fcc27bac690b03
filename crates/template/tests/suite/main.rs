//! Functions one by one, plans, a gallery of templates, and hostile input.

mod functions;
mod gallery;
mod hostile;
mod plans;

use base::{Error, Result};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use template::{Evaluated, Host, Plan, Question, Request, lenient};

pub const SUB: &str = "6c5b3f1e-0f52-4f6b-9a55-3f1f6c3a1b11";
pub const TENANT: &str = "1b7d918a-0000-4000-8000-000000000000";

/// A region that knows a group, and the resources that it is told of.
#[derive(Default)]
pub struct Stage {
    pub there: HashMap<String, Value>,
    pub keys: HashMap<String, Value>,
    pub asked: RefCell<Vec<Question>>,
}

impl Host for Stage {
    fn answer(&self, question: &Question) -> Result<Option<Value>> {
        self.asked.borrow_mut().push(question.clone());
        Ok(Some(match question {
            Question::Now => json!("2026-11-24T08:03:52.123Z"),
            Question::NewGuid => json!("7f1a9b5c-5c0f-4a8e-9a53-0d7e35a0f001"),
            Question::Subscription => {
                json!({"id": format!("/subscriptions/{SUB}"), "subscriptionId": SUB, "tenantId": TENANT, "displayName": "Tests"})
            }
            Question::ResourceGroup => json!({
                "id": format!("/subscriptions/{SUB}/resourceGroups/rg"), "name": "rg", "type": "Microsoft.Resources/resourceGroups",
                "location": "francecentral", "tags": {"team": "blue"}, "properties": {"provisioningState": "Succeeded"},
            }),
            Question::Tenant => json!({"tenantId": TENANT, "displayName": "Contoso"}),
            Question::ManagementGroup => json!({"id": "/providers/Microsoft.Management/managementGroups/mg", "name": "mg"}),
            Question::Deployment => json!({"name": "main", "properties": {"mode": "Incremental"}}),
            Question::Deployer => json!({"objectId": "0a", "tenantId": TENANT}),
            Question::Environment => json!({"name": "Bleu", "suffixes": {"storage": "core.localhost"}}),
            Question::Providers { namespace, .. } => {
                json!({"resourceType": namespace, "locations": ["francecentral"], "apiVersions": ["2023-01-01"]})
            }
            Question::PickZones { count, .. } => json!((1..=*count).map(|z| z.to_string()).collect::<Vec<_>>()),
            Question::Zones { zones, .. } => zones.clone(),
            Question::Secret { name, .. } => json!(format!("secret of {name}")),
            Question::Reference { id, .. } => return Ok(self.there.get(&id.to_lowercase()).cloned()),
            Question::List { id, .. } => return Ok(self.keys.get(&id.to_lowercase()).cloned()),
        }))
    }
}

pub fn group() -> String {
    format!("/subscriptions/{SUB}/resourceGroups/rg")
}

pub fn plan_at(scope: &str, text: &str, parameters: Value) -> Result<Plan> {
    let document = lenient::parse(text.as_bytes())?;
    let none = Map::new();
    let parameters = parameters.as_object().unwrap_or(&none);
    template::plan(
        &Request { scope, template: &document.value, places: document.places.clone(), parameters, hide_secrets: false },
        &Stage::default(),
    )
}
pub fn plan(template: &Value, parameters: Value) -> Result<Plan> {
    plan_at(&group(), &template.to_string(), parameters)
}

/// A template with these parts.
pub fn template(parts: Value) -> Value {
    let mut out = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [],
    });
    for (name, value) in parts.as_object().unwrap() {
        out[name] = value.clone();
    }
    out
}

pub fn ready<T: std::fmt::Debug>(evaluated: Evaluated<T>) -> T {
    match evaluated {
        Evaluated::Ready(value) => value,
        waits => panic!("{waits:?}"),
    }
}

/// The value of an expression that stands in an output.
pub fn value(expression: &str) -> Result<Value, Error> {
    let output = json!({"o": {"type": "object", "value": {"v": format!("[{expression}]")}}});
    let plan = plan(&template(json!({"outputs": output})), json!({}))?;
    let outputs = ready(plan.outputs(&Stage::default())?);
    Ok(outputs[0].value["v"].clone())
}
