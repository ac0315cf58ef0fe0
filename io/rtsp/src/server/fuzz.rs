//! The entry for fuzz targets: all of the server that a stranger's bytes reach, without its socket.

use std::net::SocketAddr;

use bytes::Bytes;
use keepwatch_media::replay::{FrameMark, PlayRequest};
use keepwatch_media::rtsp::{Response, RtspMessage};
use keepwatch_media::text::{Frame, Framer};
use keepwatch_model::{CodecKind, TrackConfig, WallTime};
use tokio::time::Instant;

use super::books::Books;
use super::conversation::{Conversation, Ends};
use super::{Delivery, Media, NextMedia, OpenRequest, PlayAnswer, PlayError, Refusal, Service, Source};
use crate::Secret;

/// Two tracks under every path, without login or with `user` and `password`.
struct Anything {
    needs_login: bool,
    recorded: bool,
}

impl Service for Anything {
    fn password(&self, user: &str) -> Option<Secret> {
        (user == "user").then(|| "password".into())
    }

    fn needs_login(&self) -> bool {
        self.needs_login
    }

    fn open(&self, _request: &OpenRequest<'_>) -> Result<Box<dyn Source>, Refusal> {
        Ok(Box::new(Silence { recorded: self.recorded }))
    }
}

/// Gives nothing, and agrees to everything.
struct Silence {
    recorded: bool,
}

impl Source for Silence {
    fn tracks(&self) -> Vec<TrackConfig> {
        [(CodecKind::H264, 90_000, 0), (CodecKind::Pcmu, 8_000, 1)]
            .map(|(kind, clock_rate, channels)| TrackConfig {
                kind,
                clock_rate,
                channels,
                config: Vec::new(),
            })
            .into()
    }

    fn next(&mut self) -> NextMedia<'_> {
        Box::pin(std::future::pending())
    }

    fn delivery(&self) -> Delivery {
        if self.recorded { Delivery::Complete } else { Delivery::Live }
    }

    fn play(&mut self, request: &PlayRequest) -> Result<PlayAnswer, PlayError> {
        Ok(PlayAnswer::granted(request))
    }
}

/// A frame with a mark.
fn black() -> Media {
    let time = WallTime::from_ticks(0);
    let mark = FrameMark {
        time,
        clean_point: true,
        ends_section: false,
        discontinuity: false,
        terminal: false,
        sequence: 0,
    };
    Media {
        track: 0,
        timestamp: 0,
        capture: time,
        key: true,
        data: Bytes::from_static(&[0, 0, 0, 1, 0x65]),
        prefix: Bytes::new(),
        lost_packets: 0,
        mark: Some(mark),
    }
}

/// Answers the requests in `bytes` as one connection would; returns the answers. The first byte chooses whether a
/// login is needed and whether the path is of recorded footage. Session ids and nonces are drawn anew by each call.
#[doc(hidden)]
pub fn answer_requests(bytes: &[u8]) -> Vec<u8> {
    let (choice, bytes) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest));
    let service = Anything { needs_login: choice & 1 == 1, recorded: choice & 2 == 2 };
    // Ports for UDP belong to a runtime; nothing runs on it.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let _guard = runtime.enter();
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let ends = Ends { peer: loopback, local: loopback, secure: choice & 4 == 4 };
    let (mut conversation, mut framer) = (Conversation::new(ends, Books::default()), Framer::new());
    let (mut at, mut answers) = (0, Vec::new());
    while let Ok(Some(frame)) = framer.next(bytes, &mut at) {
        let Frame::Text(message) = frame else { continue };
        match RtspMessage::try_from(message) {
            Ok(RtspMessage::Request(request)) => {
                let now = Instant::now();
                let outcome = runtime.block_on(conversation.handle(now, &request, &service));
                if let Some(response) = outcome.response {
                    response.write(&mut answers);
                }
                if let Some(session) = conversation.session_mut() {
                    session.take(now, Some(black()));
                    while let Some((queued, timing)) = session.pop(now) {
                        session.packetize(now, &queued, timing, &mut answers);
                    }
                }
                if outcome.closes {
                    break;
                }
            }
            Ok(RtspMessage::Response(_)) => {}
            Err(_) => Response::new(400, None).write(&mut answers),
        }
    }
    answers
}
