//! The disk behind a small trait: one flat folder of files. [`RealDisk`] is the operating system's, [`SimDisk`] one
//! that fails as a seed says.

mod real;
mod sim;

pub use real::RealDisk;
pub use sim::{Fault, SimDisk};

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// A folder of files. File names are plain: no separators.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens a file for reading and writing; creates it when `create` and it is absent.
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file whose writes bypass the kernel's cache. [`io::ErrorKind::Unsupported`] where the file
    /// system can't. Offset, length and address of a write must then be multiples of [`DIRECT_BYTES`].
    fn open_direct(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Replaces `to` when it is there.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Names of the files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes creations, removals and renames durable.
    fn sync_folder(&self) -> io::Result<()>;
    fn free_bytes(&self) -> io::Result<u64>;
}

/// Alignment of direct writes, bytes: a multiple of the block size of any disk in use.
pub const DIRECT_BYTES: usize = 4096;

pub trait DiskFile: Debug + Send + Sync + 'static {
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `out`. [`io::ErrorKind::UnexpectedEof`] behind the end.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all; extends the file.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes what was written, and the length, durable. After an error nothing is known about earlier unsynced writes.
    fn sync(&self) -> io::Result<()>;
    /// Gives the blocks of a range back; it reads as zeros. [`io::ErrorKind::Unsupported`] where the file system can't.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;
}
