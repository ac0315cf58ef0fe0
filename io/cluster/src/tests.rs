//! The suite that every implementation passes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use keepwatch_model::MonoTime;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::memory::Clock;

const TTL: Duration = Duration::from_secs(2);
const COVER: RoleId = RoleId([1; 16]);
const OTHER: RoleId = RoleId([2; 16]);
const FIRST: RoleId = RoleId([11; 16]);
const SECOND: RoleId = RoleId([12; 16]);

/// A clock of which the test is master.
#[derive(Clone, Default)]
struct Time(Arc<AtomicU64>);

impl Time {
    fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Ordering::Relaxed);
    }

    fn clock(&self) -> Clock {
        let time = self.clone();
        Arc::new(move || MonoTime::from_nanos(time.0.load(Ordering::Relaxed)))
    }
}

/// One implementation, which may be opened again.
struct Kind {
    time: Time,
    directory: Option<TempDir>,
    coord: Box<dyn Coord>,
}

fn kinds() -> Vec<Kind> {
    let time = Time::default();
    let memory: Box<dyn Coord> = Box::new(Memory::with_clock(time.clock()));
    vec![Kind { time, directory: None, coord: memory }, database(), remote()]
}

/// A line to a node in this process: what is said is written down and read again, as on a connection.
#[derive(Debug)]
struct Wire {
    authority: Memory,
    /// What comes of the next question instead of a reply.
    fails: Arc<Mutex<Option<Failing>>>,
}

#[derive(Clone, Copy, Debug)]
enum Failing {
    NotAsked,
    NoReply,
    Nonsense,
}

impl Line for Wire {
    fn ask(&self, question: Question) -> Answer<'_, Result<Reply, NoReply>> {
        let text = serde_json::to_string(&question).unwrap();
        let failing = self.fails.lock().unwrap().take();
        Box::pin(async move {
            let no_reply = |asked| Err(NoReply { why: "cut".to_owned(), asked });
            if matches!(failing, Some(Failing::NotAsked)) {
                return no_reply(false);
            }
            let question: Question = serde_json::from_str(&text).unwrap();
            let reply = question.ask(&self.authority).await;
            match failing {
                Some(Failing::Nonsense) => Ok(Reply::Nothing),
                Some(_) => no_reply(true),
                None => Ok(serde_json::from_str(&serde_json::to_string(&reply).unwrap()).unwrap()),
            }
        })
    }
}

fn remote() -> Kind {
    let time = Time::default();
    let authority = Memory::with_clock(time.clock());
    let coord = Box::new(Remote::new(Wire { authority, fails: Arc::default() }));
    Kind { time, directory: None, coord }
}

#[tokio::test]
async fn a_line_that_fails_is_unavailable_and_only_a_change_may_have_been_made() {
    let fails = Arc::default();
    let coord = Remote::new(Wire { authority: Memory::new(), fails: Arc::clone(&fails) });
    let fail = |how| *fails.lock().unwrap() = Some(how);
    let change = || Change { put: put("a", b"1"), ..Change::default() };
    let cut = Unavailable("cut".to_owned());
    for how in [Failing::NotAsked, Failing::NoReply] {
        fail(how);
        assert_eq!(coord.acquire(COVER, FIRST, TTL).await, Err(AcquireError::Unavailable(cut.clone())));
    }
    // It was asked, and has the lease: asked again it gets the same one.
    let lease = coord.acquire(COVER, FIRST, TTL).await.unwrap();
    assert_eq!(lease.epoch, 1);
    fail(Failing::NoReply);
    assert_eq!(coord.renew(lease).await, Err(RenewError::Unavailable(cut.clone())));
    coord.renew(lease).await.unwrap();
    fail(Failing::NotAsked);
    assert_eq!(coord.commit(change()).await, Err(CommitError::Unavailable(cut)));
    fail(Failing::NoReply);
    assert_eq!(coord.commit(change()).await, Err(CommitError::Unknown("cut".to_owned())));
    assert_eq!(coord.entry("a").await.unwrap().unwrap().value, b"1", "it had been made");
    fail(Failing::Nonsense);
    assert!(matches!(coord.acquire(COVER, FIRST, TTL).await, Err(AcquireError::Unavailable(_))));
    fail(Failing::Nonsense);
    assert!(matches!(coord.commit(change()).await, Err(CommitError::Unknown(_))));
}

fn database() -> Kind {
    let (time, directory) = (Time::default(), TempDir::new().unwrap());
    let coord = Box::new(Database::with_clock(directory.path(), time.clock()).unwrap());
    Kind { time, directory: Some(directory), coord }
}

impl Kind {
    fn open_again(&mut self) {
        let directory = self.directory.as_ref().unwrap();
        self.coord = Box::new(Memory::new());
        self.coord = Box::new(Database::with_clock(directory.path(), self.time.clock()).unwrap());
    }
}

fn put(key: &str, value: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
    vec![(key.to_owned(), Some(value.to_vec()))]
}

#[tokio::test]
async fn one_holder_at_a_time_and_epochs_grow() {
    for Kind { time, coord, .. } in kinds() {
        let lease = coord.acquire(COVER, FIRST, TTL).await.unwrap();
        assert_eq!(lease, Lease { role: COVER, holder: FIRST, epoch: 1, ttl: TTL });
        let held = AcquireError::Held { holder: FIRST, epoch: 1 };
        assert_eq!(coord.acquire(COVER, SECOND, TTL).await, Err(held.clone()));
        assert_eq!(coord.acquire(OTHER, SECOND, TTL).await.unwrap().epoch, 1, "roles are apart");
        assert_eq!(coord.acquire(COVER, FIRST, TTL).await, Ok(lease), "the same lease");
        time.pass(TTL - Duration::from_millis(1));
        assert_eq!(coord.acquire(COVER, SECOND, TTL).await, Err(held));
        time.pass(Duration::from_millis(1));
        assert_eq!(coord.acquire(COVER, SECOND, TTL).await.unwrap().epoch, 2);
        assert_eq!(coord.renew(lease).await, Err(RenewError::Lost));
    }
}

#[tokio::test]
async fn a_lease_lasts_as_long_as_it_is_renewed_and_not_a_moment_longer() {
    for Kind { time, coord, .. } in kinds() {
        let lease = coord.acquire(COVER, FIRST, TTL).await.unwrap();
        for _ in 0..10 {
            time.pass(TTL / 2);
            coord.renew(lease).await.unwrap();
        }
        time.pass(TTL);
        assert_eq!(coord.renew(lease).await, Err(RenewError::Lost), "nobody took it, and it is over");
        assert_eq!(coord.acquire(COVER, FIRST, TTL).await.unwrap().epoch, 2);
    }
}

#[tokio::test]
async fn what_is_given_back_is_free_at_once_and_only_its_holder_gives_it_back() {
    for Kind { coord, .. } in kinds() {
        let first = coord.acquire(COVER, FIRST, TTL).await.unwrap();
        coord.release(Lease { holder: SECOND, ..first }).await.unwrap();
        coord.release(Lease { epoch: 7, ..first }).await.unwrap();
        coord.acquire(COVER, SECOND, TTL).await.unwrap_err();
        coord.release(first).await.unwrap();
        let second = coord.acquire(COVER, SECOND, TTL).await.unwrap();
        assert_eq!(second.epoch, 2);
        coord.release(first).await.unwrap();
        coord.renew(second).await.unwrap();
    }
}

/// Its holder slept, woke, and goes on as if nothing had happened (Martin Kleppmann's case).
#[tokio::test]
async fn a_change_of_an_earlier_holder_is_refused() {
    for Kind { time, coord, .. } in kinds() {
        let first = coord.acquire(COVER, FIRST, TTL).await.unwrap();
        let by = |lease: Lease, value: &[u8]| Change {
            fence: vec![(COVER, lease.epoch)],
            put: put("restore", value),
            ..Change::default()
        };
        coord.commit(by(first, b"1")).await.unwrap();
        time.pass(2 * TTL);
        coord.commit(by(first, b"2")).await.unwrap();
        let second = coord.acquire(COVER, SECOND, TTL).await.unwrap();
        let fenced = CommitError::Fenced { role: COVER, epoch: 2 };
        assert_eq!(coord.commit(by(first, b"3")).await, Err(fenced));
        coord.commit(by(second, b"4")).await.unwrap();
        assert_eq!(coord.entry("restore").await.unwrap().unwrap().value, b"4");
    }
}

#[tokio::test]
async fn a_change_is_made_whole_or_not_at_all() {
    for Kind { coord, .. } in kinds() {
        let first = coord.commit(Change { put: put("a", b"1"), ..Change::default() }).await.unwrap();
        let conflicting = Change {
            expect: vec![("a".into(), Some(first)), ("b".into(), Some(first))],
            put: [put("a", b"2"), put("b", b"2")].concat(),
            ..Change::default()
        };
        let conflict = CommitError::Conflict { key: "b".into() };
        assert_eq!(coord.commit(conflicting.clone()).await, Err(conflict));
        assert_eq!(coord.entry("a").await.unwrap().unwrap().value, b"1");
        let right = Change { expect: vec![("a".into(), Some(first)), ("b".into(), None)], ..conflicting };
        let second = coord.commit(right).await.unwrap();
        assert!(second > first);
        let entry = coord.entry("b").await.unwrap().unwrap();
        assert_eq!((entry.revision, entry.value), (second, b"2".to_vec()));
        let removal = Change { put: vec![("a".into(), None)], ..Change::default() };
        coord.commit(removal).await.unwrap();
        assert_eq!(coord.entry("a").await, Ok(None));
        let long = Change { put: put("c", &vec![0; VALUE_BYTES_MAX + 1]), ..Change::default() };
        assert_eq!(coord.commit(long).await, Err(CommitError::TooLong { key: "c".into() }));
    }
}

/// The node with the authority was restarted: nobody loses what they believe to have, and no epoch comes back.
#[tokio::test]
async fn a_restart_forgets_no_epoch_and_takes_no_lease_away() {
    let mut kind = database();
    let first = kind.coord.acquire(COVER, FIRST, TTL).await.unwrap();
    let given_back = kind.coord.acquire(OTHER, FIRST, TTL).await.unwrap();
    kind.coord.release(given_back).await.unwrap();
    let revision = kind.coord.commit(Change { put: put("a", b"1"), ..Change::default() }).await.unwrap();
    kind.time.pass(TTL * 9 / 10);
    kind.open_again();
    kind.time.pass(TTL / 2);
    kind.coord.acquire(COVER, SECOND, TTL).await.unwrap_err();
    kind.coord.renew(first).await.unwrap();
    assert_eq!(kind.coord.acquire(OTHER, SECOND, TTL).await.unwrap().epoch, 2);
    assert_eq!(kind.coord.entry("a").await.unwrap().unwrap().revision, revision);
    let later = kind.coord.commit(Change { put: put("b", b"1"), ..Change::default() }).await.unwrap();
    assert!(later > revision);
    kind.time.pass(2 * TTL);
    assert_eq!(kind.coord.acquire(COVER, SECOND, TTL).await.unwrap().epoch, 2);
}

#[test]
fn a_database_that_cannot_be_used_says_so_and_is_left_as_it_is() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("cluster.db");
    std::fs::write(&path, b"no database, and long enough to be looked at as one").unwrap();
    assert!(matches!(Database::open(directory.path()), Err(DatabaseError::Open { .. })));
    assert_eq!(std::fs::read(&path).unwrap()[..11], *b"no database");
    std::fs::remove_file(&path).unwrap();
    drop(Database::open(directory.path()).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    for (damage, repair) in [
        ("UPDATE revision SET number = -1", "UPDATE revision SET number = 0"),
        ("INSERT INTO roles VALUES (zeroblob(16), -5, NULL, NULL)", "DELETE FROM roles"),
        ("INSERT INTO entries VALUES ('a', 3, x'00')", "DELETE FROM entries"),
    ] {
        connection.execute(damage, []).unwrap();
        let opened = Database::open(directory.path());
        assert!(matches!(opened, Err(DatabaseError::Damaged { .. })), "{damage}");
        connection.execute(repair, []).unwrap();
        drop(Database::open(directory.path()).unwrap());
    }
    connection.pragma_update(None, "user_version", 9).unwrap();
    assert!(matches!(Database::open(directory.path()), Err(DatabaseError::Later { version: 9, .. })));
}

/// Eight nodes want the same role at the same time, over and over. Nobody has it while another does, by the epochs that
/// each wrote under them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_never_have_the_same_epoch() {
    for Kind { coord, directory, .. } in kinds() {
        let coord: Arc<dyn Coord> = Arc::from(coord);
        let holders: Arc<Mutex<BTreeMap<u64, RoleId>>> = Arc::default();
        let nodes = (0..8).map(|node| {
            let (coord, holders) = (Arc::clone(&coord), Arc::clone(&holders));
            tokio::spawn(async move {
                let me = RoleId([node; 16]);
                for _ in 0..40 {
                    match coord.acquire(COVER, me, TTL).await {
                        Ok(lease) => {
                            let before = holders.lock().unwrap().insert(lease.epoch, me);
                            assert_eq!(before, None, "epoch {} twice", lease.epoch);
                            coord.release(lease).await.unwrap();
                        }
                        Err(AcquireError::Held { holder, .. }) => assert_ne!(holder, me),
                        Err(AcquireError::Unavailable(error)) => panic!("{error}"),
                    }
                }
            })
        });
        for node in nodes.collect::<Vec<_>>() {
            node.await.unwrap();
        }
        assert!(holders.lock().unwrap().len() > 8);
        drop(directory);
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Acquire(u8),
    Renew(u8),
    Release(u8),
    Commit(u8),
    Pass(u16),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let node = 0..3u8;
    let act = prop_oneof![
        node.clone().prop_map(Act::Acquire),
        node.clone().prop_map(Act::Renew),
        node.clone().prop_map(Act::Release),
        node.prop_map(Act::Commit),
        (1..3_000u16).prop_map(Act::Pass),
    ];
    prop::collection::vec(act, 1..80)
}

proptest! {
    /// Three nodes in any order: by the clock of each, counted from before it asked, no two believe in the role at once, and
    /// what is written under it is never overwritten by an earlier holder.
    #[test]
    fn belief_never_overlaps_and_writes_are_in_the_order_of_epochs(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let time = Time::default();
        let coord = Memory::with_clock(time.clock());
        let now = || Duration::from_nanos(time.0.load(Ordering::Relaxed));
        let mut leases: BTreeMap<u8, (Lease, Duration)> = BTreeMap::new();
        let mut written = 0;
        for act in acts {
            match act {
                Act::Acquire(node) => {
                    if let Ok(lease) = runtime.block_on(coord.acquire(COVER, RoleId([node; 16]), TTL)) {
                        leases.insert(node, (lease, now() + TTL));
                    }
                }
                Act::Renew(node) => {
                    if let Some((lease, until)) = leases.get_mut(&node) {
                        match runtime.block_on(coord.renew(*lease)) {
                            Ok(()) => *until = now() + TTL,
                            Err(_) => prop_assert!(*until <= now(), "it was taken away before its time"),
                        }
                    }
                }
                Act::Release(node) => {
                    if let Some((lease, _)) = leases.remove(&node) {
                        runtime.block_on(coord.release(lease)).unwrap();
                    }
                }
                Act::Commit(node) => {
                    let Some((lease, _)) = leases.get(&node) else { continue };
                    let change = Change {
                        fence: vec![(COVER, lease.epoch)],
                        put: put("by", &lease.epoch.to_be_bytes()),
                        ..Change::default()
                    };
                    if runtime.block_on(coord.commit(change)).is_ok() {
                        prop_assert!(lease.epoch >= written);
                        written = lease.epoch;
                    }
                }
                Act::Pass(milliseconds) => time.pass(Duration::from_millis(milliseconds.into())),
            }
            let believing = leases.values().filter(|(_, until)| now() < *until).count();
            prop_assert!(believing <= 1, "{} believe to have it", believing);
        }
    }
}
