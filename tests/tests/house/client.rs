//! What clients of a customer do: Resource Manager with a token; blobs with a key, a signature or a token. Every call says
//! under which name the record must know it, so that a test can compare both at the end.

use crate::world::{Customer, World};
use base::{ObjectId, SubscriptionId};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use record::{Ended, Phase};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use testkit::Answer;

pub const MANAGEMENT: &str = "https://management.bleu.localhost";
/// Until when a signature made here is good: the clock of a test region begins on 2026-11-24.
const SIGNATURE_ENDS: &str = "2026-12-01T00:00:00Z";

/// Calls by the name of their row and the status they were answered with.
pub type Ledger = BTreeMap<(String, u16), u64>;

/// A customer's application with its tokens.
pub struct Client<'a> {
    pub world: &'a World,
    pub customer: &'a Customer,
    /// One that the application owns.
    pub subscription: SubscriptionId,
    pub management: String,
    pub storage: String,
    pub graph: String,
    done: Mutex<Ledger>,
}

impl World {
    /// The customer's application, owner of a subscription.
    pub async fn owner<'a>(&'a self, customer: &'a Customer) -> Client<'a> {
        let subscription = SubscriptionId::random(&*self.kit.trust.chance());
        let near = self.kit.region("arm");
        arm::seed_subscription(&near, customer.tenant, subscription, "Second", &[customer.client_object]).await.unwrap();
        self.client(customer, subscription).await
    }

    /// The customer's application, as it is.
    pub async fn client<'a>(&'a self, customer: &'a Customer, subscription: SubscriptionId) -> Client<'a> {
        Client {
            world: self,
            customer,
            subscription,
            management: self.token(customer, MANAGEMENT).await,
            storage: self.token(customer, "https://storage.azure.com").await,
            graph: self.token(customer, "https://graph.bleu.localhost").await,
            done: Mutex::default(),
        }
    }
}

impl Client<'_> {
    async fn call(&self, row: &str, method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let answer = self.world.kit.call(method, url, headers, body).await;
        if !row.is_empty() {
            *self.done.lock().unwrap().entry((row.to_owned(), answer.status)).or_default() += 1;
        }
        answer
    }

    /// At Resource Manager. `path` with its query but for the version, or a whole URL. `row`: empty for what is not counted.
    pub async fn arm(&self, row: &str, method: &str, path: &str, body: Value) -> Answer {
        let url = if path.starts_with("https:") { path.to_owned() } else { format!("{MANAGEMENT}{path}") };
        let mark = if url.contains('?') { '&' } else { '?' };
        let url = if url.contains("api-version=") { url } else { format!("{url}{mark}api-version=2024-11-01") };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let bearer = format!("Bearer {}", self.management);
        self.call(row, method, &url, &[("authorization", &bearer), ("content-type", "application/json")], body).await
    }

    pub async fn graph(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let bearer = format!("Bearer {}", self.graph);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.world.kit.call(method, &format!("https://graph.bleu.localhost/v1.0{path}"), &headers, body).await
    }

    /// At an account's blobs with the token.
    pub async fn blob_by_token(&self, row: &str, method: &str, account: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        let (bearer, body) = (format!("Bearer {}", self.storage), body.into());
        let length = body.len().to_string();
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-ms-version", "2026-04-06"),
            ("x-ms-blob-type", "BlockBlob"),
            ("content-length", length.as_str()),
        ];
        self.call(row, method, &format!("https://{account}.blob.core.bleu.localhost{path}"), &headers, body).await
    }

    /// At an account's blobs with Shared Key, written down from its documentation.
    pub async fn blob_by_key(&self, row: &str, method: &str, account: &str, key: &[u8], path: &str, body: impl Into<Bytes>) -> Answer {
        let (date, body) = (self.world.kit.now().http_date(), body.into());
        let length = body.len().to_string();
        let signed_length = if body.is_empty() { "" } else { &length };
        let (raw_path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut pairs: Vec<&str> = query.split('&').filter(|q| !q.is_empty()).collect();
        pairs.sort();
        let resource: String = pairs.iter().map(|p| format!("\n{}", p.replacen('=', ":", 1))).collect();
        let text = format!(
            "{method}\n\n\n{signed_length}\n\n\n\n\n\n\n\n\nx-ms-blob-type:BlockBlob\nx-ms-date:{date}\nx-ms-version:2026-04-06\n/{account}{raw_path}{resource}"
        );
        let signature = BASE64_STANDARD.encode(crypto::hmac_sha256(key, text.as_bytes()));
        let authorization = format!("SharedKey {account}:{signature}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("x-ms-date", &date),
            ("x-ms-version", "2026-04-06"),
            ("x-ms-blob-type", "BlockBlob"),
            ("content-length", &length),
        ];
        self.call(row, method, &format!("https://{account}.blob.core.bleu.localhost{path}"), &headers, body).await
    }

    /// At an account's blobs with nothing but a signature in the URL.
    pub async fn blob_by_sas(&self, row: &str, method: &str, account: &str, path: &str, sas: &str, body: impl Into<Bytes>) -> Answer {
        let url = format!("https://{account}.blob.core.bleu.localhost{path}?{sas}");
        let body = body.into();
        let length = body.len().to_string();
        self.call(row, method, &url, &[("x-ms-blob-type", "BlockBlob"), ("content-length", &length)], body).await
    }

    pub fn group(&self, name: &str) -> String {
        format!("/subscriptions/{}/resourceGroups/{name}", self.subscription)
    }
    pub fn account(&self, group: &str, name: &str) -> String {
        format!("{}/providers/Microsoft.Storage/storageAccounts/{name}", self.group(group))
    }

    pub async fn put_group(&self, name: &str) {
        let answer = self.arm("Put Resource Group", "PUT", &self.group(name), json!({"location": "francecentral"})).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }

    pub fn account_wish() -> Value {
        json!({"location": "francecentral", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"})
    }

    /// Makes an account and gives its first key.
    pub async fn put_account(&self, group: &str, name: &str) -> Vec<u8> {
        let row = "Put Microsoft.Storage/storageAccounts";
        let accepted = self.arm(row, "PUT", &self.account(group, name), Self::account_wish()).await;
        let made = self.poll(&accepted).await;
        assert_eq!((made.status, made.json()["properties"]["provisioningState"].as_str()), (200, Some("Succeeded")), "{}", made.text());
        self.key(group, name).await
    }

    pub async fn key(&self, group: &str, name: &str) -> Vec<u8> {
        let answer = self.arm("List Account Keys", "POST", &format!("{}/listKeys", self.account(group, name)), Value::Null).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        BASE64_STANDARD.decode(answer.json()["keys"][0]["value"].as_str().unwrap()).unwrap()
    }

    /// Follows `Location` to the end; bounded.
    pub async fn poll(&self, answer: &Answer) -> Answer {
        assert_eq!(answer.status, 202, "{}", answer.text());
        for _ in 0..5_000 {
            let next = self.arm("", "GET", answer.header("location"), Value::Null).await;
            if next.status != 202 {
                return next;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("the operation does not end: {}", answer.header("location"));
    }

    /// Assigns a built-in role at a scope.
    pub async fn assign(&self, scope: &str, role: &str, to: ObjectId) -> Answer {
        let role = arm::ROLES.iter().find(|r| r.name == role).unwrap().id;
        let name = base::RequestId::random(&*self.world.kit.trust.chance());
        let definition = format!("/subscriptions/{}/providers/Microsoft.Authorization/roleDefinitions/{role}", self.subscription);
        let body = json!({"properties": {"principalId": to.to_string(), "roleDefinitionId": definition}});
        let path = format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}");
        self.arm("Put Role Assignment", "PUT", &path, body).await
    }

    pub fn done(&self) -> Ledger {
        self.done.lock().unwrap().clone()
    }
}

/// A service SAS on one blob or container, written down from its documentation. `resource`: `/container/blob`.
pub fn sas(account: &str, key: &[u8], resource: &str, sr: &str, sp: &str) -> String {
    let (sv, se) = ("2022-11-02", SIGNATURE_ENDS);
    let text = format!("{sp}\n\n{se}\n/blob/{account}{resource}\n\n\n\n{sv}\n{sr}\n\n\n\n\n\n\n");
    let signature = BASE64_STANDARD.encode(crypto::hmac_sha256(key, text.as_bytes()));
    format!("sv={sv}&sr={sr}&sp={sp}&se={}&sig={}", wire::percent_encode(se, b""), wire::percent_encode(&signature, b""))
}

/// The same counts out of an exported record: opening entries have not ended, and lines stand for as many acts as they say.
pub fn ledger_of(bundle: &[u8]) -> Ledger {
    let mut found = Ledger::new();
    let mut add = |verb: &str, status: u16, count: u64| *found.entry((verb.to_owned(), status)).or_default() += count;
    for listed in auditor::list(bundle).unwrap() {
        let event = &listed.event;
        if listed.phase == Phase::Open {
            assert_eq!(event.outcome.ended, Ended::Begun);
            continue;
        }
        if event.lines.is_empty() {
            add(&event.verb, event.outcome.status, 1);
        }
        event.lines.iter().for_each(|line| add(&line.verb, line.outcome.status, line.count));
    }
    found
}
