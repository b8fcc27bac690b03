//! What a template becomes, and Azure's words where it can't.

use crate::{SUB, Stage, group, plan, plan_at, ready, template};
use serde_json::{Value, json};
use template::{Evaluated, Plan, Question};

fn store(name: &str) -> Value {
    json!({"type": "Microsoft.Storage/storageAccounts", "apiVersion": "2023-01-01", "name": name, "location": "francecentral"})
}
fn with(mut resource: Value, name: &str, value: Value) -> Value {
    resource[name] = value;
    resource
}
fn made(resources: Value) -> Plan {
    plan(&template(json!({"resources": resources})), json!({})).unwrap()
}
#[track_caller]
fn refused(parts: Value, parameters: Value, words: &str) {
    let error = plan(&template(parts), parameters).unwrap_err();
    assert_eq!(error.code, "InvalidTemplate");
    assert!(error.message.contains(words), "{}", error.message);
}
fn id(name: &str) -> String {
    format!("{}/providers/Microsoft.Storage/storageAccounts/{name}", group())
}

#[test]
fn dependencies_by_every_name() {
    let names = ["a", &id("a"), "Microsoft.Storage/storageAccounts/a", "loop"];
    for name in names {
        let other = with(store("b"), "dependsOn", json!([name]));
        let first = if name == "loop" {
            with(store("[concat('a', copyIndex())]"), "copy", json!({"name": "loop", "count": 2}))
        } else {
            store("a")
        };
        let plan = made(json!([other, first]));
        let want: Vec<usize> = (1..plan.resources.len()).collect();
        assert_eq!(plan.resources[0].depends_on, want, "{name}");
    }
}

#[test]
fn reference_makes_a_dependency_and_waits() {
    let plan = made(json!([
        with(store("b"), "tags", json!({"x": "[concat(reference('a').y, listKeys('c', '2023-01-01').keys[0].value)]"})),
        store("a"),
        store("c")
    ]));
    assert_eq!(plan.resources[0].depends_on, [1, 2]);
    assert_eq!(plan.resources[0].preview["tags"]["x"], "[concat(reference('a').y, listKeys('c', '2023-01-01').keys[0].value)]");
    let mut stage = Stage::default();
    let Evaluated::Waits(questions) = plan.body(0, &stage).unwrap() else { panic!() };
    assert_eq!(questions.len(), 2, "both are asked at once: {questions:?}");
    assert!(matches!(&questions[0], Question::Reference { id: found, api_version: Some(v) } if *found == id("a") && v == "2023-01-01"));
    stage.there.insert(id("a").to_lowercase(), json!({"properties": {"y": "why-"}}));
    stage.keys.insert(id("c").to_lowercase(), json!({"keys": [{"value": "k"}]}));
    assert_eq!(ready(plan.body(0, &stage).unwrap())["tags"]["x"], "why-k");
    // while planning nothing of this was asked
    let stage = Stage::default();
    crate::template(json!({}));
    assert!(stage.asked.borrow().is_empty());
}

#[test]
fn circles_are_refused() {
    let one = with(store("a"), "dependsOn", json!(["b"]));
    let other = with(store("b"), "dependsOn", json!(["a"]));
    refused(json!({"resources": [store("c"), one, other]}), json!({}), "Circular dependency detected on resource: '/subscriptions/");
    let own = with(store("a"), "dependsOn", json!(["a"]));
    refused(json!({"resources": [own]}), json!({}), "Circular dependency");
}

#[test]
fn serial_loops_wait_for_the_batch_before() {
    let looped = with(store("[concat('a', copyIndex())]"), "copy", json!({"name": "l", "count": 5, "mode": "Serial", "batchSize": 2}));
    let plan = made(json!([looped]));
    let edges: Vec<Vec<usize>> = plan.resources.iter().map(|r| r.depends_on.clone()).collect();
    assert_eq!(edges, [vec![], vec![], vec![0, 1], vec![0, 1], vec![2, 3]]);
}

#[test]
fn parameters_are_checked() {
    let of = |declaration: Value| json!({"parameters": {"p": declaration}});
    let given = |value: Value| json!({"p": {"value": value}});
    refused(of(json!({"type": "string"})), json!({}), "The value for the template parameter 'p' at line '1' and column '");
    refused(of(json!({"type": "string"})), json!({"q": {"value": 1}}), "The template parameters 'q' in the parameters file are not valid");
    refused(
        of(json!({"type": "string"})),
        given(json!(1)),
        "Expected a value of type 'String, Uri', but received a value of type 'Integer'",
    );
    refused(of(json!({"type": "int"})), given(json!("1")), "'Integer'");
    refused(of(json!({"type": "string", "allowedValues": ["a", "b"]})), given(json!("c")), "is not part of the allowed value(s): 'a,b'");
    refused(of(json!({"type": "securestring", "allowedValues": ["a"]})), given(json!("hush")), "'(secret)'");
    refused(of(json!({"type": "string", "minLength": 2})), given(json!("a")), "Length of the value should be greater than or equal to '2'");
    refused(of(json!({"type": "array", "maxLength": 1})), given(json!([1, 2])), "less than or equal to '1'");
    refused(of(json!({"type": "int", "maxValue": 3})), given(json!(4)), "The value should be less than or equal to '3'");
    refused(of(json!({"type": "nothing"})), given(json!(4)), "has no valid type");
    refused(of(json!({"$ref": "#/definitions/x"})), given(json!(4)), "is not found in the template's definitions");
    refused(of(json!({"type": "string", "defaultValue": "[reference('x').y]"})), json!({}), "'reference' is not expected at this location");
    let circle = json!({"parameters": {"p": {"type": "string", "defaultValue": "[parameters('q')]"}, "q": {"type": "string", "defaultValue": "[parameters('p')]"}}});
    refused(circle, json!({}), "circular");
    let vault = json!({"p": {"reference": {"keyVault": {"id": "/kv"}, "secretName": "s"}}});
    let plan = plan(
        &template(
            json!({"parameters": {"p": {"type": "securestring"}}, "outputs": {"o": {"type": "string", "value": "[parameters('p')]"}}}),
        ),
        vault,
    )
    .unwrap();
    assert_eq!(ready(plan.outputs(&Stage::default()).unwrap())[0].value, "secret of s");
    assert!(plan.parameters().all(|p| p.value.is_none()));
}

#[test]
fn secrets_can_be_left_out_of_what_is_shown() {
    let resource = with(store("a"), "properties", json!({"p": "[base64(parameters('p'))]", "o": "[parameters('o')]"}));
    let t = template(
        json!({"parameters": {"p": {"type": "secureString", "minLength": 9}, "o": {"type": "secureObject"}}, "resources": [resource]}),
    );
    let parameters = json!({"p": {"value": "hush-hush"}, "o": {"value": {"a": ["hush-hush"], "n": 7}}});
    let request = template::Request {
        scope: &group(),
        template: &t,
        places: Default::default(),
        parameters: parameters.as_object().unwrap(),
        hide_secrets: true,
    };
    let plan = template::plan(&request, &Stage::default()).unwrap();
    let properties = &plan.resources[0].preview["properties"];
    assert_eq!(*properties, json!({"p": "KioqKioqKg==", "o": {"a": ["*******"], "n": "*******"}}));
}

#[test]
fn types_of_the_author_are_checked() {
    let disk = json!({"type": "object", "properties": {"size": {"type": "int", "minValue": 1}, "kind": {"type": "string", "nullable": true}}, "additionalProperties": false});
    let parts = |value: Value| {
        let t = template(json!({"definitions": {"disk": disk}, "parameters": {"p": {"$ref": "#/definitions/disk"}}}));
        plan(&t, json!({"p": {"value": value}})).map(|_| ()).map_err(|e| e.message)
    };
    assert!(parts(json!({"size": 1, "kind": null})).is_ok());
    assert!(parts(json!({"size": 0})).unwrap_err().contains("'p.size'"));
    assert!(parts(json!({})).unwrap_err().contains("has no property 'size'"));
    assert!(parts(json!({"size": 1, "x": 1})).unwrap_err().contains("'x'"));
    let union = json!({"type": "object", "discriminator": {"propertyName": "kind", "mapping": {"a": {"type": "object", "properties": {"kind": {"type": "string"}, "n": {"type": "int"}}}}}});
    let t = template(json!({"parameters": {"p": union}}));
    assert!(plan(&t, json!({"p": {"value": {"kind": "a", "n": 1}}})).is_ok());
    assert!(plan(&t, json!({"p": {"value": {"kind": "b"}}})).is_err());
}

#[test]
fn templates_are_refused_in_azures_words() {
    refused(
        json!({"resources": [with(store("a"), "dependsOn", json!(["b"]))]}),
        json!({}),
        "The resource 'b' is not defined in the template",
    );
    refused(json!({"resources": [store("a"), store("a")]}), json!({}), "is defined multiple times in a template");
    refused(json!({"resources": [store("a/b")]}), json!({}), "has incorrect segment lengths");
    refused(json!({"resources": [{"type": "A.B/c", "name": "x"}]}), json!({}), "The template resource 'x' at line '1' and column '");
    refused(json!({"resources": [store("[parameters('nope')]")]}), json!({}), "The template parameter 'nope' is not found");
    refused(
        json!({"resources": [with(store("a"), "properties", json!({"x": "[nope()]"}))]}),
        json!({}),
        "Unable to process template language expressions for resource '/subscriptions/",
    );
    refused(json!({"resources": [with(store("a"), "condition", json!("x"))]}), json!({}), "its condition is of type 'String'");
    refused(json!({"resources": [with(store("a"), "copy", json!({"name": "l", "count": 801}))]}), json!({}), "from 0 to 800");
    refused(
        json!({"resources": [with(store("[concat('a', copyIndex())]"), "copy", json!({"name": "l", "count": "[reference('x').n]"}))]}),
        json!({}),
        "not expected at this location",
    );
    refused(json!({"variables": {"v": "[reference('x').y]"}}), json!({}), "not expected at this location");
    refused(
        json!({"outputs": {"o": {"type": "int", "value": "x"}}}),
        json!({}),
        "Template output JToken type is not valid. Expected 'Integer'. Actual 'String'",
    );
    refused(json!({"nonsense": 1}), json!({}), "Could not find member 'nonsense' on object of type 'Template'");
    refused(json!({"variables": {"v": "[concat('a']"}}), json!({}), "expected token 'RightParenthesis' and actual 'EndOfData'");
    for bad in [json!(1), json!({}), json!({"$schema": "x#", "contentVersion": "1", "resources": []})] {
        assert_eq!(plan(&bad, json!({})).unwrap_err().code, "InvalidTemplate");
    }
    let error = plan(&template(json!({"extensions": {"graph": {}}})), json!({})).unwrap_err();
    assert_eq!(error.code, "NotImplemented");
}

#[test]
fn lines_are_those_of_the_file() {
    let text = "{\n  \"$schema\": \"https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#\",\n  \"contentVersion\": \"1.0.0.0\",\n  \"resources\": [\n    {\"type\": \"A.B/c\", \"name\": \"x\"}\n  ]\n}";
    let error = plan_at(&group(), text, json!({})).unwrap_err();
    assert!(error.message.contains("at line '5' and column '5'"), "{}", error.message);
}

#[test]
fn what_is_not_deployed_does_nothing() {
    let off = with(with(store("a"), "condition", json!(false)), "properties", json!({"x": "[fail('never')]"}));
    let plan = made(json!([off, with(store("b"), "dependsOn", json!(["a"])), with(store("a"), "tags", json!({"the": "other"}))]));
    assert!(!plan.resources[0].deployed);
    assert_eq!(plan.resources[1].depends_on, [0, 2]);
}

#[test]
fn scopes_of_resources() {
    let nested = json!({"type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "n", "properties": {"mode": "Incremental", "template": {}}});
    let other = "11111111-1111-1111-1111-111111111111";
    for (resource, want) in [
        (with(nested.clone(), "resourceGroup", json!("other")), format!("/subscriptions/{SUB}/resourceGroups/other")),
        (with(nested.clone(), "subscriptionId", json!(other)), format!("/subscriptions/{other}")),
        (with(nested.clone(), "scope", json!("/")), String::new()),
        (
            with(nested.clone(), "scope", json!("Microsoft.Management/managementGroups/m")),
            "/providers/Microsoft.Management/managementGroups/m".into(),
        ),
        (nested.clone(), group()),
    ] {
        let plan = made(json!([resource]));
        assert_eq!(plan.resources[0].scope, want);
        assert_eq!(plan.resources[0].id, format!("{want}/providers/Microsoft.Resources/deployments/n"));
    }
}

#[test]
fn outer_templates_are_evaluated_by_their_parent_inner_ones_by_themselves() {
    let inside = json!({"resources": [{"name": "[variables('v')]", "tags": {"t": "[[literal]", "u": "[concat('[', 'x]')]"}}]});
    let nested = |scope: Option<&str>| {
        let mut properties = json!({"mode": "Incremental", "template": inside});
        if let Some(scope) = scope {
            properties["expressionEvaluationOptions"] = json!({"scope": scope});
        }
        let resource =
            json!({"type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "n", "properties": properties});
        let plan = plan(&template(json!({"variables": {"v": "value"}, "resources": [resource]})), json!({})).unwrap();
        plan.resources[0].preview["properties"]["template"].clone()
    };
    let outer = nested(None);
    assert_eq!(outer["resources"][0], json!({"name": "value", "tags": {"t": "[[literal]", "u": "[[x]"}}));
    assert_eq!(nested(Some("inner")), inside);
}
