//! The real binary: SIGKILL in the middle of a deployment of thirty resources, restart: it goes on and ends as planned, with
//! its outputs, and the record of it all is true.

use crate::process::{Http, Region, bleu, token};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const COUNT: usize = 30;

fn body() -> Value {
    json!({"properties": {"mode": "Incremental", "parameters": {"secret": {"value": "hush-hush"}}, "template": {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {"secret": {"type": "secureString"}},
        "resources": [
            {"type": "Microsoft.Storage/storageAccounts", "apiVersion": "2023-01-01", "name": "[format('killed{0}', copyIndex())]",
             "copy": {"name": "accounts", "count": COUNT, "mode": "serial", "batchSize": 3},
             "location": "[resourceGroup().location]", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"},
            {"type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "last", "dependsOn": ["accounts"],
             "properties": {"mode": "Incremental", "template": {
                "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
                "resources": [{"type": "Microsoft.Resources/tags", "apiVersion": "2021-04-01", "name": "default",
                    "properties": {"tags": {"killed": "[string(length(parameters('secret')))]"}}}]}}}],
        "outputs": {"blob": {"type": "string", "value": format!("[reference('killed{}').primaryEndpoints.blob]", COUNT - 1)}},
    }}})
}

struct Client {
    http: Http,
    base: String,
    bearer: String,
}

impl Client {
    async fn of(region: &Region, folder: &Path) -> Client {
        let (http, base) = (Http::new(&folder.join("data/ca.pem")), region.url());
        let bearer = token(&http, &base, folder).await;
        Client { http, base, bearer }
    }
    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}{path}?api-version=2025-04-01", self.base);
        let headers = [("authorization", self.bearer.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, _, body) = self.http.call(method, &url, &headers, body).await;
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

async fn killed_after(ended: usize) {
    let folder = tempfile::tempdir().unwrap();
    let region = Region::start(folder.path());
    let client = Client::of(&region, folder.path()).await;
    let group = format!("/subscriptions/{}/resourceGroups/g", region.subscription());
    let path = format!("{group}/providers/Microsoft.Resources/deployments/main");
    assert_eq!(client.call("PUT", &group, json!({"location": "francecentral"})).await.0, 201);
    let (status, said) = client.call("PUT", &path, body()).await;
    assert_eq!(status, 201, "{said}");
    let operations = |answer: &(u16, Value)| answer.1["value"].as_array().map_or(0, Vec::len);
    while operations(&client.call("GET", &format!("{path}/operations"), Value::Null).await) < ended {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    region.kill();
    let region = Region::start(folder.path());
    let client = Client::of(&region, folder.path()).await;
    let mut last = Value::Null;
    for _ in 0..3_000 {
        last = client.call("GET", &path, Value::Null).await.1;
        if !["Accepted", "Running"].contains(&last["properties"]["provisioningState"].as_str().unwrap()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(last["properties"]["provisioningState"], "Succeeded", "{last:#}");
    assert!(last["properties"]["outputs"]["blob"]["value"].as_str().unwrap().contains("killed29"));
    let (_, there) = client.call("GET", &format!("{group}/resources"), Value::Null).await;
    assert_eq!(there["value"].as_array().unwrap().len(), COUNT);
    assert_eq!(client.call("GET", &group, Value::Null).await.1["tags"]["killed"], "9");
    let all = client.call("GET", &format!("{path}/operations"), Value::Null).await;
    assert_eq!(operations(&all), COUNT + 1, "each resource once");
    assert!(!region.said().contains("hush-hush") && !last.to_string().contains("hush-hush"));
    let (ok, said) = bleu(folder.path(), &["record", "export", "--data", "data", "--out", "bundle"]);
    assert!(ok, "{said}");
    let (ok, said) = bleu(folder.path(), &["record", "trust", "--data", "data", "--out", "trust"]);
    assert!(ok, "{said}");
    let (ok, said) = bleu(folder.path(), &["verify", "bundle", "--trust", "trust"]);
    assert!(ok, "{said}");
    let bundle = std::fs::read(folder.path().join("bundle")).unwrap();
    assert!(!bundle.windows(9).any(|w| w == b"hush-hush"), "the secret is in the record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_goes_on_after_a_kill() {
    for ended in [0, 10] {
        killed_after(ended).await;
    }
}
