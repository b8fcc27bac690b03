//! What a region is, as its first start made it: kept sealed in its own store. A configuration can be edited by hand;
//! this can't, so a start under another name, place or key is refused before it writes anything.

use crate::keys::Keys;
use crate::{Trust, layout};
use base::{Error, Kind, Location, OsChance, Place, Result};
use crypto::{Secret, open_record, seal_record};
use serde::{Deserialize, Serialize};
use store::{Kv, Op};

/// What never changes of a region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// With the location it is the origin of the record, which witnesses know.
    pub domain: String,
    pub location: Location,
    /// Sorted by site.
    pub places: Vec<Place>,
}

base::first_version! { Made "trust.made"; }

impl Made {
    pub fn new(domain: &str, location: &Location, mut places: Vec<Place>) -> Made {
        places.sort_by(|a, b| a.site.cmp(&b.site));
        Made { domain: domain.to_owned(), location: location.clone(), places }
    }

    /// What is in the store; `None` in a new one.
    pub(crate) async fn read(kv: &dyn Kv, keys: &Keys) -> Result<Option<Made>> {
        let row = layout::key_row("made");
        let Some((_, sealed)) = kv.get(&row).await? else { return Ok(None) };
        base::decode(&open_record(&keys.facts, &row, &sealed)?).map(Some)
    }

    pub(crate) fn op(&self, keys: &Keys, chance: &dyn base::Chance) -> Op {
        let row = layout::key_row("made");
        let sealed = seal_record(&keys.facts, chance, &row, &base::encode(self));
        Op::Put(row, sealed.into())
    }

    /// Error `NotThisRegion` (kind Conflict): the store is of a region made otherwise.
    pub(crate) fn is_as(&self, asked: &Made) -> Result<()> {
        if self == asked {
            return Ok(());
        }
        let message = format!("The store is of the region {}/{}, which was made with other settings.", self.domain, self.location);
        Err(Error::new(Kind::Conflict, "NotThisRegion", message))
    }
}

impl Trust {
    /// How the region in a store was made; `None`: none is whole there yet. Only reads. Error `WrongRootKey` (kind
    /// Forbidden): the root opens another region.
    pub async fn made(kv: &dyn Kv, root: &Secret<32>) -> Result<Option<Made>> {
        if !Trust::lives_in(kv).await? {
            return Ok(None);
        }
        let keys = Keys::open(kv, root, &OsChance).await?;
        Made::read(kv, &keys).await
    }

    /// What tells a region's store from every other, SHA-256; `None`: no region is there. Only reads.
    pub async fn store_digest(kv: &dyn Kv) -> Result<Option<[u8; 32]>> {
        let wrapped = kv.get(&layout::key_row("region")).await?;
        Ok(wrapped.map(|(_, wrapped)| crypto::sha256(&wrapped)))
    }
}
