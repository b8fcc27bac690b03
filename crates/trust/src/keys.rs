//! The key hierarchy: root → region → tenant → space → record or chunk.
//!
//! The root comes from outside (a sealed file on a laptop); everything below is wrapped by the key above it and kept in
//! reserved rows. Unwrapped keys stay in this process's memory, zeroised when dropped.

use crate::facts::Space;
use crate::layout;
use base::{Chance, Error, Kind, Result, SpaceId, TenantId};
use crypto::{HmacKey, SealKey, Secret, SecretBytes, unwrap_key, wrap_key};
use record::Owner;
use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use store::{Check, Commit, Kv, Op};

/// The keys of one owner of record entries: a tenant, the operator, or the region itself.
pub(crate) struct OwnerKeys {
    /// Wraps the keys of the owner's spaces.
    pub wrap: SealKey,
    /// Seals the openings of the owner's entries. A key of its own: it outlives the retention period.
    pub record: SealKey,
    /// Tags the owner's entries, so that it can tell them from others'.
    pub tag: HmacKey,
    pub tag_key: [u8; 32],
}

impl OwnerKeys {
    fn new(wrap: &Secret<32>, record: &Secret<32>) -> OwnerKeys {
        let record = SealKey::new(record);
        let tag_key = *record.derive_secret(&[b"tag"]).expose();
        OwnerKeys { wrap: SealKey::new(wrap), record, tag: HmacKey::new(&tag_key), tag_key }
    }
}

pub(crate) struct Keys {
    region: SealKey,
    /// Seals facts, credentials of nobody's space, ledgers and the log's own rows.
    pub facts: SealKey,
    /// Of the region's own entries, which everyone may open.
    pub region_owner: Arc<OwnerKeys>,
    /// Of what no tenant owns: the region's spaces, and the entries of what callers do there.
    pub operator: Arc<OwnerKeys>,
    tenants: RwLock<HashMap<TenantId, Arc<OwnerKeys>>>,
    spaces: RwLock<HashMap<SpaceId, SealKey>>,
}

fn secret32(bytes: &SecretBytes) -> Result<Secret<32>> {
    Secret::from_slice(bytes.expose())
}

impl Keys {
    /// Unwraps the region's key, or makes it when the store is new. Error `WrongRootKey` (kind Forbidden): the root does
    /// not open it (another region's root, or a damaged row).
    pub async fn open(kv: &dyn Kv, root: &Secret<32>, chance: &dyn Chance) -> Result<Keys> {
        let root = SealKey::new(root);
        let row = layout::key_row("region");
        let region = match kv.get(&row).await? {
            Some((_, wrapped)) => secret32(&unwrap_key(&root, &row, &wrapped).map_err(|e| {
                Error::new(Kind::Forbidden, "WrongRootKey", "The root key is another region's: it does not open this store.").because(e)
            })?)?,
            None => {
                let fresh = Secret::<32>::random(chance);
                let value = wrap_key(&root, chance, &row, fresh.expose()).into();
                kv.commit(Commit {
                    shard: layout::SHARD,
                    idem: 0,
                    checks: vec![Check::Absent(row.clone())],
                    ops: vec![Op::Put(row, value)],
                })
                .await?;
                fresh
            }
        };
        let region = SealKey::new(&region);
        let wrap = region.derive_secret(&[b"owner", b"wrap"]);
        let operator = OwnerKeys::new(&wrap, &region.derive_secret(&[b"operator", b"record"]));
        let mut owner = OwnerKeys::new(&wrap, &region.derive_secret(&[b"owner", b"record"]));
        // the region's own entries are open to everyone: their tag key is published
        owner.tag_key = record::REGION_TAG_KEY;
        owner.tag = HmacKey::new(&owner.tag_key);
        Ok(Keys {
            facts: region.derive(&[b"facts"]),
            region,
            region_owner: Arc::new(owner),
            operator: Arc::new(operator),
            tenants: RwLock::default(),
            spaces: RwLock::default(),
        })
    }

    /// Fresh keys for a new tenant, and the rows that keep them.
    pub fn new_tenant(&self, tenant: TenantId, chance: &dyn Chance) -> (Arc<OwnerKeys>, Vec<Op>) {
        let (wrap, record) = (Secret::<32>::random(chance), Secret::<32>::random(chance));
        let ops = [("tenant", &wrap), ("record", &record)].map(|(kind, secret)| {
            let row = layout::key_row(&format!("{kind}/{tenant}"));
            let value = wrap_key(&self.region, chance, &row, secret.expose()).into();
            Op::Put(row, value)
        });
        (Arc::new(OwnerKeys::new(&wrap, &record)), ops.into())
    }
    /// Once their rows are durable.
    pub fn add_tenant(&self, tenant: TenantId, keys: Arc<OwnerKeys>) {
        write(&self.tenants).insert(tenant, keys);
    }
    pub async fn load_tenant(&self, kv: &dyn Kv, tenant: TenantId) -> Result<()> {
        let mut secrets = Vec::new();
        for kind in ["tenant", "record"] {
            let row = layout::key_row(&format!("{kind}/{tenant}"));
            let (_, wrapped) = kv.get(&row).await?.ok_or_else(|| Error::internal(format!("tenant {tenant} has no {kind} key")))?;
            secrets.push(secret32(&unwrap_key(&self.region, &row, &wrapped)?)?);
        }
        self.add_tenant(tenant, Arc::new(OwnerKeys::new(&secrets[0], &secrets[1])));
        Ok(())
    }
    /// The keys of a tenant, or of the operator where there is none: whoever owns what an act is about.
    pub fn owner(&self, tenant: Option<TenantId>) -> Result<Arc<OwnerKeys>> {
        self.of(tenant.map_or(Owner::Operator, Owner::Tenant))
    }
    /// The keys of an entry's owner.
    pub fn of(&self, owner: Owner) -> Result<Arc<OwnerKeys>> {
        match owner {
            Owner::Region => Ok(self.region_owner.clone()),
            Owner::Operator => Ok(self.operator.clone()),
            Owner::Tenant(t) => read(&self.tenants).get(&t).cloned().ok_or_else(|| Error::internal(format!("tenant {t} has no keys"))),
        }
    }

    /// A fresh key for a new space, wrapped by its owner's.
    pub fn new_space(&self, id: SpaceId, owner: &OwnerKeys, chance: &dyn Chance) -> Vec<u8> {
        let secret = Secret::<32>::random(chance);
        let wrapped = wrap_key(&owner.wrap, chance, id.0.as_bytes(), secret.expose());
        write(&self.spaces).insert(id, SealKey::new(&secret));
        wrapped
    }
    pub fn space(&self, space: &Space) -> Result<SealKey> {
        if let Some(key) = read(&self.spaces).get(&space.id) {
            return Ok(key.clone());
        }
        let owner = self.owner(space.tenant)?;
        let key = SealKey::new(&secret32(&unwrap_key(&owner.wrap, space.id.0.as_bytes(), &space.wrapped_key)?)?);
        write(&self.spaces).insert(space.id, key.clone());
        Ok(key)
    }
    pub fn forget_space(&self, id: SpaceId) {
        write(&self.spaces).remove(&id);
    }

    /// Seals what belongs to the region under a name: its log key, its token key, its certificate authority.
    pub fn seal_region_secret(&self, row: &[u8], secret: &SecretBytes, chance: &dyn Chance) -> Vec<u8> {
        wrap_key(&self.region, chance, row, secret.expose())
    }
    pub fn open_region_secret(&self, row: &[u8], wrapped: &[u8]) -> Result<SecretBytes> {
        unwrap_key(&self.region, row, wrapped)
    }
    /// A key for one purpose of the region.
    pub fn derive(&self, purpose: &str) -> SealKey {
        self.region.derive(&[b"purpose", purpose.as_bytes()])
    }
}

// A poisoned lock means a panic elsewhere; the maps are valid after any of their single-step changes.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(|e| e.into_inner())
}
fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(|e| e.into_inner())
}
