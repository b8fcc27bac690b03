//! What a role check costs among 10,000 assignments, and what 200 policies add to a write.
//! `cargo run --release -p arm --example rules_rate`

use arm::{Arm, AzureRoles};
use base::{ObjectId, ResourceId, SubscriptionId, TenantId};
use serde_json::{Value, json};
use service::Service;
use std::sync::Arc;
use std::time::Instant;
use testkit::{Kit, Setup};
use trust::{Ask, Assignment, Batch, Caller, Fact, Outcome, Permit, Principal, PrincipalKind, Rules, Verdict, Weight, Write};

const ASSIGNMENTS: usize = 10_000;
const POLICIES: usize = 200;
const ROUNDS: u32 = 20_000;

struct Scene {
    kit: Kit,
    worker: arm::Running,
    tenant: TenantId,
    subscription: SubscriptionId,
    admin: ObjectId,
}

fn bearer(_: &service::Neighbours, token: &str, _: &[String]) -> base::Result<Caller> {
    let (tenant, object) = token.split_once('/').ok_or_else(|| base::Error::internal("a token is tenant/object"))?;
    Ok(caller(tenant.parse()?, object.parse()?))
}

fn caller(tenant: TenantId, object: ObjectId) -> Caller {
    Caller::Principal(Principal { tenant, object, app: base::AppId(object.0), kind: PrincipalKind::User, name: "someone".into() })
}

async fn scene() -> base::Result<Scene> {
    let storage: Arc<dyn Service> = Arc::new(storage::Storage);
    let arm = Arm::new(storage.kinds());
    let services = vec![storage, arm.clone() as Arc<dyn Service>];
    let kit = Kit::start(Setup::new(1).services(services).rules(AzureRoles).bearer(Arc::new(bearer))).await;
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
    let admin = identity::seed(&kit.region("identity"), &seed).await?.admin;
    arm::seed_subscription(&kit.region("arm"), tenant, subscription, "Main", &[admin]).await?;
    let worker = arm.start(kit.trust.clone(), kit.urls.clone()).await?;
    Ok(Scene { kit, worker, tenant, subscription, admin })
}

impl Scene {
    fn group(&self, n: usize) -> base::Result<ResourceId> {
        ResourceId::subscription(self.subscription).child("resourceGroups", &format!("g{n}"))
    }
    /// `object` holds Reader at each of `ASSIGNMENTS` groups.
    async fn assign(&self, object: ObjectId) -> base::Result<()> {
        let near = self.kit.region("arm");
        let target = ResourceId::subscription(self.subscription);
        for run in (0..ASSIGNMENTS).collect::<Vec<_>>().chunks(500) {
            let permit: Permit<Write> =
                near.permit("Assign", &["bleu.arm/subscriptions/write"], false, &target, Weight::Indexed, "rate").await?;
            let mut batch = Batch::new();
            for n in run {
                let scope = self.group(*n)?;
                batch = batch.claim_fact(Fact::Assignment(Assignment {
                    id: scope.provider("Microsoft.Authorization/roleAssignments", &ObjectId::random(&*near.chance).to_string())?,
                    tenant: self.tenant,
                    scope,
                    role: "acdd72a7-3385-48ef-bd42-f606fba81ae7".into(),
                    principal: object,
                    principal_kind: PrincipalKind::User,
                    created: near.clock.now(),
                    created_by: None,
                    description: None,
                }));
            }
            permit.commit(batch, Outcome::done(201)).await?;
        }
        Ok(())
    }
    fn check(&self, what: &str, object: ObjectId, scope: &ResourceId, allowed: bool) {
        let ask = Ask {
            caller: caller(self.tenant, object),
            verb: "Get",
            actions: vec!["Microsoft.Storage/storageAccounts/read".into()],
            data: false,
            target: scope.clone(),
            scope: scope.clone(),
            detail: String::new(),
            weight: Weight::Batched,
            origin: trust::Origin {
                request: base::RequestId::random(&*self.kit.trust.chance()),
                peer: None,
                client_request: None,
                user_agent: None,
            },
        };
        let judge = || self.kit.trust.facts(|f| matches!(AzureRoles.judge(&ask, f), Verdict::Allow { .. }));
        assert_eq!(judge(), allowed, "{what}");
        let began = Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(judge());
        }
        say(&format!("role check, {what}: {:.2} µs", began.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)));
    }
    async fn put(&self, path: &str, body: Value) -> base::Result<u16> {
        let token = format!("Bearer {}/{}", self.tenant, self.admin);
        let url = format!("https://management.bleu.localhost{path}?api-version=2025-01-01");
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let answer = self.kit.call("PUT", &url, &headers, body.to_string()).await;
        match answer.status {
            200 | 201 => Ok(answer.status),
            other => Err(base::Error::internal(format!("{other}: {}", answer.text()))),
        }
    }
    /// Microseconds of one PUT of a group, the median of many.
    async fn group_put(&self) -> base::Result<f64> {
        let mut all = Vec::new();
        for n in 0..400 {
            let began = Instant::now();
            self.put(self.group(n % 20)?.as_str(), json!({"location": "francecentral", "tags": {"n": n.to_string()}})).await?;
            all.push(began.elapsed().as_secs_f64() * 1e6);
        }
        all.sort_by(f64::total_cmp);
        Ok(all[all.len() / 2])
    }
}

#[allow(clippy::print_stdout)] // an example tells what it measured
fn say(line: &str) {
    println!("{line}");
}

#[tokio::main]
async fn main() -> base::Result<()> {
    let scene = scene().await?;
    let near = scene.kit.region("arm");
    let reader = ObjectId::random(&*near.chance);
    scene.assign(reader).await?;
    let account = |n: usize| scene.group(n).and_then(|g| g.provider("Microsoft.Storage/storageAccounts", "acct"));
    scene.check(&format!("{ASSIGNMENTS} assignments of one principal, granted"), reader, &account(ASSIGNMENTS / 2)?, true);
    scene.check(&format!("{ASSIGNMENTS} assignments of one principal, refused"), reader, &account(ASSIGNMENTS)?, false);
    scene.check("owner of the subscription", scene.admin, &account(7)?, true);

    let without = scene.group_put().await?;
    for n in 0..POLICIES {
        let sub = format!("/subscriptions/{}/providers/Microsoft.Authorization", scene.subscription);
        let definition = format!("{sub}/policyDefinitions/p{n}");
        let rule = json!({"properties": {"mode": "All", "parameters": {"names": {"type": "Array"}}, "policyRule": {
            "if": {"allOf": [
                {"field": "location", "notIn": ["westeurope", "northeurope"]},
                {"anyOf": [{"field": "name", "in": "[parameters('names')]"}, {"field": format!("tags['never{n}']"), "exists": true},
                    {"value": "[concat(toLower(field('name')), '-x')]", "like": "forbidden-*"}]}]},
            "then": {"effect": if n % 2 == 0 { "deny" } else { "audit" }}}}});
        scene.put(&definition, rule).await?;
        let names: Vec<String> = (0..20).map(|i| format!("forbidden{n}-{i}")).collect();
        let assigned = json!({"properties": {"policyDefinitionId": definition, "parameters": {"names": {"value": names}}}});
        scene.put(&format!("{sub}/policyAssignments/a{n}"), assigned).await?;
    }
    scene.group_put().await?;
    let with = scene.group_put().await?;
    say(&format!(
        "PUT of a group, no policy: {without:.0} µs; {POLICIES} policies: {with:.0} µs; a policy adds {:.2} µs",
        (with - without) / POLICIES as f64
    ));
    scene.worker.stop().await;
    Ok(())
}
