//! Bodies of many lengths, in parts of many lengths, with and without room for large chunks.

use base::{Fut, Location, ObjectId, ResourceId, SiteName, SystemClock, TenantId};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use store::{Blobs, ChunkId, Live, Mark, Placed, Slab, Swept};
use testkit::MemoryBlobs;
use trust::{
    Ask, Batch, Caller, Fact, Facts, Origin, Outcome, Permit, Principal, PrincipalKind, Rules, Staging, Tenant, Trust, Verdict, Weight,
    Write,
};

struct AllowAll;
impl Rules for AllowAll {
    fn judge(&self, _: &Ask, _: &Facts) -> Verdict {
        Verdict::Allow { because: "test".into() }
    }
}

/// Chunks in memory; gives a slab at every n-th question, or at none.
struct FewSlabs {
    chunks: MemoryBlobs,
    every: usize,
    asked: AtomicUsize,
}

impl Blobs for FewSlabs {
    fn site(&self) -> &SiteName {
        self.chunks.site()
    }
    fn put(&self, id: ChunkId, bytes: Bytes) -> Fut<'_, base::Result<Placed>> {
        self.chunks.put(id, bytes)
    }
    fn slab(&self) -> Option<Slab> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let mut slab = (self.every > 0 && asked.is_multiple_of(self.every)).then(|| self.chunks.slab())??;
        // as one that was used before
        slab.content_mut().fill(0xEE);
        Some(slab)
    }
    fn read<'a>(&'a self, id: ChunkId, at: &'a Placed, range: Range<u64>) -> Fut<'a, base::Result<Bytes>> {
        self.chunks.read(id, at, range)
    }
    fn delete<'a>(&'a self, at: &'a [Placed]) -> Fut<'a, base::Result<()>> {
        self.chunks.delete(at)
    }
    fn mark(&self) -> Mark {
        self.chunks.mark()
    }
    fn sweep(&self, mark: Mark, live: Live) -> Fut<'_, base::Result<Swept>> {
        self.chunks.sweep(mark, live)
    }
}

async fn region(every: usize) -> (Trust, impl AsyncFn() -> Permit<Write>) {
    let chance = Arc::new(base::SeededChance::new(every as u64));
    let site = SiteName::new("paris-1").unwrap();
    let place = base::Place { site: site.clone(), country: "FR".into(), nuts: "FR10".into(), address: "here".into() };
    let blobs = FewSlabs { chunks: MemoryBlobs::new(site), every, asked: AtomicUsize::new(0) };
    let trust = Trust::open(trust::Config {
        kv: store::open_memory().unwrap(),
        sites: vec![(place, Arc::new(blobs))],
        root: crypto::Secret::random(&*chance),
        rules: Box::new(AllowAll),
        parts: vec![trust::Part { name: "test", action: "bleu.test/", reach: trust::Reach::Anything }],
        clock: Arc::new(SystemClock),
        chance: chance.clone(),
        code: [0; 32],
        version: "test".into(),
        location: Location::new("francecentral").unwrap(),
        domain: "bleu.localhost".into(),
        witnesses: Vec::new(),
        token_key: None,
    })
    .await
    .unwrap();
    let tenant = TenantId::random(&*chance);
    let target = ResourceId::tenant(tenant);
    let ask = move |caller: Caller| Ask {
        caller,
        verb: "Put",
        actions: vec!["bleu.test/write".into()],
        data: true,
        target: target.clone(),
        scope: target.clone(),
        detail: "container/blob".into(),
        weight: Weight::With,
        origin: Origin {
            request: base::RequestId::random(&base::SeededChance::new(1)),
            peer: None,
            client_request: None,
            user_agent: None,
        },
    };
    let permit: Permit<Write> = trust.permit(ask(Caller::Region { part: "test" })).await.unwrap();
    let fact = Fact::Tenant(Tenant { id: tenant, name: "T".into(), domains: vec!["t.example".into()] });
    permit.commit(Batch::new().claim_fact(fact).create_space(Location::new("francecentral").unwrap()), Outcome::done(201)).await.unwrap();
    let caller = Caller::Principal(Principal {
        tenant,
        object: ObjectId::random(&*chance),
        app: base::AppId::random(&*chance),
        kind: PrincipalKind::User,
        name: "anna".into(),
    });
    let again = trust.clone();
    (trust, async move || again.permit(ask(caller.clone())).await.unwrap())
}

#[tokio::test]
async fn bodies_come_back_as_they_came() {
    const FRAME: usize = 65_536;
    const CHUNK: usize = 4 << 20;
    let lengths = [
        0,
        1,
        4_096,
        4_097,
        FRAME,
        (256 << 10) - 1,
        256 << 10,
        (256 << 10) + 1,
        5 * FRAME,
        5 * FRAME + 1,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        CHUNK + (256 << 10),
        2 * CHUNK + FRAME,
        9_000_001,
    ];
    for every in [0, 1, 2, 3] {
        let (_trust, permit) = region(every).await;
        let permit = permit().await;
        for (n, length) in lengths.into_iter().enumerate() {
            let body: Vec<u8> = (0..length).map(|at| (at * 31 + at / 251 + n) as u8).collect();
            let part = [usize::MAX, 17_003, 1_000_000][(n + every) % 3];
            let parts: Vec<_> = body.chunks(part.min(body.len().max(1))).map(|p| Ok(Bytes::copy_from_slice(p))).collect();
            let staging = Staging { bytes_max: 100 << 20, md5: n % 4 != 1 };
            let staged = permit.stage(Box::pin(futures::stream::iter(parts)), staging).await.unwrap();
            let case = format!("{length} bytes, a slab every {every}");
            assert_eq!(staged.content.length, length as u64, "{case}");
            assert_eq!(staged.sha256, crypto::sha256(&body), "{case}");
            assert_eq!(staged.crc64, crypto::Crc64Nvme::of(&body), "{case}");
            assert_eq!(staged.md5, staging.md5.then(|| crypto::md5(&body)), "{case}");
            for range in [0..length, length / 3..length / 2, length.saturating_sub(70_000)..length] {
                let mut got = BytesMut::new();
                let mut stream = permit.data().content(&staged.content, range.start as u64..range.end as u64);
                while let Some(bytes) = stream.next().await {
                    got.extend_from_slice(&bytes.unwrap());
                }
                assert!(got[..] == body[range.clone()], "{case}, {range:?}");
            }
        }
        permit.close(Outcome::done(200)).await.unwrap();
    }
}
