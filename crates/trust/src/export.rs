//! What an auditor is handed: bundles, trust files, proofs; and the status that people read.

use crate::keys::OwnerKeys;
use crate::sequencer::SealedOpening;
use crate::witnesses::Whom;
use crate::{Inner, Trust, journal, layout, lock};
use base::{EntryId, Error, Kind, Place, Result, TenantId, Timestamp};
use crypto::open_record;
use record::bundle::{Contents, Header, Held};
use record::tiles::{self, TILE_WIDTH, TilePath, split_entries};
use record::{Digest, Entry, Opening, Owner, SignedNote, TrustKeys, catalogue};
use std::collections::{BTreeMap, HashMap};
use store::KeyRange;

/// The proof that an entry is in the log.
#[derive(Clone, Debug)]
pub struct Proof {
    pub id: EntryId,
    pub index: u64,
    pub size: u64,
    pub leaf: Digest,
    pub path: Vec<Digest>,
    /// The signed checkpoint the path leads to.
    pub checkpoint: Vec<u8>,
    /// The entry itself.
    pub entry: Vec<u8>,
}

/// An act that a crash left open and that the sweep can't close: the next start tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOpen {
    /// Its opening entry.
    pub opening: EntryId,
    pub why: String,
}

/// Where the region stands.
#[derive(Clone, Debug)]
pub struct Status {
    pub places: Vec<Place>,
    pub size: u64,
    pub root: Digest,
    /// The published checkpoint has the cosignatures of all witnesses.
    pub cosigned: bool,
    /// Acts that a crash left open and that can't be closed.
    pub left_open: Vec<LeftOpen>,
    pub witnesses: usize,
    /// On the fullest disk, bytes; `None`: not known.
    pub free_bytes: Option<u64>,
    pub tenants: usize,
    pub spaces: usize,
    pub now: Timestamp,
}

impl Trust {
    /// The public keys to hand over out of band; for a tenant or the operator, with the digest of its tag key. Error: no
    /// such tenant.
    pub fn trust_keys(&self, owner: impl Into<Owner>) -> Result<TrustKeys> {
        let inner = self.inner();
        let owner = match owner.into() {
            Owner::Region => None,
            owner => Some((owner, Digest::of(&inner.keys.of(owner)?.tag_key))),
        };
        let witnesses: Vec<_> = inner.witnesses.iter().map(|w| w.key().clone()).collect();
        let threshold = witnesses.len();
        Ok(TrustKeys { log: inner.log_signer.key().clone(), region: inner.region_signer.key().clone(), owner, witnesses, threshold })
    }

    pub async fn status(&self) -> Status {
        let inner = self.inner();
        let head = inner.sequencer.lock().await.head;
        let cosigned = lock(&inner.published).cosigned;
        let left_open = lock(&inner.left_open).clone();
        let free_bytes = inner.sites.iter().map(|site| site.free_bytes()).chain([inner.kv.free_bytes()]).flatten().min();
        self.facts(|f| Status {
            places: f.sites().iter().map(|s| s.place.clone()).collect(),
            size: head.size,
            root: Digest(head.root),
            cosigned,
            left_open,
            witnesses: inner.witnesses.len(),
            free_bytes,
            tenants: f.tenants().count(),
            spaces: f.spaces().count(),
            now: inner.clock.now(),
        })
    }

    /// The newest signed checkpoint; `None` before the first.
    pub async fn checkpoint(&self) -> Option<Vec<u8>> {
        lock(&self.inner().published).checkpoint.as_ref().map(|c| c.to_bytes())
    }

    /// A tile or entry bundle of the log, by its C2SP path.
    pub async fn tile(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.inner().tile(TilePath::parse(path)?).await
    }

    /// The proof of one entry. Errors: `EntryNotFound`.
    pub async fn prove(&self, id: EntryId) -> Result<Proof> {
        self.move_on().await?;
        let inner = self.inner();
        let not_found = || Error::new(Kind::NotFound, "EntryNotFound", format!("There is no entry {id}."));
        let checkpoint = self.publish(Whom::All).await?.ok_or_else(not_found)?;
        let size = checkpoint.checkpoint.size;
        // one shard: an entry's index is its number less one
        let index = id.number.checked_sub(1).filter(|i| *i < size && id.shard == layout::SHARD).ok_or_else(not_found)?;
        let tiles = inner.tiles(tiles::inclusion_paths(size, index)).await?;
        let path = tiles::prove_inclusion(size, index, &|p| Ok(tiles.get(p).cloned()))?;
        let entry = inner.entries(index / TILE_WIDTH, size).await?.into_iter().nth((index % TILE_WIDTH) as usize).ok_or_else(not_found)?;
        Ok(Proof { id, index, size, leaf: Digest::leaf(&entry), path, checkpoint: checkpoint.to_bytes(), entry })
    }

    /// At most `limit` entries of the log from an index on; those of `owner` and of the region opened. Reads no more of
    /// the log than it gives, since the log stands still meanwhile.
    pub async fn entries(&self, owner: impl Into<Owner>, from: u64, limit: usize) -> Result<Vec<(u64, Entry, Option<record::Event>)>> {
        let (inner, owner) = (self.inner(), owner.into());
        // held while reading, so that the partial bundle stays
        let sequencer = inner.sequencer.lock().await;
        let size = sequencer.head.size;
        let end = size.min(from.saturating_add(limit as u64));
        let mut found = Vec::new();
        for bundle in (from / TILE_WIDTH)..end.div_ceil(TILE_WIDTH) {
            for (at, bytes) in inner.entries(bundle, size).await?.into_iter().enumerate() {
                let index = bundle * TILE_WIDTH + at as u64;
                if index < from || index >= end {
                    continue;
                }
                let entry = Entry::decode(&bytes)?;
                let opened = inner.opening(index, &entry, owner).await?;
                let event = opened.map(|o| record::Event::decode(&o.event)).transpose()?;
                found.push((index, entry, event));
            }
        }
        Ok(found)
    }

    /// [`Trust::entries`] to the end of the log. For tests: the log may be larger than memory.
    pub async fn entries_from(&self, owner: impl Into<Owner>, from: u64) -> Result<Vec<(u64, Entry, Option<record::Event>)>> {
        self.entries(owner, from, usize::MAX).await
    }

    /// The bundle of an owner: every entry of the log, the openings of its own and of the region's, the signed places,
    /// and where its bytes are. The export is an entry itself, in the bundle.
    pub async fn export(&self, owner: impl Into<Owner>) -> Result<Vec<u8>> {
        let (inner, owner) = (self.inner(), owner.into());
        if owner.tenant().is_some_and(|t| self.facts(|f| f.tenant(t).is_none())) {
            return Err(Error::new(Kind::NotFound, "TenantNotFound", "There is no such tenant."));
        }
        let size = inner.sequencer.lock().await.head.size.to_string();
        let mut event = journal::own(&catalogue::BUNDLE_EXPORTED, &[("size", &size)]);
        event.owner = owner;
        self.append(&event, record::Weight::Before, record::Phase::Whole, None).await?;
        self.move_on().await?;
        let checkpoint = self.publish(Whom::All).await?.ok_or_else(|| Error::internal("the record has no checkpoint yet"))?;
        let size = checkpoint.checkpoint.size;
        let (mut entries, mut openings) = (Vec::with_capacity(size as usize), Vec::new());
        for bundle in 0..size.div_ceil(TILE_WIDTH) {
            for bytes in inner.entries(bundle, size).await? {
                let index = entries.len() as u64;
                if let Some(opening) = inner.opening(index, &Entry::decode(&bytes)?, owner).await? {
                    openings.push((index, opening));
                }
                entries.push(bytes);
            }
        }
        let places = self.facts(|f| f.sites().iter().map(|s| SignedNote::parse(s.note.as_bytes())).collect::<Result<Vec<_>>>())?;
        let residency = self.residency();
        let tag_key = match owner {
            Owner::Region => None,
            owner => Some(inner.keys.of(owner)?.tag_key),
        };
        let header = Header {
            region: inner.location.clone(),
            origin: inner.log_signer.key().name().to_owned(),
            owner,
            residency,
            size,
            created: inner.clock.now(),
        };
        let contents = Contents {
            header,
            checkpoint,
            keys: self.trust_keys(owner)?,
            tag_key,
            places,
            map: self.held(owner.tenant()).await?,
            entries,
            openings,
        };
        contents.seal(&inner.region_signer)
    }

    /// The countries in which data of this region may be, sorted: those of its sites. It is every tenant's residency.
    pub(crate) fn residency(&self) -> Vec<String> {
        let mut countries: Vec<String> = self.facts(|f| f.sites().iter().map(|s| s.place.country.clone()).collect());
        countries.sort();
        countries.dedup();
        countries
    }

    /// Where an owner's bytes are now, by resource and site; with none those of the region.
    async fn held(&self, tenant: Option<TenantId>) -> Result<Vec<Held>> {
        let inner = self.inner();
        let spaces: HashMap<_, _> = self.facts(|f| f.spaces().filter(|s| s.tenant == tenant).map(|s| (s.id, s.resource.clone())).collect());
        let mut held: BTreeMap<(base::ResourceId, base::SiteName), (u64, u64)> = BTreeMap::new();
        for (id, resource) in spaces {
            let mut range = KeyRange::prefix(&layout::space_ledger(id));
            loop {
                let page = inner.kv.scan(range.clone(), store::PAGE_ROWS_MAX, false).await?;
                for row in page.rows {
                    let ledger: crate::content::LedgerRow = base::decode(&open_record(&inner.keys.facts, &row.key, &row.value)?)?;
                    for copy in ledger.copies {
                        let sum = held.entry((resource.clone(), copy.site)).or_default();
                        *sum = (sum.0 + 1, sum.1 + copy.length);
                    }
                }
                match page.next {
                    Some(next) => range = range.resume(next, false),
                    None => break,
                }
            }
        }
        Ok(held.into_iter().map(|((resource, site), (chunks, bytes))| Held { resource, site, chunks, bytes }).collect())
    }
}

impl Inner {
    /// The entries of a bundle of a log of `size` entries.
    pub(crate) async fn entries(&self, bundle: u64, size: u64) -> Result<Vec<Vec<u8>>> {
        let width = (size - bundle * TILE_WIDTH).min(TILE_WIDTH) as u16;
        let path = TilePath { level: None, index: bundle, width };
        let bytes = self.tile(path).await?.ok_or_else(|| Error::internal(format!("the record has no {path}")))?;
        split_entries(&bytes).map(|e| e.map(<[u8]>::to_vec)).collect()
    }

    /// The opening of an entry, if it is the region's or this owner's.
    async fn opening(&self, index: u64, entry: &Entry, owner: Owner) -> Result<Option<Opening>> {
        let fits = |keys: &OwnerKeys| record::Tag::from_mac(keys.tag.sign(&entry.draft.commitment.0)) == entry.draft.tag;
        let mut keys = self.keys.region_owner.clone();
        if !fits(&keys) {
            keys = self.keys.of(owner)?;
            if !fits(&keys) {
                return Ok(None);
            }
        }
        let (_, bytes) =
            self.kv.get(&layout::opening(index)).await?.ok_or_else(|| Error::internal(format!("entry {index} has no opening")))?;
        let sealed: SealedOpening = base::decode(&bytes)?;
        journal::open(&keys.record, &entry.draft.commitment, &sealed.sealed).map(Some)
    }
}
