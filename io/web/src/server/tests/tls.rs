//! The same addresses over TLS: what is spoken, what is not, and how long a handshake may take.

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::server::shell::may_speak_plain;

impl Node {
    pub(super) async fn secure(&self) -> TlsStream<TcpStream> {
        self.trusting(&self.identity.identity()).await.unwrap()
    }

    /// A client that takes no other certificate than that of `identity`.
    async fn trusting(&self, identity: &keepwatch_tls::Identity) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(identity.certificate().clone()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(keepwatch_tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.web.addresses()[0]).await.unwrap();
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

#[tokio::test]
async fn one_address_speaks_tls_and_its_cookie_stays_there() {
    let node = Node::start().await;
    let body = json!({"user": "admin", "password": PASSWORD}).to_string();
    let json_type = "Content-Type: application/json";
    let answer = converse(node.secure().await, "POST", "/api/v1/login", &[json_type], &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("set-cookie: __host-keepwatch_session="), "{answer:?}");
    assert!(answer.head.contains("; path=/; httponly; samesite=strict; secure\r\n"), "{answer:?}");
    let cookie = answer.cookie.unwrap();
    let who = converse(node.secure().await, "GET", "/api/v1/session", &[&cookie], "").await;
    assert_eq!(who.body["via"], "cookie");
    // What a neighbour without TLS could plant is not looked at, and the other way round.
    let planted = cookie.replace("__Host-", "");
    let headers: [&str; 1] = [&planted];
    converse(node.secure().await, "GET", "/api/v1/session", &headers, "")
        .await
        .problem(401, "login_required");
    node.ask("GET", "/api/v1/session", &[&cookie], "").await.problem(401, "login_required");
    let out =
        converse(node.secure().await, "POST", "/api/v1/logout", &[&cookie, "Origin: https://node:8080"], "")
            .await;
    assert_eq!(out.status, 204);
    assert!(out.head.contains("__host-keepwatch_session=; ") && out.head.contains("max-age=0"), "{out:?}");
    converse(node.secure().await, "GET", "/api/v1/session", &[&cookie], "")
        .await
        .problem(401, "login_required");
}

#[tokio::test]
async fn a_certificate_is_replaced_while_connections_go_on() {
    let node = Node::start().await;
    let before = node.identity.identity();
    let (connected, asked) = (node.secure().await, node.secure().await);
    node.identity.replace(identity());
    let answer = converse(connected, "GET", "/api/v1/health", &[], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(node.trusting(&before).await.is_err(), "who comes later is shown the other one");
    let answer = converse(node.secure().await, "GET", "/api/v1/health", &[], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = converse(asked, "GET", "/api/v1/health", &[], "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_handshake_that_is_none_ends_and_its_place_is_free_again() {
    let limits = Limits {
        connections_max: 1,
        handshake_patience: Duration::from_millis(100),
        header_patience: Duration::from_millis(100),
        ..Limits::DEFAULT
    };
    let node = Node::start_within(limits).await;
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let garbage: [&[u8]; 6] = [
        b"",
        b"\x16",
        hello,
        b"\x16\x03\x01\xff\xff",
        &[0x16; 4096],
        b"\x16GET / HTTP/1.1\r\nHost: n\r\n\r\n",
    ];
    for start in garbage {
        let mut stream = TcpStream::connect(node.web.addresses()[0]).await.unwrap();
        stream.write_all(start).await.unwrap();
        // The only place is taken until the server gives up; then this one is served.
        let answer = converse(node.secure().await, "GET", "/api/v1/health", &[], "").await;
        assert_eq!(answer.status, 200);
        let mut rest = Vec::new();
        // A reset is as good an end.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.len() < 100, "nothing but an alert: {rest:?}");
    }
    // The same client may be as slow once the handshake is done.
    let mut slow = node.secure().await;
    slow.write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: n\r\nX: ").await.unwrap();
    let answer = converse(node.secure().await, "GET", "/api/v1/health", &[], "").await;
    assert_eq!(answer.status, 200);
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn plain_http_stays_within_the_machine() {
    let plain = |local: &str, peer: &str| may_speak_plain(local.parse().unwrap(), peer.parse().unwrap());
    assert!(plain("127.0.0.1", "127.0.0.1") && plain("::1", "::1") && plain("127.8.8.8", "127.0.0.1"));
    assert!(plain("::ffff:127.0.0.1", "::ffff:127.0.0.1"));
    // A neighbour may send what claims to come from loopback, or to go there.
    for (local, peer) in [
        ("192.0.2.1", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("::", "::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "::ffff:127.0.0.1"),
    ] {
        assert!(!plain(local, peer), "{local} {peer}");
    }
}

#[tokio::test]
async fn who_speaks_plain_from_elsewhere_reaches_no_route() {
    let local = "192.0.2.1:8443".parse().unwrap();
    let ask = async |request: &str| {
        let (ours, mut theirs) = tokio::io::duplex(65_536);
        let refused = plain::refuse(ours, local, Duration::from_secs(5));
        let asking = async {
            theirs.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            theirs.read_to_string(&mut answer).await.unwrap();
            answer
        };
        tokio::join!(refused, asking).1
    };
    let twice = "GET /api/v1/health HTTP/1.1\r\nHost: n:8443\r\n\r\n".repeat(2);
    let answer = ask(&twice).await;
    assert!(answer.starts_with("HTTP/1.1 308 ") && answer.matches("HTTP/1.1 ").count() == 1, "{answer}");
    assert!(answer.to_lowercase().contains("location: https://n:8443/api/v1/health\r\n"), "{answer}");
    let login = "POST /api/v1/login HTTP/1.1\r\nHost: n\r\nContent-Length: 2\r\n\r\n{}";
    let answer = ask(login).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"tls_required\""), "{answer}");
    assert!(ask("\r\n\r\nnonsense\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
}
