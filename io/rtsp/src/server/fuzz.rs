//! The entry for fuzz targets: all of the server that a stranger's bytes reach, without its socket.

use std::net::SocketAddr;

use keepwatch_media::rtsp::{Response, RtspMessage};
use keepwatch_media::text::{Frame, Framer};
use keepwatch_model::{CodecKind, TrackConfig};

use super::conversation::{Conversation, Effect};
use super::{NextMedia, OpenRequest, Refusal, Service, Source};
use crate::Secret;

/// Two tracks under every path, without login or with `user` and `password`.
struct Anything {
    needs_login: bool,
}

impl Service for Anything {
    fn password(&self, user: &str) -> Option<Secret> {
        (user == "user").then(|| "password".into())
    }

    fn needs_login(&self) -> bool {
        self.needs_login
    }

    fn open(&self, _request: &OpenRequest<'_>) -> Result<Box<dyn Source>, Refusal> {
        Ok(Box::new(Silence))
    }
}

/// Gives nothing.
struct Silence;

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
}

/// Answers the requests in `bytes` as one connection would; returns the answers. The first byte chooses whether a
/// login is needed. Session ids and nonces are drawn anew by each call.
#[doc(hidden)]
pub fn answer_requests(bytes: &[u8]) -> Vec<u8> {
    let (choice, bytes) = bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest));
    let service = Anything { needs_login: choice & 1 == 1 };
    let (mut conversation, mut framer) =
        (Conversation::new(SocketAddr::from(([127, 0, 0, 1], 1)), false), Framer::new());
    let (mut at, mut answers) = (0, Vec::new());
    while let Ok(Some(frame)) = framer.next(bytes, &mut at) {
        let Frame::Text(message) = frame else { continue };
        match RtspMessage::try_from(message) {
            Ok(RtspMessage::Request(request)) => {
                let outcome = conversation.handle(&request, &service);
                outcome.response.write(&mut answers);
                if matches!(outcome.effect, Effect::Close) {
                    break;
                }
            }
            Ok(RtspMessage::Response(_)) => {}
            Err(_) => Response::new(400, None).write(&mut answers),
        }
    }
    answers
}
