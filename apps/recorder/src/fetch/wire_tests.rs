//! A replay as a device writes it, byte by byte and without our server: bare line feeds, no `RTP-Info`, no marker bits,
//! marks on the first packet of a frame only, the end of the range ignored, broken off within a packet.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::tests::{Kept, frames, unit, wall};
use super::*;

/// Frames that a replay has behind its beginning.
const FRAMES: i64 = 120;

const DESCRIPTION: &str = "v=0\no=- 0 0 IN IP4 0.0.0.0\ns=Playback\nt=0 0\na=range:clock=20260301T000000Z-\na=control:*\n\
    m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n\
    a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LADdkBQfsBEAAAAwAQAAADAyDxQqSA,aMuDyyA=\na=control:trackID=1\n";

/// Bytes of frame `number`, in an interleaved frame, as the answer to the `PLAY` with this `CSeq`.
fn framed(number: i64, sequence: u16, cseq: u8) -> Vec<u8> {
    let payload = &unit(number)[h264_length()..];
    let ticks = wall(number).ticks();
    // RFC 3550 §4: seconds since 1900, and a fraction of 2^32; rounded down to milliseconds, as devices do.
    let seconds = u32::try_from(ticks / 90_000 + 2_208_988_800).unwrap();
    let millis = u64::try_from(ticks % 90_000 / 90).unwrap();
    let fraction = u32::try_from((millis << 32) / 1000).unwrap();
    let mut packet = vec![0x90, 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend(u32::try_from((number * 3_600 + 12_345) & 0xFFFF_FFFF).unwrap().to_be_bytes());
    packet.extend([0x11, 0x22, 0x33, 0x44, 0xAB, 0xAC, 0, 3]);
    packet.extend(seconds.to_be_bytes());
    packet.extend(fraction.to_be_bytes());
    packet.extend([if number % 25 == 0 { 0x80 } else { 0 }, cseq, 0, 0]);
    packet.extend(payload);
    let mut framed = vec![b'$', 0];
    framed.extend(u16::try_from(packet.len()).unwrap().to_be_bytes());
    framed.extend(packet);
    framed
}

const fn h264_length() -> usize {
    keepwatch_media::h264::LENGTH_BYTES
}

/// The next request, to the empty line behind its headers.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.ok()?;
        text.extend(byte);
    }
    Some(String::from_utf8(text).unwrap())
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let line = request.lines().find(|line| line.starts_with(&format!("{name}: ")))?;
    Some(&line[name.len() + 2..])
}

/// Answers one connection; footage begins at the clean point before the range, and breaks off after so many bytes.
/// Returns the `PLAY`.
async fn answer(stream: &mut TcpStream, bytes_max: usize) -> Option<String> {
    loop {
        let request = request(stream).await?;
        let cseq: u32 = header(&request, "CSeq")?.parse().unwrap();
        let mut answer = format!("RTSP/1.0 200 OK\nCSeq: {cseq}\n");
        let method = request.split(' ').next()?;
        match method {
            "DESCRIBE" => {
                let length = DESCRIPTION.len();
                write!(answer, "Content-Type: application/sdp\nContent-Length: {length}\n\n{DESCRIPTION}")
                    .unwrap();
            }
            "SETUP" => {
                answer += "Session: 7;timeout=60\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\n\n";
            }
            "PLAY" => answer += "Session: 7\n\n",
            _ => answer += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\n\n",
        }
        stream.write_all(answer.as_bytes()).await.ok()?;
        if method != "PLAY" {
            continue;
        }
        let range = header(&request, "Range")?.strip_prefix("clock=")?;
        let from = ClockRange::parse(&format!("clock={range}")).unwrap().from;
        let number = from.ticks_since(wall(0)).div_euclid(3_600).div_euclid(25) * 25;
        let footage = (number..number + FRAMES).zip(7..);
        let bytes: Vec<u8> = footage
            .flat_map(|(number, sequence)| framed(number, sequence, cseq.to_be_bytes()[3]))
            .take(bytes_max)
            .collect();
        stream.write_all(&bytes).await.ok()?;
        return Some(request);
    }
}

#[tokio::test]
async fn a_device_that_was_not_written_by_us_is_fetched_from_through_drops_within_packets() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let mut asked = Vec::new();
        for bytes_max in [1_000, 3_003, usize::MAX] {
            let (mut stream, _) = listener.accept().await.unwrap();
            asked.push(answer(&mut stream, bytes_max).await.unwrap());
            if bytes_max == usize::MAX {
                // The end is the client's to find.
                while request(&mut stream).await.is_some_and(|request| !request.starts_with("TEARDOWN")) {}
            }
        }
        asked
    });
    let client = ClientConfig::new(format!("rtsp://{address}/card").parse().unwrap());
    let span = frames(110, 190);
    let order =
        FetchOrder { client, span, audio: true, metadata: true, pace: RateControl::Free, sections: None };
    let mut kept = Kept::default();
    let control = FetchControl::new();
    let fetching = tokio::time::timeout(Duration::from_secs(60), fetch(&order, &control, &mut kept));
    let account = fetching.await.expect("it ends").unwrap();
    assert_eq!(kept.numbers, (110..190).collect::<Vec<_>>(), "{account:?}");
    assert!(account.is_whole() && account.broken_off == 2, "{account:?}");
    for play in serving.await.unwrap() {
        assert_eq!(header(&play, "Require"), Some("onvif-replay"));
        assert_eq!(header(&play, "Rate-Control"), Some("no"));
    }
}
