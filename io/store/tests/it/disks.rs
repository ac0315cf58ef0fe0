//! Disks that are wrong, gone, broken or slow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use keepwatch_model::{GapReason, RoleId};
use keepwatch_store::{
    BlockDev, DiskChange, DiskState, Fault, FaultDev, FaultSwitch, PushError, Store, StoreConfig, StoreError,
    WrapDevice,
};

use crate::site::{Ear, Filler, KIB, Site, read_back};

const SIZE_BYTES: u64 = 2048 * KIB;

/// Remembers the switch of every disk; a disk that is mounted again has a fresh one.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<BTreeMap<PathBuf, FaultSwitch>>>);

impl Faults {
    pub(crate) fn wrap(&self) -> Arc<WrapDevice> {
        let faults = self.clone();
        Arc::new(move |path: &Path, inner: Arc<dyn BlockDev>| -> Arc<dyn BlockDev> {
            let switch = FaultSwitch::default();
            faults.0.lock().unwrap().insert(path.to_owned(), switch.clone());
            Arc::new(FaultDev::new(inner, switch))
        })
    }

    /// As [`wrap`](Self::wrap), but a disk that is mounted again is as broken as before.
    pub(crate) fn wrap_for_good(&self) -> Arc<WrapDevice> {
        let faults = self.clone();
        Arc::new(move |path: &Path, inner: Arc<dyn BlockDev>| -> Arc<dyn BlockDev> {
            let switch = faults.0.lock().unwrap().entry(path.to_owned()).or_default().clone();
            Arc::new(FaultDev::new(inner, switch))
        })
    }

    pub(crate) fn set(&self, path: &Path, fault: Fault) {
        self.0.lock().unwrap().entry(path.to_owned()).or_default().set(fault);
    }
}

#[test]
fn a_foreign_disk_is_refused_until_it_is_confirmed() {
    let site = Site::new();
    let disk = site.disk("disk", SIZE_BYTES);
    let theirs = site.open(vec![disk.clone()]);
    let owner = theirs.role();
    Filler::new(&theirs, "north").seconds(3);
    site.ear.wait(|heard| heard.durable.len() == 3);
    theirs.close();
    let before = std::fs::read(disk.path.join("keepwatch.container")).unwrap();

    let config = |adopt_foreign| StoreConfig {
        role: Some(RoleId([7; 16])),
        ..StoreConfig::new(
            site.root.path().join("other data"),
            vec![keepwatch_store::DiskConfig { adopt_foreign, ..disk.clone() }],
        )
    };
    let ear = Arc::<Ear>::clone(&site.ear);
    match Store::open(config(false), ear.clone()) {
        Err(StoreError::ForeignDisk { owner: found, .. }) => assert_eq!(found, owner),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        std::fs::read(disk.path.join("keepwatch.container")).unwrap(),
        before,
        "not a byte was written"
    );
    let (ours, _) = Store::open(config(true), ear).unwrap();
    assert_eq!(read_back(&ours, "north", 3_000), [0, 1, 2]);
}

#[test]
fn a_foreign_disk_beside_a_good_one_does_not_stop_recording() {
    let site = Site::new();
    let (good, foreign) = (site.disk("good", SIZE_BYTES), site.disk("foreign", SIZE_BYTES));
    let other = StoreConfig {
        role: Some(RoleId([7; 16])),
        ..StoreConfig::new(site.root.path().join("x"), vec![foreign.clone()])
    };
    Store::open(other, Arc::<Ear>::clone(&site.ear)).unwrap().0.close();
    let store = site.open(vec![foreign, good]);
    assert_eq!(store.disks()[0].state, DiskState::Foreign { owner: RoleId([7; 16]) });
    Filler::new(&store, "north").seconds(3);
    assert!(site.ear.wait(|heard| heard.durable.len() == 3).lost.is_empty());
}

#[test]
fn something_else_in_the_slot_is_left_alone() {
    let site = Site::new();
    let disk = site.disk("disk", SIZE_BYTES);
    let container = disk.path.join("keepwatch.container");
    std::fs::write(&container, vec![0x55; 2 << 20]).unwrap();
    let opened = Store::open(site.config(vec![disk]), Arc::<Ear>::clone(&site.ear));
    assert!(matches!(opened, Err(StoreError::NoDisk { .. })), "{opened:?}");
    assert!(std::fs::read(container).unwrap().iter().all(|byte| *byte == 0x55));
}

#[test]
fn sizes_that_cannot_be_are_refused_with_a_reason() {
    let site = Site::new();
    let open = |size_bytes, extent_bytes| {
        let disk = keepwatch_store::DiskConfig { extent_bytes, ..site.disk("disk", size_bytes) };
        Store::open(site.config(vec![disk]), Arc::<Ear>::clone(&site.ear)).map(|_| ())
    };
    assert!(matches!(open(100 * KIB, None), Err(StoreError::Geometry { .. })));
    assert!(matches!(open(1 << 30, Some(5_000)), Err(StoreError::Geometry { .. })));
    assert!(matches!(open(1 << 60, None), Err(StoreError::Geometry { .. } | StoreError::NoRoom { .. })));
    let missing = keepwatch_store::DiskConfig::new(site.root.path().join("nowhere"), Some(SIZE_BYTES));
    let opened = Store::open(site.config(vec![missing]), Arc::<Ear>::clone(&site.ear));
    assert!(matches!(opened, Err(StoreError::NoDisk { .. })), "{opened:?}");
}

#[test]
fn a_disk_that_vanishes_is_never_made_again_and_is_taken_back_when_it_returns() {
    let site = Site::new();
    let disk = site.disk("disk", SIZE_BYTES);
    let store = site.open(vec![disk.clone()]);
    let mut north = Filler::new(&store, "north");
    north.seconds(5);
    site.ear.wait(|heard| heard.durable.len() == 5);
    // As when the file system is unmounted: the directory is there, and empty.
    let away = site.root.path().join("away");
    std::fs::rename(&disk.path, &away).unwrap();
    std::fs::create_dir(&disk.path).unwrap();
    site.ear.wait(|heard| heard.disk.iter().any(|(_, change)| matches!(change, DiskChange::Gone(_))));
    assert!(matches!(store.disks()[0].state, DiskState::Gone { .. }));
    let refused = north.second();
    assert_eq!(refused, Err(keepwatch_store::CommitError::NoDisk(GapReason::DiskGone)));
    // Also for a store that is opened meanwhile.
    store.close();
    let store = site.open(vec![disk.clone()]);
    assert!(matches!(store.disks()[0].state, DiskState::Gone { .. }));
    assert_eq!(std::fs::read_dir(&disk.path).unwrap().count(), 0, "nothing was made in the empty directory");
    std::fs::remove_dir(&disk.path).unwrap();
    std::fs::rename(&away, &disk.path).unwrap();
    site.ear.wait(|heard| heard.disk.iter().any(|(_, change)| *change == DiskChange::Returned));
    Filler::from(&store, "north", 50).seconds(2);
    site.ear.wait(|heard| heard.durable.len() == 7);
    assert_eq!(read_back(&store, "north", 3_000), [0, 1, 2, 3, 4, 50, 51]);
}

#[test]
fn a_disk_that_fails_midway_loses_nothing_durable_and_its_records_go_elsewhere() {
    for fault in [
        Fault::Error(libc::EIO),
        Fault::ErrorAfter { writes: 2, errno: libc::ENOSPC },
        Fault::FlushError(libc::EIO),
    ] {
        let site = Site::new();
        let faults = Faults::default();
        let disks = vec![site.disk("one", SIZE_BYTES), site.disk("two", SIZE_BYTES)];
        let store = site.open_wrapped(disks.clone(), faults.wrap());
        let mut fillers: Vec<_> = (0..4).map(|number| Filler::new(&store, &format!("cam{number}"))).collect();
        for filler in &mut fillers {
            filler.seconds(5);
        }
        let heard = site.ear.wait(|heard| heard.durable.len() == 20);
        let used: std::collections::BTreeSet<_> = heard.durable.iter().map(|commit| commit.disk).collect();
        assert_eq!(used.len(), 2, "streams spread over the disks");
        faults.set(&disks[0].path, fault);
        for filler in &mut fillers {
            filler.seconds(5);
        }
        let heard = site.ear.wait(|heard| heard.durable.len() == 40);
        assert!(heard.lost.is_empty(), "{fault:?}");
        site.ear.wait(|heard| heard.disk.iter().any(|(_, change)| *change == DiskChange::Returned));
        for filler in &mut fillers {
            filler.seconds(1);
        }
        site.ear.wait(|heard| heard.durable.len() == 44);
        for number in 0..4 {
            let name = format!("cam{number}");
            assert_eq!(read_back(&store, &name, 3_000), (0..11).collect::<Vec<_>>(), "{fault:?} {name}");
        }
    }
}

#[test]
fn without_any_disk_records_are_lost_with_their_reason_and_memory_is_free() {
    let site = Site::new();
    let faults = Faults::default();
    let disk = site.disk("disk", SIZE_BYTES);
    let store = site.open_wrapped(vec![disk.clone()], faults.wrap());
    let mut north = Filler::new(&store, "north");
    north.seconds(1);
    site.ear.wait(|heard| heard.durable.len() == 1);
    faults.set(&disk.path, Fault::Error(libc::EIO));
    north.second().unwrap();
    let heard = site.ear.wait(|heard| heard.lost.len() == 1);
    assert_eq!(heard.lost[0].reason, GapReason::DiskGone);
    assert_eq!(store.buffered_bytes(), 0);
    site.ear.wait(|heard| heard.disk.iter().any(|(_, change)| *change == DiskChange::Returned));
    north.seconds(1);
    site.ear.wait(|heard| heard.durable.len() == 2);
}

#[test]
fn a_stuck_disk_fills_the_buffer_then_refuses_then_recovers() {
    let site = Site { buffer_bytes_max: 4096 * KIB, ..Site::new() };
    let faults = Faults::default();
    let disk = site.disk("disk", SIZE_BYTES);
    let store = site.open_wrapped(vec![disk.clone()], faults.wrap());
    let mut north = Filler::new(&store, "north");
    faults.set(&disk.path, Fault::Stuck);
    let mut queued = 0;
    let refusal = loop {
        match north.writer.push(0, 0, true, &[1; 3_000]) {
            Ok(()) => north.writer.discard(),
            Err(refusal) => break refusal,
        }
        if north.second().is_ok() {
            queued += 1;
        }
    };
    assert_eq!(refusal, PushError::Backlog(GapReason::DiskSlow));
    assert!(store.buffered_bytes() <= 4096 * KIB, "the buffer is bounded");
    assert!(queued > 10);
    north.writer.discard();
    faults.set(&disk.path, Fault::None);
    let heard = site.ear.wait(|heard| heard.durable.len() == queued);
    assert!(heard.lost.is_empty());
    north.second().unwrap();
    site.ear.wait(|heard| heard.durable.len() == queued + 1);
    assert_eq!(store.buffered_bytes(), 0);
}

fn id_of(store: &Store, position: usize) -> keepwatch_store::DiskId {
    store.disks()[position].id.unwrap()
}

#[test]
fn a_stuck_disk_does_not_stop_the_other() {
    let site = Site { buffer_bytes_max: 4096 * KIB, ..Site::new() };
    let faults = Faults::default();
    let disks = vec![site.disk("one", SIZE_BYTES), site.disk("two", SIZE_BYTES)];
    let store = site.open_wrapped(disks.clone(), faults.wrap());
    let mut fillers = [Filler::new(&store, "north"), Filler::new(&store, "south")];
    fillers.iter_mut().for_each(|filler| filler.seconds(1));
    let heard = site.ear.wait(|heard| heard.durable.len() == 2);
    let other = heard.durable.iter().find(|commit| commit.disk != id_of(&store, 0)).unwrap().camera;
    faults.set(&disks[0].path, Fault::Stuck);
    // The stuck disk's stream takes its share of the buffer, then goes on elsewhere; the other never stops.
    for second in 2..600 {
        fillers.iter_mut().for_each(|filler| filler.seconds(1));
        site.ear.wait(|heard| heard.durable.iter().filter(|commit| commit.camera == other).count() == second);
    }
    faults.set(&disks[0].path, Fault::None);
    let heard = site.ear.wait(|heard| heard.durable.len() == 2 * 599);
    assert!(heard.lost.is_empty());
}
