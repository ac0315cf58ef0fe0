use super::*;

const BEGIN: &[u8] = b"<?xml version=\"1.0\"?><tt:MetadataStream xmlns:tt=\"x\"><tt:Event>";
const MIDDLE: &[u8] = b"<tt:Motion/>";
const END: &[u8] = b"</tt:Event></tt:MetadataStream>";

fn session() -> Session {
    Session::new(&TrackConfig {
        kind: CodecKind::Metadata,
        clock_rate: 90_000,
        channels: 0,
        config: Vec::new(),
    })
}

fn document() -> Vec<u8> {
    [BEGIN, MIDDLE, END].concat()
}

#[test]
fn a_document_ends_at_the_marker_whatever_the_timestamps() {
    let mut session = session();
    session.send(1, false, BEGIN).send(2, false, MIDDLE).send(3, true, END).send(4, true, &document());
    assert_eq!(session.got, [Got::whole(&document(), 1, 0), Got::whole(&document(), 4, 0)]);
    assert_eq!(session.errors, []);
    assert_eq!(session.depacketizer.buffered_bytes(), 0);
}

#[test]
fn a_session_may_begin_in_the_middle_of_a_document() {
    let mut session = session();
    session.send(1, false, MIDDLE).send(2, true, END).send(3, false, BEGIN).send(3, true, END);
    assert_eq!(session.got, [Got::whole(&[BEGIN, END].concat(), 3, 0)]);
}

#[test]
fn loss_costs_the_document_and_no_other() {
    let mut session = session();
    session.send(1, false, BEGIN).lose(1).send(1, true, END).send(2, true, &document());
    // The marker was lost as well: the beginning of the next is seen.
    session.send(3, false, BEGIN).lose(2).send(4, false, b" <tt:MetadataStream>").send(4, true, END);
    let last = [&b" <tt:MetadataStream>"[..], END].concat();
    assert_eq!(session.got, [Got::whole(&document(), 2, 1), Got::whole(&last, 4, 2)]);
    // A fragment that looks like markup is no beginning.
    session.lose(1).send(5, false, b"<tt:Metadata>").send(5, true, END).send(6, true, &document());
    assert_eq!(session.got[2..], [Got::whole(&document(), 6, 1)]);
}

#[test]
fn a_device_without_markers_is_understood() {
    let mut session = session();
    for timestamp in 0..3 {
        session.send(timestamp, false, BEGIN).send(timestamp, false, END);
    }
    let documents = (0..3).map(|at| Got::whole(&[BEGIN, END].concat(), at, 0));
    assert_eq!(session.flush(), documents.collect::<Vec<_>>());
    // One that is not whole is none.
    session.send(9, false, BEGIN).send(10, false, BEGIN).send(10, false, END);
    assert_eq!(session.flush(), [Got::whole(&[BEGIN, END].concat(), 10, 1)]);
    assert_eq!(session.errors, [DepacketizeError::Truncated]);
}

#[test]
fn a_document_is_bounded() {
    let mut session = session();
    session.send(1, false, BEGIN);
    for _ in 0..1000 {
        session.send(1, false, &[b'x'; 1400]);
        assert!(session.depacketizer.buffered_bytes() <= DOCUMENT_BYTES_MAX);
    }
    session.send(1, true, END).send(2, true, &document()).send(3, false, b"");
    assert_eq!(session.errors, [DepacketizeError::TooLong, DepacketizeError::Empty]);
    assert_eq!(session.flush(), [Got::whole(&document(), 2, 1)]);
}

proptest! {
    #[test]
    fn what_is_sent_comes_out(documents in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..5000), 1..8)) {
        let documents: Vec<Vec<u8>> = documents.iter().map(|body| [b"<?xml?>", &body[..]].concat()).collect();
        let mut session = session();
        for (_, packet) in packetized_samples(CodecKind::Metadata, &documents) {
            session.push(&RtpPacket::parse(&packet).unwrap());
        }
        let got: Vec<_> = session.got.iter().map(|got| got.data.clone()).collect();
        // A part that looks like a beginning is none, but cannot be told from one.
        if !documents.iter().any(|document| document.windows(5).skip(1).any(|part| part == b"<?xml")) {
            prop_assert_eq!(got, documents);
        }
    }
}
