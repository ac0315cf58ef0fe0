//! Proof: the real binary against real input. One program, so that it is linked once.
#![expect(clippy::unwrap_used, reason = "test code")]

mod abuse;
mod alarm;
mod cable;
mod cards;
mod changes;
mod check;
mod codecs;
mod crash;
mod demo;
mod disks;
mod edge;
mod edge_cases;
mod edits;
mod exports;
mod failing_disks;
mod failover;
mod faults;
mod foreign_camera;
mod foreign_replay;
mod frames;
mod garbage;
mod http;
mod https;
mod live;
mod lun;
mod onvif;
mod outside;
mod paths;
mod pictures;
mod refused;
mod reordered;
mod revoked;
mod rights;
mod rights_rtsp;
mod scan;
mod standbys;
mod store;
#[path = "../../../io/iscsi/tests/it/target.rs"]
mod target;
mod time;
mod trial;
mod watch;

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use keepwatch_it::Site;

/// Tests that promise a time run alone, or they would measure each other.
static MACHINE: RwLock<()> = RwLock::new(());

/// For a test that promises no time.
fn shared() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// For a test that promises one.
fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Changes the configuration of a site.
fn reconfigure(site: &Site, from: &str, to: &str) {
    let path = site.path().join("keepwatch.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let changed = text.replace(from, to);
    assert_ne!(text, changed, "{from} does not stand in it");
    std::fs::write(path, changed).unwrap();
}
