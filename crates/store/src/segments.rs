//! Chunks of one site in append-only files of up to 1 GiB.
//!
//! Several appenders write, each a thread with a file of its own: what waits is written together and shares one flush.
//! Chunks from 256 KiB go past the kernel's cache, aligned to pages, where the file system lets them, and out of the
//! [`Slab`] they were made in; smaller ones are packed closely in files of their own. A chunk is `header ‖ bytes`:
//!
//! | header field | bytes |
//! |---|---|
//! | `bleuchk1` | 8 |
//! | id | 16 |
//! | length, u64 big-endian | 8 |
//! | CRC-64/NVME of the bytes | 8 |
//! | CRC-64/NVME of the header up to here | 8 |
//!
//! Nothing is repaired after a crash: a place is only ever handed out after its flush, so a torn tail is referred to by
//! nobody. The next append begins on the page behind it. Space comes back by holes punched into files, and whole files
//! removed; chunks never move, so a place stays true.

use crate::chunk::{Blobs, CHUNK_BYTES_MAX, ChunkId, Mark, Placed, Swept};
use crate::disk::{DIRECT_BYTES, Disk, DiskFile};
use crate::live::{Live, Pages};
use crate::row::checksum;
use crate::slab::{Slab, Slabs};
use base::{Error, Fut, Kind, Result, SiteName};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

const SEGMENT_BYTES_MAX: u64 = 1 << 30;
const LARGE_BYTES_MIN: usize = 256 << 10;
/// Written and flushed together; a single larger chunk goes alone.
const GROUP_BYTES_MAX: usize = 8 << 20;
const QUEUE_MAX: usize = 256;
/// Large chunks that wait for one appender.
const LARGE_QUEUE_MAX: usize = 8;
const LARGE_APPENDERS: usize = 2;
/// Up to this a read is done on the caller's thread: most come from the kernel's cache, and a hop costs more.
const READ_HERE_BYTES_MAX: u64 = 64 << 10;

/// Files kept open for reading; beyond, all are closed and open again as they are needed.
const OPEN_FILES_MAX: usize = 256;

const MAGIC: &[u8; 8] = b"bleuchk1";
pub(crate) const HEADER_BYTES: usize = 48;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    id: ChunkId,
    length: u64,
    checksum: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..24].copy_from_slice(&self.id.0);
        out[24..32].copy_from_slice(&self.length.to_be_bytes());
        out[32..40].copy_from_slice(&self.checksum.to_be_bytes());
        let own = checksum(&[&out[..40]]);
        out[40..].copy_from_slice(&own.to_be_bytes());
        out
    }

    /// Strict: exactly a header. `None`: damaged, or none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER_BYTES] = bytes.try_into().ok()?;
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        if &bytes[..8] != MAGIC || checksum(&[&bytes[..40]]) != number(40) {
            return None;
        }
        let id = ChunkId(bytes[8..24].try_into().expect("16 bytes"));
        Some(Header { id, length: number(24), checksum: number(32) })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Size {
    Small,
    Large,
}

impl Size {
    fn suffix(self) -> &'static str {
        match self {
            Size::Small => "small",
            Size::Large => "large",
        }
    }
}

fn file_name(number: u32, size: Size) -> String {
    format!("{number:08}.{}", size.suffix())
}

fn parse_file_name(name: &str) -> Option<(u32, Size)> {
    let (number, suffix) = name.split_once('.')?;
    let size = [Size::Small, Size::Large].into_iter().find(|size| size.suffix() == suffix)?;
    let number = number.parse().ok()?;
    (file_name(number, size) == name).then_some((number, size))
}

struct Segment {
    size: Size,
    /// Opened at its first use, closed when too many are open.
    file: Option<Arc<dyn DiskFile>>,
    /// Where the next chunk goes, or would.
    end: u64,
    /// An appender has it.
    active: bool,
    /// Not appended to any more.
    sealed: bool,
}

struct Shared {
    site: SiteName,
    disk: Arc<dyn Disk>,
    segments: Mutex<BTreeMap<u32, Segment>>,
}

struct Put {
    id: ChunkId,
    body: Body,
    reply: oneshot::Sender<Result<Placed>>,
}

enum Body {
    Bytes(Bytes),
    /// As many bytes of its content.
    Slab(Slab, usize),
}

impl Body {
    fn bytes(&self) -> &[u8] {
        match self {
            Body::Bytes(bytes) => bytes,
            Body::Slab(slab, length) => &slab.content()[..*length],
        }
    }
}

type Running = (mpsc::Sender<Put>, JoinHandle<()>);

/// The chunks of one site, on a [`Disk`].
pub struct Segments {
    shared: Arc<Shared>,
    /// The first takes small chunks, the others large ones. Started at their first chunk.
    appenders: Mutex<[Option<Running>; 1 + LARGE_APPENDERS]>,
    turn: AtomicUsize,
    slabs: Arc<Slabs>,
}

impl Segments {
    /// Reads the list of files and their lengths, nothing else. Error: Internal, the disk failed.
    pub fn open(site: SiteName, disk: Arc<dyn Disk>) -> Result<Segments> {
        let mut segments = BTreeMap::new();
        for name in disk.list().map_err(Error::internal)? {
            let Some((number, size)) = parse_file_name(&name) else { continue };
            let file = disk.open(&name, false).map_err(Error::internal)?;
            let end = page_up(file.len().map_err(Error::internal)?);
            drop(file);
            let sealed = end + CHUNK_BYTES_MAX as u64 > SEGMENT_BYTES_MAX;
            segments.insert(number, Segment { size, file: None, end, active: false, sealed });
        }
        let shared = Arc::new(Shared { site, disk, segments: Mutex::new(segments) });
        Ok(Segments { shared, appenders: Mutex::default(), turn: AtomicUsize::new(0), slabs: Arc::default() })
    }

    async fn append(&self, id: ChunkId, body: Body) -> Result<Placed> {
        let size = match &body {
            Body::Bytes(bytes) if bytes.len() < LARGE_BYTES_MIN => Size::Small,
            _ => Size::Large,
        };
        let (reply, answer) = oneshot::channel();
        let gone = || Error::internal("the appender is gone");
        self.appender(size)?.send(Put { id, body, reply }).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    fn appender(&self, size: Size) -> Result<mpsc::Sender<Put>> {
        let (at, queue) = match size {
            Size::Small => (0, QUEUE_MAX),
            Size::Large => (1 + self.turn.fetch_add(1, Ordering::Relaxed) % LARGE_APPENDERS, LARGE_QUEUE_MAX),
        };
        let mut appenders = self.appenders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((sender, _)) = &appenders[at] {
            return Ok(sender.clone());
        }
        let (sender, puts) = mpsc::channel(queue);
        let appender = Appender { shared: self.shared.clone(), size, open: None };
        let thread = std::thread::Builder::new().name(format!("append-{at}")).spawn(move || appender.run(puts)).map_err(Error::internal)?;
        appenders[at] = Some((sender.clone(), thread));
        Ok(sender)
    }
}

/// Room for a header and a range of content; for none of it where no chunk has that range, which reading then says.
fn room_for(range: &Range<u64>) -> Vec<u8> {
    let bytes = range.end.saturating_sub(range.start);
    vec![0; HEADER_BYTES + if bytes <= CHUNK_BYTES_MAX as u64 { bytes as usize } else { 0 }]
}

fn too_large() -> Error {
    Error::new(Kind::TooLarge, "ChunkTooLarge", format!("A chunk holds at most {CHUNK_BYTES_MAX} bytes."))
}

fn page_up(offset: u64) -> u64 {
    offset.next_multiple_of(DIRECT_BYTES as u64)
}

fn page_down(offset: u64) -> u64 {
    offset - offset % DIRECT_BYTES as u64
}

impl Shared {
    /// Frees everything before `mark` that is not in `live`: files without a live chunk are removed, those at least half
    /// dead get holes.
    fn sweep(&self, mark: &Mark, live: &Live) -> Result<Swept> {
        let mut swept = Swept::default();
        for (number, end) in &mark.0 {
            self.sweep_segment(*number, *end, live.of(*number), &mut swept).map_err(Error::internal)?;
        }
        if swept.segments_removed > 0 {
            self.disk.sync_folder().map_err(Error::internal)?;
        }
        Ok(swept)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Segment>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, at: &Placed) -> Result<Arc<dyn DiskFile>> {
        let missing = || Error::internal(format!("segment {} of site {} is not there", at.segment, self.site));
        self.open_file(&mut self.lock(), at.segment).map_err(Error::internal)?.ok_or_else(missing)
    }

    /// The file of a segment, which stays open; `None`: no such segment.
    fn open_file(&self, segments: &mut BTreeMap<u32, Segment>, number: u32) -> io::Result<Option<Arc<dyn DiskFile>>> {
        match segments.get(&number) {
            None => return Ok(None),
            Some(Segment { file: Some(file), .. }) => return Ok(Some(file.clone())),
            Some(_) => {}
        }
        if segments.values().filter(|segment| segment.file.is_some()).count() >= OPEN_FILES_MAX {
            segments.values_mut().for_each(|segment| segment.file = None);
        }
        let Some(segment) = segments.get_mut(&number) else { return Ok(None) };
        let file = self.disk.open(&file_name(number, segment.size), false)?;
        segment.file = Some(file.clone());
        Ok(Some(file))
    }

    /// `room`: [`room_for`] the range.
    fn read(&self, id: ChunkId, at: &Placed, range: &Range<u64>, mut room: Vec<u8>) -> Result<Bytes> {
        let damaged = |why: &str| Error::internal(format!("chunk {id} in segment {} at {} {why}", at.segment, at.offset));
        if at.site != self.site {
            return Err(damaged("is at another site"));
        }
        if range.start > range.end || range.end > at.length || at.length > CHUNK_BYTES_MAX as u64 {
            return Err(damaged("is shorter than the range asked for"));
        }
        let file = self.file(at)?;
        // one read when the range follows the header, two otherwise
        let together = if range.start == 0 { room.len() } else { HEADER_BYTES };
        file.read_at(at.offset, &mut room[..together]).map_err(|e| damaged("cannot be read").because(e))?;
        let header = Header::decode(&room[..HEADER_BYTES]).ok_or_else(|| damaged("has no readable header"))?;
        if header.id != id || header.length != at.length {
            return Err(damaged("is another chunk"));
        }
        let offset = at.offset + HEADER_BYTES as u64 + range.start;
        file.read_at(offset + (together - HEADER_BYTES) as u64, &mut room[together..]).map_err(|e| damaged("cannot be read").because(e))?;
        let bytes = Bytes::from(room).slice(HEADER_BYTES..);
        if range.start == 0 && range.end == at.length && checksum(&[&bytes]) != header.checksum {
            return Err(damaged("fails its checksum"));
        }
        Ok(bytes)
    }

    /// Zeroes the header, so that the chunk is gone for readers, and gives whole pages back.
    fn delete(&self, at: &Placed) -> Result<()> {
        let Ok(file) = self.file(at) else { return Ok(()) };
        let mut header = [0; HEADER_BYTES];
        match file.read_at(at.offset, &mut header) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            outcome => outcome.map_err(Error::internal)?,
        }
        // not a header of this length: deleted before
        if Header::decode(&header).is_none_or(|header| header.length != at.length) {
            return Ok(());
        }
        file.write_at(at.offset, &[0; HEADER_BYTES]).map_err(Error::internal)?;
        let end = at.offset + HEADER_BYTES as u64 + at.length;
        punch(&*file, at.offset..end).map(|_| ()).map_err(Error::internal)
    }

    fn sweep_segment(&self, number: u32, end: u64, live: Option<&Pages>, swept: &mut Swept) -> io::Result<()> {
        let mut segments = self.lock();
        // the highest number stays, so that no number is given twice
        let highest = segments.last_key_value().is_some_and(|(last, _)| *last == number);
        let Some(segment) = segments.get_mut(&number) else { return Ok(()) };
        if live.is_none() && !segment.active && segment.end == end && !highest {
            let name = file_name(number, segment.size);
            swept.bytes_freed += end;
            self.disk.remove(&name)?;
            segments.remove(&number);
            swept.segments_removed += 1;
            return Ok(());
        }
        if live.is_some_and(|live| live.bytes * 2 > end) {
            return Ok(());
        }
        let Some(file) = self.open_file(&mut segments, number)? else { return Ok(()) };
        drop(segments);
        let gaps = live.map_or_else(|| std::iter::once(0..end).collect(), |live| live.gaps(end));
        for gap in gaps {
            swept.bytes_freed += punch(&*file, gap)?;
        }
        Ok(())
    }

    /// A segment with room for `bytes`: one that waits, or a new one, whose name is durable.
    fn take_segment(&self, size: Size, bytes: u64) -> io::Result<Open> {
        let mut segments = self.lock();
        let waiting = segments
            .iter_mut()
            .find(|(_, segment)| segment.size == size && !segment.active && !segment.sealed && segment.end + bytes <= SEGMENT_BYTES_MAX);
        let number = match waiting {
            Some((number, segment)) => {
                segment.active = true;
                *number
            }
            None => {
                let number = segments.last_key_value().map_or(1, |(last, _)| last + 1);
                let file = self.disk.open(&file_name(number, size), true)?;
                segments.insert(number, Segment { size, file: Some(file), end: 0, active: true, sealed: false });
                number
            }
        };
        let end = segments[&number].end;
        let cached = self.open_file(&mut segments, number);
        drop(segments);
        let opened = cached.and_then(|cached| {
            let cached = cached.ok_or(io::ErrorKind::NotFound)?;
            self.disk.sync_folder()?;
            let direct = if size == Size::Large { self.open_direct(&file_name(number, size))? } else { None };
            Ok(Open { number, end, cached, direct })
        });
        // it is marked as taken already
        opened.inspect_err(|_| self.give_back(number, true))
    }

    /// `None`: the file system can't.
    fn open_direct(&self, name: &str) -> io::Result<Option<Arc<dyn DiskFile>>> {
        match self.disk.open_direct(name) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn give_back(&self, number: u32, sealed: bool) {
        if let Some(segment) = self.lock().get_mut(&number) {
            segment.active = false;
            segment.sealed |= sealed;
        }
    }

    fn is_full(&self) -> bool {
        self.disk.free_bytes().is_ok_and(|free| free < crate::CONTENT_RESERVE_BYTES)
    }
}

/// Frees the whole pages of a range; bytes freed. A file system that can't leaves them.
fn punch(file: &dyn DiskFile, range: Range<u64>) -> io::Result<u64> {
    let (start, end) = (page_up(range.start), page_down(range.end));
    if start >= end {
        return Ok(0);
    }
    match file.punch(start, end - start) {
        Ok(()) => Ok(end - start),
        Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(0),
        Err(e) => Err(e),
    }
}

/// The segment an appender writes to.
struct Open {
    number: u32,
    end: u64,
    cached: Arc<dyn DiskFile>,
    direct: Option<Arc<dyn DiskFile>>,
}

struct Appender {
    shared: Arc<Shared>,
    size: Size,
    open: Option<Open>,
}

impl Appender {
    fn run(mut self, mut puts: mpsc::Receiver<Put>) {
        while let Some(first) = puts.blocking_recv() {
            let mut bytes = first.body.bytes().len();
            let mut group = vec![first];
            while bytes < GROUP_BYTES_MAX && group.len() < QUEUE_MAX {
                let Ok(put) = puts.try_recv() else { break };
                bytes += put.body.bytes().len();
                group.push(put);
            }
            self.append_group(group);
        }
        if let Some(open) = self.open {
            self.shared.give_back(open.number, false);
        }
    }

    fn append_group(&mut self, mut group: Vec<Put>) {
        let align = if self.size == Size::Large { DIRECT_BYTES } else { 8 };
        let mut starts = Vec::with_capacity(group.len());
        let mut total = 0;
        for put in &group {
            starts.push(total);
            total += (HEADER_BYTES + put.body.bytes().len()).next_multiple_of(align);
        }
        let written = self.write(&mut group, &starts, total);
        for (put, start) in group.into_iter().zip(starts) {
            let answer = match &written {
                Ok((segment, offset)) => {
                    let length = put.body.bytes().len() as u64;
                    Ok(Placed { site: self.shared.site.clone(), segment: *segment, offset: offset + start as u64, length })
                }
                Err(e) if e.kind() == io::ErrorKind::StorageFull => Err(Error::new(Kind::Unavailable, "DiskFull", crate::chunk::DISK_FULL)),
                Err(e) => Err(Error::internal(format!("appending to a segment of site {}: {e}", self.shared.site))),
            };
            // a caller that went away leaves garbage for the collector
            let _ = put.reply.send(answer);
        }
    }

    /// Segment and offset of the first chunk, once all are durable. After an error the segment is left for good: what
    /// its pages hold is not known, and a later flush would not tell.
    fn write(&mut self, group: &mut [Put], starts: &[usize], total: usize) -> io::Result<(u32, u64)> {
        if self.shared.is_full() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let bytes = total as u64;
        if let Some(open) = self.open.take_if(|open| open.end + bytes > SEGMENT_BYTES_MAX) {
            self.shared.give_back(open.number, true);
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.shared.take_segment(self.size, bytes)?,
        };
        if let Err(e) = open.append(group, starts, total) {
            self.shared.give_back(open.number, true);
            return Err(e);
        }
        let place = (open.number, open.end);
        open.end += bytes;
        if let Some(segment) = self.shared.lock().get_mut(&open.number) {
            segment.end = open.end;
        }
        self.open = Some(open);
        Ok(place)
    }
}

impl Open {
    fn append(&mut self, group: &mut [Put], starts: &[usize], total: usize) -> io::Result<()> {
        let mut at = 0;
        while at < group.len() {
            let start = starts[at];
            if let Body::Slab(slab, length) = &mut group[at].body {
                let header = Header { id: group[at].id, length: *length as u64, checksum: checksum(&[&slab.content()[..*length]]) };
                self.write_at(start, slab.finish(&header.encode(), *length))?;
                at += 1;
                continue;
            }
            let run = group[at..].iter().take_while(|put| matches!(put.body, Body::Bytes(_))).count();
            let end = starts.get(at + run).copied().unwrap_or(total);
            // slack, so that an aligned copy fits
            let mut buffer = vec![0; end - start + DIRECT_BYTES];
            let slack = buffer.as_ptr().align_offset(DIRECT_BYTES).min(DIRECT_BYTES);
            let copy = &mut buffer[slack..slack + end - start];
            for (put, place) in group[at..at + run].iter().zip(&starts[at..]) {
                let bytes = put.body.bytes();
                let header = Header { id: put.id, length: bytes.len() as u64, checksum: checksum(&[bytes]) };
                let chunk = &mut copy[place - start..][..HEADER_BYTES + bytes.len()];
                chunk[..HEADER_BYTES].copy_from_slice(&header.encode());
                chunk[HEADER_BYTES..].copy_from_slice(bytes);
            }
            self.write_at(start, copy)?;
            at += run;
        }
        self.direct.as_ref().unwrap_or(&self.cached).sync()
    }

    /// `start`: from the segment's end on, as it was before this group.
    fn write_at(&mut self, start: usize, bytes: &[u8]) -> io::Result<()> {
        let offset = self.end + start as u64;
        if let Some(direct) = &self.direct {
            match direct.write_at(offset, bytes) {
                // some file systems take the flag and refuse the write
                Err(e) if e.kind() == io::ErrorKind::InvalidInput => self.direct = None,
                outcome => return outcome,
            }
        }
        self.cached.write_at(offset, bytes)
    }
}

impl Blobs for Segments {
    fn site(&self) -> &SiteName {
        &self.shared.site
    }

    fn put(&self, id: ChunkId, bytes: Bytes) -> Fut<'_, Result<Placed>> {
        if bytes.len() > CHUNK_BYTES_MAX {
            return Box::pin(std::future::ready(Err(too_large())));
        }
        Box::pin(self.append(id, Body::Bytes(bytes)))
    }

    fn slab(&self) -> Option<Slab> {
        self.slabs.take(HEADER_BYTES, CHUNK_BYTES_MAX)
    }

    fn put_slab(&self, id: ChunkId, slab: Slab, length: usize) -> Fut<'_, Result<Placed>> {
        if length > slab.content().len() {
            return Box::pin(std::future::ready(Err(too_large())));
        }
        // one that another store made has no room for the header
        if !slab.is_of(&self.slabs) {
            return self.put(id, Bytes::copy_from_slice(&slab.content()[..length]));
        }
        Box::pin(self.append(id, Body::Slab(slab, length)))
    }

    fn read<'a>(&'a self, id: ChunkId, at: &'a Placed, range: Range<u64>) -> Fut<'a, Result<Bytes>> {
        let here = range.end.saturating_sub(range.start) <= READ_HERE_BYTES_MAX;
        // on the caller's thread: a reading thread that comes and goes would leave its allocator holding a buffer or two
        let room = room_for(&range);
        let runtime = match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !here => runtime,
            _ => return Box::pin(std::future::ready(self.shared.read(id, at, &range, room))),
        };
        let (shared, at) = (self.shared.clone(), at.clone());
        let reading = runtime.spawn_blocking(move || shared.read(id, &at, &range, room));
        Box::pin(async move { reading.await.unwrap_or_else(|e| Err(Error::internal(e))) })
    }

    fn delete<'a>(&'a self, at: &'a [Placed]) -> Fut<'a, Result<()>> {
        Box::pin(async move {
            for at in at.iter().filter(|at| at.site == self.shared.site) {
                self.shared.delete(at)?;
            }
            Ok(())
        })
    }

    fn free_bytes(&self) -> Option<u64> {
        self.shared.disk.free_bytes().ok()
    }

    fn mark(&self) -> Mark {
        Mark(self.shared.lock().iter().map(|(number, segment)| (*number, segment.end)).collect())
    }

    fn sweep(&self, mark: Mark, live: Live) -> Fut<'_, Result<Swept>> {
        let shared = self.shared.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return Box::pin(std::future::ready(shared.sweep(&mark, &live)));
        };
        let sweeping = runtime.spawn_blocking(move || shared.sweep(&mark, &live));
        Box::pin(async move { sweeping.await.unwrap_or_else(|e| Err(Error::internal(e))) })
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        let mut appenders = self.appenders.lock().unwrap_or_else(PoisonError::into_inner);
        for (sender, thread) in appenders.iter_mut().filter_map(Option::take) {
            drop(sender);
            // an appender that panicked has answered nobody: its callers know
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header as the first version wrote it: it is read for ever.
    #[test]
    fn a_stored_header_stays_as_it_is() {
        let header = Header { id: ChunkId([7; 16]), length: 4_096, checksum: 0x0102_0304_0506_0708 };
        let bytes: String = header.encode().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(bytes, "626c657563686b31070707070707070707070707070707070000000000001000010203040506070801205ea84f5d5e55");
        assert_eq!(Header::decode(&header.encode()), Some(header));
    }

    #[test]
    fn only_our_own_file_names_are_segments() {
        assert_eq!(parse_file_name("00000012.large"), Some((12, Size::Large)));
        for other in ["12.large", "00000012.huge", "00000012", "-0000012.small", "00000012.small.new", ""] {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
    }
}
