//! A small region's record, built from nothing, that tests then bend. Everything is fixed by seeds.

use base::{EntryId, Location, ObjectId, Place, ResourceId, Shard, SiteName, TenantId, Timestamp};
use crypto::{NoteKey, Secret, hmac_sha256};
use record::bundle::{Contents, Header, Held};
use record::{
    Actor, Checkpoint, Digest, Draft, Entry, Event, Fact, KeyKind, Line, NoteSigner, Opening, Outcome, Owner, Phase, Placed,
    REGION_TAG_KEY, SignedCheckpoint, Tag, TrustKeys, VerifierKey, Weight, Who, catalogue, commitment, sign_place, tiles,
};

pub(crate) const ORIGIN: &str = "bleu.localhost/francecentral";
pub(crate) const START: Timestamp = Timestamp(1_795_508_000_000);
pub(crate) const TAG_KEY: [u8; 32] = [42; 32];
const OTHER_TAG_KEY: [u8; 32] = [43; 32];

pub(crate) fn tenant() -> TenantId {
    "6c5b3f1e-0f52-4f6b-9a55-3f1f6c3a1b11".parse().unwrap()
}
pub(crate) fn other_tenant() -> TenantId {
    "11111111-0f52-4f6b-9a55-3f1f6c3a1b11".parse().unwrap()
}
pub(crate) fn code() -> Digest {
    Digest::of(b"the bleu binary")
}
pub(crate) fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}
pub(crate) fn location() -> Location {
    Location::new("francecentral").unwrap()
}
pub(crate) fn signer(name: &str, kind: KeyKind, seed: u8) -> NoteSigner {
    let private = NoteKey::from_seed(Secret::from_slice(&[seed; 32]).unwrap()).unwrap();
    let key = VerifierKey::new(name, kind, private.public()).unwrap();
    NoteSigner::new(key, move |message| Ok(private.sign(message)))
}
pub(crate) fn log_signer() -> NoteSigner {
    signer(ORIGIN, KeyKind::Note, 1)
}
pub(crate) fn region_signer() -> NoteSigner {
    signer("bleu.localhost/francecentral/region", KeyKind::Note, 2)
}
pub(crate) fn witness(number: u8) -> NoteSigner {
    signer(&format!("witness.example/w{number}"), KeyKind::Cosigner, 10 + number)
}
pub(crate) fn place(name: &str, country: &str) -> Place {
    Place { site: site(name), country: country.into(), nuts: format!("{country}10"), address: "1 rue de l’Exemple".into() }
}

/// One leaf with what its owner knows of it.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) entry: Entry,
    /// `None`: another tenant's.
    pub(crate) opening: Option<Opening>,
}

/// The pieces of a bundle before they are signed: bend them, then [`Scene::seal`].
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) rows: Vec<Row>,
    pub(crate) places: Vec<Place>,
    pub(crate) map: Vec<Held>,
    pub(crate) residency: Vec<String>,
    /// Numbers of the witnesses that cosign.
    pub(crate) cosigners: Vec<u8>,
}

pub(crate) struct Act {
    pub(crate) shard: u16,
    pub(crate) weight: Weight,
    pub(crate) phase: Phase,
    pub(crate) opens: Option<EntryId>,
    pub(crate) event: Event,
}

impl Act {
    pub(crate) fn with(event: Event) -> Act {
        Act { shard: 0, weight: Weight::With, phase: Phase::Whole, opens: None, event }
    }
    pub(crate) fn system(event: Event) -> Act {
        Act { weight: Weight::System, ..Act::with(event) }
    }
}

pub(crate) fn region_event(verb: &catalogue::Verb, facts: &[(&str, &str)]) -> Event {
    let facts = facts.iter().map(|(name, value)| Fact::new(*name, *value)).collect();
    Event { facts, ..Event::new(Owner::Region, Who::region(), verb.name, ResourceId::region()) }
}

pub(crate) fn put_blob(name: &str, at: &str) -> Event {
    let resource = "/subscriptions/aaaaaaaa-0f52-4f6b-9a55-3f1f6c3a1b11/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/acct";
    let anna: ObjectId = "bbbbbbbb-0f52-4f6b-9a55-3f1f6c3a1b11".parse().unwrap();
    let who =
        Who { kind: Actor::User, tenant: Some(tenant()), object: Some(anna), name: Some("anna@contoso.example".into()), ..Who::default() };
    Event {
        action: "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write".into(),
        detail: name.into(),
        from: Some("192.0.2.7".parse().unwrap()),
        outcome: Outcome::done(201),
        bytes_in: 4096,
        digest: Some(Digest::of(name.as_bytes())),
        places: vec![Placed { site: site(at), chunks: 1, bytes: 4096 }],
        ..Event::new(Owner::Tenant(tenant()), who, "Put Blob", ResourceId::parse(resource).unwrap())
    }
}

impl Scene {
    /// Region, sites, tenant; an act opened and closed, one left open, reads, another tenant's entry, two outboxes; and
    /// `writes` blobs.
    pub(crate) fn new(writes: usize) -> Scene {
        let mut scene = Scene {
            rows: Vec::new(),
            places: vec![place("paris-1", "FR"), place("lyon-1", "FR"), place("berlin-1", "DE")],
            map: vec![Held { resource: put_blob("x", "paris-1").resource, site: site("paris-1"), chunks: 3, bytes: 12_288 }],
            residency: vec!["FR".into()],
            cosigners: vec![1, 2],
        };
        scene.push(Act::system(region_event(&catalogue::REGION_CREATED, &[("region", "francecentral"), ("origin", ORIGIN)])));
        scene.push(Act::system(region_event(&catalogue::PROCESS_STARTED, &[("code.sha256", &code().to_string()), ("version", "0.1.0")])));
        let mut created = region_event(&catalogue::TENANT_CREATED, &[("tenant", &tenant().to_string()), ("residency", "FR")]);
        created.owner = Owner::Tenant(tenant());
        scene.push(Act::system(created));
        scene.act_of_another_tenant();
        let group = Event { places: vec![], outcome: Outcome::begun(), ..put_blob("", "paris-1") };
        let opened = scene.push(Act { weight: Weight::Before, phase: Phase::Open, ..Act::with(group.clone()) });
        let closed = Event { outcome: Outcome::done(201), ..group.clone() };
        scene.push(Act { weight: Weight::Before, phase: Phase::Close, opens: Some(opened), ..Act::with(closed) });
        scene.push(Act { weight: Weight::Before, phase: Phase::Open, shard: 1, ..Act::with(group) });
        let lines = vec![
            Line { verb: "Get Blob".into(), who: 0, detail: "photos/a".into(), count: 3, bytes: 30, outcome: Outcome::done(206), grant: 0 },
            Line {
                verb: "Get Blob".into(),
                who: 1,
                detail: "photos/b".into(),
                count: 1,
                bytes: 0,
                outcome: Outcome::refused("AuthorizationFailure", 403),
                grant: 0,
            },
        ];
        let reads =
            Event { verb: catalogue::READS.name.into(), lines, others: vec![Who::anonymous()], places: vec![], ..put_blob("", "paris-1") };
        scene.push(Act { weight: Weight::Batched, shard: 1, ..Act::with(reads) });
        for i in 0..writes {
            let at = if i % 2 == 0 { "paris-1" } else { "lyon-1" };
            scene.push(Act { shard: (i % 2) as u16, ..Act::with(put_blob(&format!("photos/{i}.jpg"), at)) });
        }
        scene
    }

    fn act_of_another_tenant(&mut self) {
        let event = Event { owner: Owner::Tenant(other_tenant()), ..put_blob("secret", "berlin-1") };
        self.push(Act::with(event));
        self.rows.last_mut().unwrap().opening = None;
    }

    fn next_number(&self, shard: u16) -> u64 {
        self.rows.iter().rev().find(|row| row.entry.id.shard == Shard(shard)).map_or(1, |row| row.entry.id.number + 1)
    }

    /// Appends an act as the region would record it.
    pub(crate) fn push(&mut self, act: Act) -> EntryId {
        let id = EntryId { shard: Shard(act.shard), number: self.next_number(act.shard) };
        let row = row(&act, id, Timestamp(START.0 + self.rows.len() as i64), self.rows.len());
        self.rows.push(row);
        id
    }

    pub(crate) fn contents(&self) -> Contents {
        let entries: Vec<Vec<u8>> = self.rows.iter().map(|row| row.entry.encode().unwrap()).collect();
        let leaves: Vec<Digest> = entries.iter().map(|entry| Digest::leaf(entry)).collect();
        let checkpoint = Checkpoint { origin: ORIGIN.into(), size: entries.len() as u64, root: tiles::root(&leaves) };
        let mut checkpoint = SignedCheckpoint::sign(checkpoint, &log_signer()).unwrap();
        for number in &self.cosigners {
            checkpoint.note.cosign(&witness(*number), START).unwrap();
        }
        let opened = self.rows.iter().enumerate().filter_map(|(i, row)| Some((i as u64, row.opening.clone()?)));
        Contents {
            header: Header {
                region: location(),
                origin: ORIGIN.into(),
                owner: Owner::Tenant(tenant()),
                residency: self.residency.clone(),
                size: entries.len() as u64,
                created: Timestamp(START.0 + 60_000),
            },
            checkpoint,
            keys: TrustKeys { owner: None, ..trust() },
            tag_key: Some(TAG_KEY),
            places: self.places.iter().map(|place| sign_place(&location(), place, &region_signer()).unwrap()).collect(),
            map: self.map.clone(),
            entries,
            openings: opened.collect(),
        }
    }

    pub(crate) fn seal(&self) -> Vec<u8> {
        self.contents().seal(&region_signer()).unwrap()
    }
}

/// The entry and opening of an act. `seed` makes the salt.
pub(crate) fn row(act: &Act, id: EntryId, at: Timestamp, seed: usize) -> Row {
    let salt = Digest::of(&seed.to_le_bytes()).0;
    let event = act.event.encode().unwrap();
    let commitment = commitment(&salt, &event);
    let tag_key = match act.event.owner {
        Owner::Region => REGION_TAG_KEY,
        Owner::Tenant(id) if id == tenant() => TAG_KEY,
        Owner::Tenant(_) | Owner::Operator => OTHER_TAG_KEY,
    };
    let tag = Tag::from_mac(hmac_sha256(&tag_key, &commitment.0));
    let draft = Draft { at, weight: act.weight, phase: act.phase, opens: act.opens, code: code(), tag, commitment };
    Row { entry: draft.numbered(id), opening: Some(Opening { salt, event }) }
}

/// What the tenant got out of band.
pub(crate) fn trust() -> TrustKeys {
    TrustKeys {
        log: log_signer().key().clone(),
        region: region_signer().key().clone(),
        owner: Some((Owner::Tenant(tenant()), Digest::of(&TAG_KEY))),
        witnesses: (1..=3).map(|number| witness(number).key().clone()).collect(),
        threshold: 2,
    }
}
