//! Every row of every table is called by strangers: no token, an expired one, another tenant's, the wrong audience, too
//! small a role. All are refused, and recorded as the record's weights say.

use crate::world::World;
use record::Ended;
use service::{Handler, Operation, When};
use trust::Weight;

/// Rows that a member of the tenant may read without a role. The list may only shrink.
const MEMBERS: &[&str] = &["Get Organization", "List Tenants", "List Subscriptions", "List Tenant Providers", "Get Tenant Provider"];

/// A request that fits the row: sample values for its captures and conditions.
fn request(world: &World, row: &Operation) -> (String, Vec<(&'static str, String)>) {
    let contoso = &world.contoso;
    let sample = |text: &str| {
        text.replace("{s}", &contoso.subscription.to_string())
            .replace("{subscription}", &contoso.subscription.to_string())
            .replace("{scope*}", &format!("subscriptions/{}", contoso.subscription))
            .replace("{tenant}", &contoso.tenant.to_string())
            .replace("{account}", "acct")
            .replace("{id}", &contoso.client_object.to_string())
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
            When::QueryAbsent(_) => {}
        }
    }
    (format!("https://{host}.bleu.localhost{path}?{}", query.join("&")), headers)
}

async fn call(world: &World, row: &Operation, token: Option<&str>) -> u16 {
    let (url, headers) = request(world, row);
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
    let wrong = |row: &Operation| if row.door.name == "blob" { "https://management.bleu.localhost" } else { "https://storage.azure.com" };
    let mut seen = Vec::new();
    for row in &rows {
        seen.push((world.token(&world.contoso, audience(row)).await, world.token(&world.contoso, wrong(row)).await));
    }
    for (row, (_, other)) in rows.iter().zip(&seen) {
        assert_eq!(call(&world, row, None).await, 401, "{row:?} without a token");
        assert_eq!(call(&world, row, Some("not.a.token")).await, 401, "{row:?} with nonsense");
        assert_eq!(call(&world, row, Some(other)).await, 401, "{row:?} with another audience");
    }
    world.kit.clock.advance_seconds(4 * 3_600);
    for (row, (token, _)) in rows.iter().zip(&seen) {
        assert_eq!(call(&world, row, Some(token)).await, 401, "{row:?} with an expired token");
    }
    world.kit.trust.turn().await.unwrap();
    let entries = world.kit.trust.entries_from(None, 0).await.unwrap();
    let tallied: u64 = entries
        .iter()
        .filter_map(|(_, _, e)| e.as_ref())
        .filter(|e| e.verb == record::catalogue::STRANGERS.name)
        .flat_map(|e| &e.lines)
        .map(|l| l.count)
        .sum();
    assert!(tallied >= 4 * rows.len() as u64, "{tallied} strangers tallied for {} rows", rows.len());
    world.kit.audit(None).await;
}

#[tokio::test]
async fn another_tenants_owner_and_a_principal_without_a_role_are_refused_everywhere() {
    let world = World::new(2).await;
    for row in closed_rows(&world) {
        let foreign = world.token(&world.fabrikam, audience(&row)).await;
        let status = call(&world, &row, Some(&foreign)).await;
        // rows that name no tenant speak of the caller's own: they show nothing of the other's
        let own = !row.path.contains("{s}") && !row.path.contains("{subscription}") && !row.path.contains("{scope*}") && !row.door.data;
        assert!(own || matches!(status, 403 | 404), "{row:?} answers another tenant's owner {status}");
        let token = world.token(&world.contoso, audience(&row)).await;
        let status = call(&world, &row, Some(&token)).await;
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
