//! Every row of every table is called by strangers: no token, an expired one, another tenant's, the wrong audience, too
//! small a role. All are refused, and recorded as the record's weights say.

use crate::client::Client;
use crate::world::{Customer, World};
use base::{ObjectId, ResourceId};
use record::Ended;
use serde_json::json;
use service::{Handler, Operation, When};
use std::collections::HashMap;
use trust::{Assignment, Batch, Fact, Outcome, Permit, PrincipalKind, Weight, Write};

/// Rows that a member of the tenant may read without a role. The list may only shrink.
const MEMBERS: &[&str] = &[
    "Get Organization",
    "List Tenants",
    "List Subscriptions",
    "List Tenant Providers",
    "Get Tenant Provider",
    // lists of what it may read
    "List Management Groups",
    "List Entities",
    "Check Management Group Name",
    // as in Azure, who is of the tenant makes a group of its own, and owns that one
    "Put Management Group",
    "Update Management Group",
    "Delete Management Group",
];

/// A request that fits the row, at what a customer has: sample values for its captures and conditions.
fn request(customer: &Customer, row: &Operation) -> (String, Vec<(&'static str, String)>) {
    let sample = |text: &str| {
        text.replace("{s}", &customer.subscription.to_string())
            .replace("{subscription}", &customer.subscription.to_string())
            .replace("{scope*}", &format!("subscriptions/{}", customer.subscription))
            .replace("{tenant}", &customer.tenant.to_string())
            .replace("{account}", "acct")
            .replace("{id}", &customer.client_object.to_string())
    };
    let mut path = sample(row.path);
    while let Some(at) = path.find('{') {
        let end = path[at..].find('}').unwrap() + at;
        path.replace_range(at..=end, "sample");
    }
    let host = sample(row.door.hosts[0]);
    let (mut query, mut headers) = (vec!["api-version=2024-11-01".to_owned()], Vec::new());
    if row.door.data {
        query.clear();
        headers.push(("x-ms-version", "2026-04-06".to_owned()));
    }
    for when in &row.when {
        match when {
            When::QueryIs(name, value) => query.push(format!("{name}={value}")),
            When::QueryPresent(name) => query.push(format!("{name}=1")),
            When::HeaderPresent(name) => headers.push((*name, "https://elsewhere.example/x".to_owned())),
            When::QueryAbsent(_) | When::NamesDirectory => {}
        }
    }
    (format!("https://{host}.bleu.localhost{path}?{}", query.join("&")), headers)
}

async fn call(world: &World, row: &Operation, token: Option<&str>) -> u16 {
    call_at(world, &world.contoso, row, token).await
}

async fn call_at(world: &World, customer: &Customer, row: &Operation, token: Option<&str>) -> u16 {
    let (url, headers) = request(customer, row);
    let bearer = token.map(|t| format!("Bearer {t}"));
    let mut all: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
    all.extend(bearer.as_deref().map(|b| ("authorization", b)));
    let answer = world.kit.call(row.method.as_str(), &url, &all, "{}").await;
    if answer.status >= 400 && row.method != http::Method::HEAD {
        let kind = answer.header("content-type");
        let dialect = if row.door.data { kind.starts_with("application/xml") } else { kind.starts_with("application/json") };
        assert!(dialect, "{row:?} answers {} in {kind:?}", answer.status);
    }
    answer.status
}

fn closed_rows(world: &World) -> Vec<Operation> {
    world.kit.gateway.operations().map(|(_, row)| row.clone()).filter(|r| !matches!(r.handler, Handler::Open(_))).collect()
}

/// A customer's tokens by audience.
struct Tokens(HashMap<&'static str, String>);

impl Tokens {
    async fn of(world: &World, customer: &Customer) -> Tokens {
        let mut all = HashMap::new();
        for audience in ["https://storage.azure.com", "https://graph.bleu.localhost", "https://management.bleu.localhost"] {
            all.insert(audience, world.token(customer, audience).await);
        }
        Tokens(all)
    }
    fn at(&self, row: &Operation) -> &str {
        &self.0[audience(row)]
    }
    /// One for another service.
    fn astray(&self, row: &Operation) -> &str {
        &self.0[if row.door.name == "blob" { "https://management.bleu.localhost" } else { "https://storage.azure.com" }]
    }
}

fn audience(row: &Operation) -> &'static str {
    match row.door.name {
        "blob" => "https://storage.azure.com",
        "graph" => "https://graph.bleu.localhost",
        _ => "https://management.bleu.localhost",
    }
}

#[tokio::test]
async fn no_token_an_expired_one_and_the_wrong_audience_are_refused_everywhere() {
    let world = World::new(1).await;
    let rows = closed_rows(&world);
    assert!(rows.len() > 80, "{} rows", rows.len());
    let tokens = Tokens::of(&world, &world.contoso).await;
    for row in &rows {
        assert_eq!(call(&world, row, None).await, 401, "{row:?} without a token");
        assert_eq!(call(&world, row, Some("not.a.token")).await, 401, "{row:?} with nonsense");
        assert_eq!(call(&world, row, Some(tokens.astray(row))).await, 401, "{row:?} with another audience");
    }
    world.kit.clock.advance_seconds(4 * 3_600);
    for row in &rows {
        assert_eq!(call(&world, row, Some(tokens.at(row))).await, 401, "{row:?} with an expired token");
    }
    world.kit.trust.turn().await.unwrap();
    let entries = world.kit.trust.entries_from(record::Owner::Operator, 0).await.unwrap();
    let tallied: u64 = entries
        .iter()
        .filter_map(|(_, _, e)| e.as_ref())
        .filter(|e| e.verb == record::catalogue::STRANGERS.name)
        .flat_map(|e| &e.lines)
        .map(|l| l.count)
        .sum();
    assert!(tallied >= 4 * rows.len() as u64, "{tallied} strangers tallied for {} rows", rows.len());
    world.kit.audit(record::Owner::Operator).await;
}

#[tokio::test]
async fn another_tenants_owner_and_a_principal_without_a_role_are_refused_everywhere() {
    let world = World::new(2).await;
    let (ours, theirs) = (Tokens::of(&world, &world.contoso).await, Tokens::of(&world, &world.fabrikam).await);
    for row in closed_rows(&world) {
        let status = call(&world, &row, Some(theirs.at(&row))).await;
        // rows that name no tenant speak of the caller's own: they show nothing of the other's
        let own = !row.path.contains("{s}") && !row.path.contains("{subscription}") && !row.path.contains("{scope*}") && !row.door.data;
        assert!(own || matches!(status, 403 | 404), "{row:?} answers another tenant's owner {status}");
        let status = call(&world, &row, Some(ours.at(&row))).await;
        let member = MEMBERS.contains(&row.name) || (row.door.name == "graph" && matches!(row.handler, Handler::Read(_)));
        assert!(member || matches!(status, 403 | 404), "{row:?} answers a principal without a role {status}");
    }
    world.kit.trust.turn().await.unwrap();
    let entries = world.kit.trust.entries_from(Some(world.contoso.tenant), 0).await.unwrap();
    let refused: Vec<_> = entries.iter().filter_map(|(_, _, e)| e.as_ref()).filter(|e| e.outcome.ended == Ended::Refused).collect();
    for row in closed_rows(&world).iter().filter(|r| r.path.contains("{s}") && matches!(r.weight, Weight::Before | Weight::Indexed)) {
        assert!(refused.iter().any(|e| e.verb == row.name), "the refusal of {row:?} has no entry");
    }
    world.kit.audit(Some(world.contoso.tenant)).await;
    world.kit.audit(Some(world.fabrikam.tenant)).await;
}

/// The customer's client becomes administrator of its directory.
async fn administrator(client: &Client<'_>) {
    let (kit, customer) = (&client.world.kit, client.customer);
    let scope = ResourceId::tenant(customer.tenant);
    let name = ObjectId::random(&*kit.trust.chance()).to_string();
    let assignment = Assignment {
        id: scope.provider("Microsoft.Authorization/roleAssignments", &name).unwrap(),
        tenant: customer.tenant,
        scope: scope.clone(),
        role: arm::GLOBAL_ADMINISTRATOR.into(),
        principal: customer.client_object,
        principal_kind: PrincipalKind::ServicePrincipal,
        created: kit.now(),
        created_by: None,
        description: None,
    };
    let permit: Permit<Write> =
        kit.region("test").permit("Give Role", &["bleu.test/roles/write"], false, &scope, Weight::Indexed, "").await.unwrap();
    permit.commit(Batch::new().claim_fact(Fact::Assignment(assignment)), Outcome::done(201)).await.unwrap();
}

/// An application of the customer with its own secret, made through Graph by the customer's client.
async fn application(client: &Client<'_>, name: &str) -> Customer {
    let made = client.graph("POST", "/applications", json!({"displayName": name})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let (id, app) = (made.json()["id"].as_str().unwrap().to_owned(), made.json()["appId"].as_str().unwrap().to_owned());
    let principal = client.graph("POST", "/servicePrincipals", json!({"appId": app})).await;
    assert_eq!(principal.status, 201, "{}", principal.text());
    let password = client.graph("POST", &format!("/applications/{id}/addPassword"), json!({"passwordCredential": {}})).await;
    assert_eq!(password.status, 200, "{}", password.text());
    Customer {
        client: app.parse().unwrap(),
        client_object: principal.json()["id"].as_str().unwrap().parse().unwrap(),
        secret: password.json()["secretText"].as_str().unwrap().to_owned(),
        ..client.customer.clone()
    }
}

#[tokio::test]
async fn a_reader_reads_and_does_nothing_else() {
    let world = World::new(3).await;
    let owner = world.client(&world.fabrikam, world.fabrikam.subscription).await;
    owner.put_group("sample").await;
    let key = owner.put_account("sample", "acct").await;
    assert_eq!(owner.blob_by_key("", "PUT", "acct", &key, "/sample?restype=container", "").await.status, 201);
    assert_eq!(owner.blob_by_key("", "PUT", "acct", &key, "/sample/sample", "here").await.status, 201);
    administrator(&owner).await;
    let reader = application(&owner, "reader").await;
    let scope = format!("/subscriptions/{}", owner.subscription);
    const ROLES: [&str; 2] = ["Reader", "Storage Blob Data Reader"];
    for role in ROLES {
        assert_eq!(owner.assign(&scope, role, reader.client_object).await.status, 201);
    }
    // the roles are held at the subscription
    let within = |row: &Operation| row.door.data || ["{s}", "{subscription}", "{scope*}"].iter().any(|name| row.path.contains(name));
    let rows: Vec<Operation> = closed_rows(&world).into_iter().filter(within).collect();
    let granted =
        |row: &Operation| row.actions.iter().all(|a| arm::ROLES.iter().any(|r| ROLES.contains(&r.name) && r.grants(a, row.door.data)));
    let tokens = Tokens::of(&world, &reader).await;
    let (mut read, mut refused) = (0, Vec::new());
    for row in &rows {
        let status = call_at(&world, &reader, row, Some(tokens.at(row))).await;
        if granted(row) {
            read += u32::from(status == 200);
            assert_ne!(status, 403, "{row:?} is a reader's");
        } else {
            assert_eq!(status, 403, "{row:?} is not a reader's");
            refused.push(row);
        }
    }
    assert!(read > 25 && refused.len() > 50, "{read} read, {} refused", refused.len());
    world.kit.trust.turn().await.unwrap();
    let entries = world.kit.trust.entries_from(Some(reader.tenant), 0).await.unwrap();
    let events: Vec<_> = entries.iter().filter_map(|(_, _, e)| e.as_ref()).filter(|e| e.who.object == Some(reader.client_object)).collect();
    for row in refused {
        // an entry of its own, before the answer; or a line, in one entry with others of its second
        let recorded = match row.weight {
            Weight::Before | Weight::Indexed => events.iter().any(|e| e.verb == row.name && e.outcome.ended == Ended::Refused),
            _ => events.iter().flat_map(|e| &e.lines).any(|l| l.verb == row.name && l.outcome.ended == Ended::Refused),
        };
        assert!(recorded, "the refusal of {row:?} is not recorded as {:?}", row.weight);
    }
    world.kit.audit(Some(reader.tenant)).await;
}
