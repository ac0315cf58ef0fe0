//! Replay and datagrams: marks, ranges, the headers of `PLAY`, bringing packets into order, and the machine that
//! judges frames.

use std::time::Duration;

use keepwatch_media::replay::{ClockRange, FrameMark, PlayRequest, after_mark};
use keepwatch_media::rtcp::Reception;
use keepwatch_media::rtp::RtpPacket;
use keepwatch_media::rtp::reorder::ReorderBuffer;
use keepwatch_media::rtsp::{self, RtspMessage};
use keepwatch_model::{Machine, MonoTime, Span, WallTime};
use keepwatch_recording::fetch::{Action, Event, Fetch, FetchFrame, FetchTrack, Loss, Verdict};

/// A request; whatever is understood of it can be asked for again, in the same words.
pub(crate) fn request(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(range) = ClockRange::parse(text)
        // Display clamps to the years that RFC 3339 has.
        && [Some(range.from), range.to].into_iter().flatten().all(|time| time.ticks() > -5_000_000_000_000_000)
    {
        assert_eq!(ClockRange::parse(&range.to_string()), Ok(range), "{text:?}");
    }
    let Ok(Some(RtspMessage::Request(request))) = rtsp::parse(data) else { return };
    let Ok(play) = PlayRequest::read(&request) else { return };
    let mut again = rtsp::Request::new(request.method, "rtsp://camera/", play.cseq);
    for (name, value) in play.headers() {
        again = again.header(&name, value);
    }
    assert_eq!(PlayRequest::read(&again), Ok(play));
}

/// Datagrams, each behind a byte of waiting time and two of length; and the mark of each.
pub(crate) fn reorder(data: &[u8]) {
    let mut order = ReorderBuffer::new(Duration::from_millis(60));
    let mut reception = Reception::new(90_000);
    let (mut pushed, mut passed, mut now) = (0_usize, 0_usize, MonoTime::ZERO);
    let mut rest = data;
    while let Some(([wait, high, low], after)) = rest.split_first_chunk::<3>() {
        now = now + Duration::from_millis(u64::from(*wait));
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (packet, next) = after.split_at(length);
        rest = next;
        if let Ok(packet) = RtpPacket::parse(packet) {
            reception.packet(now, &packet);
            let mark = FrameMark::of(&packet);
            if let Some((mark, extension)) = mark.zip(packet.extension) {
                assert!(after_mark(extension).len() + 12 == extension.data.len());
                assert_eq!(mark.to_words()[8] & 0x0f, 0);
            }
        }
        pushed += 1;
        order.push(now, packet, &mut |_| passed += 1);
        order.release(now, &mut |_| passed += 1);
        let _ = reception.report(now);
    }
    order.flush(&mut |_| passed += 1);
    assert!(passed <= pushed, "a packet came out more often than it went in");
}

/// What a server does, eleven bytes for each frame: a machine that is fed with it never takes a frame outside of its
/// range, and comes to an end.
pub(crate) fn fetch(data: &[u8]) {
    let range = Span::new(WallTime::from_ticks(0), WallTime::from_ticks(90_000_000)).expect("is not empty");
    let tracks =
        [FetchTrack { clock_rate: 90_000, steady: true }, FetchTrack { clock_rate: 0, steady: false }];
    let mut fetch = Fetch::new(range);
    assert!(fetch.describe(&tracks), "the first description is the one that holds");
    let mut out = Vec::new();
    let mut now = MonoTime::ZERO;
    fetch.handle(now, Event::Begin, &mut out);
    for step in data.chunks_exact(11) {
        let ticks =
            i64::from_be_bytes([step[0], step[1], step[2], step[3], step[4], step[5], step[6], step[7]]);
        let (bits, track, wait) = (step[8], usize::from(step[9] % 3), step[10]);
        if let Some(Action::Connect { attempt, .. }) = out.last() {
            let attempt = *attempt;
            let event = match bits & 0xe0 {
                0xe0 => Event::Ended { attempt, loss: Loss::Connection },
                0xc0 => Event::Ended { attempt, loss: Loss::Closed },
                _ => {
                    Event::Playing { attempt, from: (bits & 0x20 != 0).then(|| WallTime::from_ticks(ticks)) }
                }
            };
            fetch.handle(now, event, &mut out);
        }
        let time = WallTime::from_ticks(if bits & 1 == 0 { ticks } else { ticks % 100_000_000 });
        let mark = FrameMark {
            time,
            clean_point: bits & 2 != 0,
            ends_section: bits & 4 != 0,
            discontinuity: bits & 8 != 0,
            terminal: bits & 16 != 0,
            sequence: 0,
        };
        let mark = (bits & 0x40 == 0).then_some(mark);
        let frame = FetchFrame { track, mark, timestamp: ticks, key: bits & 2 != 0, lost: 0 };
        if let Verdict::Take { time } = fetch.frame(now, &frame) {
            assert!(range.contains(time), "a frame was taken that is not wanted");
        }
        now = now + Duration::from_millis(u64::from(wait) * 20);
        fetch.timeout(now, &mut out);
        out.drain(..out.len().saturating_sub(1));
    }
    fetch.handle(now, Event::Cancel, &mut out);
    assert!(matches!(out.last(), Some(Action::Over(_))) && fetch.deadline().is_none());
}
