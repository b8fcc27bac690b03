//! Resource Manager's door, and the life of an account.

use crate::world::World;
use base64::prelude::*;
use serde_json::json;

#[tokio::test]
async fn keys_are_listed_regenerated_and_shelved() {
    let mut w = World::new(50).await;
    w.container("con").await;
    let keys = w.arm("POST", "/listKeys?$expand=kerb", "").await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    assert_eq!((keys["keys"][0]["keyName"].as_str(), keys["keys"][0]["permissions"].as_str()), (Some("key1"), Some("FULL")));
    let fresh = w.arm("POST", "/regenerateKey", json!({ "keyName": "key1" }).to_string()).await;
    assert_eq!(fresh.status, 200, "{}", fresh.text());
    let fresh = fresh.json();
    assert_ne!(fresh["keys"][0]["value"], keys["keys"][0]["value"]);
    assert_eq!(fresh["keys"][1]["value"], keys["keys"][1]["value"]);
    assert_eq!(w.arm("POST", "/listKeys", "").await.json(), fresh);
    assert_eq!(w.get("/?comp=list").await.status, 403, "the old key signs no more");
    let key = |n: usize| BASE64_STANDARD.decode(fresh["keys"][n]["value"].as_str().unwrap()).unwrap();
    for n in [0, 1] {
        w.key = key(n);
        assert_eq!(w.get("/?comp=list").await.status, 200);
    }
    w.apply(json!({ "allowSharedKeyAccess": false })).await;
    assert_eq!(w.get("/?comp=list").await.status, 403, "keys that may not sign");
    assert_eq!(w.arm("POST", "/listKeys", "").await.json()["keys"], fresh["keys"], "but they are kept");
    w.apply(json!({ "allowSharedKeyAccess": true })).await;
    assert_eq!(w.get("/?comp=list").await.status, 200);
    for bad in ["{}", "[]", "{", "{\"keyName\":\"key9\"}"] {
        assert_eq!(w.arm("POST", "/regenerateKey", bad).await.status, 400, "{bad}");
    }
    w.audited().await;
}

#[tokio::test]
async fn creating_again_changes_nothing_and_deleting_takes_all() {
    let w = World::new(51).await;
    w.container("con").await;
    w.put("/con/b", "x").await;
    w.apply(json!({})).await;
    assert_eq!(w.get("/con/b").await.text(), "x");
    w.remove().await;
    w.remove().await;
    assert_eq!(w.get("/con/b").await.status, 403);
    let gone = w.arm("POST", "/listKeys", "").await;
    assert_eq!((gone.status, gone.json()["error"]["code"].as_str()), (404, Some("ResourceNotFound")));
    w.apply(json!({})).await;
    assert_eq!(w.get("/con/b").await.status, 403, "another account, other keys");
    w.audited().await;
}

#[tokio::test]
async fn names_are_unique_in_the_region() {
    let w = World::new(52).await;
    let subscription = w.account.subscription_id().unwrap();
    let url = format!(
        "https://management.bleu.localhost/subscriptions/{subscription}/providers/Microsoft.Storage/checkNameAvailability?api-version=2025-08-01"
    );
    let ask = async |body: &str| w.kit.call("POST", &url, &[("authorization", "Bearer member")], body.to_owned()).await;
    assert_eq!(ask("{\"name\":\"free1\",\"type\":\"Microsoft.Storage/storageAccounts\"}").await.json(), json!({ "nameAvailable": true }));
    assert_eq!(ask("{\"name\":\"acct\"}").await.json()["reason"], "AlreadyExists");
    assert_eq!(ask("{\"name\":\"Acct\"}").await.json()["reason"], "AccountNameInvalid");
    assert_eq!(ask("{}").await.status, 400);
    let bare = w.kit.call("POST", &url.replace("?api-version=2025-08-01", ""), &[("authorization", "Bearer member")], "{}").await;
    assert_eq!(bare.json()["error"]["code"], "MissingApiVersionParameter");
}

#[tokio::test]
async fn containers_are_managed_here_too() {
    let w = World::new(53).await;
    let path = "/blobServices/default/containers/con";
    let made = w.arm("PUT", path, json!({ "properties": { "metadata": { "a": "b" } } }).to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text());
    w.put("/con/b", "x").await;
    assert_eq!(w.arm("PUT", path, "{}").await.status, 200);
    assert_eq!(w.get("/con/b").await.text(), "x", "putting it again keeps what is in it");
    let shown = w.arm("GET", path, "").await.json();
    assert_eq!(
        (shown["name"].as_str(), shown["properties"]["publicAccess"].as_str(), &shown["properties"]["metadata"]),
        (Some("con"), Some("None"), &json!({ "a": "b" }))
    );
    w.arm("PUT", "/blobServices/default/containers/con2", "{}").await;
    let page = w.arm("GET", "/blobServices/default/containers?$maxpagesize=1", "").await.json();
    assert_eq!(page["value"].as_array().unwrap().len(), 1);
    let next = page["nextLink"].as_str().unwrap();
    let rest = w.kit.call("GET", next, &[("authorization", "Bearer member")], "").await.json();
    assert_eq!((rest["value"][0]["name"].as_str(), rest.get("nextLink")), (Some("con2"), None));
    for (body, status) in
        [(json!({ "properties": { "publicAccess": "Blob" } }), 501), (json!({ "properties": { "metadata": { "a-b": "x" } } }), 400)]
    {
        assert_eq!(w.arm("PUT", path, body.to_string()).await.status, status);
    }
    assert_eq!(w.arm("DELETE", path, "").await.status, 200);
    assert_eq!(w.arm("DELETE", path, "").await.status, 204);
    assert_eq!(w.arm("GET", path, "").await.status, 404);
    assert_eq!(w.arm("GET", "/blobServices/default", "").await.json()["properties"]["isVersioningEnabled"], false);
    w.audited().await;
}

#[tokio::test]
async fn an_account_sas_signed_here_opens_the_account() {
    let w = World::new(54).await;
    w.container("con").await;
    let body = json!({ "signedServices": "b", "signedResourceTypes": "s", "signedPermission": "l", "signedExpiry": "2026-12-01T00:00:00Z", "keyToSign": "key2" });
    let token = w.arm("POST", "/listAccountSas", body.to_string()).await.json()["accountSasToken"].as_str().unwrap().to_owned();
    assert_eq!(w.plain("GET", &format!("/?comp=list&{token}"), &[], "").await.status, 200);
    assert_eq!(w.plain("GET", &format!("/con?restype=container&comp=list&{token}"), &[], "").await.status, 403);
    assert_eq!(w.arm("POST", "/listAccountSas", "{}").await.status, 400);
}

#[tokio::test]
async fn another_tenant_finds_nothing() {
    let w = World::new(55).await;
    for path in ["/listKeys", "/regenerateKey", "/listAccountSas"] {
        assert_eq!(w.arm_as("stranger", "POST", path, "{}").await.status, 404, "{path}");
    }
}
