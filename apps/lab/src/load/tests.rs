//! A small load: the bit rate it promises, the numbers it sends, the account it gives.

use std::collections::BTreeSet;

use keepwatch_media::rtp::RtpPacket;
use keepwatch_model::{Flow, MonoTime, PacketHandler};
use keepwatch_rtsp::client::{ClientConfig, EndReason, connect};
use tokio::sync::mpsc;

use super::*;

fn small(cameras: usize) -> LoadOptions {
    LoadOptions {
        cameras,
        width: 480,
        height: 270,
        bits_per_second: 600_000,
        gop_frames: 20,
        ..LoadOptions::default()
    }
}

#[tokio::test]
async fn the_average_is_what_was_asked_for() {
    let load = Load::prepare(&small(1)).unwrap();
    let measured = load.material.bits_per_second;
    assert!(measured.abs_diff(600_000) < 30_000, "{measured}");
    let units = &load.material.units;
    assert_eq!(units.len() % 20, 0);
    assert!(units.iter().enumerate().all(|(at, unit)| unit.key == (at % 20 == 0)));
    let bytes: u64 = units.iter().map(|unit| wide(unit.data.len())).sum();
    assert_eq!(measured, bytes * 8 * 25 / wide(units.len()));
}

#[tokio::test]
async fn every_connection_begins_at_a_key_frame_and_misses_none() {
    let load = Load::prepare(&small(4)).unwrap();
    let open = |path: &str| {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        load.open(&OpenRequest { path, user: None, peer, secure: false })
    };
    assert!(open("/cam5").is_err() && open("cam1").is_err());
    let mut moments = BTreeSet::new();
    for place in 0..4_u64 {
        let mut source = open(&format!("/cam{}", place + 1)).unwrap();
        assert_eq!(source.tracks().len(), 1);
        let mut numbers = Vec::new();
        for at in 0..25 {
            let media = source.next().await.unwrap();
            let stamp = FrameStamp::find(&media.prefix).unwrap();
            assert_eq!(stamp.camera, camera_id(usize::try_from(place).unwrap()));
            assert_eq!(stamp.capture, media.capture);
            assert_eq!(media.key, at % 20 == 0);
            if at == 0 {
                moments.insert(media.capture.ticks().rem_euclid(20 * 3_600));
            }
            numbers.push(stamp.number);
        }
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert_eq!(numbers[0] / NUMBERS_PER_CAMERA, place + 1);
        drop(source);
        let account = &load.report()[usize::try_from(place).unwrap()].connections;
        assert_eq!(account.len(), 1);
        assert_eq!(
            (account[0].first_frame, account[0].last_frame),
            (Some(numbers[0]), numbers.last().copied())
        );
        assert_eq!((account[0].frames, account[0].frames_skipped, account[0].closed), (25, 0, true));
    }
    let moments: Vec<_> = moments.into_iter().collect();
    assert!(moments.windows(2).all(|pair| pair[1] - pair[0] > 10_000), "key frames are spread: {moments:?}");
}

#[tokio::test]
async fn absurd_loads_are_refused() {
    for bad in [
        LoadOptions { cameras: 0, ..small(1) },
        LoadOptions { cameras: 1_001, ..small(1) },
        LoadOptions { gop_frames: 0, ..small(1) },
        LoadOptions { frames_per_second: 7, ..small(1) },
        LoadOptions { width: 100, ..small(1) },
        LoadOptions { bits_per_second: 1, ..small(1) },
    ] {
        assert!(Load::prepare(&bad).is_err(), "{bad:?}");
    }
}

/// Hands on the lines that a load prints.
struct Lines(mpsc::UnboundedSender<serde_json::Value>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send(serde_json::from_slice(line).unwrap()).unwrap();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The frame numbers in SEI units, which come in packets of their own.
#[derive(Default)]
struct Numbers(Vec<u64>);

impl PacketHandler for Numbers {
    fn rtp(&mut self, _now: MonoTime, _track: usize, packet: &[u8]) {
        let mut sample = Vec::new();
        keepwatch_media::h264::write_unit(&mut sample, RtpPacket::parse(packet).unwrap().payload);
        self.0.extend(FrameStamp::find(&sample).map(|stamp| stamp.number));
    }

    fn rtcp(&mut self, _now: MonoTime, _track: usize, _packet: &[u8]) {}

    fn idle(&mut self, _now: MonoTime) -> Flow {
        Flow::Continue
    }
}

#[tokio::test]
async fn the_final_account_is_what_a_client_received() {
    let (sender, mut lines) = mpsc::unbounded_channel();
    let options = LoadOptions { lasts: Some(Duration::from_secs(3)), ..small(3) };
    let load = tokio::spawn(async move { run(options, &mut Lines(sender)).await });
    let ready = lines.recv().await.unwrap();
    let url =
        format!("rtsp://{}/{}", ready["listening"].as_str().unwrap(), ready["cameras"][1].as_str().unwrap());
    let session = connect(&ClientConfig::new(url.parse().unwrap())).await.unwrap().play(&[0]).await.unwrap();
    let mut numbers = Numbers::default();
    let end = session.run(&mut numbers, || MonoTime::ZERO).await;
    assert!(matches!(end.reason, EndReason::EndedByServer | EndReason::Lost(_)), "{:?}", end.reason);
    let ended = lines.recv().await.unwrap();
    load.await.unwrap().unwrap();
    assert_eq!(ended["ended"], "time_over");
    let account = &ended["cameras"][1]["connections"][0];
    assert!(numbers.0.windows(2).all(|pair| pair[1] == pair[0] + 1));
    assert_eq!(account["first_frame"].as_u64(), numbers.0.first().copied());
    // What was handed to the server in the last moments may not have reached the wire.
    let unseen = account["last_frame"].as_u64().unwrap() - numbers.0.last().unwrap();
    assert!(unseen < 5, "{unseen} frames at the end did not arrive");
    assert!(numbers.0.len() > 20);
    assert_eq!(account["frames"], ended["frames"]);
}
