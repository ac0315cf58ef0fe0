//! Portals that answer nonsense, or nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use keepwatch_iscsi::{Lun, LunError, Options};

use crate::lun::pattern;

/// Opens a LUN at a portal that does `answer` with each connection.
fn opened(answer: impl Fn(std::net::TcpStream) + Send + 'static) -> (LunError, Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address =
        format!("iscsi://{}/iqn.2024-07.internal.keepwatch-test:nas/1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            answer(stream);
        }
    });
    let options = Options {
        connect_max: Duration::from_secs(1),
        ..Options::new(address.parse().unwrap(), "iqn.2024-07.internal.keepwatch-test:one")
    };
    let begun = Instant::now();
    let error = Lun::open(options).unwrap_err();
    (error, begun.elapsed())
}

#[test]
fn a_portal_that_says_nothing_is_given_up_in_time() {
    let (error, spent) = opened(|stream| {
        let _ = (&stream).read_to_end(&mut Vec::new());
    });
    assert!(matches!(error, LunError::Away { .. }), "{error}");
    assert!(spent < Duration::from_secs(3), "{spent:?}");
}

#[test]
fn a_portal_that_closes_at_once_is_an_error() {
    let (error, spent) = opened(drop);
    assert!(matches!(error, LunError::Away { .. }), "{error}");
    assert!(spent < Duration::from_secs(3), "{spent:?}");
}

#[test]
fn a_portal_that_talks_nonsense_is_an_error() {
    for seed in 0..40_u64 {
        let (error, spent) = opened(move |mut stream| {
            let mut nonsense = pattern(4096, seed);
            if seed % 2 == 0 {
                // What might be the answer to a login, but for its fields: opcode, flags, short lengths.
                nonsense[0] = 0x23;
                nonsense[4..8].copy_from_slice(&[0, 0, 0, 200]);
                nonsense[36..38].copy_from_slice(&[0, 0]);
            }
            let _ = stream.write_all(&nonsense);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
            let _ = stream.read_to_end(&mut Vec::new());
        });
        assert!(matches!(error, LunError::Away { .. } | LunError::Denied { .. }), "{error}");
        assert!(spent < Duration::from_secs(3), "{spent:?}");
    }
}
