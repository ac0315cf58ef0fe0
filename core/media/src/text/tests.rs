use super::*;
use proptest::prelude::*;

/// A message, or the channel and the data of an interleaved frame.
type Found = (Option<Message>, Vec<u8>);

/// All frames of `bytes` given at once.
fn frames(bytes: &[u8]) -> Result<(Vec<Found>, Framer), TextError> {
    pieces(std::iter::once(bytes))
}

/// All frames of a connection on which `parts` arrive one after the other.
fn pieces<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Result<(Vec<Found>, Framer), TextError> {
    let (mut framer, mut buffer, mut found) = (Framer::new(), Vec::new(), Vec::new());
    framer.limit_channels(4);
    for part in parts {
        buffer.extend_from_slice(part);
        let mut at = 0;
        while let Some(frame) = framer.next(&buffer, &mut at)? {
            found.push(match frame {
                Frame::Text(message) => (Some(message), Vec::new()),
                Frame::Interleaved { channel, data } => (None, [&[channel], data].concat()),
            });
        }
        buffer.drain(..at);
    }
    Ok((found, framer))
}

#[test]
fn sloppy_headers_are_read() {
    let bytes = b"\r\n\nRTSP/1.0 200\nCSeq : 7 \r\nPublic: OPTIONS,\r\n  PLAY\nnonsense\nX:\nx-a: 1\nX-A: 2\r\ncontent-length: 3 \r\n\r\nabc$\x01\x00\x02hi";
    let (found, framer) = frames(bytes).unwrap();
    let message = found[0].0.as_ref().unwrap();
    assert_eq!(message.start, "RTSP/1.0 200");
    assert_eq!(message.headers.first("cseq"), Some("7"));
    assert_eq!(message.headers.first("PUBLIC"), Some("OPTIONS, PLAY"));
    assert_eq!(message.headers.first("x"), Some(""));
    assert_eq!(message.headers.all("x-a").collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(message.body, b"abc");
    assert_eq!(found[1].1, b"\x01hi");
    assert_eq!((framer.skipped_bytes(), framer.resynchronisations()), (0, 0));
}

#[test]
fn garbage_between_frames_is_skipped_and_counted() {
    let rtp = [&[b'$', 0, 0, 12, 0x80, 96][..], &[7; 10]].concat();
    // A dollar sign of an unused channel, one whose data is no RTP, and half a method.
    let garbage = b"\x00\x01$\x09\x00\x0c\x80$\x00\x00\x0c\x11OPTION";
    let bytes =
        [&rtp[..], garbage, &rtp, b"RTSP/1.0 200 OK\r\n\r\n", garbage, b"RTSP/1.0 400 Bad\r\n\r\n", &rtp]
            .concat();
    let (found, framer) = frames(&bytes).unwrap();
    let starts: Vec<_> =
        found.iter().map(|(message, _)| message.as_ref().map(|message| message.start.as_str())).collect();
    assert_eq!(starts, [None, None, Some("RTSP/1.0 200 OK"), Some("RTSP/1.0 400 Bad"), None]);
    assert_eq!(framer.resynchronisations(), 2);
    assert_eq!(framer.skipped_bytes(), 2 * garbage.len() as u64);
}

#[test]
fn sizes_are_bounded() {
    let endless_line = [b"RTSP/1.0 200 OK\r\nX: ".to_vec(), vec![b'x'; HEADER_BYTES_MAX]].concat();
    assert_eq!(frames(&endless_line).map(|_| ()), Err(TextError::HeaderTooLong));
    let many_lines = [b"RTSP/1.0 200 OK\r\n".to_vec(), b"A: b\r\n".repeat(HEADER_BYTES_MAX / 6)].concat();
    assert_eq!(frames(&many_lines).map(|_| ()), Err(TextError::HeaderTooLong));
    for (length, error) in [
        ("262145", TextError::BodyTooLong),
        ("99999999999999999999999", TextError::BodyTooLong),
        ("-1", TextError::ContentLength),
        ("many", TextError::ContentLength),
    ] {
        let text = format!("RTSP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(frames(text.as_bytes()).map(|_| ()), Err(error), "{length}");
    }
    assert_eq!(frames(&vec![0x41; 2 << 20]).map(|_| ()), Err(TextError::Garbage));
    assert_eq!(frames(&b"AB CD ".repeat(1 << 18)).map(|_| ()), Err(TextError::Garbage));
}

#[test]
fn a_body_is_awaited_without_reading_the_header_again() {
    let mut framer = Framer::new();
    let mut bytes = b"RTSP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n".to_vec();
    assert_eq!(framer.next(&bytes, &mut 0), Ok(None));
    assert_eq!(framer.wanted_bytes, bytes.len() + 100);
    bytes.extend_from_slice(&[b'$'; 104]);
    let mut at = 0;
    assert!(
        matches!(framer.next(&bytes, &mut at), Ok(Some(Frame::Text(message))) if message.body.len() == 100)
    );
    assert_eq!(framer.wanted_bytes, 0);
    assert_eq!(at, bytes.len() - 4);
}

#[test]
fn a_value_cannot_begin_another_line() {
    let mut message = Message { start: "OPTIONS * RTSP/1.0\r\nX: y".to_owned(), ..Message::default() };
    message.headers.push("Session", "1\r\nTransport: evil");
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    let (found, _) = frames(&bytes).unwrap();
    let read = found[0].0.as_ref().unwrap();
    assert_eq!(read.headers.iter().count(), 1);
    assert_eq!(read.headers.first("Session"), Some("1  Transport: evil"));
}

#[test]
fn too_much_data_is_not_interleaved() {
    let mut out = b"before".to_vec();
    assert!(!write_interleaved(&mut out, 0, |out| out.resize(out.len() + 65_536, 0)));
    assert_eq!(out, b"before");
    assert!(write_interleaved(&mut out, 2, |out| out.extend_from_slice(b"xy")));
    assert_eq!(out, b"before$\x02\x00\x02xy");
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        (0u8..4, prop::collection::vec(any::<u8>(), 0..60)).prop_map(|(channel, data)| {
            let mut out = Vec::new();
            write_interleaved(&mut out, channel, |out| out.extend_from_slice(&data));
            out
        }),
        (prop::collection::vec(("[A-Za-z-]{1,9}", "[ -~]{0,20}"), 0..5), body).prop_map(|(headers, body)| {
            let mut message = Message { start: "RTSP/1.0 200 OK".to_owned(), body, ..Message::default() };
            for (name, value) in headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("l")) {
                message.headers.push(name, value);
            }
            let mut out = Vec::new();
            message.write(&mut out);
            out
        }),
    ]
}

proptest! {
    /// Where the bytes are cut on their way changes nothing.
    #[test]
    fn frames_do_not_depend_on_how_bytes_arrive(
        list in prop::collection::vec(any_frame(), 0..8),
        garbage in prop::collection::vec(any::<u8>(), 0..30),
        cut in 1usize..50,
    ) {
        let (front, back) = list.split_at(list.len() / 2);
        let bytes = [front.concat(), garbage.clone(), back.concat()].concat();
        let whole = frames(&bytes).map(|(found, framer)| (found, framer.skipped_bytes()));
        let cut = pieces(bytes.chunks(cut)).map(|(found, framer)| (found, framer.skipped_bytes()));
        prop_assert_eq!(&whole, &cut);
        if garbage.is_empty() {
            let (found, skipped) = whole.unwrap();
            prop_assert_eq!(found.len(), list.len());
            prop_assert_eq!(skipped, 0);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = frames(&bytes);
        let _ = Message::parse(&bytes);
    }

    #[test]
    fn a_message_survives_writing(headers in prop::collection::vec(("X[A-Za-z]{1,9}", "[!-~]{0,20}"), 0..9), body: Vec<u8>) {
        let mut message = Message { start: "SETUP rtsp://c/1 RTSP/1.0".to_owned(), body, ..Message::default() };
        for (name, value) in &headers {
            message.headers.push(name, value);
        }
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        let read = Message::parse(&bytes).unwrap().unwrap();
        prop_assert_eq!(&read.body, &message.body);
        for (name, value) in message.headers.iter() {
            prop_assert!(read.headers.all(name).any(|held| held == value));
        }
    }
}
