//! A region in memory with every service, two tenants, and sign-in.

use arm::{Arm, AzureRoles};
use base::{AppId, ObjectId, SubscriptionId, TenantId};
use crypto::SecretBytes;
use serde_json::Value;
use service::Service;
use std::sync::Arc;
use testkit::{Kit, Setup};

/// What the binary serves, in its order.
pub fn services() -> (Vec<Arc<dyn Service>>, Arc<Arm>) {
    let mut all: Vec<Arc<dyn Service>> = vec![Arc::new(record_log::RecordLog), Arc::new(identity::Graph), Arc::new(storage::Storage)];
    let arm = Arm::new(all.iter().flat_map(|s| s.kinds()).collect());
    all.push(arm.clone());
    let sign_in = Arc::new(identity::Login::new(&all));
    all.insert(0, sign_in);
    (all, arm)
}

#[derive(Clone)]
pub struct Customer {
    pub tenant: TenantId,
    pub subscription: SubscriptionId,
    pub client: AppId,
    pub client_object: ObjectId,
    pub secret: String,
}

pub struct World {
    pub kit: Kit,
    /// Kept for as long as the region: operations go on.
    _worker: arm::Running,
    pub contoso: Customer,
    pub fabrikam: Customer,
}

/// A tenant with a client application; `owner`: it owns the subscription.
async fn customer(kit: &Kit, domain: &str, owner: bool) -> Customer {
    let chance = kit.trust.chance();
    let (tenant, subscription) = (TenantId::random(&*chance), SubscriptionId::random(&*chance));
    let secret = crypto::random_secret_text(&*chance, 30);
    let seed = identity::Seed {
        tenant,
        name: domain.into(),
        domain: domain.into(),
        location: kit.urls.location.clone(),
        client_name: "client".into(),
        admin_password: None,
        client_secret: Some(SecretBytes::from(secret.clone())),
    };
    let seeded = identity::seed(&kit.region("identity"), &seed).await.unwrap();
    let owner = if owner { seeded.client_object } else { seeded.admin };
    arm::seed_subscription(&kit.region("arm"), tenant, subscription, "Main", &[owner]).await.unwrap();
    Customer { tenant, subscription, client: seeded.client, client_object: seeded.client_object, secret }
}

/// Everything as the binary has it, in memory unless [`Setup::on`] says otherwise.
pub fn setup(seed: u64) -> (Setup, Arc<Arm>) {
    let (services, arm) = services();
    (Setup::new(seed).services(services).rules(AzureRoles).bearer(Arc::new(identity::verify_bearer)), arm)
}

impl World {
    /// Contoso's client has no role at all; Fabrikam's owns Fabrikam's subscription.
    pub async fn new(seed: u64) -> World {
        World::first(setup(seed)).await
    }

    /// The first start, on any engine.
    pub async fn first((setup, arm): (Setup, Arc<Arm>)) -> World {
        let kit = Kit::start(setup).await;
        let _worker = arm.start(kit.trust.clone(), kit.urls.clone()).await.unwrap();
        let (contoso, fabrikam) = (customer(&kit, "contoso.example", false).await, customer(&kit, "fabrikam.example", true).await);
        World { kit, _worker, contoso, fabrikam }
    }

    /// A later start, of the same region.
    pub async fn again((setup, arm): (Setup, Arc<Arm>), contoso: Customer, fabrikam: Customer) -> World {
        let kit = Kit::start(setup).await;
        let _worker = arm.start(kit.trust.clone(), kit.urls.clone()).await.unwrap();
        World { kit, _worker, contoso, fabrikam }
    }

    pub async fn token(&self, customer: &Customer, audience: &str) -> String {
        let url = format!("https://login.bleu.localhost/{}/oauth2/v2.0/token", customer.tenant);
        let scope = format!("{audience}/.default");
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &customer.client.to_string()),
            ("client_secret", &customer.secret),
            ("scope", &scope),
        ]
        .map(|(k, v)| format!("{k}={}", wire::percent_encode(v, b"")))
        .join("&");
        let answer = self.kit.call("POST", &url, &[("content-type", "application/x-www-form-urlencoded")], form).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body: Value = answer.json();
        body["access_token"].as_str().unwrap().to_owned()
    }
}
