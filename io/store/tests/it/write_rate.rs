//! How fast a disk is: measured where no footage is, kept, and in nobody's way.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keepwatch_store::{BlockDev, DiskState, Store, WrapDevice, WriteRate};

use crate::site::{Filler, KIB, Site, at, read_back};

const SIZE_BYTES: u64 = 4096 * KIB;

/// A disk whose flush takes its time, and fails once when that is asked for.
struct Odd {
    inner: Arc<dyn BlockDev>,
    flush: Duration,
    fails: Arc<AtomicBool>,
}

fn odd(flush: Duration, fails: &Arc<AtomicBool>) -> Arc<WrapDevice> {
    let fails = Arc::clone(fails);
    Arc::new(move |_: &Path, inner: Arc<dyn BlockDev>| -> Arc<dyn BlockDev> {
        Arc::new(Odd { inner, flush, fails: Arc::clone(&fails) })
    })
}

impl BlockDev for Odd {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn read_at(&self, offset_bytes: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset_bytes, buffer)
    }

    fn write_at(&self, offset_bytes: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.inner.write_at(offset_bytes, parts)
    }

    fn flush(&self) -> io::Result<()> {
        std::thread::sleep(self.flush);
        if self.fails.swap(false, Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.inner.flush()
    }
}

fn until(what: &str, come: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !come() {
        assert!(Instant::now() < end, "{what}: not within 30 s");
        std::thread::yield_now();
    }
}

fn measured(store: &Store) -> WriteRate {
    until("measured", || store.disks()[0].write_rate.is_some());
    store.disks()[0].write_rate.unwrap()
}

#[test]
fn a_measured_disk_keeps_its_figure_and_its_footage() {
    let site = Site::new();
    let disk = site.disk("disk", SIZE_BYTES);
    let store = site.open(vec![disk.clone()]);
    assert_eq!(store.disks()[0].write_rate, None, "nobody asked");
    let mut north = Filler::new(&store, "north");
    north.seconds(20);
    store.measure_disks(at(7));
    north.seconds(20);
    let rate = measured(&store);
    store.keep_measures().unwrap();
    assert_eq!(rate.measured_at, at(7));
    assert!(rate.bytes_per_second > 0);
    north.seconds(20);
    site.ear.wait(|heard| heard.durable.len() == 60);
    let seconds: Vec<i64> = (0..60).collect();
    assert_eq!(read_back(&store, "north", 3_000), seconds);
    // What a crash leaves holds the same: nothing that was written to measure is taken for footage.
    let crashed = site.crashed();
    store.close();
    let store = site.open(vec![disk]);
    assert_eq!(store.disks()[0].write_rate, Some(rate), "kept");
    let disk = crashed.disk("disk", SIZE_BYTES);
    let (store, recovery) =
        Store::open(crashed.config(vec![disk]), Arc::new(keepwatch_store::Silent)).unwrap();
    assert_eq!(recovery.truncated_bytes, 0);
    assert_eq!(read_back(&store, "north", 3_000), seconds);
}

#[test]
fn a_disk_is_no_faster_than_it_makes_durable() {
    let site = Site::new();
    let flush = Duration::from_millis(20);
    let store = site.open_wrapped(vec![site.disk("disk", SIZE_BYTES)], odd(flush, &Arc::default()));
    store.measure_disks(at(1));
    // Eight extents of 64 KiB per flush at most.
    let most = 8 * 64 * KIB * 1000 / u64::try_from(flush.as_millis()).unwrap();
    let rate = measured(&store).bytes_per_second;
    assert!(rate < most, "{rate} of {most} bytes per second");
}

#[test]
fn a_disk_without_a_free_extent_is_not_written_to() {
    let site = Site::new();
    let store = site.open(vec![site.disk("disk", 1024 * KIB)]);
    let mut north = Filler::new(&store, "north");
    north.seconds(200);
    site.ear.wait(|heard| heard.durable.len() == 200);
    let held = read_back(&store, "north", 3_000);
    assert!(held.len() < 200, "the disk is full");
    store.measure_disks(at(1));
    north.seconds(1);
    site.ear.wait(|heard| heard.durable.len() == 201);
    north.seconds(1);
    site.ear.wait(|heard| heard.durable.len() == 202);
    assert_eq!(store.disks()[0].write_rate, None);
    let after = read_back(&store, "north", 3_000);
    assert!(held.iter().filter(|second| after.contains(second)).count() >= held.len() - 8, "{after:?}");
}

#[test]
fn a_measurement_that_fails_takes_no_disk_out_of_use() {
    let (site, fails) = (Site::new(), Arc::new(AtomicBool::new(false)));
    let wrap = odd(Duration::ZERO, &fails);
    let store = site.open_wrapped(vec![site.disk("disk", SIZE_BYTES)], wrap);
    fails.store(true, Ordering::SeqCst);
    store.measure_disks(at(1));
    until("the flush of the measurement fails", || !fails.load(Ordering::SeqCst));
    let mut north = Filler::new(&store, "north");
    north.seconds(2);
    site.ear.wait(|heard| heard.durable.len() == 2);
    let disk = &store.disks()[0];
    assert_eq!((&disk.state, disk.write_rate), (&DiskState::Online, None));
    assert_eq!(read_back(&store, "north", 3_000), [0, 1]);
}
