//! Every reader of outside bytes in this crate, for the fuzzer.

use crate::{Aliases, Applied, Definition, Set, Subject, Surroundings, abac};
use serde_json::{Map, Value, json};
use std::sync::Arc;

struct Everything;
impl Aliases for Everything {
    fn path(&self, alias: &str) -> Option<String> {
        alias.rsplit_once('/').map(|(_, property)| format!("properties.{property}"))
    }
    fn serves(&self, _: &str) -> bool {
        true
    }
}

/// A definition or initiative as JSON; what can be read is applied too.
pub fn fuzz_policy(bytes: &[u8]) {
    let Ok(properties) = serde_json::from_slice::<Value>(bytes) else { return };
    drop(Set::read(&properties));
    let Ok(definition) = Definition::read(&properties, &Everything) else { return };
    let policy = Arc::new(Applied {
        assignment_id: "/a".into(),
        assignment_name: "a".into(),
        assignment_display_name: "a".into(),
        scope: "/".into(),
        enforced: true,
        parameters: Map::new(),
        message: None,
        definition: Arc::new(definition),
        definition_id: "/d".into(),
        definition_name: "d".into(),
        definition_display_name: "d".into(),
        set: None,
        once: Default::default(),
    });
    let subject = Subject {
        body: json!({"id": "/subscriptions/s/providers/N.S/t/x", "name": "x", "type": "N.S/t", "location": "francecentral", "tags": {"a": "b"},
            "properties": {"a": [{"b": 1}, {"b": "x"}], "c": true}}),
    };
    let decision = crate::judge(subject, std::slice::from_ref(&policy), &Surroundings::default(), &Everything);
    if !decision.denials.is_empty() {
        drop(crate::refusal("x", &decision.denials));
    }
    drop(crate::judge_delete(&decision.subject, &[policy], &Surroundings::default(), &Everything));
}

/// An expression between brackets.
pub fn fuzz_expression(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(expression) = crate::expression::parse(text)
    {
        drop(expression.value(&crate::expression::Pure));
    }
}

/// A condition of a role assignment.
pub fn fuzz_condition(bytes: &[u8]) {
    struct Nothing;
    impl abac::Request for Nothing {
        fn action(&self) -> &str {
            "a"
        }
        fn sub_operation(&self) -> Option<&str> {
            None
        }
        fn attribute(&self, source: abac::Source, _: &str) -> abac::Known<'_> {
            match source {
                abac::Source::Resource => abac::Known::Values(vec!["a".into()]),
                abac::Source::Request => abac::Known::Absent,
                _ => abac::Known::Unknown,
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(condition) = abac::Condition::read(text)
    {
        condition.holds(&Nothing);
    }
}
