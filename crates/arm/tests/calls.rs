//! Resource Manager from outside: a region in memory with sign-in and storage beside it, called as its clients do.

use arm::{Arm, AzureRoles};
use base::{ObjectId, ResourceId, SubscriptionId, TenantId};
use serde_json::{Value, json};
use service::Service;
use std::sync::Arc;
use testkit::{Answer, Kit, Mood, Setup, Sulking};
use trust::{Caller, Principal, PrincipalKind};

const HOST: &str = "https://management.bleu.localhost";
const VERSION: &str = "api-version=2024-11-01";

struct World {
    kit: Kit,
    worker: Option<arm::Running>,
    tenant: TenantId,
    subscription: SubscriptionId,
    owner: String,
}

/// Tokens are names in these tests: `Bearer {tenant}/{object}`.
fn bearer(near: &service::Neighbours, token: &str, _: &[String]) -> base::Result<Caller> {
    let (tenant, object) = token.split_once('/').unwrap();
    let (tenant, object): (TenantId, ObjectId) = (tenant.parse()?, object.parse()?);
    let kind = near.facts(|f| f.principal(object).map(|p| p.kind)).unwrap_or(PrincipalKind::User);
    let app = base::AppId(object.0);
    Ok(Caller::Principal(Principal { tenant, object, app, kind, name: "someone".into() }))
}

async fn seed(kit: &Kit, domain: &str) -> (TenantId, SubscriptionId, ObjectId, ObjectId) {
    let chance = kit.trust.chance();
    let (tenant, subscription) = (TenantId::random(&*chance), SubscriptionId::random(&*chance));
    let seed = identity::Seed {
        tenant,
        name: "Contoso".into(),
        domain: domain.into(),
        location: kit.urls.location.clone(),
        client_name: "client".into(),
        admin_password: None,
        client_secret: None,
    };
    let seeded = identity::seed(&kit.region("identity"), &seed).await.unwrap();
    arm::seed_subscription(&kit.region("arm"), tenant, subscription, "Main", &[seeded.admin]).await.unwrap();
    (tenant, subscription, seeded.admin, seeded.client_object)
}

fn setup(seed: u64) -> (Setup, Arc<Arm>) {
    let storage: Arc<dyn Service> = Arc::new(storage::Storage);
    let arm = Arm::new(storage.kinds());
    let services = vec![storage, arm.clone() as Arc<dyn Service>];
    (Setup::new(seed).services(services).rules(AzureRoles).bearer(Arc::new(bearer)), arm)
}

async fn world(seed_number: u64) -> World {
    let (setup, arm) = setup(seed_number);
    let kit = Kit::start(setup).await;
    let (tenant, subscription, admin, _) = seed(&kit, "contoso.example").await;
    let worker = Some(arm.start(kit.trust.clone(), kit.urls.clone()).await.unwrap());
    World { kit, worker, tenant, subscription, owner: format!("{tenant}/{admin}") }
}

impl World {
    async fn as_(&self, token: &str, method: &str, path: &str, body: Value) -> Answer {
        let url = if path.starts_with("https:") { path.to_owned() } else { format!("{HOST}{path}") };
        let url = if url.contains("api-version") { url } else { format!("{url}{}{VERSION}", if url.contains('?') { "&" } else { "?" }) };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.kit.call(method, &url, &[("authorization", &format!("Bearer {token}")), ("content-type", "application/json")], body).await
    }
    async fn owner(&self, method: &str, path: &str, body: Value) -> Answer {
        self.as_(&self.owner, method, path, body).await
    }
    fn group(&self, name: &str) -> String {
        format!("/subscriptions/{}/resourceGroups/{name}", self.subscription)
    }
    fn account(&self, group: &str, name: &str) -> String {
        format!("{}/providers/Microsoft.Storage/storageAccounts/{name}", self.group(group))
    }
    async fn put_group(&self, name: &str) {
        let answer = self.owner("PUT", &self.group(name), json!({"location": "francecentral"})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    /// Follows `Location` to the end.
    async fn poll(&self, answer: &Answer) -> Answer {
        assert_eq!(answer.status, 202, "{}", answer.text());
        assert_eq!(answer.header("retry-after"), "1");
        for _ in 0..2_000 {
            let next = self.owner("GET", answer.header("location"), Value::Null).await;
            if next.status != 202 {
                return next;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("the operation does not end");
    }
    async fn put_account(&self, group: &str, name: &str) -> Answer {
        let body = json!({"location": "francecentral", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"});
        let answer = self.owner("PUT", &self.account(group, name), body).await;
        self.poll(&answer).await
    }
    async fn audit(self) {
        let World { kit, worker, tenant, .. } = self;
        if let Some(worker) = worker {
            worker.stop().await;
        }
        kit.audit(Some(tenant)).await;
    }
}

fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn groups_are_put_read_listed_and_deleted() {
    let w = world(1).await;
    w.put_group("Rg1").await;
    let again = w.owner("PUT", &w.group("rg1"), json!({"location": "France Central", "tags": {"a": "b"}})).await;
    assert_eq!((again.status, again.json()["name"].as_str()), (200, Some("Rg1")));
    assert_eq!(w.owner("HEAD", &w.group("RG1"), Value::Null).await.status, 204);
    assert_eq!(w.owner("HEAD", &w.group("none"), Value::Null).await.status, 404);
    let list = w
        .owner("GET", &format!("/subscriptions/{}/resourcegroups?$filter=tagName eq 'a'", w.subscription).replace(' ', "%20"), Value::Null)
        .await;
    assert_eq!(list.json()["value"].as_array().unwrap().len(), 1);
    let gone = w.owner("DELETE", &w.group("rg1"), Value::Null).await;
    assert_eq!(w.poll(&gone).await.status, 200);
    let answer = w.owner("GET", &w.group("rg1"), Value::Null).await;
    assert_eq!((answer.status, code(&answer).as_str()), (404, "ResourceGroupNotFound"));
    w.audit().await;
}

#[tokio::test]
async fn bad_input_is_answered_in_arms_words_and_loses_nothing() {
    let w = world(2).await;
    w.put_group("g").await;
    for (method, path, body, status, expected) in [
        ("PUT", w.group("bad!name"), json!({"location": "francecentral"}), 400, "InvalidResourceGroup"),
        ("PUT", w.group("h"), json!({"location": "eastus"}), 400, "LocationNotAvailableForResourceGroup"),
        ("PUT", w.group("h"), json!({}), 400, "LocationRequired"),
        ("PUT", w.group("g"), json!([1]), 400, "InvalidRequestContent"),
        ("GET", "/subscriptions/x".to_owned(), Value::Null, 404, "InvalidSubscriptionId"),
        ("GET", format!("{}/providers/Microsoft.Nothing/things/x", w.group("g")), Value::Null, 404, "InvalidResourceNamespace"),
        (
            "PUT",
            format!("{}/providers/Microsoft.Storage/things/x", w.group("g")),
            json!({"location": "francecentral"}),
            404,
            "InvalidResourceType",
        ),
        ("GET", w.account("g", "nothing1"), Value::Null, 404, "ResourceNotFound"),
        ("PUT", w.account("g", "BAD_NAME"), json!({"location": "francecentral"}), 400, "AccountNameInvalid"),
        ("GET", format!("{}?api-version=yesterday", w.group("g")), Value::Null, 400, "InvalidApiVersionParameter"),
        ("GET", format!("{}/providers/Microsoft.Resources/links/x", w.group("g")), Value::Null, 501, "NotImplemented"),
    ] {
        let answer = w.owner(method, &path, body).await;
        assert_eq!((answer.status, code(&answer).as_str()), (status, expected), "{method} {path}: {}", answer.text());
    }
    let url = format!("{HOST}{}", w.group("g"));
    let answer = w.kit.call("GET", &url, &[("authorization", &format!("Bearer {}", w.owner))], "").await;
    assert_eq!(code(&answer), "MissingApiVersionParameter");
    let answer = w.kit.call("GET", &format!("{url}?{VERSION}"), &[], "").await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").starts_with("Bearer authorization_uri="));
    assert_eq!(w.owner("GET", &w.group("g"), Value::Null).await.status, 200);
    w.audit().await;
}

#[tokio::test]
async fn an_account_is_a_long_operation_and_deletes_with_its_group() {
    let w = world(3).await;
    w.put_group("g").await;
    let made = w.put_account("g", "acct1").await;
    assert_eq!(made.status, 200);
    assert_eq!(made.json()["properties"]["provisioningState"], "Succeeded");
    let taken = w
        .owner("PUT", &w.account("g", "acct1"), json!({"location": "francecentral", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"}))
        .await;
    assert_eq!(taken.status, 200, "the same PUT again is the same account: {}", taken.text());
    w.put_group("h").await;
    let body = json!({"location": "francecentral", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"});
    let answer = w.owner("PUT", &w.account("h", "acct1"), body).await;
    let answer = if answer.status == 202 { w.poll(&answer).await } else { answer };
    assert_eq!((answer.status, code(&answer).as_str()), (409, "StorageAccountAlreadyTaken"));
    assert_eq!(w.owner("GET", &w.account("h", "acct1"), Value::Null).await.status, 404, "a failed creation leaves no ruin");
    let list = w.owner("GET", &format!("/subscriptions/{}/resources", w.subscription), Value::Null).await;
    assert_eq!(list.json()["value"].as_array().unwrap().len(), 1);
    let gone = w.owner("DELETE", &w.group("g"), Value::Null).await;
    assert_eq!(w.poll(&gone).await.status, 200);
    // its name is free again, and what is made under it starts empty
    assert_eq!(w.put_account("h", "acct1").await.status, 200);
    w.audit().await;
}

#[tokio::test]
async fn roles_are_granted_checked_and_taken_away() {
    let w = world(4).await;
    w.put_group("g").await;
    w.put_group("other").await;
    let is_client = |fact: &trust::Fact| match fact {
        trust::Fact::Principal(p) if p.kind == PrincipalKind::ServicePrincipal && p.display_name == "client" => Some(p.object),
        _ => None,
    };
    let client = w.kit.trust.facts(|f| f.scan("principal/").find_map(is_client)).unwrap();
    let token = format!("{}/{client}", w.tenant);
    let refused = w.as_(&token, "GET", &w.group("g"), Value::Null).await;
    assert_eq!((refused.status, code(&refused).as_str()), (403, "AuthorizationFailed"));
    let missing = w.as_(&token, "GET", &w.group("nothing"), Value::Null).await;
    assert_eq!(missing.status, 403, "what one may not see, exists no more than what is not there");
    let role = "acdd72a7-3385-48ef-bd42-f606fba81ae7";
    let assignment = format!("{}/providers/Microsoft.Authorization/roleAssignments/11111111-2222-3333-4444-555555555555", w.group("g"));
    let body = json!({"properties": {"principalId": client.to_string(), "roleDefinitionId": format!("/subscriptions/{}/providers/Microsoft.Authorization/roleDefinitions/{role}", w.subscription)}});
    let no = w.as_(&token, "PUT", &assignment, body.clone()).await;
    assert_eq!(code(&no), "AuthorizationFailed", "nobody grants himself a role");
    assert_eq!(w.owner("PUT", &assignment, body.clone()).await.status, 201);
    assert_eq!(w.owner("PUT", &assignment, body.clone()).await.status, 200);
    let twin = assignment.replace("11111111", "99999999");
    assert_eq!(code(&w.owner("PUT", &twin, body).await), "RoleAssignmentExists");
    assert_eq!(w.as_(&token, "GET", &w.group("g"), Value::Null).await.status, 200);
    assert_eq!(w.as_(&token, "GET", &w.group("other"), Value::Null).await.status, 403);
    assert_eq!(w.as_(&token, "PUT", &w.group("g"), json!({"location": "francecentral"})).await.status, 403, "a reader does not write");
    let list = w.as_(&token, "GET", &format!("/subscriptions/{}/resourceGroups", w.subscription), Value::Null).await;
    assert_eq!(list.json()["value"].as_array().unwrap().len(), 1, "a list shows what may be read");
    assert_eq!(w.owner("DELETE", &assignment, Value::Null).await.status, 200);
    assert_eq!(w.owner("DELETE", &assignment, Value::Null).await.status, 204);
    assert_eq!(w.as_(&token, "GET", &w.group("g"), Value::Null).await.status, 403);
    w.audit().await;
}

#[tokio::test]
async fn roles_at_a_deleted_group_do_not_come_back_with_its_name() {
    let w = world(5).await;
    w.put_group("g").await;
    let admin = w.owner.split('/').next_back().unwrap().to_owned();
    let assignment = format!("{}/providers/Microsoft.Authorization/roleAssignments/11111111-2222-3333-4444-555555555555", w.group("g"));
    let body = json!({"properties": {"principalId": admin, "roleDefinitionId": "acdd72a7-3385-48ef-bd42-f606fba81ae7"}});
    assert_eq!(w.owner("PUT", &assignment, body).await.status, 201);
    let gone = w.owner("DELETE", &w.group("g"), Value::Null).await;
    assert_eq!(w.poll(&gone).await.status, 200);
    w.put_group("g").await;
    assert_eq!(w.owner("GET", &assignment, Value::Null).await.status, 404);
    w.audit().await;
}

#[tokio::test]
async fn roles_at_a_deleted_resource_do_not_come_back_with_its_name() {
    let w = world(34).await;
    w.put_group("g").await;
    assert_eq!(w.put_account("g", "acct34").await.status, 200);
    let admin = w.owner.split('/').next_back().unwrap().to_owned();
    let role = json!({"properties": {"principalId": admin, "roleDefinitionId": "acdd72a7-3385-48ef-bd42-f606fba81ae7"}});
    let container = format!("{}/blobServices/default/containers/c", w.account("g", "acct34"));
    let at = |scope: &str, digit: &str| {
        format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{digit}1111111-2222-3333-4444-555555555555")
    };
    let assignments = [at(&w.account("g", "acct34"), "1"), at(&container, "2")];
    for assignment in &assignments {
        assert_eq!(w.owner("PUT", assignment, role.clone()).await.status, 201);
    }
    let beside = at(&w.group("g"), "3");
    assert_eq!(w.owner("PUT", &beside, role).await.status, 201);
    assert_eq!(w.owner("DELETE", &w.account("g", "acct34"), Value::Null).await.status, 200);
    assert_eq!(w.put_account("g", "acct34").await.status, 200);
    for assignment in &assignments {
        assert_eq!(w.owner("GET", assignment, Value::Null).await.status, 404, "{assignment}");
    }
    assert_eq!(w.owner("GET", &beside, Value::Null).await.status, 200, "roles above it stay");
    w.audit().await;
}

#[tokio::test]
async fn a_role_of_the_directory_opens_nothing_of_resource_manager() {
    let w = world(35).await;
    w.put_group("g").await;
    let is_client = |fact: &trust::Fact| match fact {
        trust::Fact::Principal(p) if p.kind == PrincipalKind::ServicePrincipal && p.display_name == "client" => Some(p.object),
        _ => None,
    };
    let client = w.kit.trust.facts(|f| f.scan("principal/").find_map(is_client)).unwrap();
    let body = json!({"properties": {"principalId": client.to_string(), "roleDefinitionId": arm::GLOBAL_ADMINISTRATOR}});
    let id = "providers/Microsoft.Authorization/roleAssignments/11111111-2222-3333-4444-555555555555";
    for scope in [w.group("g"), format!("/subscriptions/{}", w.subscription)] {
        let refused = w.owner("PUT", &format!("{scope}/{id}"), body.clone()).await;
        assert_eq!((refused.status, code(&refused).as_str()), (400, "InvalidCreateRoleAssignmentRequest"), "{scope}");
    }
    // as the first start gives it
    let scope = ResourceId::tenant(w.tenant);
    let assignment = trust::Assignment {
        id: scope.provider("Microsoft.Authorization/roleAssignments", "11111111-2222-3333-4444-555555555555").unwrap(),
        tenant: w.tenant,
        scope: scope.clone(),
        role: arm::GLOBAL_ADMINISTRATOR.into(),
        principal: client,
        principal_kind: PrincipalKind::ServicePrincipal,
        created: w.kit.now(),
        created_by: None,
        description: None,
    };
    let near = w.kit.region("test");
    let permit: trust::Permit<trust::Write> =
        near.permit("Give Role", &["bleu.test/roles/write"], false, &scope, trust::Weight::Indexed, "").await.unwrap();
    permit.commit(trust::Batch::new().claim_fact(trust::Fact::Assignment(assignment)), trust::Outcome::done(201)).await.unwrap();
    let token = format!("{}/{client}", w.tenant);
    for path in [format!("/subscriptions/{}", w.subscription), format!("/subscriptions/{}/resourceGroups", w.subscription), w.group("g")] {
        assert_eq!(w.as_(&token, "GET", &path, Value::Null).await.status, 403, "{path}");
    }
    w.audit().await;
}

#[tokio::test]
async fn nobody_gets_a_role_at_what_is_being_deleted() {
    let mut w = world(14).await;
    w.put_group("g").await;
    assert_eq!(w.put_account("g", "acct14").await.status, 200);
    // no worker: what is begun stays under way
    w.worker.take().unwrap().stop().await;
    let admin = w.owner.split('/').next_back().unwrap().to_owned();
    let body = json!({"properties": {"principalId": admin, "roleDefinitionId": "acdd72a7-3385-48ef-bd42-f606fba81ae7"}});
    let at = |scope: String| format!("{scope}/providers/Microsoft.Authorization/roleAssignments/11111111-2222-3333-4444-555555555555");
    for (scope, expected) in [(w.account("g", "acct14"), "AnotherOperationInProgress"), (w.group("g"), "ResourceGroupBeingDeleted")] {
        // a deletion of a kind that does not poll is waited for: it is begun, and left
        let gone = w.owner("DELETE", &scope, Value::Null);
        let _ = tokio::time::timeout(std::time::Duration::from_millis(500), gone).await;
        let answer = w.owner("PUT", &at(scope), body.clone()).await;
        assert_eq!((answer.status, code(&answer).as_str()), (409, expected));
    }
    w.audit().await;
}

#[tokio::test]
async fn an_identity_that_nobody_made_is_not_shown() {
    let w = world(16).await;
    w.put_group("g").await;
    let body =
        |identity: Value| json!({"location": "francecentral", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2", "identity": identity});
    let refused = w.owner("PUT", &w.account("g", "acct16"), body(json!({"type": "SystemAssigned"}))).await;
    assert_eq!(
        (refused.status, code(&refused).as_str(), refused.json()["error"]["target"].as_str()),
        (501, "NotImplemented", Some("identity"))
    );
    let none = w.owner("PUT", &w.account("g", "acct16"), body(json!({"type": "None"}))).await;
    assert_eq!(w.poll(&none).await.status, 200);
    w.audit().await;
}

#[tokio::test]
async fn the_record_names_the_assignment_that_allowed_an_act() {
    let w = world(15).await;
    w.put_group("g").await;
    w.kit.trust.export(Some(w.tenant)).await.unwrap(); // the log moves on
    let entries = w.kit.trust.entries_from(Some(w.tenant), 0).await.unwrap();
    let grants: Vec<String> =
        entries.into_iter().filter_map(|(_, _, event)| event).filter(|e| e.verb == "Put Resource Group").filter_map(|e| e.grant).collect();
    let by = format!("role Owner by /subscriptions/{}/providers/Microsoft.Authorization/roleAssignments/", w.subscription);
    assert!(!grants.is_empty() && grants.iter().all(|g| g.starts_with(&by)), "{grants:?}");
    w.audit().await;
}

#[tokio::test]
async fn another_tenant_learns_nothing() {
    let w = world(6).await;
    w.put_group("g").await;
    let (other, _, admin, _) = seed(&w.kit, "fabrikam.example").await;
    let token = format!("{other}/{admin}");
    let there = w.as_(&token, "GET", &w.group("g"), Value::Null).await;
    let not_there = w.as_(&token, "GET", &w.group("nothing"), Value::Null).await;
    assert_eq!((there.status, not_there.status), (404, 404));
    assert_eq!(code(&there), code(&not_there));
    assert_eq!(code(&there), "SubscriptionNotFound");
    let never = w.group("g").replace(&w.subscription.to_string(), "00000000-1111-4222-8333-444444444444");
    let never_there = w.as_(&token, "GET", &never, Value::Null).await;
    assert_eq!((never_there.status, code(&never_there).as_str()), (404, "SubscriptionNotFound"));
    let list = w.as_(&token, "GET", "/subscriptions", Value::Null).await;
    assert!(!list.text().contains(&w.subscription.to_string()));
    w.audit().await;
}

#[tokio::test]
async fn an_operation_goes_on_after_a_crash() {
    let kv = store::open_memory().unwrap();
    let blobs: Arc<dyn store::Blobs> = Arc::new(testkit::MemoryBlobs::new(base::SiteName::new("paris-1").unwrap()));
    let (first, _arm) = setup(7);
    let kit = Kit::start(first.on(kv.clone(), blobs.clone())).await;
    let (tenant, subscription, admin, _) = seed(&kit, "contoso.example").await;
    // no worker runs: what is asked for waits, as after a crash
    let w = World { kit, worker: None, tenant, subscription, owner: format!("{tenant}/{admin}") };
    w.put_group("g").await;
    let body = json!({"location": "francecentral", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"});
    let accepted = w.owner("PUT", &w.account("g", "acct7"), body.clone()).await;
    assert_eq!(accepted.status, 202);
    assert_eq!(w.owner("GET", accepted.header("location"), Value::Null).await.status, 202);
    let again = w.owner("PUT", &w.account("g", "acct7"), body).await;
    assert_eq!(again.header("location"), accepted.header("location"), "the same wish is the same operation");
    let owner = w.owner.clone();
    w.kit.crash();
    let (second, arm) = setup(8);
    let kit = Kit::start(second.on(kv, blobs)).await;
    let worker = Some(arm.start(kit.trust.clone(), kit.urls.clone()).await.unwrap());
    let w = World { kit, worker, tenant, subscription, owner };
    let done = w.poll(&accepted).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(done.json()["properties"]["provisioningState"], "Succeeded");
    w.audit().await;
}

#[tokio::test]
async fn lists_page_and_filter() {
    let w = world(9).await;
    for i in 0..5 {
        w.put_group(&format!("g{i}")).await;
    }
    let mut names = Vec::new();
    let mut next = format!("/subscriptions/{}/resourceGroups?$top=2", w.subscription);
    loop {
        let page = w.owner("GET", &next, Value::Null).await.json();
        names.extend(page["value"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap().to_owned()));
        match page["nextLink"].as_str() {
            Some(link) => next = link.to_owned(),
            None => break,
        }
    }
    assert_eq!(names, ["g0", "g1", "g2", "g3", "g4"]);
    w.audit().await;
}

/// The store fails for a moment, at each commit of an operation in turn: it ends all the same, in this process.
#[tokio::test]
async fn an_operation_survives_a_store_that_fails_at_any_commit() {
    let (setup, arm) = setup(30);
    let (kv, blobs) = (Sulking::over(setup.kv.clone()), setup.blobs.clone());
    let kit = Kit::start(setup.on(kv.clone(), blobs)).await;
    let (tenant, subscription, admin, _) = seed(&kit, "contoso.example").await;
    let worker = Some(arm.start(kit.trust.clone(), kit.urls.clone()).await.unwrap());
    let w = World { kit, worker, tenant, subscription, owner: format!("{tenant}/{admin}") };
    w.put_group("g").await;
    let body = json!({"location": "francecentral", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"});
    for mood in [Mood::Full, Mood::Lost] {
        for skip in 0..8 {
            let account = w.account("g", &format!("acct{skip}{}", if mood == Mood::Full { "f" } else { "l" }));
            // a lost answer is asked for by whoever commits: that one is lost too
            kv.will_feel(mood, skip, 2);
            let put = loop {
                let put = w.owner("PUT", &account, body.clone()).await;
                if put.status != 503 {
                    break put;
                }
            };
            let put = if put.status == 202 { w.poll(&put).await } else { put };
            assert_eq!(put.status, 200, "{mood:?} {skip}: {}", put.text());
            let found = w.owner("GET", &account, Value::Null).await;
            assert_eq!(found.json()["properties"]["provisioningState"], "Succeeded", "{mood:?} {skip}: {}", found.text());
            kv.feels(Mood::Good);
        }
    }
    kv.will_feel(Mood::Full, 6, 3);
    let gone = w.owner("DELETE", &w.group("g"), Value::Null).await;
    assert_eq!(w.poll(&gone).await.status, 200);
    kv.feels(Mood::Good);
    w.audit().await;
}

/// What a service is handed does not turn into the region by being asked to.
#[tokio::test]
async fn a_service_gets_no_permit_as_another_part_of_the_region() {
    let w = world(31).await;
    let target = base::ResourceId::tenant(w.tenant);
    let ask = async |near: &service::Neighbours| {
        let asked = near.permit::<trust::Read>("Try", &["bleu.identity/tenants/read"], false, &target, trust::Weight::With, "").await;
        asked.is_ok()
    };
    let identity = Caller::Region { part: "identity" };
    for (part, allowed) in [(None, false), (Some("storage"), false), (Some("identity"), true)] {
        let mut near = w.kit.near(Caller::Anonymous).for_part(part);
        assert_eq!(ask(&near.on_behalf(identity.clone())).await, allowed, "{part:?}");
        let worker = Caller::Worker { on_behalf_of: Box::new(identity.clone()), operation: base::OperationId(uuid::Uuid::nil()) };
        assert_eq!(ask(&near.on_behalf(worker)).await, allowed, "{part:?}");
        near.caller = identity.clone();
        assert_eq!(ask(&near).await, allowed, "{part:?}");
    }
    w.audit().await;
}

/// A kind that claims names in its first step and fails in its second: what it claimed is given back.
struct Fragile;

impl service::Kind for Fragile {
    fn namespace(&self) -> &'static str {
        "Microsoft.Test"
    }
    fn name(&self) -> &'static str {
        "fragile"
    }
    fn versions(&self) -> &'static [&'static str] {
        &["2024-01-01"]
    }
    fn plan(&self, _: &base::ResourceId, want: &service::Want, _: Option<&service::Have>) -> base::Result<Vec<service::Step>> {
        Ok(["claim", "fail"].map(|name| service::Step { name: name.into(), arguments: want.properties.clone() }).into())
    }
    fn plan_delete(&self, _: &base::ResourceId, have: &service::Have) -> base::Result<Vec<service::Step>> {
        Ok(vec![service::Step { name: "release".into(), arguments: have.properties.clone() }])
    }
    fn apply<'a>(
        &'a self,
        id: &'a base::ResourceId,
        step: &'a service::Step,
        at: trust::Permit<trust::Write>,
        _: &'a service::Neighbours,
    ) -> base::Fut<'a, base::Result<(trust::Receipt, service::Progress)>> {
        let refuse = async |at: trust::Permit<trust::Write>, error: base::Error| {
            at.close(trust::Outcome::failed(&error)).await?;
            Err(error)
        };
        Box::pin(async move {
            let name = trust::GlobalName { zone: "test".into(), name: id.name().to_owned(), resource: id.clone() };
            let batch = match step.name.as_str() {
                "claim" => trust::Batch::new().claim_fact(trust::Fact::Name(name)),
                "release" if step.arguments["stuck"] == true => {
                    return refuse(at, base::Error::new(base::Kind::Throttled, "Stuck", "Not now.")).await;
                }
                "release" => trust::Batch::new().remove_fact(trust::Fact::name_key("test", id.name())),
                _ => return refuse(at, base::Error::new(base::Kind::Throttled, "Fragile", "It broke.")).await,
            };
            let receipt = at.commit(batch, trust::Outcome::done(200)).await?;
            Ok((receipt, service::Progress::Done(step.arguments.clone())))
        })
    }
    fn show(&self, _: &base::ResourceId, have: &service::Have, _: &service::Neighbours) -> Value {
        have.properties.clone()
    }
}

#[tokio::test]
async fn a_creation_that_fails_gives_back_what_it_claimed_or_says_what_stays() {
    let arm = Arm::new(vec![Arc::new(Fragile)]);
    let kit = Kit::start(Setup::new(32).services(vec![arm.clone()]).rules(AzureRoles).bearer(Arc::new(bearer))).await;
    let (tenant, subscription, admin, _) = seed(&kit, "contoso.example").await;
    let worker = Some(arm.start(kit.trust.clone(), kit.urls.clone()).await.unwrap());
    let w = World { kit, worker, tenant, subscription, owner: format!("{tenant}/{admin}") };
    w.put_group("g").await;
    let at = |name: &str| format!("{}/providers/Microsoft.Test/fragile/{name}", w.group("g"));
    let body = |stuck: bool| json!({"location": "francecentral", "properties": {"stuck": stuck}});
    let claimed = |name: &str| w.kit.trust.facts(|f| f.resolve("test", name).is_some());
    let failed = w.owner("PUT", &at("one"), body(false)).await;
    // the kind of the error survives its way through the books
    assert_eq!((failed.status, code(&failed).as_str()), (429, "Fragile"), "{}", failed.text());
    assert!(!claimed("one"));
    assert_eq!(w.owner("GET", &at("one"), Value::Null).await.status, 404);
    let failed = w.owner("PUT", &at("two"), body(true)).await;
    assert_eq!(failed.status, 429);
    assert!(failed.text().contains("Stuck"), "{}", failed.text());
    assert!(claimed("two"));
    let left = w.owner("GET", &at("two"), Value::Null).await;
    assert_eq!((left.status, left.json()["properties"]["provisioningState"].as_str()), (200, Some("Failed")));
    w.audit().await;
}

#[tokio::test]
async fn an_ended_operation_can_be_polled_for_a_day_and_is_forgotten_then() {
    let w = world(33).await;
    w.put_group("g").await;
    let body = json!({"location": "francecentral", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"});
    let accepted = w.owner("PUT", &w.account("g", "acct33"), body).await;
    assert_eq!(w.poll(&accepted).await.status, 200);
    let worker = w.worker.as_ref().unwrap();
    w.kit.clock.advance_seconds(23 * 3_600);
    assert_eq!(worker.forget_ended().await.unwrap(), 0);
    assert_eq!(w.owner("GET", accepted.header("location"), Value::Null).await.status, 200);
    w.kit.clock.advance_seconds(3_601);
    assert_eq!(worker.forget_ended().await.unwrap(), 1);
    assert_eq!(w.owner("GET", accepted.header("location"), Value::Null).await.status, 404);
    assert_eq!(w.owner("GET", &w.account("g", "acct33"), Value::Null).await.status, 200, "the resource stays");
    w.audit().await;
}

#[tokio::test]
async fn an_unknown_type_is_not_there_for_head_either() {
    let w = world(34).await;
    w.put_group("g").await;
    for path in [
        format!("{}/providers/Microsoft.Nothing/things/x", w.group("g")),
        format!("/subscriptions/{}/providers/Microsoft.Nothing/things/x", w.subscription),
    ] {
        assert_eq!(w.owner("HEAD", &path, Value::Null).await.status, 404, "{path}");
    }
    w.audit().await;
}
