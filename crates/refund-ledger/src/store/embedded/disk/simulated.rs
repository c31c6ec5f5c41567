//! A disk in memory that fails as disks fail, by a seed.
//!
//! It keeps what a running process sees apart from what would be there after a power cut. A cut keeps any subset
//! of the sectors and of the name changes that were not synced, in any order, and may tear a sector. A failed sync
//! makes some of the bytes durable and forgets that the others were not, as Linux does. What it does not play: a disk
//! that says "synced" and lies.

#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a model for tests: every range is clamped to the lengths just before, and a panic is a failing test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, LockError};

/// The unit that a power cut keeps or loses.
const SECTOR_BYTES: usize = 512;

/// The unit at which a sector is torn.
const TEAR_BYTES: usize = 8;

/// What goes wrong at an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails, a write or sync perhaps half done.
    Error,
    /// The disk is full: the operation fails, a write perhaps half done. Where an operation needs no space, it is
    /// carried out.
    Full,
    /// The power goes: this operation is perhaps half done, and every later one fails until
    /// [`SimulatedDisk::restart`].
    PowerCut,
}

/// A disk in memory. Clones share it.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    world: Arc<Mutex<World>>,
}

/// A file of a [`SimulatedDisk`]; dead after the next restart.
#[derive(Debug)]
pub struct SimulatedFile {
    world: Arc<Mutex<World>>,
    node: u64,
    boot: u64,
    writable: bool,
}

/// A lock on a [`SimulatedDisk`].
#[derive(Debug)]
pub struct SimulatedLock {
    world: Arc<Mutex<World>>,
    path: PathBuf,
    boot: u64,
}

#[derive(Debug)]
struct World {
    random: Random,
    nodes: BTreeMap<u64, Node>,
    nodes_made: u64,
    /// What a process sees.
    names: BTreeMap<PathBuf, u64>,
    /// What a power cut leaves at least.
    durable_names: BTreeMap<PathBuf, u64>,
    pending: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    operations: u64,
    faults: BTreeMap<u64, Fault>,
    boot: u64,
    down: bool,
}

#[derive(Debug, Default)]
struct Node {
    now: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Debug)]
enum NameChange {
    Create(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl SimulatedDisk {
    /// An empty disk whose faults follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let world = World {
            random: Random(seed),
            nodes: BTreeMap::new(),
            nodes_made: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            locks: BTreeSet::new(),
            operations: 0,
            faults: BTreeMap::new(),
            boot: 0,
            down: false,
        };
        Self {
            world: Arc::new(Mutex::new(world)),
        }
    }

    /// How many operations that change something were asked for so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    /// Plays `fault` at the operation with the given number, counted from 0 as by
    /// [`operations`](Self::operations).
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.world().faults.insert(operation, fault);
    }

    /// Ends the process but not the machine: locks go, files close, and what was written is still seen. Faults that
    /// are still to come are forgotten.
    pub fn kill(&self) {
        self.world().boot_again();
    }

    /// Cuts the power, loses what may be lost, and comes up again.
    pub fn restart(&self) {
        let mut world = self.world();
        world.lose_names();
        world.lose_sectors();
        world.boot_again();
    }

    /// Every file as a process sees it now.
    #[must_use]
    pub fn image(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let world = self.world();
        let mut image = BTreeMap::new();
        for (path, id) in &world.names {
            let bytes = world.nodes.get(id).map(|node| node.now.clone());
            image.insert(path.clone(), bytes.unwrap_or_default());
        }
        image
    }

    /// Replaces all files by those of `image`, durably: for tests that damage them.
    pub fn set_image(&self, image: &BTreeMap<PathBuf, Vec<u8>>) {
        let mut world = self.world();
        world.names.clear();
        world.nodes.clear();
        world.pending.clear();
        for (path, bytes) in image {
            let id = world.add_node();
            if let Some(node) = world.nodes.get_mut(&id) {
                node.now.clone_from(bytes);
                node.durable.clone_from(bytes);
            }
            world.names.insert(path.clone(), id);
        }
        world.durable_names = world.names.clone();
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, world: &World, node: u64, writable: bool) -> SimulatedFile {
        SimulatedFile {
            world: Arc::clone(&self.world),
            node,
            boot: world.boot,
            writable,
        }
    }
}

impl Disk for SimulatedDisk {
    type File = SimulatedFile;
    type Lock = SimulatedLock;

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(()) // folders are no more than the front part of a name here
    }

    fn create(&self, path: &Path) -> io::Result<SimulatedFile> {
        let mut world = self.world();
        world.operate(Needs::Space)?;
        let id = world.add_node();
        world.names.insert(path.to_owned(), id);
        world.pending.push(NameChange::Create(path.to_owned(), id));
        Ok(self.file(&world, id, true))
    }

    fn open(&self, path: &Path, writable: bool) -> io::Result<SimulatedFile> {
        let world = self.world();
        world.up()?;
        let id = world.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(&world, *id, writable))
    }

    fn open_direct(&self, path: &Path) -> io::Result<SimulatedFile> {
        Disk::open(self, path, true)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        world.up()?;
        let inside = world.names.keys().filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        Ok(names.collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.operate(Needs::Nothing)?;
        world.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        world.pending.push(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.operate(Needs::Nothing)?;
        let id = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), id);
        world
            .pending
            .push(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.operate(Needs::Nothing)?;
        let pending = std::mem::take(&mut world.pending);
        for change in pending {
            if change.path().parent() == Some(dir) {
                change.apply(&mut world.durable_names);
            } else {
                world.pending.push(change);
            }
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<SimulatedLock, LockError> {
        let mut world = self.world();
        world.up()?;
        if !world.locks.insert(path.to_owned()) {
            return Err(LockError::Held(Some(std::process::id())));
        }
        Ok(SimulatedLock {
            world: Arc::clone(&self.world),
            path: path.to_owned(),
            boot: world.boot,
        })
    }
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        if world.boot == self.boot {
            world.locks.remove(&self.path);
        }
    }
}

impl SimulatedFile {
    /// Runs `change` on the file's node, unless a fault or a restart stands in the way. A fault still gets
    /// `half_done`.
    fn change(
        &mut self,
        needs: Needs,
        half_done: impl FnOnce(&mut Node, &mut Random),
        change: impl FnOnce(&mut Node),
    ) -> io::Result<()> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        if world.boot != self.boot || !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if world.down {
            return Err(power_is_off());
        }
        let outcome = world.operate(needs);
        let World { nodes, random, .. } = &mut *world;
        let node = nodes.get_mut(&self.node).ok_or(io::ErrorKind::NotFound)?;
        match outcome {
            Ok(()) => change(node),
            Err(_) => half_done(node, random),
        }
        outcome
    }
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.up()?;
        let node = world.nodes.get(&self.node).ok_or(io::ErrorKind::NotFound)?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let rest = node.now.get(offset..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let half = |node: &mut Node, random: &mut Random| {
            node.write(offset, &bytes[..random.below(bytes.len() + 1)]);
        };
        self.change(Needs::Space, half, |node| node.write(offset, bytes))
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let half = |node: &mut Node, random: &mut Random| {
            node.lose(random, false);
            node.dirty.clear();
        };
        self.change(Needs::Nothing, half, Node::sync)
    }

    fn preallocate(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.change(
            Needs::Space,
            |_, _| {},
            |node| node.set_len(len.max(node.now.len())),
        )
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.change(Needs::Nothing, |_, _| {}, |node| node.set_len(len))
    }

    fn len(&self) -> io::Result<u64> {
        let world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.up()?;
        let node = world.nodes.get(&self.node).ok_or(io::ErrorKind::NotFound)?;
        Ok(node.now.len() as u64)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Space,
    Nothing,
}

impl World {
    fn up(&self) -> io::Result<()> {
        if self.down {
            Err(power_is_off())
        } else {
            Ok(())
        }
    }

    /// Counts an operation and plays the fault that waits for it.
    fn operate(&mut self, needs: Needs) -> io::Result<()> {
        self.up()?;
        let fault = self.faults.remove(&self.operations);
        self.operations += 1;
        match fault {
            None => Ok(()),
            Some(Fault::Full) if needs == Needs::Nothing => Ok(()),
            Some(Fault::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Error) => Err(io::Error::other("simulated disk error")),
            Some(Fault::PowerCut) => {
                self.down = true;
                Err(power_is_off())
            }
        }
    }

    fn add_node(&mut self) -> u64 {
        self.nodes_made += 1;
        self.nodes.insert(self.nodes_made, Node::default());
        self.nodes_made
    }

    fn boot_again(&mut self) {
        self.boot += 1;
        self.down = false;
        self.faults.clear();
        self.locks.clear();
    }

    fn lose_names(&mut self) {
        let keep = self.random.share();
        for change in std::mem::take(&mut self.pending) {
            if self.random.yes(keep) {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.nodes.retain(|id, _| named.contains(id));
    }

    fn lose_sectors(&mut self) {
        for node in self.nodes.values_mut() {
            node.lose(&mut self.random, true);
            node.now.clone_from(&node.durable);
            node.dirty.clear();
        }
    }
}

impl Node {
    fn set_len(&mut self, len: usize) {
        self.now.resize(len, 0);
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[offset..end].copy_from_slice(bytes);
        self.dirty
            .extend(offset / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES);
    }

    /// Makes the unsynced sectors durable. What an earlier failed sync gave up is not among them.
    fn sync(&mut self) {
        self.durable.resize(self.now.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let start = (sector * SECTOR_BYTES).min(self.now.len());
            let end = (start + SECTOR_BYTES).min(self.now.len());
            self.durable[start..end].copy_from_slice(&self.now[start..end]);
        }
    }

    /// Makes some of the unsynced sectors durable, as when the power goes or a sync fails.
    fn lose(&mut self, random: &mut Random, tear: bool) {
        if self.durable.len() != self.now.len() && random.yes(50) {
            self.durable.resize(self.now.len(), 0);
        }
        let keep = random.share();
        for sector in &self.dirty {
            let start = sector * SECTOR_BYTES;
            let end = (start + SECTOR_BYTES)
                .min(self.durable.len())
                .min(self.now.len());
            let mut kept = 0;
            if random.yes(keep) {
                kept = SECTOR_BYTES;
            } else if tear && random.yes(10) {
                kept = TEAR_BYTES * random.below(SECTOR_BYTES / TEAR_BYTES);
            }
            let end = end.min(start + kept);
            if start < end {
                self.durable[start..end].copy_from_slice(&self.now[start..end]);
            }
        }
    }
}

impl NameChange {
    fn path(&self) -> &Path {
        match self {
            Self::Create(path, _) | Self::Remove(path) | Self::Rename(path, _) => path,
        }
    }

    /// Carries the change out, unless an earlier one that it builds on was lost.
    fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Create(path, id) => {
                names.insert(path, id);
            }
            Self::Remove(path) => {
                names.remove(&path);
            }
            Self::Rename(from, to) => {
                if let Some(id) = names.remove(&from) {
                    names.insert(to, id);
                }
            }
        }
    }
}

fn power_is_off() -> io::Error {
    io::Error::other("simulated power cut")
}

/// SplitMix64 (Steele, Lea and Flood, 2014): enough for faults, and the same on every machine.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn yes(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// How much is kept, in per cent: often nothing or all, since both are likely in earnest.
    fn share(&mut self) -> usize {
        match self.below(4) {
            0 => 0,
            1 => 100,
            _ => self.below(100),
        }
    }
}
