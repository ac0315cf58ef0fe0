//! Real workers: exact pictures, damaged streams, and what a worker cannot do.
#![expect(clippy::unwrap_used, reason = "test code")]

mod material;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use keepwatch_picture::{Coding, Made, PictureError, Pictures, Request, WorkerCommand};

use self::material::{Film, read_number};

/// Tests look at the processes of this one, so they run one by one.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn worker() -> WorkerCommand {
    WorkerCommand { program: env!("CARGO_BIN_EXE_keepwatch-picture-worker").into(), arguments: Vec::new() }
}

/// What leads to picture `number` of a film that begins with a key frame.
fn up_to(film: &Film, number: usize) -> Request {
    Request { coding: Coding::H264, width: 0, units: film.units[..=number].to_vec() }
}

/// The processes that this one started and that run.
fn children() -> BTreeSet<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        // A thread may have ended since.
        std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default()
    };
    tasks
        .flat_map(|task| of(task).split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_picture_of_a_group_is_shown_exactly() {
    let _alone = ALONE.lock().await;
    let pictures = Pictures::new(worker());
    let film = Film::new(640, 360, 25);
    for number in [0, 1, 2, 13, 24] {
        let made = pictures.make("ann", up_to(&film, number)).await.unwrap();
        assert_eq!((made.width, made.height), (640, 360));
        assert_eq!(read_number(&made.file), Some(number), "picture {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_are_scaled_down_and_read_as_before() {
    let _alone = ALONE.lock().await;
    let pictures = Pictures::new(worker());
    let film = Film::new(640, 360, 4);
    let Made { width, height, file } =
        pictures.make("ann", Request { width: 320, ..up_to(&film, 3) }).await.unwrap();
    assert_eq!((width, height), (320, 180));
    assert_eq!(read_number(&file), Some(3));
    let again = Request { coding: Coding::Jpeg, width: 160, units: vec![file] };
    let made = pictures.make("ann", again).await.unwrap();
    assert_eq!((made.width, made.height), (160, 90));
    assert_eq!(read_number(&made.file), Some(3));
}

/// A thousand streams of a real film with bits turned over: each is answered, by a picture or an error, and the next
/// sound one is shown as ever. A decoder may break on them; nobody else does.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_damaged_streams_harm_nobody() {
    let _alone = ALONE.lock().await;
    let pictures = Pictures::new(worker());
    let film = Film::new(320, 176, 6);
    let (mut shown, mut refused, mut crashed) = (0, 0, 0);
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..1_000 {
        let mut request = up_to(&film, 5);
        for _ in 0..8 {
            // xorshift64
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            let at = usize::try_from(chance >> 8).unwrap();
            let unit = at % request.units.len();
            let bytes = &mut request.units[unit];
            let place = (at >> 8) % bytes.len();
            bytes[place] ^= 1 << (chance & 7);
        }
        match pictures.make("mallory", request).await {
            Ok(_) => shown += 1,
            Err(PictureError::Undecodable(_)) => refused += 1,
            Err(PictureError::Crashed | PictureError::TooSlow(_)) => crashed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(shown + refused + crashed, 1_000);
    assert!(refused > 100, "{shown} shown, {refused} refused, {crashed} crashed");
    let made = pictures.make("ann", up_to(&film, 5)).await.unwrap();
    assert_eq!(read_number(&made.file), Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_one_requests_error_and_is_replaced() {
    let _alone = ALONE.lock().await;
    let before = children();
    let pictures = Pictures::new(worker());
    let film = Film::new(640, 360, 2);
    pictures.make("ann", up_to(&film, 1)).await.unwrap();
    let workers: Vec<u32> = children().difference(&before).copied().collect();
    assert!(!workers.is_empty());
    for id in &workers {
        let id = rustix::process::Pid::from_raw(i32::try_from(*id).unwrap()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    }
    // Whether its end is noticed before the request or by it.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match pictures.make("ann", up_to(&film, 1)).await {
            Ok(made) => break assert_eq!(read_number(&made.file), Some(1)),
            Err(PictureError::Crashed) => assert!(Instant::now() < deadline),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_has_no_file_no_environment_and_no_way_to_the_network() {
    let _alone = ALONE.lock().await;
    let before = children();
    let pictures = Pictures::new(worker());
    let film = Film::new(640, 360, 2);
    // A descriptor that is inherited by mistake.
    let open = tempfile::tempfile().unwrap();
    rustix::io::fcntl_setfd(&open, rustix::io::FdFlags::empty()).unwrap();
    pictures.make("ann", up_to(&film, 1)).await.unwrap();
    let id = *children().difference(&before).next().unwrap();
    let mut files: Vec<_> = std::fs::read_dir(format!("/proc/{id}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort_unstable();
    assert_eq!(files, ["0", "1", "2"]);
    assert_eq!(std::fs::read(format!("/proc/{id}/environ")).unwrap(), b"");
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    // A filter of system calls is in force (proc_pid_status(5)), and no program it starts could shake it off.
    assert!(status.contains("Seccomp:\t2"), "{status}");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(limit("Max address space").contains("1073741824"), "{limits}");
    assert!(limit("Max core file size").contains(" 0 "), "{limits}");
    assert!(limit("Max open files").contains(" 3 "), "{limits}");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_end_with_who_started_them() {
    let _alone = ALONE.lock().await;
    let before = children();
    let pictures = Pictures::new(worker());
    let film = Film::new(640, 360, 2);
    pictures.make("ann", up_to(&film, 1)).await.unwrap();
    let id = *children().difference(&before).next().unwrap();
    drop(pictures);
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::path::Path::new(&format!("/proc/{id}")).exists() {
        assert!(Instant::now() < deadline, "the worker goes on");
        tokio::task::yield_now().await;
    }
}
