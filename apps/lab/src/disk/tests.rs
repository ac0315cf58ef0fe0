//! What a disk answers; that it can be mounted is proven with the real program.

use std::time::Instant;

use rustix::io::Errno;

use super::fault::{Answer, Deed};
use super::*;

const DEEDS: [Deed; 5] = [Deed::Read(1), Deed::Write(1), Deed::Flush, Deed::Look, Deed::Change];

/// The answers to all deeds while `fault` is there.
fn answers(fault: DiskFault) -> [Result<Answer, Errno>; 5] {
    let switch = Switch::new("/".into());
    switch.apply(fault).unwrap();
    DEEDS.map(|deed| switch.allow(0, deed))
}

#[test]
fn each_fault_breaks_what_it_names_and_nothing_else() {
    let done = Ok(Answer::Done);
    let on = true;
    let table = [
        (DiskFault::Heal, [done; 5]),
        (DiskFault::WriteError { on }, [done, Err(Errno::IO), Err(Errno::IO), done, done]),
        (DiskFault::ReadError { on }, [Err(Errno::IO), done, done, done, done]),
        (DiskFault::FlushError { on }, [done, done, Err(Errno::IO), done, done]),
        (DiskFault::ReadOnly { on }, [done, Err(Errno::ROFS), done, done, Err(Errno::ROFS)]),
        (DiskFault::Full { on }, [done, Err(Errno::NOSPC), done, done, done]),
        (DiskFault::Gone { on }, [Err(Errno::NODEV); 5]),
        (DiskFault::Lies { on }, [done, Ok(Answer::Pretended), done, done, done]),
        // What was open on the disk that was taken out.
        (DiskFault::Swap { backing: "/tmp".into() }, [Err(Errno::NODEV); 5]),
    ];
    for (fault, expected) in table {
        assert_eq!(answers(fault.clone()), expected, "{fault:?}");
    }
}

#[test]
fn faults_join_and_are_taken_back_one_by_one_or_all_at_once() {
    let switch = Switch::new("/".into());
    for fault in [DiskFault::WriteError { on: true }, DiskFault::ReadError { on: true }] {
        switch.apply(fault).unwrap();
    }
    switch.apply(DiskFault::WriteError { on: false }).unwrap();
    assert_eq!(switch.allow(0, Deed::Write(7)), Ok(Answer::Done));
    assert_eq!(switch.allow(0, Deed::Read(7)), Err(Errno::IO));
    switch.apply(DiskFault::Heal).unwrap();
    assert_eq!(switch.allow(0, Deed::Read(5)), Ok(Answer::Done));
    let report = switch.report();
    assert_eq!((report.written_bytes, report.read_bytes, report.refused), (7, 5, 1));
}

#[test]
fn a_slow_disk_takes_its_time_and_no_longer_than_it_is_slow() {
    let switch = Arc::new(Switch::new("/".into()));
    switch.apply(DiskFault::Slow { bytes_per_second: 1_000 }).unwrap();
    let begun = Instant::now();
    switch.allow(0, Deed::Write(100)).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(100));
    // An hour of work, were it not healed.
    let writing = std::thread::spawn({
        let switch = Arc::clone(&switch);
        move || switch.allow(0, Deed::Write(3_600_000))
    });
    while switch.report().written_bytes < 3_600_000 {
        std::thread::yield_now();
    }
    switch.apply(DiskFault::Heal).unwrap();
    assert_eq!(writing.join().unwrap(), Ok(Answer::Done));
    assert!(begun.elapsed() < Duration::from_secs(600));
}

#[test]
fn what_is_stuck_goes_on_when_it_is_healed() {
    let switch = Arc::new(Switch::new("/".into()));
    switch.apply(DiskFault::Stuck { on: true }).unwrap();
    let flushing = std::thread::spawn({
        let switch = Arc::clone(&switch);
        move || switch.allow(0, Deed::Flush)
    });
    assert_eq!(switch.allow(0, Deed::Look), Ok(Answer::Done), "it can be looked at");
    switch.apply(DiskFault::Heal).unwrap();
    assert_eq!(flushing.join().unwrap(), Ok(Answer::Done));
}

#[tokio::test]
async fn commands_are_obeyed_or_refused_with_a_reason() {
    let switch = Switch::new("/".into());
    let well = json!({ "ok": true });
    assert_eq!(switch.obey(r#"{"disk": "write_error"}"#).await, Ok(well.clone()));
    assert_eq!(switch.allow(0, Deed::Write(1)), Err(Errno::IO));
    assert_eq!(switch.obey(r#"{"disk": "write_error", "on": false}"#).await, Ok(well.clone()));
    assert_eq!(switch.obey(r#"{"disk": "slow", "bytes_per_second": 1000000}"#).await, Ok(well));
    let report = switch.obey(r#"{"report": "disk"}"#).await.unwrap();
    assert_eq!(report["disk"]["refused"], 1);
    for garbage in
        ["", "{", "[]", "{}", r#"{"disk": "nonsense"}"#, r#"{"disk": "slow"}"#, r#"{"disk": "gone", "x": 1}"#]
    {
        assert!(switch.obey(garbage).await.is_err(), "{garbage}");
    }
    let nowhere = switch.obey(r#"{"disk": "swap", "backing": "/nowhere"}"#).await;
    assert!(nowhere.is_err(), "{nowhere:?}");
}
