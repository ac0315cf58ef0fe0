//! RTSP over TLS: a certificate is known by its fingerprint.

use std::io::Write;
use std::sync::Arc;

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_rtsp::client::{ClientConfig, ClientError, EndReason, connect};
use keepwatch_rtsp::server::Server;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fixture::{
    Collector, PASSWORD, Running, Studio, clock, collect, config, identity, program, sample, tracks, within,
};
use crate::script::{Peer, SDP, camera, interleaved, rtp};

async fn serve(studio: Studio) -> (Running, Fingerprint) {
    let identity = identity();
    let any = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind_tls(any, identity.config(), Arc::new(studio)).await.unwrap();
    (Running::new(server), identity.fingerprint())
}

fn secure(addr: std::net::SocketAddr, pinned: Option<Fingerprint>) -> ClientConfig {
    let url = format!("rtsps://{addr}/live/main").parse().unwrap();
    ClientConfig {
        url,
        certificate: pinned,
        user: Some("operator".to_owned()),
        password: Some(PASSWORD.into()),
        ..config(addr, "/")
    }
}

#[tokio::test]
async fn every_frame_comes_through_tls_with_the_certificate_that_is_pinned_or_with_any() {
    let (server, fingerprint) = serve(Studio { login: true, ..Studio::new(40) }).await;
    for pinned in [Some(fingerprint), None] {
        let config = secure(server.addr, pinned);
        let described = connect(&config).await.unwrap();
        assert_eq!(described.certificate(), Some(fingerprint));
        drop(described);
        let (received, _) = collect(&config, &[0, 1, 2], 120).await;
        for track in 0..3 {
            let sent: Vec<_> = program(40).iter().filter(|media| media.track == track).map(sample).collect();
            assert_eq!(received.of_track(track), sent, "track {track}");
        }
    }
}

#[tokio::test]
async fn another_certificate_than_the_pinned_one_is_refused_and_shown() {
    let (server, fingerprint) = serve(Studio { login: true, ..Studio::new(1) }).await;
    let other = Fingerprint::of_certificate(b"another");
    let error = connect(&secure(server.addr, Some(other))).await.unwrap_err();
    assert!(matches!(error, ClientError::Certificate { seen } if seen == fingerprint), "{error:?}");
    assert!(error.to_string().contains(&fingerprint.to_string()), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart_and_a_silent_one_takes_no_longer_than_the_limit() {
    let addr = camera(async |mut peer: Peer| {
        peer.send("RTSP/1.0 400 Bad Request\r\n\r\n").await;
        peer.wait_for_bytes_to_end().await;
    })
    .await;
    let error = within(connect(&secure(addr, None))).await.unwrap_err();
    assert!(matches!(error, ClientError::Tls(_)), "{error:?}");
    let addr = camera(async |peer: Peer| peer.wait_for_bytes_to_end().await).await;
    let mut config = secure(addr, None);
    config.timeout = std::time::Duration::from_millis(300);
    let error = within(connect(&config)).await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut(_)), "{error:?}");
    // Where the connection breaks within the handshake, it is the connection that is to blame.
    let addr = camera(async |peer: Peer| drop(peer)).await;
    let error = within(connect(&secure(addr, None))).await.unwrap_err();
    assert!(matches!(error, ClientError::Tls(_)), "{error:?}");
}

/// RFC 8446 §6.1: nothing comes after the notice. It is told once, and the socket may stay open.
#[tokio::test]
async fn a_notice_of_the_end_that_comes_with_media_is_not_forgotten() {
    let tls = identity().config();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let camera = tokio::spawn(async move {
        let tcp = listener.accept().await.unwrap().0;
        let mut stream = tokio_rustls::TlsAcceptor::from(tls).accept(tcp).await.unwrap();
        for (headers, body) in [("", ""), ("", SDP), ("Session: 1\r\n", "")] {
            request(&mut stream).await;
            let length = body.len();
            let answer = format!("RTSP/1.0 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        request(&mut stream).await;
        let (mut tcp, mut session) = stream.into_inner();
        session.writer().write_all(b"RTSP/1.0 200 OK\r\n\r\n").unwrap();
        session.writer().write_all(&interleaved(0, &rtp(1, 1, &[0x65]))).unwrap();
        session.send_close_notify();
        let mut bytes = vec![];
        while session.wants_write() {
            session.write_tls(&mut bytes).unwrap();
        }
        tcp.write_all(&bytes).await.unwrap();
        tcp
    });
    let session = connect(&secure(addr, None)).await.unwrap().play(&[0]).await.unwrap();
    let mut collector = Collector::new(&[tracks().remove(0)], usize::MAX);
    let end = within(session.run(&mut collector, clock())).await;
    assert!(matches!(end.reason, EndReason::EndedByServer), "{end:?}");
    assert_eq!(collector.order, [(0, false)]);
    drop(camera.await.unwrap());
}

/// Reads one request.
async fn request(stream: &mut (impl AsyncRead + Unpin)) {
    let mut text = vec![];
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
}
