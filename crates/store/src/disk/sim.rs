//! A disk in memory that behaves as badly as disks do, decided by a seed.
//!
//! It keeps two images of each file: what a reader sees, and what the platter holds. A write reaches the platter at
//! the next good sync. At a [`SimDisk::crash`] each write not yet synced is kept, dropped or torn, sector by sector,
//! by chance, and of the creations, removals and renames not yet synced a first part survives. After a failed sync
//! the writes it covered may be lost although later syncs succeed, as Linux does it: who retries a sync is told lies.

use super::{DIRECT_BYTES, Disk, DiskFile};
use base::{Chance, SeededChance};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR_BYTES: usize = 512;

/// What goes wrong at a chosen step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The step fails with EIO, having done a part of it.
    Broken,
    /// The step fails with ENOSPC. A sync or read that meets it succeeds.
    Full,
    /// The power goes: this step and all after it fail, until [`SimDisk::crash`].
    Power,
}

/// Clones share the disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    seed: u64,
    chance: SeededChance,
    /// Every file there ever was; a name leads to one.
    files: Vec<Image>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<NameChange>,
    /// Steps that change the disk, done so far.
    steps: u64,
    faults: BTreeMap<u64, Fault>,
    powered: bool,
    capacity_bytes: u64,
    /// Counts crashes: a handle from before one is dead.
    boot: u64,
}

#[derive(Clone, Debug)]
enum NameChange {
    Set(String, usize),
    Remove(String),
}

#[derive(Clone, Debug, Default)]
struct Image {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl SimDisk {
    /// An empty disk. The seed decides everything; print it when a test fails ([`SimDisk::seed`]).
    pub fn new(seed: u64) -> SimDisk {
        let state = State {
            seed,
            chance: SeededChance::new(seed),
            files: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            steps: 0,
            faults: BTreeMap::new(),
            powered: true,
            capacity_bytes: u64::MAX,
            boot: 0,
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn seed(&self) -> u64 {
        self.lock().seed
    }
    /// Writes, syncs, length changes, creations, removals, renames and holes so far.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }
    /// Plans a fault for the step with this number (the next one is `steps() + 1`).
    pub fn fail_step(&self, step: u64, fault: Fault) {
        self.lock().faults.insert(step, fault);
    }
    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.lock().capacity_bytes = bytes;
    }

    /// Cuts the power and turns it on again: what was not synced is lost, kept or torn. Planned faults are forgotten,
    /// open files are dead.
    pub fn crash(&self) {
        let mut state = self.lock();
        let state = &mut *state;
        let kept = state.chance.below(state.pending_names.len() as u64 + 1) as usize;
        for change in state.pending_names.drain(..).take(kept) {
            match change {
                NameChange::Set(name, file) => drop(state.durable_names.insert(name, file)),
                NameChange::Remove(name) => drop(state.durable_names.remove(&name)),
            }
        }
        state.names = state.durable_names.clone();
        for image in &mut state.files {
            image.lose(&state.chance);
        }
        state.faults.clear();
        state.powered = true;
        state.boot += 1;
    }

    fn open_file(&self, name: &str, create: bool, direct: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        let boot = state.boot;
        state.alive(boot)?;
        let file = match state.names.get(name) {
            Some(file) => *file,
            None if create => {
                state.whole_step(boot)?;
                state.files.push(Image::default());
                let file = state.files.len() - 1;
                state.names.insert(name.to_owned(), file);
                state.pending_names.push(NameChange::Set(name.to_owned(), file));
                file
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(SimFile { disk: self.clone(), file, boot, direct }))
    }

    /// Flips one bit, on the platter and for readers. Error: no such file, or behind its end.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) -> io::Result<()> {
        let mut state = self.lock();
        let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let image = &mut state.files[file];
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let byte = image.seen.get_mut(at).ok_or(io::ErrorKind::UnexpectedEof)?;
        *byte ^= 1 << (bit % 8);
        if let Some(byte) = image.durable.get_mut(at) {
            *byte ^= 1 << (bit % 8);
        }
        Ok(())
    }

    /// The bytes of a file as a reader sees them.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        state.names.get(name).map(|file| state.files[*file].seen.clone())
    }
}

trait Below {
    fn below(&self, bound: u64) -> u64;
}
impl Below for SeededChance {
    fn below(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes) % bound
    }
}

impl Image {
    /// Only what is pending: after a failed sync `seen` holds bytes that no later sync writes.
    fn sync_pending(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Length(len) => self.durable.resize(len as usize, 0),
                Change::Write(offset, bytes) => write_into(&mut self.durable, offset, &bytes),
            }
        }
    }

    /// The platter after a power cut, or after a failed sync: each unsynced change is kept, dropped or torn.
    fn lose(&mut self, chance: &SeededChance) {
        for change in std::mem::take(&mut self.pending) {
            match (change, chance.below(3)) {
                (_, 0) => {}
                (Change::Length(len), _) => self.durable.resize(len as usize, 0),
                (Change::Write(offset, bytes), 1) => write_into(&mut self.durable, offset, &bytes),
                (Change::Write(offset, bytes), _) => {
                    for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        if chance.below(2) == 0 {
                            write_into(&mut self.durable, offset + (number * SECTOR_BYTES) as u64, sector);
                        }
                    }
                }
            }
        }
        self.seen.clone_from(&self.durable);
    }
}

fn write_into(image: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + bytes.len());
    if image.len() < end {
        image.resize(end, 0);
    }
    image[start..end].copy_from_slice(bytes);
}

fn no_power() -> io::Error {
    io::Error::other("the simulated disk has no power")
}

/// A failing test names the seed that reproduces it.
impl Drop for State {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("simulated disk: seed {}, {} steps, {} crashes", self.seed, self.steps, self.boot);
        }
    }
}

impl State {
    fn used_bytes(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].seen.len() as u64).sum()
    }

    fn alive(&self, boot: u64) -> io::Result<()> {
        if self.powered && boot == self.boot { Ok(()) } else { Err(no_power()) }
    }

    /// Counts a step and says what goes wrong with it.
    fn step(&mut self, boot: u64) -> io::Result<Option<Fault>> {
        self.alive(boot)?;
        self.steps += 1;
        let fault = self.faults.remove(&self.steps);
        if fault == Some(Fault::Power) {
            self.powered = false;
            return Err(no_power());
        }
        Ok(fault)
    }

    /// A step that is done whole or not at all.
    fn whole_step(&mut self, boot: u64) -> io::Result<()> {
        match self.step(boot)? {
            None => Ok(()),
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(_) => Err(io::Error::other("the simulated disk is broken")),
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.open_file(name, create, false)
    }

    fn open_direct(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_file(name, false, true)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        let boot = state.boot;
        state.whole_step(boot)?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.pending_names.push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let boot = state.boot;
        state.whole_step(boot)?;
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        state.pending_names.extend([NameChange::Set(to.to_owned(), file), NameChange::Remove(from.to_owned())]);
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.alive(state.boot)?;
        Ok(state.names.keys().cloned().collect())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.lock();
        let boot = state.boot;
        if state.step(boot)? == Some(Fault::Broken) {
            return Err(io::Error::other("the simulated disk is broken"));
        }
        state.durable_names = state.names.clone();
        state.pending_names.clear();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.lock();
        Ok(state.capacity_bytes.saturating_sub(state.used_bytes()))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    file: usize,
    boot: u64,
    direct: bool,
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        state.alive(self.boot)?;
        Ok(state.files[self.file].seen.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.lock();
        state.alive(self.boot)?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let bytes = state.files[self.file].seen.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let is_aligned = offset.is_multiple_of(DIRECT_BYTES as u64)
            && bytes.len().is_multiple_of(DIRECT_BYTES)
            && bytes.as_ptr().addr().is_multiple_of(DIRECT_BYTES);
        assert!(is_aligned || !self.direct, "a direct write that is not aligned is a defect of its caller");
        let mut state = self.disk.lock();
        let fault = state.step(self.boot)?;
        let grows = (offset + bytes.len() as u64).saturating_sub(state.files[self.file].seen.len() as u64);
        let full = fault == Some(Fault::Full) || grows > state.capacity_bytes.saturating_sub(state.used_bytes());
        let done = match fault {
            None if !full => bytes.len(),
            _ => state.chance.below(bytes.len() as u64 + 1) as usize,
        };
        // a write that meets a full disk does not extend the file
        let done = if full { done.min((bytes.len() as u64 - grows.min(bytes.len() as u64)) as usize) } else { done };
        let image = &mut state.files[self.file];
        if done > 0 {
            write_into(&mut image.seen, offset, &bytes[..done]);
            image.pending.push(Change::Write(offset, bytes[..done].to_vec()));
        }
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if fault.is_some() { Err(io::Error::other("the simulated disk is broken")) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.whole_step(self.boot)?;
        let grows = len.saturating_sub(state.files[self.file].seen.len() as u64);
        if grows > state.capacity_bytes.saturating_sub(state.used_bytes()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let image = &mut state.files[self.file];
        image.seen.resize(len as usize, 0);
        image.pending.push(Change::Length(len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let fault = state.step(self.boot)?;
        let state = &mut *state;
        let image = &mut state.files[self.file];
        if fault == Some(Fault::Broken) {
            // the kernel marks the pages clean: readers go on seeing them, the platter has some of them
            let seen = image.seen.clone();
            image.lose(&state.chance);
            image.seen = seen;
            return Err(io::Error::other("the simulated disk is broken"));
        }
        image.sync_pending();
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = self.len()?.min(offset + len);
        if offset >= end {
            return Ok(());
        }
        self.write_at(offset, &vec![0; (end - offset) as usize])
    }
}
