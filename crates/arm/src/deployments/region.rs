//! What a template asks of the region. All but the runtime functions is gathered before the plan is made, and stored with
//! it: a deployment that goes on after a restart sees what it saw before.

use crate::Arm;
use crate::calls::{groups, metadata};
use crate::deployments::inside::{Request, send};
use base::{Error, Kind, ResourceId, Result};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service::Neighbours;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use template::{Host, Question};
use trust::{Access, Permit};

/// The region as one deployment sees it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Region {
    now: String,
    /// The next of these is `newGuid()`; they are made beforehand, since answering is pure.
    guids: Vec<String>,
    subscription: Value,
    group: Option<Value>,
    tenant: Value,
    pub deployment: Value,
    deployer: Value,
    environment: Value,
    providers: Vec<Value>,
    #[serde(skip)]
    used: Arc<AtomicUsize>,
    /// Answers of the runtime functions, by their question.
    #[serde(skip)]
    known: HashMap<String, Value>,
}

const GUIDS: usize = 64;

impl Region {
    /// Error `ResourceGroupNotFound`, `ResourceGroupBeingDeleted`.
    pub(super) async fn of<A: Access>(arm: &Arc<Arm>, permit: &Permit<A>, near: &Neighbours, scope: &ResourceId) -> Result<Region> {
        let group = match scope.resource_group() {
            Some(_) => Some(groups::show(&groups::load_live(permit, scope).await?.value)),
            None => None,
        };
        let id = scope.subscription_id().ok_or_else(|| Error::internal("a deployment outside a subscription"))?;
        let (subscription, tenant) = near.facts(|f| {
            let subscription = f.subscription(id);
            let tenant = subscription.and_then(|s| f.tenant(s.tenant));
            (
                subscription.map(|s| json!({"id": format!("/subscriptions/{id}"), "subscriptionId": id.to_string(), "tenantId": s.tenant.to_string(), "displayName": s.name})),
                tenant.map(|t| json!({"tenantId": t.id.to_string(), "displayName": t.name, "countryCode": Value::Null})),
            )
        });
        let principal = near.caller.principal();
        let deployer = json!({
            "objectId": principal.map(|p| p.object.to_string()),
            "tenantId": principal.map(|p| p.tenant.to_string()),
            "userPrincipalName": principal.filter(|p| p.name.contains('@')).map_or("", |p| &p.name),
        });
        Ok(Region {
            now: near.clock.now().rfc3339(),
            guids: (0..GUIDS).map(|_| base::ObjectId::random(&*near.chance).to_string()).collect(),
            subscription: subscription.unwrap_or(Value::Null),
            group,
            tenant: tenant.unwrap_or(Value::Null),
            deployment: json!({}),
            deployer,
            environment: metadata::environment(&near.urls),
            providers: arm.shown_providers(near),
            used: Arc::default(),
            known: HashMap::new(),
        })
    }

    /// The same answers from the beginning.
    pub(super) fn again(&self) -> Region {
        Region { used: Arc::default(), ..self.clone() }
    }

    /// Asks what a plan waits for, as the caller of the deployment.
    pub(super) async fn ask(&mut self, arm: &Arc<Arm>, near: &Neighbours, questions: Vec<Question>) -> Result<()> {
        for question in questions {
            let answer = match &question {
                Question::Reference { id, api_version } => {
                    let api_version = api_version.as_deref().unwrap_or_default();
                    send(arm, near, Request { method: Method::GET, path: id, api_version, body: None }).await?.body
                }
                Question::List { function, id, api_version, body } => {
                    let (path, empty) = (format!("{id}/{function}"), Value::Object(Map::new()));
                    let body = Some(body.as_ref().unwrap_or(&empty));
                    send(arm, near, Request { method: Method::POST, path: &path, api_version, body }).await?.body
                }
                other => return Err(Error::internal(format!("a plan waits for {other:?}"))),
            };
            self.known.insert(format!("{question:?}"), answer);
        }
        Ok(())
    }

    fn provider(&self, namespace: &str, kind: Option<&str>) -> Result<Value> {
        let unknown =
            || Error::new(Kind::NotFound, "InvalidResourceNamespace", format!("The resource namespace '{namespace}' is invalid."));
        let same = |value: &Value, name: &str, text: &str| value[name].as_str().is_some_and(|n| n.eq_ignore_ascii_case(text));
        let provider = self.providers.iter().find(|p| same(p, "namespace", namespace)).ok_or_else(unknown)?;
        let Some(kind) = kind else { return Ok(provider.clone()) };
        let types = provider["resourceTypes"].as_array().into_iter().flatten();
        let found = types.into_iter().find(|t| same(t, "resourceType", kind));
        found.cloned().ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                "InvalidResourceType",
                format!("The resource type '{kind}' could not be found in the namespace '{namespace}'."),
            )
        })
    }
}

impl Host for Region {
    fn answer(&self, question: &Question) -> Result<Option<Value>> {
        Ok(Some(match question {
            Question::Now => json!(self.now),
            Question::NewGuid => {
                let at = self.used.fetch_add(1, Ordering::Relaxed);
                json!(self.guids.get(at).ok_or_else(|| Error::invalid("InvalidTemplate", "The template calls newGuid too often."))?)
            }
            Question::Subscription => self.subscription.clone(),
            Question::ResourceGroup => self.group.clone().unwrap_or(Value::Null),
            Question::Tenant => self.tenant.clone(),
            Question::ManagementGroup => return Err(Error::not_implemented("The template function managementGroup")),
            Question::Deployment => self.deployment.clone(),
            Question::Deployer => self.deployer.clone(),
            Question::Environment => self.environment.clone(),
            Question::Providers { namespace, kind } => self.provider(namespace, kind.as_deref())?,
            // one place, without zones
            Question::PickZones { .. } => json!([]),
            Question::Zones { .. } => return Err(Error::not_implemented("Availability zones")),
            Question::Secret { .. } => return Err(Error::not_implemented("A parameter from a key vault")),
            Question::Reference { .. } | Question::List { .. } => return Ok(self.known.get(&format!("{question:?}")).cloned()),
        }))
    }
}
