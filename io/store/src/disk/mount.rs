//! Taking a disk into use: is it the one it should be?
//!
//! | in the slot | registered for the slot | then |
//! |---|---|---|
//! | a disk registered here, wherever | any | used |
//! | nothing, or zeros | nothing | adopted: a container is made |
//! | nothing, or zeros | a disk | gone; made anew only when confirmed and on a file system of its own |
//! | an unregistered container of this recorder | nothing | used |
//! | any other container | any | foreign: waits for a confirmation |
//!
//! What is used is tested first: written, flushed and read back. A known disk that fails that, or that cannot be opened for
//! writing, is read only, as long as all of it can be read.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keepwatch_iscsi::Write;
use keepwatch_model::RoleId;

use super::trust::{self, Depth};
use crate::device::{BlockDev, Found as InSlot, Medium, Slot, blank, slot_of};
use crate::format::{Superblock, read_superblocks, superblock_offset};
use crate::index::{Index, Registered, random};
use crate::shown::{ONLY_SHOWN, renamed};
use crate::volume::{Found, Geometry, Volume, recover};
use crate::{DiskConfig, DiskId, FormatError, StoreError};

/// Puts something between the store and a disk: a test's fault.
pub type WrapDevice = dyn Fn(&Path, Arc<dyn BlockDev>) -> Arc<dyn BlockDev> + Send + Sync;

/// The next number of a look at a disk that is only shown: no two looks have the same, whatever was mounted in between.
static NEXT_REVISION: AtomicU64 = AtomicU64::new(1);

fn next_revision() -> AtomicU64 {
    AtomicU64::new(NEXT_REVISION.fetch_add(1, Ordering::Relaxed))
}

/// Zeros that make a device blank: covers both superblocks and what other systems put in front.
const BLANK_BYTES: u64 = 1 << 20;

/// A container in use.
pub(crate) struct Mounted {
    pub(crate) device: Arc<dyn BlockDev>,
    medium: Arc<Medium>,
    slot: Slot,
    pub(crate) superblock: Superblock,
    /// `None` when opened for reading.
    volume: Option<Mutex<Volume>>,
    /// Which look at a disk that is only shown found something else than the one before.
    revision: AtomicU64,
}

/// What is needed to mount a disk.
pub(crate) struct Mount<'a> {
    pub(crate) config: &'a DiskConfig,
    pub(crate) role: RoleId,
    pub(crate) index: &'a Index,
    /// At least this open epoch.
    pub(crate) epoch: u64,
    /// Disks that are mounted already.
    pub(crate) others: &'a [DiskId],
    pub(crate) wrap: Option<&'a WrapDevice>,
    /// The disk that was last in use here, and its epoch.
    pub(crate) last: Option<(DiskId, u64)>,
    /// The disk as it is mounted for reading; it is tried whether it can be written again.
    pub(crate) again: Option<&'a Mounted>,
}

/// Why a disk cannot be used for now.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It is not there, or does not work.
    Gone(String),
    /// It can be read, as before, and still not be written.
    StillReadOnly(String),
    /// It belongs to another recorder.
    Foreign(RoleId),
    /// The configuration cannot be carried out.
    Refused(StoreError),
}

/// What mounting brought.
pub(crate) struct MountedNow {
    pub(crate) mounted: Mounted,
    pub(crate) found: Found,
    /// It was blank.
    pub(crate) adopted: bool,
    /// It had been closed properly.
    pub(crate) clean: bool,
    /// Why it cannot be written, of a disk that can be read.
    pub(crate) read_only: Option<String>,
}

/// A container that was found.
struct Opened {
    medium: Arc<Medium>,
    found: Result<Superblock, FormatError>,
    /// Why it could be opened for reading only.
    refused: Option<String>,
}

impl Mounted {
    /// Its extents; `None` when opened for reading.
    pub(crate) fn volume(&self) -> Option<MutexGuard<'_, Volume>> {
        self.volume.as_ref().map(|volume| volume.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Grows with every look at a disk that is only shown which found something else than the one before.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// The number of the file system it is on, 0 for a device.
    pub(crate) const fn file_system(&self) -> u64 {
        self.slot.file_system()
    }

    /// Whether the page cache is bypassed.
    pub(crate) fn direct(&self) -> bool {
        self.medium.direct()
    }

    /// Why it is not what it was when it was taken into use; `None` when it is.
    pub(crate) fn displaced(&self) -> Option<String> {
        self.medium.displaced(&self.slot)
    }

    /// Marks the container as closed properly.
    pub(crate) fn close(&self) -> io::Result<()> {
        let superblock = Superblock {
            generation: self.superblock.generation.saturating_add(1),
            clean: true,
            ..self.superblock
        };
        write_superblock(self.device.as_ref(), &superblock)?;
        self.medium.release()
    }
}

/// Mounts a disk for writing, or for reading where it cannot be written.
pub(crate) fn mount(mount: &Mount<'_>) -> Result<MountedNow, Unusable> {
    if mount.config.read_only {
        return mount_shown(mount);
    }
    let slot = slot_of(mount.config, Some(mount.role)).map_err(gone)?;
    let registered = mount.index.registered().map_err(Unusable::Refused)?;
    // The latest of the slot: a confirmed disk takes the place of one that died.
    let here = registered.iter().rfind(|known| known.path == mount.config.path);
    // Confirmed by the operator, and not just the empty mount point of a disk that is away.
    let replaced = mount.config.adopt_foreign && slot.is_place_of_its_own();
    let vacant = here.is_none() || replaced;
    let Opened { mut medium, found, mut refused } = match reopen(mount, &slot)? {
        Some(opened) => opened,
        None => open(mount, &slot, vacant, here)?,
    };
    let (superblock, adopted, clean) = match found {
        Ok(superblock) => {
            let admitted = admit(mount, superblock, &registered, here)?;
            if medium.is_shared() {
                refuse_usurped(mount, &superblock)?;
            }
            (admitted, false, superblock.clean)
        }
        Err(error) => {
            let fresh = vacant && refused.is_none() && blank(medium.as_ref(), BLANK_BYTES).map_err(gone)?;
            if !fresh {
                return Err(Unusable::Gone(match error {
                    FormatError::Features(_) => error.to_string(),
                    FormatError::Magic(_)
                    | FormatError::Checksum(_)
                    | FormatError::Short(_)
                    | FormatError::Field(_)
                    | FormatError::Chain => format!("what is there is not footage ({error})"),
                }));
            }
            (plan_container(mount, &slot, &medium)?, true, true)
        }
    };
    if refused.is_some() && found.is_ok_and(|found| found.owner != mount.role) {
        // It was confirmed, and cannot be taken over.
        return Err(Unusable::Gone(refused.unwrap_or_default()));
    }
    check_size(&medium, &superblock)?;
    // Nobody else has what was just opened, and a LUN always was.
    if superblock.writable()
        && medium.is_shared()
        && let Some(own) = Arc::get_mut(&mut medium)
    {
        claim(mount, own, found)?;
    }
    let device: Arc<dyn BlockDev> = Arc::<Medium>::clone(&medium);
    let device =
        mount.wrap.map_or_else(|| Arc::clone(&device), |wrap| wrap(&mount.config.path, Arc::clone(&device)));
    if !superblock.writable() {
        refused.get_or_insert_with(|| "made by a later version".to_owned());
    }
    let mut superblock = superblock;
    if refused.is_none() {
        match mark_open(device.as_ref(), superblock, adopted) {
            Ok(opened) => {
                superblock = opened;
                medium.expect(opened);
            }
            Err(error) if adopted => return Err(gone(error)),
            Err(error) => refused = Some(error.to_string()),
        }
    }
    if let (Some(why), Some(_)) = (&refused, mount.again) {
        return Err(Unusable::StillReadOnly(why.clone()));
    }
    if refused.is_some() {
        let found = read_superblocks(device.as_ref()).map_err(gone)?;
        found.map_err(|error| Unusable::Gone(error.to_string()))?;
    }
    let hints = mount.index.extents(superblock.disk).map_err(Unusable::Refused)?;
    let (volume, found) = recover(device.as_ref(), superblock, &hints).map_err(gone)?;
    if refused.is_none() {
        let depth = if adopted { Depth::Blank } else { Depth::Known };
        match trust::test(device.as_ref(), &superblock, &volume, depth) {
            Ok(()) => {}
            Err(error) if adopted => return Err(gone(error)),
            Err(error) if mount.again.is_some() => return Err(Unusable::StillReadOnly(error.to_string())),
            Err(error) => refused = Some(error.to_string()),
        }
    }
    let file_system = slot.file_system();
    let place = Registered { disk: superblock.disk, path: mount.config.path.clone(), file_system };
    if !registered.contains(&place) {
        mount.index.register(&place).map_err(Unusable::Refused)?;
    }
    let mounted = Mounted {
        device,
        medium,
        slot,
        superblock,
        volume: Some(Mutex::new(volume)),
        revision: next_revision(),
    };
    Ok(MountedNow { mounted, found, adopted, clean, read_only: refused })
}

/// What a disk holds that failed while it was written, as far as it can be read: its device is used on, and nothing is written. Of one
/// that lied, nothing is believed that it was said to hold.
pub(crate) fn mount_failed(
    failed: &Mounted,
    index: &Index,
    lied: bool,
) -> Result<(Mounted, Found), Unusable> {
    let superblock = failed.superblock;
    if failed.medium.is_shared() {
        // Who else may have written it shows when it is claimed anew.
        return Err(Unusable::Gone("a LUN that cannot be written is opened anew".to_owned()));
    }
    let mut hints = index.extents(superblock.disk).map_err(Unusable::Refused)?;
    hints.values_mut().for_each(|hint| hint.sealed &= !lied);
    match read_superblocks(failed.device.as_ref()).map_err(gone)? {
        Ok(found) if found.disk == superblock.disk => {}
        Ok(_) => return Err(Unusable::Gone("another disk is in its place".to_owned())),
        Err(error) => return Err(Unusable::Gone(error.to_string())),
    }
    let (volume, found) = recover(failed.device.as_ref(), superblock, &hints).map_err(gone)?;
    let mounted = Mounted {
        device: Arc::clone(&failed.device),
        medium: Arc::clone(&failed.medium),
        slot: failed.slot.clone(),
        superblock,
        volume: Some(Mutex::new(volume)),
        revision: next_revision(),
    };
    Ok((mounted, found))
}

/// The file of a disk that is mounted for reading and can be written as far as the system is concerned: it stays open, and
/// who reads it notices nothing. A LUN is claimed anew.
fn reopen(mount: &Mount<'_>, slot: &Slot) -> Result<Option<Opened>, Unusable> {
    let reusable = |again: &&Mounted| {
        !again.medium.is_shared() && again.medium.is_for_writing() && again.medium.displaced(slot).is_none()
    };
    let Some(again) = mount.again.filter(reusable) else { return Ok(None) };
    let medium = Arc::clone(&again.medium);
    let found = read_superblocks(medium.as_ref()).map_err(gone)?;
    Ok(Some(Opened { medium, found, refused: None }))
}

/// Opens what is in the slot, or makes a container where there is none and may be one.
fn open(mount: &Mount<'_>, slot: &Slot, vacant: bool, here: Option<&Registered>) -> Result<Opened, Unusable> {
    let (medium, refused) = match slot.open(true) {
        Ok(InSlot::Device(medium)) => {
            lock(&medium, mount.config)?;
            (medium, None)
        }
        Ok(InSlot::Nothing) if vacant => {
            let medium = Arc::from(create(mount.config, slot)?);
            return Ok(Opened { medium, found: Err(FormatError::Magic("superblock")), refused: None });
        }
        Ok(InSlot::Nothing) => return Err(missing(here, slot)),
        // Nobody writes what is write-protected, so that there is no lock to take.
        Err(error) if is_write_protected(&error) => match slot.open(false).map_err(gone)? {
            InSlot::Device(medium) => (medium, Some(error.to_string())),
            InSlot::Nothing => return Err(gone(error)),
        },
        Err(error) => return Err(gone(error)),
    };
    let found = read_superblocks(medium.as_ref()).map_err(gone)?;
    Ok(Opened { medium: Arc::from(medium), found, refused })
}

fn is_write_protected(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EROFS | libc::EACCES | libc::EPERM))
}

/// Makes durable that the container is open from here on; returns its superblock as it is then.
fn mark_open(device: &dyn BlockDev, superblock: Superblock, adopted: bool) -> io::Result<Superblock> {
    if adopted {
        // Both places hold a superblock from the first moment.
        write_superblock(device, &superblock)?;
    }
    let opened = Superblock { generation: superblock.generation.saturating_add(1), ..superblock };
    write_superblock(device, &opened)?;
    Ok(opened)
}

/// Opens a disk for reading; nothing is written, nothing recovered.
pub(crate) fn mount_read_only(config: &DiskConfig, role: Option<RoleId>) -> Result<Mounted, Unusable> {
    let slot = slot_of(config, role).map_err(gone)?;
    let InSlot::Device(medium) = slot.open(false).map_err(gone)? else {
        return Err(Unusable::Gone("there is no container".to_owned()));
    };
    let superblock = read_superblocks(medium.as_ref())
        .map_err(gone)?
        .map_err(|error| Unusable::Gone(error.to_string()))?;
    check_size(&medium, &superblock)?;
    let medium: Arc<Medium> = Arc::from(medium);
    Ok(Mounted {
        device: Arc::<Medium>::clone(&medium),
        medium,
        slot,
        superblock,
        volume: None,
        revision: next_revision(),
    })
}

/// Takes a disk into use that is only shown, whoever it belongs to: nothing is written, and all it holds is looked through.
fn mount_shown(mount: &Mount<'_>) -> Result<MountedNow, Unusable> {
    let Mounted { device, medium, slot, superblock, .. } = mount_read_only(mount.config, Some(mount.role))?;
    if mount.others.contains(&superblock.disk) {
        return Err(Unusable::Gone("is a copy of another disk in use".to_owned()));
    }
    let place = Registered {
        disk: superblock.disk,
        path: mount.config.path.clone(),
        file_system: slot.file_system(),
    };
    if !mount.index.registered().map_err(Unusable::Refused)?.contains(&place) {
        mount.index.register(&place).map_err(Unusable::Refused)?;
    }
    let (volume, found) = look_through(mount.index, device.as_ref(), superblock)?;
    let mounted = Mounted {
        device,
        medium,
        slot,
        superblock,
        volume: Some(Mutex::new(volume)),
        revision: next_revision(),
    };
    let read_only = Some(ONLY_SHOWN.to_owned());
    Ok(MountedNow { mounted, found, adopted: false, clean: true, read_only })
}

/// What a disk that is only shown holds by now, the index saying what was read before.
fn look_through(
    index: &Index,
    device: &dyn BlockDev,
    superblock: Superblock,
) -> Result<(Volume, Found), Unusable> {
    index.flush().map_err(Unusable::Refused)?;
    let hints = index.extents(superblock.disk).map_err(Unusable::Refused)?;
    let (volume, mut found) = recover(device, superblock, &hints).map_err(gone)?;
    found.changes = found.changes.into_iter().map(|change| renamed(superblock.disk, change)).collect();
    Ok((volume, found))
}

impl Mounted {
    /// Looks through a disk that is only shown again, as somebody else may write it.
    pub(crate) fn look_again(&self, index: &Index) -> Result<Found, Unusable> {
        // Somebody may have made another container of it.
        let now = read_superblocks(self.device.as_ref()).map_err(gone)?;
        let now = now.map_err(|error| Unusable::Gone(error.to_string()))?;
        let layout = |superblock: &Superblock| {
            (superblock.disk, superblock.extent_bytes, superblock.extent_count, superblock.data_offset_bytes)
        };
        if layout(&now) != layout(&self.superblock) {
            return Err(Unusable::Gone("another container has taken its place".to_owned()));
        }
        let (volume, found) = look_through(index, self.device.as_ref(), self.superblock)?;
        if !found.changes.is_empty() || !found.vanished.is_empty() {
            self.revision.store(NEXT_REVISION.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        }
        if let Some(held) = &self.volume {
            *held.lock().unwrap_or_else(PoisonError::into_inner) = volume;
        }
        Ok(found)
    }
}

fn gone(error: io::Error) -> Unusable {
    Unusable::Gone(error.to_string())
}

/// A LUN that another run of this very recorder took over is left to that: two that share an identity would take it from each
/// other for ever.
fn refuse_usurped(mount: &Mount<'_>, found: &Superblock) -> Result<(), Unusable> {
    let ours = mount.last.filter(|(disk, epoch)| *disk == found.disk && found.epoch > *epoch);
    if ours.is_none() || found.clean {
        return Ok(());
    }
    let why = "another run with this recorder's identity has taken the LUN over; end one of the two, and start the other anew";
    Err(Unusable::Gone(why.to_owned()))
}

/// Keeps other writers away from a LUN, and makes sure that none wrote since it was looked at.
fn claim(
    mount: &Mount<'_>,
    medium: &mut Medium,
    found: Result<Superblock, FormatError>,
) -> Result<(), Unusable> {
    medium.claim(mount.role, mount.config.adopt_foreign).map_err(gone)?;
    if read_superblocks(medium).map_err(gone)? == found {
        return Ok(());
    }
    Err(Unusable::Gone("another recorder has just taken the LUN into use".to_owned()))
}

fn lock(medium: &Medium, config: &DiskConfig) -> Result<(), Unusable> {
    match medium.lock() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unusable::Refused(StoreError::InUse { path: config.path.clone() })),
        Err(error) => Err(gone(error)),
    }
}

fn missing(here: Option<&Registered>, slot: &Slot) -> Unusable {
    let other = here.is_some_and(|known| known.file_system != slot.file_system());
    Unusable::Gone(if other {
        "its file system is not mounted: another one is at this path".to_owned()
    } else {
        "its container is missing".to_owned()
    })
}

/// Decides whether a container may be written; returns its superblock as it is to be from now on.
fn admit(
    mount: &Mount<'_>,
    found: Superblock,
    registered: &[Registered],
    here: Option<&Registered>,
) -> Result<Superblock, Unusable> {
    if mount.others.contains(&found.disk) {
        return Err(Unusable::Gone("is a copy of another disk in use".to_owned()));
    }
    let known = registered.iter().any(|known| known.disk == found.disk);
    let ours = found.owner == mount.role;
    let unclaimed = here.is_none_or(|known| known.disk == found.disk);
    let admitted = mount.config.adopt_foreign || (ours && (known || unclaimed));
    if !admitted {
        return Err(Unusable::Foreign(found.owner));
    }
    let epoch = mount.epoch.max(found.epoch.saturating_add(1));
    Ok(Superblock { owner: mount.role, clean: false, epoch, ..found })
}

fn create(config: &DiskConfig, slot: &Slot) -> Result<Box<Medium>, Unusable> {
    let (size_bytes, free_bytes) = slot.room(config.size_bytes).map_err(gone)?;
    let refuse = |why| Unusable::Refused(StoreError::Geometry { path: config.path.clone(), why });
    let size_bytes = size_bytes / crate::format::BLOCK * crate::format::BLOCK;
    Geometry::divide(size_bytes, config.extent_bytes).map_err(refuse)?;
    if size_bytes > free_bytes {
        let path = config.path.clone();
        let no_room = StoreError::NoRoom { path, needed_bytes: size_bytes, available_bytes: free_bytes };
        return Err(Unusable::Refused(no_room));
    }
    let medium = Medium::File(slot.create(size_bytes).map_err(gone)?);
    lock(&medium, config)?;
    Ok(Box::new(medium))
}

/// The superblock of a blank device.
fn plan_container(mount: &Mount<'_>, slot: &Slot, medium: &Medium) -> Result<Superblock, Unusable> {
    let config = mount.config;
    // A container that was made but not yet written keeps the size it was made with.
    let size_bytes = config.size_bytes.unwrap_or(u64::MAX).min(medium.size_bytes());
    let geometry = Geometry::divide_card(size_bytes, config.extent_bytes, slot.erase_block_bytes())
        .map_err(|why| Unusable::Refused(StoreError::Geometry { path: config.path.clone(), why }))?;
    let disk = DiskId(random(&config.path).map_err(Unusable::Refused)?);
    Ok(Superblock {
        generation: 0,
        compat: 0,
        ro_compat: 0,
        disk,
        owner: mount.role,
        role: config.role,
        clean: false,
        extent_bytes: geometry.extent_bytes,
        extent_count: geometry.extent_count,
        data_offset_bytes: geometry.data_offset_bytes,
        epoch: mount.epoch,
    })
}

fn check_size(medium: &Medium, superblock: &Superblock) -> Result<(), Unusable> {
    if superblock.extent_offset(superblock.extent_count) <= medium.size_bytes() {
        return Ok(());
    }
    Err(Unusable::Gone("the container is shorter than it was made".to_owned()))
}

fn write_superblock(device: &dyn BlockDev, superblock: &Superblock) -> io::Result<()> {
    let block = superblock.encode();
    let offset_bytes = superblock_offset(superblock.generation);
    device.write_durably(&[Write { offset_bytes, parts: vec![IoSlice::new(&block)] }])
}
