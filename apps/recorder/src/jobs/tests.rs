//! What is there after a restart, and what is kept how long.

use keepwatch_model::MonoTime;
use tempfile::TempDir;

use super::*;

fn order() -> Order {
    Order {
        cameras: vec!["gate".parse().unwrap()],
        stream: StreamId::MAIN,
        from: "2026-11-21T21:00:00Z".parse().unwrap(),
        to: "2026-11-21T21:10:00Z".parse().unwrap(),
        audio: true,
        by: "ann".to_owned(),
        created: now(),
        audit_head: None,
    }
}

fn now() -> WallTime {
    "2026-11-21T22:00:00Z".parse().unwrap()
}

/// A job that is kept in the folder of `jobs`, with these files beside its description.
fn kept(jobs: &Jobs, id: u64, files: &[&str]) -> Job {
    fs::create_dir_all(&jobs.folder).unwrap();
    let job = Job::new(id, order(), 100);
    files.iter().for_each(|ending| fs::write(jobs.folder.join(format!("{id}.{ending}")), b"x").unwrap());
    jobs.keep(&job).unwrap();
    job
}

fn files(jobs: &Jobs) -> Vec<String> {
    let entries = fs::read_dir(&jobs.folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn what_was_not_over_has_failed_after_a_restart_and_its_file_is_gone() {
    let data = TempDir::new().unwrap();
    let before = Jobs::open(data.path(), None, now());
    kept(&before, 1, &[]);
    let running = kept(&before, 2, &["part"]);
    assert!(running.begin(MonoTime::ZERO));
    before.keep(&running).unwrap();
    let done = kept(&before, 3, &["zip"]);
    assert!(done.begin(MonoTime::ZERO) && done.done(7, now()));
    before.keep(&done).unwrap();
    let lost = kept(&before, 4, &[]);
    assert!(lost.begin(MonoTime::ZERO) && lost.done(7, now()));
    before.keep(&lost).unwrap();
    for stray in ["5.zip", "6.part", "7.json", "8.json.part"] {
        fs::write(before.folder.join(stray), b"{}").unwrap();
    }

    let after = Jobs::open(data.path(), None, now());
    let states: Vec<_> = after.all().iter().map(|job| (job.id(), job.state())).collect();
    assert_eq!(states, [(1, JobState::Failed), (2, JobState::Failed), (3, JobState::Done)]);
    let seen = after.find(2).unwrap().seen();
    assert_eq!(seen.error.as_deref(), Some("the node was restarted"));
    assert_eq!(after.find(3).unwrap().seen().bytes_total, 7);
    assert_eq!(files(&after), ["1.json", "2.json", "3.json", "3.zip"]);
}

#[test]
fn what_is_over_is_kept_for_a_day_and_then_forgotten_with_its_file() {
    let data = TempDir::new().unwrap();
    let jobs = Jobs::open(data.path(), None, now());
    let done = kept(&jobs, 1, &["zip"]);
    assert!(done.begin(MonoTime::ZERO) && done.done(7, now()));
    jobs.keep(&done).unwrap();
    let jobs = Jobs::open(data.path(), None, now());
    jobs.expire(now().plus(KEPT_TICKS - 1));
    assert_eq!(files(&jobs), ["1.json", "1.zip"]);
    jobs.expire(now().plus(KEPT_TICKS));
    assert!(files(&jobs).is_empty() && jobs.all().is_empty());
}

#[test]
fn the_oldest_archive_goes_when_a_later_one_needs_its_room() {
    let data = TempDir::new().unwrap();
    let jobs = Jobs::open(data.path(), Some(2_500), now());
    for id in 1..=3 {
        let done = kept(&jobs, id, &[]);
        assert!(done.begin(MonoTime::ZERO) && done.done(1_000, now()));
        jobs.keep(&done).unwrap();
        fs::write(jobs.folder.join(format!("{id}.zip")), vec![0; 1_000]).unwrap();
    }
    let jobs = Jobs::open(data.path(), Some(2_500), now());
    assert!(jobs.make_room(1_200).unwrap());
    assert_eq!(jobs.all().iter().map(|job| job.id()).collect::<Vec<_>>(), [3]);
    assert!(!jobs.make_room(2_600).unwrap(), "more than there may be of all");
    assert!(jobs.all().is_empty());
}

#[test]
fn progress_never_goes_back_and_tells_what_is_left_by_the_rate() {
    let job = Job::new(1, order(), 1_000);
    let at = |seconds: u64| MonoTime::from_nanos(seconds * 1_000_000_000);
    assert_eq!(job.seen().seconds_left, None);
    assert!(job.begin(at(10)));
    job.advance(500, 1_000, at(20));
    assert_eq!((job.seen().progress, job.seen().seconds_left), (0.5, Some(10)));
    // It turns out to be more.
    job.advance(600, 2_400, at(22));
    assert_eq!((job.seen().progress, job.seen().seconds_left), (0.5, Some(36)));
    job.advance(2_400, 2_400, at(50));
    assert!(job.seen().progress < 1.0);
    assert!(job.done(2_500, now()));
    assert_eq!((job.seen().progress, job.seen().seconds_left), (1.0, None));
    assert!(!job.cancel(now()) && !job.fail("x", now()), "it is over");
}
