//! A look at what a stream sends: which tracks, how large and how fast, and the first picture that decoding can start at.
//!
//! What a camera says that it sends and what it sends are two things. Nothing is recorded, and one picture is kept.

use std::time::Duration;

use keepwatch_media::depacketize::{ConfigError, Depacketizer, Sample};
use keepwatch_media::rtp::RtpPacket;
use keepwatch_media::{h264, h265};
use keepwatch_model::{CodecKind, Flow, MonoTime, PacketHandler, TrackConfig};

use super::choice::codec_name;

/// How long pictures are counted behind the first, for the frame rate.
const COUNTED_FOR: Duration = Duration::from_secs(1);
/// Pictures that are enough to tell the rate.
const COUNTED_MAX: u32 = 30;

/// A picture that decoding can start at.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyPicture {
    /// Its track, with the parameter sets that came with it.
    pub(crate) config: TrackConfig,
    /// The sample, as [`CodecKind`] says.
    pub(crate) data: Vec<u8>,
}

impl std::fmt::Debug for KeyPicture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of {} bytes", self.config.kind, self.data.len())
    }
}

/// What was seen of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Glimpse {
    /// What came, like `h264 1920x1080 25 fps`, the video first.
    pub(crate) tracks: Vec<String>,
    /// What is offered and of which nothing came.
    pub(crate) silent: Vec<String>,
    /// Whether pictures came.
    pub(crate) pictures: bool,
    /// The first picture that decoding can start at; `None` when none came in time.
    pub(crate) key: Option<KeyPicture>,
}

/// Takes the packets of a session until it has seen enough.
pub(crate) struct Glance {
    tracks: Vec<(Depacketizer, Seen)>,
    /// When pictures were first seen.
    since: Option<MonoTime>,
    key: Option<KeyPicture>,
    until: MonoTime,
    /// One picture is enough, whatever it is.
    brief: bool,
}

/// A track as far as it was seen.
struct Seen {
    config: TrackConfig,
    samples: u32,
    /// First and last time of its samples, in ticks of its clock.
    times: Option<(i64, i64)>,
}

impl Glance {
    /// A look at a session with these tracks, until the time `until` at most.
    pub(crate) fn new(tracks: &[TrackConfig], until: MonoTime) -> Result<Self, ConfigError> {
        let seen = |config: &TrackConfig| {
            let seen = Seen { config: config.clone(), samples: 0, times: None };
            Ok::<_, ConfigError>((Depacketizer::new(config)?, seen))
        };
        let tracks = tracks.iter().map(seen).collect::<Result<_, _>>()?;
        Ok(Self { tracks, since: None, key: None, until, brief: false })
    }

    /// The same, and over with the first picture.
    pub(crate) fn brief(self) -> Self {
        Self { brief: true, ..self }
    }

    /// What was seen.
    pub(crate) fn finish(self) -> Glimpse {
        let seen = self.tracks.iter().map(|(_, seen)| seen);
        let (came, silent): (Vec<_>, Vec<_>) = seen.partition(|seen| seen.samples > 0);
        Glimpse {
            tracks: came.iter().map(|seen| seen.describe()).collect(),
            silent: silent.iter().map(|seen| seen.describe()).collect(),
            pictures: came.iter().any(|seen| seen.config.kind.is_video()),
            key: self.key,
        }
    }

    /// Whether there is no more to be learned at `now`.
    fn is_done(&self, now: MonoTime) -> bool {
        let counted = self.since.is_some_and(|since| now.since(since) >= COUNTED_FOR)
            || self.tracks.iter().any(|(_, seen)| seen.config.kind.is_video() && seen.samples >= COUNTED_MAX);
        now >= self.until || (self.key.is_some() && counted) || (self.brief && self.since.is_some())
    }
}

impl Seen {
    fn take(&mut self, sample: &Sample<'_>) {
        if let Some(config) = sample.config_changed {
            // Another size has another rate, too.
            (self.config, self.samples, self.times) = (config.clone(), 0, None);
        }
        self.samples = self.samples.saturating_add(1);
        let (first, last) = self.times.unwrap_or((sample.timestamp, sample.timestamp));
        // Pictures may come in another order than they are shown.
        self.times = Some((first.min(sample.timestamp), last.max(sample.timestamp)));
    }

    /// Samples in a second as they came.
    fn rate(&self) -> Option<f64> {
        let (first, last) = self.times?;
        let between = self.samples.checked_sub(1).filter(|between| *between > 0)?;
        let ticks = last.saturating_sub(first);
        // Far below 2^52.
        (ticks > 0).then(|| f64::from(between) * f64::from(self.config.clock_rate) / ticks as f64)
    }

    /// The track in a few words.
    fn describe(&self) -> String {
        let name = codec_name(self.config.kind);
        let size = picture_size(&self.config).map(|(width, height)| format!(" {width}x{height}"));
        let rate = self.rate().filter(|_| self.config.kind.is_video()).map(|rate| {
            // Slow cameras differ in the fraction.
            if rate < 9.95 { format!(" {rate:.1} fps") } else { format!(" {rate:.0} fps") }
        });
        let sound = self.config.kind.is_audio().then(|| format!(" {} Hz", self.config.clock_rate));
        [size, rate, sound].into_iter().flatten().fold(name.to_owned(), |text, part| text + &part)
    }
}

/// Width and height of the pictures of a track, as far as its configuration tells.
fn picture_size(track: &TrackConfig) -> Option<(u32, u32)> {
    match track.kind {
        CodecKind::H264 => {
            let config = h264::DecoderConfig::parse(&track.config).ok()?;
            let sps = h264::Sps::parse(config.sps.first()?).ok()?;
            Some((sps.width, sps.height))
        }
        CodecKind::H265 => {
            let config = h265::DecoderConfig::parse(&track.config).ok()?;
            let sps = h265::Sps::parse(config.sps.first()?).ok()?;
            Some((sps.width, sps.height))
        }
        CodecKind::Jpeg => {
            let (width, rest) = track.config.split_first_chunk()?;
            let height = rest.first_chunk()?;
            Some((u16::from_be_bytes(*width).into(), u16::from_be_bytes(*height).into()))
        }
        CodecKind::Pcmu | CodecKind::Pcma | CodecKind::Aac | CodecKind::Metadata => None,
    }
}

impl PacketHandler for Glance {
    fn rtp(&mut self, now: MonoTime, track: usize, packet: &[u8]) {
        let Self { tracks, since, key, .. } = self;
        let Some((depacketizer, seen)) = tracks.get_mut(track) else { return };
        let Ok(packet) = RtpPacket::parse(packet) else { return };
        // A packet that cannot be used is one of many.
        let _ = depacketizer.push(&packet, &mut |sample| {
            seen.take(&sample);
            if !seen.config.kind.is_video() {
                return;
            }
            since.get_or_insert(now);
            if sample.key && key.is_none() {
                *key = Some(KeyPicture { config: seen.config.clone(), data: sample.data.to_vec() });
            }
        });
    }

    fn rtcp(&mut self, _: MonoTime, _: usize, _: &[u8]) {}

    fn idle(&mut self, now: MonoTime) -> Flow {
        if self.is_done(now) { Flow::Stop } else { Flow::Continue }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(kind: CodecKind, clock_rate: u32) -> TrackConfig {
        TrackConfig { kind, clock_rate, channels: 0, config: Vec::new() }
    }

    fn packet(kind: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, 0x80 | kind];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&7_u32.to_be_bytes());
        packet.extend_from_slice(payload);
        packet
    }

    fn at(millis: u64) -> MonoTime {
        MonoTime::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn what_is_offered_and_does_not_come_is_named_and_the_look_ends_in_time() {
        let tracks = [track(CodecKind::H264, 90_000), track(CodecKind::Pcmu, 8_000)];
        let mut glance = Glance::new(&tracks, at(5_000)).unwrap();
        for number in 0..50_u16 {
            glance.rtp(at(u64::from(number) * 20), 1, &packet(0, number, u32::from(number) * 160, &[0; 160]));
            assert_eq!(glance.idle(at(u64::from(number) * 20)), Flow::Continue);
        }
        assert_eq!(glance.idle(at(4_999)), Flow::Continue);
        assert_eq!(glance.idle(at(5_000)), Flow::Stop);
        let glimpse = glance.finish();
        assert_eq!(
            (glimpse.tracks, glimpse.silent),
            (vec!["pcmu 8000 Hz".to_owned()], vec!["h264".to_owned()])
        );
        assert!(!glimpse.pictures && glimpse.key.is_none());
    }

    #[test]
    fn pictures_without_a_key_picture_are_looked_at_to_the_end() {
        let mut glance = Glance::new(&[track(CodecKind::H264, 90_000)], at(5_000)).unwrap();
        // A slice that refers to others (ITU-T H.264 table 7-1: type 1).
        for number in 0..100_u16 {
            let now = at(u64::from(number) * 40);
            glance.rtp(now, 0, &packet(96, number, u32::from(number) * 3_600, &[0x41, 0x9a, 0x02]));
            assert_eq!(glance.idle(now), Flow::Continue, "{number}");
        }
        assert_eq!(glance.idle(at(5_000)), Flow::Stop);
        assert!(glance.finish().key.is_none());
    }
}
