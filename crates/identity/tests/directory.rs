//! The directory as Graph's clients use it: queries, pages, batches, relations, consent.

use base::{Location, TenantId};
use crypto::SecretBytes;
use identity::{AZ_CLIENT, GLOBAL_ADMINISTRATOR, Graph, Login, Seed, Seeded, seed, verify_bearer};
use serde_json::{Value, json};
use service::Service;
use std::sync::Arc;
use testkit::{Answer, Kit, Setup};
use trust::{Ask, Facts, Rules, Verdict};

const PASSWORD: &str = "correct horse battery";
const GRAPH: &str = "https://graph.bleu.localhost";

/// The directory part of the real rules: everybody reads, the role of the seed writes.
struct DirectoryRules;

impl Rules for DirectoryRules {
    fn judge(&self, ask: &Ask, facts: &Facts) -> Verdict {
        let reads = ask.actions.iter().all(|a| a.ends_with("/read"));
        let writes = ask.caller.principal().is_some_and(|p| {
            facts.assignments_for(p.object).iter().any(|a| a.role == GLOBAL_ADMINISTRATOR && ask.scope.is_within(&a.scope))
        });
        match reads || writes {
            true => Verdict::Allow { because: "test".into() },
            false => Verdict::Refuse(base::Error::new(base::Kind::Forbidden, "AuthorizationFailed", "No.")),
        }
    }
}

struct World {
    kit: Kit,
    contoso: Seeded,
    admin: String,
}

fn tenant() -> TenantId {
    TenantId(uuid::Uuid::from_u128(0xC0))
}

async fn world(number: u64) -> World {
    let graph: Arc<dyn Service> = Arc::new(Graph);
    let login: Arc<dyn Service> = Arc::new(Login::new(std::slice::from_ref(&graph)));
    let setup = Setup::new(number).services(vec![login, graph]).rules(DirectoryRules).bearer(Arc::new(verify_bearer));
    let kit = Kit::start(setup).await;
    let first = Seed {
        tenant: tenant(),
        name: "contoso".into(),
        domain: "contoso.example".into(),
        location: Location::new("francecentral").unwrap(),
        client_name: "first client".into(),
        admin_password: Some(SecretBytes::from(PASSWORD.to_owned())),
        client_secret: None,
    };
    let contoso = seed(&kit.region("identity"), &first).await.unwrap();
    let mut world = World { kit, contoso, admin: String::new() };
    world.admin = world.sign_in("admin@contoso.example", PASSWORD).await.expect("the administrator signs in");
    world
}

impl World {
    /// An access token for Graph, or the refusal.
    async fn sign_in(&self, name: &str, password: &str) -> Result<String, String> {
        let fields = [
            ("grant_type", "password"),
            ("client_id", &AZ_CLIENT.to_string()),
            ("username", name),
            ("password", password),
            ("scope", "https://graph.microsoft.com/.default"),
        ]
        .map(|(n, v)| format!("{n}={}", wire::percent_encode(v, b"")))
        .join("&");
        let url = "https://login.bleu.localhost/organizations/oauth2/v2.0/token";
        let answer = self.kit.call("POST", url, &[("content-type", "application/x-www-form-urlencoded")], fields).await;
        answer.json()["access_token"].as_str().map(str::to_owned).ok_or_else(|| answer.text().to_owned())
    }
    async fn as_caller(&self, token: &str, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut all = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        all.extend_from_slice(headers);
        let path = path.strip_prefix(&format!("{GRAPH}/v1.0")).unwrap_or(path).replace(' ', "%20").replace('"', "%22");
        self.kit.call(method, &format!("{GRAPH}/v1.0{path}"), &all, body).await
    }
    async fn get(&self, path: &str) -> Answer {
        self.as_caller(&self.admin, "GET", path, &[], Value::Null).await
    }
    /// As [`World::get`], for what Graph calls advanced.
    async fn ask(&self, path: &str) -> Answer {
        self.as_caller(&self.admin, "GET", path, &[("consistencylevel", "eventual")], Value::Null).await
    }
    async fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        self.as_caller(&self.admin, method, path, &[], body).await
    }
    /// Makes something and gives its id.
    async fn made(&self, path: &str, body: Value) -> String {
        let answer = self.send("POST", path, body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }
    async fn user(&self, name: &str, more: Value) -> String {
        let mut body = json!({"accountEnabled": true, "displayName": name, "mailNickname": name, "userPrincipalName": format!("{name}@contoso.example"), "passwordProfile": {"password": "a long enough one", "forceChangePasswordNextSignIn": false}});
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.made("/users", body).await
    }
    async fn group(&self, name: &str) -> String {
        self.made("/groups", json!({"displayName": name, "mailNickname": name, "mailEnabled": false, "securityEnabled": true})).await
    }
    async fn application(&self, name: &str, more: Value) -> (String, String, String) {
        let mut body = json!({ "displayName": name });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let app = self.send("POST", "/applications", body).await.json();
        let app_id = app["appId"].as_str().unwrap().to_owned();
        let principal = self.made("/servicePrincipals", json!({ "appId": app_id })).await;
        (app["id"].as_str().unwrap().to_owned(), app_id, principal)
    }
    async fn join(&self, group: &str, member: &str) {
        let answer = self.send("POST", &format!("/groups/{group}/members/$ref"), reference(member)).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    /// What a list shows of a property, sorted.
    async fn listed(&self, path: &str, property: &str) -> Vec<String> {
        let answer = self.ask(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let mut all = column(&answer.json(), property);
        all.sort();
        all
    }
}

fn column(listing: &Value, property: &str) -> Vec<String> {
    listing["value"].as_array().unwrap().iter().map(|o| o[property].as_str().unwrap_or("-").to_owned()).collect()
}

fn reference(id: &str) -> Value {
    json!({"@odata.id": format!("{GRAPH}/v1.0/directoryObjects/{id}")})
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn lists_answer_what_graph_answers() {
    let w = world(101).await;
    for (name, department) in [("anna", "Sales"), ("berta", "Research"), ("carla", "Sales")] {
        w.user(name, json!({ "department": department, "mail": format!("{name}@mail.example") })).await;
    }
    for (question, found) in [
        ("$filter=department eq 'sales'", vec!["anna", "carla"]),
        ("$filter=displayName in ('anna','berta','nobody')", vec!["anna", "berta"]),
        ("$filter=startsWith(displayName,'B') or mail eq 'carla@mail.example'", vec!["berta", "carla"]),
        ("$filter=department ne 'Sales' and department ne null&$count=true", vec!["berta"]),
        ("$filter=endsWith(mail,'a@mail.example') and not(displayName eq 'anna')&$count=true", vec!["berta", "carla"]),
        ("$search=\"displayName:ann\"", vec!["anna"]),
        ("$search=\"displayName:ann\" OR \"mail:berta\"", vec!["anna", "berta"]),
        ("$filter=createdDateTime ge 2000-01-01T00:00:00Z and department eq 'Sales'", vec!["anna", "carla"]),
        ("$filter=createdDateTime ge 2100-01-01T00:00:00Z", vec![]),
    ] {
        assert_eq!(w.listed(&format!("/users?{question}"), "displayName").await, found, "{question}");
    }
    let ordered = w.get("/users?$orderby=displayName desc&$select=displayName&$top=3").await.json();
    assert_eq!(column(&ordered, "displayName"), ["carla", "berta", "anna"]);
    let rest = w.get(ordered["@odata.nextLink"].as_str().unwrap()).await.json();
    assert_eq!((column(&rest, "displayName"), rest.get("@odata.nextLink")), (vec!["Administrator".to_owned()], None));
    let counted = w.ask("/users?$count=true&$top=1").await.json();
    assert_eq!((counted["@odata.count"].as_u64(), counted["value"].as_array().unwrap().len()), (Some(4), 1));
    let number = w.ask("/users/$count?$filter=department eq 'Sales'").await;
    assert_eq!((number.text(), number.header("content-type")), ("2", "text/plain; charset=utf-8"));
    let shown = w.get("/users?$select=displayName,jobTitle,assignedLicenses&$filter=displayName eq 'anna'").await.json();
    assert_eq!((&shown["value"][0]["jobTitle"], &shown["value"][0]["assignedLicenses"]), (&Value::Null, &json!([])));
    for (question, wrong) in [
        ("$filter=contains(displayName,'a')", "Request_UnsupportedQuery"),
        ("$filter=displayName gt 'a'", "Request_UnsupportedQuery"),
        ("$filter=displayName ne 'a'", "Request_UnsupportedQuery"),
        ("$search=\"displayName:a\"", "Request_UnsupportedQuery"),
        ("$filter=displayName eq 'a'&$orderby=displayName", "Request_UnsupportedQuery"),
        ("$expand=manager,memberOf", "Request_UnsupportedQuery"),
        ("$filter=displayName eq", "Request_BadRequest"),
        ("$filter=godMode eq true", "Request_BadRequest"),
        ("$orderby=godMode", "Request_BadRequest"),
        ("$expand=friends", "Request_BadRequest"),
        ("$top=0", "Request_BadRequest"),
        ("$skiptoken=x", "Request_BadRequest"),
    ] {
        assert_eq!(code(&w.get(&format!("/users?{question}")).await), (400, wrong.into()), "{question}");
    }
    assert_eq!(code(&w.get("/users/$count").await), (400, "Request_UnsupportedQuery".into()));
    assert_eq!(w.get("/users?$skip=1").await.status, 501);
    w.kit.audit(Some(tenant())).await;
}

#[tokio::test]
async fn objects_lead_to_each_other() {
    let w = world(102).await;
    let (anna, berta) = (w.user("anna", Value::Null).await, w.user("berta", Value::Null).await);
    let (inner, outer) = (w.group("inner").await, w.group("outer").await);
    w.join(&inner, &anna).await;
    w.join(&outer, &inner).await;
    w.join(&outer, &berta).await;
    for (path, found) in [
        (format!("/groups/{outer}/members"), vec!["berta", "inner"]),
        (format!("/groups/{outer}/members/microsoft.graph.user"), vec!["berta"]),
        (format!("/groups/{outer}/transitiveMembers"), vec!["anna", "berta", "inner"]),
        (format!("/groups/{outer}/transitiveMembers/microsoft.graph.user?$filter=startswith(displayName,'a')"), vec!["anna"]),
        (format!("/users/{anna}/memberOf"), vec!["inner"]),
        ("/users/anna@contoso.example/transitiveMemberOf/microsoft.graph.group".into(), vec!["inner", "outer"]),
        (format!("/groups/{inner}/memberOf"), vec!["outer"]),
        ("/me/memberOf".into(), vec![]),
    ] {
        assert_eq!(w.listed(&path, "displayName").await, found, "{path}");
    }
    assert_eq!(w.ask(&format!("/groups/{outer}/transitiveMembers/$count")).await.text(), "3");
    let page = w.get(&format!("/groups/{outer}/members?$top=1")).await.json();
    let rest = w.get(page["@odata.nextLink"].as_str().unwrap()).await.json();
    assert_eq!(
        (page["value"].as_array().unwrap().len(), rest["value"].as_array().unwrap().len(), rest.get("@odata.nextLink")),
        (1, 1, None)
    );
    let expanded = w.get(&format!("/groups/{inner}?$expand=members($select=displayName)&$select=displayName")).await.json();
    assert_eq!(expanded["members"], json!([{"@odata.type": "#microsoft.graph.user", "id": anna, "displayName": "anna"}]));
    let check = w.send("POST", &format!("/users/{anna}/checkMemberGroups"), json!({"groupIds": [outer, berta]})).await.json();
    assert_eq!(check["value"], json!([outer]));
    assert_eq!(w.get(&format!("/groups/{outer}/members/microsoft.graph.planet")).await.status, 400);

    // managers: one each, and no circle
    let manager = format!("/users/{anna}/manager/$ref");
    assert_eq!(w.get(&format!("/users/{anna}/manager")).await.status, 404);
    assert_eq!(w.send("PUT", &manager, reference(&w.contoso.admin.to_string())).await.status, 204);
    assert_eq!(w.send("PUT", &manager, reference(&berta)).await.status, 204);
    assert_eq!(w.get(&format!("/users/{anna}/manager")).await.json()["displayName"], "berta");
    assert_eq!(w.listed(&format!("/users/{berta}/directReports"), "displayName").await, ["anna"]);
    assert!(w.listed("/me/directReports", "displayName").await.is_empty());
    assert_eq!(
        w.get("/users?$expand=manager($select=displayName)&$filter=displayName eq 'anna'").await.json()["value"][0]["manager"]["displayName"],
        "berta"
    );
    for bad in [&anna, &inner] {
        assert_eq!(w.send("PUT", &format!("/users/{berta}/manager/$ref"), reference(bad)).await.status, 400, "{bad}");
    }
    assert_eq!(w.send("PUT", &format!("/users/{berta}/manager/$ref"), json!({})).await.status, 400);
    assert_eq!(w.send("DELETE", &manager, Value::Null).await.status, 204);
    assert_eq!(w.send("DELETE", &manager, Value::Null).await.status, 404);

    // owners
    let (app, _, principal) = w.application("robot", Value::Null).await;
    for at in [format!("/groups/{outer}"), format!("/applications/{app}"), format!("/servicePrincipals/{principal}")] {
        let owners = format!("{at}/owners/$ref");
        assert_eq!(w.send("POST", &owners, reference(&anna)).await.status, 204, "{at}");
        assert_eq!(w.send("POST", &owners, reference(&anna)).await.status, 400, "twice at {at}");
        assert_eq!(w.send("POST", &owners, reference(&inner)).await.status, 400, "a group at {at}");
        assert!(w.listed(&format!("{at}/owners"), "displayName").await.contains(&"anna".to_owned()));
        let berta_token = w.sign_in("berta@contoso.example", "a long enough one").await.unwrap();
        assert_eq!(w.as_caller(&berta_token, "POST", &owners, &[], reference(&berta)).await.status, 403, "{at}");
    }
    assert_eq!(w.listed(&format!("/users/{anna}/ownedObjects"), "displayName").await, ["outer", "robot", "robot"]);
    let gone = format!("/applications/{app}/owners/{anna}/$ref");
    assert_eq!((w.send("DELETE", &gone, Value::Null).await.status, w.send("DELETE", &gone, Value::Null).await.status), (204, 404));
    w.kit.audit(Some(tenant())).await;
}

#[tokio::test]
async fn consent_and_roles_of_applications_are_kept() {
    let w = world(103).await;
    let role = "11111111-2222-4333-8444-555555555555";
    let roles = json!([{"id": role, "value": "Reader", "displayName": "Reader", "description": "Reads", "isEnabled": true, "allowedMemberTypes": ["User"]}]);
    let (_, _, api) = w.application("api", json!({ "appRoles": roles })).await;
    let (robot, _, client) = w.application("robot", Value::Null).await;
    let anna = w.user("anna", Value::Null).await;
    let give = |principal: &str, role: &str| json!({"principalId": principal, "resourceId": api, "appRoleId": role});
    let to = format!("/servicePrincipals/{api}/appRoleAssignedTo");
    let id = w.made(&to, give(&anna, role)).await;
    for (bad, status) in [
        (give(&anna, role), 400),
        (give(&client, role), 400),
        (give(&anna, "99999999-2222-4333-8444-555555555555"), 400),
        (give("99999999-2222-4333-8444-555555555555", role), 404),
        (json!({"principalId": anna, "resourceId": client, "appRoleId": role}), 400),
        (json!({"principalId": anna, "resourceId": api}), 400),
        (json!({"principalId": anna, "resourceId": api, "appRoleId": role, "x": "y"}), 400),
    ] {
        assert_eq!(w.send("POST", &to, bad.clone()).await.status, status, "{bad}");
    }
    let of = w.get(&format!("/users/{anna}/appRoleAssignments")).await.json();
    assert_eq!(
        (&of["value"][0]["id"], &of["value"][0]["resourceDisplayName"], &of["value"][0]["principalType"]),
        (&json!(id), &json!("api"), &json!("User"))
    );
    let expanded = w.get(&format!("/users/{anna}?$expand=appRoleAssignments")).await.json();
    assert_eq!(expanded["appRoleAssignments"][0]["appRoleId"], role);
    assert_eq!(w.send("DELETE", &format!("{to}/{id}"), Value::Null).await.status, 204);
    assert_eq!(w.get(&format!("/users/{anna}/appRoleAssignments")).await.json()["value"], json!([]));

    let consent = json!({"clientId": client, "resourceId": api, "consentType": "AllPrincipals", "scope": "read"});
    let id = w.made("/oauth2PermissionGrants", consent.clone()).await;
    assert_eq!(code(&w.send("POST", "/oauth2PermissionGrants", consent.clone()).await).0, 409);
    for (name, value) in
        [("clientId", json!(anna)), ("consentType", json!("Nobody")), ("principalId", json!(anna)), ("resourceId", json!("x"))]
    {
        let mut bad = consent.clone();
        bad[name] = value;
        assert_eq!(w.send("POST", "/oauth2PermissionGrants", bad).await.status, 400, "{name}");
    }
    assert_eq!(w.send("PATCH", &format!("/oauth2PermissionGrants/{id}"), json!({"scope": "read write"})).await.status, 204);
    assert_eq!(w.get(&format!("/oauth2PermissionGrants/{id}")).await.json()["scope"], "read write");
    assert_eq!(w.listed(&format!("/oauth2PermissionGrants?$filter=clientId eq '{client}'"), "id").await, std::slice::from_ref(&id));
    assert_eq!(w.listed(&format!("/servicePrincipals/{client}/oauth2PermissionGrants"), "id").await, std::slice::from_ref(&id));
    assert!(w.listed(&format!("/users/{anna}/oauth2PermissionGrants"), "id").await.is_empty());
    assert_eq!(w.send("DELETE", &format!("/oauth2PermissionGrants/{id}"), Value::Null).await.status, 204);
    assert_eq!(w.get(&format!("/oauth2PermissionGrants/{id}")).await.status, 404);

    let at = format!("/applications/{robot}/federatedIdentityCredentials");
    let federation =
        json!({"name": "ci", "issuer": "https://ci.example", "subject": "repo:a/b", "audiences": ["api://AzureADTokenExchange"]});
    let id = w.made(&at, federation.clone()).await;
    assert_eq!(code(&w.send("POST", &at, federation.clone()).await).0, 409);
    assert_eq!(w.send("PATCH", &format!("{at}/{id}"), json!({"subject": "repo:a/c"})).await.status, 204);
    assert_eq!(w.get(&format!("{at}/ci")).await.json()["subject"], "repo:a/c");
    assert_eq!(w.send("DELETE", &format!("{at}/{id}"), Value::Null).await.status, 204);
    assert_eq!(w.listed(&at, "name").await, Vec::<String>::new());
    w.kit.audit(Some(tenant())).await;
}

#[tokio::test]
async fn a_batch_is_its_requests() {
    let w = world(104).await;
    let post = |id: &str, url: &str, body: Value, after: &[&str]| json!({"id": id, "method": "POST", "url": url, "headers": {"Content-Type": "application/json"}, "body": body, "dependsOn": after});
    let group = json!({"displayName": "g", "mailNickname": "g", "mailEnabled": false, "securityEnabled": true});
    let batch = json!({"requests": [
        post("1", "/groups", group.clone(), &[]),
        {"id": "2", "method": "GET", "url": "/groups?$filter=displayName eq 'g'&$select=displayName", "dependsOn": ["1"]},
        post("3", "/groups", json!({"displayName": ""}), &[]),
        {"id": "4", "method": "GET", "url": "/me", "dependsOn": ["3"]},
        {"id": "5", "method": "GET", "url": "/users/$count", "headers": {"ConsistencyLevel": "eventual"}},
        {"id": "6", "method": "GET", "url": "/nothing/here"},
    ]});
    let answer = w.send("POST", "/$batch", batch.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let all = answer.json()["responses"].as_array().unwrap().clone();
    let status: Vec<u64> = all.iter().map(|r| r["status"].as_u64().unwrap()).collect();
    assert_eq!(status, [201, 200, 400, 424, 200, 501], "{}", answer.text());
    assert_eq!(all[1]["body"]["value"][0]["displayName"], "g");
    assert_eq!(all[4]["body"], json!(1));
    assert!(all[0]["headers"]["x-bleu-entry"].is_string(), "each request has its entry");
    // nobody gets a right by asking in a batch
    w.user("anna", Value::Null).await;
    let anna = w.sign_in("anna@contoso.example", "a long enough one").await.unwrap();
    let answer = w.as_caller(&anna, "POST", "/$batch", &[], json!({"requests": [post("1", "/groups", group, &[]), {"id": "2", "method": "GET", "url": "/me", "headers": {"Authorization": format!("Bearer {}", w.admin)}}]})).await.json();
    assert_eq!(
        (&answer["responses"][0]["status"], &answer["responses"][0]["body"]["error"]["code"]),
        (&json!(403), &json!("Authorization_RequestDenied"))
    );
    assert_eq!(answer["responses"][1]["body"]["displayName"], "anna");
    assert_eq!(w.send("POST", "/$batch", json!({"requests": []})).await.status, 400);
    w.kit.audit(Some(tenant())).await;
}

#[tokio::test]
async fn what_is_deleted_comes_back_or_is_gone_for_good() {
    let w = world(105).await;
    let anna = w.user("anna", json!({"jobTitle": "Pilot"})).await;
    let (kept, dropped) = (w.group("kept").await, w.group("dropped").await);
    w.join(&kept, &anna).await;
    w.join(&dropped, &anna).await;
    let token = w.sign_in("anna@contoso.example", "a long enough one").await.unwrap();
    assert_eq!(w.send("DELETE", &format!("/users/{anna}"), Value::Null).await.status, 204);
    assert_eq!(w.get(&format!("/users/{anna}")).await.status, 404);
    assert!(w.sign_in("anna@contoso.example", "a long enough one").await.is_err());
    assert_eq!(w.as_caller(&token, "GET", "/me", &[], Value::Null).await.status, 401);
    assert!(w.listed(&format!("/groups/{kept}/members"), "id").await.is_empty());
    let listed = w.get("/directory/deletedItems/microsoft.graph.user").await.json();
    assert_eq!((&listed["value"][0]["id"], listed["value"][0]["deletedDateTime"].is_string()), (&json!(anna), true));
    assert_eq!(w.get(&format!("/directory/deletedItems/{anna}")).await.json()["jobTitle"], "Pilot");
    assert_eq!(w.send("DELETE", &format!("/groups/{dropped}"), Value::Null).await.status, 204);

    // back, with what was: its groups that are left, its password, nothing of its tokens
    w.kit.clock.advance_seconds(2);
    let restore = format!("/directory/deletedItems/{anna}/restore");
    let back = w.send("POST", &restore, Value::Null).await;
    assert_eq!((back.status, &back.json()["displayName"]), (200, &json!("anna")), "{}", back.text());
    assert_eq!(w.send("POST", &restore, Value::Null).await.status, 404);
    assert_eq!(w.listed(&format!("/users/{anna}/memberOf"), "displayName").await, ["kept"]);
    assert_eq!(w.as_caller(&token, "GET", "/me", &[], Value::Null).await.status, 401);
    assert!(w.sign_in("anna@contoso.example", "a long enough one").await.is_ok());

    // the name may be another's meanwhile
    assert_eq!(w.send("DELETE", &format!("/users/{anna}"), Value::Null).await.status, 204);
    let other = w.user("anna", Value::Null).await;
    assert_eq!(w.send("POST", &restore, Value::Null).await.status, 409);
    assert_eq!(w.send("DELETE", &format!("/users/{other}"), Value::Null).await.status, 204);
    let reader = w.user("reader", Value::Null).await;
    let reader_token = w.sign_in("reader@contoso.example", "a long enough one").await.unwrap();
    for (method, path) in [("POST", restore.clone()), ("DELETE", format!("/directory/deletedItems/{anna}"))] {
        assert_eq!(w.as_caller(&reader_token, method, &path, &[], Value::Null).await.status, 403);
    }
    assert_eq!(w.send("DELETE", &format!("/directory/deletedItems/{anna}"), Value::Null).await.status, 204);
    assert_eq!(w.send("POST", &restore, Value::Null).await.status, 404);
    // thirty days are the end for the other one
    w.kit.clock.advance_seconds(30 * 86_400);
    let admin = w.sign_in("admin@contoso.example", PASSWORD).await.unwrap();
    let late = w.as_caller(&admin, "POST", &format!("/directory/deletedItems/{other}/restore"), &[], Value::Null).await;
    assert_eq!(late.status, 404);
    assert_eq!(w.as_caller(&admin, "GET", &format!("/users/{reader}"), &[], Value::Null).await.status, 200);

    // an application and its principal, each by itself
    let w = World { admin, ..w };
    let (app, app_id, principal) = w.application("robot", Value::Null).await;
    let secret =
        w.send("POST", &format!("/applications/{app}/addPassword"), json!({})).await.json()["secretText"].as_str().unwrap().to_owned();
    let sign_in = || async {
        let fields = format!(
            "grant_type=client_credentials&client_id={app_id}&client_secret={}&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default",
            wire::percent_encode(&secret, b"")
        );
        w.kit
            .call(
                "POST",
                "https://login.bleu.localhost/adfs/oauth2/token/",
                &[("content-type", "application/x-www-form-urlencoded")],
                fields,
            )
            .await
            .status
    };
    assert_eq!(sign_in().await, 200);
    assert_eq!(w.send("DELETE", &format!("/applications/{app}"), Value::Null).await.status, 204);
    assert_eq!(sign_in().await, 400);
    let principal_back = format!("/directory/deletedItems/{principal}/restore");
    assert_eq!(w.send("POST", &principal_back, Value::Null).await.status, 400, "not before its application");
    assert_eq!(w.send("POST", &format!("/directory/deletedItems/{app}/restore"), Value::Null).await.status, 200);
    assert_eq!(sign_in().await, 400, "an application without a principal");
    assert_eq!(w.send("POST", &principal_back, Value::Null).await.status, 200);
    assert_eq!(sign_in().await, 200);
    w.kit.audit(Some(tenant())).await;
}

#[tokio::test]
async fn changes_are_told_once_and_never_missed() {
    let w = world(106).await;
    let anna = w.user("anna", Value::Null).await;
    let group = w.group("g").await;
    w.join(&group, &anna).await;
    let link = |answer: &Value| answer["@odata.deltaLink"].as_str().unwrap().to_owned();
    let first = w.get("/users/delta?$select=displayName").await.json();
    assert_eq!(first["value"].as_array().unwrap().len(), 2);
    let quiet = w.get(&link(&first)).await.json();
    assert_eq!(quiet["value"], json!([]));
    let berta = w.user("berta", Value::Null).await;
    assert_eq!(w.send("PATCH", &format!("/users/{anna}"), json!({"displayName": "Anna Maria"})).await.status, 204);
    let changed = w.get(&link(&quiet)).await.json();
    let mut names = column(&changed, "displayName");
    names.sort();
    assert_eq!(names, ["Anna Maria", "berta"]);
    assert_eq!(w.send("DELETE", &format!("/users/{berta}"), Value::Null).await.status, 204);
    let gone = w.get(&link(&changed)).await.json();
    assert_eq!(gone["value"], json!([{"id": berta, "@removed": {"reason": "changed"}}]));
    assert_eq!(w.send("DELETE", &format!("/directory/deletedItems/{berta}"), Value::Null).await.status, 204);
    let gone = w.get(&link(&gone)).await.json();
    assert_eq!(gone["value"], json!([{"id": berta, "@removed": {"reason": "deleted"}}]));
    // a new reader does not hear of those that it never knew
    assert_eq!(w.get("/users/delta").await.json()["value"].as_array().unwrap().len(), 2);
    assert_eq!(w.get("/users/delta?$deltatoken=latest").await.json()["value"], json!([]));

    let groups = w.get("/groups/delta").await.json();
    assert_eq!(groups["value"][0]["members@delta"], json!([{"id": anna}]));
    assert_eq!(w.send("DELETE", &format!("/groups/{group}/members/{anna}/$ref"), Value::Null).await.status, 204);
    let left = w.get(&link(&groups)).await.json();
    assert_eq!(left["value"][0]["members@delta"], json!([{"id": anna, "@removed": {"reason": "deleted"}}]));
    assert_eq!(w.send("DELETE", &format!("/groups/{group}"), Value::Null).await.status, 204);
    let left = w.get(&link(&left)).await.json();
    assert_eq!(left["value"], json!([{"id": group, "@removed": {"reason": "deleted"}}]));
    for bad in ["/users/delta?$deltatoken=x", "/users/delta?$skiptoken=1.2.3"] {
        assert_eq!(w.get(bad).await.status, 400, "{bad}");
    }
    assert_eq!(w.get("/users/delta?$filter=id eq '1'").await.status, 501);

    // many, in pages
    for number in 0..205 {
        let body = json!({"displayName": format!("g{number}"), "mailNickname": "g", "mailEnabled": false, "securityEnabled": true});
        assert_eq!(w.send("POST", "/groups", body).await.status, 201);
    }
    let page = w.get(&link(&left)).await.json();
    assert_eq!(page["value"].as_array().unwrap().len(), 200);
    let meanwhile = w.group("meanwhile").await;
    let rest = w.get(page["@odata.nextLink"].as_str().unwrap()).await.json();
    let last = w.get(&link(&rest)).await.json();
    let seen = |page: &Value| column(page, "id");
    assert!(seen(&last).contains(&meanwhile));
    let old: std::collections::BTreeSet<String> = seen(&page).into_iter().chain(seen(&rest)).filter(|id| *id != meanwhile).collect();
    assert_eq!(old.len(), 205);
    w.kit.audit(Some(tenant())).await;
}

#[tokio::test]
async fn members_follow_from_a_rule() {
    let w = world(107).await;
    let anna = w.user("anna", json!({"department": "Sales", "country": "FR"})).await;
    let berta = w.user("berta", json!({"department": "Research", "country": "FR"})).await;
    let dynamic = |rule: &str| json!({"displayName": "d", "mailNickname": "d", "mailEnabled": false, "securityEnabled": true, "groupTypes": ["DynamicMembership"], "membershipRule": rule, "membershipRuleProcessingState": "On"});
    let group = w.made("/groups", dynamic("user.department -eq \"Sales\" -and user.country -in [\"FR\",\"DE\"]")).await;
    let members = || async { w.listed(&format!("/groups/{group}/members"), "displayName").await };
    assert_eq!(members().await, ["anna"]);
    assert!(w.kit.trust.facts(|f| f.identities(anna.parse().unwrap())).contains(&group.parse().unwrap()), "rules see it");
    // those that come, change and go
    let carla = w.user("carla", json!({"department": "sales", "country": "de"})).await;
    assert_eq!(w.send("PATCH", &format!("/users/{berta}"), json!({"department": "Sales"})).await.status, 204);
    assert_eq!(w.send("PATCH", &format!("/users/{anna}"), json!({"country": "IT"})).await.status, 204);
    assert_eq!(members().await, ["berta", "carla"]);
    assert_eq!(w.send("DELETE", &format!("/users/{carla}"), Value::Null).await.status, 204);
    assert_eq!(members().await, ["berta"]);
    // another rule, while one is deleted: it decides when she comes back
    assert_eq!(
        w.send(
            "PATCH",
            &format!("/groups/{group}"),
            json!({"membershipRule": "user.department -startsWith \"Res\" -or user.country -eq \"IT\""})
        )
        .await
        .status,
        204
    );
    assert_eq!(members().await, ["anna"]);
    assert_eq!(w.send("POST", &format!("/directory/deletedItems/{carla}/restore"), Value::Null).await.status, 200);
    assert_eq!(members().await, ["anna"]);
    // nobody else decides
    assert_eq!(w.send("POST", &format!("/groups/{group}/members/$ref"), reference(&berta)).await.status, 400);
    assert_eq!(w.send("DELETE", &format!("/groups/{group}/members/{anna}/$ref"), Value::Null).await.status, 400);
    for bad in [
        dynamic("user.godMode -eq true"),
        dynamic("department"),
        json!({"displayName": "d", "mailNickname": "d", "mailEnabled": false, "securityEnabled": true, "membershipRule": "user.city -eq null"}),
    ] {
        assert_eq!(w.send("POST", "/groups", bad.clone()).await.status, 400, "{bad}");
    }
    assert_eq!(w.send("PATCH", &format!("/groups/{group}"), json!({"displayName": "renamed"})).await.status, 204);
    assert_eq!(w.get(&format!("/groups/{group}")).await.json()["displayName"], "renamed");
    assert_eq!(w.send("DELETE", &format!("/groups/{group}"), Value::Null).await.status, 204);
    assert_eq!(w.send("PATCH", &format!("/users/{berta}"), json!({"country": "IT"})).await.status, 204, "its rule is gone too");
    w.kit.audit(Some(tenant())).await;
}
