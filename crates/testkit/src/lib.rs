//! A region in memory around the services you hand it: its own clock and seed, no sockets, no files. For tests only.
//!
//! ```text
//! let kit = testkit::Kit::start(testkit::Setup::new(7).services(services).rules(rules).bearer(bearer)).await;
//! let answer = kit.call("GET", "https://management.bleu.localhost/subscriptions?api-version=2022-12-01", &[], "").await;
//! kit.audit(None).await;
//! ```

mod memory;
mod sulking;

pub use memory::MemoryBlobs;
pub use sulking::{Mood, Sulking};

use base::{Clock, Error, Kind, Location, ManualClock, Place, RequestId, SeededChance, SiteName, Timestamp};
use bytes::Bytes;
use crypto::{Secret, SecretBytes};
use gateway::{Gateway, VerifyBearer};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use service::{Neighbours, Service, Urls};
use std::sync::{Arc, OnceLock};
use store::{Blobs, Kv};
use trust::{Ask, Caller, Facts, Origin, Rules, Running, Trust, Verdict};

/// 2026-11-24T08:00:00Z: where the clock of a test region begins.
pub const START: Timestamp = Timestamp(1_795_507_200_000);

/// `kit.region("test")` may do anything under `bleu.test/`, to anything: for seeding.
const TEST_PART: trust::Part = trust::Part { name: "test", action: "bleu.test/", reach: trust::Reach::Anything };

/// Rules that allow everything to whoever `trust` itself lets by: for tests that are not about roles.
#[derive(Debug)]
pub struct AllowAll;

impl Rules for AllowAll {
    fn judge(&self, _ask: &Ask, _facts: &Facts) -> Verdict {
        Verdict::Allow { because: "test".into() }
    }
}

/// What a test region is made of.
pub struct Setup {
    pub seed: u64,
    pub services: Vec<Arc<dyn Service>>,
    pub rules: Box<dyn Rules>,
    pub bearer: VerifyBearer,
    pub kv: Arc<dyn Kv>,
    pub blobs: Arc<dyn Blobs>,
    pub witnesses: Vec<Arc<dyn trust::Witness>>,
}

impl Setup {
    /// No services, everything allowed, no bearer token accepted, everything in memory.
    pub fn new(seed: u64) -> Setup {
        Setup {
            seed,
            services: Vec::new(),
            rules: Box::new(AllowAll),
            bearer: Arc::new(|_, _, _| Err(Error::new(Kind::Unauthenticated, "InvalidAuthenticationToken", "No tokens here."))),
            kv: store::open_memory().expect("an engine in memory opens"),
            blobs: Arc::new(MemoryBlobs::new(site())),
            witnesses: Vec::new(),
        }
    }
    pub fn services(mut self, services: Vec<Arc<dyn Service>>) -> Setup {
        self.services = services;
        self
    }
    pub fn rules(mut self, rules: impl Rules) -> Setup {
        self.rules = Box::new(rules);
        self
    }
    pub fn bearer(mut self, bearer: VerifyBearer) -> Setup {
        self.bearer = bearer;
        self
    }
    pub fn witnesses(mut self, witnesses: Vec<Arc<dyn trust::Witness>>) -> Setup {
        self.witnesses = witnesses;
        self
    }
    /// Another engine: for tests of durability and faults.
    pub fn on(mut self, kv: Arc<dyn Kv>, blobs: Arc<dyn Blobs>) -> Setup {
        (self.kv, self.blobs) = (kv, blobs);
        self
    }
}

fn site() -> SiteName {
    SiteName::new("paris-1").expect("a site name")
}

/// One token key for all regions of a test process: the search for its primes is the slowest thing of a first start.
fn token_key() -> SecretBytes {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    let made = || crypto::SigningKey::generate_rs256_racing(2).and_then(|k| k.to_pkcs8()).expect("a token key").expose().to_vec();
    SecretBytes::new(KEY.get_or_init(made).clone())
}

/// The region's addresses in tests.
pub fn urls() -> Arc<Urls> {
    Arc::new(Urls { domain: "bleu.localhost".into(), port: 443, location: Location::new("francecentral").expect("a location") })
}

/// A running test region.
pub struct Kit {
    pub trust: Trust,
    pub gateway: Gateway,
    pub clock: Arc<ManualClock>,
    pub urls: Arc<Urls>,
    running: Running,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {:?}", String::from_utf8_lossy(&self.body)))
    }
}

impl Kit {
    pub async fn start(setup: Setup) -> Kit {
        Kit::try_start(setup).await.expect("a region opens")
    }

    /// As [`Kit::start`], on engines that may fail.
    pub async fn try_start(setup: Setup) -> base::Result<Kit> {
        let clock = Arc::new(ManualClock::new(START));
        let place = Place {
            site: setup.blobs.site().clone(),
            country: "FR".into(),
            nuts: "FR10".into(),
            address: "1 rue de l'Exemple, Paris".into(),
        };
        let trust = Trust::open(trust::Config {
            kv: setup.kv,
            sites: vec![(place, setup.blobs)],
            root: Secret::new([7; 32]),
            rules: setup.rules,
            parts: [trust::PARTS, &[TEST_PART]].concat(),
            clock: clock.clone(),
            chance: Arc::new(SeededChance::new(setup.seed)),
            code: [0xC0; 32],
            version: "test".into(),
            location: Location::new("francecentral").expect("a location"),
            domain: "bleu.localhost".into(),
            witnesses: setup.witnesses,
            token_key: Some(token_key()),
        })
        .await?;
        let running = trust.run();
        let urls = urls();
        let gateway = Gateway::new(trust.clone(), urls.clone(), setup.services, setup.bearer);
        Ok(Kit { trust, gateway, clock, urls, running })
    }

    /// Sends one request through the gateway. `url` with its host: `https://management.bleu.localhost/…`.
    pub async fn call(&self, method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let response = self.gateway.answer(request, Some([127, 0, 0, 1].into())).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// The reach of one of the region's own parts: for seeding.
    pub fn region(&self, part: &'static str) -> Neighbours {
        self.near(Caller::Region { part })
    }
    /// The reach of any caller.
    pub fn near(&self, caller: Caller) -> Neighbours {
        let origin = Origin {
            request: RequestId::random(&*self.trust.chance()),
            peer: None,
            client_request: None,
            user_agent: Some("testkit".into()),
        };
        Neighbours::new(self.trust.clone(), caller, origin, self.urls.clone())
    }
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Exports the record of a tenant, of the region or its operator, and has the auditor check it; panics with the findings
    /// when it is not true.
    pub async fn audit(&self, owner: impl Into<record::Owner>) -> auditor::Report {
        let owner = owner.into();
        let bundle = self.trust.export(owner).await.expect("an export");
        let keys = self.trust.trust_keys(owner).expect("trust keys");
        let report = auditor::verify(&bundle, Some(&keys));
        assert!(matches!(report.verdict, auditor::Verdict::True), "the auditor is not content: {report:#?}");
        report
    }

    /// Stops as a crash would: nothing that waits is written.
    pub fn crash(self) {
        self.running.abandon();
    }

    /// Stops in good order.
    pub async fn stop(self) {
        self.running.stop().await.expect("a region stops");
    }
}
