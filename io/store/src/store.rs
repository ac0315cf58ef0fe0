//! The store: one handle on all disks and their index.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use keepwatch_model::{CameraId, Condition, Origin, Place, RoleId, Span, State, StreamId, WallTime};

use crate::disk::{
    Disk, Mounted, Takes, Unusable, WrapDevice, load_write_rate, mount_read_only, run, save_write_rate,
};
use crate::format::Entry;
use crate::index::{INDEX_FILE, Index, Protections, identity, is_damage, known_identity, remove_database};
use crate::shared::Shared;
use crate::volume::{Lookup, read_entries};
use crate::{
    DiskChange, DiskConfig, DiskId, DiskState, DiskStatus, GapBefore, Lane, LedgerRow, PlaceStatus,
    Protection, ProtectionId, ReadError, Record, RecordIndex, RecordRef, Recovery, RunId, RunRow, Silent,
    StoreConfig, StoreError, StoreEvents, StreamWriter,
};

/// A handle on an open store; cheap to clone. The last one to go closes the store.
#[derive(Clone)]
pub struct Store(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    writers: Mutex<Vec<JoinHandle<()>>>,
    /// The next run: the open epoch in the upper half, a count in the lower.
    next_run: AtomicU64,
    /// Keeps a second writer off the index.
    _lock: Option<fs::File>,
}

/// Footage held without a break, of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldSpan {
    /// Its labels.
    pub span: Span,
    /// The run.
    pub run: RunId,
    /// Who recorded it.
    pub origin: Origin,
    /// The recorder that recorded it.
    pub recorder: RoleId,
    /// The recorder it stands in for.
    pub replaces: Option<RoleId>,
    /// The gap that ends where it begins.
    pub gap_before: Option<GapBefore>,
}

impl Store {
    /// Opens the store for writing; recovers what was written last.
    ///
    /// It opens as long as one disk can be used, or one was in use before and may return: recording then begins
    /// when it does.
    pub fn open(config: StoreConfig, events: Arc<dyn StoreEvents>) -> Result<(Self, Recovery), StoreError> {
        Self::open_wrapped(config, events, None)
    }

    /// As [`open`](Self::open), with something put between the store and its disks.
    pub fn open_wrapped(
        config: StoreConfig,
        events: Arc<dyn StoreEvents>,
        wrap: Option<Arc<WrapDevice>>,
    ) -> Result<(Self, Recovery), StoreError> {
        let started = Instant::now();
        fs::create_dir_all(&config.data).map_err(StoreError::io(&config.data))?;
        let lock = lock_data(&config.data)?;
        let role = match config.role {
            Some(role) => role,
            None => identity(&config.data)?,
        };
        let (index, recreated) = open_index(&config.data)?;
        let protections = Protections::load(&index)?;
        refuse_same_path(&config.disks)?;
        let disks = config.disks.into_iter().map(Disk::new).collect();
        let shared = Arc::new(Shared::new(
            role,
            disks,
            index,
            protections,
            events,
            config.buffer_bytes_max,
            config.reprobe_interval,
            wrap,
            false,
        ));
        let mut recovery = Recovery { clean: true, index_recreated: recreated, ..Recovery::default() };
        raise_epoch(&shared)?;
        mount_all(&shared, &mut recovery)?;
        let epoch = shared.epoch.load(Ordering::Relaxed);
        shared.index.set_fact(EPOCH, epoch.cast_signed())?;
        shared.index.flush()?;
        recovery.held_until = held_until(&shared);
        let store = Self::start(shared, epoch, Some(lock))?;
        recovery.elapsed = started.elapsed();
        Ok((store, recovery))
    }

    /// Opens the store for reading, also while another process writes it. Disks that are not there are left out.
    pub fn open_read_only(data: &Path, disks: &[DiskConfig]) -> Result<Self, StoreError> {
        let index = Index::open_read_only(&data.join(INDEX_FILE))?;
        let own = known_identity(data)?;
        let protections = Protections::load(&index)?;
        let disks = disks.iter().cloned().map(Disk::new).collect();
        let events = Arc::new(Silent);
        let shared =
            Shared::new(RoleId::default(), disks, index, protections, events, 0, Duration::MAX, None, true);
        for disk in &shared.disks {
            match mount_read_only(&disk.config, own) {
                // Read-only is said of a disk that this version cannot write; this one merely is not written now.
                Ok(mounted) => {
                    let why = match (disk.config.read_only, mounted.superblock.writable()) {
                        (true, _) => Some(crate::shown::ONLY_SHOWN),
                        (false, false) => Some("made by a later version"),
                        (false, true) => None,
                    };
                    let state = why.map_or(DiskState::Online, DiskState::read_only);
                    disk.put_in(Arc::new(mounted), state);
                }
                Err(unusable) => drop(disk.take_out(state_of(&unusable))),
            }
        }
        Ok(Self(Arc::new(Handle {
            shared: Arc::new(shared),
            writers: Mutex::default(),
            next_run: AtomicU64::new(0),
            _lock: None,
        })))
    }

    /// Those of `disks` that hold footage of another recorder than the one of `data`, each by its place in `disks` and
    /// with its owner: they are not written before that is confirmed. Nothing is written and no index is needed, so that it
    /// can be asked before a recorder first runs on `data`: then every container is another's.
    ///
    /// # Errors
    /// When the identity of the recorder cannot be read.
    pub fn foreign_disks(data: &Path, disks: &[DiskConfig]) -> Result<Vec<(usize, RoleId)>, StoreError> {
        let own = known_identity(data)?;
        let owner = |disk: &DiskConfig| Some(mount_read_only(disk, own).ok()?.superblock.owner);
        let written = disks.iter().enumerate().filter(|(_, disk)| !disk.read_only);
        let owners = written.filter_map(|(place, disk)| Some((place, owner(disk)?)));
        Ok(owners.filter(|(_, owner)| Some(*owner) != own).collect())
    }

    /// The disks that this recorder ever wrote to, those that are not configured any more included.
    pub fn registered_disks(&self) -> Result<Vec<DiskId>, StoreError> {
        Ok(self.0.shared.index.registered()?.into_iter().map(|registered| registered.disk).collect())
    }

    fn start(shared: Arc<Shared>, epoch: u64, lock: Option<fs::File>) -> Result<Self, StoreError> {
        let handle = Handle {
            shared: Arc::clone(&shared),
            writers: Mutex::default(),
            next_run: AtomicU64::new(epoch << 32),
            _lock: lock,
        };
        for position in 0..shared.disks.len() {
            let of_thread = Arc::clone(&shared);
            let thread = std::thread::Builder::new()
                .name(format!("store-disk-{position}"))
                .spawn(move || run(&of_thread, &of_thread.disks[position]))
                .map_err(StoreError::io(&shared.disks[position].config.path))?;
            handle.writers.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(Self(Arc::new(handle)))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    pub(crate) fn shared_handle(&self) -> Arc<Shared> {
        Arc::clone(&self.0.shared)
    }

    /// The recorder that footage is written for.
    pub fn role(&self) -> RoleId {
        self.shared().role
    }

    /// A run number that this store has never used.
    pub fn new_run(&self) -> RunId {
        RunId(self.0.next_run.fetch_add(1, Ordering::Relaxed))
    }

    /// A writer of one stream; at most one at a time per stream.
    pub fn writer(&self, camera: CameraId, stream: StreamId) -> StreamWriter {
        StreamWriter::new(Arc::clone(&self.0.shared), camera, stream, Lane::Live)
    }

    /// A writer of what is fetched for gaps of one stream; at most one at a time per stream. It has a buffer of its own, of
    /// a few of the largest records: when [`PushError::Backlog`](crate::PushError::Backlog) says that it is full, wait for
    /// what was committed. Records must not overlap what is held; they are written behind all live ones, and refused
    /// when that would cost footage that is newer.
    pub fn backfill_writer(&self, camera: CameraId, stream: StreamId) -> StreamWriter {
        StreamWriter::new(Arc::clone(&self.0.shared), camera, stream, Lane::Backfill)
    }

    /// Rows of the index that overlap `span`, by label; also those on disks that are not there.
    pub fn runs(&self, camera: CameraId, stream: StreamId, span: Span) -> Result<Vec<RunRow>, StoreError> {
        if !self.shared().read_only {
            self.shared().index.flush()?;
        }
        self.shared().index.runs(camera, stream, span)
    }

    /// As [`runs`](Self::runs), adjoining rows of equal run, origin and recorder joined.
    pub fn held(&self, camera: CameraId, stream: StreamId, span: Span) -> Result<Vec<HeldSpan>, StoreError> {
        let mut held: Vec<HeldSpan> = Vec::new();
        for row in self.runs(camera, stream, span)? {
            let HeldSpan { span, .. } = HeldSpan::from(&row);
            match held.last_mut() {
                Some(last) if last.continues_with(&row) => last.span.to = span.to.max(last.span.to),
                Some(_) | None => held.push(HeldSpan::from(&row)),
            }
        }
        Ok(held)
    }

    /// Cameras and streams with footage.
    pub fn streams(&self) -> Result<Vec<(CameraId, StreamId)>, StoreError> {
        if !self.shared().read_only {
            self.shared().index.flush()?;
        }
        self.shared().index.streams()
    }

    /// Records that overlap `span`, by label, each once. Those on disks that are not there are left out.
    pub fn records(
        &self,
        camera: CameraId,
        stream: StreamId,
        span: Span,
    ) -> Result<Vec<RecordRef>, StoreError> {
        let rows = self.runs(camera, stream, span)?;
        // An extent's entries are read once however many rows it has.
        let mut extents: BTreeMap<_, u32> = BTreeMap::new();
        for row in &rows {
            let records = extents.entry((row.disk, row.extent, row.sequence)).or_default();
            *records = row.last_record.saturating_add(1).max(*records);
        }
        let mut found = Vec::new();
        for ((disk, extent, sequence), records) in extents {
            let Some(mounted) = self.shared().mounted(disk) else { continue };
            let entries = entries(&mounted, extent, sequence, records)
                .map_err(StoreError::io(format!("disk {disk}")))?;
            let inside = |entry: &&Entry| entry.info.label.intersection(span).is_some();
            found.extend(
                entries
                    .iter()
                    .filter(inside)
                    .map(|entry| entry.reference((camera, stream), disk, extent, sequence)),
            );
        }
        found
            .sort_by_key(|record| (record.info.label, record.info.run, record.sequence, record.offset_bytes));
        // A record that was sent to another disk when its own failed may turn out to be on both.
        found.dedup_by_key(|record| (record.info.label, record.info.run, record.info.samples));
        Ok(found)
    }

    /// Reads a record's description, not its media.
    pub fn read_index(&self, record: &RecordRef) -> Result<RecordIndex, ReadError> {
        let mounted = self.shared().mounted(record.disk).ok_or(ReadError::DiskGone)?;
        crate::read::read_index(&mounted, record)
    }

    /// Reads one sample of a record whose `index` was read, and checks it: by the numbers of its track and of itself.
    pub fn read_sample(
        &self,
        record: &RecordRef,
        index: &RecordIndex,
        place: (usize, usize),
    ) -> Result<Vec<u8>, ReadError> {
        let mounted = self.shared().mounted(record.disk).ok_or(ReadError::DiskGone)?;
        crate::read::read_sample(&mounted, record, index, place)
    }

    /// Reads a record and checks every sample.
    pub fn read(&self, record: &RecordRef) -> Result<Record, ReadError> {
        let mounted = self.shared().mounted(record.disk).ok_or(ReadError::DiskGone)?;
        crate::read::read(&mounted, record)
    }

    /// Protects footage of all streams of a camera against deletion; durable when it returns.
    pub fn protect(&self, camera: CameraId, span: Span, note: &str) -> Result<ProtectionId, StoreError> {
        self.shared().writable()?;
        self.shared().protections.add(&self.shared().index, camera, span, note)
    }

    /// Lifts a protection; false when there is none of that number.
    pub fn release(&self, id: ProtectionId) -> Result<bool, StoreError> {
        self.shared().writable()?;
        self.shared().protections.lift(&self.shared().index, id)
    }

    /// All protections.
    pub fn protections(&self) -> Vec<Protection> {
        self.shared().protections.all()
    }

    /// Deletes footage of `camera` in extents that end before `before` and are not protected. Returns at once; what
    /// went is told by [`StoreEvents::reclaimed`].
    pub fn expire(&self, camera: CameraId, before: WallTime) {
        for disk in &self.shared().disks {
            disk.expire(camera, before);
        }
    }

    /// Measures how fast each disk is, beside recording and behind it: a few dozen megabytes are written where no footage is.
    /// Returns at once; [`disks`](Self::disks) tell the result, which [`keep_measures`](Self::keep_measures) keeps. A disk on which
    /// little is free keeps the one of before.
    pub fn measure_disks(&self, now: WallTime) {
        for disk in &self.shared().disks {
            disk.measure(now);
        }
    }

    /// Keeps how fast each disk is. It may wait for the index, which a thread that writes footage must not.
    pub fn keep_measures(&self) -> Result<(), StoreError> {
        self.shared().writable()?;
        let index = &self.shared().index;
        for disk in &self.shared().disks {
            if let (Some(id), Some(measured)) = (disk.id(), disk.write_rate())
                && load_write_rate(index, id)? != Some(measured)
            {
                save_write_rate(index, id, measured)?;
            }
        }
        Ok(())
    }

    /// The state of every configured disk.
    pub fn disks(&self) -> Vec<DiskStatus> {
        let claims = self.shared().claims();
        self.shared().disks.iter().map(|disk| disk.status(&claims)).collect()
    }

    /// What can be done with the disks of a place; `None` when none is configured. [`Place::Memory`] has none.
    pub fn place(&self, place: Place) -> Option<PlaceStatus> {
        let mut status: Option<PlaceStatus> = None;
        for disk in self.shared().disks.iter().filter(|disk| disk.place() == place) {
            let condition = disk.state().condition();
            let status = status.get_or_insert(PlaceStatus { condition, disks: Vec::new() });
            status.condition = status.condition.max(condition);
            status.disks.extend(disk.id().filter(|_| condition != Condition::Gone));
        }
        let mut status = status?;
        status.disks.sort_unstable();
        Some(status)
    }

    /// Which storage a disk belongs to; `None` when no configured one has this identity.
    pub fn place_of(&self, disk: DiskId) -> Option<Place> {
        self.shared().disks.iter().find(|slot| slot.id() == Some(disk)).map(Disk::place)
    }

    /// The first label that footage must have which is fetched for a gap, so that a disk takes it: where all are full, it gives
    /// up nothing that is newer. `None` when there is room for any.
    pub fn backfill_from(&self) -> Option<WallTime> {
        let claims = self.shared().claims();
        let taking = self.shared().disks.iter().filter(|disk| disk.takes() == Takes::Records);
        let from = |disk: &Disk| {
            let mounted = disk.mounted()?;
            let volume = mounted.volume()?;
            volume.room_from(&claims)
        };
        // A disk with room for any is before all others.
        taking.map(from).min().flatten()
    }

    /// Bytes of footage in memory.
    pub fn buffered_bytes(&self) -> u64 {
        self.shared().pool.lent_bytes()
    }

    /// Replaces the lines of a stream's ledger that begin at `from` or later; whose `rows` are said to be does not
    /// matter.
    pub fn ledger_replace(
        &self,
        camera: CameraId,
        stream: StreamId,
        from: WallTime,
        rows: &[LedgerRow],
    ) -> Result<(), StoreError> {
        self.shared().index.ledger_replace(camera, stream, from, rows)
    }

    /// All lines of all ledgers, by camera, stream and label.
    pub fn ledger_load(&self) -> Result<Vec<LedgerRow>, StoreError> {
        self.shared().index.ledger_load()
    }

    /// Notes that the recorder runs at `now`.
    pub fn heartbeat(&self, now: WallTime) -> Result<(), StoreError> {
        self.shared().index.heartbeat(now)
    }

    /// The last noted heartbeat; `None` before the first.
    pub fn last_heartbeat(&self) -> Result<Option<WallTime>, StoreError> {
        self.shared().index.last_heartbeat()
    }

    /// Writes all that is queued, flushes and ends the writer threads, whoever else holds a handle.
    pub fn close(self) {
        self.0.close();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store of {} with {} disks", self.role(), self.shared().disks.len())
    }
}

impl From<&RunRow> for HeldSpan {
    fn from(row: &RunRow) -> Self {
        Self {
            span: row.label,
            run: row.run,
            origin: row.origin,
            recorder: row.recorder,
            replaces: row.replaces,
            gap_before: row.gap_before,
        }
    }
}

impl HeldSpan {
    /// It in the words of the coverage.
    pub const fn state(&self) -> State {
        State::Held { origin: self.origin, recorder: self.recorder, replaces: self.replaces }
    }

    fn continues_with(&self, row: &RunRow) -> bool {
        self.run == row.run
            && row.label.from <= self.span.to
            && (self.origin, self.recorder, self.replaces) == (row.origin, row.recorder, row.replaces)
            && row.gap_before.is_none()
    }
}

impl Handle {
    fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        for disk in &self.shared.disks {
            disk.stop();
        }
        let writers = std::mem::take(&mut *self.writers.lock().unwrap_or_else(PoisonError::into_inner));
        for writer in writers {
            // A panic there has been reported by its thread.
            let _ = writer.join();
        }
        self.shared.close_tail();
        self.shared.index.close();
        for disk in &self.shared.disks {
            let why = "the store is closed".to_owned();
            drop(disk.take_out(DiskState::Gone { why, since: Instant::now() }));
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

/// The name under which the last open epoch is kept.
const EPOCH: &str = "epoch";

/// The entries of an extent, wherever they are.
fn entries(mounted: &Mounted, extent: u32, sequence: u64, records: u32) -> std::io::Result<Vec<Entry>> {
    let lookup = mounted.volume().map(|volume| volume.entries(extent, sequence));
    let (device, superblock) = (mounted.device.as_ref(), &mounted.superblock);
    let found = match lookup {
        Some(Lookup::Memory(entries)) => Some(entries),
        Some(Lookup::Gone) => None,
        Some(Lookup::Trailer(records)) => read_entries(device, superblock, extent, sequence, records)?,
        None => read_entries(device, superblock, extent, sequence, records)?,
    };
    Ok(found.unwrap_or_default())
}

/// Keeps a second writer off this data directory for as long as the file is open.
pub(crate) fn lock_data(data: &Path) -> Result<fs::File, StoreError> {
    let path = data.join("lock");
    let file = fs::File::create(&path).map_err(StoreError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::InUse { path }),
        Err(fs::TryLockError::Error(source)) => Err(StoreError::Io { path, source }),
    }
}

/// Opens the index; when it cannot be read it is put aside and made anew from the disks.
fn open_index(data: &Path) -> Result<(Index, bool), StoreError> {
    let path = data.join(INDEX_FILE);
    match Index::open(&path) {
        Ok(index) => Ok((index, false)),
        Err(StoreError::Index(error)) if is_damage(&error) => {
            tracing::error!(%error, "the index is damaged and is made anew from the disks");
            let aside = data.join("index.db.damaged");
            fs::rename(&path, &aside).map_err(StoreError::io(&path))?;
            remove_database(&path);
            let index = Index::open(&path)?;
            if let Err(error) = index.carry_over(&aside) {
                tracing::error!(%error, "protections and ledgers of the damaged index cannot all be read");
            }
            Ok((index, true))
        }
        Err(error) => Err(error),
    }
}

fn refuse_same_path(disks: &[DiskConfig]) -> Result<(), StoreError> {
    for (position, disk) in disks.iter().enumerate() {
        if let Some(other) = disks[..position].iter().find(|other| other.path == disk.path) {
            return Err(StoreError::SameDisk { path: disk.path.clone(), other: other.path.clone() });
        }
    }
    Ok(())
}

fn raise_epoch(shared: &Shared) -> Result<(), StoreError> {
    let last = shared.index.fact(EPOCH)?.unwrap_or(0);
    shared.epoch.store(last.cast_unsigned(), Ordering::Relaxed);
    Ok(())
}

fn mount_all(shared: &Shared, recovery: &mut Recovery) -> Result<(), StoreError> {
    let registered = !shared.index.registered()?.is_empty();
    let mut refusal = None;
    for disk in &shared.disks {
        match shared.mount(disk) {
            Ok(report) => {
                if let Some(why) = &report.read_only {
                    shared.tell(disk, DiskChange::ReadOnly(why.clone()));
                }
                Shared::add_to(recovery, report);
            }
            Err(Unusable::Refused(error)) => return Err(error),
            Err(unusable) => {
                let state = state_of(&unusable);
                drop(disk.take_out(state));
                match &unusable {
                    Unusable::Gone(why) | Unusable::StillReadOnly(why) => {
                        shared.tell(disk, DiskChange::Gone(why.clone()));
                    }
                    Unusable::Foreign(owner) => shared.tell(disk, DiskChange::Foreign(*owner)),
                    Unusable::Refused(_) => {}
                }
                refusal.get_or_insert((disk.path(), unusable));
            }
        }
    }
    if shared.takes_records() || registered {
        return Ok(());
    }
    // Nothing is recorded and nothing ever was: a mistake in the configuration rather than a failure.
    match refusal {
        Some((path, Unusable::Foreign(owner))) => Err(StoreError::ForeignDisk { path, owner }),
        Some((path, Unusable::Gone(why) | Unusable::StillReadOnly(why))) => {
            Err(StoreError::NoDisk { path, why })
        }
        Some((_, Unusable::Refused(error))) => Err(error),
        None if shared.disks.is_empty() => {
            Err(StoreError::NoDisk { path: "".into(), why: "none is configured".to_owned() })
        }
        None => Ok(()),
    }
}

fn state_of(unusable: &Unusable) -> DiskState {
    let since = Instant::now();
    match unusable {
        Unusable::Gone(why) | Unusable::StillReadOnly(why) => DiskState::Gone { why: why.clone(), since },
        Unusable::Foreign(owner) => DiskState::Foreign { owner: *owner },
        Unusable::Refused(error) => DiskState::Gone { why: error.to_string(), since },
    }
}

fn held_until(shared: &Shared) -> Vec<(CameraId, StreamId, WallTime)> {
    let mut until: BTreeMap<_, WallTime> = BTreeMap::new();
    let own = shared.disks.iter().filter(|disk| !disk.config.read_only);
    for mounted in own.filter_map(Disk::mounted) {
        let Some(volume) = mounted.volume() else { continue };
        for (key, label) in volume.held_until() {
            let latest = until.entry(key).or_insert(label);
            *latest = label.max(*latest);
        }
    }
    until.into_iter().map(|((camera, stream), label)| (camera, stream, label)).collect()
}
