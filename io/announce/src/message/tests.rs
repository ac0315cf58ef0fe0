//! What is written is read, what others write is understood, and what is none ends.

use proptest::prelude::*;

use super::*;

fn service() -> Name {
    Name::new(crate::SERVICE)
}

fn answer() -> Message {
    let (instance, host) = (Name::within("North 0a1b", &service()), Name::new(["kw-0a1b", "local"]));
    let record = |name: &Name, unique, data| Record { name: name.clone(), ttl_seconds: 120, unique, data };
    Message {
        id: 7,
        answers: true,
        questions: vec![Question::instances(service(), true)],
        records: vec![
            record(&service(), false, RecordData::Instance(instance.clone())),
            record(&instance, true, RecordData::Place { port: 8443, host: host.clone() }),
            record(&instance, true, RecordData::NoText),
            record(&host, true, RecordData::Ipv4([192, 0, 2, 1].into())),
            record(&host, true, RecordData::Ipv6("2001:db8::1".parse().unwrap())),
        ],
    }
}

#[test]
fn a_message_survives_its_bytes_and_every_cut_is_an_error() {
    let bytes = answer().write();
    assert_eq!(Message::read(&bytes), Ok(answer()));
    for end in 0..bytes.len() {
        assert!(Message::read(&bytes[..end]).is_err(), "{end}");
    }
    assert_eq!(Message::read(&vec![0; MESSAGE_BYTES_MAX + 1]), Err(MessageError::TooLong));
}

#[test]
fn names_are_shortened_by_others_and_compared_without_capitals() {
    // A response as others write it: the name of the instance points back to that of the service.
    let mut bytes = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    write_name(&mut bytes, &Name::new(["_KEEPWATCH", "_tcp", "local"]));
    bytes.extend([0, 12, 0, 1, 0, 0, 0, 120, 0, 8, 5, b'n', b'o', b'r', b't', b'h', 0xc0, 12]);
    let message = Message::read(&bytes).unwrap();
    let RecordData::Instance(instance) = &message.records[0].data else { panic!("{message:?}") };
    assert!(instance.is_in(&service()) && message.records[0].name == service());
    assert_eq!(*instance, Name::within("NORTH", &service()));
    assert!(!service().is_in(&service()));
}

#[test]
fn a_pointer_that_leads_to_itself_or_forward_is_none() {
    let head = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for name in [[0xc0, 12], [0xc0, 13], [0xff, 0xff], [0x80, 0]] {
        let bytes = [&head[..], &name, &[0, 12, 0, 1]].concat();
        assert_eq!(Message::read(&bytes), Err(MessageError::Name), "{name:?}");
    }
    // Two that lead to each other: the second would lead forward.
    let bytes = [&head[..], &[1, b'a', 0xc0, 12, 0, 12, 0, 1]].concat();
    assert_eq!(Message::read(&bytes), Err(MessageError::Name));
}

#[test]
fn labels_that_are_too_long_are_cut_where_a_letter_ends() {
    let name = Name::within(&"é".repeat(50), &Name::new([""]));
    assert_eq!(name.0, [("é".repeat(31)).into_bytes()]);
    let forged = [&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &[63; 64].repeat(5), &[0, 0, 12, 0, 1]].concat();
    assert_eq!(Message::read(&forged), Err(MessageError::Name));
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(message) = Message::read(&bytes) {
            let written = message.write();
            // Names that were shortened are written out.
            prop_assume!(written.len() <= MESSAGE_BYTES_MAX);
            prop_assert_eq!(Message::read(&written), Ok(message));
        }
    }
}

#[test]
fn a_chain_of_pointers_ends_soon() {
    let chain = |count: usize| {
        // The type and the data of a record hold pointers, each to the one before, and a question begins at the last.
        let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend([0, 0, 12, 0, 1]);
        let mut to = 12_u16;
        for _ in 0..count {
            let at = u16::try_from(bytes.len()).unwrap();
            bytes.extend((0xc000 | to).to_be_bytes());
            to = at;
        }
        let mut reader = Reader { bytes: &bytes, at: usize::from(to) };
        reader.name()
    };
    assert_eq!(chain(POINTERS_MAX), Ok(Name::default()));
    assert_eq!(chain(POINTERS_MAX + 1), Err(MessageError::Name));
}
