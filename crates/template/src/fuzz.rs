//! Readers of outside bytes, for the fuzzer.

use crate::host::{Host, Question};
use crate::{Evaluated, Request, lenient, plan};
use base::Result;
use serde_json::{Map, Value, json};

/// Answers everything with a little of each type.
struct Anything;

impl Host for Anything {
    fn answer(&self, question: &Question) -> Result<Option<Value>> {
        Ok(Some(match question {
            Question::Now => json!("2026-11-24T08:13:52Z"),
            Question::NewGuid => json!("1b7d918a-0000-4000-8000-000000000000"),
            Question::Zones { zones, .. } => zones.clone(),
            Question::PickZones { .. } => json!(["1"]),
            _ => json!({"id": "/subscriptions/x", "name": "n", "location": "l", "properties": {"a": 1}, "keys": [{"value": "k"}]}),
        }))
    }
}

/// Bytes to a document, to a plan, to bodies and outputs.
pub fn fuzz_template(bytes: &[u8]) {
    let Ok(document) = lenient::parse(bytes) else { return };
    let none = Map::new();
    let scope = "/subscriptions/6c5b3f1e-0f52-4f6b-9a55-3f1f6c3a1b11/resourceGroups/g";
    let request = Request { scope, template: &document.value, places: document.places.clone(), parameters: &none, hide_secrets: false };
    let Ok(plan) = plan(&request, &Anything) else { return };
    for at in 0..plan.resources.len() {
        if let Ok(Evaluated::Waits(questions)) = plan.body(at, &Anything) {
            assert!(questions.is_empty(), "everything was answered");
        }
    }
    let _ = plan.outputs(&Anything);
}

/// A text as one expression of an output.
pub fn fuzz_expression(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {"p": {"type": "string", "defaultValue": "v"}},
        "variables": {"v": {"a": [1, "x", null]}},
        "resources": [],
        "outputs": {"o": {"type": "string", "value": format!("[{text}]")}},
    });
    fuzz_template(template.to_string().as_bytes());
}
