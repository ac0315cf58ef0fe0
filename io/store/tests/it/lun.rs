//! A LUN as a disk: recorded to, away for a while, wanted by two, read by a third. Debian's tgt is the target.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keepwatch_model::RoleId;
use keepwatch_store::{DiskChange, DiskConfig, DiskLogin, DiskState, Secret, Store, StoreConfig, StoreError};

use crate::site::{Ear, Filler, KIB, Site, read_back};
use crate::target::{Account, Target};

const LUN_BYTES: u64 = 64 << 20;

fn disk(target: &Target) -> DiskConfig {
    DiskConfig { extent_bytes: Some(64 * KIB), ..DiskConfig::new(target.address(None), None) }
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(40), "it did not happen: {what}");
        std::thread::yield_now();
    }
}

fn is_gone(store: &Store) -> bool {
    matches!(store.disks()[0].state, DiskState::Gone { .. })
}

fn why_gone(store: &Store) -> String {
    match &store.disks()[0].state {
        DiskState::Gone { why, .. } => why.clone(),
        DiskState::Online | DiskState::ReadOnly { .. } | DiskState::Full | DiskState::Foreign { .. } => {
            String::new()
        }
    }
}

#[test]
fn footage_on_a_lun_survives_a_restart_and_the_loss_of_the_index() {
    let target = Target::start(LUN_BYTES);
    let site = Site::new();
    let store = site.open(vec![disk(&target)]);
    Filler::new(&store, "gate").seconds(30);
    site.ear.wait(|heard| heard.durable.len() == 30);
    store.close();
    let store = site.open(vec![disk(&target)]);
    assert_eq!(read_back(&store, "gate", 3_000), (0..30).collect::<Vec<_>>());
    Filler::from(&store, "gate", 30).seconds(10);
    site.ear.wait(|heard| heard.durable.len() == 40);
    store.close();
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(site.data().join(file));
    }
    let store = site.open(vec![disk(&target)]);
    assert_eq!(read_back(&store, "gate", 3_000), (0..40).collect::<Vec<_>>());
}

#[test]
fn a_login_by_chap_and_a_wrong_one_that_shows_no_password() {
    let account = Account { user: "edge", password: "correct-horse", outgoing: false };
    let target = Target::with_accounts(LUN_BYTES, &[account]);
    let with = |password: &str| DiskConfig {
        login: Some(DiskLogin { password: Secret::new(password), target: None }),
        ..DiskConfig::new(target.address(Some("edge")), None)
    };
    let site = Site::new();
    let refused =
        Store::open(site.config(vec![with("wrong-horse-x")]), Arc::<Ear>::clone(&site.ear)).unwrap_err();
    assert!(matches!(&refused, StoreError::NoDisk { why, .. } if why.contains("password_file")), "{refused}");
    assert!(!format!("{refused} {refused:?} {:?}", with("wrong-horse-x")).contains("horse"));
    let store = site.open(vec![with("correct-horse")]);
    Filler::new(&store, "gate").seconds(3);
    site.ear.wait(|heard| heard.durable.len() == 3);
}

#[test]
fn a_target_that_restarts_while_it_is_recorded_to_costs_nothing() {
    let mut target = Target::start(LUN_BYTES);
    let site = Site::new();
    let store = site.open(vec![disk(&target)]);
    let mut filler = Filler::new(&store, "gate");
    for kills in 1..=3 {
        filler.seconds(40);
        site.ear.wait(|heard| heard.durable.len() > kills * 80 - 75);
        target.kill();
        filler.seconds(40);
        target.run();
        // What is behind the restart on disk.
        site.ear.wait(|heard| heard.durable.len() + heard.lost.len() >= kills * 80);
    }
    let heard = site.ear.now();
    assert!(heard.lost.is_empty(), "{:?}", heard.lost.len());
    assert_eq!(read_back(&store, "gate", 3_000), (0..240).collect::<Vec<_>>());
}

#[test]
fn a_lun_that_stays_away_is_gone_and_returns_with_all_that_was_durable() {
    let mut target = Target::start(LUN_BYTES);
    let site = Site::new();
    let store = site.open(vec![disk(&target)]);
    Filler::new(&store, "gate").seconds(20);
    site.ear.wait(|heard| heard.durable.len() == 20);
    target.kill();
    wait_until("the LUN is gone", || is_gone(&store));
    target.run();
    wait_until("the LUN returns", || !is_gone(&store));
    Filler::from(&store, "gate", 20).seconds(20);
    let heard = site.ear.wait(|heard| heard.durable.len() == 40);
    assert!(heard.disk.iter().any(|(_, change)| *change == DiskChange::Returned));
    assert_eq!(read_back(&store, "gate", 3_000), (0..40).collect::<Vec<_>>());
}

#[test]
fn a_lun_of_another_recorder_is_left_alone_until_that_is_confirmed() {
    let target = Target::start(LUN_BYTES);
    let (one, other) = (Site::new(), Site::new());
    let first = one.open(vec![disk(&target)]);
    Filler::new(&first, "gate").seconds(5);
    one.ear.wait(|heard| heard.durable.len() == 5);
    let refused = Store::open(other.config(vec![disk(&target)]), Arc::<Ear>::clone(&other.ear));
    assert!(matches!(refused, Err(StoreError::ForeignDisk { .. })));
    // Nor is the first one disturbed.
    Filler::from(&first, "gate", 5).seconds(5);
    one.ear.wait(|heard| heard.durable.len() == 10);
    let confirmed = DiskConfig { adopt_foreign: true, ..disk(&target) };
    let second = other.open(vec![confirmed]);
    Filler::new(&second, "yard").seconds(5);
    other.ear.wait(|heard| heard.durable.len() == 5);
    // The first one notices, and is foreign there from now on.
    wait_until(
        "the first notices",
        || matches!(first.disks()[0].state, DiskState::Foreign { owner } if owner == second.role()),
    );
    Filler::from(&second, "yard", 5).seconds(5);
    other.ear.wait(|heard| heard.durable.len() == 10);
    assert_eq!(read_back(&second, "yard", 3_000), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_second_run_of_the_same_recorder_takes_over_and_the_first_stays_out() {
    let target = Target::start(LUN_BYTES);
    let (one, other) = (Site::new(), Site::new());
    let role = Some(RoleId([9; 16]));
    let open = |site: &Site| {
        let config = StoreConfig { role, ..site.config(vec![disk(&target)]) };
        Store::open(config, Arc::<Ear>::clone(&site.ear)).unwrap().0
    };
    let first = open(&one);
    Filler::new(&first, "gate").seconds(5);
    one.ear.wait(|heard| heard.durable.len() == 5);
    let second = open(&other);
    wait_until("the first notices", || is_gone(&first));
    Filler::from(&second, "gate", 5).seconds(20);
    other.ear.wait(|heard| heard.durable.len() == 20);
    wait_until("it is told why", || why_gone(&first).contains("identity"));
    assert_eq!(read_back(&second, "gate", 3_000), (0..25).collect::<Vec<_>>());
    // When the second one ends in order, the first may go on.
    second.close();
    wait_until("the first goes on", || !is_gone(&first));
    assert_eq!(read_back(&first, "gate", 3_000), (0..25).collect::<Vec<_>>());
}

#[test]
fn a_superblock_that_somebody_else_wrote_is_noticed_whatever_the_target_reserves() {
    let target = Target::start(LUN_BYTES);
    let site = Site::new();
    let store = site.open(vec![disk(&target)]);
    Filler::new(&store, "gate").seconds(5);
    site.ear.wait(|heard| heard.durable.len() == 5);
    // Behind the back of the target, so that no reservation is in the way.
    let file = std::fs::File::options().write(true).open(target.file()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[7; 64 << 10], 0).unwrap();
    let taken = DiskChange::Gone("another recorder has taken the LUN over".to_owned());
    site.ear.wait(|heard| heard.disk.iter().any(|(_, change)| *change == taken));
    wait_until("it is not taken back", || why_gone(&store).contains("is not footage"));
}

#[test]
fn a_lun_is_shown_by_a_second_recorder_while_the_first_writes_it() {
    let target = Target::start(LUN_BYTES);
    let (writes, shows) = (Site::new(), Site::new());
    let writer = writes.open(vec![disk(&target)]);
    let mut filler = Filler::new(&writer, "gate");
    filler.seconds(20);
    writes.ear.wait(|heard| heard.durable.len() == 20);
    let store = shows.open(vec![DiskConfig { read_only: true, ..disk(&target) }]);
    let [shown] = &store.shown()[..] else { panic!("{:?}", store.shown()) };
    assert_eq!(read_back(&store, shown.local.as_str(), 3_000), (0..20).collect::<Vec<_>>());
    filler.seconds(20);
    writes.ear.wait(|heard| heard.durable.len() == 40);
    wait_until("what was added is found", || read_back(&store, shown.local.as_str(), 3_000).len() == 40);
    assert!(writes.ear.now().lost.is_empty());
    store.close();
    filler.seconds(5);
    writes.ear.wait(|heard| heard.durable.len() == 45);
}

#[test]
fn a_lun_that_shrank_is_not_written() {
    let mut target = Target::start(LUN_BYTES);
    let site = Site::new();
    let store = site.open(vec![disk(&target)]);
    Filler::new(&store, "gate").seconds(5);
    site.ear.wait(|heard| heard.durable.len() == 5);
    target.kill();
    target.resize(LUN_BYTES / 2);
    target.run();
    wait_until("it is told why", || why_gone(&store).contains("shorter"));
}
