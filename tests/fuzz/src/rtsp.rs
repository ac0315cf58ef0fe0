//! The text half: RTSP framing and messages, headers, descriptions, digest authentication.

use keepwatch_media::auth::{Authorization, Challenge, Credentials};
use keepwatch_media::depacketize::Depacketizer;
use keepwatch_media::rtsp::{self, RtspMessage};
use keepwatch_media::sdp::Presentation;
use keepwatch_media::text::{Frame, Framer, Headers};
use url::Url;

/// A connection: the first byte says where it is cut in two, the others are what the camera sends.
///
/// Whether the bytes arrive in one piece or in two must make no difference.
pub(crate) fn framing(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let whole = frames(&[bytes]);
    let (first, second) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    assert_eq!(whole, frames(&[first, second]), "framing depends on where the bytes were cut");
}

/// The frames of a connection whose bytes arrive in `pieces`, as text.
fn frames(pieces: &[&[u8]]) -> Vec<String> {
    let mut framer = Framer::new();
    let mut buffer = Vec::new();
    let mut found = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let before = at;
            match framer.next(&buffer, &mut at) {
                Ok(Some(frame)) => {
                    assert!(at > before, "a frame without bytes would be found for ever");
                    found.push(match frame {
                        Frame::Text(message) => format!("{message:?}"),
                        Frame::Interleaved { channel, data } => format!("{channel} {data:?}"),
                    });
                }
                Ok(None) => break,
                Err(error) => {
                    found.push(format!("{error:?}"));
                    return found;
                }
            }
        }
        assert!(at <= buffer.len());
        buffer.drain(..at);
    }
    found
}

/// One message, and every header that is read out of one.
pub(crate) fn message(data: &[u8]) {
    let Ok(Some(message)) = rtsp::parse(data) else { return };
    let base = Url::parse("rtsp://camera.example:554/live/main?channel=1").expect("is an address");
    let mut written = Vec::new();
    let start = match &message {
        RtspMessage::Request(request) => {
            headers(&request.headers, &base);
            request.write(&mut written);
            format!("{}{}", request.method.as_str(), request.uri)
        }
        RtspMessage::Response(response) => {
            headers(&response.headers, &base);
            response.write(&mut written);
            response.reason.clone()
        }
    };
    // What was understood can be said, and is understood again; control characters are never sent.
    if !start.contains(char::is_control) {
        assert!(
            matches!(rtsp::parse(&written), Ok(Some(_))),
            "{message:?} cannot be read after it was written"
        );
    }
}

fn headers(headers: &Headers, request: &Url) {
    let base = rtsp::content_base(headers, request);
    for (name, value) in headers.iter() {
        let _ = rtsp::resolve_control(&base, value);
        let _ = rtsp::Session::parse(value).map(|session| session.to_text());
        for transport in rtsp::Transport::parse_all(value) {
            let _ = rtsp::Transport::parse(&transport.to_text());
        }
        let _ = rtsp::write_rtp_info(&rtsp::parse_rtp_info(value));
        let _ = rtsp::parse_public(value);
        let _ = headers.first(name);
    }
}

/// A description, and what the recorder makes of each of its tracks.
pub(crate) fn sdp(data: &[u8]) {
    let Ok(presentation) = Presentation::parse(data) else { return };
    let base = Url::parse("rtsp://[::1]/live/").expect("is an address");
    for track in &presentation.tracks {
        assert!(track.payload_type < 128);
        if let Some(control) = &track.control {
            let _ = rtsp::resolve_control(&base, control);
        }
        if let Ok(config) = &track.config {
            assert!(config.clock_rate > 0, "a track without a clock cannot be recorded");
            let _ = Depacketizer::new(config);
        }
    }
}

/// The headers of digest authentication, both ways: the answer to any challenge must satisfy who asked.
pub(crate) fn auth(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(authorization) = Authorization::parse(text) {
        let _ = (authorization.user(), authorization.uri(), authorization.nonce());
        assert!(
            !authorization.verify("a password nobody has", "realm", "a nonce nobody gave", "DESCRIBE"),
            "a password was accepted that was never set"
        );
    }
    let credentials = Credentials { user: "viewer".to_owned(), password: "correct horse".to_owned() };
    for challenge in Challenge::parse_all(text) {
        let answer = challenge.answer(&credentials, "DESCRIBE", "rtsp://camera.example/", "0a4f113b", 1);
        // Control characters cannot be repeated in a header, so no answer to them can be right.
        if let Challenge::Digest { realm, nonce, .. } = &challenge
            && !text.contains(char::is_control)
        {
            let Ok(authorization) = Authorization::parse(&answer) else {
                panic!("the answer to {challenge:?} cannot be read: {answer}");
            };
            assert!(authorization.verify("correct horse", realm, nonce, "DESCRIBE"), "{answer}");
            assert!(!authorization.verify("correct horse", realm, nonce, "PLAY"), "{answer}");
        }
    }
    let _ = Challenge::strongest([text]);
}

/// All that a client says to the server, which always answers with messages that can be read. The first byte chooses
/// login, footage and encryption.
pub(crate) fn server(data: &[u8]) {
    let answers = keepwatch_rtsp::server::answer_requests(data);
    let (mut framer, mut at) = (Framer::new(), 0);
    while let Some(frame) = framer.next(&answers, &mut at).expect("the server frames what it says") {
        if let Frame::Text(message) = frame {
            assert!(
                matches!(RtspMessage::try_from(message), Ok(RtspMessage::Response(_))),
                "the server says something else than an answer"
            );
        }
    }
    assert_eq!((at, framer.skipped_bytes()), (answers.len(), 0), "the server says what cannot be read");
}
