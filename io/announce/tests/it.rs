//! One who is announced, and one who looks, over the loopback of this machine and at a port of their own.

#![expect(clippy::unwrap_used, reason = "test code")]

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use keepwatch_announce::{Announcement, BrowseOptions, Message, Service, browse};
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn service(port: u16) -> Service {
    Service { name: "north".to_owned(), digits: "0123456789abcdef".to_owned(), port }
}

fn loopback() -> Vec<String> {
    vec!["lo".to_owned()]
}

#[tokio::test]
async fn a_recorder_that_is_announced_is_found_and_one_that_ended_is_not() {
    let port = free_port();
    let announcement = Announcement::start_at(&service(8443), loopback(), port);
    let options = BrowseOptions { interfaces: loopback(), port };
    let first = || async {
        let (told, mut found) = mpsc::unbounded_channel();
        let browsing = browse(&options, move |address| told.send(address).unwrap());
        tokio::select! {
            ended = browsing => panic!("{ended:?}"),
            found = found.recv() => found,
        }
    };
    let found = timeout(PATIENCE, first()).await.expect("it is found").unwrap();
    assert_eq!(found.port(), 8443);
    assert!(found.ip().is_loopback());
    announcement.end().await;
    assert!(timeout(Duration::from_secs(2), first()).await.is_err(), "nobody answers any more");
}

#[tokio::test]
async fn what_strangers_send_stops_no_answer() {
    let port = free_port();
    let _announcement = Announcement::start_at(&service(8443), loopback(), port);
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let group: SocketAddr = (std::net::Ipv4Addr::new(224, 0, 0, 251), port).into();
    let sockets = socket2::SockRef::from(&stranger);
    sockets.set_multicast_if_v4(&std::net::Ipv4Addr::LOCALHOST).unwrap();
    let question =
        [&[0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10][..], b"_keepwatch\x04_tcp\x05local\0", &[0, 12, 0, 1]]
            .concat();
    let answered = async {
        let mut buffer = [0; 9000];
        loop {
            for end in 0..question.len() {
                stranger.send_to(&question[..end], group).await.unwrap();
            }
            stranger.send_to(&question, group).await.unwrap();
            let heard = timeout(Duration::from_millis(500), stranger.recv_from(&mut buffer)).await;
            if let Ok(Ok((length, _))) = heard {
                return Message::read(&buffer[..length]).unwrap();
            }
        }
    };
    let answer = timeout(PATIENCE, answered).await.expect("it answers");
    assert_eq!((answer.id, answer.answers, answer.records.len() >= 3), (5, true, true));
}
