//! Targets that die, hang, restart and shrink in the middle of the work.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keepwatch_iscsi::{Lun, LunError, Options};

use crate::lun::{options, pattern, write};
use crate::target::Target;

const MIB: u64 = 1 << 20;

/// Stops a target where it is, or lets it go on.
fn freeze(target: &Target, signal: &str) {
    let id = target.child.as_ref().unwrap().id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
}

#[test]
fn a_target_that_is_killed_and_started_in_the_middle_of_writing_loses_nothing_that_was_told_durable() {
    let mut target = Target::start(256 * MIB);
    let lun = Lun::open(options(&target)).unwrap();
    let written = AtomicU64::new(0);
    let ends = AtomicBool::new(false);
    let slow = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !ends.load(Ordering::Relaxed) {
                let round = written.load(Ordering::Relaxed) % 30;
                let data = pattern(8 << 20, round);
                let begun = Instant::now();
                lun.write_durably(&[write(round * 8 * MIB, &data)]).unwrap();
                longest = longest.max(begun.elapsed());
                written.fetch_add(1, Ordering::Relaxed);
            }
            longest
        });
        for kills in 1..=3_u64 {
            let before = written.load(Ordering::Relaxed);
            while written.load(Ordering::Relaxed) < before + 3 {
                std::thread::yield_now();
            }
            target.kill();
            assert!(kills < 4);
            target.run();
        }
        let before = written.load(Ordering::Relaxed);
        while written.load(Ordering::Relaxed) < before + 3 {
            std::thread::yield_now();
        }
        ends.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    assert!(slow < Duration::from_secs(10), "{slow:?}");
    let rounds = written.load(Ordering::Relaxed).min(30);
    let file = std::fs::read(target.file()).unwrap();
    for round in 0..rounds {
        let at = usize::try_from(round * 8 * MIB).unwrap();
        assert!(file[at..at + (8 << 20)] == pattern(8 << 20, round)[..], "round {round}");
    }
}

#[test]
fn what_a_target_accepted_and_lost_with_its_cache_is_written_again() {
    let mut target = Target::start(256 * MIB);
    let lun = Lun::open(options(&target)).unwrap();
    let data = pattern(128 << 20, 5);
    let file = File::open(target.file()).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| lun.write_durably(&[write(0, &data)]));
        let mut first = [0; 8];
        while first == [0; 8] {
            file.read_exact_at(&mut first, 0).unwrap();
        }
        target.kill();
        assert!(!writer.is_finished(), "the target died in the middle");
        target.resize(0);
        target.resize(256 * MIB);
        target.run();
        writer.join().unwrap().unwrap();
    });
    let file = std::fs::read(target.file()).unwrap();
    assert!(file[..128 << 20] == data[..]);
}

#[test]
fn a_flush_over_a_lost_connection_is_never_claimed_for_what_was_written_before() {
    let mut target = Target::start(64 * MIB);
    let lun = Lun::open(options(&target)).unwrap();
    let data = pattern(1 << 20, 1);
    lun.write(&[write(0, &data)]).unwrap();
    target.kill();
    target.run();
    assert_eq!(lun.flush(), Err(LunError::CacheLost));
    assert_eq!(lun.write_durably(&[write(0, &data)]), Err(LunError::CacheLost), "until it is opened anew");
    let mut read = vec![0; 4096];
    lun.read(0, &mut read).unwrap();
    let again = Lun::open(options(&target)).unwrap();
    again.write_durably(&[write(0, &data)]).unwrap();
    // What was flushed is not in doubt.
    target.kill();
    target.run();
    again.flush().unwrap();
}

#[test]
fn a_target_that_stays_away_is_an_error_and_comes_back() {
    let mut target = Target::start(64 * MIB);
    let options = Options { reconnect_max: Duration::from_secs(1), ..options(&target) };
    let lun = Lun::open(options).unwrap();
    let data = pattern(4096, 1);
    target.kill();
    let begun = Instant::now();
    let lost = lun.write_durably(&[write(0, &data)]).unwrap_err();
    assert!(matches!(lost, LunError::Away { .. }), "{lost}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert!(lun.read(0, &mut [0; 512]).is_err());
    assert!(begun.elapsed() < Duration::from_millis(500), "each that asks would wait anew");
    target.run();
    let begun = Instant::now();
    while lun.read(0, &mut [0; 512]).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not come back");
        std::thread::yield_now();
    }
}

#[test]
fn a_target_that_answers_nothing_any_more_is_given_up_in_time() {
    let target = Target::start(64 * MIB);
    let options = Options {
        connect_max: Duration::from_millis(500),
        answer_max: Duration::from_millis(500),
        reconnect_max: Duration::from_secs(1),
        ..options(&target)
    };
    let lun = Lun::open(options).unwrap();
    freeze(&target, "-STOP");
    let begun = Instant::now();
    let data = pattern(4 << 20, 1);
    assert!(matches!(lun.write_durably(&[write(0, &data)]), Err(LunError::Away { .. })));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    freeze(&target, "-CONT");
    let begun = Instant::now();
    while lun.write_durably(&[write(0, &data)]).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not come back");
        std::thread::yield_now();
    }
}

#[test]
fn a_lun_that_shrinks_is_written_no_more() {
    let mut target = Target::start(64 * MIB);
    let lun = Lun::open(options(&target)).unwrap();
    let data = pattern(4096, 1);
    lun.write_durably(&[write(0, &data)]).unwrap();
    target.kill();
    target.resize(32 * MIB);
    target.run();
    let resized = LunError::Resized { before_bytes: 64 * MIB, now_bytes: 32 * MIB };
    assert_eq!(lun.write_durably(&[write(0, &data)]), Err(resized.clone()));
    assert_eq!(lun.read(0, &mut [0; 512]), Err(resized));
    assert_eq!(Lun::open(options(&target)).unwrap().size_bytes(), 32 * MIB);
}
