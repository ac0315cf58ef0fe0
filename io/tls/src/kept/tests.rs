use std::os::unix::fs::PermissionsExt;

use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use super::*;
use crate::identity::{BEHIND_DAYS, VALID_DAYS};

/// A directory of a node, and its clock.
struct Node {
    data: TempDir,
    start: WallTime,
}

impl Node {
    fn new() -> Self {
        Self { data: TempDir::new().unwrap(), start: "2026-11-22T06:00:00Z".parse().unwrap() }
    }

    fn after_days(&self, days: i64) -> (Identity, Option<Making>) {
        Identity::keep(self.data.path(), &Names::local(), self.start.plus(days * TICKS_PER_DAY)).unwrap()
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.data.path().join(name)
    }
}

/// Whether a client that trusts `certificate` takes it for `name` on a day.
fn serves(certificate: &CertificateDer<'_>, name: &str, start: WallTime, days: i64) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone().into_owned()).unwrap();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crate::provider()).build().unwrap();
    let ticks = start.plus(days * TICKS_PER_DAY).ticks();
    let time = UnixTime::since_unix_epoch(duration_from_ticks(ticks));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(certificate, &[], &name, &[], time).is_ok()
}

/// The serial number, where RFC 5280 §4.1 has it: behind the two outer headers and the version.
fn serial(identity: &Identity) -> Vec<u8> {
    let der = identity.certificate().as_ref();
    assert_eq!(der[8..14], [0xa0, 3, 2, 1, 2, 2]);
    let length = usize::from(der[14]);
    der[15..15 + length].to_vec()
}

#[test]
fn an_identity_is_made_once_and_kept_and_its_key_is_private() {
    let node = Node::new();
    // What was left behind, readable by all, is not where the key is written into.
    fs::write(node.file("tls-key.part"), "").unwrap();
    let (first, making) = node.after_days(0);
    assert_eq!(making, Some(Making::First));
    let mode = |name| fs::metadata(node.file(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(KEY_FILE), mode(CERTIFICATE_FILE) & 0o600), (0o600, 0o600));
    let (again, making) = node.after_days(0);
    assert_eq!((again.fingerprint(), making), (first.fingerprint(), None));
    assert_eq!(fs::read_dir(node.data.path()).unwrap().count(), 2);
}

#[test]
fn a_certificate_is_made_anew_sixty_days_before_its_end_with_the_same_key_and_another_number() {
    let node = Node::new();
    let (first, _) = node.after_days(0);
    let key = fs::read(node.file(KEY_FILE)).unwrap();
    let last_day = VALID_DAYS - BEHIND_DAYS - RENEWAL_DAYS;
    assert_eq!(node.after_days(last_day).1, None);
    let (second, making) = node.after_days(last_day + 1);
    assert_eq!(making, Some(Making::Due));
    assert_ne!(second.fingerprint(), first.fingerprint());
    assert_ne!(serial(&second), serial(&first));
    assert_eq!(fs::read(node.file(KEY_FILE)).unwrap(), key);
    // The clock was in the future, or is in the past.
    assert_eq!(node.after_days(0).1, Some(Making::Due));
    assert_eq!(node.after_days(0).1, None);
}

#[test]
fn a_certificate_that_was_lost_or_damaged_is_made_anew_with_the_key_that_is_there() {
    let node = Node::new();
    node.after_days(0);
    let key = fs::read(node.file(KEY_FILE)).unwrap();
    fs::remove_file(node.file(CERTIFICATE_FILE)).unwrap();
    assert_eq!(node.after_days(0).1, Some(Making::First));
    let sound = fs::read(node.file(CERTIFICATE_FILE)).unwrap();
    for damaged in ["", "nothing", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"] {
        fs::write(node.file(CERTIFICATE_FILE), damaged).unwrap();
        assert_eq!(node.after_days(0).1, Some(Making::Unfit), "{damaged}");
    }
    assert_eq!(fs::read(node.file(KEY_FILE)).unwrap(), key);
    // Of another key.
    fs::remove_file(node.file(KEY_FILE)).unwrap();
    fs::write(node.file(CERTIFICATE_FILE), sound).unwrap();
    assert_eq!(node.after_days(0).1, Some(Making::Unfit));
    assert_eq!(node.after_days(0).1, None);
}

#[test]
fn what_is_kept_as_the_key_and_is_none_is_not_written_over() {
    let node = Node::new();
    fs::write(node.file(KEY_FILE), "of somebody").unwrap();
    let error = Identity::keep(node.data.path(), &Names::local(), node.start).unwrap_err().to_string();
    assert!(error.contains(KEY_FILE) && error.contains("remove the file"), "{error}");
    assert_eq!(fs::read_to_string(node.file(KEY_FILE)).unwrap(), "of somebody");
    fs::remove_file(node.file(KEY_FILE)).unwrap();
    fs::create_dir(node.file(CERTIFICATE_FILE)).unwrap();
    let error = Identity::keep(node.data.path(), &Names::local(), node.start).unwrap_err();
    assert!(matches!(error, IdentityError::Read { .. }), "{error}");
}

/// Apple's requirements for certificates, of which a user's own are not free: names, and at most 825 days.
#[test]
fn a_client_that_trusts_the_certificate_takes_it_for_all_its_names_until_it_ends() {
    let node = Node::new();
    let mut names = Names::local();
    names.add("gate.example");
    names.add("192.0.2.7");
    let (identity, _) = Identity::keep(node.data.path(), &names, node.start).unwrap();
    let serves = |name, days| serves(identity.certificate(), name, node.start, days);
    for name in ["localhost", "127.0.0.1", "::1", "gate.example", "192.0.2.7"] {
        assert!(serves(name, 0), "{name}");
    }
    assert!(!serves("other.example", 0));
    assert!(serves("localhost", -BEHIND_DAYS) && serves("localhost", VALID_DAYS - BEHIND_DAYS));
    assert!(!serves("localhost", -BEHIND_DAYS - 1) && !serves("localhost", VALID_DAYS - BEHIND_DAYS + 1));
}

#[test]
fn no_clock_is_too_wrong_to_make_a_certificate() {
    for now in [WallTime::MIN, WallTime::from_ticks(0), WallTime::MAX] {
        Identity::make(&Names::local(), now).unwrap();
    }
}

#[test]
fn what_is_wrong_with_an_operators_files_is_said_with_their_names() {
    let node = Node::new();
    let files = Files { certificate: node.file("c.pem"), key: node.file("k.pem") };
    let told = || Identity::load(&files).unwrap_err().to_string();
    assert!(told().contains("c.pem"), "{}", told());
    fs::write(&files.certificate, "nothing").unwrap();
    assert!(told().contains("there is no certificate in it"), "{}", told());
    node.after_days(0);
    fs::copy(node.file(CERTIFICATE_FILE), &files.certificate).unwrap();
    fs::write(&files.key, "nothing").unwrap();
    assert!(told().contains("k.pem"), "{}", told());
    fs::write(&files.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(told().contains("c.pem"), "the key of another: {}", told());
    fs::copy(node.file(KEY_FILE), &files.key).unwrap();
    Identity::load(&files).unwrap();
}
