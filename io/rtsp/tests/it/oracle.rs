//! The same program received by retina, an RTSP client that shares no code with this one, and by the client.

use std::sync::Arc;

use futures::StreamExt;
use keepwatch_rtsp::client::ClientConfig;
use retina::client::{Credentials, PlayOptions, Session, SessionOptions, SetupOptions};
use retina::codec::{CodecItem, FrameFormat};

use crate::fixture::{PASSWORD, Received, Studio, collect, config, length_prefixed, serve};

/// A sample without parameter sets, which retina keeps apart.
fn without_parameter_sets(data: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (unit, behind) = after.split_at(u32::from_be_bytes(*length).try_into().unwrap());
        if !matches!(unit[0] & 0x1f, 7 | 8) {
            kept.extend(length_prefixed(&[unit]));
        }
        rest = behind;
    }
    kept
}

/// What retina receives of `tracks` until it has `enough` samples; timestamps as sent.
async fn retina(config: &ClientConfig, tracks: &[usize], enough: usize) -> Vec<Received> {
    let login = config.user.clone().map(|username| Credentials { username, password: PASSWORD.to_owned() });
    let options = SessionOptions::default().creds(login);
    let mut session = Session::describe(config.url.clone(), options).await.unwrap();
    for track in tracks {
        let options = SetupOptions::default().frame_format(FrameFormat::MP4);
        session.setup(*track, options).await.unwrap();
    }
    let mut frames = session.play(PlayOptions::default()).await.unwrap().demuxed().unwrap();
    let mut received = Vec::new();
    while received.len() < enough {
        let (track, timestamp, key, lost, data) = match frames.next().await.unwrap().unwrap() {
            CodecItem::VideoFrame(frame) => {
                let lost = u32::from(frame.loss());
                let key = frame.is_random_access_point();
                (frame.stream_id(), frame.timestamp().timestamp(), key, lost, frame.into_data())
            }
            CodecItem::AudioFrame(frame) => {
                let data = frame.data().to_vec();
                (frame.stream_id(), frame.timestamp().timestamp(), true, u32::from(frame.loss()), data)
            }
            CodecItem::MessageFrame(_) | CodecItem::Rtcp(_) | _ => continue,
        };
        received.push(Received { track, timestamp, key, lost, data });
    }
    received
}

#[tokio::test]
async fn retina_and_the_client_receive_the_same() {
    let (frames, tracks) = (40, [0, 1, 2]);
    for login in [false, true] {
        let server = serve("127.0.0.1", Arc::new(Studio { login, ..Studio::new(frames) })).await;
        let mut config = config(server.addr, "/live/main");
        if login {
            config.user = Some("operator".to_owned());
            config.password = Some(PASSWORD.into());
        }
        let enough = usize::try_from(frames).unwrap() * tracks.len();
        let theirs = retina(&config, &tracks, enough).await;
        let (ours, _) = collect(&config, &tracks, enough).await;
        for track in tracks {
            let of = |samples: &[Received]| -> Vec<Received> {
                let mut samples: Vec<_> =
                    samples.iter().filter(|sample| sample.track == track).cloned().collect();
                // Every session has its own offset.
                let first = samples[0].timestamp;
                samples.iter_mut().for_each(|sample| sample.timestamp -= first);
                samples
            };
            let mut ours = of(&ours.samples);
            if track == 0 {
                ours.iter_mut().for_each(|sample| sample.data = without_parameter_sets(&sample.data));
            }
            assert!(ours == of(&theirs), "track {track}");
        }
    }
}
