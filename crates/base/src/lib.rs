//! The words every floor shares: ids, names, places, time, chance, the stored-record marker and [`Error`]. No I/O.
//!
//! Nothing here reads a clock, a disk, a socket or a source of randomness: [`Clock`] and [`Chance`] are the small
//! traits through which the floors above do, so that a seed reproduces a run.

mod chance;
mod error;
mod id;
mod place;
mod resource_id;
mod stored;
mod text;
mod time;

pub use chance::{Chance, OsChance, SeededChance};
pub use error::{Error, Kind, Result};
pub use id::{AppId, EntryId, ObjectId, OperationId, RequestId, Shard, SpaceId, SubscriptionId, TenantId};
pub use place::{Location, Place, SiteName};
pub use resource_id::ResourceId;
pub use stored::{Stored, decode, encode};
pub use text::Text;
pub use time::{Clock, ManualClock, SystemClock, Timestamp};

/// A boxed future, the return type of the object-safe async methods of this workspace.
pub type Fut<'a, T> = std::pin::Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;
