//! Two tenants, the same names in both: nothing of one is visible, guessable or usable by the other, at any door. Whoever
//! looks for what is there is answered exactly as whoever looks for what is not.

use crate::client::{Client, sas};
use crate::world::World;
use base::{ObjectId, SubscriptionId};
use serde_json::{Value, json};
use testkit::Answer;

const THERE: &str = "contosodata";
const NOWHERE: &str = "contosonone";

/// An answer without what it repeats of the question and without what differs between any two answers.
fn told(answer: &Answer, names: &[&str]) -> (u16, String, String, Vec<String>) {
    let mut text = String::from_utf8_lossy(&answer.body).into_owned();
    for name in names {
        text = text.replace(name, "NAME");
    }
    for id in ["x-ms-request-id", "x-ms-correlation-request-id", "request-id"] {
        if !answer.header(id).is_empty() {
            text = text.replace(answer.header(id), "ID");
        }
    }
    let mut headers: Vec<String> = answer.headers.keys().map(|name| name.to_string()).collect();
    headers.sort();
    (answer.status, answer.header("x-ms-error-code").to_owned(), text, headers)
}

struct Two<'a> {
    contoso: Client<'a>,
    fabrikam: Client<'a>,
    contosos_key: Vec<u8>,
    fabrikams_key: Vec<u8>,
}

/// Both own a group `shared` with an account, a container `photos` and a blob `secret`.
async fn two(world: &World) -> Two<'_> {
    let (contoso, fabrikam) = (world.owner(&world.contoso).await, world.owner(&world.fabrikam).await);
    let mut keys = Vec::new();
    for (client, account) in [(&contoso, THERE), (&fabrikam, "fabrikamdata")] {
        client.put_group("shared").await;
        let key = client.put_account("shared", account).await;
        let made = client.blob_by_key("", "PUT", account, &key, "/photos?restype=container", "").await;
        assert_eq!(made.status, 201);
        let content = format!("the secret of {account}");
        assert_eq!(client.blob_by_key("", "PUT", account, &key, "/photos/secret", content).await.status, 201);
        let granted = client.assign(&client.group("shared"), "Storage Blob Data Owner", client.customer.client_object).await;
        assert_eq!(granted.status, 201, "{}", granted.text());
        assert_eq!(client.blob_by_token("", "GET", account, "/photos/secret", "").await.status, 200);
        keys.push(key);
    }
    let fabrikams_key = keys.pop().unwrap();
    Two { contoso, fabrikam, contosos_key: keys.pop().unwrap(), fabrikams_key }
}

#[tokio::test]
async fn resource_manager_tells_another_tenant_nothing() {
    let world = World::new(30).await;
    let Two { contoso, fabrikam, .. } = two(&world).await;
    let nobodys = SubscriptionId::random(&*world.kit.trust.chance()).to_string();
    let theirs = contoso.subscription.to_string();
    let long = contoso.arm("", "DELETE", &contoso.group("shared"), Value::Null).await;
    assert_eq!(contoso.poll(&long).await.status, 200);
    contoso.put_group("shared").await;
    contoso.put_account("shared", THERE).await;
    let operation = long.header("location").strip_prefix("https://management.bleu.localhost").unwrap().to_owned();
    for (method, path) in [
        ("GET", format!("/subscriptions/{theirs}")),
        ("GET", format!("/subscriptions/{theirs}/resourceGroups")),
        ("GET", format!("/subscriptions/{theirs}/resources")),
        ("GET", format!("/subscriptions/{theirs}/providers/Microsoft.Storage/storageAccounts")),
        ("GET", contoso.group("shared")),
        ("PUT", contoso.group("shared")),
        ("PUT", contoso.group("new")),
        ("PATCH", contoso.group("shared")),
        ("DELETE", contoso.group("shared")),
        ("GET", format!("{}/resources", contoso.group("shared"))),
        ("GET", contoso.account("shared", THERE)),
        ("PUT", contoso.account("shared", THERE)),
        ("DELETE", contoso.account("shared", THERE)),
        ("POST", format!("{}/listKeys", contoso.account("shared", THERE))),
        ("POST", format!("{}/regenerateKey", contoso.account("shared", THERE))),
        ("POST", format!("{}/ListAccountSas", contoso.account("shared", THERE))),
        ("GET", format!("{}/blobServices/default/containers/photos", contoso.account("shared", THERE))),
        ("GET", format!("{}/providers/Microsoft.Authorization/roleAssignments", contoso.group("shared"))),
        ("GET", format!("{}/providers/Microsoft.Resources/tags/default", contoso.group("shared"))),
        ("GET", operation),
    ] {
        let body = json!({"location": "francecentral", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2", "keyName": "key1"});
        let there = fabrikam.arm("", method, &path, body.clone()).await;
        let not_there = fabrikam.arm("", method, &path.replace(&theirs, &nobodys), body.clone()).await;
        assert_eq!(there.status, 404, "{method} {path}: {}", there.text());
        assert_eq!(told(&there, &[&theirs]), told(&not_there, &[&nobodys]), "{method} {path}");
        // and within it, what is there is told from what is not no better
        let elsewhere = path.replace("shared", "nothing").replace(THERE, NOWHERE);
        let not_in_there = fabrikam.arm("", method, &elsewhere, body).await;
        assert_eq!(told(&there, &["shared", THERE]), told(&not_in_there, &["nothing", NOWHERE]), "{method} {path}");
    }
    for path in ["/subscriptions", "/tenants", "/providers"] {
        let list = fabrikam.arm("", "GET", path, Value::Null).await;
        assert_eq!(list.status, 200);
        for name in [theirs.clone(), world.contoso.tenant.to_string(), "contoso".into()] {
            assert!(!list.text().contains(&name), "{path} shows {name}");
        }
    }
    // a principal of the other directory can't be given a role, and is no more there than nobody
    let stranger = fabrikam.assign(&fabrikam.group("shared"), "Reader", world.contoso.client_object).await;
    let nobody = ObjectId::random(&*world.kit.trust.chance());
    let missing = fabrikam.assign(&fabrikam.group("shared"), "Reader", nobody).await;
    assert_eq!((stranger.status, stranger.json()["error"]["code"].as_str()), (400, Some("PrincipalNotFound")));
    assert_eq!(told(&stranger, &[&world.contoso.client_object.to_string()]), told(&missing, &[&nobody.to_string()]));
    // what was tried has changed nothing
    assert_eq!(contoso.arm("", "GET", &contoso.account("shared", THERE), Value::Null).await.status, 200);
    assert_eq!(contoso.arm("", "GET", &contoso.group("new"), Value::Null).await.status, 404);
}

#[tokio::test]
async fn keys_signatures_and_tokens_open_nothing_of_another_tenant() {
    let world = World::new(31).await;
    let Two { fabrikam, contosos_key, fabrikams_key, .. } = two(&world).await;
    assert_ne!(contosos_key, fabrikams_key);
    for (method, there, not_there) in [
        ("GET", "/photos/secret", "/photos/nothing"),
        ("HEAD", "/photos/secret", "/photos/nothing"),
        ("PUT", "/photos/secret", "/photos/nothing"),
        ("DELETE", "/photos/secret", "/nothing/secret"),
        ("GET", "/photos?restype=container&comp=list", "/nothing?restype=container&comp=list"),
        ("DELETE", "/photos?restype=container", "/nothing?restype=container"),
        ("GET", "/?comp=list", "/?comp=list"),
    ] {
        let key = fabrikam.blob_by_key("", method, THERE, &fabrikams_key, there, "").await;
        assert_eq!((key.status, key.header("x-ms-error-code")), (403, "AuthenticationFailed"), "{method} {there}");
        let token = fabrikam.blob_by_token("", method, THERE, there, "").await;
        assert!(matches!(token.status, 403 | 404), "{method} {there}: {}", token.status);
        let nothing = fabrikam.blob_by_token("", method, THERE, not_there, "").await;
        assert_eq!(token.status, nothing.status, "{method} {there}");
        assert_eq!(token.header("x-ms-error-code"), nothing.header("x-ms-error-code"), "{method} {there}");
        let key_nowhere = fabrikam.blob_by_key("", method, NOWHERE, &fabrikams_key, there, "").await;
        assert_eq!((key_nowhere.status, key_nowhere.header("x-ms-error-code")), (403, "AuthenticationFailed"), "{method} {there}");
        let [known, unknown] = [THERE, NOWHERE].map(|account| format!("https://{account}.blob.core.bleu.localhost{there}"));
        let (known, unknown) = (world.kit.call(method, &known, &[], "").await, world.kit.call(method, &unknown, &[], "").await);
        assert_eq!(told(&known, &[THERE]), told(&unknown, &[NOWHERE]), "{method} {there}: anyone can guess the names of accounts");
        assert_eq!(known.status, 401);
        // an account that does not exist answers as one of another tenant
        let nowhere = fabrikam.blob_by_token("", method, NOWHERE, there, "").await;
        assert_eq!(
            (token.status, token.header("x-ms-error-code")),
            (nowhere.status, nowhere.header("x-ms-error-code")),
            "{method} {there}: the names of accounts can be guessed with a token"
        );
    }
    // a signature is bound to its account: neither ours on theirs, nor ours signed with their account's name
    for sas in [sas("fabrikamdata", &fabrikams_key, "/photos", "c", "rwdl"), sas(THERE, &fabrikams_key, "/photos", "c", "rwdl")] {
        let answer = fabrikam.blob_by_sas("", "GET", THERE, "/photos/secret", &sas, "").await;
        assert_eq!((answer.status, answer.header("x-ms-error-code")), (403, "AuthenticationFailed"));
    }
    let lent = sas(THERE, &contosos_key, "/photos", "c", "r");
    assert_eq!(fabrikam.blob_by_sas("", "GET", THERE, "/photos/secret", &lent, "").await.text(), "the secret of contosodata");
    let astray = fabrikam.blob_by_sas("", "GET", "fabrikamdata", "/photos/secret", &lent, "").await;
    assert_eq!(astray.status, 403, "a signature lent for one account opens no other");
}

#[tokio::test]
async fn the_directory_and_sign_in_keep_tenants_apart() {
    let world = World::new(32).await;
    let (contoso, fabrikam) = (world.owner(&world.contoso).await, world.owner(&world.fabrikam).await);
    let users = contoso.graph("GET", "/users", Value::Null).await;
    let admin = users.json()["value"][0]["id"].as_str().unwrap().to_owned();
    let theirs = world.contoso.client_object.to_string();
    for (method, path, body) in [
        ("GET", "/users/ID", Value::Null),
        ("GET", "/servicePrincipals/ID", Value::Null),
        ("GET", "/directoryObjects/ID", Value::Null),
        ("GET", "/groups/ID", Value::Null),
        ("DELETE", "/users/ID", Value::Null),
        ("PATCH", "/users/ID", json!({"displayName": "taken"})),
        ("POST", "/servicePrincipals/ID/addPassword", json!({"passwordCredential": {"displayName": "x"}})),
        ("POST", "/users/ID/getMemberGroups", json!({"securityEnabledOnly": true})),
    ] {
        for object in [&admin, &theirs] {
            let nobody = ObjectId::random(&*world.kit.trust.chance()).to_string();
            let there = fabrikam.graph(method, &path.replace("ID", object), body.clone()).await;
            let not_there = fabrikam.graph(method, &path.replace("ID", &nobody), body.clone()).await;
            assert!(matches!(there.status, 403 | 404), "{method} {path}: {} {}", there.status, there.text());
            assert_eq!(there.status, not_there.status, "{method} {path}");
            let code = |answer: &Answer| answer.json()["error"]["code"].clone();
            assert_eq!(code(&there), code(&not_there), "{method} {path}");
        }
    }
    let found = fabrikam.graph("POST", "/directoryObjects/getByIds", json!({"ids": [admin, theirs]})).await;
    assert_eq!((found.status, found.json()["value"].as_array().map(Vec::len)), (200, Some(0)), "{}", found.text());
    for path in ["/users", "/groups", "/applications", "/servicePrincipals", "/organization"] {
        let list = fabrikam.graph("GET", path, Value::Null).await;
        assert_eq!(list.status, 200, "{path}");
        assert!(!list.text().contains("contoso") && !list.text().contains(&theirs), "{path}: {}", list.text());
    }
    // nor does sign-in tell strangers who has an account
    let mut realms = Vec::new();
    for name in ["admin@contoso.example", "nobody@contoso.example"] {
        let url = format!("https://login.bleu.localhost/common/userrealm/{name}?api-version=1.0");
        let realm = world.kit.call("GET", &url, &[], "").await;
        assert_eq!(realm.status, 200, "{}", realm.text());
        let form = format!(
            "grant_type=password&client_id={}&username={name}&password=wrong&scope=https%3A%2F%2Fmanagement.bleu.localhost%2F.default",
            world.contoso.client
        );
        let url = format!("https://login.bleu.localhost/{}/oauth2/v2.0/token", world.contoso.tenant);
        let answer = world.kit.call("POST", &url, &[("content-type", "application/x-www-form-urlencoded")], form).await;
        assert!(answer.status >= 400);
        let answer = answer.json();
        realms.push((told(&realm, &[name]), answer["error"].clone(), answer["error_codes"].clone()));
    }
    assert_eq!(realms[0], realms[1], "who exists can be guessed");
    // each tenant's authority knows its own applications alone, with any secret
    for (authority, client, secret) in [
        (&world.fabrikam, &world.contoso, &world.contoso.secret),
        (&world.contoso, &world.fabrikam, &world.fabrikam.secret),
        (&world.contoso, &world.contoso, &world.fabrikam.secret),
    ] {
        let url = format!("https://login.bleu.localhost/{}/oauth2/v2.0/token", authority.tenant);
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope=https%3A%2F%2Fmanagement.bleu.localhost%2F.default",
            client.client,
            wire::percent_encode(secret, b"")
        );
        let answer = world.kit.call("POST", &url, &[("content-type", "application/x-www-form-urlencoded")], form).await;
        assert!(matches!(answer.status, 400 | 401), "{}", answer.text());
        assert!(matches!(answer.json()["error"].as_str(), Some("unauthorized_client" | "invalid_client")), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_record_opens_nothing_of_another_tenant() {
    let world = World::new(33).await;
    let Two { contoso, .. } = two(&world).await;
    world.kit.audit(Some(world.contoso.tenant)).await;
    let ours = world.kit.trust.export(Some(world.contoso.tenant)).await.unwrap();
    let theirs = world.kit.trust.export(Some(world.fabrikam.tenant)).await.unwrap();
    let regions = world.kit.trust.export(None).await.unwrap();
    let operators = world.kit.trust.export(record::Owner::Operator).await.unwrap();
    let mine = record::Owner::Tenant(world.contoso.tenant);
    assert!(auditor::list(&ours).unwrap().iter().filter(|l| l.event.owner == mine).count() > 10);
    // names and ids as text and as bytes: in our own bundle, in no other, nor in the log that everyone reads
    let raw = |id: &str| (0..32).step_by(2).map(|i| u8::from_str_radix(&id.replace('-', "")[i..i + 2], 16).unwrap()).collect::<Vec<u8>>();
    let subscription = contoso.subscription.to_string();
    let object = world.contoso.client_object.to_string();
    let mut log = world.kit.call("GET", "https://record.bleu.localhost/record/checkpoint", &[], "").await.body.to_vec();
    let mut size = String::from_utf8(log.clone()).unwrap().lines().nth(1).unwrap().parse::<u64>().unwrap();
    let mut bundle = 0;
    while size > 0 {
        let width = size.min(256);
        let partial = if width < 256 { format!(".p/{width}") } else { String::new() };
        let url = format!("https://record.bleu.localhost/record/tile/entries/{bundle:03}{partial}");
        let tile = world.kit.call("GET", &url, &[], "").await;
        assert_eq!(tile.status, 200, "{url}");
        log.extend_from_slice(&tile.body);
        (size, bundle) = (size - width, bundle + 1);
    }
    for (what, bytes) in [(&*subscription, subscription.clone().into_bytes()), (&*object, raw(&object)), (THERE, THERE.into())] {
        let within = |bundle: &[u8]| bundle.windows(bytes.len()).any(|w| w == bytes);
        assert!(within(&ours), "{what} is not in its own bundle: the search finds nothing");
        assert!(!within(&theirs), "{what} is in the other tenant's bundle");
        assert!(!within(&regions), "{what} is in the region's bundle");
        // the operator knows what it made, the subscription; not who is in it
        assert!(what == subscription || !within(&operators), "{what} is in the operator's bundle");
        assert!(!within(&log), "{what} is in the public log");
    }
    // nor does one's trust file make the other's bundle true
    let keys = world.kit.trust.trust_keys(Some(world.contoso.tenant)).unwrap();
    assert_eq!(auditor::verify(&theirs, Some(&keys)).verdict, auditor::Verdict::NotTrue);
    assert!(auditor::list(&theirs).unwrap().iter().all(|l| l.event.owner != mine));
}
