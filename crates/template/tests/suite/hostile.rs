//! Nothing that is sent makes the engine panic, hang or grow without bound.

use crate::{plan, template};
use proptest::prelude::*;
use serde_json::json;
use template::fuzz::{fuzz_expression, fuzz_template};

/// Texts near the grammar.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "'[a-z{}0-9:,/\\-]{0,8}'".prop_map(String::from),
        (-3i64..20).prop_map(|n| n.to_string()),
        Just("variables('v').a".to_owned()),
        Just("parameters('p')".to_owned()),
        Just("resourceGroup()".to_owned()),
        Just("true()".to_owned()),
        Just("lambda('x', lambdaVariables('x'))".to_owned()),
    ];
    let names: Vec<&'static str> = template::functions().map(|n| if n == "list*" { "listKeys" } else { n }).collect();
    leaf.prop_recursive(5, 40, 4, move |inner| {
        let name = prop::sample::select(names.clone());
        prop_oneof![
            (name, prop::collection::vec(inner.clone(), 0..4)).prop_map(|(name, all)| format!("{name}({})", all.join(", "))),
            (inner.clone(), inner.clone()).prop_map(|(of, key)| format!("{of}[{key}]")),
            inner.prop_map(|of| format!("{of}.a")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_expression_panics(text in expression()) {
        fuzz_expression(text.as_bytes());
    }
    #[test]
    fn no_text_panics(text in "[ -~é\n]{0,60}") {
        fuzz_expression(text.as_bytes());
        fuzz_template(text.as_bytes());
    }
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz_template(&bytes);
    }
}

#[test]
fn small_templates_do_not_grow_without_bound() {
    let mut variables = serde_json::Map::new();
    variables.insert("v0".into(), json!("0123456789abcdef"));
    for i in 1..60 {
        variables.insert(format!("v{i}"), json!(format!("[concat(variables('v{0}'), variables('v{0}'))]", i - 1)));
    }
    let error = plan(&template(json!({"variables": variables})), json!({})).unwrap_err();
    assert!(error.message.contains("maximum allowed size"), "{error}");
    for squares in [
        "[union(range(0, 9000), range(1, 9000))]",
        "[join(range(0, 10000), padLeft('', 60000))]",
        "[split(padLeft('', 60000), map(range(0, 10000), lambda('i', string(lambdaVariables('i')))))]",
    ] {
        assert!(plan(&template(json!({"variables": {"v": squares}})), json!({})).is_err(), "{squares}");
    }
    // all resources together have one measure
    let many = json!({"type": "A.B/c", "apiVersion": "2023-01-01", "name": "[format('n{0}', copyIndex())]", "copy": {"name": "l", "count": 800},
        "tags": {"t": "[length(map(range(0, 10000), lambda('i', lambdaVariables('i'))))]"}});
    assert!(plan(&template(json!({"resources": [many]})), json!({})).is_err());
    let deep = "[reduce(range(0, 5000), createArray(), lambda('a', 'b', createArray(lambdaVariables('a'))))]";
    assert!(plan(&template(json!({"variables": {"v": deep}})), json!({})).is_err());
}

#[test]
fn nothing_calls_itself_for_ever() {
    for variables in [json!({"a": "[variables('a')]"}), json!({"a": "[variables('b')]", "b": "[variables('a')]"})] {
        assert!(plan(&template(json!({"variables": variables})), json!({})).unwrap_err().message.contains("circular"));
    }
    let functions = json!([{"namespace": "n", "members": {"f": {"output": {"type": "int", "value": "[add(1, n.f())]"}}}}]);
    assert!(plan(&template(json!({"functions": functions, "variables": {"a": "[n.f()]"}})), json!({})).is_err());
    let mut chain = serde_json::Map::new();
    for i in 0..400 {
        chain.insert(format!("v{i}"), json!(format!("[variables('v{}')]", i + 1)));
    }
    assert!(plan(&template(json!({"variables": chain})), json!({})).is_err());
    let calls = format!("[{}1{}]", "add(1, ".repeat(59), ")".repeat(59));
    assert!(plan(&template(json!({"variables": {"a": {"b": [calls]}}})), json!({})).is_ok());
}
