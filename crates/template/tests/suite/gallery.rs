//! Twenty templates, planned and run against a stage; what comes out is in `templates/golden.txt` (UPDATE_GOLDEN=1
//! rewrites it, the diff is read like code).

use crate::{SUB, Stage, TENANT, group, plan_at};
use base::Result;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use template::{Evaluated, Host, Question, lenient};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates")
}

/// Names and texts, in order.
fn templates() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name()?.to_str()?.strip_suffix(".json")?.to_owned();
            (!name.ends_with(".parameters")).then(|| (name, std::fs::read_to_string(&path).unwrap()))
        })
        .collect();
    all.sort();
    all
}

fn parameters(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(format!("{name}.parameters.json"))).unwrap_or_else(|_| "{\"parameters\": {}}".into());
    lenient::parse(text.as_bytes()).unwrap().value["parameters"].take()
}

/// Everything that is referred to is there, and looks alike.
struct Alike(Stage);

impl Host for Alike {
    fn answer(&self, question: &Question) -> Result<Option<Value>> {
        let body = |id: &str| {
            json!({
                "id": id, "location": "francecentral",
                "properties": {
                    "primaryEndpoints": {"blob": format!("https://{}/", id.rsplit('/').next().unwrap())},
                    "vaultUri": "https://vault/", "dnsSettings": {"fqdn": "host"},
                    "outputs": {"name": {"value": id.rsplit('/').next().unwrap()}, "endpoint": {"value": "e"}},
                },
            })
        };
        Ok(Some(match question {
            Question::Reference { id, .. } => body(id),
            Question::List { .. } => json!({"keys": [{"value": "first-key"}, {"value": "second-key"}]}),
            Question::Deployment => json!({"name": "main", "location": "francecentral"}),
            _ => return self.0.answer(question),
        }))
    }
}

fn scope(text: &str) -> String {
    if text.contains("/subscriptionDeploymentTemplate.json#\",\n  \"contentVersion") {
        format!("/subscriptions/{SUB}")
    } else if text.contains("/managementGroupDeploymentTemplate.json") {
        "/providers/Microsoft.Management/managementGroups/mg".to_owned()
    } else {
        group()
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a golden file is rewritten when asked")]
fn the_gallery_comes_out_as_before() {
    let mut out = String::new();
    for (name, text) in templates() {
        let document = lenient::parse(text.as_bytes()).unwrap();
        let (scope, parameters) = (scope(&text), parameters(&name));
        let host = Alike(Stage::default());
        let request = template::Request {
            scope: &scope,
            template: &document.value,
            places: document.places.clone(),
            parameters: parameters.as_object().unwrap(),
            hide_secrets: false,
        };
        let plan = template::plan(&request, &host).unwrap_or_else(|e| panic!("{name}: {e}"));
        // stored and taken up again: the same plan
        let plan: template::Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        writeln!(out, "# {name} at {scope}").unwrap();
        for shown in plan.parameters() {
            writeln!(out, "parameter {} {} = {}", shown.name, shown.kind.as_str(), shown.value.map_or("(secret)".into(), Value::to_string))
                .unwrap();
        }
        for (at, resource) in plan.resources.iter().enumerate() {
            let state = if resource.deployed { "" } else { " (not deployed)" };
            writeln!(out, "{at} {}{state} after {:?}", resource.id, resource.depends_on).unwrap();
            let Evaluated::Ready(body) = plan.body(at, &host).unwrap() else { panic!("{name}: {at} waits") };
            writeln!(out, "    {body}").unwrap();
        }
        let Evaluated::Ready(outputs) = plan.outputs(&host).unwrap() else { panic!("{name}: outputs wait") };
        for output in outputs {
            writeln!(out, "output {} {} = {}", output.name, output.kind.as_str(), output.value).unwrap();
        }
        out.push('\n');
    }
    let out = out.replace(SUB, "SUB").replace(TENANT, "TENANT");
    let golden = folder().join("golden.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &out).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&golden).unwrap_or_default(), out, "UPDATE_GOLDEN=1 writes what is new");
}

/// Names before a parenthesis in what is an expression.
fn called(value: &Value, out: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.starts_with('[') && !text.starts_with("[[") => {
            for (at, _) in text.match_indices('(') {
                let head = &text[..at];
                let begin = head.rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |b| b + 1);
                out.insert(head[begin..].to_lowercase());
            }
        }
        Value::Array(all) => all.iter().for_each(|v| called(v, out)),
        Value::Object(all) => all.values().for_each(|v| called(v, out)),
        _ => {}
    }
}

#[test]
fn the_gallery_calls_every_function() {
    let mut found = BTreeSet::new();
    assert_eq!(templates().len(), 20);
    for (_, text) in templates() {
        called(&lenient::parse(text.as_bytes()).unwrap().value, &mut found);
    }
    let missing: Vec<&str> = template::functions()
        .filter(|name| match *name {
            "list*" => !found.contains("listkeys"),
            name => !found.contains(&name.to_lowercase()),
        })
        .collect();
    assert!(missing.is_empty(), "no template calls {missing:?}");
}

#[test]
fn secrets_of_the_gallery_are_not_shown() {
    let text = std::fs::read_to_string(folder().join("19-virtual-machine.json")).unwrap();
    let short = plan_at(&group(), &text, json!({"adminPassword": {"value": "hunter2"}})).unwrap_err();
    assert!(!short.to_string().contains("hunter2") && short.message.contains("adminPassword"), "{short}");
    let wrong = plan_at(&group(), &text, json!({"adminPassword": {"value": ["hunter2"]}})).unwrap_err();
    assert!(!wrong.to_string().contains("hunter2"), "{wrong}");
}

/// What each resource of the gallery would change of one that looks almost like it: `templates/what_if.txt`.
#[test]
#[allow(clippy::disallowed_methods, reason = "a golden file is rewritten when asked")]
fn what_the_gallery_would_change_is_as_before() {
    /// As it is, but for a value that changed, one that is new and one that is gone.
    fn almost(after: &Value) -> Value {
        let mut before = after.clone();
        let Some(map) = before.as_object_mut() else { return before };
        if let Some(tags) = map.get_mut("tags").and_then(Value::as_object_mut) {
            tags.insert("old".into(), json!("1"));
        }
        map.remove("sku");
        map.insert("kind".into(), json!("StorageV1"));
        let properties = map.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert("decided".into(), json!("by the service"));
            for value in properties.values_mut() {
                match value {
                    Value::Array(all) => drop(all.pop()),
                    Value::Object(inner) => drop(inner.insert("inner".into(), json!(true))),
                    _ => {}
                }
            }
        }
        before
    }
    fn print(changes: &[template::what_if::PropertyChange], indent: usize, out: &mut String) {
        for change in changes {
            let show = |value: &Option<Value>| value.as_ref().map_or("-".into(), Value::to_string);
            let (before, after) = (show(&change.before), show(&change.after));
            writeln!(out, "{:indent$}{} {}: {before} => {after}", "", change.kind.as_str(), change.path).unwrap();
            print(&change.children, indent + 4, out);
        }
    }
    let mut out = String::new();
    for (name, text) in templates() {
        let document = lenient::parse(text.as_bytes()).unwrap();
        let (scope, parameters) = (scope(&text), parameters(&name));
        let parameters = parameters.as_object().unwrap();
        let request =
            template::Request { scope: &scope, template: &document.value, places: document.places.clone(), parameters, hide_secrets: true };
        let plan = template::plan(&request, &Alike(Stage::default())).unwrap();
        for resource in plan.resources.iter().filter(|r| r.deployed && !r.kind.ends_with("/deployments")) {
            let (kind, changes) = template::what_if::change_of(Some(&almost(&resource.preview)), Some(&resource.preview), false);
            writeln!(out, "# {name} {} {}", resource.id, kind.as_str()).unwrap();
            print(&changes, 2, &mut out);
        }
    }
    let out = out.replace(SUB, "SUB").replace(TENANT, "TENANT");
    assert!(!out.contains("hush") && !out.contains("battery"), "a secret is foretold");
    let golden = folder().join("what_if.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &out).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&golden).unwrap_or_default(), out, "UPDATE_GOLDEN=1 writes what is new");
}
