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
    fn ask(&self, question: Question) -> Answer<'_, Result<Reply, Unavailable>> {
        let text = serde_json::to_string(&question).unwrap();
        let failing = self.fails.lock().unwrap().take();
        Box::pin(async move {
            let cut = Err(Unavailable("cut".to_owned()));
            if matches!(failing, Some(Failing::NotAsked)) {
                return cut;
            }
            let question: Question = serde_json::from_str(&text).unwrap();
            let reply = question.ask(&self.authority).await;
            match failing {
                Some(Failing::Nonsense) => Ok(Reply::Lost),
                Some(_) => cut,
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
async fn a_line_that_fails_is_unavailable_and_what_was_asked_is_asked_again() {
    let fails = Arc::default();
    let coord = Remote::new(Wire { authority: Memory::new(), fails: Arc::clone(&fails) });
    let fail = |how| *fails.lock().unwrap() = Some(how);
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
    fail(Failing::NoReply);
    assert_eq!(coord.release(lease).await, Err(cut));
    coord.release(lease).await.unwrap();
    fail(Failing::Nonsense);
    assert!(matches!(coord.acquire(COVER, FIRST, TTL).await, Err(AcquireError::Unavailable(_))));
}

#[test]
fn a_question_of_a_later_version_is_understood_as_far_as_it_can_be() {
    let claim = Claim { role: COVER, holder: FIRST, epoch: 3, ttl_ms: 2_000 };
    let mut text = serde_json::to_value(Question::Renew(claim)).unwrap();
    text["renew"]["colour"] = "green".into();
    assert_eq!(serde_json::from_value::<Question>(text).unwrap(), Question::Renew(claim));
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

#[tokio::test]
async fn a_holder_that_asks_for_ever_new_roles_is_refused_and_the_others_keep_theirs() {
    let coord = Memory::new();
    let role = |number: usize| RoleId(u128::try_from(number).unwrap().to_be_bytes());
    let first = coord.acquire(role(0), FIRST, TTL).await.unwrap();
    for number in 1..ROLES_MAX {
        coord.acquire(role(number), SECOND, TTL).await.unwrap();
    }
    let refused = coord.acquire(role(ROLES_MAX), SECOND, TTL).await;
    assert!(matches!(refused, Err(AcquireError::Unavailable(_))), "{refused:?}");
    coord.renew(first).await.unwrap();
}

/// The node with the authority was restarted: nobody loses what they believe to have, and no epoch comes back.
#[tokio::test]
async fn a_restart_forgets_no_epoch_and_takes_no_lease_away() {
    let mut kind = database();
    let first = kind.coord.acquire(COVER, FIRST, TTL).await.unwrap();
    let given_back = kind.coord.acquire(OTHER, FIRST, TTL).await.unwrap();
    kind.coord.release(given_back).await.unwrap();
    kind.time.pass(TTL * 9 / 10);
    kind.open_again();
    kind.time.pass(TTL / 2);
    kind.coord.acquire(COVER, SECOND, TTL).await.unwrap_err();
    kind.coord.renew(first).await.unwrap();
    assert_eq!(kind.coord.acquire(OTHER, SECOND, TTL).await.unwrap().epoch, 2);
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
    connection.execute("INSERT INTO roles VALUES (zeroblob(16), -5, NULL, NULL)", []).unwrap();
    assert!(matches!(Database::open(directory.path()), Err(DatabaseError::Damaged { .. })));
    connection.execute("DELETE FROM roles", []).unwrap();
    drop(Database::open(directory.path()).unwrap());
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
    Pass(u16),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let node = 0..3u8;
    let act = prop_oneof![
        node.clone().prop_map(Act::Acquire),
        node.clone().prop_map(Act::Renew),
        node.prop_map(Act::Release),
        (1..3_000u16).prop_map(Act::Pass),
    ];
    prop::collection::vec(act, 1..80)
}

proptest! {
    /// Three nodes in any order: by the clock of each, counted from before it asked, no two believe in the role at once, and
    /// who has it later has the higher epoch.
    #[test]
    fn belief_never_overlaps_and_epochs_are_in_the_order_of_holders(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let time = Time::default();
        let coord = Memory::with_clock(time.clock());
        let now = || Duration::from_nanos(time.0.load(Ordering::Relaxed));
        let mut leases: BTreeMap<u8, (Lease, Duration)> = BTreeMap::new();
        let mut last = 0;
        for act in acts {
            match act {
                Act::Acquire(node) => {
                    if let Ok(lease) = runtime.block_on(coord.acquire(COVER, RoleId([node; 16]), TTL)) {
                        prop_assert!(lease.epoch >= last);
                        last = lease.epoch;
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
                Act::Pass(milliseconds) => time.pass(Duration::from_millis(milliseconds.into())),
            }
            let believing = leases.values().filter(|(_, until)| now() < *until).count();
            prop_assert!(believing <= 1, "{} believe to have it", believing);
        }
    }
}
