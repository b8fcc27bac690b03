//! Deployments from outside: a region in memory, templates put as clients put them.

use arm::{Arm, AzureRoles};
use base::{ObjectId, SubscriptionId, TenantId};
use serde_json::{Value, json};
use service::Service;
use std::sync::Arc;
use testkit::{Answer, Kit, Mood, Setup, Sulking};
use trust::{Caller, Principal, PrincipalKind};

const HOST: &str = "https://management.bleu.localhost";
const READER: &str = "acdd72a7-3385-48ef-bd42-f606fba81ae7";

struct World {
    kit: Kit,
    worker: Option<arm::Running>,
    tenant: TenantId,
    subscription: SubscriptionId,
    admin: ObjectId,
    client: ObjectId,
}

fn bearer(near: &service::Neighbours, token: &str, _: &[String]) -> base::Result<Caller> {
    let (tenant, object) = token.split_once('/').unwrap();
    let (tenant, object): (TenantId, ObjectId) = (tenant.parse()?, object.parse()?);
    let kind = near.facts(|f| f.principal(object).map(|p| p.kind)).unwrap_or(PrincipalKind::User);
    Ok(Caller::Principal(Principal { tenant, object, app: base::AppId(object.0), kind, name: "someone".into() }))
}

fn setup(seed: u64) -> (Setup, Arc<Arm>) {
    let storage: Arc<dyn Service> = Arc::new(storage::Storage);
    let arm = Arm::new(storage.kinds());
    let services = vec![storage, arm.clone() as Arc<dyn Service>];
    arm.serving(&services);
    (Setup::new(seed).services(services).rules(AzureRoles).bearer(Arc::new(bearer)), arm)
}

async fn world_on(setup: Setup, arm: Arc<Arm>, works: bool) -> World {
    let kit = Kit::start(setup).await;
    let chance = kit.trust.chance();
    let (tenant, subscription) = (TenantId::random(&*chance), SubscriptionId::random(&*chance));
    let seed = identity::Seed {
        tenant,
        name: "Contoso".into(),
        domain: "contoso.example".into(),
        location: kit.urls.location.clone(),
        client_name: "client".into(),
        admin_password: None,
        client_secret: None,
    };
    let seeded = identity::seed(&kit.region("identity"), &seed).await.unwrap();
    arm::seed_subscription(&kit.region("arm"), tenant, subscription, "Main", &[seeded.admin]).await.unwrap();
    let worker = if works { Some(arm.start(kit.trust.clone(), kit.urls.clone()).await.unwrap()) } else { None };
    World { kit, worker, tenant, subscription, admin: seeded.admin, client: seeded.client_object }
}
async fn world(seed: u64) -> World {
    let (setup, arm) = setup(seed);
    world_on(setup, arm, true).await
}

fn template(parts: Value) -> Value {
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
fn store(name: &str) -> Value {
    json!({"type": "Microsoft.Storage/storageAccounts", "apiVersion": "2023-01-01", "name": name, "location": "[resourceGroup().location]", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"})
}
fn with(mut value: Value, name: &str, part: Value) -> Value {
    value[name] = part;
    value
}
fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
}

impl World {
    async fn raw(&self, who: ObjectId, method: &str, path: &str, body: String) -> Answer {
        let url = if path.starts_with("https:") { path.to_owned() } else { format!("{HOST}{path}") };
        let url = if url.contains("api-version") {
            url
        } else {
            format!("{url}{}api-version=2025-04-01", if url.contains('?') { "&" } else { "?" })
        };
        let token = format!("Bearer {}/{who}", self.tenant);
        self.kit.call(method, &url, &[("authorization", &token), ("content-type", "application/json")], body).await
    }
    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.raw(self.admin, method, path, if body.is_null() { String::new() } else { body.to_string() }).await
    }
    fn sub(&self) -> String {
        format!("/subscriptions/{}", self.subscription)
    }
    fn group(&self, name: &str) -> String {
        format!("{}/resourceGroups/{name}", self.sub())
    }
    fn deployment(&self, group: &str, name: &str) -> String {
        format!("{}/providers/Microsoft.Resources/deployments/{name}", self.group(group))
    }
    fn account(&self, group: &str, name: &str) -> String {
        format!("{}/providers/Microsoft.Storage/storageAccounts/{name}", self.group(group))
    }
    async fn put_group(&self, name: &str) {
        assert_eq!(self.call("PUT", &self.group(name), json!({"location": "francecentral"})).await.status, 201);
    }
    /// Polls to the end; gives the last status.
    async fn poll(&self, url: &str) -> Value {
        for _ in 0..5_000 {
            let answer = self.call("GET", url, Value::Null).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let status = answer.json();
            if !["Accepted", "Running"].contains(&status["status"].as_str().unwrap()) {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("the deployment does not end");
    }
    /// Puts a template, waits for its end, gives the deployment.
    async fn deploy(&self, path: &str, template: &Value, parameters: Value, mode: &str) -> Value {
        let mut body = json!({"properties": {"mode": mode, "template": template, "parameters": parameters}});
        if !path.contains("resourceGroups") {
            body["location"] = json!("francecentral");
        }
        let answer = self.call("PUT", path, body).await;
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
        self.poll(answer.header("azure-asyncoperation")).await;
        self.call("GET", path, Value::Null).await.json()
    }
    async fn audit(self) {
        let World { kit, worker, tenant, .. } = self;
        if let Some(worker) = worker {
            worker.stop().await;
        }
        kit.audit(Some(tenant)).await;
    }
}

#[tokio::test]
async fn a_template_is_deployed_shown_exported_and_deleted() {
    let w = world(1).await;
    w.put_group("g").await;
    let path = w.deployment("g", "main");
    assert_eq!(w.call("HEAD", &path, Value::Null).await.status, 404);
    let template = template(json!({
        "parameters": {"name": {"type": "string"}, "secret": {"type": "secureString"}},
        "resources": [
            with(with(store("[concat(parameters('name'), copyIndex())]"), "copy", json!({"name": "accounts", "count": 3, "mode": "serial", "batchSize": 1})), "tags", json!({"team": "blue"})),
            {"type": "Microsoft.Resources/tags", "apiVersion": "2021-04-01", "name": "default", "dependsOn": ["accounts"],
             "properties": {"tags": {"blob": "[replace(reference(concat(parameters('name'), '0')).primaryEndpoints.blob, '/', '|')]"}}},
            {"type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01", "name": "[guid(resourceGroup().id, 'x')]",
             "scope": "[format('Microsoft.Storage/storageAccounts/{0}1', parameters('name'))]", "dependsOn": ["accounts"],
             "properties": {"roleDefinitionId": format!("[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{READER}')]"), "principalId": w.client.to_string()}},
        ],
        "outputs": {
            "blob": {"type": "string", "value": "[reference(concat(parameters('name'), '2')).primaryEndpoints.blob]"},
            "key": {"type": "securestring", "value": "[listKeys(concat(parameters('name'), '2'), '2023-01-01').keys[0].value]"},
            "kept": {"type": "secureString", "value": "[parameters('secret')]"},
        },
    }));
    let done = w.deploy(&path, &template, json!({"name": {"value": "stored"}, "secret": {"value": "hush-hush"}}), "Incremental").await;
    assert_eq!(done["properties"]["provisioningState"], "Succeeded", "{done:#}");
    assert!(done["properties"]["outputs"]["blob"]["value"].as_str().unwrap().contains("stored2"));
    assert_eq!(done["properties"]["outputs"]["key"], json!({"type": "SecureString"}));
    assert_eq!(done["properties"]["parameters"]["secret"], json!({"type": "SecureString"}));
    assert_eq!(done["properties"]["outputResources"].as_array().unwrap().len(), 5);
    assert!(!done.to_string().contains("hush-hush"));
    let tags = w.call("GET", &w.group("g"), Value::Null).await.json()["tags"].clone();
    assert!(tags["blob"].as_str().unwrap().contains("stored0"), "{tags}");
    let operations = w.call("GET", &format!("{path}/operations"), Value::Null).await;
    assert!(!operations.text().contains("hush-hush"));
    let all = operations.json()["value"].as_array().unwrap().clone();
    assert_eq!(all.len(), 5);
    assert!(all.iter().all(|o| o["properties"]["provisioningState"] == "Succeeded"), "{all:#?}");
    let one = w.call("GET", &format!("{path}/operations/{}", all[0]["operationId"].as_str().unwrap()), Value::Null).await;
    assert_eq!(one.json(), all[0]);
    let short = w.call("GET", &format!("{}/deployments/main/operations", w.group("g")), Value::Null).await;
    assert_eq!(short.json(), operations.json(), "as the az command asks");
    let exported = w.call("POST", &format!("{path}/exportTemplate"), Value::Null).await.json();
    assert_eq!(exported["template"], template);
    let list = w.call("GET", &format!("{}/?$filter=provisioningState%20eq%20'Succeeded'", w.deployment("g", "")), Value::Null).await;
    assert_eq!(list.json()["value"].as_array().unwrap().len(), 1, "{}", list.text());
    // again, changed: the old operations go
    let again = w.deploy(&path, &crate::template(json!({"resources": [store("stored0")]})), json!({}), "Incremental").await;
    assert_eq!(again["properties"]["provisioningState"], "Succeeded");
    assert_eq!(w.call("GET", &format!("{path}/operations"), Value::Null).await.json()["value"].as_array().unwrap().len(), 1);
    assert_eq!(w.call("DELETE", &path, Value::Null).await.status, 204);
    assert_eq!(code(&w.call("GET", &path, Value::Null).await), "DeploymentNotFound");
    assert_eq!(w.call("GET", &w.account("g", "stored1"), Value::Null).await.status, 200, "what was deployed stays");
    w.audit().await;
}

#[tokio::test]
async fn templates_are_refused_before_anything_is_done() {
    let w = world(2).await;
    w.put_group("g").await;
    let path = w.deployment("g", "bad");
    let body = |template: Value| json!({"properties": {"mode": "Incremental", "template": template}});
    for (body, status, expected) in [
        (
            body(template(json!({"resources": [{"type": "Microsoft.Nothing/things", "apiVersion": "2023-01-01", "name": "x"}]}))),
            400,
            "InvalidResourceNamespace",
        ),
        (
            body(template(json!({"resources": [{"type": "Microsoft.Storage/things", "apiVersion": "2023-01-01", "name": "x"}]}))),
            400,
            "InvalidResourceType",
        ),
        (body(template(json!({"resources": [with(store("a"), "dependsOn", json!(["a"]))]}))), 400, "InvalidTemplate"),
        (body(template(json!({"parameters": {"p": {"type": "string"}}}))), 400, "InvalidTemplate"),
        (body(template(json!({"resources": [with(store("abc"), "apiVersion", json!("soon"))]}))), 400, "InvalidApiVersionParameter"),
        (
            body(template(json!({"resources": [with(store("abc"), "sku", json!({"name": "Nothing_LRS"}))]}))),
            400,
            "InvalidTemplateDeployment",
        ),
        (body(template(json!({"resources": [store("Bad_Name")]}))), 400, "InvalidTemplateDeployment"),
        (json!({"properties": {"mode": "Sometimes", "template": {}}}), 400, "InvalidDeploymentMode"),
        (json!({"properties": {"mode": "Incremental"}}), 400, "InvalidDeployment"),
        (
            json!({"location": "francecentral", "properties": {"mode": "Incremental", "template": template(json!({}))}}),
            400,
            "InvalidDeployment",
        ),
        (json!({"properties": {"mode": "Incremental", "templateLink": {"uri": "https://example.org/t.json"}}}), 501, "NotImplemented"),
        (json!({}), 400, "InvalidRequestContent"),
    ] {
        for (method, path) in [("PUT", path.clone()), ("POST", format!("{path}/validate")), ("POST", format!("{path}/whatIf"))] {
            let answer = w.call(method, &path, body.clone()).await;
            assert_eq!((answer.status, code(&answer).as_str()), (status, expected), "{method} {body}: {}", answer.text());
        }
    }
    assert_eq!(code(&w.raw(w.admin, "PUT", &path, "{".into()).await), "InvalidRequestContent");
    let elsewhere = w.call("PUT", &w.deployment("none", "x"), body(template(json!({})))).await;
    assert_eq!((elsewhere.status, code(&elsewhere).as_str()), (404, "ResourceGroupNotFound"));
    assert_eq!(code(&w.call("PUT", &w.deployment("g", "a!b"), body(template(json!({})))).await), "InvalidDeploymentName");
    assert_eq!(w.call("GET", &path, Value::Null).await.status, 404, "nothing was stored");
    w.audit().await;
}

#[tokio::test]
async fn az_sends_the_text_of_the_file() {
    let w = world(3).await;
    w.put_group("g").await;
    let text = "{\n  // by hand\n  \"$schema\": \"https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#\",\n  \"contentVersion\": \"1.0.0.0\",\n  \"resources\": [],\n  \"outputs\": {\"long\": {\"type\": \"string\", \"value\": \"[concat('a',\n 'b')]\"}},\n}";
    let body = format!("{{\"properties\": {{\"parameters\": {{}}, \"mode\": \"Incremental\", template:{text}}}}}");
    let path = w.deployment("g", "lenient");
    let answer = w.raw(w.admin, "POST", &format!("{path}/validate"), body.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = w.raw(w.admin, "PUT", &path, body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(w.poll(answer.header("azure-asyncoperation")).await["status"], "Succeeded");
    assert_eq!(w.call("GET", &path, Value::Null).await.json()["properties"]["outputs"]["long"]["value"], "ab");
    w.audit().await;
}

#[tokio::test]
async fn a_failure_is_told_with_its_resource_and_what_does_not_depend_on_it_is_done() {
    let w = world(4).await;
    w.put_group("g").await;
    let path = w.deployment("g", "failing");
    let template = template(json!({"resources": [
        {"type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01", "name": "[guid('x')]",
         "properties": {"roleDefinitionId": format!("/x/{READER}"), "principalId": "00000000-1111-4222-8333-444444444444"}},
        with(store("waits"), "dependsOn", json!(["[resourceId('Microsoft.Authorization/roleAssignments', guid('x'))]"])),
        store("beside"),
    ]}));
    let done = w.deploy(&path, &template, json!({}), "Incremental").await;
    assert_eq!(done["properties"]["provisioningState"], "Failed");
    assert_eq!(done["properties"]["error"]["code"], "DeploymentFailed");
    assert_eq!(done["properties"]["error"]["details"].as_array().unwrap().len(), 1, "{done:#}");
    assert_eq!(w.call("GET", &w.account("g", "beside"), Value::Null).await.status, 200);
    assert_eq!(w.call("GET", &w.account("g", "waits"), Value::Null).await.status, 404);
    let operations = w.call("GET", &format!("{path}/operations"), Value::Null).await.json();
    let failed: Vec<&Value> =
        operations["value"].as_array().unwrap().iter().filter(|o| o["properties"]["provisioningState"] == "Failed").collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0]["properties"]["targetResource"]["id"].as_str().unwrap().contains("/roleAssignments/"));
    assert_eq!(failed[0]["properties"]["statusMessage"]["error"]["code"], "PrincipalNotFound", "{failed:#?}");
    w.audit().await;
}

#[tokio::test]
async fn a_subscription_deployment_makes_groups_and_deploys_into_them() {
    let w = world(5).await;
    let inside = template(json!({
        "parameters": {"name": {"type": "string"}, "secret": {"type": "secureString"}},
        "resources": [store("[parameters('name')]")],
        "outputs": {"id": {"type": "string", "value": "[resourceId('Microsoft.Storage/storageAccounts', parameters('name'))]"}},
    }));
    let outside = template(json!({
        "$schema": "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#",
        "parameters": {"secret": {"type": "secureString"}},
        "resources": [
            {"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2022-09-01", "name": "made", "location": "[deployment().location]", "properties": {}},
            {"type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "inside", "resourceGroup": "made",
             "dependsOn": ["[subscriptionResourceId('Microsoft.Resources/resourceGroups', 'made')]"],
             "properties": {"mode": "Incremental", "expressionEvaluationOptions": {"scope": "inner"},
                "parameters": {"name": {"value": "nested1"}, "secret": {"value": "[parameters('secret')]"}}, "template": inside}},
        ],
        "outputs": {"id": {"type": "string", "value": "[reference(extensionResourceId(concat(subscription().id, '/resourceGroups/made'), 'Microsoft.Resources/deployments', 'inside')).outputs.id.value]"}},
    }));
    let path = format!("{}/providers/Microsoft.Resources/deployments/whole", w.sub());
    let done = w.deploy(&path, &outside, json!({"secret": {"value": "hush-hush"}}), "Incremental").await;
    assert_eq!(done["properties"]["provisioningState"], "Succeeded", "{done:#}");
    assert!(done["properties"]["outputs"]["id"]["value"].as_str().unwrap().ends_with("/nested1"));
    let nested = w.call("GET", &w.deployment("made", "inside"), Value::Null).await;
    assert_eq!(nested.json()["properties"]["provisioningState"], "Succeeded");
    assert!(!nested.text().contains("hush-hush"));
    let kept = w.call("POST", &format!("{}/exportTemplate", w.deployment("made", "inside")), Value::Null).await;
    assert_eq!(kept.status, 501, "a parent may have put secrets into it");
    // the group goes, and its deployments with it
    let gone = w.call("DELETE", &w.group("made"), Value::Null).await;
    for _ in 0..2_000 {
        if w.call("GET", gone.header("location"), Value::Null).await.status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    w.put_group("made").await;
    let list = w.call("GET", &format!("{}/providers/Microsoft.Resources/deployments", w.group("made")), Value::Null).await;
    assert_eq!(list.json()["value"], json!([]));
    w.audit().await;
}

/// Templates, plans, what is shown and what is told of a failure may each be longer than a row.
#[tokio::test]
async fn long_templates_are_deployed() {
    let w = world(14).await;
    w.put_group("g").await;
    let long = "é".repeat(150_000);
    let t = template(json!({
        "parameters": {"long": {"type": "string", "defaultValue": long}, "secret": {"type": "secureString"}},
        "resources": [
            with(store("long1"), "tags", json!({"n": "[string(length(parameters('long')))]"})),
            with(with(store("[format('deep{0}', copyIndex())]"), "copy", json!({"name": "l", "count": 20})), "dependsOn", json!(["long1"])),
        ],
        "outputs": {"long": {"type": "string", "value": "[parameters('long')]"}},
    }));
    let path = w.deployment("g", "long");
    for round in 0..2 {
        let done = w.deploy(&path, &t, json!({"secret": {"value": long}}), "Incremental").await;
        assert_eq!(done["properties"]["provisioningState"], "Succeeded", "{round}: {}", done["properties"]["error"]);
        assert_eq!(done["properties"]["outputs"]["long"]["value"], long);
        let exported = w.call("POST", &format!("{path}/exportTemplate"), Value::Null).await.json();
        assert_eq!(exported["template"], t);
        let operations = w.call("GET", &format!("{path}/operations"), Value::Null).await.json();
        assert_eq!(operations["value"].as_array().unwrap().len(), 21);
    }
    assert_eq!(w.call("DELETE", &path, Value::Null).await.status, 204);
    w.audit().await;
}

/// What is exported makes the same elsewhere.
#[tokio::test]
async fn a_group_is_exported_and_made_again() {
    let w = world(13).await;
    w.put_group("g").await;
    w.put_group("h").await;
    let account = with(store("exported1"), "tags", json!({"t": "[[not an expression]"}));
    let done = w
        .deploy(&w.deployment("g", "first"), &template(json!({"resources": [account, store("exported2")]})), json!({}), "Incremental")
        .await;
    assert_eq!(done["properties"]["provisioningState"], "Succeeded", "{done:#}");
    let path = format!("{}/exportTemplate", w.group("g"));
    let exported = w.call("POST", &path, json!({"resources": ["*"]})).await;
    assert_eq!(exported.status, 200, "{}", exported.text());
    let whole = exported.json()["template"].clone();
    assert_eq!(
        whole["parameters"],
        json!({"storageAccounts_exported1_name": {"type": "String"}, "storageAccounts_exported2_name": {"type": "String"}})
    );
    let names = json!({"storageAccounts_exported1_name": {"value": "again1"}, "storageAccounts_exported2_name": {"value": "again2"}});
    let again = w.deploy(&w.deployment("h", "again"), &whole, names, "Incremental").await;
    assert_eq!(again["properties"]["provisioningState"], "Succeeded", "{again:#}");
    let mut found: Vec<Value> = Vec::new();
    for (group, name) in [("g", "exported1"), ("h", "again1")] {
        let mut body = w.call("GET", &w.account(group, name), Value::Null).await.json();
        let properties = body["properties"].as_object_mut().unwrap();
        properties.retain(|name, _| !name.to_lowercase().contains("time") && name != "primaryEndpoints");
        found.push(json!([body["tags"], body["sku"], body["kind"], body["location"], body["properties"]]));
    }
    assert_eq!(found[0], found[1]);
    assert_eq!(found[0][0]["t"], "[not an expression]");
    let one = w.call("POST", &path, json!({"resources": [w.account("g", "exported2")], "options": "SkipAllParameterization"})).await.json();
    assert_eq!(one["template"]["parameters"], json!({}));
    assert_eq!(one["template"]["resources"].as_array().unwrap().len(), 1);
    assert_eq!(w.call("POST", &path, json!({"resources": [1]})).await.status, 400);
    assert_eq!(w.call("POST", &format!("{}/exportTemplate", w.group("none")), json!({})).await.status, 404);
    w.audit().await;
}

/// As soon as it has ended it may be put anew.
#[tokio::test]
async fn a_deployment_is_put_again_and_again() {
    let w = world(12).await;
    w.put_group("g").await;
    let path = w.deployment("g", "often");
    for round in 0..30 {
        let template = template(json!({"outputs": {"round": {"type": "int", "value": round}}}));
        let done = w.deploy(&path, &template, json!({}), "Incremental").await;
        assert_eq!(done["properties"]["outputs"]["round"]["value"], round, "{done:#}");
    }
    w.audit().await;
}

#[tokio::test]
async fn what_if_tells_each_change_and_does_none() {
    let w = world(6).await;
    w.put_group("g").await;
    let before = template(
        json!({"resources": [with(store("same"), "tags", json!({"a": "1"})), with(store("other"), "tags", json!({"a": "1"})), store("left")]}),
    );
    assert_eq!(
        w.deploy(&w.deployment("g", "first"), &before, json!({}), "Incremental").await["properties"]["provisioningState"],
        "Succeeded"
    );
    let nested = json!({"type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "n", "properties": {"mode": "Incremental", "template": template(json!({"resources": [
        {"type": "Microsoft.Storage/storageAccounts", "apiVersion": "2023-01-01", "name": "innew", "location": "francecentral", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"}]}))}});
    let after = template(
        json!({"resources": [with(store("same"), "tags", json!({"a": "1"})), with(store("other"), "tags", json!({"a": "2", "b": "3"})), store("brandnew"), nested]}),
    );
    for (mode, left) in [("Incremental", "Ignore"), ("Complete", "Delete")] {
        let answer = w
            .call("POST", &format!("{}/whatIf", w.deployment("g", "second")), json!({"properties": {"mode": mode, "template": after}}))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        assert_eq!(body["status"], "Succeeded");
        let changes: Vec<(&str, &str)> = body["properties"]["changes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| (c["resourceId"].as_str().unwrap().rsplit('/').next().unwrap(), c["changeType"].as_str().unwrap()))
            .collect();
        assert_eq!(
            changes,
            [("brandnew", "Create"), ("innew", "Create"), ("left", left), ("other", "Modify"), ("same", "NoChange")],
            "{body:#}"
        );
        let other = &body["properties"]["changes"][3];
        assert_eq!(
            other["delta"][0],
            json!({"path": "tags.a", "propertyChangeType": "Modify", "before": "1", "after": "2", "children": null})
        );
        assert_eq!(other["delta"][1]["path"], "tags.b");
    }
    assert_eq!(w.call("GET", &w.account("g", "brandnew"), Value::Null).await.status, 404);
    // a secret is not foretold, whatever is made of it
    let secret = template(
        json!({"parameters": {"s": {"type": "secureString", "minLength": 9}}, "resources": [with(store("same"), "tags", json!({"b": "[base64(parameters('s'))]", "s": "[parameters('s')]"}))]}),
    );
    let answer = w
        .call(
            "POST",
            &format!("{}/whatIf", w.deployment("g", "third")),
            json!({"properties": {"mode": "Incremental", "template": secret, "parameters": {"s": {"value": "hush-hush"}}}}),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        !answer.text().contains("hush-hush") && !answer.text().contains("aHVzaC1odXNo") && answer.text().contains("*******"),
        "{}",
        answer.text()
    );
    // and the mode Complete does it
    let done = w.deploy(&w.deployment("g", "second"), &after, json!({}), "Complete").await;
    assert_eq!(done["properties"]["provisioningState"], "Succeeded", "{done:#}");
    assert_eq!(w.call("GET", &w.account("g", "left"), Value::Null).await.status, 404);
    assert_eq!(w.call("GET", &w.account("g", "other"), Value::Null).await.json()["tags"], json!({"a": "2", "b": "3"}));
    w.audit().await;
}

#[tokio::test]
async fn a_deployment_has_the_rights_of_its_caller() {
    let w = world(7).await;
    w.put_group("g").await;
    let grant = |role: &'static str, at: String| {
        let id = format!("{at}/providers/Microsoft.Authorization/roleAssignments/{}", base::ObjectId::random(&*w.kit.trust.chance()));
        let body = json!({"properties": {"roleDefinitionId": format!("/x/{role}"), "principalId": w.client.to_string()}});
        async move { (id, body) }
    };
    let body = json!({"properties": {"mode": "Incremental", "template": template(json!({"resources": [
        store("theirs"),
        {"type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01", "name": "[guid('x')]",
         "properties": {"roleDefinitionId": format!("/x/{READER}"), "principalId": w.client.to_string()}}]}))}});
    let path = w.deployment("g", "theirs");
    let (id, grant_body) = grant(READER, w.group("g")).await;
    assert_eq!(w.call("PUT", &id, grant_body).await.status, 201);
    let refused = w.raw(w.client, "PUT", &path, body.to_string()).await;
    assert_eq!((refused.status, code(&refused).as_str()), (403, "AuthorizationFailed"));
    // Contributor may deploy, but grants nothing
    let (id, grant_body) = grant("b24988ac-6180-42a0-ab88-20f7382dd24c", w.group("g")).await;
    assert_eq!(w.call("PUT", &id, grant_body).await.status, 201);
    let refused = w.raw(w.client, "PUT", &path, body.to_string()).await;
    assert_eq!((refused.status, code(&refused).as_str()), (403, "InvalidTemplateDeployment"), "{}", refused.text());
    assert_eq!(w.call("GET", &w.account("g", "theirs"), Value::Null).await.status, 404);
    w.audit().await;
}

#[tokio::test]
async fn a_deployment_goes_on_after_a_crash() {
    let kv = store::open_memory().unwrap();
    let blobs: Arc<dyn store::Blobs> = Arc::new(testkit::MemoryBlobs::new(base::SiteName::new("paris-1").unwrap()));
    let (first, arm) = setup(8);
    let w = world_on(first.on(kv.clone(), blobs.clone()), arm, false).await;
    w.put_group("g").await;
    let path = w.deployment("g", "long");
    let body = json!({"properties": {"mode": "Incremental", "parameters": {"s": {"value": "hush"}}, "template": template(json!({
        "parameters": {"s": {"type": "secureString"}, "now": {"type": "string", "defaultValue": "[newGuid()]"}},
        "resources": [with(store("[format('many{0}', copyIndex())]"), "copy", json!({"name": "l", "count": 30}))],
        "outputs": {"now": {"type": "string", "value": "[parameters('now')]"}},
    }))}});
    let accepted = w.call("PUT", &path, body.clone()).await;
    assert_eq!(accepted.status, 201, "{}", accepted.text());
    let again = w.call("PUT", &path, body.clone()).await;
    assert_eq!((again.status, again.header("azure-asyncoperation")), (200, accepted.header("azure-asyncoperation")), "the same wish");
    let other = w.call("PUT", &path, json!({"properties": {"mode": "Incremental", "template": template(json!({}))}})).await;
    assert_eq!((other.status, code(&other).as_str()), (409, "DeploymentActive"));
    assert_eq!(code(&w.call("DELETE", &path, Value::Null).await), "DeploymentActive");
    let World { kit, tenant, subscription, admin, client, .. } = w;
    kit.crash();
    let (second, arm) = setup(9);
    let kit = Kit::start(second.on(kv, blobs)).await;
    let worker = Some(arm.start(kit.trust.clone(), kit.urls.clone()).await.unwrap());
    let w = World { kit, worker, tenant, subscription, admin, client };
    assert_eq!(w.poll(accepted.header("azure-asyncoperation")).await["status"], "Succeeded");
    let list = w.call("GET", &format!("{}/resources", w.group("g")), Value::Null).await;
    assert_eq!(list.json()["value"].as_array().unwrap().len(), 30);
    let now = &w.call("GET", &path, Value::Null).await.json()["properties"]["outputs"]["now"]["value"];
    assert_eq!(*now, accepted.json()["properties"]["parameters"]["now"]["value"], "what was planned is what is done");
    w.audit().await;
}

#[tokio::test]
async fn a_deployment_is_cancelled_between_its_resources() {
    let (setup, arm) = setup(10);
    let w = world_on(setup, arm.clone(), false).await;
    w.put_group("g").await;
    let path = w.deployment("g", "stopped");
    let body = json!({"properties": {"mode": "Incremental", "template": template(json!({"resources": [store("never")]}))}});
    let accepted = w.call("PUT", &path, body).await;
    assert_eq!(w.call("POST", &format!("{path}/cancel"), Value::Null).await.status, 204);
    let worker = arm.start(w.kit.trust.clone(), w.kit.urls.clone()).await.unwrap();
    let w = World { worker: Some(worker), ..w };
    assert_eq!(w.poll(accepted.header("azure-asyncoperation")).await["status"], "Canceled");
    assert_eq!(w.call("GET", &w.account("g", "never"), Value::Null).await.status, 404);
    let late = w.call("POST", &format!("{path}/cancel"), Value::Null).await;
    assert_eq!((late.status, code(&late).as_str()), (409, "DeploymentCannotBeCancelled"));
    w.audit().await;
}

/// The store fails for a moment, at each commit in turn: the deployment ends all the same.
#[tokio::test]
async fn a_deployment_survives_a_store_that_fails_at_any_commit() {
    let (setup, arm) = setup(11);
    let (kv, blobs) = (Sulking::over(setup.kv.clone()), setup.blobs.clone());
    let w = world_on(setup.on(kv.clone(), blobs), arm, true).await;
    w.put_group("g").await;
    for mood in [Mood::Full, Mood::Lost] {
        for skip in 0..10 {
            let name = format!("s{skip}{}", if mood == Mood::Full { "f" } else { "l" });
            let body =
                json!({"properties": {"mode": "Incremental", "template": template(json!({"resources": [store(&format!("acct{name}"))]}))}});
            kv.will_feel(mood, skip, 2);
            let put = loop {
                let put = w.call("PUT", &w.deployment("g", &name), body.clone()).await;
                if put.status != 503 {
                    break put;
                }
            };
            assert!([200, 201].contains(&put.status), "{mood:?} {skip}: {}", put.text());
            let ended = w.poll(put.header("azure-asyncoperation")).await;
            kv.feels(Mood::Good);
            assert_eq!(ended["status"], "Succeeded", "{mood:?} {skip}: {ended}");
        }
    }
    w.audit().await;
}
