//! How the media of one track are to travel: what is offered to the server, and what it makes of that.

use std::fmt;
use std::net::SocketAddr;

use keepwatch_media::replay::{ClockRange, RANGE, SCALE};
use keepwatch_media::rtsp::{self, LowerTransport, Response, ShownAddress, parse_rtp_info, resolve_control};
use url::Url;

use super::config::Transport;
use super::described::protocol;
use super::error::{ClientError, Step};
use super::outcome::{Played, TrackStart};
use super::udp::{Ports, Sender};

/// What is offered to the server for one track.
pub(super) enum Offer {
    /// Two channels of the connection, the second above the first.
    Channel(u8),
    /// Two ports, which are open.
    Ports(Ports),
}

/// How the media of one track travel.
pub(super) enum Way {
    /// On the channels of RTP and RTCP.
    Channels(u8, u8),
    /// In datagrams.
    Ports(Ports, Sender),
}

impl Offer {
    /// The offer for the track at `position` of a session whose connection ends here at `local`.
    pub(super) fn new(transport: Transport, position: usize, local: SocketAddr) -> Result<Self, ClientError> {
        match transport {
            Transport::TcpInterleaved => {
                let channel = u8::try_from(position).ok().and_then(|position| position.checked_mul(2));
                Ok(Self::Channel(channel.ok_or_else(|| protocol(Step::Setup, "too many tracks"))?))
            }
            Transport::Udp => Ports::open(local).map(Self::Ports).map_err(ClientError::Ports),
        }
    }

    /// The `Transport` header.
    pub(super) fn header(&self) -> String {
        self.transport().to_text()
    }

    fn transport(&self) -> rtsp::Transport {
        match self {
            Self::Channel(channel) => rtsp::Transport::tcp(*channel),
            Self::Ports(ports) => {
                let (rtp, rtcp) = ports.numbers();
                rtsp::Transport::udp(rtp, rtcp)
            }
        }
    }

    /// What the server, at `peer`, made of it, and the source it announced.
    pub(super) fn accepted(
        self,
        response: &Response,
        peer: SocketAddr,
    ) -> Result<(Option<u32>, Way), ClientError> {
        let wanted = self.transport();
        let stated = response.headers.first("Transport").map(rtsp::Transport::parse_all);
        // An answer without a usable transport header is taken as consent.
        let answer = stated.unwrap_or_default().into_iter().next().unwrap_or_else(|| wanted.clone());
        let way = match (self, answer.lower) {
            (Self::Channel(_), LowerTransport::Tcp) => {
                let (rtp, rtcp) = answer.interleaved.or(wanted.interleaved).unwrap_or_default();
                Way::Channels(rtp, rtcp)
            }
            (Self::Ports(_), LowerTransport::Udp) if answer.multicast => {
                return Err(refused("it wants to send to a group"));
            }
            (Self::Ports(ports), LowerTransport::Udp) => {
                Way::Ports(ports, Sender { peer, source: answer.source, ports: answer.server_port })
            }
            (Self::Channel(_), LowerTransport::Udp) => {
                return Err(refused("it wants to send over UDP, interleaved TCP was asked for"));
            }
            (Self::Ports(_), LowerTransport::Tcp) => {
                return Err(refused("it wants to send over TCP, UDP was asked for"));
            }
        };
        Ok((answer.ssrc, way))
    }
}

fn refused(problem: &str) -> ClientError {
    ClientError::TransportRefused { problem: problem.to_owned() }
}

/// The addresses of a session, by which its answers speak of tracks.
pub(super) struct Addresses {
    /// What control addresses are relative to.
    pub(super) base: Url,
    /// The address of each track of the session.
    pub(super) tracks: Vec<Url>,
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = std::iter::once(&self.base).chain(&self.tracks);
        f.debug_list().entries(addresses.map(|address| ShownAddress(address.as_str()))).finish()
    }
}

impl Addresses {
    /// What the answer to the `PLAY` numbered `cseq` says.
    pub(super) fn played(&self, cseq: u32, response: &Response) -> Played {
        let mut starts = vec![TrackStart::default(); self.tracks.len()];
        let infos: Vec<_> = response.headers.all("RTP-Info").flat_map(parse_rtp_info).collect();
        for info in &infos {
            let resolved = resolve_control(&self.base, &info.url).ok();
            let position = self.tracks.iter().position(|address| Some(address) == resolved.as_ref());
            // A single track needs no address, and cameras send wrong ones.
            let position = position.or((self.tracks.len() == 1 && infos.len() == 1).then_some(0));
            if let Some(start) = position.and_then(|position| starts.get_mut(position)) {
                *start = TrackStart { sequence: info.sequence, timestamp: info.timestamp };
            }
        }
        Played {
            cseq,
            range: response.headers.first(RANGE).and_then(|text| ClockRange::parse(text).ok()),
            scale: response.headers.first(SCALE).and_then(|text| text.parse().ok()),
            starts,
        }
    }
}
