use std::io;
use std::net::Ipv4Addr;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};
use tempfile::TempDir;

use super::*;
use crate::client;

fn key() -> NodeKey {
    NodeKey::keep(TempDir::new().unwrap().path()).unwrap().0
}

/// A handshake in memory. What each end says in the end, and whom it saw.
type Side = (Result<(), Error>, Option<NodePublicKey>);

fn shake(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> (Side, Side) {
    let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let (mut of_client, mut of_server) = (Ok(()), Ok(()));
    for _ in 0..8 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() && of_server.is_ok() {
            server.read_tls(&mut rest).unwrap();
            of_server = server.process_new_packets().map(|_| ());
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() && of_client.is_ok() {
            client.read_tls(&mut rest).unwrap();
            of_client = client.process_new_packets().map(|_| ());
        }
    }
    ((of_client, shown(client.peer_certificates())), (of_server, shown(server.peer_certificates())))
}

#[test]
fn two_nodes_know_each_other_by_their_keys() {
    let (standby, primary) = (key(), key());
    let known = primary.public().unwrap();
    let (of_client, of_server) =
        shake(client_config(&standby, Some(known)).unwrap(), server_config(&primary).unwrap());
    assert_eq!(of_client, (Ok(()), Some(known)));
    assert_eq!(of_server, (Ok(()), Some(standby.public().unwrap())));
}

/// Its address was taken over, or it was set up anew.
#[test]
fn another_node_than_the_pinned_one_is_refused_and_named() {
    let (standby, primary, other) = (key(), key(), key());
    let config = client_config(&standby, Some(primary.public().unwrap())).unwrap();
    let ((of_client, _), _) = shake(config, server_config(&other).unwrap());
    let error = io::Error::other(of_client.unwrap_err());
    assert_eq!(OtherNode::behind(&error), Some(OtherNode { seen: other.public().unwrap() }));
}

#[test]
fn a_node_that_is_met_for_the_first_time_is_taken() {
    let (standby, primary) = (key(), key());
    let (of_client, _) = shake(client_config(&standby, None).unwrap(), server_config(&primary).unwrap());
    assert_eq!(of_client, (Ok(()), Some(primary.public().unwrap())));
}

/// A client of people: it shows no certificate, and speaks another protocol.
#[test]
fn whoever_shows_no_key_is_not_answered_as_a_node() {
    let (_, (of_server, seen)) = shake(client::config(None), server_config(&key()).unwrap());
    assert!(of_server.is_err());
    assert_eq!(seen, None);
}
