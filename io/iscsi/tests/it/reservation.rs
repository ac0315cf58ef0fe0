//! Two writers.

use keepwatch_iscsi::{Lun, LunError, Options, Owner, Preempt, Reserved};

use crate::lun::{options, pattern, write};
use crate::target::Target;

const MIB: u64 = 1 << 20;
const ONE: Owner = Owner(*b"recorder-one-111");
const OTHER: Owner = Owner(*b"recorder-two-222");

fn other(target: &Target) -> Options {
    Options { initiator: "iqn.2024-07.internal.keepwatch-test:two".to_owned(), ..options(target) }
}

#[test]
fn a_second_writer_is_kept_away_and_may_read() {
    let target = Target::start(64 * MIB);
    let first = Lun::open(options(&target)).unwrap();
    assert_eq!(first.reserve(ONE, Preempt::OnlyOwn), Ok(Reserved::Held));
    let data = pattern(4096, 1);
    first.write_durably(&[write(0, &data)]).unwrap();
    let second = Lun::open(other(&target)).unwrap();
    assert!(matches!(second.reserve(OTHER, Preempt::OnlyOwn), Err(LunError::Reserved { .. })));
    assert_eq!(second.write_durably(&[write(0, &pattern(4096, 2))]), Err(LunError::Taken));
    let mut read = vec![0; 4096];
    second.read(0, &mut read).unwrap();
    assert_eq!(read, data);
    first.write_durably(&[write(4096, &data)]).unwrap();
    // One that ends in order leaves nothing behind.
    first.release().unwrap();
    drop(first);
    assert_eq!(second.reserve(OTHER, Preempt::OnlyOwn), Ok(Reserved::Held));
    second.write_durably(&[write(0, &data)]).unwrap();
}

#[test]
fn what_a_run_that_crashed_left_is_taken_over_by_the_same_recorder() {
    let target = Target::start(64 * MIB);
    let crashed = Lun::open(options(&target)).unwrap();
    assert_eq!(crashed.reserve(ONE, Preempt::OnlyOwn), Ok(Reserved::Held));
    drop(crashed); // Without a release, as a crash is.
    let stranger = Lun::open(other(&target)).unwrap();
    let left = stranger.reserve(OTHER, Preempt::OnlyOwn);
    let next = Lun::open(options(&target)).unwrap();
    match left {
        // A target may forget who is gone.
        Ok(_) => stranger.release().unwrap(),
        Err(error) => assert!(matches!(error, LunError::Reserved { .. }), "{error}"),
    }
    assert_eq!(next.reserve(ONE, Preempt::OnlyOwn), Ok(Reserved::Held));
    next.write_durably(&[write(0, &pattern(4096, 1))]).unwrap();
}

#[test]
fn who_was_preempted_writes_no_more() {
    let target = Target::start(64 * MIB);
    let first = Lun::open(options(&target)).unwrap();
    first.reserve(ONE, Preempt::OnlyOwn).unwrap();
    let second = Lun::open(other(&target)).unwrap();
    assert_eq!(second.reserve(OTHER, Preempt::Any), Ok(Reserved::Held));
    assert_eq!(first.write_durably(&[write(0, &pattern(4096, 1))]), Err(LunError::Taken));
    second.write_durably(&[write(0, &pattern(4096, 2))]).unwrap();
}

#[test]
fn a_reservation_is_held_over_a_lost_connection_and_not_taken_back_from_a_later_run() {
    let mut target = Target::start(64 * MIB);
    let first = Lun::open(options(&target)).unwrap();
    first.reserve(ONE, Preempt::OnlyOwn).unwrap();
    let data = pattern(4096, 1);
    first.write_durably(&[write(0, &data)]).unwrap();
    target.kill();
    target.run();
    first.write_durably(&[write(0, &data)]).unwrap();
    let second = Lun::open(other(&target)).unwrap();
    assert_eq!(second.write_durably(&[write(0, &pattern(4096, 2))]), Err(LunError::Taken));
    // Another run of the same recorder begins while the first has lost its connection.
    target.kill();
    target.run();
    let later = Lun::open(options(&target)).unwrap();
    assert_eq!(later.reserve(ONE, Preempt::OnlyOwn), Ok(Reserved::Held));
    assert_eq!(first.write_durably(&[write(0, &data)]), Err(LunError::Taken));
    later.write_durably(&[write(0, &data)]).unwrap();
}
