//! A region with one tenant, one subscription, one storage account, and a client that signs.

use base::{AppId, Error, Kind, Location, ObjectId, ResourceId, SiteName, SubscriptionId, TenantId};
use base64::prelude::*;
use bytes::Bytes;
use service::{Service, Want};
use std::sync::Arc;
use testkit::{Answer, Kit, MemoryBlobs, Setup, Sulking};
use trust::{Batch, Caller, Fact, Outcome, Permit, Principal, PrincipalKind, Subscription, Tenant, Weight, Write};

pub const ACCOUNT: &str = "acct";
pub const HOST: &str = "https://acct.blob.core.bleu.localhost";

pub struct World {
    pub kit: Kit,
    pub kv: Arc<Sulking>,
    pub chunks: Arc<MemoryBlobs>,
    pub tenant: TenantId,
    pub account: ResourceId,
    pub key: Vec<u8>,
}

/// Bearer tokens of these tests: `member` is of the tenant, `stranger` of another one.
fn bearer(tenant: TenantId) -> gateway::VerifyBearer {
    Arc::new(move |near, token, _audiences| {
        let principal = |tenant| {
            Caller::Principal(Principal {
                tenant,
                object: ObjectId::random(&*near.chance),
                app: AppId::random(&*near.chance),
                kind: PrincipalKind::User,
                name: "anna".into(),
            })
        };
        match token {
            "member" => Ok(principal(tenant)),
            "stranger" => Ok(principal(TenantId::random(&*near.chance))),
            _ => Err(Error::new(Kind::Unauthenticated, "InvalidAuthenticationToken", "Not a token.")),
        }
    })
}

async fn commit(kit: &Kit, target: &ResourceId, batch: Batch) {
    let near = kit.region("test");
    let permit: Permit<Write> = near.permit("Seed", &["bleu.test/seed"], false, target, Weight::With, "").await.unwrap();
    permit.commit(batch, Outcome::done(201)).await.unwrap();
}

impl World {
    pub async fn new(seed: u64) -> World {
        let chance = base::SeededChance::new(seed);
        let (tenant, subscription) = (TenantId::random(&chance), SubscriptionId::random(&chance));
        let chunks = Arc::new(MemoryBlobs::new(SiteName::new("site-1").unwrap()));
        let setup = Setup::new(seed).services(vec![Arc::new(storage::Storage)]).bearer(bearer(tenant));
        let kv = Sulking::over(setup.kv.clone());
        let kit = Kit::start(setup.on(kv.clone(), chunks.clone())).await;
        let here = || Location::new("francecentral").unwrap();
        let fact = Fact::Tenant(Tenant { id: tenant, name: "Contoso".into(), domains: vec!["contoso.example".into()] });
        commit(&kit, &ResourceId::tenant(tenant), Batch::new().claim_fact(fact).create_space(here())).await;
        let scope = ResourceId::subscription(subscription);
        let fact = Fact::Subscription(Subscription { id: subscription, tenant, name: "one".into() });
        commit(&kit, &scope, Batch::new().claim_fact(fact).create_space(here())).await;
        let account =
            ResourceId::parse(&format!("{scope}/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}")).unwrap();
        let mut world = World { kit, kv, chunks, tenant, account, key: Vec::new() };
        world.apply(serde_json::json!({})).await;
        let keys = world.arm("POST", "/listKeys", "").await;
        assert_eq!(keys.status, 200, "{}", keys.text());
        world.key = BASE64_STANDARD.decode(keys.json()["keys"][0]["value"].as_str().unwrap()).unwrap();
        world
    }

    /// What Resource Manager does with a PUT of the account.
    pub async fn apply(&self, properties: serde_json::Value) {
        let kind = Arc::new(storage::Storage).kinds().remove(0);
        let want = Want {
            location: Some(Location::new("francecentral").unwrap()),
            kind: Some("StorageV2".into()),
            sku: Some(serde_json::json!({ "name": "Standard_LRS" })),
            properties,
            ..Want::default()
        };
        for step in kind.plan(&self.account, &want, None).unwrap() {
            let near = self.kit.region("test");
            let permit = near.permit("Apply", &["bleu.test/apply"], false, &self.account, Weight::Indexed, "").await.unwrap();
            kind.apply(&self.account, &step, permit, &near).await.unwrap();
        }
    }

    pub async fn remove(&self) {
        let kind = Arc::new(storage::Storage).kinds().remove(0);
        let step = service::Step { name: "delete-account".into(), arguments: serde_json::json!({}) };
        let near = self.kit.region("test");
        let permit = near.permit("Apply", &["bleu.test/apply"], false, &self.account, Weight::Indexed, "").await.unwrap();
        kind.apply(&self.account, &step, permit, &near).await.unwrap();
    }

    /// A call at Resource Manager's door, under the account.
    pub async fn arm(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        self.arm_as("member", method, path, body).await
    }
    pub async fn arm_as(&self, token: &str, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        let (path, query) = path.split_once('?').map_or((path, String::new()), |(p, q)| (p, format!("&{q}")));
        let url = format!("https://management.bleu.localhost{}{path}?api-version=2025-08-01{query}", self.account);
        self.kit.call(method, &url, &[("authorization", &format!("Bearer {token}"))], body).await
    }

    /// A call signed with the account's key. `path` as sent, with its query.
    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.call_at(HOST, method, path, headers, body).await
    }
    pub async fn call_at(&self, base: &str, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let body = body.into();
        let date = self.kit.now().http_date();
        let mut all: Vec<(&str, &str)> = vec![("x-ms-date", &date), ("x-ms-version", "2026-04-06")];
        all.extend_from_slice(headers);
        let length = body.len().to_string();
        if method == "PUT" || !body.is_empty() {
            all.push(("content-length", &length));
        }
        let signature = sign(&self.key, method, base, path, &all);
        let authorization = format!("SharedKey {ACCOUNT}:{signature}");
        all.push(("authorization", &authorization));
        self.kit.call(method, &format!("{base}{path}"), &all, body).await
    }

    /// A PUT whose body comes in parts, perhaps not all of them. `length`: what its head says.
    pub async fn put_parts(
        &self,
        path: &str,
        length: u64,
        parts: impl Iterator<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    ) -> Answer {
        use http_body_util::BodyExt;
        let (date, length) = (self.kit.now().http_date(), length.to_string());
        let headers =
            [("x-ms-date", date.as_str()), ("x-ms-version", "2026-04-06"), ("x-ms-blob-type", "BlockBlob"), ("content-length", &length)];
        let authorization = format!("SharedKey {ACCOUNT}:{}", sign(&self.key, "PUT", HOST, path, &headers));
        let mut request = http::Request::builder().method("PUT").uri(format!("{HOST}{path}")).header("authorization", authorization);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let body = http_body_util::StreamBody::new(futures::stream::iter(parts.map(|p| p.map(http_body::Frame::data))));
        let (parts, body) = self.kit.gateway.answer(request.body(body).unwrap(), None).await.into_parts();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub async fn put(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        let answer = self.call("PUT", path, &[("x-ms-blob-type", "BlockBlob")], body).await;
        assert_eq!(answer.status, 201, "PUT {path}: {}", answer.text());
        answer
    }
    pub async fn container(&self, name: &str) {
        let answer = self.call("PUT", &format!("/{name}?restype=container"), &[], "").await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "").await
    }
    pub async fn code(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> (u16, String) {
        let answer = self.call(method, path, headers, body).await;
        (answer.status, answer.header("x-ms-error-code").to_owned())
    }
    /// Without any signature but the one in `path`.
    pub async fn plain(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        self.kit.call(method, &format!("{HOST}{path}"), headers, body).await
    }
    /// Sweeps and collects until nothing is left to do, an hour later.
    pub async fn cleaned(&self) {
        let near = self.kit.region("storage");
        while storage::sweep(&near).await.unwrap() > 0 {}
        self.kit.clock.advance_seconds(7_200);
        while self.kit.trust.collect().await.unwrap() > 0 {}
    }
    /// Waits, a bounded number of turns, until so many chunks are kept.
    pub async fn chunks_become(&self, wanted: usize) {
        for _ in 0..10_000 {
            if self.chunks.len() == wanted {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{} chunks are kept, not {wanted}", self.chunks.len());
    }
    /// Everything this account did is in a record that holds.
    pub async fn audited(self) {
        self.kit.audit(Some(self.tenant)).await;
        self.kit.stop().await;
    }
}

/// Shared Key, written down from its documentation and not from the service's own code.
fn sign(key: &[u8], method: &str, base: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let h = |name: &str| headers.iter().find(|(k, _)| *k == name).map_or("", |(_, v)| v);
    let (raw_path, query) = path.split_once('?').unwrap_or((path, ""));
    let prefix = base.splitn(4, '/').nth(3).map_or(String::new(), |p| format!("/{p}"));
    let length = if h("content-length") == "0" { "" } else { h("content-length") };
    let mut text = format!(
        "{method}\n{}\n{}\n{length}\n{}\n{}\n\n{}\n{}\n{}\n{}\n{}\n",
        h("content-encoding"),
        h("content-language"),
        h("content-md5"),
        h("content-type"),
        h("if-modified-since"),
        h("if-match"),
        h("if-none-match"),
        h("if-unmodified-since"),
        h("range")
    );
    let mut ours: Vec<_> = headers.iter().filter(|(k, _)| k.starts_with("x-ms-")).collect();
    ours.sort();
    ours.iter().for_each(|(k, v)| text.push_str(&format!("{k}:{}\n", v.trim())));
    text.push_str(&format!("/{ACCOUNT}{prefix}{raw_path}"));
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|q| !q.is_empty())
        .map(|q| q.split_once('=').unwrap_or((q, "")))
        .map(|(k, v)| (k.to_lowercase(), wire::percent_decode(v).unwrap()))
        .collect();
    pairs.sort();
    pairs.iter().for_each(|(k, v)| text.push_str(&format!("\n{k}:{v}")));
    BASE64_STANDARD.encode(crypto::hmac_sha256(key, text.as_bytes()))
}
