use std::collections::BTreeSet;

use super::*;

const ROLE: RoleId = RoleId([0xab; 16]);
const OTHER: RoleId = RoleId([0xcd; 16]);

fn book(data: &Path) -> StandbyBook {
    StandbyBook::open(data, Key::new([7; 32])).unwrap()
}

fn id(text: &str) -> CameraId {
    text.parse().unwrap()
}

fn at(seconds: i64) -> WallTime {
    WallTime::from_ticks(seconds * 90_000)
}

fn row(role: RoleId) -> PrimaryRow {
    PrimaryRow {
        role,
        key: "00".repeat(32),
        address: "[2001:db8::1]:8443".parse().unwrap(),
        name: "north".to_owned(),
        mac: Some("02:00:00:00:00:01".to_owned()),
        version: "0.1.0".to_owned(),
        automatic: true,
        priority: 3,
        prebuffer: false,
        epoch: 5,
        covered: vec![id("cam1"), id("cam2")],
        alone: vec![id("cam3")],
        covered_since: Some(at(9)),
        report: Some(4),
        drill: Some("{}".to_owned()),
    }
}

#[test]
fn what_runs_is_known_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    book(data.path()).put_primary(&row(ROLE)).unwrap();
    let changed = PrimaryRow { covered: Vec::new(), covered_since: None, report: None, ..row(OTHER) };
    book(data.path()).put_primary(&row(OTHER)).unwrap();
    book(data.path()).put_primary(&changed).unwrap();
    assert_eq!(book(data.path()).primaries().unwrap().rows, [row(ROLE), changed]);
    book(data.path()).remove_primary(OTHER).unwrap();
    assert_eq!(book(data.path()).primaries().unwrap().rows, [row(ROLE)]);
}

#[test]
fn a_primary_that_is_damaged_does_not_hide_the_others() {
    let data = tempfile::tempdir().unwrap();
    let book = book(data.path());
    for role in [ROLE, OTHER, RoleId([1; 16]), RoleId([2; 16])] {
        book.put_primary(&row(role)).unwrap();
    }
    let raw = Connection::open(data.path().join(DATABASE_FILE)).unwrap();
    for (role, damage) in [(OTHER, "address = 'nowhere'"), (RoleId([1; 16]), "alone = '{'")] {
        raw.execute(&format!("UPDATE primaries SET {damage} WHERE role = ?1"), [role.0]).unwrap();
    }
    raw.execute("UPDATE primaries SET epoch = 'x' WHERE role = ?1", [[2_u8; 16]]).unwrap();
    let found = book.primaries().unwrap();
    assert_eq!((found.rows, found.damaged.len()), (vec![row(ROLE)], 3), "{:?}", found.damaged);
}

#[test]
fn a_database_of_the_version_before_is_read_on() {
    let data = tempfile::tempdir().unwrap();
    book(data.path()).put_primary(&row(ROLE)).unwrap();
    let raw = Connection::open(data.path().join(DATABASE_FILE)).unwrap();
    raw.execute_batch("ALTER TABLE primaries DROP COLUMN alone; PRAGMA user_version = 1").unwrap();
    let before = PrimaryRow { alone: Vec::new(), ..row(ROLE) };
    assert_eq!(book(data.path()).primaries().unwrap().rows, [before]);
    book(data.path()).put_primary(&row(ROLE)).unwrap();
    assert_eq!(book(data.path()).primaries().unwrap().rows, [row(ROLE)]);
}

#[test]
fn the_monitoring_list_has_an_end_and_a_change_is_none() {
    let data = tempfile::tempdir().unwrap();
    let book = book(data.path());
    for number in 0..u8::try_from(PRIMARIES_MAX).unwrap() {
        book.put_primary(&row(RoleId([number; 16]))).unwrap();
    }
    assert!(matches!(book.put_primary(&row(ROLE)), Err(BookError::Full)));
    book.put_primary(&row(RoleId([0; 16]))).unwrap();
}

#[test]
fn a_backup_is_kept_once_and_sealed_and_the_oldest_go() {
    let data = tempfile::tempdir().unwrap();
    let book = book(data.path());
    let keep = |seconds, text: &str| {
        let digest: Vec<u8> = text.bytes().rev().collect();
        book.keep_backup(ROLE, at(seconds), at(seconds), 2, &digest, text.as_bytes())
    };
    let first = keep(1, "a password").unwrap();
    assert!(first.changed && first.line.number == 1);
    let again = keep(2, "a password").unwrap();
    assert_eq!(
        (again.changed, again.line.number, again.line.taken, again.line.checked),
        (false, 1, at(1), at(2))
    );
    assert_eq!(book.backups(ROLE).unwrap(), [again.line]);
    assert!(keep(3, "another password").unwrap().changed);
    assert_eq!(book.backup(ROLE, 1).unwrap().unwrap(), b"a password");
    assert_eq!(book.backup(ROLE, 2).unwrap().unwrap(), b"another password");
    assert_eq!(book.backup(OTHER, 1).unwrap(), None);
    for number in 3..BACKUPS_MAX + 4 {
        keep(4, &number.to_string()).unwrap();
    }
    let kept = book.backups(ROLE).unwrap();
    assert_eq!((kept.len() as u64, kept.last().map(|line| line.number)), (BACKUPS_MAX, Some(4)));
    drop(book);
    for entry in std::fs::read_dir(data.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(8).any(|bytes| bytes == b"password"), "it is readable in the file");
    }
}

/// One who can write the file but has no key can neither change a backup nor pass one primary's off for another's.
#[test]
fn a_backup_that_was_changed_or_moved_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let book = book(data.path());
    book.keep_backup(ROLE, at(1), at(1), 1, b"x", b"text").unwrap();
    let raw = Connection::open(data.path().join(DATABASE_FILE)).unwrap();
    raw.execute(
        "INSERT INTO backups SELECT ?1, number, taken, checked, cameras, digest, document FROM backups",
        [OTHER.0],
    )
    .unwrap();
    assert!(matches!(book.backup(OTHER, 1), Err(BookError::Seal { source: SealError::Broken, .. })));
    raw.execute("UPDATE backups SET document = substr(document, 1, 12)", []).unwrap();
    assert!(matches!(book.backup(ROLE, 1), Err(BookError::Seal { .. })));
}

#[test]
fn an_id_is_given_once_and_no_two_cameras_have_the_same() {
    let data = tempfile::tempdir().unwrap();
    let book = book(data.path());
    let own: BTreeSet<CameraId> = [id("gate")].into();
    let cameras = [id("cam1"), id("gate")];
    let give = |mark: &'static str| {
        move |camera: CameraId, used: &BTreeSet<CameraId>| {
            if used.contains(&camera) { format!("{camera}-{mark}").parse().unwrap() } else { camera }
        }
    };
    let first = book.local_ids(ROLE, &cameras, &own, give("a")).unwrap();
    assert_eq!([first[&cameras[0]], first[&cameras[1]]], [id("cam1"), id("gate-a")]);
    let second = book.local_ids(OTHER, &cameras, &own, give("b")).unwrap();
    assert_eq!([second[&cameras[0]], second[&cameras[1]]], [id("cam1-b"), id("gate-b")]);
    // Own cameras that are added later, or a restart, change nothing.
    let more: BTreeSet<CameraId> = [id("gate"), id("cam1")].into();
    let again = self::book(data.path()).local_ids(ROLE, &cameras, &more, give("c")).unwrap();
    assert_eq!(again, first);
    assert_eq!(book.local_ids(OTHER, &cameras[..1], &more, give("c")).unwrap().len(), 1);
}

#[test]
fn reports_are_numbered_and_changed_in_place() {
    let data = tempfile::tempdir().unwrap();
    let book = book(data.path());
    assert_eq!(book.last_report().unwrap(), 0);
    for number in 1..=REPORTS_MAX + 2 {
        book.put_report(number, ROLE, "begun").unwrap();
    }
    book.put_report(9, OTHER, "ended").unwrap();
    assert_eq!(book.last_report().unwrap(), REPORTS_MAX + 2);
    let newest = book.reports(None, 2).unwrap();
    assert_eq!(
        newest.lines.iter().map(|line| line.number).collect::<Vec<_>>(),
        [REPORTS_MAX + 2, REPORTS_MAX + 1]
    );
    let ninth = book.reports(Some(10), 1).unwrap();
    assert_eq!(ninth.lines, [ReportLine { number: 9, role: OTHER, document: "ended".to_owned() }]);
    assert_eq!(ninth.next, Some(9));
    let oldest = book.reports(Some(4), 9).unwrap();
    assert_eq!((oldest.lines.len(), oldest.next), (1, None), "the first two went");
    // One that is damaged hides no other, and no end.
    let raw = Connection::open(data.path().join(DATABASE_FILE)).unwrap();
    raw.execute("UPDATE reports SET role = x'01' WHERE number = 9", []).unwrap();
    let found = book.reports(Some(11), 2).unwrap();
    assert_eq!(found.lines.iter().map(|line| line.number).collect::<Vec<_>>(), [10]);
    assert!(found.damaged.len() == 1 && found.damaged[0].contains("report 9"), "{found:?}");
    assert_eq!(found.next, Some(9));
}

/// An old line and a new one to the same primary, for a moment.
#[test]
fn backups_that_are_kept_at_once_have_a_number_each() {
    let data = tempfile::tempdir().unwrap();
    let book = book(data.path());
    let keep = |number: u8| {
        for round in 0..20_u8 {
            book.keep_backup(ROLE, at(1), at(2), 1, &[number, round], b"{}").unwrap();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| keep(1));
        scope.spawn(|| keep(2));
    });
    let numbers: Vec<u64> = book.backups(ROLE).unwrap().iter().map(|line| line.number).collect();
    assert_eq!(numbers, (1..=40).rev().collect::<Vec<_>>());
}

#[test]
fn a_later_or_foreign_database_is_told_and_left_as_it_is() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join(DATABASE_FILE);
    std::fs::write(&path, "this is no database, whatever its name is").unwrap();
    StandbyBook::open(data.path(), Key::new([7; 32])).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), b"this is no database, whatever its name is");
    std::fs::remove_file(&path).unwrap();
    book(data.path()).put_setup(Some("{}")).unwrap();
    assert_eq!(book(data.path()).setup().unwrap().as_deref(), Some("{}"));
    book(data.path()).put_setup(None).unwrap();
    assert_eq!(book(data.path()).setup().unwrap(), None);
    let raw = Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", VERSION + 1).unwrap();
    let error = StandbyBook::open(data.path(), Key::new([7; 32])).unwrap_err();
    assert!(matches!(error, BookError::Later { version, .. } if version == VERSION + 1), "{error}");
}

#[test]
fn a_recorder_that_was_replaced_is_remembered_until_it_knows_and_their_number_has_an_end() {
    let data = tempfile::tempdir().unwrap();
    let former = |number: u64| FormerRow {
        role: ROLE,
        key: format!("{number:064}"),
        address: "192.0.2.7:8443".parse().unwrap(),
        epoch: number,
        successor: "south".to_owned(),
    };
    for number in 0..FORMER_MAX + 3 {
        book(data.path()).put_former(&former(number)).unwrap();
    }
    let kept = book(data.path()).former().unwrap();
    assert_eq!(kept, (3..FORMER_MAX + 3).map(former).collect::<Vec<_>>());
    // Said again, it is one still; another role takes the place of the first.
    let again = FormerRow { role: OTHER, ..former(5) };
    book(data.path()).put_former(&again).unwrap();
    assert_eq!(book(data.path()).former().unwrap().iter().filter(|row| row.key == again.key).count(), 1);
    book(data.path()).forget_former(&again.key).unwrap();
    assert!(!book(data.path()).former().unwrap().iter().any(|row| row.key == again.key));
}
