use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_onvif::client::{ClientError, Device, Options};
use keepwatch_tls::{Identity, Names};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use url::Url;

/// A device over TLS that answers every call with its services; returns where, and the fingerprint of its certificate,
/// which is outdated, as those of cameras are.
async fn device() -> (Url, Fingerprint) {
    device_that(|_| true).await
}

/// The same, but that refuses those whose request does not `satisfy`, and asks for the password itself.
async fn device_that(satisfies: fn(&str) -> bool) -> (Url, Fingerprint) {
    let identity = Identity::make(&Names::local(), "1999-01-01T00:00:00Z".parse().unwrap()).unwrap();
    let seen = identity.fingerprint();
    let acceptor = TlsAcceptor::from(identity.config());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that refuses the certificate is part of the tests.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 8192];
                let length = stream.read(&mut request).await.unwrap_or_default();
                if !satisfies(&String::from_utf8_lossy(&request[..length])) {
                    let head = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"camera\"\r\nContent-Length: 0\r\n\r\n";
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.shutdown().await;
                    return;
                }
                let body = "<E:Envelope xmlns:E='e'><E:Body><GetServicesResponse/></E:Body></E:Envelope>";
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all((head + body).as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (url, seen)
}

#[tokio::test]
async fn any_certificate_is_taken_and_reported_where_none_is_pinned() {
    let (url, seen) = device().await;
    let device = Device::connect(Options::new(url)).await.unwrap();
    assert_eq!(device.certificate(), Some(seen));
}

#[tokio::test]
async fn the_pinned_certificate_is_taken_and_another_is_not() {
    let (url, seen) = device().await;
    let options = Options { certificate: Some(seen), ..Options::new(url.clone()) };
    Device::connect(options).await.unwrap();
    let other = Fingerprint::of_certificate(b"another");
    let error =
        Device::connect(Options { certificate: Some(other), ..Options::new(url) }).await.err().unwrap();
    assert!(matches!(error, ClientError::Certificate { seen: told } if told == seen), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_an_error_of_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let _ = stream.read(&mut [0; 1024]).await;
    });
    let error = Device::connect(Options::new(url)).await.err().unwrap();
    assert!(matches!(error, ClientError::Tls(_)), "{error}");
}

/// Whoever shows a certificate of his own could ask everybody for the password.
#[tokio::test]
async fn the_password_itself_goes_to_the_device_whose_certificate_is_pinned_and_to_no_other() {
    let (url, seen) =
        device_that(|request| request.contains("Authorization: Basic dmlld2VyOnNlY3JldA==")).await;
    let options = Options::new(url).with_login("viewer", "secret");
    let pinned = Options { certificate: Some(seen), ..options.clone() };
    Device::connect(pinned).await.unwrap();
    let error = Device::connect(options.clone()).await.err().unwrap();
    assert!(matches!(error, ClientError::PasswordInTheClear), "{error}");
    let wrong = Options { certificate: Some(seen), ..options }.with_login("viewer", "wrong");
    let error = Device::connect(wrong).await.err().unwrap();
    assert!(matches!(error, ClientError::LoginRefused { .. }), "{error}");
}
