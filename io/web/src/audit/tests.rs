//! The log over restarts, months, damage and a full disk.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};

use keepwatch_model::{MonoTime, TICKS_PER_SECOND, WallTime};
use tempfile::TempDir;

use super::*;

const DAY: i64 = 86_400 * TICKS_PER_SECOND;

/// A wall clock that tests set.
struct World(AtomicI64);

impl Clock for World {
    fn now(&self) -> MonoTime {
        MonoTime::ZERO
    }

    fn wall(&self) -> WallTime {
        WallTime::from_ticks(self.0.load(Ordering::SeqCst))
    }
}

struct Site {
    data: TempDir,
    world: Arc<World>,
}

impl Site {
    fn new() -> Self {
        let start: WallTime = "2026-11-22T05:00:00Z".parse().unwrap();
        Self { data: tempfile::tempdir().unwrap(), world: Arc::new(World(AtomicI64::new(start.ticks()))) }
    }

    fn open(&self) -> (Audit, AuditOpened) {
        Audit::open(self.data.path(), Arc::clone(&self.world) as _).unwrap()
    }

    fn pass(&self, ticks: i64) {
        self.world.0.fetch_add(ticks, Ordering::SeqCst);
    }

    fn file(&self, month: &str) -> PathBuf {
        self.data.path().join(DIRECTORY).join(format!("{month}.jsonl"))
    }

    fn verify(&self, heads: &[(WallTime, Head)]) -> AuditReport {
        verify(self.data.path(), heads).unwrap()
    }
}

async fn enter(audit: &Audit, object: &str) {
    let peer = Peer::Process { uid: 0, administrator: true };
    let object = object.to_owned();
    let receipt = audit.enter_as("admin", "cookie", &peer, Action::UserChanged, object, String::new());
    receipt.durable().await.unwrap();
}

#[tokio::test]
async fn the_chain_goes_on_over_months_and_restarts() {
    let site = Site::new();
    let (audit, opened) = site.open();
    assert_eq!((opened, audit.head().is_empty()), (AuditOpened::default(), true));
    enter(&audit, "a").await;
    enter(&audit, "b").await;
    site.pass(10 * DAY);
    enter(&audit, "c").await;
    drop(audit);
    let (audit, opened) = site.open();
    assert_eq!(opened, AuditOpened::default());
    // A clock that is set back does not put an entry before its predecessors.
    site.pass(-10 * DAY);
    enter(&audit, "d").await;
    let lines = |month| fs::read_to_string(site.file(month)).unwrap().lines().count();
    assert_eq!((lines("2026-11"), lines("2026-12")), (2, 2));
    let report = site.verify(&[(WallTime::MIN, audit.head())]);
    assert_eq!((report.entries, report.fault), (4, None));
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(site.file("2026-11")), mode(site.data.path().join(DIRECTORY))), (0o600, 0o700));
}

#[tokio::test]
async fn the_first_broken_entry_is_named() {
    let site = Site::new();
    let (audit, _) = site.open();
    for object in ["first", "second", "third", "fourth"] {
        enter(&audit, object).await;
    }
    let head = audit.head();
    let whole = fs::read_to_string(site.file("2026-11")).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let with = |text: String| {
        fs::write(site.file("2026-11"), text).unwrap();
        site.verify(&[]).fault.unwrap_or_default()
    };
    assert_eq!(with(whole.clone()), "");
    let changed = with(whole.replace("second", "sEcond"));
    assert!(changed.contains("2026-11.jsonl, line 2: the entry was changed"), "{changed}");
    let left_out = with([lines[0], lines[2], lines[3]].concat());
    assert!(left_out.contains("line 2: entry 3 stands where entry 2 should"), "{left_out}");
    let swapped = with([lines[0], lines[2], lines[1], lines[3]].concat());
    assert!(swapped.contains("line 2: entry 3 stands"), "{swapped}");
    let twice = with([lines[0], lines[1], lines[1]].concat());
    assert!(twice.contains("line 3: entry 2 stands where entry 3"), "{twice}");
    let headless = with(lines[1..].concat());
    assert!(headless.contains("line 1: entry 2 stands where entry 1"), "{headless}");
    let nonsense = with(format!("{}\n{}", "x".repeat(100_000), lines[0]));
    assert!(nonsense.contains("line 1: the line is no entry"), "{nonsense}");
    // A cut tail has no broken entry: the head that was told elsewhere tells.
    assert_eq!(with(lines[..3].concat()), "");
    let at = "2026-11-22T06:00:00Z".parse().unwrap();
    let cut = site.verify(&[(at, head)]).fault.unwrap();
    assert!(cut.contains("ends at entry 3") && cut.contains("entry 4: the end was cut off"), "{cut}");
    fs::remove_file(site.file("2026-11")).unwrap();
    assert!(site.verify(&[(at, head)]).fault.unwrap().contains("ends at entry 0"));
}

#[tokio::test]
async fn a_chain_that_was_made_anew_does_not_pass_for_the_old_one() {
    let site = Site::new();
    let (audit, _) = site.open();
    enter(&audit, "a").await;
    let told = (WallTime::MIN, audit.head());
    let forged = Site::new();
    let (audit, _) = forged.open();
    enter(&audit, "b").await;
    enter(&audit, "c").await;
    let fault = forged.verify(&[told]).fault.unwrap();
    assert!(fault.contains("line 1: entry 1 is not the one that the event log told of"), "{fault}");
    assert_eq!(Head::from_text(&told.1.to_string()), Some(told.1));
    for text in ["", "audit log: entry x has the hash y", "audit log: entry 1 has the hash 12"] {
        assert_eq!(Head::from_text(text), None);
    }
}

#[tokio::test]
async fn what_a_crash_left_unfinished_is_removed_and_damage_is_left_in_place() {
    let site = Site::new();
    let (audit, _) = site.open();
    enter(&audit, "a").await;
    enter(&audit, "b").await;
    drop(audit);
    let path = site.file("2026-11");
    let whole = fs::read_to_string(&path).unwrap();
    for cut in [1, 10, 100] {
        fs::write(&path, format!("{whole}{}", &whole[..cut])).unwrap();
        assert_eq!(site.verify(&[]).unfinished_bytes, cut as u64);
        let (audit, opened) = site.open();
        assert_eq!(opened, AuditOpened { unfinished_bytes: cut as u64, damaged_lines: 0 });
        audit.flush().await;
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    }
    fs::write(&path, format!("{whole}damaged\n")).unwrap();
    let (audit, opened) = site.open();
    assert_eq!(opened.damaged_lines, 1);
    enter(&audit, "c").await;
    let now = fs::read_to_string(&path).unwrap();
    assert!(now.starts_with(&format!("{whole}damaged\n")) && now.lines().count() == 4, "{now}");
    assert!(site.verify(&[]).fault.unwrap().contains("line 3: the line is no entry"));
    // A month whose only lines are damaged: the chain goes on behind the one before.
    fs::write(&path, &whole).unwrap();
    fs::write(site.file("2026-12"), "damaged\n").unwrap();
    let (audit, _) = site.open();
    enter(&audit, "d").await;
    let last = fs::read_to_string(site.file("2026-12")).unwrap();
    assert!(last.lines().last().unwrap().starts_with("{\"seq\":3,"), "{last}");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_says_so_and_loses_nothing_that_was_confirmed() {
    let site = Site::new();
    let (audit, _) = site.open();
    enter(&audit, "a").await;
    let mut changes = audit.changes();
    // The directory of the next month cannot take a file.
    let elsewhere = site.data.path().join("elsewhere");
    fs::rename(site.data.path().join(DIRECTORY), &elsewhere).unwrap();
    site.pass(10 * DAY);
    let peer = Peer::Process { uid: 0, administrator: true };
    let failed = audit.enter_as("a", "b", &peer, Action::LoggedIn, String::new(), String::new());
    let problem = failed.durable().await.unwrap_err();
    assert_eq!((problem.status().as_u16(), problem.code()), (503, "audit_unavailable"));
    changes.next().await;
    assert!(audit.failure().is_some());
    assert_eq!(audit.require_working().unwrap_err().code(), "audit_unavailable");
    fs::rename(&elsewhere, site.data.path().join(DIRECTORY)).unwrap();
    enter(&audit, "b").await;
    assert!(audit.failure().is_none() && audit.require_working().is_ok());
    let report = site.verify(&[(WallTime::MIN, audit.head())]);
    assert_eq!((report.entries, report.fault), (2, None));
}

#[tokio::test]
async fn a_log_that_can_be_written_again_is_so_by_itself_and_views_are_entered_anew() {
    let site = Site::new();
    let pause = Duration::from_millis(20);
    let (audit, _) = Audit::open_retrying(site.data.path(), Arc::clone(&site.world) as _, pause).unwrap();
    enter(&audit, "a").await;
    let mut changes = audit.changes();
    let elsewhere = site.data.path().join("elsewhere");
    fs::rename(site.data.path().join(DIRECTORY), &elsewhere).unwrap();
    site.pass(10 * DAY);
    let peer = Peer::Process { uid: 0, administrator: true };
    let view = || {
        let camera = "gate".parse().unwrap();
        audit.viewed(&peer.administrator().unwrap(), &peer, Action::LiveViewed, camera);
    };
    view();
    let patience = Duration::from_secs(20);
    while audit.failure().is_none() {
        tokio::time::timeout(patience, changes.next()).await.expect("it is noticed");
    }
    assert!(audit.require_working().is_err());
    view();
    audit.flush().await;
    fs::rename(&elsewhere, site.data.path().join(DIRECTORY)).unwrap();
    while audit.failure().is_some() {
        tokio::time::timeout(patience, changes.next()).await.expect("it is tried again");
    }
    assert!(audit.require_working().is_ok());
    view();
    view();
    audit.flush().await;
    let report = site.verify(&[(WallTime::MIN, audit.head())]);
    assert_eq!((report.entries, report.fault, report.unfinished_bytes), (2, None, 0));
}

#[tokio::test]
async fn entries_of_many_at_once_are_one_chain() {
    let site = Site::new();
    let (audit, _) = site.open();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let audit = audit.clone();
        tasks.spawn(async move { enter(&audit, &number.to_string()).await });
    }
    while tasks.join_next().await.is_some() {}
    let report = site.verify(&[(WallTime::MIN, audit.head())]);
    assert_eq!((report.entries, report.fault), (200, None));
}
