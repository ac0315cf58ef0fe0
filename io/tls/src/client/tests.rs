use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_model::WallTime;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, ServerConfig, ServerConnection};

use super::*;
use crate::{Identity, Names};

/// A certificate that is shown whatever key belongs to it.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn shows(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let key = crate::provider().key_provider.load_private_key(key).unwrap();
    let shown = Shown(Arc::new(CertifiedKey::new(vec![certificate], key)));
    let config = ServerConfig::builder_with_provider(crate::provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    Arc::new(config)
}

/// A handshake in memory: what the client says in the end, and what it was shown.
fn shake(server: Arc<ServerConfig>, pinned: Option<Fingerprint>) -> (io::Result<()>, Option<Fingerprint>) {
    let name = server_name("[::1]", Ipv4Addr::LOCALHOST.into());
    let mut client = ClientConnection::new(config(pinned), name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets().unwrap();
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = &wire[..];
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            if let Err(error) = client.process_new_packets() {
                let shown = shown(&client);
                return (Err(io::Error::new(io::ErrorKind::InvalidData, error)), shown);
            }
        }
    }
    (Ok(()), shown(&client))
}

/// Valid in another century only, and for another name.
fn outdated() -> Identity {
    Identity::make(&Names::local(), "1999-01-01T00:00:00Z".parse::<WallTime>().unwrap()).unwrap()
}

#[test]
fn the_pinned_certificate_is_taken_whatever_its_dates_and_names_and_any_where_none_is_pinned() {
    let identity = outdated();
    let fingerprint = identity.fingerprint();
    for pinned in [Some(fingerprint), None] {
        let (result, shown) = shake(identity.config(), pinned);
        result.unwrap();
        assert_eq!(shown, Some(fingerprint));
    }
}

#[test]
fn another_certificate_than_the_pinned_one_is_refused_and_told() {
    let (identity, other) = (outdated(), outdated());
    let (result, _) = shake(identity.config(), Some(other.fingerprint()));
    let told = OtherCertificate::behind(&result.unwrap_err());
    assert_eq!(told, Some(OtherCertificate { seen: identity.fingerprint() }));
}

#[test]
fn who_shows_the_pinned_certificate_without_its_key_is_refused() {
    for version in [&TLS12, &TLS13] {
        let identity = outdated();
        let thief = rcgen::KeyPair::generate().unwrap();
        let key = PrivateKeyDer::try_from(thief.serialize_der()).unwrap();
        let server = shows(identity.certificate().clone(), key, version);
        let (result, _) = shake(server, Some(identity.fingerprint()));
        let error = result.unwrap_err();
        assert!(error.to_string().contains("BadSignature"), "{error}");
        assert_eq!(OtherCertificate::behind(&error), None);
    }
}

/// X.509 of version 1, which no verifier of today parses, is in cameras.
#[test]
fn a_certificate_of_version_1_is_taken_where_none_is_pinned() {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("../../testdata/version-1.pem")).unwrap();
    let key = include_bytes!("../../testdata/version-1-key.pem");
    for version in [&TLS12, &TLS13] {
        let server = shows(certificate.clone(), PrivateKeyDer::from_pem_slice(key).unwrap(), version);
        let (result, shown) = shake(server, None);
        result.unwrap();
        assert_eq!(shown, Some(Fingerprint::of_certificate(&certificate)));
    }
}

#[test]
fn a_host_that_is_no_name_is_asked_for_by_its_address() {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for (host, name) in
        [("gate.example", "gate.example"), ("[::1]", "127.0.0.1"), ("::1", "::1"), ("", "127.0.0.1")]
    {
        assert_eq!(server_name(host, address).to_str(), name);
    }
}
