//! How to reach a camera: its URL, the login, and what is asked for.

use std::fmt;
use std::time::Duration;

use keepwatch_media::fingerprint::Fingerprint;
use keepwatch_media::rtsp::{DEFAULT_PORT, ShownAddress};
use url::{Host, Url};

use super::{ClientError, ReadInterval};
use crate::secret::Secret;

/// The port of RTSP over TLS (IANA: `rtsps`).
const SECURE_PORT: u16 = 322;

/// How live media travel; replay always comes in the RTSP connection. Whether that connection is encrypted is said
/// by the scheme of the URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// RTP interleaved in the RTSP connection, RFC 2326 §10.12. What the network loses is sent again.
    #[default]
    TcpInterleaved,
    /// RTP in datagrams. What the network loses is lost, and shows as a gap. The media are not encrypted, also
    /// where the connection is.
    Udp,
}

/// How to reach one stream of a camera.
#[derive(Clone)]
pub struct ClientConfig {
    /// An `rtsp:` or `rtsps:` URL; with the latter the connection is encrypted. A login in it is used when `user` is `None`, and is never sent as part of the URL.
    pub url: Url,
    /// The user to log in as when the server asks.
    pub user: Option<String>,
    /// The password of `user`.
    pub password: Option<Secret>,
    /// How long each [`Step`](super::Step) may take.
    pub timeout: Duration,
    /// After how long without acknowledgement a connection counts as dead; bounds how long a peer that lost
    /// power goes unnoticed by the kernel. Silence of a living peer is not its business.
    pub dead_peer_timeout: Duration,
    /// How often the server is told that the session is wanted; `None`: at a third of its session timeout.
    pub keepalive_interval: Option<Duration>,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// How the media travels.
    pub transport: Transport,
    /// The certificate that the server of an `rtsps:` URL must show; `None` accepts any, and
    /// [`Described::certificate`](super::Described::certificate) tells which it was. Its dates are ignored.
    pub certificate: Option<Fingerprint>,
    /// Bytes that the kernel may hold for the connection before the server must wait; `None` leaves it to the
    /// kernel, which takes up to some megabytes. A replay that is throttled wants little, so that answers do not
    /// wait behind media for long.
    pub receive_buffer_bytes: Option<u32>,
    /// How often the socket is read while playing; may be changed then, through any clone.
    pub read_interval: ReadInterval,
}

impl ClientConfig {
    /// A configuration with the defaults: 10 s per step, 15 s until a dead peer is noticed, 200 ms per read.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            user: None,
            password: None,
            timeout: Duration::from_secs(10),
            dead_peer_timeout: Duration::from_secs(15),
            keepalive_interval: None,
            user_agent: concat!("Keepwatch/", env!("CARGO_PKG_VERSION")).to_owned(),
            transport: Transport::TcpInterleaved,
            certificate: None,
            receive_buffer_bytes: None,
            read_interval: ReadInterval::default(),
        }
    }

    /// The host to resolve and the port.
    pub(super) fn host_and_port(&self) -> Result<(String, u16), ClientError> {
        if !matches!(self.url.scheme(), "rtsp" | "rtsps") {
            return Err(ClientError::Url("it must begin with rtsp:// or rtsps://"));
        }
        let host = match self.url.host() {
            Some(Host::Domain("")) | None => return Err(ClientError::Url("it names no host")),
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
        };
        let port = if self.is_secure() { SECURE_PORT } else { DEFAULT_PORT };
        Ok((host, self.url.port().unwrap_or(port)))
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_secure(&self) -> bool {
        self.url.scheme() == "rtsps"
    }

    /// The login to use; `None` when none is configured.
    pub(super) fn login(&self) -> Option<(String, Secret)> {
        if let Some(user) = &self.user {
            return Some((user.clone(), self.password.clone().unwrap_or_else(|| Secret::new(""))));
        }
        if self.url.username().is_empty() && self.url.password().is_none() {
            return None;
        }
        let password = percent_decoded(self.url.password().unwrap_or_default());
        Some((percent_decoded(self.url.username()), Secret::new(password)))
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("url", &ShownAddress(self.url.as_str()))
            .field("user", &self.login().map(|(user, _)| user))
            .field("timeout", &self.timeout)
            .field("dead_peer_timeout", &self.dead_peer_timeout)
            .field("keepalive_interval", &self.keepalive_interval)
            .field("user_agent", &self.user_agent)
            .field("transport", &self.transport)
            .field("certificate", &self.certificate)
            .field("read_interval", &self.read_interval.interval())
            .finish_non_exhaustive()
    }
}

/// Resolves `%XX`, as URLs write what is special in a login; anything else stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let decoded = match (first, after) {
            (b'%', [high, low, ..]) => hex_value(*high).zip(hex_value(*low)),
            _ => None,
        };
        match decoded {
            Some((high, low)) => {
                bytes.push(high * 16 + low);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The value of a hexadecimal digit.
fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use keepwatch_media::rtsp::request_uri;

    use super::*;

    fn config(url: &str) -> ClientConfig {
        ClientConfig::new(url.parse().unwrap())
    }

    #[test]
    fn a_login_in_the_url_is_decoded_used_and_not_sent() {
        let config = config("rtsp://ad%40min:p%3Aw%2@cam.example:8554/live?x=1#top");
        let (user, password) = config.login().unwrap();
        assert_eq!((user.as_str(), password.expose()), ("ad@min", "p:w%2"));
        assert_eq!(request_uri(&config.url).as_str(), "rtsp://cam.example:8554/live?x=1");
        assert_eq!(config.host_and_port().unwrap(), ("cam.example".to_owned(), 8554));
    }

    #[test]
    fn a_configured_login_comes_first() {
        let mut config = config("rtsp://a:b@cam/");
        config.user = Some("operator".to_owned());
        config.password = Some("s3cret".into());
        let (user, password) = config.login().unwrap();
        assert_eq!((user.as_str(), password.expose()), ("operator", "s3cret"));
    }

    #[test]
    fn no_password_is_shown() {
        let mut config = config("rtsp://a:hidden1@cam/?user=a&password=hidden3");
        assert!(!format!("{config:?}").contains("hidden1"));
        assert!(!format!("{config:?}").contains("hidden3"));
        config.password = Some("hidden2".into());
        assert!(!format!("{config:?}").contains("hidden2"));
    }

    #[test]
    fn addresses_of_both_families_and_the_usual_port() {
        assert_eq!(config("rtsp://[::1]/x").host_and_port().unwrap(), ("::1".to_owned(), 554));
        assert_eq!(config("rtsp://10.0.0.1/x").host_and_port().unwrap(), ("10.0.0.1".to_owned(), 554));
        assert_eq!(config("rtsps://cam/x").host_and_port().unwrap(), ("cam".to_owned(), 322));
        assert!(matches!(config("http://cam/").host_and_port(), Err(ClientError::Url(_))));
        assert!(matches!(config("rtsp:///x").host_and_port(), Err(ClientError::Url(_))));
    }
}
