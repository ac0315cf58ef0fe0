//! What a LUN does when nothing is wrong, who is let in, and how fast it is.

use std::io::IoSlice;
use std::time::Instant;

use keepwatch_iscsi::{Login, Lun, LunError, Options, Secret, Write};

use crate::target::{Account, Target};

const MIB: u64 = 1 << 20;

/// A LUN of `target` as a test opens it.
pub(crate) fn options(target: &Target) -> Options {
    Options::new(target.address(None).parse().unwrap(), "iqn.2024-07.internal.keepwatch-test:one")
}

/// Bytes that tell where they were meant for.
pub(crate) fn pattern(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    (0..bytes.div_ceil(4)).flat_map(|_| u32::try_from(next()).unwrap().to_le_bytes()).take(bytes).collect()
}

pub(crate) fn write(offset_bytes: u64, data: &[u8]) -> Write<'_> {
    Write { offset_bytes, parts: vec![IoSlice::new(data)] }
}

#[test]
fn what_was_written_in_parts_is_read_and_stands_in_the_file_of_the_target() {
    let target = Target::start(64 * MIB);
    let lun = Lun::open(options(&target)).unwrap();
    assert_eq!((lun.size_bytes(), lun.block_bytes()), (64 * MIB, 512));
    let data = pattern(5 << 20, 1);
    let parts = data.chunks(100_000).map(IoSlice::new).collect();
    let other = pattern(4096, 2);
    lun.write_durably(&[Write { offset_bytes: MIB, parts }, write(63 * MIB, &other)]).unwrap();
    let mut read = vec![0; 5 << 20];
    lun.read(MIB, &mut read).unwrap();
    assert!(read == data, "a read of several transfers");
    let mut piece = vec![0; 4096];
    lun.read(MIB + 8192, &mut piece).unwrap();
    assert_eq!(piece, data[8192..8192 + 4096]);
    let file = std::fs::read(target.file()).unwrap();
    assert!(file[1 << 20..6 << 20] == data[..] && file[63 << 20..(63 << 20) + 4096] == other[..]);
    assert!(file[..1 << 20].iter().all(|byte| *byte == 0));
}

#[test]
fn many_threads_read_while_one_writes() {
    let target = Target::start(64 * MIB);
    let lun = Lun::open(options(&target)).unwrap();
    let data = pattern(8 << 20, 3);
    lun.write_durably(&[write(0, &data)]).unwrap();
    std::thread::scope(|scope| {
        for reader in 0..4_u64 {
            let (lun, data) = (&lun, &data);
            scope.spawn(move || {
                for round in 0..20_u64 {
                    let at = ((reader * 37 + round * 11) % 127) << 16;
                    let mut read = vec![0; 64 << 10];
                    lun.read(at, &mut read).unwrap();
                    assert!(read == data[usize::try_from(at).unwrap()..][..64 << 10], "at {at}");
                }
            });
        }
        for round in 0..4 {
            let more = pattern(8 << 20, round);
            lun.write_durably(&[write(16 * MIB + round * 8 * MIB, &more)]).unwrap();
        }
    });
}

#[test]
fn chap_lets_in_who_knows_the_password_and_nobody_else() {
    let account = Account { user: "edge", password: "correct-horse", outgoing: false };
    let target = Target::with_accounts(16 * MIB, &[account]);
    let address = target.address(Some("edge")).parse().unwrap();
    let right = Options {
        password: Some(Secret::new("correct-horse")),
        ..Options::new(address, "iqn.2024-07.internal.keepwatch-test:one")
    };
    drop(Lun::open(right.clone()).unwrap());
    let wrong = Options { password: Some(Secret::new("wrong-horse-here")), ..right.clone() };
    let begun = Instant::now();
    let refused = Lun::open(wrong).unwrap_err();
    assert!(matches!(refused, LunError::Denied { .. }), "{refused}");
    assert!(!refused.to_string().contains("horse"), "a password is never shown: {refused}");
    assert!(begun.elapsed() < right.connect_max, "it is not asked again");
    assert!(matches!(Lun::open(options(&target)), Err(LunError::Denied { .. })), "without any");
    let half = Options { password: None, ..right };
    assert_eq!(Lun::open(half).unwrap_err(), LunError::Login);
}

#[test]
fn a_target_that_cannot_show_who_it_is_gets_no_footage() {
    let accounts = [
        Account { user: "edge", password: "correct-horse", outgoing: false },
        Account { user: "nas", password: "battery-staple", outgoing: true },
    ];
    let target = Target::with_accounts(16 * MIB, &accounts);
    let mutual = |password| Options {
        password: Some(Secret::new("correct-horse")),
        target_login: Some(Login { user: "nas".to_owned(), password: Secret::new(password) }),
        ..Options::new(
            target.address(Some("edge")).parse().unwrap(),
            "iqn.2024-07.internal.keepwatch-test:one",
        )
    };
    drop(Lun::open(mutual("battery-staple")).unwrap());
    let refused = Lun::open(mutual("battery-acid")).unwrap_err();
    assert!(matches!(refused, LunError::Denied { .. } | LunError::Away { .. }), "{refused}");
}

#[test]
fn a_lun_that_is_no_disk_or_is_not_there_says_so() {
    let target = Target::start(16 * MIB);
    for (lun, why) in [("/0", "has no disk as its LUN 0"), ("/7", "LUN 7")] {
        let address = target.address(None);
        let address = format!("{}{lun}", address.strip_suffix("/1").unwrap());
        let options = Options::new(address.parse().unwrap(), "iqn.2024-07.internal.keepwatch-test:one");
        let refused = Lun::open(options).unwrap_err();
        assert!(refused.to_string().contains(why) || matches!(refused, LunError::Away { .. }), "{refused}");
    }
    let other = target.address(None).replace(":nas/", ":other/");
    let options = Options::new(other.parse().unwrap(), "iqn.2024-07.internal.keepwatch-test:one");
    assert!(matches!(Lun::open(options), Err(LunError::Away { .. })));
}

#[test]
#[ignore = "measures, by hand: cargo test --release -p keepwatch-iscsi --features libiscsi -- --ignored --nocapture"]
#[expect(clippy::print_stdout, reason = "prints what it measured")]
fn measure_writes_with_a_flush_every_32_mib() {
    let target = Target::start(1 << 30);
    let lun = Lun::open(options(&target)).unwrap();
    let data = pattern(32 << 20, 7);
    for record_bytes in [64 << 10, 512 << 10, 1 << 20] {
        let begun = Instant::now();
        for round in 0..32_u64 {
            let base = round * (32 << 20);
            let records = data.chunks(record_bytes).zip(0..);
            let writes: Vec<_> =
                records.map(|(record, at)| write(base + at * record_bytes as u64, record)).collect();
            lun.write_durably(&writes).unwrap();
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!("records of {record_bytes}: {:.0} MB/s", f64::from(1 << 30) / 1e6 / seconds);
    }
    let begun = Instant::now();
    let mut read = vec![0; 32 << 20];
    for round in 0..32_u64 {
        lun.read(round * (32 << 20), &mut read).unwrap();
    }
    println!("reads: {:.0} MB/s", f64::from(1 << 30) / 1e6 / begun.elapsed().as_secs_f64());
}
