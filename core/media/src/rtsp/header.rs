//! The structured headers: Transport, Session, RTP-Info, Public.

use std::net::IpAddr;

use super::{Method, RtspError, excerpt};

/// What RTP runs over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LowerTransport {
    /// The RTSP connection itself.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

/// One transport of a `Transport` header (RFC 2326 §12.39).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// What RTP runs over.
    pub lower: LowerTransport,
    /// Whether it goes to a group; unicast is what everything here sets up.
    pub multicast: bool,
    /// The channels of RTP and RTCP on the connection.
    pub interleaved: Option<(u8, u8)>,
    /// The ports of RTP and RTCP at the client.
    pub client_port: Option<(u16, u16)>,
    /// The ports of RTP and RTCP at the server.
    pub server_port: Option<(u16, u16)>,
    /// The synchronisation source; left out when the text cannot be trusted to be one.
    pub ssrc: Option<u32>,
    /// Where the media come from, if not from where the connection leads; names are left out.
    pub source: Option<IpAddr>,
}

impl Transport {
    /// Unicast over the connection on `channel` for RTP and the one above it for RTCP.
    pub const fn tcp(channel: u8) -> Self {
        Self {
            lower: LowerTransport::Tcp,
            multicast: false,
            interleaved: Some((channel, channel.saturating_add(1))),
            client_port: None,
            server_port: None,
            ssrc: None,
            source: None,
        }
    }

    /// Unicast in datagrams to these ports of the client, for RTP and for RTCP.
    pub const fn udp(rtp: u16, rtcp: u16) -> Self {
        Self { lower: LowerTransport::Udp, interleaved: None, client_port: Some((rtp, rtcp)), ..Self::tcp(0) }
    }

    /// Reads all transports of a header that are RTP/AVP, in order of preference; others are passed over.
    pub fn parse_all(text: &str) -> Vec<Self> {
        text.split(',').filter_map(|one| Self::parse(one).ok()).collect()
    }

    /// Reads one transport.
    pub fn parse(text: &str) -> Result<Self, RtspError> {
        let refused = || RtspError::Header("Transport", excerpt(text));
        let mut parts = text.split(';').map(str::trim);
        let protocol = parts.next().unwrap_or_default().to_ascii_uppercase();
        let lower = match protocol.as_str() {
            "RTP/AVP/TCP" => LowerTransport::Tcp,
            "RTP/AVP" | "RTP/AVP/UDP" => LowerTransport::Udp,
            _ => return Err(refused()),
        };
        // Unicast is the sane default where neither is said; RFC 2326 has multicast.
        let mut transport = Self { lower, ..Self::default() };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "multicast" => transport.multicast = true,
                "interleaved" => {
                    transport.interleaved = Some(pair(value, u8::checked_add).ok_or_else(refused)?)
                }
                "client_port" => transport.client_port = pair(value, u16::checked_add),
                "server_port" => transport.server_port = pair(value, u16::checked_add),
                "ssrc" => transport.ssrc = parse_ssrc(value),
                "source" => transport.source = value.parse().ok(),
                _ => {}
            }
        }
        Ok(transport)
    }

    /// The header's value.
    pub fn to_text(&self) -> String {
        let mut text = match self.lower {
            LowerTransport::Tcp => "RTP/AVP/TCP".to_owned(),
            LowerTransport::Udp => "RTP/AVP".to_owned(),
        };
        text.push_str(if self.multicast { ";multicast" } else { ";unicast" });
        if let Some((rtp, rtcp)) = self.interleaved {
            text.push_str(&format!(";interleaved={rtp}-{rtcp}"));
        }
        if let Some((rtp, rtcp)) = self.client_port {
            text.push_str(&format!(";client_port={rtp}-{rtcp}"));
        }
        if let Some((rtp, rtcp)) = self.server_port {
            text.push_str(&format!(";server_port={rtp}-{rtcp}"));
        }
        if let Some(source) = self.source {
            text.push_str(&format!(";source={source}"));
        }
        if let Some(ssrc) = self.ssrc {
            text.push_str(&format!(";ssrc={ssrc:08X}"));
        }
        text
    }
}

/// "a-b", or "a" for a and the one above it.
fn pair<T: std::str::FromStr + From<u8> + Copy>(text: &str, add: fn(T, T) -> Option<T>) -> Option<(T, T)> {
    let (first, second) = text.split_once('-').unwrap_or((text, ""));
    let first = first.trim().parse().ok()?;
    Some((first, second.trim().parse().ok().or_else(|| add(first, T::from(1)))?))
}

/// Fewer than eight digits are a dropped leading zero (Hikvision: `ssrc= d6d6627`), four or fewer are not the source
/// that the packets then carry (Rubetek: `0x6f7c`).
fn parse_ssrc(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok().filter(|_| text.len() > 4 && !text.starts_with('+'))
}

/// A `Session` header (RFC 2326 §12.37).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session's identifier.
    pub id: String,
    /// After how many silent seconds the server ends the session; `None` when it does not say (then 60).
    pub timeout_s: Option<u32>,
}

impl Session {
    /// The timeout of RFC 2326 where none is said, in seconds.
    pub const TIMEOUT_DEFAULT_S: u32 = 60;

    /// Reads the header.
    pub fn parse(text: &str) -> Result<Self, RtspError> {
        let mut parts = text.split(';').map(str::trim);
        let id = parts.next().filter(|id| !id.is_empty()).ok_or(RtspError::Missing("Session"))?;
        let timeout = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"));
        let timeout_s =
            timeout.and_then(|(_, value)| value.trim().parse().ok()).filter(|timeout| *timeout > 0);
        Ok(Self { id: id.to_owned(), timeout_s })
    }

    /// The header's value.
    pub fn to_text(&self) -> String {
        match self.timeout_s {
            Some(timeout_s) => format!("{};timeout={timeout_s}", self.id),
            None => self.id.clone(),
        }
    }
}

/// One stream of an `RTP-Info` header (RFC 2326 §12.33).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RtpInfo {
    /// The stream's address as it stands, absolute or relative; to be resolved like a control address.
    pub url: String,
    /// The sequence number of its first packet.
    pub sequence: Option<u16>,
    /// The RTP time that the beginning of the range corresponds to.
    pub timestamp: Option<u32>,
}

/// Reads an `RTP-Info` header; what cannot be understood is left out.
pub fn parse_rtp_info(text: &str) -> Vec<RtpInfo> {
    // Addresses may hold commas: a stream begins only where "url=" follows.
    let mut streams: Vec<String> = Vec::new();
    for part in text.split(',') {
        let begins = part.trim_start().get(..4).is_some_and(|name| name.eq_ignore_ascii_case("url="));
        match streams.last_mut() {
            Some(stream) if !begins => {
                stream.push(',');
                stream.push_str(part);
            }
            _ => streams.push(part.to_owned()),
        }
    }
    let parsed = streams.iter().map(|stream| {
        let mut info = RtpInfo::default();
        for part in stream.split(';') {
            let Some((name, value)) = part.split_once('=') else { continue };
            match name.trim().to_ascii_lowercase().as_str() {
                "url" => info.url = value.trim().trim_matches('"').to_owned(),
                "seq" => info.sequence = value.trim().parse().ok(),
                "rtptime" => info.timestamp = value.trim().parse().ok(),
                _ => {}
            }
        }
        info
    });
    parsed.filter(|info| *info != RtpInfo::default()).collect()
}

/// The value of an `RTP-Info` header.
pub fn write_rtp_info(streams: &[RtpInfo]) -> String {
    let text = |info: &RtpInfo| {
        let sequence = info.sequence.map(|sequence| format!(";seq={sequence}")).unwrap_or_default();
        let timestamp = info.timestamp.map(|timestamp| format!(";rtptime={timestamp}")).unwrap_or_default();
        format!("url={}{sequence}{timestamp}", info.url)
    };
    streams.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Reads a `Public` or `Allow` header.
pub fn parse_public(text: &str) -> Vec<Method> {
    text.split([',', ';', ' '])
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(Method::from_name)
        .collect()
}
