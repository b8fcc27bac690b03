//! What rules other things, from outside: the tenant's own roles, conditions, deny assignments, locks, management groups and
//! policies, in a region in memory.

use arm::{Arm, AzureRoles, DenyAssignment};
use base::{ObjectId, ResourceId, SubscriptionId, TenantId};
use serde_json::{Value, json};
use service::Service;
use std::sync::Arc;
use testkit::{Answer, Kit, Setup};
use trust::{Caller, Principal, PrincipalKind};

const HOST: &str = "https://management.bleu.localhost";
const VERSION: &str = "api-version=2024-11-01";
const READ_BLOBS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read";

struct World {
    kit: Kit,
    worker: arm::Running,
    tenant: TenantId,
    subscription: SubscriptionId,
    admin: String,
    client: String,
}

/// Tokens are names in these tests: `Bearer {tenant}/{object}`.
fn bearer(near: &service::Neighbours, token: &str, _: &[String]) -> base::Result<Caller> {
    let (tenant, object) = token.split_once('/').unwrap();
    let (tenant, object): (TenantId, ObjectId) = (tenant.parse()?, object.parse()?);
    let kind = near.facts(|f| f.principal(object).map(|p| p.kind)).unwrap_or(PrincipalKind::User);
    Ok(Caller::Principal(Principal { tenant, object, app: base::AppId(object.0), kind, name: "someone".into() }))
}

async fn world(seed: u64) -> World {
    let storage: Arc<dyn Service> = Arc::new(storage::Storage);
    let arm = Arm::new(storage.kinds());
    let services = vec![storage, arm.clone() as Arc<dyn Service>];
    let kit = Kit::start(Setup::new(seed).services(services).rules(AzureRoles).bearer(Arc::new(bearer))).await;
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
    let worker = arm.start(kit.trust.clone(), kit.urls.clone()).await.unwrap();
    World { kit, worker, tenant, subscription, admin: seeded.admin.to_string(), client: seeded.client_object.to_string() }
}

impl World {
    async fn call(&self, who: &str, method: &str, path: &str, body: Value) -> Answer {
        let url = if path.starts_with("https:") { path.to_owned() } else { format!("{HOST}{path}") };
        let url = if url.contains("api-version") { url } else { format!("{url}{}{VERSION}", if url.contains('?') { "&" } else { "?" }) };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let token = format!("Bearer {}/{who}", self.tenant);
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        self.kit.call(method, &url.replace(' ', "%20"), &headers, body).await
    }
    /// As the owner of the subscription.
    async fn admin(&self, method: &str, path: &str, body: Value) -> Answer {
        self.call(&self.admin, method, path, body).await
    }
    async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.admin(method, path, body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
        if answer.text().is_empty() { Value::Null } else { answer.json() }
    }
    async fn refused(&self, method: &str, path: &str, body: Value, code: &str) -> Value {
        let answer = self.admin(method, path, body).await;
        let error = answer.json()["error"].clone();
        assert_eq!(error["code"], code, "{method} {path}: {} {}", answer.status, answer.text());
        error
    }
    fn sub(&self) -> String {
        format!("/subscriptions/{}", self.subscription)
    }
    fn group(&self, name: &str) -> String {
        format!("{}/resourceGroups/{name}", self.sub())
    }
    fn account(&self, group: &str, name: &str) -> String {
        format!("{}/providers/Microsoft.Storage/storageAccounts/{name}", self.group(group))
    }
    fn auth(&self, scope: &str, kind: &str, name: &str) -> String {
        format!("{scope}/providers/Microsoft.Authorization/{kind}/{name}")
    }
    async fn put_group(&self, name: &str, tags: Value) {
        self.ok("PUT", &self.group(name), json!({"location": "francecentral", "tags": tags})).await;
    }
    async fn put_account(&self, group: &str, name: &str, properties: Value) -> Answer {
        let body = json!({"location": "francecentral", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2", "properties": properties});
        let answer = self.admin("PUT", &self.account(group, name), body).await;
        if answer.status != 202 {
            return answer;
        }
        for _ in 0..2_000 {
            let next = self.admin("GET", answer.header("location"), Value::Null).await;
            if next.status != 202 {
                return next;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("the operation does not end");
    }
    fn guid(&self) -> String {
        ObjectId::random(&*self.kit.trust.chance()).to_string()
    }
    async fn assign(&self, scope: &str, role: &str, who: &str, more: Value) -> String {
        let id = self.auth(scope, "roleAssignments", &self.guid());
        let mut properties =
            json!({"roleDefinitionId": format!("/providers/Microsoft.Authorization/roleDefinitions/{role}"), "principalId": who});
        if let (Value::Object(p), Value::Object(more)) = (&mut properties, more) {
            p.extend(more);
        }
        self.ok("PUT", &id, json!({ "properties": properties })).await;
        id
    }
    async fn audit(self) {
        let World { kit, worker, tenant, .. } = self;
        worker.stop().await;
        kit.audit(Some(tenant)).await;
    }
}

fn role(name: &str) -> &'static str {
    arm::ROLES.iter().find(|r| r.name == name).unwrap().id
}

#[tokio::test]
async fn a_tenant_makes_its_own_roles() {
    let w = world(101).await;
    w.put_group("rg", json!({})).await;
    let guid = w.guid();
    let id = w.auth(&w.sub(), "roleDefinitions", &guid);
    let body = |name: &str, actions: Value| {
        json!({"properties": {"roleName": name, "type": "CustomRole", "description": "d", "assignableScopes": [w.group("rg")],
            "permissions": [{"actions": actions, "notActions": ["*/delete"], "dataActions": [], "notDataActions": []}]}})
    };
    let made = w.ok("PUT", &id, body("Group Reader", json!(["*/read", "Microsoft.Resources/tags/*"]))).await;
    assert_eq!((&made["properties"]["type"], &made["name"]), (&json!("CustomRole"), &json!(guid)));
    let listed = w
        .ok(
            "GET",
            &format!("{}?$filter=roleName eq 'group reader'", w.auth(&w.sub(), "roleDefinitions", "").trim_end_matches('/')),
            Value::Null,
        )
        .await;
    assert_eq!(listed["value"][0]["properties"]["assignableScopes"], json!([w.group("rg")]));

    // it grants what it says, where it may be assigned
    assert_eq!(w.call(&w.client, "GET", &w.group("rg"), Value::Null).await.status, 403);
    let grant = w.assign(&w.group("rg"), &guid, &w.client, json!({})).await;
    assert_eq!(w.call(&w.client, "GET", &w.group("rg"), Value::Null).await.status, 200);
    let tags = format!("{}/providers/Microsoft.Resources/tags/default", w.group("rg"));
    assert_eq!(w.call(&w.client, "DELETE", &tags, Value::Null).await.status, 403);
    assert_eq!(w.call(&w.client, "PUT", &tags, json!({"properties": {"tags": {"a": "b"}}})).await.status, 200);
    let elsewhere = w.auth(&w.sub(), "roleAssignments", &w.guid());
    let properties = json!({"properties": {"roleDefinitionId": id, "principalId": w.client}});
    w.refused("PUT", &elsewhere, properties, "RoleAssignmentScopeNotAssignableToRoleDefinition").await;

    // a change is seen at once; a role that is assigned stays
    w.ok("PUT", &id, body("Group Reader", json!(["Microsoft.Resources/tags/read"]))).await;
    assert_eq!(w.call(&w.client, "GET", &w.group("rg"), Value::Null).await.status, 403);
    w.refused("DELETE", &id, Value::Null, "RoleDefinitionHasAssignments").await;
    w.ok("DELETE", &grant, Value::Null).await;
    w.ok("DELETE", &id, Value::Null).await;
    assert_eq!(w.admin("DELETE", &id, Value::Null).await.status, 204);
    w.refused("GET", &id, Value::Null, "RoleDefinitionDoesNotExist").await;

    // bad ones
    for (bad, code) in [
        (body("", json!(["*"])), "RoleDefinitionNameInvalid"),
        (body("Reader", json!(["*"])), "RoleDefinitionWithSameNameExists"),
        (body("x", json!([])), "InvalidRoleDefinition"),
        (body("x", json!(["a b"])), "InvalidRoleDefinition"),
        (json!({"properties": {"roleName": "x", "permissions": [{"actions": ["*"]}], "assignableScopes": []}}), "InvalidRoleDefinition"),
        (
            json!({"properties": {"roleName": "x", "permissions": [{"actions": ["*"]}], "assignableScopes": [format!("/subscriptions/{}", w.guid())]}}),
            "RoleDefinitionAssignableScopesInvalid",
        ),
    ] {
        w.refused("PUT", &id, bad, code).await;
    }
    w.refused("PUT", &w.auth(&w.sub(), "roleDefinitions", role("Owner")), body("x", json!(["*"])), "RoleDefinitionBuiltIn").await;
    // nobody makes a role who may not
    let answer = w.call(&w.client, "PUT", &id, body("x", json!(["*"]))).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    w.audit().await;
}

/// What a client joins to show names of roles (`az role assignment list --all`) has the same ids in both lists, and who may
/// take the tenant over sees who holds it.
#[tokio::test]
async fn every_listed_assignment_has_its_definition_beside_it() {
    let w = world(109).await;
    for elevated in [false, true] {
        if elevated {
            w.ok("POST", "/providers/Microsoft.Authorization/elevateAccess", Value::Null).await;
        }
        for scope in [String::new(), w.sub()] {
            let list = async |kind: &str| w.ok("GET", w.auth(&scope, kind, "").trim_end_matches('/'), Value::Null).await["value"].clone();
            let (definitions, assignments) = (list("roleDefinitions").await, list("roleAssignments").await);
            let known: Vec<&Value> = definitions.as_array().unwrap().iter().map(|d| &d["id"]).collect();
            let at_the_root = |a: &Value| a["properties"]["scope"] == "/";
            let shown = assignments.as_array().unwrap().iter().filter(|a| !scope.is_empty() || at_the_root(a));
            for assignment in shown.clone() {
                assert!(known.contains(&&assignment["properties"]["roleDefinitionId"]), "{scope}: {assignment}");
            }
            assert_eq!(shown.filter(|a| at_the_root(a)).count(), usize::from(scope.is_empty()) + usize::from(elevated), "{scope}");
        }
    }
    w.audit().await;
}

#[tokio::test]
async fn calls_that_are_not_built_say_so_and_a_missing_token_is_told() {
    let w = world(110).await;
    for path in ["tagNames", "tagNames/cost", "providers/Microsoft.Storage/locations/francecentral/usages"] {
        let answer = w.admin("GET", &format!("{}/{path}", w.sub()), Value::Null).await;
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (501, Some("NotImplemented")), "{path}");
        assert!(!answer.text().contains("This call"), "{}", answer.text());
    }
    let answer = w.kit.call("GET", &format!("https://management.bleu.localhost{}?api-version=2024-11-01", w.sub()), &[], "").await;
    let told = answer.header("www-authenticate");
    let (_, description) = told.split_once("error_description=\"").unwrap();
    assert!(answer.status == 401 && description.contains(' ') && description.matches('"').count() == 1, "{told}");
    w.audit().await;
}

#[tokio::test]
async fn a_condition_narrows_what_a_role_opens() {
    let w = world(102).await;
    w.put_group("rg", json!({})).await;
    assert_eq!(w.put_account("rg", "acct", json!({})).await.status, 200);
    let scope = w.account("rg", "acct");
    w.assign(&scope, role("Storage Blob Data Owner"), &w.admin, json!({})).await;
    let blob = |who: String, method: &'static str, path: String, body: &'static str| {
        let (token, w) = (format!("Bearer {}/{who}", w.tenant), &w);
        async move {
            let mut headers = vec![("authorization", token.as_str()), ("x-ms-version", "2024-11-04")];
            if method == "PUT" {
                headers.push(("x-ms-blob-type", "BlockBlob"));
            }
            w.kit.call(method, &format!("https://acct.blob.core.bleu.localhost{path}"), &headers, body).await.status
        }
    };
    for container in ["photos", "secrets"] {
        assert_eq!(blob(w.admin.clone(), "PUT", format!("/{container}?restype=container"), "").await, 201);
        for name in ["a/1", "b/1"] {
            assert_eq!(blob(w.admin.clone(), "PUT", format!("/{container}/{name}"), "x").await, 201);
        }
    }
    let condition = format!(
        "((!(ActionMatches{{'{READ_BLOBS}'}} AND NOT SubOperationMatches{{'Blob.List'}})) OR (@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name] StringEquals 'photos' AND @Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path] StringLike 'a/*')) AND (!(SubOperationMatches{{'Blob.List'}}) OR @Request[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:prefix] StringStartsWith 'a/')"
    );
    let grant =
        w.assign(&scope, role("Storage Blob Data Reader"), &w.client, json!({"condition": condition, "conditionVersion": "2.0"})).await;
    assert_eq!(w.ok("GET", &grant, Value::Null).await["properties"]["condition"], json!(condition));
    let client = || w.client.clone();
    assert_eq!(blob(client(), "GET", "/photos/a/1".into(), "").await, 200);
    assert_eq!(blob(client(), "GET", "/photos/b/1".into(), "").await, 403);
    assert_eq!(blob(client(), "GET", "/secrets/a/1".into(), "").await, 403);
    assert_eq!(blob(client(), "GET", "/secrets?restype=container&comp=list&prefix=a/".into(), "").await, 200);
    assert_eq!(blob(client(), "GET", "/secrets?restype=container&comp=list&prefix=b/".into(), "").await, 403);
    assert_eq!(blob(client(), "GET", "/secrets?restype=container&comp=list".into(), "").await, 403);

    // the same grant may get another condition; one that can't be read is refused, and so is another version
    let properties = |condition: &str, version: &str| {
        json!({"properties": {"roleDefinitionId": format!("/x/roleDefinitions/{}", role("Storage Blob Data Reader")), "principalId": w.client,
            "condition": condition, "conditionVersion": version}})
    };
    w.refused("PUT", &grant, properties("@Resource[x] Is 'y'", "2.0"), "InvalidRoleAssignmentCondition").await;
    w.refused("PUT", &grant, properties("@Resource[x] StringEquals 'y'", "1.0"), "InvalidRoleAssignmentConditionVersion").await;
    w.ok(
        "PUT",
        &grant,
        properties("@Resource[Microsoft.Storage/storageAccounts/blobServices/containers:name] StringEquals 'secrets'", "2.0"),
    )
    .await;
    assert_eq!(blob(client(), "GET", "/photos/a/1".into(), "").await, 403);
    assert_eq!(blob(client(), "GET", "/secrets/b/1".into(), "").await, 200);
    // a grant made anew under the same id has no condition of the old one
    w.ok("DELETE", &grant, Value::Null).await;
    assert_eq!(blob(client(), "GET", "/secrets/b/1".into(), "").await, 403);
    w.ok("PUT", &grant, properties("", "2.0")).await;
    assert_eq!(blob(client(), "GET", "/photos/b/1".into(), "").await, 200);
    w.audit().await;
}

#[tokio::test]
async fn locks_hold_at_their_scope_and_below_it() {
    let w = world(103).await;
    w.put_group("rg", json!({})).await;
    assert_eq!(w.put_account("rg", "locked", json!({})).await.status, 200);
    let (account, group) = (w.account("rg", "locked"), w.group("rg"));
    let lock = w.auth(&account, "locks", "keep");
    let made = w.ok("PUT", &lock, json!({"properties": {"level": "CanNotDelete", "notes": "why"}})).await;
    assert_eq!((made["id"].as_str(), made["properties"]["notes"].as_str()), (Some(lock.as_str()), Some("why")));
    // the resource, and the group that it is in
    let error = w.refused("DELETE", &account, Value::Null, "ScopeLocked").await;
    assert_eq!(
        error["message"],
        format!(
            "The scope '{account}' cannot perform delete operation because following scope(s) are locked: '{account}'. Please remove the lock and try again."
        )
    );
    w.refused("DELETE", &group, Value::Null, "ScopeLocked").await;
    assert_eq!(w.put_account("rg", "locked", json!({"minimumTlsVersion": "TLS1_2"})).await.status, 200);
    assert_eq!(w.ok("GET", w.auth(&group, "locks", "").trim_end_matches('/'), Value::Null).await["value"].as_array().unwrap().len(), 1);
    assert_eq!(
        w.ok("GET", &format!("{}?$filter=atScope()", w.auth(&group, "locks", "").trim_end_matches('/')), Value::Null).await["value"],
        json!([])
    );

    // read only: no writing, no keys; the lock itself is changed and taken away
    w.ok("PUT", &lock, json!({"properties": {"level": "ReadOnly"}})).await;
    assert_eq!(w.put_account("rg", "locked", json!({})).await.json()["error"]["code"], "ScopeLocked");
    w.refused("POST", &format!("{account}/listKeys"), Value::Null, "ScopeLocked").await;
    assert_eq!(w.admin("GET", &account, Value::Null).await.status, 200);
    w.ok("DELETE", &lock, Value::Null).await;
    assert_eq!(w.admin("DELETE", &lock, Value::Null).await.status, 204);
    w.refused("GET", &lock, Value::Null, "LockNotFound").await;

    // inherited from the subscription
    let above = w.auth(&w.sub(), "locks", "all");
    w.ok("PUT", &above, json!({"properties": {"level": "ReadOnly"}})).await;
    w.refused("PUT", &w.group("new"), json!({"location": "francecentral"}), "ScopeLocked").await;
    w.ok("DELETE", &above, Value::Null).await;
    assert!(w.admin("DELETE", &account, Value::Null).await.status < 300);

    w.refused("PUT", &lock, json!({"properties": {"level": "ReadOnly"}}), "ResourceNotFound").await;
    w.refused("PUT", &w.auth(&group, "locks", "x"), json!({"properties": {"level": "Half"}}), "InvalidLockLevel").await;
    assert_eq!(w.call(&w.client, "PUT", &w.auth(&group, "locks", "x"), json!({"properties": {"level": "ReadOnly"}})).await.status, 403);
    w.audit().await;
}

#[tokio::test]
async fn what_the_region_denies_no_owner_does() {
    let w = world(104).await;
    w.put_group("managed", json!({})).await;
    w.assign(&w.group("managed"), role("Contributor"), &w.client, json!({})).await;
    let scope = ResourceId::parse(&w.group("managed")).unwrap();
    let wish = DenyAssignment {
        name: "managed".into(),
        description: String::new(),
        actions: vec!["*/write".into(), "*/delete".into()],
        not_actions: vec!["Microsoft.Resources/tags/*".into()],
        data_actions: Vec::new(),
        not_data_actions: Vec::new(),
        principals: Vec::new(),
        excluded: vec![w.client.parse().unwrap()],
        applies_below: true,
    };
    let id = arm::deny(&w.kit.region("arm"), &scope, wish).await.unwrap();
    let error = w.refused("DELETE", &w.group("managed"), Value::Null, "DenyAssignmentAuthorizationFailed").await;
    assert!(error["message"].as_str().unwrap().contains(id.name()), "{error}");
    w.refused("PUT", &w.account("managed", "acct"), json!({"location": "francecentral"}), "DenyAssignmentAuthorizationFailed").await;
    w.ok("PUT", &format!("{}/providers/Microsoft.Resources/tags/default", w.group("managed")), json!({"properties": {"tags": {}}})).await;
    // who is left out of it still needs a role, and has one
    assert_eq!(w.call(&w.client, "PATCH", &w.group("managed"), json!({"tags": {}})).await.status, 200);
    let listed = w.ok("GET", w.auth(&w.group("managed"), "denyAssignments", "").trim_end_matches('/'), Value::Null).await;
    assert_eq!(listed["value"][0]["properties"]["principals"][0]["type"], "SystemDefined");
    w.refused("DELETE", id.as_str(), Value::Null, "DenyAssignmentAuthorizationFailed").await;
    arm::allow(&w.kit.region("arm"), &id).await.unwrap();
    w.refused("PUT", id.as_str(), json!({}), "DenyAssignmentSystemProtected").await;
    w.ok("DELETE", &w.group("managed"), Value::Null).await;
    w.audit().await;
}

#[tokio::test]
async fn roles_and_policies_come_down_the_tree_of_management_groups() {
    let w = world(105).await;
    let mg = |name: &str| format!("/providers/Microsoft.Management/managementGroups/{name}");
    w.ok("PUT", &mg("top"), json!({"properties": {"displayName": "Top"}})).await;
    w.ok("PUT", &mg("team"), json!({"properties": {"details": {"parent": {"id": mg("top")}}}})).await;
    let shown = w.ok("GET", &format!("{}?$expand=children&$recurse=true", mg("top")), Value::Null).await;
    assert_eq!(shown["properties"]["children"][0]["name"], "team");
    assert_eq!(shown["properties"]["details"]["parent"]["name"], w.tenant.to_string());
    // its maker owns it; a stranger sees nothing of it
    assert_eq!(w.call(&w.client, "GET", &mg("top"), Value::Null).await.status, 403);
    let names = |body: Value| body["value"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        names(w.call(&w.client, "GET", "/providers/Microsoft.Management/managementGroups", Value::Null).await.json()),
        [w.tenant.to_string()]
    );
    assert_eq!(names(w.ok("GET", "/providers/Microsoft.Management/managementGroups", Value::Null).await).len(), 3);

    // a role above a subscription
    w.assign(&mg("top"), role("Reader"), &w.client, json!({})).await;
    assert_eq!(w.call(&w.client, "GET", &w.sub(), Value::Null).await.status, 403);
    let inside = format!("{}/subscriptions/{}", mg("team"), w.subscription);
    assert_eq!(w.call(&w.client, "PUT", &inside, Value::Null).await.status, 403);
    w.ok("PUT", &inside, Value::Null).await;
    assert_eq!(w.call(&w.client, "GET", &w.sub(), Value::Null).await.status, 200);
    assert_eq!(w.call(&w.client, "GET", &mg("team"), Value::Null).await.status, 200);
    assert_eq!(names(w.ok("GET", &format!("{}/descendants", mg("top")), Value::Null).await), ["team", &w.subscription.to_string()]);

    // a policy above it
    let definition = w.auth(&mg("top"), "policyDefinitions", "nogroups");
    let rule = json!({"properties": {"mode": "All", "displayName": "No groups", "policyRule": {
        "if": {"field": "type", "equals": "Microsoft.Resources/subscriptions/resourceGroups"}, "then": {"effect": "deny"}}}});
    w.ok("PUT", &definition, rule).await;
    w.ok("PUT", &w.auth(&mg("top"), "policyAssignments", "a"), json!({"properties": {"policyDefinitionId": definition}})).await;
    let error = w.refused("PUT", &w.group("rg"), json!({"location": "francecentral"}), "RequestDisallowedByPolicy").await;
    assert_eq!(error["additionalInfo"][0]["info"]["policyAssignmentScope"], mg("top"));

    // no loops, no deletion of what is not empty
    w.refused("PATCH", &mg("top"), json!({"parentGroupId": mg("team")}), "BadRequest").await;
    w.refused("DELETE", &mg("team"), Value::Null, "GroupNotEmpty").await;
    w.refused("PUT", &mg("x"), json!({"properties": {"details": {"parent": {"id": mg("none")}}}}), "NotFound").await;
    let back = w.admin("DELETE", &inside, Value::Null).await;
    assert_eq!(back.status, 204, "{}", back.text());
    assert_eq!(w.call(&w.client, "GET", &w.sub(), Value::Null).await.status, 403);
    w.put_group("rg", json!({})).await;
    w.ok("DELETE", &mg("team"), Value::Null).await;
    // what is made anew under a name inherits nothing of the old
    w.ok("DELETE", &mg("top"), Value::Null).await;
    w.ok("PUT", &mg("top"), json!({})).await;
    assert_eq!(w.call(&w.client, "GET", &mg("top"), Value::Null).await.status, 403);

    // the Global Administrator takes over the root
    assert_eq!(w.call(&w.client, "POST", "/providers/Microsoft.Authorization/elevateAccess", Value::Null).await.status, 403);
    w.refused(
        "PUT",
        &w.auth("", "roleAssignments", &w.guid()),
        json!({"properties": {"roleDefinitionId": role("Reader"), "principalId": w.client}}),
        "AuthorizationFailed",
    )
    .await;
    w.ok("POST", "/providers/Microsoft.Authorization/elevateAccess", Value::Null).await;
    w.assign("", role("Reader"), &w.client, json!({})).await;
    assert_eq!(w.call(&w.client, "GET", &w.sub(), Value::Null).await.status, 200);
    w.audit().await;
}

#[tokio::test]
async fn policies_refuse_change_and_note() {
    let w = world(106).await;
    let built_in = |name: &str| format!("/providers/Microsoft.Authorization/policyDefinitions/{name}");
    let assignment = |name: &str| w.auth(&w.sub(), "policyAssignments", name);
    let assign = |definition: String, parameters: Value| json!({"properties": {"policyDefinitionId": definition, "displayName": "Assigned", "parameters": parameters}});
    w.put_group("rg", json!({"CostCenter": "42"})).await;

    // deny, with the reason; the record has the refusal, and nothing was stored
    let locations = built_in("e56962a6-4747-49cd-b67b-bf8b01975c4c");
    w.refused("PUT", &assignment("loc"), assign(locations.clone(), json!({})), "MissingPolicyParameter").await;
    w.ok("PUT", &assignment("loc"), assign(locations.clone(), json!({"listOfAllowedLocations": {"value": ["westeurope"]}}))).await;
    let answer = w.put_account("rg", "acct", json!({})).await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    let error = &answer.json()["error"];
    assert_eq!((&error["code"], &error["target"]), (&json!("RequestDisallowedByPolicy"), &json!("acct")));
    let info = &error["additionalInfo"][0]["info"];
    assert_eq!(
        (&info["policyAssignmentId"], &info["policyDefinitionDisplayName"]),
        (&json!(assignment("loc")), &json!("Allowed locations"))
    );
    assert_eq!(w.admin("GET", &w.account("rg", "acct"), Value::Null).await.status, 404);

    // not where it does not reach, not where it is not enforced, not where somebody is exempt
    let mut spared = assign(locations.clone(), json!({"listOfAllowedLocations": {"value": ["westeurope"]}}));
    spared["properties"]["notScopes"] = json!([w.group("rg")]);
    w.ok("PUT", &assignment("loc"), spared.clone()).await;
    assert_eq!(w.put_account("rg", "spared", json!({})).await.status, 200);
    spared["properties"]["notScopes"] = json!([]);
    spared["properties"]["enforcementMode"] = json!("DoNotEnforce");
    w.ok("PUT", &assignment("loc"), spared.clone()).await;
    assert_eq!(w.put_account("rg", "noted", json!({})).await.status, 200);
    spared["properties"]["enforcementMode"] = json!("Default");
    w.ok("PUT", &assignment("loc"), spared).await;
    let exemption = w.auth(&w.account("rg", "noted"), "policyExemptions", "e");
    let exempt = |expires: &str| json!({"properties": {"policyAssignmentId": assignment("loc"), "exemptionCategory": "Waiver", "expiresOn": expires}});
    w.ok("PUT", &exemption, exempt("2999-01-01T00:00:00Z")).await;
    assert_eq!(w.put_account("rg", "noted", json!({"minimumTlsVersion": "TLS1_2"})).await.status, 200);

    for (filter, count) in [("", 1), ("?$filter=atScope()", 0), ("?$filter=atExactScope()", 0)] {
        let list = format!("{}{filter}", w.auth(&w.group("rg"), "policyExemptions", "").trim_end_matches('/'));
        assert_eq!(w.ok("GET", &list, Value::Null).await["value"].as_array().unwrap().len(), count, "{filter}");
    }
    // the state of compliance is what is there now
    let states = format!("{}/providers/Microsoft.PolicyInsights/policyStates/latest", w.sub());
    let query = w.ok("POST", &format!("{states}/queryResults?$filter=complianceState ne 'Compliant'"), Value::Null).await;
    let found: Vec<(&str, &str)> = query["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| (v["resourceId"].as_str().unwrap().rsplit('/').next().unwrap(), v["complianceState"].as_str().unwrap()))
        .collect();
    assert_eq!(found, [("noted", "Exempt"), ("spared", "NonCompliant")]);
    let summary = w.ok("POST", &format!("{states}/summarize"), Value::Null).await;
    assert_eq!(summary["value"][0]["results"]["nonCompliantResources"], 1);
    w.ok("PUT", &exemption, exempt("2000-01-01T00:00:00Z")).await;
    assert_eq!(w.put_account("rg", "noted", json!({})).await.status, 403);
    w.ok("DELETE", &assignment("loc"), Value::Null).await;
    assert_eq!(w.put_account("rg", "noted", json!({})).await.status, 200);

    // modify: tags come from the group, in a PUT, a PATCH and through the tags themselves
    w.ok("PUT", &assignment("tag"), assign(built_in("cd3aa116-8754-49c9-a813-ad46512ece54"), json!({"tagName": {"value": "CostCenter"}})))
        .await;
    assert_eq!(w.put_account("rg", "tagged", json!({})).await.status, 200);
    assert_eq!(w.ok("GET", &w.account("rg", "tagged"), Value::Null).await["tags"], json!({"CostCenter": "42"}));
    w.ok("PATCH", &w.account("rg", "tagged"), json!({"tags": {"CostCenter": "wrong"}})).await;
    assert_eq!(w.ok("GET", &w.account("rg", "tagged"), Value::Null).await["tags"], json!({"CostCenter": "42"}));
    let tags = format!("{}/providers/Microsoft.Resources/tags/default", w.account("rg", "tagged"));
    assert_eq!(
        w.ok("PUT", &tags, json!({"properties": {"tags": {"x": "y"}}})).await["properties"]["tags"],
        json!({"x": "y", "CostCenter": "42"})
    );
    w.ok("DELETE", &assignment("tag"), Value::Null).await;

    // append to the properties of a resource; a deny that sees them
    let secure = w.auth(&w.sub(), "policyDefinitions", "tls");
    let rule = |effect: Value| json!({"properties": {"mode": "Indexed", "displayName": "TLS", "policyRule": {"if": {"field": "type", "equals": "Microsoft.Storage/storageAccounts"}, "then": effect}}});
    w.ok(
        "PUT",
        &secure,
        rule(json!({"effect": "append", "details": [{"field": "Microsoft.Storage/storageAccounts/minimumTlsVersion", "value": "TLS1_2"}]})),
    )
    .await;
    w.ok("PUT", &assignment("tls"), assign(secure.clone(), json!({}))).await;
    assert_eq!(w.put_account("rg", "secure", json!({})).await.status, 200);
    assert_eq!(w.ok("GET", &w.account("rg", "secure"), Value::Null).await["properties"]["minimumTlsVersion"], "TLS1_2");
    assert_eq!(
        w.put_account("rg", "secure2", json!({"minimumTlsVersion": "TLS1_0"})).await.json()["error"]["code"],
        "RequestDisallowedByPolicy"
    );
    // a changed definition holds at once; one in use is not deleted
    w.ok("PUT", &secure, rule(json!({"effect": "audit"}))).await;
    assert_eq!(w.put_account("rg", "secure2", json!({"minimumTlsVersion": "TLS1_1"})).await.status, 200);
    w.refused("DELETE", &secure, Value::Null, "PolicyDefinitionInUse").await;

    // denyAction
    let keep = built_in("78460a36-508a-49a4-b2b2-2f5ec564f4bb");
    let parameters = json!({"listOfResourceTypesDisallowedForDeletion": {"value": ["Microsoft.Storage/storageAccounts"]}});
    w.ok("PUT", &assignment("keep"), assign(keep, parameters)).await;
    w.refused("DELETE", &w.account("rg", "secure"), Value::Null, "RequestDisallowedByPolicy").await;
    // nor with its group
    w.refused("DELETE", &w.group("rg"), Value::Null, "RequestDisallowedByPolicy").await;
    w.ok("DELETE", &assignment("keep"), Value::Null).await;
    assert!(w.admin("DELETE", &w.account("rg", "secure"), Value::Null).await.status < 300);

    // role assignments are judged too
    let users = built_in("b1e00000-0000-4000-8000-000000000001");
    w.ok("PUT", &assignment("users"), assign(users, json!({"effect": {"value": "Deny"}}))).await;
    let grant = json!({"properties": {"roleDefinitionId": role("Reader"), "principalId": w.admin}});
    w.refused("PUT", &w.auth(&w.group("rg"), "roleAssignments", &w.guid()), grant, "RequestDisallowedByPolicy").await;
    w.assign(&w.group("rg"), role("Reader"), &w.client, json!({})).await;
    w.audit().await;
}

#[tokio::test]
async fn policy_objects_are_kept_listed_and_refused() {
    let w = world(107).await;
    let set = w.auth(&w.sub(), "policySetDefinitions", "both");
    let definition = w.auth(&w.sub(), "policyDefinitions", "one");
    let rule = json!({"properties": {"mode": "All", "parameters": {"n": {"type": "String"}}, "policyRule": {"if": {"field": "name", "equals": "[parameters('n')]"}, "then": {"effect": "deny"}}}});
    let made = w.ok("PUT", &definition, rule.clone()).await;
    assert_eq!((&made["properties"]["policyType"], &made["id"]), (&json!("Custom"), &json!(definition)));
    let all = w.ok("GET", w.auth(&w.sub(), "policyDefinitions", "").trim_end_matches('/'), Value::Null).await;
    assert!(all["value"].as_array().unwrap().len() > 20);
    let custom = w
        .ok(
            "GET",
            &format!("{}?$filter=policyType eq 'Custom'", w.auth(&w.sub(), "policyDefinitions", "").trim_end_matches('/')),
            Value::Null,
        )
        .await;
    assert_eq!(custom["value"].as_array().unwrap().len(), 1);

    let body = |parameters: Value| json!({"properties": {"parameters": {"bad": {"type": "String", "defaultValue": "no"}}, "policyDefinitions": [{"policyDefinitionId": definition, "parameters": parameters}]}});
    w.ok("PUT", &set, body(json!({"n": {"value": "[parameters('bad')]"}}))).await;
    w.refused("DELETE", &definition, Value::Null, "PolicyDefinitionInUse").await;
    let assignment = w.auth(&w.sub(), "policyAssignments", "a");
    let assign = |id: &str, more: Value| {
        let mut body = json!({"properties": {"policyDefinitionId": id, "nonComplianceMessages": [{"message": "Not that name."}]}});
        body["properties"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    w.ok("PUT", &assignment, assign(&set, json!({}))).await;
    let error = w.refused("PUT", &w.group("no"), json!({"location": "francecentral"}), "RequestDisallowedByPolicy").await;
    assert_eq!(
        error["message"],
        "Resource 'no' was disallowed by policy. Reasons: 'Not that name.'. See error details for policy resource IDs."
    );
    assert_eq!(error["additionalInfo"][0]["info"]["policyDefinitionReferenceId"], "one_1");
    w.put_group("yes", json!({})).await;
    w.refused("DELETE", &set, Value::Null, "PolicySetDefinitionInUse").await;

    for (bad, code) in [
        (assign("/providers/Microsoft.Authorization/policyDefinitions/none", json!({})), "PolicyDefinitionNotFound"),
        (assign(&set, json!({"parameters": {"x": {"value": 1}}})), "UndefinedPolicyParameter"),
        (assign(&set, json!({"enforcementMode": "Sometimes"})), "InvalidCreatePolicyAssignmentRequest"),
        (assign(&set, json!({"unheardOf": 1})), "InvalidCreatePolicyAssignmentRequest"),
        (assign(&set, json!({"overrides": [{}]})), "NotImplemented"),
        (json!({}), "InvalidCreatePolicyAssignmentRequest"),
    ] {
        w.refused("PUT", &w.auth(&w.sub(), "policyAssignments", "bad"), bad, code).await;
    }
    let bad_rule = json!({"properties": {"policyRule": {"if": {"field": "nonsense", "equals": 1}, "then": {"effect": "deny"}}}});
    w.refused("PUT", &w.auth(&w.sub(), "policyDefinitions", "bad"), bad_rule, "InvalidPolicyRule").await;
    w.refused("PUT", &w.auth(&w.group("yes"), "policyDefinitions", "x"), rule, "InvalidCreatePolicyDefinitionRequest").await;
    let exemption =
        json!({"properties": {"policyAssignmentId": w.auth(&w.sub(), "policyAssignments", "none"), "exemptionCategory": "Waiver"}});
    w.refused("PUT", &w.auth(&w.sub(), "policyExemptions", "e"), exemption, "PolicyAssignmentNotFound").await;
    for id in [&assignment, &set, &definition] {
        w.ok("DELETE", id, Value::Null).await;
        assert_eq!(w.admin("DELETE", id, Value::Null).await.status, 204);
    }
    assert_eq!(w.call(&w.client, "PUT", &definition, json!({})).await.status, 403);
    w.audit().await;
}
