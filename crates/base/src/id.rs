//! Ids that do not fit in each other's slot.

use crate::{Chance, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! guid {
    ($($(#[$doc:meta])+ $name:ident;)*) => {$(
        $(#[$doc])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh random (version 4) id.
            pub fn random(chance: &dyn Chance) -> $name {
                let mut bytes = [0; 16];
                chance.fill(&mut bytes);
                $name(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.hyphenated().fmt(f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!(stringify!($name), "({})"), self.0) }
        }
        impl FromStr for $name {
            type Err = Error;
            /// Accepts the hyphenated form in any case; error `InvalidGuid` (kind Invalid).
            fn from_str(s: &str) -> Result<$name> {
                if s.len() != 36 { return Err(Error::invalid("InvalidGuid", format!("'{s}' is not a GUID."))); }
                Uuid::try_parse(s).map($name).map_err(|_| Error::invalid("InvalidGuid", format!("'{s}' is not a GUID.")))
            }
        }
    )*};
}

guid! {
    /// A tenant: one customer's directory.
    TenantId;
    /// A subscription of a tenant.
    SubscriptionId;
    /// A directory object: user, group or service principal.
    ObjectId;
    /// An application (client) id.
    AppId;
    /// One request, from the gateway to the record (`x-ms-request-id`).
    RequestId;
    /// One long operation of ARM.
    OperationId;
    /// A space: the rows, chunks and key of one resource (or tenant, or subscription). Never used twice, so that a
    /// resource made anew under an old name starts empty.
    SpaceId;
}

/// The unit of committer and outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shard(pub u16);

/// Where an entry stands in its shard's outbox. Numbers start at 1 and have no gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId {
    pub shard: Shard,
    pub number: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.shard.0, self.number)
    }
}
